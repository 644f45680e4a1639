package telemetry

import (
	"io"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
)

// redrawn is one line at the bottom of a terminal that is drawn again and
// again, with lines that stay above it.
type redrawn struct {
	console  *Console               // where the terminal is one; else nil
	out      io.Writer              // the terminal
	progress *mpb.Progress          // owns the drawing goroutines
	draw     func(width int) string // called by them
	line     *mpb.Bar               // nil until show
}

func newRedrawn(terminal io.Writer, draw func(width int) string) *redrawn {
	r := &redrawn{out: terminal, draw: draw}
	if c, ok := terminal.(*Console); ok {
		r.console, r.out = c, c.out
	}
	r.progress = mpb.New(mpb.WithOutput(r.out), mpb.WithAutoRefresh())
	if r.console != nil {
		r.console.attach(r.progress)
	}
	return r
}

// show makes the line appear; later calls do nothing.
func (r *redrawn) show() {
	if r.line != nil {
		return
	}
	fill := func(w io.Writer, stat decor.Statistics) error {
		if stat.Aborted {
			return nil
		}
		_, err := io.WriteString(w, r.draw(stat.AvailableWidth))
		return err
	}
	// No total: the line ends by close alone. An error tells that the terminal
	// went away, which is no reason to stop training.
	r.line, _ = r.progress.Add(0, mpb.BarFillerFunc(fill), mpb.BarFillerTrim())
}

// above writes a line that stays.
func (r *redrawn) above(line string) {
	line += "\n"
	if _, err := io.WriteString(r.progress, line); err != nil { // drawing ended early
		_, _ = io.WriteString(r.out, line)
	}
}

// close takes the line away and ends the drawing goroutines; lines above stay.
func (r *redrawn) close() {
	end := func() {
		if r.line == nil { // the end of a line is what makes mpb write out what is above it
			r.line, _ = r.progress.Add(0, nil)
		}
		if r.line != nil {
			r.line.Abort(true)
		}
		r.progress.Wait()
	}
	if r.console != nil {
		r.console.detach(end)
		return
	}
	end()
}
