//go:build race || kernelcheck

package kernel

import (
	"fmt"
	"strings"
	"testing"
)

func TestChecksNameWhatReachesOutside(t *testing.T) {
	c, a, b := make([]float32, 6*Lanes), make([]float32, 60), make([]float32, 10*Lanes)
	call := func(ldc, rows, rowA, stepA int, blocks ...Block) func() {
		return func() { Chain(c, ldc, rows, a, rowA, stepA, b, blocks) }
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
		{"no rows", call(16, 0, 10, 1, Block{K: 10}), "rows = 0, want 1 to 6"},
		{"too many rows", call(16, 7, 1, 1, Block{K: 10}), "rows = 7, want 1 to 6"},
		{"c too short", call(17, 6, 10, 1, Block{K: 10}), "values 0 to 100 of c are asked for, which has 96"},
		{"a too short", call(16, 6, 10, 1, Block{A: 1, K: 10}), "values 1 to 60 of a are asked for, which has 60"},
		{"a from before", call(16, 6, 10, -1, Block{A: 8, K: 10}), "values -1 to 58 of a are asked for, which has 60"},
		{"b too short", call(16, 6, 10, 1, Block{B: 1, K: 10}), "values 1 to 160 of b are asked for, which has 160"},
		{"negative length", call(16, 6, 10, 1, Block{K: 1}, Block{K: -1}), "block 1 has K = -1"},
		{"short addend", func() { Add(c, c, a) }, "an operand has 60 values, the result 96"},
		{"short velocity", func() { Momentum(c, a, c, c, c, 1, 1, 1, 1) }, "an operand has 60 values, the result 96"},
		{"short gradient", func() { Nesterov(c, c, c, c, a, 1, 1, 1, 1) }, "an operand has 60 values, the result 96"},
		{"longer operands", func() { Add(a, c, b) }, ""},
		{"nothing", func() { Add(nil, nil, nil) }, ""},
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
