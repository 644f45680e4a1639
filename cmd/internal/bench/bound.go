package bench

import "time"

// due is a chunk of a step in the order of backward.
type due struct {
	after    time.Duration // from the step's beginning until every worker has its gradient
	up, down float64       // bytes to the server and from it, of all workers
}

// bound returns the time that no step can fall short of, with links that take rate
// bytes a second, 0 for no limit, and a delay each way. Let the chunks be 1 to m in
// the order of backward, r[i] when i is there, u[i] and d[i] its bytes up and down
// of all workers. None of i to m goes up before r[i], all of these must pass the
// server's link, and after the last of them at least one has to go down:
//
//	r[i] + sum(u[i..m])/rate + min(d[i..m])/rate + 2*delay
//
// and none of them comes down before one of them has been there from all workers:
//
//	r[i] + min(u[i..m])/rate + sum(d[i..m])/rate + 2*delay
//
// The bound is the largest of these. r[m] is the time of computing, so that it
// is that where the links are free. An exchange reaches it if it keeps the
// server's link full in both directions and updates in no time.
func bound(chunks []due, rate float64, delay time.Duration) time.Duration {
	var most time.Duration
	var up, down, leastUp, leastDown float64
	for i := len(chunks) - 1; i >= 0; i-- {
		c := chunks[i]
		up, down = up+c.up, down+c.down
		if i == len(chunks)-1 {
			leastUp, leastDown = c.up, c.down
		}
		leastUp, leastDown = min(leastUp, c.up), min(leastDown, c.down)
		t := c.after + 2*delay
		if rate > 0 {
			t += time.Duration(max(up+leastDown, leastUp+down) / rate * float64(time.Second))
		}
		most = max(most, t)
	}
	return most
}
