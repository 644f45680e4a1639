package paramserver

import (
	"fmt"
	"slices"
	"time"

	"github.com/muster-train/muster/internal/membership"
)

// watchPace takes in what the step that has ended was for each worker, says which
// have become stragglers, and has shards move from them at the next step.
func (s *Server) watchPace() {
	loads := make(map[string]membership.Load, len(s.meter.compute))
	for worker, seconds := range s.meter.compute {
		loads[worker] = membership.Load{Seconds: seconds, Images: s.meter.images[worker]}
	}
	for _, worker := range s.assignment.Owner {
		if l, ok := loads[worker]; ok {
			l.Shards++
			loads[worker] = l
		}
	}
	before := s.stragglers()
	if !s.pace.Step(time.Now(), loads) {
		return
	}
	after := s.stragglers()
	for _, worker := range after {
		if !slices.Contains(before, worker) {
			s.cfg.Log.Warn("worker is persistently slower than others", "worker", worker, "speed", fmt.Sprintf("%.2f", s.pace.Speed(worker)), "shards_move", !s.cfg.KeepShards)
		}
	}
	for _, worker := range before {
		if !slices.Contains(after, worker) {
			s.cfg.Log.Info("worker is as fast as others again", "worker", worker)
		}
	}
	if _, changed := s.propose(); changed {
		s.deferred = true
	}
}

// stragglers are the members that are persistently slower than others.
func (s *Server) stragglers() []string {
	var workers []string
	for _, m := range s.members {
		if s.pace.Straggler(m.ID) {
			workers = append(workers, m.ID)
		}
	}
	return workers
}

// setCosts sets what a shard costs each candidate, unless shards are to stay.
func (s *Server) setCosts(candidates []membership.Candidate) {
	if s.cfg.KeepShards {
		return
	}
	for i := range candidates {
		candidates[i].Cost = s.pace.Cost(candidates[i].ID)
	}
}
