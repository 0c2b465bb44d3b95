package kbstripe

import (
	"errors"

	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/vendors"
)

// v2Rules are the rules of /v2 (JSON bodies): docs.stripe.com/api/v2, API 2026-10-28.endive, read November 2026.
var v2Rules = map[string]rule{
	"stripe.v2.money_management.outbound_payments.create": {
		boundV2Outbound, outcome("processing"),
		settleV2("v2.money_management.outbound_payment", cost.Outflow, "from", "debited"),
	},
	"stripe.v2.money_management.inbound_transfers.create": {
		boundV2(cost.Charge), nil, settleV2Inbound,
	},
}

// boundV2 is the amount of a body such as {"amount": {"value": 100, "currency": "usd"}}.
func boundV2(meter cost.Meter) func(*vendors.Call, *vendors.Reply) (vendors.Bound, error) {
	return func(c *vendors.Call, _ *vendors.Reply) (vendors.Bound, error) {
		m, err := needMoneyIn(c, "amount[value]", "amount[currency]")
		if err != nil {
			return vendors.Bound{}, err
		}
		return m.bound(meter, "amount[value]")
	}
}

// boundV2Outbound is the amount, unless it is paid from a balance in another currency: then what is debited depends
// on a rate that no request names.
func boundV2Outbound(c *vendors.Call, seen *vendors.Reply) (vendors.Bound, error) {
	b, err := boundV2(cost.Outflow)(c, seen)
	from, _ := c.Get("from[currency]")
	if err == nil && currencyOf(from) != b.Lines[0].Currency {
		b = unknown("it is paid in another currency than it is debited in, or from[currency] is missing, and the rate is Stripe's; name the same currency in both, or give the rule a ceiling")
	}
	return b, err
}

// settleV2 books the amount that stands in a reply's field group, as {"from": {"debited": {"value": …}}}.
func settleV2(kind string, meter cost.Meter, group, field string) func(*vendors.Call, vendors.Bound, *vendors.Reply) (vendors.Settlement, error) {
	return func(_ *vendors.Call, b vendors.Bound, r *vendors.Reply) (vendors.Settlement, error) {
		o := readReply(r, kind)
		id, status := o.text("id"), o.text("status")
		m := o.part(group).part(field).money()
		gone, known := movedStatus[status]
		switch {
		case m.err != nil:
			return vendors.Settlement{}, m.err
		case !known:
			return vendors.Settlement{}, errors.New("kbstripe: the reply's status is not one that is documented")
		case !gone:
			m.minor = 0
		}
		return settled(vendors.Settlement{Objects: ids(id), Again: againBy[status]}, b, meter, m.money, money{currency: m.currency})
	}
}

// settleV2Inbound books the bound: the reply's history tells the state of the debit and no other amount than asked for.
func settleV2Inbound(_ *vendors.Call, b vendors.Bound, r *vendors.Reply) (vendors.Settlement, error) {
	o := readReply(r, "v2.money_management.inbound_transfer")
	id := o.text("id")
	m := o.part("amount").money()
	if m.err != nil {
		return vendors.Settlement{}, m.err
	}
	return settled(vendors.Settlement{Objects: ids(id), Again: withinWeek}, b, cost.Charge, m.money, money{currency: m.currency})
}

// movedStatus is whether an outbound payment or transfer in that status counts as spent.
var movedStatus = map[string]bool{"processing": true, "posted": true, "returned": false, "failed": false, "canceled": false}

// part is a field that has to be an object, whatever its kind.
func (o *reader) part(name string) *reader {
	v, ok := vendors.Member(o.tree, name)
	p := &reader{tree: v, err: o.err}
	if !ok || v == nil {
		p.fail(name, "there")
	}
	return p
}

// A readMoney is a money that could perhaps not be read.
type readMoney struct {
	money
	err error
}

// money reads {"value": …, "currency": …}.
func (o *reader) money() readMoney {
	m := readMoney{money: money{o.amount("value"), o.currency()}}
	m.err = o.err
	return m
}

// needMoneyIn reads an amount and its currency where both have to be sent.
func needMoneyIn(c *vendors.Call, amount, currency string) (money, error) {
	minor, err := needAmount(c, amount)
	if err != nil {
		return money{}, err
	}
	s, ok := c.Get(currency)
	code := currencyOf(s)
	if !ok || code == "" {
		return money{}, invalid(currency, "it is missing or is not a three-letter code, so the amount has no price")
	}
	return money{minor, code}, nil
}
