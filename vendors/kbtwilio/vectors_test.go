package kbtwilio_test

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/vendors"
	"github.com/keybrake/keybrake-go/vendors/kbtwilio"
)

// A vector is one call and its reply, read from a file: "key: value" lines, a blank line, the request as on the
// wire, and after a line "=== reply" the reply. The keys of given are what the brake would supply; those of expected
// are what the table says, and one that is left out expects nothing. Any other key is fatal, so that no expectation
// is skipped.
type vector struct {
	name  string
	head  map[string]string
	call  *http.Request
	body  []byte
	reply *vendors.Reply
}

var (
	given    = []string{"about", "account", "user", "ceiling", "card"} // card: full is the one of testdata/pricing
	expected = []string{
		"operation", "refused", "unknown", "redirects", "kind", "why", "lines", "recipients", "countries",
		"outcome", "resends", "actual", "objects", "again", "flag", "unreadable",
	}
)

func readVector(t testing.TB, file string) vector {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, ok := strings.Cut(string(text), "\n\n")
	if !ok {
		t.Fatalf("%s: no blank line after the head", file)
	}
	v := vector{name: strings.TrimSuffix(filepath.Base(file), ".txt"), head: map[string]string{}}
	for line := range strings.SplitSeq(head, "\n") {
		key, value, _ := strings.Cut(line, ": ")
		if !slices.Contains(given, key) && !slices.Contains(expected, key) {
			t.Fatalf("%s: unknown key %q", file, key)
		}
		v.head[key] = value
	}
	request, reply, hasReply := strings.Cut(rest, "\n=== reply\n")
	v.readRequest(t, request)
	if hasReply {
		v.reply = readReply(t, reply)
	}
	return v
}

func (v *vector) readRequest(t testing.TB, text string) {
	t.Helper()
	first, headers, body := readMessage(t, text)
	method, target, ok := strings.Cut(first, " ")
	u, err := url.Parse("https://" + headers.Get("Host") + target)
	if !ok || err != nil {
		t.Fatalf("%s: %q is not METHOD /path", v.name, first)
	}
	headers.Del("Host")
	v.call, v.body = &http.Request{Method: method, URL: u, Header: headers}, body
}

func readReply(t testing.TB, text string) *vendors.Reply {
	t.Helper()
	first, headers, body := readMessage(t, text)
	status, err := strconv.Atoi(first)
	if err != nil {
		t.Fatalf("%q is not a status", first)
	}
	return &vendors.Reply{Status: status, Header: headers, Body: body}
}

func readMessage(t testing.TB, text string) (first string, headers http.Header, body []byte) {
	t.Helper()
	head, rest, _ := strings.Cut(text+"\n", "\n\n")
	lines := strings.Split(strings.TrimSpace(head), "\n")
	headers = http.Header{}
	for _, line := range lines[1:] {
		name, value, ok := strings.Cut(line, ": ")
		if !ok {
			t.Fatalf("%q is not a header", line)
		}
		headers.Add(name, value)
	}
	return lines[0], headers, bytes.TrimSpace([]byte(rest))
}

func vectors(t testing.TB) []vector {
	t.Helper()
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) < 200 {
		t.Fatalf("found %d vectors, want at least 200 (%v)", len(files), err)
	}
	all := make([]vector, len(files))
	for i, file := range files {
		all[i] = readVector(t, file)
	}
	return all
}

func table(t testing.TB) *vendors.Table {
	t.Helper()
	tab, err := oneTable()
	if err != nil {
		t.Fatal(err)
	}
	return tab
}

var oneTable = sync.OnceValues(func() (*vendors.Table, error) {
	return vendors.NewTable([]vendors.Vendor{kbtwilio.New(nil)})
})

func TestVectors(t *testing.T) {
	tab := table(t)
	card := full(t)
	rich, err := vendors.NewTable([]vendors.Vendor{kbtwilio.New(&kbtwilio.Options{Rates: &card})})
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range vectors(t) {
		t.Run(v.name, func(t *testing.T) {
			tab := tab
			if v.head["card"] == "full" {
				tab = rich
			}
			got := v.run(t, tab)
			for _, key := range expected {
				if got[key] != v.head[key] {
					t.Errorf("%s: got %q, want %q", key, got[key], v.head[key])
				}
			}
		})
	}
}

// run takes a vector the way of a call and writes down what the table says on the way.
func (v vector) run(t *testing.T, tab *vendors.Table) map[string]string {
	got := map[string]string{}
	vendor, c, err := tab.Identify(v.call, v.body)
	if c != nil {
		got["operation"] = c.Operation.Name
	}
	if err == nil {
		v.supply(c)
		err = vendor.Check(c)
	}
	var b vendors.Bound
	if err == nil {
		b, err = v.bound(t, c, got)
	}
	if err != nil {
		got["refused"] = refusal(err)
		return got
	}
	if v.reply != nil {
		v.settle(t, vendor, c, b, got)
	}
	return got
}

func (v vector) bound(t *testing.T, c *vendors.Call, got map[string]string) (b vendors.Bound, err error) {
	b.Kind = vendors.Exact
	if c.Operation.Bound != nil {
		if b, err = c.Operation.Bound(c, nil); err != nil {
			return b, err
		}
	}
	if c.Operation.Class.Paid() {
		unknown, redirects := c.Unlisted(c.Operation.Params)
		got["unknown"], got["redirects"] = strings.Join(unknown, " "), strings.Join(redirects, " ")
	}
	got["kind"] = [...]string{"unknown", "at most", "exact"}[b.Kind]
	if b.Kind == vendors.Unknown {
		got["why"] = b.Why
	}
	got["recipients"], got["countries"] = strings.Join(b.Recipients, " "), strings.Join(b.Countries, " ")
	if ceiling, ok := v.head["ceiling"]; ok && b.Kind == vendors.Unknown {
		b.Lines = []cost.Line{readLine(t, ceiling)} // as the brake does for a rule with a ceiling
	}
	got["lines"] = lines(b.Lines)
	return b, nil
}

func (v vector) settle(t *testing.T, vendor *vendors.Vendor, c *vendors.Call, b vendors.Bound, got map[string]string) {
	outcome := vendors.ByStatus
	if c.Operation.Outcome != nil {
		outcome = c.Operation.Outcome
	}
	o := outcome(c, v.reply)
	got["outcome"] = o.String()
	if vendor.Resends(c, v.reply) {
		got["resends"] = "yes"
	}
	if !vendor.Resends(c, nil) {
		t.Error("a broken connection is not turned into an error that says not to send again")
	}
	if o != vendors.Executed && o != vendors.Pending {
		return
	}
	if c.Operation.Settle == nil { // then the brake books the bound
		got["actual"] = lines(b.Lines)
		return
	}
	s, err := c.Operation.Settle(c, b, v.reply)
	if err != nil {
		got["unreadable"] = strings.TrimPrefix(err.Error(), "kbtwilio: ")
		return
	}
	got["actual"], got["objects"], got["flag"] = lines(s.Actual), strings.Join(s.Objects, " "), s.Flag
	if s.Again > 0 {
		got["again"] = fmt.Sprintf("%dh", s.Again/time.Hour)
	}
	if s.Held != nil || s.Object != "" {
		t.Error("mails and texts hold nothing")
	}
}

func refusal(err error) string {
	var r *vendors.Refusal
	if !errors.As(err, &r) {
		return "not a refusal: " + err.Error()
	}
	return strings.TrimSpace(string(r.Code) + " " + r.Param)
}

func lines(ls []cost.Line) string {
	var out []string
	for _, l := range ls {
		if err := l.Valid(); err != nil {
			return err.Error()
		}
		if l.Meter.Money() {
			out = append(out, string(l.Meter)+" "+l.String())
		} else {
			out = append(out, l.String())
		}
	}
	return strings.Join(out, ", ")
}

// readLine reads "fee 0.50 USD".
func readLine(t *testing.T, s string) cost.Line {
	t.Helper()
	f := strings.Fields(s)
	amount, err := cost.ParseDecimal(f[1])
	if err != nil {
		t.Fatal(err)
	}
	return cost.Line{Meter: cost.Meter(f[0]), Currency: cost.Currency(f[2]), Amount: amount}
}

// TestVectorsCoverTheTable says that each operation with code has a vector, and each that costs one that settles. The
// others are sent by the SDK, in TestEverySDKCallIsIdentified.
func TestVectorsCoverTheTable(t *testing.T) {
	seen, settled := map[string]bool{}, map[string]bool{}
	for _, v := range vectors(t) {
		seen[v.head["operation"]] = true
		settled[v.head["operation"]] = settled[v.head["operation"]] || v.head["actual"] != ""
	}
	for _, op := range kbtwilio.Coded() {
		if op.HardDeny == "" && !seen[op.Name] {
			t.Errorf("no vector for %s", op.Name)
		}
		if op.HardDeny == "" && op.Class.Paid() && !settled[op.Name] {
			t.Errorf("no vector settles %s", op.Name)
		}
	}
}

// supply puts in what the brake knows: the credential's account and the user name beside the vault key.
func (v vector) supply(c *vendors.Call) {
	c.Account, c.BasicUser = "AC0123456789abcdef0123456789abcdef", v.head["user"]
	if account, ok := v.head["account"]; ok {
		c.Account = account
	}
}

// TestNoVectorCostsMoreThanItsBound says so of every vector but those that are about a reply above it.
func TestNoVectorCostsMoreThanItsBound(t *testing.T) {
	above := []string{"settle-above-the-bound", "settle-more-segments"}
	for _, v := range vectors(t) {
		bound, actual := v.head["lines"], v.head["actual"]
		if actual == "" || slices.Contains(above, v.name) {
			continue
		}
		for line := range strings.SplitSeq(actual, ", ") {
			if most := amountOf(t, bound, line); amountOf(t, actual, line) > most {
				t.Errorf("%s: %s, of at most %s", v.name, line, bound)
			}
		}
	}
}

// amountOf is the amount among lines, written as in a vector, on the meter and in the currency of like; 0 where there
// is none.
func amountOf(t *testing.T, lines, like string) int64 {
	t.Helper()
	for line := range strings.SplitSeq(lines, ", ") {
		f, g := strings.Fields(line), strings.Fields(like)
		if len(f) != len(g) || f[len(f)-1] != g[len(g)-1] || f[0] != g[0] && len(f) == 3 {
			continue
		}
		if len(f) == 3 { // "fee 0.0133 USD"
			return readLine(t, line).Amount
		}
		n, err := cost.ParseCount(f[0]) // "2 units"
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	return 0
}
