package dataset

import "slices"

// appendBinary adds the records of one file in the binary format to im: label,
// 1024 red, 1024 green, 1024 blue bytes, row by row. Any number of records but
// none is right.
func appendBinary(im *Images, file string, data []byte) error {
	if len(data) == 0 {
		return corrupt(file, 0, "expected records of %d bytes, found an empty file", RecordBytes)
	}
	n := len(data) / RecordBytes
	// The labels first: a wrong one tells more about what the file is than its
	// length does.
	for i := range n {
		if label := data[i*RecordBytes]; label > 9 {
			return corrupt(file, int64(i)*RecordBytes, "expected the label of record %d, 0 to 9, found %d", i, label)
		}
	}
	if rest := len(data) % RecordBytes; rest != 0 {
		return corrupt(file, int64(n)*RecordBytes, "expected the %d bytes of record %d or the end of the file, found %d bytes", RecordBytes, n, rest)
	}
	im.Labels = slices.Grow(im.Labels, n)
	im.Pixels = slices.Grow(im.Pixels, n*PixelBytes)
	for i := range n {
		record := data[i*RecordBytes : (i+1)*RecordBytes]
		im.Labels = append(im.Labels, record[0])
		im.Pixels = append(im.Pixels, record[1:]...)
	}
	return nil
}
