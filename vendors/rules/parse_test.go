package rules_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/keybrake/keybrake-go/vendors"
	"github.com/keybrake/keybrake-go/vendors/rules"
)

// small is a file that is right, and short enough to be wrong in one place.
const small = `vendor: acme
hosts: [api.acme.example]
credential: {scheme: Bearer, pattern: 'ak_[a-z0-9]+'}
headers: [Acme-Version]
tables:
  price: {source: acme.example/prices, read: "2026-11", rows: {letter: "0.50"}}
operations:
  - name: acme.letters.send
    method: POST
    path: /letters
    class: fee
    body: json
    params: [to]
    kind: exact
    bound:
      - meter: fee
        currency: {code: USD}
        amount: {product: [{count: {json: "to[*]"}}, {lookup: {table: price, key: {const: letter}}}]}
    outcome: {executed: [201], not_executed: [422], error: error.code}
    settle:
      lines:
        - {meter: fee, currency: {code: USD}, amount: {decimal: {reply: cost}}}
  - {name: acme.letters.list, method: GET, path: /letters, class: read}
`

func TestParse(t *testing.T) {
	v, err := rules.Parse("acme.yaml", []byte(small))
	if err != nil {
		t.Fatal(err)
	}
	if v.Name != "acme" || len(v.Operations) != 2 || v.Operations[0].Class != vendors.Fee {
		t.Errorf("%+v", v)
	}
}

// What is wrong with a file is said with its line, column and field.
func TestParseSaysWhereAndWhat(t *testing.T) {
	for _, c := range []struct{ from, to, want string }{
		{"vendor: acme", "vendor: Acme", "acme.yaml:1:9: vendor: give the vendor a name"},
		{"vendor: acme", "vendr: acme", `acme.yaml:1:1: "vendr" is no field here; did you mean vendor?`},
		{"hosts: [api.acme.example]", "hosts: []", "acme.yaml:2:8: hosts: name at least one host"},
		{"hosts: [api.acme.example]", "hosts: [api.acme.example, api.acme.example]", "acme.yaml:2:27: hosts[1]: it stands twice"},
		{"hosts: [api.acme.example]", "hosts: [API.acme.example]", "is not a host name"},
		{"hosts: [", "hosts: &h [", "anchors and aliases are not read"},
		{"headers: [Acme-Version]", "headers: [acme-version]", "not in canonical form"},
		{"headers: [Acme-Version]", "headers: [Authorization]", "is the brake's own"},
		{"headers: [Acme-Version]", "headers: !!seq [Acme-Version]", "tags are not read"},
		{"headers: [Acme-Version]", "headers: [Acme-Version]\nheaders: [X]", `acme.yaml:5:1: "headers" stands twice`},
		{"'ak_[a-z0-9]+'", "'ak_['", "acme.yaml:3:39: credential.pattern: give a regular expression"},
		{", pattern: 'ak_[a-z0-9]+'", "", "credential.pattern: give a regular expression"},
		{"scheme: Bearer", "scheme: 'Bearer x'", "credential.scheme: a scheme is one word"},
		{"{scheme: Bearer, pattern: 'ak_[a-z0-9]+'}", "{parts: [{header: X-Id, pattern: a, public: true}]}", "acme.yaml:3:21: credential.parts: one of them is secret"},
		{"{scheme: Bearer, pattern: 'ak_[a-z0-9]+'}", "{parts: [{header: X-Key, pattern: a}, {header: X-Key, pattern: b}]}", "credential.parts[1].header: another part goes out in it"},
		{"{scheme: Bearer, pattern: 'ak_[a-z0-9]+'}", "{parts: [{pattern: a}]}", "credential.parts[0].header: name the header"},
		{"{scheme: Bearer, pattern: 'ak_[a-z0-9]+'}", "{parts: [{header: X-Key}]}", "credential.parts[0].pattern: give a regular expression"},
		{"{scheme: Bearer, pattern: 'ak_[a-z0-9]+'}", "{parts: [{header: x-key, pattern: a}]}", "credential.parts[0].header: write it as X-Key"},
		{"{scheme: Bearer, pattern: 'ak_[a-z0-9]+'}", "{scheme: Bearer, parts: [{header: X-Key, pattern: a}]}", "credential: give header, scheme and pattern for each of its parts"},
		{"{scheme: Bearer, pattern: 'ak_[a-z0-9]+'}", "{header: Cookie, pattern: a}", "header Cookie says something else than a credential"},
		{"{scheme: Bearer, pattern: 'ak_[a-z0-9]+'}", "{header: User-Agent, pattern: a}", "header User-Agent says something else than a credential"},
		{"{scheme: Bearer, pattern: 'ak_[a-z0-9]+'}", "{header: Acme-Version, pattern: a}", "header Acme-Version is the brake's own and is not copied"},
		{"scheme: Bearer", "header: x-key", "credential.header: write it as X-Key"},
		{`letter: "0.50"`, `letter: 0.50`, "it is to be a string; write \"0.50\", in quotes"},
		{`letter: "0.50"`, `letter: "-1"`, "tables.price.rows.letter: \"-1\" is not a decimal number"},
		{`letter: "0.50"`, `letter: "5e3"`, "is not a decimal number"},
		{`source: acme.example/prices, `, "", "tables.price.source: say where the numbers are from"},
		{`"2026-11"`, `"soon"`, "tables.price.read: say when the numbers were read"},
		{"name: acme.letters.send", "name: other.letters.send", `acme.yaml:8:11: operations[0].name: it does not start with "acme."`},
		{"name: acme.letters.send", "name: acme.letters.*", "operations[0].name: it is not a name that a policy can write"},
		{"name: acme.letters.send", "name: null", "acme.yaml:8:11: operations[0].name: it has no value"},
		{"class: fee", "class: fees", "operations[0].class: class \"fees\" never costs, and there is a bound"},
		{"class: fee", "class: free", "operations[0].class: class \"free\" never costs, and there is a bound"},
		{"class: read", "class: reed", "is not a class"},
		{"method: POST", "method: post", "is not a method in upper case"},
		{"path: /letters\n", "path: letters\n", "does not start with a slash"},
		{"path: /letters\n", "path: '/letters/{'\n", "brace"},
		{"method: GET", "method: POST", "is a read but not a GET"},
		{"body: json", "body: xml", "operations[0].body: it is none, form or json"},
		{"body: json", "body: form", "the operation's body is not json"},
		{"kind: exact", "kind: about", `operations[0].kind: say whether the bound is "exact" or "at most"`},
		{"    kind: exact\n", "", `operations[0].kind: say whether the bound is "exact" or "at most"`},
		{"meter: fee\n", "meter: spend\n", "operations[0].bound[0].meter: it is charge, outflow, fee or units"},
		{"meter: fee\n", "meter: calls\n", "it is charge, outflow, fee or units"},
		{"        currency: {code: USD}\n", "", "operations[0].bound[0].currency: money has a currency"},
		{"meter: fee\n", "meter: units\n", "units have no currency"},
		{"        currency: {code: USD}\n", "        currency: {code: usd}\n", "currency.code: it is not a currency code"},
		{"        currency: {code: USD}\n", "        currency: {}\n", "give either a code or where it stands"},
		{`count: {json: "to[*]"}`, `count: {json: "to[0]"}`, "is no path such as items[*].price"},
		{`count: {json: "to[*]"}`, `count: {json: "to..x"}`, "is no path"},
		{`count: {json: "to[*]"}`, `count: {json: "to[*]", form: to}`, "name exactly one of json, form"},
		{`count: {json: "to[*]"}`, `count: {}`, "name exactly one of json, form"},
		{`count: {json: "to[*]"}`, `count: {reply: cost}`, "operations[0].bound[0].amount.product[0].count: there is no reply yet"},
		{`count: {json: "to[*]"}`, `count: {header: X-Other}`, "a header that is not passed on says nothing"},
		{`count: {json: "to[*]"}`, `count: {query: to}`, "takes no query"},
		{`count: {json: "to[*]"}`, `count: {json: to, optional: true, default: "1"}`, "what has a default is never missing"},
		{`count: {json: "to[*]"}`, `count: {json: to, optional: yes}`, "it is to be true or false and is a string"},
		{`{count: {json: "to[*]"}}`, `{count: {json: to}, number: "1"}`, "name exactly one of number, decimal"},
		{`{count: {json: "to[*]"}}`, `{}`, "name exactly one of number, decimal"},
		{`{count: {json: "to[*]"}}`, `{sum: []}`, "it has no parts"},
		{`{count: {json: "to[*]"}}`, `{number: "1.5e3"}`, "is not a decimal number"},
		{`{count: {json: "to[*]"}}`, `{minor: {from: {json: a}, digits: 7}}`, "a currency has 0 to 6 digits"},
		{`{count: {json: "to[*]"}}`, `{minor: {from: {json: a}, digits: 02}}`, "write a whole number in decimal"},
		{`{count: {json: "to[*]"}}`, `{minor: {from: {json: a}, digits: "2"}}`, "it is to be a number and is a string"},
		{"    outcome: {", "      - {meter: fee, currency: {code: USD}, amount: {number: \"1\"}}\n    outcome: {", "operations[0].bound[1].meter: there is a line on it already"},
		{"    kind: exact\n", "    kind: exact\n    deny: people do that\n", "operations[0].deny: what is never allowed has no bound"},
		{"    kind: exact\n", "    kind: exact\n    unknown_if: [{from: {json: x}}]\n", "operations[0].unknown_if[0].why: say what is not known"},
		{"    kind: exact\n", "    kind: exact\n    unknown_if: [{from: {json: x, default: y}, why: z}]\n", "operations[0].unknown_if[0].from.default: a condition asks what is there"},
		{"table: price", "table: prices", `there is no table "prices"`},
		{"executed: [201]", "executed: [302]", "outcome.executed[0]: only a 2xx says"},
		{"not_executed: [422]", "not_executed: [500]", "outcome.not_executed[0]: only a 4xx but 408 can prove"},
		{"not_executed: [422]", "not_executed: [408]", "only a 4xx but 408 can prove"},
		{", error: error.code", "", "outcome.error: name what the vendor's own errors have"},
		{"amount: {decimal: {reply: cost}}}", "amount: {decimal: {reply: cost}}}\n      stream: {end: x, lines: [{meter: units, amount: {number: \"1\"}}]}", "settle.stream.lines: the bound has a line on fee and this has none"},
		{"- {meter: fee, currency: {code: USD}, amount", "- {meter: charge, currency: {code: USD}, amount", "settle.lines: the bound has a line on fee and this has none"},
		{"{name: acme.letters.list, method: GET,", "{name: acme.letters.list, method: POST, bound: [],", "acme.yaml"},
		{"method: GET, path: /letters, class: read", "method: POST, path: /letters, class: free", "operations: vendors: acme.letters.send and acme.letters.list are one path"},
		{"operations:", "refusal: {body: 'not json $message'}\noperations:", "refusal.body: it is not JSON"},
		{"operations:", "refusal: {body: '{}'}\noperations:", "refusal.body: it says nothing of $message"},
		{"class: read}", "class: read}\n---\nvendor: b", "the file holds more than one document"},
	} {
		text := strings.Replace(small, c.from, c.to, 1)
		if text == small {
			t.Errorf("%q is not in the file", c.from)
		}
		v, err := rules.Parse("acme.yaml", []byte(text))
		if err == nil || !strings.Contains(err.Error(), c.want) || v.Operations != nil {
			t.Errorf("%q for %q:\n got %v\nwant %s", c.to, c.from, err, c.want)
		}
		if err != nil && !strings.HasPrefix(err.Error(), "acme.yaml:") {
			t.Errorf("%q for %q: no place: %v", c.to, c.from, err)
		}
	}
}

// What nothing bounds is no operation, and what a bound is for costs something.
func TestAnOperationThatCanCostSaysWhat(t *testing.T) {
	const from, to = "    kind: exact\n", "    outcome:"
	i, j := strings.Index(small, from), strings.Index(small, to)
	_, err := rules.Parse("acme.yaml", []byte(small[:i]+"  - {name: acme.letters.list, method: GET, path: /letters, class: read}\n"))
	if err == nil || !strings.Contains(err.Error(), "operations[0].bound: an operation of class fee can cost") {
		t.Errorf("%d %d: %v", i, j, err)
	}
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	if v, err := rules.Load(write("acme.yml", small)); err != nil || v.Name != "acme" {
		t.Errorf("%v", err)
	}
	json := `{"vendor": "acme", "hosts": ["api.acme.example"], "credential": {"pattern": "x+"}, "operations": [{"name": "acme.a", "method": "GET", "path": "/a", "class": "read"}]}`
	if v, err := rules.Load(write("acme.json", json)); err != nil || v.Operations[0].Name != "acme.a" {
		t.Errorf("%v", err)
	}
	if _, err := rules.Load(write("acme.txt", small)); err == nil || !strings.Contains(err.Error(), "ends in none of") {
		t.Errorf("%v", err)
	}
	if _, err := rules.Load(filepath.Join(dir, "none.yaml")); err == nil {
		t.Error("a file that is not there was read")
	}
}

// A table that its user does not fill leaves calls without a known cost, and one that is not there is a mistake.
func TestShippedPrices(t *testing.T) {
	for _, own := range []rules.Tables{{"prices": {"recipient": "1"}}, {"mail": {"recipient": "a dollar"}}} {
		if _, err := rules.Shipped("postmark", own); err == nil {
			t.Errorf("%v was taken", own)
		}
	}
	if _, err := rules.Shipped("nobody", nil); err == nil || !strings.Contains(err.Error(), "sendgrid") {
		t.Errorf("%v", err)
	}
	for own, want := range map[string]vendors.Kind{"": vendors.Unknown, "0.002": vendors.AtMost} {
		var tables rules.Tables
		if own != "" {
			tables = rules.Tables{"mail": {"recipient": own}}
		}
		v, err := rules.Shipped("postmark", tables)
		if err != nil {
			t.Fatal(err)
		}
		b := boundOf(t, v, "https://api.postmarkapp.com/email", `{"From":"a@b.c","To":"d@e.f"}`)
		if b.Kind != want || (b.Why == "") != (want == vendors.AtMost) {
			t.Errorf("price %q: %+v", own, b)
		}
	}
	if rules.Source("openai") == nil || rules.Source("../rules") != nil {
		t.Error("Source reads what it should not, or does not what it should")
	}
}

// The file in the documentation is one that can be read.
func TestDocs(t *testing.T) {
	text, err := os.ReadFile("../../docs/rules.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "```yaml\n")
	file, _, ok := strings.Cut(rest, "```")
	if _, err := rules.Parse("docs.yaml", []byte(file)); !ok || err != nil {
		t.Error(err)
	}
}
