package chaos

import (
	"net"
	"os"
	"slices"
	"sync"
	"time"
)

// link is a way to an address, which can be cut, frozen and delayed. It is a proxy:
// whoever connects to it is connected to what is behind it.
type link struct {
	listener net.Listener
	target   string // path of a unix socket
	running  sync.WaitGroup

	mu     sync.Mutex // guards the fields below
	cuts   int        // faults that cut it; nothing can connect while there are any
	frozen int        // those that freeze it
	delays int        // those that delay it
	change chan struct{}
	pairs  []*pair // connections, oldest first
	closed bool
}

// pair is a connection through a link.
type pair struct{ near, far net.Conn }

func (p *pair) close() {
	p.near.Close()
	p.far.Close()
}

// delay is how much later everything comes on a link that is delayed.
const delay = 60 * time.Millisecond

// openLink opens a link at the path of a unix socket to another one.
func openLink(path, target string) (*link, error) {
	listener, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	l := &link{listener: listener, target: target, change: make(chan struct{})}
	l.running.Go(l.accept)
	return l, nil
}

func (l *link) accept() {
	for {
		near, err := l.listener.Accept()
		if err != nil {
			return // closed
		}
		far, err := net.Dial("unix", l.target)
		if err != nil {
			near.Close()
			continue
		}
		p := &pair{near, far}
		if !l.add(p) {
			p.close()
			continue
		}
		l.running.Go(func() { l.copy(p, near, far) })
		l.running.Go(func() { l.copy(p, far, near) })
	}
}

// add takes a connection in, unless the link is cut.
func (l *link) add(p *pair) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || l.cuts > 0 {
		return false
	}
	l.pairs = append(l.pairs, p)
	return true
}

// copy brings what is written at one end to the other, until either closes.
func (l *link) copy(p *pair, to, from net.Conn) {
	defer l.drop(p)
	buffer := make([]byte, 64<<10)
	for {
		n, err := from.Read(buffer)
		l.pass() // of an end, too, one is told by what comes over the link
		if n > 0 {
			if _, err := to.Write(buffer[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// pass waits for as long as the link holds back what is on it.
func (l *link) pass() {
	l.mu.Lock()
	for l.frozen > 0 && !l.closed {
		change := l.change
		l.mu.Unlock()
		<-change
		l.mu.Lock()
	}
	late := l.delays > 0 && !l.closed
	l.mu.Unlock()
	if late {
		time.Sleep(delay)
	}
}

// drop ends a connection.
func (l *link) drop(p *pair) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pairs = slices.DeleteFunc(l.pairs, func(other *pair) bool { return other == p })
	p.close()
}

// alter changes what holds the link back, and tells whoever waits.
func (l *link) alter(f func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f()
	close(l.change)
	l.change = make(chan struct{})
}

// cut ends all connections and lets none through, until the function it returns is called.
func (l *link) cut() (mend func()) {
	l.alter(func() {
		l.cuts++
		for _, p := range l.pairs {
			p.close()
		}
	})
	return func() { l.alter(func() { l.cuts-- }) }
}

// freeze lets nothing pass.
func (l *link) freeze() (mend func()) {
	l.alter(func() { l.frozen++ })
	return func() { l.alter(func() { l.frozen-- }) }
}

// slow delays whatever passes.
func (l *link) slow() (mend func()) {
	l.alter(func() { l.delays++ })
	return func() { l.alter(func() { l.delays-- }) }
}

// cutOne ends one of the connections; false: there is none.
func (l *link) cutOne(pick uint64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.pairs) == 0 {
		return false
	}
	l.pairs[pick%uint64(len(l.pairs))].close()
	return true
}

// close ends the link, and waits until nothing of it runs.
func (l *link) close() {
	l.alter(func() {
		l.closed = true
		for _, p := range l.pairs {
			p.close()
		}
	})
	l.listener.Close()
	l.running.Wait()
	os.Remove(l.listener.Addr().String())
}
