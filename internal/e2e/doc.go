// Package e2e tests the whole system as its users run it: the three programs as
// processes, and server and workers within one process.
//
// TestSameBits is the promise of docs/architecture.md, section 1, as a table:
// whatever the cluster looks like and whoever is killed, the same job ends with
// the same hash. The scripts in testdata/script are behaviour that a reader
// would ask about, above all what programs say to wrong use; `go test
// ./internal/e2e -run TestScripts -rewrite` writes what is said now into them,
// to be read as a diff.
//
// The package holds nothing but tests.
package e2e
