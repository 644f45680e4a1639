package wire

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/muster-train/muster/internal/kernel"
)

// Operands holds the factors of a product, on their way and at the server, in pooled
// memory: any number of float32, unlike a Payload's. It has one owner at first, who
// may Share it; the last to free it gives the memory back. Nobody writes to what is
// shared.
//
// In memory numbers are as the machine has them; the codec brings them into the
// order of the wire.
type Operands struct {
	memory []float32
	bytes  []byte // of memory
	owners atomic.Int32
	fault  error // of what was received: what is wrong with it
}

// spare is how many values there are at least behind the operands, of any value:
// kernels read whole columns.
const spare = kernel.Lanes

// leastOperands is the room of the smallest memory, so large that gRPC gives it back.
const leastOperands = 1 << 9

// operandPools hold memory for 2^i values each.
var operandPools [bits.UintSize]sync.Pool

// NewOperands returns operands of n float32, of any value.
func NewOperands(n int) *Operands { return newOperands(4 * n) }

func newOperands(bytes int) *Operands {
	class := bits.Len(uint(max(leastOperands, (bytes+3)/4+spare) - 1))
	o, ok := operandPools[class].Get().(*Operands)
	if !ok {
		o = &Operands{memory: make([]float32, 1<<class)}
	}
	o.bytes = unsafe.Slice((*byte)(unsafe.Pointer(&o.memory[0])), 4*len(o.memory))[:bytes]
	o.fault = nil
	o.owners.Store(1)
	return o
}

// Share adds n owners.
func (o *Operands) Share(n int) { o.owners.Add(int32(n)) }

// Free gives an owner's part up, and the memory back where it was the last.
func (o *Operands) Free() {
	if o.owners.Add(-1) == 0 {
		operandPools[bits.Len(uint(len(o.memory)-1))].Put(o)
	}
}

// Len is the length of the operands in bytes.
func (o *Operands) Len() int { return len(o.bytes) }

// Floats is a view of the operands. Its capacity reaches over some values behind
// them, for kernels that read whole columns.
func (o *Operands) Floats() []float32 { return o.memory[:len(o.bytes)/4] }

// Check tells whether the operands came whole and are n float32. Errors wrap
// ErrMalformed.
func (o *Operands) Check(n int) error {
	switch {
	case o.fault != nil:
		return o.fault
	case len(o.bytes) != 4*n:
		return fmt.Errorf("%w: %d bytes of factors, want %d", ErrMalformed, len(o.bytes), 4*n)
	}
	return nil
}

// swap turns numbers of the machine into those of the wire and back.
func (o *Operands) swap() {
	if littleEndian {
		return
	}
	for b := o.bytes; len(b) >= 4; b = b[4:] {
		binary.BigEndian.PutUint32(b, binary.LittleEndian.Uint32(b))
	}
}
