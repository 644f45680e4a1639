package telemetry

import (
	"io"
	"os"
	"sync"

	"golang.org/x/term"
)

// Console is a writer that the log and a Progress share, so that lines of the
// log appear above the progress line instead of through it. Without a progress
// line it passes everything on as it is. It is safe for concurrent use.
type Console struct {
	out io.Writer // constant after NewConsole

	mu    sync.Mutex // guards the field below and every Write
	above io.Writer  // where lines go while a progress line is drawn; nil: out
}

// NewConsole returns a Console over out, which is standard error as a rule.
func NewConsole(out io.Writer) *Console { return &Console{out: out} }

// Write writes p above the progress line if there is one.
func (c *Console) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.above != nil {
		if n, err := c.above.Write(p); err == nil {
			return n, nil
		}
	}
	return c.out.Write(p)
}

// attach sends what is written from now on to above.
func (c *Console) attach(above io.Writer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.above = above
}

// detach runs end, which takes the progress line away, and then sends
// everything to the terminal itself again. Writers wait meanwhile, so no line
// falls between the two.
func (c *Console) detach(end func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	end()
	c.above = nil
}

// IsTerminal reports whether w is a terminal, or a Console over one.
func IsTerminal(w io.Writer) bool {
	switch w := w.(type) {
	case *Console:
		return IsTerminal(w.out)
	case *os.File:
		return w != nil && term.IsTerminal(int(w.Fd()))
	}
	return false
}
