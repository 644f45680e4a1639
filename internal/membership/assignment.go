package membership

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// ErrConflict is returned for an Assignment whose number does not follow that
// of the stored one: someone else has saved one, so load it and assign again.
var ErrConflict = errors.New("another assignment was saved before")

// Assignment says which worker owns which shard.
type Assignment struct {
	// Number counts assignments from 1; 0: there was none yet.
	Number uint64 `json:"number"`
	// Owner is the ID of each shard's worker; "": nobody.
	Owner []string `json:"owner"`
	// Pinned tells, by shard, that it is held by the worker pinned to it, or kept
	// for that worker since it was lost. Assign uses it to tell a shard that waits
	// from one that may move at once. It is as long as Owner.
	Pinned []bool `json:"pinned"`
}

// Shards returns the shards that a worker owns, in ascending order.
func (a Assignment) Shards(id string) []int {
	var shards []int
	for s, owner := range a.Owner {
		if owner == id && id != "" {
			shards = append(shards, s)
		}
	}
	return shards
}

// Unowned returns the shards that nobody owns, in ascending order.
func (a Assignment) Unowned() []int {
	var shards []int
	for s, owner := range a.Owner {
		if owner == "" {
			shards = append(shards, s)
		}
	}
	return shards
}

// SaveAssignment stores a, whose number must be one more than that of the
// stored assignment (1, if there is none); otherwise the error is ErrConflict.
// It is ErrDeposed if a leader of a higher term than the caller's has been made;
// term 0 is that of a caller who has none and may always save. After an error of
// another kind the assignment may or may not have been stored.
func (r *Registry) SaveAssignment(ctx context.Context, a Assignment, term uint64) error {
	if err := r.saveAssignment(ctx, a, term); err != nil {
		return fmt.Errorf("save assignment %d: %w", a.Number, err)
	}
	return nil
}

func (r *Registry) saveAssignment(ctx context.Context, a Assignment, term uint64) error {
	stored, revision, err := r.loadAssignment(ctx)
	if err != nil {
		return err
	}
	conditions := []clientv3.Cmp{clientv3.Compare(clientv3.ModRevision(r.assignment()), "=", revision)}
	if term != 0 {
		resp, err := r.cli.Get(ctx, r.term())
		if err != nil {
			return err
		}
		counted, err := r.checkTerm(resp, term)
		if err != nil {
			return err
		}
		conditions = append(conditions, clientv3.Compare(clientv3.ModRevision(r.term()), "=", counted))
	}
	if a.Number != stored.Number+1 {
		return fmt.Errorf("over %d: %w", stored.Number, ErrConflict)
	}
	encoded, err := json.Marshal(a)
	if err != nil {
		return err
	}
	resp, err := r.cli.Txn(ctx).If(conditions...).
		Then(clientv3.OpPut(r.assignment(), string(encoded))).
		Else(clientv3.OpGet(r.term())).
		Commit()
	if err != nil {
		return err
	}
	if resp.Succeeded {
		return nil
	}
	// Whoever has lost an assignment to a new leader is to learn of that.
	if term != 0 {
		if _, err := r.checkTerm((*clientv3.GetResponse)(resp.Responses[0].GetResponseRange()), term); err != nil {
			return err
		}
	}
	return ErrConflict
}

// LoadAssignment returns the stored assignment, the zero one if there is none.
func (r *Registry) LoadAssignment(ctx context.Context) (Assignment, error) {
	a, _, err := r.loadAssignment(ctx)
	return a, err
}

// loadAssignment returns the stored assignment and the revision at which it was
// written; zero if there is none.
func (r *Registry) loadAssignment(ctx context.Context) (Assignment, int64, error) {
	if r.bad != nil {
		return Assignment{}, 0, r.bad
	}
	resp, err := r.cli.Get(ctx, r.assignment())
	if err != nil {
		return Assignment{}, 0, fmt.Errorf("load assignment: %w", err)
	}
	if len(resp.Kvs) == 0 {
		return Assignment{}, 0, nil
	}
	var a Assignment
	if err := json.Unmarshal(resp.Kvs[0].Value, &a); err != nil {
		return Assignment{}, 0, fmt.Errorf("load assignment: %s: %w", r.assignment(), err)
	}
	return a, resp.Kvs[0].ModRevision, nil
}
