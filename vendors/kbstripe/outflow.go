package kbstripe

import (
	"errors"
	"time"

	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/vendors"
)

// settleOutflow is settleMoved of money that goes out: a refund, a transfer, a payout.
func settleOutflow(kind string, spent map[string]bool) func(*vendors.Call, vendors.Bound, *vendors.Reply) (vendors.Settlement, error) {
	return settleMoved(cost.Outflow, kind, spent)
}

// settleMoved reads an object that moves its amount at once. spent tells for each documented status whether the money
// counts as gone; a status that is not there is an error. A nil spent belongs to objects without a status, which exist
// only when the money has moved.
func settleMoved(meter cost.Meter, kind string, spent map[string]bool) func(*vendors.Call, vendors.Bound, *vendors.Reply) (vendors.Settlement, error) {
	return func(_ *vendors.Call, b vendors.Bound, r *vendors.Reply) (vendors.Settlement, error) {
		o := readReply(r, kind)
		id, m := o.text("id"), money{o.amount("amount"), o.currency()}
		gone, again := true, time.Duration(0)
		if spent != nil {
			var known bool
			status := o.text("status")
			if gone, known = spent[status]; !known && o.err == nil {
				o.err = errors.New("kbstripe: the reply's status is not one that is documented")
			}
			again = againBy[status]
		}
		if o.err != nil {
			return vendors.Settlement{}, o.err
		}
		if !gone {
			m.minor = 0
		}
		s := vendors.Settlement{Objects: ids(id, o.maybe("charge"), o.maybe("payment_intent")), Again: again}
		return settled(s, b, meter, m, money{currency: m.currency})
	}
}

// againBy is when a status is worth another look. A payout that shows as paid can still turn to failed, and a posted
// payment can still be returned.
var againBy = map[string]time.Duration{"pending": soon, "processing": soon, "requires_action": soon, "in_transit": withinWeek, "paid": withinWeek, "posted": withinWeek}
