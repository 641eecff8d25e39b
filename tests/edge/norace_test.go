//go:build !race

package edge

// raceDetector says whether these tests, and so the edges they start, look for
// data races.
const raceDetector = false
