package paramserver

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/muster-train/muster/internal/membership"
)

// A worker may be connected, answer what probes its connection, and yet do nothing:
// its device hangs, or a thread of it stands still. No lease and no connection ends
// then, and a synchronous job would wait for it for ever. So whoever owes something
// and has sent nothing for Config.WorkerTimeout counts as hung, and others get its
// shards. It stays connected; with the first message it sends it may own shards again.
//
// Silence is counted from the last of three: the work that it was asked for, the
// parameters for that work that its connection took, and the last message it sent.
// Who owes nothing, as one that waits for others, is never hung.

// expect notes that a worker has been asked for work: from now on something is to come.
func (s *Server) expect(ses *session) {
	ses.awaited = time.Now()
	if s.silence == nil {
		s.watchSilence(s.cfg.WorkerTimeout)
	}
}

// watchSilence sets the timer that looks for workers that hang.
func (s *Server) watchSilence(after time.Duration) {
	if s.cfg.WorkerTimeout > 0 {
		s.silence = time.AfterFunc(after, func() { _ = s.do(context.Background(), s.findHung) })
	}
}

// owes tells whether something is awaited of a worker.
func (s *Server) owes(ses *session) bool {
	if s.window != nil {
		return ses.order != nil
	}
	return s.round != nil && slices.ContainsFunc(ses.shards, s.round.Awaits)
}

// silentSince is when a worker was last given something to work with, or sent something.
func (ses *session) silentSince() time.Time {
	ses.mu.Lock()
	defer ses.mu.Unlock()
	if ses.fed.After(ses.awaited) {
		return ses.fed
	}
	return ses.awaited
}

// findHung gives the shards of workers that hang to others, and sees to it that it is
// called again when the next worker may have been silent for too long. One that hangs
// and has kept its shards is tried again after as long a time.
func (s *Server) findHung() {
	if s.silence != nil {
		s.silence.Stop()
		s.silence = nil
	}
	if s.ended() {
		return
	}
	now := time.Now()
	next := time.Duration(-1)
	since := now
	var late, found []*session
	for _, id := range sortedKeys(s.sessions) {
		ses := s.sessions[id]
		if !s.owes(ses) {
			continue
		}
		silent := ses.silentSince()
		left := silent.Add(s.cfg.WorkerTimeout).Sub(now)
		if left <= 0 {
			late = append(late, ses)
			if !ses.hung {
				found = append(found, ses)
			}
			if silent.Before(since) {
				since = silent
			}
			left = s.cfg.WorkerTimeout
		}
		if next < 0 || left < next {
			next = left
		}
	}
	shards := map[*session][]int{}
	for _, ses := range found {
		ses.hung = true
		shards[ses] = ses.shards
	}
	if len(late) > 0 {
		for _, ses := range late {
			ses.awaited = now
		}
		s.meter.stallSince(s.stalled(), since)
		s.reassign()
	}
	for _, ses := range found {
		s.cfg.Log.Warn("worker hangs: it is connected and has sent nothing for longer than it may; "+s.fate(ses.member.ID, shards[ses]),
			"worker", ses.member.ID, "shards", shards[ses], "worker_timeout", s.cfg.WorkerTimeout)
	}
	if next >= 0 {
		if s.silence != nil { // of those that have been asked just now
			s.silence.Stop()
		}
		s.watchSilence(next)
	}
}

// fate is what became of the shards of a worker that hangs.
func (s *Server) fate(worker string, shards []int) string {
	fate := "its shards go to others"
	for _, shard := range shards {
		switch s.assignment.Owner[shard] {
		case worker:
			return "nobody else could take its shards, so the job waits for it"
		case "":
			fate = fmt.Sprintf("its shards wait %v more for it, then go to others", s.cfg.ShardTimeout)
		}
	}
	return fate
}

// stirred notes that a worker has sent something, by its stream or beside it. One that
// hung may own shards again, as a worker that joins.
func (s *Server) stirred(from *session) {
	ses := s.sessions[from.member.ID]
	if ses == nil || ses.number != from.number {
		return
	}
	ses.awaited = time.Now()
	if !ses.hung || s.ended() {
		return
	}
	ses.hung = false
	s.cfg.Log.Info("worker is back: it has sent something", "worker", ses.member.ID)
	// Where all hung, those that still do are given as long again: what has held up one
	// may have held up all.
	for _, other := range s.sessions {
		if other.hung {
			other.awaited = ses.awaited
		}
	}
	s.meter.stall(s.stalled())
	s.consider(s.presence)
}

// hangs tells whether a worker is connected and hangs.
func (s *Server) hangs(worker string) bool {
	ses := s.sessions[worker]
	return ses != nil && ses.hung
}

// passOver tells whether those that hang are to own no shards: while there is somebody
// who could own them.
func (s *Server) passOver() bool {
	return slices.ContainsFunc(s.members, func(m membership.Member) bool {
		return s.known[m.ID] && s.sessions[m.ID] != nil && !s.hangs(m.ID)
	})
}
