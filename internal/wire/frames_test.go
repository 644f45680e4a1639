package wire

import (
	"testing"

	"google.golang.org/grpc/mem"
)

var _ mem.BufferPool = Frames{}

func TestFramesHaveTheLengthAskedFor(t *testing.T) {
	for range 3 { // the second time from what was put back, if that is still there
		for _, n := range []int{0, 1, 100, frameBytes / 4, frameBytes/4 + 1, frameBytes - 1, frameBytes, frameBytes + 1, frameBytes * 4, ConnectionBytes / 4, ConnectionBytes/4 + 1, ConnectionBytes, ConnectionBytes + 1, ChunkBytes} {
			b := Frames{}.Get(n)
			if len(*b) != n {
				t.Fatalf("a buffer of %d bytes has %d", n, len(*b))
			}
			for i := range *b {
				(*b)[i] = 0xff
			}
			Frames{}.Put(b)
		}
	}
}

// A buffer that gRPC has cut down to what it used is whole again.
func TestFramesThatWereCutAreWholeAgain(t *testing.T) {
	for range 100 {
		b := Frames{}.Get(frameBytes)
		*b = (*b)[:3]
		Frames{}.Put(b)
		if b = (Frames{}).Get(frameBytes); len(*b) != frameBytes {
			t.Fatalf("a buffer of %d bytes has %d", frameBytes, len(*b))
		}
		Frames{}.Put(b)
	}
}

func TestFramesAreNotAllocatedAnew(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector has pools drop what is put into them")
	}
	allocated := testing.AllocsPerRun(100, func() { Frames{}.Put(Frames{}.Get(frameBytes)) })
	if allocated > 0 {
		t.Errorf("%v allocations by a frame", allocated)
	}
}
