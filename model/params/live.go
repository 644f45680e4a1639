package params

import "fmt"

// A value of the vector is live unless its Tensor says that its gradient is
// zero whatever the data are. Contributions hold live values alone.

// stretch is a part of a chunk's live values.
type stretch struct {
	first, count int     // place in the chunk where at is nil: values that follow each other
	at           []int32 // else places in the chunk, ascending
}

func (s *stretch) live() int { return s.count + len(s.at) }

// checkZero tells whether a tensor of n values may have a pattern.
func checkZero(t *Tensor, n int) error {
	if len(t.Zero) > 0 && n%len(t.Zero) != 0 {
		return fmt.Errorf("layout: tensor %s: its %d values are not a multiple of the %d that Zero tells of", t.Name, n, len(t.Zero))
	}
	return nil
}

// chart notes the live values of every chunk.
func (l *Layout) chart() {
	l.stretches = make([][]stretch, l.Chunks())
	l.live = make([]int, l.Chunks())
	for chunk := range l.stretches {
		r := l.Chunk(chunk)
		for i := range l.tensors {
			t := &l.tensors[i]
			if part := (Range{max(r.First, t.Range.First), min(r.End, t.Range.End)}); part.Len() > 0 {
				s := t.stretch(part, r.First)
				l.stretches[chunk] = append(l.stretches[chunk], s)
				l.live[chunk] += s.live()
			}
		}
	}
}

// stretch returns the live values of a part of the tensor, in a chunk that
// begins at first.
func (t *Tensor) stretch(part Range, first int) stretch {
	if len(t.Zero) == 0 {
		return stretch{first: part.First - first, count: part.Len()}
	}
	var s stretch
	for i := part.First; i < part.End; i++ {
		if !t.Zero[(i-t.Range.First)%len(t.Zero)] {
			s.at = append(s.at, int32(i-first))
		}
	}
	return s
}

// Live returns the number of live values of a chunk, at most those it has.
func (l *Layout) Live(chunk int) int { return l.live[chunk] }

// Pack copies the live values of a chunk of v, in order, to dst, of at least
// Live(chunk) values, and returns those.
func (l *Layout) Pack(dst, v []float32, chunk int) []float32 {
	return l.PackChunk(dst, l.Chunk(chunk).Of(v), chunk)
}

// PackChunk is Pack of the values of a chunk alone.
func (l *Layout) PackChunk(dst, values []float32, chunk int) []float32 {
	if l.live[chunk] == len(values) {
		return dst[:copy(dst, values)]
	}
	n := 0
	for i := range l.stretches[chunk] {
		s := &l.stretches[chunk][i]
		n += copy(dst[n:], values[s.first:s.first+s.count])
		for _, at := range s.at {
			dst[n] = values[at]
			n++
		}
	}
	return dst[:n]
}

// Unpack returns all values of a chunk of a gradient, of which packed are the
// live ones: packed itself where all are, else laid out in dst, of at least the
// chunk's length, among zeros.
func (l *Layout) Unpack(dst, packed []float32, chunk int) []float32 {
	n := l.Chunk(chunk).Len()
	if l.live[chunk] == n {
		return packed
	}
	dst = dst[:n]
	clear(dst)
	for i := range l.stretches[chunk] {
		s := &l.stretches[chunk][i]
		packed = packed[copy(dst[s.first:s.first+s.count], packed):]
		for j, at := range s.at {
			dst[at] = packed[j]
		}
		packed = packed[len(s.at):]
	}
	return dst
}
