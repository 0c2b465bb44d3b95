package rules_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/keybraketest"
	"github.com/keybrake/keybrake-go/policy"
	"github.com/keybrake/keybrake-go/reason"
	"github.com/keybrake/keybrake-go/vendors"
	"github.com/keybrake/keybrake-go/vendors/rules"
)

// orders is a vendor whose payments cost what the order says, which a look finds out.
const orders = `vendor: acme
hosts: [api.acme.example]
credential: {scheme: Bearer, pattern: 'ak_[a-z0-9]+'}
operations:
  - {name: acme.orders.retrieve, method: GET, path: '/orders/{id:or_}', class: read}
  - {name: acme.orders.list, method: GET, path: /orders, class: read}
  - name: acme.orders.pay
    method: POST
    path: '/orders/{order:or_}/pay'
    class: charge
    body: json
    params: [note]
    look: {operation: acme.orders.retrieve, id: {id: order}, names: id}
    kind: exact
    bound:
      - {meter: charge, currency: {from: {seen: currency}}, amount: {minor: {from: {seen: "items[*].price"}, digits: 2}}}
    outcome: {executed: [200], not_executed: [422], error: error}
    settle:
      lines:
        - {meter: charge, currency: {from: {reply: currency}}, amount: {minor: {from: {reply: paid}, digits: 2}}}
      objects: [{id: order}]
`

func parsed(t *testing.T, text string) vendors.Vendor {
	t.Helper()
	v, err := rules.Parse("acme.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// A look reads what the call depends on. Whatever it cannot read, or is about something else, refuses the call.
func TestLook(t *testing.T) {
	v := parsed(t, orders)
	c := call(t, v, "https://api.acme.example/orders/or_7/pay", `{"note":"x"}`)
	b, err := c.Operation.Bound(c, nil)
	if err != nil || b.Probe == nil || b.Probe.Operation != "acme.orders.retrieve" || b.Probe.Path != "/orders/or_7" || b.Probe.Host != "" || b.Lines != nil {
		t.Fatalf("%+v, %v", b, err)
	}
	const order = `{"id":"or_7","currency":"usd","items":[{"price":1200},{"price":34}]}`
	reply := func(status int, body string) *vendors.Reply {
		return &vendors.Reply{Status: status, Body: []byte(body)}
	}
	b, err = c.Operation.Bound(c, reply(200, order))
	if err != nil || b.Kind != vendors.Exact || fmt.Sprint(b.Lines) != "[12.34 USD]" || b.Probe != nil {
		t.Errorf("%+v, %v", b, err)
	}
	for _, seen := range []*vendors.Reply{
		reply(500, order), reply(404, `{}`), reply(201, order), reply(200, ""), reply(200, "<html>"), reply(200, "[]"), reply(200, "{}"),
		reply(200, strings.Replace(order, "or_7", "or_8", 1)), reply(200, strings.Replace(order, `"or_7"`, `["or_7"]`, 1)),
		reply(200, strings.Replace(order, "1200", "-1", 1)), reply(200, strings.Replace(order, "1200", "null", 1)),
		reply(200, strings.Replace(order, "[{\"price\":1200},{\"price\":34}]", "[]", 1)), reply(200, strings.Replace(order, "usd", "dollars", 1)),
	} {
		var r *vendors.Refusal
		if b, err := c.Operation.Bound(c, seen); !errors.As(err, &r) || b.Lines != nil {
			t.Errorf("%d %s: %+v, %v", seen.Status, seen.Body, b, err)
		}
	}
	s, err := c.Operation.Settle(c, vendors.Bound{Kind: vendors.Exact, Lines: b.Lines}, reply(200, `{"paid":1000,"currency":"usd"}`))
	if err != nil || fmt.Sprint(s.Actual) != "[10.00 USD]" || !slices.Equal(s.Objects, []string{"or_7"}) {
		t.Errorf("%+v, %v", s, err)
	}
	if _, err := c.Operation.Settle(c, b, reply(200, `{"currency":"usd"}`)); err == nil {
		t.Error("a reply without an amount is settled from")
	}
}

// The brake makes the look with the real credential, and the agent never sees what it has read.
func TestLookThroughTheBrake(t *testing.T) {
	for price, want := range map[string]int{"1000": 200, "2001": 429} {
		bench := keybraketest.New(t, policy.Policy{
			Allow: []policy.Rule{{Operation: "acme.orders.pay"}}, Budgets: []policy.Budget{policy.Lifetime(policy.USD("20"))},
		}, &keybraketest.Options{Vendors: []vendors.Vendor{parsed(t, orders)}, Credentials: map[string]string{"acme": "ak_1"}})
		bench.Handle("acme.orders.retrieve", keybraketest.JSON(200, `{"id":"or_7","currency":"usd","items":[{"price":`+price+`}],"note":"seen"}`))
		bench.Handle("acme.orders.pay", keybraketest.JSON(200, `{"paid":1000,"currency":"usd"}`))
		status, body := send(t, bench, "https://api.acme.example/orders/or_7/pay", `{}`)
		if status != want || strings.Contains(body, "seen") {
			t.Errorf("%s: %d %s", price, status, body)
		}
		forwarded := []string{"acme.orders.retrieve", "acme.orders.pay"}
		if want != 200 {
			forwarded = forwarded[:1]
		}
		if got := bench.Forwarded(); !slices.Equal(got, forwarded) {
			t.Errorf("%s: %v", price, got)
		}
	}
}

func send(t *testing.T, bench *keybraketest.Bench, target, body string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), "POST", target, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+bench.Key.Token())
	resp, err := bench.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

// What an authorization holds, a transfer takes over, and its cancellation gives back: the amount is held once.
func TestAHoldMovesFromCallToCall(t *testing.T) {
	bench := keybraketest.New(t, policy.Policy{
		Allow: []policy.Rule{{Operation: "plaid.transfer.*"}}, Budgets: []policy.Budget{policy.Lifetime(policy.USD("20"))},
	}, &keybraketest.Options{Vendors: []vendors.Vendor{shipped(t, "plaid")}, Credentials: map[string]string{"plaid": aClientID + ":fedcba9876543210fedcba98"}})
	const host = "https://sandbox.plaid.com/transfer/"
	authorization := func(id, decision string) http.Handler {
		return keybraketest.JSON(200, `{"authorization":{"id":"`+id+`","decision":"`+decision+`","proposed_transfer":{"amount":"12.00","iso_currency_code":"USD"}}}`)
	}
	want := func(step, spent, held string) {
		t.Helper()
		states, err := bench.Balance(t.Context(), bench.Key.Token())
		if err != nil || cost.Decimal(states[0].Spent) != spent || cost.Decimal(states[0].Held) != held {
			t.Errorf("%s: %s spent and %s held, %v; want %s and %s", step, cost.Decimal(states[0].Spent), cost.Decimal(states[0].Held), err, spent, held)
		}
	}
	ok := func(step, path, body string, status int) {
		t.Helper()
		if got, text := send(t, bench, host+path, body); got != status {
			t.Fatalf("%s: %d %s", step, got, text)
		}
	}
	bench.Handle("plaid.transfer.authorization.create", authorization("au_0", "declined"))
	ok("declined", "authorization/create", `{"amount":"12.00"}`, 200)
	want("declined", "0.10", "0.00")
	bench.Handle("plaid.transfer.authorization.create", authorization("au_1", "approved"))
	ok("authorization", "authorization/create", `{"amount":"12.00"}`, 200)
	want("authorization", "0.20", "12.00")
	ok("a second one", "authorization/create", `{"amount":"12.00"}`, 429)

	bench.Handle("plaid.transfer.create", keybraketest.JSON(200, `{"transfer":{"id":"tr_1","amount":"12.00","iso_currency_code":"USD"}}`))
	ok("transfer", "create", `{"authorization_id":"au_1","amount":"12.00"}`, 200)
	want("transfer", "0.45", "12.00")

	bench.Handle("plaid.transfer.cancel", keybraketest.JSON(200, `{}`))
	ok("a cancellation that says nothing", "cancel", `{"transfer_id":"tr_1"}`, 200)
	want("a cancellation that says nothing", "0.45", "12.00")
	bench.Handle("plaid.transfer.cancel", keybraketest.JSON(200, `{"request_id":"r"}`))
	ok("a cancellation of another", "cancel", `{"transfer_id":"tr_2"}`, 200)
	want("a cancellation of another", "0.45", "12.00")
}

// The same, up to a cancellation that the vendor answers.
func TestACancellationGivesBack(t *testing.T) {
	bench := keybraketest.New(t, policy.Policy{
		Allow: []policy.Rule{{Operation: "plaid.transfer.*"}}, Budgets: []policy.Budget{policy.Lifetime(policy.USD("20"))},
	}, &keybraketest.Options{Vendors: []vendors.Vendor{shipped(t, "plaid")}, Credentials: map[string]string{"plaid": aClientID + ":fedcba9876543210fedcba98"}})
	bench.Handle("plaid.transfer.create", keybraketest.JSON(200, `{"transfer":{"id":"tr_1","amount":"12.00","iso_currency_code":"USD"}}`))
	bench.Handle("plaid.transfer.cancel", keybraketest.JSON(200, `{"request_id":"r"}`))
	for range 3 {
		if got, text := send(t, bench, "https://sandbox.plaid.com/transfer/create", `{"authorization_id":"au_1","amount":"12.00"}`); got != 200 {
			t.Fatalf("%d %s", got, text)
		}
		if got, text := send(t, bench, "https://sandbox.plaid.com/transfer/cancel", `{"transfer_id":"tr_1"}`); got != 200 {
			t.Fatalf("%d %s", got, text)
		}
	}
	states, err := bench.Balance(t.Context(), bench.Key.Token())
	if err != nil || cost.Decimal(states[0].Spent) != "0.75" || states[0].Held != 0 {
		t.Errorf("%+v, %v", states, err)
	}
}

// What is wrong with a look or with an object is said where it stands.
func TestParseSaysWhatARecallLacks(t *testing.T) {
	const look, release = "look: {operation: acme.orders.retrieve, id: {id: order}, names: id}", `
  - name: acme.orders.cancel
    method: POST
    path: '/orders/{id:or_}/cancel'
    class: release
    object: {id: id}
    settle: {has: id}
`
	parsed(t, orders+release[1:])
	for _, tt := range []struct{ from, to, want string }{
		{"operation: acme.orders.retrieve", "operation: acme.orders.get", `acme.yaml:13:23: operations[2].look.operation: "acme.orders.get" is no operation`},
		{"'/orders/{id:or_}', class: read", "'/orders/{id:or_}', class: free", "is no operation of this file that is a GET of class read"},
		{"operation: acme.orders.retrieve", "operation: acme.orders.list", "with one id in its path"},
		{"operation: acme.orders.retrieve", "operation: acme.orders.pay", "is no operation of this file that is a GET of class read"},
		{"id: {id: order}, names", "id: {id: id}, names", "operations[2].look.id.id: there is no {id} in the operation's path"},
		{"id: {id: order}, names", "id: {json: order, optional: true}, names", "operations[2].look.id: without an id there is nothing to look at"},
		{"id: {id: order}, names", "id: {reply: id}, names", "there is no reply yet"},
		{"id: {id: order}, names", "id: {seen: id}, names", "only the bound of an operation with a look"},
		{", names: id", ", names: 'id['", "operations[2].look.names:"},
		{", names: id", "", "operations[2].look.names:"},
		{look, "params: [x]", `"params" stands twice`},
		{"    " + look + "\n", "", "operations[2].bound[0].currency.from.seen: only the bound of an operation with a look reads what was seen"},
		{"{reply: paid}", "{seen: paid}", "operations[2].settle.lines[0].amount.minor.from.seen: only the bound"},
		{`amount: {minor: {from: {seen: "items[*].price"}, digits: 2}}`, "amount: {lookup: {table: t, key: {seen: x}}}", "beside a look, write the price as a number"},
		{"class: read}\n  - {name: acme.orders.list", "class: read, " + look + "}\n  - {name: acme.orders.list", "never costs, and there is a bound"},
		{"object: {id: id}", "object: {id: order}", "operations[3].object.id: there is no {order}"},
		{"object: {id: id}", "object: {query: id, default: x}", "operations[3].object: without an id nothing is moved"},
		{"    settle: {has: id}\n", "", "operations[3].settle: say what the reply has where the object was released"},
		{"settle: {has: id}", "settle: {objects: [{reply: id}]}", "operations[3].settle: say what the reply has"},
		{"settle: {has: id}", "settle: {has: 'x['}", "operations[3].settle.has:"},
		{"settle: {has: id}", "settle: {has: id, held: {object: {id: id}, lines: [{meter: units, amount: {number: \"1\"}}]}}", "and nothing else"},
		{"    object: {id: id}\n", "", "class \"release\" never costs, and there is a bound"},
		{"      objects: [{id: order}]", "      held: {object: {reply: id}, lines: []}", "settle.held.lines: "},
		{"      objects: [{id: order}]", "      held: {object: {reply: id}, none_if: [{from: {reply: state}, one_of: []}], lines: [{meter: units, amount: {number: \"1\"}}]}", "settle.held.none_if[0].one_of:"},
		{"      objects: [{id: order}]", "      bound_if: [{from: {json: x}}]\n      held: {object: {reply: id}, lines: [{meter: units, amount: {number: \"1\"}}]}", "settle.held: nothing can be held beside bound_if or a stream"},
	} {
		whole := orders + release[1:]
		text := strings.Replace(whole, tt.from, tt.to, 1)
		if text == whole {
			t.Errorf("%q is not in the file", tt.from)
		}
		if _, err := rules.Parse("acme.yaml", []byte(text)); err == nil || !strings.Contains(err.Error(), tt.want) || !strings.HasPrefix(err.Error(), "acme.yaml:") {
			t.Errorf("%q for %q:\n got %v\nwant %s", tt.to, tt.from, err, tt.want)
		}
	}
}

// What a reply has to have, what is held where nothing is booked, and a ceiling beside a look.
func TestSettlements(t *testing.T) {
	reply := func(body string) *vendors.Reply { return &vendors.Reply{Status: 200, Body: []byte(body)} }
	settled := func(text, body string) (vendors.Settlement, error) {
		c := call(t, parsed(t, text), "https://api.acme.example/orders/or_7/pay", `{"note":"x"}`)
		return c.Operation.Settle(c, vendors.Bound{Kind: vendors.AtMost, Lines: []cost.Line{{Meter: cost.Charge, Currency: "USD", Amount: 20_000_000}}}, reply(body))
	}
	i := strings.Index(orders, "    settle:\n")
	has := orders[:i] + "    settle: {has: paid}\n"
	if s, err := settled(has, `{"paid":1}`); err != nil || fmt.Sprint(s.Actual) != "[20.00 USD]" {
		t.Errorf("%+v, %v", s, err)
	}
	for _, body := range []string{`{}`, `{"paid":null}`, "", "<html>"} {
		if s, err := settled(has, body); err == nil {
			t.Errorf("%q: %+v", body, s)
		}
	}
	holds := orders[:i] + `    settle:
      held:
        object: {reply: "id[*]"}
        none_if: [{from: {reply: "state[*]"}, one_of: [void]}]
        lines: [{meter: charge, currency: {code: USD}, amount: {number: "5"}}]
`
	for body, want := range map[string]string{
		`{"id":["or_7"],"state":["open"]}`:        "[] [5.00 USD] or_7",
		`{"id":["or_7"],"state":["void"]}`:        "[] [] or_7",
		`{"id":["or_7"],"state":["void","open"]}`: "[] [5.00 USD] or_7",
		`{"id":["or_7"]}`:                         "[] [5.00 USD] or_7",
		`{"id":["or_7","or_8"]}`:                  "",
		`{"id":[]}`:                               "",
	} {
		s, err := settled(holds, body)
		if got := fmt.Sprint(s.Actual, " ", s.Held, " ", s.Object); (err != nil) != (want == "") || err == nil && got != want {
			t.Errorf("%s: %s, %v; want %s", body, got, err, want)
		}
	}
	unknown := strings.Replace(orders, "    kind: exact\n", "    kind: exact\n    unknown_if: [{from: {json: note}, why: notes are dear}]\n", 1)
	if s, err := settled(unknown, `{"paid":1,"currency":"usd"}`); err != nil || fmt.Sprint(s.Actual) != "[20.00 USD]" {
		t.Errorf("what was not known is booked at %v, %v", s.Actual, err)
	}
}

// An id that could be another path, or is not of the kind that the look reads, is looked at by nobody.
func TestLookedAtIDs(t *testing.T) {
	v := parsed(t, strings.Replace(strings.Replace(orders, "id: {id: order}, names", "id: {json: order}, names", 1), "params: [note]", "params: [order]", 1))
	for _, body := range []string{`{}`, `{"order":""}`, `{"order":"or_7/../x"}`, `{"order":"ch_7"}`, `{"order":["or_1","or_2"]}`, `{"order":7}`, `{"order":{}}`, `{"order":null}`, `{"order":"` + strings.Repeat("o", 300) + `"}`} {
		c := call(t, v, "https://api.acme.example/orders/or_7/pay", body)
		var r *vendors.Refusal
		if b, err := c.Operation.Bound(c, nil); !errors.As(err, &r) || r.Code != reason.ParamInvalid || r.Param != "order" || b.Probe != nil {
			t.Errorf("%s: %+v, %v", body, b, err)
		}
	}
}
