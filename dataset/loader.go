package dataset

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"sync"
)

// Position is a step of the training: its epoch and the step within it, both
// counted from 0.
type Position struct{ Epoch, Batch int }

// Batch is what some shards give at one step, or a stretch of the test set: n
// images, those of the first shard first.
type Batch struct {
	Images []float32 // (n, 3, Side, Side)
	Labels []int32   // (n)
	Index  []uint32  // (n) numbers of the images in their set
	Counts []int     // images of each requested shard, summing to n
}

// fit makes room for n images of size values, keeping memory.
func (b *Batch) fit(n, size int) {
	b.Images = slices.Grow(b.Images[:0], n*size)[:n*size]
	b.Labels = slices.Grow(b.Labels[:0], n)[:n]
	b.Index = slices.Grow(b.Index[:0], n)[:n]
}

// request names a batch.
type request struct {
	at     Position
	shards []int
}

func (r *request) equal(at Position, shards []int) bool {
	return r.at == at && slices.Equal(r.shards, shards)
}

func (r *request) set(at Position, shards []int) {
	r.at = at
	r.shards = append(r.shards[:0], shards...)
}

// prepared is a batch with the request that it answers.
type prepared struct {
	Batch
	of    request
	valid bool
}

// order is the permutation of one shard in one epoch.
type order struct {
	epoch  int
	images []uint32 // empty: not made yet
}

// Loader prepares batches: the one that Train returns belongs to the caller,
// while the following one is made behind its back by Run. Without Run every
// batch is made when it is asked for: slower, the same bytes. After a few steps
// with the same shards nothing is allocated.
//
// Train may be called by one goroutine at a time; Test by any number, at any
// time.
type Loader struct {
	set  *Set
	cut  Cut
	tr   Transform
	seed uint64

	wake chan struct{} // one token: there is a batch to make ahead

	turn   chan struct{} // a lock that a context can give up waiting for; guards what follows
	lent   *prepared     // the caller's until its next Train
	spare  *prepared     // made ahead, or to be made
	next   request       // what Run makes into spare
	orders []order       // by shard
	crew   crew
}

// NewLoader returns a loader of set's training images cut by cut, and of its
// test images. cut and tr must be valid, and cut.Images the number of training
// images; a loader of anything else would be a fault of the program, so it
// panics.
func NewLoader(set *Set, cut Cut, tr Transform, seed uint64) *Loader {
	err := cut.Validate()
	if err == nil {
		err = tr.Validate()
	}
	if err == nil && cut.Images != set.Train.Len() {
		err = fmt.Errorf("cut of %d images of a set of %d", cut.Images, set.Train.Len())
	}
	if err != nil {
		panic("dataset: NewLoader: " + err.Error())
	}
	return &Loader{
		set: set, cut: cut, tr: tr, seed: seed,
		wake: make(chan struct{}, 1), turn: make(chan struct{}, 1),
		lent: new(prepared), spare: new(prepared),
		orders: make([]order, cut.Shards),
	}
}

// Run makes the batch after the one that Train returned last, until ctx ends;
// it then returns nil, when all that it started has ended. It may run once at a
// time.
func (l *Loader) Run(ctx context.Context) error {
	var helpers sync.WaitGroup
	defer helpers.Wait()
	tokens := make(chan struct{})
	defer close(tokens)
	n := min(runtime.GOMAXPROCS(0), 8) - 1
	for range n {
		helpers.Go(func() {
			for range tokens {
				l.crew.work(l)
				l.crew.busy.Done()
			}
		})
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-l.wake:
		}
		select {
		case <-ctx.Done():
			return nil
		case l.turn <- struct{}{}:
		}
		if !l.spare.valid || !l.spare.of.equal(l.next.at, l.next.shards) {
			l.prepare(l.spare, l.next.at, l.next.shards, tokens, n)
		}
		<-l.turn
	}
}

// Train returns the batch of some shards at a position, which stays valid until
// the next Train, and lets Run make the following one. Any position and any
// shards may be asked for at any time; what was not made ahead is made at once.
func (l *Loader) Train(ctx context.Context, at Position, shards []int) (*Batch, error) {
	if err := l.check(at, shards); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case l.turn <- struct{}{}:
	}
	defer func() { <-l.turn }()
	l.lent.valid = false
	if !l.spare.valid || !l.spare.of.equal(at, shards) {
		l.prepare(l.spare, at, shards, nil, 0)
	}
	l.lent, l.spare = l.spare, l.lent
	l.next.set(l.following(at), shards)
	select {
	case l.wake <- struct{}{}:
	default:
	}
	return &l.lent.Batch, nil
}

// check refuses positions and shards that are not there.
func (l *Loader) check(at Position, shards []int) error {
	if steps := l.cut.Steps(); at.Epoch < 0 || at.Batch < 0 || at.Batch >= steps {
		return fmt.Errorf("batch %d of epoch %d: batch must be 0 to %d, epoch at least 0", at.Batch, at.Epoch, steps-1)
	}
	for _, s := range shards {
		if s < 0 || s >= l.cut.Shards {
			return fmt.Errorf("shard %d: must be 0 to %d", s, l.cut.Shards-1)
		}
	}
	return nil
}

// following returns the position after at.
func (l *Loader) following(at Position) Position {
	if at.Batch+1 < l.cut.Steps() {
		return Position{at.Epoch, at.Batch + 1}
	}
	return Position{at.Epoch + 1, 0}
}

// prepare makes a batch into p, sharing the work with helpers that wait for
// tokens. The caller has the turn.
func (l *Loader) prepare(p *prepared, at Position, shards []int, tokens chan<- struct{}, helpers int) {
	p.valid = false
	p.Counts = p.Counts[:0]
	n := 0
	for _, s := range shards {
		count := l.cut.Count(s, at.Batch)
		p.Counts = append(p.Counts, count)
		n += count
	}
	p.fit(n, l.tr.Len())
	per, i := l.cut.Batch/l.cut.Shards, 0
	for k, s := range shards {
		first := at.Batch * per
		if count := p.Counts[k]; count > 0 {
			i += copy(p.Index[i:], l.order(s, at.Epoch)[first:first+count])
		}
	}
	for i, index := range p.Index {
		p.Labels[i] = int32(l.set.Train.Labels[index])
	}
	l.crew.share(l, &p.Batch, at.Epoch, tokens, helpers)
	p.of.set(at, shards)
	p.valid = true
}

// order returns the permutation of a shard in an epoch; it keeps the last one of
// each shard.
func (l *Loader) order(shard, epoch int) []uint32 {
	o := &l.orders[shard]
	if o.epoch != epoch || len(o.images) == 0 {
		o.images = permute(o.images, l.seed, epoch, Shard{shard, l.cut.Shards}, l.cut.Images)
		o.epoch = epoch
	}
	return o.images
}

// Test writes into dst, keeping its memory, up to n images of the slice
// {i mod shards = shard} of the test set, from its from-th image on, and returns
// how many: fewer than n at the slice's end, 0 past it.
func (l *Loader) Test(dst *Batch, shard, shards, from, n int) int {
	size := 0
	if total := l.set.Test.Len(); shard < total {
		size = (total-shard-1)/shards + 1
	}
	n = max(0, min(n, size-from))
	dst.fit(n, l.tr.Len())
	dst.Counts = append(dst.Counts[:0], n)
	values := l.tr.Len()
	for k := range n {
		i := shard + (from+k)*shards
		dst.Index[k] = uint32(i)
		dst.Labels[k] = int32(l.set.Test.Labels[i])
		l.tr.Test(dst.Images[k*values:(k+1)*values], l.set.Test.Image(i))
	}
	return n
}
