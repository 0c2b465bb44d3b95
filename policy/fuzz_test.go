package policy_test

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/policy"
)

// Whatever the parsers accept is valid, comes back from both forms as it was, and is what the schema accepts. encoding/json
// reads the same from it, and so does ParseYAML wherever the text is YAML that it takes.
func FuzzParseJSON(f *testing.F) {
	data, err := support().JSON()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte(`{"allow":[{"operation":"a.*","params":{"x[*]":{"max":"7","optional":true}}}],"budgets":[]}`))
	f.Add([]byte("{\"allow\":\n[ {\"operation\":\"\\u0061.b\" } ]}"))
	f.Add([]byte(`{"a":{"a":[[[{}]]]}}`))
	f.Add([]byte(`{"allow":[{"operation":"a.b","params":{"x":{"prefix":"a"},"x":{"prefix":"b"}},"operation":"a.*"}]}`))
	f.Add([]byte(`{"budgets":[{"scope":"team"},{"scope":"b","window":""}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		if p, err := policy.ParseJSON("f", data); err == nil {
			comesBack(t, p)
			if twice(json.NewDecoder(bytes.NewReader(data))) {
				t.Errorf("a name stands twice, and it is accepted")
			}
			var other policy.Policy
			if err := json.Unmarshal(data, &other); err != nil {
				t.Errorf("encoding/json refuses what ParseJSON accepts: %v", err)
			}
			want, _ := p.JSON() // it comes back, so it can be written
			if got, err := other.JSON(); err != nil || !bytes.Equal(got, want) {
				t.Errorf("encoding/json reads\n%s, %v; want\n%s", got, err, want)
			}
			if asYAML, err := policy.ParseYAML("f", data); err == nil {
				same(t, "ParseYAML", p, asYAML)
			}
			if err := checkSchema(t, data); err != nil {
				t.Errorf("the schema refuses what ParseJSON accepts: %v", err)
			}
		}
	})
}

// twice reports whether a name stands twice in an object of the document that d reads.
func twice(d *json.Decoder) bool {
	var seen []map[string]bool // of each object that is open, nil for a list
	named := false             // the next text is a value
	for {
		token, err := d.Token()
		if err != nil {
			return false
		}
		last := len(seen) - 1
		switch name, text := token.(string); {
		case token == json.Delim('{'):
			seen, named = append(seen, map[string]bool{}), false
		case token == json.Delim('['):
			seen, named = append(seen, nil), false
		case token == json.Delim('}') || token == json.Delim(']'):
			seen, named = seen[:last], false
		case text && last >= 0 && seen[last] != nil && !named:
			if seen[last][name] {
				return true
			}
			seen[last][name], named = true, true
		default:
			named = false
		}
	}
}

func FuzzParseYAML(f *testing.F) {
	data, err := support().YAML()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte(ruleHead + "params: {x: {one_of: [a, \"b\", 'c', no]}}\n    countries: [US]\n"))
	f.Add([]byte("allow: &a []\nbudgets: *a\n"))
	f.Add([]byte("? {a: b}\n: |\n  c\n...\n---\n"))
	f.Add([]byte("<<: !!map {}\n\t"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if p, err := policy.ParseYAML("f", data); err == nil {
			comesBack(t, p)
		}
	})
}

// FuzzLiteral asks the same of policies that were not read from a file.
func FuzzLiteral(f *testing.F) {
	f.Add("stripe.*", "metadata[order]", "a\nb", "a", "5", "+1*", "team", int64(5), true)
	f.Add("a.b", "x[*]", "\u2028\x7f\x00", "", "", "*@a", "", int64(0), false)
	f.Fuzz(func(t *testing.T, operation, param, value, prefix, limit, recipient, name string, n int64, optional bool) {
		p := policy.Policy{
			Allow: rules{{
				Operation: patternOf(operation), Recipients: []string{recipient}, MaxPerCall: policy.Units(n),
				Params: policy.Params{param: {OneOf: []string{value}, Prefix: prefix, Max: limit, Optional: optional}},
			}},
			Budgets: []policy.Budget{{Name: name, Scope: value, Limit: policy.USD(limit), Window: cost.Day}},
		}
		if p.Validate() == nil {
			comesBack(t, p)
		}
	})
}

func patternOf(s string) cost.Pattern { return cost.Pattern(s) }

func comesBack(t *testing.T, p policy.Policy) {
	t.Helper()
	if err := p.Validate(); err != nil {
		t.Fatalf("accepted and not valid: %v", err)
	}
	data, err := p.JSON()
	if err != nil {
		t.Fatal(err)
	}
	again, err := policy.ParseJSON("again", data)
	if err != nil {
		t.Fatalf("%v in\n%s", err, data)
	}
	same(t, "JSON", p, again)
	if data, err = p.YAML(); err != nil {
		t.Fatal(err)
	}
	if again, err = policy.ParseYAML("again", data); err != nil {
		t.Fatalf("%v in\n%s", err, data)
	}
	same(t, "YAML", p, again)
}
