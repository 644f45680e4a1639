package settings

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"
)

// SetVersion gives cmd the flag --version: version, commit, Go version, the CPU
// kernels chosen, and that no GPU support is built in.
func SetVersion(cmd *cobra.Command, kernels string) {
	info, _ := debug.ReadBuildInfo() // nil where the binary holds none
	cmd.Version = buildVersion(info)
	cmd.SetVersionTemplate(versionText(cmd.Name(), info, kernels))
}

// Version and Commit are what --version prints of the program.
func Version() string {
	info, _ := debug.ReadBuildInfo() // nil where the binary holds none
	return buildVersion(info)
}

// Commit is the revision the program was built from.
func Commit() string {
	info, _ := debug.ReadBuildInfo()
	return commit(info)
}

// buildVersion is the module's version, "(devel)" where it has none.
func buildVersion(info *debug.BuildInfo) string {
	if info == nil || info.Main.Version == "" {
		return "(devel)"
	}
	return info.Main.Version
}

// versionText is what --version prints. It goes through a template, so what
// would be taken for one is broken up.
func versionText(name string, info *debug.BuildInfo, kernels string) string {
	var b strings.Builder
	for _, row := range [][2]string{
		{name, buildVersion(info)},
		{"commit", commit(info)},
		{"go", fmt.Sprintf("%s %s/%s", runtime.Version(), runtime.GOOS, runtime.GOARCH)},
		{"cpu", kernels},
		{"gpu", "not built in"},
	} {
		fmt.Fprintf(&b, "%-12s%s\n", row[0], strings.ReplaceAll(row[1], "{{", "{ {"))
	}
	return b.String()
}

// commit is the revision the binary was built from.
func commit(info *debug.BuildInfo) string {
	if info == nil {
		return "unknown"
	}
	revision, modified := "unknown", ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			revision = s.Value
		case s.Key == "vcs.modified" && s.Value == "true":
			modified = " with changes"
		}
	}
	return revision + modified
}
