// Package lint holds the layering of the project and fails its own test where
// the source leaves it.
//
// What it checks, from the source files alone (nothing is compiled, so it takes
// a fraction of a second and sees every platform's files):
//  1. Imports between the project's packages are those that rules.go lists. Each
//     package imports only packages listed above it, so no import points upward.
//  2. Some modules and packages are imported only where rules.go allows: gRPC in
//     one file of worker and paramserver each, embedded etcd and GPU drivers in
//     the programs that need them, also by way of other packages.
//  3. Where the same bits are promised, no function of math is called that may
//     differ between platforms.
//  4. Every package says what it is in a comment; none has a name that says
//     nothing.
//
// A refused import is reported with the reason. To allow an import, change
// rules.go and docs/architecture.md in the same commit. The package starts no
// goroutine and imports nothing of the project.
package lint
