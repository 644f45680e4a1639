package shaped

import (
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Net is the links of a server and of its peers. Its zero value limits nothing. It
// is safe for concurrent use.
type Net struct {
	up, down           hop // the server's link, to it and from it
	upBytes, downBytes atomic.Int64

	mu    sync.Mutex // guards the fields below
	rate  float64    // bytes a second, of each link in each direction; 0: no limit
	delay time.Duration
}

// Set gives every link a rate of bytes a second, 0 for no limit, and the way from
// the server to a peer and back a delay each. It holds for what is sent from then on.
func (n *Net) Set(rate float64, delay time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.rate, n.delay = rate, delay
}

func (n *Net) setting() (rate float64, delay time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.rate, n.delay
}

// Bytes is how many have been sent to the server and by it.
func (n *Net) Bytes() (up, down int64) { return n.upBytes.Load(), n.downBytes.Load() }

// Listen puts the links in front of the listener of the server.
func (n *Net) Listen(l net.Listener) net.Listener { return &listener{l, n} }

type listener struct {
	net.Listener
	net *Net
}

// Accept returns the next peer's connection.
func (l *listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return newConn(c, l.net), nil
}
