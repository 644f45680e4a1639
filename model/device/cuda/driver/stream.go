//go:build linux && !nogpu

package driver

import (
	"fmt"
	"runtime"
	"unsafe"
)

// Stream is work that a GPU does in order, beside that of other streams.
type Stream struct {
	v      *Device
	handle uintptr
}

// NewStream makes a stream that doesn't wait for the default one.
func (v *Device) NewStream() (*Stream, error) {
	const nonBlocking = 1
	s := &Stream{v: v}
	return s, v.call("cuStreamCreate", pointer(&s.handle), nonBlocking)
}

// Close gives the stream back, once its work is done.
func (s *Stream) Close() error { return s.v.call("cuStreamDestroy_v2", s.handle) }

// Synchronize waits for all work so far; errors of it come out here, or later.
func (s *Stream) Synchronize() error { return s.v.call("cuStreamSynchronize", s.handle) }

// Upload copies memory that HostAlloc returned to the GPU.
func (s *Stream) Upload(to Pointer, from []byte) error {
	return s.v.call("cuMemcpyHtoDAsync_v2", uintptr(to), pointer(&from[0]), uintptr(len(from)), s.handle)
}

// Download is the other way.
func (s *Stream) Download(to []byte, from Pointer) error {
	return s.v.call("cuMemcpyDtoHAsync_v2", pointer(&to[0]), uintptr(from), uintptr(len(to)), s.handle)
}

// Copy copies within the GPU.
func (s *Stream) Copy(to, from Pointer, bytes int) error {
	return s.v.call("cuMemcpyDtoDAsync_v2", uintptr(to), uintptr(from), uintptr(bytes), s.handle)
}

// Fill sets words of 32 bits.
func (s *Stream) Fill(at Pointer, word uint32, words int) error {
	return s.v.call("cuMemsetD32Async", uintptr(at), uintptr(word), uintptr(words), s.handle)
}

// mostArguments is how many a kernel of ours has at most.
const mostArguments = 24

// Launch runs a kernel on blocks of threads. Arguments are Pointer, uint32, int32 or float32.
func (s *Stream) Launch(f Function, blocks, threads int, args ...any) error {
	if len(args) > mostArguments {
		return fmt.Errorf("GPU %d: a kernel of %d arguments, at most %d are possible", s.v.index, len(args), mostArguments)
	}
	values := new([mostArguments]uint64)
	at := new([mostArguments]unsafe.Pointer)
	for i, a := range args {
		switch x := a.(type) {
		case Pointer:
			values[i] = uint64(x)
		case uint32:
			values[i] = uint64(x)
		case int32:
			values[i] = uint64(uint32(x))
		case float32:
			values[i] = uint64(*(*uint32)(unsafe.Pointer(&x)))
		default:
			return fmt.Errorf("GPU %d: argument %d of a kernel is a %T", s.v.index, i, a)
		}
		at[i] = unsafe.Pointer(&values[i])
	}
	err := s.v.call("cuLaunchKernel", uintptr(f), uintptr(blocks), 1, 1, uintptr(threads), 1, 1, 0, s.handle, pointer(at), 0)
	runtime.KeepAlive(at) // and what it points to
	return err
}

// Event is a moment of a stream's work.
type Event struct {
	v      *Device
	handle uintptr
}

// NewEvent makes an event that measures no time.
func (v *Device) NewEvent() (*Event, error) {
	const disableTiming = 2
	e := &Event{v: v}
	return e, v.call("cuEventCreate", pointer(&e.handle), disableTiming)
}

// Close gives the event back.
func (e *Event) Close() error { return e.v.call("cuEventDestroy_v2", e.handle) }

// Synchronize waits until what was recorded has come to pass.
func (e *Event) Synchronize() error { return e.v.call("cuEventSynchronize", e.handle) }

// Record has the event be the moment at which all work of the stream so far is done.
func (s *Stream) Record(e *Event) error { return s.v.call("cuEventRecord", e.handle, s.handle) }

// Wait has what follows on the stream wait for an event.
func (s *Stream) Wait(e *Event) error { return s.v.call("cuStreamWaitEvent", s.handle, e.handle, 0) }

// Graph is work that was captured, to be done again and again.
type Graph struct {
	v    *Device
	exec uintptr
}

// Capture has f's work on the stream become a graph instead of being done. f must not
// allocate or synchronize.
func (s *Stream) Capture(f func() error) (*Graph, error) {
	const threadLocal = 1
	if err := s.v.call("cuStreamBeginCapture_v2", s.handle, threadLocal); err != nil {
		return nil, err
	}
	failed := f()
	var graph uintptr
	err := s.v.call("cuStreamEndCapture", s.handle, pointer(&graph)) // also after a failure, or the stream is lost
	if failed != nil {
		err = failed
	}
	if graph != 0 {
		defer func() { _ = s.v.call("cuGraphDestroy", graph) }() // what it was made into has all of it
	}
	if err != nil {
		return nil, err
	}
	g := &Graph{v: s.v}
	return g, s.v.call("cuGraphInstantiateWithFlags", pointer(&g.exec), graph, 0)
}

// Run does the work of a graph.
func (s *Stream) Run(g *Graph) error { return s.v.call("cuGraphLaunch", g.exec, s.handle) }

// Close gives the graph back.
func (g *Graph) Close() error { return g.v.call("cuGraphExecDestroy", g.exec) }
