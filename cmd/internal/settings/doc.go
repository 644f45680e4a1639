// Package settings is what the three programs share at their edge: where the
// values of flags come from, how help looks, what an error prints, which status
// a program ends with, and what a signal does.
//
// A flag's value comes from the command line, else from the environment
// (MUSTER_ and the flag's name in capitals, - as _), else from the YAML file
// that --config names (the flag's name is the key), else it is the default. All
// three ways go through the flag's own parser, so they accept the same values.
//
// Invariants:
//  1. A flag that was given in any of these ways counts as changed; one that
//     stands at its default does not.
//  2. Every value that is refused is named together with where it came from and
//     what is allowed.
//  3. A program ends with one sentence on standard error and a status of 0
//     (done), 1 (a fault), 2 (wrong use or configuration) or 3 (stopped by a
//     signal after a clean checkpoint). Nothing here calls os.Exit but a second
//     interrupt.
//
// Goroutines: Main starts one that waits for signals and ends it before it
// returns. What a command does with its flags is the command's matter.
package settings
