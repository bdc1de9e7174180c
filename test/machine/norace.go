//go:build !race

package machine

// raceEnabled says that this program was built with the race detector.
const raceEnabled = false
