package membership

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// renewing runs renew for a lease of 2 s, of which 1.5 s are left, until the
// client's channel or the test ends.
func renewing(t *testing.T, renewed chan *clientv3.LeaseKeepAliveResponse) *Lease {
	ctx, stop := context.WithCancel(t.Context())
	l := &Lease{stop: stop, lost: make(chan struct{})}
	context.AfterFunc(ctx, func() { close(renewed) }) // as the client does
	go l.renew(renewed, 2*time.Second, 1500*time.Millisecond)
	t.Cleanup(l.Abandon)
	return l
}

func isLost(l *Lease) bool {
	synctest.Wait()
	select {
	case <-l.Lost():
		return true
	default:
		return false
	}
}

// The client itself would notice up to a second later.
func TestALeaseIsLostOnceItsTimeHasPassedWithoutAnAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		renewed := make(chan *clientv3.LeaseKeepAliveResponse, 16)
		l := renewing(t, renewed)
		const instant = time.Millisecond
		for _, pause := range []time.Duration{1500*time.Millisecond - instant, 2*time.Second - instant, time.Second} {
			time.Sleep(pause)
			if isLost(l) {
				t.Fatalf("lost though it was renewed %v ago", pause)
			}
			renewed <- &clientv3.LeaseKeepAliveResponse{TTL: 2}
			synctest.Wait()
		}
		time.Sleep(2*time.Second - instant)
		if isLost(l) {
			t.Fatal("lost before its time")
		}
		time.Sleep(instant)
		if !isLost(l) {
			t.Error("not lost though 2s have passed since its renewal")
		}
	})
}

func TestALeaseIsLostWhenTheClientSaysSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		renewed := make(chan *clientv3.LeaseKeepAliveResponse, 16)
		l := renewing(t, renewed)
		if isLost(l) {
			t.Fatal("lost from the beginning")
		}
		l.stop()
		if !isLost(l) {
			t.Error("not lost though the client has ended its renewing")
		}
	})
}
