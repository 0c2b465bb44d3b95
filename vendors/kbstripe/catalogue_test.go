package kbstripe_test

import (
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/vendors"
	"github.com/keybrake/keybrake-go/vendors/kbstripe"
)

// lines of the catalogue as it stands in the repository, by columns.
func catalogue(t testing.TB) (rows [][]string) {
	t.Helper()
	text, err := os.ReadFile("catalogue.tsv")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if line[0] != '#' {
			rows = append(rows, append(strings.Split(strings.TrimRight(line, "\n"), "\t"), "", "", ""))
		}
	}
	if len(rows) < 600 {
		t.Fatalf("the catalogue has %d rows", len(rows))
	}
	return rows
}

// costs is how each operation is priced, by name.
func costs(t testing.TB) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, row := range catalogue(t) {
		all["stripe."+row[0]] = row[4]
	}
	return all
}

// The text that a person reads says the class under which the table acts, whether the row stands in it or in Go.
func TestTheCatalogueSaysWhatTheTableDoes(t *testing.T) {
	ops, listed := map[string]vendors.Operation{}, map[string]bool{}
	for _, op := range kbstripe.New(nil).Operations {
		ops[op.Name] = op
	}
	for _, row := range catalogue(t) {
		op, ok := ops["stripe."+row[0]]
		why, denied := strings.CutPrefix(row[4], "denied: ")
		switch {
		case !ok:
			t.Errorf("no row is called stripe.%s", row[0])
		case string(op.Class) != row[1] || op.Method != row[2]:
			t.Errorf("%s is a %s by %s, and the catalogue says %s by %s", op.Name, op.Class, op.Method, row[1], row[2])
		case denied != (op.HardDeny != "") || denied && op.HardDeny != why:
			t.Errorf("%s: denied because %q, and the catalogue says %q", op.Name, op.HardDeny, row[4])
		}
		listed[op.Name] = true
	}
	for name := range ops {
		if !listed[name] {
			t.Errorf("the catalogue does not have %s", name)
		}
	}
}

// A paid operation that has no rule costs what nobody knows: the table says so, and never zero.
func TestWhatHasNoRuleIsUnknown(t *testing.T) {
	costs := costs(t)
	for _, op := range kbstripe.New(nil).Operations {
		if costs[op.Name] != "unknown" {
			continue
		}
		b, err := op.Bound(&vendors.Call{Operation: &op}, nil)
		if err != nil || b.Kind != vendors.Unknown || b.Why == "" || b.Probe != nil {
			t.Errorf("%s: %v %+v", op.Name, err, b)
		}
	}
}

// What moves no money itself is of class edit: nothing that charges, commits or pays out is free by declaration.
func TestOnlyEditsCostNothing(t *testing.T) {
	for _, row := range catalogue(t) {
		if row[4] == "nothing" && row[1] != "edit" {
			t.Errorf("%s is a %s that costs nothing", row[0], row[1])
		}
	}
}

func TestFees(t *testing.T) {
	const name = "stripe.identity.verification_sessions.create"
	v := kbstripe.New(&kbstripe.Options{Fees: map[string]string{name: "1.50 USD"}})
	tab, err := vendors.NewTable([]vendors.Vendor{v})
	if err != nil {
		t.Fatal(err)
	}
	b, err := tab.Lookup(name).Bound(nil, nil)
	want := cost.Line{Meter: cost.Fee, Currency: "USD", Amount: 1_500_000}
	if err != nil || b.Kind != vendors.AtMost || !slices.Equal(b.Lines, []cost.Line{want}) {
		t.Errorf("%+v, %v", b, err)
	}
	if b, err := table(t).Lookup(name).Bound(nil, nil); err != nil || b.Kind != vendors.Unknown {
		t.Errorf("without a price it is %+v, %v", b, err)
	}
	for _, fees := range []map[string]string{
		{"stripe.refunds.create": "1.50 USD"}, {"stripe.topups.create": "1.50 USD"}, {"stripe.nothing.create": "1.50 USD"}, {name: "free"}, {name: "1.50"}, {name: "-1 USD"}, {name: ""},
	} {
		if kbstripe.New(&kbstripe.Options{Fees: fees}).Err == nil {
			t.Errorf("%v was taken", fees)
		}
	}
}

// Uploads and the stream of meter events are on hosts of their own, whose bodies are not read.
func TestOtherHosts(t *testing.T) {
	tab := table(t)
	for target, want := range map[string]string{
		"POST https://files.stripe.com/v1/files":                             "operation_hard_denied",
		"POST https://meter-events.stripe.com/v2/billing/meter_event_stream": "operation_hard_denied",
		"POST https://connect.stripe.com/oauth/token":                        "operation_hard_denied",
		"GET https://files.stripe.com/v1/quotes/qt_1/pdf":                    "",
		"GET https://files.stripe.com/v1/charges":                            "operation_unknown",
		"GET https://dashboard.stripe.com/v1/charges":                        "host_unknown",
	} {
		method, u, _ := strings.Cut(target, " ")
		req, _ := http.NewRequest(method, u, nil)
		_, _, err := tab.Identify(req, nil)
		if got := ""; err != nil {
			if got = refusal(err); got != want {
				t.Errorf("%s: %s, want %s", target, got, want)
			}
		} else if want != "" {
			t.Errorf("%s was let through", target)
		}
	}
}
