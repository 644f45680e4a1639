package dataset

import (
	"sync"
	"sync/atomic"
)

// stretch is how many images a member of the crew takes at a time.
const stretch = 8

// crew shares the images of one batch among goroutines. Each image depends on
// its number alone, so it doesn't matter who makes it.
type crew struct {
	batch *Batch
	epoch int
	taken atomic.Int64 // images that someone has taken
	busy  sync.WaitGroup
}

// share makes a batch with the help of up to helpers goroutines that wait for
// tokens, and returns when it is whole.
func (c *crew) share(l *Loader, b *Batch, epoch int, tokens chan<- struct{}, helpers int) {
	c.batch, c.epoch = b, epoch
	c.taken.Store(0)
	for range min(helpers, (len(b.Index)-1)/stretch) {
		c.busy.Add(1)
		tokens <- struct{}{}
	}
	c.work(l)
	c.busy.Wait()
}

// work makes stretches of images until all are taken.
func (c *crew) work(l *Loader) {
	size, n := l.tr.Len(), len(c.batch.Index)
	for {
		from := int(c.taken.Add(stretch)) - stretch
		if from >= n {
			return
		}
		for i := from; i < min(from+stretch, n); i++ {
			index := c.batch.Index[i]
			l.tr.Train(c.batch.Images[i*size:(i+1)*size], l.set.Train.Image(int(index)), l.seed, c.epoch, index)
		}
	}
}
