package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"
	"unicode/utf8"

	"golang.org/x/term"
)

// screen shows one block of lines at the end of a terminal, each in the place of
// the one before. It uses neither the alternate screen nor the window's height:
// what was there before stays, the last block too, and a block that is taller
// than the window is written whole and scrolls. It is safe for concurrent use.
type screen struct {
	out   io.Writer
	width func() int // columns of the terminal; 0: not known

	mu    sync.Mutex // guards the fields below and what is written
	block []string   // the lines shown
}

func newScreen(out io.Writer) *screen {
	return &screen{out: out, width: func() int {
		if f, ok := out.(*os.File); ok {
			if width, _, err := term.GetSize(int(f.Fd())); err == nil {
				return width
			}
		}
		return 0
	}}
}

// status shows s in the place of the status before.
func (s *screen) status(status *jobStatus) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.draw(strings.Split(strings.TrimSuffix(status.text(), "\n"), "\n"))
}

// above runs f, which writes lines to the terminal, and shows the block below them.
func (s *screen) above(f func() error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	block := s.block
	if err := s.draw(nil); err != nil {
		return err
	}
	if err := f(); err != nil {
		return err
	}
	return s.draw(block)
}

// end leaves the block where it is. Where ctx has ended, the terminal has
// probably shown the ^C below it: the prompt gets a line of its own.
func (s *screen) end(ctx context.Context) {
	if ctx.Err() != nil {
		_, _ = io.WriteString(s.out, "\n") // all has been shown
	}
}

// draw replaces the block in one write, so that nobody sees half of it.
func (s *screen) draw(block []string) error {
	width := s.width()
	var b strings.Builder
	if rows := rows(s.block, width); rows > 0 {
		fmt.Fprintf(&b, "\r\x1b[%dA", rows)
	}
	for _, line := range block {
		b.WriteString(line)
		// A line that ends at the edge leaves the cursor on its last character,
		// which must not be erased.
		if n := utf8.RuneCountInString(line); width == 0 || n == 0 || n%width != 0 {
			b.WriteString("\x1b[K")
		}
		b.WriteByte('\n')
	}
	b.WriteString("\x1b[J")
	s.block = block
	_, err := io.WriteString(s.out, b.String())
	return err
}

// rows counts those that lines take, the longer ones more than one.
func rows(lines []string, width int) int {
	n := len(lines)
	for _, line := range lines {
		if width > 0 {
			n += max(utf8.RuneCountInString(line)-1, 0) / width
		}
	}
	return n
}

// aboveScreen is a log to the terminal of a screen.
type aboveScreen struct {
	slog.Handler
	screen *screen
}

func (a aboveScreen) Handle(ctx context.Context, r slog.Record) error {
	return a.screen.above(func() error { return a.Handler.Handle(ctx, r) })
}

func (a aboveScreen) WithAttrs(attrs []slog.Attr) slog.Handler {
	return aboveScreen{a.Handler.WithAttrs(attrs), a.screen}
}

func (a aboveScreen) WithGroup(name string) slog.Handler {
	return aboveScreen{a.Handler.WithGroup(name), a.screen}
}
