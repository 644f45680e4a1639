package ptx

import (
	"fmt"
	"strings"
)

// statement is what stands between two semicolons of a kernel, or a label.
type statement struct {
	line  int
	label string   // of a label alone
	guard string   // %p1 or !%p1; empty: none
	op    string   // add.s32
	args  []string // operands: %r1, 0f3F800000, [%rd1+4], {%f1,%f2}
}

// source is text without comments.
type source struct {
	text string
	at   int
	line int
}

func newSource(text string) *source { return &source{text: text, line: 1} }

// skip passes over space and comments.
func (s *source) skip() {
	for s.at < len(s.text) {
		rest := s.text[s.at:]
		switch {
		case rest[0] == '\n':
			s.line++
			s.at++
		case rest[0] == ' ' || rest[0] == '\t' || rest[0] == '\r':
			s.at++
		case strings.HasPrefix(rest, "//"):
			n := strings.IndexByte(rest, '\n')
			if n < 0 {
				n = len(rest)
			}
			s.at += n
		case strings.HasPrefix(rest, "/*"):
			n := strings.Index(rest, "*/")
			if n < 0 {
				n = len(rest) - 2
			}
			s.line += strings.Count(rest[:n+2], "\n")
			s.at += n + 2
		default:
			return
		}
	}
}

// peek is the next character that counts; 0: there is none.
func (s *source) peek() byte {
	if s.skip(); s.at == len(s.text) {
		return 0
	}
	return s.text[s.at]
}

func (s *source) errorf(format string, args ...any) error {
	return fmt.Errorf("ptx: line %d: %s", s.line, fmt.Sprintf(format, args...))
}

// until reads up to one of the characters of ends, which it passes over, without
// comments; braces, brackets and parentheses within are read whole.
func (s *source) until(ends string) (text string, end byte, err error) {
	var b strings.Builder
	depth := 0
	for {
		before := s.at
		c := s.peek()
		if c == 0 {
			return "", 0, s.errorf("the text ends within %q", b.String())
		}
		if depth == 0 && strings.IndexByte(ends, c) >= 0 {
			s.at++
			return strings.TrimSpace(b.String()), c, nil
		}
		switch c {
		case '{', '[', '(':
			depth++
		case '}', ']', ')':
			depth--
		}
		// What stood apart stays apart by a space, but within brackets and after commas.
		if n := b.Len(); s.at > before && n > 0 && !strings.ContainsRune("{[(,", rune(b.String()[n-1])) && !strings.ContainsRune("}]),", rune(c)) {
			b.WriteByte(' ')
		}
		b.WriteByte(c)
		s.at++
	}
}

// split cuts operands at commas that are not within brackets.
func split(text string) (parts []string) {
	depth, start := 0, 0
	for i := range len(text) {
		switch text[i] {
		case '{', '[', '(':
			depth++
		case '}', ']', ')':
			depth--
		case ',':
			if depth == 0 {
				parts = append(parts, strings.TrimSpace(text[start:i]))
				start = i + 1
			}
		}
	}
	if rest := strings.TrimSpace(text[start:]); rest != "" {
		parts = append(parts, rest)
	}
	return parts
}

// newStatement takes an instruction apart.
func newStatement(line int, text string) statement {
	st := statement{line: line}
	if guard, rest, ok := strings.Cut(text, " "); ok && strings.HasPrefix(guard, "@") {
		st.guard, text = guard[1:], rest
	}
	op, rest, _ := strings.Cut(text, " ")
	st.op, st.args = op, split(rest)
	return st
}
