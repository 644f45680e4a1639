package model

import "fmt"

// lrnOrders holds what Options.LRNOrder can be, the default first.
var lrnOrders = []string{"article", "paper"}

// alexnet2012 is the network of Krizhevsky, Sutskever and Hinton, "ImageNet
// Classification with Deep Convolutional Neural Networks" (2012). Groups are the
// halves that its two GPUs held. The article normalises after pooling, the paper
// before.
func alexnet2012(o Options) (draft, error) {
	lrnFirst := false
	switch o.LRNOrder {
	case "", lrnOrders[0]:
	case lrnOrders[1]:
		lrnFirst = true
	default:
		return draft{}, fmt.Errorf("unknown lrn order %q%s; want %s or %s", o.LRNOrder, suggestion(o.LRNOrder, lrnOrders), lrnOrders[0], lrnOrders[1])
	}
	return draft{
		title: "AlexNet of 2012, in the halves of its two GPUs", side: 227, classes: 1000,
		// The paper feeds pixels of 0 to 255 less their mean.
		preprocess: Preprocess{Mean: cifarMean, Std: [3]float32{1. / 255, 1. / 255, 1. / 255}},
		recipe: Recipe{
			Batch: 128, Epochs: 10,
			LearningRate: 0.01, Momentum: 0.9, WeightDecay: 5e-4,
			Schedule: "constant",
			Augment:  "pad-crop,flip,colour-pca",
		},
		layers: func(s *stack) {
			weight := Normal(0.01)
			conv := func(maps int, w Window, groups int, bias float32) {
				s.conv(Conv{Maps: maps, Window: w, Groups: groups, Weight: weight, Bias: Constant(bias)})
			}
			reduce := func() {
				lrn, pool := LRN{Size: 5, K: 2, Alpha: 1e-4, Beta: 0.75}, Window{Kernel: 3, Stride: 2}
				if lrnFirst {
					s.lrn(lrn)
					s.pool(pool)
				} else {
					s.pool(pool)
					s.lrn(lrn)
				}
			}
			conv(96, Window{Kernel: 11, Stride: 4}, 1, 0)
			reduce()
			conv(256, Window{Kernel: 5, Stride: 1, Pad: 2}, 2, 1)
			reduce()
			conv(384, Window{Kernel: 3, Stride: 1, Pad: 1}, 1, 0)
			conv(384, Window{Kernel: 3, Stride: 1, Pad: 1}, 2, 1)
			conv(256, Window{Kernel: 3, Stride: 1, Pad: 1}, 2, 1)
			s.pool(Window{Kernel: 3, Stride: 2})
			for range 2 {
				s.hidden(4096, weight, Constant(1))
				s.dropout(0.5, false)
			}
			s.output(weight, Constant(0))
		},
	}, nil
}
