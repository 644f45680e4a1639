package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/muster-train/muster/cmd/internal/inprocess"
	"github.com/muster-train/muster/internal/kernel"
	"github.com/muster-train/muster/internal/membership"
	"github.com/muster-train/muster/internal/membership/embedded"
	"github.com/muster-train/muster/internal/wire"
	"github.com/muster-train/muster/model/params"
	"github.com/muster-train/muster/paramserver"
	musterv1 "github.com/muster-train/muster/proto/muster/v1"
	"github.com/muster-train/muster/worker"
)

// registries keeps the members of all measured jobs, in an etcd of their own.
type registries struct{ *embedded.Server }

func newRegistries(ctx context.Context, dir string) (registries, error) {
	etcd, err := embedded.Start(ctx, embedded.Config{Dir: filepath.Join(dir, "etcd")}, slog.New(slog.DiscardHandler))
	return registries{etcd}, err
}

func (r registries) of(job string) *membership.Registry {
	return membership.NewRegistry(r.Client(), job, time.Minute, slog.New(slog.DiscardHandler))
}

// party is a server and workers that compute nothing, over one transport.
type party struct {
	idle     []*idle
	up, down int // payload bytes that a worker sends and receives in a step, the mean of all

	connections []io.Closer
	dir         string // of the server's state
	cancel      func()
	ending      sync.WaitGroup
}

// newParty starts a server and its workers, and returns once all of these have
// been asked for a step.
func newParty(ctx context.Context, cfg ExchangeConfig, transport string, at registries) (p *party, err error) {
	inner, cancel := context.WithCancel(context.WithoutCancel(ctx))
	p = &party{cancel: cancel}
	defer func() {
		if err != nil {
			p.close()
		}
	}()
	if p.dir, err = os.MkdirTemp(cfg.Dir, "state-"); err != nil {
		return nil, err
	}
	config := paramserver.DefaultConfig()
	config.CheckpointDir, config.CheckpointEvery = p.dir, 0
	config.SharedMemory = transport == "memory"
	config.Parts = max(cfg.Parts, 1)
	config.Job = &musterv1.JobSpec{
		Name: transport, Network: cfg.Network.Name, Activation: "relu", Shards: uint32(cfg.Shards), Batch: uint32(cfg.imagesOfShard() * cfg.Shards), Epochs: 1, Seed: 1,
		LearningRate: 1e-3, Momentum: 0.9, WeightDecay: 2e-4, Schedule: "constant", Augment: "none", InputSize: uint32(cfg.Network.Preprocess.Side),
		Encoding: cfg.Encoding.String(),
	}
	server, err := paramserver.New(config, at.of(transport))
	if err != nil {
		return nil, err
	}
	p.ending.Go(func() { _, _ = server.Run(inner) }) // its workers hear of its end
	dial := func() (worker.Link, error) { return inprocess.Link(server), nil }
	if transport != "local" {
		l, target, err := p.listen(cfg, transport, "socket")
		if err != nil {
			return nil, err
		}
		p.ending.Go(func() { _ = server.Serve(inner, l) })
		for part := 1; part < config.Parts; part++ {
			if err := p.startPart(inner, cfg, transport, target, part); err != nil {
				return nil, err
			}
		}
		dial = func() (worker.Link, error) {
			return worker.Dial(target, worker.DialOptions{SharedMemory: transport == "memory"})
		}
	}
	layout := cfg.Network.Layout
	sums := params.NewVector(layout.Size())
	for i := range sums {
		sums[i] = float32(i%1024-512) * 1e-4
	}
	if cfg.Encoding == wire.BF16 {
		kernel.Round(sums, sums) // as a plan would have them
	}
	for i := range cfg.Workers {
		link, err := dial()
		if err != nil {
			return nil, err
		}
		if c, ok := link.(io.Closer); ok {
			p.connections = append(p.connections, c)
		}
		w, err := newIdle(inner, link, fmt.Sprintf("worker-%d", i), &cfg, sums)
		if err != nil {
			return nil, err
		}
		p.idle = append(p.idle, w)
		if transport == "memory" && w.stream.Shared() == nil {
			return nil, errors.New("processes can't share memory here")
		}
	}
	return p, p.share(ctx, server)
}

// listen opens a socket for workers, and tells how it is reached.
func (p *party) listen(cfg ExchangeConfig, transport, name string) (l net.Listener, target string, err error) {
	if transport == "tcp" {
		l, err = net.Listen("tcp", "127.0.0.1:0")
	} else {
		l, err = net.Listen("unix", filepath.Join(p.dir, name))
	}
	if err != nil {
		return nil, "", err
	}
	target = l.Addr().String()
	if transport != "tcp" {
		target = "unix://" + target
	}
	if cfg.wrap != nil {
		l = cfg.wrap(l)
	}
	return l, target, nil
}

// startPart starts the server of another part, which the one at target coordinates.
func (p *party) startPart(ctx context.Context, cfg ExchangeConfig, transport, target string, index int) error {
	l, address, err := p.listen(cfg, transport, fmt.Sprintf("part-%d", index))
	if err != nil {
		return err
	}
	part, err := paramserver.NewPart(paramserver.PartConfig{Index: index, Count: cfg.Parts, Address: address},
		func(ctx context.Context) (paramserver.Coordinator, error) {
			return paramserver.DialCoordinator(ctx, target)
		},
		func(ctx context.Context, s *paramserver.Server) error { return s.Serve(ctx, l) })
	if err != nil {
		l.Close()
		return err
	}
	p.ending.Go(func() { _ = part.Run(ctx) }) // its workers hear of its end
	return nil
}

// share has those workers that own shards at first, perhaps one alone, make a step
// once all are there, so that all own some from then on.
func (p *party) share(ctx context.Context, server *paramserver.Server) error {
	owners := map[string]bool{}
	for there := 0; there < len(p.idle); time.Sleep(10 * time.Millisecond) {
		status, err := server.Status(ctx)
		if err != nil {
			return err
		}
		there = 0
		for _, w := range status.Workers {
			if w.Connected {
				there++
			}
			owners[w.Worker] = len(w.Shards) > 0
		}
	}
	for _, w := range p.idle {
		if !owners[w.id] {
			continue
		}
		if err := w.await(); err != nil {
			return err
		}
		if err := w.send(); err != nil {
			return err
		}
	}
	for _, w := range p.idle {
		if err := w.await(); err != nil {
			return err
		}
		up, down := w.bytes()
		p.up, p.down = p.up+up, p.down+down
	}
	p.up, p.down = p.up/len(p.idle), p.down/len(p.idle)
	return nil
}

// step makes one step. Once a worker fails, none waits for what it owes.
func (p *party) step() error {
	all := make([]func() error, len(p.idle))
	for i, w := range p.idle {
		all[i] = func() error {
			err := w.step()
			if err != nil {
				for _, other := range p.idle {
					other.cancel()
				}
			}
			return err
		}
	}
	return together(all)
}

// close ends workers and server.
func (p *party) close() {
	for _, w := range p.idle {
		w.close()
	}
	for _, c := range p.connections {
		c.Close()
	}
	p.cancel()
	p.ending.Wait()
	os.RemoveAll(p.dir)
}
