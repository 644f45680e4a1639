//go:build !amd64

package kernel

func relu(y, x []float32) { reluPortable(y, x) }

func reluBack(dx, dy, y []float32) { reluBackPortable(dx, dy, y) }

func leakyReLU(y, x []float32, slope float32) { leakyReLUPortable(y, x, slope) }

func leakyReLUBack(dx, dy, y []float32, slope float32) { leakyReLUBackPortable(dx, dy, y, slope) }
