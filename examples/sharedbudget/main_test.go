package main

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/keybrake/keybrake-go/internal/redistest"
)

// The workers run the program again, which in a test is the test.
func TestMain(m *testing.M) {
	if slices.Contains(os.Args, "-worker") {
		main()
		return
	}
	os.Exit(m.Run())
}

// A buffer is written to by two processes at once.
type buffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func TestTwoProcessesExecuteWhatOneBudgetCovers(t *testing.T) {
	var out buffer
	if err := run(t.Context(), &out, redistest.Start(t)); err != nil {
		t.Fatalf("%v\n%s", err, out.text.String())
	}
	executed, refused := 0, 0
	for line := range strings.Lines(out.text.String()) {
		var pid, yes, no int
		if n, _ := fmt.Sscanf(line, "process %d: %d refunds of 10.00 executed, %d refused", &pid, &yes, &no); n == 3 && pid != os.Getpid() {
			executed, refused = executed+yes, refused+no
		}
	}
	if executed != 15 || refused != 25 {
		t.Errorf("%d executed and %d refused, by\n%s", executed, refused, out.text.String())
	}
}

func TestWithoutARedisNothingStarts(t *testing.T) {
	if err := run(t.Context(), &buffer{}, "127.0.0.1:1"); err == nil || !strings.Contains(err.Error(), "no answer to PING") {
		t.Errorf("got %v", err)
	}
}
