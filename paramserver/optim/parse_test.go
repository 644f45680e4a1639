package optim

import (
	"strings"
	"testing"
)

func TestStringIsCanonical(t *testing.T) {
	for _, tc := range []struct{ spec, want string }{
		{"constant", "constant"},
		{"discexp:0.1,5e6", "discexp:0.1,5000000"},
		{"discexp:1e-1,5000000", "discexp:0.1,5000000"},
		{"exp:.5,1e3", "exp:0.5,1000"},
		{"poly:1e-7,0.75", "poly:1e-07,0.75"},
		{"caffe_poly:2e4,2.0", "caffe_poly:20000,2"},
		{"linear:1e-9,0", "linear:1e-09,0"},
		{"manual:1e3:1,2000:0.10", "manual:1000:1,2000:0.1"},
		{"pass_manual:0:1,10:.5", "pass_manual:0:1,10:0.5"},
		{"cosine", "cosine:777"},
		{"cosine:5e4", "cosine:50000"},
		{"onecycle", "onecycle:777,0.3,25,10000"},
		{"onecycle:9,0.5", "onecycle:9,0.5,25,10000"},
		{"warmup:5e+4+discexp:0.1,5e+6", "warmup:50000+discexp:0.1,5000000"},
		{"warmup:1+cosine", "warmup:1+cosine:777"},
	} {
		s := mustParse(t, tc.spec, 0.1, 777)
		if got := s.String(); got != tc.want {
			t.Errorf("%q prints as %q, want %q", tc.spec, got, tc.want)
		}
		again := mustParse(t, s.String(), 0.1, 0)
		if again.String() != tc.want {
			t.Errorf("%q reads back as %q", tc.want, again)
		}
		for _, samples := range []uint64{0, 5, 700, 776, 60000, 5e6} {
			p := Progress{Samples: samples, Epoch: int(samples % 20)}
			if a, b := s.Rate(p), again.Rate(p); a != b {
				t.Errorf("%q: rate %v at %d, read back %v", tc.spec, a, samples, b)
			}
		}
	}
	if got := (Schedule{}).String(); got != "" {
		t.Errorf("the zero Schedule prints as %q", got)
	}
}

func TestErrorsNameValueAndWhatIsAllowed(t *testing.T) {
	for _, tc := range []struct {
		spec  string
		total uint64
		want  []string
	}{
		{"", 9, []string{`""`, "constant", "discexp:a,b", "warmup"}},
		{"disexp:0.1,5", 9, []string{"disexp", "did you mean discexp?", "caffe_poly:a,b"}},
		{"cosin", 9, []string{"did you mean cosine?"}},
		{"Constant", 9, []string{"did you mean constant?"}},
		{"zzzzzzzzzzzzzz", 9, []string{"zzzz", "allowed are constant | discexp:a,b | exp:a,b"}},
		{"constant:3", 9, []string{"constant takes no arguments"}},
		{"discexp", 9, []string{"0 arguments where two, a and b", "discexp:a,b"}},
		{"discexp:0.1", 9, []string{"1 arguments where two"}},
		{"discexp:0.1,2,3", 9, []string{"3 arguments where two"}},
		{"discexp:x,2", 9, []string{`a: "x" is not a finite number`}},
		{"discexp:0.1,0", 9, []string{"b: 0 is not above 0"}},
		{"discexp:-1,5", 9, []string{"a: -1 is not above 0"}},
		{"exp:NaN,5", 9, []string{`a: "NaN" is not a finite number`}},
		{"exp:0.5,inf", 9, []string{`b: "inf" is not a finite number`}},
		{"poly:-1,1", 9, []string{"a: -1 is below 0"}},
		{"caffe_poly:0,1", 9, []string{"a: 0 is not above 0"}},
		{"linear:0.1,-1", 9, []string{"b: -1 is below 0"}},
		{"manual", 9, []string{"no segment", "manual:seg0:rate0"}},
		{"manual:", 9, []string{`"" is not a segment`}},
		{"manual:5", 9, []string{`"5" is not a segment and its rate`}},
		{"manual:1.5:1", 9, []string{`"1.5" is not a whole number`}},
		{"manual:-5:1", 9, []string{`"-5" is not a whole number`}},
		{"manual:5:1,5:2", 9, []string{"segment 5 is not above 5"}},
		{"manual:5:-1", 9, []string{"rate: -1 is below 0"}},
		{"pass_manual:5:1:2", 9, []string{`"1:2" is not a finite number`}},
		{"cosine", 0, []string{"job's samples are not known", "cosine[:total]"}},
		{"cosine:0", 9, []string{`"0" samples is not a whole number, at least 1`}},
		{"cosine:1,2", 9, []string{"2 arguments where at most one"}},
		{"onecycle", 0, []string{"not known"}},
		{"onecycle:100,0", 9, []string{"peak-fraction 0 is not between 0 and 1"}},
		{"onecycle:100,1", 9, []string{"peak-fraction 1"}},
		{"onecycle:100,0.5,0.5", 9, []string{"divisor 0.5 is not at least 1"}},
		{"onecycle:100,0.5,5,0", 9, []string{"final-divisor 0 is not at least 1"}},
		{"onecycle:100,0.5,5,6,7", 9, []string{"5 arguments where at most four"}},
		{"onecycle:1e99", 9, []string{`"1e99"`}},
		{"warmup:5", 9, []string{"warmup:N+SCHEDULE"}},
		{"warmup:5e+3", 9, []string{"warmup:N+SCHEDULE"}},
		{"warmup:0+constant", 9, []string{`"0" samples`, "at least 1"}},
		{"warmup:+constant", 9, []string{`""`}},
		{"warmup:5+warmup:6+constant", 9, []string{"not known"}},
		{"warmup:5+", 9, []string{"not known"}},
	} {
		s, err := ParseSchedule(tc.spec, 0.1, tc.total)
		if err == nil {
			t.Errorf("ParseSchedule(%q) = %v, want an error", tc.spec, s)
			continue
		}
		for _, want := range append(tc.want, tc.spec) {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("ParseSchedule(%q): %q does not say %q", tc.spec, err, want)
			}
		}
		if strings.Contains(err.Error(), "\n") {
			t.Errorf("ParseSchedule(%q): %q is more than a line", tc.spec, err)
		}
	}
}

func TestBaseRateMustBeUsable(t *testing.T) {
	for _, bad := range []float64{-0.1, 1e39, inf(), -inf(), inf() - inf()} {
		if _, err := ParseSchedule("constant", bad, 1); err == nil || !strings.Contains(err.Error(), "learning rate") {
			t.Errorf("base %v: %v", bad, err)
		}
	}
	if s, err := ParseSchedule("constant", 0, 1); err != nil || s.Base() != 0 {
		t.Errorf("base 0: %v, %v", s.Base(), err)
	}
}

func inf() float64 { return float64(inf32) }

// Whatever is accepted prints a text that is accepted, means the same and
// prints as itself.
func FuzzParseSchedule(f *testing.F) {
	for _, k := range kinds {
		f.Add(k.usage)
	}
	for _, spec := range []string{"discexp:0.1,5e6", "warmup:5e+3+onecycle:100,0.3,25,1e4", "manual:1:1,2:.5", "cosine", "linear:1e-300,0", "poly:1e300,3.5"} {
		f.Add(spec)
	}
	f.Fuzz(func(t *testing.T, spec string) {
		s, err := ParseSchedule(spec, 0.1, 1000)
		if err != nil {
			return
		}
		again, err := ParseSchedule(s.String(), 0.1, 0)
		if err != nil || again.String() != s.String() {
			t.Fatalf("%q prints as %q, which gives %q, %v", spec, s, again, err)
		}
		for _, samples := range []uint64{0, 1, 17, 1000, 1 << 40} {
			p := Progress{Samples: samples, Epoch: int(samples % 7)}
			a, b := s.Rate(p), again.Rate(p)
			if a != b || !(a >= 0) {
				t.Fatalf("%q: rate %v at %d, read back %v", spec, a, samples, b)
			}
		}
	})
}
