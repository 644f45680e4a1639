package dataset

import (
	"fmt"
	"os"
	"testing"
)

// someImages returns n images whose pixels and labels depend on salt.
func someImages(n, salt int) *Images {
	im := &Images{Pixels: make([]byte, n*PixelBytes), Labels: make([]uint8, n), Side: Side}
	for i := range im.Pixels {
		im.Pixels[i] = byte(i*31 + i/PixelBytes*101 + salt)
	}
	for i := range im.Labels {
		im.Labels[i] = uint8((i*7 + salt) % 10)
	}
	return im
}

// someSet returns a set of train and test images.
func someSet(train, test int) *Set {
	return &Set{Name: "some", Train: someImages(train, 0), Test: someImages(test, 5), Classes: cifarClasses()}
}

func TestFingerprintTellsRecordsApart(t *testing.T) {
	want := someSet(7, 3).Fingerprint()
	if len(want) != 64 {
		t.Fatalf("fingerprint %q, want 64 digits", want)
	}
	seen := map[string]string{want: "the first"}
	for _, tc := range []struct {
		name   string
		change func(s *Set)
	}{
		{"a training pixel", func(s *Set) { s.Train.Pixels[4000]++ }},
		{"a training label", func(s *Set) { s.Train.Labels[6]++ }},
		{"a test pixel", func(s *Set) { s.Test.Pixels[0]++ }},
		{"a test label", func(s *Set) { s.Test.Labels[0]++ }},
		{"an image moved to the test set", func(s *Set) { s.Train, s.Test = someImages(6, 0), someImages(4, 5) }},
		{"train and test exchanged", func(s *Set) { s.Train, s.Test = s.Test, s.Train }},
	} {
		s := someSet(7, 3)
		tc.change(s)
		got := s.Fingerprint()
		if other, ok := seen[got]; ok {
			t.Errorf("%s: fingerprint equals that of %s", tc.name, other)
		}
		seen[got] = tc.name
	}
	renamed := someSet(7, 3)
	renamed.Name, renamed.Source = "other", "/elsewhere"
	if got := renamed.Fingerprint(); got != want {
		t.Errorf("fingerprint of equal records under another name = %s, want %s", got, want)
	}
	again := someSet(7, 3)
	for call := range 2 {
		if got := again.Fingerprint(); got != want {
			t.Errorf("call %d: fingerprint of an equal set = %s, want %s", call, got, want)
		}
	}
}

func TestImageIsAView(t *testing.T) {
	im := someImages(3, 0)
	im.Image(1)[0] = 77
	if im.Pixels[PixelBytes] != 77 {
		t.Error("Image(1) does not lie in Pixels")
	}
	if n, c := len(im.Image(2)), cap(im.Image(1)); n != PixelBytes || c != PixelBytes {
		t.Errorf("length and capacity of an image = %d, %d, want %d", n, c, PixelBytes)
	}
}

// realCIFAR10 returns CIFAR-10 from MUSTER_DATA, or skips the test.
func realCIFAR10(t *testing.T) *Set {
	t.Helper()
	dir := os.Getenv("MUSTER_DATA")
	if dir == "" {
		t.Skip(t.Name() + " needs CIFAR-10 in $MUSTER_DATA")
	}
	if _, _, err := find(dir); err != nil {
		t.Skip(t.Name() + " needs CIFAR-10 in $MUSTER_DATA: " + err.Error())
	}
	s, err := openDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestRealCIFAR10HasTheKnownShape(t *testing.T) {
	s := realCIFAR10(t)
	if s.Train.Len() != 50000 || s.Test.Len() != 10000 {
		t.Fatalf("%d training and %d test images, want 50000 and 10000", s.Train.Len(), s.Test.Len())
	}
	for _, im := range []*Images{s.Train, s.Test} {
		if len(im.Pixels) != im.Len()*PixelBytes {
			t.Errorf("%d bytes of pixels for %d images", len(im.Pixels), im.Len())
		}
		var count [10]int
		for _, l := range im.Labels {
			count[l]++
		}
		for class, n := range count {
			if n != im.Len()/10 {
				t.Errorf("%d of %d images are of class %d (%s), want a tenth", n, im.Len(), class, s.Classes[class])
			}
		}
	}
}

func ExampleShard() {
	s, err := ParseShard("3/8")
	fmt.Println(s.Index, s.Count, err)
	_, err = ParseShard("8/8")
	fmt.Println(err)
	// Output:
	// 3 8 <nil>
	// shard "8/8": index must be 0 to 7
}
