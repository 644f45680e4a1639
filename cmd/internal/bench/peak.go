package bench

import (
	"time"

	"github.com/muster-train/muster/internal/kernel"
)

// burst is how long a burst of a peak is to take: long beside waking a thread,
// short beside a step.
const burst = 5 * time.Millisecond

// Peak measures how many floating-point operations a second a number of threads
// could do together: fused multiply-adds in registers and nothing else, with the
// vectors of the kernels in use.
type Peak struct {
	crew       *crew
	turns      int
	operations []int     // of each thread in a burst
	rates      []float64 // of the bursts so far, in operations a second
}

// NewPeak starts the threads and finds out how much makes a burst. A peak has room
// for that many bursts.
func NewPeak(threads, bursts int) *Peak {
	p := &Peak{turns: 1 << 10, operations: make([]int, threads), rates: make([]float64, 0, bursts)}
	p.crew = newCrew(threads, func(thread int) { p.operations[thread] = kernel.Peak(p.turns) })
	p.turns = turnsOf(burst, p.turns, func(turns int) time.Duration {
		p.turns = turns
		return p.once()
	})
	return p
}

// turnsOf doubles turns until they take at least d, three times in a row: a
// single time may be long because the thread had to wait.
func turnsOf(d time.Duration, turns int, run func(turns int) time.Duration) int {
	for long := 0; long < 3; {
		if run(turns) >= d {
			long++
		} else {
			turns, long = 2*turns, 0
		}
	}
	return turns
}

// once runs a burst and returns how long it took, from before its first thread
// began until its last was done.
func (p *Peak) once() time.Duration {
	start := time.Now()
	p.crew.run()
	return time.Since(start)
}

// Burst measures once more.
func (p *Peak) Burst() {
	took := p.once()
	operations := 0
	for _, n := range p.operations {
		operations += n
	}
	p.rates = append(p.rates, float64(operations)/took.Seconds())
}

// Rate is the median over the bursts, in operations a second; 0 before the first.
func (p *Peak) Rate() float64 { return median(p.rates) }

// Close ends the threads.
func (p *Peak) Close() { p.crew.close() }
