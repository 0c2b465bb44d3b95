package keybrake_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stripe/stripe-go/v76"
	stripeclient "github.com/stripe/stripe-go/v76/client"

	"github.com/keybrake/keybrake-go"
	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/internal/fakevendor"
	"github.com/keybrake/keybrake-go/policy"
	"github.com/keybrake/keybrake-go/reason"
	"github.com/keybrake/keybrake-go/vendors"
	"github.com/keybrake/keybrake-go/vendors/kbresend"
	"github.com/keybrake/keybrake-go/vendors/kbstripe"
	"github.com/keybrake/keybrake-go/vendors/kbtwilio"
)

// This file says that docs/vendors.md says what is so.

const vendorsPage = "docs/vendors.md"

func page(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(vendorsPage)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func catalogues() []vendors.Vendor {
	return []vendors.Vendor{kbstripe.New(nil), kbtwilio.New(nil), kbresend.New(nil)}
}

// A family is a row of a vendor's table of operations.
type family struct {
	patterns, classes []string
	ceiling           string
	used              []bool // by pattern
}

var (
	word      = regexp.MustCompile("`([^`\n]+)`")
	fenced    = regexp.MustCompile("(?s)```.*?```")
	tableHead = "| operations | class | reserved before the call | booked, and final when | ceiling |\n|---|---|---|---|---|\n"
)

// families reads the table under a vendor's heading.
func families(t *testing.T, text, heading string) (all []*family) {
	t.Helper()
	_, section, ok := strings.Cut(text, "\n## "+heading+"\n")
	_, table, ok2 := strings.Cut(section, tableHead)
	if !ok || !ok2 {
		t.Fatalf("%s has no table of %s", vendorsPage, heading)
	}
	for line := range strings.Lines(table) {
		cells := strings.Split(strings.TrimSpace(line), "|")
		if len(cells) != 7 {
			break
		}
		f := &family{classes: strings.Split(strings.TrimSpace(cells[2]), ", "), ceiling: strings.TrimSpace(cells[5])}
		for _, m := range word.FindAllStringSubmatch(cells[1], -1) {
			f.patterns = append(f.patterns, m[1])
		}
		f.used = make([]bool, len(f.patterns))
		all = append(all, f)
	}
	return all
}

// takes reports whether a row is of an operation, by its name without the vendor.
func (f *family) takes(name string) bool {
	for i, p := range f.patterns {
		begin, all := strings.CutSuffix(p, "*")
		if name == p || all && strings.HasPrefix(name, begin) {
			f.used[i] = true
			return true
		}
	}
	return false
}

// TestVendorsPageHasEveryPaidOperation says that each operation that can cost is in a row of its vendor's table, with its
// class, that each name there is of an operation, and that "always" and "no" are so where a call says nothing.
func TestVendorsPageHasEveryPaidOperation(t *testing.T) {
	for i, v := range catalogues() {
		all := families(t, page(t), []string{"Stripe", "Twilio", "Resend"}[i])
		for _, op := range v.Operations {
			if !op.Class.Paid() || op.HardDeny != "" {
				continue
			}
			name := strings.TrimPrefix(op.Name, v.Name+".")
			row := slices.IndexFunc(all, func(f *family) bool { return f.takes(name) })
			if row < 0 {
				t.Errorf("%s can cost and is in no row", op.Name)
				continue
			}
			f := all[row]
			if !slices.Contains(f.classes, string(op.Class)) {
				t.Errorf("%s is of class %s, and its row says %v", op.Name, op.Class, f.classes)
			}
			b, err := op.Bound(&vendors.Call{Operation: &op, Method: op.Method, Host: op.Host, Path: op.Path, IDs: map[string]string{}}, nil)
			bounded := err == nil && (b.Probe != nil || b.Kind != vendors.Unknown)
			if f.ceiling == "no" && !bounded && err == nil || strings.HasPrefix(f.ceiling, "always") && bounded {
				t.Errorf("%s: its row says of a ceiling %q, and without parameters its bound is %v, %v", op.Name, f.ceiling, b, err)
			}
		}
		for _, f := range all {
			for j, used := range f.used {
				if !used {
					t.Errorf("%s: %q is of no operation that costs, or an earlier row has them all", v.Name, f.patterns[j])
				}
			}
		}
	}
}

// The counts on the page are those of the catalogues. With UPDATE_README set, they are written.
func TestVendorsPageCountsTheOperations(t *testing.T) {
	classes := []vendors.Class{vendors.Read, vendors.Free, vendors.Edit, vendors.Commit, vendors.Charge, vendors.Outflow, vendors.Fee, vendors.Release, vendors.Control, vendors.Test}
	var b strings.Builder
	b.WriteString("| operations |")
	for _, c := range classes {
		fmt.Fprintf(&b, " %s |", c)
	}
	b.WriteString(" never | all |\n|---|" + strings.Repeat("---|", len(classes)+2) + "\n")
	for _, v := range catalogues() {
		n, never := map[vendors.Class]int{}, 0
		for _, op := range v.Operations {
			if op.HardDeny != "" {
				never++
			} else {
				n[op.Class]++
			}
		}
		fmt.Fprintf(&b, "| %s |", v.Name)
		for _, c := range classes {
			fmt.Fprintf(&b, " %d |", n[c])
		}
		fmt.Fprintf(&b, " %d | %d |\n", never, len(v.Operations))
	}
	text := page(t)
	const start, end = "<!-- catalogues: made by the test of this table from the catalogues -->\n", "<!-- /catalogues -->"
	before, rest, ok := strings.Cut(text, start)
	table, after, ok2 := strings.Cut(rest, end)
	switch {
	case !ok || !ok2:
		t.Fatalf("%s has no counts", vendorsPage)
	case os.Getenv("UPDATE_README") != "":
		if err := os.WriteFile(vendorsPage, []byte(before+start+b.String()+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
	case table != b.String():
		t.Errorf("the counts are not the catalogues'; run UPDATE_README=1 go test -run %s .", t.Name())
	}
}

func TestVendorsPageCompiles(t *testing.T) { compiles(t, vendorsPage) }

// Sources and dates stand in the code and on the page alike.
func TestVendorsPageNamesItsSources(t *testing.T) {
	text := page(t)
	for file, mark := range map[string]*regexp.Regexp{
		"vendors/kbstripe/catalogue.tsv": regexp.MustCompile(`API version (\S+)\.`),
		"vendors/kbtwilio/catalogue.tsv": regexp.MustCompile(`(twilio-go v\S+)`),
		"vendors/kbresend/catalogue.tsv": regexp.MustCompile(`(resend-go v\S+) .*(npm resend \S+)`),
		"internal/stripemock/go.mod":     regexp.MustCompile(`stripe-mock (v\S+)`),
		"vendors/kbresend/kbresend.go":   regexp.MustCompile(`DefaultPricePerRecipient = "(\S+)"`),
		"vendors/kbtwilio/rates.go":      regexp.MustCompile(`Date: +"(\S+)"`),
		"vendors/kbtwilio/reconcile.go":  regexp.MustCompile(`mostPages, pageSize = (\d+), `),
		"vendors/kbstripe/marks.go":      regexp.MustCompile(`markRun += "(\w+)"\s+markCall += "(\w+)"`),
		"vendors/vendortest/laws.go":     regexp.MustCompile(`"(a call costs no more than its bound)"`),
		"answer.go":                      regexp.MustCompile(`replayHeader = "(\S+)"`),
		"vendors/kbresend/stamp.go":      regexp.MustCompile(`"run:7" is "(run_x3a_7)"`),
	} {
		source, err := os.ReadFile(file)
		if err != nil {
			t.Error(err)
			continue
		}
		found := mark.FindStringSubmatch(string(source))
		if found == nil {
			t.Errorf("%s does not have %v any more", file, mark)
			continue
		}
		for _, want := range found[1:] {
			if !strings.Contains(text, want) {
				t.Errorf("%s says %q, and the page does not", file, want)
			}
		}
	}
}

// Names of tests and of Go identifiers that documents give are there.
func TestDocumentsNameWhatExists(t *testing.T) {
	tests, names := declared(t)
	documents, err := filepath.Glob("docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range append(documents, "README.md", "SECURITY.md", "CHANGELOG.md") {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range word.FindAllStringSubmatch(fenced.ReplaceAllString(string(text), ""), -1) {
			switch {
			case strings.HasPrefix(m[1], "Test") && !tests[m[1]]:
				t.Errorf("%s: there is no test %s", file, m[1])
			case identifier.MatchString(m[1]):
				first, _, _ := strings.Cut(m[1], ".")
				if names[first] && !names[m[1]] {
					t.Errorf("%s: there is no %s", file, m[1])
				}
			}
		}
	}
}

var identifier = regexp.MustCompile(`^[A-Za-z]\w*(\.[A-Z]\w*)+$`)

// declared are the module's tests, and the exported names of its packages: kbstripe, kbstripe.Options,
// kbstripe.Options.Fees; those of the root package without it, too.
func declared(t *testing.T) (tests, names map[string]bool) {
	t.Helper()
	tests, names = map[string]bool{}, map[string]bool{}
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") {
			return err
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		if strings.HasSuffix(path, "_test.go") {
			for _, decl := range f.Decls {
				if fn, ok := decl.(*ast.FuncDecl); ok {
					tests[fn.Name.Name] = true
				}
			}
			return nil
		}
		names[f.Name.Name] = true
		for _, name := range exported(f) {
			names[f.Name.Name+"."+name] = true
			if f.Name.Name == "keybrake" {
				names[name] = true
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return tests, names
}

// exported are the names that a file declares, with fields and methods after their type.
func exported(f *ast.File) (names []string) {
	for _, decl := range f.Decls {
		switch d := decl.(type) {
		case *ast.FuncDecl:
			name := d.Name.Name
			if d.Recv != nil {
				of := d.Recv.List[0].Type
				if star, ok := of.(*ast.StarExpr); ok {
					of = star.X
				}
				if ident, ok := of.(*ast.Ident); ok {
					name = ident.Name + "." + name
				}
			}
			names = append(names, name)
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				switch s := spec.(type) {
				case *ast.ValueSpec:
					for _, n := range s.Names {
						names = append(names, n.Name)
					}
				case *ast.TypeSpec:
					names = append(names, s.Name.Name)
					if of, ok := s.Type.(*ast.StructType); ok {
						for _, field := range of.Fields.List {
							for _, n := range field.Names {
								names = append(names, s.Name.Name+"."+n.Name)
							}
						}
					}
				}
			}
		}
	}
	return names
}

// A ceiling is counted as it stands, so that one in another currency than that of the rates is counted by no budget. The
// key is of a brake without rates: one that has them issues none such.
func TestACeilingIsInTheCurrencyOfTheRates(t *testing.T) {
	w := newWorld(t, euros().set)
	elsewhere, err := keybrake.New(t.Context(), w.config())
	if err != nil {
		t.Fatal(err)
	}
	for ceiling, admitted := range map[cost.Currency]bool{"USD": true, "EUR": false} {
		key, err := elsewhere.Issue(t.Context(), grant("run_"+string(ceiling), policy.Policy{
			Allow:   []policy.Rule{{Operation: "stripe.sources.create", Ceiling: policy.Money("5", ceiling)}},
			Budgets: []policy.Budget{policy.Lifetime(policy.USD("60"))},
		}))
		if err != nil {
			t.Fatal(err)
		}
		tok := key.Token()
		before := len(w.fake.Received())
		d := denial(t, w.Transport(nil), request(t, "POST", "https://api.stripe.com/v1/sources", tok, formType, "type=card"))
		if went := len(w.fake.Received()) > before; went != admitted || admitted != (d == nil) || !admitted && d.Reason != reason.CurrencyDenied {
			t.Errorf("a ceiling in %s: %v, and the call went out: %v", ceiling, d, went)
		}
	}
}

// Who repeats a call that the vendor has refused gets the refusal again, for the whole span.
func TestARefusalIsAnAnswerToo(t *testing.T) {
	w := newWorld(t, nil)
	w.fake.SeedCharge("ch_1", 5000, "usd")
	tok := w.issue(t, "run_1", once()).Token()
	w.fake.Misbehave(fakevendor.Fault{Method: "POST", PathContains: "/refunds", Kind: fakevendor.Status, Status: 429})
	refund := func(idempotencyKey string) (*http.Response, string) {
		req := request(t, "POST", refundsURL, tok, formType, "charge=ch_1&amount=100")
		if idempotencyKey != "" {
			req.Header.Set("Idempotency-Key", idempotencyKey)
		}
		resp, err := w.Transport(nil).RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = resp.Body.Close() }()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp, string(body)
	}
	first, body := refund("k1")
	for _, key := range []string{"k1", "k2", ""} {
		again, text := refund(key)
		if first.StatusCode != 429 || again.StatusCode != 429 || again.Header.Get("Keybrake-Replayed") == "" || text != body {
			t.Errorf("under the key %q: the first was %s; again: %s %s", key, first.Status, again.Status, text)
		}
	}
	if n := len(w.fake.Executions()); n != 0 {
		t.Errorf("%d refunds were executed", n)
	}
}

// A declined call that is sent again under its key is another reservation, with another mark: Stripe takes it for another
// request under the same key.
func TestADeclinedCallSentAgainIsAnotherCall(t *testing.T) {
	for _, stamped := range []bool{true, false} {
		w := newWorld(t, func(c *keybrake.Config) { c.Stamp = stamped })
		key := w.issue(t, "run_1", everything())
		sc := stripeclient.New(key.Token(), stripe.NewBackendsWithConfig(&stripe.BackendConfig{
			HTTPClient: &http.Client{Transport: w.Transport(nil), Timeout: time.Minute}, MaxNetworkRetries: stripe.Int64(0), LeveledLogger: &stripe.LeveledLogger{},
		}))
		charge := func() stripe.ErrorType {
			p := &stripe.ChargeParams{Amount: stripe.Int64(1000), Currency: stripe.String("usd"), Source: &stripe.PaymentSourceSourceParams{Token: stripe.String("tok_chargeDeclined")}}
			p.SetIdempotencyKey("k1")
			_, err := sc.Charges.New(p)
			e, ok := err.(*stripe.Error)
			if !ok {
				t.Fatalf("%v is no refusal of Stripe's", err)
			}
			return e.Type
		}
		want := stripe.ErrorTypeCard
		if got := charge(); got != want {
			t.Errorf("stamped %v: the first is refused as %s", stamped, got)
		}
		if stamped {
			want = stripe.ErrorTypeIdempotency
		}
		if got := charge(); got != want {
			t.Errorf("stamped %v: the second is refused as %s, want %s", stamped, got, want)
		}
		if states, err := w.Balance(t.Context(), key.Token()); err != nil || states[0].Spent+states[0].Held != 0 {
			t.Errorf("stamped %v: the books show %+v, %v", stamped, states, err)
		}
	}
}
