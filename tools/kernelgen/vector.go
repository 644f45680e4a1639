package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

const (
	valueBytes = 4 // of a float32
	lanes      = 16
	tileRows   = 14
)

// set is an instruction set: the name its functions end in, and its vectors.
type set struct {
	name   string
	values int // float32s in a vector
	vector func() reg.VecVirtual
	pairs  bool // of products: a and b are pairs
}

// sets holds the instruction sets by the name the command line gives them.
var sets = map[string]set{
	"avx2":   {name: "AVX2", values: 8, vector: YMM},
	"avx512": {name: "AVX512", values: 16, vector: ZMM},
}

// wide tells whether s has AVX-512's masks and 32 registers.
func (s set) wide() bool { return s.values == 16 }

// zero makes v all zeros.
func (s set) zero(v reg.VecVirtual) {
	if s.wide() {
		VPXORD(v, v, v) // VXORPS takes AVX512DQ
		return
	}
	VXORPS(v, v, v)
}

func (s set) bytes() int { return s.values * valueBytes }

// vectors returns n registers.
func (s set) vectors(n int) []reg.VecVirtual {
	v := make([]reg.VecVirtual, n)
	for i := range v {
		v[i] = s.vector()
	}
	return v
}

// argument loads the argument of that name and returns its register.
func argument(name string) reg.GPVirtual {
	r := GP64()
	Load(Param(name), r)
	return r
}

// parameter returns the place of the argument of that name.
func parameter(name string) Mem {
	place, err := Param(name).Resolve()
	if err != nil {
		panic(err) // the name is not in the signature
	}
	return place.Addr
}

// byteStride loads the argument of that name, a number of values, and returns a
// register with the number of their bytes.
func byteStride(name string) reg.GPVirtual {
	r := argument(name)
	SHLQ(U8(2), r)
	return r
}

// at returns the memory at base plus a number of bytes.
func at(base reg.GPVirtual, bytes int) Mem { return Mem{Base: base, Disp: bytes} }

// or adds the bits of x to those of to.
func (s set) or(x, to reg.VecVirtual) {
	if s.wide() {
		VPORD(x, to, to)
		return
	}
	VORPS(x, to, to)
}
