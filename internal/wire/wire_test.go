package wire

import (
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	musterv1 "github.com/muster-train/muster/proto/muster/v1"
)

var sample = []float32{0, -1, 3.5, float32(math.Inf(1)), math.SmallestNonzeroFloat32}

func TestPayloadIsLittleEndian(t *testing.T) {
	got := bytesOf([]float32{1, -2})
	want := "\x00\x00\x80\x3f\x00\x00\x00\xc0"
	if string(got) != want {
		t.Errorf("bytesOf(1, -2) = %x, want %x", got, want)
	}
}

func TestChunksComeBackAsTheyWere(t *testing.T) {
	g := NewGradientChunk(7, 2, 4, 3, sample)
	data, err := proto.Marshal(g)
	if err != nil {
		t.Fatal(err)
	}
	var back musterv1.GradientChunk
	if err := proto.Unmarshal(data, &back); err != nil {
		t.Fatal(err)
	}
	values := make([]float32, len(sample))
	if err := Decode(values, &back); err != nil {
		t.Fatal(err)
	}
	for i := range values {
		if values[i] != sample[i] {
			t.Errorf("value %d = %v, want %v", i, values[i], sample[i])
		}
	}
	if back.Step != 7 || back.Node.First != 2 || back.Node.End != 4 || back.Chunk != 3 {
		t.Errorf("name came back as %v", &back)
	}
}

func TestDecodeRefusesDamage(t *testing.T) {
	damage := map[string]func(c *musterv1.ParametersChunk){
		"flipped bit":  func(c *musterv1.ParametersChunk) { c.Payload[5] ^= 4 },
		"short":        func(c *musterv1.ParametersChunk) { c.Payload = c.Payload[:8] },
		"odd":          func(c *musterv1.ParametersChunk) { c.Payload = c.Payload[:7] },
		"long":         func(c *musterv1.ParametersChunk) { c.Payload = append(c.Payload, 0, 0, 0, 0) },
		"empty":        func(c *musterv1.ParametersChunk) { c.Payload = nil },
		"checksum":     func(c *musterv1.ParametersChunk) { c.Checksum++ },
		"no encoding":  func(c *musterv1.ParametersChunk) { c.Encoding = 0 },
		"new encoding": func(c *musterv1.ParametersChunk) { c.Encoding = 99 },
	}
	for name, f := range damage {
		c := NewParametersChunk(1, 0, slices.Clone(sample))
		f(c)
		values := make([]float32, len(sample))
		if err := Decode(values, c); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: Decode = %v, want ErrMalformed", name, err)
		}
		for i, v := range values {
			if v != 0 {
				t.Errorf("%s: value %d was written", name, i)
			}
		}
	}
}

func TestPayloadIsAView(t *testing.T) {
	values := []float32{1, 2, 3}
	g := NewGradientChunk(0, 0, 1, 0, values)
	if n := testing.AllocsPerRun(10, func() { bytesOf(values) }); n != 0 && littleEndian {
		t.Errorf("bytesOf allocates %v times", n)
	}
	if len(g.Payload) != 12 {
		t.Errorf("payload of %d bytes, want 12", len(g.Payload))
	}
}

func job() *musterv1.JobSpec {
	return &musterv1.JobSpec{Name: "j", Network: "alexnet", Shards: 8, Batch: 128, Epochs: 2, Seed: 1, LearningRate: 0.1, Momentum: 0.9, WeightDecay: 2e-4, Schedule: "constant"}
}

func TestEveryFieldOfAJobCounts(t *testing.T) {
	seen := map[string]string{JobHash(job()): "unchanged"}
	m := job().ProtoReflect()
	for i := range m.Descriptor().Fields().Len() {
		fd := m.Descriptor().Fields().Get(i)
		changed := job()
		r := changed.ProtoReflect()
		switch v := r.Get(fd).Interface().(type) {
		case string:
			r.Set(fd, protoreflect.ValueOf(v+"x"))
		case uint32:
			r.Set(fd, protoreflect.ValueOf(v+1))
		case uint64:
			r.Set(fd, protoreflect.ValueOf(v+1))
		case float32:
			r.Set(fd, protoreflect.ValueOf(v+0.5))
		case bool:
			r.Set(fd, protoreflect.ValueOf(!v))
		default:
			t.Fatalf("field %s has a type this test doesn't know", fd.Name())
		}
		h := JobHash(changed)
		if other, taken := seen[h]; taken {
			t.Errorf("changing %s gives the hash of %s", fd.Name(), other)
		}
		seen[h] = string(fd.Name())
		if d := JobDifference(job(), changed); !strings.HasPrefix(d, strings.ReplaceAll(string(fd.Name()), "_", "-")+" is ") {
			t.Errorf("changing %s is told as %q", fd.Name(), d)
		}
	}
	if d := JobDifference(job(), job()); d != "" {
		t.Errorf("equal jobs differ: %s", d)
	}
}

// FuzzDecode feeds messages as a hostile peer would send them: Decode refuses
// or gives exactly the payload, and never panics.
func FuzzDecode(f *testing.F) {
	for _, e := range Spoken() {
		for _, n := range []int{0, 1, 5} {
			data, err := proto.Marshal((&Gradient{Step: 3, End: 2, Chunk: 1, Payload: Encode(e, sample[:n])}).Message())
			if err != nil {
				f.Fatal(err)
			}
			f.Add(data, n)
		}
	}
	f.Add([]byte{0x7a, 0xff, 0xff, 0xff, 0xff, 0x0f}, 4)
	f.Fuzz(func(t *testing.T, data []byte, n int) {
		if n < 0 || n > 1<<16 {
			return
		}
		var c musterv1.GradientChunk
		if proto.Unmarshal(data, &c) != nil {
			return
		}
		values := make([]float32, n)
		if Decode(values, &c) != nil {
			return
		}
		if len(c.Payload) != PayloadBytes(c.Encoding, n) {
			t.Errorf("%d values were decoded of %d bytes in %v", n, len(c.Payload), c.Encoding)
		}
		if c.Encoding == musterv1.Encoding_ENCODING_F32 && string(bytesOf(values)) != string(c.Payload) {
			t.Errorf("decoded values are not those of the payload")
		}
	})
}

func TestJobsThatSayNothingAreSynchronous(t *testing.T) {
	unset, sync, async := &musterv1.JobSpec{}, &musterv1.JobSpec{Sync: "sync"}, &musterv1.JobSpec{Sync: "async"}
	if JobHash(unset) != JobHash(sync) || JobDifference(unset, sync) != "" {
		t.Error("a job that says nothing is another one than with sync")
	}
	if got, want := JobDifference(unset, async), `sync is "sync" here and "async" there`; got != want {
		t.Errorf("%s; want %s", got, want)
	}
	if JobHash(unset) == JobHash(async) {
		t.Error("the hash does not know sync")
	}
}

func TestJobsThatSayNothingHaveFloat32(t *testing.T) {
	for field, with := range map[string]func(string) *musterv1.JobSpec{
		"precision": func(s string) *musterv1.JobSpec { return &musterv1.JobSpec{Precision: s} },
		"encoding":  func(s string) *musterv1.JobSpec { return &musterv1.JobSpec{Encoding: s} },
	} {
		unset, f32, bf16 := &musterv1.JobSpec{}, with("f32"), with("bf16")
		if JobHash(unset) != JobHash(f32) || JobDifference(unset, f32) != "" {
			t.Errorf("a job without %s is another one than with f32", field)
		}
		if got, want := JobDifference(unset, bf16), field+` is "f32" here and "bf16" there`; got != want {
			t.Errorf("%s; want %s", got, want)
		}
		if JobHash(unset) == JobHash(bf16) {
			t.Errorf("the hash does not know %s", field)
		}
	}
}
