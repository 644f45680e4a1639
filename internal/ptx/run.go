package ptx

import (
	"fmt"
	"math"
)

const (
	warpSize = 32
	// mostInstructions is how many a thread may run: far more than a kernel of a test does.
	mostInstructions = 1 << 24
	// mostShared is how much shared memory a block may have, of sm_80.
	mostShared  = 163 << 10
	mostThreads = 1024
)

// Launch says how a kernel is run.
type Launch struct {
	Grid, Block [3]int // 0 counts as 1
	Shared      int    // bytes of shared memory beside what the kernel declares
	Args        []any  // uint64, uint32, int32 or float32, by the kernel's parameters
}

// Fault is why a run ended.
type Fault struct {
	Kernel        string
	Block, Thread [3]int
	Line          int
	Instruction   string
	Why           string
}

func (f *Fault) Error() string {
	return fmt.Sprintf("ptx: kernel %s, block %v, thread %v, line %d: %s: %s", f.Kernel, f.Block, f.Thread, f.Line, f.Instruction, f.Why)
}

// block is the threads that share memory.
type block struct {
	kernel         *Kernel
	memory         *Memory
	id, grid, size [3]int
	number         int32
	epoch          int32 // barriers passed, plus one
	params         []byte
	shared         area
	threads        []*thread
}

// thread is one of a block.
type thread struct {
	block  *block
	id     [3]int
	number int
	r      []uint64
	pc     int
	ran    int
	done   bool
	parked bool // at a barrier, or at an instruction of its warp
	copies []asyncCopy
	fault  string
}

// Run runs a kernel. A *Fault tells what is wrong with it; another error what is wrong with
// the launch.
func (k *Kernel) Run(m *Memory, l Launch) error {
	for i := range 3 {
		l.Grid[i], l.Block[i] = max(1, l.Grid[i]), max(1, l.Block[i])
	}
	params, err := k.arguments(l.Args)
	if err != nil {
		return err
	}
	n, shared := l.Block[0]*l.Block[1]*l.Block[2], k.dynamic+l.Shared
	switch {
	case n > mostThreads || k.MaxThreads > 0 && n > k.MaxThreads:
		return fmt.Errorf("ptx: kernel %s: a block of %d threads, at most %d are possible", k.Name, n, min(mostThreads, max(k.MaxThreads, 1)))
	case shared > mostShared:
		return fmt.Errorf("ptx: kernel %s: %d bytes of shared memory, at most %d are possible", k.Name, shared, mostShared)
	}
	m.begin()
	number := int32(0)
	for z := range l.Grid[2] {
		for y := range l.Grid[1] {
			for x := range l.Grid[0] {
				number++
				b := &block{kernel: k, memory: m, id: [3]int{x, y, z}, grid: l.Grid, size: l.Block, number: number, epoch: 1, params: params}
				b.shared = area{data: make([]byte, shared), filled: make([]bool, shared), marks: make([]mark, shared)}
				if err := b.run(n); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// arguments lays arguments out as the kernel's parameters.
func (k *Kernel) arguments(args []any) ([]byte, error) {
	if len(args) != len(k.Params) {
		return nil, fmt.Errorf("ptx: kernel %s takes %d arguments, and is given %d", k.Name, len(k.Params), len(args))
	}
	var block []byte
	for i, p := range k.Params {
		var x uint64
		var bytes int
		switch v := args[i].(type) {
		case uint64:
			x, bytes = v, 8
		case uint32:
			x, bytes = uint64(v), 4
		case int32:
			x, bytes = uint64(uint32(v)), 4
		case float32:
			x, bytes = uint64(math.Float32bits(v)), 4
		}
		_, isFloat := args[i].(float32)
		if bytes != p.Bytes || isFloat != (p.Type == "f32") {
			return nil, fmt.Errorf("ptx: kernel %s: argument %d is a %T, and the parameter a .%s", k.Name, i, args[i], p.Type)
		}
		for len(block) < p.at {
			block = append(block, 0)
		}
		for range bytes {
			block = append(block, byte(x))
			x >>= 8
		}
	}
	return block, nil
}

// run runs the threads of a block, by turns from barrier to barrier.
func (b *block) run(n int) error {
	for i := range n {
		b.threads = append(b.threads, &thread{
			block: b, number: i, r: make([]uint64, b.kernel.registers),
			id: [3]int{i % b.size[0], i / b.size[0] % b.size[1], i / b.size[0] / b.size[1]},
		})
	}
	for {
		for _, t := range b.threads {
			t.run()
			if t.fault != "" {
				return t.faultf("%s", t.fault)
			}
		}
		moved, err := b.warps()
		if err != nil {
			return err
		}
		if moved {
			continue
		}
		over, err := b.barrier()
		if over || err != nil {
			return err
		}
	}
}

// run runs a thread until it ends, or waits for others.
func (t *thread) run() {
	code := t.block.kernel.code
	for !t.done && !t.parked && t.fault == "" {
		if t.pc >= len(code) {
			t.done = true
			return
		}
		if t.ran++; t.ran > mostInstructions {
			t.fault = "it runs for longer than any kernel should"
			return
		}
		in := &code[t.pc]
		if in.guard > 0 && (t.r[in.guard-1] != 0) == in.not {
			t.pc++
			continue
		}
		switch {
		case in.park || in.warp != nil:
			t.parked = true
		case in.flow != nil:
			t.pc = in.flow(t)
		default:
			in.do(t)
			if t.fault == "" {
				t.pc++
			}
		}
	}
}

// warps runs the instructions of whole warps that wait for them; moved tells that there were some.
func (b *block) warps() (moved bool, err error) {
	for first := 0; first < len(b.threads); first += warpSize {
		w := b.threads[first:min(first+warpSize, len(b.threads))]
		var at *thread // the first that waits for its warp
		for _, t := range w {
			if t.parked && !b.kernel.code[t.pc].park {
				at = t
				break
			}
		}
		if at == nil {
			continue
		}
		for _, t := range w {
			switch {
			case t.done:
				return false, at.faultf("thread %v of its warp has ended", t.id)
			case t.pc != at.pc:
				return false, at.faultf("thread %v of its warp waits at line %d", t.id, b.kernel.code[t.pc].line)
			}
		}
		if len(w) < warpSize {
			return false, at.faultf("its warp has %d threads", len(w))
		}
		b.kernel.code[at.pc].warp(w)
		for _, t := range w {
			if t.fault != "" {
				return false, t.faultf("%s", t.fault)
			}
			t.parked = false
			t.pc++
		}
		moved = true
	}
	return moved, nil
}

// barrier lets all threads pass the barrier at which they wait; over tells that all have ended.
func (b *block) barrier() (over bool, err error) {
	var at, ended *thread
	for _, t := range b.threads {
		switch {
		case t.done:
			ended = t
		case at == nil:
			at = t
		case at.pc != t.pc:
			return false, at.faultf("thread %v waits at line %d", t.id, b.kernel.code[t.pc].line)
		}
	}
	if at == nil {
		return true, nil
	}
	if ended != nil {
		return false, at.faultf("thread %v has ended", ended.id)
	}
	b.epoch++
	for _, t := range b.threads {
		t.parked = false
		t.pc++
	}
	return false, nil
}

func (t *thread) faultf(format string, args ...any) *Fault {
	in := t.block.kernel.code[min(t.pc, len(t.block.kernel.code)-1)]
	return &Fault{
		Kernel: t.block.kernel.Name, Block: t.block.id, Thread: t.id, Line: in.line, Instruction: in.text, Why: fmt.Sprintf(format, args...),
	}
}

// by is a thread's access at this moment.
func (t *thread) by() access { return access{t.block.number, t.block.epoch, int32(t.number + 1)} }
