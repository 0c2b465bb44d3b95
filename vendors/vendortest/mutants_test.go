package vendortest_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/reason"
	"github.com/keybrake/keybrake-go/vendors"
	"github.com/keybrake/keybrake-go/vendors/vendortest"
)

// acme is a small vendor that keeps every law: letters at a price, refunds of what a look finds, keys.
func acme() vendors.Vendor {
	const host = "api.acme.example"
	return vendors.Vendor{
		Name: "acme",
		Operations: []vendors.Operation{
			{Name: "acme.letters.send", Method: "POST", Host: host, Path: "/letters", Class: vendors.Fee, Body: vendors.JSON,
				Params: vendors.Schema{Plain: []string{"to", "text"}}, Bound: boundLetters, Outcome: outcome, Settle: settleLetters},
			{Name: "acme.letters.retrieve", Method: "GET", Host: host, Path: "/letters/{id:le_}", Class: vendors.Read},
			{Name: "acme.refunds.create", Method: "POST", Host: host, Path: "/letters/{id:le_}/refund", Class: vendors.Outflow, Body: vendors.Form,
				Bound: boundRefund, Outcome: outcome},
			{Name: "acme.films.make", Method: "POST", Host: host, Path: "/films", Class: vendors.Fee, Body: vendors.JSON, Bound: boundFilm, Outcome: outcome},
			{Name: "acme.keys.create", Method: "POST", Host: host, Path: "/keys", Class: vendors.Control, HardDeny: "keys are made by people", Body: vendors.JSON},
			{Name: "acme.letters.list", Method: "GET", Host: "eu." + host, Path: "/letters", Class: vendors.Read},
		},
		Place: func(parts []string) (vendors.Placement, error) {
			if len(parts) != 1 || !strings.HasPrefix(parts[0], "ak_") || strings.ContainsAny(parts[0], "\r\n\x00") {
				return vendors.Placement{}, errors.New("not an Acme key")
			}
			return vendors.Placement{Header: "Authorization", Value: "Bearer " + parts[0], Secrets: parts}, nil
		},
		Refuse: func(_ *vendors.Call, r vendors.Refusal) vendors.Response {
			body, _ := json.Marshal(map[string]string{"error": r.Message})
			return vendors.Response{Status: r.Status, Header: http.Header{"Content-Type": {"application/json"}}, Body: body}
		},
	}
}

func fee(n int64) []cost.Line {
	return []cost.Line{{Meter: cost.Fee, Currency: "USD", Amount: n * 500_000}, {Meter: cost.Units, Amount: n}}
}

func boundLetters(c *vendors.Call, _ *vendors.Reply) (vendors.Bound, error) {
	to, _ := vendors.Member(c.JSON, "to")
	list, ok := to.([]any)
	if !ok || len(list) == 0 {
		return vendors.Bound{}, vendors.Refuse(reason.ParamInvalid, "to is a list")
	}
	return vendors.Bound{Kind: vendors.Exact, Lines: fee(int64(len(list)))}, nil
}

func settleLetters(_ *vendors.Call, b vendors.Bound, r *vendors.Reply) (vendors.Settlement, error) {
	var sent struct{ Sent *int64 }
	if json.Unmarshal(r.Body, &sent) != nil || sent.Sent == nil {
		return vendors.Settlement{}, errors.New("the reply says not how many")
	}
	return vendors.Settlement{Actual: fee(*sent.Sent)}, nil
}

func boundRefund(c *vendors.Call, seen *vendors.Reply) (vendors.Bound, error) {
	if seen == nil {
		return vendors.Bound{Probe: &vendors.Probe{Operation: "acme.letters.retrieve", Path: "/letters/" + c.IDs["id"]}}, nil
	}
	return vendors.Bound{Kind: vendors.Exact, Lines: []cost.Line{{Meter: cost.Outflow, Currency: "USD", Amount: 500_000}}}, nil
}

func boundFilm(*vendors.Call, *vendors.Reply) (vendors.Bound, error) {
	return vendors.Bound{Kind: vendors.Unknown, Why: "a film has no price; give a ceiling"}, nil
}

func outcome(_ *vendors.Call, r *vendors.Reply) vendors.Outcome {
	var e struct{ Error string }
	switch {
	case r.Status >= 200 && r.Status < 300:
		return vendors.Executed
	case r.Status >= 400 && r.Status < 500 && json.Unmarshal(r.Body, &e) == nil && e.Error != "":
		return vendors.NotExecuted
	}
	return vendors.OutcomeUnknown
}

func vectors(t *testing.T) []vendortest.Vector {
	t.Helper()
	all, err := vendortest.Read("testdata/acme.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestAVendorThatKeepsItsPromises(t *testing.T) {
	vendortest.Run(t, vendortest.Kit{Vendor: acme(), Vectors: vectors(t), Over: []string{"more letters than asked for"}})
}

// A mutant is acme with one thing wrong, and the law that says so.
var mutants = []struct {
	law, about string
	change     func(*vendors.Vendor)
}{
	{"table", "two rows are one path", func(v *vendors.Vendor) { v.Operations = append(v.Operations, v.Operations[0]) }},
	{"class", "a class is misspelt", func(v *vendors.Vendor) { row(v, "letters.retrieve").Class = "reed" }},
	{"name", "a name is of another vendor", func(v *vendors.Vendor) { row(v, "letters.retrieve").Name = "other.letters.retrieve" }},
	{"name", "a name has a capital", func(v *vendors.Vendor) { row(v, "letters.retrieve").Name = "acme.letters.Retrieve" }},
	{"name", "a name is of a free and of a paid operation", func(v *vendors.Vendor) {
		films := *row(v, "films.make")
		films.Path, films.Class, films.Bound = "/movies", vendors.Free, nil
		v.Operations = append(v.Operations, films)
	}},
	{"bound", "a paid row has no bound", func(v *vendors.Vendor) { row(v, "films.make").Bound = nil }},
	{"found", "a row hides another", func(v *vendors.Vendor) {
		hides := *row(v, "letters.retrieve")
		hides.Name, hides.Path = "acme.letters.any", "/letters/{any}"
		v.Operations = slices.Insert(v.Operations, 0, hides)
	}},
	{"hard-deny", "another host makes keys", func(v *vendors.Vendor) {
		keys := *row(v, "keys.create")
		keys.Host, keys.HardDeny = "eu."+keys.Host, ""
		v.Operations = append(v.Operations, keys)
	}},
	{"hard-deny", "a denial gives no reason", func(v *vendors.Vendor) { row(v, "keys.create").HardDeny = "no" }},
	{"credential", "any part is a credential", func(v *vendors.Vendor) {
		v.Place = func(parts []string) (vendors.Placement, error) {
			return vendors.Placement{Header: "Authorization", Value: strings.Join(parts, "")}, nil
		}
	}},
	{"credential", "an error repeats the secret", func(v *vendors.Vendor) {
		place := v.Place
		v.Place = func(parts []string) (vendors.Placement, error) {
			p, err := place(parts)
			if err != nil {
				err = errors.New("not a key: " + strings.Join(parts, " "))
			}
			return p, err
		}
	}},
	{"refusal", "the message is lost", func(v *vendors.Vendor) {
		refuse := v.Refuse
		v.Refuse = func(c *vendors.Call, r vendors.Refusal) vendors.Response {
			r.Message = string(r.Code)
			return refuse(c, r)
		}
	}},
	{"refusal", "every refusal is a 400", func(v *vendors.Vendor) {
		refuse := v.Refuse
		v.Refuse = func(c *vendors.Call, r vendors.Refusal) vendors.Response {
			r.Status = 400
			return refuse(c, r)
		}
	}},
	{"vector", "a letter is cheaper than the vectors say", func(v *vendors.Vendor) {
		change(row(v, "letters.send"), func(b *vendors.Bound) { b.Lines[0].Amount-- })
	}},
	{"covered", "a settlement that no vector shows", func(v *vendors.Vendor) {
		row(v, "films.make").Settle = func(*vendors.Call, vendors.Bound, *vendors.Reply) (vendors.Settlement, error) {
			return vendors.Settlement{}, errors.New("never")
		}
	}},
	{"line", "a line is on the meter of all money", func(v *vendors.Vendor) {
		change(row(v, "letters.send"), func(b *vendors.Bound) { b.Lines[0].Meter = cost.Spend })
	}},
	{"line", "a line is below nothing", func(v *vendors.Vendor) {
		change(row(v, "letters.send"), func(b *vendors.Bound) { b.Lines[0].Amount = -1 })
	}},
	{"unknown", "an unknown cost does not say why", func(v *vendors.Vendor) {
		change(row(v, "films.make"), func(b *vendors.Bound) { b.Why = "" })
	}},
	{"unknown", "an unknown cost is at most nothing", func(v *vendors.Vendor) {
		change(row(v, "films.make"), func(b *vendors.Bound) { *b = vendors.Bound{Kind: vendors.AtMost} })
	}},
	{"garbled", "a list that cannot be read goes to nobody", func(v *vendors.Vendor) {
		send := row(v, "letters.send")
		bound := send.Bound
		send.Bound = func(c *vendors.Call, r *vendors.Reply) (vendors.Bound, error) {
			b, err := bound(c, r)
			if err != nil {
				return vendors.Bound{Kind: vendors.Exact}, nil
			}
			return b, nil
		}
	}},
	{"probe", "a probe is a write", func(v *vendors.Vendor) {
		change(row(v, "refunds.create"), func(b *vendors.Bound) {
			if b.Probe != nil {
				b.Probe.Operation = "acme.refunds.create"
			}
		})
	}},
	{"probe", "a probe reads what is on another host", func(v *vendors.Vendor) {
		change(row(v, "refunds.create"), func(b *vendors.Bound) {
			if b.Probe != nil {
				b.Probe.Operation, b.Probe.Path = "acme.letters.list", "/letters"
			}
		})
	}},
	{"within", "the bound is below what the reply says", func(v *vendors.Vendor) {
		change(row(v, "letters.send"), func(b *vendors.Bound) { b.Lines[0].Amount /= 2 })
	}},
	{"unreadable", "a reply that cannot be read costs nothing", func(v *vendors.Vendor) {
		send := row(v, "letters.send")
		read := send.Settle
		send.Settle = func(c *vendors.Call, b vendors.Bound, r *vendors.Reply) (vendors.Settlement, error) {
			s, err := read(c, b, r)
			if err != nil {
				return vendors.Settlement{}, nil
			}
			return s, nil
		}
	}},
	{"unreadable", "a reply that cannot be read is no execution", func(v *vendors.Vendor) {
		row(v, "letters.send").Outcome = func(c *vendors.Call, r *vendors.Reply) vendors.Outcome {
			if !json.Valid(r.Body) {
				return vendors.NotExecuted
			}
			return outcome(c, r)
		}
	}},
	{"proof", "any 4xx gives the hold back", func(v *vendors.Vendor) {
		row(v, "letters.send").Outcome = func(c *vendors.Call, r *vendors.Reply) vendors.Outcome {
			if r.Status >= 400 && r.Status < 500 {
				return vendors.NotExecuted
			}
			return outcome(c, r)
		}
	}},
	{"proof", "a 503 gives the hold back", func(v *vendors.Vendor) {
		row(v, "refunds.create").Outcome = func(c *vendors.Call, r *vendors.Reply) vendors.Outcome {
			if r.Status == 503 {
				return vendors.NotExecuted
			}
			return outcome(c, r)
		}
	}},
}

func row(v *vendors.Vendor, name string) *vendors.Operation {
	i := slices.IndexFunc(v.Operations, func(op vendors.Operation) bool { return op.Name == "acme."+name })
	return &v.Operations[i]
}

// change makes f part of a row's bound.
func change(op *vendors.Operation, f func(*vendors.Bound)) {
	bound := op.Bound
	op.Bound = func(c *vendors.Call, r *vendors.Reply) (vendors.Bound, error) {
		b, err := bound(c, r)
		if err == nil {
			f(&b)
		}
		return b, err
	}
}

// Each mutant breaks the law that it is named for, and each law has a mutant.
func TestEachLawCatchesItsMutants(t *testing.T) {
	caught := map[string]bool{}
	for _, m := range mutants {
		t.Run(m.law+": "+m.about, func(t *testing.T) {
			v := acme()
			m.change(&v)
			err := vendortest.Test(vendortest.Kit{Vendor: v, Vectors: vectors(t), Over: []string{"more letters than asked for"}})
			if !slices.Contains(broken(err), m.law) {
				t.Errorf("broken: %v, want %s\n%v", broken(err), m.law, err)
			}
		})
		caught[m.law] = true
	}
	for _, law := range vendortest.Laws() {
		if !caught[law.Name] {
			t.Errorf("no mutant breaks the law %s", law.Name)
		}
	}
}

// broken are the names of the laws that err says are broken.
func broken(err error) (names []string) {
	joined, _ := err.(interface{ Unwrap() []error })
	if joined == nil {
		return nil
	}
	for _, e := range joined.Unwrap() {
		var b *vendortest.Broken
		if errors.As(e, &b) {
			names = append(names, b.Law.Name)
		}
	}
	return names
}

// A vector whose cost exceeds its bound has to be named, and one that is named has to.
func TestOver(t *testing.T) {
	for _, over := range [][]string{nil, {"more letters than asked for", "two letters"}, {"more letters than asked for", "no such vector"}} {
		err := vendortest.Test(vendortest.Kit{Vendor: acme(), Vectors: vectors(t), Over: over})
		if !slices.Equal(broken(err), []string{"within"}) {
			t.Errorf("%v: %v", over, err)
		}
	}
}
