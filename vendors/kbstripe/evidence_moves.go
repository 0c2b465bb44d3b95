package kbstripe

import (
	"cmp"
	"errors"
	"net/http"

	"github.com/keybrake/keybrake-go/vendors"
)

// settleSeenInbound is settleV2Inbound of a debit whose history may have ended: one that failed, or was returned, has
// taken nothing.
func settleSeenInbound(c *vendors.Call, b vendors.Bound, r *vendors.Reply) (vendors.Settlement, error) {
	s, err := settleV2Inbound(c, b, r)
	tree, _ := vendors.DecodeJSON(r.Body)
	v, _ := vendors.Member(tree, "transfer_history")
	history, ok := v.([]any)
	if err == nil && !ok {
		err = errors.New("kbstripe: the reply's transfer_history is not a list")
	}
	for _, v := range history {
		if what := (&reader{tree: v}).maybe("type"); what == "bank_debit_failed" || what == "bank_debit_returned" {
			s.Actual, s.Again = nil, 0
		}
	}
	return s, err
}

// findReversedPayout: a payout is reversed once, and then names the payout that reverses it.
func findReversedPayout(t *teller) vendors.Finding {
	if !t.Doubt {
		return vendors.Finding{Outcome: vendors.Executed, Cost: vendors.Settlement{Actual: t.Booked}}
	}
	original := t.object(payoutsMade, pathID(t.Call))
	if original == nil {
		return t.finding
	}
	by := readReply(original, "payout").maybe("reversed_by")
	if by == "" {
		return vendors.Finding{Why: "the payout does not show that it was reversed"}
	}
	r := t.object(payoutsMade, by)
	if r == nil {
		return t.finding
	}
	o := readReply(r, "payout")
	switch {
	case o.maybe("original_payout") != pathID(t.Call):
		return vendors.Finding{Why: "the payout that was found reverses another"}
	case t.Mark != "" && o.mark() != t.Mark:
		return vendors.Finding{Why: "the payout was reversed by another call"}
	}
	if why := t.e.differs(t.Bound, o); why != "" {
		return vendors.Finding{Why: why}
	}
	s := vendors.Settlement{Actual: t.Bound.Lines, Objects: ids(by, pathID(t.Call))}
	if status := o.text("status"); status == "failed" || status == "canceled" {
		s.Actual = nil
	}
	return t.found(s, "")
}

// findReversal: what was received names the flow that reverses it.
func findReversal(of shelf, param, flow string) func(*teller) vendors.Finding {
	return func(t *teller) vendors.Finding {
		id := t.named()
		if id == "" {
			received := t.object(of, sentID(param)(t.Call))
			if received == nil {
				return t.finding
			}
			o := readReply(received, of.kind)
			if id = o.part("linked_flows").maybe(flow); id == "" {
				return vendors.Finding{Why: "what was received does not show that it was reversed"}
			}
		}
		r := t.object(t.e.shelf, id)
		if r == nil {
			return t.finding
		}
		o := readReply(r, t.e.kind)
		if t.Doubt && t.Mark != "" && o.mark() != t.Mark {
			return vendors.Finding{Why: "it was reversed by another call"}
		}
		return t.says(r)
	}
}

// findDispute reads the dispute of the path's charge.
func findDispute(t *teller) vendors.Finding {
	charge := pathID(t.Call)
	r := t.ask("charges.dispute.retrieve", "/v1/charges/"+charge+"/dispute")
	if r == nil {
		return t.finding
	}
	o := readReply(r, "dispute")
	if r.Status != http.StatusOK || o.maybe("charge") != charge || !disputesHad.has(o.maybe("id")) {
		return vendors.Finding{Why: "Stripe does not show the charge's dispute"}
	}
	if why := disputesHad.shows(over("lost"))(t.Case, o); why != "" || o.err != nil {
		return vendors.Finding{Why: cmp.Or(why, "the dispute cannot be read")}
	}
	return t.costs(r, "lost")
}

func tellsApproved(_ *vendors.Case, o *reader) string {
	if approved := o.truth("approved"); o.err == nil && !approved {
		return "the authorization is not approved"
	}
	return ""
}
