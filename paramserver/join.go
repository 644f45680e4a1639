package paramserver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/muster-train/muster/internal/membership"
	"github.com/muster-train/muster/internal/wire"
	"github.com/muster-train/muster/paramserver/checkpoint"
	musterv1 "github.com/muster-train/muster/proto/muster/v1"
)

// RefusedError is why a worker may not take part: one sentence for its user.
type RefusedError struct{ Reason string }

func (e *RefusedError) Error() string { return e.Reason }

func refused(format string, args ...any) error {
	return &RefusedError{fmt.Sprintf(format, args...)}
}

// Join introduces a worker: without fingerprints it learns the job; with them
// it is compared and gets a session. A *RefusedError is for good.
func (s *Server) Join(ctx context.Context, req *musterv1.JoinRequest) (*musterv1.JoinResponse, error) {
	if req.JobName != "" && req.JobName != s.job.Name {
		return nil, refused("this server trains job %q, the worker was told to take part in %q", s.job.Name, req.JobName)
	}
	if pin := req.Shard; pin != nil && (pin.Count != s.job.Shards || pin.Index >= pin.Count) {
		return nil, refused("shard %d/%d does not fit: job %q has %d shards, so --shard is 0/%d to %d/%d",
			pin.Index, pin.Count, s.job.Name, s.job.Shards, s.job.Shards, s.job.Shards-1, s.job.Shards)
	}
	if err := s.checkEncodings(req.Encodings); err != nil {
		return nil, err
	}
	if s.part != nil && !s.part.isReady() {
		return nil, fmt.Errorf("%w as yet", errNotAssembled)
	}
	term, err := s.checkTerm(ctx, req.Term)
	if err != nil {
		return nil, err
	}
	response := &musterv1.JoinResponse{Job: s.job, JobHash: s.hash, Term: term}
	if memory := s.store.shared; memory != nil {
		response.Shared = memory.Offer()
	}
	if req.Job == "" {
		return response, nil
	}
	if req.Job != s.hash {
		return nil, refused("the worker is of another job: its specification has hash %.12s, that of job %q here has %.12s", req.Job, s.job.Name, s.hash)
	}
	if want := s.network.Layout.Fingerprint(); req.Layout != want {
		return nil, refused("the worker's layout of %s has fingerprint %.12s, the server's has %.12s: their versions differ", s.job.Network, req.Layout, want)
	}
	sums := s.openSums(req)
	if sums == nil {
		response.Shared = nil
	}
	if ended := s.do(ctx, func() {
		if s.ended() && s.done == nil {
			err = errAway // the worker waits for that
			return
		}
		if s.parted() && !s.assembled {
			err = fmt.Errorf("%w: part %s is not there", errNotAssembled, strings.Join(s.missing(), ", "))
			return
		}
		if s.part == nil {
			if err = s.checkData(req.Data); err != nil {
				return
			}
		}
		s.forgetJoins(req.Worker)
		s.lastNumber++
		s.forgetSums()
		s.joins[s.lastNumber] = &joined{req, sums, time.Now()}
		sums = nil
		response.Session = s.lastNumber
		response.Parts = s.partRanges()
		response.Data = &musterv1.DataInfo{
			Fingerprint: s.data.Fingerprint, TrainImages: uint32(s.data.TrainImages), TestImages: uint32(s.data.TestImages),
			Classes: uint32(s.data.Classes), Synthetic: s.data.Synthetic, ClassNames: s.data.ClassNames,
		}
	}); ended != nil {
		err = ended
	}
	if sums != nil {
		sums.Close()
	}
	if err != nil {
		return nil, err
	}
	return response, nil
}

// checkTerm returns the term in which this server leads, 0 where there are none. A worker
// that has heard of a higher one tells it that it has been deposed.
func (s *Server) checkTerm(ctx context.Context, heard uint64) (uint64, error) {
	term := s.term.Load()
	if term == 0 || heard <= term {
		return term, nil
	}
	if err := s.do(ctx, func() { s.depose(fmt.Sprintf("a worker has heard of one of term %d", heard)) }); err != nil {
		return 0, err
	}
	return 0, errOver
}

// errNotAssembled is what workers meet while servers of other parts are waited for.
var errNotAssembled = errors.New("the job is not ready for workers")

// checkEncodings refuses a worker that lacks an encoding in which the job's chunks travel.
func (s *Server) checkEncodings(speaks []musterv1.Encoding) error {
	if len(speaks) == 0 {
		speaks = []musterv1.Encoding{musterv1.Encoding_ENCODING_F32} // as whoever knows no other
	}
	for _, needed := range []musterv1.Encoding{s.encoding.Gradients(), s.encoding.Parameters()} {
		if !slices.Contains(speaks, needed) {
			return refused("job %q exchanges %v, which takes chunks in %s; the worker knows %s: their versions differ",
				s.job.Name, s.encoding, encodingNames(needed), encodingNames(speaks...))
		}
	}
	return nil
}

// encodingNames are those of chunks' encodings, for people.
func encodingNames(encodings ...musterv1.Encoding) string {
	var names []string
	for _, e := range encodings {
		names = append(names, strings.ToLower(strings.TrimPrefix(e.String(), "ENCODING_")))
	}
	return strings.Join(names, ", ")
}

// joined is a worker that has introduced itself.
type joined struct {
	*musterv1.JoinRequest
	sums *wire.Segment // memory it leaves its sums in, until its session takes it; nil: none
	at   time.Time
}

// connectTimeout is how long the memory of a worker that has joined is kept for it
// to open its stream.
const connectTimeout = 30 * time.Second

// forgetSums lets go of the memory of workers that have never opened their stream.
func (s *Server) forgetSums() {
	for _, j := range s.joins {
		if j.sums != nil && time.Since(j.at) > connectTimeout {
			j.sums.Close()
			j.sums = nil
		}
	}
}

// openSums maps the memory that a worker offers for its sums; nil where it offers
// none, or such as this process can't map.
func (s *Server) openSums(req *musterv1.JoinRequest) *wire.Segment {
	if req.Shared == nil || s.store.shared == nil {
		return nil
	}
	log := s.cfg.Log.With("worker", req.Worker)
	if bytes.Equal(req.Shared.Token, s.store.shared.Offer().Token) {
		log.Warn("the worker's memory is not shared", "why", "it is this server's own")
		return nil
	}
	if got, want := req.Shared.Values, uint64(s.network.Layout.Size()); got != want {
		log.Warn("the worker's memory is not shared", "why", fmt.Sprintf("its vectors have %d values, the layout has %d", got, want))
		return nil
	}
	sums, err := wire.OpenSegment(req.Shared)
	if err != nil {
		log.Debug("the worker's memory is not shared", "why", err)
	}
	return sums
}

// forgetJoins forgets what a worker has joined with.
func (s *Server) forgetJoins(worker string) {
	for number, j := range s.joins {
		if j.Worker == worker {
			if j.sums != nil {
				j.sums.Close()
			}
			delete(s.joins, number)
		}
	}
}

// checkData compares a worker's data with the job's; the first worker's are it.
func (s *Server) checkData(d *musterv1.DataInfo) error {
	if d == nil || d.Fingerprint == "" || d.TrainImages == 0 || d.TestImages == 0 {
		return refused("the worker names no data")
	}
	got := checkpoint.Data{
		Fingerprint: d.Fingerprint, TrainImages: int(d.TrainImages), TestImages: int(d.TestImages),
		Classes: int(d.Classes), Synthetic: d.Synthetic, ClassNames: d.ClassNames,
	}
	if n := len(d.ClassNames); n != 0 && n != got.Classes {
		return refused("the worker names %d classes of its data, which have %d", n, got.Classes)
	}
	if s.data.Fingerprint == "" {
		if d.TrainImages < s.job.Shards {
			return refused("the worker's %d training images are fewer than the job's %d shards", d.TrainImages, s.job.Shards)
		}
		if int(d.Classes) > s.network.Classes {
			return refused("the worker's data have %d classes, network %s tells %d apart", d.Classes, s.job.Network, s.network.Classes)
		}
		s.data = got
		return nil
	}
	if !got.Same(s.data) {
		return refused("the worker's data (%s) are not those of the job (%s)", dataName(got), dataName(s.data))
	}
	if s.data.ClassNames == nil {
		s.data.ClassNames = got.ClassNames // the checkpoint resumed from had none
	}
	return nil
}

func dataName(d checkpoint.Data) string {
	kind := "images"
	if d.Synthetic {
		kind = "synthetic images"
	}
	return fmt.Sprintf("%d+%d %s, fingerprint %.12s", d.TrainImages, d.TestImages, kind, d.Fingerprint)
}

func notJoined(number uint64) error {
	return fmt.Errorf("session %d is not known here: join first", number)
}

// sessionOf makes the session of the number that Join gave out.
func (s *Server) sessionOf(ctx context.Context, number uint64) (*session, error) {
	var req *joined
	if err := s.do(ctx, func() { req = s.joins[number] }); err != nil {
		return nil, err
	}
	if req == nil {
		return nil, notJoined(number)
	}
	m := membership.Member{ID: req.Worker, Host: req.Host, Device: req.Device, Pinned: -1}
	if req.Shard != nil {
		m.Pinned = int(req.Shard.Index)
	}
	// The coordinator knows the members: of a worker that comes to another part it has a lease.
	return newSession(s, m, number, req.Registered || s.part != nil), nil
}
