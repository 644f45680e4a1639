package membership

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// ErrDeposed is returned to a server of a term that is over: another one has led
// since, or does.
var ErrDeposed = errors.New("another server has led since")

// Leader is the parameter server that leads a job.
type Leader struct {
	Server
	// Term counts the times that a leader was made, from 1. Whatever names a lower
	// term than another comes from a server that had been deposed by then.
	Term uint64 `json:"term"`
}

// LedError tells who leads instead.
type LedError struct{ Leader }

func (e *LedError) Error() string {
	return fmt.Sprintf("server %s at %s leads, in term %d", e.ID, e.Address, e.Term)
}

// lead is what etcd holds of leadership at one revision.
type lead struct {
	leader    Leader // the zero one: nobody leads
	term      uint64 // the counter; 0: there was no leader yet
	by        string // ID of the server that has counted last
	leaderRev int64  // revision at which the leader's key was written, 0: it is not there
	termRev   int64  // the same of the counter
}

// Lead makes s the leader if nobody else is, and returns its lease and its term,
// which is above all terms so far and above least: pass the highest that is known
// from elsewhere, since etcd's data may be lost. It is one try; if another server
// leads, the error is a *LedError. A server that leads already, by the same ID,
// leads on in a new term under the new lease; give up the old lease with Abandon.
//
// Who has lost its lease leads no more, whether it knows or not: until its next
// look at Lost it may act as before, so what it does must be fenced by its term.
//
// ctx bounds the call, not the lease. After an error the key may have been written
// all the same, if etcd's answer was lost; nothing renews it then.
func (r *Registry) Lead(ctx context.Context, s Server, least uint64) (*Lease, uint64, error) {
	return r.lead(ctx, claim{s, least, false})
}

// LeadOn is Lead for a server whose lease of a term was lost: it leads on, unless another
// one has led since. What that one has done, this one hasn't: it must not go on beside or
// after it, even where nobody leads at present. The error wraps ErrDeposed then.
func (r *Registry) LeadOn(ctx context.Context, s Server, term uint64) (*Lease, uint64, error) {
	return r.lead(ctx, claim{s, term, true})
}

// claim is what a server wants.
type claim struct {
	server Server
	least  uint64 // its term is to be above it
	on     bool   // it led in that one, and wants to lead on
}

func (r *Registry) lead(ctx context.Context, c claim) (*Lease, uint64, error) {
	if r.bad != nil {
		return nil, 0, r.bad
	}
	if err := c.server.validate(); err != nil {
		return nil, 0, err
	}
	// A look first, so that those who wait for their turn make no leases.
	began := time.Now()
	seen, err := r.loadLead(ctx)
	r.outage.heard(ctx, began, err)
	if err == nil {
		_, err = seen.next(c)
	}
	if err != nil {
		return nil, 0, fmt.Errorf("lead %s: %w", r.leader(), err)
	}
	lease, err := r.grant(ctx, r.leader())
	if err != nil {
		return nil, 0, fmt.Errorf("lead %s: %w", r.leader(), err)
	}
	term, err := r.take(ctx, lease, seen, c)
	if err != nil {
		if ctx.Err() == nil {
			_ = lease.Release(ctx) // it runs out by itself otherwise
		} else {
			lease.Abandon()
		}
		return nil, 0, fmt.Errorf("lead %s: %w", r.leader(), err)
	}
	return lease, term, nil
}

// next returns the term in which a server may lead after what was seen.
func (l lead) next(c claim) (uint64, error) {
	if l.leader.ID != "" && l.leader.ID != c.server.ID {
		return 0, &LedError{l.leader}
	}
	// A higher count may be its own, of a try whose answer was lost.
	if c.on && l.term > c.least && l.by != c.server.ID {
		return 0, fmt.Errorf("in term %d, while it is %d: %w", c.least, l.term, ErrDeposed)
	}
	// The leader's own term counts too: someone may have deleted the counter.
	before := max(l.term, l.leader.Term, c.least)
	if before == math.MaxUint64 {
		return 0, fmt.Errorf("there is no term above %d", before)
	}
	return before + 1, nil
}

// take writes leader and counter together, over exactly what was seen. Where that
// has changed meanwhile, it decides anew: somebody else got ahead each time.
func (r *Registry) take(ctx context.Context, lease *Lease, seen lead, c claim) (uint64, error) {
	for {
		term, err := seen.next(c)
		if err != nil {
			return 0, err
		}
		encoded, err := json.Marshal(Leader{c.server, term})
		if err != nil {
			return 0, err
		}
		resp, err := r.cli.Txn(ctx).
			If(clientv3.Compare(clientv3.ModRevision(r.leader()), "=", seen.leaderRev),
				clientv3.Compare(clientv3.ModRevision(r.term()), "=", seen.termRev)).
			Then(clientv3.OpPut(r.leader(), string(encoded), clientv3.WithLease(lease.id)),
				clientv3.OpPut(r.term(), fmt.Sprintf("%d %s", term, c.server.ID))).
			Else(clientv3.OpGet(r.leader()), clientv3.OpGet(r.term())).
			Commit()
		if err != nil {
			return 0, err
		}
		if resp.Succeeded {
			return term, nil
		}
		if seen, err = r.decodeLead(resp); err != nil {
			return 0, err
		}
	}
}

// loadLead returns who leads and the counter, both of one revision.
func (r *Registry) loadLead(ctx context.Context) (lead, error) {
	resp, err := r.cli.Txn(ctx).Then(clientv3.OpGet(r.leader()), clientv3.OpGet(r.term())).Commit()
	if err != nil {
		return lead{}, err
	}
	return r.decodeLead(resp)
}

// decodeLead reads the answer to a transaction that got both keys.
func (r *Registry) decodeLead(resp *clientv3.TxnResponse) (l lead, err error) {
	for _, kv := range resp.Responses[0].GetResponseRange().GetKvs() {
		l.leaderRev = kv.ModRevision
		if l.leader, err = decodeLeader(kv.Value); err != nil {
			return lead{}, fmt.Errorf("%s: %w", r.leader(), err)
		}
	}
	for _, kv := range resp.Responses[1].GetResponseRange().GetKvs() {
		l.termRev = kv.ModRevision
		if l.term, l.by, err = r.decodeTerm(kv.Value); err != nil {
			return lead{}, err
		}
	}
	return l, nil
}

// decodeTerm reads the value of the counter: a term, and the ID of the server that leads in it.
func (r *Registry) decodeTerm(value []byte) (term uint64, by string, err error) {
	digits, by, _ := strings.Cut(string(value), " ")
	term, err = strconv.ParseUint(digits, 10, 64)
	if err != nil {
		return 0, "", fmt.Errorf("%s: %q is no term", r.term(), value)
	}
	return term, by, nil
}

// checkTerm returns the revision of the counter, given what was got of it,
// and ErrDeposed where it is above a term.
func (r *Registry) checkTerm(counter *clientv3.GetResponse, term uint64) (revision int64, err error) {
	for _, kv := range counter.Kvs {
		now, _, err := r.decodeTerm(kv.Value)
		if err != nil {
			return 0, err
		}
		if now > term {
			return 0, fmt.Errorf("in term %d, while it is %d: %w", term, now, ErrDeposed)
		}
		revision = kv.ModRevision
	}
	return revision, nil
}

// decodeLeader reads the value of the leader's key.
func decodeLeader(value []byte) (Leader, error) {
	var l Leader
	if err := json.Unmarshal(value, &l); err != nil {
		return Leader{}, err
	}
	if l.Term == 0 {
		return Leader{}, fmt.Errorf("server %s: no term", l.ID)
	}
	return l, l.validate()
}

// Leader returns who leads; false: nobody does.
func (r *Registry) Leader(ctx context.Context) (Leader, bool, error) {
	if r.bad != nil {
		return Leader{}, false, r.bad
	}
	resp, err := r.cli.Get(ctx, r.leader())
	if err != nil {
		return Leader{}, false, fmt.Errorf("look for the leader: %w", err)
	}
	if len(resp.Kvs) == 0 {
		return Leader{}, false, nil
	}
	l, err := decodeLeader(resp.Kvs[0].Value)
	if err != nil {
		return Leader{}, false, fmt.Errorf("look for the leader: %s: %w", r.leader(), err)
	}
	return l, true, nil
}

// WatchLeader calls changed with the leader, or false if there is none: at once,
// and again after each change, until it returns true, when WatchLeader returns
// nil, or ctx ends. Changes that come together may be shown as one. What is no
// leader under its key is logged, and nobody leads. Outages of etcd and errors
// are as those of Watch.
func (r *Registry) WatchLeader(ctx context.Context, changed func(Leader, bool) (done bool)) error {
	if r.bad != nil {
		return r.bad
	}
	var shown bool
	var last Leader
	return r.follow(ctx, r.leader(), func(entries []entry) bool {
		var now Leader
		for _, e := range entries {
			if e.name != "" {
				continue // the beginning of another key is the same
			}
			var err error
			if now, err = decodeLeader(e.value); err != nil {
				r.log.Warn("a key in etcd is no leader", "key", r.leader(), "err", err)
				now = Leader{}
			}
		}
		if shown && now == last {
			return false
		}
		shown, last = true, now
		return changed(now, now != Leader{})
	})
}
