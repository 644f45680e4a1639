//go:build race

package wire

// raceEnabled: these tests watch for data races.
const raceEnabled = true
