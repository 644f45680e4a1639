package paramserver

import (
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
	for step := range 10 {
		for chunk := range 10 {
			for range mostMalformed - 1 {
				ses.noteMalformed(contribution{step: params.Step(step), chunk: chunk}, "bad")
			}
		}
	}
	if ses.fault != nil {
		t.Fatalf("the session has ended: %v", ses.fault)
	}
	if len(ses.malformed) > 10 {
		t.Errorf("%d contributions are remembered, want those of one step", len(ses.malformed))
	}
	ses.noteMalformed(contribution{step: 9, chunk: 3}, "bad")
	if ses.fault == nil {
		t.Error("the session goes on")
	}
}
