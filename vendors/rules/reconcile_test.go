package rules_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/vendors"
	"github.com/keybrake/keybrake-go/vendors/rules"
)

const looked = `    reconcile:
      operation: acme.orders.retrieve
      id: {id: order}
      names: id
      state: state
      executed: [paid]
      not_executed: [failed]
      lines:
        - {meter: charge, currency: {from: {seen: currency}}, amount: {minor: {from: {seen: paid}, digits: 2}}}
`

func caseOf(t *testing.T, v vendors.Vendor, doubt bool, objects ...string) *vendors.Case {
	t.Helper()
	c := call(t, v, "https://api.acme.example/orders/or_7/pay", `{"note":"x"}`)
	kept := *c
	kept.JSON, kept.Params = nil, nil
	return &vendors.Case{
		Call: &kept, Doubt: doubt, Objects: objects,
		Bound: vendors.Bound{Kind: vendors.Exact, Lines: []cost.Line{{Meter: cost.Charge, Currency: "USD", Amount: 12_340_000}}},
	}
}

// resolved makes the look that the case asks for.
func resolved(t *testing.T, c *vendors.Case, status int, body string) vendors.Finding {
	t.Helper()
	f, err := c.Call.Operation.Reconcile(c)
	if err != nil {
		t.Fatal(err)
	}
	if f.Look == nil {
		return f
	}
	if f.Look.Operation != "acme.orders.retrieve" || f.Look.Path != "/orders/or_7" {
		t.Fatalf("it looks at %+v", f.Look)
	}
	c.Seen = append(c.Seen, &vendors.Reply{Status: status, Body: []byte(body)})
	if f, err = c.Call.Operation.Reconcile(c); err != nil || f.Look != nil || f.Outcome == vendors.OutcomeUnknown && f.Why == "" {
		t.Fatalf("%+v, %v", f, err)
	}
	return f
}

// The object's state tells, and its amount what the call did cost. Anything else tells nothing.
func TestReconcile(t *testing.T) {
	v := parsed(t, orders+looked)
	const paid = `{"id":"or_7","state":"paid","paid":1234,"currency":"usd"}`
	for _, tt := range []struct {
		doubt  bool
		status int
		body   string
		want   string
	}{
		{true, 200, paid, "executed [12.34 USD]"},
		{true, 200, strings.Replace(paid, "1234", "1000", 1), "executed [10.00 USD]"},
		{true, 200, strings.Replace(paid, "1234", "1235", 1), "in_doubt []"}, // more than the call was to have: not the call's
		{true, 200, strings.Replace(paid, "usd", "eur", 1), "in_doubt []"},
		{false, 200, strings.Replace(paid, "1234", "1235", 1), "executed [12.35 USD]"},
		{true, 200, strings.Replace(paid, "paid", "failed", 1), "not_executed []"},
		{false, 200, strings.Replace(paid, "paid", "failed", 1), "not_executed []"},
		{true, 200, strings.Replace(paid, "paid", "open", 1), "in_doubt []"},
		{true, 200, strings.Replace(paid, `"paid"`, `["paid"]`, 1), "in_doubt []"},
		{true, 200, strings.Replace(paid, `"state":"paid",`, "", 1), "in_doubt []"},
		{true, 200, strings.Replace(paid, "or_7", "or_8", 1), "in_doubt []"},
		{true, 200, strings.Replace(paid, `"id":"or_7",`, "", 1), "in_doubt []"},
		{true, 200, strings.Replace(paid, `,"paid":1234`, "", 1), "in_doubt []"},
		{true, 200, strings.Replace(paid, "1234", "-1", 1), "in_doubt []"},
		{true, 404, paid, "in_doubt []"},
		{true, 500, paid, "in_doubt []"},
		{true, 200, "<html>", "in_doubt []"},
		{true, 200, "", "in_doubt []"},
	} {
		f := resolved(t, caseOf(t, v, tt.doubt), tt.status, tt.body)
		if got := fmt.Sprint(f.Outcome, " ", f.Cost.Actual); got != tt.want {
			t.Errorf("%t %d %s: %s (%s), want %s", tt.doubt, tt.status, tt.body, got, f.Why, tt.want)
		}
	}
}

// Without an id in the path it is the object that the reply named, and without lines what was booked.
func TestReconcileByTheReplysObject(t *testing.T) {
	text := strings.Replace(orders+looked[:strings.Index(looked, "      lines:")], "      id: {id: order}\n", "", 1)
	text = strings.Replace(text, "    settle:\n", "    settle:\n      again_minutes: 90\n", 1)
	v := parsed(t, text)
	const paid = `{"id":"or_7","state":"paid"}`
	c := caseOf(t, v, false, "or_7")
	s, err := c.Call.Operation.Settle(c.Call, c.Bound, &vendors.Reply{Status: 200, Body: []byte(`{"paid":100,"currency":"usd"}`)})
	if err != nil || s.Again != 90*time.Minute {
		t.Errorf("%+v, %v", s, err)
	}
	if f := resolved(t, c, 200, paid); f.Outcome != vendors.Executed || fmt.Sprint(f.Cost.Actual) != "[12.34 USD]" {
		t.Errorf("%+v", f)
	}
	c = caseOf(t, v, false, "or_7")
	c.Booked = []cost.Line{{Meter: cost.Charge, Currency: "USD", Amount: 1_000_000}}
	if f := resolved(t, c, 200, paid); f.Outcome != vendors.Executed || fmt.Sprint(f.Cost.Actual) != "[1.00 USD]" {
		t.Errorf("%+v", f)
	}
	for _, objects := range [][]string{nil, {"or_7", "or_8"}, {"../x"}, {""}} {
		if f := resolved(t, caseOf(t, v, true, objects...), 200, paid); f.Outcome != vendors.OutcomeUnknown || f.Why == "" {
			t.Errorf("%v: %+v", objects, f)
		}
	}
}

func TestParseSaysWhatAReconcileLacks(t *testing.T) {
	for _, tt := range []struct{ from, to, want string }{
		{"reconcile:\n      operation: acme.orders.retrieve", "reconcile:\n      operation: acme.orders.list", `operations[2].reconcile.operation: "acme.orders.list" is no operation`},
		{"      id: {id: order}\n", "      id: {json: order}\n", "operations[2].reconcile.id: of the call no more than the ids in its path is kept"},
		{"      id: {id: order}\n", "      id: {id: other}\n", "operations[2].reconcile.id.id: there is no {other}"},
		{"      id: {id: order}\n      names", "      names", ""},
		{"      names: id\n", "", "operations[2].reconcile.names:"},
		{"      state: state\n", "      state: 'x['\n", "operations[2].reconcile.state:"},
		{"      executed: [paid]\n      not_executed: [failed]\n", "", "operations[2].reconcile.executed: name the words"},
		{"not_executed: [failed]\n", "not_executed: [failed, paid]\n", "operations[2].reconcile.not_executed[1]: it says that the call was executed, too"},
		{"amount: {minor: {from: {seen: paid}", "amount: {minor: {from: {json: note}", "this is asked when the call is long over"},
		{"amount: {minor: {from: {seen: paid}", "amount: {minor: {from: {reply: paid}", "there is no reply yet when this is asked"},
		{"      lines:\n        - {meter: charge, currency: {from: {seen: currency}}", "      lines:\n        - {meter: outflow, currency: {from: {seen: currency}}", "reconcile.lines: the bound has a line on charge and this has none"},
		{"    settle:\n", "    settle:\n      again_minutes: 20000\n", "settle.again_minutes: it is 1 to 10080"},
	} {
		text := strings.Replace(orders+looked, tt.from, tt.to, 1)
		if text == orders+looked {
			t.Errorf("%q is not in the file", tt.from)
		}
		_, err := rules.Parse("acme.yaml", []byte(text))
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want) || !strings.HasPrefix(err.Error(), "acme.yaml:")) {
			t.Errorf("%q for %q:\n got %v\nwant %s", tt.to, tt.from, err, tt.want)
		}
	}
	if _, err := rules.Parse("acme.yaml", []byte(strings.Replace(orders, "    settle:\n", "    settle:\n      again_minutes: 20\n", 1))); err == nil || !strings.Contains(err.Error(), "there is no reconcile to look by") {
		t.Error(err)
	}
}
