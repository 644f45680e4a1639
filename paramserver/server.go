package paramserver

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/muster-train/muster/dataset"
	"github.com/muster-train/muster/internal/kernel"
	"github.com/muster-train/muster/internal/membership"
	"github.com/muster-train/muster/internal/wire"
	"github.com/muster-train/muster/model"
	"github.com/muster-train/muster/model/params"
	"github.com/muster-train/muster/model/topology"
	"github.com/muster-train/muster/paramserver/checkpoint"
	"github.com/muster-train/muster/paramserver/optim"
	musterv1 "github.com/muster-train/muster/proto/muster/v1"
)

// Server is the parameter server of one job. Make it with New, then Run it
// once; workers come through Serve (gRPC) or Local.
type Server struct {
	cfg      Config
	job      *musterv1.JobSpec
	hash     string        // of job
	encoding wire.Encoding // of job
	sync     wire.Sync     // of job
	network  *model.Network
	factored []model.Factored // tensors that may come as factors
	registry *membership.Registry
	own      chunkRange // of the job's chunks, those that this server has
	part     *part      // of a part other than the first; nil: of the first

	store       *Store
	checkpoints *checkpoint.Store
	lanes       *lanes

	events   chan func()                                   // what others want of the loop; the loop calls them one by one
	whole    chan struct{}                                 // one for each chunk that a lane has brought to the next step; never full
	heard    chan struct{}                                 // one if other parts have said something since the loop looked
	over     chan struct{}                                 // closed when the loop has ended
	term     atomic.Uint64                                 // in which this server leads; 0: there are none
	finished atomic.Bool                                   // the job has ended, in success or not
	failed   atomic.Bool                                   // it has, by a fault
	traffic  struct{ gradients, parameters atomic.Uint64 } // payload bytes received and sent

	// All below belongs to the loop.

	data     checkpoint.Data // the training data's identity, once known
	cut      dataset.Cut
	schedule optim.Schedule
	history  []checkpoint.EpochScore
	best     *checkpoint.Score
	started  time.Time
	resumed  params.Step // step at which this process took the job up
	unsaved  bool        // the job began with Config.State, which is in no checkpoint yet

	phase   string // waiting, training, evaluating, done, stopped, failed
	kind    musterv1.WorkKind
	round   *Round
	window  *Window // in place of a round, while a job with relaxed synchronisation trains
	relaxed relaxed
	at      dataset.Position
	rate    float32
	scale   float32
	applied int // chunks of the round that the lanes have finished
	failure error
	done    *musterv1.Done // what workers are told once the job has ended
	stop    string         // why to stop after this step; empty: go on

	others    []*assistant // servers of the other parts, from part 1 on; nil: not there
	assembled bool         // all are there, and have been told how the job stands
	course    uint64       // how often they have

	followers []*follower      // standbys
	offered   params.Step      // step that they have been told to publish last
	patience  *time.Timer      // fires when those that lag are sent away; nil: none does
	exiles    map[string]exile // those that were, by their names

	joins      map[uint64]*joined  // by session
	sessions   map[string]*session // by worker
	lastNumber uint64
	listed     []membership.Member  // workers that etcd knows
	members    []membership.Member  // those that count: see count
	watched    bool                 // members have been heard of
	known      map[string]bool      // workers that have been attached to this server
	lostAt     map[string]time.Time // known workers without a session, since when
	bidden     map[string]bool      // workers that have been told of the job's end
	assignment membership.Assignment
	vigil      membership.Vigil // over shards that nobody owns
	handover   *time.Timer      // fires when the first of them may be given away
	silence    *time.Timer      // fires when a worker may have been silent for too long; nil: nothing is awaited
	deferred   bool             // members have changed; assign at the next step
	warned     string           // shards last named as waited for

	saver  *saver
	saving *writer
	meter  meter
	pace   *membership.Pace
	counts counts
}

// counts are of this process's life, but for notFinite, which is the job's:
// before of them came before this process.
type counts struct {
	repeated, malformed, notFinite, before uint64
}

// New makes a server ready: it builds the network and takes up the newest
// checkpoint or the initial parameters. registry is where workers are kept.
func New(cfg Config, registry *membership.Registry) (*Server, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if cfg.Progress == nil {
		cfg.Progress = nobody{}
	}
	s, err := newBare(cfg, registry)
	if err != nil {
		return nil, err
	}
	chunks := s.network.Layout.Chunks()
	s.own = chunksOf(chunks, 0, cfg.Parts)
	s.others = make([]*assistant, cfg.Parts-1)
	if err := s.restore(); err != nil {
		return nil, err
	}
	if s.sync.Relaxed {
		s.store.relax()
		s.relaxed.decided = make([]uint64, chunks)
	}
	if cfg.SharedMemory && !s.sync.Relaxed && !s.parted() { // what changes at any time, or lies elsewhere, can't be read in place
		memory, err := wire.NewSegment(2, s.network.Layout.Size())
		if err == nil {
			s.store.share(memory)
		} else {
			cfg.Log.Debug("workers are not offered to share memory", "why", err)
		}
	}
	s.resumed, _ = s.store.At()
	s.relaxed.savedAt = s.resumed
	s.startLanes()
	s.saver = newSaver(registry, cfg.Log)
	s.saver.term.Store(cfg.Term)
	s.term.Store(cfg.Term)
	return s, nil
}

// newBare makes a server of any part that has no state yet.
func newBare(cfg Config, registry *membership.Registry) (*Server, error) {
	net, err := network(cfg.Job)
	if err != nil {
		return nil, err
	}
	encoding, err := wire.ParseEncoding(cfg.Job.Encoding)
	if err != nil {
		return nil, err
	}
	mode, err := wire.ParseSync(cfg.Job.Sync)
	if err != nil {
		return nil, err
	}
	s := &Server{
		cfg:      cfg,
		job:      cfg.Job,
		hash:     wire.JobHash(cfg.Job),
		encoding: encoding,
		sync:     mode,
		network:  net,
		registry: registry,
		events:   make(chan func()),
		whole:    make(chan struct{}, net.Layout.Chunks()),
		heard:    make(chan struct{}, 1),
		over:     make(chan struct{}),
		joins:    map[uint64]*joined{},
		sessions: map[string]*session{},
		known:    map[string]bool{},
		lostAt:   map[string]time.Time{},
		bidden:   map[string]bool{},
		exiles:   map[string]exile{},
		// Numbers of an earlier life of the server are not given out again.
		lastNumber: uint64(time.Now().UnixNano()),
		phase:      "waiting",
		meter:      meter{workers: map[string]workerLoad{}},
		pace:       membership.NewPace(cfg.Pace),
	}
	s.takesFactors()
	return s, nil
}

// startStore makes the store of a state, and what workers see of it.
func (s *Server) startStore(step params.Step, samples uint64, parameters, momentum []float32) {
	s.store = NewStore(s.network.Layout, rule(s.job), step, samples, parameters, momentum)
	if s.encoding.Parameters() == musterv1.Encoding_ENCODING_BF16 {
		s.store.round()
	}
}

// startLanes makes the lanes of the store.
func (s *Server) startLanes() {
	s.lanes = newLanes(s.store, s.network.Layout.Chunks(), s.whole)
	if s.encoding == wire.BF16 {
		s.lanes.sum = kernel.AddRound
	}
}

// Run trains the job to its end. It returns when the last goroutine of the
// server has ended: with nil when the job is done (and, where it is to linger,
// ctx ended or a Stop call came after that), ErrStopped when ctx ended or a
// Stop call came before (the state is saved, Result tells where, and what was not), and
// ErrNotFinite when the job can't go on.
func (s *Server) Run(ctx context.Context) (Result, error) {
	inner, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var all sync.WaitGroup
	all.Go(s.lanes.run)
	all.Go(func() { s.saver.run(inner) })
	all.Go(s.saving.run)
	all.Go(func() { s.watch(inner) })

	err := s.finish(ctx)
	for errors.Is(err, errPartLost) {
		if err = s.rewind(err); err == nil {
			err = s.finish(ctx)
		}
	}

	s.finished.Store(true)
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		err = ErrStopped
	}
	if errors.Is(err, ErrStopped) {
		err = s.saveStopped()
	}
	result := s.result()
	if !s.collected() {
		result.Hash = "" // of what the other parts have nothing has been collected
	}
	if c := result.Staleness; c != nil {
		s.cfg.Log.Info("each contribution was applied by itself", "sync", s.sync, "staleness_mean", fmt.Sprintf("%.2f", c.Mean), "staleness_max", c.Max, "steps_ahead", c.Ahead)
	}
	if s.cfg.Stopped != nil && errors.Is(err, ErrStopped) {
		s.cfg.Stopped()
	}
	s.phase = phaseAfter(err)
	s.failed.Store(s.phase == "failed")
	s.dismiss(err, result)
	if err == nil {
		if s.cfg.Done != nil {
			s.cfg.Done(result)
		}
		if s.cfg.Linger {
			s.linger(ctx)
		}
	}
	close(s.over)
	s.lanes.close()
	s.saving.close()
	cancel()
	all.Wait()
	return result, err
}

// loop is the training of a job: step by step, an evaluation after each epoch.
func (s *Server) loop(ctx context.Context) error {
	if err := s.assemble(ctx); err != nil {
		return err
	}
	if err := s.awaitData(ctx); err != nil {
		return err
	}
	if s.unsaved {
		s.unsaved = false
		s.saveInBackground() // nobody may have it but this process
	}
	train := s.train
	if s.sync.Relaxed {
		train = s.trainRelaxed
	}
	for {
		// First what the process before this one may have left undone.
		if s.epochEnded() && !s.scored() {
			if err := s.evaluate(ctx); err != nil {
				return err
			}
			if err := s.save(); err != nil {
				s.cfg.Log.Warn("checkpoint was not written, training goes on", "err", err)
			}
		}
		if s.trained() || s.timeIsUp() {
			break
		}
		if s.tooFew() {
			if err := s.awaitWorkers(ctx); err != nil {
				return err
			}
			continue // time may be up meanwhile
		}
		if err := train(ctx); err != nil {
			return err
		}
		if s.saveDue() && !s.epochEnded() {
			s.saveInBackground()
		}
	}
	if !s.scored() {
		return s.evaluate(ctx)
	}
	return nil
}

// train makes one step: gradients of every shard, their sum, the update.
func (s *Server) train(ctx context.Context) error {
	step, samples := s.store.At()
	s.at = s.position(step)
	images := make([]int, s.job.Shards)
	for shard := range images {
		images[shard] = s.cut.Count(shard, s.at.Batch)
	}
	round := s.newRound(step, images)
	s.rate = s.schedule.Rate(optim.Progress{Samples: samples, Epoch: s.at.Epoch})
	s.scale = 1 / float32(round.Images())
	s.store.Begin()
	s.beginParts(round)
	s.beginFollowers(round)
	if err := s.gather(ctx, round, musterv1.WorkKind_WORK_KIND_GRADIENT, "training"); err != nil {
		return err
	}
	if s.anyDiverged() {
		return fmt.Errorf("%w: the update of step %d made parameters NaN or infinite and was not applied; the last good checkpoint is %s; a lower --lr may help",
			ErrNotFinite, step, s.lastGood())
	}
	s.store.Commit(uint64(round.Images()))
	s.commitParts(step + 1)
	s.report(round.Sum())
	s.watchPace()
	return nil
}

// evaluate asks for loss and accuracy over the test set with the parameters of
// the newest step, each shard's owner for its slice.
func (s *Server) evaluate(ctx context.Context) error {
	step, _ := s.store.At()
	images := make([]int, s.job.Shards)
	for shard := range images {
		slice := dataset.Shard{Index: shard, Count: len(images)}
		images[shard] = (s.data.TestImages - slice.Index + slice.Count - 1) / slice.Count
	}
	round := NewRound(step, images, 0)
	if err := s.gather(ctx, round, musterv1.WorkKind_WORK_KIND_EVALUATE, "evaluating"); err != nil {
		return err
	}
	s.score(round.Sum())
	s.tellFollowers(s.metaMessage())
	return nil
}

// gather opens a round and serves events until every shard has counted and
// every chunk is applied.
func (s *Server) gather(ctx context.Context, round *Round, kind musterv1.WorkKind, phase string) error {
	if s.deferred {
		s.reassign() // before there is work, which each is then asked for once
	}
	s.round, s.kind, s.phase, s.applied = round, kind, phase, 0
	s.meter.begin(s.stalled())
	for _, worker := range sortedKeys(s.sessions) {
		s.tell(s.sessions[worker])
	}
	for !s.complete(round) {
		if err := s.serveEvent(ctx); err != nil {
			return err
		}
	}
	s.meter.end(kind)
	s.round = nil
	return nil
}

// complete tells whether a round has everything: what Round gathers, all chunks applied
// here and in other parts, and by standbys.
func (s *Server) complete(round *Round) bool {
	if !round.Complete() || len(round.chunks) == 0 {
		return round.Complete()
	}
	return s.applied == s.own.len() && s.gathered(round.step) && s.followed(round)
}

// awaitData serves events until a worker has told what the training data are.
func (s *Server) awaitData(ctx context.Context) error {
	for s.data.Fingerprint == "" {
		if err := s.serveEvent(ctx); err != nil {
			return err
		}
	}
	if !s.started.IsZero() {
		return nil // the job has gone back to an earlier step
	}
	s.started = time.Now()
	if err := s.planJob(); err != nil {
		return err
	}
	if err := s.describe(); err != nil {
		return err
	}
	s.takePosition()
	return nil
}

// takePosition makes the last step before the newest the one that was made last, for
// an evaluation that may be owed.
func (s *Server) takePosition() {
	s.at, s.rate = dataset.Position{}, 0
	if step, samples := s.store.At(); step > 0 {
		s.at = s.position(step - 1)
		s.rate = s.schedule.Rate(optim.Progress{Samples: samples - uint64(s.cut.Total(s.at.Batch)), Epoch: s.at.Epoch})
	}
}

// newRound is the round of a step's gradients, in the chunks that this server has.
func (s *Server) newRound(step params.Step, images []int) *Round {
	round := NewRound(step, images, s.network.Layout.Chunks())
	for chunk := range round.chunks {
		if !s.own.has(chunk) {
			round.Skip(chunk)
		}
	}
	return round
}

// describe writes the inference topology, which with the parameters of any
// checkpoint is all that a prediction needs, before the first step is made.
func (s *Server) describe() error {
	t := topology.Of(s.network, s.job.Activation, s.data.ClassNames, dataset.Side, s.data.Synthetic)
	return topology.Write(s.cfg.CheckpointDir, t)
}

// serveEvent waits for one event and runs it. It fails when the job is to end
// before its time; the round in progress then never counts.
func (s *Server) serveEvent(ctx context.Context) error {
	if err := s.takeEvent(ctx); err != nil {
		return err
	}
	if s.failure == nil && s.stop != "" {
		return ErrStopped
	}
	return s.failure
}

// takeEvent waits for one event and runs it.
func (s *Server) takeEvent(ctx context.Context) error {
	select {
	case f := <-s.events:
		f()
	case <-s.whole:
		s.applied++
		s.wakeAll()
	case <-s.heard:
		s.listen()
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}

// wakeAll has every session look whether there is something to send.
func (s *Server) wakeAll() {
	for _, ses := range s.sessions {
		ses.post(func() {})
	}
}

// do runs f in the loop's goroutine and returns when it has.
func (s *Server) do(ctx context.Context, f func()) error {
	done := make(chan struct{})
	select {
	case s.events <- func() { f(); close(done) }:
		<-done
		return nil
	case <-s.over:
		return errOver
	case <-ctx.Done():
		return ctx.Err()
	}
}

// errOver is what sessions meet after the job's end.
var errOver = errors.New("the job has ended")

// errAway is what workers meet while the server stops, to come back.
var errAway = errors.New("the server is stopping, and is waited for")

func (s *Server) ended() bool { return s.finished.Load() }
