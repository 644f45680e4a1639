//go:build !linux

package cpu

// adviseHuge does nothing where the system takes no such advice.
func adviseHuge([]float32) {}
