package fakevendor

import "strings"

// createRefund gives back what a charge took: amount, or all that remains.
// More than remains is refused, unless the fake is told to overcharge.
func (v *stripe) createRefund(c *stripeCall) (object, *stripeError) {
	charge := c.form.str("charge")
	if pi := c.form.str("payment_intent"); pi != "" {
		if charge != "" {
			return nil, badParam("", "charge", "You may only specify one of these parameters: charge, payment_intent.")
		}
		o, err := v.find(c, "payment_intent", "payment_intent", pi)
		if err != nil {
			return nil, err
		}
		if o.str("status") != succeeded {
			return nil, state("charge_not_refundable", "This PaymentIntent (%s) does not have a successful charge to refund.", pi)
		}
		charge = o.str("latest_charge")
	}
	if charge == "" {
		return nil, missing("charge")
	}
	return v.refund(c, charge)
}

// refundCharge is the same under its older path, POST /v1/charges/{id}/refunds.
func (v *stripe) refundCharge(c *stripeCall) (object, *stripeError) { return v.refund(c, c.id()) }

func (v *stripe) refund(c *stripeCall, id string) (object, *stripeError) {
	ch, err := v.find(c, "charge", "charge", id)
	if err != nil {
		return nil, err
	}
	amount, given, err := c.form.amount("amount")
	if err != nil {
		return nil, err
	}
	left := ch.int("amount_captured") - ch.int("amount_refunded")
	switch {
	case !ch.is("captured"):
		return nil, state("charge_not_refundable", "Charge %s has not been captured.", id)
	case left <= 0:
		return nil, state("charge_already_refunded", "Charge %s has already been refunded.", id)
	case !given:
		amount = left
	case amount > left:
		return nil, state("amount_too_large", "Refund amount (%d) is greater than unrefunded amount on charge (%d)", amount, left)
	}
	amount *= c.factor
	ch.add("amount_refunded", amount)
	ch["refunded"] = ch.int("amount_refunded") >= ch.int("amount_captured")
	o := v.store(c, "refund", "re", object{
		"amount": amount, "currency": ch.str("currency"), "charge": id, "payment_intent": ch["payment_intent"],
		"reason": orNull(c.form.str("reason")), "status": succeeded, "balance_transaction": nil, "receipt_number": nil,
	})
	// A charge whose id contains "async" is of a payment method whose refunds take days: see [Server.Conclude].
	if strings.Contains(id, "async") {
		o["status"] = "pending"
	}
	// instructions_email is for payment methods that ask the customer where to
	// send the money; until then the refund can be cancelled.
	if c.form.str("instructions_email") != "" {
		o["status"] = needsAction
	}
	v.log(c, "refund", o, money(true, MeterOutflow, amount, o))
	return o, nil
}

// cancelRefund takes back a refund that still waits for the customer.
func (v *stripe) cancelRefund(c *stripeCall) (object, *stripeError) {
	o, err := v.find(c, "refund", "refund", c.id())
	if err != nil {
		return nil, err
	}
	if o.str("status") != needsAction && o.str("status") != "pending" {
		return nil, state("", "Refund %s has status %s and cannot be canceled.", c.id(), o.str("status"))
	}
	o["status"] = canceled
	v.unrefund(o)
	v.log(c, "refund.cancel", o, money(true, MeterOutflow, -o.int("amount"), o))
	return o, nil
}
