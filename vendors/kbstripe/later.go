package kbstripe

import (
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/vendors"
)

// laterRules make what charges later, at a customer's will or by Stripe's clock: checkout, payment links, quotes,
// subscriptions.
var laterRules = map[string]rule{
	"stripe.checkout.sessions.create": {boundCheckout, nil, settleCheckout},
	"stripe.checkout.sessions.update": {bound: boundOnly(vendors.Commit, "expand", "metadata")},
	"stripe.checkout.sessions.expire": {boundEnd, nil, settleEnd("checkout.session", "expired")},
	"stripe.payment_links.create":     {boundLink, nil, settleLink},
	"stripe.payment_links.update":     {boundLinkUpdate, nil, settleLinkUpdate},
	"stripe.quotes.accept":            {boundQuote, outcomeLeaves, settleQuote},

	"stripe.prices.update": {bound: boundOnly(vendors.Edit, "active", "expand", "lookup_key", "metadata", "nickname", "transfer_lookup_key")},

	"stripe.subscriptions.create":           {newSubscription.bound, outcomeLeaves, settleSubscription},
	"stripe.customers.subscriptions.create": {newSubscription.bound, outcomeLeaves, settleSubscription},
	"stripe.subscriptions.update":           {boundSubscriptionUpdate, outcomeLeaves, settleSubscription},
	"stripe.customers.subscriptions.update": {boundSubscriptionUpdate, outcomeLeaves, settleSubscription},
	"stripe.subscriptions.resume":           {resumedSubscription.bound, outcomeLeaves, settleSubscription},
	"stripe.subscriptions.migrate":          {boundRecurring, outcomeLeaves, settleSubscription},
	"stripe.subscriptions.cancel":           {boundSubscriptionCancel, outcomeLeaves, settleCanceled("subscription")},
	"stripe.customers.subscriptions.cancel": {boundSubscriptionCancel, outcomeLeaves, settleCanceled("subscription")},
	"stripe.subscription_schedules.create":  {bound: boundRecurring, outcome: outcomeLeaves},
	"stripe.subscription_schedules.update":  {bound: boundOnly(vendors.Charge, "expand", "metadata"), outcome: outcomeLeaves},
	"stripe.subscription_schedules.cancel":  {boundScheduleCancel, outcomeLeaves, settleCanceled("subscription_schedule")},
	"stripe.subscription_schedules.release": {bound: boundUnknown(vendors.Charge), outcome: outcomeLeaves},
	"stripe.subscription_items.create":      {newItem.bound, outcomeLeaves, settleItem},
	"stripe.subscription_items.update":      {bound: boundItem, outcome: outcomeLeaves},
	"stripe.subscription_items.delete":      {bound: boundItem, outcome: outcomeLeaves},
}

// outcomeLeaves is the outcome of a call that can leave an open invoice behind when the card is declined. Stripe tries
// that again by itself, and the refusal does not show it, so that a decline is in doubt, unless the agent has asked for
// everything or nothing.
func outcomeLeaves(c *vendors.Call, r *vendors.Reply) vendors.Outcome {
	if behavior, _ := c.Get("payment_behavior"); r.Status == http.StatusPaymentRequired && behavior != "error_if_incomplete" {
		return vendors.OutcomeUnknown
	}
	return outcome()(c, r)
}

const (
	whyItems = "what its line items cost stands at Stripe, or depends on tax, shipping or the customer's choice; number the elements of line_items, give each price_data with unit_amount and currency, and leave out the rest, or give the rule a ceiling"
	whyTimes = "a payment link can be used without limit; send restrictions[completed_sessions][limit] and line_items with price_data, or give the rule a ceiling"
	whyRecur = "a subscription recurs until it is canceled, and its first invoice also takes the customer's pending items and balance; give the rule a ceiling for the first invoice, and expand latest_invoice so that it can be read"
	whyFinal = "a last invoice charges what was used and not yet billed; send invoice_now=false and prorate=false, or give the rule a ceiling"
)

// settledItems are the parameters of a checkout that leave its line items at their sum: words, addresses, choices of
// how and not of how much. Discounts only lower it.
var settledItems = []string{
	"after_completion", "after_expiration", "allow_promotion_codes", "billing_address_collection", "cancel_url",
	"client_reference_id", "consent_collection", "currency", "custom_fields", "custom_text", "customer", "customer_creation",
	"customer_email", "customer_update", "discounts", "expand", "expires_at", "inactive_message", "line_items", "locale",
	"metadata", "mode", "name_collection", "payment_intent_data", "payment_method_collection", "payment_method_configuration",
	"payment_method_options", "payment_method_types", "phone_number_collection", "redirect_on_completion", "restrictions",
	"return_url", "shipping_address_collection", "submit_type", "success_url", "tax_id_collection", "ui_mode",
}

// lineItems is what a call's line items cost, if that is in the call and nothing can come on top.
func lineItems(c *vendors.Call) (m money, known bool) {
	all, numbered := elements(c, "line_items")
	recurs := func(e element) bool {
		return e["price_data[recurring][interval]"] != "" || e["price_data[recurring][interval_count]"] != ""
	}
	if !numbered || !only(c, settledItems...) || slices.ContainsFunc(all, recurs) {
		return money{}, false
	}
	return sumOf(all)
}

// boundCheckout holds a session from its creation, because the customer pays it with no further call.
func boundCheckout(c *vendors.Call, _ *vendors.Reply) (vendors.Bound, error) {
	mode, _ := c.Get("mode")
	m, known := lineItems(c)
	switch {
	case mode == "setup" && !c.Has("line_items"):
		return vendors.Bound{Kind: vendors.Exact}, nil
	case mode == "subscription":
		return unknown(whyRecur), nil
	case mode != "payment" || !known:
		return unknown(whyItems), nil
	}
	b, err := m.bound(cost.Charge, "line_items")
	b.Kind = vendors.AtMost
	return b, err
}

// settleCheckout holds an open session's bound, which is at least its total: a quantity may be changed by the customer.
func settleCheckout(_ *vendors.Call, b vendors.Bound, r *vendors.Reply) (vendors.Settlement, error) {
	o := readReply(r, "checkout.session")
	id, status := o.text("id"), o.text("status")
	if o.err != nil {
		return vendors.Settlement{}, o.err
	}
	s := vendors.Settlement{Object: id, Objects: ids(id, o.maybe("payment_intent"))}
	if len(b.Lines) == 0 && !o.has("amount_total") {
		return vendors.Settlement{Objects: s.Objects}, nil // a setup
	}
	m := money{o.amount("amount_total"), o.currency()}
	paid := o.text("payment_status")
	none := money{currency: m.currency}
	switch {
	case o.err != nil:
		return vendors.Settlement{}, o.err
	case status == "expired":
		return s, nil
	case status == "complete" && paid == "paid":
		return settled(s, b, cost.Charge, m, none)
	case status != "open" && status != "complete":
		return vendors.Settlement{}, errors.New("kbstripe: the session's status is not one that is documented")
	}
	s.Again = soon
	if len(b.Lines) > 0 {
		m.minor = max(m.minor, minorOf(m.currency, b.Lines[0]))
	}
	return settled(s, b, cost.Charge, none, m)
}

// boundLink is the sum of the line items as often as the link can be used.
func boundLink(c *vendors.Call, _ *vendors.Reply) (vendors.Bound, error) {
	m, known := lineItems(c)
	limit, ok, err := sentAmount(c, "restrictions[completed_sessions][limit]")
	switch {
	case err != nil:
		return vendors.Bound{}, err
	case !ok || limit == 0 || !known:
		return unknown(whyTimes), nil
	}
	if m.minor, err = cost.Mul(m.minor, limit); err != nil {
		return vendors.Bound{}, invalid("restrictions[completed_sessions][limit]", "it is out of range")
	}
	b, err := m.bound(cost.Charge, "line_items")
	b.Kind = vendors.AtMost
	return b, err
}

func settleLink(_ *vendors.Call, b vendors.Bound, r *vendors.Reply) (vendors.Settlement, error) {
	o := readReply(r, "payment_link")
	id := o.text("id")
	if o.err != nil {
		return vendors.Settlement{}, o.err
	}
	return vendors.Settlement{Held: b.Lines, Object: id, Objects: ids(id), Again: withinWeek}, nil
}

// boundLinkUpdate: a link that is switched off charges nobody any more.
func boundLinkUpdate(c *vendors.Call, seen *vendors.Reply) (vendors.Bound, error) {
	active, sent := c.Get("active")
	switch {
	case only(c, "active", "expand", "metadata") && sent && active == "false":
		return boundEnd(c, seen)
	case only(c, "expand", "metadata"):
		return vendors.Bound{Kind: vendors.Exact}, nil
	}
	return unknown(whyTimes), nil
}

func settleLinkUpdate(c *vendors.Call, b vendors.Bound, r *vendors.Reply) (vendors.Settlement, error) {
	o := readReply(r, "payment_link")
	id, active := o.text("id"), o.truth("active")
	if o.err == nil && (id != c.IDs["id"] || b.Object != "" && active) {
		o.err = errors.New("kbstripe: the reply does not say that the link is off")
	}
	if o.err != nil {
		return vendors.Settlement{}, o.err
	}
	return vendors.Settlement{Held: b.Lines, Object: ifHeld(b, id), Objects: ids(id)}, nil
}

// ifHeld names the object where the call moves its hold.
func ifHeld(b vendors.Bound, id string) string {
	if b.Object == "" && len(b.Lines) == 0 {
		return ""
	}
	return id
}

// boundQuote is the quote's total, held on the invoice that accepting it makes. What recurs has no bound.
func boundQuote(c *vendors.Call, seen *vendors.Reply) (vendors.Bound, error) {
	if seen == nil {
		return look("stripe.quotes.retrieve", "/v1/quotes/"+c.IDs["id"]), nil
	}
	o, err := probed(seen, "quote", c.IDs["id"])
	if err != nil {
		return vendors.Bound{}, err
	}
	m := money{o.amount("amount_total"), o.currency()}
	computed := o.part("computed")
	if err := errors.Join(o.err, computed.err); err != nil {
		return vendors.Bound{}, probeError(err)
	}
	b, err := m.bound(cost.Charge, "amount")
	b.Kind = vendors.AtMost
	switch {
	case err != nil:
		return vendors.Bound{}, err
	case computed.has("recurring"):
		b.Kind, b.Why = vendors.Unknown, "the quote starts a subscription, which recurs until it is canceled; give the rule a ceiling for the first invoice"
	case o.has("automatic_tax") && o.part("automatic_tax").isTrue("enabled"):
		b.Kind, b.Why = vendors.Unknown, "Stripe computes the tax of the quote's invoice later; give the rule a ceiling"
	}
	return b, nil
}

func settleQuote(c *vendors.Call, b vendors.Bound, r *vendors.Reply) (vendors.Settlement, error) {
	o := readReply(r, "quote")
	id, status := o.text("id"), o.text("status")
	if o.err == nil && (id != c.IDs["id"] || status != "accepted") {
		o.err = errors.New("kbstripe: the reply does not say that the quote was accepted")
	}
	if o.err != nil {
		return vendors.Settlement{}, o.err
	}
	invoice, subscription := o.maybe("invoice"), o.maybe("subscription")
	s := vendors.Settlement{Held: b.Lines, Object: id, Objects: ids(id, invoice, subscription), Again: soon}
	if invoiceID.MatchString(invoice) {
		s.Object = invoice
	}
	if subscription != "" {
		s.Flag = "recurring"
	}
	return s, nil
}

func boundRecurring(*vendors.Call, *vendors.Reply) (vendors.Bound, error) {
	return unknown(whyRecur), nil
}

// boundSubscriptionUpdate: words cost nothing, and neither does an end that comes with the period; anything else may
// charge at once.
func boundSubscriptionUpdate(c *vendors.Call, seen *vendors.Reply) (vendors.Bound, error) {
	ends, sent := c.Get("cancel_at_period_end")
	switch words := only(c, "cancel_at_period_end", "cancellation_details", "description", "expand", "metadata"); {
	case words && (!c.Has("cancel_at_period_end") || sent && ends == "true"):
		return vendors.Bound{Kind: vendors.Exact}, nil
	}
	return changedSubscription.bound(c, seen)
}

// boundItem: a preview needs the item's subscription, which the call does not name.
func boundItem(c *vendors.Call, _ *vendors.Reply) (vendors.Bound, error) {
	if c.Method == http.MethodPost && only(c, "expand", "metadata") {
		return vendors.Bound{Kind: vendors.Exact}, nil
	}
	return unknown("what it charges can be previewed only with the item's subscription, which the call does not name; change the item in an update of the subscription (items[0][id], items[0][deleted]), or give the rule a ceiling"), nil
}

// settleItem: the reply does not show the invoice, so the bound is booked.
func settleItem(_ *vendors.Call, b vendors.Bound, r *vendors.Reply) (vendors.Settlement, error) {
	o := readReply(r, "subscription_item")
	id := o.text("id")
	if o.err != nil {
		return vendors.Settlement{}, o.err
	}
	return vendors.Settlement{Actual: b.Lines, Objects: ids(id), Flag: "recurring"}, nil
}

// longestCall is more than Stripe takes to answer: an invoice that is older than that is another call's.
const longestCall = 3 * time.Minute

// settleSubscription reads the invoice that the call made, where the agent has expanded it. Where it has not, the
// ceiling stands: booked when the subscription is active, held on the invoice when that is still to be paid.
func settleSubscription(c *vendors.Call, b vendors.Bound, r *vendors.Reply) (vendors.Settlement, error) {
	o := readReply(r, "subscription")
	id, status := o.text("id"), o.text("status")
	if want := c.IDs["id"]; o.err == nil && want != "" && want != id && c.Operation.Name != "stripe.customers.subscriptions.create" {
		o.err = errors.New("kbstripe: the reply is about another subscription")
	}
	switch {
	case o.err != nil:
		return vendors.Settlement{}, o.err
	case len(b.Lines) == 0:
		return vendors.Settlement{Objects: ids(id)}, nil
	}
	s := vendors.Settlement{Objects: ids(id, o.maybe("latest_invoice")), Again: withinWeek}
	bill := o.part("latest_invoice")
	answered, err := http.ParseTime(r.Header.Get("Date"))
	old := err == nil && bill.madeBefore(answered.Add(-longestCall))
	if !old && o.has("latest_invoice") && o.maybe("latest_invoice") == "" {
		in, err := readInvoice(bill)
		if err != nil {
			return vendors.Settlement{}, err
		}
		booked, held, err := holdsRest(in, b)
		if err != nil {
			return vendors.Settlement{}, err
		}
		s.Object, s.Objects = in.id, ids(id, in.id)
		s, err = settled(s, b, cost.Charge, in.of(booked), in.of(held))
		if s.Flag == "" {
			s.Flag = "recurring"
		}
		return s, err
	}
	s.Flag = "recurring"
	switch status {
	case "active":
		s.Actual = b.Lines
		if old { // nothing is to be looked at
			s.Again = 0
		}
	case "incomplete", "past_due", "unpaid", "trialing", "paused", "incomplete_expired", "canceled":
		s.Held, s.Object = b.Lines, id
		if in := o.maybe("latest_invoice"); invoiceID.MatchString(in) {
			s.Object = in
		}
	default:
		return vendors.Settlement{}, errors.New("kbstripe: the subscription's status is not one that is documented")
	}
	return s, nil
}

// boundSubscriptionCancel: ending it costs nothing unless that makes a last invoice.
func boundSubscriptionCancel(c *vendors.Call, seen *vendors.Reply) (vendors.Bound, error) {
	if !makesLast(c, false) {
		return boundEnd(c, seen)
	}
	return endedSubscription.bound(c, seen)
}

// boundScheduleCancel: the end of a schedule makes a last invoice by default, of which Stripe has no preview.
func boundScheduleCancel(c *vendors.Call, seen *vendors.Reply) (vendors.Bound, error) {
	if !makesLast(c, true) {
		return boundEnd(c, seen)
	}
	return unknown(whyFinal), nil
}

// makesLast reports whether the end of a subscription makes a last invoice.
func makesLast(c *vendors.Call, byDefault bool) bool {
	return slices.ContainsFunc([]string{"invoice_now", "prorate"}, func(name string) bool {
		v, ok := c.Get(name)
		return c.Has(name) && (!ok || v != "false") || !c.Has(name) && byDefault
	})
}

// settleCanceled reads that it is over. A ceiling for a last invoice is booked, because the reply does not tell its
// amount.
func settleCanceled(kind string) func(*vendors.Call, vendors.Bound, *vendors.Reply) (vendors.Settlement, error) {
	return func(c *vendors.Call, b vendors.Bound, r *vendors.Reply) (vendors.Settlement, error) {
		s, err := settleEnd(kind, "canceled", "incomplete_expired")(c, b, r)
		if err == nil && len(b.Lines) > 0 {
			s.Actual = b.Lines
		}
		return s, err
	}
}
