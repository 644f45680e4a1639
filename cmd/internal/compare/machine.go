package compare

import (
	"bufio"
	"os"
	"runtime"
	"strconv"
	"strings"
)

// Machine is what a run was made on and with. It names neither host nor user.
type Machine struct {
	CPU         string `json:"cpu"`
	CPUs        int    `json:"cpus"`         // logical ones that this process may use
	MemoryBytes uint64 `json:"memory_bytes"` // 0: not known
	System      string `json:"system"`
	Go          string `json:"go"`
	Kernel      string `json:"kernel"`
	Version     string `json:"version"`
	Commit      string `json:"commit"`
}

// ThisMachine describes the machine of this process; kernel, version and commit
// are the program's.
func ThisMachine(kernel, version, commit string) Machine {
	m := Machine{
		CPU: runtime.GOARCH, CPUs: runtime.NumCPU(), System: runtime.GOOS + "/" + runtime.GOARCH,
		Go: runtime.Version(), Kernel: kernel, Version: version, Commit: commit,
	}
	if name := field("/proc/cpuinfo", "model name"); name != "" {
		m.CPU = name
	}
	if kib, err := strconv.ParseUint(strings.TrimSuffix(field("/proc/meminfo", "MemTotal"), " kB"), 10, 64); err == nil {
		m.MemoryBytes = kib << 10
	}
	return m
}

// field is the value of the first line "name : value" of a file; "": there is none.
func field(path, name string) string {
	f, err := os.Open(path)
	if err != nil {
		return "" // not on this system
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if key, value, ok := strings.Cut(lines.Text(), ":"); ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
