package kbstripe_test

import (
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/vendors"
	"github.com/keybrake/keybrake-go/vendors/kbstripe"
)

// A shown is an answer as a reader that shares no code with the package sees it.
type shown map[string]any

func shownBy(body []byte) (shown, bool) {
	var s shown
	return s, json.Unmarshal(body, &s) == nil && s != nil
}

func (s shown) minor(name string) int64 {
	n, _ := s[name].(float64)
	return int64(n)
}

// moved is how much of Stripe's currency units an object says has moved, or is authorised to: zero for what has failed and
// for kinds that are not known here.
func (s shown) moved() int64 {
	status, _ := s["status"].(string)
	switch s["object"] {
	case "payment_intent":
		if status == "succeeded" {
			return s.minor("amount_received")
		}
		if status == "requires_capture" {
			return s.minor("amount_capturable")
		}
	case "charge":
		if status == "succeeded" || status == "pending" {
			return s.minor("amount")
		}
	case "refund", "payout":
		if status != "failed" && status != "canceled" {
			return s.minor("amount")
		}
	case "transfer":
		return s.minor("amount")
	}
	return 0
}

// FuzzSettle answers real calls with arbitrary replies. Nothing but a refusal of Stripe's gives a hold back. What is booked
// and still held together is never less than what the reply says has moved, of what was reserved; and it falls below what
// was reserved only for a reply that is JSON of one object with an id and a status.
func FuzzSettle(f *testing.F) {
	tab := table(f)
	type priced struct {
		name  string
		call  *vendors.Call
		bound vendors.Bound
	}
	var calls []priced
	for _, v := range vectors(f) {
		if v.reply == nil {
			continue
		}
		_, c, err := tab.Identify(v.call, v.body)
		if err != nil || c.Operation.Settle == nil {
			continue
		}
		b, err := v.bound(c, map[string]string{})
		if err != nil {
			continue
		}
		if ceiling, ok := v.want["ceiling"]; ok && b.Kind == vendors.Unknown {
			b.Lines = []cost.Line{readLine(ceiling)}
		}
		f.Add(len(calls), v.reply.Status, v.reply.Body)
		calls = append(calls, priced{v.name, c, b})
	}
	f.Fuzz(func(t *testing.T, n, status int, body []byte) {
		p := calls[((n%len(calls))+len(calls))%len(calls)]
		r := &vendors.Reply{Status: status, Header: http.Header{}, Body: body}
		outcome := vendors.ByStatus(p.call, r)
		if p.call.Operation.Outcome != nil {
			outcome = p.call.Operation.Outcome(p.call, r)
		}
		reply, readable := shownBy(body)
		if outcome == vendors.NotExecuted && (status < 400 || status > 499 || !readable) {
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
		if err := valid(slices.Concat(s.Actual, s.Held)); err != nil {
			t.Fatalf("%s: %v", p.name, err)
		}
		if len(p.bound.Lines) == 0 || !strings.Contains("USD EUR", string(p.bound.Lines[0].Currency)) {
			return
		}
		reserved, kept := p.bound.Lines[0], int64(0)
		for _, l := range slices.Concat(s.Actual, s.Held) {
			if l.Currency == reserved.Currency {
				kept += l.Amount
			}
		}
		if status < 200 || status > 299 {
			inner, _ := reply["error"].(map[string]any)
			intent, _ := inner["payment_intent"].(map[string]any)
			reply = intent
		}
		_, id := reply["id"].(string)
		_, state := reply["status"].(string)
		if kept < reserved.Amount && s.Flag == "" && (!id || !state && p.call.Operation.Class != vendors.Outflow) {
			t.Fatalf("%s: %d of %d is kept for %q", p.name, kept, reserved.Amount, body)
		}
		currency, _ := reply["currency"].(string)
		if p.call.Operation.Name == "stripe.payment_intents.cancel" || !strings.EqualFold(currency, string(reserved.Currency)) {
			return // a cancel returns what is no longer authorised, and was booked before what was captured
		}
		if said := reply.moved() * 10_000; kept < min(said, reserved.Amount) {
			t.Fatalf("%s: %d is kept of %d, and the reply says %d: %q", p.name, kept, reserved.Amount, said, body)
		}
	})
}

// FuzzProbe prices real calls by arbitrary answers to the look that they need: an object, a preview of an invoice. Only JSON
// under status 200 gives a price, it is one that a ledger takes, and it is no less than what the answer says is due, and than
// the amount that is sent with the call, if one is.
func FuzzProbe(f *testing.F) {
	tab := table(f)
	var calls []*vendors.Call
	for _, v := range vectors(f) {
		if v.probe == nil {
			continue
		}
		_, c, err := tab.Identify(v.call, v.body)
		if err != nil || c.Operation.Bound == nil {
			continue
		}
		f.Add(len(calls), v.probe.Status, v.probe.Body)
		calls = append(calls, c)
	}
	f.Fuzz(func(t *testing.T, n, status int, body []byte) {
		c := calls[((n%len(calls))+len(calls))%len(calls)]
		b, err := c.Operation.Bound(c, &vendors.Reply{Status: status, Header: http.Header{}, Body: body})
		if err != nil {
			if b.Lines != nil || b.Send != nil {
				t.Fatalf("%s: an error came with %+v", c.Operation.Name, b)
			}
			return
		}
		if b.Probe != nil || b.Kind == vendors.Unknown {
			return
		}
		if err := valid(b.Lines); err != nil {
			t.Fatalf("%s: %v", c.Operation.Name, err)
		}
		seen, readable := shownBy(body)
		if status != http.StatusOK || !readable {
			t.Fatalf("%s: status %d and %q price it at %v", c.Operation.Name, status, body, b.Lines)
		}
		due := int64(0)
		if seen["object"] == "invoice" && c.Operation.Name == "stripe.subscriptions.create" {
			due = seen.minor("amount_due")
		}
		for _, p := range b.Send {
			sent, err := strconv.ParseInt(p.Value, 10, 64)
			if err != nil || sent < 0 {
				t.Fatalf("%s: %q is sent", c.Operation.Name, p)
			}
			if strings.HasPrefix(p.Name, "amount") {
				due = sent
			}
		}
		if currency, _ := seen["currency"].(string); (currency == "usd" || currency == "eur") && sum(b.Lines) < due*10_000 {
			t.Fatalf("%s: %q is priced at %v, and %q sent", c.Operation.Name, body, b.Lines, b.Send)
		}
	})
}

func sum(lines []cost.Line) (total int64) {
	for _, l := range lines {
		if l.Meter.Money() {
			total += l.Amount
		}
	}
	return total
}

// FuzzEvidence looks calls of unknown end up in arbitrary records of Stripe's. It asks for reads alone and comes to an end.
// Nothing that is not JSON under status 200 proves anything; a call whose mark stands in the list is not absent from it; and
// what it is said to cost is what a ledger takes.
func FuzzEvidence(f *testing.F) {
	tab := table(f)
	for i, e := range evidence {
		for at := range e.looks {
			if at > 2 {
				break
			}
			r := readSeen(e.looks[at].reply)
			f.Add(i, at, r.Status, r.Body)
			if i%7 == 0 {
				f.Add(i, at, 500, r.Body)
			}
		}
	}
	f.Fuzz(func(t *testing.T, n, at, status int, body []byte) {
		e := evidence[((n%len(evidence))+len(evidence))%len(evidence)]
		if len(e.looks) == 0 {
			return
		}
		at = ((at % len(e.looks)) + len(e.looks)) % len(e.looks)
		c := e.caseOf(t, tab)
		for range vendors.MostLooks + 1 {
			found, err := c.Call.Operation.Reconcile(c)
			if err != nil {
				return
			}
			if found.Look == nil {
				e.proven(t, found, len(c.Seen) > at, status, body)
				return
			}
			look(t, tab, found.Look)
			if len(c.Seen) < at {
				c.Seen = append(c.Seen, readSeen(e.looks[len(c.Seen)].reply))
			} else {
				c.Seen = append(c.Seen, &vendors.Reply{Status: status, Header: http.Header{}, Body: body})
			}
		}
	})
}

func (e told) proven(t *testing.T, found vendors.Finding, asked bool, status int, body []byte) {
	t.Helper()
	if err := valid(slices.Concat(found.Cost.Actual, found.Cost.Held)); err != nil {
		t.Fatalf("%s: %v", e.name, err)
	}
	if !asked || found.Outcome == vendors.OutcomeUnknown && !found.Absent {
		return
	}
	reply, readable := shownBy(body)
	if status != http.StatusOK || !readable {
		t.Fatalf("%s: status %d and %q prove %v, absent %t", e.name, status, body, found.Outcome, found.Absent)
	}
	next, v2 := reply["next_page_url"]
	ends := reply["has_more"] == false || v2 && next == nil
	data, _ := reply["data"].([]any)
	for _, element := range data {
		o, _ := element.(map[string]any)
		marks, _ := o["metadata"].(map[string]any)
		if found.Absent && marks["keybrake_call"] == "rsv_1" {
			t.Fatalf("%s: it stands in %q, and is told to be absent", e.name, body)
		}
		created, dated := o["created"].(float64)
		ends = ends || dated && created < float64(calledAt.Unix()) // a list of what is older too, newest first
	}
	if found.Absent && !ends {
		t.Fatalf("%s: the list %q goes on, and the call is told to be absent", e.name, body)
	}
}

// FuzzUsage adds up arbitrary days. What comes is what a ledger takes, and what runs are said to have used is part of it.
func FuzzUsage(f *testing.F) {
	f.Add(200, []byte(list_(false, `{"id":"txn_1","object":"balance_transaction","type":"charge","currency":"usd","amount":5000,"fee":175,"source":{"object":"charge","metadata":{"keybrake_run":"run_1"}}}`)))
	f.Add(200, []byte(list_(true, `{"id":"txn_1","object":"balance_transaction","type":"payout","currency":"jpy","amount":-9007199254740991,"fee":0,"source":null}`)))
	f.Add(200, []byte(list_(false, `{"id":"txn_1","object":"balance_transaction","type":"refund","currency":"usd","amount":-1,"fee":-1}`, `{"id":"txn_2","object":"balance_transaction","type":"adjustment","currency":"kwd","amount":1,"fee":2}`)))
	f.Add(429, []byte(list_(false)))
	vendor := kbstripe.New(nil)
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		d := &vendors.Day{Start: time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)}
		for range 3 {
			u, err := vendor.Usage(d)
			if err != nil {
				if u.Total != nil || u.Look != nil {
					t.Fatalf("an error came with %+v", u)
				}
				return
			}
			if u.Look == nil {
				for _, lines := range u.Runs {
					if err := valid(lines); err != nil {
						t.Fatal(err)
					}
					for _, l := range lines {
						if whole, err := cost.Sum(u.Total, l.Meter, l.Currency); err != nil || whole < l.Amount {
							t.Fatalf("a run has %v of %v", l, u.Total)
						}
					}
				}
				if err := valid(u.Total); err != nil || status != http.StatusOK {
					t.Fatalf("status %d is %v: %v", status, u.Total, err)
				}
				return
			}
			d.Seen = append(d.Seen, &vendors.Reply{Status: status, Body: body})
		}
	})
}
