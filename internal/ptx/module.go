package ptx

import (
	"strconv"
	"strings"
)

// Module is the kernels of a text.
type Module struct {
	Version string // of PTX
	Target  string // sm_80
	Kernels map[string]*Kernel
	shared  []variable // of all kernels
}

// Kernel is an entry of a module.
type Kernel struct {
	Name   string
	Params []Param
	// MaxThreads is how many threads a block may have (.maxntid); 0: any number.
	MaxThreads int

	code      []instruction
	registers int
	shared    int // bytes of shared memory that it declares
	dynamic   int // where shared memory begins that a launch adds
}

// Param is a parameter of a kernel.
type Param struct {
	Name  string
	Type  string // u64, f32
	Bytes int
	at    int // in the block of parameters
}

// variable is one of shared memory.
type variable struct {
	name         string
	bytes, align int // bytes 0: as many as a launch adds
}

// Parse reads a module.
func Parse(text string) (*Module, error) {
	m := &Module{Kernels: map[string]*Kernel{}}
	s := newSource(text)
	for s.peek() != 0 {
		line := s.line
		head, err := s.head()
		if err != nil {
			return nil, err
		}
		words := strings.Fields(head)
		switch {
		case len(words) == 0:
		case words[0] == ".version" && len(words) == 2:
			m.Version = words[1]
		case words[0] == ".target" && len(words) >= 2:
			m.Target = strings.TrimSuffix(words[1], ",")
		case words[0] == ".address_size" && len(words) == 2:
			if words[1] != "64" {
				return nil, s.errorf("addresses of %s bits: 64 are known", words[1])
			}
		case strings.Contains(head, ".entry"):
			k, err := m.kernel(s, head)
			if err != nil {
				return nil, err
			}
			m.Kernels[k.Name] = k
		case strings.Contains(head, ".shared"):
			v, err := parseVariable(words)
			if err != nil {
				return nil, s.errorf("%v", err)
			}
			m.shared = append(m.shared, v)
		default:
			s.line = line
			return nil, s.errorf("%q is not known", head)
		}
	}
	if m.Version == "" || m.Target == "" {
		return nil, s.errorf("no .version or no .target")
	}
	return m, nil
}

// head reads a directive of a module: to the end of its line, to its semicolon, or to the
// parameters of an entry.
func (s *source) head() (string, error) {
	rest := s.text[s.at:]
	for _, directive := range []string{".version", ".target", ".address_size"} {
		if strings.HasPrefix(rest, directive) {
			end := strings.IndexByte(rest, '\n')
			if end < 0 {
				end = len(rest)
			}
			line, _, _ := strings.Cut(rest[:end], "//")
			s.at += end
			return strings.TrimSpace(line), nil
		}
	}
	text, _, err := s.until(";(")
	return text, err
}

// parseVariable takes .visible .shared .align 4 .b8 tile[1024] apart.
func parseVariable(words []string) (v variable, err error) {
	v.align = 1
	unit := 1
	for i := 0; i < len(words); i++ {
		switch word := words[i]; {
		case word == ".align" && i+1 < len(words):
			if v.align, err = strconv.Atoi(words[i+1]); err != nil {
				return v, err
			}
			i++
		case !strings.HasPrefix(word, "."):
			v.name = strings.Join(words[i:], "")
			i = len(words)
		default:
			if n := bytesOf(strings.TrimPrefix(word, ".")); n > 0 {
				unit = n
				v.align = max(v.align, n)
			}
		}
	}
	name, count, isArray := strings.Cut(v.name, "[")
	v.name, v.bytes = name, unit
	if isArray {
		n := 0
		if count = strings.TrimSuffix(count, "]"); count != "" {
			if n, err = strconv.Atoi(count); err != nil {
				return v, err
			}
		}
		v.bytes = n * unit
	}
	return v, nil
}

// bytesOf is how wide a type is; 0: it is none.
func bytesOf(t string) int {
	switch t {
	case "u8", "s8", "b8":
		return 1
	case "u16", "s16", "b16", "f16", "bf16":
		return 2
	case "u32", "s32", "b32", "f32", "bf16x2", "f16x2":
		return 4
	case "u64", "s64", "b64", "f64":
		return 8
	}
	return 0
}

// kernel reads an entry; its name has been read, and the parenthesis of its parameters.
func (m *Module) kernel(s *source, head string) (*Kernel, error) {
	words := strings.Fields(head)
	k := &Kernel{Name: words[len(words)-1]}
	list, _, err := s.until(")")
	if err != nil {
		return nil, err
	}
	at := 0
	for _, text := range split(list) {
		words := strings.Fields(text)
		if len(words) < 3 || words[0] != ".param" {
			return nil, s.errorf("parameter %q is not known", text)
		}
		p := Param{Name: words[len(words)-1], Type: strings.TrimPrefix(words[1], ".")}
		if p.Bytes = bytesOf(p.Type); p.Bytes == 0 {
			return nil, s.errorf("parameter %q: type %q is not known", p.Name, p.Type)
		}
		at = (at + p.Bytes - 1) / p.Bytes * p.Bytes
		p.at = at
		at += p.Bytes
		k.Params = append(k.Params, p)
	}
	bounds, _, err := s.until("{")
	if err != nil {
		return nil, err
	}
	if k.MaxThreads, err = maxThreads(bounds); err != nil {
		return nil, s.errorf("%v", err)
	}
	body, err := s.body()
	if err != nil {
		return nil, err
	}
	return k, m.compile(k, body)
}

// maxThreads reads .maxntid 256, 1, 1, and passes over what bounds registers.
func maxThreads(bounds string) (int, error) {
	_, list, ok := strings.Cut(bounds, ".maxntid ")
	if !ok {
		return 0, nil
	}
	list, _, _ = strings.Cut(list, ".")
	n := 1
	for _, text := range split(list) {
		d, err := strconv.Atoi(strings.TrimSpace(text))
		if err != nil {
			return 0, err
		}
		n *= d
	}
	return n, nil
}

// body reads the statements up to the brace that closes a kernel.
func (s *source) body() (all []statement, err error) {
	for depth := 1; depth > 0; {
		switch s.peek() {
		case '{':
			s.at++
			depth++
		case '}':
			s.at++
			depth--
		default:
			s.skip()
			line := s.line
			text, end, err := s.until(";:")
			if err != nil {
				return nil, err
			}
			switch {
			case end == ':':
				all = append(all, statement{line: line, label: text})
			case text != "":
				all = append(all, newStatement(line, text))
			}
		}
	}
	return all, nil
}
