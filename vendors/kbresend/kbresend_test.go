package kbresend_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/keybrake/keybrake-go/reason"
	"github.com/keybrake/keybrake-go/vendors"
	"github.com/keybrake/keybrake-go/vendors/kbresend"
)

func TestPlace(t *testing.T) {
	place := kbresend.New(nil).Place
	p, err := place([]string{"re_abc_DEF123"})
	if err != nil || p.Header != "Authorization" || p.Value != "Bearer re_abc_DEF123" || p.Account != "" || p.Mode != vendors.ModeUnknown || len(p.Secrets) != 1 || p.Secrets[0] != "re_abc_DEF123" {
		t.Errorf("%v", err)
	}
	for _, parts := range [][]string{nil, {}, {""}, {"re_"}, {"sk_secretvalue"}, {"re_secretvalue", "x"}, {"re_secretvalue\r\nX: y"}, {" re_secretvalue"}, {"re_secret value"}, {"Bearer re_secretvalue"}, {"re_" + strings.Repeat("s", 300)}} {
		p, err := place(parts)
		if err == nil || p.Value != "" || strings.Contains(err.Error(), "secretvalue") {
			t.Errorf("%q: taken, or its refusal holds a part", parts)
		}
	}
}

func named(t *testing.T, o *kbresend.Options, name string) vendors.Operation {
	t.Helper()
	all := kbresend.New(o).Operations
	i := slices.IndexFunc(all, func(op vendors.Operation) bool { return op.Name == name })
	if i < 0 {
		t.Fatalf("no operation %s", name)
	}
	return all[i]
}

func bound(t *testing.T, o *kbresend.Options) (vendors.Bound, error) {
	t.Helper()
	tree, err := vendors.DecodeJSON([]byte(`{"from":"a@acme.com","to":["x@y.com","z@y.com"]}`))
	if err != nil {
		t.Fatal(err)
	}
	op := named(t, o, "resend.emails.send")
	return op.Bound(&vendors.Call{Operation: &op, JSON: tree}, nil)
}

func TestPricePerRecipient(t *testing.T) {
	for price, want := range map[string]string{
		"":                  "fee 0.0018 USD, 2 units",
		"0":                 "fee 0.00 USD, 2 units",
		"0.000001":          "fee 0.000002 USD, 2 units",
		"9007199254.740991": "",
		"0.0000001":         "",
		"-1":                "",
		"1e3":               "",
		"free":              "",
	} {
		b, err := bound(t, &kbresend.Options{PricePerRecipient: price})
		if want != "" && (err != nil || lines(b.Lines) != want || b.Kind != vendors.Exact) {
			t.Errorf("%q: got %s, %v", price, lines(b.Lines), err)
		}
		if want == "" && (err == nil || b.Kind != vendors.Unknown || b.Lines != nil) {
			t.Errorf("%q: priced as %s", price, lines(b.Lines))
		}
	}
	var r *vendors.Refusal
	_, err := vendors.NewTable([]vendors.Vendor{kbresend.New(&kbresend.Options{PricePerRecipient: "free"})})
	if err == nil || !strings.Contains(err.Error(), "Options.PricePerRecipient") {
		t.Errorf("the vendor was registered: %v", err)
	}
	if _, err := bound(t, &kbresend.Options{PricePerRecipient: "free"}); !errors.As(err, &r) || r.Code != reason.CostUnknown {
		t.Errorf("a price that cannot be read gives %v", err)
	}
}

// FuzzAddress checks what Address promises of every string that it takes: one address with one @ outside it, no
// character that a second reader could act on, and the same answer when it is read again.
func FuzzAddress(f *testing.F) {
	for _, s := range []string{"a@b.c", "A <a@B.c>", `"x@evil.com" <a@b.c>`, "a@b.c,d@e.f", "g: a@b.c;", "a@b.c (c)", `"a b"@c.d`, "<a@b.c>", "a@[1.2.3.4]", "=?utf-8?q?x?= <a@b.c>", "a@b.c\r\nBcc: d@e.f", "ａ@b.c"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := kbresend.Address(s)
		if err != nil {
			if len(s) > 12 && strings.Contains(err.Error(), s) {
				t.Fatalf("%q is in the error", s)
			}
			return
		}
		if strings.Count(got, "@") != 1 || strings.ContainsAny(got, " ,;:<>()\"\r\n\t\x00") {
			t.Fatalf("%q is read as %q", s, got)
		}
		if again, err := kbresend.Address(got); err != nil || again != got {
			t.Fatalf("%q is read as %q, then as %q, %v", s, got, again, err)
		}
		if !strings.Contains(strings.ToLower(s), strings.ToLower(got)) {
			t.Fatalf("%q is read as %q, which it does not say", s, got)
		}
	})
}

// FuzzReplies reads arbitrary replies to a batch: what is booked is valid and never above the bound, and only a 4xx
// gives money back.
func FuzzReplies(f *testing.F) {
	for _, v := range vectors(f) {
		if v.reply != nil && v.head["operation"] == "resend.emails.batch" {
			f.Add(v.reply.Status, v.call.Header.Get("x-batch-validation") == "permissive", v.reply.Body)
		}
	}
	op := table(f).Lookup("resend.emails.batch")
	tree, err := vendors.DecodeJSON([]byte(`[{"from":"a@acme.com","to":["x@y.com","z@y.com"]},{"from":"a@acme.com","to":"x@y.com"}]`))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, status int, permissive bool, body []byte) {
		c := &vendors.Call{Operation: op, JSON: tree, Header: map[string][]string{}}
		if permissive {
			c.Header.Set("X-Batch-Validation", "permissive")
		}
		b, err := op.Bound(c, nil)
		if err != nil {
			t.Fatal(err)
		}
		r := &vendors.Reply{Status: status, Body: body}
		o := op.Outcome(c, r)
		if o == vendors.NotExecuted && (status < 400 || status > 499) {
			t.Fatalf("status %d gives money back", status)
		}
		if o != vendors.Executed {
			return
		}
		s, err := op.Settle(c, b, r)
		if err != nil {
			return
		}
		for i, l := range s.Actual {
			if err := l.Valid(); err != nil || l.Amount > b.Lines[i].Amount || !permissive && l != b.Lines[i] {
				t.Fatalf("%v of %v: %v", l, b.Lines[i], err)
			}
		}
	})
}
