package dataset

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// ops joins the opcodes of a pickle.
func ops(parts ...string) string { return strings.Join(parts, "") }

// long is a string of Python 2 with a length of four bytes.
func long(s string) string {
	return "T" + string(binary.LittleEndian.AppendUint32(nil, uint32(len(s)))) + s
}

// int16op is the number n.
func int16op(n int) string { return "M" + string(binary.LittleEndian.AppendUint16(nil, uint16(n))) }

// The parts of a batch as Python 2 wrote CIFAR-10.
const (
	pickleHead  = "\x80\x02}q\x01("
	pickleTitle = "U\x0bbatch_labelq\x02U\x15training batch 1 of 5q\x03"
	pickleEnd   = "U\tfilenamesq\x16]q\x17(U\x05a.pngq\x18U\x05b.pngq\x19eu."
)

func pickleLabels(labels ...byte) string {
	s := "U\x06labelsq\x04]q\x05("
	for _, l := range labels {
		s += "K" + string([]byte{l})
	}
	return s + "e"
}

// pickleData is the array, with its shape in opcodes and its bytes.
func pickleData(rows, cols, pixels string) string {
	return ops("U\x04dataq\x06cnumpy.core.multiarray\n_reconstruct\nq\x07cnumpy\nndarray\nq\x08K\x00\x85q\tU\x01bq\n\x87q\x0bRq\x0c(K\x01",
		rows, cols, "\x86q\rcnumpy\ndtype\nq\x0eU\x02u1q\x0fK\x00K\x01\x87q\x10Rq\x11(K\x03U\x01|q\x12NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tq\x13b\x89",
		long(pixels), "q\x14tq\x15b")
}

// picklePython2 pickles images as Python 2 did.
func picklePython2(im *Images, title string) []byte {
	return []byte(ops(pickleHead, "U\x0bbatch_labelq\x02U", string([]byte{byte(len(title))}), title, "q\x03",
		pickleLabels(im.Labels...), pickleData(int16op(im.Len()), int16op(PixelBytes), string(im.Pixels)), pickleEnd))
}

func TestPythonReadsWhatPython2Wrote(t *testing.T) {
	want := someImages(5, 2)
	got := &Images{Side: Side}
	if err := appendPython(got, "data_batch_1", picklePython2(want, "training batch 1 of 5")); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.Pixels, want.Pixels) || !bytes.Equal(got.Labels, want.Labels) {
		t.Error("read other images than written")
	}
}

func TestPythonReadsWhatPython3Writes(t *testing.T) {
	want := someImages(2, 0) // the pixels of testdata/golden.py
	for _, name := range []string{"protocol2", "protocol3", "protocol4", "protocol5", "byteskeys"} {
		data, err := os.ReadFile(filepath.Join("testdata/python", name))
		if err != nil {
			t.Fatal(err)
		}
		got := &Images{Side: Side}
		if err := appendPython(got, name, data); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		want.Labels = []uint8{6, 9}
		for i := range want.Pixels {
			want.Pixels[i] = byte(i%PixelBytes*31 + i/PixelBytes*101)
		}
		if !bytes.Equal(got.Pixels, want.Pixels) || !bytes.Equal(got.Labels, want.Labels) {
			t.Errorf("%s: read other images than written", name)
		}
	}
}

func TestPythonRefuses(t *testing.T) {
	pixels := strings.Repeat("p", 2*PixelBytes)
	two, cols := "K\x02", int16op(PixelBytes)
	data := pickleData(two, cols, pixels)
	labels := pickleLabels(6, 9)
	for _, tc := range []struct {
		name, pickle, want string
	}{
		{"no data", ops(pickleHead, labels, pickleEnd), `expected an array "data" of N times 3072 bytes`},
		{"no labels", ops(pickleHead, data, pickleEnd), `expected a list "labels"`},
		{"labels of another kind", ops(pickleHead, "U\x06labelsK\x05", data, pickleEnd), `expected a list "labels"`},
		{"too few labels", ops(pickleHead, pickleLabels(6), data, pickleEnd), "found 1 labels and 2 images"},
		{"a label too great", ops(pickleHead, pickleLabels(6, 10), data, pickleEnd), "offset 22: expected the label of image 1, 0 to 9, found 10"},
		{"a label below zero", ops(pickleHead, "U\x06labels]J\xff\xff\xff\xffaU\x06labels](J\xff\xff\xff\xffK\x01e", data, pickleEnd), "found -1"},
		{"a label that is a string", ops(pickleHead, "U\x06labels](U\x01xK\x01e", data, pickleEnd), "expected the label of image 0, 0 to 9, found no integer"},
		{"images of another size", ops(pickleHead, labels, pickleData(two, int16op(1024), pixels[:2048]), pickleEnd), `expected an array "data" of N times 3072 bytes`},
		{"no images", ops(pickleHead, pickleLabels(), pickleData("K\x00", cols, ""), pickleEnd), "expected"},
		{"fewer bytes than the shape", ops(pickleHead, labels, pickleData(two, cols, pixels[1:]), pickleEnd), "as many bytes as its shape says"},
		{"the test batch under a training name", string(picklePython2(someImages(1, 0), "testing batch 1 of 1")), `calls itself "testing batch 1 of 1"`},
		{"bytes after the end", string(picklePython2(someImages(1, 0), "t")) + "x", "expected the end of the file after the pickle, found 1 bytes more"},
		{"an empty file", "", "offset 0: expected an opcode, found the end of the file"},
		{"a binary batch", string(binaryOf(someImages(1, 0))), "offset 0: opcode 0x00: not one that"},
	} {
		im := &Images{Side: Side}
		err := appendPython(im, "data_batch_1", []byte(tc.pickle))
		if !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), tc.want) || !strings.Contains(err.Error(), "data_batch_1: offset ") {
			t.Errorf("%s: %v, want %q", tc.name, err, tc.want)
		}
		if im.Len() != 0 || len(im.Pixels) != 0 {
			t.Errorf("%s: %d images were taken from it", tc.name, im.Len())
		}
	}
}

func TestPythonTestBatchMustNotBeTraining(t *testing.T) {
	err := appendPython(&Images{Side: Side}, "dir/test_batch", picklePython2(someImages(1, 0), "training batch 2 of 5"))
	if !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), "training batch 2 of 5") {
		t.Errorf("a training batch named test_batch: %v, want an error that quotes its title", err)
	}
}

func TestPythonTruncatedAnywhereIsRefused(t *testing.T) {
	whole := picklePython2(someImages(1, 0), "training batch 1 of 5")
	for n := range whole {
		if n > 300 && n < len(whole)-100 {
			continue // inside of the pixels
		}
		err := appendPython(&Images{Side: Side}, "f", whole[:n])
		if !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), "f: offset ") {
			t.Fatalf("the first %d of %d bytes: %v, want an error with an offset", n, len(whole), err)
		}
	}
}
