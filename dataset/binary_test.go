package dataset

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

// binaryOf returns the images in the binary format.
func binaryOf(im *Images) []byte {
	var out []byte
	for i, label := range im.Labels {
		out = append(append(out, label), im.Image(i)...)
	}
	return out
}

func TestBinaryReadsAnyNumberOfRecords(t *testing.T) {
	for _, n := range []int{1, 2, 7} {
		want := someImages(n, n)
		got := &Images{Side: Side}
		if err := appendBinary(got, "f", binaryOf(want)); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got.Pixels, want.Pixels) || !bytes.Equal(got.Labels, want.Labels) {
			t.Errorf("%d records: read others than written", n)
		}
		if err := appendBinary(got, "f", binaryOf(want)); err != nil || got.Len() != 2*n {
			t.Errorf("a second file of %d records: %d images, %v", n, got.Len(), err)
		}
	}
}

func TestBinaryRefuses(t *testing.T) {
	whole := binaryOf(someImages(3, 0))
	mislabelled := bytes.Clone(whole)
	mislabelled[2*RecordBytes] = 10
	for _, tc := range []struct {
		name string
		data []byte
		want string
	}{
		{"an empty file", nil, "f.bin: offset 0: expected records of 3073 bytes, found an empty file"},
		{"a truncated record", whole[:2*RecordBytes+100], "f.bin: offset 6146: expected the 3073 bytes of record 2 or the end of the file, found 100 bytes"},
		{"less than a record", whole[:3072], "f.bin: offset 0: expected the 3073 bytes of record 0 or the end of the file, found 3072 bytes"},
		{"a byte too many", append(bytes.Clone(whole), 0), "f.bin: offset 9219: expected the 3073 bytes of record 3 or the end of the file, found 1 bytes"},
		{"a label too great", mislabelled, "f.bin: offset 6146: expected the label of record 2, 0 to 9, found 10"},
		{"another kind of file", []byte(strings.Repeat("\x1f\x8b\x08", RecordBytes)), "f.bin: offset 0: expected the label of record 0, 0 to 9, found 31"},
	} {
		im := &Images{Side: Side}
		err := appendBinary(im, "f.bin", tc.data)
		if !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q", tc.name, err, tc.want)
		}
		if im.Len() != 0 || len(im.Pixels) != 0 {
			t.Errorf("%s: %d images were taken from it", tc.name, im.Len())
		}
	}
}

func FuzzBinary(f *testing.F) {
	f.Add(binaryOf(someImages(1, 0)))
	f.Add(binaryOf(someImages(2, 1)))
	f.Fuzz(func(t *testing.T, data []byte) {
		im := &Images{Side: Side}
		if err := appendBinary(im, "f", data); err != nil {
			if !errors.Is(err, ErrCorrupt) || im.Len() != 0 {
				t.Fatalf("%d images and %v", im.Len(), err)
			}
			return
		}
		if !bytes.Equal(binaryOf(im), data) {
			t.Fatal("the images written back are not the file")
		}
	})
}
