package safetensors

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math"

	"github.com/muster-train/muster/model/params"
)

// metadataKey is where the header holds what is not a tensor.
const metadataKey = "__metadata__"

// entry is what the header says of a tensor.
type entry struct {
	DType   string   `json:"dtype"`
	Shape   []int64  `json:"shape"`
	Offsets [2]int64 `json:"data_offsets"` // in bytes
}

// Write writes the tensors of a layout, in its order, and metadata.
//
//	values (layout.Size())
func Write(w io.Writer, layout *params.Layout, values []float32, metadata map[string]string) error {
	if len(values) != layout.Size() {
		return fmt.Errorf("safetensors: %d values, the layout has %d", len(values), layout.Size())
	}
	header, err := header(layout, metadata)
	if err != nil {
		return fmt.Errorf("safetensors: %w", err)
	}
	if _, err := w.Write(binary.LittleEndian.AppendUint64(nil, uint64(len(header)))); err != nil {
		return err
	}
	if _, err := w.Write(header); err != nil {
		return err
	}
	const block = 1 << 14
	var bytes [4 * block]byte
	for len(values) > 0 {
		n := min(block, len(values))
		for i, v := range values[:n] {
			binary.LittleEndian.PutUint32(bytes[4*i:], math.Float32bits(v))
		}
		if _, err := w.Write(bytes[:4*n]); err != nil {
			return err
		}
		values = values[n:]
	}
	return nil
}

// header is the JSON, with tensors in the layout's order, filled to 8 bytes.
func header(layout *params.Layout, metadata map[string]string) ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	add := func(key string, value any) error {
		k, err := json.Marshal(key)
		if err != nil {
			return err
		}
		v, err := json.Marshal(value) // maps by sorted key
		if err != nil {
			return err
		}
		if b.Len() > 1 {
			b.WriteByte(',')
		}
		b.Write(k)
		b.WriteByte(':')
		b.Write(v)
		return nil
	}
	if len(metadata) > 0 {
		if err := add(metadataKey, metadata); err != nil {
			return nil, err
		}
	}
	for _, t := range layout.Tensors() {
		if t.Name == metadataKey {
			return nil, fmt.Errorf("no tensor may be called %s", metadataKey)
		}
		e := entry{DType: "F32", Shape: []int64{}, Offsets: [2]int64{4 * int64(t.Range.First), 4 * int64(t.Range.End)}}
		for _, d := range t.Shape {
			e.Shape = append(e.Shape, int64(d))
		}
		if err := add(t.Name, e); err != nil {
			return nil, err
		}
	}
	b.WriteByte('}')
	for b.Len()%8 != 0 {
		b.WriteByte(' ')
	}
	return b.Bytes(), nil
}
