package paramserver

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/muster-train/muster/internal/membership"
)

// watch brings every change of the members to the loop.
func (s *Server) watch(ctx context.Context) {
	err := s.registry.Watch(ctx, func(members []membership.Member) {
		_ = s.do(ctx, func() {
			s.listed, s.watched = members, true
			s.count()
		})
	})
	if err != nil && ctx.Err() == nil {
		s.cfg.Log.Error("membership is not watched any more: shards stay where they are", "err", err)
	}
}

// count takes those that etcd lists for the members, and has shards assigned to them.
// Where etcd was away, keys may have gone with leases that could not be renewed:
// workers that are connected here stay members without one, for as long as they may
// take to register anew.
func (s *Server) count() {
	members := slices.Clone(s.listed)
	if left := s.registry.Unsettled(s.cfg.SessionGrace); left > 0 {
		for _, m := range s.members {
			if s.sessions[m.ID] != nil && !has(s.listed, m.ID) {
				members = append(members, m)
			}
		}
		if len(members) > len(s.listed) {
			time.AfterFunc(left, func() { _ = s.do(context.Background(), s.count) })
		}
	}
	s.members = members
	s.pace.Keep(members)
	s.membersChanged()
}

// has tells whether a worker is one of the members.
func has(members []membership.Member, id string) bool {
	return slices.ContainsFunc(members, func(m membership.Member) bool { return m.ID == id })
}

// attached makes a session the one of its worker; one that the worker had
// before ends.
func (s *Server) attached(ses *session) {
	id := ses.member.ID
	if old := s.sessions[id]; old != nil {
		old.replaced.Store(true)
		old.end()
	}
	delete(s.lostAt, id)
	s.sessions[id] = ses
	if s.part != nil {
		return // it comes and goes as the coordinator, which knows members, says
	}
	if s.ended() {
		// It is told that the job is done, or, where the server was stopped, sent away to wait.
		s.bidden[id] = true
		ses.post(func() { ses.done, ses.ended = s.done, s.done == nil })
		return
	}
	s.known[id] = true
	ses.shards = s.assignment.Shards(id)
	ses.told = 0
	defer func() { s.meter.stall(s.stalled()) }()
	s.cfg.Log.Info("worker joined", "worker", id, "device", ses.member.Device, "shard", pinName(ses.member.Pinned, int(s.job.Shards)))
	s.membersChanged()
	s.tell(ses)
}

// detached forgets a session. Its shards stay with the worker until its lease
// ends, unless it has left for good.
func (s *Server) detached(ses *session, left bool) {
	id := ses.member.ID
	if s.sessions[id] != ses {
		return
	}
	delete(s.sessions, id)
	if s.ended() || s.part != nil {
		s.forgetJoins(id)
		return
	}
	defer func() { s.meter.stallSince(s.stalled(), ses.heard()) }()
	if left {
		delete(s.known, id)
		s.forgetJoins(id)
		s.cfg.Log.Info("worker left", "worker", id)
		s.membersChanged()
		return
	}
	// A lease of its own may live on though the worker can't reach this server.
	s.lostAt[id] = time.Now()
	time.AfterFunc(s.cfg.SessionGrace, func() { _ = s.do(context.Background(), s.membersChanged) })
	s.cfg.Log.Warn("worker lost; its shards wait until its lease ends", "worker", id, "shards", ses.shards)
}

// membersChanged assigns at once where a shard has no owner, or one that does nothing
// for it, else at the next step.
func (s *Server) membersChanged() {
	s.consider(func(id string) membership.Presence {
		p := s.presence(id)
		p.Connected = p.Connected && !s.hangs(id)
		return p
	})
}

// consider assigns at once where a shard has no owner, or one that by its presence does
// not work, else at the next step; of a job that has ended nobody is to own shards any more.
func (s *Server) consider(presence func(id string) membership.Presence) {
	if s.ended() {
		return
	}
	next, changed := s.propose()
	if !changed {
		s.warnWaiting()
		return
	}
	if len(s.assignment.Owner) == 0 || s.round == nil || membership.Urgent(s.assignment, next, s.members, presence) {
		s.reassign()
		return
	}
	s.deferred = true
}

// presence is what is known here of a worker.
func (s *Server) presence(id string) membership.Presence {
	return membership.Presence{Known: s.known[id], Connected: s.sessions[id] != nil, Lost: s.lostAt[id]}
}

// propose computes who should own which shard now.
func (s *Server) propose() (membership.Assignment, bool) {
	now := time.Now()
	members := s.members
	if s.passOver() {
		members = slices.DeleteFunc(slices.Clone(members), func(m membership.Member) bool { return s.hangs(m.ID) })
	}
	candidates := membership.Candidates(members, s.presence, now, s.cfg.SessionGrace)
	s.setCosts(candidates)
	return membership.Assign(s.assignment, candidates, int(s.job.Shards), s.vigil.Over(now, s.cfg.ShardTimeout))
}

// reassign adopts the proposed assignment, tells the workers it concerns, and
// has it written to etcd.
func (s *Server) reassign() {
	s.deferred = false
	next, changed := s.propose()
	if changed {
		s.assignment = next
		s.saver.save(next)
		for _, id := range sortedKeys(s.sessions) {
			ses := s.sessions[id]
			shards := next.Shards(id)
			if !slices.Equal(shards, ses.shards) {
				s.cfg.Log.Info("shards assigned", "worker", id, "shards", shards, "assignment", next.Number)
				ses.shards = shards
				s.tell(ses)
			}
		}
	}
	s.watchUnowned()
	s.warnWaiting()
	s.meter.stall(s.stalled())
}

// stalled tells whether a shard has no connected worker, or one that hangs, so that
// the round can't end.
func (s *Server) stalled() bool {
	for _, owner := range s.assignment.Owner {
		if s.sessions[owner] == nil || s.hangs(owner) {
			return true
		}
	}
	return len(s.assignment.Owner) == 0
}

// watchUnowned notes since when shards have waited, and sets the timer that
// offers them to others.
func (s *Server) watchUnowned() {
	next, waits := s.vigil.Note(s.assignment.Unowned(), time.Now(), s.cfg.ShardTimeout)
	if s.handover != nil {
		s.handover.Stop()
		s.handover = nil
	}
	if waits {
		s.handover = time.AfterFunc(next, func() { _ = s.do(context.Background(), s.membersChanged) })
	}
}

// warnWaiting says which shards the job waits for, once for each set of them.
func (s *Server) warnWaiting() {
	var names []string
	for _, shard := range s.assignment.Unowned() {
		names = append(names, fmt.Sprintf("%d/%d", shard, s.job.Shards))
	}
	waiting := strings.Join(names, " ")
	if waiting != s.warned && waiting != "" {
		s.cfg.Log.Info("the job waits for workers for its shards", "shards", waiting)
	}
	s.warned = waiting
}

func pinName(pinned, shards int) string {
	if pinned < 0 {
		return "any"
	}
	return fmt.Sprintf("%d/%d", pinned, shards)
}
