package paramserver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/muster-train/muster/internal/wire"
	"github.com/muster-train/muster/model/params"
	"github.com/muster-train/muster/paramserver/checkpoint"
	musterv1 "github.com/muster-train/muster/proto/muster/v1"
)

// Standbys follow the server that leads: from the beginning of a step on, at which they
// are given the state, they are sent the sum of every chunk, and make the same updates.
// A step is published here once all of them have published it, so that one that takes
// over has every step that anybody has seen.

// follower is a standby as the server that leads sees it. One goroutine delivers its
// orders, another brings what it says to made.
type follower struct {
	server, address string
	orders          *orders[*musterv1.FollowResponse]
	poke            func() // tells the loop that it has said something

	mu  sync.Mutex
	has uint64 // step whose successor it has published last, plus one; 0: none yet

	admitted bool      // it has been given a state; the loop's
	since    time.Time // it has been here
}

// followTimeout is how long a standby may take to acknowledge a step, its state among
// it where it is new: after that it is sent away, and may come back after as long, and
// after twice as long each further time, up to longestExile.
const followTimeout = 10 * time.Second

// exile is how long a standby that was sent away has to stay away: it may be too slow for
// the job, which waits for it each time that it comes back.
type exile struct {
	pause time.Duration
	until time.Time
}

// errSlow is what a standby meets meanwhile.
var errSlow = errors.New("the job does not wait for this standby")

// longestExile is how long a standby is kept away at most: what it has grows old meanwhile.
const longestExile = 2 * time.Minute

// banish keeps a standby away, the longer the more often; one that has kept up for longer
// than it was away begins anew.
func (s *Server) banish(f *follower) {
	pause := followTimeout
	if had, ok := s.exiles[f.server]; ok && time.Since(f.since)-followTimeout < had.pause {
		pause = min(2*had.pause, longestExile)
	}
	s.exiles[f.server] = exile{pause, time.Now().Add(pause)}
}

// follow takes in a standby, which is told how the job stands at the next step's beginning.
func (s *Server) follow(ctx context.Context, hello *musterv1.FollowHello) (*follower, error) {
	switch {
	case hello.Server == "" || hello.Address == "":
		return nil, refused("a standby needs a name and an address")
	case s.parted():
		return nil, refused("job %q has %d parts, and is not followed: the parts would have to be, too", s.job.Name, s.cfg.Parts)
	case s.sync.Relaxed:
		return nil, refused("job %q has --sync %s, and is not followed: between two checkpoints it is at no step that a standby could take up", s.job.Name, s.sync)
	}
	f := &follower{server: hello.Server, address: hello.Address, orders: newOrders[*musterv1.FollowResponse](), poke: s.poke, since: time.Now()}
	var err error
	if ended := s.do(ctx, func() {
		if s.ended() {
			err = errOver
			return
		}
		if left := time.Until(s.exiles[hello.Server].until); left > 0 {
			err = fmt.Errorf("%w: it has been too slow, and may come back in %v", errSlow, left.Round(time.Second))
			return
		}
		s.followers = append(s.followers, f)
		s.cfg.Log.Info("standby joined", "server", f.server, "address", f.address)
	}); ended != nil {
		err = ended
	}
	return f, err
}

// unfollow forgets a standby whose stream has ended.
func (s *Server) unfollow(f *follower) {
	f.orders.fail(errors.New("its stream has ended"))
	_ = s.do(context.Background(), func() { s.dropFollower(f, f.orders.gone()) })
}

// dropFollower sends a standby away. Only the loop calls it.
func (s *Server) dropFollower(f *follower, why error) {
	f.orders.fail(why)
	i := slices.Index(s.followers, f)
	if i < 0 {
		return
	}
	s.followers = slices.Delete(s.followers, i, i+1)
	s.tellLanes()
	if !s.ended() {
		s.cfg.Log.Warn("standby lost", "server", f.server, "address", f.address, "err", why)
	}
}

// admit gives new standbys the state, at the beginning of a step.
func (s *Server) admit() {
	for _, f := range s.followers {
		if f.admitted {
			continue
		}
		f.admitted = true
		v := s.store.Hold()
		f.orders.post(&musterv1.FollowResponse{Message: &musterv1.FollowResponse_Job{Job: &musterv1.FollowJob{
			Job: s.job, JobHash: s.hash, Layout: s.network.Layout.Fingerprint(), Step: uint64(v.Step), Samples: v.Samples,
		}}})
		f.orders.post(s.metaMessage())
		f.orders.add(order[*musterv1.FollowResponse]{state: &v})
	}
	s.tellLanes()
}

// tellLanes has the lanes send sums to the standbys that have the state.
func (s *Server) tellLanes() {
	var admitted []*follower
	for _, f := range s.followers {
		if f.admitted {
			admitted = append(admitted, f)
		}
	}
	s.lanes.followed.Store(&admitted)
}

// beginFollowers tells standbys of a step's round.
func (s *Server) beginFollowers(round *Round) {
	s.admit()
	s.tellFollowers(&musterv1.FollowResponse{Message: &musterv1.FollowResponse_Begin{Begin: &musterv1.PartBegin{
		Step: uint64(round.step), Rate: s.rate, Scale: s.scale,
	}}})
}

// tellFollowers tells all standbys that have the state the same.
func (s *Server) tellFollowers(m *musterv1.FollowResponse) {
	for _, f := range s.followers {
		if f.admitted {
			f.orders.post(m)
		}
	}
}

// offerStep has standbys publish the step that a round makes, with what it came to.
func (s *Server) offerStep(round *Round) {
	if s.offered == round.step+1 {
		return
	}
	s.offered = round.step + 1
	_, samples := s.store.At()
	after := s.meter // as it will be
	after.step(round.Sum())
	s.tellFollowers(&musterv1.FollowResponse{Message: &musterv1.FollowResponse_Commit{Commit: &musterv1.FollowCommit{
		Step: uint64(round.step) + 1, Samples: samples + uint64(round.Images()), Meta: s.metaText(after.running()),
	}}})
}

// metaText is the meta section of a checkpoint, with the epoch as far as it has come.
func (s *Server) metaText(running *checkpoint.Running) []byte {
	meta := s.meta(s.store.At())
	meta.Running = running
	text, err := json.Marshal(meta)
	if err != nil {
		s.cfg.Log.Error("standbys aren't told how the job stands", "err", err) // plain fields always marshal
	}
	return text
}

func (s *Server) metaMessage() *musterv1.FollowResponse {
	return &musterv1.FollowResponse{Message: &musterv1.FollowResponse_Meta{Meta: s.metaText(s.meter.running())}}
}

// followed tells whether all standbys have published the step that a round makes: what
// they have then, nobody has seen yet. Those that take too long are sent away.
func (s *Server) followed(round *Round) bool {
	step := round.step
	s.offerStep(round)
	if s.laggard(step) == nil {
		if s.patience != nil {
			s.patience.Stop()
			s.patience = nil
		}
		return true
	}
	if s.patience == nil {
		s.patience = time.AfterFunc(followTimeout, func() { _ = s.do(context.Background(), func() { s.sendAway(step) }) })
	}
	return false
}

// laggard is a standby that has not published a step's successor; nil: all have.
func (s *Server) laggard(step params.Step) *follower {
	for _, f := range s.followers {
		if f.admitted && f.made() != uint64(step)+1 {
			return f
		}
	}
	return nil
}

// sendAway gives up waiting for those that lag.
func (s *Server) sendAway(step params.Step) {
	if at, _ := s.store.At(); at != step || s.ended() {
		return
	}
	for f := s.laggard(step); f != nil; f = s.laggard(step) {
		s.banish(f)
		s.dropFollower(f, fmt.Errorf("it has not acknowledged step %d within %v", uint64(step), followTimeout))
	}
}

// made is the step whose successor the standby has published last, plus one.
func (f *follower) made() uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.has
}

// receive takes one message of the standby in.
func (f *follower) receive(r *musterv1.FollowRequest) error {
	m := r.GetMade()
	if m == nil {
		return fmt.Errorf("follow: unexpected message %T", r.GetMessage())
	}
	f.mu.Lock()
	f.has = m.Step // which is one more than that of its gradients
	f.mu.Unlock()
	f.poke()
	return nil
}

// send sends the sum of a chunk, whose values are copied.
func (f *follower) send(step params.Step, chunk int, live []float32) {
	f.orders.post(&musterv1.FollowResponse{Message: &musterv1.FollowResponse_Sum{Sum: wire.NewFollowSum(uint64(step), chunk, live)}})
}
