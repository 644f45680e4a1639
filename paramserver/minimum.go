package paramserver

import (
	"context"
	"time"
)

// present is how many workers are there: members that are connected.
func (s *Server) present() int {
	n := 0
	for _, m := range s.members {
		if s.sessions[m.ID] != nil {
			n++
		}
	}
	return n
}

// tooFew tells whether fewer workers are there than the job is to be trained with. With
// a minimum of one it never is: a step that nobody computes waits by itself.
func (s *Server) tooFew() bool {
	return s.cfg.MinWorkers > 1 && s.present() < s.cfg.MinWorkers
}

// awaitWorkers serves events until enough workers are there. No round is open
// meanwhile: what was lost of the last one has been made up by who is left.
func (s *Server) awaitWorkers(ctx context.Context) error {
	s.phase = "waiting"
	s.meter.pause(time.Now())
	defer func() { s.meter.resumed(time.Now()) }()
	for said := -1; s.tooFew(); {
		if n := s.present(); n != said {
			s.cfg.Log.Info("training waits for more workers", "there", n, "needed", s.cfg.MinWorkers)
			said = n
		}
		if err := s.serveEvent(ctx); err != nil {
			return err
		}
	}
	s.cfg.Log.Info("enough workers are there", "there", s.present(), "needed", s.cfg.MinWorkers)
	return nil
}
