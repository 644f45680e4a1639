package model

// lenet5 is LeCun, Bottou, Bengio and Haffner's LeNet-5 (1998) on three
// channels, in today's form: ReLU, max pooling, every map sees all maps.
func lenet5(Options) (draft, error) {
	return draft{
		title: "LeNet-5 on CIFAR-10, the article's earlier baseline", side: 32, classes: 10,
		recipe: baselineRecipe,
		layers: func(s *stack) {
			for _, maps := range []int{6, 16} {
				s.conv(Conv{Maps: maps, Window: Window{Kernel: 5, Stride: 1}, Weight: paddleConvInit})
				s.pool(Window{Kernel: 2, Stride: 2})
			}
			for _, outputs := range []int{120, 84} {
				s.hidden(outputs, paddleDenseInit, Constant(0))
			}
			s.output(paddleDenseInit, Constant(0))
		},
	}, nil
}

// baselineRecipe trains the two baselines.
var baselineRecipe = Recipe{
	Batch: 128, Epochs: 10,
	LearningRate: 0.01, Momentum: 0.9, WeightDecay: 5e-4,
	Schedule: "constant",
	Augment:  "none",
}
