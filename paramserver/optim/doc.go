// Package optim says how far a parameter moves: the update rule (momentum with
// weight decay, in PaddlePaddle's form or Nesterov's) and the learning rate
// over the life of a job.
//
// Invariants:
//  1. A Schedule's rate is a pure function of Progress. It holds no state, so a
//     job that is resumed, or replayed from an earlier step, sees the same rates.
//  2. The rate has the same bits on every platform. Schedules are computed in
//     float64 with + - * / alone, every product rounded by an explicit
//     conversion so that no compiler fuses it with a sum; powers, exponentials
//     and cosines are this package's own (see real.go for their errors).
//  3. A Rule works value by value: a value's update depends on nothing but that
//     value's parameter, velocity and gradient, so ranges of the vector may be
//     updated in any order or at once.
//
// The package starts no goroutine and does no I/O. Schedules and Rules are
// values, safe for concurrent use.
package optim
