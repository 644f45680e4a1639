// Package telemetry tells people and machines how a run goes: the log and the
// progress of training.
//
// A log goes to one writer, coloured on a terminal, as plain text or JSON
// elsewhere. Progress is one line that is redrawn on a terminal, and one
// structured line every five seconds elsewhere. Results are not its matter:
// they go to standard output, which this package never touches.
//
// Invariants:
//  1. A line of the log is never torn by the redrawn line: both pass through
//     one Console, which puts lines above it.
//  2. What is shown never changes what is computed: nothing here returns an
//     error to the loop or waits for a reader, and Update allocates nothing
//     between two lines.
//
// Goroutines: on a terminal NewProgress starts those that redraw the line;
// Close ends them and waits for them. Otherwise there are none.
package telemetry
