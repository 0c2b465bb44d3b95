package fakevendor

import "time"

// createTransfer sends money to a connected account.
func (v *stripe) createTransfer(c *stripeCall) (object, *stripeError) {
	amount, err := c.form.need("amount")
	if err != nil {
		return nil, err
	}
	currency, err := c.form.currency()
	if err != nil {
		return nil, err
	}
	destination := c.form.str("destination")
	if destination == "" {
		return nil, missing("destination")
	}
	amount *= c.factor
	o := v.store(c, "transfer", "tr", object{
		"amount": amount, "amount_reversed": int64(0), "currency": currency, "destination": destination,
		"description": orNull(c.form.str("description")), "reversed": false, "balance_transaction": nil,
		"source_transaction": orNull(c.form.str("source_transaction")), "transfer_group": orNull(c.form.str("transfer_group")),
	})
	v.log(c, "transfer", o, money(true, MeterOutflow, amount, o))
	return o, nil
}

// reverseTransfer brings it back: amount, or all that remains.
func (v *stripe) reverseTransfer(c *stripeCall) (object, *stripeError) {
	tr, err := v.find(c, "transfer", "transfer", c.id())
	if err != nil {
		return nil, err
	}
	amount, given, err := c.form.amount("amount")
	if err != nil {
		return nil, err
	}
	left := tr.int("amount") - tr.int("amount_reversed")
	if !given {
		amount = left
	}
	if left <= 0 || amount > left {
		return nil, state("", "Transfer %s has %d left to reverse.", c.id(), left)
	}
	tr.add("amount_reversed", amount)
	tr["reversed"] = amount == left
	o := v.store(c, "transfer_reversal", "trr", object{"amount": amount, "currency": tr.str("currency"), "transfer": tr["id"]})
	v.log(c, "transfer.reverse", o, money(true, MeterInflow, amount, o))
	return o, nil
}

// createPayout sends money to the account's own bank. An instant one is paid at
// once, a standard one is pending and can be cancelled.
func (v *stripe) createPayout(c *stripeCall) (object, *stripeError) {
	amount, err := c.form.need("amount")
	if err != nil {
		return nil, err
	}
	currency, err := c.form.currency()
	if err != nil {
		return nil, err
	}
	amount *= c.factor
	method, status := "standard", "pending"
	if c.form.str("method") == "instant" {
		method, status = "instant", "paid"
	}
	o := v.store(c, "payout", "po", payoutObject(amount, currency, method, status))
	o["description"], o["destination"] = orNull(c.form.str("description")), orNull(c.form.str("destination"))
	v.log(c, "payout", o, money(true, MeterOutflow, amount, o))
	return o, nil
}

func payoutObject(amount int64, currency, method, status string) object {
	return object{
		"amount": amount, "currency": currency, "method": method, "status": status, "automatic": false,
		"arrival_date": time.Now().Unix(), "type": "bank_account", "source_type": "card", "destination": nil,
		"balance_transaction": nil, "original_payout": nil, "reversed_by": nil,
	}
}

func (v *stripe) cancelPayout(c *stripeCall) (object, *stripeError) {
	o, err := v.find(c, "payout", "payout", c.id())
	if err != nil {
		return nil, err
	}
	if o.str("status") != "pending" {
		return nil, state("payout_not_cancelable", "Payout %s has status %s.", c.id(), o.str("status"))
	}
	o["status"] = canceled
	v.log(c, "payout.cancel", o, money(true, MeterOutflow, -o.int("amount"), o))
	return o, nil
}

// reversePayout brings a paid payout back, as a payout of a negative amount.
func (v *stripe) reversePayout(c *stripeCall) (object, *stripeError) {
	old, err := v.find(c, "payout", "payout", c.id())
	if err != nil {
		return nil, err
	}
	if old.str("status") != "paid" || old["reversed_by"] != nil || old["original_payout"] != nil {
		return nil, state("", "Payout %s cannot be reversed.", c.id())
	}
	o := v.store(c, "payout", "po", payoutObject(-old.int("amount"), old.str("currency"), old.str("method"), "pending"))
	o["original_payout"], old["reversed_by"] = old["id"], o["id"]
	v.log(c, "payout.reverse", o, money(true, MeterInflow, old.int("amount"), o))
	return o, nil
}
