package dataset

import (
	"errors"
	"fmt"
)

var (
	// ErrCorrupt marks errors about files that are not what they should be.
	ErrCorrupt = errors.New("corrupt data")
	// ErrNoData marks errors about directories that don't hold CIFAR-10.
	ErrNoData = errors.New("no CIFAR-10 there")
	// ErrUnreachable marks errors about addresses that don't answer, or don't
	// answer with what was asked for, or stop answering.
	ErrUnreachable = errors.New("unreachable")
)

// corrupt makes an error that names file, offset and what was expected there.
func corrupt(file string, offset int64, format string, args ...any) error {
	return fmt.Errorf("%w: %s: offset %d: %s", ErrCorrupt, file, offset, fmt.Sprintf(format, args...))
}
