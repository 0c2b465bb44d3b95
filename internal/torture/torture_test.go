package main

import (
	"bytes"
	"math/rand/v2"
	"os"
	"regexp"
	"testing"
	"time"
)

// The short form of the torture: every part once, from a seed that is fixed and one that is not.
func TestNothingIsLostWhateverFails(t *testing.T) {
	span := 4 * time.Second
	if os.Getenv("KEYBRAKE_LONG") != "" {
		span = 5 * time.Minute
	}
	for _, seed := range []uint64{1, rand.Uint64()} {
		var out bytes.Buffer
		violations, err := torture(&out, seed, span, "")
		t.Log(out.String())
		must(t, err)
		if violations > 0 {
			t.Errorf("%d violations with seed %d", violations, seed)
		}
		if !regexp.MustCompile(`\noperations [1-9]\d*, faults [1-9]\d*, violations 0\n$`).MatchString(out.String()) {
			t.Error("the last line is not as it is documented")
		}
	}
}
