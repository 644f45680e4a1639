package settings

import (
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/term"
)

// general is the subject of flags outside any Group.
const general = "General"

// usage writes how cmd is used, with its flags grouped by subject.
func usage(cmd *cobra.Command) error {
	var b strings.Builder
	b.WriteString("Usage:\n")
	runnable := cmd.Runnable() && cmd.Annotations[onlyGroups] == ""
	if runnable {
		fmt.Fprintf(&b, "  %s\n", cmd.UseLine())
	}
	if cmd.HasAvailableSubCommands() {
		fmt.Fprintf(&b, "  %s COMMAND [flags]\n\nCommands:\n", cmd.CommandPath())
		for _, c := range cmd.Commands() {
			if c.IsAvailableCommand() || c.Name() == "help" {
				fmt.Fprintf(&b, "  %-*s %s\n", cmd.NamePadding(), c.Name(), c.Short)
			}
		}
	}
	if cmd.HasExample() {
		fmt.Fprintf(&b, "\nExamples:\n%s\n", strings.TrimRight(cmd.Example, "\n"))
	}
	for _, g := range groups(cmd) {
		if text := g.flags.FlagUsagesWrapped(columns(cmd.OutOrStdout())); text != "" {
			fmt.Fprintf(&b, "\n%s:\n%s", g.subject, text)
		}
	}
	if runnable {
		b.WriteString("\nA flag counts over the environment (--log-level: MUSTER_LOG_LEVEL), that over the file\n" +
			"of --config (log-level: info), that over the default.\n")
	}
	if cmd.HasAvailableSubCommands() {
		fmt.Fprintf(&b, "\nSee '%s COMMAND --help' for one command.\n", cmd.CommandPath())
	}
	_, err := io.WriteString(cmd.OutOrStderr(), b.String())
	return err
}

// group is the flags of one subject.
type group struct {
	subject string
	flags   *pflag.FlagSet
}

// groups returns the flags of cmd by subject, in the order of first mention,
// the general ones last.
func groups(cmd *cobra.Command) []group {
	cmd.InheritedFlags() // makes Flags hold those of the parents too
	var all []group
	rest := newGroup(general)
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		subject := general
		if s := f.Annotations[groupKey]; len(s) == 1 {
			subject = s[0]
		}
		if subject == general {
			rest.flags.AddFlag(f)
			return
		}
		for _, g := range all {
			if g.subject == subject {
				g.flags.AddFlag(f)
				return
			}
		}
		g := newGroup(subject)
		g.flags.AddFlag(f)
		all = append(all, g)
	})
	return append(all, rest)
}

func newGroup(subject string) group {
	fs := pflag.NewFlagSet(subject, pflag.ContinueOnError)
	fs.SortFlags = false
	return group{subject, fs}
}

// columns is the width help is wrapped to: the terminal's within reason, else 100.
func columns(w io.Writer) int {
	if f, ok := w.(*os.File); ok {
		if width, _, err := term.GetSize(int(f.Fd())); err == nil {
			return min(max(width, 60), 120)
		}
	}
	return 100
}
