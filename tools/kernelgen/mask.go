package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// The words of a draw, as internal/kernel lays them out.
const (
	drawKeys      = 0 // two for each round
	drawIndex     = 20
	drawCounter   = 36 // the first word advances from group to group
	drawThreshold = 39
	drawLanes     = 40 // one bit for each that has an image
)

const (
	philoxRounds = 10
	philoxFirst  = 0xD2511F53
	philoxSecond = 0xCD9E8D57
)

// drawMasks writes a loop over blocks of random bits, one for each lane. A
// multiplication takes the even 32-bit words of its operands and gives 64 bits,
// so the even and the odd lanes are worked on side by side, each in the lower
// half of 64 bits; what stands in the upper halves never matters.
func drawMasks(v set) {
	TEXT("drawMasks"+v.name, NOSPLIT, "func(masks *uint16, draw *uint32, groups int)")
	Doc("drawMasks"+v.name+" is DrawMasks of 8 masks for each of the groups, of which there is at least one.",
		"draw is the first word of a draw, whose counter it advances.")
	Pragma("noescape")
	masks, draw, groups := argument("masks"), argument("draw"), argument("groups")
	word := func(i int) Mem { return at(draw, i*valueBytes) }
	first, second, threshold := v.vector(), v.vector(), v.vector()
	v.constant(philoxFirst, first)
	v.constant(philoxSecond, second)
	VPBROADCASTD(word(drawThreshold), threshold)
	present := GP32()
	MOVL(word(drawLanes), present)
	const odds = 0xaa
	var some, upper reg.Register
	if v.wide() {
		some, upper = K(), K()
		KMOVW(present, some)
		pattern := GP32()
		MOVL(U32(odds<<8|odds), pattern)
		KMOVW(pattern, upper)
	} else {
		one := v.vector()
		v.constant(1, one)
		VPSUBD(one, threshold, threshold) // for there is only a "greater than"
	}

	Label("group")
	for part := range lanes / v.values {
		var even, odd [4]reg.VecVirtual
		for i := range 3 {
			even[i] = v.vector()
			VPBROADCASTD(word(drawCounter+i), even[i])
			odd[i] = v.vector()
			v.move(even[i], odd[i])
		}
		even[3], odd[3] = v.vector(), v.vector()
		v.loadWords(word(drawIndex+part*v.values), even[3])
		VPSRLQ(U8(32), even[3], odd[3])
		for round := range philoxRounds {
			key0, key1 := v.vector(), v.vector()
			VPBROADCASTD(word(drawKeys+2*round), key0)
			VPBROADCASTD(word(drawKeys+2*round+1), key1)
			for _, c := range []*[4]reg.VecVirtual{&even, &odd} {
				p0, p1, hi0, hi1 := c[0], c[2], v.vector(), v.vector()
				VPMULUDQ(p0, first, p0)
				VPMULUDQ(p1, second, p1)
				VPSRLQ(U8(32), p0, hi0)
				VPSRLQ(U8(32), p1, hi1)
				v.xor3(c[1], key0, hi1)
				v.xor3(c[3], key1, hi0)
				*c = [4]reg.VecVirtual{hi1, p1, hi0, p0}
			}
		}
		for i := range even {
			// The odd lanes' words into the upper halves, the even ones' below.
			VPSLLQ(U8(32), odd[i], odd[i])
			low, high := v.vector(), v.vector()
			if v.wide() {
				VPBLENDMD(odd[i], even[i], upper, low)
			} else {
				VPBLENDD(U8(odds), odd[i], even[i], low)
			}
			VPSRLD(U8(16), low, high)
			VPSLLD(U8(16), low, low)
			VPSRLD(U8(16), low, low)
			for half, numbers := range []reg.VecVirtual{low, high} {
				to := at(masks, (2*i+half)*2+part)
				if v.wide() {
					const notLess = 5
					k := K()
					VPCMPUD(U8(notLess), threshold, numbers, some, k)
					bits := GP32()
					KMOVW(k, bits)
					MOVW(bits.As16(), to)
					continue
				}
				bits := GP32()
				VPCMPGTD(threshold, numbers, numbers)
				VMOVMSKPS(numbers, bits)
				have := GP32()
				MOVL(present, have)
				SHRL(U8(part*v.values), have)
				ANDL(have, bits)
				MOVB(bits.As8(), to)
			}
		}
	}
	INCL(word(drawCounter))
	ADDQ(U32(16), masks)
	DECQ(groups)
	JNE(LabelRef("group"))
	VZEROUPPER()
	RET()
}

// applyMasks writes a loop over columns of lanes.
func applyMasks(v set) {
	TEXT("applyMasks"+v.name, NOSPLIT, "func(dst, src *float32, masks *uint16, step, columns int, scale float32)")
	Doc("applyMasks" + v.name + " is ApplyMasks of a number of columns, at least one.")
	Pragma("noescape")
	dst, src, masks, step, columns := argument("dst"), argument("src"), argument("masks"), argument("step"), argument("columns")
	SHLQ(U8(1), step)
	scale := v.vector()
	VBROADCASTSS(parameter("scale"), scale)
	var bits []reg.VecVirtual
	if !v.wide() {
		table := GLOBL("laneBits", RODATA|NOPTR)
		for lane := range lanes {
			DATA(lane*valueBytes, U32(1<<lane))
		}
		bits = v.vectors(lanes / v.values)
		for i := range bits {
			VMOVDQU(table.Offset(i*v.bytes()), bits[i])
		}
	}
	Label("column")
	if v.wide() {
		k, y := K(), v.vector()
		KMOVW(Mem{Base: masks}, k)
		VMULPS_Z(Mem{Base: src}, scale, k, y)
		VMOVUPS(y, Mem{Base: dst})
	} else {
		mask := v.vector()
		VPBROADCASTW(Mem{Base: masks}, mask)
		for i := range bits {
			kept, y := v.vector(), v.vector()
			VPAND(bits[i], mask, kept)
			VPCMPEQD(bits[i], kept, kept)
			VMULPS(at(src, i*v.bytes()), scale, y)
			VANDPS(kept, y, y)
			VMOVUPS(y, at(dst, i*v.bytes()))
		}
	}
	ADDQ(step, masks)
	ADDQ(U32(lanes*valueBytes), src)
	ADDQ(U32(lanes*valueBytes), dst)
	DECQ(columns)
	JNE(LabelRef("column"))
	VZEROUPPER()
	RET()
}
