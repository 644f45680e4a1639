package wire

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"slices"
	"testing"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	musterv1 "github.com/muster-train/muster/proto/muster/v1"
)

func payload(values ...float32) *Payload {
	p := NewPayload(len(values))
	copy(p.Floats(), values)
	return p
}

// requests are gradients with every field at 0, small and as large as it gets, in
// every encoding.
func requests() []Gradient {
	long := make([]float32, ChunkBytes/4)
	for i := range long {
		long[i] = float32(i)
	}
	var all []Gradient
	for _, e := range Spoken() {
		all = append(all,
			Gradient{Step: 1, First: 2, End: 4, Chunk: 3, Payload: Encode(e, sample)},
			Gradient{End: 1, Payload: Encode(e, []float32{0})},
			Gradient{Step: math.MaxUint64, First: math.MaxUint32, End: math.MaxUint32, Chunk: math.MaxUint32, Payload: Encode(e, long)},
			Gradient{Step: 300, End: 8, Chunk: 82, Payload: Encode(e, long[:33])},
			Gradient{Step: 300, End: 8, Chunk: 82, Payload: Encode(e, long[:4000])},
			Gradient{Step: 9, End: 1, Payload: Encode(e, nil)},
		)
	}
	return all
}

func (g *Gradient) message() *musterv1.ExchangeRequest {
	return &musterv1.ExchangeRequest{Message: &musterv1.ExchangeRequest_Gradient{Gradient: g.Message()}}
}

func (c *Parameters) message() *musterv1.ExchangeResponse {
	return &musterv1.ExchangeResponse{Message: &musterv1.ExchangeResponse_Parameters{Parameters: c.Message()}}
}

func marshalled(t testing.TB, v any) []byte {
	t.Helper()
	data, err := Codec{}.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	defer data.Free()
	return data.Materialize()
}

func golden(t testing.TB, m proto.Message) []byte {
	t.Helper()
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestHandWrittenBytesAreTheGeneratedOnes(t *testing.T) {
	for _, g := range requests() {
		want := golden(t, g.message())
		if got := marshalled(t, &Request{Gradient: g}); !bytes.Equal(got, want) {
			t.Errorf("gradient %+v: %x..., want %x...", g, got[:min(64, len(got))], want[:min(64, len(want))])
		}
	}
	for _, g := range requests() {
		p := Parameters{Step: g.Step, Chunk: g.Chunk, Payload: g.Payload}
		want := golden(t, p.message())
		if got := marshalled(t, &Response{Parameters: p}); !bytes.Equal(got, want) {
			t.Errorf("parameters %+v: %x..., want %x...", p, got[:min(64, len(got))], want[:min(64, len(want))])
		}
	}
	hello := &musterv1.ExchangeRequest{Message: &musterv1.ExchangeRequest_Hello{Hello: &musterv1.Hello{Session: 5}}}
	if got := marshalled(t, &Request{Message: hello}); !bytes.Equal(got, golden(t, hello)) {
		t.Errorf("hello: %x", got)
	}
	done := &musterv1.ExchangeResponse{Message: &musterv1.ExchangeResponse_Done{Done: &musterv1.Done{Success: true}}}
	if got := marshalled(t, &Response{Message: done}); !bytes.Equal(got, golden(t, done)) {
		t.Errorf("done: %x", got)
	}
	join := &musterv1.JoinRequest{Worker: "w"}
	if got := marshalled(t, join); !bytes.Equal(got, golden(t, join)) {
		t.Errorf("another message: %x", got)
	}
}

// split cuts data into frames, at first and then into pieces of a size.
func split(data []byte, first, size int) mem.BufferSlice {
	first = min(first, len(data))
	frames := mem.BufferSlice{mem.SliceBuffer(data[:first])}
	for piece := range slices.Chunk(data[first:], size) {
		frames = append(frames, mem.SliceBuffer(piece))
	}
	return frames
}

func TestMessagesComeWholeHoweverTheyAreSplit(t *testing.T) {
	for _, g := range requests() {
		data := golden(t, g.message())
		back := golden(t, (&Parameters{Step: g.Step, Chunk: g.Chunk, Payload: g.Payload}).message())
		want := decoded(t, g.Message())
		for first := 0; first < 80; first++ {
			for _, size := range []int{1, 7, 16384} {
				if size < 16384 && len(data) > 4096 {
					continue
				}
				var r Request
				if err := (Codec{}).Unmarshal(split(data, first, size), &r); err != nil {
					t.Fatalf("cut at %d, then each %d: %v", first, size, err)
				}
				got := r.Gradient
				if got.Step != g.Step || got.First != g.First || got.End != g.End || got.Chunk != g.Chunk {
					t.Fatalf("cut at %d, then each %d: %+v, want %+v", first, size, got, g)
				}
				expectIn(t, got.Payload, g.Payload.encoding, want)
				r.Free()
				var s Response
				if err := (Codec{}).Unmarshal(split(back, first, size), &s); err != nil {
					t.Fatalf("cut at %d, then each %d: %v", first, size, err)
				}
				if s.Parameters.Step != g.Step || s.Parameters.Chunk != g.Chunk {
					t.Fatalf("cut at %d, then each %d: %+v", first, size, s.Parameters)
				}
				expectIn(t, s.Parameters.Payload, g.Payload.encoding, want)
				s.Free()
			}
		}
	}
}

// decoded is the values of a chunk.
func decoded(t *testing.T, c *musterv1.GradientChunk) []float32 {
	t.Helper()
	n, ok := valuesIn(c.Encoding, len(c.Payload))
	values := make([]float32, n)
	if err := Decode(values, c); err != nil || !ok {
		t.Fatal(err)
	}
	return values
}

// expectIn is expect of what came in an encoding.
func expectIn(t *testing.T, p *Payload, e musterv1.Encoding, want []float32) {
	t.Helper()
	expect(t, p, want)
	if err := p.Check(len(want), e); err != nil {
		t.Fatal(err)
	}
	if p.Len() != PayloadBytes(e, len(want)) {
		t.Fatalf("a payload of %d bytes, sent were %d", p.Len(), PayloadBytes(e, len(want)))
	}
}

func expect(t *testing.T, p *Payload, want []float32) {
	t.Helper()
	if p == nil {
		t.Fatal("no payload")
	}
	if err := p.Check(len(want), p.came); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(bytesOf(p.Floats()), bytesOf(want)) {
		t.Fatal("other values came than were sent")
	}
}

// TestOtherMessagesComeAsTheyAre reads what isn't hot into the same types.
func TestOtherMessagesComeAsTheyAre(t *testing.T) {
	leave := &musterv1.ExchangeRequest{Message: &musterv1.ExchangeRequest_Leave{Leave: &musterv1.Leave{Reason: "bye"}}}
	r := Request{Gradient: Gradient{Step: 3, Payload: payload(1)}} // of an earlier message
	if err := (Codec{}).Unmarshal(split(golden(t, leave), 1, 1), &r); err != nil || r.Gradient.Payload != nil || !proto.Equal(r.Message, leave) {
		t.Errorf("read %+v, %v", r, err)
	}
	work := &musterv1.ExchangeResponse{Message: &musterv1.ExchangeResponse_Work{Work: &musterv1.Work{Step: 4}}}
	s := Response{Parameters: Parameters{Step: 3, Payload: payload(1)}}
	if err := (Codec{}).Unmarshal(split(golden(t, work), 1, 1), &s); err != nil || s.Parameters.Payload != nil || !proto.Equal(s.Message, work) {
		t.Errorf("read %+v, %v", s, err)
	}
	var join musterv1.JoinRequest
	if err := (Codec{}).Unmarshal(split(golden(t, &musterv1.JoinRequest{Worker: "w"}), 1, 1), &join); err != nil || join.Worker != "w" {
		t.Errorf("read %v, %v", &join, err)
	}
	if err := (Codec{}).Unmarshal(split([]byte{0xff}, 1, 1), &r); err == nil {
		t.Error("what is no message was read as one")
	}
}

// TestAnyOrderOfFieldsIsRead writes a gradient as another writer may: the
// payload first, a field twice, one that is unknown.
func TestAnyOrderOfFieldsIsRead(t *testing.T) {
	want := []float32{1, 2, 3}
	c := NewGradientChunk(7, 2, 4, 3, want)
	field := func(n protowire.Number, v uint64) []byte { return appendVarint(nil, n, v) }
	node := protowire.AppendBytes(protowire.AppendTag(nil, gradientNode, protowire.BytesType), append(field(nodeFirst, 2), field(nodeEnd, 4)...))
	sum := appendFixed32(nil, gradientChecksum, c.Checksum)
	values := protowire.AppendBytes(protowire.AppendTag(nil, fieldPayload, protowire.BytesType), c.Payload)
	for name, order := range map[string][][]byte{
		"payload first": {values, field(gradientStep, 7), node, field(gradientChunk, 3), field(gradientEncoding, 1), sum},
		"node last":     {field(gradientStep, 7), field(gradientChunk, 3), field(gradientEncoding, 1), sum, node, values},
		"step twice":    {field(gradientStep, 9), field(gradientStep, 7), node, field(gradientChunk, 3), field(gradientEncoding, 1), sum, values},
		"unknown field": {field(gradientStep, 7), node, field(gradientChunk, 3), field(gradientEncoding, 1), sum, field(9, 1), values},
	} {
		data := protowire.AppendBytes(protowire.AppendTag(nil, requestGradient, protowire.BytesType), slices.Concat(order...))
		var r Request
		if err := (Codec{}).Unmarshal(split(data, 3, 5), &r); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if g := r.Gradient; g.Step != 7 || g.First != 2 || g.End != 4 || g.Chunk != 3 {
			t.Errorf("%s: %+v", name, g)
		}
		expect(t, r.Gradient.Payload, want)
	}
}

func TestDamageIsTold(t *testing.T) {
	for name, f := range map[string]func(c *musterv1.GradientChunk){
		"flipped bit":  func(c *musterv1.GradientChunk) { c.Payload[5] ^= 4 },
		"odd":          func(c *musterv1.GradientChunk) { c.Payload = c.Payload[:7]; c.Checksum = Checksum(c.Payload) },
		"short":        func(c *musterv1.GradientChunk) { c.Payload = c.Payload[:8]; c.Checksum = Checksum(c.Payload) },
		"empty":        func(c *musterv1.GradientChunk) { c.Payload = nil; c.Checksum = 0 },
		"checksum":     func(c *musterv1.GradientChunk) { c.Checksum++ },
		"no encoding":  func(c *musterv1.GradientChunk) { c.Encoding = 0 },
		"new encoding": func(c *musterv1.GradientChunk) { c.Encoding = 99 },
		"negative":     func(c *musterv1.GradientChunk) { c.Encoding = -1 },
		"too long": func(c *musterv1.GradientChunk) {
			c.Payload = make([]byte, ChunkBytes+4)
			c.Checksum = Checksum(c.Payload)
		},
	} {
		c := NewGradientChunk(1, 0, 1, 0, slices.Clone(sample))
		f(c)
		m := &musterv1.ExchangeRequest{Message: &musterv1.ExchangeRequest_Gradient{Gradient: c}}
		var r Request
		if err := (Codec{}).Unmarshal(split(golden(t, m), 3, 16384), &r); err != nil || r.Gradient.Payload == nil {
			t.Errorf("%s: %v, want a gradient", name, err)
			continue
		}
		if err := r.Gradient.Payload.Check(len(sample), r.Gradient.Payload.came); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: Check = %v, want ErrMalformed", name, err)
		}
		r.Free()
		if r.Gradient.Payload != nil {
			t.Errorf("%s: what is freed is still held", name)
		}
	}
}

func TestPayloadsAreLentUntilSent(t *testing.T) {
	p := payload(1, 2, 3)
	data, err := Codec{}.Marshal(&Response{Parameters: Parameters{Payload: p}})
	if err != nil {
		t.Fatal(err)
	}
	data.Ref() // as a transport that may have to send it again
	data.Free()
	for range 10 {
		q := payload(9, 9, 9)
		if q == p || p.Len() != 12 || !slices.Equal(p.Floats(), []float32{1, 2, 3}) {
			t.Fatal("a payload still to be sent was given back")
		}
		defer q.Free()
	}
	data.Free()
	if q := NewPayload(3); q != p && !raceEnabled {
		t.Error("a payload that has been sent was not given back")
	}
}

// TestWhatIsSentIsNoLongerHeld keeps a message from freeing what gRPC has.
func TestWhatIsSentIsNoLongerHeld(t *testing.T) {
	r := Request{Gradient: Gradient{End: 1, Payload: payload(1)}}
	marshalled(t, &r)
	s := Response{Parameters: Parameters{Payload: payload(1)}}
	marshalled(t, &s)
	if r.Gradient.Payload != nil || s.Parameters.Payload != nil {
		t.Error("a message holds a payload that gRPC has taken over")
	}
}

// TestChunksAreSentWithoutGarbage bounds what a chunk there and back costs: the
// bytes before the payload, and two slices of buffers. A payload that is not
// given back would cost two allocations more.
func TestChunksAreSentWithoutGarbage(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector makes pools forget")
	}
	for _, e := range Spoken() {
		data := golden(t, (&Gradient{Step: 1, End: 1, Payload: Encode(e, make([]float32, ChunkBytes/4))}).message())
		frames := split(data, 16384, 16384)
		var r Request
		if n := testing.AllocsPerRun(50, func() {
			if err := (Codec{}).Unmarshal(frames, &r); err != nil {
				t.Fatal(err)
			}
			p := Encode(e, r.Gradient.Payload.Floats())
			r.Free()
			r.Gradient.Payload = p
			out, err := Codec{}.Marshal(&r)
			if err != nil {
				t.Fatal(err)
			}
			out.Free()
		}); n > 3 {
			t.Errorf("%v: %v allocations for a chunk", e, n)
		}
	}
}

// FuzzCodec feeds what a hostile peer may send, cut anywhere: the hand-written
// reader and the generated one agree on what it says.
func FuzzCodec(f *testing.F) {
	for i, g := range requests() {
		if i%6 > 2 {
			continue
		}
		m := golden(f, g.message())
		f.Add(m, uint16(3))
		f.Add(golden(f, (&Parameters{Step: g.Step, Chunk: g.Chunk, Payload: g.Payload}).message()), uint16(40))
		f.Add(m[:len(m)-1], uint16(9))
		ready := Gradient{Step: g.Step, First: g.First, End: g.End, Chunk: g.Chunk, Shared: true, Vector: 2}
		f.Add(marshalled(f, &Request{Gradient: ready}), uint16(7))
		f.Add(marshalled(f, &Response{Parameters: Parameters{Step: g.Step, Chunk: g.Chunk, Shared: true}}), uint16(7))
	}
	for _, x := range factors()[:2] {
		m := golden(f, x.message())
		f.Add(m, uint16(3))
		f.Add(m[:len(m)-1], uint16(9))
	}
	f.Fuzz(func(t *testing.T, data []byte, first uint16) {
		frames := split(data, int(first), 16)
		var r Request
		var m musterv1.ExchangeRequest
		err, want := (Codec{}).Unmarshal(frames, &r), proto.Unmarshal(data, &m)
		if (err == nil) != (want == nil) {
			t.Fatalf("request: %v, the generated code says %v", err, want)
		}
		if err == nil {
			if r.Gradient.Shared {
				g := m.GetGradient()
				want := Gradient{Step: g.GetStep(), First: g.GetNode().GetFirst(), End: g.GetNode().GetEnd(), Chunk: g.GetChunk(), Shared: true, Vector: g.GetVector()}
				if g.GetEncoding() != musterv1.Encoding_ENCODING_SHARED || r.Gradient != want {
					t.Fatalf("request: %+v, the generated code says %v", r.Gradient, g)
				}
			} else if s, w := tell(r.Gradient.Payload, r.Gradient.Step, r.Gradient.First, r.Gradient.End, r.Gradient.Chunk),
				tellChunk(m.GetGradient(), m.GetGradient().GetStep(), m.GetGradient().GetNode().GetFirst(), m.GetGradient().GetNode().GetEnd(), m.GetGradient().GetChunk()); s != w {
				t.Fatalf("request: %s, the generated code says %s", s, w)
			}
			if got, want := r.Factors, RequestOf(&m).Factors; (got.Values == nil) != (want.Values == nil) ||
				got.Values != nil && (got.Step != want.Step || got.Shard != want.Shard || got.Tensor != want.Tensor || got.Images != want.Images ||
					(got.Values.fault == nil) != (want.Values.fault == nil) || !bytes.Equal(got.Values.bytes, want.Values.bytes)) {
				t.Fatalf("request: %+v, the generated code says %+v", got, want)
			}
			r.Free()
		}
		var s Response
		var n musterv1.ExchangeResponse
		err, want = (Codec{}).Unmarshal(frames, &s), proto.Unmarshal(data, &n)
		if (err == nil) != (want == nil) {
			t.Fatalf("response: %v, the generated code says %v", err, want)
		}
		if err == nil {
			if s.Parameters.Shared {
				p := n.GetParameters()
				want := Parameters{Step: p.GetStep(), Chunk: p.GetChunk(), Shared: true}
				if p.GetEncoding() != musterv1.Encoding_ENCODING_SHARED || s.Parameters != want {
					t.Fatalf("response: %+v, the generated code says %v", s.Parameters, p)
				}
			} else if s, w := tell(s.Parameters.Payload, s.Parameters.Step, 0, 0, s.Parameters.Chunk),
				tellChunk(n.GetParameters(), n.GetParameters().GetStep(), 0, 0, n.GetParameters().GetChunk()); s != w {
				t.Fatalf("response: %s, the generated code says %s", s, w)
			}
			s.Free()
		}
	})
}

// tell describes a chunk that the codec has read.
func tell(p *Payload, step uint64, first, end, chunk uint32) string {
	if p == nil {
		return "another message"
	}
	if p.fault != nil {
		return "malformed"
	}
	return fmt.Sprint(step, first, end, chunk, bytesOf(p.Floats()))
}

// tellChunk describes what the generated code has read in the same words.
func tellChunk[C interface {
	Chunk
	comparable
}](c C, step uint64, first, end, chunk uint32) string {
	var none C
	if c == none {
		return "another message"
	}
	n, ok := valuesIn(c.GetEncoding(), len(c.GetPayload()))
	if !ok {
		return "malformed"
	}
	values := make([]float32, n)
	if Decode(values, c) != nil {
		return "malformed"
	}
	return fmt.Sprint(step, first, end, chunk, bytesOf(values))
}
