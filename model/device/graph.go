package device

import "github.com/muster-train/muster/model/params"

// Shape is the shape of one image's activations: channels, height, width.
type Shape struct{ C, H, W int }

// Values returns the number of values of one image.
func (s Shape) Values() int { return s.C * s.H * s.W }

// Graph is a network with shapes resolved: Ops in forward order, the first of
// which takes Input, the last of which gives one logit for each class. Softmax
// and cross-entropy follow by themselves.
type Graph struct {
	Input      Shape
	Ops        []Op
	Classes    int
	Parameters int // values of the vector
}

// Op is one operation: *Conv, *Pool, *LRN, *Dense, *Dropout or *Activation.
type Op interface {
	// Label is the name of the layer, for messages and profiles.
	Label() string
	// Shapes returns the shapes of one image's input and output.
	Shapes() (in, out Shape)
}

// Place names an operation and the shapes it stands between.
type Place struct {
	Name    string
	In, Out Shape
}

// Label returns the name.
func (p *Place) Label() string { return p.Name }

// Shapes returns the shapes.
func (p *Place) Shapes() (in, out Shape) { return p.In, p.Out }

// Conv is a convolution (a correlation, as everywhere in this field) with bias:
//
//	y[k,oy,ox] = b[k] + sum over r, s, c of w[k,c,r,s] * x[c, oy*Stride+r-PadTop, ox*Stride+s-PadLeft]
//
// where taps outside the image are passed over. Output channel k of group j
// sees only the input channels of group j. The sum is one chain of fused
// multiply-adds that starts from b[k] and takes r, s, c in ascending order, r
// outermost.
type Conv struct {
	Place
	Kernel, Stride    int
	PadTop, PadLeft   int          // padding below and to the right follows from Out
	Groups            int          // divides In.C and Out.C
	Weight, Bias      params.Range // (Out.C, In.C/Groups, Kernel, Kernel), (Out.C)
	SkipInputGradient bool         // the first parametrised layer: nobody needs dx
}

// Dense is a fully connected layer over all values of an image, in the order
// channel, row, column: y[k] = b[k] + sum over i of w[k,i] * x[i]. As a chain it
// is a convolution whose kernel is the whole map.
type Dense struct {
	Place
	Weight, Bias      params.Range // (Out.C, In.C*In.H*In.W), (Out.C)
	SkipInputGradient bool
}

// PoolKind is how a window becomes one value.
type PoolKind int

// The kinds of pooling.
const (
	// MaxPool takes the largest value; the gradient goes to the first of equals in row-major order.
	MaxPool PoolKind = iota
	// AveragePool takes the sum, in row-major order, divided by the number of values inside the image.
	AveragePool
)

// Pool reduces windows of Kernel x Kernel at every Stride, beginning at
// -PadTop, -PadLeft; windows are clipped to the image.
type Pool struct {
	Place
	Kind            PoolKind
	Kernel, Stride  int
	PadTop, PadLeft int
}

// LRN is local response normalisation across channels:
//
//	y_c = x_c * (K + Alpha * sum of x_j^2 over the Size channels centred on c) ^ -Beta
//
// with the window clipped at the ends: j from c-(Size-1)/2 to c+Size/2. Alpha
// is already divided by Size where the network's formula divides.
type LRN struct {
	Place
	Size           int
	K, Alpha, Beta float32
}

// Dropout zeroes each value with probability P in training, by Mask. In the
// 2012 form (Inverted false) testing multiplies by 1-P; in the inverted form
// training divides what is kept by 1-P.
type Dropout struct {
	Place
	P        float32
	Inverted bool
	Layer    uint32 // number of this dropout within the network, from 0
}

// ActivationKind is the function of an activation.
type ActivationKind int

// The activations.
const (
	ReLU      ActivationKind = iota // max(0, x); gradient 0 at 0
	LeakyReLU                       // x for x > 0, else Slope*x
	Softplus                        // log(1 + e^x)
)

// Activation applies a function to every value.
type Activation struct {
	Place
	Kind  ActivationKind
	Slope float32
}
