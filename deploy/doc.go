// Package deploy holds what runs Muster elsewhere: the image (Dockerfile) and the
// Kubernetes manifests (base, and overlays on it), which README.md explains. Its
// Go code is tests alone, and they need nothing but Go.
//
// The tests build base and every overlay as `kubectl apply -k` does and decode
// what comes out strictly, by Kubernetes's own types. On that stand the checks: one
// function for each thing that must agree, between two objects or between an
// object and the programs it starts. Every check has planted faults, edits of the
// files that it must find. Last, the pods' commands are run as processes, with
// the arguments, environment and files that Kubernetes would give them.
//
// Invariants of the manifests:
//  1. Every flag and every key of a configuration file is known to the very
//     program it is for, but for those listed in planned.
//  2. A container writes to volumes only, and runs as nobody in particular.
//  3. The bits that a job comes to are those of `muster train` with the same
//     job.yaml, whatever the overlay.
//
// Goroutines: the tests' alone; each watches a process, and ends with it.
package deploy
