package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// naiveLRN is the definition of LRN and LRNBack, each operation rounded by way
// of float64.
func naiveLRN(x, dy []float32, r *Response) (y, d, f, dx []float32) {
	n := len(x)
	y, d, f, dx = make([]float32, n), make([]float32, n), make([]float32, n), make([]float32, n)
	q := make([]float32, n)
	inside := func(i int) bool { return i >= 0 && i < n }
	for i := range x {
		s := float32(0)
		for j := i - r.Before*Lanes; j <= i+r.After*Lanes; j += Lanes {
			if inside(j) {
				s = sum(s, product(x[j], x[j]))
			}
		}
		d[i] = sum(r.K, product(r.Alpha, s))
		root := math.Sqrt(float64(d[i]))
		f[i] = float32(1 / (root * math.Sqrt(root)))
		if r.Beta != 0.75 {
			f[i] = Pow(d[i], -r.Beta)
		}
		y[i] = product(x[i], f[i])
		q[i] = float32(float64(product(dy[i], y[i])) / float64(d[i]))
	}
	for i := range x {
		s := float32(0)
		for j := i - r.After*Lanes; j <= i+r.Before*Lanes; j += Lanes {
			if inside(j) {
				s = sum(s, q[j])
			}
		}
		twice := product(product(2, r.Alpha), r.Beta)
		dx[i] = sum(product(dy[i], f[i]), -product(product(twice, x[i]), s))
	}
	return y, d, f, dx
}

func TestLRNFollowsItsDefinition(t *testing.T) {
	eachKernel(t, func(t *testing.T) {
		random := rand.New(rand.NewPCG(35, 36))
		for draw := range draws(1000) {
			n := Lanes * (1 + random.IntN(12))
			r := Response{
				Before: random.IntN(5), After: random.IntN(5),
				K: []float32{1, 2, 0, -0.5}[random.IntN(4)], Alpha: random.Float32(), Beta: 0.75,
			}
			x, dy := operands(random, n), operands(random, n)
			switch draw % 4 {
			case 0:
				x, dy = marked(random, n, false), marked(random, n, true)
			case 1: // Pow takes finite numbers, not negative
				r.Beta, r.K = random.Float32(), 1
			}
			wantY, wantD, wantF, wantX := naiveLRN(x, dy, &r)
			what := fmt.Sprintf(" of %d values, %+v", n, r)

			// One value more than the results have must stay.
			y, d, f, dx := filled(n+1), filled(n+1), filled(n+1), filled(n+1)
			end := y[n]
			check := func(name string, got, want []float32) {
				t.Helper()
				compare(t, name+what, got, append(slices.Clone(want), end))
			}
			LRN(y[:n], nil, nil, x, &r)
			check("y alone", y, wantY)
			clear(y[:n])
			LRN(y[:n], d[:n], f[:n], x, &r)
			check("y", y, wantY)
			check("d", d, wantD)
			check("f", f, wantF)
			LRNBack(dx[:n], dy, x, d, f, make([]float32, n), &r)
			check("dx", dx, wantX)
		}
	})
}
