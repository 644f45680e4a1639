package params

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"slices"

	"gorgonia.org/tensor"
)

// ChunkValues is the number of values of a chunk: 256 Ki, that is 1 MiB.
const ChunkValues = 1 << 18

// Step is the number of updates applied to a vector.
type Step uint64

// Range is the values [First, End) of a vector.
type Range struct{ First, End int }

// Len returns the number of values of r.
func (r Range) Len() int { return r.End - r.First }

// Of returns the values of r in v; they alias v.
func (r Range) Of(v []float32) []float32 { return v[r.First:r.End:r.End] }

// Tensor is one named parameter.
type Tensor struct {
	Name  string // as a PyTorch module would name it: conv1.weight
	Shape []int  // outermost first
	Range Range  // place in the vector

	// Zero tells of which values the gradient is zero whatever the data are: of
	// value i where Zero[i%len(Zero)]. It must divide the values; nil: of none.
	Zero []bool
}

// Layout is the order, names and shapes of all parameters of a network. It is
// not modified after NewLayout and safe for concurrent use.
type Layout struct {
	tensors []Tensor
	size    int

	stretches [][]stretch // by chunk: its live values
	live      []int       // by chunk: their number
}

// NewLayout lays tensors out one after the other, in the order given; their
// Range fields are set here. Names must differ and every dimension be positive.
func NewLayout(tensors []Tensor) (*Layout, error) {
	l := &Layout{tensors: slices.Clone(tensors)}
	seen := map[string]bool{}
	for i := range l.tensors {
		t := &l.tensors[i]
		if t.Name == "" || seen[t.Name] {
			return nil, fmt.Errorf("layout: tensor %d: name %q is empty or taken", i, t.Name)
		}
		seen[t.Name] = true
		n := 1
		for _, d := range t.Shape {
			if d <= 0 {
				return nil, fmt.Errorf("layout: tensor %s: shape %v has a dimension that is not positive", t.Name, t.Shape)
			}
			n *= d
		}
		if err := checkZero(t, n); err != nil {
			return nil, err
		}
		t.Shape, t.Zero = slices.Clone(t.Shape), slices.Clone(t.Zero)
		t.Range = Range{l.size, l.size + n}
		l.size += n
	}
	l.chart()
	return l, nil
}

// Size returns the number of values of the vector.
func (l *Layout) Size() int { return l.size }

// Tensors returns all tensors in order. The caller must not modify them.
func (l *Layout) Tensors() []Tensor { return l.tensors }

// Tensor returns the tensor of a name, and whether there is one.
func (l *Layout) Tensor(name string) (Tensor, bool) {
	for _, t := range l.tensors {
		if t.Name == name {
			return t, true
		}
	}
	return Tensor{}, false
}

// Chunks returns the number of chunks of the vector.
func (l *Layout) Chunks() int { return (l.size + ChunkValues - 1) / ChunkValues }

// Chunk returns the range of chunk i; the last may be short.
func (l *Layout) Chunk(i int) Range {
	return Range{i * ChunkValues, min((i+1)*ChunkValues, l.size)}
}

// Fingerprint returns a hash over order, names and shapes, 64 hexadecimal
// digits. What gradients are zero is not part of it.
func (l *Layout) Fingerprint() string {
	h := sha256.New()
	for _, t := range l.tensors {
		writeTensor(h, t)
	}
	return hex.EncodeToString(h.Sum(nil))
}

func writeTensor(h hash.Hash, t Tensor) {
	fmt.Fprintf(h, "%s %v\n", t.Name, t.Shape)
}

// Views returns each tensor by name as a gorgonia tensor of its shape whose
// values are those of v, not a copy. v must have Size values.
func (l *Layout) Views(v []float32) map[string]*tensor.Dense {
	views := make(map[string]*tensor.Dense, len(l.tensors))
	for _, t := range l.tensors {
		views[t.Name] = tensor.New(tensor.WithShape(t.Shape...), tensor.WithBacking(t.Range.Of(v)))
	}
	return views
}
