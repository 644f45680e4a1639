package bench

import (
	"context"
	"fmt"
	"math"
	"net"
	"runtime"
	"time"

	"github.com/muster-train/muster/cmd/internal/shaped"
	"github.com/muster-train/muster/internal/wire"
	"github.com/muster-train/muster/model"
)

// MaxScaleSteps is how many steps of one kind of computing are measured at most.
const MaxScaleSteps = 100

// headRoom is how much faster than the emulated links this machine must exchange
// what goes over them, so that these are what is measured.
const headRoom = 2

// leastStep is how long a step is made at least: timers are late by up to a
// millisecond, several one after the other.
const leastStep = 200 * time.Millisecond

// Compute is what a step of one worker takes on some hardware.
type Compute struct {
	Name string
	Time time.Duration // of the forward and backward passes of a batch
}

// ScaleConfig says what steps to measure: of so many workers, each of which
// computes a whole batch of its own.
type ScaleConfig struct {
	Network   *model.Network
	Workers   int // at most Shards
	Shards    int
	Encoding  wire.Encoding
	Computes  []Compute
	Bandwidth float64       // bits a second of each machine's link, in each direction
	Delay     time.Duration // between server and worker, one way
	Steps     int           // measured steps of each kind of computing, at most MaxScaleSteps
	Dir       string        // for the socket, and for the server's state
}

// Scale is what steps with one kind of computing came to, in the time of what is
// emulated.
type Scale struct {
	Config   ScaleConfig
	Compute  Compute
	Step     time.Duration // the median
	Bound    time.Duration // what no step can fall short of
	Up, Down float64       // bytes of a worker in a step, with all that is about its chunks

	Dilation float64       // of time: how much longer the emulation takes
	Unshaped time.Duration // of a step here without links and computing
	CPUShare float64       // of this machine's processors that this process used in the steps
}

// Efficiency is computing's share of the step: one worker's without links is 1.
func (s *Scale) Efficiency() float64 { return s.Compute.Time.Seconds() / s.Step.Seconds() }

// BoundEfficiency is the most that Efficiency can be.
func (s *Scale) BoundEfficiency() float64 { return s.Compute.Time.Seconds() / s.Bound.Seconds() }

// exchange is the configuration of the party that is measured.
func (cfg *ScaleConfig) exchange(wrap func(net.Listener) net.Listener) ExchangeConfig {
	// Each worker computes the recipe's batch.
	images := max(1, cfg.Network.Recipe.Batch*cfg.Workers/cfg.Shards)
	return ExchangeConfig{Network: cfg.Network, Shards: cfg.Shards, Workers: cfg.Workers, Encoding: cfg.Encoding, Dir: cfg.Dir, images: images, wrap: wrap}
}

// MeasureScale measures steps of workers that exchange as they do in training, over
// links that are emulated, and wait for as long as computing would take. Server and
// workers share this machine, which for many workers is slower than the links: first it
// measures what the machine can do, and then makes bandwidths smaller and times
// longer by what it takes for the links to be slower.
func MeasureScale(ctx context.Context, cfg ScaleConfig) ([]*Scale, error) {
	links := new(shaped.Net)
	registries, err := newRegistries(ctx, cfg.Dir)
	if err != nil {
		return nil, fmt.Errorf("bench: %w", err)
	}
	defer registries.Close()
	p, err := newParty(ctx, cfg.exchange(links.Listen), "unix", registries)
	if err != nil {
		return nil, fmt.Errorf("bench: %d workers: %w", cfg.Workers, err)
	}
	defer p.close()

	// Memory is touched for the first time in the first step, which may take several
	// times as long as the others.
	if _, err := p.measure(ctx, links, 1); err != nil {
		return nil, err
	}
	free, err := p.measure(ctx, links, 2)
	if err != nil {
		return nil, err
	}
	var measured []*Scale
	for _, compute := range cfg.Computes {
		least := bound(dues(cfg.Network, compute.Time, free, p.upOf), cfg.Bandwidth/8, cfg.Delay)
		s := &Scale{Config: cfg, Compute: compute, Dilation: dilation(free, cfg.Bandwidth/8, least), Unshaped: free.median}
		links.Set(cfg.Bandwidth/8/s.Dilation, times(cfg.Delay, s.Dilation))
		for _, w := range p.idle {
			w.after = backward(cfg.Network, times(compute.Time, s.Dilation))
		}
		ran, err := p.measure(ctx, links, cfg.Steps)
		if err != nil {
			return nil, err
		}
		s.Step = times(ran.median, 1/s.Dilation)
		s.Up, s.Down = ran.up/float64(cfg.Workers), ran.down/float64(cfg.Workers)
		s.Bound = bound(dues(cfg.Network, compute.Time, ran, p.upOf), cfg.Bandwidth/8, cfg.Delay)
		s.CPUShare = ran.cpu.Seconds() / ran.all.Seconds() / float64(runtime.GOMAXPROCS(0))
		measured = append(measured, s)
	}
	return measured, nil
}

func times(d time.Duration, by float64) time.Duration { return time.Duration(float64(d) * by) }

// ran is what steps of a party came to.
type ran struct {
	median   time.Duration
	all, cpu time.Duration // of all steps
	up, down float64       // bytes over the server's link, by step
}

// measure makes steps.
func (p *party) measure(ctx context.Context, links *shaped.Net, steps int) (ran, error) {
	var r ran
	var took []time.Duration
	up, down := links.Bytes()
	cpu := processTime()
	for range steps {
		if err := ctx.Err(); err != nil {
			return r, err
		}
		start := time.Now()
		if err := p.step(); err != nil {
			return r, fmt.Errorf("bench: %w", err)
		}
		d := time.Since(start)
		took, r.all = append(took, d), r.all+d
	}
	r.cpu = processTime() - cpu
	upNow, downNow := links.Bytes()
	r.up, r.down = float64(upNow-up)/float64(steps), float64(downNow-down)/float64(steps)
	r.median = median(took)
	return r, nil
}

// dilation is how much longer times must be made, so that a link of rate bytes a
// second takes headRoom times as long for a step's bytes as this machine, where steps
// came to free, and that a step, of at least the length least, takes leastStep. It is
// rounded up to a tenth.
func dilation(free ran, rate float64, least time.Duration) float64 {
	link := max(free.up, free.down) / rate
	by := max(1, headRoom*free.median.Seconds()/link, leastStep.Seconds()/least.Seconds())
	return math.Ceil(10*by) / 10
}

// upOf is the bytes that all workers send when a chunk is due.
func (p *party) upOf(chunk int) (bytes int) {
	for _, w := range p.idle {
		bytes += w.up(chunk)
	}
	return bytes
}

// dues returns a step's chunks in the order of backward. What was counted on the
// links is spread over them, upwards as upOf is and downwards as their values.
func dues(network *model.Network, compute time.Duration, counted ran, upOf func(chunk int) int) []due {
	layout := network.Layout
	after := backward(network, compute)
	var up int
	for chunk := range layout.Chunks() {
		up += upOf(chunk)
	}
	var all []due
	for chunk := layout.Chunks() - 1; chunk >= 0; chunk-- {
		all = append(all, due{
			after: after[chunk],
			up:    counted.up * float64(upOf(chunk)) / float64(up),
			down:  counted.down * float64(layout.Chunk(chunk).Len()) / float64(layout.Size()),
		})
	}
	return all
}
