// Package endpoint serves what supervisors and monitoring systems ask a process
// for, over HTTP: /metrics in the format of Prometheus, /healthz (is the process
// alive?) and /readyz (does it do its part?). docs/metrics.md lists the metrics.
//
// Invariants:
//  1. An answer is bounded in time: a probe or a collection that takes longer has
//     failed. A collector that fails costs its own metrics alone.
//  2. What is asked never changes or holds up what is asked about.
//
// Serve starts one goroutine for each connection and ends them all. What is
// measured is the matter of those who register collectors.
package endpoint
