package checkpoint

import (
	"errors"
	"testing"
)

// FuzzDecode: any bytes give a state or an error of this package, and a state
// that is accepted encodes to a file of the same state.
func FuzzDecode(f *testing.F) {
	whole := encoded(f, sample(f, 3))
	f.Add(whole)
	f.Add(whole[:len(whole)-1])
	f.Add(whole[:headerBytes])
	f.Fuzz(func(t *testing.T, b []byte) { decodeAny(t, b) })
}

// FuzzSections puts any text and values under right checksums, so that what is
// behind them is reached.
func FuzzSections(f *testing.F) {
	f.Add([]byte(`{}`), []byte(`[{"name":"w","shape":[2]}]`), make([]byte, 8), make([]byte, 8))
	f.Add([]byte(`{"job":null,"step":18446744073709551615,"history":[{"top1":"NaN"}]}`), []byte(`[]`), []byte{}, []byte{})
	f.Add([]byte(`{"best":{"loss":"-Inf"}}`), []byte(`[{"name":"s","shape":[]}]`), make([]byte, 4), make([]byte, 4))
	f.Fuzz(func(t *testing.T, meta, layout, parameters, momentum []byte) {
		decodeAny(t, crafted(meta, layout, parameters, momentum))
	})
}

func decodeAny(t *testing.T, b []byte) {
	s, err := decode(b)
	if err != nil {
		if !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrVersion) {
			t.Fatalf("error of another kind: %v", err)
		}
		return
	}
	if 4*len(s.Parameters) > len(b) {
		t.Fatalf("%d values from %d bytes", len(s.Parameters), len(b))
	}
	first := encoded(t, s)
	again, err := decode(first)
	if err != nil {
		t.Fatalf("what was decoded does not encode: %v", err)
	}
	if second := encoded(t, again); string(second) != string(first) {
		t.Fatalf("encoded as %q, then as %q", first, second)
	}
}
