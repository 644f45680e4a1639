package dataset

import (
	"slices"
	"sync"
	"testing"
)

// Whoever makes an image, the batch is the same; and no more helpers are woken
// than there are stretches of images for them.
func TestCrewMakesTheSameBatchWithAnyNumberOfHelpers(t *testing.T) {
	set := someSet(100, 1)
	for _, n := range []int{0, 1, stretch, stretch + 1, 3 * stretch, 100} {
		cut := Cut{Images: 100, Shards: 1, Batch: max(n, 1)}
		var want []float32
		for _, helpers := range []int{0, 1, 3, 7} {
			l := NewLoader(set, cut, someTransform, 1)
			tokens := make(chan struct{})
			var waiting sync.WaitGroup
			var mu sync.Mutex
			woken := 0
			for range helpers {
				waiting.Go(func() {
					for range tokens {
						mu.Lock()
						woken++
						mu.Unlock()
						l.crew.work(l)
						l.crew.busy.Done()
					}
				})
			}
			var b Batch
			b.fit(n, someTransform.Len())
			for i := range b.Index {
				b.Index[i] = uint32(99 - i)
			}
			l.crew.share(l, &b, 2, tokens, helpers)
			close(tokens)
			waiting.Wait()
			if want == nil {
				want = slices.Clone(b.Images)
			}
			if !slices.Equal(b.Images, want) {
				t.Errorf("%d images with %d helpers: value %d differs from that without", n, helpers, firstDifference(b.Images, want))
			}
			if most := max(0, (n-1)/stretch); woken > min(helpers, most) {
				t.Errorf("%d images: %d of %d helpers were woken, want at most %d", n, woken, helpers, most)
			}
		}
		for i := range n {
			plain := make([]float32, someTransform.Len())
			someTransform.Train(plain, set.Train.Image(99-i), 1, 2, uint32(99-i))
			if !slices.Equal(want[i*len(plain):(i+1)*len(plain)], plain) {
				t.Errorf("%d images: image %d is not the transform of its bytes", n, 99-i)
			}
		}
	}
}
