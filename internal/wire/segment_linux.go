package wire

import (
	"bytes"
	"cmp"
	"crypto/rand"
	"fmt"
	"os"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	musterv1 "github.com/muster-train/muster/proto/muster/v1"
)

// The memory is a file that has no name anywhere (memfd), so nothing is left
// behind however its process ends. Seals keep its size, without which a peer
// that cut it short would kill its readers, and keep others from writing to it.
const segmentSeals = unix.F_SEAL_SEAL | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_FUTURE_WRITE

// segmentName is what /proc calls such a file.
const segmentName = "muster"

// NewSegment makes a segment of zeros. Errors wrap ErrNotShared.
func NewSegment(vectors, values int) (*Segment, error) {
	size, ok := segmentBytes(uint64(max(vectors, 0)), uint64(max(values, 0)))
	if !ok {
		return nil, fmt.Errorf("%w: %d vectors of %d values", ErrNotShared, vectors, values)
	}
	fd, err := unix.MemfdCreate(segmentName, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, fmt.Errorf("%w: memfd: %w", ErrNotShared, err)
	}
	file := os.NewFile(uintptr(fd), "muster vectors")
	s, err := fillSegment(file, size)
	if err != nil {
		file.Close()
		return nil, fmt.Errorf("%w: %w", ErrNotShared, err)
	}
	host, err := sharedHost()
	if err != nil {
		s.Close()
		return nil, fmt.Errorf("%w: %w", ErrNotShared, err)
	}
	token := s.bytes[len(segmentMagic) : len(segmentMagic)+segmentToken]
	copy(s.bytes, segmentMagic)
	_, _ = rand.Read(token) // never fails
	s.offer = &musterv1.SharedMemory{
		Host: host, Pid: uint32(os.Getpid()), Fd: uint32(fd), Token: bytes.Clone(token),
		Vectors: uint32(vectors), Values: uint64(values),
	}
	return s, nil
}

// fillSegment maps a new file and seals it.
func fillSegment(file *os.File, size int) (*Segment, error) {
	fd := int(file.Fd())
	if err := unix.Ftruncate(fd, int64(size)); err != nil {
		return nil, err
	}
	if err := unix.Fchmod(fd, 0o600); err != nil {
		return nil, err
	}
	memory, err := unix.Mmap(fd, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, err
	}
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, segmentSeals); err != nil {
		_ = unix.Munmap(memory)
		return nil, fmt.Errorf("seals: %w", err)
	}
	return newSegment(memory, func() { file.Close() }), nil
}

func newSegment(memory []byte, closed func()) *Segment {
	s := &Segment{bytes: memory, unmap: func() { _ = unix.Munmap(memory); closed() }}
	s.users.Store(1)
	return s
}

// OpenSegment maps the memory that another process offers, for reading. Errors
// wrap ErrNotShared.
func OpenSegment(o *musterv1.SharedMemory) (*Segment, error) {
	s, err := openSegment(o)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotShared, err)
	}
	return s, nil
}

func openSegment(o *musterv1.SharedMemory) (*Segment, error) {
	host, err := sharedHost()
	if err != nil {
		return nil, err
	}
	if o.GetHost() != host {
		return nil, fmt.Errorf("the other process is elsewhere: %q, not %q", o.GetHost(), host)
	}
	size, ok := segmentBytes(uint64(o.Vectors), o.Values)
	if !ok || len(o.Token) != segmentToken {
		return nil, fmt.Errorf("%d vectors of %d values, a token of %d bytes", o.Vectors, o.Values, len(o.Token))
	}
	path := fmt.Sprintf("/proc/%d/fd/%d", o.Pid, o.Fd)
	// A peer may name anything, and to open some files has effects.
	if name, err := os.Readlink(path); err != nil || name != "/memfd:"+segmentName+" (deleted)" {
		return nil, fmt.Errorf("%s is not such memory: %q, %w", path, name, cmp.Or(err, os.ErrInvalid))
	}
	file, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, err
	}
	defer file.Close() // the mapping stays
	if info, err := file.Stat(); err != nil || info.Size() != int64(size) {
		return nil, fmt.Errorf("%s: not of %d bytes", path, size)
	}
	if seals, err := unix.FcntlInt(file.Fd(), unix.F_GET_SEALS, 0); err != nil || seals&segmentSeals != segmentSeals {
		return nil, fmt.Errorf("%s: not sealed", path)
	}
	memory, err := unix.Mmap(int(file.Fd()), 0, size, unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	s := newSegment(memory, func() {})
	s.offer = o
	if string(memory[:len(segmentMagic)]) != segmentMagic || !bytes.Equal(memory[len(segmentMagic):][:segmentToken], o.Token) {
		s.Close()
		return nil, fmt.Errorf("%s: not the memory that was offered", path)
	}
	return s, nil
}

// sharedHost names the running system and the space of its process numbers.
var sharedHost = sync.OnceValues(func() (string, error) {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", err
	}
	space, err := os.Readlink("/proc/self/ns/pid")
	if err != nil {
		return "", err
	}
	return strings.TrimSpace(string(boot)) + " " + space, nil
})
