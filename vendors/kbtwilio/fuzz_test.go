package kbtwilio_test

import (
	"encoding/json"
	"math/big"
	"net/http"
	"net/url"
	"slices"
	"testing"
	"time"

	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/vendors"
	"github.com/keybrake/keybrake-go/vendors/kbtwilio"
)

// FuzzSettle answers every kind of call with arbitrary replies. Nothing but a 4xx of Twilio's gives a hold back. A price that
// the reply states is booked, and less than what was reserved only where it states one or counts fewer units.
func FuzzSettle(f *testing.F) {
	tab := table(f)
	type priced struct {
		name  string
		call  *vendors.Call
		bound vendors.Bound
	}
	var calls []priced
	for _, v := range vectors(f) {
		_, c, err := tab.Identify(v.call, v.body)
		if err != nil || v.reply == nil || c.Operation.Settle == nil {
			continue
		}
		v.supply(c)
		b := vendors.Bound{Kind: vendors.Exact}
		if c.Operation.Bound != nil {
			if b, err = c.Operation.Bound(c, nil); err != nil {
				continue
			}
		}
		if b.Kind == vendors.Unknown {
			b.Lines = []cost.Line{{Meter: cost.Fee, Currency: "USD", Amount: 1_000_000}}
		}
		f.Add(len(calls), v.reply.Status, v.reply.Body)
		f.Add(len(calls), 500, []byte(`{"code":21211,"message":"no","status":400}`))
		calls = append(calls, priced{v.name, c, b})
	}
	f.Fuzz(func(t *testing.T, n, status int, body []byte) {
		p := calls[((n%len(calls))+len(calls))%len(calls)]
		r := &vendors.Reply{Status: status, Header: http.Header{}, Body: body}
		outcome := vendors.ByStatus(p.call, r)
		if p.call.Operation.Outcome != nil {
			outcome = p.call.Operation.Outcome(p.call, r)
		}
		if outcome == vendors.NotExecuted && (status < 400 || status > 499 || !json.Valid(body)) {
			t.Fatalf("%s: status %d and %q give a hold back", p.name, status, body)
		}
		if outcome != vendors.Executed && outcome != vendors.Pending {
			return
		}
		s, err := p.call.Operation.Settle(p.call, p.bound, r)
		if err != nil {
			if s.Actual != nil || s.Held != nil {
				t.Fatalf("%s: an error came with money", p.name)
			}
			return
		}
		for _, l := range slices.Concat(s.Actual, s.Held) {
			if err := l.Valid(); err != nil {
				t.Fatalf("%s: %v", p.name, err)
			}
		}
		said := priceIn(body)
		for _, l := range p.bound.Lines {
			if l.Meter != cost.Fee {
				continue
			}
			got, err := cost.Sum(slices.Concat(s.Actual, s.Held), l.Meter, l.Currency)
			if err != nil {
				t.Fatalf("%s: %v", p.name, err)
			}
			if !json.Valid(body) && got < l.Amount {
				t.Fatalf("%s: %d of %d is booked for %q", p.name, got, l.Amount, body)
			}
			if got < l.Amount && said != nil && big.NewRat(got, cost.MicrosPerUnit).Cmp(said) < 0 && s.Flag == "" {
				t.Fatalf("%s: %d of %d is booked, and the reply says %s: %q", p.name, got, l.Amount, said, body)
			}
		}
	})
}

// priceIn is what a reply says in dollars, read by other means than the package's; nil where it does not say.
func priceIn(body []byte) *big.Rat {
	var shown struct {
		Price string `json:"price"`
		Unit  string `json:"price_unit"`
	}
	if json.Unmarshal(body, &shown) != nil || shown.Unit != "USD" {
		return nil
	}
	price, ok := new(big.Rat).SetString(shown.Price)
	if !ok || price.Sign() >= 0 {
		return nil
	}
	return price.Neg(price)
}

// FuzzEvidence looks up texts and calls of unknown end in arbitrary records of Twilio's. It asks for reads alone and comes to
// an end; only records under status 200 that are JSON prove anything; nothing is ever told to be absent, because Twilio's
// lists carry no marks.
func FuzzEvidence(f *testing.F) {
	cases := []func(t *testing.T) *vendors.Case{
		func(t *testing.T) *vendors.Case {
			return caseOf(t, classic+"/Messages.json", "To=%2B14155550100&From=%2B14155550101&Body=hi", "", "")
		},
		func(t *testing.T) *vendors.Case {
			return caseOf(t, classic+"/Messages.json", "To=%2B14155550100&From=%2B14155550101&Body=hi", `{"sid":"`+other+`","status":"queued","num_segments":"1","price":null,"price_unit":"USD"}`, "")
		},
		func(t *testing.T) *vendors.Case {
			return caseOf(t, classic+"/Calls.json", "To=%2B14155550100&From=%2B14155550101&Url=https%3A%2F%2Fa.example&TimeLimit=60", "", "")
		},
	}
	message := `{"sid":"` + other + `","account_sid":"` + me + `","to":"+14155550100","from":"+14155550101","body":"hi","status":"delivered","direction":"outbound-api","num_segments":"1","price":"-0.00830","price_unit":"USD","date_created":"Mon, 23 Nov 2026 00:00:03 +0000","date_sent":"Mon, 23 Nov 2026 00:00:03 +0000"}`
	for i := range cases {
		f.Add(i, 200, []byte(message))
		f.Add(i, 200, []byte(`{"messages":[`+message+`],"next_page_uri":null}`))
		f.Add(i, 200, []byte(`{"messages":[],"next_page_uri":null}`))
		f.Add(i, 200, []byte(`{"calls":[{"sid":"`+call+`","to":"+14155550100","from":"+14155550101","status":"completed","duration":"61","price":"-0.028","price_unit":"USD","date_created":"Mon, 23 Nov 2026 00:00:03 +0000"}],"next_page_uri":null}`))
		f.Add(i, 404, []byte(`{"code":20404,"status":404}`))
		f.Add(i, 500, []byte(`<html>`))
	}
	f.Fuzz(func(t *testing.T, n, status int, body []byte) {
		tab := richTable(t)
		c := cases[((n%len(cases))+len(cases))%len(cases)](t)
		for range vendors.MostLooks + 1 {
			found, err := c.Call.Operation.Reconcile(c)
			if err != nil {
				return
			}
			if found.Look == nil {
				for _, l := range slices.Concat(found.Cost.Actual, found.Cost.Held) {
					if err := l.Valid(); err != nil {
						t.Fatal(err)
					}
				}
				if found.Absent {
					t.Fatalf("%q is proof of absence", body)
				}
				if proves := found.Outcome != vendors.OutcomeUnknown; proves && len(c.Seen) > 0 && (status != http.StatusOK || !json.Valid(body)) {
					t.Fatalf("status %d and %q prove %v", status, body, found.Outcome)
				}
				return
			}
			req := &http.Request{Method: "GET", URL: &url.URL{Scheme: "https", Host: "api.twilio.com", Path: found.Look.Path, RawQuery: vendors.Encode(found.Look.Query)}}
			if _, asked, err := tab.Identify(req, nil); err != nil || asked.Operation.Name != found.Look.Operation || !asked.Operation.Looks() {
				t.Fatalf("%+v is no read of the catalogue: %v", found.Look, err)
			}
			c.Seen = append(c.Seen, &vendors.Reply{Status: status, Header: http.Header{}, Body: body})
		}
		t.Fatalf("%q asks for more than %d looks", body, vendors.MostLooks)
	})
}

// FuzzUsage reads arbitrary days. What comes is what a ledger takes, from records of the account and the day asked for.
func FuzzUsage(f *testing.F) {
	f.Add(200, []byte(records("null", used("totalprice", `"price": "3.5200001", "price_unit": "usd"`))))
	f.Add(200, []byte(records(`"/2010-04-01/Accounts/`+me+`/Usage/Records/Daily.json?Page=1"`, used("sms", `"price": "-1", "price_unit": "usd"`))))
	f.Add(429, []byte(`{"code": 20429}`))
	vendor := kbtwilio.New(nil)
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		d := &vendors.Day{Start: time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC), Account: me}
		for range 3 {
			u, err := vendor.Usage(d)
			switch {
			case err != nil && (u.Total != nil || u.Look != nil):
				t.Fatalf("an error came with %+v", u)
			case err != nil:
				return
			case u.Look == nil:
				for _, l := range u.Total {
					if l.Valid() != nil || status != http.StatusOK || !json.Valid(body) {
						t.Fatalf("status %d and %q are %v", status, body, l)
					}
				}
				return
			}
			d.Seen = append(d.Seen, &vendors.Reply{Status: status, Body: body})
		}
	})
}

// FuzzRates reads arbitrary rate cards and price lists. One that is taken prices a text as an exact, valid amount or not at
// all, and comes back from its own JSON as it was.
func FuzzRates(f *testing.F) {
	card, err := json.Marshal(kbtwilio.DefaultRates())
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte(`{"currency":"USD","rates":[{"country":"US","per_segment":"0.0083"}]}`), []byte(`{"country":"us","iso_country":"US","price_unit":"USD","outbound_sms_prices":[{"carrier":"AT&T","mcc":"310","mnc":"410","prices":[{"base_price":"0.05","current_price":"0.05","number_type":"local"}]}]}`))
	f.Add([]byte(`{"Currency":"usd","Rates":[{"Country":"US","PerSegment":"1e3"}]}`), []byte(`{"iso_country":"US","price_unit":"USD","outbound_prefix_prices":[{"prefixes":["1"],"base_price":"-1","current_price":"-1"}]}`))
	f.Add(card[:min(len(card), 4000)], []byte(`{}`))
	f.Fuzz(func(t *testing.T, data, prices []byte) {
		var card kbtwilio.RateCard
		if json.Unmarshal(data, &card) != nil {
			return
		}
		if priced, err := card.WithPrices(prices); err == nil {
			card = priced
		}
		text, err := json.Marshal(card)
		if err != nil {
			t.Fatal(err)
		}
		var again kbtwilio.RateCard
		if err := json.Unmarshal(text, &again); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		if second, err := json.Marshal(again); err != nil || string(second) != string(text) {
			t.Fatalf("%s came back as %s, %v", text, second, err)
		}
		v := kbtwilio.New(&kbtwilio.Options{Rates: &card})
		for _, to := range []string{"+14155550100", "+491701234567", "+18765550100"} {
			c := &vendors.Call{Operation: &v.Operations[0], Params: []vendors.Param{{Name: "To", Value: to}, {Name: "Body", Value: "hi"}}}
			b, err := v.Operations[0].Bound(c, nil)
			if err != nil {
				continue
			}
			for _, l := range b.Lines {
				if err := l.Valid(); err != nil {
					t.Fatalf("%s is priced as %v: %v", data, l, err)
				}
			}
			if v.Err != nil && b.Kind != vendors.Unknown {
				t.Fatalf("a card with the error %v has the bound %v", v.Err, b.Lines)
			}
			if b.Kind == vendors.Unknown && b.Why == "" {
				t.Fatalf("%s: unknown, and why?", data)
			}
		}
	})
}
