// Package work is the worker as a program: its flags, its data and device, and
// how it finds its server. cmd/worker and cmd/muster share it.
package work
