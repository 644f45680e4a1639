//go:build race || kernelcheck

package kernel

import (
	"fmt"
	"strings"
	"testing"
)

func TestChecksNameWhatReachesOutside(t *testing.T) {
	c, a, b := make([]float32, 6*Lanes), make([]float32, 60), make([]float32, 10*Lanes)
	call := func(rowC, rows, rowA, stepA int, blocks ...Block) func() {
		tile := Tile{Rows: rows, Columns: 1, RowC: rowC, RowA: rowA, StepA: stepA, StepB: Lanes}
		return func() { Chain(c, a, b, &tile, blocks) }
	}
	pair := func(columnC, columnB int) func() {
		tile := Tile{Rows: 2, Columns: 2, RowC: 16, ColumnC: columnC, RowA: 1, StepA: 1, StepB: Lanes, ColumnB: columnB}
		return func() { Chain(c, a, b, &tile, []Block{{K: 2}}) }
	}
	tree := func(sums int, then ...int) func() {
		tile := Tile{Rows: 2, Columns: 1, RowC: 16, RowA: 1, StepA: 1, StepB: Lanes}
		var blocks []Block
		for _, n := range then {
			blocks = append(blocks, Block{K: 1, Then: n})
		}
		return func() { ChainTree(c, a, b, &tile, blocks, make([]float32, sums*tile.Values())) }
	}
	pool := func(n, column int, from []int32) func() {
		return func() { MaxPool(c[:n], from, b, &Window{Rows: 2, Columns: 2, Row: 64, Column: column}) }
	}
	for _, tc := range []struct {
		name string
		run  func()
		want string // "": no panic
	}{
		{"fits exactly", call(16, 6, 10, 1, Block{K: 10}), ""},
		{"fits transposed", call(16, 6, 1, 6, Block{K: 10}), ""},
		{"fits backwards", call(16, 6, -10, -1, Block{A: 59, K: 10}), ""},
		{"empty block anywhere", call(16, 6, 10, 1, Block{A: 1000, B: 1000}), ""},
		{"no rows", call(16, 0, 10, 1, Block{K: 10}), "rows = 0, want 1 to 14"},
		{"too many rows", call(16, 15, 1, 1, Block{K: 10}), "rows = 15, want 1 to 14"},
		{"c too short", call(17, 6, 10, 1, Block{K: 10}), "values 0 to 100 of c are asked for, which has 96"},
		{"a too short", call(16, 6, 10, 1, Block{A: 1, K: 10}), "values 1 to 60 of a are asked for, which has 60"},
		{"a from before", call(16, 6, 10, -1, Block{A: 8, K: 10}), "values -1 to 58 of a are asked for, which has 60"},
		{"b too short", call(16, 6, 10, 1, Block{B: 1, K: 10}), "values 1 to 160 of b are asked for, which has 160"},
		{"negative length", call(16, 6, 10, 1, Block{K: 1}, Block{K: -1}), "block 1 has K = -1"},
		{"columns fit", pair(64, 128), ""},
		{"c's column outside", pair(65, 128), "values 0 to 96 of c are asked for, which has 96"},
		{"b's column before", pair(64, -1), "values -1 to 16 of b are asked for, which has 160"},
		{"a tree fits", tree(2, 1, 0, 1, 2, 2), ""},
		{"a stack too short", tree(1, 1, 1, 2, 2), "values 0 to 63 of stack are asked for, which has 32"},
		{"a tree takes what is not there", tree(2, 1, 3), "block 1 takes 2 sums from a stack of 1"},
		{"no tree", tree(2), "a tree without blocks"},
		{"from too short", func() {
			ChainFrom(c, a[:1], a, b, &Tile{Rows: 2, Columns: 1, RowC: 16}, nil)
		}, "values 0 to 1 of from are asked for, which has 1"},
		{"short addend", func() { Add(c, c, a) }, "an operand has 60 values, the result 96"},
		{"short velocity", func() { Momentum(c, a, c, c, c, 1, 1, 1, 1, false) }, "an operand has 60 values, the result 96"},
		{"short gradient", func() { Nesterov(c, c, c, c, a, 1, 1, 1, 1, false) }, "an operand has 60 values, the result 96"},
		{"far results in a line", func() { Momentum(c[1:17], c[32:48], a, a, a, 1, 1, 1, 1, true) }, "far results must begin at multiples of 64 bytes"},
		{"longer operands", func() { Add(a, c, b) }, ""},
		{"nothing", func() { Add(nil, nil, nil) }, ""},
		{"a window fits", pool(32, 64, make([]int32, 32)), ""},
		{"a window of pixels outside", pool(48, 64, nil), "values 0 to 175 of x are asked for, which has 160"},
		{"half a channel", pool(24, 32, nil), "a pixel of 24 values, want a multiple of 16"},
		{"winners outside", pool(32, 32, make([]int32, 31)), "values 0 to 31 of from are asked for, which has 31"},
		{"no window", func() { AveragePool(c[:16], b, 1, &Window{Rows: 1}) }, "a window of 1x0 pixels"},
		{"few winners", func() { MaxPoolBack(c[:16], b, make([]int32, 31), 0, &Window{Rows: 1, Columns: 2, Column: 16}) }, "values 0 to 31 of from"},
		{"few counts", func() {
			AveragePoolBack(c[:16], b, a[:2], &Window{Rows: 1, Columns: 2, Column: 16, Pixel: 1})
		}, "values 1 to 2 of counts are asked for, which has 2"},
		{"short activations", func() { ReLUBack(c, c, a) }, "an operand has 60 values, the result 96"},
		{"short denominators", func() { LRN(c, a, c, b, &Response{}) }, "an operand has 60 values, the result 96"},
		{"a window without its centre", func() { LRN(c, nil, nil, b, &Response{Before: -1}) }, "a window of -1 channels before"},
		{"short bfloat16s", func() { FromBfloat16(c, make([]uint16, 95)) }, "an operand has 95 values, want 96"},
		{"short float32s", func() { ToBfloat16(make([]uint16, 97), c) }, "an operand has 96 values, want 97"},
		{"scales fit", func() { ToInt8(make([]int8, 96), make([]float32, 1), c) }, ""},
		{"scales too few", func() { FromInt8(make([]float32, 257), make([]int8, 257), make([]float32, 1)) }, "an operand has 1 values, want 2"},
		{"too many images", func() { DrawMasks(nil, [2]uint32{}, [3]uint32{}, make([]uint32, 17), 0) }, "17 lanes, want 0 to 16"},
		{"threshold too high", func() { DrawMasks(nil, [2]uint32{}, [3]uint32{}, nil, 65537) }, "threshold = 65537, want 0 to 65536"},
		{"masks fit", func() { ApplyMasks(c, c, make([]uint16, 11), 2, 1) }, ""},
		{"masks too short", func() { ApplyMasks(c, c, make([]uint16, 10), 2, 1) }, "values 0 to 10 of masks are asked for, which has 10"},
		{"half a column", func() { ApplyMasks(c[:24], c, make([]uint16, 2), 1, 1) }, "has 24 values, want a multiple of 16"},
		{"short source", func() { ApplyMasks(c, a, make([]uint16, 6), 1, 1) }, "an operand has 60 values, the result 96"},
		{"panel outside", func() { Transpose(c, 16, 256, b, []int{0}) }, "values 0 to 255 of dst are asked for, which has 96"},
		{"column outside", func() { Transpose(c, 5, 16, b, []int{0, 145}) }, "values 145 to 160 of x are asked for, which has 160"},
		{"column before", func() { Transpose(c, 5, 16, b, []int{-1}) }, "values -1 to 14 of x are asked for, which has 160"},
		{"lanes fit", func() { AddLanes(c[:3], a, 10, 2, 18) }, ""},
		{"lanes outside", func() { AddLanes(c[:3], a, 11, 2, 18) }, "values 0 to 60 of x are asked for, which has 60"},
		{"too many lanes", func() { AddLanes(c[:1], a, 17, 1, 0) }, "lanes = 17, want 0 to 16"},
		{"too many sums", func() { AddLanes(c[:17], a, 1, 1, 0) }, "17 sums, want 0 to 16"},
	} {
		got := ""
		func() {
			defer func() {
				if r := recover(); r != nil {
					got = fmt.Sprint(r)
				}
			}()
			tc.run()
		}()
		if (got == "") != (tc.want == "") || !strings.Contains(got, tc.want) {
			t.Errorf("%s: panic %q, want %q", tc.name, got, tc.want)
		}
	}
}
