package bench

import (
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"sync"

	"github.com/muster-train/muster/internal/wire"
)

// raws are copies of bytes there and back, as fast as they go without Muster.
type raws struct {
	kinds   []raw
	closers []io.Closer
	echoes  sync.WaitGroup
}

// raw is one way to copy; run does it once, for all workers at the same time.
type raw struct {
	name string
	run  func() error
}

// newRaws makes TCP's, a unix socket's, and memory's.
func newRaws(workers, bytes int, dir string) (*raws, error) {
	r := &raws{}
	for _, at := range []struct{ network, address string }{{"tcp", "127.0.0.1:0"}, {"unix", filepath.Join(dir, "raw")}} {
		var all []func() error
		for range workers {
			f, err := r.connect(at.network, at.address, bytes)
			if err != nil {
				r.close()
				return nil, fmt.Errorf("raw %s: %w", at.network, err)
			}
			all = append(all, f)
		}
		r.kinds = append(r.kinds, raw{"raw " + at.network, func() error { return together(all) }})
	}
	var all []func() error
	for range workers {
		from, middle := make([]byte, bytes), make([]byte, bytes)
		all = append(all, func() error { copy(middle, from); copy(from, middle); return nil })
	}
	r.kinds = append(r.kinds, raw{"memory", func() error { return together(all) }})
	return r, nil
}

// connect opens a connection, whose other end takes in so many bytes and then
// sends as many back, from memory of its own. The function does the same at this end.
func (r *raws) connect(network, address string, bytes int) (func() error, error) {
	l, err := net.Listen(network, address)
	if err != nil {
		return nil, err
	}
	defer l.Close()
	accepted := make(chan net.Conn, 1)
	go func() {
		conn, err := l.Accept()
		if err != nil {
			conn = nil
		}
		accepted <- conn
	}()
	near, err := net.Dial(network, l.Addr().String())
	if err != nil {
		return nil, err
	}
	r.closers = append(r.closers, near)
	far := <-accepted
	if far == nil {
		return nil, errors.New("nobody answered")
	}
	r.closers = append(r.closers, far)
	r.echoes.Go(func() {
		sent, received := make([]byte, bytes), make([]byte, bytes)
		for {
			if _, err := io.ReadFull(far, received); err != nil {
				return // closed
			}
			if err := write(far, sent); err != nil {
				return
			}
		}
	})
	sent, received := make([]byte, bytes), make([]byte, bytes)
	return func() error {
		if err := write(near, sent); err != nil {
			return err
		}
		_, err := io.ReadFull(near, received)
		return err
	}, nil
}

// write writes in pieces of a chunk's length.
func write(w io.Writer, b []byte) error {
	for len(b) > 0 {
		n, err := w.Write(b[:min(len(b), wire.ChunkBytes)])
		if err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

func (r *raws) close() {
	for _, c := range r.closers {
		c.Close()
	}
	r.echoes.Wait()
}

// together runs all functions at the same time and returns their errors.
func together(all []func() error) error {
	errs := make([]error, len(all))
	var running sync.WaitGroup
	for i, f := range all {
		running.Go(func() { errs[i] = f() })
	}
	running.Wait()
	return errors.Join(errs...)
}
