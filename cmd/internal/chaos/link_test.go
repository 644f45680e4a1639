package chaos

import (
	"bytes"
	"io"
	"net"
	"path/filepath"
	"testing"
	"time"
)

// limit bounds every wait; nothing waits that long unless it is broken.
const limit = 30 * time.Second

// echoed is a link to a server that sends back what it is sent.
type echoed struct {
	*link
	t    *testing.T
	path string
}

func newEchoed(t *testing.T) *echoed {
	t.Helper()
	dir := t.TempDir()
	target, path := filepath.Join(dir, "t"), filepath.Join(dir, "l")
	listener, err := net.Listen("unix", target)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			go func() { defer c.Close(); io.Copy(c, c) }()
		}
	}()
	l, err := openLink(path, target)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.close)
	return &echoed{l, t, path}
}

func (e *echoed) dial() net.Conn {
	e.t.Helper()
	c, err := net.Dial("unix", e.path)
	if err != nil {
		e.t.Fatal(err)
	}
	e.t.Cleanup(func() { c.Close() })
	return c
}

// echo tells whether what is sent comes back within a time.
func (e *echoed) echo(c net.Conn, patience time.Duration) error {
	e.t.Helper()
	said := bytes.Repeat([]byte("muster"), 50_000) // more than one piece
	go c.Write(said)
	if err := c.SetReadDeadline(time.Now().Add(patience)); err != nil {
		e.t.Fatal(err)
	}
	heard := make([]byte, len(said))
	_, err := io.ReadFull(c, heard)
	if err == nil && !bytes.Equal(said, heard) {
		e.t.Error("what came back is not what was sent")
	}
	return err
}

func TestALinkPassesEverything(t *testing.T) {
	e := newEchoed(t)
	for range 3 {
		if err := e.echo(e.dial(), limit); err != nil {
			t.Error(err)
		}
	}
}

func TestALinkThatIsCutEndsConnectionsAndTakesNone(t *testing.T) {
	e := newEchoed(t)
	c := e.dial()
	if err := e.echo(c, limit); err != nil {
		t.Fatal(err)
	}
	first, second := e.cut(), e.cut()
	if err := e.echo(c, limit); err == nil {
		t.Error("a connection outlives the link")
	}
	first()
	if err := e.echo(e.dial(), limit); err == nil {
		t.Error("a link that is cut twice is whole once it was mended once")
	}
	second()
	if err := e.echo(e.dial(), limit); err != nil {
		t.Errorf("a link that was mended: %v", err)
	}
}

func TestOneConnectionOfALinkIsCut(t *testing.T) {
	e := newEchoed(t)
	if e.cutOne(0) {
		t.Error("a connection was cut, and there was none")
	}
	a, b := e.dial(), e.dial()
	for _, c := range []net.Conn{a, b} {
		if err := e.echo(c, limit); err != nil {
			t.Fatal(err)
		}
	}
	if !e.cutOne(3) {
		t.Error("no connection was cut")
	}
	if errA, errB := e.echo(a, limit), e.echo(b, limit); (errA == nil) == (errB == nil) {
		t.Errorf("connections ended with %v and %v, want one of them cut", errA, errB)
	}
}

func TestWhatIsOnAFrozenLinkComesOnceItThaws(t *testing.T) {
	e := newEchoed(t)
	c := e.dial()
	thaw := e.freeze()
	heard := make(chan error, 1)
	go func() { heard <- e.echo(c, limit) }()
	select {
	case err := <-heard:
		t.Fatalf("something passes a link that is frozen: %v", err)
	case <-time.After(100 * time.Millisecond):
	}
	thaw()
	if err := <-heard; err != nil {
		t.Error(err)
	}
}

// A silent partition hides deaths, too.
func TestAFrozenLinkTellsOfNoEnd(t *testing.T) {
	e := newEchoed(t)
	c := e.dial()
	if err := e.echo(c, limit); err != nil {
		t.Fatal(err)
	}
	thaw := e.freeze()
	if err := c.(*net.UnixConn).CloseWrite(); err != nil { // at which the server ends the connection
		t.Fatal(err)
	}
	heard := make(chan error, 1)
	go func() { _, err := c.Read(make([]byte, 1)); heard <- err }()
	select {
	case err := <-heard:
		t.Fatalf("an end passes a link that is frozen: %v", err)
	case <-time.After(100 * time.Millisecond):
	}
	thaw()
	if err := <-heard; err == nil {
		t.Error("the end is not told of")
	}
}

func TestADelayedLinkIsLate(t *testing.T) {
	e := newEchoed(t)
	c := e.dial()
	mend := e.slow()
	start := time.Now()
	if err := e.echo(c, limit); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(start); took < 2*delay {
		t.Errorf("there and back took %v, want %v at least", took, 2*delay)
	}
	mend()
	if e.delays != 0 {
		t.Error("the link is still delayed")
	}
}

func TestAFrozenLinkCanBeClosed(t *testing.T) {
	e := newEchoed(t)
	c := e.dial()
	e.freeze()
	if _, err := c.Write([]byte("muster")); err != nil {
		t.Fatal(err)
	}
	e.close()
	if _, err := net.Dial("unix", e.path); err == nil {
		t.Error("a closed link takes connections")
	}
}
