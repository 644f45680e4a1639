package paramserver

import (
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/muster-train/muster/internal/membership"
	"github.com/muster-train/muster/internal/wire"
	"github.com/muster-train/muster/model/params"
	musterv1 "github.com/muster-train/muster/proto/muster/v1"
)

// A worker that sends the same contribution malformed for ever is sent away for
// good, with a reason, and another takes its shards.
func TestAWorkerWhoseContributionStaysMalformedIsSentAway(t *testing.T) {
	r, conn := serve(t, testConfig(t))
	stream, _ := openStream(t, conn, joinRequest(r.Server, "bad"), 0)
	damaged := wire.NewGradientChunk(0, 0, 2, 0, make([]float32, r.network.Layout.Live(0)))
	damaged.Checksum++
	refusals := 0
	for sent := false; ; {
		m, err := stream.Recv()
		if err != nil {
			s, _ := status.FromError(err)
			if s.Code() != codes.FailedPrecondition || !strings.Contains(s.Message(), "worker bad sends what it contributes malformed: shards 0-1, chunk 0 of step 0, 3 times, the last time malformed chunk: checksum") {
				t.Errorf("the stream ended with %v", err)
			}
			break
		}
		switch {
		case m.GetRefusal() != nil:
			refusals++
			stream.send(&musterv1.ExchangeRequest{Message: &musterv1.ExchangeRequest_Gradient{Gradient: damaged}})
		case m.GetWork() != nil && !sent:
			sent = true
			stream.send(&musterv1.ExchangeRequest{Message: &musterv1.ExchangeRequest_Gradient{Gradient: damaged}})
		}
	}
	if refusals != mostMalformed-1 {
		t.Errorf("%d refusals before the end, want %d", refusals, mostMalformed-1)
	}
	newPuppet(t, r.Server, "good").toil()
	result, err := r.wait(t)
	check(t, result, err, testJob(), 3)
}

// What is malformed now and then, in other steps or places, is only refused.
func TestMalformedContributionsOfOtherNamesDoNotAddUp(t *testing.T) {
	s := newServer(t, testConfig(t))
	ses := newSession(s, membership.Member{ID: "a"}, 0, false)
	shards := []params.Node{node(0, 1), node(1, 2), node(0, 2)}
	for step := range params.Step(10) {
		s.store.step = step
		for _, d := range shards {
			for range mostMalformed - 1 {
				ses.noteMalformed(contribution{step, d, 0}, "bad")
			}
		}
	}
	if ses.fault != nil {
		t.Fatalf("the session has ended: %v", ses.fault)
	}
	if got := len(ses.malformed.named); got != len(shards) {
		t.Errorf("%d contributions are remembered, want the %d of one step", got, len(shards))
	}
	ses.noteMalformed(contribution{9, shards[1], 0}, "bad")
	if ses.fault == nil {
		t.Error("the session goes on")
	}
}

// Names that the job has not are not kept, and so many of any names are enough.
func TestMalformedContributionsOfAnyNamesAreLimitedInAStep(t *testing.T) {
	s := newServer(t, testConfig(t))
	for name, of := range map[string]func(i int) contribution{
		"another node each time":  func(i int) contribution { return contribution{0, node(i, i+3), 0} },
		"another chunk each time": func(i int) contribution { return contribution{0, node(0, 1), 99 + i} },
		"another step each time":  func(i int) contribution { return contribution{params.Step(i), node(0, 1), 0} },
		"two steps by turns":      func(i int) contribution { return contribution{params.Step(100 + i%2), node(i, i+1), 0} },
	} {
		ses := newSession(s, membership.Member{ID: "a"}, 0, false)
		for i := range mostMalformedInStep - 1 {
			ses.noteMalformed(of(i+2), "bad")
		}
		kept := len(ses.malformed.named)
		if ses.fault != nil || kept > mostMalformedInStep || name != "another step each time" && kept != 0 {
			t.Errorf("%s: after %d, %d names are kept and the session has ended with %v", name, mostMalformedInStep-1, kept, ses.fault)
		}
		ses.noteMalformed(of(1000), "bad")
		if ses.fault == nil || !strings.Contains(ses.fault.Error(), "worker a sends what it contributes malformed: 64 contributions during step 0, the last one bad") {
			t.Errorf("%s: after %d the session has ended with %v", name, mostMalformedInStep, ses.fault)
		}
	}
}

// A peer that names another node each time is sent away as well, whether its values are
// damaged, fine or not finite, and costs no memory until then.
func TestAPeerThatNamesAnotherNodeEachTimeIsSentAway(t *testing.T) {
	nan := float32(math.NaN())
	for name, value := range map[string]float32{"finite": 1, "not finite": nan} {
		r, conn := serve(t, testConfig(t))
		stream, _ := openStream(t, conn, joinRequest(r.Server, "bad"), 0)
		values := slices.Repeat([]float32{value}, r.network.Layout.Live(0))
		refusals := 0
		send := func() {
			stream.send(&musterv1.ExchangeRequest{Message: &musterv1.ExchangeRequest_Gradient{
				Gradient: wire.NewGradientChunk(0, 2+refusals, 9+refusals, 0, values),
			}})
		}
		send()
		for {
			m, err := stream.Recv()
			if err != nil {
				if s, _ := status.FromError(err); s.Code() != codes.FailedPrecondition || !strings.Contains(s.Message(), "64 contributions during step 0, the last one no such node or chunk in this job") {
					t.Errorf("%s: the stream ended with %v", name, err)
				}
				break
			}
			if m.GetRefusal() != nil {
				if refusals++; refusals > 1000 {
					t.Fatalf("%s: the peer is not sent away", name)
				}
				if err := r.do(t.Context(), func() {
					if len(r.round.refused) != 0 {
						t.Errorf("%s: the round keeps %v", name, r.round.refused)
					}
				}); err != nil {
					t.Fatal(err)
				}
				send()
			}
		}
		if refusals != mostMalformedInStep-1 {
			t.Errorf("%s: %d refusals before the end, want %d", name, refusals, mostMalformedInStep-1)
		}
		r.cancel()
	}
}

// Refusals wait for a worker, but not without end for one that does not listen.
func TestAPeerThatHearsNoRefusalIsSentAway(t *testing.T) {
	r := run(t, newServer(t, testConfig(t)))
	p := newPuppet(t, r.Server, "deaf")
	p.obey(next(t, p))
	p.obey(next(t, p)) // so that there are steps gone by
	most := mostRefusals + 4*int(r.job.Shards)
	for i := range most + 1 {
		if err := r.do(t.Context(), func() {
			ses := r.sessions["deaf"]
			r.refuse(ses, musterv1.RefusalReason_REFUSAL_REASON_STALE, params.Step(i), node(0, 1), 0, "the step has been applied")
			r.refuse(ses, musterv1.RefusalReason_REFUSAL_REASON_STALE, params.Step(i), node(0, 1), 0, "the step has been applied") // waits already
			ses.mu.Lock()
			defer ses.mu.Unlock()
			if (ses.fault != nil) != (i == most) || len(ses.refusals) > most {
				t.Errorf("with %d refusals, of which %d wait, the session has ended with %v", i+1, len(ses.refusals), ses.fault)
			}
		}); err != nil {
			t.Fatal(err)
		}
	}
	var m wire.Response
	var refusal *RefusedError
	if err := p.stream.Recv(&m); !errors.As(err, &refusal) || !strings.Contains(err.Error(), "worker deaf takes in nothing: 72 refusals wait for it") {
		t.Errorf("the stream ended with %v", err)
	}
	r.cancel()
}
