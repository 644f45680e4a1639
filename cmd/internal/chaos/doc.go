// Package chaos destroys a job again and again, and finds out whether anything was lost.
//
// A stage is a whole cluster of real processes on this machine: an etcd, parameter
// servers of which one leads and the others follow it, and workers. Between them are
// links, which are proxies in this process: to each server from everybody else, and
// to etcd from each process. A plan, drawn from a seed, says what is done to them and
// when. Whatever ends is started again, as Kubernetes would. At the end all is mended;
// the job must go on, and be stopped at some step; and the parameters must be, bit for
// bit, those that an undisturbed stage of the same job has at that step.
//
// Data flow: NewPlan -> Run -> strike -> stage (processes, links), whose record is what
// the servers say of themselves. Nothing flows back to the plan: the same seed gives the
// same faults at the same times, to which processes and links may of course answer
// differently each time.
//
// Invariants:
//  1. A fault ends: each that lasts has a time after which it is undone.
//  2. Nothing is struck before there is a checkpoint: a job all of whose servers die
//     before that has to be begun anew, which is nobody's to decide but the user's.
//  3. No process outlives this one (on Linux, where alone the package runs jobs).
//
// Goroutines: one for each process, which waits for its end and starts it again; one for
// each server, which asks it how the job stands; two for each connection of a link; one
// for each fault that lasts. Stage.close waits for all.
package chaos
