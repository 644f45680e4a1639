package main

import (
	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/reg"
)

func activations(v set) {
	relu(v)
	reluBack(v)
	leakyReLU(v)
	leakyReLUBack(v)
}

// relu takes the larger of +0 and x, where the instruction gives x for two zeros
// and for a NaN. Adding +0 then makes +0 of -0 and nothing else of the rest.
func relu(v set) {
	var y, x reg.GPVirtual
	var zero reg.VecVirtual
	elementwise(v, "relu", "func(y, x *float32, count int)", "is ReLU", func() {
		y, x, zero = argument("y"), argument("x"), v.vector()
		v.zero(zero)
	}, func(i reg.GPVirtual) {
		r := v.vector()
		VMAXPS(element(x, i), zero, r)
		VADDPS(zero, r, r)
		VMOVUPS(r, element(y, i))
	}, func() {})
}

func reluBack(v set) {
	var dx, dy, y reg.GPVirtual
	var zero reg.VecVirtual
	elementwise(v, "reluBack", "func(dx, dy, y *float32, count int)", "is ReLUBack", func() {
		dx, dy, y, zero = argument("dx"), argument("dy"), argument("y"), v.vector()
		v.zero(zero)
	}, func(i reg.GPVirtual) {
		r := v.vector()
		mask := v.compare(less, zero, element(y, i))
		if v.wide() {
			VMOVUPS_Z(element(dy, i), mask, r)
		} else {
			VANDPS(element(dy, i), mask, r)
		}
		VMOVUPS(r, element(dx, i))
	}, func() {})
}

func leakyReLU(v set) {
	var y, x reg.GPVirtual
	var zero, slope reg.VecVirtual
	elementwise(v, "leakyReLU", "func(y, x *float32, count int, slope float32)", "is LeakyReLU", func() {
		y, x, zero, slope = argument("y"), argument("x"), v.vector(), v.vector()
		v.zero(zero)
		VBROADCASTSS(parameter("slope"), slope)
	}, func(i reg.GPVirtual) {
		fast, slow := v.vector(), v.vector()
		VMOVUPS(element(x, i), fast)
		VMULPS(fast, slope, slow)
		v.blend(v.compare(less, zero, fast), fast, slow)
		VMOVUPS(slow, element(y, i))
	}, func() {})
}

func leakyReLUBack(v set) {
	var dx, dy, y reg.GPVirtual
	var zero, slope reg.VecVirtual
	elementwise(v, "leakyReLUBack", "func(dx, dy, y *float32, count int, slope float32)", "is LeakyReLUBack", func() {
		dx, dy, y, zero, slope = argument("dx"), argument("dy"), argument("y"), v.vector(), v.vector()
		v.zero(zero)
		VBROADCASTSS(parameter("slope"), slope)
	}, func(i reg.GPVirtual) {
		fast, slow := v.vector(), v.vector()
		VMOVUPS(element(dy, i), fast)
		VMULPS(fast, slope, slow)
		v.blend(v.compare(less, zero, element(y, i)), fast, slow)
		VMOVUPS(slow, element(dx, i))
	}, func() {})
}
