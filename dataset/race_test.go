//go:build race

package dataset

// raceEnabled: these tests watch for data races.
const raceEnabled = true
