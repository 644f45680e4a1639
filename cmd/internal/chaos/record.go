package chaos

import (
	"context"
	"log/slog"
	"sync"
	"time"

	musterv1 "github.com/muster-train/muster/proto/muster/v1"
)

// askPause is how often servers are asked.
const askPause = 50 * time.Millisecond

// record is what the servers have said of the job.
type record struct {
	log *slog.Logger

	mu         sync.Mutex // guards the fields below
	step       uint64     // of the server that leads
	term       uint64     // in which it does
	leader     *server    // nil: none was heard of
	life       int        // of it
	recomputed uint64     // steps between that of one leader and where the next has gone on
	takeovers  int
	checkpoint uint64    // step of the newest one
	began      time.Time // the first step was heard of
	beganAt    uint64    // that step
}

func newRecord(log *slog.Logger) *record { return &record{log: log} }

// ask asks a server how the job stands, until ctx ends.
func (r *record) ask(ctx context.Context, v *server) {
	for ctx.Err() == nil {
		life, running := v.alive()
		if running {
			asking, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
			status, err := v.api.Status(asking, &musterv1.StatusRequest{})
			cancel()
			if now, _ := v.alive(); err == nil && now == life {
				r.take(v, life, status)
			}
		}
		select {
		case <-time.After(askPause):
		case <-ctx.Done():
		}
	}
}

// take takes in what a server has said; one that was deposed says nothing of worth.
func (r *record) take(v *server, life int, s *musterv1.StatusResponse) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if s.Term < r.term {
		return
	}
	if r.leader != v || r.life != life {
		if r.leader != nil {
			r.takeovers++
			r.recomputed += r.step - min(r.step, s.ResumedStep)
			r.log.Info("another server leads", "server", v.name, "term", s.Term, "goes_on_from", s.ResumedStep, "the_last_had", r.step)
		}
		r.leader, r.life = v, life
	}
	r.term = s.Term
	r.step = s.Step
	r.checkpoint = s.CheckpointStep
	if r.began.IsZero() && s.Step > 0 {
		r.began, r.beganAt = time.Now(), s.Step
	}
}

// standing is a copy of what there is.
type standing struct {
	step, recomputed, checkpoint uint64
	takeovers                    int
	leader                       *server
	began                        time.Time
	beganAt                      uint64
}

func (r *record) standing() standing {
	r.mu.Lock()
	defer r.mu.Unlock()
	return standing{r.step, r.recomputed, r.checkpoint, r.takeovers, r.leader, r.began, r.beganAt}
}
