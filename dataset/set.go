package dataset

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"sync"
)

// Sizes of a CIFAR-10 image.
const (
	Side        = 32                     // height and width
	Channels    = 3                      // red, green, blue
	PixelBytes  = Channels * Side * Side // one image
	RecordBytes = 1 + PixelBytes         // label and image in the binary format
	plane       = Side * Side            // one channel
)

// Images is a sequence of labelled images. It is read-only once made, and then
// safe for concurrent use.
type Images struct {
	Pixels []byte  // (N, 3, 32, 32)
	Labels []uint8 // (N), each below the number of classes
	Side   int     // height and width of an image: 32
}

// Len returns the number of images.
func (im *Images) Len() int { return len(im.Labels) }

// Image returns the pixels (3, 32, 32) of image i: a view, not a copy.
func (im *Images) Image(i int) []byte {
	n := Channels * im.Side * im.Side
	return im.Pixels[i*n : (i+1)*n : (i+1)*n]
}

// Set is a training and a test set of the same classes. It is read-only once
// made, and then safe for concurrent use.
type Set struct {
	Name      string  // "cifar10" or "synthetic"
	Train     *Images // what is learnt from
	Test      *Images // what is only measured on
	Classes   []string
	Source    string // the folder that it was read from, or "built in"
	Synthetic bool   // the built-in images: no result on them is one on CIFAR-10

	once        sync.Once
	fingerprint string
}

// Fingerprint returns 64 hexadecimal digits, the SHA-256 over all records in
// order, training images first. Sets of equal records have equal fingerprints,
// whichever format they were read from. The first call takes about 0.2 s for
// CIFAR-10; later ones return its result.
func (s *Set) Fingerprint() string {
	s.once.Do(func() {
		h := sha256.New()
		for _, im := range []*Images{s.Train, s.Test} {
			var head [16]byte
			binary.LittleEndian.PutUint64(head[:], uint64(im.Len()))
			binary.LittleEndian.PutUint64(head[8:], uint64(im.Side))
			h.Write(head[:])
			h.Write(im.Labels)
			h.Write(im.Pixels)
		}
		s.fingerprint = hex.EncodeToString(h.Sum(nil))
	})
	return s.fingerprint
}

// cifarClasses returns the names of CIFAR-10's labels, 0 first.
func cifarClasses() []string {
	return []string{"airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"}
}
