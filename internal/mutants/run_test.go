package main

import (
	"os"
	"path/filepath"
	"testing"
)

// A removal counts as noticed only when tests ran that pass without it and fail with it.
func TestVerdicts(t *testing.T) {
	const gate = "package gate\n\nfunc Open(key int) bool {\n\tif key < 0 {\n\t\treturn false\n\t}\n\tif key == 7 {\n\t\treturn false\n\t}\n\treturn true\n}\n"
	dir := t.TempDir()
	for name, text := range map[string]string{
		"go.mod":  "module example.com/gate\n\ngo 1.25.0\n",
		"gate.go": gate,
		"gate_test.go": "package gate\n\nimport \"testing\"\n\nfunc TestNegative(t *testing.T) {\n\tif Open(-1) {\n\t\tt.Error(\"open\")\n\t}\n}\n\n" +
			"func TestSeven(t *testing.T) {\n\tt.Skip()\n}\n\nfunc TestBroken(t *testing.T) {\n\tt.Error(\"always\")\n}\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const negative, seven = "\tif key < 0 {\n", "\tif key == 7 {\n"
	r := &runner{root: dir, tmp: t.TempDir(), whole: map[string]*baseline{}}
	for name, tt := range map[string]struct {
		old, new, test string
		want           verdict
	}{
		"the test fails":         {negative, "\tif key < -9 {\n", "^TestNegative$", noticed},
		"the test passes":        {seven, "\tif key == 8 {\n", "^TestNegative$", survived},
		"it does not build":      {negative, "\tif key {\n", "^TestNegative$", wrong},
		"the test is skipped":    {seven, "\tif key == 8 {\n", "^TestSeven$", wrong},
		"there is no such test":  {negative, "\tif key < -9 {\n", "^TestNothing$", wrong},
		"there is no such part":  {negative, "\tif key < -9 {\n", "^TestNegative$/^part$", wrong},
		"the test fails without": {negative, "\tif key < -9 {\n", "^TestBroken$", wrong},
		"the lines are gone":     {"\tif key < 1 {\n", "\tif key < -9 {\n", "^TestNegative$", wrong},
	} {
		v, err := r.run(t.Context(), control{name: name, file: "gate.go", old: tt.old, new: tt.new, pkg: ".", test: tt.test})
		if v != tt.want || (err != nil) != (tt.want == wrong) {
			t.Errorf("%s: %s, %v; want %s", name, v, err, tt.want)
		}
	}
	if text, err := os.ReadFile(filepath.Join(dir, "gate.go")); err != nil || string(text) != gate {
		t.Errorf("the working tree was touched: %v\n%s", err, text)
	}
}
