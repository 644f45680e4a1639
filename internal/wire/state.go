package wire

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"
	"slices"

	musterv1 "github.com/muster-train/muster/proto/muster/v1"
)

// NewPartState makes the message of a chunk of the server's own parameters and their
// momentum at a step. It may hold views of both, which must not change until the
// message has been sent.
func NewPartState(step uint64, chunk int, parameters, momentum []float32) *musterv1.PartState {
	m := &musterv1.PartState{Step: step, Chunk: uint32(chunk), Parameters: bytesOf(parameters), Momentum: bytesOf(momentum)}
	m.Checksum = stateChecksum(m)
	return m
}

func stateChecksum(m *musterv1.PartState) uint32 {
	return crc32.Update(Checksum(m.Parameters), castagnoli, m.Momentum)
}

// ReadPartState checks a chunk of a state and writes its values to parameters and
// momentum, whose lengths must be theirs. Errors wrap ErrMalformed; nothing is then
// changed.
func ReadPartState(parameters, momentum []float32, m *musterv1.PartState) error {
	for _, v := range []struct {
		name  string
		bytes []byte
		want  int
	}{{"parameters", m.Parameters, len(parameters)}, {"momentum", m.Momentum, len(momentum)}} {
		if len(v.bytes) != 4*v.want {
			return fmt.Errorf("%w: %d bytes of %s, want %d", ErrMalformed, len(v.bytes), v.name, 4*v.want)
		}
	}
	if got := stateChecksum(m); got != m.Checksum {
		return fmt.Errorf("%w: checksum %08x, the message says %08x", ErrMalformed, got, m.Checksum)
	}
	readFloats(parameters, m.Parameters)
	readFloats(momentum, m.Momentum)
	return nil
}

// readFloats reads little-endian float32, as many as dst has.
func readFloats(dst []float32, b []byte) {
	if littleEndian {
		copy(bytesOf(dst), b)
		return
	}
	for i := range dst {
		dst[i] = math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:]))
	}
}

// NewFollowSum makes the message of the sum of a chunk's live values at a step, which
// it copies.
func NewFollowSum(step uint64, chunk int, live []float32) *musterv1.FollowSum {
	payload := slices.Clone(bytesOf(live))
	return &musterv1.FollowSum{Step: step, Chunk: uint32(chunk), Checksum: Checksum(payload), Payload: payload}
}

// ReadFollowSum checks the sum of a chunk and writes its live values to dst, whose
// length must be theirs. Errors wrap ErrMalformed; dst is then not changed.
func ReadFollowSum(dst []float32, m *musterv1.FollowSum) error {
	if len(m.Payload) != 4*len(dst) {
		return fmt.Errorf("%w: %d bytes, want %d", ErrMalformed, len(m.Payload), 4*len(dst))
	}
	if got := Checksum(m.Payload); got != m.Checksum {
		return fmt.Errorf("%w: checksum %08x, the message says %08x", ErrMalformed, got, m.Checksum)
	}
	readFloats(dst, m.Payload)
	return nil
}
