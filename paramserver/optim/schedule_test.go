package optim

import (
	"math"
	"testing"
)

// mustParse parses a schedule that has to be right.
func mustParse(t *testing.T, spec string, base float64, total uint64) Schedule {
	t.Helper()
	s, err := ParseSchedule(spec, base, total)
	if err != nil {
		t.Fatalf("ParseSchedule(%q): %v", spec, err)
	}
	return s
}

// Every want is worked out by hand from the formula.
func TestRates(t *testing.T) {
	const total = 1000
	for _, tc := range []struct {
		spec    string
		base    float64
		samples uint64
		epoch   int
		want    float64
	}{
		{"constant", 0.1, 0, 0, 0.1},
		{"constant", 0.1, 1 << 40, 9, 0.1},

		{"discexp:0.1,5e6", 0.1, 0, 0, 0.1},
		{"discexp:0.1,5e6", 0.1, 4_999_999, 99, 0.1},
		{"discexp:0.1,5e6", 0.1, 5_000_000, 100, 0.01},
		{"discexp:0.1,5e6", 0.1, 9_999_999, 199, 0.01},
		{"discexp:0.1,5e6", 0.1, 10_000_000, 200, 0.001},
		{"discexp:0.5,2.5", 1, 7, 0, 0.25}, // floor(2.8)

		{"exp:0.25,100", 2, 0, 0, 2},
		{"exp:0.25,100", 2, 50, 0, 1},
		{"exp:0.25,100", 2, 100, 0, 0.5},
		{"exp:0.25,100", 2, 150, 0, 0.25},

		{"poly:0.01,1", 0.4, 0, 0, 0.4},
		{"poly:0.01,1", 0.4, 300, 0, 0.1}, // 0.4 / 4
		{"poly:0.01,2", 0.4, 100, 0, 0.1}, // 0.4 / 2^2
		{"poly:0.03,0.5", 1, 100, 0, 0.5}, // 1 / sqrt(4)
		{"poly:0.03,0", 0.7, 100, 0, 0.7}, // exponent 0
		{"poly:0,3", 0.7, 1_000, 0, 0.7},  // no growth
		{"caffe_poly:100,1", 1, 0, 0, 1},  //
		{"caffe_poly:100,1", 1, 25, 0, .75},
		{"caffe_poly:100,2", 1, 50, 0, .25},
		{"caffe_poly:100,0.5", 1, 75, 0, .5},
		{"caffe_poly:100,2", 1, 100, 0, 0},
		{"caffe_poly:100,2", 1, 101, 0, 0},

		{"linear:0.001,0.05", 0.1, 0, 0, 0.1},
		{"linear:0.001,0.05", 0.1, 20, 0, 0.08},
		{"linear:0.001,0.05", 0.1, 50, 0, 0.05},
		{"linear:0.001,0.05", 0.1, 5000, 0, 0.05},

		{"manual:100:1,200:0.5,300:0.1", 0.2, 0, 7, 0.2},
		{"manual:100:1,200:0.5,300:0.1", 0.2, 100, 7, 0.2}, // an end belongs to its segment
		{"manual:100:1,200:0.5,300:0.1", 0.2, 101, 7, 0.1},
		{"manual:100:1,200:0.5,300:0.1", 0.2, 200, 7, 0.1},
		{"manual:100:1,200:0.5,300:0.1", 0.2, 201, 7, 0.02},
		{"manual:100:1,200:0.5,300:0.1", 0.2, 300, 7, 0.02},
		{"manual:100:1,200:0.5,300:0.1", 0.2, 999, 7, 0.02}, // the last one stays

		{"pass_manual:0:1,2:0.5,3:0.25", 0.8, 1 << 30, 0, 0.8},
		{"pass_manual:0:1,2:0.5,3:0.25", 0.8, 0, 1, 0.4},
		{"pass_manual:0:1,2:0.5,3:0.25", 0.8, 0, 2, 0.4},
		{"pass_manual:0:1,2:0.5,3:0.25", 0.8, 0, 3, 0.2},
		{"pass_manual:0:1,2:0.5,3:0.25", 0.8, 0, 30, 0.2},

		{"cosine", 0.1, 0, 0, 0.1},
		{"cosine", 0.1, 250, 0, 0.05 * (1 + math.Sqrt2/2)},
		{"cosine", 0.1, 500, 0, 0.05},
		{"cosine", 0.1, 750, 0, 0.05 * (1 - math.Sqrt2/2)},
		{"cosine", 0.1, 1000, 0, 0},
		{"cosine", 0.1, 1001, 0, 0},
		{"cosine", 0.1, 2000, 0, 0},
		{"cosine:300", 0.1, 100, 0, 0.075}, // cos(pi/3) = 1/2

		{"onecycle", 1, 0, 0, 0.04},
		{"onecycle", 1, 150, 0, 0.52},                   // half the way from 0.04 to 1
		{"onecycle", 1, 300, 0, 1},                      // the peak
		{"onecycle", 1, 650, 0, (1 + 0.04/1e4) / 2},     // half the way down
		{"onecycle", 1, 1000, 0, 0.04 / 1e4},            // 0.04 over 1e4
		{"onecycle", 1, 5000, 0, 0.04 / 1e4},            // stays
		{"onecycle:2000,0.5,10,100", 1, 0, 0, 0.1},      // base / divisor
		{"onecycle:2000,0.5,10,100", 1, 1000, 0, 1},     // the peak
		{"onecycle:2000,0.5,10,100", 1, 1500, 0, .5005}, // (1 + 0.001) / 2
		{"onecycle:2000,0.5,10,100", 1, 2000, 0, 0.001}, //

		{"warmup:100+constant", 0.1, 0, 0, 0},
		{"warmup:100+constant", 0.1, 25, 0, 0.025},
		{"warmup:100+constant", 0.1, 99, 0, 0.099},
		{"warmup:100+constant", 0.1, 100, 0, 0.1},
		{"warmup:5e+2+cosine", 0.1, 250, 0, 0.025 * (1 + math.Sqrt2/2)}, // half of cosine's own
		{"warmup:10+pass_manual:1:1,2:0.5", 0.1, 5, 2, 0.025},
	} {
		s := mustParse(t, tc.spec, tc.base, total)
		got := float64(s.Rate(Progress{Samples: tc.samples, Epoch: tc.epoch}))
		if math.Abs(got-tc.want) > 6e-8*math.Abs(tc.want) {
			t.Errorf("%s of %v after %d samples, epoch %d: rate %.9g, want %.9g", tc.spec, tc.base, tc.samples, tc.epoch, got, tc.want)
		}
	}
}

// The article's schedule: lr * 0.1^floor(samples / 5,000,000), the drop exactly
// at each multiple, for 20 of them.
func TestDiscexpDropsExactlyAtMultiples(t *testing.T) {
	s := mustParse(t, "discexp:0.1,5e6", 0.1, 0)
	const b = 5_000_000
	want := 0.1
	for k := uint64(0); k < 20; k++ {
		before, at := s.Rate(Progress{Samples: k*b + b - 1}), s.Rate(Progress{Samples: (k + 1) * b})
		if off(float64(before), want) > 6e-8 || before != s.Rate(Progress{Samples: k * b}) {
			t.Errorf("rate %v just before multiple %d, want %v", before, k+1, want)
		}
		want /= 10
		if off(float64(at), want) > 6e-8 {
			t.Errorf("rate %v at multiple %d, want %v", at, k+1, want)
		}
	}
	// Where float64 rounds the quotient up to the multiple, the integers still tell.
	const big = 1<<53 - 1
	s = mustParse(t, "discexp:0.5,9007199254740991", 1, 0)
	if got := s.Rate(Progress{Samples: 3*big - 1}); got != 0.25 {
		t.Errorf("rate %v one sample before the third multiple, want 0.25", got)
	}
}

func TestRateIsAPureFunction(t *testing.T) {
	for _, spec := range []string{"manual:100:1,200:0.5", "pass_manual:1:1,2:0.5", "discexp:0.1,50", "onecycle", "warmup:30+cosine"} {
		s := mustParse(t, spec, 0.1, 1000)
		var forward []float32
		for i := range 400 {
			forward = append(forward, s.Rate(Progress{Samples: uint64(i), Epoch: i / 100}))
		}
		for i := 399; i >= 0; i-- {
			if got := s.Rate(Progress{Samples: uint64(i), Epoch: i / 100}); got != forward[i] {
				t.Fatalf("%s: rate at %d is %v, was %v", spec, i, got, forward[i])
			}
		}
	}
}

func TestRatesNeverLeaveTheirBounds(t *testing.T) {
	for _, spec := range []string{
		"constant", "discexp:0.1,10", "exp:0.9,3", "poly:1e-3,0.75", "caffe_poly:700,1.5", "linear:1e-4,0",
		"manual:100:1,200:0.5", "cosine", "onecycle", "warmup:300+onecycle:900", "exp:2,0.001", "manual:1:1e300", "discexp:3,1",
	} {
		s := mustParse(t, spec, 0.1, 1000)
		for _, samples := range []uint64{0, 1, 2, 99, 100, 299, 300, 301, 699, 700, 899, 900, 999, 1000, 1001, 1 << 53, math.MaxUint64} {
			got := s.Rate(Progress{Samples: samples, Epoch: 3})
			if !(got >= 0 && got <= math.MaxFloat32) {
				t.Errorf("%s: rate %v at %d samples", spec, got, samples)
			}
		}
	}
	if got := (Schedule{}).Rate(Progress{}); got != 0 {
		t.Errorf("the zero Schedule has rate %v", got)
	}
}

// Rates that come from the package's own exponential and cosine, bit for bit.
func TestRatesHaveTheseBits(t *testing.T) {
	for _, tc := range []struct {
		spec string
		want uint32
	}{
		{"exp:0.1,1000", 0x3d9a4987},
		{"poly:1e-3,0.75", 0x3dbbbc26},
		{"caffe_poly:1000,1.5", 0x3da83388},
		{"cosine", 0x3dc53fe7},
		{"onecycle", 0x3d1e23df},
		{"warmup:500+cosine", 0x3cc217f7},
	} {
		s := mustParse(t, tc.spec, 0.1, 1000)
		if got := math.Float32bits(s.Rate(Progress{Samples: 123})); got != tc.want {
			t.Errorf("%s: bits %#x, want %#x", tc.spec, got, tc.want)
		}
	}
}
