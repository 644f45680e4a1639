package devicetest

import (
	"errors"
	"fmt"
	"math"

	"github.com/muster-train/muster/model/device"
	"github.com/muster-train/muster/model/params"
)

// errNotComing is why parameters that are awaited don't come.
var errNotComing = errors.New("they are not coming")

// awaits has parameters come when they are awaited, NaN before, and compares with
// a plan that had them from the first. Where they don't come the step ends, and
// the next one is none the worse.
func awaits(d device.Device) error {
	g := whole()
	want, err := compile(d, g, 3, 1)
	if err != nil {
		return err
	}
	p, err := compile(d, g, 3, 1)
	if err != nil {
		return err
	}
	b := batch(g, []int{0}, []int{3})
	b.Nodes = leaves([]int{0})
	wanted, err := want.Gradient(b, nil)
	if err != nil {
		return err
	}
	for come := range 9 { // so many ranges come, then none
		v := p.Parameters()
		if come%2 == 1 { // they come in a vector of the caller's
			v = params.NewVector(g.Parameters)
		}
		for i := range v {
			v[i] = float32(math.NaN())
		}
		if come%2 == 1 {
			p.UseParameters(v)
		} else {
			p.Loaded(params.Range{First: 0, End: g.Parameters})
		}
		here := make([]bool, g.Parameters)
		calls := 0
		b.Await = func(r params.Range) error {
			if calls++; come < 8 && calls > come {
				return errNotComing
			}
			copy(r.Of(p.Parameters()), r.Of(want.Parameters()))
			p.Loaded(r)
			for i := r.First; i < r.End; i++ {
				here[i] = true
			}
			return nil
		}
		tallies, err := p.Gradient(b, nil)
		b.Await = nil
		switch {
		case err == nil:
			for i, ok := range here {
				if !ok {
					return fmt.Errorf("parameter %d was never awaited", i)
				}
			}
			if err := sameBits("the sum with awaited parameters", p.Sum(0), want.Sum(0)); err != nil {
				return err
			}
			if err := sameTally("with awaited parameters", tallies[0], wanted[0]); err != nil {
				return err
			}
		case come == 8 || !errors.Is(err, errNotComing):
			return fmt.Errorf("after %d ranges that came: %w", calls, err)
		}
	}
	if err := want.Close(); err != nil {
		return err
	}
	return p.Close()
}
