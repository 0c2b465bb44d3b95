package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const root = "../.."

func controls(t *testing.T) []chapter {
	t.Helper()
	chapters, err := parse(table)
	if err != nil {
		t.Fatalf("controls.txt: %v", err)
	}
	return chapters
}

// A row whose lines or whose tests are gone shows nothing.
func TestEveryRowStillApplies(t *testing.T) {
	n, texts := 0, map[string]string{}
	for _, ch := range controls(t) {
		for _, c := range ch.controls {
			n++
			if _, err := c.removed(root); err != nil {
				t.Errorf("controls.txt:%d: %s: %v", c.line, c.name, err)
			}
			if texts[c.pkg] == "" {
				texts[c.pkg] = tests(t, c.pkg)
			}
			for _, name := range named.FindAllString(c.test, -1) {
				if !strings.Contains(texts[c.pkg], "\nfunc "+name+"(") {
					t.Errorf("controls.txt:%d: %s: %s has no test %s", c.line, c.name, c.pkg, name)
				}
			}
			if !named.MatchString(c.test) {
				t.Errorf("controls.txt:%d: %s: %s names no test", c.line, c.name, c.test)
			}
		}
	}
	if n < 60 {
		t.Errorf("the table has %d controls, and should have 60 at least", n)
	}
}

var named = regexp.MustCompile(`\b(Test|Fuzz)\w+`)

// tests is the text of a package's tests.
func tests(t *testing.T, pkg string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root, pkg, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(text)
	}
	return all.String()
}

func TestThePageListsTheTable(t *testing.T) {
	file := filepath.Join(root, "docs", "controls.md")
	want := page(controls(t))
	if os.Getenv("UPDATE_README") != "" {
		if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Error("docs/controls.md is not what controls.txt says; run: UPDATE_README=1 go test -run TestThePageListsTheTable")
	}
}

func TestATableThatIsNotInFormIsRefused(t *testing.T) {
	const good = "== Chapter\n\nA name\nfile a.go\n-\told\n+\tnew\ntest . TestX\n"
	if _, err := parse(good); err != nil {
		t.Fatalf("the table in form is refused: %v", err)
	}
	for name, change := range map[string][2]string{
		"no chapter":        {"== Chapter\n\n", ""},
		"an empty chapter":  {"== Chapter", "== Chapter\n\n== Another\n\n== Chapter"},
		"no name":           {"A name\n", ""},
		"a name of a table": {"A name", "A|name"},
		"no file":           {"file a.go\n", ""},
		"no change":         {"-\told\n+\tnew\n", ""},
		"an idle change":    {"+\tnew", "+\told"},
		"nothing to remove": {"-\told\n", ""},
		"a stray line":      {"+\tnew", "\tnew"},
		"no test":           {"test . TestX\n", ""},
		"no package":        {"test . TestX", "test TestX"},
		"a bad pattern":     {"TestX", "Test("},
		"two of one name":   {"test . TestX\n", "test . TestX\n\nA name\nfile b.go\n-\told\n+\tnew\ntest . TestX\n"},
		"two of one change": {"test . TestX\n", "test . TestX\n\nB name\nfile a.go\n-\told\n+\tnew\ntest . TestX\n"},
	} {
		t.Run(name, func(t *testing.T) {
			bad := strings.Replace(good, change[0], change[1], 1)
			if bad == good {
				t.Fatal("the case changes nothing")
			}
			if _, err := parse(bad); err == nil {
				t.Errorf("this table is taken:\n%s", bad)
			}
		})
	}
}

// The lines have to be the whole ones of one place.
func TestAChangeAppliesOnceOrNot(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "a.go"), []byte("one\ntwo\n\ttwo\none\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for old, want := range map[string]string{
		"two\n":      "one\nnew\n\ttwo\none\n",
		"\ttwo\n":    "one\ntwo\nnew\none\n",
		"one\n":      "",
		"three\n":    "",
		"one\ntwo\n": "new\n\ttwo\none\n",
	} {
		got, err := control{file: "a.go", old: old, new: "new\n"}.removed(dir)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%q is replaced as %q, %v; want %q", old, got, err, want)
		}
	}
}

// A pattern of a subtest that there is not would pass as a test that ran.
func TestAPatternHasToNameATestToItsEnd(t *testing.T) {
	const out = "=== RUN   TestA\n=== RUN   TestA/b\n    --- PASS: TestA/b (0.00s)\n--- PASS: TestA (0.00s)\n--- SKIP: TestB (0.00s)\nPASS\n"
	for pattern, want := range map[string]bool{"TestA": true, "TestA/b": true, "TestA/b/c": false} {
		if got := ran(out, pattern); got != want {
			t.Errorf("ran %s: %t, want %t", pattern, got, want)
		}
	}
	if ran("--- SKIP: TestB (0.00s)\nPASS\n", "TestB") {
		t.Error("a test that was skipped counts as one that ran")
	}
}
