package paramserver

import (
	"context"
	"errors"
	"io"
	"net"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/muster-train/muster/internal/wire"
	"github.com/muster-train/muster/model/params"
	musterv1 "github.com/muster-train/muster/proto/muster/v1"
)

// boss is the coordinator of part 1/2, whose every move the test makes.
type boss struct {
	t       *testing.T
	job     *musterv1.JobSpec
	layout  *params.Layout
	says    chan *musterv1.AssistResponse
	hears   chan *musterv1.AssistRequest
	hung    chan struct{} // closed: the stream has ended
	streams chan struct{} // one for each stream that may be opened

	ctx  context.Context  // of the stream; the part's goroutine that follows sets it
	conn *grpc.ClientConn // to the part, for workers
	end  chan error       // what Run returned

	cancel context.CancelFunc // has the part stop
}

var release = &musterv1.AssistResponse{Message: &musterv1.AssistResponse_Release{Release: &musterv1.PartRelease{}}}

func (b *boss) Send(m *musterv1.AssistRequest) error { b.hears <- m; return nil }
func (b *boss) Close()                               {}

func (b *boss) Recv() (*musterv1.AssistResponse, error) {
	select {
	case m, ok := <-b.says:
		if !ok {
			return nil, io.ErrUnexpectedEOF
		}
		return m, nil
	case <-b.hung:
		return nil, io.ErrUnexpectedEOF
	case <-b.ctx.Done():
		return nil, b.ctx.Err()
	}
}

// newBoss runs a part, and opens one stream to it.
func newBoss(t *testing.T) *boss {
	t.Helper()
	cfg := twoChunks(t)
	net1, err := network(cfg.Job)
	if err != nil {
		t.Fatal(err)
	}
	b := &boss{
		t: t, job: cfg.Job, layout: net1.Layout, says: make(chan *musterv1.AssistResponse), hears: make(chan *musterv1.AssistRequest, 100),
		hung: make(chan struct{}), streams: make(chan struct{}, 10), end: make(chan error, 1),
	}
	socket := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	part, err := NewPart(PartConfig{Index: 1, Count: 2, Address: "unix://" + socket},
		func(ctx context.Context) (Coordinator, error) {
			select {
			case <-b.streams:
				b.ctx = ctx
				return b, nil
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		},
		func(ctx context.Context, s *Server) error { return s.Serve(ctx, l) })
	if err != nil {
		t.Fatal(err)
	}
	if b.conn, err = grpc.NewClient("unix://"+socket, grpc.WithTransportCredentials(insecure.NewCredentials())); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	go func() { b.end <- part.Run(ctx) }()
	b.cancel = cancel
	t.Cleanup(func() {
		b.conn.Close()
		select {
		case <-b.end: // by itself
			return
		default:
		}
		cancel()
		for {
			select {
			case <-b.end:
				return
			case b.says <- release:
			}
		}
	})
	b.streams <- struct{}{}
	if h := (<-b.hears).GetHello(); h.GetIndex() != 1 || h.GetCount() != 2 || h.GetAddress() == "" {
		t.Fatalf("hello %v, want part 1/2 and an address", h)
	}
	return b
}

func (b *boss) hear() *musterv1.AssistRequest {
	b.t.Helper()
	select {
	case m := <-b.hears:
		return m
	case err := <-b.end:
		b.end <- err
		b.t.Fatalf("the part has ended: %v", err)
	}
	return nil
}

// setUp gives the part its job and a state: parameters of 1, momentum of 0.
func (b *boss) setUp(step uint64) {
	b.t.Helper()
	b.says <- &musterv1.AssistResponse{Message: &musterv1.AssistResponse_Job{Job: &musterv1.PartJob{
		Job: b.job, JobHash: wire.JobHash(b.job), Layout: b.layout.Fingerprint(), First: 1, End: 2, Step: step,
	}}}
	w := make([]float32, b.layout.Chunk(1).Len())
	for i := range w {
		w[i] = 1
	}
	b.says <- &musterv1.AssistResponse{Message: &musterv1.AssistResponse_State{State: wire.NewPartState(step, 1, w, make([]float32, len(w)))}}
}

// begin opens the round of a step, with an image of either shard.
func (b *boss) begin(step uint64) {
	b.says <- &musterv1.AssistResponse{Message: &musterv1.AssistResponse_Begin{Begin: &musterv1.PartBegin{Step: step, Rate: 0.5, Scale: 0.5, Images: []uint32{1, 1}}}}
}

func (b *boss) commit(step uint64) {
	b.says <- &musterv1.AssistResponse{Message: &musterv1.AssistResponse_Commit{Commit: &musterv1.PartCommit{Step: step}}}
}

func (b *boss) collect(step uint64) {
	b.says <- &musterv1.AssistResponse{Message: &musterv1.AssistResponse_Collect{Collect: &musterv1.PartCollect{Step: step}}}
}

// worker joins the part once that is ready.
func (b *boss) worker(id string) rawStream {
	b.t.Helper()
	req := &musterv1.JoinRequest{Worker: id, Job: wire.JobHash(b.job), Layout: b.layout.Fingerprint(), Encodings: wire.Spoken()}
	for {
		_, err := musterv1.NewMusterServiceClient(b.conn).Join(context.Background(), req)
		if err == nil {
			break
		}
		if status.Code(err) != codes.Unavailable {
			b.t.Fatal(err)
		}
	}
	stream, _ := openStream(b.t, b.conn, req, 0)
	return stream
}

// push sends the part's chunk of the sum over a node, every value of it being x.
func (s rawStream) push(b *boss, step uint64, first, end int, x float32) {
	values := make([]float32, b.layout.Live(1))
	for i := range values {
		values[i] = x
	}
	s.send(&musterv1.ExchangeRequest{Message: &musterv1.ExchangeRequest_Gradient{Gradient: wire.NewGradientChunk(step, first, end, 1, values)}})
}

func (s rawStream) want(step uint64) {
	s.send(&musterv1.ExchangeRequest{Message: &musterv1.ExchangeRequest_Want{Want: &musterv1.Want{Step: step}}})
}

// parameters receives what must be the part's chunk at a step, and returns its first value.
func (s rawStream) parameters(b *boss, step uint64) float32 {
	s.t.Helper()
	m, err := s.Recv()
	if err != nil {
		s.t.Fatal(err)
	}
	p := m.GetParameters()
	if p.GetStep() != step || p.GetChunk() != 1 {
		s.t.Fatalf("heard %v, want parameters of step %d, chunk 1", m, step)
	}
	values := make([]float32, b.layout.Chunk(1).Len())
	if err := wire.Decode(values, p); err != nil {
		s.t.Fatal(err)
	}
	return values[0]
}

// afterOne is a parameter of 1 after a step with the mean gradient g, by the rule
// written out: rate 0.5, decay 0.01, no velocity before.
func afterOne(b *boss, g float32) (w, v float32) {
	d := g + float32(b.job.WeightDecay*1)
	v = -float32(0.5 * d)
	return 1 + v, v
}

func TestAPartMakesItsChunksAsItIsTold(t *testing.T) {
	b := newBoss(t)
	b.setUp(4)
	a, c := b.worker("a"), b.worker("c")
	a.want(4)
	c.want(4)
	if x, y := a.parameters(b, 4), c.parameters(b, 4); x != 1 || y != 1 {
		t.Errorf("parameters %v and %v, want what the coordinator had, 1", x, y)
	}
	a.push(b, 4, 0, 1, 3) // before the round is open here
	b.begin(4)
	c.push(b, 4, 1, 2, 5)
	wantW, wantV := afterOne(b, 4)
	for _, w := range []rawStream{a, c} {
		if x := w.parameters(b, 5); x != wantW { // at once: the step is not published yet
			t.Errorf("parameter %v after the step, want %v", x, wantW)
		}
	}
	g := b.hear().GetGathered()
	if g == nil || g.Step != 4 || g.Diverged || g.GradientBytes != uint64(2*4*b.layout.Live(1)) || g.ParameterBytes == 0 {
		t.Errorf("%v, want step 4 gathered, and its bytes", g)
	}
	// A worker that is to do some of the step again gets back what has been replaced.
	a.want(4)
	if x := a.parameters(b, 4); x != 1 {
		t.Errorf("parameter %v of the step that is computed again, want 1", x)
	}
	a.push(b, 4, 0, 2, 100) // and what it sends is a repeat
	if x := a.parameters(b, 5); x != wantW {
		t.Errorf("parameter %v after the repeat, want %v", x, wantW)
	}
	b.commit(5)
	b.collect(5)
	state := b.hear().GetState()
	w, v := make([]float32, b.layout.Chunk(1).Len()), make([]float32, b.layout.Chunk(1).Len())
	if err := wire.ReadPartState(w, v, state); err != nil || state.Step != 5 || state.Chunk != 1 || w[0] != wantW || v[len(v)-1] != wantV {
		t.Errorf("%v: state of step %d with %v.., %v..; want step 5, %v, %v", err, state.GetStep(), w[0], v[0], wantW, wantV)
	}
	b.says <- &musterv1.AssistResponse{Message: &musterv1.AssistResponse_Done{Done: &musterv1.Done{Success: true}}}
	err := <-b.end
	if b.end <- err; err != nil {
		t.Errorf("the part ended with %v", err)
	}
}

func TestAPartThatIsSetUpAnewForgetsWhatItWasDoing(t *testing.T) {
	b := newBoss(t)
	b.setUp(4)
	a := b.worker("a")
	b.begin(4)
	a.want(4)
	a.parameters(b, 4)
	a.push(b, 4, 0, 1, 3) // half of the step
	b.setUp(2)            // the job has gone back
	for {
		if _, err := a.Recv(); err != nil {
			break // its worker is to join again
		}
	}
	a = b.worker("a")
	b.begin(2)
	a.want(2)
	if x := a.parameters(b, 2); x != 1 {
		t.Errorf("parameter %v, want 1", x)
	}
	a.push(b, 2, 0, 2, 8)
	if want, _ := afterOne(b, 4); a.parameters(b, 3) != want {
		t.Errorf("the step doesn't give %v: something of the one that was given up counts", want)
	}
	if g := b.hear().GetGathered(); g.GetStep() != 2 {
		t.Errorf("%v, want step 2 gathered", g)
	}
}

func TestAPartWithoutItsCoordinatorTakesNoWorkers(t *testing.T) {
	b := newBoss(t)
	b.setUp(0)
	b.worker("a")
	close(b.hung)
	req := &musterv1.JoinRequest{Worker: "b", Job: wire.JobHash(b.job), Layout: b.layout.Fingerprint(), Encodings: wire.Spoken()}
	for {
		_, err := musterv1.NewMusterServiceClient(b.conn).Join(context.Background(), req)
		if status.Code(err) == codes.Unavailable {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	b.hung = make(chan struct{}) // which the part reads once there is another stream
	b.streams <- struct{}{}
	if b.hear().GetHello() == nil {
		t.Fatal("the part doesn't introduce itself again")
	}
	b.setUp(0)
	b.worker("b")
}

func TestAPartThatIsToStopServesUntilItsStateIsSaved(t *testing.T) {
	for name, letGo := range map[string]func(b *boss){
		"it is released":            func(b *boss) { b.says <- release },
		"its coordinator ends, too": func(b *boss) { close(b.hung) },
	} {
		t.Run(name, func(t *testing.T) {
			b := newBoss(t)
			b.setUp(4)
			b.worker("a")
			b.cancel()
			if b.hear().GetLeave() == nil {
				t.Fatal("the part doesn't say that it wants to leave")
			}
			b.collect(4)
			if s := b.hear().GetState(); s.GetStep() != 4 {
				t.Fatalf("%v, want the state of step 4", s)
			}
			letGo(b)
			err := <-b.end
			if b.end <- err; !errors.Is(err, ErrStopped) {
				t.Errorf("the part ended with %v, want ErrStopped", err)
			}
		})
	}
}

// A worker that joined before the part was set up anew has come for a state that is
// not there any more.
func TestAPartForgetsWhoJoinedBeforeItWasSetUpAnew(t *testing.T) {
	b := newBoss(t)
	b.setUp(4)
	b.worker("a") // it is ready
	req := &musterv1.JoinRequest{Worker: "b", Job: wire.JobHash(b.job), Layout: b.layout.Fingerprint(), Encodings: wire.Spoken()}
	joined, err := musterv1.NewMusterServiceClient(b.conn).Join(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	b.setUp(2)
	b.worker("c")
	stream, err := musterv1.NewMusterServiceClient(b.conn).Exchange(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	hello := &musterv1.ExchangeRequest{Message: &musterv1.ExchangeRequest_Hello{Hello: &musterv1.Hello{Session: joined.Session}}}
	if err := stream.Send(hello); err != nil {
		t.Fatal(err)
	}
	if m, err := stream.Recv(); err == nil || !strings.Contains(err.Error(), "join first") {
		t.Errorf("%v, %v; want to be told to join first", m, err)
	}
}

func TestAPartTellsOfWhatStaysNotFinite(t *testing.T) {
	b := newBoss(t)
	b.setUp(0)
	b.begin(0)
	a := b.worker("a")
	var nan float32
	nan = (nan - nan) / nan
	for range DefaultConfig().NotFinite {
		a.push(b, 0, 1, 2, nan)
	}
	if r := b.hear().GetRefused(); r == nil || r.Step != 0 || r.Node.GetFirst() != 1 || r.Node.GetEnd() != 2 {
		t.Errorf("%v, want shard 1 at step 0 refused", r)
	}
}

func TestAPartRefusesWhatIsNotItsOwn(t *testing.T) {
	b := newBoss(t)
	b.setUp(0)
	b.begin(0)
	a := b.worker("a")
	a.send(&musterv1.ExchangeRequest{Message: &musterv1.ExchangeRequest_Gradient{Gradient: wire.NewGradientChunk(0, 0, 1, 0, make([]float32, b.layout.Live(0)))}})
	m, err := a.Recv()
	if f := m.GetRefusal(); err != nil || f.GetReason() != musterv1.RefusalReason_REFUSAL_REASON_MALFORMED || !strings.Contains(f.Detail, "of another part") {
		t.Errorf("%v, %v; want chunk 0 refused as of another part", m, err)
	}
	a.send(&musterv1.ExchangeRequest{Message: &musterv1.ExchangeRequest_Tallies{Tallies: &musterv1.Tallies{}}})
	if _, err := a.Recv(); err == nil || !strings.Contains(err.Error(), "tallies are for the server that coordinates") {
		t.Errorf("tallies: %v", err)
	}
	api := musterv1.NewMusterServiceClient(b.conn)
	for name, call := range map[string]func() error{
		"Status":     func() error { _, err := api.Status(t.Context(), &musterv1.StatusRequest{}); return err },
		"Stop":       func() error { _, err := api.Stop(t.Context(), &musterv1.StopRequest{}); return err },
		"Checkpoint": func() error { _, err := api.Checkpoint(t.Context(), &musterv1.CheckpointRequest{}); return err },
		"Pull":       func() error { _, err := api.Pull(t.Context(), &musterv1.PullRequest{}); return err },
		"Push":       func() error { _, err := api.Push(t.Context(), &musterv1.PushRequest{}); return err },
	} {
		if err := call(); status.Code(err) != codes.FailedPrecondition || !strings.Contains(err.Error(), `part 1/2 of job "test": ask the one that has part 0`) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What doesn't follow from what was said before ends the part, which does not guess.
func TestAPartEndsWhereItsCoordinatorMakesNoSense(t *testing.T) {
	other := testJob()
	other.Seed++
	for name, c := range map[string]struct {
		say  func(b *boss)
		want string
	}{
		"a round before a state":      {func(b *boss) { b.begin(0) }, "before there is a state"},
		"a state before a job":        {func(b *boss) { b.collect(0) }, "before there is one"},
		"a round of another step":     {func(b *boss) { b.setUp(0); b.begin(3) }, "round of step 3 at step 0"},
		"a step that is not made":     {func(b *boss) { b.setUp(0); b.begin(0); b.commit(1) }, "has not been made"},
		"a state of another step":     {func(b *boss) { b.setUp(0); b.collect(1) }, "the state of step 1 is asked for at step 0"},
		"another job":                 {func(b *boss) { b.setUp(0); b.job = other; b.setUp(0) }, "another job now: "},
		"a chunk that is not its own": {func(b *boss) { b.setUp(0); b.says <- stateOf(1, 0) }, "not due"},
		"nothing":                     {func(b *boss) { b.says <- &musterv1.AssistResponse{} }, "unexpected message"},
		"the job's failure": {func(b *boss) {
			b.says <- &musterv1.AssistResponse{Message: &musterv1.AssistResponse_Done{Done: &musterv1.Done{Reason: "it was bad"}}}
		}, "the job ended early: it was bad"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBoss(t)
			said := make(chan struct{})
			go func() { defer close(said); c.say(b) }()
			err := <-b.end
			if b.end <- err; err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("the part ended with %v, want %q", err, c.want)
			}
			go func() { // what it does not hear any more
				for range b.says {
				}
			}()
			<-said
			close(b.says)
		})
	}
	if _, err := NewPart(PartConfig{Index: 0, Count: 2, Address: "a"}, nil, nil); err == nil {
		t.Error("the first part is taken for one that another server coordinates")
	}
}

func stateOf(step uint64, chunk int) *musterv1.AssistResponse {
	return &musterv1.AssistResponse{Message: &musterv1.AssistResponse_State{State: &musterv1.PartState{Step: step, Chunk: uint32(chunk)}}}
}
