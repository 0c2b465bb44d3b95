package fakevendor

import (
	"fmt"
	"net/http"
	"strings"
)

// itemsCost is what the items of a form cost that carry their price themselves. root is "items", or what the previews
// call it.
func (f form) itemsCost(root string) (amount int64, currency string, err *stripeError) {
	for i := range 20 {
		item := fmt.Sprintf("%s[%d]", root, i)
		unit, given, err := f.integer(item + "[price_data][unit_amount]")
		if err != nil {
			return 0, "", err
		}
		if !given {
			break
		}
		quantity, counted, err := f.integer(item + "[quantity]")
		if err != nil {
			return 0, "", err
		}
		if !counted {
			quantity = 1
		}
		amount += unit * quantity
		currency = strings.ToLower(f.str(item + "[price_data][currency]"))
	}
	if currency == "" {
		return 0, "", missing(root + "[0][price_data]")
	}
	return amount, currency, nil
}

// createSubscription takes the first period's money at once, through an invoice and its charge.
func (v *stripe) createSubscription(c *stripeCall) (object, *stripeError) {
	customer := c.form.str("customer")
	if customer == "" {
		return nil, missing("customer")
	}
	amount, currency, err := c.form.itemsCost("items")
	if err != nil {
		return nil, err
	}
	amount *= c.factor
	o := v.store(c, "subscription", "sub", object{"customer": customer, "currency": currency, "status": "active"})
	ch := chargeObject(amount, currency, succeeded)
	ch["customer"], ch["metadata"] = customer, map[string]string{}
	v.store(c, "charge", "ch", ch)
	v.collect(ch, nil, amount)
	in := invoiceObject(customer, o.str("id"), amount, currency)
	in["status"], in["amount_paid"], in["amount_remaining"], in["metadata"] = "paid", amount, int64(0), map[string]string{}
	in["charge"], in["billing_reason"] = ch["id"], "subscription_create"
	v.store(c, "invoice", "in", in)
	o["latest_invoice"] = in["id"]
	v.log(c, "subscription.create", ch, money(true, MeterCharge, amount, ch))
	return o, nil
}

func invoiceObject(customer, subscription string, amount int64, currency string) object {
	return object{
		"customer": customer, "subscription": orNull(subscription), "currency": currency, "total": amount, "amount_due": amount,
		"amount_paid": int64(0), "amount_remaining": amount, "status": "draft", "auto_advance": true,
		"automatic_tax": object{"enabled": false, "status": nil}, "billing_reason": "upcoming",
	}
}

func (v *stripe) cancelSubscription(c *stripeCall) (object, *stripeError) {
	o, err := v.find(c, "subscription", "id", c.id())
	if err != nil {
		return nil, err
	}
	if o.str("status") == canceled {
		return nil, noSuch("subscription", "id", c.id())
	}
	o["status"] = canceled
	v.log(c, "subscription.cancel", o, Execution{})
	return o, nil
}

// previewInvoice computes the invoice of a new subscription and makes nothing.
func previewInvoice(items string) stripeHandler {
	return func(_ *stripe, c *stripeCall) (object, *stripeError) {
		if c.form.str("subscription") != "" {
			return nil, invalid(http.StatusNotFound, "invoice_upcoming_none", "No upcoming invoices for subscription.")
		}
		amount, currency, err := c.form.itemsCost(items)
		if err != nil {
			return nil, err
		}
		in := invoiceObject(c.form.str("customer"), "", amount, currency)
		in["object"] = "invoice"
		return in, nil
	}
}
