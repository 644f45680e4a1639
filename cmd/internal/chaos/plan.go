package chaos

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// Kind is what is done to the stage.
type Kind string

// The kinds of faults.
const (
	KillWorker    Kind = "worker killed"           // kill -9; it is started again
	HaltWorker    Kind = "worker halted"           // SIGSTOP, SIGCONT after a while
	LeaveWorker   Kind = "worker left"             // SIGTERM, for good
	JoinWorker    Kind = "worker joined"           // one more
	KillServer    Kind = "server killed"           // kill -9 of the server that leads
	KillStandby   Kind = "standby killed"          // kill -9 of one that doesn't
	HaltServer    Kind = "server halted"           // SIGSTOP of the server that leads
	StopServer    Kind = "server stopped"          // SIGTERM of the server that leads
	KillServers   Kind = "all servers killed"      // the state in memory is gone
	TearFile      Kind = "checkpoint torn"         // as KillServers, and the newest checkpoint loses its end, or a bit of it flips
	FillDisk      Kind = "disk full"               // writes of the server that leads fail, at once or halfway through a checkpoint
	KillEtcd      Kind = "etcd killed"             // kill -9; it is started again after a while
	HaltEtcd      Kind = "etcd halted, clock jump" // SIGSTOP, SIGCONT: to its leases time has jumped
	CutConnection Kind = "connection cut"          // one of those to the server that leads
	CutLink       Kind = "link cut"                // to the server that leads, from all others: connections end, none can be made
	FreezeLink    Kind = "link frozen"             // nothing passes, and nobody is told
	DelayLink     Kind = "link delayed"            // everything passes late
	CutEtcdLink   Kind = "link to etcd cut"        // of one process
)

// habit is how a kind comes.
type habit struct {
	kind   Kind
	weight int  // how often
	lasts  bool // it is undone after a while
}

var kinds = []habit{
	{KillWorker, 6, false},
	{HaltWorker, 4, true},
	{LeaveWorker, 2, false},
	{JoinWorker, 3, false},
	{KillServer, 5, false},
	{KillStandby, 3, false},
	{HaltServer, 3, true},
	{StopServer, 2, false},
	{KillServers, 1, false},
	{TearFile, 2, false},
	{FillDisk, 3, true},
	{KillEtcd, 3, true},
	{HaltEtcd, 2, true},
	{CutConnection, 4, false},
	{CutLink, 2, true},
	{FreezeLink, 3, true},
	{DelayLink, 2, true},
	{CutEtcdLink, 3, true},
}

// Kinds are the names of all kinds.
func Kinds() (names []string) {
	for _, k := range kinds {
		names = append(names, string(k.kind))
	}
	return names
}

// Fault is one act of destruction.
type Fault struct {
	At   time.Duration // since the first one was possible
	Kind Kind
	Pick uint64        // which of those that it could be done to
	For  time.Duration // until it is undone; 0: it is not
}

func (f Fault) String() string {
	if f.For == 0 {
		return string(f.Kind)
	}
	return fmt.Sprintf("%s for %v", f.Kind, f.For)
}

const (
	shortest = 300 * time.Millisecond // that a fault lasts
	longest  = 6 * time.Second        // longer than any lease
)

// NewPlan draws the faults of a time, one each interval in the mean: of every kind once,
// in any order, before any comes twice, if there is time for that.
func NewPlan(seed uint64, interval, duration time.Duration) (plan []Fault) {
	r := rand.New(rand.NewPCG(seed, 0x6d7573746572))
	first := r.Perm(len(kinds))
	for at := time.Duration(0); ; {
		at += interval/2 + below(r, interval)
		if at >= duration {
			return plan
		}
		k := draw(r)
		if len(first) > 0 {
			k, first = first[0], first[1:]
		}
		f := Fault{At: at, Kind: kinds[k].kind, Pick: r.Uint64()}
		if kinds[k].lasts {
			f.For = (shortest + below(r, longest-shortest)).Round(10 * time.Millisecond)
		}
		plan = append(plan, f)
	}
}

// draw draws an index of kinds.
func draw(r *rand.Rand) int {
	total := 0
	for _, k := range kinds {
		total += k.weight
	}
	n := r.IntN(total)
	return slices.IndexFunc(kinds, func(k habit) bool {
		n -= k.weight
		return n < 0
	})
}

// below draws a time below a limit.
func below(r *rand.Rand, limit time.Duration) time.Duration {
	return time.Duration(r.Int64N(int64(limit)))
}
