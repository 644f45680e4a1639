package devicetest

import (
	"errors"
	"fmt"
	"slices"

	"github.com/muster-train/muster/model/device"
	"github.com/muster-train/muster/model/params"
)

// callersVectors: vectors of the caller's serve as a plan's own do. Two vectors
// of parameters take turns, and are not written to; sums go where they are wanted.
func callersVectors(d device.Device) error {
	g := whole()
	own, err := compile(d, g, 3, 1)
	if err != nil {
		return err
	}
	p, err := compile(d, g, 3, 1)
	if err != nil {
		return err
	}
	b := batch(g, []int{0}, []int{3})
	b.Nodes = leaves([]int{0})
	var turns, before [2][]float32
	sums := params.NewVector(g.Parameters)
	for i := range turns {
		turns[i] = params.NewVector(g.Parameters)
		parameters(turns[i], g, uint64(20+i))
		before[i] = slices.Clone(turns[i])
	}
	first := p.Sum(0)
	p.UseSum(0, sums)
	for call := range 4 {
		w := turns[call%2]
		p.UseParameters(w)
		copy(own.Parameters(), w)
		own.Loaded(params.Range{First: 0, End: g.Parameters})
		for _, plan := range []device.Plan{p, own} {
			if _, err := plan.Gradient(b, nil); err != nil {
				return err
			}
		}
		if &p.Sum(0)[0] != &sums[0] || &p.Parameters()[0] != &w[0] {
			return errors.New("the vectors are not the caller's")
		}
		if err := sameBits(fmt.Sprintf("sums with the caller's vectors, call %d", call), sums, own.Sum(0)); err != nil {
			return err
		}
		if err := sameBits("parameters after a call", w, before[call%2]); err != nil {
			return err
		}
	}
	if slices.ContainsFunc(first, func(x float32) bool { return x != 0 }) {
		return errors.New("the plan's own vector of sums was written to")
	}
	if err := own.Close(); err != nil {
		return err
	}
	return p.Close()
}
