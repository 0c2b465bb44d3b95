package fakevendor

import (
	"strings"
	"time"
)

// newCharge stores a charge in status succeeded, pending or failed. Captured
// money is booked by collect.
func (v *stripe) newCharge(c *stripeCall, intent object, amount int64, status string) object {
	o := chargeObject(amount, intent.str("currency"), status)
	o["payment_intent"], o["customer"], o["payment_method"] = intent["id"], intent["customer"], intent["payment_method"]
	o["metadata"] = map[string]string{}
	if m, ok := intent["metadata"].(map[string]string); ok {
		o["metadata"] = m // Stripe copies the intent's to its charge
	}
	return v.store(c, "charge", "ch", o)
}

func chargeObject(amount int64, currency, status string) object {
	return object{
		"amount": amount, "amount_captured": int64(0), "amount_refunded": int64(0), "currency": currency,
		"captured": false, "paid": status == succeeded, "refunded": false, "disputed": false, "status": status,
		"balance_transaction": nil, "customer": nil, "description": nil, "payment_intent": nil, "payment_method": nil,
	}
}

// createCharge is the older way to take money, with a source or a customer. A
// source whose id contains "declined" is declined.
func (v *stripe) createCharge(c *stripeCall) (object, *stripeError) {
	amount, err := c.form.need("amount")
	if err != nil {
		return nil, err
	}
	currency, err := c.form.currency()
	if err != nil {
		return nil, err
	}
	source := c.form.str("source")
	if source == "" && c.form.str("customer") == "" {
		return nil, badParam("parameter_missing", "", "Must provide source or customer.")
	}
	o := chargeObject(amount*c.factor, currency, succeeded)
	o["customer"], o["description"] = orNull(c.form.str("customer")), orNull(c.form.str("description"))
	o["payment_method"], o["transfer_group"] = orNull(source), orNull(c.form.str("transfer_group"))
	v.store(c, "charge", "ch", o)
	if strings.Contains(strings.ToLower(source), "declined") {
		o["status"], o["paid"] = "failed", false
		v.log(c, "charge", o, money(false, MeterCharge, amount, o))
		return nil, declined(nil, o)
	}
	held := c.form.str("capture") == "false"
	if !held {
		v.collect(o, nil, amount*c.factor)
	}
	v.log(c, "charge", o, money(!held, MeterCharge, amount*c.factor, o))
	return o, nil
}

// captureCharge takes a held charge, all of it or less; the rest is given free.
func (v *stripe) captureCharge(c *stripeCall) (object, *stripeError) {
	o, err := v.find(c, "charge", "charge", c.id())
	if err != nil {
		return nil, err
	}
	amount, given, err := c.form.amount("amount")
	if err != nil {
		return nil, err
	}
	intent := v.byID[o.str("payment_intent")]
	switch {
	case o.is("captured"):
		return nil, state("charge_already_captured", "Charge %s has already been captured.", c.id())
	case intent != nil:
		return nil, state("", "This charge belongs to a PaymentIntent; capture that.")
	case o.str("status") != succeeded:
		return nil, state("", "Charge %s has status %s.", c.id(), o.str("status"))
	case !given:
		amount = o.int("amount")
	case amount > o.int("amount"):
		return nil, state("amount_too_large", "Amount %d is greater than the authorized %d.", amount, o.int("amount"))
	}
	v.collect(o, nil, amount*c.factor)
	v.log(c, "charge.capture", o, money(true, MeterCharge, amount*c.factor, o))
	return o, nil
}

// SeedCharge puts a captured charge of amountMinor minor units into the books,
// with a payment intent named pi_ and the rest of id. Test and live mode and all
// accounts see it. It is not an execution; seeding the same id again replaces it.
func (s *Server) SeedCharge(id string, amountMinor int64, currency string) {
	currency = strings.ToLower(currency)
	v := s.world.Load().stripe
	v.mu.Lock()
	defer v.mu.Unlock()
	intent := newIntent(form{}, amountMinor, currency)
	charge := chargeObject(amountMinor, currency, succeeded)
	v.collect(charge, intent, amountMinor)
	_, rest, _ := strings.Cut(id, "_")
	intent["id"], intent["object"], intent["status"], intent["latest_charge"] = "pi_"+rest, "payment_intent", succeeded, id
	charge["id"], charge["object"], charge["payment_intent"] = id, "charge", intent["id"]
	for _, o := range []object{intent, charge} {
		o["created"], o["livemode"], o["metadata"] = time.Now().Unix(), false, map[string]string{}
		v.keep(o, "")
	}
}
