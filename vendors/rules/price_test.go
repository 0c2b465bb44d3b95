package rules_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/reason"
	"github.com/keybrake/keybrake-go/vendors"
	"github.com/keybrake/keybrake-go/vendors/rules"
)

// priced is a vendor whose one operation costs amount on a meter.
func priced(t testing.TB, meter, body, amount string) vendors.Vendor {
	t.Helper()
	currency := "currency: {code: USD}, "
	if meter == "units" {
		currency = ""
	}
	v, err := rules.Parse("acme.yaml", []byte(fmt.Sprintf(`vendor: acme
hosts: [api.acme.example]
credential: {pattern: 'x+'}
headers: [Acme-Size]
tables:
  rate: {source: s, read: "2026-11", rows: {a: "0.0000001", b: "2"}}
operations:
  - name: acme.things.make
    method: POST
    path: /things
    class: fee
    body: %s
    kind: at most
    bound:
      - {meter: %s, %samount: %s}
`, body, meter, currency, amount)))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestAmounts(t *testing.T) {
	for _, c := range []struct{ meter, amount, body, want string }{
		{"fee", `{number: "1.5"}`, `{}`, "1.50 USD"},
		{"fee", `{number: "0.0000001"}`, `{}`, "0.000001 USD"}, // up
		{"units", `{number: "1.2"}`, `{}`, "2 units"},
		{"fee", `{sum: [{number: "0.0000004"}, {number: "0.0000006"}]}`, `{}`, "0.000001 USD"}, // once, not each
		{"fee", `{product: [{int: {json: n}}, {lookup: {table: rate, key: {json: k}}}]}`, `{"n":10,"k":"a"}`, "0.000001 USD"},
		{"fee", `{product: [{int: {json: n}}, {lookup: {table: rate, key: {json: k}}}]}`, `{"n":11,"k":"a"}`, "0.000002 USD"},
		{"fee", `{product: [{int: {json: n}}, {lookup: {table: rate, key: {json: k}}}]}`, `{"n":11,"k":"z"}`, "unknown"},
		{"fee", `{product: [{int: {json: n}}, {lookup: {table: rate, key: {json: k}}}]}`, `{"n":"x","k":"z"}`, "param_invalid n"},
		{"fee", `{product: [{lookup: {table: rate, key: {json: k}}}, {int: {json: n}}]}`, `{"n":"x","k":"z"}`, "param_invalid n"},
		{"fee", `{lookup: {table: rate, key: {json: k}}}`, `{"k":["a"]}`, "param_invalid k"},
		{"fee", `{decimal: {json: a}}`, `{"a":"12.34"}`, "12.34 USD"},
		{"fee", `{decimal: {json: a}}`, `{"a":12.34}`, "12.34 USD"},
		{"fee", `{decimal: {json: "a[*]"}}`, `{"a":["1","2.50"]}`, "3.50 USD"},
		{"fee", `{decimal: {json: "a[*]"}}`, `{"a":["1","-2.50"]}`, "param_invalid a"},
		{"fee", `{minor: {from: {json: a}, digits: 2}}`, `{"a":1234}`, "12.34 USD"},
		{"fee", `{minor: {from: {json: a}, digits: 0}}`, `{"a":1234}`, "1234.00 USD"},
		{"fee", `{minor: {from: {json: a}, digits: 3}}`, `{"a":1234}`, "1.234 USD"},
		{"fee", `{minor: {from: {json: a}, digits: 2}}`, `{"a":12.34}`, "param_invalid a"},
		{"fee", `{max: [{int: {json: a}}, {number: "3"}, {int: {json: b, optional: true}}]}`, `{"a":2}`, "3.00 USD"},
		{"fee", `{max: [{int: {json: a}}, {number: "3"}, {int: {json: b, optional: true}}]}`, `{"a":2,"b":5}`, "5.00 USD"},
		{"fee", `{max: [{number: "3"}, {lookup: {table: rate, key: {json: k}}}]}`, `{"k":"z"}`, "unknown"},
		{"fee", `{first: [{int: {json: a}}, {int: {json: b}}]}`, `{"b":5}`, "5.00 USD"},
		{"fee", `{first: [{int: {json: a}}, {int: {json: b}}]}`, `{"a":"x","b":5}`, "param_invalid a"},
		{"fee", `{first: [{int: {json: a}}, {int: {json: b}}]}`, `{"c":5}`, "param_invalid b"},
		{"units", `{count: {json: "a[*].b[*]"}}`, `{"a":[{"b":[1,2]},{"b":["x"]}]}`, "3 units"},
		{"units", `{count: {json: "a[*].b[*]"}}`, `{"a":[{"b":[1,2]},{}]}`, "param_invalid a[b]"},
		{"units", `{count: {json: "a[*].b[*]", optional: true}}`, `{"a":[{"b":[1,2]},{}]}`, "2 units"},
		{"units", `{count: {json: "a[*].b[*]", optional: true}}`, `{"a":[{"b":"1,2"},{}]}`, "param_invalid a[b]"},
		{"units", `{count: {json: "a[*].b[*]", optional: true}}`, `{"a":"none"}`, "param_invalid a[b]"},
		{"units", `{count: {json: "a[*]", optional: true}}`, `{"a":null}`, "0 units"},
		{"units", `{count: {json: "a[*]"}}`, `{"a":[1,null]}`, "param_invalid a"},
		{"units", `{count: {json: a.b, optional: true}}`, `{"a":"x"}`, "param_invalid a[b]"},
		{"units", `{lookup: {table: rate, key: {json: "k[*]"}}}`, `{"k":["b","b"]}`, "param_invalid k"},
		{"units", `{lookup: {table: rate, key: {json: "k[*]"}}}`, `{"k":["b"]}`, "2 units"},
		{"units", `{sum: [{int: {json: a}}, {int: {json: a}}]}`, `{"a":9007199254740991}`, "cost_unknown"},
		{"units", `{count: {json: a, split: ","}}`, `{"a":"x,y,z"}`, "3 units"},
		{"units", `{count: {json: a, split: ","}}`, `{"a":7}`, "param_invalid a"},
		{"units", `{count: {json: "[*].a"}}`, `[{"a":1},{"a":2}]`, "2 units"},
		{"units", `{count: {json: "[*].a"}}`, `[{"a":1},{"b":2}]`, "param_invalid a"},
		{"units", `{bytes: {json: $}}`, `{ "a" : "\u00e9\u00e9" }`, "12 units"},
		{"units", `{bytes: {json: a}}`, `{"a":"abc"}`, "5 units"},
		{"units", `{bytes: {json: a}}`, `{"a":[1` + strings.Repeat(",1", 25_000) + `]}`, "param_invalid a"},
		{"units", `{int: {json: a, default: "7"}}`, `{}`, "7 units"},
		{"units", `{int: {json: a, default: "7"}}`, `{"a":null}`, "7 units"},
		{"units", `{int: {json: a, default: "7"}}`, `{"a":8}`, "8 units"},
		{"units", `{int: {header: Acme-Size}}`, `{}`, "42 units"},
		{"units", `{int: {json: a}}`, `{"a":9007199254740992}`, "param_invalid a"},
		{"units", `{int: {json: a}}`, `{"a":true}`, "param_invalid a"},
		{"units", `{int: {json: a}}`, `{"A":1}`, "param_invalid a"},
		{"fee", `{int: {json: a}}`, `{"a":9007199254740991}`, "cost_unknown"},
		{"fee", `{product: [{int: {json: a}}, {int: {json: a}}, {int: {json: a}}, {int: {json: a}}, {int: {json: a}}, {int: {json: a}}, {int: {json: a}}]}`, `{"a":9007199254740991}`, "cost_unknown"},
	} {
		v := priced(t, c.meter, "json", c.amount)
		op := &v.Operations[0]
		tree, err := vendors.DecodeJSON([]byte(c.body))
		if err != nil {
			t.Fatal(err)
		}
		b, err := op.Bound(&vendors.Call{Operation: op, JSON: tree, Header: map[string][]string{"Acme-Size": {"42"}}}, nil)
		if got := said(b, err); got != c.want {
			t.Errorf("%s of %s: got %s, want %s", c.amount, c.body, got, c.want)
		}
	}
}

// said is a bound's line, or why there is none.
func said(b vendors.Bound, err error) string {
	var r *vendors.Refusal
	switch {
	case errors.As(err, &r):
		return strings.TrimSpace(string(r.Code) + " " + r.Param)
	case err != nil:
		return "not a refusal: " + err.Error()
	case b.Kind == vendors.Unknown && b.Why != "":
		return "unknown"
	}
	return b.Lines[0].String()
}

func TestFormAndQuery(t *testing.T) {
	for _, body := range []string{"form", "none"} {
		from := map[string]string{"form": "form", "none": "query"}[body]
		v := priced(t, "units", body, `{int: {`+from+`: n}}`)
		op := &v.Operations[0]
		for value, want := range map[string]string{"12": "12 units", "1.5": "param_invalid n", "": "param_invalid n"} {
			b, err := op.Bound(&vendors.Call{Operation: op, Params: []vendors.Param{{Name: "n", Value: value}}}, nil)
			if got := said(b, err); got != want {
				t.Errorf("%s %q: %s, want %s", body, value, got, want)
			}
		}
		if b, err := op.Bound(&vendors.Call{Operation: op}, nil); said(b, err) != "param_invalid n" {
			t.Errorf("%s: nothing is %s", body, said(b, err))
		}
	}
}

func TestRefusalIsTheDefaultOneOrTheFiles(t *testing.T) {
	r := vendors.Refusal{Code: reason.BudgetExceeded, Message: `no "$code" left`, Param: "a", Status: 429}
	v := priced(t, "units", "json", `{number: "1"}`)
	if got := v.Refuse(nil, r); got.Status != 429 || string(got.Body) != `{"error":{"code":"keybrake_budget_exceeded","message":"no \"$code\" left","type":"invalid_request_error"}}` {
		t.Errorf("%d %s", got.Status, got.Body)
	}
	if got := v.Refuse(nil, vendors.Refusal{Code: reason.KeyMissing, Detail: "d"}); got.Status != 401 || !strings.Contains(string(got.Body), "d") {
		t.Errorf("%d %s", got.Status, got.Body)
	}
	if got := shipped(t, "postmark").Refuse(nil, r); string(got.Body) != `{"ErrorCode":429,"Message":"no \"$code\" left"}` {
		t.Errorf("%s", got.Body)
	}
}

func TestPlace(t *testing.T) {
	for name, parts := range map[string]struct{ part, header, value string }{
		"sendgrid":  {"SG.abcdefghijk.ABCDEFGHIJK-_1", "Authorization", "Bearer SG.abcdefghijk.ABCDEFGHIJK-_1"},
		"postmark":  {"01234567-89ab-cdef-0123-456789abcdef", "X-Postmark-Server-Token", "01234567-89ab-cdef-0123-456789abcdef"},
		"anthropic": {"sk-ant-api03-abcdefghijklmnopqrst", "X-Api-Key", "sk-ant-api03-abcdefghijklmnopqrst"},
		"openai":    {"sk-proj-abcdefghijklmnopqrst", "Authorization", "Bearer sk-proj-abcdefghijklmnopqrst"},
		"plaid":     {"0123456789abcdef0123456789abcd", "Plaid-Secret", "0123456789abcdef0123456789abcd"},
	} {
		place, before := shipped(t, name).Place, []string(nil)
		if name == "plaid" {
			before = []string{aClientID}
		}
		p, err := place(append(before, parts.part))
		if err != nil || p.Header != parts.header || p.Value != parts.value || len(p.Secrets) != 1 || p.Secrets[0] != parts.part {
			t.Errorf("%s: %v", name, err)
		}
		for _, bad := range []string{"", "kbv1_x", " " + parts.part, parts.part + "\n", "!" + parts.part, parts.part + "!", parts.part + "\r\nX: y", parts.part + "é"} {
			if _, err := place(append(before, bad)); err == nil || bad != "" && strings.Contains(err.Error(), bad) {
				t.Errorf("%s: %q: %v", name, bad, err)
			}
		}
	}
}

const aClientID = "0123456789abcdef01234567"

// Each part goes out in its own header. The secret one is what the credential is known by, and a name may stand in replies.
func TestPlaceOfSeveralParts(t *testing.T) {
	const secret = "fedcba9876543210fedcba98765432"
	v := shipped(t, "plaid")
	p, err := v.Place([]string{aClientID, secret})
	if err != nil || p.Header != "Plaid-Secret" || p.Value != secret || !slices.Equal(p.Also, []vendors.Param{{Name: "Plaid-Client-Id", Value: aClientID}}) || !slices.Equal(p.Secrets, []string{secret}) {
		t.Errorf("%v, %v", err, p.Also)
	}
	if !slices.Equal(v.CredentialHeaders, []string{"Plaid-Client-Id", "Plaid-Secret"}) {
		t.Errorf("%v", v.CredentialHeaders)
	}
	if p, err := v.Place([]string{aClientID + ":" + secret}); err != nil || p.Value != secret || len(p.Also) != 1 {
		t.Errorf("%v", err)
	}
	for _, parts := range [][]string{nil, {secret}, {secret + ":" + aClientID}, {aClientID + ":" + secret + ":x"}, {aClientID + ":"}, {":" + secret}, {secret, aClientID}, {aClientID, secret, secret}, {aClientID, ""}, {"", secret}, {aClientID + "\n", secret}} {
		if p, err := v.Place(parts); err == nil || p.Value != "" || p.Also != nil || strings.Contains(err.Error(), secret) {
			t.Errorf("%q: placed, or repeated: %v", parts, err)
		}
	}
}

// No pattern lets through what would end a header.
func TestPlaceIsPrintable(t *testing.T) {
	v, err := rules.Parse("acme.yaml", []byte(strings.Replace(small, "'ak_[a-z0-9]+'", "'(?s).*'", 1)))
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{"", "a b", "a\r\nX: y", "é"} {
		if _, err := v.Place([]string{bad}); err == nil {
			t.Errorf("%q was placed", bad)
		}
	}
}

// A reply in another currency than was reserved is booked as it says, and a person sees it.
func TestAnotherCurrency(t *testing.T) {
	v := shipped(t, "plaid")
	c := call(t, v, "https://production.plaid.com/transfer/create", `{"authorization_id":"au_1","amount":"1.00"}`)
	b, err := c.Operation.Bound(c, nil)
	if err != nil {
		t.Fatal(err)
	}
	for code, flag := range map[string]string{"USD": "", "CAD": "unexpected currency"} {
		s, err := c.Operation.Settle(c, b, &vendors.Reply{Status: 200, Body: []byte(`{"transfer":{"id":"t","amount":"1.00","iso_currency_code":"` + code + `"}}`)})
		if err != nil || s.Flag != flag || s.Held[0].String() != "1.00 "+code {
			t.Errorf("%s: %+v, %v", code, s, err)
		}
	}
}

// What SDKs send again of their own is turned into a refusal where nothing protects it.
func TestResends(t *testing.T) {
	v := shipped(t, "openai")
	for status, want := range map[int]bool{0: true, 200: false, 302: false, 400: false, 408: true, 409: true, 429: true, 500: true, 529: true} {
		var r *vendors.Reply
		if status != 0 {
			r = &vendors.Reply{Status: status}
		}
		if v.Resends(nil, r) != want {
			t.Errorf("%d: want %t", status, want)
		}
	}
}

// FuzzParse reads arbitrary files: what is taken is a vendor that the brake takes, whose hosts and paths nothing widens; a call
// that it prices costs nothing that a ledger would not take; and a text that is JSON and YAML says the same as both.
func FuzzParse(f *testing.F) {
	const bodies = `{"to":["a","b"],"n":9007199254740993,"amount":"-1","model":"m","max_tokens":1e9}`
	f.Add([]byte(small), []byte(bodies))
	for _, name := range rules.Names() {
		f.Add(rules.Source(name), []byte(bodies))
	}
	f.Add([]byte(`{"vendor":"a","hosts":["a"],"credential":{"pattern":"a"},"operations":[{"name":"a.b","method":"GET","path":"/","class":"read"}]}`), []byte("{}"))
	f.Fuzz(func(t *testing.T, data, body []byte) {
		tree, _ := vendors.DecodeJSON(body)
		var read []vendors.Vendor
		for _, name := range []string{"f.yaml", "f.json"} {
			v, err := rules.Parse(name, data)
			if err != nil {
				continue
			}
			read = append(read, v)
			if _, err := vendors.NewTable([]vendors.Vendor{v}); err != nil {
				t.Errorf("a file was taken whose vendor is not: %v", err)
			}
			for i := range v.Operations {
				op := &v.Operations[i]
				if op.Bound == nil {
					continue
				}
				b, err := op.Bound(&vendors.Call{Operation: op, JSON: tree}, nil)
				if err != nil {
					continue
				}
				valid(t, b.Lines)
				if b.Kind == vendors.Unknown && b.Why == "" {
					t.Errorf("%s: unknown, and why?", op.Name)
				}
			}
		}
		if len(read) == 2 && shape(read[0]) != shape(read[1]) {
			t.Errorf("%s as YAML, and %s as JSON", shape(read[0]), shape(read[1]))
		}
	})
}

// shape is what a vendor says in words.
func shape(v vendors.Vendor) string {
	all := fmt.Sprint(v.Name, v.Headers, v.RedirectHeaders, v.CredentialHeaders, v.RetryHeaders)
	for _, op := range v.Operations {
		all += fmt.Sprint("\n", op.Name, op.Method, op.Host, op.Path, op.Class, op.HardDeny, op.Body, op.Params, op.KeyMemory, op.KeyMax, op.Bound != nil, op.Settle != nil)
	}
	return all
}

// FuzzCall prices arbitrary bodies and settles from arbitrary replies, by every operation that is shipped: nothing panics,
// no line is one that a ledger would not take, nothing but JSON with the vendor's error gives a hold back, and what is
// booked below the bound was read from a reply that is whole.
func FuzzCall(f *testing.F) {
	var all []*vendors.Operation
	for _, name := range rules.Names() {
		v := shipped(f, name)
		for i := range v.Operations {
			if v.Operations[i].Bound != nil {
				all = append(all, &v.Operations[i])
			}
		}
	}
	f.Add(0, []byte(`{"model":"m-1","max_tokens":5}`), 200, false, []byte(`{"id":"x","usage":{"input_tokens":1,"output_tokens":1}}`))
	f.Add(0, []byte(`{"model":"m-1","max_tokens":5}`), 200, true, []byte("data: {\"message\":{\"usage\":{\"input_tokens\":1}}}\n\ndata: {\"usage\":{\"output_tokens\":1},\"type\":\"message_stop\"}\n\n"))
	f.Add(3, []byte(`{"model":"m-1","input":"x"}`), 400, false, []byte(`{"error":{"message":"no"}}`))
	f.Add(7, []byte(`{"authorization_id":"au_1","amount":"1.00"}`), 200, false, []byte(`{"transfer":{"id":"t","amount":"1.00"}}`))
	f.Add(12, []byte(`[{"To":"a@b.c, d@e.f"}]`), 200, false, []byte(`null`))
	f.Add(15, []byte(`{"personalizations":[{"to":[{"email":"a@b.c"}]}]}`), 202, false, []byte(``))
	f.Fuzz(func(t *testing.T, n int, body []byte, status int, stream bool, reply []byte) {
		op := all[((n%len(all))+len(all))%len(all)]
		tree, err := vendors.DecodeJSON(body)
		if err != nil {
			return
		}
		c := &vendors.Call{Operation: op, JSON: tree}
		b, err := op.Bound(c, nil)
		if err != nil {
			return
		}
		valid(t, b.Lines)
		if b.Kind == vendors.Unknown {
			if b.Why == "" {
				t.Fatal("unknown, and why?")
			}
			b.Lines = []cost.Line{{Meter: cost.Fee, Currency: "USD", Amount: 1_000_000}}
		}
		r := &vendors.Reply{Status: status, Header: map[string][]string{}, Body: reply}
		if stream {
			r.Header.Set("Content-Type", "text/event-stream")
		}
		_, unread := vendors.DecodeJSON(reply)
		outcome := vendors.ByStatus(c, r)
		if op.Outcome != nil {
			outcome = op.Outcome(c, r)
		}
		if outcome == vendors.NotExecuted && (unread != nil || status < 400 || status > 499) {
			t.Fatalf("status %d and %q give a hold back", status, reply)
		}
		if outcome != vendors.Executed || op.Settle == nil {
			return
		}
		s, err := op.Settle(c, b, r)
		if err != nil {
			return
		}
		valid(t, s.Actual)
		for _, l := range b.Lines {
			got, _ := cost.Sum(s.Actual, l.Meter, l.Currency)
			if got < l.Amount && (unread != nil && !stream || stream && !strings.HasSuffix(string(reply), "\n")) && s.Flag == "" {
				t.Fatalf("%v of %v is booked for a reply that cannot be read: %q", s.Actual, b.Lines, reply)
			}
		}
	})
}

func valid(t *testing.T, lines []cost.Line) {
	t.Helper()
	for _, l := range lines {
		if err := l.Valid(); err != nil {
			t.Fatalf("%+v: %v", l, err)
		}
	}
}

// Where bound_if holds, a reply that says less, or nothing, is booked at what was reserved.
func TestBoundIf(t *testing.T) {
	v, err := rules.Parse("acme.yaml", []byte(strings.Replace(small, "    settle:\n", "    settle:\n      bound_if: [{from: {json: async}, other_than: [\"false\"]}]\n", 1)))
	if err != nil {
		t.Fatal(err)
	}
	for body, want := range map[string]string{`{"to":["a"],"async":true}`: "0.50 USD", `{"to":["a"],"async":false}`: "0.10 USD", `{"to":["a"]}`: "0.10 USD"} {
		c := call(t, v, "https://api.acme.example/letters", body)
		b, err := c.Operation.Bound(c, nil)
		if err != nil {
			t.Fatal(err)
		}
		s, err := c.Operation.Settle(c, b, &vendors.Reply{Status: 201, Body: []byte(`{"cost":"0.10"}`)})
		if err != nil || s.Actual[0].String() != want {
			t.Errorf("%s: %+v, %v", body, s, err)
		}
		_, err = c.Operation.Settle(c, b, &vendors.Reply{Status: 201, Body: []byte(`<html>`)})
		if (err == nil) != (want == "0.50 USD") {
			t.Errorf("%s, a page: %v", body, err)
		}
	}
}
