package main

import (
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/muster-train/muster/internal/telemetry"
)

// terminal shows what a terminal would: as much of one as a screen uses.
type terminal struct {
	t             *testing.T
	width, height int
	lines         [][]rune // all that it has shown; the last ones are in the window
	row, column   int      // of the cursor; column width: the line is full, and the next character goes below
	writes        int
}

func newTerminal(t *testing.T, width, height int) *terminal {
	return &terminal{t: t, width: width, height: height, lines: make([][]rune, 1)}
}

func (v *terminal) Write(p []byte) (int, error) {
	v.writes++
	text := []rune(string(p))
	for i := 0; i < len(text); i++ {
		switch c := text[i]; c {
		case '\n':
			v.down()
			v.column = 0
		case '\r':
			v.column = 0
		case '\x1b':
			end := i + 2
			for text[end] >= '0' && text[end] <= '9' {
				end++
			}
			v.control(string(text[i+2:end]), text[end])
			i = end
		default:
			if v.column == v.width {
				v.down()
				v.column = 0
			}
			line := v.lines[v.row]
			for len(line) <= v.column {
				line = append(line, ' ')
			}
			line[v.column] = c
			v.lines[v.row] = line
			v.column++
		}
	}
	return len(p), nil
}

func (v *terminal) down() {
	if v.row++; v.row == len(v.lines) {
		v.lines = append(v.lines, nil)
	}
}

func (v *terminal) control(argument string, command rune) {
	at := min(v.column, v.width-1) // where the line is full, the cursor is on its last character
	erase := func() {
		v.lines[v.row] = v.lines[v.row][:min(at, len(v.lines[v.row]))]
	}
	switch command {
	case 'A':
		var n int
		fmt.Sscan(argument, &n)
		v.row = max(v.row-n, 0, len(v.lines)-v.height)
	case 'K':
		erase()
	case 'J':
		erase()
		for i := v.row + 1; i < len(v.lines); i++ {
			v.lines[i] = nil
		}
	default:
		v.t.Errorf("a terminal may not know ESC[%s%c", argument, command)
	}
}

// shown is all lines, without the empty ones at the end.
func (v *terminal) shown() []string {
	var all []string
	for _, line := range v.lines {
		all = append(all, string(line))
	}
	for len(all) > 0 && all[len(all)-1] == "" {
		all = all[:len(all)-1]
	}
	return all
}

func TestABlockTakesThePlaceOfTheOneBefore(t *testing.T) {
	for _, tc := range []struct {
		name          string
		width, height int
		blocks        [][]string
		want          []string
	}{
		{"longer lines", 20, 10, [][]string{{"a", "b"}, {"aaa", "bbb"}}, []string{"$", "aaa", "bbb"}},
		{"shorter lines", 20, 10, [][]string{{"aaa", "bbb"}, {"a", "b"}}, []string{"$", "a", "b"}},
		{"more lines", 20, 10, [][]string{{"a"}, {"a", "", "c"}}, []string{"$", "a", "", "c"}},
		{"fewer lines", 20, 10, [][]string{{"a", "b", "c"}, {"d"}}, []string{"$", "d"}},
		{"lines too long", 4, 10, [][]string{{"abcdef", "x"}, {"ab", "uvwxyz123"}, {"AB", "C"}}, []string{"$", "AB", "C"}},
		{"lines too long, at last", 4, 10, [][]string{{"a", "b", "c", "d"}, {"abcdef"}}, []string{"$", "abcd", "ef"}},
		{"lines that fit exactly", 4, 10, [][]string{{"abcd", "efgh"}, {"ABCD", "EFGHIJKL"}, {"1234", "5678"}}, []string{"$", "1234", "5678"}},
		{"letters of several bytes", 4, 10, [][]string{{"äöüß", "x"}, {"é", "y"}}, []string{"$", "é", "y"}},
		// What has left the window can't be changed: the last block is whole, below what is left of the others.
		{"taller than the window", 9, 3, [][]string{{"a", "b", "c", "d"}, {"A", "B", "C", "D"}}, []string{"$", "a", "b", "A", "B", "C", "D"}},
	} {
		v := newTerminal(t, tc.width, tc.height)
		fmt.Fprintln(v, "$")
		before := v.writes
		s := newScreen(v)
		s.width = func() int { return tc.width }
		for _, block := range tc.blocks {
			if err := s.draw(block); err != nil {
				t.Fatal(err)
			}
		}
		if got := v.shown(); !slices.Equal(got, tc.want) {
			t.Errorf("%s: the terminal shows\n%s\nwant\n%s", tc.name, strings.Join(got, "\n"), strings.Join(tc.want, "\n"))
		}
		if n := v.writes - before; n != len(tc.blocks) {
			t.Errorf("%s: %d writes for %d blocks: a block in pieces flickers", tc.name, n, len(tc.blocks))
		}
	}
}

func TestRowsOfLines(t *testing.T) {
	lines := []string{"abcdefgh", "", "äöü"}
	for _, tc := range []struct{ width, want int }{
		{0, 3}, {1, 12}, {2, 7}, {3, 5}, {4, 4}, {7, 4}, {8, 3}, {9, 3},
	} {
		if got := rows(lines, tc.width); got != tc.want {
			t.Errorf("at width %d %q take %d rows, want %d", tc.width, lines, got, tc.want)
		}
	}
}

func TestLogStaysAboveTheBlock(t *testing.T) {
	v := newTerminal(t, 200, 50)
	s := newScreen(v)
	s.width = func() int { return 200 }
	handler := slog.NewTextHandler(telemetry.NewConsole(v), &slog.HandlerOptions{ReplaceAttr: untimed})
	log := slog.New(aboveScreen{handler, s}).With("a", 1).WithGroup("g")
	log.Info("before")
	if err := s.status(statusOf(training())); err != nil {
		t.Fatal(err)
	}
	log.Warn("meanwhile", "b", 2)
	for _, when := range []string{"after the line", "after the next status"} {
		want := "level=INFO msg=before a=1\nlevel=WARN msg=meanwhile a=1 g.b=2\n" + strings.TrimSuffix(trainingText, "\n")
		if got := strings.Join(v.shown(), "\n"); got != want {
			t.Errorf("%s the terminal shows\n%s\nwant\n%s", when, got, want)
		}
		if err := s.status(statusOf(training())); err != nil {
			t.Fatal(err)
		}
	}
}

func TestScreenOverNoTerminalHasNoWidth(t *testing.T) {
	if got := newScreen(io.Discard).width(); got != 0 {
		t.Errorf("width %d, want 0", got)
	}
}
