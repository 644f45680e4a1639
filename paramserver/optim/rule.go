package optim

import (
	"fmt"

	"github.com/muster-train/muster/internal/kernel"
)

// Rule is stochastic gradient descent with momentum and L2 weight decay. The
// zero Rule is plain gradient descent.
type Rule struct {
	Momentum    float32 // mu, at least 0 and below 1
	WeightDecay float32 // decay, at least 0; applied to weights and biases alike
	Nesterov    bool    // Nesterov's form instead of the classical one
}

// Validate returns an error that names the first field out of its range.
func (r Rule) Validate() error {
	if !(r.Momentum >= 0 && r.Momentum < 1) {
		return fmt.Errorf("momentum %v: at least 0 and below 1 is allowed", r.Momentum)
	}
	if !(r.WeightDecay >= 0 && r.WeightDecay < inf32) {
		return fmt.Errorf("weight decay %v: a finite number, at least 0, is allowed", r.WeightDecay)
	}
	return nil
}

// Apply computes one update of a range of the vector. All slices hold the same
// n values of the range; w2 and v2 receive the new parameters and velocities
// and may be w and v themselves.
//
// g is the sum of gradients, scale what makes it their mean (1 over the number
// of images that took part), lr the rate of this step:
//
//	d  = scale*g + decay*w
//	v2 = mu*v - lr*d
//	w2 = w + v2                  (classical, PaddlePaddle's form)
//	w2 = w + (mu*v2 - lr*d)      (Nesterov)
//
// The rate is inside the velocity: after a change of rate the old velocity
// keeps the old rate's length. PyTorch's SGD holds u = mu*u + d and applies
// w -= lr*u (Nesterov: w -= lr*(d + mu*u)), where the new rate scales the old
// velocity as well; at a constant rate v = -lr*u and both give the same
// parameters but for rounding. Every product and sum is rounded to float32 on
// its own, in the order written.
//
// It reports whether all new parameters are finite. Where the results are far,
// they are written past the caches, for vectors that have no room there; w2 and
// v2 then begin at multiples of 64 bytes.
func (r Rule) Apply(w2, v2, w, v, g []float32, scale, lr float32, far bool) (finite bool) {
	if r.Nesterov {
		return kernel.Nesterov(w2, v2, w, v, g, scale, lr, r.Momentum, r.WeightDecay, far)
	}
	return kernel.Momentum(w2, v2, w, v, g, scale, lr, r.Momentum, r.WeightDecay, far)
}
