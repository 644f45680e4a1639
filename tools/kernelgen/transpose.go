package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// quad is the number of values in the 128 bits that shuffles work within. A
// register of 512 bits takes three inserts, so that a panel takes longer than
// in 256 bits.
const quad = 4

// gather fills, for each of some quads of lanes from quad first on, four
// registers: register i holds the quad of columns from+i, from+i+4 and so on,
// as many as fit. Inserting what comes from memory costs no shuffle.
func (s set) gather(x, offsets reg.GPVirtual, from, first, quads int) [][]reg.VecVirtual {
	loaded := make([][]reg.VecVirtual, quads)
	for q := range loaded {
		loaded[q] = s.vectors(quad)
	}
	for i := range quad {
		for h := range s.values / quad {
			offset := GP64()
			MOVQ(at(offsets, (from+h*quad+i)*8), offset)
			for q := range loaded {
				m := Mem{Base: x, Index: offset, Scale: valueBytes, Disp: (first + q) * quad * valueBytes}
				to := loaded[q][i]
				if h == 0 {
					VBROADCASTF128(m, to) // for it writes all of the register
				} else {
					VINSERTF128(U8(h), m, to, to)
				}
			}
		}
	}
	return loaded
}

// turn transposes the values of four registers within each quad: result k holds
// lane k of the columns in their order.
func (s set) turn(r []reg.VecVirtual) []reg.VecVirtual {
	t := s.vectors(quad)
	VUNPCKLPS(r[1], r[0], t[0])
	VUNPCKHPS(r[1], r[0], t[1])
	VUNPCKLPS(r[3], r[2], t[2])
	VUNPCKHPS(r[3], r[2], t[3])
	VUNPCKLPD(t[2], t[0], r[0])
	VUNPCKHPD(t[2], t[0], r[1])
	VUNPCKLPD(t[3], t[1], r[2])
	VUNPCKHPD(t[3], t[1], r[3])
	return r
}

// transpose writes a loop over panels.
func transpose(v set) {
	TEXT("transpose"+v.name, NOSPLIT, "func(dst *float32, row, panel int, x *float32, offsets *int, panels int, mask *uint32)")
	Doc("transpose"+v.name+" is Transpose of whole panels, at least one, whose columns where mask (16) is 0 become zeros,",
		"where it has all bits what they are.")
	Pragma("noescape")
	dst, row, panel := argument("dst"), byteStride("row"), byteStride("panel")
	x, offsets, panels, mask := argument("x"), argument("offsets"), argument("panels"), argument("mask")
	const quads = 2 // at a time, for which registers suffice
	masks := v.vectors(lanes / v.values)
	for i := range masks {
		v.loadWords(at(mask, i*v.bytes()), masks[i])
	}
	Label("panel")
	for part := range masks {
		to := GP64()
		MOVQ(dst, to)
		for first := 0; first < lanes/quad; first += quads {
			for _, registers := range v.gather(x, offsets, part*v.values, first, quads) {
				for _, y := range v.turn(registers) {
					v.and(masks[part], y)
					VMOVUPS(y, at(to, part*v.bytes()))
					ADDQ(row, to)
				}
			}
		}
	}
	ADDQ(panel, dst)
	ADDQ(U32(lanes*8), offsets)
	DECQ(panels)
	JNE(LabelRef("panel"))
	VZEROUPPER()
	RET()
}

// addLanes writes a loop over pixels, and within it one over quads of lanes. A
// vector of sums waits for its last addition, so two are worked on side by side
// where there are as many.
func addLanes(v set, vectors int) {
	sums := vectors * v.values
	TEXT(fmt.Sprintf("addLanes%d%s", sums, v.name), NOSPLIT, "func(sum, x *float32, offsets *int, quads, pixels, step int)")
	Doc(fmt.Sprintf("addLanes%d%s is AddLanes for %d sums, channel k of which is at offsets[k],", sums, v.name, sums),
		"of 4*quads lanes and a number of pixels. There is at least one of either.")
	Pragma("noescape")
	to, x, offsets := argument("sum"), argument("x"), argument("offsets")
	quads, pixels, step := argument("quads"), argument("pixels"), byteStride("step")
	sum := v.vectors(vectors)
	for i := range sum {
		VMOVUPS(at(to, i*v.bytes()), sum[i])
	}
	Label("pixel")
	from, left := GP64(), GP64()
	MOVQ(x, from)
	MOVQ(quads, left)
	Label("lanes")
	for i := range sum {
		for _, lane := range v.turn(v.gather(from, offsets, i*v.values, 0, 1)[0]) {
			VADDPS(lane, sum[i], sum[i])
		}
	}
	ADDQ(U32(quad*valueBytes), from)
	DECQ(left)
	JNE(LabelRef("lanes"))
	ADDQ(step, x)
	DECQ(pixels)
	JNE(LabelRef("pixel"))
	for i := range sum {
		VMOVUPS(sum[i], at(to, i*v.bytes()))
	}
	VZEROUPPER()
	RET()
}
