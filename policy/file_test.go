package policy_test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/policy"
)

// support has every field of a policy.
func support() policy.Policy {
	return policy.Policy{
		Allow: []policy.Rule{
			{
				Operation: refunds, MaxPerCall: policy.USD("50"), Ceiling: policy.USD("0.0083"),
				Params: policy.Params{
					"reason":          policy.OneOf("duplicate", "no", "0100", "", "<&>\u2028\x00\n \"'# é"),
					"amount":          policy.Max("5000").OrAbsent(),
					"metadata[order]": policy.Prefix("o_"),
					"expand":          policy.Any(),
					"yes":             policy.Match{}.OrAbsent(),
				},
			},
			{Operation: "stripe.charges.*", ReadOnly: true},
			{Operation: "twilio.messages.create", Countries: []string{"US", "NO"}, Recipients: []string{"+1415*", "a@acme.com"}, MaxPerCall: policy.Units(0)},
		},
		Budgets: []policy.Budget{
			policy.Lifetime(policy.USD("80")),
			policy.Daily(policy.USD("500")).Shared("team:support").In("Europe/Berlin"),
			policy.Hourly(policy.Calls(150)).For("stripe.refunds.*", "stripe.payouts.create"),
			policy.Scoped("tenant"),
			policy.Rolling(24*time.Hour, policy.USD("90")).Alert(80, 100),
			{Name: "sms", Limit: policy.Money("9007199254.740991", "EUR"), Window: cost.Month, Meter: cost.Fee},
		},
		Repeat:          policy.Times(3, 10*time.Minute),
		CancelOnRevoke:  true,
		InsecureObserve: true,
	}
}

// Every field is set somewhere in support, so that a round trip loses none unseen.
func TestSupportIsComplete(t *testing.T) {
	p := support()
	for i := range reflect.TypeFor[policy.Policy]().NumField() {
		one(t, reflect.TypeFor[policy.Policy]().Field(i).Name, []policy.Policy{p}, i)
	}
	for i := range reflect.TypeFor[policy.Rule]().NumField() {
		one(t, reflect.TypeFor[policy.Rule]().Field(i).Name, p.Allow, i)
	}
	for i := range reflect.TypeFor[policy.Budget]().NumField() {
		one(t, reflect.TypeFor[policy.Budget]().Field(i).Name, p.Budgets, i)
	}
}

func one[E any](t *testing.T, name string, all []E, i int) {
	t.Helper()
	for _, e := range all {
		if !reflect.ValueOf(e).Field(i).IsZero() {
			return
		}
	}
	t.Errorf("no element has %s", name)
}

func TestRoundTrip(t *testing.T) {
	p := support()
	if err := p.Validate(); err != nil {
		t.Fatal(err)
	}
	data, err := p.JSON()
	if err != nil {
		t.Fatal(err)
	}
	fromJSON, err := policy.ParseJSON("p.json", data)
	if err != nil {
		t.Fatalf("%v in\n%s", err, data)
	}
	same(t, "JSON", p, fromJSON)
	if data, err = fromJSON.YAML(); err != nil {
		t.Fatal(err)
	}
	fromYAML, err := policy.ParseYAML("p.yaml", data)
	if err != nil {
		t.Fatalf("%v in\n%s", err, data)
	}
	same(t, "YAML", p, fromYAML)
	for _, c := range []policy.Call{refund(), message(), read("stripe.charges.list"), {}} {
		if a, b := policy.Decide(p, c), policy.Decide(fromYAML, c); !reflect.DeepEqual(a, b) {
			t.Errorf("the literal decides %+v, the file %+v", a, b)
		}
	}
	plain, err := json.Marshal(p) // what a token carries
	if err != nil {
		t.Fatal(err)
	}
	var again policy.Policy
	if err := json.Unmarshal(plain, &again); err != nil {
		t.Fatal(err)
	}
	same(t, "encoding/json", p, again)
}

func same(t *testing.T, how string, want, got policy.Policy) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("through %s:\n%+v\nwant\n%+v", how, got, want)
	}
}

// JSON is YAML: the same text says the same to both parsers.
func TestJSONIsYAML(t *testing.T) {
	data, err := support().JSON()
	if err != nil {
		t.Fatal(err)
	}
	got, err := policy.ParseYAML("p.yaml", data)
	if err != nil {
		t.Fatal(err)
	}
	same(t, "JSON read as YAML", support(), got)
}

func TestZeroPolicyRoundTrip(t *testing.T) {
	for _, write := range []func(policy.Policy) ([]byte, error){policy.Policy.JSON, policy.Policy.YAML} {
		data, err := write(policy.Policy{})
		if err != nil {
			t.Fatal(err)
		}
		got, err := policy.ParseYAML("p", data)
		if err != nil {
			t.Fatalf("%v in %s", err, data)
		}
		same(t, string(data), policy.Policy{}, got)
	}
}

func TestInvalidPolicyIsNotWritten(t *testing.T) {
	p := policy.Policy{Allow: rules{{Operation: refunds, MaxPerCall: policy.USD("5O")}}}
	if data, err := p.JSON(); err == nil {
		t.Errorf("JSON wrote %s", data)
	}
	if data, err := p.YAML(); err == nil {
		t.Errorf("YAML wrote %s", data)
	}
	if data, err := json.Marshal(p); err == nil {
		t.Errorf("encoding/json wrote %s", data)
	}
}

func TestParseYAML(t *testing.T) {
	const file = `# yaml-language-server: $schema=policy.schema.json
allow:
  - operation: stripe.refunds.create
    max_per_call: 50 USD
    params:
      reason: {one_of: [duplicate, requested_by_customer]}
      metadata[order]: {prefix: o_}
  - operation: stripe.charges.*
    read_only: true
  - operation: twilio.messages.create
    countries: [US, NO]
    recipients: ["+1415*"]
budgets:
  - {limit: 80 USD, window: lifetime}
  - {limit: 500 USD, window: day, scope: "team:support"}
  - {limit: 150 calls, window: lifetime}
  - scope: "tenant"
`
	got, err := policy.ParseYAML("policy.yaml", []byte(file))
	if err != nil {
		t.Fatal(err)
	}
	same(t, "YAML", policy.Policy{
		Allow: []policy.Rule{
			{Operation: refunds, MaxPerCall: policy.USD("50"), Params: policy.Params{
				"reason": policy.OneOf("duplicate", "requested_by_customer"), "metadata[order]": policy.Prefix("o_")}},
			{Operation: "stripe.charges.*", ReadOnly: true},
			{Operation: "twilio.messages.create", Countries: []string{"US", "NO"}, Recipients: []string{"+1415*"}},
		},
		Budgets: []policy.Budget{
			policy.Lifetime(policy.USD("80")), policy.Daily(policy.USD("500")).Shared("team:support"), policy.Lifetime(policy.Calls(150)), policy.Scoped("tenant"),
		},
	}, got)
}

const ruleHead = "allow:\n  - operation: stripe.refunds.create\n    "

func TestParseYAMLRefuses(t *testing.T) {
	const money = `write money as a string with its currency, such as "50 USD"`
	for name, tt := range map[string]struct{ file, want string }{
		"nothing":             {"", `f:1:1: the file is empty`},
		"a comment":           {"# allow nothing\n", `f:1:1: the file is empty`},
		"an empty document":   {"---\n", `f:2:1: it has no value; give it one, or leave the field out`},
		"a word":              {"allow", `f:1:1: it is to be an object and is a string`},
		"a list":              {"- allow", `f:1:1: it is to be an object and is a list`},
		"not UTF-8":           {"allow: []\n# \xff\n", `f:2:3: the file is not UTF-8`},
		"UTF-16":              {"\xff\xfea\x00", `f:1:1: the file is not UTF-8`},
		"a control character": {"allow: \"\x01\"", `f: control characters are not allowed (value: 1)`},
		"bad syntax":          {"allow: [1\n", `f:2:1: did not find expected ',' or ']'`},
		"a tab":               {"\tallow: []\n", `f:1:1: found character that cannot start any token`},

		"an unknown field":           {"allow: []\nbudget: []\n", `f:2:1: "budget" is no field here; did you mean budgets?`},
		"another":                    {"deny: []\n", `f:1:1: "deny" is no field here; there are allow, budgets, repeat, cancel_on_revoke, insecure_observe`},
		"in camel case":              {ruleHead + "maxPerCall: 5 USD\n", `f:3:5: allow[0]: "maxPerCall" is no field here; did you mean max_per_call?`},
		"in upper case":              {ruleHead + "Countries: [US]\n", `f:3:5: allow[0]: "Countries" is no field here; did you mean countries?`},
		"a typo":                     {ruleHead + "recipeints: [a@b]\n", `f:3:5: allow[0]: "recipeints" is no field here; did you mean recipients?`},
		"of a test":                  {ruleHead + "params: {reason: {oneof: [a], err: b}}\n", "f:3:23: allow[0].params.reason: \"oneof\" is no field here; did you mean one_of?\nf:3:35: allow[0].params.reason: \"err\" is no field here; there are any, one_of, prefix, max, optional"},
		"a field too far from any":   {ruleHead + "opera: a\n", `f:3:5: allow[0]: "opera" is no field here; there are operation, read_only, max_per_call, ceiling, params, countries, recipients`},
		"a field too short to guess": {ruleHead + "params: {reason: {ab: a}}\n", `f:3:23: allow[0].params.reason: "ab" is no field here; there are any, one_of, prefix, max, optional`},
		"of nothing in a test":       {ruleHead + "params: {reason: {any: true, \"\": 1}}\n", `f:3:34: allow[0].params.reason: "" is no field here; there are any, one_of, prefix, max, optional`},
		"of nothing":                 {"\"\": 1\n", `f:1:1: "" is no field here; there are allow, budgets, repeat, cancel_on_revoke, insecure_observe`},
		"a field twice":              {"allow: []\nallow: []\n", `f:2:1: "allow" stands twice`},
		"a field of a rule twice":    {ruleHead + "read_only: false\n    read_only: true\n", `f:4:5: allow[0]: "read_only" stands twice`},
		"a parameter twice":          {ruleHead + "params:\n      reason: {any: true}\n      \"reason\": {any: true}\n", `f:5:7: allow[0].params: "reason" stands twice`},
		"null":                       {"allow: null\n", `f:1:8: allow: it has no value; give it one, or leave the field out`},
		"no value":                   {ruleHead + "countries:\n", `f:3:15: allow[0].countries: it has no value; give it one, or leave the field out`},
		"a null in a list":           {ruleHead + "countries: [~]\n", `f:3:17: allow[0].countries[0]: it has no value; give it one, or leave the field out`},

		"an anchor":                {"allow: &a []\n", `f:1:8: anchors and aliases are not read; remove &a`},
		"an alias":                 {"allow: []\nbudgets: *a\n", `f:2:10: unknown anchor 'a' referenced`},
		"a merge key":              {"<<: {allow: []}\n", `f:1:1: merge keys are not read; write the fields out`},
		"a tag":                    {"allow: !!seq []\n", `f:1:8: tags are not read; remove !!seq`},
		"a tag of one's own":       {ruleHead + "max_per_call: !money 5 USD\n", `f:3:19: tags are not read; remove !money`},
		"a tag on a key":           {"!!str allow: []\n", `f:1:1: tags are not read; remove !!str`},
		"an empty tag":             {"allow: ! []\n", `f:1:8: tags are not read; remove !`},
		"two documents":            {"allow: []\n---\nallow: []\n", `f:2:1: the file holds more than one document`},
		"a second that is no YAML": {"allow: []\n---\n[\n", `f:4:1: did not find expected node content`},
		"a list as a name":         {"? [allow]\n: []\n", `f:1:3: a field's name is a string; put it in quotes`},
		"a number as a name":       {ruleHead + "params: {100: {any: true}}\n", `f:3:14: a field's name is a string; put it in quotes`},

		"money as a number":    {ruleHead + "max_per_call: 50\n", `f:3:19: allow[0].max_per_call: ` + money},
		"money as a fraction":  {ruleHead + "max_per_call: 50.5\n", `f:3:19: allow[0].max_per_call: ` + money},
		"money with a letter":  {ruleHead + "max_per_call: 5O USD\n", `f:3:19: allow[0].max_per_call: "5O" is not a decimal number such as 50 or 0.0083`},
		"money of no currency": {ruleHead + "max_per_call: \"50\"\n", `f:3:19: allow[0].max_per_call: "50" is not an amount such as "80 USD" or "150 calls"`},
		"money as a list":      {"budgets: [{limit: [80 USD], window: day}]\n", `f:1:19: budgets[0].limit: ` + money},
		"a limit as a number":  {"budgets: [{limit: 0100, window: day}]\n", `f:1:19: budgets[0].limit: ` + money},
		"a phone number":       {ruleHead + "recipients: [+14155550100]\n", `f:3:18: allow[0].recipients[0]: it is to be a string; write "+14155550100", in quotes`},
		"a date":               {ruleHead + "params: {reason: {one_of: [2026-11-24]}}\n", `f:3:32: allow[0].params.reason.one_of[0]: it is to be a string; write "2026-11-24", in quotes`},
		"an octal":             {ruleHead + "params: {amount: {max: 0100}}\n", `f:3:28: allow[0].params.amount.max: it is to be a string; write "0100", in quotes`},
		"a truth as a string":  {ruleHead + "params: {reason: {one_of: [true]}}\n", `f:3:32: allow[0].params.reason.one_of[0]: it is to be a string; write "true", in quotes`},
		"yes":                  {ruleHead + "read_only: yes\n", `f:3:16: allow[0].read_only: it is to be true or false and is a string`},
		"True":                 {ruleHead + "read_only: True\n", `f:3:16: allow[0].read_only: write true or false, not True`},
		"a truth in quotes":    {ruleHead + "read_only: \"true\"\n", `f:3:16: allow[0].read_only: it is to be true or false and is a string`},
		"one for a list":       {ruleHead + "countries: US\n", `f:3:16: allow[0].countries: it is to be a list and is a string`},
		"a number for a list":  {ruleHead + "countries: 1\n", `f:3:16: allow[0].countries: it is to be a list and is a number`},
		"a list for a string":  {"allow: [{operation: [a]}]\n", `f:1:21: allow[0].operation: it is to be a string and is a list`},
		"a list for an object": {ruleHead + "params: []\n", `f:3:13: allow[0].params: it is to be an object and is a list`},

		"a mistake of meaning":      {ruleHead + "countries: [US, uk]\n", `f:3:21: allow[0].countries[1]: "uk" is not an ISO 3166 country code of two upper-case letters`},
		"an empty list":             {ruleHead + "countries: []\n", `f:3:16: allow[0].countries: an empty list would be no limit at all; name at least one, or leave the field out`},
		"a field that is not there": {"allow: []\nbudgets:\n  - window: day\n", `f:3:5: budgets[0].limit: unset; write an amount such as "80 USD" or "150 calls"`},
		"a name with a bracket":     {ruleHead + "params:\n      to[0]: {any: true}\n", `f:4:14: allow[0].params["to[0]"]: "to[0]" has a list position; write it without, it means every element`},
		"an empty scope":            {"budgets: [{scope: \"\", limit: 80 USD, window: day}]\n", `f:1:19: budgets[0].scope: it has no value; give it one, or leave the field out`},
		"a window of a bare scope":  {"budgets: [{scope: team, window: day}]\n", `f:1:33: budgets[0].window: the ledger's row of "team" decides this; leave it out, or write a limit beside it`},
		"a budget with no limit":    {"budgets: [{name: team, window: day}]\n", `f:1:11: budgets[0].limit: unset; write an amount such as "80 USD" or "150 calls"`},
		"mistakes stand as in the file": {"budgets: [{limit: 1 calls, window: x}]\nallow: [{operation: x}]\n",
			"f:1:36: budgets[0].window: \"x\" is not lifetime, hour, day, month or a rolling span such as \"rolling 24h\"\nf:2:21: allow[0].operation: \"x\" is a vendor and matches nothing; write x.* for all of its operations"},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := policy.ParseYAML("f", []byte(tt.file))
			if err == nil {
				t.Fatalf("read as %+v", p)
			}
			if err.Error() != tt.want {
				t.Errorf("got\n%s\nwant\n%s", err, tt.want)
			}
			if !reflect.DeepEqual(p, policy.Policy{}) {
				t.Errorf("an error comes with a policy: %+v", p)
			}
		})
	}
}

func TestParseJSONRefuses(t *testing.T) {
	for name, tt := range map[string]struct{ file, want string }{
		"nothing":                 {"", `f:1:1: unexpected end of JSON input`},
		"YAML":                    {"allow: []", `f:1:1: invalid character 'a' looking for beginning of value`},
		"a comment":               {"{} // none", `f:1:4: invalid character '/' after top-level value`},
		"two values":              {"{}\n{}", `f:2:1: invalid character '{' after top-level value`},
		"a trailing comma":        {`{"allow": [],}`, `f:1:14: invalid character '}' looking for beginning of object key string`},
		"an open end":             {"{\"allow\": [\n", `f:1:12: unexpected end of JSON input`},
		"not UTF-8":               {"{\"é\xff\": []}", `f:1:4: the file is not UTF-8`},
		"null":                    {"null", `f:1:1: it has no value; give it one, or leave the field out`},
		"a list":                  {"[]", `f:1:1: it is to be an object and is a list`},
		"an unknown field":        {"{\n  \"alow\": []\n}", `f:2:3: "alow" is no field here; did you mean allow?`},
		"another case":            {`{"Allow": []}`, `f:1:2: "Allow" is no field here; did you mean allow?`},
		"a field twice":           {"{\"allow\": [],\n \"all\\u006fw\": []}", `f:2:2: "allow" stands twice`},
		"a null list":             {`{"allow": null}`, `f:1:11: allow: it has no value; give it one, or leave the field out`},
		"money as a number":       {`{"budgets": [{"limit": 80, "window": "day"}]}`, `f:1:24: budgets[0].limit: write money as a string with its currency, such as "50 USD"`},
		"a wide character before": {`{"allow": [{"operation": "é.é"}]}`, `f:1:26: allow[0].operation: "é.é" is not an operation such as stripe.refunds.create or a prefix such as stripe.refunds.*`},
		"half a character":        {`{"allow": [{"operation": "stripe.*", "params": {"a": {"prefix": "\ud800"}}}]}`, `f:1:65: allow[0].params.a.prefix: "�" is not whole UTF-8 text`},
		"several mistakes": {"{\n\t\"allow\": [{\"operation\": 5, \"read_only\": \"x\"}, {\"x\": 1}],\n\t\"budgets\": {}\n}",
			"f:2:26: allow[0].operation: it is to be a string; write \"5\", in quotes\nf:2:42: allow[0].read_only: it is to be true or false and is a string\nf:2:49: allow[1]: \"x\" is no field here; there are operation, read_only, max_per_call, ceiling, params, countries, recipients\nf:3:13: budgets: it is to be a list and is an object"},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := policy.ParseJSON("f", []byte(tt.file))
			if err == nil {
				t.Fatalf("read as %+v", p)
			}
			if err.Error() != tt.want {
				t.Errorf("got\n%s\nwant\n%s", err, tt.want)
			}
		})
	}
}

// What is empty and says nothing is as if left out; U+FFFD in the file itself is a character like any other.
func TestParseEmptyParts(t *testing.T) {
	for file, want := range map[string]policy.Policy{
		"{}": {}, "allow: []\nbudgets: [] # \ufffd\n": {},
		"allow: [{operation: a.b, params: {}}]":                                          {Allow: rules{{Operation: "a.b"}}},
		`{"allow": [{"operation": "a.b", "max_per_call": "0 USD", "read_only": false}]}`: {Allow: rules{{Operation: "a.b", MaxPerCall: policy.USD("0")}}},
	} {
		got, err := policy.ParseYAML("f", []byte(file))
		if err != nil {
			t.Fatal(err)
		}
		same(t, file, want, got)
	}
}

func TestParseKeepsTheCause(t *testing.T) {
	_, err := policy.ParseYAML("f", []byte("budgets: [{limit: 9007199254740992 calls, window: day}]"))
	if !errors.Is(err, cost.ErrRange) {
		t.Errorf("%v is no ErrRange", err)
	}
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	put := func(name, data string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	want := policy.Policy{Allow: rules{{Operation: "stripe.*"}}}
	for _, path := range []string{
		put("p.json", `{"allow": [{"operation": "stripe.*"}]}`),
		put("p.yaml", "allow: [operation: stripe.*]"),
		put("p.YML", "allow: [{operation: stripe.*}]"),
	} {
		got, err := policy.Load(path)
		if err != nil {
			t.Fatal(err)
		}
		same(t, path, want, got)
	}
	path := put("bad.json", "allow: []")
	if _, err := policy.Load(path); err == nil || !strings.HasPrefix(err.Error(), path+":1:1: ") {
		t.Errorf("YAML in a .json file: %v", err)
	}
	if _, err := policy.Load(put("p.toml", "")); err == nil || !strings.Contains(err.Error(), "p.toml: the name ends in none of") {
		t.Errorf("a .toml file: %v", err)
	}
	if _, err := policy.Load(filepath.Join(dir, "none.yaml")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
}

func TestAmountText(t *testing.T) {
	for _, a := range []policy.Amount{{}, policy.USD("x"), policy.Money("5", "usd"), policy.Calls(-1), {Value: 5}} {
		if text, err := a.MarshalText(); err == nil {
			t.Errorf("%+v was written as %q", a, text)
		}
	}
	for in, want := range map[string]string{"80 USD": "80.00 USD", "0.0083 EUR": "0.0083 EUR", "0150 calls": "150 calls", "0 units": "0 units", "": ""} {
		a, err := policy.ParseAmount(in)
		if (err != nil) != (in == "") || a.String() != want {
			t.Errorf("%q is %q, %v; want %q", in, a, err, want)
		}
	}
	if !(policy.Amount{}).IsZero() || policy.USD("0").IsZero() || policy.Calls(0).IsZero() || policy.Money("x", "").IsZero() {
		t.Error("only the zero Amount is unset")
	}
}
