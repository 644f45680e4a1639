package settings

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/spf13/cobra"
)

// SignalError is the cause of the context's end after a signal:
// context.Cause(cmd.Context()) returns it.
type SignalError struct{ Signal os.Signal }

// Error names the signal.
func (e *SignalError) Error() string { return "signal " + e.Signal.String() }

// Main runs the program whose root command is root and returns its status. The
// context of commands ends with ctx or with the first SIGINT or SIGTERM; an
// interrupt after that ends the process at once with StatusFault.
//
// Commands define their flags and RunE; Main adds --config, fills the flags from
// environment and file before RunE, and prints the error. A runnable command
// without Args takes no arguments. Whatever fails before RunE is wrong use.
func Main(ctx context.Context, root *cobra.Command) int {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(signals)
	return run(ctx, root, signals, os.Exit)
}

// run is Main with its outside passed in.
func run(ctx context.Context, root *cobra.Command, signals <-chan os.Signal, exit func(int)) (status int) {
	ctx, cancel := context.WithCancelCause(ctx)
	done, watched := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(watched)
		watch(signals, cancel, done, exit)
	}()
	defer func() {
		close(done)
		<-watched
		cancel(nil)
	}()

	stderr := root.ErrOrStderr()
	defer func() {
		if p := recover(); p != nil {
			fmt.Fprintf(stderr, "%s: this is a bug, please report it: %v\n%s", root.Name(), p, debug.Stack())
			status = StatusFault
		}
	}()

	started := false
	prepare(root, &started)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return StatusDone
	}
	if !started {
		fmt.Fprintf(stderr, "%s: %s\nsee '%s --help'\n", root.Name(), sentence(ctx, plainCobra(err)), cmd.CommandPath())
		return StatusUsage
	}
	fmt.Fprintf(stderr, "%s: %s\n", root.Name(), sentence(ctx, err))
	return Status(err)
}

// watch cancels at the first signal and exits at an interrupt after it.
func watch(signals <-chan os.Signal, cancel context.CancelCauseFunc, done <-chan struct{}, exit func(int)) {
	for first := true; ; {
		select {
		case s := <-signals:
			if first {
				first = false
				cancel(&SignalError{s})
			} else if s == os.Interrupt {
				exit(StatusFault)
				return
			}
		case <-done:
			return
		}
	}
}
