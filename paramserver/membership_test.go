package paramserver

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/muster-train/muster/internal/wire"
	musterv1 "github.com/muster-train/muster/proto/muster/v1"
)

func TestJoinRefusals(t *testing.T) {
	r := run(t, newServer(t, testConfig(t)))
	newPuppet(t, r.Server, "first") // brings the data
	for _, tc := range []struct {
		change func(*musterv1.JoinRequest)
		want   string
	}{
		{func(q *musterv1.JoinRequest) { q.JobName = "other" }, `job "test", the worker was told to take part in "other"`},
		{func(q *musterv1.JoinRequest) { q.Shard = &musterv1.PinnedShard{Index: 3, Count: 4} }, "shard 3/4 does not fit"},
		{func(q *musterv1.JoinRequest) { q.Shard = &musterv1.PinnedShard{Index: 2, Count: 2} }, "shard 2/2 does not fit"},
		{func(q *musterv1.JoinRequest) { q.Job = "abc" }, "another job"},
		{func(q *musterv1.JoinRequest) { q.Layout = "abc" }, "layout"},
		{func(q *musterv1.JoinRequest) { q.Data = nil }, "no data"},
		{func(q *musterv1.JoinRequest) {
			q.Data = &musterv1.DataInfo{Fingerprint: "beef", TrainImages: 5, TestImages: 4, Classes: 10}
		}, "not those of the job"},
	} {
		req := joinRequest(r.Server, "w")
		tc.change(req)
		_, err := r.Join(t.Context(), req)
		var refusal *RefusedError
		if !errors.As(err, &refusal) || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("Join = %v, want a refusal that says %q", err, tc.want)
		}
	}
	answer, err := r.Join(t.Context(), &musterv1.JoinRequest{Worker: "new"})
	if err != nil || answer.Job.Network != "lenet5" || answer.Session != 0 {
		t.Errorf("the first join told %v, %v; want the job and no session", answer, err)
	}
}

func TestAPinnedShardWaitsForItsWorker(t *testing.T) {
	r := run(t, newServer(t, testConfig(t)))
	zero := pinnedPuppet(t, r.Server, "zero", 0)
	// The assignment follows the worker's key in etcd, a moment later.
	var got []uint32
	for began := time.Now(); len(got) != 1 && time.Since(began) < patience; {
		got = look(t, r.Server).UnownedShards
	}
	if len(got) != 1 || got[0] != 1 {
		t.Errorf("unowned shards %v, want 1", got)
	}
	one := pinnedPuppet(t, r.Server, "one", 1)
	go zero.toil()
	one.toil()
	result, err := r.wait(t)
	check(t, result, err, testJob(), 3)
}

func TestAPinnedShardIsHandedOverAfterItsTime(t *testing.T) {
	cfg := testConfig(t)
	cfg.ShardTimeout = time.Millisecond
	r := run(t, newServer(t, cfg))
	zero := pinnedPuppet(t, r.Server, "zero", 0)
	zero.toil() // ends only if it is given shard 1 as well
	result, err := r.wait(t)
	check(t, result, err, testJob(), 3)
}

func TestALostWorkersShardsMove(t *testing.T) {
	r := run(t, newServer(t, testConfig(t)))
	a, b := newPuppet(t, r.Server, "a"), newPuppet(t, r.Server, "b")
	next(t, a)
	a.stream.Close() // without a word: its lease runs out
	b.toil()
	result, err := r.wait(t)
	check(t, result, err, testJob(), 3)
}

func TestAPinnedShardIsHandedOverAtOnceWhereItsTimeIsZero(t *testing.T) {
	cfg := testConfig(t)
	cfg.ShardTimeout = 0
	r := run(t, newServer(t, cfg))
	pinnedPuppet(t, r.Server, "zero", 0).toil()
	result, err := r.wait(t)
	check(t, result, err, testJob(), 3)
}

// A worker that comes while the server says good-bye hears of the end as well.
func TestALateWorkerHearsOfTheEnd(t *testing.T) {
	r := run(t, newServer(t, testConfig(t)))
	p := newPuppet(t, r.Server, "w")
	link := r.Local()
	late, err := link.Join(t.Context(), joinRequest(r.Server, "late"))
	if err != nil {
		t.Fatal(err)
	}
	p.toil() // to the end, while the other has joined and not yet opened its stream
	stream, err := link.Exchange(t.Context(), &musterv1.Hello{Session: late.Session})
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	var m wire.Response
	if err := stream.Recv(&m); err != nil || !m.Message.GetDone().GetSuccess() {
		t.Errorf("the late worker heard %v, %v; want success", m.Message, err)
	}
}
