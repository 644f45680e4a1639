package paramserver

import (
	"time"

	"github.com/muster-train/muster/paramserver/checkpoint"
	musterv1 "github.com/muster-train/muster/proto/muster/v1"
)

// Split is where the time of this process's rounds went.
type Split struct {
	Compute  time.Duration // workers computed gradients: the mean over them, step by step
	Exchange time.Duration // the rest of a step: transport, sums, update
	Wait     time.Duration // workers waited for the slowest one, or all for a shard that had no worker
	Evaluate time.Duration // evaluations
	Images   int           // trained on
}

// ImagesPerSecond is the throughput of training, evaluations left out.
func (s Split) ImagesPerSecond() float64 {
	if t := (s.Compute + s.Exchange + s.Wait).Seconds(); t > 0 {
		return float64(s.Images) / t
	}
	return 0
}

// means are of one step or epoch.
type means struct{ Loss, Accuracy float64 }

// meter measures rounds. It belongs to the loop.
type meter struct {
	split   Split
	opened  time.Time
	compute map[string]float64    // seconds of the open round, by worker
	images  map[string]int        // that these were for
	stalled time.Time             // since when the open round has waited for a worker; zero: it doesn't
	waited  time.Duration         // that the open round has waited before
	paused  time.Time             // since when no round is opened, for want of workers; zero: there are enough
	workers map[string]workerLoad // by worker

	last   means         // of the newest step
	epoch  Tally         // of the epoch so far
	before time.Duration // that other processes spent on the epoch before this one took it up
	begun  time.Time     // when the epoch began, or this process took it up; zero: not yet
	speed  float64       // images per second, smoothed
	rounds int
}

// workerLoad is what one worker has done for this process.
type workerLoad struct {
	seconds float64 // of computing its part of the newest step
	images  uint64  // it has computed gradients of
}

// resume takes up an epoch that another process began.
func (m *meter) resume(r *checkpoint.Running) {
	if r != nil {
		m.epoch = Tally{Images: r.Images, Loss: float64(r.Loss), Top1: r.Top1}
		m.before = time.Duration(float64(r.Seconds) * float64(time.Second))
	}
}

// rewind goes back to where an epoch had come to.
func (m *meter) rewind(r *checkpoint.Running) {
	m.nextEpoch()
	m.resume(r)
}

// running is what the epoch has come to so far; nil: it has not begun.
func (m *meter) running() *checkpoint.Running {
	if m.epoch.Images == 0 {
		return nil
	}
	return &checkpoint.Running{
		Images: m.epoch.Images, Loss: checkpoint.Float(m.epoch.Loss), Top1: m.epoch.Top1,
		Seconds: checkpoint.Float(m.elapsed().Seconds()),
	}
}

// elapsed is the time that the epoch has taken so far.
func (m *meter) elapsed() time.Duration {
	if m.begun.IsZero() {
		return m.before
	}
	return m.before + time.Since(m.begun)
}

// nextEpoch forgets what the epoch came to.
func (m *meter) nextEpoch() {
	m.epoch, m.before, m.begun = Tally{}, 0, time.Time{}
}

func (m *meter) begin(stalled bool) {
	m.opened = time.Now()
	if m.begun.IsZero() {
		m.begun = m.opened
	}
	m.compute, m.images = map[string]float64{}, map[string]int{}
	m.waited, m.stalled = 0, time.Time{}
	m.stall(stalled)
}

// stall notes whether the open round waits for a worker.
func (m *meter) stall(stalled bool) { m.stallSince(stalled, time.Now()) }

// stallSince is stall with the time since when a wait that begins has lasted: a
// worker that is found lost has said nothing for a while.
func (m *meter) stallSince(stalled bool, since time.Time) {
	switch {
	case stalled && m.stalled.IsZero():
		m.stalled = since
		if since.Before(m.opened) {
			m.stalled = m.opened
		}
	case !stalled && !m.stalled.IsZero():
		m.waited += time.Since(m.stalled)
		m.stalled = time.Time{}
	}
}

// pause notes that no round is opened from now on, for want of workers.
func (m *meter) pause(now time.Time) { m.paused = now }

// resumed ends a pause. One before the first step is no part of training.
func (m *meter) resumed(now time.Time) {
	m.split.Wait = m.sofarPaused(now)
	m.paused = time.Time{}
}

// sofarPaused is the wait with that of a pause in progress.
func (m *meter) sofarPaused(now time.Time) time.Duration {
	if m.paused.IsZero() || m.rounds == 0 {
		return m.split.Wait
	}
	return m.split.Wait + now.Sub(m.paused)
}

// computed adds time that a worker has spent on the open round, for so many images.
func (m *meter) computed(worker string, seconds float64, images int) {
	if seconds > 0 && seconds < 1e6 {
		m.compute[worker] += seconds
		m.images[worker] += images
	}
}

// counted notes images whose gradients a worker has computed.
func (m *meter) counted(worker string, images int) {
	load := m.workers[worker]
	load.images += uint64(images)
	m.workers[worker] = load
}

func (m *meter) end(kind musterv1.WorkKind) {
	took := time.Since(m.opened)
	if kind == musterv1.WorkKind_WORK_KIND_EVALUATE {
		m.split.Evaluate += took
		return
	}
	m.stall(false)
	slowest, sum := 0.0, 0.0
	for worker, s := range m.compute {
		slowest, sum = max(slowest, s), sum+s
		load := m.workers[worker]
		load.seconds = s
		m.workers[worker] = load
	}
	mean := sum / float64(max(len(m.compute), 1))
	// What workers say of themselves is kept within what was measured here.
	waited := min(m.waited, took)
	compute := min(seconds(mean), took-waited)
	waited += min(seconds(slowest-mean), took-waited-compute)
	m.split.Compute += compute
	m.split.Wait += waited
	m.split.Exchange += took - compute - waited
}

// sofar is the split with what is known of the open round: its wait, or all of
// it where it is an evaluation. It never takes back what it has told.
func (m *meter) sofar(kind musterv1.WorkKind) Split {
	split := m.split
	if kind == musterv1.WorkKind_WORK_KIND_EVALUATE {
		split.Evaluate += time.Since(m.opened)
		return split
	}
	split.Wait += m.waited
	if !m.stalled.IsZero() {
		split.Wait += time.Since(m.stalled)
	}
	return split
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// step adds what a step's images came to.
func (m *meter) step(t Tally) {
	took := time.Since(m.opened).Seconds()
	m.split.Images += t.Images
	m.last = means{t.Loss / float64(t.Images), float64(t.Top1) / float64(t.Images)}
	m.epoch.Images += t.Images
	m.epoch.Loss += t.Loss
	m.epoch.Top1 += t.Top1
	if took > 0 {
		now := float64(t.Images) / took
		if m.rounds == 0 {
			m.speed = now
		}
		m.speed += (now - m.speed) / float64(min(m.rounds+1, 20))
		m.rounds++
	}
}
