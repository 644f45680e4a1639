package dataset

import (
	"slices"
	"testing"
)

func TestPermutationHoldsEachImageOfTheShardOnce(t *testing.T) {
	for _, images := range []int{1, 2, 7, 100, 1001} {
		for _, count := range []int{1, 3, 8} {
			seen := make([]int, images)
			for index := range count {
				for _, i := range Permutation(1, 2, Shard{index, count}, images) {
					if int(i)%count != index {
						t.Fatalf("shard %d/%d of %d images holds image %d", index, count, images, i)
					}
					seen[i]++
				}
			}
			for i, n := range seen {
				if n != 1 {
					t.Fatalf("%d shards of %d images: image %d is there %d times", count, images, i, n)
				}
			}
		}
	}
}

// The numbers are part of the promise of equal bits: a change of them is a
// change of every result.
func TestPermutationNeverChanges(t *testing.T) {
	for _, tc := range []struct {
		seed  uint64
		epoch int
		shard Shard
		want  []uint32
	}{
		{1, 0, Shard{0, 1}, []uint32{8, 1, 6, 7, 3, 10, 2, 0, 4, 5, 11, 9}},
		{1, 1, Shard{0, 1}, []uint32{5, 10, 7, 9, 6, 3, 8, 11, 0, 1, 4, 2}},
		{1 << 40, 0, Shard{0, 1}, []uint32{0, 9, 3, 1, 5, 10, 6, 2, 8, 7, 4, 11}},
		{1, 0, Shard{1, 2}, []uint32{5, 9, 1, 3, 11, 7}},
	} {
		if got := Permutation(tc.seed, tc.epoch, tc.shard, 12); !slices.Equal(got, tc.want) {
			t.Errorf("Permutation(%d, %d, %v, 12) = %v, want %v", tc.seed, tc.epoch, tc.shard, got, tc.want)
		}
	}
}

func TestPermutationIsUniform(t *testing.T) {
	// Of four images each stands at each place equally often.
	var count [4][4]int
	const epochs = 8000
	for epoch := range epochs {
		for place, i := range Permutation(3, epoch, Shard{0, 1}, 4) {
			count[place][i]++
		}
	}
	for place := range count {
		for i, n := range count[place] {
			if n < epochs/4-200 || n > epochs/4+200 { // over five deviations
				t.Errorf("image %d is at place %d in %d of %d epochs, want about a quarter", i, place, n, epochs)
			}
		}
	}
}

func TestPermutationOfAnEmptyShardIsEmpty(t *testing.T) {
	if got := Permutation(1, 0, Shard{5, 8}, 5); len(got) != 0 {
		t.Errorf("shard 5/8 of 5 images = %v, want none", got)
	}
}

func TestPermuteKeepsMemory(t *testing.T) {
	buf := Permutation(1, 0, Shard{0, 2}, 100)
	epoch := 0
	if n := testing.AllocsPerRun(10, func() {
		epoch++
		buf = permute(buf, 1, epoch, Shard{1, 2}, 100)
	}); n != 0 {
		t.Errorf("permute allocates %v times, want 0", n)
	}
}
