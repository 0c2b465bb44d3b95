package keybrake_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Every row of the table of threats names tests, and every test that the page names is there.
func TestSecurityPageNamesTests(t *testing.T) {
	page, err := os.ReadFile("SECURITY.md")
	if err != nil {
		t.Fatal(err)
	}
	exists := map[string]bool{}
	err = filepath.WalkDir(".", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		for _, m := range regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`).FindAllStringSubmatch(string(text), -1) {
			exists[m[1]] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	name := regexp.MustCompile("`((?:Test|Fuzz)\\w+)`")
	rows, named := 0, 0
	for line := range strings.Lines(string(page)) {
		found := name.FindAllStringSubmatch(line, -1)
		for _, m := range found {
			named++
			if !exists[m[1]] {
				t.Errorf("there is no test %s", m[1])
			}
		}
		if !strings.HasPrefix(line, "| **") {
			continue
		}
		if rows++; len(found) == 0 && !strings.Contains(line, "| Nothing. ") {
			t.Errorf("no test shows what holds against %s", strings.Split(line, "|")[1])
		}
	}
	if rows < 15 || named < 30 {
		t.Errorf("%d rows with %d tests were read", rows, named)
	}
}
