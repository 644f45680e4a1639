package membership

import (
	"container/heap"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// What the programs use: a worker's lease, and the server's patience.
const (
	churnLease   = 5 * time.Second
	churnGrace   = 10 * time.Second
	churnTimeout = 30 * time.Second
	churnSlack   = 2 * time.Second // etcd notices within a second that a lease has run out, and tells soon
)

// A day of a job whose workers come, leave, crash, flap, lose their connections
// and die by the rack. At every change shards are shared fairly, no more move than
// must, and none is without a worker for longer than the lease and 2 seconds: where
// the worker lives without a connection, than its grace and 2 seconds; where the
// shard is kept for a pinned worker, or there are only pinned ones, than the shard
// timeout more. That a process has died is seen at its connection; where a machine
// dies it isn't, and a shard may be given to a second one that has died already.
func TestADayOfChurn(t *testing.T) {
	for _, tc := range []struct {
		shards, workers int
		pinned, spares  int     // of the workers: the first are pinned, to the first shards; spares to the first of these again
		life            float64 // hours that a worker lives, in the mean
		nodes           float64 // nodes that the workers' shards make, in the mean at most, over the least that so many shards can
	}{
		{shards: 4096, workers: 1000, life: 96, nodes: 1.2},
		{shards: 3000, workers: 1000, pinned: 200, spares: 20, life: 96, nodes: 1.4},
		{shards: 100, workers: 1000, pinned: 40, spares: 20, life: 96, nodes: 1.1},
		{shards: 64, workers: 12, life: 1, nodes: 2},
		{shards: 8, workers: 9, pinned: 9, spares: 1, life: 1},
	} {
		t.Run(fmt.Sprintf("%d shards, %d workers, %d pinned", tc.shards, tc.workers, tc.pinned), func(t *testing.T) {
			t.Parallel()
			day := 24 * time.Hour
			if testing.Short() && tc.workers >= 1000 {
				day = 2 * time.Hour
			}
			synctest.Test(t, func(t *testing.T) {
				c := &churn{
					t: t, random: rand.New(rand.NewPCG(uint64(tc.shards), uint64(tc.workers))),
					shards: tc.shards, life: tc.life, procs: map[string]*proc{}, keys: map[string]*key{},
					known: map[string]bool{}, lostAt: map[string]time.Time{}, alone: make([]alone, tc.shards),
				}
				for w := range tc.workers {
					pin := -1
					switch {
					case w < tc.pinned-tc.spares:
						pin = w
					case w < tc.pinned:
						pin = w - (tc.pinned - tc.spares)
					}
					c.start(fmt.Sprintf("w%d", w), pin)
				}
				c.run(day, max(1, tc.workers/500), 3)
				c.report(tc.nodes)
			})
		})
	}
}

// churn is etcd, a leader that goes by Candidates, Assign, Urgent and Vigil as the
// parameter server does, and the processes of the workers.
type churn struct {
	t      *testing.T
	random *rand.Rand
	shards int
	life   float64

	events events
	serial int

	procs    map[string]*proc // by id: what runs
	keys     map[string]*key  // etcd's
	arrived  []Member         // of keys, in order of arrival
	revision int64
	names    int
	begun    bool

	// The leader's.
	members    []Member
	known      map[string]bool
	lostAt     map[string]time.Time
	assignment Assignment
	vigil      Vigil
	deferred   bool
	handover   int // number of the event that offers what waits

	alone []alone // by shard
	sum   sums
}

// proc is a worker's process.
type proc struct {
	id        string
	pin       int
	connected bool
}

// key is a worker's in etcd: it lives as long as its lease, of which there may have
// been several.
type key struct{ lease int }

// alone tells since when nobody works on a shard.
type alone struct {
	since  time.Time // zero: somebody does
	pinned bool      // meanwhile it was kept for a pinned worker, or there were only such
	cut    bool      // meanwhile it was that of a worker who lived without a connection
}

// sums are what a day comes to.
type sums struct {
	changes, assigned          int
	lost, fair                 int // shards that moved: from who is gone, from others
	longest, cut, longestAtPin time.Duration
	nodes, least               int // over all assignments
}

type event struct {
	at     time.Time
	number int
	do     func()
}

type events []event

func (e events) Len() int { return len(e) }
func (e events) Less(i, j int) bool {
	return e[i].at.Before(e[j].at) || e[i].at.Equal(e[j].at) && e[i].number < e[j].number
}
func (e events) Swap(i, j int) { e[i], e[j] = e[j], e[i] }
func (e *events) Push(x any)   { *e = append(*e, x.(event)) }
func (e *events) Pop() any {
	last := (*e)[len(*e)-1]
	*e = (*e)[:len(*e)-1]
	return last
}

// after has f done so much later; it returns the event's number.
func (c *churn) after(d time.Duration, f func()) int {
	c.serial++
	heap.Push(&c.events, event{time.Now().Add(d), c.serial, f})
	return c.serial
}

// within is a random time below d.
func (c *churn) within(d time.Duration) time.Duration {
	return time.Duration(c.random.Int64N(int64(d)))
}

// lifetime is exponential, and at least a second.
func (c *churn) lifetime(hours float64) time.Duration {
	return time.Second + time.Duration(c.random.ExpFloat64()*hours*float64(time.Hour))
}

// run lets a day go by. Again and again some workers flap, and as many lose their
// connection; so many times a rack dies.
func (c *churn) run(day time.Duration, some, racks int) {
	for _, id := range c.living() {
		c.after(c.lifetime(c.life), func() { c.end(id) })
	}
	for range racks {
		c.after(c.within(day), c.rackDies)
	}
	for range some {
		c.after(c.within(time.Hour), c.flap)
		c.after(c.within(time.Hour), c.disconnect)
	}
	c.begun = true // with all who are there
	c.tell()
	end := time.Now().Add(day)
	for len(c.events) > 0 && !c.t.Failed() {
		e := heap.Pop(&c.events).(event)
		if e.at.After(end) {
			return
		}
		time.Sleep(time.Until(e.at))
		e.do()
		c.watchShards()
	}
}

// living returns the ids of what runs, in a fixed order.
func (c *churn) living() []string {
	ids := make([]string, 0, len(c.procs))
	for id := range c.procs {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

// anyone returns an id of what runs.
func (c *churn) anyone() string {
	ids := c.living()
	return ids[c.random.IntN(len(ids))]
}

// start runs a worker, which registers and connects. Its id may have run before.
func (c *churn) start(id string, pin int) {
	c.procs[id] = &proc{id: id, pin: pin}
	c.revision++
	k := c.keys[id]
	if k == nil {
		k = &key{}
		c.keys[id] = k
		c.arrived = append(c.arrived, Member{ID: id, Pinned: pin, Joined: c.revision})
	}
	k.lease++
	c.connect(id)
	c.tell()
}

// unregister deletes a worker's key.
func (c *churn) unregister(id string) {
	delete(c.keys, id)
	c.arrived = slices.DeleteFunc(c.arrived, func(m Member) bool { return m.ID == id })
	c.tell()
}

func (c *churn) connect(id string) {
	c.procs[id].connected = true
	delete(c.lostAt, id)
	c.known[id] = true
	if c.begun {
		c.membersChanged()
	}
}

// end is how a worker's life ends: it says good-bye, or not; another takes its place
// soon, under another name.
func (c *churn) end(id string) {
	p := c.procs[id]
	if p == nil {
		return
	}
	if c.random.IntN(2) == 0 {
		c.leave(p)
	} else {
		c.crash(id)
	}
	c.after(c.within(2*time.Minute), func() { c.replace(p.pin) })
}

func (c *churn) replace(pin int) {
	c.names++
	id := fmt.Sprintf("n%d", c.names)
	c.start(id, pin)
	c.after(c.lifetime(c.life), func() { c.end(id) })
}

func (c *churn) leave(p *proc) {
	delete(c.procs, p.id)
	delete(c.known, p.id)
	delete(c.lostAt, p.id)
	c.membersChanged()
	c.unregister(p.id)
}

// crash ends a process without a word. Its lease runs out.
func (c *churn) crash(id string) {
	if c.procs[id].connected {
		c.lose(id)
	}
	delete(c.procs, id)
	lease := c.keys[id].lease
	c.after(churnLease+c.within(time.Second), func() {
		if k := c.keys[id]; k != nil && k.lease == lease {
			c.unregister(id)
		}
	})
}

// lose is what the leader sees of a connection's end.
func (c *churn) lose(id string) {
	c.lostAt[id] = time.Now()
	c.after(churnGrace, c.membersChanged)
}

// flap crashes a worker and starts it again under its own name, before its lease has
// run out or after that, again and again.
func (c *churn) flap() {
	id := c.anyone()
	pin := c.procs[id].pin
	times := 1 + c.random.IntN(8)
	var again func()
	again = func() {
		times--
		if c.procs[id] == nil {
			return
		}
		c.crash(id)
		c.after(c.within(12*time.Second), func() {
			c.start(id, pin)
			if times > 0 {
				c.after(c.within(20*time.Second), again)
			}
		})
	}
	again()
	c.after(c.within(time.Hour), c.flap)
}

// disconnect cuts a worker's connection to the leader, but not that to etcd.
func (c *churn) disconnect() {
	p := c.procs[c.anyone()]
	if p.connected {
		p.connected = false
		c.lose(p.id)
		c.after(c.within(20*time.Second), func() {
			if c.procs[p.id] == p { // it has not ended meanwhile
				c.connect(p.id)
			}
		})
	}
	c.after(c.within(time.Hour), c.disconnect)
}

// rackDies crashes 1 of 25 workers at once, and as many come within the hour.
func (c *churn) rackDies() {
	for range (len(c.procs) + 24) / 25 {
		p := c.procs[c.anyone()]
		c.crash(p.id)
		c.after(c.within(time.Hour), func() { c.replace(p.pin) })
	}
}

// tell brings the members to the leader, a moment later.
func (c *churn) tell() {
	if !c.begun {
		return
	}
	c.after(c.within(200*time.Millisecond), func() {
		c.members = slices.Clone(c.arrived)
		c.sum.changes++
		c.membersChanged()
	})
}

func (c *churn) presence(id string) Presence {
	p := c.procs[id]
	return Presence{Known: c.known[id], Connected: p != nil && p.connected, Lost: c.lostAt[id]}
}

func (c *churn) propose() (candidates []Candidate, next Assignment, changed bool) {
	now := time.Now()
	candidates = Candidates(c.members, c.presence, now, churnGrace)
	next, changed = Assign(c.assignment, candidates, c.shards, c.vigil.Over(now, churnTimeout))
	return candidates, next, changed
}

// membersChanged assigns at once, or has it done when the step ends.
func (c *churn) membersChanged() {
	_, next, changed := c.propose()
	switch {
	case !changed:
	case len(c.assignment.Owner) == 0 || Urgent(c.assignment, next, c.members, c.presence):
		c.reassign()
	case !c.deferred:
		c.deferred = true
		c.after(c.within(time.Second), c.stepEnds)
	}
}

// stepEnds is the next boundary of a step; there is none while somebody is awaited.
func (c *churn) stepEnds() {
	switch {
	case !c.deferred:
	case slices.ContainsFunc(c.assignment.Owner, func(id string) bool { return !c.works(id) }):
		c.after(c.within(time.Second), c.stepEnds)
	default:
		c.reassign()
	}
}

func (c *churn) works(id string) bool {
	p := c.procs[id]
	return p != nil && p.connected
}

func (c *churn) reassign() {
	c.deferred = false
	candidates, next, changed := c.propose()
	if changed {
		c.check(candidates, next)
		c.assignment = next
	}
	first, waits := c.vigil.Note(c.assignment.Unowned(), time.Now(), churnTimeout)
	c.handover = 0
	if waits {
		number := c.serial + 1
		c.handover = c.after(first, func() {
			if c.handover == number {
				c.membersChanged()
			}
		})
	}
}
