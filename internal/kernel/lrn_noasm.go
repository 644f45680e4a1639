//go:build !amd64

package kernel

func lrn(y, d, f, x []float32, r *Response) { lrnPortable(y, d, f, x, r) }

func lrnBack(dx, dy, x, d, f, q []float32, r *Response) { lrnBackPortable(dx, dy, x, d, f, q, r) }
