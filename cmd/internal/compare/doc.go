// Package compare turns the results of several networks, trained under the same
// conditions, into a report: a Markdown page with the article's chart, accuracy
// and loss curves, tables, the commands that repeat it, machine and data; and
// the same as JSON.
//
// A report is a function of its Experiment: the same one gives the same files.
// The package starts no goroutine and trains nothing.
package compare
