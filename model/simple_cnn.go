package model

// simpleCNN is the small network of PaddlePaddle's own tutorial: two blocks of
// convolution and pooling, and one fully connected layer.
func simpleCNN(Options) (draft, error) {
	return draft{
		title: "small CNN of PaddlePaddle's tutorial, the article's earlier baseline", side: 32, classes: 10,
		recipe: baselineRecipe,
		layers: func(s *stack) {
			for _, maps := range []int{20, 50} {
				s.conv(Conv{Maps: maps, Window: Window{Kernel: 5, Stride: 1}, Weight: paddleConvInit})
				s.pool(Window{Kernel: 2, Stride: 2, Rounding: RoundUp})
			}
			s.output(paddleDenseInit, Constant(0))
		},
	}, nil
}
