package ptx

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
)

// Memory is a GPU's global memory.
type Memory struct {
	areas []*area // by address
	next  uint64
}

// area is what was allocated at once.
type area struct {
	first  uint64
	data   []byte
	filled []bool // bytes that somebody has written
	marks  []mark // of the launch that is running
}

// mark tells who has accessed a byte last.
type mark struct{ writer, reader access }

// access is by whom and when: block and thread count from 1, 0 is nobody, and a reader of
// thread -1 is several of its block. A block's accesses in different epochs have a barrier
// between them.
type access struct {
	block, epoch int32
	thread       int32
}

// gap is what lies between two allocations, so that whoever goes too far is found out.
const gap = 1 << 20

// NewMemory is memory with nothing in it.
func NewMemory() *Memory { return &Memory{next: 1 << 32} }

// Alloc returns the address of so many bytes, which nobody has written, aligned to 256
// as cuMemAlloc's are.
func (m *Memory) Alloc(bytes int) uint64 {
	a := &area{first: m.next, data: make([]byte, bytes), filled: make([]bool, bytes)}
	m.areas = append(m.areas, a)
	m.next += uint64((bytes+255)/256*256) + gap
	return a.first
}

// find is the area in which so many bytes lie, and where; nil: in none.
func (m *Memory) find(address uint64, bytes int) (*area, int) {
	i, exact := slices.BinarySearchFunc(m.areas, address, func(a *area, address uint64) int {
		switch {
		case a.first < address:
			return -1
		case a.first > address:
			return 1
		}
		return 0
	})
	if !exact {
		i--
	}
	if i < 0 || address-m.areas[i].first+uint64(bytes) > uint64(len(m.areas[i].data)) {
		return nil, 0
	}
	return m.areas[i], int(address - m.areas[i].first)
}

// Write copies bytes to an address. It panics where they don't fit.
func (m *Memory) Write(address uint64, b []byte) {
	a, at := m.find(address, len(b))
	if a == nil {
		panic(fmt.Sprintf("ptx: %d bytes at %#x are not allocated", len(b), address))
	}
	copy(a.data[at:], b)
	for i := range b {
		a.filled[at+i] = true
	}
}

// Read returns a copy of bytes at an address, and whether all have been written.
func (m *Memory) Read(address uint64, bytes int) (b []byte, written bool) {
	a, at := m.find(address, bytes)
	if a == nil {
		panic(fmt.Sprintf("ptx: %d bytes at %#x are not allocated", bytes, address))
	}
	return slices.Clone(a.data[at : at+bytes]), !slices.Contains(a.filled[at:at+bytes], false)
}

// Floats allocates memory for x, and copies it there.
func (m *Memory) Floats(x []float32) uint64 {
	b := make([]byte, 0, 4*len(x))
	for _, v := range x {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
	}
	p := m.Alloc(len(b))
	m.Write(p, b)
	return p
}

// Words allocates memory for x, and copies it there.
func (m *Memory) Words(x []uint32) uint64 {
	b := make([]byte, 0, 4*len(x))
	for _, v := range x {
		b = binary.LittleEndian.AppendUint32(b, v)
	}
	p := m.Alloc(len(b))
	m.Write(p, b)
	return p
}

// ReadFloats returns n floats at an address; those that nobody has written are NaN.
func (m *Memory) ReadFloats(address uint64, n int) []float32 {
	x := make([]float32, n)
	for i := range x {
		b, written := m.Read(address+uint64(4*i), 4)
		x[i] = float32(math.NaN())
		if written {
			x[i] = math.Float32frombits(binary.LittleEndian.Uint32(b))
		}
	}
	return x
}

// begin forgets who has accessed what, before a launch.
func (m *Memory) begin() {
	for _, a := range m.areas {
		a.marks = make([]mark, len(a.data))
	}
}

// read notes that somebody reads bytes of an area, and says what is wrong with that.
func (a *area) read(at, bytes int, by access) string {
	for i := at; i < at+bytes; i++ {
		if !a.filled[i] {
			return "reads what nobody has written"
		}
		m := &a.marks[i]
		if m.writer.conflicts(by) {
			return fmt.Sprintf("reads what %s writes, without a barrier between", m.writer)
		}
		switch {
		case m.reader.block == by.block && m.reader.epoch == by.epoch && m.reader.thread != by.thread:
			m.reader.thread = -1
		case m.reader.block != 0 && m.reader.block != by.block:
			m.reader = access{-1, 0, -1} // several blocks
		default:
			m.reader = by
		}
	}
	return ""
}

// write notes that somebody writes bytes of an area, and says what is wrong with that.
func (a *area) write(at, bytes int, by access) string {
	for i := at; i < at+bytes; i++ {
		m := &a.marks[i]
		switch {
		case m.writer.conflicts(by):
			return fmt.Sprintf("writes what %s writes, without a barrier between", m.writer)
		case m.reader.conflicts(by):
			return fmt.Sprintf("writes what %s reads, without a barrier between", m.reader)
		}
		m.writer = by
		a.filled[i] = true
	}
	return ""
}

// conflicts tells whether nothing orders two accesses, of which one is a write.
func (x access) conflicts(y access) bool {
	switch {
	case x.block == 0:
		return false
	case x.block != y.block:
		return true
	}
	return x.epoch == y.epoch && x.thread != y.thread
}

func (x access) String() string {
	switch {
	case x.block < 0:
		return "other blocks"
	case x.thread < 0:
		return "other threads"
	}
	return fmt.Sprintf("thread %d of block %d", x.thread-1, x.block-1)
}
