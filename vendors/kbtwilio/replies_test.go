package kbtwilio_test

import (
	"math/big"
	"strings"
	"testing"

	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/vendors"
	"github.com/keybrake/keybrake-go/vendors/kbtwilio"
)

// FuzzReplies reads arbitrary replies to a message: whatever Twilio or something in between answers, what is booked
// is valid, a text that has no final price keeps at least its bound, and only a 4xx gives money back.
func FuzzReplies(f *testing.F) {
	for _, v := range vectors(f) {
		if v.reply != nil && v.head["operation"] == "twilio.messages.create" {
			f.Add(v.reply.Status, v.reply.Body)
		}
	}
	op := table(f).Lookup("twilio.messages.create")
	bound := vendors.Bound{Kind: vendors.AtMost, Lines: []cost.Line{{Meter: cost.Fee, Currency: "USD", Amount: 13_300}, {Meter: cost.Units, Amount: 1}}}
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		r := &vendors.Reply{Status: status, Body: body}
		o := op.Outcome(nil, r)
		if o == vendors.NotExecuted && (status < 400 || status > 499) {
			t.Fatalf("status %d gives money back", status)
		}
		if o != vendors.Executed && o != vendors.Pending {
			return
		}
		s, err := op.Settle(nil, bound, r)
		if err != nil {
			return
		}
		for i, l := range s.Actual {
			if err := l.Valid(); err != nil {
				t.Fatal(err)
			}
			if o == vendors.Pending && l.Amount < bound.Lines[i].Amount {
				t.Fatalf("pending, and %v is booked of %v", l, bound.Lines[i])
			}
		}
		if len(s.Actual) != 2 || len(s.Objects) != 1 || (o == vendors.Pending) != (s.Again > 0) {
			t.Fatalf("%v: %+v", o, s)
		}
	})
}

// FuzzPrice compares a settled price with exact fractions: never less, and less than a micro-unit more.
func FuzzPrice(f *testing.F) {
	for _, s := range []string{"-0.00750", "0", "-0", "-1.0000001", "-0.0000009", "-9007199254.740991", "-9007199254.7409911", "1", "--1", "-1e3", "-.5", "-5."} {
		f.Add(s)
	}
	op := table(f).Lookup("twilio.messages.create")
	bound := vendors.Bound{Lines: []cost.Line{{Meter: cost.Fee, Currency: "USD", Amount: 1}}}
	f.Fuzz(func(t *testing.T, price string) {
		body := []byte(`{"sid":"SM1","status":"sent","price_unit":"USD","price":"` + price + `"}`)
		s, err := op.Settle(nil, bound, &vendors.Reply{Status: 201, Body: body})
		if err != nil || len(s.Actual) != 1 || s.Again > 0 || s.Flag != "" {
			return
		}
		want, ok := new(big.Rat).SetString(price)
		if !ok {
			return // the price closed its own string, or held an escape
		}
		micros := new(big.Rat).Mul(want.Neg(want), big.NewRat(cost.MicrosPerUnit, 1))
		over := new(big.Rat).Sub(big.NewRat(s.Actual[0].Amount, 1), micros)
		if over.Sign() < 0 || over.Cmp(big.NewRat(1, 1)) >= 0 {
			t.Fatalf("%q is booked as %d", price, s.Actual[0].Amount)
		}
	})
}

// TestCardWithMistakeRefuses says that a rate card that cannot be read is an error where the vendor is registered,
// and leaves every text without a bound besides.
func TestCardWithMistakeRefuses(t *testing.T) {
	v := kbtwilio.New(&kbtwilio.Options{Rates: &kbtwilio.RateCard{Rates: []kbtwilio.Rate{{Country: "US", PerSegment: "1,5"}}}})
	if _, err := vendors.NewTable([]vendors.Vendor{v}); err == nil || !strings.Contains(err.Error(), "Options.Rates") {
		t.Errorf("the vendor was registered: %v", err)
	}
	c := &vendors.Call{Params: []vendors.Param{{Name: "To", Value: "+14155550100"}, {Name: "Body", Value: "hi"}}}
	b, err := v.Operations[0].Bound(c, nil)
	if err != nil || b.Kind != vendors.Unknown || b.Why == "" {
		t.Errorf("got %+v, %v", b, err)
	}
}

// TestOtherCurrency says that a card in another currency books in that currency.
func TestOtherCurrency(t *testing.T) {
	v := kbtwilio.New(&kbtwilio.Options{Rates: &kbtwilio.RateCard{Currency: "EUR", Rates: []kbtwilio.Rate{{Country: "DE", PerSegment: "0.1"}}}})
	c := &vendors.Call{Params: []vendors.Param{{Name: "To", Value: "+491701234567"}, {Name: "Body", Value: "hi"}}}
	op := v.Operations[0]
	b, err := op.Bound(c, nil)
	if err != nil || lines(b.Lines) != "fee 0.10 EUR, 1 units" {
		t.Fatalf("%s, %v", lines(b.Lines), err)
	}
	s, err := op.Settle(c, b, &vendors.Reply{Status: 201, Body: []byte(`{"sid":"SM1","status":"sent","num_segments":"1","price":"-0.08","price_unit":"eur"}`)})
	if err != nil || lines(s.Actual) != "fee 0.08 EUR, 1 units" || s.Flag != "" {
		t.Errorf("%s, %+v, %v", lines(s.Actual), s, err)
	}
}
