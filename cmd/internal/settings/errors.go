package settings

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// The statuses a program ends with.
const (
	StatusDone    = 0
	StatusFault   = 1
	StatusUsage   = 2 // wrong use or configuration
	StatusStopped = 3 // by a signal, after a clean checkpoint
)

// UsageError is wrong use or configuration: the program ends with StatusUsage.
type UsageError struct{ Err error }

// Error returns the text of the error within.
func (e *UsageError) Error() string { return e.Err.Error() }

// Unwrap returns the error within.
func (e *UsageError) Unwrap() error { return e.Err }

// Usage marks err as wrong use or configuration; nil stays nil.
func Usage(err error) error {
	if err == nil {
		return nil
	}
	return &UsageError{err}
}

// Usagef is Usage of fmt.Errorf.
func Usagef(format string, args ...any) error {
	return &UsageError{fmt.Errorf(format, args...)}
}

// Stopped says that a signal stopped the job after a clean checkpoint: the
// program prints Message, which tells how to go on, and ends with StatusStopped.
type Stopped struct{ Message string }

// Error returns the message.
func (e *Stopped) Error() string { return e.Message }

// Status returns the status a program ends with after err.
func Status(err error) int {
	var usage *UsageError
	var stopped *Stopped
	switch {
	case err == nil:
		return StatusDone
	case errors.As(err, &stopped):
		return StatusStopped
	case errors.As(err, &usage):
		return StatusUsage
	}
	return StatusFault
}

// sentence is err on one line. A bare cancellation says nothing to the user, so
// after a signal it is called what it is.
func sentence(ctx context.Context, err error) string {
	var signal *SignalError
	if errors.Is(err, context.Canceled) && errors.As(context.Cause(ctx), &signal) {
		return "stopped: " + signal.Error()
	}
	lines := strings.FieldsFunc(err.Error(), func(r rune) bool { return r == '\n' || r == '\r' })
	for i := range lines {
		lines[i] = strings.TrimSpace(lines[i])
	}
	return strings.Join(lines, "; ")
}
