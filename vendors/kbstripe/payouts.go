package kbstripe

import (
	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/vendors"
)

// payouts are the rows of /v1/payouts: money to the account's own bank. A reversal debits the bank again; as every
// inverse it gives nothing back to a budget, and it is a charge, so that a loop of the two is bounded.
func payouts() []vendors.Operation {
	return []vendors.Operation{
		post(vendors.Operation{
			Name: "payouts.create", Path: "/v1/payouts", Class: vendors.Outflow,
			Params: payoutCreateParams, Bound: boundPayout, Outcome: outcome("pending", "in_transit"), Settle: settlePayout,
		}),
		read("payouts.list", "/v1/payouts"),
		read("payouts.retrieve", "/v1/payouts/{id:po_}"),
		post(vendors.Operation{Name: "payouts.update", Path: "/v1/payouts/{id:po_}", Class: vendors.Free}),
		post(vendors.Operation{Name: "payouts.cancel", Path: "/v1/payouts/{id:po_}/cancel", Class: vendors.Release}),
	}
}

var payoutCreateParams = schema(
	[]string{"amount", "currency", "description", "expand", "metadata[*]", "method", "source_type", "statement_descriptor"},
	[]string{"destination"})

// boundPayout is the amount. An instant payout costs a fee besides, whose rate no document of Stripe's
// establishes for every account, so it needs a ceiling.
func boundPayout(c *vendors.Call, _ *vendors.Reply) (vendors.Bound, error) {
	m, err := needMoney(c)
	if err != nil {
		return vendors.Bound{}, err
	}
	b, err := m.bound(cost.Outflow, "amount")
	if err == nil && !standardPayout(c) {
		b.Kind, b.Why = vendors.Unknown, "an instant payout costs a fee that depends on the account; use method=standard, or give the rule a ceiling for amount and fee"
	}
	return b, err
}

func standardPayout(c *vendors.Call) bool {
	method, ok := c.Get("method")
	return !c.Has("method") || (ok && method == "standard")
}

// payoutStatus is whether a payout in that status counts as spent.
var payoutStatus = map[string]bool{"pending": true, "in_transit": true, "paid": true, "failed": false, "canceled": false}

// settlePayout books the amount. For an instant payout the ceiling is booked where it is the larger: the reply
// does not tell the fee. (In another currency than the bound's, [settled] has booked the bound already.)
func settlePayout(c *vendors.Call, b vendors.Bound, r *vendors.Reply) (vendors.Settlement, error) {
	s, err := settleOutflow("payout", payoutStatus)(c, b, r)
	if err != nil || standardPayout(c) || len(s.Actual) == 0 || len(b.Lines) == 0 {
		return s, err
	}
	if s.Actual[0].Amount < b.Lines[0].Amount {
		s.Actual = b.Lines
	}
	return s, nil
}
