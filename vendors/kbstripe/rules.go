package kbstripe

import (
	"maps"

	"github.com/keybrake/keybrake-go/cost"
)

// rules are the bounds and settlements of the catalogue's rows, by name.
func rules() map[string]rule {
	all := map[string]rule{
		// What it debits is the whole payout. The reply is the new payout, whose amount is booked as it was read before.
		"stripe.payouts.reverse": {bound: standing{"payouts.retrieve", "/v1/payouts/", "payout", named("amount")}.bound(cost.Charge)},
	}
	for _, some := range []map[string]rule{refundRules, v2Rules} {
		maps.Copy(all, some)
	}
	return all
}
