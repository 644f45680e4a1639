package dataset

import (
	"bytes"
	"path/filepath"
	"strings"
)

// appendPython adds the images of one file in the python format to im: a pickled
// dictionary whose "data" is an array (N, 3072) of bytes, in the order of the
// binary format, and whose "labels" is a list of N integers.
func appendPython(im *Images, file string, data []byte) error {
	d, err := unpickle(file, data)
	if err != nil {
		return err
	}
	pixels, ok := d.items["data"].(*array)
	if !ok || pixels.rows < 1 || pixels.cols != PixelBytes {
		return corrupt(file, 0, `expected an array "data" of N times %d bytes in the dictionary`, PixelBytes)
	}
	labels, ok := d.items["labels"].(*list)
	if !ok {
		return corrupt(file, 0, `expected a list "labels" in the dictionary`)
	}
	if n := int64(len(labels.items)); n != pixels.rows {
		return corrupt(file, 0, "expected as many labels as images, found %d labels and %d images", n, pixels.rows)
	}
	if title, ok := d.items["batch_label"].(text); ok {
		test := strings.HasPrefix(filepath.Base(file), "test_batch")
		if test && bytes.HasPrefix(title, []byte("training")) || !test && bytes.HasPrefix(title, []byte("testing")) {
			return corrupt(file, 0, "expected the batch that the file's name says, found one that calls itself %.40q", title)
		}
	}
	numbers := make([]uint8, len(labels.items))
	for i, v := range labels.items {
		label, ok := v.(number)
		if !ok {
			return corrupt(file, 0, "expected the label of image %d, 0 to 9, found no integer", i)
		}
		if label.value < 0 || label.value > 9 {
			return corrupt(file, label.offset, "expected the label of image %d, 0 to 9, found %d", i, label.value)
		}
		numbers[i] = uint8(label.value)
	}
	im.Labels = append(im.Labels, numbers...)
	im.Pixels = append(im.Pixels, pixels.data...)
	return nil
}
