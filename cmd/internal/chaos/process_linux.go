package chaos

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// supported tells whether stages can be built here.
const supported = true

// tied has a process die with the one that started it.
func tied() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
}

// limitFiles has a process's writes fail once a file has so many bytes, as on a disk
// that is full; unlimited lifts that.
func limitFiles(pid int, bytes uint64) error {
	return unix.Prlimit(pid, unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: bytes, Max: unix.RLIM_INFINITY}, nil)
}

const unlimited = unix.RLIM_INFINITY
