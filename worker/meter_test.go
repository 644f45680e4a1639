package worker

import (
	"errors"
	"testing"

	musterv1 "github.com/muster-train/muster/proto/muster/v1"
)

func TestMeterCountsWhatTheWorkerDoes(t *testing.T) {
	d := newDirector(t)
	cfg := testConfig(t)
	cfg.Meter = &Meter{}
	net := networkOf(t, d.job)
	r := run(t, cfg, d)
	l := d.admit()
	// Shards 0 and 1 have 5 images each, 2 of them at the first step.
	l.tell(assigned(0, 1))
	l.tell(loaded(net, 0)...)
	l.tell(asked(gradientKind, 0))
	l.contribute(net, 0, 1)
	l.tell(&musterv1.ExchangeResponse{Message: &musterv1.ExchangeResponse_Refusal{Refusal: &musterv1.Refusal{
		Reason: musterv1.RefusalReason_REFUSAL_REASON_MALFORMED, Step: 0, Node: &musterv1.Node{First: 0, End: 2},
	}}})
	l.contribute(net, 0, 1)
	l.tell(loaded(net, 2)...)
	l.tell(asked(evaluateKind, 2))
	l.hear()
	l.hear()
	l.tell(assigned(1))
	l.tell(loaded(net, 3)...)
	l.tell(asked(gradientKind, 3))
	l.contribute(net, 3, 1) // what it ends with is sent once all before has been counted
	got := cfg.Meter.Counts()
	bytes := 4 * uint64(net.Layout.Size())
	if got.GradientTime <= 0 || got.EvaluationTime <= 0 {
		t.Errorf("times %v and %v, want some", got.GradientTime, got.EvaluationTime)
	}
	got.GradientTime, got.EvaluationTime = 0, 0
	want := Counts{
		Joined: true, Step: 3, Shards: 1, Joins: 1, Gradients: 3, Images: 10, Evaluated: 70,
		SentBytes: 3 * bytes, ReceivedBytes: 3 * bytes, Refusals: 1,
	}
	if got != want {
		t.Errorf("counted %+v, want %+v", got, want)
	}

	// A lost stream is no longer joined; a new one counts again.
	l.cut(errors.New("lost"))
	again := d.admit()
	if got := cfg.Meter.Counts(); got.Joined || got.Shards != 0 || got.Joins != 1 {
		t.Errorf("before the server has said anything: %+v", got)
	}
	again.tell(assigned(2))
	again.tell(loaded(net, 4)...)
	again.tell(asked(gradientKind, 4))
	again.contribute(net, 4, 1)
	if got := cfg.Meter.Counts(); !got.Joined || got.Shards != 1 || got.Joins != 2 {
		t.Errorf("after a second stream: %+v", got)
	}
	again.tell(done(true, ""))
	if err := r.wait(t); err != nil || cfg.Meter.Counts().Joined {
		t.Errorf("%v, joined %v; want neither", err, cfg.Meter.Counts().Joined)
	}
}
