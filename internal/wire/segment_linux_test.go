package wire

import (
	"errors"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"

	musterv1 "github.com/muster-train/muster/proto/muster/v1"
)

// Memory whose size its owner can change would kill who reads it.
func TestMemoryThatCanShrinkIsNotMapped(t *testing.T) {
	ours := segment(t, 1, 5000)
	fd, err := unix.MemfdCreate(segmentName, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		t.Fatal(err)
	}
	file := os.NewFile(uintptr(fd), "memory")
	defer file.Close()
	if _, err := file.Write(ours.bytes); err != nil {
		t.Fatal(err)
	}
	o := proto.Clone(ours.Offer()).(*musterv1.SharedMemory)
	o.Fd = uint32(fd)
	if s, err := OpenSegment(o); !errors.Is(err, ErrNotShared) || !strings.Contains(err.Error(), "not sealed") {
		t.Errorf("OpenSegment = %v, %v, want ErrNotShared: not sealed", s, err)
	}
}
