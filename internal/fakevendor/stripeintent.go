package fakevendor

import (
	"strings"
	"time"
)

// The statuses in the life of a payment intent (docs.stripe.com, read November 2026). What a
// payment method does is in its name, see chargeCard.
const (
	needsMethod  = "requires_payment_method"
	needsConfirm = "requires_confirmation"
	needsAction  = "requires_action"
	needsCapture = "requires_capture"
	processing   = "processing"
	succeeded    = "succeeded"
	canceled     = "canceled"
)

func (v *stripe) createIntent(c *stripeCall) (object, *stripeError) {
	amount, err := c.form.need("amount")
	if err != nil {
		return nil, err
	}
	currency, err := c.form.currency()
	if err != nil {
		return nil, err
	}
	confirm := c.form.str("confirm") == "true"
	if confirm && c.form.str("payment_method") == "" {
		return nil, state("payment_intent_unexpected_state",
			"You cannot confirm this PaymentIntent because it's missing a payment method.")
	}
	charged, given, err := c.form.amount("amount_to_confirm")
	if err != nil {
		return nil, err
	}
	if !given {
		charged = amount
	}
	o := v.store(c, "payment_intent", "pi", newIntent(c.form, amount, currency))
	o["client_secret"] = o.str("id") + "_secret_fake"
	if !confirm {
		v.log(c, "payment_intent.create", o, money(false, MeterCharge, amount, o))
		return o, nil
	}
	return v.chargeCard(c, o, charged, "payment_intent.create")
}

func newIntent(f form, amount int64, currency string) object {
	o := object{
		"amount": amount, "amount_capturable": int64(0), "amount_received": int64(0), "currency": currency,
		"capture_method": "automatic", "confirmation_method": "automatic", "status": needsMethod,
		"customer": orNull(f.str("customer")), "description": orNull(f.str("description")),
		"payment_method": orNull(f.str("payment_method")), "payment_method_types": []string{"card"},
		"latest_charge": nil, "canceled_at": nil, "cancellation_reason": nil, "last_payment_error": nil,
		"transfer_group": orNull(f.str("transfer_group")),
	}
	if m := f.str("capture_method"); m != "" {
		o["capture_method"] = m
	}
	if f.has("payment_method") {
		o["status"] = needsConfirm
	}
	return o
}

// chargeCard confirms o for amount. A payment method whose id contains
// "declined" is declined with 402, "processing" stays processing until
// [Server.Conclude], "requires_action" waits for the customer; all others pay.
func (v *stripe) chargeCard(c *stripeCall, o object, amount int64, kind string) (object, *stripeError) {
	method := strings.ToLower(o.str("payment_method"))
	nothing := money(false, MeterCharge, amount, o)
	switch {
	case strings.Contains(method, "requires_action") || strings.Contains(method, "authenticationrequired"):
		o["status"] = needsAction
		o["next_action"] = object{"type": "use_stripe_sdk", "use_stripe_sdk": object{}}
		v.log(c, kind, o, nothing)
		return o, nil
	case strings.Contains(method, "declined"):
		ch := v.newCharge(c, o, amount, "failed")
		o["status"], o["payment_method"], o["latest_charge"] = needsMethod, nil, ch["id"]
		v.log(c, kind, o, nothing)
		return nil, declined(o, ch)
	case strings.Contains(method, "processing"):
		o["status"], o["latest_charge"] = processing, v.newCharge(c, o, amount*c.factor, "pending")["id"]
		v.log(c, kind, o, nothing)
		return o, nil
	}
	ch := v.newCharge(c, o, amount*c.factor, succeeded)
	o["latest_charge"] = ch["id"]
	if o.str("capture_method") == "manual" {
		o["status"], o["amount_capturable"] = needsCapture, amount*c.factor
		v.log(c, kind, o, nothing)
		return o, nil
	}
	v.collect(ch, o, amount*c.factor)
	o["status"] = succeeded
	v.log(c, kind, o, money(true, MeterCharge, amount*c.factor, o))
	return o, nil
}

// collect books captured money on the charge, and on its intent if it has one.
func (v *stripe) collect(charge, intent object, amount int64) {
	charge["captured"] = true
	charge.add("amount_captured", amount)
	if intent != nil {
		intent.add("amount_received", amount)
	}
}

func (v *stripe) updateIntent(c *stripeCall) (object, *stripeError) {
	o, err := v.find(c, "payment_intent", "intent", c.id())
	if err != nil {
		return nil, err
	}
	amount, given, err := c.form.amount("amount")
	if err != nil {
		return nil, err
	}
	if given || c.form.has("currency") || c.form.has("payment_method") || c.form.has("capture_method") {
		if s := o.str("status"); s != needsMethod && s != needsConfirm && s != needsAction {
			return nil, unexpected(o, "updated")
		}
	}
	if c.form.has("currency") {
		currency, err := c.form.currency()
		if err != nil {
			return nil, err
		}
		o["currency"] = currency
	}
	if given {
		o["amount"] = amount
	}
	if c.form.has("payment_method") {
		o["status"] = needsConfirm
	}
	overwrite(o, c.form, "customer", "description", "payment_method", "capture_method", "receipt_email", "transfer_group")
	v.log(c, "payment_intent.update", o, money(false, MeterCharge, o.int("amount"), o))
	return o, nil
}

func (v *stripe) confirmIntent(c *stripeCall) (object, *stripeError) {
	o, err := v.find(c, "payment_intent", "intent", c.id())
	if err != nil {
		return nil, err
	}
	amount, given, err := c.form.amount("amount_to_confirm")
	if err != nil {
		return nil, err
	}
	if !given {
		amount = o.int("amount")
	}
	if s := o.str("status"); s != needsMethod && s != needsConfirm && s != needsAction {
		return nil, unexpected(o, "confirmed")
	}
	overwrite(o, c.form, "payment_method", "capture_method")
	if o.str("payment_method") == "" {
		return nil, state("payment_intent_unexpected_state",
			"You cannot confirm this PaymentIntent because it's missing a payment method.")
	}
	delete(o, "next_action")
	return v.chargeCard(c, o, amount, "payment_intent.confirm")
}

// captureIntent takes held money. What is not captured is given free, unless
// final_capture is false.
func (v *stripe) captureIntent(c *stripeCall) (object, *stripeError) {
	o, err := v.find(c, "payment_intent", "intent", c.id())
	if err != nil {
		return nil, err
	}
	amount, given, err := c.form.amount("amount_to_capture")
	if err != nil {
		return nil, err
	}
	held := o.int("amount_capturable")
	switch {
	case o.str("status") != needsCapture:
		return nil, unexpected(o, "captured")
	case !given:
		amount = held
	case amount > held:
		return nil, state("amount_too_large", "The amount_to_capture %d is greater than the capturable amount %d.", amount, held)
	}
	v.collect(v.byID[o.str("latest_charge")].object, o, amount*c.factor)
	if c.form.str("final_capture") == "false" && amount < held {
		o["amount_capturable"] = held - amount
	} else {
		o["amount_capturable"], o["status"] = int64(0), succeeded
	}
	v.log(c, "payment_intent.capture", o, money(true, MeterCharge, amount*c.factor, o))
	return o, nil
}

func (v *stripe) cancelIntent(c *stripeCall) (object, *stripeError) {
	o, err := v.find(c, "payment_intent", "intent", c.id())
	if err != nil {
		return nil, err
	}
	if s := o.str("status"); s == succeeded || s == canceled || s == processing {
		return nil, unexpected(o, "canceled")
	}
	o["status"], o["canceled_at"], o["amount_capturable"] = canceled, time.Now().Unix(), int64(0)
	o["cancellation_reason"] = orNull(c.form.str("cancellation_reason"))
	v.log(c, "payment_intent.cancel", o, money(false, MeterCharge, 0, o))
	return o, nil
}

// incrementIntent raises what is held; amount is the new total.
func (v *stripe) incrementIntent(c *stripeCall) (object, *stripeError) {
	o, err := v.find(c, "payment_intent", "intent", c.id())
	if err != nil {
		return nil, err
	}
	amount, err := c.form.need("amount")
	if err != nil {
		return nil, err
	}
	if o.str("status") != needsCapture {
		return nil, unexpected(o, "incremented")
	}
	if amount <= o.int("amount") {
		return nil, badParam("", "amount", "The new amount must be greater than the current one.")
	}
	o["amount"], o["amount_capturable"] = amount, amount
	v.byID[o.str("latest_charge")].object["amount"] = amount
	v.log(c, "payment_intent.increment_authorization", o, money(false, MeterCharge, amount, o))
	return o, nil
}

func unexpected(o object, verb string) *stripeError {
	e := state("payment_intent_unexpected_state",
		"This PaymentIntent could not be %s because it has a status of %s.", verb, o.str("status"))
	e.fields["payment_intent"] = o.copy()
	return e
}
