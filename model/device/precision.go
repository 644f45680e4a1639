package device

import "fmt"

// Precision is how exactly values of one kind are kept, of two that do not depend
// on each other. Options.Precision is that of the factors of products: activations,
// weights and gradients on their way into a convolution or a fully connected
// layer. Options.Sums is that of gradients and their sums over shards. All else is
// float32 whatever they are, the chains of products among it.
type Precision int

// The precisions.
const (
	F32  Precision = iota // float32 as they are
	BF16                  // rounded to bfloat16, to nearest, ties to even
)

var precisions = [...]string{F32: "f32", BF16: "bf16"}

// String returns the name that ParsePrecision takes.
func (p Precision) String() string {
	if p < 0 || int(p) >= len(precisions) {
		return fmt.Sprintf("precision %d", int(p))
	}
	return precisions[p]
}

// ParsePrecision returns the precision of a name: f32, which may be left empty,
// or bf16.
func ParsePrecision(name string) (Precision, error) {
	switch name {
	case "", "f32":
		return F32, nil
	case "bf16":
		return BF16, nil
	}
	return 0, fmt.Errorf("unknown precision %q; want f32 or bf16", name)
}
