package dataset

import "fmt"

// Cut says which training images each step takes. Shard s holds the images i
// with i mod Shards = s; at each step it gives Batch/Shards of them, in the
// order of its epoch's permutation, and at its last step what is left. Shards
// differ by at most one image in size, so the last steps of an epoch may be
// short and some shards may give nothing.
type Cut struct {
	Images int // images of the training set, at least Shards
	Shards int // shards of the job, at least 1
	Batch  int // images of a full step over all shards, a multiple of Shards
	Limit  int // steps of an epoch at most; 0: all
}

// Validate tells what is wrong with c, or nil.
func (c Cut) Validate() error {
	switch {
	case c.Shards < 1 || c.Shards > maxShards:
		return fmt.Errorf("shards %d: must be 1 to %d", c.Shards, maxShards)
	case c.Batch < 1:
		return fmt.Errorf("batch %d: must be at least 1", c.Batch)
	case c.Batch%c.Shards != 0:
		return fmt.Errorf("batch %d: must be divisible by the %d shards, such as %d", c.Batch, c.Shards, nearestMultiple(c.Batch, c.Shards))
	case c.Images < c.Shards:
		return fmt.Errorf("shards %d: must be at most the %d training images", c.Shards, c.Images)
	case c.Limit < 0:
		return fmt.Errorf("limit %d: batches of an epoch must be at least 1, or 0 for all", c.Limit)
	}
	return nil
}

// nearestMultiple returns the positive multiple of m nearest to n.
func nearestMultiple(n, m int) int {
	return max(1, (n+m/2)/m) * m
}

// Steps returns the steps of an epoch.
func (c Cut) Steps() int {
	per := c.Batch / c.Shards
	steps := (c.Size(0) + per - 1) / per
	if c.Limit > 0 {
		steps = min(steps, c.Limit)
	}
	return steps
}

// Size returns the images that a shard holds.
func (c Cut) Size(shard int) int {
	return (c.Images - shard + c.Shards - 1) / c.Shards
}

// Count returns the images that a shard gives at a step of the epoch, counted
// from 0: Batch/Shards, fewer at the end, perhaps none; none past the last
// step.
func (c Cut) Count(shard, step int) int {
	if step < 0 || step >= c.Steps() {
		return 0
	}
	per := c.Batch / c.Shards
	return min(max(c.Size(shard)-step*per, 0), per)
}

// Total returns the images of all shards at a step of the epoch.
func (c Cut) Total(step int) int {
	if step < 0 || step >= c.Steps() {
		return 0
	}
	// The first rest shards hold one image more than the others.
	per, rest := c.Batch/c.Shards, c.Images%c.Shards
	small := min(max(c.Images/c.Shards-step*per, 0), per)
	large := min(max(c.Images/c.Shards+1-step*per, 0), per)
	return rest*large + (c.Shards-rest)*small
}

// EpochImages returns the images of one epoch: all, unless Limit cuts it short.
func (c Cut) EpochImages() int {
	n := 0
	for step := range c.Steps() {
		n += c.Total(step)
	}
	return n
}
