package shaped

import (
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// pieceBytes is how much is given to a link at once.
	pieceBytes = 64 << 10
	// bufferBytes is how much a sender may be ahead of its links, as a socket's
	// send buffer lets it. It must last for longer than a timer may be late.
	bufferBytes = 1 << 20
	// piecesUnderWay bounds what has been sent and not arrived: 64 MiB.
	piecesUnderWay = 1024
)

// conn is the server's end of a peer's connection. Read may be called from one
// goroutine, Write from another. Close loses what is under way, as a cut link does.
type conn struct {
	net.Conn
	up, down way

	rest    []byte // of the piece that Read has begun with
	reading *piece // that piece

	once    sync.Once
	closed  chan struct{}
	running sync.WaitGroup
}

func newConn(c net.Conn, n *Net) *conn {
	closed := make(chan struct{})
	s := &conn{Conn: c, closed: closed}
	s.up = way{net: n, first: &hop{}, second: &n.up, bytes: &n.upBytes, pieces: make(chan *piece, piecesUnderWay), closed: closed}
	s.down = way{net: n, first: &n.down, second: &hop{}, bytes: &n.downBytes, pieces: make(chan *piece, piecesUnderWay), closed: closed}
	s.running.Go(s.takeIn)
	s.running.Go(s.giveOut)
	return s
}

// takeIn sends what the peer has written on its way to the server.
func (c *conn) takeIn() {
	defer close(c.up.pieces)
	for {
		p := pieces.Get().(*piece)
		n, err := c.Conn.Read(p.memory[:])
		if n > 0 {
			p.bytes = p.memory[:n]
			if !c.up.send(p) {
				return
			}
		}
		if err != nil {
			c.up.err = err // seen once the channel is closed
			return
		}
	}
}

// giveOut hands the peer what has arrived there.
func (c *conn) giveOut() {
	for {
		p, err := c.down.receive()
		if err != nil {
			return
		}
		_, err = c.Conn.Write(p.bytes)
		pieces.Put(p)
		if err != nil {
			c.Conn.Close() // Read and Write tell of it
			return
		}
	}
}

// Read waits for what has arrived from the peer.
func (c *conn) Read(b []byte) (int, error) {
	if c.reading == nil {
		p, err := c.up.receive()
		if err != nil {
			return 0, err
		}
		c.reading, c.rest = p, p.bytes
	}
	n := copy(b, c.rest)
	if c.rest = c.rest[n:]; len(c.rest) == 0 {
		pieces.Put(c.reading)
		c.reading = nil
	}
	return n, nil
}

// Write sends b to the peer, and returns once what is left of it fits into the buffer.
func (c *conn) Write(b []byte) (int, error) {
	for sent := 0; sent < len(b); {
		p := pieces.Get().(*piece)
		p.bytes = p.memory[:copy(p.memory[:], b[sent:])]
		n := len(p.bytes)
		if !c.down.send(p) {
			return sent, net.ErrClosed
		}
		sent += n
	}
	return len(b), nil
}

// Close ends the connection.
func (c *conn) Close() error {
	err := net.ErrClosed
	c.once.Do(func() {
		close(c.closed)
		err = c.Conn.Close()
		c.running.Wait()
	})
	return err
}

// piece is bytes on their way.
type piece struct {
	memory  [pieceBytes]byte
	bytes   []byte // of memory
	arrives time.Time
}

var pieces = sync.Pool{New: func() any { return new(piece) }}

// way is one direction of a connection: one goroutine sends, one receives.
type way struct {
	net           *Net
	first, second *hop
	bytes         *atomic.Int64
	pieces        chan *piece
	closed        chan struct{}
	err           error // why no more come, once pieces is closed

	buffered []departure // the sender's: what has not left its buffer, oldest first
	ahead    int         // bytes of buffered
	timers   [2]*time.Timer
}

type departure struct {
	at time.Time
	n  int
}

// send takes p over; false: the connection is closed.
func (w *way) send(p *piece) bool {
	n, now := len(p.bytes), time.Now()
	for len(w.buffered) > 0 && (w.ahead+n > bufferBytes || !w.buffered[0].at.After(now)) {
		if !w.wait(&w.timers[0], w.buffered[0].at) {
			return false
		}
		w.ahead -= w.buffered[0].n
		w.buffered = w.buffered[1:]
	}
	rate, delay := w.net.setting()
	now = time.Now()
	began, left := w.first.pass(now, now, n, rate)
	_, ends := w.second.pass(began, left, n, rate)
	w.bytes.Add(int64(n))
	if rate > 0 {
		w.buffered = append(w.buffered, departure{ends, n})
		w.ahead += n
	}
	p.arrives = ends.Add(delay)
	select {
	case w.pieces <- p:
		return true
	case <-w.closed:
		return false
	}
}

// receive returns the next piece once it has arrived.
func (w *way) receive() (*piece, error) {
	select {
	case p, ok := <-w.pieces:
		switch {
		case !ok && w.err == nil, ok && !w.wait(&w.timers[1], p.arrives):
			return nil, net.ErrClosed
		case !ok && errors.Is(w.err, io.EOF):
			return nil, io.EOF
		case !ok:
			return nil, w.err
		}
		return p, nil
	case <-w.closed:
		return nil, net.ErrClosed
	}
}

// wait returns at a time, or false when the connection is closed. Each timer is
// one goroutine's.
func (w *way) wait(timer **time.Timer, until time.Time) bool {
	d := time.Until(until)
	if d <= 0 {
		return true
	}
	if *timer == nil {
		*timer = time.NewTimer(d)
	} else {
		(*timer).Reset(d)
	}
	select {
	case <-(*timer).C:
		return true
	case <-w.closed:
		return false
	}
}
