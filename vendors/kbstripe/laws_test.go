package kbstripe_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/vendors"
)

// A priced is a vector whose call went through, as far as its bound.
type priced struct {
	vector
	call  *vendors.Call
	bound vendors.Bound
}

// pricedVectors are the vectors that have a reply to settle by, with the ceiling of the policy's rule where the bound
// is unknown, as the brake reserves it.
func pricedVectors(t *testing.T) (all []priced) {
	t.Helper()
	tab := table(t)
	for _, v := range vectors(t) {
		_, c, err := tab.Identify(v.call, v.body)
		if err != nil || v.reply == nil || !c.Operation.Class.Paid() {
			continue
		}
		b, err := v.bound(c, map[string]string{})
		if err != nil {
			continue
		}
		if b.Kind == vendors.Unknown {
			if v.want["ceiling"] == "" {
				continue // it would not be forwarded
			}
			b.Kind, b.Lines = vendors.AtMost, []cost.Line{readLine(v.want["ceiling"])}
		}
		all = append(all, priced{v, c, b})
	}
	if len(all) < 150 {
		t.Fatalf("found %d vectors that settle", len(all))
	}
	return all
}

// settles is what a reply books and holds, as the brake settles it; ok is false where the hold stays as it is.
func (p priced) settles(r *vendors.Reply) (s vendors.Settlement, ok bool) {
	switch p.call.Operation.Outcome(p.call, r) {
	case vendors.OutcomeUnknown:
		return s, false
	case vendors.NotExecuted:
		return s, true
	}
	if p.call.Operation.Settle == nil {
		return vendors.Settlement{Actual: p.bound.Lines}, true
	}
	s, err := p.call.Operation.Settle(p.call, p.bound, r)
	return s, err == nil
}

func total(lines ...[]cost.Line) (sum int64) {
	for _, ls := range lines {
		for _, l := range ls {
			sum += l.Amount
		}
	}
	return sum
}

// Of a reply that is read, the amounts are: with one of another form in its place it is not read.
func TestAmountsAreReadAndNotGuessed(t *testing.T) {
	for _, p := range pricedVectors(t) {
		s, ok := p.settles(p.reply)
		before := total(s.Actual, s.Held)
		if !ok || p.call.Operation.Settle == nil || before == 0 {
			continue
		}
		for _, field := range []string{"amount", "value", "amount_received", "amount_paid", "amount_remaining", "amount_total", "amount_due", "amount_captured", "amount_capturable"} {
			for _, other := range []string{"null", `"1"`, "-1", "1.5", "1e9", "{}"} {
				body, found := replaceField(p.reply.Body, field, other)
				if !found {
					continue
				}
				r := &vendors.Reply{Status: p.reply.Status, Header: p.reply.Header, Body: body}
				if s, ok := p.settles(r); ok && total(s.Actual, s.Held) < total(p.bound.Lines) && total(s.Actual, s.Held) < before {
					t.Errorf("%s: %s is %s, and it settles at %d", p.name, field, other, total(s.Actual, s.Held))
				}
			}
		}
	}
}

func replaceField(body []byte, field, value string) ([]byte, bool) {
	name := []byte(`"` + field + `": `)
	i := bytes.Index(body, name)
	if i < 0 {
		return nil, false
	}
	rest := body[i+len(name):]
	end := bytes.IndexAny(rest, ",}")
	if end < 0 {
		return nil, false
	}
	return bytes.Join([][]byte{body[:i+len(name)], []byte(value), rest[end:]}, nil), true
}

// Every refusal of Stripe's own proves what the documentation says it proves, on every operation that costs.
func TestOutcomes(t *testing.T) {
	const refusal = `{"error":{"type":"invalid_request_error","message":"x"}}`
	for _, op := range table(t).Operations() {
		if !op.Class.Paid() || op.HardDeny != "" {
			continue
		}
		for status, want := range map[int]vendors.Outcome{
			400: vendors.NotExecuted, 401: vendors.NotExecuted, 403: vendors.NotExecuted, 404: vendors.NotExecuted, 429: vendors.NotExecuted,
			409: vendors.OutcomeUnknown, 424: vendors.OutcomeUnknown, 500: vendors.OutcomeUnknown, 502: vendors.OutcomeUnknown, 503: vendors.OutcomeUnknown, 504: vendors.OutcomeUnknown,
			302: vendors.OutcomeUnknown, 418: vendors.OutcomeUnknown,
		} {
			r := &vendors.Reply{Status: status, Header: map[string][]string{}, Body: []byte(refusal)}
			if got := op.Outcome(&vendors.Call{Operation: op}, r); got != want {
				t.Errorf("%s: status %d is %s, want %s", op.Name, status, got, want)
			}
			r.Body = []byte("<html>")
			if got := op.Outcome(&vendors.Call{Operation: op}, r); got != vendors.OutcomeUnknown {
				t.Errorf("%s: status %d with a page is %s", op.Name, status, got)
			}
		}
		// A decline moved nothing. What can leave an object behind that Stripe or the customer tries again keeps its hold.
		declined := &vendors.Reply{Status: 402, Header: map[string][]string{}, Body: []byte(refusal)}
		leaves := op.Name == "stripe.payment_intents.create" || op.Name == "stripe.quotes.accept" || strings.Contains(op.Name, "subscription") ||
			slices.Contains([]string{"stripe.invoices.pay", "stripe.invoices.send", "stripe.invoices.finalize", "stripe.invoices.attach_payment"}, op.Name)
		if op.Class != vendors.Charge && op.Class != vendors.Commit && op.Class != vendors.Outflow {
			continue
		}
		if got := op.Outcome(&vendors.Call{Operation: op}, declined); (got == vendors.NotExecuted) == leaves {
			t.Errorf("%s: a decline is %s", op.Name, got)
		}
	}
}
