//go:build !linux

package params

// adviseHuge does nothing where the system takes no such advice.
func adviseHuge([]float32) {}
