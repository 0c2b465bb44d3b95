package kbstripe

import (
	"regexp"
	"slices"

	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/reason"
	"github.com/keybrake/keybrake-go/vendors"
)

// refunds are the rows of /v1/refunds. A refund's id starts with re_, or with pyr_ where its charge's starts
// with py_. The older paths below a charge have rules at the
// end.
func refunds() []vendors.Operation {
	rows := []vendors.Operation{
		post(vendors.Operation{
			Name: "refunds.create", Path: "/v1/refunds", Class: vendors.Outflow,
			Params: refundCreateParams, Bound: boundRefund, Outcome: outcome("pending", "requires_action"), Settle: settleOutflow("refund", refundStatus),
		}),
		read("refunds.list", "/v1/refunds"),
	}
	for _, id := range []string{"{id:re_}", "{id:pyr_}"} {
		rows = append(rows,
			read("refunds.retrieve", "/v1/refunds/"+id),
			post(vendors.Operation{Name: "refunds.update", Path: "/v1/refunds/" + id, Class: vendors.Free}),
			post(vendors.Operation{Name: "refunds.cancel", Path: "/v1/refunds/" + id + "/cancel", Class: vendors.Release}),
		)
	}
	return rows
}

// instructions_email is where the money goes for payment methods without a refund of their own; origin and
// customer pay out of a customer's cash balance; the other two take money back from third parties.
var refundCreateParams = schema(
	[]string{"amount", "charge", "currency", "expand", "metadata[*]", "payment_intent", "reason"},
	[]string{"customer", "instructions_email", "origin", "refund_application_fee", "reverse_transfer"})

// Ids that are put into a probe's path: letters, digits and underscores after the prefix, so that an id cannot
// lead anywhere else.
var (
	chargeID = regexp.MustCompile(`^(ch|py)_[A-Za-z0-9_]{1,251}$`)
	intentID = regexp.MustCompile(`^pi_[A-Za-z0-9_]{1,251}$`)
)

// boundRefund reads the charge first, because the currency and what is left to refund are known there alone,
// and sends the amount explicitly.
func boundRefund(c *vendors.Call, seen *vendors.Reply) (vendors.Bound, error) {
	if c.Has("origin") || c.Has("customer") {
		b := unknown("a refund from a customer's cash balance has no charge to read the amount from; give the rule a ceiling")
		if m, err := needMoney(c); err == nil { // what is known counts against the ceiling
			known, err := m.bound(cost.Outflow, "amount")
			b.Lines = known.Lines
			return b, err
		}
		return b, nil
	}
	asked, given, err := sentAmount(c, "amount")
	if err != nil {
		return vendors.Bound{}, err
	}
	if seen == nil {
		return lookRefunded(c)
	}
	p, err := seenRefunded(c, seen)
	if err != nil {
		return vendors.Bound{}, err
	}
	if asked, err = refundAmount(p, asked, given); err != nil {
		return vendors.Bound{}, err
	}
	b, err := p.of(asked).bound(cost.Outflow, "amount")
	b.Send = []vendors.Param{{Name: "amount", Value: digits(asked)}}
	return b, err
}

// refundAmount is what was asked for, or all that is left.
func refundAmount(p payment, asked int64, given bool) (int64, error) {
	left := p.refundable()
	switch {
	case left == 0:
		return 0, vendors.Refuse(reason.ParamInvalid, "nothing of the charge is left to refund")
	case given && asked > left:
		return 0, invalid("amount", "it is more than is left to refund of the charge")
	case given:
		return asked, nil
	}
	return left, nil
}

// lookRefunded asks for the charge, or for the intent with its latest charge, whichever the refund names.
func lookRefunded(c *vendors.Call) (vendors.Bound, error) {
	charge, hasCharge := c.Get("charge")
	pi, hasIntent := c.Get("payment_intent")
	switch {
	case hasCharge == hasIntent:
		return vendors.Bound{}, invalid("charge", "a refund names either a charge or a payment_intent, as a single value")
	case hasCharge && !chargeID.MatchString(charge):
		return vendors.Bound{}, invalid("charge", "it is not a charge's id (ch_… or py_…)")
	case hasIntent && !intentID.MatchString(pi):
		return vendors.Bound{}, invalid("payment_intent", "it is not a payment intent's id (pi_…)")
	case hasCharge:
		return lookCharge(charge), nil
	}
	return lookIntent(pi, vendors.Param{Name: "expand[]", Value: "latest_charge"}), nil
}

func seenRefunded(c *vendors.Call, seen *vendors.Reply) (payment, error) {
	if charge, ok := c.Get("charge"); ok {
		return probedCharge(charge, seen)
	}
	pi, _ := c.Get("payment_intent")
	o, err := probed(seen, "payment_intent", pi)
	if err != nil {
		return payment{}, err
	}
	if !o.has("latest_charge") {
		return payment{}, vendors.Refuse(reason.ParamInvalid, "the payment intent has no charge, so there is nothing to refund")
	}
	p, err := readCharge(o.child("latest_charge", "charge"))
	return p, probeError(err)
}

// refundStatus is whether a refund in that status counts as spent. A failed or canceled one is Stripe's word
// that the money did not leave. One that requires action leaves when the customer acts.
var refundStatus = map[string]bool{"succeeded": true, "pending": true, "requires_action": true, "failed": false, "canceled": false}

// refundRules are the rules of the older paths, which name the charge in the path. The first answers with the charge,
// whose refunds may be many, so that what was read before the call is booked.
var refundRules = map[string]rule{
	"stripe.charges.refund":         {bound: boundChargeRefund},
	"stripe.charges.refunds.create": {boundChargeRefund, outcome("pending", "requires_action"), settleOutflow("refund", refundStatus)},
}

// boundChargeRefund is boundRefund of the path's charge.
func boundChargeRefund(c *vendors.Call, seen *vendors.Reply) (vendors.Bound, error) {
	if c.Has("charge") || c.Has("payment_intent") {
		return vendors.Bound{}, invalid("payment_intent", "the path names the charge to refund")
	}
	named := *c
	named.Params = append(slices.Clone(c.Params), vendors.Param{Name: "charge", Value: c.IDs["id"]})
	return boundRefund(&named, seen)
}
