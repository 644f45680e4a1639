// Package model describes the networks and binds them to devices.
//
// A network is a list of layers without shapes (a file for each kind of layer,
// a file for each network). New resolves it for one input size and number of
// classes: every layer's output shape, the Layout of all parameters, and the
// device.Graph that a device compiles. What a layer computes, forward and
// backward, is the device's affair; this package knows shapes, parameters,
// their first values, and costs.
//
// Invariants:
//  1. Order, names and shapes of the parameters are a function of the network's
//     name and Options alone; names are those a PyTorch module would give.
//  2. A first value is a pure function of (seed, number of its tensor, row, place
//     in its row): equal bits on every machine, with any number of threads.
//  3. A Network is not modified after New and is safe for concurrent use.
//
// Initialise starts goroutines, at most one for each processor, and waits for
// them; nothing else here starts any.
package model
