package model

// Mean and deviation of CIFAR-10's training images by channel, of pixel/255.
var (
	cifarMean = [3]float32{0.4914, 0.4822, 0.4465}
	cifarStd  = [3]float32{0.2470, 0.2435, 0.2616}
)

// alexnetCIFAR is AlexNet's topology fitted to 32x32 images: 3x3 convolutions
// on maps of 32, 16, 8 and 4 instead of 6, 3 and 1.
//
// Max pooling and inverted dropout make values grow beyond what gain 2 expects:
// with it in the fully connected layers too, first losses are near 6.5 instead of
// 2.4, and rate 0.05 diverges within ten steps. Hence gain 1 there, and a small last layer.
// docs/recipes.md has the evidence for the recipe.
func alexnetCIFAR(Options) (draft, error) {
	return draft{
		title: "AlexNet's topology fitted to 32x32 images", side: 32, classes: 10,
		preprocess: Preprocess{Mean: cifarMean, Std: cifarStd},
		recipe: Recipe{
			Batch: 128, Epochs: 27,
			LearningRate: 0.05, Momentum: 0.9, WeightDecay: 1e-3, Nesterov: true,
			Schedule: "onecycle",
			Augment:  "pad-crop,flip,cutout",
		},
		layers: func(s *stack) {
			conv := func(maps int) {
				s.conv(Conv{Maps: maps, Window: Window{Kernel: 3, Stride: 1, Pad: 1}, Weight: FanIn(2)})
			}
			pool := Window{Kernel: 3, Stride: 2, Rounding: RoundUp}
			conv(64)
			s.pool(pool)
			conv(192)
			s.pool(pool)
			conv(384)
			conv(256)
			conv(256)
			s.pool(pool)
			for range 2 {
				s.hidden(1024, FanIn(1), Constant(0))
				s.dropout(0.5, true)
			}
			s.output(Normal(0.01), Constant(0))
		},
	}, nil
}
