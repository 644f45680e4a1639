//go:build !race

package dataset

// raceEnabled: these tests don't watch for data races.
const raceEnabled = false
