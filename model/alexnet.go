package model

// The settings of PaddlePaddle v2 that the article's program leaves as they are.
var (
	paddleConvInit  = FanIn(2)
	paddleDenseInit = FanIn(1)
	paddlePool      = Window{Kernel: 3, Stride: 2, Rounding: RoundUp}
	paddleLRN       = LRN{Size: 5, K: 1, Alpha: 1e-4, Beta: 0.75, DivideBySize: true}
)

// alexnet is the article's PaddlePaddle program on 32x32 images, without LRN:
// 21,622,154 parameters.
func alexnet(Options) (draft, error) {
	return alexnetPaddle("AlexNet on CIFAR-10 as in the PaddlePaddle program, without LRN", false), nil
}

// alexnetLRN is the same network with LRN after the first two convolutions.
func alexnetLRN(Options) (draft, error) {
	return alexnetPaddle("AlexNet on CIFAR-10 as in the PaddlePaddle program, with LRN", true), nil
}

func alexnetPaddle(title string, normalise bool) draft {
	return draft{
		title: title, side: 32, classes: 10,
		recipe: Recipe{
			Batch: 128, Epochs: 10,
			// The program sums over the batch, with rate 0.1/128 and decay 0.0002*128.
			LearningRate: 0.1, Momentum: 0.9, WeightDecay: 2e-4,
			Schedule: "discexp:0.1,5000000", // 100 epochs of 50,000
			Augment:  "none",
		},
		layers: func(s *stack) {
			conv := func(maps int, w Window) { s.conv(Conv{Maps: maps, Window: w, Weight: paddleConvInit}) }
			conv(96, Window{Kernel: 11, Stride: 4, Pad: 1})
			if normalise {
				s.lrn(paddleLRN)
			}
			s.pool(paddlePool)
			conv(256, Window{Kernel: 5, Stride: 1, Pad: 2})
			if normalise {
				s.lrn(paddleLRN)
			}
			s.pool(paddlePool)
			conv(384, Window{Kernel: 3, Stride: 1, Pad: 1})
			conv(384, Window{Kernel: 3, Stride: 1, Pad: 1})
			conv(256, Window{Kernel: 3, Stride: 1, Pad: 1})
			s.pool(paddlePool)
			for range 2 {
				s.hidden(4096, paddleDenseInit, Constant(0))
				s.dropout(0.5, false)
			}
			s.output(paddleDenseInit, Constant(0))
		},
	}
}
