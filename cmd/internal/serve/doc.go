// Package serve is the parameter server as a program: its flags, the job they
// describe, and how etcd, listeners and paramserver.Server are put together.
// cmd/paramserver and cmd/muster share it. It links the embedded etcd, so
// cmd/worker must not.
package serve
