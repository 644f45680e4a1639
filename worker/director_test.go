package worker

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/muster-train/muster/dataset"
	"github.com/muster-train/muster/internal/wire"
	"github.com/muster-train/muster/model"
	"github.com/muster-train/muster/model/device/cpu"
	"github.com/muster-train/muster/model/params"
	musterv1 "github.com/muster-train/muster/proto/muster/v1"
)

// patience bounds what waits for the worker, far beyond what it takes.
const patience = time.Minute

// testSet holds 18 training images, so that the 4 shards of testJob have 5, 5,
// 4 and 4, and the last of an epoch's 3 steps is one image of each of the first
// two; and 30 test images.
var testSet = sync.OnceValue(func() *dataset.Set {
	classes := []string{"a", "b", "c", "d", "e", "f", "g", "h", "i", "j"}
	return &dataset.Set{Name: "test", Train: noise(1, 18), Test: noise(2, 140), Classes: classes, Source: "built in"}
})

func noise(seed uint64, n int) *dataset.Images {
	r := rand.New(rand.NewPCG(seed, 0))
	im := &dataset.Images{Pixels: make([]byte, n*dataset.PixelBytes), Labels: make([]uint8, n), Side: dataset.Side}
	for i := range im.Pixels {
		im.Pixels[i] = byte(r.Uint32())
	}
	for i := range im.Labels {
		im.Labels[i] = uint8(r.IntN(10))
	}
	return im
}

func testJob() *musterv1.JobSpec {
	return &musterv1.JobSpec{
		Name: "test", Network: "lenet5", Activation: "relu", Shards: 4, Batch: 8, Epochs: 2, Seed: 5,
		LearningRate: 0.1, Momentum: 0.9, Schedule: "constant", Augment: "pad-crop,flip",
	}
}

func networkOf(t *testing.T, job *musterv1.JobSpec) *model.Network {
	t.Helper()
	net, err := model.New(job.Network, model.Options{Classes: int(job.Classes)})
	if err != nil {
		t.Fatal(err)
	}
	return net
}

// vector is the parameters that the test's server holds at a step: any will do,
// if they differ.
func vector(net *model.Network, step uint64) []float32 {
	v := params.NewVector(net.Layout.Size())
	net.Initialise(v, 100+step)
	return v
}

// log is where a worker under test tells its story.
type log struct {
	mu   sync.Mutex // guards text
	text bytes.Buffer
	said chan<- string // gets the message of each record it has room for; nil: nobody
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

// hear passes the message of a record on.
func (l *log) hear(_ []string, a slog.Attr) slog.Attr {
	if a.Key == slog.MessageKey {
		select {
		case l.said <- a.Value.String():
		default:
		}
	}
	return a
}

// count returns how often the worker has said something.
func (l *log) count(what string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return bytes.Count(l.text.Bytes(), []byte(what))
}

// running is a worker whose Run is on its way.
type running struct {
	cancel context.CancelFunc
	log    *log
	ended  chan struct{}
	err    error
}

func testConfig(t *testing.T) Config {
	t.Helper()
	d, err := cpu.New(1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	c := DefaultConfig()
	c.ID, c.Host, c.Data, c.Device = "worker-1", "here", testSet(), d
	c.FirstWait, c.LongestWait = time.Nanosecond, time.Nanosecond
	return c
}

// run starts a worker that the test's end stops.
func run(t *testing.T, cfg Config, link Link) *running {
	t.Helper()
	return runTold(t, cfg, link, nil)
}

// runTold starts a worker each of whose log messages is sent to said.
func runTold(t *testing.T, cfg Config, link Link, said chan<- string) *running {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	return runIn(t, ctx, cancel, cfg, link, said)
}

func runIn(t *testing.T, ctx context.Context, cancel context.CancelFunc, cfg Config, link Link, said chan<- string) *running {
	t.Helper()
	r := &running{cancel: cancel, log: &log{said: said}, ended: make(chan struct{})}
	cfg.Log = slog.New(slog.NewTextHandler(r.log, &slog.HandlerOptions{Level: slog.LevelDebug, ReplaceAttr: r.log.hear}))
	w, err := New(cfg, link)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(r.ended)
		r.err = w.Run(ctx)
	}()
	t.Cleanup(func() { r.cancel(); await(t, r.ended, "the worker's end") })
	return r
}

// wait returns what Run returned.
func (r *running) wait(t *testing.T) error {
	t.Helper()
	await(t, r.ended, "the worker's end")
	return r.err
}

// await receives from c, or ends the test.
func await[T any](t *testing.T, c <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		t.Fatalf("waited in vain for %s", what)
	}
	panic("unreachable")
}

// director is a Link to a server whose every move the test makes.
type director struct {
	t     *testing.T
	job   *musterv1.JobSpec
	calls chan call
	lines chan *line

	shared *wire.Shared // of the lines to come
}

// call is one Join that waits for its answer.
type call struct {
	*musterv1.JoinRequest
	reply chan<- answer
}

type answer struct {
	response *musterv1.JoinResponse
	err      error
}

func newDirector(t *testing.T) *director {
	return &director{t: t, job: testJob(), calls: make(chan call), lines: make(chan *line)}
}

func (d *director) Join(ctx context.Context, req *musterv1.JoinRequest) (*musterv1.JoinResponse, error) {
	reply := make(chan answer, 1)
	select {
	case d.calls <- call{proto.Clone(req).(*musterv1.JoinRequest), reply}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	select {
	case a := <-reply:
		return a.response, a.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (d *director) Exchange(ctx context.Context, hello *musterv1.Hello) (Stream, error) {
	l := &line{
		t: d.t, ctx: ctx, shared: d.shared, hello: proto.Clone(hello).(*musterv1.Hello),
		down: make(chan *musterv1.ExchangeResponse), up: make(chan *musterv1.ExchangeRequest),
		broken: make(chan struct{}), closed: make(chan struct{}),
	}
	select {
	case d.lines <- l:
		return l, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// offer is what the server answers to a Join.
func (d *director) offer() answer {
	return answer{response: &musterv1.JoinResponse{Job: d.job, JobHash: wire.JobHash(d.job), Session: 7}}
}

// admit lets the worker join and returns its stream.
func (d *director) admit() *line {
	d.t.Helper()
	for range 2 {
		await(d.t, d.calls, "Join").reply <- d.offer()
	}
	return await(d.t, d.lines, "Exchange")
}

// line is the server's end of a stream. What the worker sends crosses the codec.
type line struct {
	t      *testing.T
	ctx    context.Context // of the stream
	shared *wire.Shared
	hello  *musterv1.Hello
	down   chan *musterv1.ExchangeResponse
	up     chan *musterv1.ExchangeRequest
	broken chan struct{} // closed by the test: Recv and Send fail
	err    error         // why broken, set before
	closed chan struct{} // closed by the worker
	once   sync.Once
}

func (l *line) Shared() *wire.Shared { return l.shared }

func (l *line) Recv(r *wire.Response) error {
	select {
	case m := <-l.down:
		*r = *wire.ResponseOf(proto.Clone(m).(*musterv1.ExchangeResponse))
		return nil
	case <-l.broken:
		return l.err
	case <-l.t.Context().Done():
		return io.EOF
	case <-l.closed:
		return io.EOF
	case <-l.ctx.Done():
		return l.ctx.Err()
	}
}

func (l *line) Send(r *wire.Request) error {
	data, err := wire.Codec{}.Marshal(r)
	if err != nil {
		return err
	}
	m := new(musterv1.ExchangeRequest)
	if err := proto.Unmarshal(data.Materialize(), m); err != nil {
		return err
	}
	data.Free()
	select {
	case l.up <- m:
		return nil
	case <-l.broken:
		return io.EOF
	case <-l.ctx.Done():
		return l.ctx.Err()
	case <-l.t.Context().Done(): // the test is over, nobody listens
		return io.EOF
	}
}

func (l *line) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

// cut breaks the stream.
func (l *line) cut(err error) {
	l.err = err
	close(l.broken)
}

// tell sends messages to the worker.
func (l *line) tell(messages ...*musterv1.ExchangeResponse) {
	l.t.Helper()
	for _, m := range messages {
		select {
		case l.down <- m:
		case got := <-l.up:
			l.t.Fatalf("the worker sent %v, nothing was wanted", got)
		case <-time.After(patience):
			l.t.Fatalf("the worker does not listen to %v", m)
		}
	}
}

func (l *line) hear() *musterv1.ExchangeRequest {
	l.t.Helper()
	return await(l.t, l.up, "a message of the worker")
}

func assigned(shards ...uint32) *musterv1.ExchangeResponse {
	return &musterv1.ExchangeResponse{Message: &musterv1.ExchangeResponse_Assignment{Assignment: &musterv1.Assignment{Number: 1, Shards: shards}}}
}

// loaded are the messages that bring the parameters of a step.
func loaded(net *model.Network, step uint64) []*musterv1.ExchangeResponse {
	return loadedIn(musterv1.Encoding_ENCODING_F32, net, step)
}

// loadedIn is loaded in an encoding.
func loadedIn(e musterv1.Encoding, net *model.Network, step uint64) []*musterv1.ExchangeResponse {
	v := vector(net, step)
	var all []*musterv1.ExchangeResponse
	for c := range net.Layout.Chunks() {
		p := wire.Parameters{Step: step, Chunk: uint32(c), Payload: wire.Encode(e, net.Layout.Chunk(c).Of(v))}
		m := p.Message()
		all = append(all, &musterv1.ExchangeResponse{Message: &musterv1.ExchangeResponse_Parameters{Parameters: m}})
	}
	return all
}

func asked(kind musterv1.WorkKind, step uint64) *musterv1.ExchangeResponse {
	return &musterv1.ExchangeResponse{Message: &musterv1.ExchangeResponse_Work{Work: &musterv1.Work{
		Kind: kind, Step: step, Epoch: uint32(step / 3), Batch: uint32(step % 3),
	}}}
}

const (
	gradientKind = musterv1.WorkKind_WORK_KIND_GRADIENT
	evaluateKind = musterv1.WorkKind_WORK_KIND_EVALUATE
)

func done(success bool, reason string) *musterv1.ExchangeResponse {
	return &musterv1.ExchangeResponse{Message: &musterv1.ExchangeResponse_Done{Done: &musterv1.Done{Success: success, Reason: reason}}}
}

// contribution is what a worker sends for one piece of work.
type contribution struct {
	tallies []*musterv1.Tally
	nodes   []params.Node
	sums    [][]float32 // by node

	encodings []musterv1.Encoding // by node: of its last chunk
}

// contribute hears a contribution of so many nodes, whose chunks come as they are
// done and whose tallies follow, and checks that it is whole.
func (l *line) contribute(net *model.Network, step uint64, nodes int) contribution {
	l.t.Helper()
	return l.contributeWhile(net, step, nodes, func(int) {})
}

// contributeWhile is contribute that calls heard after each chunk.
func (l *line) contributeWhile(net *model.Network, step uint64, nodes int, heard func(chunk int)) contribution {
	l.t.Helper()
	sums := map[params.Node][]float32{}
	encodings := map[params.Node]musterv1.Encoding{}
	for range nodes * net.Layout.Chunks() {
		g := l.hear().GetGradient()
		if g == nil || g.Step != step {
			l.t.Fatalf("the worker sent something of step %d (a gradient: %v), want the gradients of step %d", g.GetStep(), g != nil, step)
		}
		chunk := int(g.Chunk)
		live := make([]float32, net.Layout.Live(chunk))
		if err := wire.Decode(live, g); err != nil {
			l.t.Fatal(err)
		}
		node := params.Node{First: int(g.Node.First), End: int(g.Node.End)}
		if sums[node] == nil {
			sums[node] = slices.Repeat([]float32{float32(math.NaN())}, net.Layout.Size()) // where no chunk comes
		}
		encodings[node] = g.Encoding
		values := net.Layout.Chunk(chunk).Of(sums[node])
		copy(values, net.Layout.Unpack(values, live, chunk))
		heard(chunk)
	}
	t := l.hear().GetTallies()
	if t == nil || t.Step != step || t.Kind != gradientKind {
		l.t.Fatalf("the worker sent %v, want the tallies of step %d", t, step)
	}
	c := contribution{tallies: t.Tallies}
	for _, node := range slices.SortedFunc(maps.Keys(sums), func(a, b params.Node) int { return a.First - b.First }) {
		c.nodes, c.sums, c.encodings = append(c.nodes, node), append(c.sums, sums[node]), append(c.encodings, encodings[node])
	}
	if len(c.nodes) != nodes {
		l.t.Fatalf("the worker sent sums of %v, want %d nodes", c.nodes, nodes)
	}
	return c
}

// shards returns those whose tallies were sent.
func (c contribution) shards() []int {
	var all []int
	for _, t := range c.tallies {
		all = append(all, int(t.Shard))
	}
	return all
}

// sameBits tells whether two vectors are equal byte for byte.
func sameBits(a, b []float32) bool {
	return slices.EqualFunc(a, b, func(x, y float32) bool { return math.Float32bits(x) == math.Float32bits(y) })
}
