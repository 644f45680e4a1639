package bench

import (
	"context"
	"fmt"
	"net"
	"runtime"
	"slices"
	"time"

	"github.com/muster-train/muster/internal/wire"
	"github.com/muster-train/muster/model"
)

// Transports are the ways between worker and server that MeasureExchange knows.
var Transports = []string{"local", "memory", "unix", "tcp"}

// TransportsHere are those that this system has.
func TransportsHere() []string {
	memory, err := wire.NewSegment(1, 1)
	if err != nil {
		return slices.DeleteFunc(slices.Clone(Transports), func(s string) bool { return s == "memory" })
	}
	memory.Close()
	return Transports
}

// ExchangeConfig says which exchanges to measure, all by turns.
type ExchangeConfig struct {
	Network    *model.Network
	Shards     int // at least Workers
	Workers    int
	Parts      int // servers that share the parameters; more than 1: over unix and tcp alone
	Encoding   wire.Encoding
	Transports []string // of Transports
	Turns      int
	Dir        string // for sockets, and for the state of the servers

	images int                             // of each shard in a step; 0: 16
	wrap   func(net.Listener) net.Listener // puts something in front of the servers' sockets; nil: nothing
}

// imagesOfShard is what each shard says that it has computed in a step.
func (cfg *ExchangeConfig) imagesOfShard() int {
	if cfg.images == 0 {
		return 16
	}
	return cfg.images
}

// Exchange is what one transport's steps came to.
type Exchange struct {
	Transport string
	Up, Down  int           // payload that a worker sends and receives in a step, as it travels or lies in memory
	Time      time.Duration // of a step
	Garbage   uint64        // bytes allocated in a step, by workers and server
	CPU       time.Duration // of all threads in a step, workers' and server's; 0: this system doesn't tell
}

// Exchanges is the steps of some workers beside copies of the same bytes.
type Exchanges struct {
	Config            ExchangeConfig
	Bytes             int // of the vector: what a copy carries each way, for each worker
	TCP, Unix, Memcpy time.Duration
	Steps             []Exchange // by transport, in the order asked for
}

// MeasureExchange measures steps in which workers compute nothing: each sends the
// gradients of its shards, the server sums them and updates all parameters, and
// each receives them. A step lasts from the first byte until all workers have
// been asked for the next one.
//
// By turns with it, as many raw connections as there are workers carry the
// vector's bytes there and then back: over loopback TCP, over a unix socket, and as
// two copies in memory.
func MeasureExchange(ctx context.Context, cfg ExchangeConfig) (*Exchanges, error) {
	x := &Exchanges{Config: cfg, Bytes: 4 * cfg.Network.Layout.Size()}
	raws, err := newRaws(cfg.Workers, x.Bytes, cfg.Dir)
	if err != nil {
		return nil, fmt.Errorf("bench: %w", err)
	}
	defer raws.close()
	registries, err := newRegistries(ctx, cfg.Dir)
	if err != nil {
		return nil, fmt.Errorf("bench: %w", err)
	}
	defer registries.Close()
	if cfg.Parts > 1 {
		cfg.Transports = slices.DeleteFunc(slices.Clone(cfg.Transports), func(s string) bool { return s == "local" || s == "memory" })
		x.Config = cfg
	}
	var parties []*party
	defer func() {
		for _, p := range parties {
			p.close()
		}
	}()
	for _, transport := range cfg.Transports {
		p, err := newParty(ctx, cfg, transport, registries)
		if err != nil {
			return nil, fmt.Errorf("bench: %s, %d workers: %w", transport, cfg.Workers, err)
		}
		parties = append(parties, p)
	}

	const warm = 2
	raw := make([][]time.Duration, len(raws.kinds))
	took, spent := make([][]time.Duration, len(parties)), make([][]time.Duration, len(parties))
	garbage := make([][]uint64, len(parties))
	for turn := range warm + cfg.Turns {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		for i, kind := range raws.kinds {
			start := time.Now()
			if err := kind.run(); err != nil {
				return nil, fmt.Errorf("bench: %s: %w", kind.name, err)
			}
			if turn >= warm {
				raw[i] = append(raw[i], time.Since(start))
			}
		}
		for i, p := range parties {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			cpu, start := processTime(), time.Now()
			err := p.step()
			d, c := time.Since(start), processTime()-cpu
			runtime.ReadMemStats(&after)
			if err != nil {
				return nil, fmt.Errorf("bench: %s: %w", cfg.Transports[i], err)
			}
			if turn >= warm {
				took[i], spent[i] = append(took[i], d), append(spent[i], c)
				garbage[i] = append(garbage[i], after.TotalAlloc-before.TotalAlloc)
			}
		}
	}
	x.TCP, x.Unix, x.Memcpy = median(raw[0]), median(raw[1]), median(raw[2])
	for i, transport := range cfg.Transports {
		x.Steps = append(x.Steps, Exchange{
			Transport: transport, Up: parties[i].up, Down: parties[i].down, Time: median(took[i]), Garbage: median(garbage[i]), CPU: median(spent[i]),
		})
	}
	return x, nil
}
