package wire

import (
	"errors"
	"math"
	"slices"
	"testing"
)

func TestAStateComesAsItWas(t *testing.T) {
	parameters := []float32{1, -2, float32(math.Copysign(0, -1)), math.MaxFloat32}
	momentum := []float32{0.5, 0, 3e-39, -7}
	m := NewPartState(12, 3, parameters, momentum)
	if m.Step != 12 || m.Chunk != 3 {
		t.Errorf("step %d, chunk %d; want 12, 3", m.Step, m.Chunk)
	}
	p, v := make([]float32, 4), make([]float32, 4)
	if err := ReadPartState(p, v, m); err != nil {
		t.Fatal(err)
	}
	same := func(a, b float32) bool { return math.Float32bits(a) == math.Float32bits(b) }
	if !slices.EqualFunc(p, parameters, same) || !slices.EqualFunc(v, momentum, same) {
		t.Errorf("read %v and %v, want %v and %v", p, v, parameters, momentum)
	}
}

func TestADamagedStateChangesNothing(t *testing.T) {
	for name, damage := range map[string]func(p, v []byte) ([]byte, []byte){
		"a bit of the parameters":  func(p, v []byte) ([]byte, []byte) { p[1] ^= 4; return p, v },
		"a bit of the momentum":    func(p, v []byte) ([]byte, []byte) { v[7] ^= 128; return p, v },
		"parameters for momentum":  func(p, v []byte) ([]byte, []byte) { return v, p },
		"too few parameters":       func(p, v []byte) ([]byte, []byte) { return p[:4], v },
		"too much momentum":        func(p, v []byte) ([]byte, []byte) { return p, append(v, 0, 0, 0, 0) },
		"a torn value of momentum": func(p, v []byte) ([]byte, []byte) { return p, v[:6] },
		"nothing":                  func(p, v []byte) ([]byte, []byte) { return nil, nil },
	} {
		m := NewPartState(1, 0, []float32{1, 2}, []float32{3, 4})
		m.Parameters, m.Momentum = damage(slices.Clone(m.Parameters), slices.Clone(m.Momentum))
		p, v := []float32{9, 9}, []float32{9, 9}
		if err := ReadPartState(p, v, m); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v, want ErrMalformed", name, err)
		}
		if !slices.Equal(p, []float32{9, 9}) || !slices.Equal(v, []float32{9, 9}) {
			t.Errorf("%s: changed what was there to %v, %v", name, p, v)
		}
	}
}

func TestASumComesAsItWasOrNotAtAll(t *testing.T) {
	live := []float32{1, -2, float32(math.Copysign(0, -1))}
	m := NewFollowSum(12, 3, live)
	live[0] = 7 // it was copied
	got := make([]float32, 3)
	if err := ReadFollowSum(got, m); err != nil || m.Step != 12 || m.Chunk != 3 || got[0] != 1 || got[1] != -2 || !math.Signbit(float64(got[2])) {
		t.Errorf("%v: step %d, chunk %d, %v", err, m.Step, m.Chunk, got)
	}
	for name, damage := range map[string]func(){
		"a bit":           func() { m.Payload[2] ^= 1 },
		"too few values":  func() { m.Payload = m.Payload[:8] },
		"too many values": func() { m.Payload = append(m.Payload, 0, 0, 0, 0) },
	} {
		m = NewFollowSum(12, 3, live)
		damage()
		got = []float32{9, 9, 9}
		if err := ReadFollowSum(got, m); !errors.Is(err, ErrMalformed) || !slices.Equal(got, []float32{9, 9, 9}) {
			t.Errorf("%s: %v, %v", name, err, got)
		}
	}
}
