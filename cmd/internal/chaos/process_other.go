//go:build !linux

package chaos

import (
	"errors"
	"syscall"
)

const supported = false

func tied() *syscall.SysProcAttr { return nil }

func limitFiles(int, uint64) error { return errors.ErrUnsupported }

const unlimited = 1<<64 - 1
