package paramserver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/muster-train/muster/internal/membership"
	"github.com/muster-train/muster/internal/membership/embedded"
	"github.com/muster-train/muster/internal/wire"
	"github.com/muster-train/muster/model/params"
	musterv1 "github.com/muster-train/muster/proto/muster/v1"
)

// patience bounds what waits for the server, far beyond what it takes.
const patience = time.Minute

// testData are what puppets say they hold: 5 training images over 2 shards, so
// that one shard has an image more.
var testData = &musterv1.DataInfo{
	Fingerprint: "f00d", TrainImages: 5, TestImages: 4, Classes: 10,
	ClassNames: []string{"a", "b", "c", "d", "e", "f", "g", "h", "i", "j"},
}

// testJob has steps of 2 images: 3 an epoch, the last of 1 image.
func testJob() *musterv1.JobSpec {
	return &musterv1.JobSpec{
		Name: "test", Network: "lenet5", Activation: "relu", Shards: 2, Batch: 2, Epochs: 1, Seed: 3,
		LearningRate: 0.5, Momentum: 0.5, WeightDecay: 0.01, Schedule: "constant", Augment: "none",
	}
}

func testConfig(t *testing.T) Config {
	c := DefaultConfig()
	c.Job, c.CheckpointDir, c.CheckpointEvery = testJob(), t.TempDir(), 0
	return c
}

// newServer makes a server over an etcd of its own, which the test's end stops.
func newServer(t *testing.T, cfg Config) *Server {
	t.Helper()
	s, err := New(cfg, newRegistry(t, cfg.Job.Name))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func newRegistry(t *testing.T, job string) *membership.Registry {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	etcd, err := embedded.Start(t.Context(), embedded.Config{Dir: filepath.Join(t.TempDir(), "etcd")}, log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(etcd.Close)
	return membership.NewRegistry(etcd.Client(), job, 2*time.Second, log)
}

// running is a server whose Run is on its way.
type running struct {
	*Server
	cancel context.CancelFunc
	result Result
	err    error
	ended  chan struct{}
}

func run(t *testing.T, s *Server) *running {
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{Server: s, cancel: cancel, ended: make(chan struct{})}
	go func() {
		defer close(r.ended)
		r.result, r.err = s.Run(ctx)
	}()
	t.Cleanup(func() { cancel(); <-r.ended })
	return r
}

// wait returns what Run returned.
func (r *running) wait(t *testing.T) (Result, error) {
	t.Helper()
	select {
	case <-r.ended:
	case <-time.After(patience):
		t.Fatal("the server has not ended")
	}
	return r.result, r.err
}

// puppet is a worker whose every move the test makes.
type puppet struct {
	t       *testing.T
	id      string
	s       *Server
	layout  *params.Layout
	stream  *LocalStream
	vector  []float32      // parameters it was sent
	at      []uint64       // by chunk: the step it was sent at last, plus one
	asked   *musterv1.Work // whose parameters are still to come
	shards  []int
	refused []*musterv1.Refusal
	done    *musterv1.Done
	seconds float64 // it says that it has computed for, in each step
}

// joinRequest is what a worker that fits the job says.
func joinRequest(s *Server, id string) *musterv1.JoinRequest {
	return &musterv1.JoinRequest{Worker: id, Job: s.hash, Layout: s.network.Layout.Fingerprint(), Data: testData, Device: "puppet", Encodings: wire.Spoken()}
}

func newPuppet(t *testing.T, s *Server, id string) *puppet {
	t.Helper()
	return pinnedPuppet(t, s, id, -1)
}

func pinnedPuppet(t *testing.T, s *Server, id string, shard int) *puppet {
	t.Helper()
	req := joinRequest(s, id)
	if shard >= 0 {
		req.Shard = &musterv1.PinnedShard{Index: uint32(shard), Count: s.job.Shards}
	}
	return puppetOf(t, s, req)
}

// puppetOf makes a puppet that joins with a request.
func puppetOf(t *testing.T, s *Server, req *musterv1.JoinRequest) *puppet {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	link := s.Local()
	joined, err := link.Join(ctx, req)
	if err != nil {
		t.Fatal(err)
	}
	stream, err := link.Exchange(ctx, &musterv1.Hello{Session: joined.Session})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stream.Close() })
	return &puppet{t: t, id: req.Worker, s: s, layout: s.network.Layout, stream: stream, vector: make([]float32, s.network.Layout.Size()), at: make([]uint64, s.network.Layout.Chunks())}
}

// work follows the server's messages up to the next piece of work and all its
// parameters, nil at the end of the job.
func (p *puppet) work() *musterv1.Work {
	p.t.Helper()
	for {
		if w := p.asked; w != nil && !slices.ContainsFunc(p.at, func(step uint64) bool { return step != w.Step+1 }) {
			p.asked = nil
			return w
		}
		var m wire.Response
		err := p.stream.Recv(&m)
		if errors.Is(err, io.EOF) {
			p.stream.Close()
			return nil
		}
		if err != nil {
			p.t.Fatalf("%s: %v", p.id, err)
		}
		if c := &m.Parameters; c.Payload != nil {
			r := p.layout.Chunk(int(c.Chunk))
			if err := c.Payload.Check(r.Len(), p.s.encoding.Parameters()); err != nil {
				p.t.Fatal(err)
			}
			copy(r.Of(p.vector), c.Payload.Floats())
			p.at[c.Chunk] = c.Step + 1
			m.Free()
			continue
		}
		switch m := m.Message.Message.(type) {
		case *musterv1.ExchangeResponse_Assignment:
			p.shards = p.shards[:0]
			for _, s := range m.Assignment.Shards {
				p.shards = append(p.shards, int(s))
			}
		case *musterv1.ExchangeResponse_Refusal:
			p.refused = append(p.refused, m.Refusal)
			return &musterv1.Work{}
		case *musterv1.ExchangeResponse_Work:
			p.asked = m.Work
		case *musterv1.ExchangeResponse_Done:
			p.done = m.Done
		}
	}
}

// images is how many images a shard of testData has at a batch of an epoch.
func images(s *Server, shard, batch int) int {
	n := int(testData.TrainImages)
	size := (n - shard + int(s.job.Shards) - 1) / int(s.job.Shards)
	per := int(s.job.Batch / s.job.Shards)
	return max(0, min(per, size-batch*per))
}

// batches is how many batches an epoch of testData has: as many as the largest shard.
func batches(s *Server) int {
	n := 0
	for images(s, 0, n) > 0 {
		n++
	}
	return n
}

// tallies sends what the shards' images come to: a loss of 1 each, all right.
func (p *puppet) tallies(w *musterv1.Work, shards ...int) {
	p.t.Helper()
	var all []*musterv1.Tally
	for _, s := range shards {
		n := images(p.s, s, int(w.Batch))
		if w.Kind == musterv1.WorkKind_WORK_KIND_EVALUATE {
			n = int(testData.TestImages) / int(p.s.job.Shards)
		}
		if n > 0 {
			all = append(all, &musterv1.Tally{Shard: uint32(s), Images: uint32(n), Loss: float64(n), Top1: uint32(n), Top5: uint32(n)})
		}
	}
	p.send(&musterv1.ExchangeRequest{Message: &musterv1.ExchangeRequest_Tallies{Tallies: &musterv1.Tallies{Step: w.Step, Kind: w.Kind, Tallies: all, ComputeSeconds: p.seconds}}})
}

// gradient is what shard's gradient is at a step, in every value: so unlike
// others that a sum tells who took part.
func gradient(shard int, step uint64) float32 {
	return float32(step+1) * []float32{0.25, 0.0625, 0.015625, 0.00390625}[shard]
}

// push sends chunk of the sum over a node at a step.
func (p *puppet) push(step uint64, d params.Node, chunk int) {
	p.t.Helper()
	var sum float32
	for s := d.First; s < d.End; s++ {
		if images(p.s, s, int(step)%batches(p.s)) > 0 {
			sum += gradient(s, step)
		}
	}
	p.pushValue(step, d, chunk, sum)
}

func (p *puppet) pushValue(step uint64, d params.Node, chunk int, value float32) {
	p.t.Helper()
	values := wire.NewPayload(p.layout.Live(chunk))
	for i := range values.Floats() {
		values.Floats()[i] = value
	}
	if err := p.stream.Send(&wire.Request{Gradient: wire.Gradient{
		Step: step, First: uint32(d.First), End: uint32(d.End), Chunk: uint32(chunk), Payload: values,
	}}); err != nil {
		p.t.Fatalf("%s: send: %v", p.id, err)
	}
}

func (p *puppet) send(m *musterv1.ExchangeRequest) {
	p.t.Helper()
	if err := p.stream.Send(wire.RequestOf(m)); err != nil {
		p.t.Fatalf("%s: send: %v", p.id, err)
	}
}

// toil does all work as a good worker would, until the end of the job.
func (p *puppet) toil() {
	for w := p.work(); w != nil; w = p.work() {
		p.obey(w)
	}
}

// obey does one piece of work.
func (p *puppet) obey(w *musterv1.Work) {
	if w.Kind == 0 {
		return // a refusal
	}
	shards := p.shards
	if len(w.Shards) > 0 {
		shards = nil
		for _, s := range w.Shards {
			shards = append(shards, int(s))
		}
	}
	if p.s.sync.Relaxed {
		defer p.tallies(w, shards...) // they say that the work is done
	} else {
		p.tallies(w, shards...)
	}
	if w.Kind == musterv1.WorkKind_WORK_KIND_GRADIENT {
		for _, d := range params.Cover(shards, int(p.s.job.Shards)) {
			for c := range p.layout.Chunks() {
				p.push(w.Step, d, c)
			}
		}
	}
}

// expected is the hash of the parameters after so many steps of the test job,
// by the rule written out.
func expected(t *testing.T, job *musterv1.JobSpec, steps int) string {
	t.Helper()
	net, err := network(job)
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{job: job}
	w := params.NewVector(net.Layout.Size())
	net.Initialise(w, job.Seed)
	v := make([]float32, len(w))
	for step := range steps {
		var sum float32
		n := 0
		for shard := range int(job.Shards) {
			if k := images(s, shard, step%batches(s)); k > 0 {
				sum += gradient(shard, uint64(step))
				n += k
			}
		}
		scale := 1 / float32(n)
		for i := range w {
			d := float32(sum*scale) + float32(job.WeightDecay*w[i])
			v[i] = float32(job.Momentum*v[i]) - float32(job.LearningRate*d)
			w[i] += v[i]
		}
	}
	return params.Hash(w)
}

// check compares how a job ended with what the rule gives.
func check(t *testing.T, r Result, err error, job *musterv1.JobSpec, steps int) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	if want := expected(t, job, steps); r.Hash != want || int(r.Step) != steps {
		t.Errorf("parameters after step %d have hash %s, want %s after step %d", r.Step, r.Hash, want, steps)
	}
}

// look asks the loop how the job stands.
func look(t *testing.T, s *Server) *musterv1.StatusResponse {
	t.Helper()
	r, err := s.Status(t.Context())
	if err != nil {
		t.Fatal(fmt.Errorf("status: %w", err))
	}
	return r
}
