package kernel

import (
	"math"

	"github.com/muster-train/muster/internal/philox"
)

// Normal returns a number drawn from the standard normal distribution: a pure
// function of the stream's position, which it moves on by an even number of
// words.
//
// It is Marsaglia's polar method: a point (u, v) drawn evenly from the unit
// disc, s = u^2 + v^2, gives u sqrt(-2 log(s) / s). The second number that the
// point would give is not used, so that a stream is all the state there is.
func Normal(stream *philox.Stream) float32 {
	for {
		u, v := unit(stream.Uint32()), unit(stream.Uint32())
		s := float64(u*u) + float64(v*v)
		if s < 1 {
			return float32(u * math.Sqrt(-2*log(s)/s))
		}
	}
}

// unit maps a word to the middle of one of 2^32 equal parts of [-1, 1], so
// never to 0. The result is exact.
func unit(word uint32) float64 {
	return float64(word)*0x1p-31 + (0x1p-32 - 1)
}
