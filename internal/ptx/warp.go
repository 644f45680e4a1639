package ptx

import "math"

// Instructions that all threads of a warp run together.

// mma is mma.sync of tensor cores: D = A B + C of 16x8, A of 16xK, B of Kx8, where each
// lane has some of every matrix (PTX ISA, "Matrix Fragments for mma.m16n8k8" and k16).
func (c *compiler) mma(o opcode, args []string) (in instruction, err error) {
	var depth int
	switch {
	case o.has("m16n8k8") && len(o.types) == 4 && o.types[1] == "tf32":
		depth = 8
	case o.has("m16n8k16") && len(o.types) == 4 && o.types[1] == "bf16":
		depth = 16
	}
	if depth == 0 || len(args) != 4 || !o.only("sync", "aligned", "row", "col", "m16n8k8", "m16n8k16") || o.types[0] != "f32" || o.types[1] != o.types[2] || o.types[3] != "f32" {
		return in, c.errorf("%v is not known", o)
	}
	d, err := c.vector(args[0])
	if err != nil {
		return in, err
	}
	var from [3][]operand
	for i, n := range []int{4, 2, 4} {
		if from[i], err = c.values(args[i+1], []string{"b32", "b32", "f32"}[i]); err != nil {
			return in, err
		}
		if len(from[i]) != n || len(d) != 4 {
			return in, c.errorf("%v: fragments of %d, %d, %d and %d registers", o, len(d), len(from[0]), len(from[1]), len(from[2]))
		}
	}
	return instruction{warp: func(w []*thread) {
		var a [16][16]float64
		var b [16][8]float64
		var sum [16][8]float64
		for lane, t := range w {
			g, k := lane>>2, lane&3
			for i := range 4 {
				sum[g+8*(i>>1)][2*k+i&1] = float64(f32(from[2][i](t)))
				x := from[0][i](t)
				if depth == 8 {
					a[g+8*(i&1)][k+4*(i>>1)] = float64(truncated(x))
					continue
				}
				a[g+8*(i&1)][2*k+8*(i>>1)] = float64(f32(x << 16))
				a[g+8*(i&1)][2*k+8*(i>>1)+1] = float64(f32(x &^ 0xffff))
			}
			for i := range 2 {
				x := from[1][i](t)
				if depth == 8 {
					b[k+4*i][g] = float64(truncated(x))
					continue
				}
				b[2*k+8*i][g] = float64(f32(x << 16))
				b[2*k+8*i+1][g] = float64(f32(x &^ 0xffff))
			}
		}
		for row := range 16 {
			for col := range 8 {
				for k := range depth {
					sum[row][col] += a[row][k] * b[k][col]
				}
			}
		}
		for lane, t := range w {
			g, k := lane>>2, lane&3
			for i, r := range d {
				t.r[r] = bits32(float32(sum[g+8*(i>>1)][2*k+i&1]))
			}
		}
	}}, nil
}

// truncated is what a tensor core sees of a float32 that was not rounded to tf32.
func truncated(x uint64) float32 { return math.Float32frombits(uint32(x) &^ 0x1fff) }

// shuffle is shfl.sync: each lane takes the value of another one.
func (c *compiler) shuffle(o opcode, args []string) (in instruction, err error) {
	if len(args) != 5 || o.typ() != "b32" || !o.only("sync", "bfly", "down", "up", "idx") || len(o.mods) != 2 {
		return in, c.errorf("%v is not known", o)
	}
	if all, err := constant(args[4], "u32"); err != nil || all != math.MaxUint32 {
		return in, c.errorf("%v of lanes %s: of all of them, -1, is known", o, args[4])
	}
	to, err := c.register(args[0])
	if err != nil {
		return in, err
	}
	var from [3]operand
	for i := range from {
		if from[i], err = c.value(args[i+1], "u32"); err != nil {
			return in, err
		}
	}
	mode := o.mods[1]
	return instruction{warp: func(w []*thread) {
		var had, gets [warpSize]uint64
		for lane, t := range w {
			had[lane] = truncate(from[0](t), 4)
		}
		for lane, t := range w {
			by, clamp := int(from[1](t)&0x1f), from[2](t)
			segment := int(clamp >> 8 & 0x1f)
			least := lane & segment
			most := least | int(clamp&0x1f)&^segment
			other, inside := lane, false
			switch mode {
			case "up":
				other, inside = lane-by, lane-by >= most
			case "down":
				other, inside = lane+by, lane+by <= most
			case "bfly":
				other, inside = lane^by, lane^by <= most
			case "idx":
				other = least | by&^segment
				inside = other <= most
			}
			if !inside {
				other = lane
			}
			gets[lane] = had[other]
		}
		for lane, t := range w {
			t.r[to] = gets[lane]
		}
	}}, nil
}
