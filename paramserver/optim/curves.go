package optim

import (
	"math"
	"strconv"
	"strings"
)

// A curve is the shape of a schedule without warm-up. rate returns the rate at
// p for a base rate, args the canonical text of its arguments.
type curve interface {
	rate(base float64, p Progress) float64
	args() string
}

// constant: base.
type constant struct{}

func (constant) rate(base float64, _ Progress) float64 { return base }
func (constant) args() string                          { return "" }

// discexp: base * a^floor(samples/b).
type discexp struct{ a, b float64 }

func (c discexp) rate(base float64, p Progress) float64 {
	return float64(base * power(c.a, c.drops(p.Samples)))
}

// drops returns floor(samples/b). For an integer b the division is that of
// integers, so that the drop falls exactly on each multiple of b.
func (c discexp) drops(samples uint64) float64 {
	if c.b == math.Floor(c.b) && c.b < maxExact {
		return float64(samples / uint64(c.b))
	}
	return math.Floor(float64(samples) / c.b)
}

func (c discexp) args() string { return list(c.a, c.b) }

// expCurve: base * a^(samples/b).
type expCurve struct{ a, b float64 }

func (c expCurve) rate(base float64, p Progress) float64 {
	return float64(base * power(c.a, float64(p.Samples)/c.b))
}

func (c expCurve) args() string { return list(c.a, c.b) }

// poly: base * (1 + a*samples)^(-b).
type poly struct{ a, b float64 }

func (c poly) rate(base float64, p Progress) float64 {
	return float64(base * power(1+float64(c.a*float64(p.Samples)), -c.b))
}

func (c poly) args() string { return list(c.a, c.b) }

// caffePoly: base * (1 - samples/a)^b, 0 from samples = a on.
type caffePoly struct{ a, b float64 }

func (c caffePoly) rate(base float64, p Progress) float64 {
	if float64(p.Samples) >= c.a {
		return 0
	}
	return float64(base * power(1-float64(p.Samples)/c.a, c.b))
}

func (c caffePoly) args() string { return list(c.a, c.b) }

// linear: max(base - a*samples, b); a and b are rates, not factors.
type linear struct{ a, b float64 }

func (c linear) rate(base float64, p Progress) float64 {
	return max(base-float64(c.a*float64(p.Samples)), c.b)
}

func (c linear) args() string { return list(c.a, c.b) }

// segment is one piece of a manual schedule: the factor up to and including end.
type segment struct {
	end    uint64
	factor float64
}

// manual: base * factor of the first segment whose end is not below samples
// (byEpoch: not below the epoch, counted from 0); the last factor after the last end.
type manual struct {
	segments []segment
	byEpoch  bool
}

func (c manual) rate(base float64, p Progress) float64 {
	at := p.Samples
	if c.byEpoch {
		at = uint64(max(p.Epoch, 0))
	}
	for _, s := range c.segments {
		if at <= s.end {
			return float64(base * s.factor)
		}
	}
	return float64(base * c.segments[len(c.segments)-1].factor)
}

func (c manual) args() string {
	parts := make([]string, len(c.segments))
	for i, s := range c.segments {
		parts[i] = strconv.FormatUint(s.end, 10) + ":" + number(s.factor)
	}
	return strings.Join(parts, ",")
}

// cosine: base * (1 + cos(pi*samples/total)) / 2, 0 from samples = total on.
type cosine struct{ total uint64 }

func (c cosine) rate(base float64, p Progress) float64 {
	if p.Samples >= c.total {
		return 0
	}
	return anneal(base, 0, float64(p.Samples)/float64(c.total))
}

func (c cosine) args() string { return strconv.FormatUint(c.total, 10) }

// oneCycle rises from base/divisor to base over the first peak*total samples
// and falls to base/divisor/finalDivisor over the rest, both along half a
// cosine; it stays there from samples = total on.
type oneCycle struct {
	total                       uint64
	peak, divisor, finalDivisor float64
}

func (c oneCycle) rate(base float64, p Progress) float64 {
	total, at := float64(c.total), float64(p.Samples)
	start := base / c.divisor
	end := start / c.finalDivisor
	top := float64(c.peak * total)
	switch {
	case at >= total:
		return end
	case at < top:
		return anneal(start, base, at/top)
	}
	return anneal(base, end, (at-top)/(total-top))
}

func (c oneCycle) args() string {
	return strconv.FormatUint(c.total, 10) + "," + list(c.peak, c.divisor, c.finalDivisor)
}

// anneal goes from one rate to another along half a cosine, x from 0 to 1.
func anneal(from, to, x float64) float64 {
	return to + float64((from-to)*float64((1+cosPi(x))/2))
}

// list joins numbers by commas.
func list(x ...float64) string {
	parts := make([]string, len(x))
	for i, v := range x {
		parts[i] = number(v)
	}
	return strings.Join(parts, ",")
}

// number prints x as the shortest text that reads back the same, integers in full.
func number(x float64) string {
	if x == math.Floor(x) && math.Abs(x) < maxExact {
		return strconv.FormatFloat(x, 'f', -1, 64)
	}
	return strconv.FormatFloat(x, 'g', -1, 64)
}
