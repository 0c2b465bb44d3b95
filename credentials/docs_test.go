package credentials_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/keybrake/keybrake-go/credentials"
)

// lookup is a store of one's own.
func lookup(context.Context, string) (string, time.Time, error) {
	return "sk_test_123", time.Now().Add(time.Hour), nil
}

func ExampleSourceFunc() {
	source := credentials.SourceFunc(func(ctx context.Context, ref string) (credentials.Credential, error) {
		secret, ends, err := lookup(ctx, ref)
		if err != nil {
			return credentials.Credential{}, &credentials.Fault{Ref: ref, Why: "our store is out", Err: err} // Err: credentials.ErrUnknown where there is none
		}
		return credentials.New(secret).Until(ends), nil
	})
	c, err := source.Get(context.Background(), "stripe")
	fmt.Println(c, err)
	// Output: [credential] <nil>
}

func ExampleFile() {
	source := credentials.File{"stripe": "/etc/keybrake/stripe"}
	fmt.Println(source.Refs())
	// Output: [stripe]
}

func ExampleEnv_Refs() {
	source := credentials.Env{"stripe": "STRIPE_SECRET_KEY", "twilio": "TWILIO_CREDENTIAL"}
	fmt.Println(source.Refs())
	// Output: [stripe twilio]
}

// What the page shows is code that is compiled: every line stands in a test of the source's package.
func TestThePageShowsCodeThatCompiles(t *testing.T) {
	page, err := os.ReadFile("../docs/credentials.md")
	if err != nil {
		t.Fatal(err)
	}
	lines := map[string]map[string]bool{}
	blocks := regexp.MustCompile("(?s)```go\nsource := ([a-z]+)\\.(.*?)```").FindAllStringSubmatch(string(page), -1)
	if len(blocks) != 9 {
		t.Errorf("the page has %d blocks of code", len(blocks))
	}
	for _, b := range blocks {
		pkg := b[1]
		if lines[pkg] == nil {
			lines[pkg] = linesOf(t, pkg)
		}
		for line := range strings.Lines("source := " + pkg + "." + b[2]) {
			if !lines[pkg][flat(line)] {
				t.Errorf("in no test of %s: %s", pkg, line)
			}
		}
	}
}

func flat(line string) string { return strings.Join(strings.Fields(line), " ") }

func linesOf(t *testing.T, pkg string) map[string]bool {
	t.Helper()
	dir := pkg
	if pkg == "credentials" {
		dir = "."
	}
	files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%s has no tests: %v", pkg, err)
	}
	lines := map[string]bool{"}, nil)": true}
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(data)) {
			lines[flat(line)] = true
		}
	}
	return lines
}
