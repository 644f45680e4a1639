package worker

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/muster-train/muster/dataset"
	"github.com/muster-train/muster/internal/wire"
	"github.com/muster-train/muster/model"
	"github.com/muster-train/muster/model/device"
	"github.com/muster-train/muster/model/params"
	musterv1 "github.com/muster-train/muster/proto/muster/v1"
)

// task is what a worker holds of its job: data, plan, and how far the piece of
// work in hand has come. The loop alone touches it.
type task struct {
	cfg       *Config
	job       *musterv1.JobSpec
	hash      string
	network   *model.Network
	precision device.Precision
	encoding  wire.Encoding
	relaxed   bool // gradients are applied one by one, and parameters change at any time
	data      *musterv1.DataInfo
	cut       dataset.Cut
	loader    *dataset.Loader
	stop      func() // ends the loader's goroutine

	plan    device.Plan
	vectors vectors // the plan's
	images  int     // the plan's sizes
	nodes   int
	held    *held
	shards  []int // owned

	work  *musterv1.Work
	asked bool   // work has been asked for since the newest assignment
	sent  []bool // by shard: its contribution to work has been sent

	outgoing  outgoing
	factoring *factoring // over the stream at hand; nil: everything goes as sums
	test      dataset.Batch
	tallies   []*musterv1.Tally
	segments  []device.ShardImages
}

func newTask(cfg *Config, job *musterv1.JobSpec, hash string) (*task, error) {
	if want := wire.JobHash(job); want != hash {
		return nil, fmt.Errorf("job %q: its specification has hash %.12s here, %.12s at the server: their versions differ", job.Name, want, hash)
	}
	network, err := model.New(job.Network, model.Options{
		Activation: job.Activation, InputSize: int(job.InputSize), LRNOrder: job.LrnOrder, Classes: int(job.Classes),
	})
	if err != nil {
		return nil, err
	}
	augment, err := dataset.ParseAugment(job.Augment)
	if err != nil {
		return nil, err
	}
	precision, err := device.ParsePrecision(job.Precision)
	if err != nil {
		return nil, err
	}
	encoding, err := wire.ParseEncoding(job.Encoding)
	if err != nil {
		return nil, err
	}
	mode, err := wire.ParseSync(job.Sync)
	if err != nil {
		return nil, err
	}
	set := cfg.Data
	t := &task{
		cfg: cfg, job: job, hash: hash, network: network, precision: precision, encoding: encoding, relaxed: mode.Relaxed,
		data: &musterv1.DataInfo{
			Fingerprint: set.Fingerprint(), TrainImages: uint32(set.Train.Len()), TestImages: uint32(set.Test.Len()),
			Classes: uint32(len(set.Classes)), Synthetic: set.Synthetic, ClassNames: set.Classes,
		},
		cut:  dataset.Cut{Images: set.Train.Len(), Shards: int(job.Shards), Batch: int(job.Batch), Limit: int(job.LimitBatches)},
		held: newHeld(network.Layout, encoding.Parameters()),
		sent: make([]bool, job.Shards),
	}
	t.outgoing = outgoing{
		encoder: Encoder{Layout: network.Layout},
		sum:     func(node int) []float32 { return t.plan.Sum(node) },
		sent:    func(n int) { cfg.Meter.note(func(c *Counts) { c.SentBytes += uint64(n) }) },
	}
	if err := t.cut.Validate(); err != nil {
		return nil, err
	}
	p := network.Preprocess
	t.loader = dataset.NewLoader(set, t.cut, dataset.Transform{Side: p.Side, Mean: p.Mean, Std: p.Std, Augment: augment}, job.Seed)
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = t.loader.Run(ctx) })
	t.stop = func() { cancel(); running.Wait() }
	if err := t.fit(nil); err != nil {
		t.close()
		return nil, err
	}
	return t, nil
}

// close frees what the task holds.
func (t *task) close() {
	t.stop()
	t.held.forget()
	if t.plan != nil {
		t.plan.Close()
	}
}

// begins makes ready for a new stream: over it everything is told again.
func (t *task) begins(shared *wire.Shared) {
	t.shards, t.work, t.asked = nil, nil, false
	clear(t.sent)
	t.outgoing.encoder.Encoding = t.encoding.Gradients()
	if shared != nil && shared.Sums == nil {
		t.outgoing.encoder.Encoding = 0 // the server is in this process: nothing travels
	}
	if t.factoring = nil; t.encoding == wire.FACTORS && shared == nil {
		t.factoring = newFactoring(t.network, int(t.job.Batch), &t.outgoing)
	}
	t.held.begins(shared)
	t.vectors.begins(shared)
}

// ends lets go of memory that was shared over a stream, before the stream does.
func (t *task) ends() {
	t.held.ends(t.encoding != wire.INT8)
	t.vectors.ends(t.plan)
}

// assign takes up a new set of shards. Work follows it: what is in hand may be
// past, and is repeated if it isn't.
func (t *task) assign(a *musterv1.Assignment) error {
	shards := make([]int, len(a.Shards))
	for i, s := range a.Shards {
		if s >= t.job.Shards {
			return fmt.Errorf("assignment %d: shard %d of %d", a.Number, s, t.job.Shards)
		}
		shards[i] = int(s)
	}
	slices.Sort(shards)
	if !slices.Equal(shards, t.shards) { // as the first of a stream, over which there are none
		t.outgoing.encoder.residuals.forget()
	}
	if err := t.fit(shards); err != nil {
		return fmt.Errorf("%w: %w", errFault, err)
	}
	t.shards, t.asked = shards, false
	return nil
}

// fit makes the plan large enough for shards, keeping the parameters it holds.
// So a step allocates nothing; a change of the assignment may, and so may what
// is left of a piece of work, which can take more nodes than the whole.
func (t *task) fit(shards []int) error {
	images := max(EvaluateImages, len(shards)*int(t.job.Batch/t.job.Shards), t.images)
	nodes := max(1, len(params.Cover(shards, int(t.job.Shards))), t.nodes)
	if t.plan != nil && images == t.images && nodes == t.nodes {
		return nil
	}
	o := device.Options{Images: images, Nodes: nodes, Precision: t.precision}
	if t.encoding == wire.BF16 {
		o.Sums = device.BF16
	}
	plan, err := t.network.Plan(t.cfg.Device, o)
	if err != nil {
		return err
	}
	t.vectors.own(plan, nodes)
	if t.plan != nil {
		switch {
		case t.vectors.shared == nil:
			copy(plan.Parameters(), t.plan.Parameters())
			plan.Loaded(params.Range{First: 0, End: t.network.Layout.Size()})
		case t.work != nil:
			t.vectors.read(plan, t.work.Step)
		}
		t.plan.Close()
	}
	t.plan, t.images, t.nodes = plan, images, nodes
	return nil
}

// load takes in a chunk of parameters. One of a later step than the work in hand
// waits until that is computed; its payload is then the task's.
func (t *task) load(c *wire.Parameters) error {
	if err := t.held.check(c); err != nil {
		return err
	}
	if t.pending() && c.Step > t.work.Step {
		t.held.keep(c)
	} else {
		t.held.load(t.plan, c)
	}
	return nil
}

// begin takes up a piece of work, or the rest of it after a new assignment. Its
// parameters may be there or still to come.
func (t *task) begin(w *musterv1.Work) {
	if t.work == nil || t.work.Kind != w.Kind || t.work.Step != w.Step {
		clear(t.sent)
		t.outgoing.encoder.residuals.keep(params.Cover(t.shards, int(t.job.Shards)))
		t.held.loadEarly(t.plan) // the work that it waited for may never have been computed
	}
	if t.relaxed {
		// What the plan has may be older than what follows: a gradient is computed with the one or the other throughout.
		t.held.expect()
	}
	t.vectors.read(t.plan, w.Step)
	t.work, t.asked = w, true
}

// again makes a refused contribution unsent. In a relaxed job it waits for work that
// asks for it: of its shards some may have counted.
func (t *task) again(r *musterv1.Refusal) {
	recompute := r.Reason == musterv1.RefusalReason_REFUSAL_REASON_NOT_FINITE || r.Reason == musterv1.RefusalReason_REFUSAL_REASON_MALFORMED ||
		r.Reason == musterv1.RefusalReason_REFUSAL_REASON_MIXED
	if t.work == nil || r.Step != t.work.Step || !recompute {
		return
	}
	for s := r.Node.GetFirst(); s < r.Node.GetEnd() && int(s) < len(t.sent); s++ {
		t.sent[s] = false
	}
	if t.relaxed && t.work.Kind == musterv1.WorkKind_WORK_KIND_GRADIENT {
		t.asked = false
	}
}

// owes tells whether a shard still owes a contribution to the work.
func (t *task) owes(s int) bool {
	return !t.sent[s] && (len(t.work.Shards) == 0 || slices.Contains(t.work.Shards, uint32(s)))
}

// unsent returns the owned shards that still owe a contribution to the work.
func (t *task) unsent() []int {
	var shards []int
	for _, s := range t.shards {
		if t.owes(s) {
			shards = append(shards, s)
		}
	}
	return shards
}

// pending tells whether there is something to compute: a gradient can be begun
// before all its parameters are there.
func (t *task) pending() bool {
	return t.asked && slices.ContainsFunc(t.shards, t.owes) &&
		(t.work.Kind == musterv1.WorkKind_WORK_KIND_GRADIENT || t.held.at(t.work.Step))
}

// compute makes and sends the contributions of all shards that owe one. It calls
// await, whose errors it returns, for parameters that it needs next.
func (t *task) compute(ctx context.Context, send func(*wire.Request) error, await func(params.Range) error) error {
	shards := t.unsent()
	var err error
	if t.work.Kind == musterv1.WorkKind_WORK_KIND_EVALUATE {
		err = t.evaluate(shards, send)
	} else {
		err = t.gradient(ctx, shards, send, await)
	}
	if err != nil {
		return err
	}
	for _, s := range shards {
		t.sent[s] = true
	}
	t.held.loadEarly(t.plan)
	return nil
}

// gradient computes the gradients of shards as one batch, and sends their sums
// along the tree, while they come about: the fewest nodes that cover them.
func (t *task) gradient(ctx context.Context, shards []int, send func(*wire.Request) error, await func(params.Range) error) error {
	began := time.Now()
	at := dataset.Position{Epoch: int(t.work.Epoch), Batch: int(t.work.Batch)}
	batch, err := t.loader.Train(ctx, at, shards)
	if err != nil {
		return err
	}
	t.segments = t.segments[:0]
	for i, s := range shards {
		if batch.Counts[i] > 0 {
			t.segments = append(t.segments, device.ShardImages{Shard: s, Images: batch.Counts[i]})
		}
	}
	if len(t.segments) == 0 {
		return nil // nothing left of this epoch for these shards; nobody waits for them
	}
	if err := t.fit(shards); err != nil {
		return fmt.Errorf("%w: %w", errFault, err)
	}
	nodes := t.cover(shards, at.Batch)
	t.outgoing.lend = t.vectors.place(t.plan, t.work.Step, len(nodes))
	t.outgoing.copies = len(t.vectors.lent)
	t.outgoing.begin(t.work.Step, nodes, t.factoring.most(len(t.segments)), send)
	var waited time.Duration
	var missing error // what await came to, where it failed
	tallies, err := t.plan.Gradient(&device.Batch{
		Seed: t.job.Seed, Step: params.Step(t.work.Step),
		Images: batch.Images, Labels: batch.Labels, Index: batch.Index, Shards: t.segments, Nodes: nodes, Factors: t.factoring.ask(),
		Await: func(r params.Range) error {
			if !t.held.has(t.work.Step, r) {
				since := time.Now()
				missing = await(r)
				waited += time.Since(since)
			}
			return missing
		},
	}, t.outgoing.ready)
	took := time.Since(began) - waited
	broken := t.outgoing.finish(err == nil)
	if missing != nil {
		if t.outgoing.lend > 0 {
			t.vectors.lentStep = 0 // nothing of these sums has been sent
		}
		return missing
	}
	if err != nil {
		return fmt.Errorf("%w: gradient of shards %v at step %d: %w", errFault, shards, t.work.Step, err)
	}
	t.tallies = t.tallies[:0]
	for i := range tallies {
		t.tally(&tallies[i])
	}
	t.cfg.Meter.note(func(c *Counts) { c.Gradients++; c.Images += uint64(len(batch.Labels)); c.GradientTime += took })
	if broken != nil {
		return broken
	}
	return t.sendTallies(took, send)
}

// cover returns the fewest nodes that cover shards, without those that have no
// images at a batch of the epoch.
func (t *task) cover(shards []int, batch int) []params.Node {
	return slices.DeleteFunc(params.Cover(shards, int(t.job.Shards)), func(d params.Node) bool {
		for s := d.First; s < d.End; s++ {
			if t.cut.Count(s, batch) > 0 {
				return false
			}
		}
		return true
	})
}

// evaluate runs each shard's slice of the test set and sends what it came to.
func (t *task) evaluate(shards []int, send func(*wire.Request) error) error {
	for _, s := range shards {
		began := time.Now()
		total, err := Evaluate(t.plan, t.loader, &t.test, s, int(t.job.Shards), nil)
		if err != nil {
			return fmt.Errorf("%w: evaluation of shard %d at step %d: %w", errFault, s, t.work.Step, err)
		}
		t.tallies = t.tallies[:0]
		t.tally(&total)
		took := time.Since(began)
		t.cfg.Meter.note(func(c *Counts) { c.Evaluated += uint64(total.Images); c.EvaluationTime += took })
		if err := t.sendTallies(took, send); err != nil {
			return err
		}
		t.sent[s] = true
	}
	return nil
}

func (t *task) tally(d *device.Tally) {
	t.tallies = append(t.tallies, &musterv1.Tally{
		Shard: uint32(d.Shard), Images: uint32(d.Images), Loss: d.Loss, Top1: uint32(d.Top1), Top5: uint32(d.Top5),
	})
}

func (t *task) sendTallies(took time.Duration, send func(*wire.Request) error) error {
	return send(&wire.Request{Message: &musterv1.ExchangeRequest{Message: &musterv1.ExchangeRequest_Tallies{Tallies: &musterv1.Tallies{
		Step: t.work.Step, Kind: t.work.Kind, Tallies: t.tallies, ComputeSeconds: took.Seconds(),
	}}}})
}
