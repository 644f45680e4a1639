package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// peak writes as many chains as there are registers besides two, so that each
// instruction finds its operands however long the ones before it take: two units
// with a latency of 4 to 5 cycles keep 8 to 10 chains busy.
func peak(v set) {
	chains := 14
	if v.wide() {
		chains = 28
	}
	TEXT("peak"+v.name, NOSPLIT, "func(sums *float32, x, y float32, turns int)")
	Doc("peak"+v.name+fmt.Sprintf(" writes %d vectors to sums, each value of them fma(x, y, sum) turns times from +0.", chains),
		"There is at least one turn.")
	Pragma("noescape")
	x, y := v.vector(), v.vector()
	VBROADCASTSS(parameter("x"), x)
	VBROADCASTSS(parameter("y"), y)
	sums := v.vectors(chains)
	each := func(do func(i int, sum reg.VecVirtual)) {
		for i, sum := range sums {
			do(i, sum)
		}
	}
	each(func(_ int, sum reg.VecVirtual) { v.zero(sum) })
	turns := argument("turns")
	Label("turn")
	each(func(_ int, sum reg.VecVirtual) { VFMADD231PS(y, x, sum) })
	DECQ(turns)
	JNE(LabelRef("turn"))
	to := argument("sums")
	each(func(i int, sum reg.VecVirtual) { VMOVUPS(sum, at(to, i*v.bytes())) })
	VZEROUPPER()
	RET()
}
