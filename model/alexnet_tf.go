package model

// tensorFlowLRN is tf.nn.local_response_normalization as the article's program
// calls it: depth_radius 2, so 5 channels, and alpha as it stands.
var tensorFlowLRN = LRN{Size: 5, K: 2, Alpha: 1e-4, Beta: 0.75}

// alexnetTF is the article's TensorFlow program, which ends at pool5, with the
// head of the other program's shape. Weights of the convolutions begin as there,
// truncated normal with sigma 0.1; those of the head, which the program doesn't
// give, as TensorFlow's own AlexNet (slim), with sigma 0.005.
func alexnetTF(Options) (draft, error) {
	return draft{
		title: "AlexNet as in the TensorFlow program, images resized to its input", side: 224, classes: 10,
		recipe: Recipe{
			Batch: 128, Epochs: 10,
			LearningRate: 0.01, Momentum: 0.9, WeightDecay: 2e-4,
			Schedule: "discexp:0.1,5000000",
			Augment:  "none",
		},
		layers: func(s *stack) {
			conv := func(maps, kernel, stride int) {
				s.conv(Conv{
					Maps:   maps,
					Window: Window{Kernel: kernel, Stride: stride, Rounding: Same},
					Weight: TruncatedNormal(0.1),
				})
			}
			valid := Window{Kernel: 3, Stride: 2}
			conv(64, 11, 4)
			s.lrn(tensorFlowLRN)
			s.pool(valid)
			conv(192, 5, 1)
			s.lrn(tensorFlowLRN)
			s.pool(valid)
			conv(384, 3, 1)
			conv(256, 3, 1)
			conv(256, 3, 1)
			s.pool(valid)
			for range 2 {
				s.hidden(4096, TruncatedNormal(0.005), Constant(0))
				s.dropout(0.5, true)
			}
			s.output(TruncatedNormal(0.005), Constant(0))
		},
	}, nil
}
