package ptx

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// kernelOf is the kernel f of parameters p0, p1 and so on of types, with a body.
func kernelOf(t *testing.T, declarations, types, body string) *Kernel {
	t.Helper()
	var params []string
	for i, typ := range strings.Fields(types) {
		params = append(params, fmt.Sprintf("\t.param .%s p%d", typ, i))
	}
	m, err := Parse(header + declarations + ".visible .entry f(\n" + strings.Join(params, ",\n") + "\n)\n{\n" + registers + body + "\tret;\n}\n")
	if err != nil {
		t.Fatal(err)
	}
	return m.Kernels["f"]
}

// own has %rd1 be the address of a thread's own word of p0, and %r1 its number.
const own = `	ld.param.u64 %rd0, [p0];
	mov.u32 %r1, %tid.x;
	mov.u32 %r2, %ctaid.x;
	mov.u32 %r3, %ntid.x;
	mad.lo.s32 %r1, %r2, %r3, %r1;
	mul.wide.u32 %rd1, %r1, 4;
	add.s64 %rd1, %rd0, %rd1;
`

func TestAKernelRunsOnEveryThread(t *testing.T) {
	k := kernelOf(t, "", "u64 f32 u32", own+`	ld.param.f32 %f1, [p1];
	ld.param.u32 %r5, [p2];
	setp.ge.u32 %p1, %r1, %r5;
	@%p1 bra $L1;
	ld.global.f32 %f2, [%rd1];
	fma.rn.f32 %f2, %f2, %f1, %f1;
	st.global.f32 [%rd1], %f2;
$L1:
`)
	m := NewMemory()
	x := []float32{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}
	p := m.Floats(x)
	if err := k.Run(m, Launch{Grid: [3]int{3}, Block: [3]int{4}, Args: []any{p, float32(2), uint32(10)}}); err != nil {
		t.Fatal(err)
	}
	for i, got := range m.ReadFloats(p, 10) {
		if want := 2*x[i] + 2; got != want {
			t.Errorf("value %d is %v, want %v", i, got, want)
		}
	}
}

func TestThreadsKnowWhoTheyAre(t *testing.T) {
	k := kernelOf(t, "", "u64", `	ld.param.u64 %rd0, [p0];
	mov.u32 %r1, %tid.y; mov.u32 %r2, %ctaid.z; mov.u32 %r3, %ntid.y; mov.u32 %r4, %nctaid.z; mov.u32 %r5, %laneid;
	mov.u32 %r6, %tid.x; mov.u32 %r7, %ntid.x;
	mad.lo.s32 %r8, %r2, %r3, %r1;
	mad.lo.s32 %r8, %r8, %r7, %r6;
	mul.wide.u32 %rd1, %r8, 4;
	add.s64 %rd1, %rd0, %rd1;
	mad.lo.s32 %r9, %r4, 1000, %r5;
	st.global.u32 [%rd1], %r9;
`)
	m := NewMemory()
	p := m.Alloc(4 * 24)
	if err := k.Run(m, Launch{Grid: [3]int{1, 1, 2}, Block: [3]int{4, 3}, Args: []any{p}}); err != nil {
		t.Fatal(err)
	}
	for i, got := range m.ReadFloats(p, 24) {
		if want := uint32(2000 + i%12); math.Float32bits(got) != want {
			t.Errorf("thread %d says %d, want %d", i, math.Float32bits(got), want)
		}
	}
}

// shareds is a tile of a word for each of 64 threads. toTile puts their numbers there, and
// fromTile takes them in the order turned round.
const shareds = ".visible .shared .align 4 .b8 tile[256];\n"

const toTile = `	shl.b32 %r6, %r1, 2;
	mov.u64 %rd2, tile;
	cvt.u64.u32 %rd3, %r6;
	add.s64 %rd3, %rd2, %rd3;
	st.shared.u32 [%rd3], %r1;
`

const fromTile = `	sub.s32 %r7, 252, %r6;
	cvt.u64.u32 %rd4, %r7;
	add.s64 %rd4, %rd2, %rd4;
	ld.shared.u32 %r8, [%rd4];
	st.global.u32 [%rd1], %r8;
`

func TestABarrierMakesSharedMemoryShared(t *testing.T) {
	k := kernelOf(t, shareds, "u64", own+toTile+"\tbar.sync 0;\n"+fromTile)
	m := NewMemory()
	p := m.Alloc(256)
	if err := k.Run(m, Launch{Block: [3]int{64}, Args: []any{p}}); err != nil {
		t.Fatal(err)
	}
	for i, got := range m.ReadFloats(p, 64) {
		if math.Float32bits(got) != uint32(63-i) {
			t.Errorf("thread %d has %d, want %d", i, math.Float32bits(got), 63-i)
		}
	}
}

func TestWhatAGPUWouldLetPassIsAFault(t *testing.T) {
	for _, tc := range []struct {
		name, declarations, body string
		threads                  int
		want                     string
	}{
		{"a barrier is missing", shareds, own + toTile + fromTile, 64, "reads what nobody has written"},
		{"a barrier is missing before others write", shareds, own + toTile + "\tbar.sync 0;\n" + fromTile + toTile, 64, "without a barrier between"},
		{"two write the same", "", own + "\tst.global.u32 [%rd0], 1;\n", 2, "writes what thread 0 of block 0 writes, without a barrier"},
		{"one reads what another writes", "", own + "\tst.global.u32 [%rd1], 1;\n\tld.global.u32 %r8, [%rd0];\n", 2, "reads what thread 0 of block 0 writes"},
		{"one reads beyond the end", "", own + "\tld.global.u32 %r8, [%rd0+256];\n", 1, "outside of what was allocated"},
		{"one reads before the beginning", "", own + "\tld.global.u32 %r8, [%rd0+-4];\n", 1, "outside of what was allocated"},
		{"one reads what is not written", "", own + "\tld.global.u32 %r8, [%rd0];\n", 1, "reads what nobody has written"},
		{"one reads across", "", own + "\tst.global.u32 [%rd0], 1;\n\tst.global.u32 [%rd0+4], 1;\n\tld.global.u32 %r8, [%rd0+2];\n", 1, "not aligned"},
		{"one reads a vector across", "", own + "\tst.global.u64 [%rd0+8], 1;\n\tst.global.u64 [%rd0+16], 1;\n\tld.global.v4.u32 {%r8,%r9,%r10,%r11}, [%rd0+8];\n", 1, "not aligned"},
		{"one goes beyond shared memory", shareds, "\tmov.u64 %rd2, tile;\n\tst.shared.u32 [%rd2+256], 1;\n", 1, "outside of shared memory"},
		{"half of them wait", "", own + "\tsetp.lt.s32 %p1, %r1, 1;\n\t@%p1 bra $L1;\n\tbar.sync 0;\n$L1:\n", 2, "thread [0 0 0] has ended"},
		{"they wait at two places", "", own + "\tsetp.lt.s32 %p1, %r1, 1;\n\t@%p1 bra $L1;\n\tbar.sync 0;\n\tbra $L2;\n$L1:\n\tbar.sync 0;\n$L2:\n", 2, "waits at line"},
		{"one never ends", "", "$L1:\n\tbra $L1;\n", 1, "longer than any kernel should"},
		{"a warp is not whole", "", own + "\tshfl.sync.bfly.b32 %r8, %r1, 1, 31, -1;\n", 16, "its warp has 16 threads"},
		{"half of a warp is elsewhere", "", own + "\tsetp.lt.s32 %p1, %r1, 16;\n\t@%p1 bra $L1;\n\tshfl.sync.bfly.b32 %r8, %r1, 1, 31, -1;\n$L1:\n", 32, "of its warp has ended"},
	} {
		m := NewMemory()
		k := kernelOf(t, tc.declarations, "u64", tc.body)
		err := k.Run(m, Launch{Block: [3]int{tc.threads}, Args: []any{m.Alloc(256)}})
		var fault *Fault
		if !errors.As(err, &fault) || !strings.Contains(fault.Why, tc.want) || fault.Line == 0 || fault.Kernel != "f" {
			t.Errorf("%s: %v, want %q", tc.name, err, tc.want)
		}
	}
}

func TestBlocksShareNothingThatIsWritten(t *testing.T) {
	m := NewMemory()
	p := m.Floats(make([]float32, 4))
	reads := kernelOf(t, "", "u64", "\tld.param.u64 %rd0, [p0];\n\tld.global.u32 %r1, [%rd0];\n")
	if err := reads.Run(m, Launch{Grid: [3]int{3}, Block: [3]int{2}, Args: []any{p}}); err != nil {
		t.Errorf("several blocks read the same: %v", err)
	}
	writes := kernelOf(t, "", "u64", own+"\tld.global.u32 %r8, [%rd0];\n\tsetp.ne.u32 %p1, %r2, 2;\n\t@%p1 bra $L1;\n\tst.global.u32 [%rd0], 1;\n$L1:\n")
	if err := writes.Run(m, Launch{Grid: [3]int{3}, Args: []any{p}}); err == nil || !strings.Contains(err.Error(), "writes what other blocks reads") {
		t.Errorf("a block writes what others read: %v", err)
	}
}

func TestALaunchThatDoesNotFitIsRefused(t *testing.T) {
	k := kernelOf(t, "", "u64 f32 u32", "")
	m := NewMemory()
	for _, tc := range []struct {
		launch Launch
		want   string
	}{
		{Launch{Args: []any{uint64(1), float32(1)}}, "takes 3 arguments, and is given 2"},
		{Launch{Args: []any{uint64(1), uint32(1), uint32(1)}}, "argument 1 is a uint32, and the parameter a .f32"},
		{Launch{Args: []any{uint32(1), float32(1), uint32(1)}}, "argument 0 is a uint32, and the parameter a .u64"},
		{Launch{Args: []any{uint64(1), float32(1), 1}}, "argument 2 is a int"},
		{Launch{Block: [3]int{1025}, Args: []any{uint64(1), float32(1), uint32(1)}}, "a block of 1025 threads"},
		{Launch{Shared: 1 << 20, Args: []any{uint64(1), float32(1), uint32(1)}}, "bytes of shared memory"},
	} {
		if err := k.Run(m, tc.launch); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%v, want %q", err, tc.want)
		}
	}
}

// fragments is a kernel that runs one mma of a warp over words in memory: each lane's of A
// (4), B (2) and C (4), and writes its D (4).
func fragments(t *testing.T, op string) *Kernel {
	return kernelOf(t, "", "u64 u64 u64 u64", `	ld.param.u64 %rd1, [p0]; ld.param.u64 %rd2, [p1]; ld.param.u64 %rd3, [p2]; ld.param.u64 %rd4, [p3];
	mov.u32 %r1, %tid.x;
	mul.wide.u32 %rd5, %r1, 16;
	mul.wide.u32 %rd6, %r1, 8;
	add.s64 %rd1, %rd1, %rd5; add.s64 %rd2, %rd2, %rd6; add.s64 %rd3, %rd3, %rd5; add.s64 %rd4, %rd4, %rd5;
	ld.global.v4.u32 {%r2,%r3,%r4,%r5}, [%rd1];
	ld.global.v2.u32 {%r6,%r7}, [%rd2];
	ld.global.v4.f32 {%f1,%f2,%f3,%f4}, [%rd3];
	`+op+` {%f5,%f6,%f7,%f8}, {%r2,%r3,%r4,%r5}, {%r6,%r7}, {%f1,%f2,%f3,%f4};
	st.global.v4.f32 [%rd4], {%f5,%f6,%f7,%f8};
`)
}

func TestTensorCoresMultiply(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	random := func(n int) []float32 {
		x := make([]float32, n)
		for i := range x {
			x[i] = float32(r.IntN(31)-15) / 8 // exact in every format
		}
		return x
	}
	for _, tc := range []struct {
		op    string
		depth int
	}{
		{"mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32", 8},
		{"mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32", 16},
	} {
		a, b, c := random(16*tc.depth), random(tc.depth*8), random(16*8)
		// What each lane has of them, by the manual's figures.
		var wordsA, wordsB []uint32
		var wordsC []float32
		pair := func(lo, hi float32) uint32 { return uint32(bfloat16(hi)<<16 | bfloat16(lo)) }
		for lane := range 32 {
			g, k := lane/4, lane%4
			for _, at := range [][2]int{{g, 0}, {g + 8, 0}, {g, 1}, {g + 8, 1}} {
				if row := a[at[0]*tc.depth:]; tc.depth == 8 {
					wordsA = append(wordsA, math.Float32bits(row[k+4*at[1]]))
				} else {
					wordsA = append(wordsA, pair(row[2*k+8*at[1]], row[2*k+1+8*at[1]]))
				}
			}
			for half := range 2 {
				if tc.depth == 8 {
					wordsB = append(wordsB, math.Float32bits(b[(k+4*half)*8+g]))
				} else {
					wordsB = append(wordsB, pair(b[(2*k+8*half)*8+g], b[(2*k+1+8*half)*8+g]))
				}
			}
			for _, at := range [][2]int{{g, 2 * k}, {g, 2*k + 1}, {g + 8, 2 * k}, {g + 8, 2*k + 1}} {
				wordsC = append(wordsC, c[at[0]*8+at[1]])
			}
		}
		m := NewMemory()
		d := m.Alloc(4 * 128)
		if err := fragments(t, tc.op).Run(m, Launch{Block: [3]int{32}, Args: []any{m.Words(wordsA), m.Words(wordsB), m.Floats(wordsC), d}}); err != nil {
			t.Fatal(err)
		}
		got := m.ReadFloats(d, 128)
		for lane := range 32 {
			g, k := lane/4, lane%4
			for i, at := range [][2]int{{g, 2 * k}, {g, 2*k + 1}, {g + 8, 2 * k}, {g + 8, 2*k + 1}} {
				want := c[at[0]*8+at[1]]
				for j := range tc.depth {
					want += a[at[0]*tc.depth+j] * b[j*8+at[1]]
				}
				if got[4*lane+i] != want {
					t.Errorf("%s: row %d, column %d is %v, want %v", tc.op, at[0], at[1], got[4*lane+i], want)
				}
			}
		}
	}
}

func TestLanesTakeWhatOthersHave(t *testing.T) {
	for op, want := range map[string]func(lane int) int{
		"shfl.sync.bfly.b32 %r8, %r1, 5, 31, -1;":                      func(l int) int { return l ^ 5 },
		"shfl.sync.down.b32 %r8, %r1, 3, 31, -1;":                      func(l int) int { return map[bool]int{true: l, false: l + 3}[l+3 > 31] },
		"shfl.sync.up.b32 %r8, %r1, 3, 0, -1;":                         func(l int) int { return map[bool]int{true: l - 3, false: l}[l >= 3] },
		"shfl.sync.idx.b32 %r8, %r1, 7, 31, -1;":                       func(int) int { return 7 },
		"shfl.sync.bfly.b32 %r8, %r1, 8, 31, -1;":                      func(l int) int { return l ^ 8 },
		"shfl.sync.down.b32 %r8, %r1, 1, 6175, 0xffffffff;":            func(l int) int { return map[bool]int{true: l, false: l + 1}[l%8 == 7] }, // in groups of 8
		"mov.u32 %r7, 2;\n\tshfl.sync.bfly.b32 %r8, %r1, %r7, 31, -1;": func(l int) int { return l ^ 2 },
	} {
		m := NewMemory()
		p := m.Alloc(128)
		k := kernelOf(t, "", "u64", own+"\t"+op+"\n\tst.global.u32 [%rd1], %r8;\n")
		if err := k.Run(m, Launch{Block: [3]int{32}, Args: []any{p}}); err != nil {
			t.Fatal(err)
		}
		for lane, got := range m.ReadFloats(p, 32) {
			if g := int(math.Float32bits(got)); g != want(lane) {
				t.Errorf("%s: lane %d has %d, want %d", op, lane, g, want(lane))
			}
		}
	}
}

// copying copies 16 bytes for each thread to shared memory and, after some instructions,
// from there.
func copying(t *testing.T, wait string) *Kernel {
	return kernelOf(t, ".extern .shared .align 16 .b8 buffer[];\n", "u64 u64", `	ld.param.u64 %rd0, [p0]; ld.param.u64 %rd1, [p1];
	mov.u32 %r1, %tid.x;
	mul.wide.u32 %rd2, %r1, 16;
	add.s64 %rd0, %rd0, %rd2; add.s64 %rd1, %rd1, %rd2;
	mov.u64 %rd3, buffer;
	add.s64 %rd3, %rd3, %rd2;
	cp.async.cg.shared.global [%rd3], [%rd0], 16;
	cp.async.commit_group;
	`+wait+`
	ld.shared.v4.u32 {%r2,%r3,%r4,%r5}, [%rd3];
	st.global.v4.u32 [%rd1], {%r2,%r3,%r4,%r5};
`)
}

func TestACopyIsThereOnceItWasWaitedFor(t *testing.T) {
	for _, wait := range []string{"cp.async.wait_group 0;", "cp.async.wait_all;"} {
		m := NewMemory()
		x := []float32{1, 2, 3, 4, 5, 6, 7, 8}
		to := m.Alloc(32)
		if err := copying(t, wait).Run(m, Launch{Block: [3]int{2}, Shared: 32, Args: []any{m.Floats(x), to}}); err != nil {
			t.Fatal(err)
		}
		if got := m.ReadFloats(to, 8); !slices.Equal(got, x) {
			t.Errorf("%s: %v, want %v", wait, got, x)
		}
	}
	for _, wait := range []string{"", "cp.async.wait_group 1;"} {
		m := NewMemory()
		err := copying(t, wait).Run(m, Launch{Block: [3]int{2}, Shared: 32, Args: []any{m.Floats(make([]float32, 8)), m.Alloc(32)}})
		if err == nil || !strings.Contains(err.Error(), "reads what nobody has written") {
			t.Errorf("%q: %v, want that the copy isn't there", wait, err)
		}
	}
}

// What a copy doesn't take from memory is zero, and not read.
func TestTheRestOfACopyIsZero(t *testing.T) {
	k := kernelOf(t, ".extern .shared .align 16 .b8 buffer[];\n", "u64 u64 u32", `	ld.param.u64 %rd0, [p0]; ld.param.u64 %rd1, [p1]; ld.param.u32 %r1, [p2];
	mov.u64 %rd3, buffer;
	cp.async.cg.shared.global [%rd3], [%rd0], 16, %r1;
	cp.async.wait_all;
	ld.shared.v4.u32 {%r2,%r3,%r4,%r5}, [%rd3];
	st.global.v4.u32 [%rd1], {%r2,%r3,%r4,%r5};
`)
	m := NewMemory()
	x := []float32{1, 2}
	for taken, want := range map[uint32][]float32{8: {1, 2, 0, 0}, 4: {1, 0, 0, 0}, 0: {0, 0, 0, 0}} {
		to := m.Alloc(16)
		if err := k.Run(m, Launch{Shared: 16, Args: []any{m.Floats(x), to, taken}}); err != nil {
			t.Fatal(err)
		}
		if got := m.ReadFloats(to, 4); !slices.Equal(got, want) {
			t.Errorf("%d bytes: %v, want %v", taken, got, want)
		}
	}
}

func TestMemoryIsNobodysUntilItIsWritten(t *testing.T) {
	m := NewMemory()
	p := m.Alloc(8)
	if _, written := m.Read(p, 8); written {
		t.Error("new memory counts as written")
	}
	m.Write(p, []byte{1, 2, 3, 4})
	if b, written := m.Read(p, 4); !written || b[3] != 4 {
		t.Errorf("%v, %v", b, written)
	}
	if x := m.ReadFloats(p, 2); x[1] == x[1] {
		t.Errorf("what nobody has written is %v, want NaN", x[1])
	}
	if p%256 != 0 || m.Alloc(1)%256 != 0 {
		t.Error("memory is not aligned to 256 bytes")
	}
	defer func() {
		if recover() == nil {
			t.Error("a write beyond the end passes")
		}
	}()
	m.Write(p, make([]byte, 9))
}
