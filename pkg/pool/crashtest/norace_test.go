//go:build !race

package crashtest

// raceDetector: the test was built with it.
const raceDetector = false
