package philox

import "math/bits"

const (
	multiplier0 = 0xD2511F53
	multiplier1 = 0xCD9E8D57
	weyl0       = 0x9E3779B9
	weyl1       = 0xBB67AE85
	rounds      = 10
)

// Block returns the four words of counter under key.
func Block(key [2]uint32, counter [4]uint32) [4]uint32 {
	k0, k1 := key[0], key[1]
	c0, c1, c2, c3 := counter[0], counter[1], counter[2], counter[3]
	for range rounds {
		hi0, lo0 := bits.Mul32(multiplier0, c0)
		hi1, lo1 := bits.Mul32(multiplier1, c2)
		c0, c1, c2, c3 = hi1^c1^k0, lo1, hi0^c3^k1, lo0
		k0 += weyl0
		k1 += weyl1
	}
	return [4]uint32{c0, c1, c2, c3}
}

// Purpose keeps the random numbers of different uses apart. The low 16 bits
// are free for a number within the use, such as that of a layer or tensor.
type Purpose uint32

// The purposes. Their values are part of the promise of equal bits.
const (
	Permute   Purpose = 1 << 16 // order of a shard's images in an epoch
	Augment   Purpose = 2 << 16 // crop, flip, colour of one image in one epoch
	Dropout   Purpose = 3 << 16 // + layer: masks of one image at one step
	Init      Purpose = 4 << 16 // + tensor: initial parameters
	Synthetic Purpose = 5 << 16 // built-in images
)

// Stream reads the words of one place one after the other. The zero value is
// the stream of seed 0 and purpose 0. It is not safe for concurrent use; copy
// it or make another.
type Stream struct {
	key     [2]uint32
	counter [4]uint32
	words   [4]uint32
	left    int
}

// New returns the stream of a seed, a purpose and a place (major, minor), such
// as (step, image).
func New(seed uint64, purpose Purpose, major, minor uint32) Stream {
	return Stream{
		key:     [2]uint32{uint32(seed), uint32(seed >> 32)},
		counter: [4]uint32{0, uint32(purpose), major, minor},
	}
}

// Uint32 returns the next word.
func (s *Stream) Uint32() uint32 {
	if s.left == 0 {
		s.words = Block(s.key, s.counter)
		s.counter[0]++
		s.left = 4
	}
	s.left--
	return s.words[3-s.left]
}

// Next128 returns the four words of the next whole block; words left over from
// Uint32 are passed over.
func (s *Stream) Next128() [4]uint32 {
	s.left = 0
	w := Block(s.key, s.counter)
	s.counter[0]++
	return w
}

// Float32 returns a number in [0, 1), a multiple of 2^-24.
func (s *Stream) Float32() float32 {
	return float32(s.Uint32()>>8) * (1.0 / (1 << 24))
}

// IntN returns a number in [0, n), each as likely, for n > 0.
func (s *Stream) IntN(n int) int {
	// Lemire's method: the high word of a product, redrawn where the low word
	// falls into the part that some results would have in excess.
	bound := uint32(n)
	hi, lo := bits.Mul32(s.Uint32(), bound)
	if lo < bound {
		for threshold := -bound % bound; lo < threshold; {
			hi, lo = bits.Mul32(s.Uint32(), bound)
		}
	}
	return int(hi)
}
