package deploy

import (
	"io"
	"net"
	"sync"
	"testing"
)

// service stands for the Service: an address that stays, behind which the pod may
// change. Where there is none it closes what comes, as a node refuses it.
type service struct {
	listener net.Listener
	carrying sync.WaitGroup // a goroutine for each connection, and the one that accepts

	mu     sync.Mutex // guards the fields below
	target string     // the pod's address; "": none is ready
	closed bool
	open   map[net.Conn]bool
}

// newService makes one that ends with the test.
func newService(t *testing.T) *service {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &service{listener: l, open: map[net.Conn]bool{}}
	s.carrying.Go(s.accept)
	t.Cleanup(s.close)
	return s
}

// lead makes target the pod that new connections go to.
func (s *service) lead(target string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.target = target
}

// accept carries connections until the listener is closed.
func (s *service) accept() {
	for {
		from, err := s.listener.Accept()
		if err != nil {
			return
		}
		s.carrying.Go(func() { s.carry(from) })
	}
}

// carry copies both ways until one end closes.
func (s *service) carry(from net.Conn) {
	defer from.Close()
	s.mu.Lock()
	target := s.target
	s.mu.Unlock()
	if target == "" {
		return
	}
	to, err := net.Dial("tcp", target)
	if err != nil {
		return
	}
	defer to.Close()
	if !s.keep(from, to) {
		return
	}
	var both sync.WaitGroup
	for _, way := range [][2]net.Conn{{from, to}, {to, from}} {
		both.Go(func() {
			_, _ = io.Copy(way[0], way[1]) // however it ends, the connection does
			from.Close()
			to.Close()
		})
	}
	both.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, from)
	delete(s.open, to)
}

// keep notes connections to be closed in the end, unless that has come.
func (s *service) keep(connections ...net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range connections {
		s.open[c] = true
	}
	return !s.closed
}

// close ends all goroutines and waits for them.
func (s *service) close() {
	s.listener.Close()
	s.mu.Lock()
	s.closed = true
	for c := range s.open {
		c.Close()
	}
	s.mu.Unlock()
	s.carrying.Wait()
}
