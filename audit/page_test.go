package audit_test

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// What docs/audit.md shows is what the examples compile and run, line by line.
func TestPageShowsWhatRuns(t *testing.T) {
	page, err := os.ReadFile("../docs/audit.md")
	if err != nil {
		t.Fatal(err)
	}
	examples, err := os.ReadFile("example_test.go")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?s)```go\n(.*?)```").FindAllStringSubmatch(string(page), -1)
	if len(blocks) != 2 {
		t.Errorf("the page has %d blocks of Go", len(blocks))
	}
	for _, b := range blocks {
		if !strings.Contains(bare(string(examples)), bare(b[1])) {
			t.Errorf("the page shows what does not run:\n%s", b[1])
		}
	}
}

// bare is text without the spaces around its lines.
func bare(text string) string {
	lines := strings.Split(text, "\n")
	for i := range lines {
		lines[i] = strings.TrimSpace(lines[i])
	}
	return strings.Join(lines, "\n")
}
