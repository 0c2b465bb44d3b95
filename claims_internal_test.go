package keybrake

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/keybrake/keybrake-go/internal/token"
	"github.com/keybrake/keybrake-go/policy"
)

// FuzzClaims reads what an issuer and a holder of its key may have signed. None panics; what is read is what is written again;
// and a narrowed key ends no later, draws on all the budgets of the issued one, is stopped by all that stops that one, and has
// to pass its policy.
func FuzzClaims(f *testing.F) {
	const grant = `{"id":"kaaaaaaaaaaaaaaaaaaaaaaaaaa","tenant":"acme","agent":"bot","run":"r1","credentials":{"stripe":"s"},"nbf":1,"exp":3601,"policy":`
	of := func(p policy.Policy) string {
		text, err := p.JSON()
		var short bytes.Buffer
		if err := errors.Join(err, json.Compact(&short, text)); err != nil {
			f.Fatal(err)
		}
		return short.String()
	}
	p := policy.Policy{Allow: []policy.Rule{{Operation: "stripe.*"}}, Budgets: []policy.Budget{policy.Daily(policy.USD("5"))}}
	whole := grant + of(p) + "}"
	f.Add(whole, "")
	f.Add(whole, `{"id":"aaaaaaaa","exp":3600,"policy":`+of(policy.Policy{Allow: p.Allow, Budgets: p.Budgets})+"}")
	f.Add(whole, `{"id":"aaaaaaaa","all":true,"policy":`+of(policy.Policy{Budgets: p.Budgets})+"}")
	f.Add(whole, `{"id":"aaaaaaaa","exp":99999,"all":true,"policy":`+of(policy.Policy{Budgets: p.Budgets})+"}")
	f.Add(whole, `{"id":"aaaaaaaa","exp":-1,"all":true,"policy":`+of(policy.Policy{InsecureObserve: true})+"}")
	f.Add(whole, `{"id":"a.b","labels":["*"],"all":true,"policy":{}}`)
	f.Add(strings.Replace(whole, `"run"`, `"Run"`, 1), "")
	f.Add(whole+" ", "null")
	if _, err := readClaims(token.Token{Claims: [][]byte{[]byte(whole)}}); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, grant, less string) {
		issued, err := readClaims(token.Token{Claims: [][]byte{[]byte(grant)}})
		if err != nil {
			return
		}
		if again, err := json.Marshal(issued); err != nil || string(again) != grant {
			t.Fatalf("%q is read and written as %q, %v", grant, again, err)
		}
		child, err := readClaims(token.Token{Claims: [][]byte{[]byte(grant), []byte(less)}})
		if err != nil {
			return
		}
		if again, err := json.Marshal(child.less[0]); err != nil || string(again) != less {
			t.Fatalf("%q is read and written as %q, %v", less, again, err)
		}
		if child.expires().After(issued.expires()) {
			t.Fatalf("%q ends later than %q", less, grant)
		}
		books := child.books()
		for i, b := range issued.books() {
			if i >= len(books) || books[i].Name != b.Name || books[i].Of != b.Of || books[i].Limit != b.Limit || books[i].Observed != b.Observed {
				t.Fatalf("%q draws on %+v, and not on %+v", less, books, b)
			}
		}
		for _, b := range books[len(issued.books()):] {
			if b.Shared || b.Of != child.name() || b.Observed {
				t.Fatalf("%q has a budget of its own that is %+v", less, b)
			}
		}
		stops := child.controls("stripe")
		for _, name := range issued.controls("stripe") {
			if !slices.Contains(stops, name) {
				t.Fatalf("%q is stopped by %q, and not by %q", less, stops, name)
			}
		}
		if rules := child.policies(); len(rules) == 0 || !slices.EqualFunc(rules[0].Allow, issued.policy.Allow, func(a, b policy.Rule) bool { return a.Operation == b.Operation }) {
			t.Fatalf("%q has to pass %+v", less, rules)
		}
	})
}
