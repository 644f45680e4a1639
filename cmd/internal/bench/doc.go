// Package bench measures: each figure together with what it is compared with, in
// the same run and by turns, because machines are shared and clocks change.
//
// Every figure is a median. Only what is said to be measured lies between two
// looks at the clock; what belongs to measuring, such as looking at how much was
// allocated, lies outside. A Peak has a goroutine for each thread but the first,
// which NewPeak starts and Close ends; so has a Step for the update.
package bench
