//go:build linux && !nogpu

package driver

import (
	"errors"
	"os"
	"unsafe"

	"github.com/ebitengine/purego"
)

// leastVersion is the driver's, of CUDA 11.0: the first that takes PTX 7.0.
const leastVersion = 11000

// soname is the file that comes with NVIDIA's driver.
const soname = "libcuda.so.1"

// Driver is CUDA's, loaded.
type Driver struct {
	version int
	symbol  map[string]uintptr
}

// symbols are all functions that are called, by the names that the library has for them.
var symbols = []string{
	"cuInit", "cuDriverGetVersion", "cuGetErrorName", "cuDeviceGetCount", "cuDeviceGet", "cuDeviceGetName", "cuDeviceGetAttribute", "cuDeviceTotalMem_v2",
	"cuDevicePrimaryCtxRetain", "cuDevicePrimaryCtxRelease_v2", "cuCtxSetCurrent",
	"cuMemAlloc_v2", "cuMemFree_v2", "cuMemGetInfo_v2", "cuMemHostAlloc", "cuMemFreeHost",
	"cuMemcpyHtoDAsync_v2", "cuMemcpyDtoHAsync_v2", "cuMemcpyDtoDAsync_v2", "cuMemsetD32Async",
	"cuStreamCreate", "cuStreamDestroy_v2", "cuStreamSynchronize", "cuStreamWaitEvent", "cuStreamBeginCapture_v2", "cuStreamEndCapture",
	"cuEventCreate", "cuEventDestroy_v2", "cuEventRecord", "cuEventSynchronize",
	"cuModuleLoadDataEx", "cuModuleUnload", "cuModuleGetFunction", "cuLaunchKernel",
	"cuGraphInstantiateWithFlags", "cuGraphLaunch", "cuGraphExecDestroy", "cuGraphDestroy",
}

// Open loads the driver and makes it ready. An error is *Unusable where there is nothing
// to be loaded, or nothing that could run our kernels.
func Open() (*Driver, error) {
	handle, err := purego.Dlopen(soname, purego.RTLD_NOW|purego.RTLD_LOCAL)
	if err != nil {
		return nil, unusable("no NVIDIA driver: %v; install one, or leave --gpu out to compute on the CPU", err)
	}
	d := &Driver{symbol: map[string]uintptr{}}
	for _, name := range symbols {
		at, err := purego.Dlsym(handle, name)
		if err != nil {
			return nil, unusable("the NVIDIA driver is too old: its %s has no %s; version 450.80.02 or later (CUDA 11) is needed", soname, name)
		}
		d.symbol[name] = at
	}
	if err := d.call(-1, "cuInit", 0); err != nil {
		var fault *Error
		if errors.As(err, &fault) && fault.Code == codeNoDevice {
			return nil, d.none()
		}
		return nil, unusable("the NVIDIA driver can't be used: %v; nvidia-smi may say why", err)
	}
	var version int32
	if err := d.call(-1, "cuDriverGetVersion", pointer(&version)); err != nil {
		return nil, err
	}
	if d.version = int(version); d.version < leastVersion {
		return nil, unusable("the NVIDIA driver is too old: it knows CUDA %d.%d, and version 450.80.02 or later (CUDA 11) is needed", version/1000, version%1000/10)
	}
	return d, nil
}

// none is why there are no devices.
func (d *Driver) none() error {
	if visible, set := os.LookupEnv("CUDA_VISIBLE_DEVICES"); set {
		return unusable("no GPU can be seen: CUDA_VISIBLE_DEVICES is %q; unset it, or name GPUs such as 0,1", visible)
	}
	return unusable("the NVIDIA driver is there, and no GPU: nvidia-smi lists those that it sees; leave --gpu out to compute on the CPU")
}

// Version is the newest CUDA that the driver knows, as 12040 for 12.4.
func (d *Driver) Version() int { return d.version }

// Count is how many GPUs there are; an *Unusable tells why there are none.
func (d *Driver) Count() (int, error) {
	var n int32
	if err := d.call(-1, "cuDeviceGetCount", pointer(&n)); err != nil {
		return 0, err
	}
	if n == 0 {
		return 0, d.none()
	}
	return int(n), nil
}

// pointer is the address of a Go value for one call. The caller uses the value afterwards,
// or keeps it alive.
func pointer[T any](p *T) uintptr {
	if never {
		sink = p // so the value is on the heap, where it stays where it is
	}
	return uintptr(unsafe.Pointer(p))
}

var never bool

//lint:ignore U1000 it is there to be stored to, so that the compiler has what might be on the heap
var sink any

// call calls a function, and names what it came to.
func (d *Driver) call(device int, name string, args ...uintptr) error {
	code, _, _ := purego.SyscallN(d.symbol[name], args...)
	if code := int(int32(code)); code != 0 {
		return &Error{Call: name, Code: code, Name: d.errorName(code), Device: device}
	}
	return nil
}

// errorName is what the driver calls a code.
func (d *Driver) errorName(code int) string {
	text := new(*byte)
	if r, _, _ := purego.SyscallN(d.symbol["cuGetErrorName"], uintptr(code), pointer(text)); int32(r) != 0 || *text == nil {
		return "unknown error"
	}
	name := unsafe.Slice(*text, 64)
	for i, c := range name {
		if c == 0 {
			return string(name[:i])
		}
	}
	return string(name)
}
