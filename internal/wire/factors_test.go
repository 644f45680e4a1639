package wire

import (
	"bytes"
	"errors"
	"math"
	"slices"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"

	musterv1 "github.com/muster-train/muster/proto/muster/v1"
)

func operands(values ...float32) *Operands {
	o := NewOperands(len(values))
	copy(o.Floats(), values)
	return o
}

// factors are such with every field at 0, small and as large as it gets, and with more
// values than a chunk has.
func factors() []Factors {
	long := make([]float32, ChunkBytes/4+1001)
	for i := range long {
		long[i] = float32(i) / 3
	}
	return []Factors{
		{Step: 1, Shard: 2, Tensor: 3, Images: 1, Values: operands(sample...)},
		{Values: operands(0)},
		{Step: math.MaxUint64, Shard: math.MaxUint32, Tensor: math.MaxUint32, Images: math.MaxUint32, Values: operands(long...)},
		{Step: 300, Shard: 8, Tensor: 12, Images: 16, Values: operands(long[:1023]...)},
		{Step: 9},
	}
}

func (f *Factors) message() *musterv1.ExchangeRequest {
	if f.Values == nil {
		f.Values = operands()
	}
	return &musterv1.ExchangeRequest{Message: &musterv1.ExchangeRequest_Factors{Factors: f.Message()}}
}

func TestHandWrittenFactorsAreTheGeneratedOnes(t *testing.T) {
	for _, f := range factors() {
		want := golden(t, f.message())
		r := &Request{Factors: f}
		if got := marshalled(t, r); !bytes.Equal(got, want) {
			t.Errorf("factors %+v: %x..., want %x...", f, got[:min(64, len(got))], want[:min(64, len(want))])
		}
		if r.Factors.Values != nil {
			t.Errorf("factors %+v: the message holds values that gRPC has taken over", f)
		}
	}
}

func TestFactorsComeWholeHoweverTheyAreSplit(t *testing.T) {
	for _, f := range factors() {
		data := golden(t, f.message())
		want := f.Values.Floats()
		for _, first := range []int{0, 1, 2, 5, 20, 40, 64, 65} {
			for _, size := range []int{1, 7, 16384} {
				if size < 16384 && len(data) > 8192 {
					continue
				}
				r := Request{Gradient: Gradient{Payload: payload(1)}} // of an earlier message
				if err := (Codec{}).Unmarshal(split(data, first, size), &r); err != nil {
					t.Fatalf("cut at %d, then each %d: %v", first, size, err)
				}
				got := r.Factors
				if got.Step != f.Step || got.Shard != f.Shard || got.Tensor != f.Tensor || got.Images != f.Images || r.Gradient.Payload != nil || r.Message != nil {
					t.Fatalf("cut at %d, then each %d: %+v, want %+v", first, size, r, f)
				}
				if err := got.Values.Check(len(want)); err != nil || got.Values.Len() != 4*len(want) || !bytes.Equal(bytesOf(got.Values.Floats()), bytesOf(want)) {
					t.Fatalf("cut at %d, then each %d: other values came than were sent, %v", first, size, err)
				}
				r.Free()
				if r.Factors.Values != nil {
					t.Fatal("what is freed is still held")
				}
			}
		}
	}
}

// Another client may write fields in any order.
func TestFactorsComeInAnyOrderOfFields(t *testing.T) {
	m := (&Factors{Step: 5, Shard: 1, Tensor: 4, Images: 2, Values: operands(sample...)}).message().GetFactors()
	var body []byte
	body = protowire.AppendTag(body, fieldPayload, protowire.BytesType)
	body = protowire.AppendBytes(body, m.Payload)
	m.Payload = nil
	body = append(body, golden(t, m)...)
	data := protowire.AppendBytes(protowire.AppendTag(nil, requestFactors, protowire.BytesType), body)
	var r Request
	if err := (Codec{}).Unmarshal(split(data, 3, 5), &r); err != nil {
		t.Fatal(err)
	}
	f := r.Factors
	if f.Step != 5 || f.Shard != 1 || f.Tensor != 4 || f.Images != 2 || f.Values.Check(len(sample)) != nil || !slices.Equal(f.Values.Floats(), sample) {
		t.Errorf("came as %+v", f)
	}
}

func TestDamagedFactorsAreMalformed(t *testing.T) {
	for name, change := range map[string]func(m *musterv1.Factors){
		"another checksum":         func(m *musterv1.Factors) { m.Checksum++ },
		"a bit of a value":         func(m *musterv1.Factors) { m.Payload[3] ^= 1 },
		"a value too few":          func(m *musterv1.Factors) { m.Payload = m.Payload[4:]; m.Checksum = Checksum(m.Payload) },
		"a byte too few":           func(m *musterv1.Factors) { m.Payload = m.Payload[1:]; m.Checksum = Checksum(m.Payload) },
		"no values":                func(m *musterv1.Factors) { m.Payload, m.Checksum = nil, 0 },
		"bfloat16":                 func(m *musterv1.Factors) { m.Encoding = musterv1.Encoding_ENCODING_BF16 },
		"shared memory":            func(m *musterv1.Factors) { m.Encoding = musterv1.Encoding_ENCODING_SHARED },
		"an encoding not known":    func(m *musterv1.Factors) { m.Encoding = 99 },
		"an encoding that is none": func(m *musterv1.Factors) { m.Encoding = 0 },
	} {
		m := (&Factors{Step: 5, Values: operands(sample...)}).message()
		change(m.GetFactors())
		data := golden(t, m)
		var quick Request
		if err := (Codec{}).Unmarshal(split(data, 10, 16), &quick); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for how, r := range map[string]*Request{"read by hand": &quick, "as the protocol has it": RequestOf(m)} {
			if v := r.Factors.Values; v == nil || !errors.Is(v.Check(len(sample)), ErrMalformed) {
				t.Errorf("%s, %s: came as %+v, want ErrMalformed", name, how, r.Factors)
			}
		}
	}
}

func TestOperandsAreGivenBackByTheLastOwner(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector makes pools forget")
	}
	const n = 3000 // of a size that no other test has
	again := func(want *Operands) bool {
		o := NewOperands(n)
		return o == want
	}
	o := NewOperands(n)
	if floats := o.Floats(); len(floats) != n || cap(floats) < n+spare || o.Len() != 4*n {
		t.Errorf("room for %d values, %d bytes, and %d behind: want %d, and %d behind", len(floats), o.Len(), cap(floats)-len(floats), n, spare)
	}
	o.Share(2)
	o.Free()
	o.Free()
	if again(o) {
		t.Fatal("given back while there is an owner")
	}
	o.Free()
	if !again(o) {
		t.Error("not given back")
	}

	o = NewOperands(n)
	data, err := Codec{}.Marshal(&Request{Factors: Factors{Values: o}})
	if err != nil {
		t.Fatal(err)
	}
	data.Ref() // as a transport that may have to send it again
	data.Free()
	if again(o) {
		t.Fatal("given back before it was sent")
	}
	data.Free()
	if !again(o) {
		t.Error("not given back when it was sent")
	}
}
