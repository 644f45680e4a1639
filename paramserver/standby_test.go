package paramserver

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"os"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/muster-train/muster/internal/wire"
	"github.com/muster-train/muster/paramserver/checkpoint"
	musterv1 "github.com/muster-train/muster/proto/muster/v1"
)

// led is a server behind a unix socket, with a standby that follows it.
type led struct {
	*running
	conn    *grpc.ClientConn
	standby *Standby
	lose    context.CancelFunc // ends the standby's following
	end     chan error         // what Follow returned
}

// lead runs a server and a standby, which has the state once a first step begins.
func lead(t *testing.T, cfg Config) *led {
	t.Helper()
	r, conn := serve(t, cfg)
	l := &led{running: r, conn: conn}
	l.standby = newStandby(t, cfg.Job)
	l.follow(t)
	return l
}

func newStandby(t *testing.T, job *musterv1.JobSpec) *Standby {
	t.Helper()
	b, err := NewStandby(job, "server-b", "unix:///nowhere", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// follow has the standby follow the server, and returns once that knows it.
func (l *led) follow(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	leading, err := DialLeading(ctx, l.conn.Target())
	if err != nil {
		t.Fatal(err)
	}
	l.lose, l.end = cancel, make(chan error, 1)
	go func() { l.end <- l.standby.Follow(ctx, leading) }()
	l.awaitFollower(t)
}

// awaitFollower returns once the server has taken a standby in.
func (r *running) awaitFollower(t *testing.T) {
	t.Helper()
	for there := false; !there; {
		if err := r.do(t.Context(), func() { there = len(r.followers) > 0 }); err != nil {
			t.Fatal(err)
		}
	}
}

// takeOver makes a server of the standby's state.
func (l *led) takeOver(t *testing.T, cfg Config) *Server {
	t.Helper()
	l.lose()
	<-l.end
	cfg.State, cfg.CheckpointDir = l.standby.State(), t.TempDir()
	if cfg.State == nil {
		t.Fatal("the standby has no state")
	}
	return newServer(t, cfg)
}

func TestAStandbyHasEveryStepThatAnybodyHasSeen(t *testing.T) {
	for _, encoding := range []string{"", "bf16"} {
		cfg := twoChunks(t)
		cfg.Job.Encoding = encoding
		l := lead(t, cfg)
		p := newPuppet(t, l.Server, "w")
		p.obey(next(t, p))
		p.obey(next(t, p))
		if w := next(t, p); w.Step != 2 {
			t.Fatalf("work %v, want step 2", w)
		}
		// The worker has seen step 2: so has the standby, and nothing of the step at hand.
		p.push(2, node(0, 1), 0)
		s := l.takeOver(t, cfg)
		l.cancel()
		if step, samples := s.store.At(); step != 2 || samples != 4 {
			t.Errorf("taken over at step %d after %d images, want 2 after 4", step, samples)
		}
		r := run(t, s)
		p = newPuppet(t, s, "w")
		p.toil()
		result, err := r.wait(t)
		if encoding == "" {
			check(t, result, err, cfg.Job, 3)
		} else if err != nil || result.Step != 3 {
			t.Errorf("%v at step %d", err, result.Step)
		}
		if len(result.Epochs) != 1 || result.Samples != 5 || result.Checkpoint == "" {
			t.Errorf("the job ended with epochs %v after %d images, checkpoint %q", result.Epochs, result.Samples, result.Checkpoint)
		}
		if e := result.Epochs[0]; e.TrainLoss != 1 {
			t.Errorf("training loss %v over the epoch, want 1: that of the first server's steps counts", e.TrainLoss)
		}
	}
}

func TestAStandbyEndsWithTheJob(t *testing.T) {
	l := lead(t, twoChunks(t))
	newPuppet(t, l.Server, "w").toil()
	result, err := l.wait(t)
	check(t, result, err, l.job, 3)
	if err := <-l.end; err != nil {
		t.Errorf("the standby ended with %v", err)
	}
	state := l.standby.State()
	if state == nil || len(state.History) != 1 || state.Best == nil {
		t.Fatalf("the standby has %+v, want the evaluation at the end too", state)
	}
	if l.standby.State() != nil {
		t.Error("a state is given away twice")
	}
}

// What a server has in memory alone, because it was a standby, it writes at once.
func TestWhatIsTakenOverIsSaved(t *testing.T) {
	cfg := twoChunks(t)
	l := lead(t, cfg)
	p := newPuppet(t, l.Server, "w")
	p.obey(next(t, p))
	next(t, p)
	s := l.takeOver(t, cfg)
	l.cancel()
	run(t, s)
	for look(t, s).CheckpointStep != 1 {
	}
	state, err := checkpoint.Read(look(t, s).Checkpoint)
	if err != nil || state.Step != 1 || state.Data.Fingerprint != testData.Fingerprint {
		t.Errorf("%v: the checkpoint is of step %d, of data %+v", err, state.Step, state.Data)
	}
}

// Where both write to one directory, a standby that has long been out of touch has less
// in memory than there is.
func TestAStandbyTakesUpALaterCheckpoint(t *testing.T) {
	cfg := twoChunks(t)
	cfg.CheckpointSteps = 1
	l := lead(t, cfg)
	p := newPuppet(t, l.Server, "w")
	p.obey(next(t, p))
	w := next(t, p)
	for look(t, l.Server).CheckpointStep != 1 { // where it is being written, the next is left out
	}
	l.lose()
	<-l.end
	state := l.standby.State()
	if state == nil || state.Step != 1 {
		t.Fatalf("the standby has %+v, want step 1", state)
	}
	p.obey(w)
	w = next(t, p)
	for look(t, l.Server).CheckpointStep != 2 {
	}
	cfg.State = state
	if at, _ := newServer(t, cfg).store.At(); at != 2 {
		t.Errorf("it begins at step %d, want that of the checkpoint, 2", at)
	}
	// One that can't be read counts for nothing.
	path := look(t, l.Server).Checkpoint
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, whole[:len(whole)-1], 0o600); err != nil {
		t.Fatal(err)
	}
	if at, _ := newServer(t, cfg).store.At(); at != 1 {
		t.Errorf("it begins at step %d, want that of its memory, 1", at)
	}
	p.obey(w)
	p.toil()
}

func TestAStandbyThatComesLateIsGivenTheState(t *testing.T) {
	cfg := twoChunks(t)
	l := lead(t, cfg)
	p := newPuppet(t, l.Server, "w")
	p.obey(next(t, p))
	w := next(t, p)
	l.lose()
	<-l.end
	p.obey(w) // a step without it
	w = next(t, p)
	l.follow(t)
	p.obey(w)
	p.toil()
	result, err := l.wait(t)
	check(t, result, err, cfg.Job, 3)
	if err := <-l.end; err != nil {
		t.Errorf("the standby ended with %v", err)
	}
}

// rawFollower is a standby whose every move the test makes.
func rawFollower(t *testing.T, conn *grpc.ClientConn) grpc.BidiStreamingClient[musterv1.FollowRequest, musterv1.FollowResponse] {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	stream, err := musterv1.NewStandbyServiceClient(conn).Follow(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return stream
}

func hello(server, address string) *musterv1.FollowRequest {
	return &musterv1.FollowRequest{Message: &musterv1.FollowRequest_Hello{Hello: &musterv1.FollowHello{Server: server, Address: address}}}
}

func TestAStandbyThatLagsIsSentAway(t *testing.T) {
	l, conn := serve(t, twoChunks(t))
	stream := rawFollower(t, conn)
	if err := stream.Send(hello("slow", "a:1")); err != nil {
		t.Fatal(err)
	}
	l.awaitFollower(t)
	p := newPuppet(t, l.Server, "w")
	p.obey(next(t, p))
	for {
		m, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		if m.GetCommit() != nil {
			break // and says nothing
		}
	}
	if at, _ := l.store.At(); at != 0 {
		t.Errorf("step %d has been published before its standby has it", at)
	}
	if err := l.do(t.Context(), func() { l.sendAway(0) }); err != nil { // as the timer does
		t.Fatal(err)
	}
	w := next(t, p)
	if w.Step != 1 {
		t.Errorf("work %v, want step 1: nobody waits for the standby any more", w)
	}
	if _, err := stream.Recv(); err == nil || !strings.Contains(err.Error(), "has not acknowledged step 0") {
		t.Errorf("the standby hears %v, want why it was sent away", err)
	}
	again := rawFollower(t, conn)
	if err := again.Send(hello("slow", "a:1")); err != nil {
		t.Fatal(err)
	}
	if _, err := again.Recv(); status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), "may come back in 10s") {
		t.Errorf("it hears %v when it comes back, want for how long it has to stay away", err)
	}
	other := rawFollower(t, conn)
	if err := other.Send(hello("other", "a:2")); err != nil {
		t.Fatal(err)
	}
	l.awaitFollower(t)
	p.obey(w)
	if m, err := other.Recv(); err != nil || m.GetJob() == nil {
		t.Errorf("%v, %v; want another standby taken in", m, err)
	}
}

func TestAStandbyStaysAwayTheLongerTheMoreOftenItLags(t *testing.T) {
	s := newServer(t, twoChunks(t))
	slow := &follower{server: "slow", since: time.Now()}
	for _, want := range []time.Duration{followTimeout, 2 * followTimeout, 4 * followTimeout, 8 * followTimeout, longestExile, longestExile} {
		s.banish(slow)
		if got := s.exiles["slow"].pause; got != want {
			t.Errorf("it stays away for %v, want %v", got, want)
		}
	}
	kept := &follower{server: "slow", since: time.Now().Add(-2 * longestExile)}
	s.banish(kept)
	if got := s.exiles["slow"].pause; got != followTimeout {
		t.Errorf("having kept up it stays away for %v, want %v", got, followTimeout)
	}
}

func TestWhatCanNotBeFollowedSaysSo(t *testing.T) {
	relaxed := twoChunks(t)
	relaxed.Job.Sync = "async"
	for _, c := range []struct {
		cfg  Config
		say  *musterv1.FollowRequest
		want string
		code codes.Code
	}{
		{relaxed, hello("b", "a:1"), "--sync async, and is not followed", codes.FailedPrecondition},
		{twoParts(t), hello("b", "a:1"), "has 2 parts, and is not followed", codes.FailedPrecondition},
		{twoChunks(t), hello("b", ""), "needs a name and an address", codes.FailedPrecondition},
		{twoChunks(t), &musterv1.FollowRequest{}, "must be hello", codes.InvalidArgument},
	} {
		_, conn := serve(t, c.cfg)
		stream := rawFollower(t, conn)
		if err := stream.Send(c.say); err != nil {
			t.Fatal(err)
		}
		if _, err := stream.Recv(); status.Code(err) != c.code || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v, want %q", err, c.want)
		}
	}
}

// script is a Leading that says what the test has written down.
type script struct {
	says []*musterv1.FollowResponse
}

func (s *script) Send(*musterv1.FollowRequest) error { return nil }
func (s *script) Close()                             {}

func (s *script) Recv() (*musterv1.FollowResponse, error) {
	if len(s.says) == 0 {
		return nil, errors.New("the script has ended")
	}
	m := s.says[0]
	s.says = s.says[1:]
	return m, nil
}

// What doesn't follow from what was said before ends the following, and nothing is
// left of which it isn't sure.
func TestAStandbyDoesNotGuess(t *testing.T) {
	cfg := twoChunks(t)
	other := twoChunks(t).Job
	other.Seed++
	b := newStandby(t, cfg.Job)
	layout := b.network.Layout
	job := func(j *musterv1.JobSpec, fingerprint string) *musterv1.FollowResponse {
		return &musterv1.FollowResponse{Message: &musterv1.FollowResponse_Job{Job: &musterv1.FollowJob{Job: j, JobHash: wire.JobHash(j), Layout: fingerprint, Step: 4, Samples: 8}}}
	}
	state := func(step uint64, chunk int) *musterv1.FollowResponse {
		n := layout.Chunk(min(chunk, 1)).Len()
		return &musterv1.FollowResponse{Message: &musterv1.FollowResponse_State{State: wire.NewPartState(step, chunk, make([]float32, n), make([]float32, n))}}
	}
	begin := func(step uint64) *musterv1.FollowResponse {
		return &musterv1.FollowResponse{Message: &musterv1.FollowResponse_Begin{Begin: &musterv1.PartBegin{Step: step, Rate: 1, Scale: 1}}}
	}
	sum := func(step uint64, chunk int, x float32) *musterv1.FollowResponse {
		live := make([]float32, layout.Live(min(chunk, 1)))
		live[0] = x
		return &musterv1.FollowResponse{Message: &musterv1.FollowResponse_Sum{Sum: wire.NewFollowSum(step, chunk, live)}}
	}
	commit := func(step uint64, meta string) *musterv1.FollowResponse {
		return &musterv1.FollowResponse{Message: &musterv1.FollowResponse_Commit{Commit: &musterv1.FollowCommit{Step: step, Samples: 10, Meta: []byte(meta)}}}
	}
	inf := float32(math.Inf(1))
	good := []*musterv1.FollowResponse{job(cfg.Job, layout.Fingerprint()), state(4, 0), state(4, 1), begin(4), sum(4, 1, 1), sum(4, 0, 1)}
	for name, c := range map[string]struct {
		says []*musterv1.FollowResponse
		want string
	}{
		"another job":                    {[]*musterv1.FollowResponse{job(other, layout.Fingerprint())}, "trains another job: seed"},
		"another layout":                 {[]*musterv1.FollowResponse{job(cfg.Job, "f00d")}, "their versions differ"},
		"a state before a job":           {[]*musterv1.FollowResponse{state(4, 0)}, "not due"},
		"a state of another step":        {append(good[:1:1], state(3, 0)), "step 4, chunk 0 is due"},
		"a state out of order":           {append(good[:1:1], state(4, 1)), "step 4, chunk 0 is due"},
		"a state twice":                  {append(good[:3:3], state(4, 1)), "not due"},
		"a round before the whole state": {append(good[:2:2], begin(4)), "before there is a state"},
		"a round of another step":        {append(good[:3:3], begin(5)), "round of step 5 at step 4"},
		"a sum before a round":           {append(good[:3:3], sum(4, 0, 1)), "not due"},
		"a sum of another step":          {append(good[:4:4], sum(5, 0, 1)), "not due"},
		"a sum twice":                    {append(good[:5:5], sum(4, 1, 1)), "not due"},
		"a sum of no chunk":              {append(good[:4:4], sum(4, 2, 1)), "not due"},
		"a sum that diverges":            {append(good[:4:4], sum(4, 0, inf)), "the update of step 4"},
		"a step that is not made":        {append(good[:5:5], commit(5, "{}")), "has not been made"},
		"another step":                   {append(good[:6:6], commit(6, "{}")), "has not been made"},
		"no meta":                        {append(good[:6:6], commit(5, "nonsense")), "how the job stands"},
		"nothing":                        {[]*musterv1.FollowResponse{{}}, "unexpected message"},
	} {
		b := newStandby(t, cfg.Job)
		if err := b.Follow(t.Context(), &script{c.says}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
		if b.State() != nil || b.Follows() {
			t.Errorf("%s: something is left of it", name)
		}
	}
	if err := b.Follow(t.Context(), &script{append(good[:6:6], commit(5, `{"not_finite":3}`))}); err == nil || !strings.Contains(err.Error(), "the script has ended") {
		t.Errorf("what makes sense ended with %v", err)
	}
	if s := b.State(); s == nil || s.Step != 5 || s.Samples != 10 || s.NotFinite != 3 {
		t.Errorf("state %+v, want step 5", s)
	}
	failed := &musterv1.FollowResponse{Message: &musterv1.FollowResponse_Done{Done: &musterv1.Done{Reason: "it was bad"}}}
	if err := b.Follow(t.Context(), &script{[]*musterv1.FollowResponse{failed}}); !errors.Is(err, ErrJobFailed) {
		t.Errorf("%v, want that the job failed", err)
	}
}

func TestADeposedServerSavesNothingAndLeavesItsWorkersToTheOther(t *testing.T) {
	cfg := twoChunks(t)
	cfg.Term = 3
	r, _ := serve(t, cfg)
	p := newPuppet(t, r.Server, "w")
	p.obey(next(t, p))
	next(t, p)
	r.Depose("server-b at a:1", 4)
	if p.work() != nil || p.done != nil {
		t.Errorf("the worker hears %v, want the stream's end alone", p.done)
	}
	if result, err := r.wait(t); !errors.Is(err, ErrDeposed) || !strings.Contains(err.Error(), "server-b at a:1, of term 4; this one is of term 3") || result.Checkpoint != "" {
		t.Errorf("%v, checkpoint %q", err, result.Checkpoint)
	}
}

func TestAWorkerThatHasHeardOfAHigherTermDeposesTheServer(t *testing.T) {
	cfg := twoChunks(t)
	cfg.Term = 3
	r, _ := serve(t, cfg)
	req := joinRequest(r.Server, "w")
	req.Term = 3
	if response, err := r.Join(t.Context(), req); err != nil || response.Term != 3 {
		t.Fatalf("%v, term %d; want 3", err, response.GetTerm())
	}
	req.Term = 4
	if _, err := r.Join(t.Context(), req); !errors.Is(err, errOver) {
		t.Errorf("joined a server of a lower term: %v", err)
	}
	if _, err := r.wait(t); !errors.Is(err, ErrDeposed) || !strings.Contains(err.Error(), "a worker has heard of one of term 4") {
		t.Errorf("the server ended with %v", err)
	}

	// Where there are no terms, none is higher.
	free := newServer(t, twoChunks(t))
	run(t, free)
	req = joinRequest(free, "w")
	req.Term = 9
	if response, err := free.Join(t.Context(), req); err != nil || response.Term != 0 {
		t.Errorf("%v, term %d; want a server without terms to take it", err, response.GetTerm())
	}
}
