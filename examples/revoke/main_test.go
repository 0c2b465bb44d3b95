package main

import (
	"bytes"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/keybrake/keybrake-go/internal/redistest"
)

// The agent's process is the program again, which in a test is the test.
func TestMain(m *testing.M) {
	if slices.Contains(os.Args, "-agent") {
		main()
		return
	}
	os.Exit(m.Run())
}

func TestNothingIsExecutedInTheOtherProcessAfterRevoke(t *testing.T) {
	var out bytes.Buffer
	if err := run(t.Context(), &out, redistest.Start(t)); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	before, after, revoked := strings.Cut(out.String(), "revoked run_42 in 1 tenant\n")
	if !revoked || strings.Count(before, ": executed re_") != 3 || strings.Count(after, "refused stripe.refunds.create: run:run_42 is revoked") != 3 {
		t.Errorf("got\n%s", out.String())
	}
}
