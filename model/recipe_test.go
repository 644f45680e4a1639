package model

import "testing"

func TestRecipesAreThoseOfTheDocument(t *testing.T) {
	paddle := Recipe{Batch: 128, Epochs: 10, LearningRate: 0.1, Momentum: 0.9, WeightDecay: 2e-4, Schedule: "discexp:0.1,5000000", Augment: "none"}
	tf := paddle
	tf.LearningRate = 0.01
	baseline := Recipe{Batch: 128, Epochs: 10, LearningRate: 0.01, Momentum: 0.9, WeightDecay: 5e-4, Schedule: "constant", Augment: "none"}
	for name, want := range map[string]Recipe{
		"alexnet":       paddle,
		"alexnet-lrn":   paddle,
		"alexnet-tf":    tf,
		"alexnet-2012":  {Batch: 128, Epochs: 10, LearningRate: 0.01, Momentum: 0.9, WeightDecay: 5e-4, Schedule: "constant", Augment: "pad-crop,flip,colour-pca"},
		"lenet5":        baseline,
		"simple-cnn":    baseline,
		"alexnet-cifar": {Batch: 128, Epochs: 27, LearningRate: 0.05, Momentum: 0.9, WeightDecay: 1e-3, Nesterov: true, Schedule: "onecycle", Augment: "pad-crop,flip,cutout"},
	} {
		if got := build(t, name, Options{}).Recipe; got != want {
			t.Errorf("%s: recipe %+v, want %+v", name, got, want)
		}
	}
}

func TestInputsAreThoseOfTheDocument(t *testing.T) {
	plain := Preprocess{Side: 32, Std: [3]float32{1, 1, 1}}
	mean := [3]float32{0.4914, 0.4822, 0.4465}
	for name, want := range map[string]Preprocess{
		"alexnet":       plain,
		"alexnet-lrn":   plain,
		"alexnet-tf":    {Side: 224, Std: [3]float32{1, 1, 1}},
		"alexnet-2012":  {Side: 227, Mean: mean, Std: [3]float32{1. / 255, 1. / 255, 1. / 255}},
		"lenet5":        plain,
		"simple-cnn":    plain,
		"alexnet-cifar": {Side: 32, Mean: mean, Std: [3]float32{0.2470, 0.2435, 0.2616}},
	} {
		if got := build(t, name, Options{}).Preprocess; got != want {
			t.Errorf("%s: preprocessing %+v, want %+v", name, got, want)
		}
	}
}
