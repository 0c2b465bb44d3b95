package policy_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/policy"
)

func schema(t testing.TB) map[string]any {
	t.Helper()
	var s map[string]any
	if err := json.Unmarshal(policy.Schema(), &s); err != nil {
		t.Fatal(err)
	}
	return s
}

func definition(t testing.TB, name string) map[string]any {
	t.Helper()
	d, ok := schema(t)["$defs"].(map[string]any)[name].(map[string]any)
	if !ok {
		t.Fatalf("the schema has no definition of %s", name)
	}
	return d
}

// The schema and the structs name the same fields, and the schema allows no others.
func TestSchemaFields(t *testing.T) {
	for _, typ := range []reflect.Type{reflect.TypeFor[policy.Policy](), reflect.TypeFor[policy.Rule](), reflect.TypeFor[policy.Match](), reflect.TypeFor[policy.Budget](), reflect.TypeFor[policy.Repeat]()} {
		d := definition(t, typ.Name())
		got := slices.Sorted(maps.Keys(d["properties"].(map[string]any)))
		var want []string
		for i := range typ.NumField() {
			if f := typ.Field(i); f.IsExported() {
				name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
				want = append(want, name)
			}
		}
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%s: the schema has %v, the struct %v", typ.Name(), got, want)
		}
		if d["additionalProperties"] != false {
			t.Errorf("%s: the schema allows unknown fields", typ.Name())
		}
	}
}

// The schema's regular expressions take what the parser takes, and refuse what it refuses.
func TestSchemaPatterns(t *testing.T) {
	amounts := []string{
		"80 USD", "80.00 USD", "0.0083 USD", "0.000001 USD", "0 USD", "007 EUR", "000000000000080 USD", "9007199254.740991 USD", "150 calls", "0 units", "9007199254740991 calls", "000000000000000000001 units",
		"", " ", "80", "USD", "80USD", "80  USD", " 80 USD", "80 USD ", "80 usd", "80 US", "80 USDX", "80 Call", "80 call", "80 CALLS", "-1 USD", "+1 USD", "1e3 USD", "1_000 USD", "1,5 USD", ".5 USD", "5. USD", "5.0.0 USD", "0.0000001 USD", "1.5 calls", "1 spend", "٥ USD", "5O USD", "80 USD\n", "100000000000000 USD", "100000000000000000 calls",
	}
	pattern := compile(t, definition(t, "Amount")["pattern"])
	for _, s := range amounts {
		_, err := policy.ParseAmount(s)
		if pattern.MatchString(s) != (err == nil) {
			t.Errorf("%q: the schema says %v, ParseAmount %v", s, pattern.MatchString(s), err)
		}
		agree(t, "PerCall", s, rule(func(r *policy.Rule) { r.MaxPerCall, _ = policy.ParseAmount(s); r.MaxPerCall = broken(r.MaxPerCall, s) }))
	}
	for _, s := range []string{"stripe.*", "stripe.refunds.create", "a.b_c.9", "", "stripe", "*", ".*", "stripe.", ".stripe", "stripe..x", "stripe.*.x", "Stripe.x", "stripe.x*", "stripe.x y", "ü.x"} {
		agree(t, "Pattern", s, policy.Policy{Allow: rules{{Operation: patternOf(s)}}})
	}
	for _, s := range []string{"team:support", "a.b_c-D9", strings.Repeat("a", 64), strings.Repeat("a", 65), "a b", "é", "a*", "a/b"} {
		agree(t, "Name", s, budget(func(b *policy.Budget) { b.Name = s }))
	}
	properties := definition(t, "Rule")["properties"].(map[string]any)
	items := func(name string) any { return properties[name].(map[string]any)["items"].(map[string]any)["pattern"] }
	for _, s := range []string{"US", "us", "USA", "U", "", "U1"} {
		agreeRE(t, items("countries"), s, rule(func(r *policy.Rule) { r.Countries = []string{s} }))
	}
	for _, s := range []string{"+1415", "+1415*", "a@b.c", "*@b.c", "*.b.c", "", "*", "**", "*b", "a@b*", "a*b", "*@b*", "a b", "*@ b", "\t"} {
		agreeRE(t, items("recipients"), s, recipients(s))
	}
	names := properties["params"].(map[string]any)["propertyNames"].(map[string]any)["pattern"]
	for _, s := range []string{"reason", "metadata[order]", "metadata[*]", "a[b][c][*]", "Stripe-Account", "$x", "", "*", "[*]", "a[*][b]", "a[b", "a]b", "a b", "1a", "a[b]c"} {
		agreeRE(t, names, s, param(s, policy.Any()))
	}
	for _, s := range []string{"1 calls", "3 calls", "007 calls", "1000 calls", "1001 calls", "0 calls", "3 units", "3 USD", "3", ""} {
		limit, err := policy.ParseAmount(s)
		if err != nil {
			limit = policy.USD("x")
		}
		agreeRE(t, definition(t, "Repeat")["properties"].(map[string]any)["limit"].(map[string]any)["pattern"], s, policy.Policy{Repeat: policy.Repeat{Limit: limit, Window: "rolling 1h"}})
	}
	for _, s := range []string{"rolling 24h", "rolling 90m", "rolling 45s", "rolling 0s", "rolling 24", "rolling24h", "rolling 1.5h", "rolling -1h", "rolling 1h30m", "day"} {
		agree(t, "Rolling", s, policy.Policy{Repeat: policy.Repeat{Limit: policy.Calls(1), Window: cost.Window(s)}})
	}
	share := definition(t, "Budget")["properties"].(map[string]any)["alert_at"].(map[string]any)["items"].(map[string]any)["pattern"]
	for _, s := range []string{"1%", "80%", "100%", "0%", "101%", "80", "080%", "-5%", "80 %", ""} {
		agreeRE(t, share, s, budget(func(b *policy.Budget) { b.AlertAt = []policy.Percent{policy.Percent(s)} }))
	}
	maximum := definition(t, "Match")["properties"].(map[string]any)["max"].(map[string]any)["pattern"]
	for _, s := range []string{"0", "100", "0100", "9007199254740991", "00000000000000000000001", "-1", "1.5", "1e3", " 1", "x", "100000000000000000"} {
		agreeRE(t, maximum, s, param("amount", policy.Max(s)))
	}
}

// broken keeps the error that ParseAmount has returned, as a literal does.
func broken(a policy.Amount, s string) policy.Amount {
	if _, err := policy.ParseAmount(s); err != nil {
		return policy.USD("x")
	}
	return a
}

func agree(t *testing.T, def, s string, p policy.Policy) {
	t.Helper()
	agreeRE(t, definition(t, def)["pattern"], s, p)
}

func agreeRE(t *testing.T, pattern any, s string, p policy.Policy) {
	t.Helper()
	if got, err := compile(t, pattern).MatchString(s), p.Validate(); got != (err == nil) {
		t.Errorf("%q: the schema says %v, Validate %v", s, got, err)
	}
}

func compile(t testing.TB, pattern any) *regexp.Regexp {
	t.Helper()
	return regexp.MustCompile(pattern.(string))
}

func TestSchemaIsTheCallers(t *testing.T) {
	policy.Schema()[0] = 'x'
	schema(t)
}

// A checker of the part of JSON Schema that the schema uses. A keyword that it does not know fails the test,
// since it would be checked by nobody.
type checker struct{ root map[string]any }

func (c checker) check(s map[string]any, v any) error {
	for word, want := range s {
		if err := c.word(word, want, s, v); err != nil {
			return fmt.Errorf("%s: %w", word, err)
		}
	}
	return nil
}

func (c checker) word(word string, want any, s map[string]any, v any) error {
	object, isObject := v.(map[string]any)
	list, isList := v.([]any)
	text, isText := v.(string)
	switch word {
	case "$schema", "$id", "$defs", "title", "description":
	case "$ref":
		name := strings.TrimPrefix(want.(string), "#/$defs/")
		return c.check(c.root["$defs"].(map[string]any)[name].(map[string]any), v)
	case "type":
		_, isBool := v.(bool)
		if ok := map[string]bool{"object": isObject, "array": isList, "string": isText, "boolean": isBool}[want.(string)]; !ok {
			return fmt.Errorf("%v is no %v", v, want)
		}
	case "enum":
		if !slices.Contains(want.([]any), v) {
			return fmt.Errorf("%v is none of %v", v, want)
		}
	case "pattern":
		if isText && !regexp.MustCompile(want.(string)).MatchString(text) {
			return fmt.Errorf("%q does not match %v", text, want)
		}
	case "maxLength":
		if isText && float64(len(text)) > want.(float64) {
			return fmt.Errorf("%q is too long", text)
		}
	case "minLength":
		if isText && float64(len(text)) < want.(float64) {
			return fmt.Errorf("%q is too short", text)
		}
	case "minItems":
		if isList && float64(len(list)) < want.(float64) {
			return fmt.Errorf("%v is too short", list)
		}
	case "items":
		for _, e := range list {
			if err := c.check(want.(map[string]any), e); err != nil {
				return err
			}
		}
	case "required":
		for _, name := range want.([]any) {
			if _, ok := object[name.(string)]; isObject && !ok {
				return fmt.Errorf("%v is missing", name)
			}
		}
	case "properties":
		for name, sub := range want.(map[string]any) {
			if e, ok := object[name]; ok {
				if err := c.check(sub.(map[string]any), e); err != nil {
					return err
				}
			}
		}
	case "propertyNames":
		for name := range object {
			if err := c.check(want.(map[string]any), name); err != nil {
				return err
			}
		}
	case "additionalProperties":
		return c.additional(want, s, object)
	case "anyOf":
		var err error
		for _, sub := range want.([]any) {
			if err = c.check(sub.(map[string]any), v); err == nil {
				return nil
			}
		}
		return err
	default:
		return fmt.Errorf("the checker does not know this keyword")
	}
	return nil
}

func (c checker) additional(want any, s, object map[string]any) error {
	known, _ := s["properties"].(map[string]any)
	for name, e := range object {
		if _, ok := known[name]; ok {
			continue
		}
		sub, ok := want.(map[string]any)
		if !ok {
			return fmt.Errorf("%q is not allowed", name)
		}
		if err := c.check(sub, e); err != nil {
			return err
		}
	}
	return nil
}

func checkSchema(t testing.TB, data []byte) error {
	t.Helper()
	var v any
	if err := json.Unmarshal(data, &v); err != nil {
		t.Fatal(err)
	}
	root := schema(t)
	return checker{root}.check(root, v)
}

func TestSchemaTakesPolicies(t *testing.T) {
	data, err := support().JSON()
	if err != nil {
		t.Fatal(err)
	}
	if err := checkSchema(t, data); err != nil {
		t.Error(err)
	}
	for _, good := range []string{`{"budgets": [{"scope": "team"}]}`, `{"budgets": [{"scope": "team", "name": "support"}]}`} {
		if err := checkSchema(t, []byte(good)); err != nil {
			t.Errorf("the schema refuses %s: %v", good, err)
		}
		if _, err := policy.ParseJSON("f", []byte(good)); err != nil {
			t.Errorf("ParseJSON refuses %s: %v", good, err)
		}
	}
	for _, bad := range []string{
		`[]`, `{"deny": []}`, `{"allow": null}`, `{"allow": [{}]}`, `{"allow": [{"operation": "stripe"}]}`,
		`{"allow": [{"operation": "a.b", "read_only": "yes"}]}`, `{"allow": [{"operation": "a.b", "max_per_call": 50}]}`,
		`{"allow": [{"operation": "a.b", "params": {"a": {}}}]}`, `{"allow": [{"operation": "a.b", "params": {"a": {"one_of": []}}}]}`,
		`{"allow": [{"operation": "a.b", "countries": []}]}`, `{"budgets": [{"limit": "80 USD"}]}`,
		`{"budgets": [{"window": "day"}]}`, `{"budgets": [{"limit": "80 USD", "window": "week"}]}`, `{"budgets": [{"limit": "8 calls", "window": "day", "meter": "calls"}]}`,
		`{"budgets": [{}]}`, `{"budgets": [{"name": "team"}]}`, `{"budgets": [{"scope": "team", "limit": "80 USD"}]}`,
		`{"budgets": [{"scope": "team", "window": "day"}]}`, `{"budgets": [{"scope": "team", "meter": "fee"}]}`,
		`{"budgets": [{"scope": "team", "zone": "UTC"}]}`, `{"budgets": [{"scope": "team", "only": ["a.b"]}]}`,
		`{"budgets": [{"limit": "80 USD", "window": "day", "scope": ""}]}`, `{"budgets": [{"limit": "80 USD", "window": "day", "name": ""}]}`,
		`{"budgets": [{"limit": "80 USD", "window": "day", "meter": ""}]}`, `{"budgets": [{"limit": "80 USD", "window": "day", "zone": ""}]}`,
		`{"allow": [{"operation": "a.b", "params": {"a": {"prefix": ""}}}]}`,
	} {
		if checkSchema(t, []byte(bad)) == nil {
			t.Errorf("the schema takes %s", bad)
		}
		if _, err := policy.ParseJSON("f", []byte(bad)); err == nil {
			t.Errorf("ParseJSON takes %s", bad)
		}
	}
}
