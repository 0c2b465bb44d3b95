package keybrake_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/keybrake/keybrake-go/policy"
	"github.com/keybrake/keybrake-go/reason"
)

func readme(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// The table of reasons in the README is that of package reason. With UPDATE_README set, it is written.
func TestReadmeHasTheTableOfReasons(t *testing.T) {
	var b strings.Builder
	b.WriteString("| code | status | what happened, what to do |\n|---|---|---|\n")
	for _, e := range reason.All() {
		fmt.Fprintf(&b, "| `%s` | %d | %s |\n", e.Code, e.Status, e.Sentence)
	}
	text := readme(t)
	const start, end = "<!-- reasons: made by the test of this table from package reason -->\n", "<!-- /reasons -->"
	before, rest, ok := strings.Cut(text, start)
	table, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatal("the README has no table of reasons")
	}
	if os.Getenv("UPDATE_README") != "" {
		if err := os.WriteFile("README.md", []byte(before+start+b.String()+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if table != b.String() {
		t.Errorf("the README's table of reasons is not package reason's; run UPDATE_README=1 go test -run %s .", t.Name())
	}
}

func TestReadmeQuickstartStandsWithinTwentyFiveLines(t *testing.T) {
	for i, line := range strings.Split(readme(t), "\n") {
		if line == "go run ./examples/quickstart" {
			if i >= 25 {
				t.Errorf("the quickstart is on line %d", i+1)
			}
			return
		}
	}
	t.Error("the README has no quickstart")
}

var block = regexp.MustCompile("(?s)```(go|yaml)\n(.*?)```")

// Every Go block of the README compiles: programs as they stand, fragments with what they take for given.
func TestReadmeCompiles(t *testing.T) {
	if programs := compiles(t, "README.md"); programs == 0 {
		t.Error("the README has no program")
	}
}

// compiles builds the Go of a document and reads its policies. It returns how many whole programs there were.
func compiles(t *testing.T, document string) (programs int) {
	t.Helper()
	text, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	var fragments strings.Builder
	for i, m := range block.FindAllStringSubmatch(string(text), -1) {
		switch {
		case m[1] == "yaml":
			if _, err := policy.ParseYAML(document, []byte(m[2])); err != nil {
				t.Errorf("%s, block %d: %v", document, i, err)
			}
		case strings.HasPrefix(m[2], "package "):
			programs++
			write(t, filepath.Join(dir, fmt.Sprintf("program%d", programs), "main.go"), m[2])
		default:
			fmt.Fprintf(&fragments, "\nfunc _() error {\n%s\n\t%s\n\treturn nil\n}\n", m[2], uses(m[2]))
		}
	}
	write(t, filepath.Join(dir, "fragments", "fragments.go"), given+fragments.String())
	overlay(t, document, dir)
	return programs
}

// given is what the README's fragments take for given.
const given = `package fragments

import (
	"context"
	"crypto/ed25519"
	"io"
	"log"
	"net/http"
	"time"

	"github.com/keybrake/keybrake-go"
	"github.com/keybrake/keybrake-go/audit"
	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/policy"
	"github.com/keybrake/keybrake-go/vendors/kbresend"
	"github.com/keybrake/keybrake-go/vendors/kbstripe"
	"github.com/keybrake/keybrake-go/vendors/kbtwilio"
	"github.com/resend/resend-go/v2"
	"github.com/stripe/stripe-go/v76"
	"github.com/stripe/stripe-go/v76/client"
	"github.com/twilio/twilio-go"
	twclient "github.com/twilio/twilio-go/client"
)

var (
	ctx        = context.Background()
	brake      *keybrake.Brake
	key        keybrake.Key
	accountSID string
	authToken  string
	config     keybrake.Config
	asOf       time.Time
	u          keybrake.Unresolved
	reconciler *keybrake.Reconciler
	yesterday  time.Time
	file       io.Reader
	signing    ed25519.PrivateKey
	err        error
	_          = log.Print
	_          = kbstripe.New
	_          = kbtwilio.New
	_          = kbresend.New
	_          = http.NewRequest
	_          = policy.USD
	_          = audit.Read
	_          = cost.Lifetime
	_          = resend.NewCustomClient
	_          = stripe.String
	_          = client.New
	_          = twilio.NewRestClient
	_          = twclient.NewCredentials
)
`

// uses makes the variables of a fragment used.
func uses(fragment string) string {
	var names []string
	for _, m := range regexp.MustCompile(`(?m)^([a-z]+(?:, [a-z]+)*) := `).FindAllStringSubmatch(fragment, -1) {
		names = append(names, strings.Split(m[1], ", ")...)
	}
	if len(names) == 0 {
		return ""
	}
	return strings.Repeat("_, ", len(names)-1) + "_ = " + strings.Join(names, ", ")
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// overlay compiles the packages of dir, out of a document, as if they stood in this module.
func overlay(t *testing.T, document, dir string) {
	t.Helper()
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*", "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	var replace, packages []string
	for _, f := range files {
		name := "readme_" + filepath.Base(filepath.Dir(f))
		replace = append(replace, fmt.Sprintf("%q: %q", filepath.Join(here, name, "x.go"), f))
		packages = append(packages, "./"+name)
	}
	config := filepath.Join(dir, "overlay.json")
	write(t, config, `{"Replace": {`+strings.Join(replace, ", ")+`}}`)
	out, err := exec.CommandContext(t.Context(), "go", append([]string{"build", "-overlay", config}, packages...)...).CombinedOutput()
	if err != nil {
		t.Errorf("%s does not compile: %v\n%s", document, err, out)
	}
}
