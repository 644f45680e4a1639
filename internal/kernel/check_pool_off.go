//go:build !race && !kernelcheck

package kernel

func checkWindow(y []float32, from, read []int32, x []float32, w *Window) {}

func checkCounts(counts []float32, w *Window) {}

func checkResponse(n int, r *Response) {}
