package optim

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// maxExact is 2^53: integers below it are exact as float64.
const maxExact = 1 << 53

// kinds lists all schedules in the order of the documentation.
var kinds = []struct {
	name  string
	usage string
	parse func(args []string, total uint64) (curve, error)
}{
	{"constant", "constant", parseConstant},
	{"discexp", "discexp:a,b", pair(positive, positive, func(a, b float64) curve { return discexp{a, b} })},
	{"exp", "exp:a,b", pair(positive, positive, func(a, b float64) curve { return expCurve{a, b} })},
	{"poly", "poly:a,b", pair(atLeast0, atLeast0, func(a, b float64) curve { return poly{a, b} })},
	{"caffe_poly", "caffe_poly:a,b", pair(positive, atLeast0, func(a, b float64) curve { return caffePoly{a, b} })},
	{"linear", "linear:a,b", pair(atLeast0, atLeast0, func(a, b float64) curve { return linear{a, b} })},
	{"manual", "manual:seg0:rate0,seg1:rate1,...", parseManual(false)},
	{"pass_manual", "pass_manual:seg0:rate0,seg1:rate1,...", parseManual(true)},
	{"cosine", "cosine[:total]", parseCosine},
	{"onecycle", "onecycle[:total[,peak-fraction[,divisor[,final-divisor]]]]", parseOneCycle},
}

// ParseSchedule reads a learning-rate schedule for a base rate. total is the
// number of samples of the whole job, taken where cosine and onecycle leave
// theirs out; 0 means unknown. Numbers may be written as 5000000 or 5e6. s is
// the number of samples applied before the update:
//
//	constant                base
//	discexp:a,b             base * a^floor(s/b)
//	exp:a,b                 base * a^(s/b)
//	poly:a,b                base * (1 + a*s)^(-b)
//	caffe_poly:a,b          base * (1 - s/a)^b, 0 from s = a on
//	linear:a,b              max(base - a*s, b)
//	manual:s0:r0,s1:r1,...  base * r0 while s <= s0, base * r1 while s <= s1, ...; the last r thereafter
//	pass_manual:...         as manual, by the epoch (from 0) instead of s
//	cosine[:total]          base * (1 + cos(pi*s/total)) / 2, 0 from s = total on
//	onecycle[:total[,f[,d[,e]]]]
//	                        from base/d up to base over the first f*total samples, then down to base/d/e
//	                        at total and thereafter, each along half a cosine, as PyTorch's OneCycleLR;
//	                        f, d, e are 0.3, 25 and 1e4 unless given
//	warmup:N+SCHEDULE       SCHEDULE times s/N while s < N; the first update of a job has rate 0
//
// The first eight are PaddlePaddle's; r0, r1, ... are factors of the base rate.
// An error is one sentence that names the value and what is allowed.
func ParseSchedule(spec string, base float64, total uint64) (Schedule, error) {
	if !(base >= 0 && base <= math.MaxFloat32) {
		return Schedule{}, fmt.Errorf("learning rate %v: a finite number, at least 0, is allowed", base)
	}
	s := Schedule{base: base}
	text := spec
	if rest, ok := strings.CutPrefix(spec, "warmup:"); ok {
		n, inner, ok := cutWarmup(rest)
		if !ok {
			return Schedule{}, fmt.Errorf("schedule %q: warmup is written warmup:N+SCHEDULE, as in warmup:50000+cosine", spec)
		}
		var err error
		if s.warmup, err = count(n); err != nil {
			return Schedule{}, fmt.Errorf("schedule %q: warmup of %w", spec, err)
		}
		text = inner
	}
	name, args, hasArgs := strings.Cut(text, ":")
	for _, k := range kinds {
		if k.name != name {
			continue
		}
		var list []string
		if hasArgs {
			list = strings.Split(args, ",")
		}
		c, err := k.parse(list, total)
		if err != nil {
			return Schedule{}, fmt.Errorf("schedule %q: %w, in %s", spec, err, k.usage)
		}
		s.kind, s.curve = name, c
		return s, nil
	}
	return Schedule{}, unknown(spec, name)
}

// cutWarmup splits N+SCHEDULE; the plus of a number such as 5e+4 does not count.
func cutWarmup(rest string) (n, inner string, ok bool) {
	for i := range rest {
		if rest[i] == '+' && (i == 0 || rest[i-1] != 'e' && rest[i-1] != 'E') {
			return rest[:i], rest[i+1:], true
		}
	}
	return "", "", false
}

// float reads a finite number.
func float(text string) (float64, error) {
	x, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsInf(x, 0) || math.IsNaN(x) {
		return 0, fmt.Errorf("%q is not a finite number", text)
	}
	return x, nil
}

func positive(text string) (float64, error) {
	x, err := float(text)
	if err == nil && x <= 0 {
		err = fmt.Errorf("%s is not above 0", text)
	}
	return x, err
}

func atLeast0(text string) (float64, error) {
	x, err := float(text)
	if err == nil && x < 0 {
		err = fmt.Errorf("%s is below 0", text)
	}
	return x, err
}

// whole reads a whole number from 0 to 2^53, also in the form 5e6.
func whole(text string) (uint64, error) {
	x, err := float(text)
	if err != nil || x < 0 || x != math.Floor(x) || x > maxExact {
		return 0, fmt.Errorf("%q is not a whole number, at least 0", text)
	}
	return uint64(x), nil
}

// count reads a whole number of samples, at least 1.
func count(text string) (uint64, error) {
	n, err := whole(text)
	if err != nil || n == 0 {
		return 0, fmt.Errorf("%q samples is not a whole number, at least 1", text)
	}
	return n, nil
}

func parseConstant(args []string, _ uint64) (curve, error) {
	if len(args) > 0 {
		return nil, fmt.Errorf("constant takes no arguments")
	}
	return constant{}, nil
}

// pair makes the parser of a schedule with the arguments a,b.
func pair(readA, readB func(string) (float64, error), build func(a, b float64) curve) func([]string, uint64) (curve, error) {
	return func(args []string, _ uint64) (curve, error) {
		if len(args) != 2 {
			return nil, fmt.Errorf("%d arguments where two, a and b, are needed", len(args))
		}
		a, err := readA(args[0])
		if err != nil {
			return nil, fmt.Errorf("a: %w", err)
		}
		b, err := readB(args[1])
		if err != nil {
			return nil, fmt.Errorf("b: %w", err)
		}
		return build(a, b), nil
	}
}

func parseManual(byEpoch bool) func([]string, uint64) (curve, error) {
	return func(args []string, _ uint64) (curve, error) {
		c := manual{byEpoch: byEpoch}
		for _, arg := range args {
			end, factor, ok := strings.Cut(arg, ":")
			if !ok {
				return nil, fmt.Errorf("%q is not a segment and its rate", arg)
			}
			var s segment
			var err error
			if s.end, err = whole(end); err != nil {
				return nil, fmt.Errorf("segment: %w", err)
			}
			if s.factor, err = atLeast0(factor); err != nil {
				return nil, fmt.Errorf("rate: %w", err)
			}
			if n := len(c.segments); n > 0 && s.end <= c.segments[n-1].end {
				return nil, fmt.Errorf("segment %s is not above %d before it", end, c.segments[n-1].end)
			}
			c.segments = append(c.segments, s)
		}
		if len(c.segments) == 0 {
			return nil, fmt.Errorf("no segment where at least one is needed")
		}
		return c, nil
	}
}

// horizon reads the total of a schedule, or takes the job's.
func horizon(args []string, total uint64) (uint64, error) {
	if len(args) > 0 {
		return count(args[0])
	}
	if total == 0 {
		return 0, fmt.Errorf("the job's samples are not known, so total is needed")
	}
	return total, nil
}

func parseCosine(args []string, total uint64) (curve, error) {
	if len(args) > 1 {
		return nil, fmt.Errorf("%d arguments where at most one is allowed", len(args))
	}
	total, err := horizon(args, total)
	return cosine{total}, err
}

func parseOneCycle(args []string, total uint64) (curve, error) {
	if len(args) > 4 {
		return nil, fmt.Errorf("%d arguments where at most four are allowed", len(args))
	}
	c := oneCycle{peak: 0.3, divisor: 25, finalDivisor: 1e4}
	var err error
	if c.total, err = horizon(args, total); err != nil {
		return nil, err
	}
	for i, field := range []*float64{&c.peak, &c.divisor, &c.finalDivisor} {
		if len(args) <= i+1 {
			break
		}
		if *field, err = float(args[i+1]); err != nil {
			return nil, err
		}
	}
	if !(c.peak > 0 && c.peak < 1) {
		return nil, fmt.Errorf("peak-fraction %v is not between 0 and 1", c.peak)
	}
	if c.divisor < 1 {
		return nil, fmt.Errorf("divisor %v is not at least 1", c.divisor)
	}
	if c.finalDivisor < 1 {
		return nil, fmt.Errorf("final-divisor %v is not at least 1", c.finalDivisor)
	}
	return c, nil
}

// unknown returns the error for a name that is no schedule: the nearest one, if
// one is near, and all there are.
func unknown(spec, name string) error {
	nearest, best := "", len(name)/2+1
	usages := make([]string, 0, len(kinds)+1)
	for _, k := range kinds {
		usages = append(usages, k.usage)
		if d := distance(name, k.name); d < best {
			nearest, best = k.name, d
		}
	}
	hint := ""
	if nearest != "" && name != "" {
		hint = fmt.Sprintf(" (did you mean %s?)", nearest)
	}
	return fmt.Errorf("schedule %q is not known%s: allowed are %s, each also after warmup:N+", spec, hint, strings.Join(usages, " | "))
}

// distance returns the number of bytes to insert, delete or replace that makes a of b.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}
