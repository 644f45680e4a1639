package checkpoint

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
)

// The file format; docs/checkpoint.md describes it. All integers are little-endian.
const (
	magic     = "MUSTERC\n"
	endMagic  = "MUSTERE\n"
	version   = 1
	alignment = 64 // every section begins at a multiple, so do the values in memory when mapped

	entryBytes  = 24 // name [8], offset u64, length u64
	tableOffset = 16 // after magic, version u32, count u32
	headerBytes = tableOffset + sectionCount*entryBytes + 4
	endBytes    = 24 // magic, file size u64, CRC over all CRCs u32, CRC of the 20 bytes before u32
	crcBytes    = 4

	// maxText bounds the two JSON sections, whose decoded form is larger than they are.
	maxText = 16 << 20
)

// Sections in the order of the file.
const (
	sectionMeta = iota
	sectionLayout
	sectionParameters
	sectionMomentum
	sectionCount
)

var sectionNames = [sectionCount]string{"meta", "layout", "params", "momentum"}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// table is the place of each section.
type table struct {
	offset, length [sectionCount]int64
	end            int64 // of the end marker
}

// newTable lays sections of these lengths out. The lengths alone decide all offsets.
func newTable(length [sectionCount]int64) table {
	t := table{length: length}
	at := align(headerBytes)
	for i, n := range length {
		t.offset[i] = at
		at = align(at + n + crcBytes)
	}
	t.end = at
	return t
}

// size returns the number of bytes of the file.
func (t table) size() int64 { return t.end + endBytes }

// align rounds n up to a multiple of alignment.
func align(n int64) int64 { return (n + alignment - 1) / alignment * alignment }

// header returns the first bytes of the file, its CRC included.
func (t table) header() []byte {
	b := append(make([]byte, 0, headerBytes), magic...)
	b = binary.LittleEndian.AppendUint32(b, version)
	b = binary.LittleEndian.AppendUint32(b, sectionCount)
	for i, name := range sectionNames {
		var field [8]byte
		copy(field[:], name)
		b = append(b, field[:]...)
		b = binary.LittleEndian.AppendUint64(b, uint64(t.offset[i]))
		b = binary.LittleEndian.AppendUint64(b, uint64(t.length[i]))
	}
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// marker returns the last bytes of the file, for the CRCs of the header and of
// all sections: it ties together parts that are whole each by itself.
func (t table) marker(crcs [1 + sectionCount]uint32) []byte {
	b := append(make([]byte, 0, endBytes), endMagic...)
	b = binary.LittleEndian.AppendUint64(b, uint64(t.size()))
	var all [4 * (1 + sectionCount)]byte
	for i, c := range crcs {
		binary.LittleEndian.PutUint32(all[4*i:], c)
	}
	b = binary.LittleEndian.AppendUint32(b, crc32.Checksum(all[:], castagnoli))
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// parseHeader reads a header of a file of size bytes and checks it against the
// one possible header for its lengths.
func parseHeader(b []byte, size int64) (table, error) {
	if len(b) < len(magic)+4 || string(b[:len(magic)]) != magic {
		return table{}, corrupt("header", 0, "not a Muster checkpoint: it does not begin with %q", magic)
	}
	if v := binary.LittleEndian.Uint32(b[len(magic):]); v != version && !wasVersion1(b) {
		return table{}, fmt.Errorf("%w: version %d, this program reads %d", ErrVersion, v, version)
	}
	if len(b) < headerBytes {
		return table{}, corrupt("header", int64(len(b)), "the file ends, %d bytes were expected", headerBytes)
	}
	b = b[:headerBytes]
	if got, want := crc32.Checksum(b[:headerBytes-crcBytes], castagnoli), binary.LittleEndian.Uint32(b[headerBytes-crcBytes:]); got != want {
		return table{}, corrupt("header", 0, "CRC-32C is %08x, %08x was expected", got, want)
	}
	var length [sectionCount]int64
	for i := range length {
		n := binary.LittleEndian.Uint64(b[tableOffset+i*entryBytes+16:])
		if n > uint64(size) {
			return table{}, corrupt(sectionNames[i], 0, "%d bytes in a file of %d: it was cut, or never written out", n, size)
		}
		length[i] = int64(n)
	}
	t := newTable(length)
	if string(t.header()) != string(b) {
		return table{}, corrupt("header", tableOffset, "names or offsets of sections are not those of format version %d", version)
	}
	if t.size() != size {
		name := "end"
		for i := sectionCount - 1; i >= 0; i-- {
			if size < t.offset[i]+length[i]+crcBytes {
				name = sectionNames[i]
			}
		}
		return table{}, corrupt(name, min(size, t.size()), "the file has %d bytes, %d were expected", size, t.size())
	}
	for _, i := range []int{sectionMeta, sectionLayout} {
		if length[i] > maxText {
			return table{}, corrupt(sectionNames[i], t.offset[i], "%d bytes of text, at most %d are allowed", length[i], maxText)
		}
	}
	if length[sectionParameters] != length[sectionMomentum] {
		return table{}, corrupt("momentum", t.offset[sectionMomentum], "%d bytes beside %d of parameters", length[sectionMomentum], length[sectionParameters])
	}
	return t, nil
}

// wasVersion1 tells whether b is the header of a version 1 file but for a
// damaged version field: then its checksum is right for version 1.
func wasVersion1(b []byte) bool {
	if len(b) < headerBytes {
		return false
	}
	repaired := append([]byte(nil), b[:headerBytes]...)
	binary.LittleEndian.PutUint32(repaired[len(magic):], version)
	return crc32.Checksum(repaired[:headerBytes-crcBytes], castagnoli) == binary.LittleEndian.Uint32(repaired[headerBytes-crcBytes:])
}

// corrupt returns an error that wraps ErrCorrupt and says where.
func corrupt(section string, offset int64, format string, args ...any) error {
	return fmt.Errorf("%w: section %s, offset %d: %s", ErrCorrupt, section, offset, fmt.Sprintf(format, args...))
}
