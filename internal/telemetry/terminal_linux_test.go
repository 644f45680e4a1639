package telemetry

import (
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// openTerminal returns both ends of a pseudo-terminal 100 columns wide, or
// skips the test where the system has none to give.
func openTerminal(t *testing.T) (reader, terminal *os.File) {
	t.Helper()
	reader, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skipf("no pseudo-terminal here: %v", err)
	}
	t.Cleanup(func() { reader.Close() })
	fd := int(reader.Fd())
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Skipf("no pseudo-terminal here: %v", err)
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Skipf("no pseudo-terminal here: %v", err)
	}
	if err := unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: 40, Col: 100}); err != nil {
		t.Skipf("no pseudo-terminal here: %v", err)
	}
	terminal, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("no pseudo-terminal here: %v", err)
	}
	return reader, terminal
}

func TestOnATerminalTheLogIsColouredAndTheLineRedrawn(t *testing.T) {
	t.Setenv("NO_COLOR", "")
	reader, terminal := openTerminal(t)
	read := make(chan string)
	go func() {
		all, _ := io.ReadAll(reader) // ends with EIO when the other end is closed
		read <- string(all)
	}()

	console := NewConsole(terminal)
	if !IsTerminal(console) {
		t.Error("a Console over a terminal is one")
	}
	log, err := NewLogger(console, "auto", "info")
	if err != nil {
		t.Fatal(err)
	}
	p := NewProgress(console, log, Auto)
	if _, ok := p.view.(*bar); !ok {
		t.Errorf("view is a %T, want a bar", p.view)
	}
	p.Update(halfway)
	p.Epoch(EpochResult{Epoch: 1, Epochs: 10, TrainLoss: 2.5})
	log.Warn("a worker left")
	p.Close()
	terminal.Close()

	got := <-read
	for _, want := range []string{"train loss 2.5000", "a worker left", "\x1b["} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in %q", want, got)
		}
	}
}
