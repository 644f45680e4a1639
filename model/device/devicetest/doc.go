// Package devicetest says whether a device keeps the promises of package
// device, whatever it is made of: one suite for all.
//
// Run tries every kind of operation in tiny graphs, against a slow reference
// in float64 that is written here and against central differences of that
// reference's loss; and it checks, bit for bit, what must not depend on how a
// batch is put together: a shard's gradient, sums over the tree, masks,
// repetition, plans side by side. It checks errors, reports and allocations too.
//
// The package's own tests run the suite on devices with one defect each, and
// want it found.
package devicetest
