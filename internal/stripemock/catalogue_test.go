package stripemock

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/keybrake/keybrake-go/vendors"
)

// costs is how the catalogue prices each operation, by name.
func costs(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	text, err := os.ReadFile("../../vendors/kbstripe/catalogue.tsv")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if f := append(strings.Split(strings.TrimRight(line, "\n"), "\t"), "", "", ""); line[0] != '#' {
			all["stripe."+f[0]] = f[4]
		}
	}
	return all
}

// The table in the repository is the one that the generator makes of what Stripe describes and what was decided. The
// error names what is new or gone.
func TestTheCatalogueIsWhatStripeDescribes(t *testing.T) {
	want, err := Catalogue()
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile("../../vendors/kbstripe/catalogue.tsv")
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Equal(got, want) {
		return
	}
	t.Error("vendors/kbstripe/catalogue.tsv is out of date; run go run ./cmd/catalogue here and read the difference")
	is, should := strings.Split(string(got), "\n"), strings.Split(string(want), "\n")
	for _, line := range should {
		if !slices.Contains(is, line) {
			t.Errorf("new:  %.200s", line)
		}
	}
	for _, line := range is {
		if !slices.Contains(should, line) {
			t.Errorf("gone: %.200s", line)
		}
	}
}

// Every operation that Stripe describes is one of the table's: it is found by its path, with ids such as Stripe gives.
func TestEveryOperationOfStripesIsInTheTable(t *testing.T) {
	doc, err := description()
	if err != nil {
		t.Fatal(err)
	}
	tab := table(t)
	rows := map[string]*vendors.Operation{}
	for _, op := range tab.Operations() {
		rows[op.Method+" "+segment.ReplaceAllString(op.Path, "{}")] = op
	}
	writes := 0
	for path, verbs := range doc.Paths {
		for verb := range verbs {
			method := strings.ToUpper(string(verb))
			row := rows[method+" "+segment.ReplaceAllString(string(path), "{}")]
			if row == nil {
				t.Errorf("the table has no %s %s", method, path)
				continue
			}
			if method != http.MethodGet {
				writes++
			}
			if row.Class == vendors.Read && method != http.MethodGet || row.Class != vendors.Read && method == http.MethodGet {
				t.Errorf("%s is a %s by %s", row.Name, row.Class, method)
			}
			_, c, err := tab.Identify(request(t, row.Host, method+" "+sampled(row.Path), ""), nil)
			if c == nil || c.Operation.Name != row.Name || (err != nil) != (row.HardDeny != "") {
				t.Errorf("%s %s is taken for something else than %s: %v", method, sampled(row.Path), row.Name, err)
			}
		}
	}
	if writes != 329 {
		t.Errorf("Stripe describes %d writes, and 329 were looked at", writes)
	}
}

// sampled is a path with ids.
func sampled(template string) string {
	return segment.ReplaceAllStringFunc(template, func(id string) string {
		_, prefix, _ := strings.Cut(strings.Trim(id, "{}"), ":")
		return prefix + "1"
	})
}

// Every call that stripe-go v76 can make is one of the table's, on the host that the SDK sends it to.
func TestEveryPathOfTheSDKIsInTheTable(t *testing.T) {
	rows := map[string]bool{}
	for _, op := range table(t).Operations() {
		rows[op.Method+" "+segment.ReplaceAllString(op.Path, "{}")] = true
	}
	calls := sdkCalls(t)
	if len(calls) < 450 {
		t.Fatalf("found %d calls in stripe-go", len(calls))
	}
	for _, call := range calls {
		if !rows[call] {
			t.Errorf("the table has no %s", call)
		}
	}
}

// sdkCalls reads "METHOD /path" out of stripe-go's source, in the version that the library's go.mod names: in each
// function that makes a call, its method and the path's format.
func sdkCalls(t *testing.T) (calls []string) {
	t.Helper()
	list := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", "github.com/stripe/stripe-go/v76")
	list.Dir = "../.."
	dir, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	files := token.NewFileSet()
	err = filepath.WalkDir(strings.TrimSpace(string(dir)), func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		file, err := parser.ParseFile(files, path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		for _, d := range file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok {
				calls = append(calls, callsOf(f)...)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(calls)
	return slices.Compact(calls)
}

// callsOf pairs the methods and the paths that a function names; there is one of each, or none.
func callsOf(f *ast.FuncDecl) (calls []string) {
	var methods, paths []string
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.SelectorExpr:
			if m, ok := strings.CutPrefix(n.Sel.Name, "Method"); ok && m != "" {
				methods = append(methods, strings.ToUpper(m))
			}
		case *ast.BasicLit:
			if s, err := strconv.Unquote(n.Value); err == nil && (strings.HasPrefix(s, "/v") || strings.HasPrefix(s, "/oauth/")) {
				paths = append(paths, strings.ReplaceAll(s, "%s", "{}"))
			}
		}
		return true
	})
	for _, m := range methods {
		for _, p := range paths {
			calls = append(calls, m+" "+p)
		}
	}
	return calls
}
