package bench

import (
	"fmt"
	"time"

	"github.com/muster-train/muster/internal/kernel"
	"github.com/muster-train/muster/internal/philox"
	"github.com/muster-train/muster/model/device"
	"github.com/muster-train/muster/model/device/cpu"
	"github.com/muster-train/muster/model/params"
	"github.com/muster-train/muster/paramserver/optim"
)

// rate is a learning rate at which made-up images don't make a network diverge:
// infinities and subnormal numbers may be computed at other speeds than what
// anyone trains with.
const rate = 1e-4

// trainer is a network with all that a step of it needs, on one batch of made-up
// images for ever.
type trainer struct {
	device *cpu.Device
	plan   device.Plan
	batch  *device.Batch

	crew     *crew // for the update
	rule     optim.Rule
	velocity []float32
	scale    float32 // of the sum of gradients to their mean

	update time.Duration // of the last step
}

func newTrainer(cfg StepConfig) (*trainer, error) {
	n := cfg.Network
	d, err := cpu.New(cfg.Threads)
	if err != nil {
		return nil, err
	}
	plan, err := n.Plan(d, device.Options{Images: cfg.Batch, Nodes: 1, Precision: cfg.Precision})
	if err != nil {
		d.Close()
		return nil, err
	}
	n.Initialise(plan.Parameters(), 1)
	t := &trainer{
		device: d, plan: plan, batch: madeUp(cfg),
		rule:     optim.Rule{Momentum: n.Recipe.Momentum, WeightDecay: n.Recipe.WeightDecay, Nesterov: n.Recipe.Nesterov},
		velocity: params.NewVector(n.Graph.Parameters),
		scale:    1 / float32(cfg.Batch),
	}
	t.plan.Loaded(t.all())
	t.crew = newCrew(cfg.Threads, func(thread int) { t.updatePart(thread, cfg.Threads) })
	return t, nil
}

// madeUp is a batch of images that are the same each time, for all shards of a job.
func madeUp(cfg StepConfig) *device.Batch {
	n := cfg.Network
	b := &device.Batch{
		Seed: 1, Nodes: []params.Node{params.Root(cfg.Shards)},
		Images: params.NewVector(cfg.Batch * n.Input.Values()),
	}
	s := philox.New(1, philox.Synthetic, 0, 0)
	for i := range b.Images {
		b.Images[i] = s.Float32()
	}
	for shard := range cfg.Shards {
		b.Shards = append(b.Shards, device.ShardImages{Shard: shard, Images: cfg.Batch / cfg.Shards})
	}
	for i := range cfg.Batch {
		b.Labels = append(b.Labels, int32(s.IntN(n.Classes)))
		b.Index = append(b.Index, uint32(i))
	}
	return b
}

func (t *trainer) all() params.Range { return params.Range{First: 0, End: len(t.velocity)} }

// step computes the gradients of the batch and updates all parameters by them.
func (t *trainer) step() error {
	if _, err := t.plan.Gradient(t.batch, nil); err != nil {
		return fmt.Errorf("bench: %w", err)
	}
	start := time.Now()
	t.crew.run()
	t.update = time.Since(start)
	t.plan.Loaded(t.all())
	t.batch.Step++
	return nil
}

// updatePart updates one of parts pieces of the vector.
func (t *trainer) updatePart(part, parts int) {
	n := len(t.velocity)
	r := params.Range{First: part * n / parts &^ (kernel.Lanes - 1), End: n}
	if part < parts-1 {
		r.End = (part + 1) * n / parts &^ (kernel.Lanes - 1)
	}
	w, v := r.Of(t.plan.Parameters()), r.Of(t.velocity)
	t.rule.Apply(w, v, w, v, r.Of(t.plan.Sum(0)), t.scale, rate, false)
}

func (t *trainer) close() {
	t.crew.close()
	t.plan.Close()
	t.device.Close()
}
