package fakevendor_test

import (
	"testing"
	"time"
)

// until waits for something that another goroutine does and that has no channel.
func until(t *testing.T, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !ok(); {
		if time.Now().After(deadline) {
			t.Fatal("it did not happen within ten seconds")
		}
		time.Sleep(time.Millisecond)
	}
}
