package dataset

import (
	"strings"
	"testing"
)

func TestCutCounts(t *testing.T) {
	for _, tc := range []struct {
		name  string
		cut   Cut
		steps int
		last  []int // counts of the last step
		all   int
	}{
		{"CIFAR-10 as the article cuts it", Cut{50000, 8, 128, 0}, 391, []int{10, 10, 10, 10, 10, 10, 10, 10}, 50000},
		{"one shard", Cut{50000, 1, 128, 0}, 391, []int{80}, 50000},
		{"even", Cut{64, 4, 16, 0}, 4, []int{4, 4, 4, 4}, 64},
		{"one image too many makes a step of one shard", Cut{65, 4, 16, 0}, 5, []int{1, 0, 0, 0}, 65},
		{"uneven shards", Cut{10, 4, 4, 0}, 3, []int{1, 1, 0, 0}, 10},
		{"a batch greater than the set", Cut{5, 2, 100, 0}, 1, []int{3, 2}, 5},
		{"a limit", Cut{50000, 8, 128, 10}, 10, []int{16, 16, 16, 16, 16, 16, 16, 16}, 1280},
		{"a limit beyond the end", Cut{10, 4, 4, 7}, 3, []int{1, 1, 0, 0}, 10},
		{"as many shards as images", Cut{3, 3, 3, 0}, 1, []int{1, 1, 1}, 3},
	} {
		if err := tc.cut.Validate(); err != nil {
			t.Errorf("%s: %v", tc.name, err)
			continue
		}
		if got := tc.cut.Steps(); got != tc.steps {
			t.Errorf("%s: Steps() = %d, want %d", tc.name, got, tc.steps)
		}
		for s, want := range tc.last {
			if got := tc.cut.Count(s, tc.steps-1); got != want {
				t.Errorf("%s: Count(%d, last) = %d, want %d", tc.name, s, got, want)
			}
		}
		if got := tc.cut.EpochImages(); got != tc.all {
			t.Errorf("%s: EpochImages() = %d, want %d", tc.name, got, tc.all)
		}
		for _, step := range []int{-1, tc.steps, tc.steps + 5} {
			if a, b := tc.cut.Count(0, step), tc.cut.Total(step); a != 0 || b != 0 {
				t.Errorf("%s: step %d outside the epoch has %d of %d images", tc.name, step, a, b)
			}
		}
	}
}

func TestCutTotalIsTheSumOfCounts(t *testing.T) {
	for images := 1; images < 40; images++ {
		for shards := 1; shards <= min(images, 9); shards++ {
			for per := 1; per < 6; per++ {
				c := Cut{Images: images, Shards: shards, Batch: per * shards}
				epoch, sizes := 0, 0
				for step := range c.Steps() {
					sum := 0
					for s := range shards {
						sum += c.Count(s, step)
					}
					if got := c.Total(step); got != sum || sum == 0 {
						t.Fatalf("%+v: Total(%d) = %d, want %d and more than 0", c, step, got, sum)
					}
					epoch += sum
				}
				for s := range shards {
					sizes += c.Size(s)
				}
				if epoch != images || sizes != images {
					t.Fatalf("%+v: %d images in steps, %d in shards, want %d", c, epoch, sizes, images)
				}
			}
		}
	}
}

func TestCutRefuses(t *testing.T) {
	for _, tc := range []struct {
		cut  Cut
		want string
	}{
		{Cut{100, 0, 8, 0}, "shards 0: must be 1 to 65536"},
		{Cut{100, -2, 8, 0}, "shards -2: must be 1 to 65536"},
		{Cut{100, 8, 0, 0}, "batch 0: must be at least 1"},
		{Cut{100, 8, -8, 0}, "batch -8: must be at least 1"},
		{Cut{100, 8, 100, 0}, "batch 100: must be divisible by the 8 shards, such as 104"},
		{Cut{100, 8, 3, 0}, "batch 3: must be divisible by the 8 shards, such as 8"},
		{Cut{100, 3, 100, 0}, "batch 100: must be divisible by the 3 shards, such as 99"},
		{Cut{7, 8, 8, 0}, "shards 8: must be at most the 7 training images"},
		{Cut{100, 8, 8, -1}, "limit -1: batches of an epoch must be at least 1, or 0 for all"},
	} {
		err := tc.cut.Validate()
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%+v: Validate() = %v, want %q", tc.cut, err, tc.want)
		}
	}
}
