package shaped

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// The clock of these tests is synctest's: it stands still while anything can run.

// connect returns n pairs: the server's end of a connection, and the peer's.
func connect(n *Net, count int) (server, peer []net.Conn) {
	for range count {
		near, far := net.Pipe()
		server, peer = append(server, newConn(near, n)), append(peer, far)
	}
	return server, peer
}

// carry writes so many bytes to each of from, reads them at to, and returns how
// long it took until all had come.
func carry(t *testing.T, from, to []net.Conn, count int) time.Duration {
	t.Helper()
	began := time.Now()
	var running sync.WaitGroup
	for i := range from {
		sent := make([]byte, count)
		r := rand.New(rand.NewPCG(1, uint64(i)))
		for j := range sent {
			sent[j] = byte(r.Uint32())
		}
		running.Go(func() {
			for at := 0; at < count; at += 100_000 {
				if _, err := from[i].Write(sent[at:min(count, at+100_000)]); err != nil {
					t.Error(err)
				}
			}
		})
		running.Go(func() {
			got := make([]byte, count)
			if _, err := io.ReadFull(to[i], got); err != nil {
				t.Error(err)
			}
			if !bytes.Equal(got, sent) {
				t.Errorf("connection %d: what arrived is not what was sent", i)
			}
		})
	}
	running.Wait()
	return time.Since(began)
}

func TestBytesTakeAsLongAsTheLinkSays(t *testing.T) {
	const count = 5_000_000 // bytes of each connection
	for _, tc := range []struct {
		connections int
		rate        float64
		delay       time.Duration
		want        time.Duration
	}{
		{1, 0, 0, 0},
		{1, 0, 30 * time.Millisecond, 30 * time.Millisecond},
		{1, 10e6, 0, 500 * time.Millisecond},
		{1, 10e6, 70 * time.Millisecond, 570 * time.Millisecond},
		{1, 1e9, time.Second, 1005 * time.Millisecond}, // more is under way than a buffer holds
		{4, 10e6, 0, 2 * time.Second},                  // they share the server's link
		{4, 10e6, 70 * time.Millisecond, 2070 * time.Millisecond},
	} {
		for _, up := range []bool{true, false} {
			synctest.Test(t, func(t *testing.T) {
				n := new(Net)
				n.Set(tc.rate, tc.delay)
				server, peer := connect(n, tc.connections)
				from, to := server, peer
				if up {
					from, to = peer, server
				}
				got := carry(t, from, to, count)
				// A piece's time is cut to whole nanoseconds.
				if diff := got - tc.want; diff < -time.Microsecond || diff > time.Microsecond {
					t.Errorf("%d connections, %g bytes/s, delay %v, up %v: %v, want %v", tc.connections, tc.rate, tc.delay, up, got, tc.want)
				}
				sentUp, sentDown := n.Bytes()
				if want := int64(tc.connections * count); up && (sentUp != want || sentDown != 0) || !up && (sentDown != want || sentUp != 0) {
					t.Errorf("up %v: counted %d bytes up and %d down, want %d one way", up, sentUp, sentDown, want)
				}
				for i := range server {
					server[i].Close()
				}
			})
		}
	}
}

func TestDirectionsDoNotShareALink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := new(Net)
		n.Set(10e6, 0)
		server, peer := connect(n, 1)
		got := carry(t, []net.Conn{server[0], peer[0]}, []net.Conn{peer[0], server[0]}, 1_000_000)
		if want := 100 * time.Millisecond; got.Round(time.Microsecond) != want {
			t.Errorf("both ways at once took %v, want %v", got, want)
		}
		server[0].Close()
	})
}

func TestAHopPassesWhatComesThroughAnother(t *testing.T) {
	at := func(ms int) time.Time { return time.Unix(0, 0).Add(time.Duration(ms) * time.Millisecond) }
	for _, tc := range []struct {
		what              string
		free, from, until int // ms
		began, ends       int
	}{
		{"as fast as it comes", 0, 10, 20, 10, 20},
		{"after what was there before", 15, 10, 20, 15, 25},
		{"as slowly as it comes", 0, 10, 50, 10, 50},
		{"long after it has come", 90, 10, 20, 90, 100},
	} {
		h := hop{free: at(tc.free)}
		began, ends := h.pass(at(tc.from), at(tc.until), 1000, 100_000) // 10 ms
		if began != at(tc.began) || ends != at(tc.ends) || h.free != ends {
			t.Errorf("%s: from %v to %v, free at %v; want %v to %v", tc.what, began, ends, h.free, at(tc.began), at(tc.ends))
		}
	}
}

func TestWriteReturnsOnceTheRestFitsTheBuffer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := new(Net)
		n.Set(1e6, 0)
		server, peer := connect(n, 1)
		go func() { _, _ = io.Copy(io.Discard, peer[0]) }()
		began := time.Now()
		if _, err := server[0].Write(make([]byte, bufferBytes+20*pieceBytes)); err != nil {
			t.Fatal(err)
		}
		want := duration(20*pieceBytes, 1e6)
		if got := time.Since(began); got.Round(time.Microsecond) != want.Round(time.Microsecond) {
			t.Errorf("write returned after %v, want %v", got, want)
		}
		server[0].Close()
		peer[0].Close()
	})
}

func TestClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := new(Net)
		n.Set(1, time.Hour) // nothing arrives
		server, peer := connect(n, 2)
		var running sync.WaitGroup
		running.Go(func() {
			if _, err := server[0].Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
				t.Errorf("read: %v, want %v", err, net.ErrClosed)
			}
		})
		running.Go(func() {
			if _, err := server[0].Write(make([]byte, 2*bufferBytes)); !errors.Is(err, net.ErrClosed) {
				t.Errorf("write: %v, want %v", err, net.ErrClosed)
			}
		})
		synctest.Wait()
		server[0].Close()
		running.Wait()
		if _, err := peer[0].Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Errorf("the peer of a closed connection reads %v, want %v", err, io.EOF)
		}
		peer[1].Close()
		if _, err := server[1].Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Errorf("the end of what a peer sent is %v, want %v", err, io.EOF)
		}
		server[1].Close()
	})
}
