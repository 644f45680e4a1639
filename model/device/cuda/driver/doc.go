// Package driver is what this project needs of CUDA's driver, libcuda.so.1, which it loads
// when it is asked to: nothing of CUDA is needed to build or to start a program. On systems
// but Linux, and with the build tag nogpu, Open says that this build has no GPUs.
//
// Invariants:
//  1. What is called for a device is called on the device's own thread, which has its context:
//     Device.Do. Its goroutine is started by OpenDevice, and ends with Close.
//  2. Every error names the call, the code and its name, and the device. Those after which a
//     context can't be used any more are Sticky.
//  3. Nobody's lack of a GPU, driver or memory is a panic: each is one sentence that says what
//     to do.
package driver
