//go:build !race

package wire

// raceEnabled: these tests don't watch for data races.
const raceEnabled = false
