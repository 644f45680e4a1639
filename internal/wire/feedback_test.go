package wire

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/muster-train/muster/internal/kernel"
)

// sentBy is what a payload that is to be sent comes as.
func sentBy(t *testing.T, p *Payload) []float32 {
	t.Helper()
	values := decoded(t, (&Gradient{Payload: p}).Message())
	p.Free()
	return values
}

// gradients are values as steps have them: of very different sizes in one block, and
// with a part that stays the same, which int8 alone would lose for small ones.
func gradients(n, step int) []float32 {
	r := rand.New(rand.NewPCG(uint64(step), 5))
	x := make([]float32, n)
	for i := range x {
		size := math.Pow(10, -float64(i%4))
		x[i] = float32(size * (0.1 + r.NormFloat64()/10))
	}
	return x
}

// TestWhatIsCutOffIsSentLater compares the sums of what was sent over many steps with
// those of the values: they differ by no more than one residual, however long it goes on.
func TestWhatIsCutOffIsSentLater(t *testing.T) {
	const n, steps = kernel.Int8Block + 44, 1000
	var f Feedback
	var fed, alone, total [n]float64
	for step := range steps {
		values := gradients(n, step)
		for i, v := range sentBy(t, f.Encode(uint64(step), values)) {
			fed[i] += float64(v)
			total[i] += float64(values[i])
		}
		for i, v := range sentBy(t, Encode(inINT8, values)) {
			alone[i] += float64(v)
		}
	}
	const scale = 0.6 / 127 // of blocks whose largest values are no larger than that
	worst := 0.0
	for i := range total {
		if d := math.Abs(fed[i] - total[i]); d > scale {
			t.Errorf("value %d: %v was sent in all of %v: more is missing than one residual", i, fed[i], total[i])
		}
		worst = max(worst, math.Abs(alone[i]-total[i]))
	}
	if worst < 10*scale {
		t.Errorf("without feedback at most %v is missing: the case does not tell", worst)
	}
}

// TestAStepThatIsEncodedAgainIsTheSame refuses and repeats some steps, as often as
// not with values that were not finite at first.
func TestAStepThatIsEncodedAgainIsTheSame(t *testing.T) {
	const n = 2*kernel.Int8Block + 3
	var once, again Feedback
	for step := range uint64(20) {
		values := gradients(n, int(step))
		want := sentBy(t, once.Encode(step, values))
		for try := range step % 4 {
			first := slices.Clone(values)
			if try == 1 {
				first[kernel.Int8Block+7] = float32(math.NaN())
				first[0] = float32(math.Inf(1))
			}
			got := sentBy(t, again.Encode(step, first))
			if try != 1 && !slices.Equal(got, want) {
				t.Fatalf("step %d, try %d: other values were sent", step, try)
			}
			if try == 1 && kernel.Finite(got[:kernel.Int8Block]) {
				t.Fatalf("step %d: what is not finite is not told", step)
			}
		}
		if got := sentBy(t, again.Encode(step, values)); !slices.Equal(got, want) {
			t.Fatalf("step %d, after %d tries: other values were sent", step, step%4)
		}
		if !slices.Equal(once.after, again.after) {
			t.Fatalf("step %d: another residual is left", step)
		}
	}
}

// TestWhatIsNotFiniteLeavesNoTrace has a block that is not finite and is never sent
// again: its residual is neither lost nor spoilt, and the others' go on.
func TestWhatIsNotFiniteLeavesNoTrace(t *testing.T) {
	const n = 2 * kernel.Int8Block
	var f, clean Feedback
	sentBy(t, f.Encode(0, gradients(n, 0)))
	sentBy(t, clean.Encode(0, gradients(n, 0)))
	residual := slices.Clone(f.after)
	values := gradients(n, 1)
	sentBy(t, clean.Encode(1, values))
	values[3] = float32(math.NaN())
	sentBy(t, f.Encode(1, values))
	if !slices.Equal(f.after[:kernel.Int8Block], residual[:kernel.Int8Block]) {
		t.Error("the residual of a block that is not finite has changed")
	}
	if !slices.Equal(f.after[kernel.Int8Block:], clean.after[kernel.Int8Block:]) {
		t.Error("the residual of another block is not what it should be")
	}
}

func TestFeedbackMakesNoGarbage(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector makes pools forget")
	}
	var f Feedback
	values := gradients(ChunkBytes/4, 0)
	step := uint64(0)
	if n := testing.AllocsPerRun(20, func() {
		f.Encode(step, values).Free()
		step++
	}); n > 0 {
		t.Errorf("%v allocations for a chunk", n)
	}
	f = Feedback{}
	if p := f.Encode(0, nil); p.Len() != 0 {
		t.Errorf("no values make %d bytes", p.Len())
	}
}
