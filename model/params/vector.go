package params

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"math"
	"unsafe"
)

// align is the alignment of a vector in bytes: a cache line, and the widest
// vector register.
const align = 64

// NewVector returns n zero values that begin at a multiple of 64 bytes, in huge
// pages where n is large and the system has them.
func NewVector(n int) []float32 {
	const slack = align / 4
	v := make([]float32, n+slack)
	skip := 0
	for !Aligned(v[skip:]) {
		skip++
	}
	adviseHuge(v)
	return v[skip : skip+n : skip+n]
}

// Aligned tells whether v begins where the vectors that NewVector makes do.
func Aligned(v []float32) bool { return uintptr(unsafe.Pointer(unsafe.SliceData(v)))%align == 0 }

// Hash returns the SHA-256 of v as little-endian float32 in order, 64
// hexadecimal digits: what a training run prints as `parameters sha256:`.
func Hash(v []float32) string {
	h := sha256.New()
	var buf [4096]byte
	for len(v) > 0 {
		n := min(len(v), len(buf)/4)
		for i, x := range v[:n] {
			binary.LittleEndian.PutUint32(buf[4*i:], math.Float32bits(x))
		}
		h.Write(buf[:4*n])
		v = v[n:]
	}
	return hex.EncodeToString(h.Sum(nil))
}
