package dataset

import (
	"fmt"
	"strconv"
	"strings"
)

// maxShards bounds the shards of a job: enough for any cluster, and small
// enough that a slip of the finger is noticed.
const maxShards = 1 << 16

// Shard names part Index of Count of the training set, counted from 0: the
// images i with i mod Count = Index.
type Shard struct{ Index, Count int }

// String returns the form that ParseShard reads.
func (s Shard) String() string { return fmt.Sprintf("%d/%d", s.Index, s.Count) }

// Validate tells what is wrong with s, or nil.
func (s Shard) Validate() error {
	if s.Count < 1 || s.Count > maxShards {
		return fmt.Errorf("shard %q: count must be 1 to %d", s, maxShards)
	}
	if s.Index < 0 || s.Index >= s.Count {
		if s.Count == 1 {
			return fmt.Errorf("shard %q: index must be 0, for there is one shard", s)
		}
		return fmt.Errorf("shard %q: index must be 0 to %d", s, s.Count-1)
	}
	return nil
}

// ParseShard reads "3/8", the fourth of eight shards.
func ParseShard(text string) (Shard, error) {
	index, count, ok := strings.Cut(text, "/")
	i, errIndex := parseCount(index)
	n, errCount := parseCount(count)
	if !ok || errIndex != nil || errCount != nil {
		return Shard{}, fmt.Errorf("shard %q: must be INDEX/COUNT, two whole numbers such as 3/8", text)
	}
	s := Shard{Index: i, Count: n}
	if err := s.Validate(); err != nil {
		return Shard{}, err
	}
	return s, nil
}

// parseCount reads a whole number of digits only: no sign, no space.
func parseCount(text string) (int, error) {
	n, err := strconv.ParseUint(text, 10, 31)
	return int(n), err
}
