//go:build !race

package keybrake_test

const raceDetector = false
