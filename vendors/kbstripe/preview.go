package kbstripe

import (
	"net/http"
	"slices"
	"strings"

	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/vendors"
)

// A preview is a call that makes an invoice whose amount Stripe computes beforehand, without making it. Its parameters
// are asked for in the preview under other names; a call with one that the preview cannot be asked for, or that puts the
// first payment off, is not previewed.
type preview struct {
	priced []string                            // parameters that the preview is asked for; items are looked at one by one
	words  []string                            // parameters that change no amount
	also   func(*vendors.Call) []vendors.Param // what the path and the operation mean, as parameters of the call
	why    string                              // what is missing where there is no preview
	ends   bool                                // it is the last invoice, which may well be nothing
}

// previewNames are the preview's names for the parameters of the calls: those of POST /v1/invoices/create_preview, and
// those of GET /v1/invoices/upcoming, which is gone since API version 2025-03-31.basil.
var previewNames = map[string]struct{ now, before string }{
	"automatic_tax":        {"automatic_tax", "automatic_tax"},
	"billing_cycle_anchor": {"subscription_details[billing_cycle_anchor]", "subscription_billing_cycle_anchor"},
	"cancel_now":           {"subscription_details[cancel_now]", "subscription_cancel_now"},
	"customer":             {"customer", "customer"},
	"default_tax_rates":    {"subscription_details[default_tax_rates]", "subscription_default_tax_rates"},
	"items":                {"subscription_details[items]", "subscription_items"},
	"proration_behavior":   {"subscription_details[proration_behavior]", "subscription_proration_behavior"},
	"proration_date":       {"subscription_details[proration_date]", "subscription_proration_date"},
	"resume_at":            {"subscription_details[resume_at]", "subscription_resume_at"},
	"subscription":         {"subscription", "subscription"},
}

const basil = "2025-03-31"

// itemFields are what an item of a subscription can say in a preview too. Discounts are left out: they may be of the
// first invoice alone.
var itemFields = []string{"clear_usage", "deleted", "id", "price", "price_data", "quantity", "tax_rates"}

const whyFirst = "what Stripe charges first is nothing, and what it charges later does not pass here; give the rule a ceiling for the first invoice"

var (
	subscriptionWords = []string{
		"application_fee_percent", "collection_method", "days_until_due", "default_payment_method", "default_source", "description", "expand",
		"invoice_settings", "metadata", "off_session", "payment_behavior", "payment_settings", "transfer_data",
	}
	newSubscription = preview{
		priced: []string{"automatic_tax", "customer", "default_tax_rates", "items"}, words: subscriptionWords, also: ofCustomer, why: whyRecur,
	}
	changedSubscription = preview{
		priced: []string{"automatic_tax", "billing_cycle_anchor", "default_tax_rates", "items", "proration_behavior", "proration_date"},
		words:  subscriptionWords, also: ofSubscription, why: whyRecur,
	}
	resumedSubscription = preview{
		priced: []string{"billing_cycle_anchor", "proration_behavior", "proration_date"}, words: []string{"expand"},
		also: func(c *vendors.Call) []vendors.Param {
			return append(ofSubscription(c), vendors.Param{Name: "resume_at", Value: "now"})
		}, why: whyRecur,
	}
	endedSubscription = preview{
		words: []string{"cancellation_details", "expand", "invoice_now", "prorate"}, also: ending, why: whyFinal, ends: true,
	}
	newItem = preview{
		priced: []string{"proration_behavior", "proration_date", "subscription"},
		words:  []string{"expand", "metadata", "payment_behavior", "price", "price_data", "quantity", "tax_rates"},
		also:   itemOf, why: whyRecur,
	}
)

// ofCustomer names the customer where the path does.
func ofCustomer(c *vendors.Call) []vendors.Param {
	if c.IDs["id"] == "" {
		return nil
	}
	return []vendors.Param{{Name: "customer", Value: c.IDs["id"]}}
}

func ofSubscription(c *vendors.Call) []vendors.Param {
	return []vendors.Param{{Name: "subscription", Value: c.IDs["id"]}}
}

// ending previews the end of a subscription now. What was used and not yet billed is in it; what was paid in advance
// comes back only if that is asked for, and is not counted on.
func ending(c *vendors.Call) []vendors.Param {
	return append(ofSubscription(c), vendors.Param{Name: "cancel_now", Value: "true"}, vendors.Param{Name: "proration_behavior", Value: "none"})
}

// itemOf is the one item that a call on /v1/subscription_items adds.
func itemOf(c *vendors.Call) (item []vendors.Param) {
	for _, p := range c.Params {
		root, below, _ := strings.Cut(p.Name, "[")
		if !slices.Contains(itemFields, root) {
			continue
		}
		name := "items[0][" + root + "]"
		if below != "" {
			name += "[" + below
		}
		item = append(item, vendors.Param{Name: name, Value: p.Value})
	}
	return item
}

// bound is what the preview says.
func (p preview) bound(c *vendors.Call, seen *vendors.Reply) (vendors.Bound, error) {
	if seen != nil {
		return p.read(c, seen)
	}
	query := p.query(c)
	switch version := c.Header.Get("Stripe-Version"); {
	case query == nil || len(version) < len(basil):
		return p.unknown(c)
	case version[:len(basil)] < basil:
		return look("stripe.invoices.upcoming", "/v1/invoices/upcoming", query...), nil
	}
	return look("stripe.invoices.create_preview", "/v1/invoices/create_preview", query...), nil
}

// query is what the preview is asked, or nil where it cannot be asked for this call.
func (p preview) query(c *vendors.Call) (query []vendors.Param) {
	if !only(c, append(slices.Clone(p.priced), p.words...)...) {
		return nil
	}
	old := c.Header.Get("Stripe-Version") < basil
	for _, param := range append(p.also(c), c.Params...) {
		root, below, _ := strings.Cut(param.Name, "[")
		if slices.Contains(redirectHeaders, root) || slices.Contains(p.words, root) {
			continue
		}
		if root == "items" {
			field := itemField(below)
			if field == "metadata" {
				continue
			}
			if !slices.Contains(itemFields, field) {
				return nil
			}
		}
		name := previewNames[root].now
		if old {
			name = previewNames[root].before
		}
		if below != "" {
			name += "[" + below
		}
		query = append(query, vendors.Param{Name: name, Value: param.Value})
	}
	return query
}

// itemField is the field of what follows "items[": "price_data" of "0][price_data][currency]".
func itemField(below string) string {
	_, field, _ := strings.Cut(below, "[")
	field, _, _ = strings.Cut(field, "]")
	return field
}

// read is the invoice of a preview as a bound. Credit of the customer's may be used up by the time of the call, so that
// it lowers nothing; a debt raises the amount that is due.
func (p preview) read(c *vendors.Call, seen *vendors.Reply) (vendors.Bound, error) {
	if seen.Status != http.StatusOK {
		return p.unknown(c) // there is nothing to preview, or Stripe does not say: a ceiling still bounds it
	}
	o := readReply(seen, "invoice")
	m := money{max(o.amount("amount_due"), o.signed("total")), o.currency()}
	for _, asked := range p.query(c) {
		if asked.Name == "customer" && o.maybe("customer") != asked.Value || asked.Name == "subscription" && o.subscription("subscription") != asked.Value {
			o.fail(asked.Name, "the one that was asked for")
		}
	}
	if o.err != nil {
		return vendors.Bound{}, probeError(o.err)
	}
	if tax := o.part("automatic_tax"); tax.err == nil && tax.isTrue("enabled") && tax.maybe("status") != "complete" {
		return vendors.Bound{Kind: vendors.Unknown, Why: "Stripe cannot compute the tax yet; give the rule a ceiling"}, nil
	}
	if m.minor == 0 && !p.ends {
		return unknown(whyFirst), nil
	}
	b, err := m.bound(cost.Charge, "items")
	b.Kind = vendors.AtMost
	if date := o.subscription("subscription_proration_date"); date != "" && slices.Contains(p.priced, "proration_date") {
		b.Send = []vendors.Param{{Name: "proration_date", Value: date}} // so that it is computed for the same second
	}
	return b, err
}

// subscription is a field about the invoice's subscription: of the invoice itself before basil, of its parent since.
func (o *reader) subscription(name string) string {
	if s := o.scalar(name); s != "" {
		return s
	}
	return o.inside("parent").inside("subscription_details").scalar(name)
}

// inside is a field's object, or nothing.
func (o *reader) inside(name string) *reader {
	v, _ := vendors.Member(o.tree, name)
	return &reader{tree: v}
}

// scalar is a field as text, whether it is a string or a number.
func (o *reader) scalar(name string) string {
	if s := o.maybe(name); s != "" {
		return s
	}
	if o.has(name) {
		if n := (&reader{tree: o.tree}); n.amount(name) > 0 && n.err == nil {
			return digits(n.amount(name))
		}
	}
	return ""
}

// unknown is the bound without a preview: what the call's own items cost is the least that a ceiling must cover.
func (p preview) unknown(c *vendors.Call) (vendors.Bound, error) {
	b := unknown(p.why)
	all, numbered := elements(c, "items")
	m, known := sumOf(all)
	puts := slices.ContainsFunc(c.Params, func(p vendors.Param) bool {
		root, _, _ := strings.Cut(p.Name, "[")
		return slices.Contains([]string{"trial_end", "trial_period_days", "trial_from_plan", "discounts", "coupon", "promotion_code"}, root)
	})
	if !numbered || !known || puts {
		return b, nil
	}
	least, err := m.bound(cost.Charge, "items")
	b.Lines = least.Lines
	return b, err
}
