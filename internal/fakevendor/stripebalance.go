package fakevendor

import (
	"fmt"
	"strings"
	"time"
)

// entryTypes are the balance transactions that executions of a kind make (docs.stripe.com/reports/balance-transaction-types,
// read November 2026). A sign of -1 is money that leaves the account.
var entryTypes = map[string]struct {
	name string
	sign int64
}{
	"charge": {"charge", 1}, "charge.capture": {"charge", 1},
	"payment_intent.create": {"charge", 1}, "payment_intent.confirm": {"charge", 1},
	"payment_intent.capture": {"charge", 1}, "payment_intent.conclude": {"charge", 1},
	"subscription.create": {"charge", 1},
	"refund":              {"refund", -1}, "refund.cancel": {"refund_failure", -1}, "refund.conclude": {"refund_failure", -1},
	"transfer": {"transfer", -1}, "transfer.reverse": {"transfer_refund", 1},
	"payout": {"payout", -1}, "payout.cancel": {"payout_cancel", -1}, "payout.conclude": {"payout_failure", -1}, "payout.reverse": {"payout", 1},
	"topup": {"topup", 1}, "topup.cancel": {"topup_reversal", 1}, "topup.conclude": {"topup_reversal", 1},
}

// enter puts an execution that moved money into the account's balance. Money that comes back has a negative Amount,
// so that its entry has the other sign. A charge costs a fee of 2.9 % and 30 minor units, which no [Execution] counts:
// nobody asked for it.
func (v *stripe) enter(scope, kind string, o object, e Execution) {
	t, ok := entryTypes[kind]
	if !ok || !e.Money {
		return
	}
	source := o
	if it := v.byID[o.str("latest_charge")]; it != nil {
		source = it.object
	}
	amount, fee := t.sign*e.Amount/micros(1, e.Currency), int64(0)
	if t.name == "charge" {
		fee = amount*29/1000 + 30
	}
	v.made++
	entry := object{
		"id": fmt.Sprintf("txn_3Fake%012d", v.made), "object": "balance_transaction", "type": t.name,
		"amount": amount, "fee": fee, "net": amount - fee, "currency": strings.ToLower(e.Currency),
		"source": source.str("id"), "status": "available", "created": time.Now().Unix(), "exchange_rate": nil,
	}
	source["balance_transaction"] = entry["id"]
	v.keep(entry, scope)
}

// createTopup takes money from the account's own bank; it is pending until [Server.Conclude].
func (v *stripe) createTopup(c *stripeCall) (object, *stripeError) {
	amount, err := c.form.need("amount")
	if err != nil {
		return nil, err
	}
	currency, err := c.form.currency()
	if err != nil {
		return nil, err
	}
	amount *= c.factor
	o := v.store(c, "topup", "tu", object{
		"amount": amount, "currency": currency, "status": "pending", "description": orNull(c.form.str("description")),
		"balance_transaction": nil, "failure_code": nil,
	})
	v.log(c, "topup", o, money(true, MeterCharge, amount, o))
	return o, nil
}

func (v *stripe) cancelTopup(c *stripeCall) (object, *stripeError) {
	o, err := v.find(c, "topup", "topup", c.id())
	if err != nil {
		return nil, err
	}
	if o.str("status") != "pending" {
		return nil, state("", "Top-up %s has status %s.", c.id(), o.str("status"))
	}
	o["status"] = canceled
	v.log(c, "topup.cancel", o, money(true, MeterCharge, -o.int("amount"), o))
	return o, nil
}
