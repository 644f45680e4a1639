//go:build !linux

package wire

import musterv1 "github.com/muster-train/muster/proto/muster/v1"

// NewSegment fails: memory without a name that others can open is Linux's.
func NewSegment(int, int) (*Segment, error) { return nil, ErrNotShared }

// OpenSegment fails as NewSegment does.
func OpenSegment(*musterv1.SharedMemory) (*Segment, error) { return nil, ErrNotShared }
