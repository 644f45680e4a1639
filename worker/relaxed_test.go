package worker

import (
	"testing"

	musterv1 "github.com/muster-train/muster/proto/muster/v1"
)

// relaxed makes a director of a job whose gradients are applied one by one.
func relaxed(t *testing.T) (*reference, *line) {
	t.Helper()
	job := testJob()
	job.Sync = "async"
	d := newDirector(t)
	d.job = job
	ref := newReference(t, job)
	run(t, testConfig(t), d)
	return ref, d.admit()
}

// askedOf asks for the gradients of some of the owned shards.
func askedOf(step uint64, shards ...uint32) *musterv1.ExchangeResponse {
	m := asked(gradientKind, step)
	m.GetWork().Shards = shards
	return m
}

// labelled says that chunks are of a step.
func labelled(step uint64, chunks []*musterv1.ExchangeResponse) []*musterv1.ExchangeResponse {
	for _, m := range chunks {
		m.GetParameters().Step = step
	}
	return chunks
}

func TestWorkOfSomeShardsIsOfThoseAlone(t *testing.T) {
	ref, l := relaxed(t)
	l.tell(assigned(0, 1, 2, 3), askedOf(1, 2, 3))
	l.tell(loaded(ref.net, 1)...)
	ref.check(l.contribute(ref.net, 1, 1), 1, []int{2, 3})
	l.tell(askedOf(0, 1))
	l.tell(loaded(ref.net, 0)...)
	ref.check(l.contribute(ref.net, 0, 1), 0, []int{1})
	l.tell(askedOf(1, 0, 1))
	l.tell(loaded(ref.net, 1)...)
	ref.check(l.contribute(ref.net, 1, 1), 1, []int{0, 1})
}

// The same label does not tell that parameters are the same.
func TestRelaxedWorkIsComputedWithWhatFollowsIt(t *testing.T) {
	ref, l := relaxed(t)
	l.tell(assigned(0, 1), askedOf(1, 0))
	l.tell(loaded(ref.net, 1)...)
	ref.check(l.contribute(ref.net, 1, 1), 1, []int{0})

	l.tell(labelled(1, loaded(ref.net, 7))...) // for work that has been replaced
	l.tell(askedOf(1, 1))                      // tell fails the test where the worker speaks before it has all
	l.tell(loaded(ref.net, 1)...)
	ref.check(l.contribute(ref.net, 1, 1), 1, []int{1})
}

func TestWhatIsRefusedWaitsForWorkThatAsksForIt(t *testing.T) {
	for _, reason := range []musterv1.RefusalReason{
		musterv1.RefusalReason_REFUSAL_REASON_MIXED, musterv1.RefusalReason_REFUSAL_REASON_NOT_FINITE, musterv1.RefusalReason_REFUSAL_REASON_MALFORMED,
	} {
		ref, l := relaxed(t)
		l.tell(assigned(0, 1), askedOf(0, 0, 1))
		l.tell(loaded(ref.net, 0)...)
		ref.check(l.contribute(ref.net, 0, 1), 0, []int{0, 1})
		l.tell(refusal(reason, 0, 0, 2))
		l.tell(askedOf(0, 1))
		l.tell(loaded(ref.net, 0)...)
		ref.check(l.contribute(ref.net, 0, 1), 0, []int{1})
		l.tell(askedOf(0, 0))
		l.tell(loaded(ref.net, 0)...)
		ref.check(l.contribute(ref.net, 0, 1), 0, []int{0})
	}
}
