package kernel

// takeApart makes the kernels take pairs apart, as where AVX512_BF16 is missing;
// the function it returns undoes that.
func takeApart() func() {
	before := dotsPairs
	dotsPairs = false
	return func() { dotsPairs = before }
}
