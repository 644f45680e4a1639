package cpu

import "github.com/muster-train/muster/internal/kernel"

// softmax turns logits into probabilities p, losses and ranks. Of one image,
// with m the largest logit and s the sum of e^(z-m) in the order of classes,
// the loss is log(s) - (z_label - m), and the gradient p - (1 at the label).
type softmax struct {
	p       *plan
	classes int
	z       []float32 // logits, as activations
	e       []float32 // (mostBlocks, classes, lanes): e^(z-m), then p
	losses  []float32 // of each image
	ranks   []int32   // of each image's label: classes before it

	// of the call at hand
	gradient []float32 // as z; nil: not asked for
	labels   []int32   // nil: neither losses nor ranks are asked for
}

func newSoftmax(p *plan, classes, images int) *softmax {
	s := &softmax{p: p, classes: classes, losses: make([]float32, images), ranks: make([]int32, images)}
	p.arena.reserve(&s.e, p.mostBlocks*classes*lanes)
	return s
}

// run works on the lane blocks of the batch at hand.
func (s *softmax) run(labels []int32, gradient []float32) {
	s.labels, s.gradient = labels, gradient
	s.p.pool.run(s.p.blocks, s)
}

func (s *softmax) do(_, block int) {
	n := s.classes * lanes
	z, e := s.z[block*n:(block+1)*n], s.e[block*n:(block+1)*n]
	for lane := range min(lanes, s.p.images-block*lanes) {
		largest := z[lane]
		for c := 1; c < s.classes; c++ {
			largest = max(largest, z[c*lanes+lane])
		}
		var sum float32
		for c := range s.classes {
			v := kernel.Exp(z[c*lanes+lane] - largest)
			e[c*lanes+lane] = v
			sum += v
		}
		for c := range s.classes {
			e[c*lanes+lane] /= sum
		}
		if s.labels != nil {
			image := block*lanes + lane
			label := int(s.labels[image])
			s.losses[image] = kernel.Log(sum) - (z[label*lanes+lane] - largest)
			s.ranks[image] = rank(z, lane, label, s.classes)
		}
	}
	if s.gradient != nil {
		s.differentiate(block)
	}
}

// rank returns how many classes come before the label: those of larger logits,
// and those of equal ones and lower number. What can't be compared comes before.
func rank(z []float32, lane, label, classes int) int32 {
	var before int32
	own := z[label*lanes+lane]
	for c := range classes {
		if v := z[c*lanes+lane]; c != label && !(v < own || v == own && c > label) {
			before++
		}
	}
	return before
}

// first writes the class that ranks first for each image of the last run, -1
// where none does.
func (s *softmax) first(predicted []int32) {
	n := s.classes * lanes
	for image := range predicted {
		z, lane := s.z[image/lanes*n:(image/lanes+1)*n], image%lanes
		best := 0
		for c := 1; c < s.classes; c++ {
			if z[c*lanes+lane] > z[best*lanes+lane] {
				best = c
			}
		}
		predicted[image] = int32(best)
		if rank(z, lane, best, s.classes) != 0 {
			predicted[image] = -1 // what can't be compared comes before
		}
	}
}

// byImage writes values in the order of activations to out (N, classes).
func (s *softmax) byImage(out, values []float32) {
	for i := range len(out) / s.classes {
		lane := values[i/lanes*s.classes*lanes+i%lanes:]
		for c := range s.classes {
			out[i*s.classes+c] = lane[c*lanes]
		}
	}
}

// differentiate writes the gradients of a block's logits, zero for lanes
// without an image.
func (s *softmax) differentiate(block int) {
	n := s.classes * lanes
	dz := s.gradient[block*n : (block+1)*n]
	clear(dz)
	e := s.e[block*n : (block+1)*n]
	for lane := range min(lanes, s.p.images-block*lanes) {
		label := int(s.labels[block*lanes+lane])
		for c := range s.classes {
			v := e[c*lanes+lane]
			if c == label {
				v--
			}
			dz[c*lanes+lane] = v
		}
	}
}
