package ptx

import (
	"fmt"
	"math"
	"strings"
	"testing"
)

// header is what every module begins with.
const header = ".version 7.0\n.target sm_80\n.address_size 64\n"

// registers are enough for a test of one instruction.
const registers = `	.reg .pred %p<8>;
	.reg .b16 %rs<8>;
	.reg .b32 %r<16>;
	.reg .f32 %f<16>;
	.reg .b64 %rd<16>;
`

// compute runs an instruction whose operands stand in %a0, %a1 and so on, which are
// registers of 64 bits, and returns its result, %d.
func compute(t *testing.T, instruction string, operands ...uint64) uint64 {
	t.Helper()
	var b strings.Builder
	fmt.Fprint(&b, header, ".visible .entry f(\n")
	for i := range operands {
		fmt.Fprintf(&b, "\t.param .u64 f_param_%d,\n", i)
	}
	fmt.Fprintf(&b, "\t.param .u64 f_out\n)\n{\n%s\t.reg .b64 %%a<8>;\n\t.reg .b64 %%d;\n", registers)
	args := make([]any, 0, len(operands)+1)
	for i, x := range operands {
		fmt.Fprintf(&b, "\tld.param.u64 %%a%d, [f_param_%d];\n", i, i)
		args = append(args, x)
	}
	fmt.Fprintf(&b, "\tld.param.u64 %%rd0, [f_out];\n\t%s\n\tst.global.u64 [%%rd0], %%d;\n\tret;\n}\n", instruction)
	m, err := Parse(b.String())
	if err != nil {
		t.Fatalf("%s: %v", instruction, err)
	}
	memory := NewMemory()
	out := memory.Alloc(8)
	if err := m.Kernels["f"].Run(memory, Launch{Args: append(args, out)}); err != nil {
		t.Fatalf("%s: %v", instruction, err)
	}
	bytes, _ := memory.Read(out, 8)
	x := uint64(0)
	for i, v := range bytes {
		x |= uint64(v) << (8 * i)
	}
	return x
}

func fl(x float32) uint64  { return uint64(math.Float32bits(x)) }
func minus(n int64) uint64 { return uint64(-n) }

func TestIntegersAreComputed(t *testing.T) {
	const all32 = 0xffffffff
	for _, tc := range []struct {
		instruction string
		operands    []uint64
		want        uint64
	}{
		{"add.s32 %d, %a0, %a1;", []uint64{all32, 3}, 2},
		{"add.s64 %d, %a0, %a1;", []uint64{all32, 3}, 1<<32 + 2},
		{"add.u16 %d, %a0, %a1;", []uint64{0xffff, 2}, 1},
		{"sub.s32 %d, %a0, 5;", []uint64{3}, all32 - 1},
		{"mul.lo.s32 %d, %a0, %a1;", []uint64{1 << 20, 1 << 13}, 0},
		{"mul.hi.u32 %d, %a0, %a1;", []uint64{1 << 20, 1 << 13}, 2},
		{"mul.hi.s32 %d, %a0, %a1;", []uint64{all32, 2}, all32},
		{"mul.hi.u64 %d, %a0, %a1;", []uint64{math.MaxUint64, 2}, 1},
		{"mul.hi.s64 %d, %a0, %a1;", []uint64{minus(1), 2}, minus(1)},
		{"mul.wide.s32 %d, %a0, 4;", []uint64{all32}, minus(4)},
		{"mul.wide.u32 %d, %a0, 4;", []uint64{all32}, 4 * all32},
		{"mad.lo.s32 %d, %a0, %a1, %a2;", []uint64{7, 8, 9}, 65},
		{"mad.wide.s32 %d, %a0, %a1, %a2;", []uint64{minus(7), 8, 100}, 44},
		{"div.s32 %d, %a0, %a1;", []uint64{truncate(minus(7), 4), 2}, truncate(minus(3), 4)},
		{"div.u32 %d, %a0, %a1;", []uint64{7, 2}, 3},
		{"div.u32 %d, %a0, %a1;", []uint64{7, 0}, all32},
		{"rem.s32 %d, %a0, %a1;", []uint64{truncate(minus(7), 4), 2}, all32},
		{"rem.u32 %d, %a0, %a1;", []uint64{7, 4}, 3},
		{"min.s32 %d, %a0, %a1;", []uint64{all32, 1}, all32},
		{"min.u32 %d, %a0, %a1;", []uint64{all32, 1}, 1},
		{"max.s32 %d, %a0, %a1;", []uint64{all32, 1}, 1},
		{"neg.s32 %d, %a0;", []uint64{1}, all32},
		{"abs.s32 %d, %a0;", []uint64{all32}, 1},
		{"and.b32 %d, %a0, 12;", []uint64{10}, 8},
		{"or.b32 %d, %a0, 12;", []uint64{10}, 14},
		{"xor.b32 %d, %a0, 12;", []uint64{10}, 6},
		{"not.b32 %d, %a0;", []uint64{0}, all32},
		{"shl.b32 %d, %a0, 4;", []uint64{0xf0000001}, 16},
		{"shl.b32 %d, %a0, %a1;", []uint64{1, 32}, 0},
		{"shl.b64 %d, %a0, 33;", []uint64{1}, 1 << 33},
		{"shr.u32 %d, %a0, 4;", []uint64{0x80000000}, 0x08000000},
		{"shr.s32 %d, %a0, 4;", []uint64{0x80000000}, 0xf8000000},
		{"shr.s32 %d, %a0, 40;", []uint64{0x80000000}, all32},
		{"shr.u32 %d, %a0, 32;", []uint64{all32}, 0},
		{"shf.l.wrap.b32 %d, %a0, %a1, 8;", []uint64{0x12345678, 0x9abcdef0}, 0xbcdef012},
		{"shf.r.wrap.b32 %d, %a0, %a1, 8;", []uint64{0x12345678, 0x9abcdef0}, 0xf0123456},
		{"bfe.u32 %d, %a0, 4, 8;", []uint64{0x12345678}, 0x67},
		{"popc.b32 %d, %a0;", []uint64{0xf0f}, 8},
		{"clz.b32 %d, %a0;", []uint64{1}, 31},
		{"brev.b32 %d, %a0;", []uint64{1}, 1 << 31},
		{"prmt.b32 %d, %a0, %a1, 0x7054;", []uint64{0x44332211, 0x88776655}, 0x88116655},
		{"lop3.b32 %d, %a0, %a1, %a2, 0xE8;", []uint64{0b1100, 0b1010, 0b0110}, 0b1110},
		{"mov.u32 %d, 17;", nil, 17},
		{"mov.b64 %d, {%a0, %a1};", []uint64{5, 6}, 6<<32 + 5},
		{"mov.b64 {%r1, %r2}, %a0;\n mov.b32 %d, %r2;", []uint64{6<<32 + 5}, 6},
		{"cvt.s64.s32 %d, %a0;", []uint64{all32}, minus(1)},
		{"cvt.u64.u32 %d, %a0;", []uint64{1<<40 + 7}, 7},
		{"cvt.u32.u16 %d, %a0;", []uint64{0x12345}, 0x2345},
		{"cvt.s32.s8 %d, %a0;", []uint64{0xff}, all32},
		{"setp.lt.s32 %p1, %a0, 1;\n selp.b32 %d, 3, 4, %p1;", []uint64{all32}, 3},
		{"setp.lt.u32 %p1, %a0, 1;\n selp.b32 %d, 3, 4, %p1;", []uint64{all32}, 4},
		{"setp.ge.s32 %p1, %a0, 5;\n setp.eq.and.s32 %p2|%p3, %a0, 7, %p1;\n selp.b32 %d, 3, 4, %p2;", []uint64{7}, 3},
		{"setp.ge.s32 %p1, %a0, 5;\n setp.eq.and.s32 %p2|%p3, %a0, 7, !%p1;\n selp.b32 %d, 3, 4, %p2;", []uint64{7}, 4},
		{"setp.eq.s32 %p1, %a0, 7;\n setp.eq.s32 %p2, %a0, 8;\n or.pred %p3, %p1, %p2;\n selp.b32 %d, 1, 0, %p3;", []uint64{8}, 1},
		{"mov.u32 %d, %ntid.x;", nil, 1},
	} {
		if got := compute(t, tc.instruction, tc.operands...); got != tc.want {
			t.Errorf("%s with %#x = %#x, want %#x", tc.instruction, tc.operands, got, tc.want)
		}
	}
}

func TestFloatsAreComputedAndRounded(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	third := float32(1) / 3
	for _, tc := range []struct {
		instruction string
		operands    []float32
		want        float32
	}{
		{"add.rn.f32 %d, %a0, %a1;", []float32{1, 1e-8}, 1},
		{"add.f32 %d, %a0, 0fBF800000;", []float32{3}, 2},
		{"sub.rn.f32 %d, %a0, %a1;", []float32{1, third}, 1 - third},
		{"mul.rn.f32 %d, %a0, %a1;", []float32{third, third}, third * third},
		{"div.rn.f32 %d, %a0, %a1;", []float32{1, 3}, third},
		{"fma.rn.f32 %d, %a0, %a1, %a2;", []float32{1 + 0x1p-12, 1 - 0x1p-12, -1}, -0x1p-24},
		{"neg.f32 %d, %a0;", []float32{third}, -third},
		{"abs.f32 %d, %a0;", []float32{-third}, third},
		{"min.f32 %d, %a0, %a1;", []float32{nan, 2}, 2},
		{"min.f32 %d, %a0, %a1;", []float32{-3, 2}, -3},
		{"max.f32 %d, %a0, %a1;", []float32{-3, 2}, 2},
		{"max.f32 %d, %a0, %a1;", []float32{2, nan}, 2},
		{"sqrt.rn.f32 %d, %a0;", []float32{2}, float32(math.Sqrt2)},
		{"rcp.rn.f32 %d, %a0;", []float32{3}, third},
		{"ex2.approx.f32 %d, %a0;", []float32{-3}, 0.125},
		{"lg2.approx.f32 %d, %a0;", []float32{8}, 3},
		{"rsqrt.approx.f32 %d, %a0;", []float32{4}, 0.5},
		{"copysign.f32 %d, %a0, %a1;", []float32{-1, 3}, -3},
		{"cvt.rni.f32.f32 %d, %a0;", []float32{2.5}, 2},
		{"cvt.rzi.f32.f32 %d, %a0;", []float32{-2.7}, -2},
		{"cvt.rmi.f32.f32 %d, %a0;", []float32{-2.2}, -3},
		{"cvt.rna.tf32.f32 %d, %a0;", []float32{1 + 0x1p-11}, 1 + 0x1p-10},
		{"cvt.rna.tf32.f32 %d, %a0;", []float32{inf}, inf},
		{"setp.lt.f32 %p1, %a0, %a1;\n selp.f32 %d, 0f3F800000, 0f00000000, %p1;", []float32{1, 2}, 1},
		{"setp.lt.f32 %p1, %a0, %a1;\n selp.f32 %d, 0f3F800000, 0f00000000, %p1;", []float32{nan, 2}, 0},
		{"setp.gtu.f32 %p1, %a0, %a1;\n selp.f32 %d, 0f3F800000, 0f00000000, %p1;", []float32{nan, 2}, 1},
		{"setp.neu.f32 %p1, %a0, %a1;\n selp.f32 %d, 0f3F800000, 0f00000000, %p1;", []float32{2, 2}, 0},
		{"setp.nan.f32 %p1, %a0, %a0;\n selp.f32 %d, 0f3F800000, 0f00000000, %p1;", []float32{nan}, 1},
	} {
		var operands []uint64
		for _, x := range tc.operands {
			operands = append(operands, fl(x))
		}
		if got := compute(t, tc.instruction, operands...); got != fl(tc.want) {
			t.Errorf("%s with %v = %v, want %v", tc.instruction, tc.operands, f32(got), tc.want)
		}
	}
	if got := f32(compute(t, "max.NaN.f32 %d, %a0, %a1;", fl(2), fl(nan))); got == got {
		t.Errorf("max.NaN of 2 and NaN = %v", got)
	}
}

func TestNumbersAreConverted(t *testing.T) {
	for _, tc := range []struct {
		instruction string
		operand     uint64
		want        uint64
	}{
		{"cvt.rzi.s32.f32 %d, %a0;", fl(-2.9), truncate(minus(2), 4)},
		{"cvt.rni.s32.f32 %d, %a0;", fl(3.5), 4},
		{"cvt.rzi.s32.f32 %d, %a0;", fl(1e20), math.MaxInt32},
		{"cvt.rzi.s32.f32 %d, %a0;", fl(-1e20), 1 << 31},
		{"cvt.rzi.u32.f32 %d, %a0;", fl(-5), 0},
		{"cvt.rzi.u32.f32 %d, %a0;", fl(1e20), math.MaxUint32},
		{"cvt.rzi.s32.f32 %d, %a0;", fl(float32(math.NaN())), 0},
		{"cvt.rn.f32.s32 %d, %a0;", truncate(minus(3), 4), fl(-3)},
		{"cvt.rn.f32.u32 %d, %a0;", 1<<24 + 1, fl(1 << 24)},
		{"cvt.rn.bf16.f32 %d, %a0;", fl(1 + 0x1p-8), 0x3f80}, // a tie, to even
		{"cvt.rn.bf16.f32 %d, %a0;", fl(1 + 3*0x1p-8), 0x3f82},
		{"cvt.rn.bf16.f32 %d, %a0;", fl(float32(math.NaN())), 0x7fff},
		{"cvt.rn.bf16x2.f32 %d, %a0, 0f40000000;", fl(1), 0x3f804000},
	} {
		if got := compute(t, tc.instruction, tc.operand); got != tc.want {
			t.Errorf("%s of %#x = %#x, want %#x", tc.instruction, tc.operand, got, tc.want)
		}
	}
}

func TestWhatIsNotKnownIsNamedWithItsLine(t *testing.T) {
	for text, want := range map[string]string{
		header + ".visible .entry f()\n{\n\tvote.sync.all.pred %p1, 1;\n}\n":                                      "f, line 6: ",
		header + ".visible .entry f()\n{\n\t.reg .b32 %r<2>;\n\tadd.s32 %r1, %r7, 1;\n}\n":                        "line 7: operand \"%r7\"",
		header + ".visible .entry f()\n{\n\t.reg .f64 %d<2>;\n\tadd.rn.f64 %d1, %d0, %d0;\n}\n":                   "line 7",
		header + ".visible .entry f()\n{\n\tbra $L1;\n}\n":                                                        "label $L1 is not there",
		header + ".visible .entry f()\n{\n\t.local .align 4 .b8 depot[32];\n}\n":                                  ".local is not known",
		header + ".visible .entry f()\n{\n\t.reg .b32 %r<2>;\n\tatom.global.add.f32 %r1, [%r0], 0f3F800000;\n}\n": "line 7",
		header + ".visible .entry f()\n{\n\t.reg .b32 %r<2>;\n\tld.param.u32 %r1, [nothing];\n}\n":                "parameter [nothing] is not there",
		header + ".visible .entry f()\n{\n\tbar.sync 1;\n}\n":                                                     "bar.sync 0 alone",
		header + ".visible .entry f()\n{\n\t@%p1 ret;\n}\n":                                                       "register %p1 is not declared",
		header + ".visible .entry f(\n\t.param .align 8 .b8 f_param_0[24]\n)\n{\n\tret;\n}\n":                     "parameter",
		header + ".visible .func g()\n{\n}\n":                                                                     "is not known",
		header + ".visible .entry f()\n{\n\tret;\n":                                                               "the text ends",
		".target sm_80\n": "no .version",
		".version 7.0\n.target sm_80\n.address_size 32\n": "addresses of 32 bits",
	} {
		if _, err := Parse(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q of\n%s", err, want, text)
		}
	}
}

func TestConstantsAreOfTheirType(t *testing.T) {
	for _, tc := range []struct {
		text, kind string
		want       uint64
	}{
		{"0f3F800000", "f32", fl(1)},
		{"-1", "s32", 0xffffffff},
		{"-1", "u16", 0xffff},
		{"0x1F", "b32", 31},
		{"4294967295", "u32", 0xffffffff},
		{"18446744073709551615", "u64", math.MaxUint64},
		{"1", "pred", 1},
		{"0d3FF0000000000000", "f64", 0x3ff0000000000000},
	} {
		if got, err := constant(tc.text, tc.kind); err != nil || got != tc.want {
			t.Errorf("%s of .%s = %#x, %v; want %#x", tc.text, tc.kind, got, err, tc.want)
		}
	}
}
