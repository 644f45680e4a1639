package model

import (
	"fmt"
	"math"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/muster-train/muster/internal/kernel"
	"github.com/muster-train/muster/internal/philox"
)

// Init is how a tensor's values begin.
type Init struct {
	shape distribution
	value float32 // the constant, the deviation, or the gain
}

type distribution int

const (
	constant distribution = iota
	normal
	truncated
	fanIn
)

// truncateAt is where a truncated normal is drawn again, in deviations.
const truncateAt = 2

// Constant returns the initialisation to one value. The zero Init is Constant(0).
func Constant(v float32) Init { return Init{constant, v} }

// Normal returns independent draws from N(0, sigma^2).
func Normal(sigma float32) Init { return Init{normal, sigma} }

// TruncatedNormal returns draws from N(0, sigma^2), each drawn again while it is
// further than two sigma from 0.
func TruncatedNormal(sigma float32) Init { return Init{truncated, sigma} }

// FanIn returns draws from N(0, gain/n) for the n weights that lead to one
// output: k*k*c of a convolution over c channels, all inputs of a fully connected
// layer. Gain 1 keeps the variance of what comes in; gain 2 does after ReLU.
func FanIn(gain float32) Init { return Init{fanIn, gain} }

// String writes the initialisation: N(0, 0.01^2).
func (i Init) String() string {
	switch i.shape {
	case normal:
		return fmt.Sprintf("N(0, %.4g^2)", i.value)
	case truncated:
		return fmt.Sprintf("N(0, %.4g^2) within %d deviations", i.value, truncateAt)
	case fanIn:
		return fmt.Sprintf("N(0, %g/fan-in)", i.value)
	default:
		return fmt.Sprintf("%g", i.value)
	}
}

// fill writes one row of a tensor from its own place among the random numbers.
func (i Init) fill(row []float32, seed uint64, tensor, number int) {
	if i.shape == constant {
		for j := range row {
			row[j] = i.value
		}
		return
	}
	sigma := i.value
	if i.shape == fanIn {
		sigma = float32(math.Sqrt(float64(i.value) / float64(len(row))))
	}
	s := philox.New(seed, philox.Init+philox.Purpose(tensor), uint32(number), 0)
	for j := range row {
		z := kernel.Normal(&s)
		for i.shape == truncated && (z > truncateAt || z < -truncateAt) {
			z = kernel.Normal(&s)
		}
		row[j] = sigma * z
	}
}

// rowsAtOnce is how many rows a goroutine of Initialise takes at a time.
const rowsAtOnce = 16

// Initialise writes the first values of all parameters: v (Layout.Size()). They
// are a pure function of the network and seed: row r of tensor t (its first
// dimension, in the Layout's order) is drawn from philox's place
// (seed, Init+t, r, 0), one value after the other.
func (n *Network) Initialise(v []float32, seed uint64) {
	if len(v) != n.Layout.Size() {
		panic(fmt.Sprintf("model: initialise %s: %d values for %d parameters", n.Name, len(v), n.Layout.Size()))
	}
	type task struct{ tensor, first, end int }
	var tasks []task
	for t, tensor := range n.Layout.Tensors() {
		for first := 0; first < tensor.Shape[0]; first += rowsAtOnce {
			tasks = append(tasks, task{t, first, min(first+rowsAtOnce, tensor.Shape[0])})
		}
	}
	var next atomic.Int64
	var all sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), len(tasks)) {
		all.Go(func() {
			for i := next.Add(1) - 1; int(i) < len(tasks); i = next.Add(1) - 1 {
				t := tasks[i]
				tensor := n.Layout.Tensors()[t.tensor]
				values, width := tensor.Range.Of(v), tensor.Range.Len()/tensor.Shape[0]
				for r := t.first; r < t.end; r++ {
					n.inits[t.tensor].fill(values[r*width:(r+1)*width], seed, t.tensor, r)
				}
			}
		})
	}
	all.Wait()
}
