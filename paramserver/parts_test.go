package paramserver

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"

	"github.com/muster-train/muster/internal/wire"
	"github.com/muster-train/muster/model/params"
	"github.com/muster-train/muster/paramserver/checkpoint"
	musterv1 "github.com/muster-train/muster/proto/muster/v1"
)

func TestPartsShareChunksEvenly(t *testing.T) {
	for chunks := 1; chunks < 90; chunks++ {
		for parts := 1; parts <= chunks; parts++ {
			next, least, most := 0, chunks, 0
			for part := range parts {
				r := chunksOf(chunks, part, parts)
				if r.first != next {
					t.Fatalf("%d chunks: part %d/%d begins at %d, the one before ends at %d", chunks, part, parts, r.first, next)
				}
				next, least, most = r.end, min(least, r.len()), max(most, r.len())
			}
			if next != chunks || most-least > 1 || least == 0 {
				t.Fatalf("%d chunks in %d parts: they end at %d, with %d to %d", chunks, parts, next, least, most)
			}
		}
	}
}

// twoParts is the test job with two chunks, of which another server has the second.
func twoParts(t *testing.T) Config {
	cfg := twoChunks(t)
	cfg.Parts = 2
	return cfg
}

func TestPartsHaveToFitTheJob(t *testing.T) {
	for _, c := range []struct {
		change func(*Config)
		want   string
	}{
		{func(c *Config) { c.Parts = 0 }, "0 parts: 1 to 2 are possible"},
		{func(c *Config) { c.Parts = 3 }, "3 parts: 1 to 2 are possible, the chunks that lenet5 has"},
		{func(c *Config) { c.Parts, c.Job.Sync = 2, "ssp:1" }, "sync ssp:1 with 2 parts"},
	} {
		cfg := twoChunks(t)
		c.change(&cfg)
		if err := cfg.Validate(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v, want %q", err, c.want)
		}
	}
}

// otherPart is the server of part 1/2, whose every move the test makes.
type otherPart struct {
	t      *testing.T
	stream grpc.BidiStreamingClient[musterv1.AssistRequest, musterv1.AssistResponse]
	cancel context.CancelFunc
	layout *params.Layout
	w, v   []float32 // its state, in the whole vector
	course uint64
}

func assist(t *testing.T, conn *grpc.ClientConn, hello *musterv1.PartHello) *otherPart {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	stream, err := musterv1.NewPartsServiceClient(conn).Assist(ctx)
	if err != nil {
		t.Fatal(err)
	}
	o := &otherPart{t: t, stream: stream, cancel: cancel}
	if hello == nil {
		o.gathered(0)
		return o
	}
	o.send(&musterv1.AssistRequest{Message: &musterv1.AssistRequest_Hello{Hello: hello}})
	return o
}

func (o *otherPart) send(m *musterv1.AssistRequest) {
	o.t.Helper()
	if err := o.stream.Send(m); err != nil {
		o.t.Fatal(err)
	}
}

func (o *otherPart) recv() *musterv1.AssistResponse {
	o.t.Helper()
	m, err := o.stream.Recv()
	if err != nil {
		o.t.Fatal(err)
	}
	return m
}

var helloOfOne = &musterv1.PartHello{Index: 1, Count: 2, Address: "unix:///nowhere"}

// joinAs is a part that has been given its state.
func joinAs(t *testing.T, s *Server, conn *grpc.ClientConn) *otherPart {
	t.Helper()
	o := assist(t, conn, helloOfOne)
	o.setUp(s, 0)
	return o
}

// setUp takes in the job and the state at a step.
func (o *otherPart) setUp(s *Server, step uint64) {
	o.t.Helper()
	job := o.recv().GetJob()
	if job == nil || job.JobHash != s.hash || job.First != 1 || job.End != 2 || job.Step != step || job.Layout != s.network.Layout.Fingerprint() {
		o.t.Fatalf("job %v, want that of the server, with chunk 1 at step %d", job, step)
	}
	o.layout, o.course = s.network.Layout, job.Course
	o.w, o.v = make([]float32, o.layout.Size()), make([]float32, o.layout.Size())
	state := o.recv().GetState()
	r := o.layout.Chunk(1)
	if state == nil || state.Step != step || state.Chunk != 1 {
		o.t.Fatalf("state %v, want chunk 1 at step %d", state, step)
	}
	if err := wire.ReadPartState(r.Of(o.w), r.Of(o.v), state); err != nil {
		o.t.Fatal(err)
	}
}

// round follows the coordinator to the round of a step.
func (o *otherPart) round(step uint64, rate, scale float32, images ...uint32) {
	o.t.Helper()
	b := o.recv().GetBegin()
	if b == nil || b.Step != step || b.Rate != rate || b.Scale != scale || !slices.Equal(b.Images, images) {
		o.t.Fatalf("%v, want the round of step %d, rate %v, scale %v, images %v", b, step, rate, scale, images)
	}
}

func (o *otherPart) gathered(step uint64) {
	o.send(&musterv1.AssistRequest{Message: &musterv1.AssistRequest_Gathered{Gathered: &musterv1.PartGathered{Step: step, GradientBytes: 11, ParameterBytes: 13, Course: o.course}}})
}

func (o *otherPart) commit(step uint64) {
	o.t.Helper()
	if c := o.recv().GetCommit(); c == nil || c.Step != step {
		o.t.Fatalf("%v, want step %d published", c, step)
	}
}

// collect sends the state that is asked for, every value of it being x and y.
func (o *otherPart) collect(step uint64, x, y float32) {
	o.t.Helper()
	if c := o.recv().GetCollect(); c == nil || c.Step != step {
		o.t.Fatalf("%v, want the state of step %d asked for", c, step)
	}
	o.state(step, 1, x, y)
}

func (o *otherPart) state(step uint64, chunk int, x, y float32) {
	n := o.layout.Chunk(1).Len()
	o.send(&musterv1.AssistRequest{Message: &musterv1.AssistRequest_State{State: wire.NewPartState(step, chunk, slices.Repeat([]float32{x}, n), slices.Repeat([]float32{y}, n))}})
}

// contribute does the puppet's part of a step, in the coordinator's chunk.
func contribute(p *puppet, w *musterv1.Work) {
	p.t.Helper()
	p.tallies(w, 0, 1)
	if w.Kind == kindGradient {
		p.push(w.Step, node(0, 2), 0)
	}
}

// workOf follows p to its next work, of which it gets the first chunk alone.
func workOf(t *testing.T, p *puppet) *musterv1.Work {
	t.Helper()
	for {
		var m wire.Response
		if err := p.stream.Recv(&m); err != nil {
			t.Fatal(err)
		}
		if c := &m.Parameters; c.Payload != nil {
			if c.Chunk != 0 {
				t.Fatalf("the coordinator sends chunk %d, which is not its own", c.Chunk)
			}
			m.Free()
			continue
		}
		if w := m.Message.GetWork(); w != nil {
			return w
		}
		if m.Message.GetDone() != nil {
			return nil
		}
	}
}

func TestAStepIsWholeWhenAllPartsHaveMadeIt(t *testing.T) {
	cfg := twoParts(t)
	r, conn := serve(t, cfg)
	o := joinAs(t, r.Server, conn)
	p := newPuppet(t, r.Server, "w")
	rate := cfg.Job.LearningRate
	for step := range uint64(3) {
		w := workOf(t, p)
		if w.Kind != kindGradient || w.Step != step {
			t.Fatalf("work %v, want gradients of step %d", w, step)
		}
		scale, images := float32(0.5), []uint32{1, 1}
		if step == 2 {
			scale, images = 1, []uint32{1, 0}
		}
		o.round(step, rate, scale, images...)
		contribute(p, w)
		if at, _ := r.store.At(); at != params.Step(step) {
			t.Errorf("step %d has been published before its part had made it", at)
		}
		o.gathered(step)
		o.commit(step + 1)
	}
	if status := look(t, r.Server); len(status.Parts) != 2 || status.Parts[1].Address != helloOfOne.Address || status.Parts[1].GradientBytes != 11 || status.ParameterBytes < 13 {
		t.Errorf("status tells of parts %v", status.Parts)
	}
	if w := workOf(t, p); w.Kind != kindEvaluate {
		t.Fatalf("work %v, want an evaluation", w)
	} else {
		contribute(p, w)
	}
	o.collect(3, 7, 9) // for the checkpoint at the end of the epoch
	if w := workOf(t, p); w != nil {
		t.Fatalf("work %v, want the end", w)
	}
	if d := o.recv().GetDone(); d == nil || !d.Success {
		t.Errorf("%v, want to hear that the job is done", d)
	}
	p.stream.Close()
	result, err := r.wait(t)
	if err != nil {
		t.Fatal(err)
	}
	state, err := checkpoint.Read(result.Checkpoint)
	if err != nil {
		t.Fatal(err)
	}
	chunk := r.network.Layout.Chunk(1)
	if x, y := chunk.Of(state.Parameters), chunk.Of(state.Momentum); x[0] != 7 || x[len(x)-1] != 7 || y[0] != 9 || y[len(y)-1] != 9 {
		t.Errorf("the checkpoint has %v.. and %v.. of the other part, want 7 and 9", x[0], y[0])
	}
	if got := params.Hash(state.Parameters); got != result.Hash || params.Hash(state.Parameters[:chunk.First]) == "" {
		t.Errorf("the result has hash %s, its checkpoint %s", result.Hash, got)
	}
}

func TestWhoIsNoPartOfTheJobIsRefused(t *testing.T) {
	r, conn := serve(t, twoParts(t))
	_ = r
	for _, c := range []struct {
		hello *musterv1.PartHello
		want  string
	}{
		{&musterv1.PartHello{Index: 0, Count: 2, Address: "a:1"}, "part 0/2 does not fit"},
		{&musterv1.PartHello{Index: 2, Count: 2, Address: "a:1"}, "part 2/2 does not fit"},
		{&musterv1.PartHello{Index: 1, Count: 3, Address: "a:1"}, `part 1/3 does not fit: job "test" has 2 parts`},
		{&musterv1.PartHello{Index: 1, Count: 2}, "no address"},
		{nil, "must be hello"},
	} {
		o := assist(t, conn, c.hello)
		if _, err := o.stream.Recv(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: %v, want %q", c.hello, err, c.want)
		}
	}
	joinAs(t, r.Server, conn)
	if _, err := assist(t, conn, helloOfOne).stream.Recv(); err == nil || !strings.Contains(err.Error(), "is served at unix:///nowhere as yet") {
		t.Errorf("a second server of the part: %v", err)
	}

	_, alone := serve(t, twoChunks(t))
	if _, err := assist(t, alone, helloOfOne).stream.Recv(); err == nil || !strings.Contains(err.Error(), "has one part") {
		t.Errorf("a part of a job of one: %v", err)
	}
}

func TestWorkersWaitForAllParts(t *testing.T) {
	r, conn := serve(t, twoParts(t))
	_, err := r.Join(t.Context(), joinRequest(r.Server, "w"))
	if !errors.Is(err, errNotAssembled) || !strings.Contains(err.Error(), "part 1/2 is not there") {
		t.Errorf("joined a job without its part: %v", err)
	}
	joinAs(t, r.Server, conn)
	response, err := r.Join(t.Context(), joinRequest(r.Server, "w"))
	if err != nil {
		t.Fatal(err)
	}
	if p := response.Parts; len(p) != 2 || p[0].Address != "" || p[1].Address != helloOfOne.Address || p[0].End != 1 || p[1].First != 1 || p[1].End != 2 {
		t.Errorf("parts %v, want a chunk each", p)
	}
}

// What goes wrong with a part takes the job back to its newest checkpoint, or ends it.
func TestALostPartTakesTheJobBack(t *testing.T) {
	for name, lose := range map[string]func(o *otherPart){
		"its stream ends":       func(o *otherPart) { o.cancel() },
		"a state nobody wanted": func(o *otherPart) { o.state(1, 1, 0, 0) },
		"another hello": func(o *otherPart) {
			o.send(&musterv1.AssistRequest{Message: &musterv1.AssistRequest_Hello{Hello: helloOfOne}})
		},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := twoParts(t)
			cfg.CheckpointSteps = 1
			r, conn := serve(t, cfg)
			o := joinAs(t, r.Server, conn)
			p := newPuppet(t, r.Server, "w")
			contribute(p, workOf(t, p))
			o.round(0, 0.5, 0.5, 1, 1)
			o.gathered(0)
			o.commit(1)
			o.collect(1, 3, 4)
			for look(t, r.Server).CheckpointStep != 1 {
			}
			o.round(1, 0.5, 0.5, 1, 1)
			w := workOf(t, p)
			contribute(p, w)
			lose(o)

			before := o.course
			for {
				o = assist(t, conn, helloOfOne)
				if job, err := o.stream.Recv(); err == nil {
					o.course = job.GetJob().GetCourse()
					break
				} // else the loss has not been noticed yet
			}
			o.layout = r.network.Layout
			o.w, o.v = make([]float32, o.layout.Size()), make([]float32, o.layout.Size())
			state := o.recv().GetState()
			chunk := o.layout.Chunk(1)
			if err := wire.ReadPartState(chunk.Of(o.w), chunk.Of(o.v), state); err != nil || state.Step != 1 || chunk.Of(o.w)[0] != 3 || chunk.Of(o.v)[0] != 4 {
				t.Fatalf("%v: state of step %d, %v.., %v..; want that of the checkpoint of step 1, 3 and 4", err, state.GetStep(), chunk.Of(o.w)[0], chunk.Of(o.v)[0])
			}
			if again := workOf(t, p); again.Step != 1 || again.Kind != kindGradient {
				t.Fatalf("work %v, want step 1 once more", again)
			}
			contribute(p, w)
			o.round(1, 0.5, 0.5, 1, 1)
			now := o.course
			o.course = before
			o.gathered(1) // said of the course that was given up: it doesn't count
			o.course = now
			for look(t, r.Server).Parts[1].GradientBytes != 11 {
			}
			if at, _ := r.store.At(); at != 1 {
				t.Errorf("step %d, though its part has not made it", at)
			}
			o.gathered(1)
			o.commit(2)
		})
	}
}

func TestAPartThatDivergesEndsTheJob(t *testing.T) {
	for name, say := range map[string]func(o *otherPart){
		"an update": func(o *otherPart) {
			o.send(&musterv1.AssistRequest{Message: &musterv1.AssistRequest_Gathered{Gathered: &musterv1.PartGathered{Step: 0, Diverged: true, Course: o.course}}})
		},
		"contributions": func(o *otherPart) {
			o.send(&musterv1.AssistRequest{Message: &musterv1.AssistRequest_Refused{Refused: &musterv1.PartRefused{Step: 0, Node: &musterv1.Node{First: 1, End: 2}, Course: o.course}}})
		},
	} {
		t.Run(name, func(t *testing.T) {
			r, conn := serve(t, twoParts(t))
			o := joinAs(t, r.Server, conn)
			p := newPuppet(t, r.Server, "w")
			contribute(p, workOf(t, p))
			o.round(0, 0.5, 0.5, 1, 1)
			say(o)
			if d := o.recv().GetDone(); d == nil || d.Success {
				t.Errorf("the part hears %v, want that the job has ended", d)
			}
			p.stream.Close()
			begun := params.Hash(r.initial().Parameters)
			if result, err := r.wait(t); !errors.Is(err, ErrNotFinite) || result.Hash != begun {
				t.Errorf("%v, hash %q; want ErrNotFinite, and the hash of what the job began with, %s", err, result.Hash, begun)
			}
		})
	}
}

func TestWhatIsPulledHasAllParts(t *testing.T) {
	r, conn := serve(t, twoParts(t))
	o := joinAs(t, r.Server, conn)
	answer := make(chan *musterv1.PullResponse, 1)
	go func() {
		p, err := musterv1.NewMusterServiceClient(conn).Pull(context.Background(), &musterv1.PullRequest{Chunks: []uint32{1}})
		if err != nil {
			t.Error(err)
		}
		answer <- p
	}()
	o.collect(0, 5, 6)
	p := <-answer
	got := make([]float32, r.network.Layout.Chunk(1).Len())
	if err := wire.Decode(got, p.GetParameters()[0]); err != nil || got[0] != 5 {
		t.Errorf("%v: pulled %v.., want what the part has, 5", err, got[0])
	}
}

func TestAGradientOfAnotherPartIsMalformed(t *testing.T) {
	r, conn := serve(t, twoParts(t))
	joinAs(t, r.Server, conn)
	p := newPuppet(t, r.Server, "w")
	workOf(t, p)
	p.push(0, node(0, 2), 1)
	var m wire.Response
	for m.Message.GetRefusal() == nil {
		m.Free()
		if err := p.stream.Recv(&m); err != nil {
			t.Fatal(err)
		}
	}
	if f := m.Message.GetRefusal(); f.Reason != musterv1.RefusalReason_REFUSAL_REASON_MALFORMED || !strings.Contains(f.Detail, "chunk 1 is of another part") {
		t.Errorf("refusal %v, want chunk 1 to be of another part", f)
	}
}

// What comes of a state is written to a version that is held: it is held until nothing
// comes any more, though it is known already that something is missing.
func TestAStateThatIsIncompleteIsAwaitedToItsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := testConfig(t)
		cfg.Job.Classes, cfg.Parts = 8000, 3
		s, err := newBare(cfg, nil)
		if err != nil {
			t.Fatal(err)
		}
		layout := s.network.Layout
		s.startStore(4, 8, params.NewVector(layout.Size()), params.NewVector(layout.Size()))
		for part := 1; part < 3; part++ {
			s.others = append(s.others, newAssistant(part, "a:1", chunksOf(layout.Chunks(), part, 3), layout, func() {}))
		}
		s.assembled = true
		_, wait := s.holdWhole()
		var failed error
		ended := make(chan struct{})
		go func() { defer close(ended); failed = wait() }()
		s.others[0].fail(errPartLost)
		synctest.Wait()
		select {
		case <-ended:
			t.Fatal("the wait has ended while a part's state may still come")
		default:
		}
		n := layout.Chunk(2).Len()
		state := wire.NewPartState(4, 2, make([]float32, n), make([]float32, n))
		if err := s.others[1].receive(&musterv1.AssistRequest{Message: &musterv1.AssistRequest_State{State: state}}); err != nil {
			t.Fatal(err)
		}
		<-ended
		if !errors.Is(failed, errPartLost) {
			t.Errorf("the wait ended with %v, want that a part was lost", failed)
		}

		// One that says nothing is as good as lost after its time, and what it says then is refused.
		s.others[0] = newAssistant(1, "a:1", chunksOf(layout.Chunks(), 1, 3), layout, func() {})
		_, wait = s.holdWhole()
		if err := wait(); err == nil || !strings.Contains(err.Error(), "has not come within") {
			t.Errorf("%v, want that the state has not come", err)
		}
		if err := s.others[1].receive(&musterv1.AssistRequest{Message: &musterv1.AssistRequest_State{State: state}}); err == nil {
			t.Error("a state is taken in though nobody holds the version any more")
		}
	})
}

// twoOf is a job of two parts with a worker, of which the test has the other part.
type twoOf struct {
	*running
	t    *testing.T
	conn *grpc.ClientConn
	o    *otherPart
	p    *puppet
}

func newTwoOf(t *testing.T, cfg Config) *twoOf {
	r, conn := serve(t, cfg)
	j := &twoOf{running: r, t: t, conn: conn, o: joinAs(t, r.Server, conn)}
	j.p = newPuppet(t, r.Server, "w")
	return j
}

// steps makes the steps from one up to another.
func (j *twoOf) steps(from, to uint64) {
	j.t.Helper()
	for step := from; step < to; step++ {
		scale, images := float32(0.5), []uint32{1, 1}
		if step == 2 {
			scale, images = 1, []uint32{1, 0}
		}
		w := workOf(j.t, j.p)
		if w == nil || w.Step != step || w.Kind != kindGradient {
			j.t.Fatalf("work %v, want gradients of step %d", w, step)
		}
		contribute(j.p, w)
		j.o.round(step, 0.5, scale, images...)
		j.o.gathered(step)
		j.o.commit(step + 1)
	}
}

// saved has the state of a step collected and saved.
func (j *twoOf) saved(step uint64, x, y float32) {
	j.t.Helper()
	j.o.collect(step, x, y)
	for look(j.t, j.Server).CheckpointStep != step {
	}
}

// replaced has another server take the part over, which must be given the state of a
// step, with parameters that begin with x.
func (j *twoOf) replaced(step uint64, x float32) {
	j.t.Helper()
	for {
		j.o = assist(j.t, j.conn, helloOfOne)
		job, err := j.o.stream.Recv()
		if err != nil {
			continue // the loss has not been noticed yet
		}
		j.o.course, j.o.layout = job.GetJob().GetCourse(), j.network.Layout
		break
	}
	w, v := make([]float32, j.o.layout.Size()), make([]float32, j.o.layout.Size())
	chunk := j.o.layout.Chunk(1)
	state := j.o.recv().GetState()
	if err := wire.ReadPartState(chunk.Of(w), chunk.Of(v), state); err != nil || state.Step != step || chunk.Of(w)[0] != x {
		j.t.Fatalf("%v: state of step %d, %v..; want step %d, %v", err, state.GetStep(), chunk.Of(w)[0], step, x)
	}
}

// evaluated makes the last evaluation, after which the state of step 3 is collected.
func (j *twoOf) evaluated() {
	j.t.Helper()
	w := workOf(j.t, j.p)
	if w == nil || w.Kind != kindEvaluate {
		j.t.Fatalf("work %v, want an evaluation", w)
	}
	contribute(j.p, w)
}

func TestAPartLostWhileTheEndIsSavedTakesTheJobBack(t *testing.T) {
	cfg := twoParts(t)
	cfg.CheckpointSteps = 2
	j := newTwoOf(t, cfg)
	j.steps(0, 2)
	j.saved(2, 3, 4)
	j.steps(2, 3)
	j.evaluated()
	if c := j.o.recv().GetCollect(); c == nil || c.Step != 3 {
		t.Fatalf("%v, want the state of step 3 asked for", c)
	}
	j.o.cancel() // and what it had is lost
	j.replaced(2, 3)
	j.steps(2, 3)
	j.evaluated()
	j.o.collect(3, 7, 9)
	if w := workOf(t, j.p); w != nil {
		t.Fatalf("work %v, want the end", w)
	}
	j.o.recv() // done
	j.p.stream.Close()
	if result, err := j.wait(t); err != nil || result.Step != 3 || result.Hash == "" {
		t.Errorf("%v: step %d, hash %q; want the job done", err, result.Step, result.Hash)
	}
}

// Coordinator and part are stopped together, and the part is gone first.
func TestAStopWithoutAPartGoesOnFromTheCheckpointBefore(t *testing.T) {
	cfg := twoParts(t)
	cfg.CheckpointSteps = 1
	j := newTwoOf(t, cfg)
	j.steps(0, 1)
	j.saved(1, 3, 4)
	j.steps(1, 2)
	j.o.recv() // the state is asked for, for the checkpoint of step 2
	j.running.cancel()
	for !j.Server.ended() {
		time.Sleep(time.Millisecond)
	}
	j.o.cancel()
	result, err := j.wait(t)
	if !errors.Is(err, ErrStopped) || !result.Torn || result.Resumes != 1 || !strings.Contains(result.Checkpoint, "step-0000000001") || result.Hash != "" {
		t.Errorf("%v: %+v; want it stopped, to go on from step 1", err, result)
	}
}

func TestAPartThatLeavesTakesNothingWithIt(t *testing.T) {
	j := newTwoOf(t, twoParts(t))
	j.steps(0, 1)
	j.o.round(1, 0.5, 0.5, 1, 1)
	j.o.leave(1, 5, 6) // whatever the round still takes
	j.replaced(1, 5)
	j.steps(1, 3)
	if w := workOf(t, j.p); w == nil || w.Kind != kindEvaluate {
		t.Fatalf("work %v, want an evaluation", w)
	}
	j.o.leave(3, 7, 8)
	j.replaced(3, 7)
}

// leave is a part that wants to stop, whose state of a step is saved before it may go.
func (o *otherPart) leave(step uint64, x, y float32) {
	o.t.Helper()
	o.send(&musterv1.AssistRequest{Message: &musterv1.AssistRequest_Leave{Leave: &musterv1.PartLeave{}}})
	o.collect(step, x, y)
	if m := o.recv(); m.GetRelease() == nil {
		o.t.Fatalf("%v, want to be released", m)
	}
}

func TestAPartMayLeaveWhileWorkersAreWaitedFor(t *testing.T) {
	cfg := twoParts(t)
	cfg.MinWorkers = 2
	j := newTwoOf(t, cfg)
	j.o.leave(0, 5, 6)
}

// The checkpoints of another job that somebody has left in the directory are not this job's.
func TestAJobGoesBackToWhatItHasSavedItself(t *testing.T) {
	other := testConfig(t)
	other.Job.Seed++
	r := run(t, newServer(t, other))
	newPuppet(t, r.Server, "w").toil()
	foreign, err := r.wait(t)
	if err != nil {
		t.Fatal(err)
	}
	file, err := os.ReadFile(foreign.Checkpoint)
	if err != nil {
		t.Fatal(err)
	}
	leave := func(cfg Config, step int) {
		if err := os.WriteFile(filepath.Join(cfg.CheckpointDir, fmt.Sprintf("step-%010d.ckpt", step)), file, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Run("nothing yet", func(t *testing.T) {
		cfg := twoParts(t)
		j := newTwoOf(t, cfg)
		leave(cfg, 3)
		j.steps(0, 1)
		begun := j.network.Layout.Chunk(1).Of(j.initial().Parameters)[0]
		j.o.cancel()
		j.replaced(0, begun)
		j.steps(0, 1)
	})
	t.Run("one that can't be read, and one before", func(t *testing.T) {
		cfg := twoParts(t)
		cfg.CheckpointSteps = 1
		j := newTwoOf(t, cfg)
		j.steps(0, 1)
		j.saved(1, 3, 4)
		j.steps(1, 2)
		j.saved(2, 5, 6)
		if err := os.WriteFile(look(t, j.Server).Checkpoint, file[:100], 0o600); err != nil {
			t.Fatal(err)
		}
		j.o.cancel()
		j.replaced(1, 3)
		j.o.cancel() // before anything else is saved
		j.replaced(1, 3)
		j.steps(1, 2)
		j.saved(2, 7, 8) // once more
	})
}

func TestWhatIsPulledAfterTheEndIsWhole(t *testing.T) {
	cfg := twoParts(t)
	cfg.Linger = true
	j := newTwoOf(t, cfg)
	j.steps(0, 3)
	j.evaluated()
	j.o.collect(3, 7, 9)
	if w := workOf(t, j.p); w != nil {
		t.Fatalf("work %v, want the end", w)
	}
	j.o.recv() // done
	j.o.cancel()
	j.p.stream.Close()
	p, err := musterv1.NewMusterServiceClient(j.conn).Pull(t.Context(), &musterv1.PullRequest{Chunks: []uint32{1}})
	if err != nil {
		t.Fatal(err)
	}
	got := make([]float32, j.network.Layout.Chunk(1).Len())
	if err := wire.Decode(got, p.GetParameters()[0]); err != nil || got[0] != 7 {
		t.Errorf("%v: pulled %v.., want what the part had, 7", err, got[0])
	}
	if r := look(t, j.Server); r.Phase != "done" {
		t.Errorf("phase %s, want done", r.Phase)
	}
}
