//go:build !linux || nogpu

package driver

// Open says that this build has no GPUs.
func Open() (*Driver, error) {
	return nil, unusable("this build has no GPU support: it takes a build for Linux without the tag nogpu")
}

// Driver is CUDA's, which this build can't load.
type Driver struct{}
