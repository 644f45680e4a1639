package membership_test

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/muster-train/muster/internal/membership"
)

// A registration whose lease is revoked, as etcd does when its holder stood
// still too long, is taken anew; one that is released is not.
func TestAHeldRegistrationOutlivesItsLease(t *testing.T) {
	c := &inProcess{dir: t.TempDir()}
	c.restart(t)
	client := c.client(t)
	log := slog.New(slog.DiscardHandler)
	r := membership.NewRegistry(client, "held", 3*time.Second, log) // what was revoked is noticed at the next renewal
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	held, err := r.Hold(ctx, func(ctx context.Context) (*membership.Lease, error) {
		return r.Register(ctx, membership.Member{ID: "w", Pinned: -1})
	})
	if err != nil {
		t.Fatal(err)
	}
	first := leaseOf(t, client)
	if _, err := client.Revoke(ctx, first); err != nil {
		t.Fatal(err)
	}
	back, stop := context.WithCancel(ctx)
	err = r.Watch(back, func(members []membership.Member) {
		if len(members) == 1 {
			if id := leaseOf(t, client); id != first && id != 0 {
				stop()
			}
		}
	})
	if ctx.Err() != nil {
		t.Fatalf("the member did not come back: %v", err)
	}
	if err := held.Release(ctx); err != nil {
		t.Fatal(err)
	}
	members, _, err := r.Members(ctx)
	if err != nil || len(members) != 0 {
		t.Errorf("after Release there are %v, %v; want none", members, err)
	}
}

func TestHoldFailsWhereTheFirstRegistrationDoes(t *testing.T) {
	want := errors.New("no")
	r := membership.NewRegistry(clientv3.NewCtxClient(t.Context()), "held", patience, slog.New(slog.DiscardHandler))
	_, err := r.Hold(t.Context(), func(context.Context) (*membership.Lease, error) { return nil, want })
	if !errors.Is(err, want) {
		t.Errorf("Hold = %v, want the error of its first registration", err)
	}
}

// leaseOf returns the lease of the one member of job held, 0 if there is none.
func leaseOf(t *testing.T, client *clientv3.Client) clientv3.LeaseID {
	t.Helper()
	got, err := client.Get(t.Context(), "/muster/held/workers/w")
	if err != nil || len(got.Kvs) == 0 {
		return 0
	}
	return clientv3.LeaseID(got.Kvs[0].Lease)
}
