package audit_test

import (
	"bytes"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/keybrake/keybrake-go/audit"
)

// What docs/audit.md shows is what the examples compile and run, line by line.
func TestPageShowsWhatRuns(t *testing.T) {
	page, err := os.ReadFile("../docs/audit.md")
	if err != nil {
		t.Fatal(err)
	}
	page, _, _ = bytes.Cut(page, []byte("\n## SQL\n")) // another module's, whose tests look at it
	var examples []byte
	for _, name := range []string{"example_test.go", "checkpoint_test.go"} {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		examples = append(examples, text...)
	}
	blocks := regexp.MustCompile("(?s)```go\n(.*?)```").FindAllStringSubmatch(string(page), -1)
	if len(blocks) != 5 {
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

// The page of the record names every field of its schema, and none that is not there.
func TestThePageNamesEveryFieldOfTheRecord(t *testing.T) {
	page, err := os.ReadFile("../docs/record.md")
	if err != nil {
		t.Fatal(err)
	}
	named := map[string]bool{}
	for line := range strings.Lines(string(page)) {
		cell, _, _ := strings.Cut(strings.TrimPrefix(line, "| "), " | ")
		if !strings.HasPrefix(line, "| `") {
			continue
		}
		for name := range strings.SplitSeq(cell, ", ") {
			named[strings.Trim(name, "`")] = true
		}
	}
	for _, field := range reflect.VisibleFields(reflect.TypeFor[audit.Record]()) {
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		if !named[name] {
			t.Errorf("the page does not say what %s is", name)
		}
		delete(named, name)
		inner := field.Type
		for inner.Kind() == reflect.Slice || inner.Kind() == reflect.Pointer {
			inner = inner.Elem()
		}
		if inner.Kind() != reflect.Struct || inner == reflect.TypeFor[time.Time]() {
			continue
		}
		for _, part := range reflect.VisibleFields(inner) {
			if name, _, _ := strings.Cut(part.Tag.Get("json"), ","); part.IsExported() && !strings.Contains(string(page), "`"+name+"`") {
				t.Errorf("the page does not say what %s of %s is", name, field.Name)
			}
		}
	}
	for name := range named {
		t.Errorf("the page says what %s is, and no record has it", name)
	}
}
