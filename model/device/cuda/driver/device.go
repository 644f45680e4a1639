//go:build linux && !nogpu

package driver

import (
	"errors"
	"runtime"
	"sync"
	"unsafe"
)

// Device is a GPU with its primary context, and the thread that has it.
type Device struct {
	d      *Driver
	index  int
	handle int32
	work   chan func()
	over   sync.WaitGroup
	closed sync.Once
}

// OpenDevice makes a GPU ready, counted from 0 among those that this process sees.
func (d *Driver) OpenDevice(index int) (*Device, error) {
	n, err := d.Count()
	if err != nil {
		return nil, err
	}
	if index < 0 || index >= n {
		if n == 1 {
			return nil, unusable("GPU %d: there is one, 0", index)
		}
		return nil, unusable("GPU %d: there are %d, 0 to %d", index, n, n-1)
	}
	v := &Device{d: d, index: index, work: make(chan func())}
	if err := d.call(index, "cuDeviceGet", pointer(&v.handle), uintptr(index)); err != nil {
		return nil, err
	}
	ready := make(chan error, 1)
	v.over.Go(func() { v.serve(ready) })
	if err := <-ready; err != nil {
		return nil, err
	}
	return v, nil
}

// serve is the device's thread, which has its context.
func (v *Device) serve(ready chan<- error) {
	// Never unlocked: the thread ends with the goroutine, and the context with it.
	runtime.LockOSThread()
	var context uintptr
	err := v.call("cuDevicePrimaryCtxRetain", pointer(&context), uintptr(v.handle))
	if err == nil {
		if err = v.call("cuCtxSetCurrent", context); err != nil {
			err = errors.Join(err, v.call("cuDevicePrimaryCtxRelease_v2", uintptr(v.handle)))
		}
	}
	ready <- err
	if err != nil {
		return
	}
	for f := range v.work {
		f()
	}
	_ = v.call("cuDevicePrimaryCtxRelease_v2", uintptr(v.handle)) // the process is done with it either way
}

// Do runs f on the device's thread, and returns its error. All that is done with the
// device is done so; f must not call Do.
func (v *Device) Do(f func() error) error {
	result := make(chan error, 1)
	v.work <- func() { result <- f() }
	return <-result
}

// Close gives the context back. Nobody may call Do any more.
func (v *Device) Close() error {
	v.closed.Do(func() { close(v.work); v.over.Wait() })
	return nil
}

func (v *Device) call(name string, args ...uintptr) error { return v.d.call(v.index, name, args...) }

// Name is what NVIDIA calls the GPU.
func (v *Device) Name() (string, error) {
	name := make([]byte, 256)
	if err := v.call("cuDeviceGetName", pointer(&name[0]), uintptr(len(name)), uintptr(v.handle)); err != nil {
		return "", err
	}
	for i, c := range name {
		if c == 0 {
			return string(name[:i]), nil
		}
	}
	return string(name), nil
}

// Attributes of a device (cuda.h, CUdevice_attribute).
const (
	attributeProcessors = 16
	attributeMajor      = 75
	attributeMinor      = 76
)

func (v *Device) attribute(number uintptr) (int, error) {
	var x int32
	err := v.call("cuDeviceGetAttribute", pointer(&x), number, uintptr(v.handle))
	return int(x), err
}

// Capability is the GPU's, 90 for 9.0.
func (v *Device) Capability() (int, error) {
	major, err := v.attribute(attributeMajor)
	if err != nil {
		return 0, err
	}
	minor, err := v.attribute(attributeMinor)
	return 10*major + minor, err
}

// Processors is how many multiprocessors it has.
func (v *Device) Processors() (int, error) { return v.attribute(attributeProcessors) }

// Pointer is an address in a GPU's memory; 0: none.
type Pointer uintptr

// Alloc allocates so many bytes. Where there are not so many the error is *OutOfMemory.
// Call it within Do, as all below.
func (v *Device) Alloc(bytes uint64) (Pointer, error) {
	var p uintptr
	err := v.call("cuMemAlloc_v2", pointer(&p), uintptr(bytes))
	var fault *Error
	if errors.As(err, &fault) && fault.Code == codeOutOfMemory {
		var free, size uintptr
		if err := v.call("cuMemGetInfo_v2", pointer(&free), pointer(&size)); err != nil {
			return 0, err
		}
		return 0, &OutOfMemory{Device: v.index, Asked: bytes, Free: uint64(free), Size: uint64(size)}
	}
	return Pointer(p), err
}

// Free gives memory back.
func (v *Device) Free(p Pointer) error { return v.call("cuMemFree_v2", uintptr(p)) }

// HostAlloc allocates memory of this process that the GPU reaches while it runs.
func (v *Device) HostAlloc(bytes int) ([]byte, error) {
	var p unsafe.Pointer
	const portable = 1 // for all devices of the process
	if err := v.call("cuMemHostAlloc", pointer(&p), uintptr(bytes), portable); err != nil {
		return nil, err
	}
	return unsafe.Slice((*byte)(p), bytes), nil
}

// HostFree gives what HostAlloc returned back.
func (v *Device) HostFree(b []byte) error { return v.call("cuMemFreeHost", pointer(&b[0])) }

// Module is kernels, compiled for the GPU.
type Module struct {
	v      *Device
	handle uintptr
}

// Load compiles a text of PTX. What the driver's compiler says is part of an error.
func (v *Device) Load(name, ptx string) (*Module, error) {
	const errorLog, errorLogBytes = 5, 6 // CUjit_option
	text := append([]byte(ptx), 0)
	log := make([]byte, 8<<10)
	options := [2]int32{errorLog, errorLogBytes}
	values := [2]uintptr{pointer(&log[0]), uintptr(len(log))}
	m := &Module{v: v}
	err := v.call("cuModuleLoadDataEx", pointer(&m.handle), pointer(&text[0]), uintptr(len(options)), pointer(&options[0]), pointer(&values[0]))
	runtime.KeepAlive(text)
	runtime.KeepAlive(options)
	runtime.KeepAlive(values)
	if err != nil {
		end := 0
		for end < len(log) && log[end] != 0 {
			end++
		}
		return nil, &CompileError{Module: name, Log: string(log[:end]), Err: err}
	}
	return m, nil
}

// Function is a kernel's handle.
type Function uintptr

// Function finds a kernel.
func (m *Module) Function(name string) (Function, error) {
	text := append([]byte(name), 0)
	var f uintptr
	err := m.v.call("cuModuleGetFunction", pointer(&f), m.handle, pointer(&text[0]))
	runtime.KeepAlive(text)
	return Function(f), err
}

// Unload gives the module back.
func (m *Module) Unload() error { return m.v.call("cuModuleUnload", m.handle) }
