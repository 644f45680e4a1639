package dataset

import "github.com/muster-train/muster/internal/philox"

// Permutation returns the numbers of a shard's images, of images in all, in the
// order of an epoch. It depends on its arguments alone; s must be valid.
func Permutation(seed uint64, epoch int, s Shard, images int) []uint32 {
	return permute(nil, seed, epoch, s, images)
}

// permute is Permutation into the memory of dst.
func permute(dst []uint32, seed uint64, epoch int, s Shard, images int) []uint32 {
	dst = dst[:0]
	for i := s.Index; i < images; i += s.Count {
		dst = append(dst, uint32(i))
	}
	// Fisher and Yates: each order is as likely.
	draw := philox.New(seed, philox.Permute, uint32(epoch), uint32(s.Index))
	for i := len(dst) - 1; i > 0; i-- {
		j := draw.IntN(i + 1)
		dst[i], dst[j] = dst[j], dst[i]
	}
	return dst
}
