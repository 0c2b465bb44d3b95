package kbstripe_test

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
	"testing"
	"time"

	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/vendors"
	"github.com/keybrake/keybrake-go/vendors/kbstripe"
)

// A vector is one call and its reply, read from a file: what is expected as "key: value" lines, a blank line,
// the request as on the wire, and after lines "=== probe" and "=== reply" the replies. A key that is left out
// stands for nothing expected. A key that is not known here is fatal, so that no expectation is skipped.
type vector struct {
	name  string
	want  map[string]string
	call  *http.Request
	body  []byte
	probe *vendors.Reply
	reply *vendors.Reply
}

var vectorKeys = []string{"about", "operation", "refused", "asks", "query", "kind", "ceiling", "lines", "object", "send", "why", "outcome", "actual", "held", "holds", "objects", "again", "flag", "unreadable"}

func readVector(t testing.TB, file string) vector {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, ok := strings.Cut(string(text), "\n\n")
	if !ok {
		t.Fatalf("%s: no blank line after the expectations", file)
	}
	v := vector{name: strings.TrimSuffix(filepath.Base(file), ".txt"), want: map[string]string{}}
	for line := range strings.SplitSeq(head, "\n") {
		key, value, _ := strings.Cut(line, ": ")
		if !slices.Contains(vectorKeys, key) {
			t.Fatalf("%s: unknown key %q", file, key)
		}
		v.want[key] = value
	}
	rest, reply, hasReply := strings.Cut(rest, "\n=== reply\n")
	rest, probe, hasProbe := strings.Cut(rest, "\n=== probe\n")
	v.readRequest(t, rest)
	if hasProbe {
		v.probe = readReply(t, probe)
	}
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
	if err != nil || len(files) < 350 {
		t.Fatalf("found %d vectors, want at least 350 (%v)", len(files), err)
	}
	all := make([]vector, len(files))
	for i, file := range files {
		all[i] = readVector(t, file)
	}
	return all
}

func table(t testing.TB) *vendors.Table {
	t.Helper()
	tab, err := vendors.NewTable([]vendors.Vendor{kbstripe.New(nil)})
	if err != nil {
		t.Fatal(err)
	}
	return tab
}

func TestVectors(t *testing.T) {
	tab := table(t)
	for _, v := range vectors(t) {
		t.Run(v.name, func(t *testing.T) {
			got := v.run(tab)
			got["about"] = v.want["about"]
			for _, key := range vectorKeys {
				if got[key] != v.want[key] {
					t.Errorf("%s: got %q, want %q", key, got[key], v.want[key])
				}
			}
		})
	}
}

// run takes a vector the way of a call and writes down what the table says on the way.
func (v vector) run(tab *vendors.Table) map[string]string {
	got := map[string]string{}
	vendor, c, err := tab.Identify(v.call, v.body)
	if c != nil {
		got["operation"] = c.Operation.Name
	}
	if err == nil {
		err = vendor.Check(c)
	}
	if err != nil {
		got["refused"] = refusal(err)
		return got
	}
	b, err := v.bound(c, got)
	if err != nil {
		got["refused"] = refusal(err)
		return got
	}
	if ceiling, ok := v.want["ceiling"]; ok && b.Kind == vendors.Unknown {
		got["ceiling"] = ceiling
		b.Lines = []cost.Line{readLine(ceiling)}
	}
	got["kind"] = [...]string{"unknown", "at most", "exact"}[b.Kind]
	got["lines"], got["object"], got["send"] = lines(b.Lines), b.Object, params(b.Send)
	if b.Kind == vendors.Unknown {
		got["why"] = "yes"
		if b.Why == "" {
			got["why"] = "missing"
		}
	}
	if v.reply != nil {
		v.settle(c, b, got)
	}
	return got
}

func (v vector) bound(c *vendors.Call, got map[string]string) (vendors.Bound, error) {
	if c.Operation.Bound == nil {
		return vendors.Bound{Kind: vendors.Exact}, nil
	}
	b, err := c.Operation.Bound(c, nil)
	if err != nil || b.Probe == nil {
		return b, err
	}
	got["asks"], got["query"] = b.Probe.Operation+" "+b.Probe.Path, params(b.Probe.Query)
	if v.probe == nil {
		return b, errors.New("the vector has no probe's reply")
	}
	return c.Operation.Bound(c, v.probe)
}

func (v vector) settle(c *vendors.Call, b vendors.Bound, got map[string]string) {
	outcome := vendors.ByStatus
	if c.Operation.Outcome != nil {
		outcome = c.Operation.Outcome
	}
	o := outcome(c, v.reply)
	got["outcome"] = o.String()
	if o != vendors.Executed && o != vendors.Pending || c.Operation.Settle == nil {
		return
	}
	s, err := c.Operation.Settle(c, b, v.reply)
	if err != nil {
		got["unreadable"] = strings.TrimPrefix(err.Error(), "kbstripe: ")
		return
	}
	got["actual"], got["held"], got["holds"] = lines(s.Actual), lines(s.Held), s.Object
	got["objects"], got["flag"] = strings.Join(s.Objects, " "), s.Flag
	if s.Again > 0 {
		got["again"] = fmt.Sprintf("%dh", s.Again/time.Hour)
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
		out = append(out, string(l.Meter)+" "+l.String())
	}
	return strings.Join(out, ", ")
}

// readLine reads "outflow 21.00 USD": the ceiling of a policy's rule, which the brake reserves for an unknown bound.
func readLine(s string) cost.Line {
	f := strings.Fields(s)
	amount, err := cost.ParseDecimal(f[1])
	if err != nil {
		panic(err)
	}
	return cost.Line{Meter: cost.Meter(f[0]), Currency: cost.Currency(f[2]), Amount: amount}
}

func params(ps []vendors.Param) string {
	var out []string
	for _, p := range ps {
		out = append(out, p.Name+"="+p.Value)
	}
	return strings.Join(out, "&")
}

// TestVectorsCoverTheTable says that every operation that has code has a vector that settles.
func TestVectorsCoverTheTable(t *testing.T) {
	settled := map[string]bool{}
	for _, v := range vectors(t) {
		if v.reply != nil {
			settled[v.want["operation"]] = true
		}
	}
	costs := costs(t)
	for _, op := range kbstripe.New(nil).Operations {
		coded := costs[op.Name] == "go" || costs[op.Name] == "rule" || op.Settle != nil
		if op.HardDeny == "" && coded && !settled[op.Name] {
			t.Errorf("no vector settles %s", op.Name)
		}
	}
}
