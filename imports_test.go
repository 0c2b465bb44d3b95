package keybrake_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/keybrake/keybrake-go"

// A wall says what the packages of one place may import in code that is not a test. The standard library is
// open to all.
type wall struct {
	place   string   // below the module, "." being the root; a pattern of path.Match, or a tree "examples/..."
	ours    []string // the packages of this module that may be imported directly
	reaches []string // the modules of others that may be reached, directly or through whatever is imported
}

var (
	contract  = []string{"cost", "reason"} // what one may import
	contracts = []string{"cost", "reason", "policy", "vendors", "ledger", "audit", "credentials"}
	adapter   = func(c string) []string { return []string{c, "cost", "reason"} }
	anything  = []string{"..."}

	yaml    = []string{"go.yaml.in/yaml/v4"}
	goRedis = []string{"github.com/redis/go-redis/v9", "github.com/cespare/xxhash/v2", "github.com/dgryski/go-rendezvous"}
)

// walls are the borders. A package belongs to the first row that matches it; one that no row matches fails the
// test, so that whoever adds a package decides what it may import. Test support and examples stand in no other
// row's list: nothing that users build may import them.
var walls = []wall{
	// Importing the brake costs its user the YAML parser of policy files and nothing else.
	{".", slices.Concat(contracts, []string{"internal/books", "internal/token", "internal/flight"}), yaml},

	{"cost", nil, nil},
	{"reason", nil, nil},
	{"credentials", nil, nil},
	{"credentials/internal/store", nil, nil},
	{"credentials/hashivault", []string{"credentials", "credentials/internal/store"}, nil},
	{"credentials/doppler", []string{"credentials", "credentials/internal/store"}, nil},
	{"credentials/onepassword", []string{"credentials", "credentials/internal/store"}, nil},
	{"policy", append([]string{"internal/document"}, contract...), yaml},
	{"vendors", contract, nil},
	{"ledger", contract, nil},
	{"audit", append([]string{"internal/filelock"}, contract...), nil},

	{"vendors/kb*", adapter("vendors"), nil}, // no SDK: the adapters read HTTP, so they fit every version of one
	{"vendors/vendortest", adapter("vendors"), nil},
	{"vendors/rules", append(adapter("vendors"), "internal/document"), yaml},
	{"ledger/memory", adapter("ledger"), nil},
	{"ledger/redisledger", append(adapter("ledger"), "internal/filelock"), goRedis},
	{"ledger/ledgertest", adapter("ledger"), nil},
	{"audit/audittest", adapter("audit"), nil},

	// For users' own tests: a brake put together as they would, and nothing that they could not import themselves.
	{"keybraketest", slices.Concat(contracts, []string{".", "vendors/kbresend", "vendors/kbstripe", "vendors/kbtwilio", "ledger/memory", "audit/audittest"}), yaml},

	// What is asked of records beside the brake: on the contracts, and the ledger that a back-test keeps its books in.
	{"backtest", []string{"audit", "cost", "ledger", "policy", "reason", "vendors", "internal/books", "ledger/memory"}, yaml},
	{"crosscheck", []string{"audit", "cost", "ledger"}, nil},

	{"internal/books", []string{"ledger", "policy"}, yaml},
	{"internal/document", nil, yaml},
	{"internal/filelock", nil, nil},
	{"internal/token", nil, nil},
	{"internal/twiliocatalogue", nil, nil},
	{"internal/flight", []string{"ledger"}, nil},
	{"internal/fakevendor", nil, nil},                               // the oracle: it must not share our mistakes
	{"internal/respproxy", nil, nil},                                // for tests: what it does to the ledger must not depend on it
	{"internal/auditgen", []string{"audit", "cost", "reason"}, nil}, // for tests and benchmarks
	{"internal/*test", anything, anything},
	{"examples/...", anything, anything},
}

func (w wall) holds(place string) bool {
	if tree, ok := strings.CutSuffix(w.place, "/..."); ok {
		return place == tree || strings.HasPrefix(place, tree+"/")
	}
	ok, err := path.Match(w.place, place)
	return ok && err == nil
}

// A pkg is what go list says of a package. go list leaves tests out.
type pkg struct {
	ImportPath     string
	Imports, Deps  []string // direct; all, by whatever way
	XTestImports   []string
	TestImports    []string
	GoFiles        []string
	IgnoredGoFiles []string // not built on this platform
}

func (p pkg) place() string { return place(p.ImportPath) }

// place is where an import path stands below the module.
func place(importPath string) string {
	if importPath == module {
		return "."
	}
	return strings.TrimPrefix(importPath, module+"/")
}

func ours(importPath string) bool {
	return importPath == module || strings.HasPrefix(importPath, module+"/")
}

// others reports whether the import path is neither ours nor the standard library's, whose paths have no dot in
// the first part.
func others(importPath string) bool {
	host, _, _ := strings.Cut(importPath, "/")
	return strings.Contains(host, ".") && !ours(importPath)
}

// packages asks go list, for one operating system. go test does not see that its answer has changed and may repeat an
// old result; "make check" runs the test anew.
func packages(t *testing.T, system string) []pkg {
	t.Helper()
	list := exec.Command("go", "list", "-json=ImportPath,Imports,Deps,TestImports,XTestImports,GoFiles,IgnoredGoFiles", "./...")
	list.Env = append(os.Environ(), "GOOS="+system)
	out, err := list.Output()
	var failed *exec.ExitError
	if errors.As(err, &failed) {
		t.Fatalf("go list: %s", failed.Stderr)
	}
	var all []pkg
	for dec := json.NewDecoder(bytes.NewReader(out)); err == nil; {
		var p pkg
		if err = dec.Decode(&p); err == nil {
			all = append(all, p)
		}
	}
	if err != io.EOF || len(all) < 10 {
		t.Fatalf("go list named %d packages: %v", len(all), err)
	}
	return all
}

func TestImports(t *testing.T) {
	all := slices.Concat(packages(t, "linux"), packages(t, "windows"))
	for name, test := range map[string]func(*testing.T, []pkg){
		"every package has a place and every place a package":          everyPackageHasAPlace,
		"no package imports one of ours beyond its wall":               noPackageImportsOursBeyondItsWall,
		"no package reaches a module of others beyond its wall":        noPackageReachesOthersBeyondItsWall,
		"the fake vendor imports nothing of ours, in its tests either": theOracleKnowsNothingOfOurs,
		"every file is seen": everyFileIsSeen,
	} {
		t.Run(name, func(t *testing.T) { test(t, all) })
	}
}

// wallOf returns the row that p belongs to.
func wallOf(p pkg) (w wall, ok bool) {
	i := slices.IndexFunc(walls, func(w wall) bool { return w.holds(p.place()) })
	if i < 0 {
		return wall{}, false
	}
	return walls[i], true
}

func everyPackageHasAPlace(t *testing.T, all []pkg) {
	for _, p := range all {
		if _, ok := wallOf(p); !ok {
			t.Errorf("%s is in no row of the walls; place it", p.place())
		}
	}
	for _, w := range walls {
		exact := !strings.Contains(w.place, "*") && !strings.HasSuffix(w.place, "/...")
		if exact && !slices.ContainsFunc(all, func(p pkg) bool { return p.place() == w.place }) {
			t.Errorf("no package is at %s; take the row away", w.place)
		}
	}
}

func noPackageImportsOursBeyondItsWall(t *testing.T, all []pkg) {
	for _, p := range all {
		w, _ := wallOf(p)
		for _, imported := range p.Imports {
			if ours(imported) && !slices.Equal(w.ours, anything) && !slices.Contains(w.ours, place(imported)) {
				t.Errorf("%s imports %s; it may import %v", p.place(), place(imported), w.ours)
			}
		}
	}
}

// The library reaches no vendor's SDK, and importing the root reaches no Redis client and no database driver.
func noPackageReachesOthersBeyondItsWall(t *testing.T, all []pkg) {
	for _, p := range all {
		w, _ := wallOf(p)
		for _, dep := range p.Deps {
			allowed := slices.Equal(w.reaches, anything) || slices.ContainsFunc(w.reaches, func(m string) bool {
				return dep == m || strings.HasPrefix(dep, m+"/")
			})
			if others(dep) && !allowed {
				t.Errorf("%s reaches %s; it may reach %v", p.place(), dep, w.reaches)
			}
		}
	}
}

// The fake vendor tells right from wrong by itself: it may not ask the code that it judges.
func theOracleKnowsNothingOfOurs(t *testing.T, all []pkg) {
	for _, p := range all {
		if p.place() != "internal/fakevendor" {
			continue
		}
		for _, imported := range slices.Concat(p.TestImports, p.XTestImports) {
			if ours(imported) && imported != p.ImportPath {
				t.Errorf("a test of %s imports %s", p.place(), place(imported))
			}
		}
	}
}

// A file that none of these platforms builds is one whose imports the other tests do not see.
func everyFileIsSeen(t *testing.T, all []pkg) {
	built := map[string]bool{}
	for _, p := range all {
		for _, file := range p.GoFiles {
			built[p.place()+"/"+file] = true
		}
	}
	for _, p := range all {
		for _, file := range p.IgnoredGoFiles {
			if name := p.place() + "/" + file; !strings.HasSuffix(file, "_test.go") && !built[name] {
				t.Errorf("%s is built neither on linux nor on windows; have these tests run go list for its platform too", name)
			}
		}
	}
}
