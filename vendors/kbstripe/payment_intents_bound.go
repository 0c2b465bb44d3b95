package kbstripe

import (
	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/vendors"
)

func lookIntent(id string, query ...vendors.Param) vendors.Bound {
	return look("stripe.payment_intents.retrieve", "/v1/payment_intents/"+id, query...)
}

func probedIntent(c *vendors.Call, seen *vendors.Reply) (intent, error) {
	o, err := probed(seen, "payment_intent", c.IDs["id"])
	if err != nil {
		return intent{}, err
	}
	in, err := readIntent(o)
	return in, probeError(err)
}

// boundIntentCreate holds the amount whether the intent is confirmed at once or later. amount_to_confirm
// stands in the place of amount when it is confirmed; the larger of the two is held.
func boundIntentCreate(c *vendors.Call, _ *vendors.Reply) (vendors.Bound, error) {
	m, err := needMoney(c)
	if err != nil {
		return vendors.Bound{}, err
	}
	return boundConfirmed(c, m)
}

// boundConfirmed is the bound of m or of amount_to_confirm, whichever is larger.
func boundConfirmed(c *vendors.Call, m money) (vendors.Bound, error) {
	instead, ok, err := sentAmount(c, "amount_to_confirm")
	if err != nil {
		return vendors.Bound{}, err
	}
	b, err := money{max(m.minor, instead), m.currency}.bound(cost.Charge, "amount")
	if ok && err == nil {
		b.Kind = vendors.AtMost
	}
	return b, err
}

// boundIntentUpdate is the new amount: the whole level, whatever is held now. An update that names neither
// amount nor currency moves no level, so it names no object either. One of the two alone is completed from the
// intent.
func boundIntentUpdate(c *vendors.Call, seen *vendors.Reply) (vendors.Bound, error) {
	minor, hasAmount, err := sentAmount(c, "amount")
	if err != nil {
		return vendors.Bound{}, err
	}
	currency, hasCurrency, err := sentCurrency(c)
	switch {
	case err != nil:
		return vendors.Bound{}, err
	case !hasAmount && !hasCurrency:
		return vendors.Bound{Kind: vendors.Exact}, nil
	case hasAmount && hasCurrency:
		return onObject(c)(money{minor, currency}.bound(cost.Charge, "amount"))
	case seen == nil:
		return lookIntent(c.IDs["id"]), nil
	}
	in, err := probedIntent(c, seen)
	if err != nil {
		return vendors.Bound{}, err
	}
	if hasAmount {
		return onObject(c)(in.of(minor).bound(cost.Charge, "amount"))
	}
	return onObject(c)(money{in.amount, currency}.bound(cost.Charge, "amount"))
}

// boundIntentConfirm is what the intent says, read just now: a remembered amount may have been changed by
// someone else since.
func boundIntentConfirm(c *vendors.Call, seen *vendors.Reply) (vendors.Bound, error) {
	if seen == nil {
		return lookIntent(c.IDs["id"]), nil
	}
	in, err := probedIntent(c, seen)
	if err != nil {
		return vendors.Bound{}, err
	}
	return onObject(c)(boundConfirmed(c, in.of(in.amount)))
}

// boundIntentCapture sends the amount explicitly, so that what is captured is what was reserved. With
// final_capture=false the rest stays authorised and the level stays whole.
//
// The kind is AtMost where something was captured before: the reply then tells the sum of all captures and not
// this one's, and [takesCaptured] goes by what was sent.
func boundIntentCapture(c *vendors.Call, seen *vendors.Reply) (vendors.Bound, error) {
	if seen == nil {
		return lookIntent(c.IDs["id"]), nil
	}
	in, err := probedIntent(c, seen)
	if err != nil {
		return vendors.Bound{}, err
	}
	take, err := captureAmount(c, "amount_to_capture", in.capturable)
	if err != nil {
		return vendors.Bound{}, err
	}
	b, err := onObject(c)(in.of(take.level).bound(cost.Charge, "amount_to_capture"))
	b.Send = take.send
	if in.received > 0 {
		b.Kind = vendors.AtMost
	}
	return b, err
}

// boundIntentIncrement is the new total, which the parameter is by Stripe's definition, not the difference.
func boundIntentIncrement(c *vendors.Call, seen *vendors.Reply) (vendors.Bound, error) {
	total, err := needAmount(c, "amount")
	if err != nil {
		return vendors.Bound{}, err
	}
	if seen == nil {
		return lookIntent(c.IDs["id"]), nil
	}
	in, err := probedIntent(c, seen)
	if err != nil {
		return vendors.Bound{}, err
	}
	return onObject(c)(in.of(total).bound(cost.Charge, "amount"))
}

func boundIntentCancel(c *vendors.Call, _ *vendors.Reply) (vendors.Bound, error) {
	return vendors.Bound{Kind: vendors.Exact, Object: c.IDs["id"]}, nil
}
