package kbstripe

import (
	"time"

	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/vendors"
)

func tellsOff(_ *vendors.Case, o *reader) string {
	if active := o.truth("active"); o.err == nil && active {
		return "the link is still on"
	}
	return ""
}

// findLink reads a payment link and the sessions that were opened by it: what was paid by it is booked, and what it can
// still take is held, all of it while the link is on.
func findLink(t *teller) vendors.Finding {
	id := t.named()
	if id == "" {
		if id = t.marked(); id == "" {
			return t.finding
		}
	}
	r := t.object(links, id)
	if r == nil {
		return t.finding
	}
	o := readReply(r, "payment_link")
	active := o.truth("active")
	if o.err != nil || len(t.Bound.Lines) == 0 {
		return vendors.Finding{Why: "the link cannot be read, or what was reserved for it is not known"}
	}
	currency := t.Bound.Lines[0].Currency
	paid, open, ok := t.sessions(id, currency)
	if !ok {
		return t.finding
	}
	s := vendors.Settlement{Object: id, Objects: ids(id), Again: withinWeek}
	left := max(0, reserved(t.Bound, currency)-paid)
	if !active {
		left = min(left, open)
	}
	var err error
	if s.Actual, err = (money{paid, currency}).lines(cost.Charge); err == nil {
		s.Held, err = money{left, currency}.lines(cost.Charge)
	}
	if err != nil {
		return vendors.Finding{Why: plain(err)}
	}
	return t.found(s, "")
}

// sessions adds up the sessions of a payment link: what was paid in them, and what can still be.
func (t *teller) sessions(link string, currency cost.Currency) (paid, open int64, ok bool) {
	after := ""
	for {
		query := []vendors.Param{{Name: "payment_link", Value: link}, {Name: "limit", Value: "100"}}
		if after != "" {
			query = append(query, vendors.Param{Name: "starting_after", Value: after})
		}
		r := t.ask("checkout.sessions.list", "/v1/checkout/sessions", query...)
		if r == nil {
			_ = t.unlessTooMany()
			return 0, 0, false
		}
		o, data := t.page(r)
		if o == nil {
			return 0, 0, false
		}
		for _, v := range data {
			session := readObject(v, "checkout.session")
			after = session.text("id")
			status, state := session.text("status"), session.text("payment_status")
			amount, in := session.amount("amount_total"), session.currency()
			sum, err := cost.Add(paid, amount)
			switch {
			case session.err != nil || err != nil || in != currency || !sessions.has(after):
				t.stop("a session of the link cannot be read, or is in another currency")
				return 0, 0, false
			case status == "complete" && state == "paid":
				paid = sum
			case status != "expired":
				open += amount
			}
		}
		switch more := o.truth("has_more"); {
		case o.err != nil || more && len(data) == 0:
			t.stop("the list of the link's sessions does not go on")
			return 0, 0, false
		case !more:
			return paid, open, true
		}
	}
}

// findSubscription reads the subscription that carries the mark, and its first invoice. Later invoices are later
// cycles: which no call has made.
func findSubscription(t *teller) vendors.Finding {
	if bill := t.namedInvoice(); bill != "" {
		return t.invoiceOf(bill)
	}
	id := t.named()
	if id == "" {
		if id = t.marked(); id == "" {
			return t.finding
		}
	}
	r := t.object(subscriptions, id)
	if r == nil {
		return t.finding
	}
	id = readReply(r, "subscription").maybe("latest_invoice")
	if !bills.has(id) {
		return t.costs(r, "active")
	}
	bill := t.object(bills, id)
	if bill == nil {
		return t.finding
	}
	if readReply(bill, "invoice").maybe("billing_reason") != "subscription_create" {
		return vendors.Finding{Why: "the subscription's latest invoice is not its first: a later cycle or call has made it"}
	}
	return t.billed(bill, true)
}

// findInvoiced looks up the invoice that a change of a subscription has made, where its reply has named it. Whether a
// change was made, no state of the subscription tells: its next call may have made it too.
func findInvoiced(t *teller) vendors.Finding {
	bill := t.namedInvoice()
	if bill == "" {
		return vendors.Finding{Why: "no reply has named the invoice that the change of the subscription has made, if it was made"}
	}
	return t.invoiceOf(bill)
}

func (t *teller) namedInvoice() string {
	for _, id := range t.Objects {
		if bills.has(id) {
			return id
		}
	}
	return ""
}

// invoiceOf reads an invoice that a call on a subscription has made, and none of a later cycle.
func (t *teller) invoiceOf(id string) vendors.Finding {
	bill := t.object(bills, id)
	if bill == nil {
		return t.finding
	}
	o := readReply(bill, "invoice")
	if why := o.maybe("billing_reason"); why == "subscription_cycle" || why == "subscription_threshold" {
		return vendors.Finding{Why: "the invoice that was found is of a later cycle"}
	}
	if o.madeBefore(t.Sent.Add(-margin)) {
		return t.found(vendors.Settlement{Actual: t.reservedOrBooked(), Objects: ids(id), Flag: "recurring"}, "active")
	}
	return t.billed(bill, true)
}

// reservedOrBooked is what a call on a subscription counts that has made no invoice of its own: what it adds comes with
// the next one, which it was bounded by.
func (t *teller) reservedOrBooked() []cost.Line {
	if len(t.Booked) > 0 {
		return t.Booked
	}
	return t.Bound.Lines
}

// madeBefore reports whether an invoice is known to be older: the latest one of a subscription is an earlier call's where
// a change has made none, and says nothing of what that costs.
func (o *reader) madeBefore(at time.Time) bool {
	if !o.has("created") {
		return false
	}
	created := &reader{tree: o.tree}
	made := created.amount("created")
	return created.err == nil && time.Unix(made, 0).Before(at)
}
