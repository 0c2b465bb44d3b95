package kbstripe

import (
	"errors"
	"regexp"
	"slices"
	"strings"

	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/vendors"
)

// invoiceRules: what an invoice takes stands on it alone, so it is read first. Money that it may still take is held on
// it (in_…) from the call that arms it until it is paid, voided or deleted.
var invoiceRules = map[string]rule{
	"stripe.invoices.create":             {boundInvoiceCreate, nil, settleInvoiceCreate},
	"stripe.invoices.update":             {boundInvoiceUpdate, nil, settleInvoice(holdsArmed)},
	"stripe.invoices.add_lines":          {boundAddLines, nil, settleInvoice(holdsArmed)},
	"stripe.invoices.finalize":           {boundInvoice(sumDue), outcomeLeaves, settleInvoice(holdsRest)},
	"stripe.invoices.send":               {boundInvoice(sumDue), outcomeLeaves, settleInvoice(holdsRest)},
	"stripe.invoices.attach_payment":     {bound: boundUnknown(vendors.Charge), outcome: outcomeLeaves},
	"stripe.invoices.pay":                {boundInvoicePay, outcomeInvoicePay, settleInvoicePay},
	"stripe.invoices.void":               {boundEnd, nil, settleEnd("invoice", "void")},
	"stripe.invoices.mark_uncollectible": {boundEnd, nil, settleEnd("invoice", "uncollectible")},
	"stripe.invoices.delete":             {boundEnd, nil, settleDeleted("invoice")},
	"stripe.invoiceitems.create":         {boundInvoiceItem, nil, settleInvoiceItem},
	"stripe.invoiceitems.update":         {bound: boundOnly(vendors.Edit, "description", "expand", "metadata", "period")},
	"stripe.invoiceitems.delete":         {boundInvoiceItemDelete, nil, settleDeleted("invoiceitem")},
	"stripe.credit_notes.create":         {boundCreditNote, nil, settleCreditNote},
}

var invoiceID = regexp.MustCompile(`^in_[A-Za-z0-9_]{1,251}$`)

// An invoice is what is read of one. A version that has no amount_remaining has no partial payments either.
type invoice struct {
	id, status      string
	currency        cost.Currency
	due, paid, left int64 // left is what of due was not paid
	taxed, advances bool
}

func readInvoice(o *reader) (invoice, error) {
	in := invoice{
		id: o.text("id"), status: o.text("status"), currency: o.currency(),
		due: o.amount("amount_due"), paid: o.amount("amount_paid"), left: o.amount("amount_remaining"),
	}
	in.advances = o.isTrue("auto_advance")
	if o.has("automatic_tax") {
		in.taxed = o.part("automatic_tax").isTrue("enabled")
	}
	return in, o.err
}

func (in invoice) of(minor int64) money { return money{minor, in.currency} }

func lookInvoice(id string) vendors.Bound {
	return look("stripe.invoices.retrieve", "/v1/invoices/"+id)
}

func probedInvoice(id string, seen *vendors.Reply) (invoice, error) {
	o, err := probed(seen, "invoice", id)
	if err != nil {
		return invoice{}, err
	}
	in, err := readInvoice(o)
	return in, probeError(err)
}

func sumDue(in invoice) int64 { return max(in.due, in.left) }

// boundInvoice is the amount of the path's invoice. The customer's credit may lower it. Tax that Stripe computes when
// the invoice is finalised may raise that of a draft, by how much nobody knows before.
func boundInvoice(sum func(invoice) int64) func(*vendors.Call, *vendors.Reply) (vendors.Bound, error) {
	return func(c *vendors.Call, seen *vendors.Reply) (vendors.Bound, error) {
		if seen == nil {
			return lookInvoice(c.IDs["id"]), nil
		}
		in, err := probedInvoice(c.IDs["id"], seen)
		if err != nil {
			return vendors.Bound{}, err
		}
		b, err := onObject(c)(in.of(sum(in)).bound(cost.Charge, "amount"))
		switch {
		case err != nil:
			return vendors.Bound{}, err
		case in.status == "draft" && in.taxed:
			b.Kind, b.Why = vendors.Unknown, "Stripe computes this draft's tax when it is finalised, and no read tells it before; give the rule a ceiling"
		case in.status == "draft" || in.paid > 0:
			b.Kind = vendors.AtMost
		}
		return b, nil
	}
}

// boundInvoicePay is what is left to pay. An invoice that was paid outside of Stripe takes nothing.
func boundInvoicePay(c *vendors.Call, seen *vendors.Reply) (vendors.Bound, error) {
	if outside, _ := c.Get("paid_out_of_band"); outside == "true" {
		return boundEnd(c, seen)
	}
	return boundInvoice(func(in invoice) int64 { return in.left })(c, seen)
}

// outcomeInvoicePay: after a decline the invoice stays open and Stripe may try it again by itself, so that its money
// stays held. That goes for every 402, whatever it shows.
func outcomeInvoicePay(c *vendors.Call, r *vendors.Reply) vendors.Outcome {
	if r.Status == 402 && refused(r) {
		return vendors.Pending
	}
	return outcome("open")(c, r)
}

// settleInvoicePay books what was paid. Where something was paid before, the reply tells the sum, and what was left
// is booked. An invoice that is still open is being paid by bank, or waits for the customer.
func settleInvoicePay(c *vendors.Call, b vendors.Bound, r *vendors.Reply) (vendors.Settlement, error) {
	if !success(r) {
		return vendors.Settlement{Held: b.Lines, Object: c.IDs["id"], Objects: ids(c.IDs["id"]), Again: soon}, nil
	}
	if len(b.Lines) == 0 {
		return settleEnd("invoice", "paid")(c, b, r)
	}
	return settleInvoice(func(in invoice, b vendors.Bound) (booked, held int64, err error) {
		switch in.status {
		case "paid":
			booked = in.paid
			if limit := minorOf(in.currency, b.Lines[0]); b.Kind != vendors.Exact && limit > 0 {
				booked = min(booked, limit)
			}
			return booked, 0, nil
		case "open":
			return 0, max(in.left, minorOf(in.currency, b.Lines[0])), nil
		}
		return 0, 0, errInvoice
	})(c, b, r)
}

var errInvoice = errors.New("kbstripe: the invoice's status does not fit the operation")

// A levelling says how much of an invoice's money is booked after a call and how much is held.
type levelling func(in invoice, b vendors.Bound) (booked, held int64, err error)

// holdsRest: a finalised invoice may be charged soon by Stripe itself, or paid by the customer.
func holdsRest(in invoice, _ vendors.Bound) (booked, held int64, err error) {
	switch in.status {
	case "paid":
		return in.paid, 0, nil
	case "open":
		return 0, in.left, nil
	}
	return 0, 0, errInvoice
}

// holdsArmed: a draft that advances by itself will be charged.
func holdsArmed(in invoice, _ vendors.Bound) (booked, held int64, err error) {
	return 0, sumDue(in), nil
}

// settleInvoice reads the reply's invoice, which must be the path's.
func settleInvoice(level levelling) func(*vendors.Call, vendors.Bound, *vendors.Reply) (vendors.Settlement, error) {
	return func(c *vendors.Call, b vendors.Bound, r *vendors.Reply) (vendors.Settlement, error) {
		in, err := readInvoice(readReply(r, "invoice"))
		if id := c.IDs["id"]; err == nil && id != "" && id != in.id {
			err = errors.New("kbstripe: the reply is about another invoice")
		}
		if err != nil {
			return vendors.Settlement{}, err
		}
		if b.Object == "" && len(b.Lines) == 0 {
			return vendors.Settlement{Objects: ids(in.id)}, nil // it moved no level
		}
		booked, held, err := level(in, b)
		if err != nil {
			return vendors.Settlement{}, err
		}
		s := vendors.Settlement{Object: in.id, Objects: ids(in.id)}
		if held > 0 {
			s.Again = soon
		}
		return settled(s, b, cost.Charge, in.of(booked), in.of(held))
	}
}

// boundInvoiceCreate is nothing for a draft that stays one, since what finalises or pays it is priced then. Whether a
// draft stays one by default depends on the API version, so auto_advance=false has to be sent.
func boundInvoiceCreate(c *vendors.Call, _ *vendors.Reply) (vendors.Bound, error) {
	advance, _ := c.Get("auto_advance")
	if advance == "false" && !c.Has("automatically_finalizes_at") {
		return vendors.Bound{Kind: vendors.Exact}, nil
	}
	return unknown("Stripe charges an invoice that advances by itself, and its amount is not in the call; send auto_advance=false and then finalize and pay it, or give the rule a ceiling"), nil
}

// settleInvoiceCreate holds a ceiling whole, because lines can still be added to the draft.
func settleInvoiceCreate(_ *vendors.Call, b vendors.Bound, r *vendors.Reply) (vendors.Settlement, error) {
	in, err := readInvoice(readReply(r, "invoice"))
	switch {
	case err != nil:
		return vendors.Settlement{}, err
	case len(b.Lines) > 0:
		return vendors.Settlement{Held: b.Lines, Object: in.id, Objects: ids(in.id), Again: soon}, nil
	case in.advances || in.status != "draft":
		return vendors.Settlement{}, errInvoice // it was to stay a draft
	}
	return vendors.Settlement{Objects: ids(in.id)}, nil
}

// boundInvoiceUpdate: words on an invoice cost nothing; auto_advance=true has Stripe charge it; anything else may
// change its amount in ways that are not read here.
func boundInvoiceUpdate(c *vendors.Call, seen *vendors.Reply) (vendors.Bound, error) {
	if !only(c, "auto_advance", "custom_fields", "days_until_due", "description", "due_date", "expand", "footer", "metadata", "number", "rendering", "statement_descriptor") {
		return unknown(unpriced[vendors.Edit]), nil
	}
	if advance, ok := c.Get("auto_advance"); !c.Has("auto_advance") || ok && advance == "false" {
		return vendors.Bound{Kind: vendors.Exact}, nil
	}
	return boundInvoice(sumDue)(c, seen)
}

// boundInvoiceItem: an item of an invoice that is named raises that invoice's level. One that is not is held by itself,
// because the customer's next invoice takes it up, and a subscription's is charged with no further call.
func boundInvoiceItem(c *vendors.Call, seen *vendors.Reply) (vendors.Bound, error) {
	m, known, err := itemAmount(c)
	switch {
	case err != nil:
		return vendors.Bound{}, err
	case !known:
		return unknown("the item's price stands at Stripe alone, or tax comes on top; send amount and currency, or give the rule a ceiling"), nil
	case !c.Has("invoice"):
		return m.bound(cost.Charge, "amount")
	}
	id, _ := c.Get("invoice")
	switch {
	case !invoiceID.MatchString(id):
		return vendors.Bound{}, invalid("invoice", "it is not an invoice's id (in_…)")
	case seen == nil:
		return lookInvoice(id), nil
	}
	in, err := probedInvoice(id, seen)
	if err != nil {
		return vendors.Bound{}, err
	}
	if in.currency != m.currency {
		return vendors.Bound{}, invalid("currency", "it is not the invoice's")
	}
	sum, err := cost.Add(m.minor, sumDue(in))
	if err != nil {
		return vendors.Bound{}, invalid("amount", "it is out of range")
	}
	b, err := in.of(sum).bound(cost.Charge, "amount")
	b.Kind, b.Object = vendors.AtMost, id
	return b, err
}

// itemAmount is an invoice item's amount, where the call tells it and nothing comes on top.
func itemAmount(c *vendors.Call) (m money, known bool, err error) {
	if !only(c, "amount", "currency", "customer", "description", "discountable", "discounts", "expand", "invoice", "metadata", "period", "subscription", "quantity", "unit_amount_decimal", "unit_amount") {
		return money{}, false, nil
	}
	if c.Has("amount") && !c.Has("quantity") && !c.Has("unit_amount_decimal") && !c.Has("unit_amount") {
		m, err = needMoney(c)
		return m, err == nil, err
	}
	currency, ok, err := sentCurrency(c)
	if err != nil || !ok || c.Has("amount") {
		return money{}, false, err
	}
	e := element{}
	for _, name := range []string{"quantity", "unit_amount", "unit_amount_decimal"} {
		if v, ok := c.Get(name); ok {
			e[name] = v
		}
	}
	minor, known := e.times("unit_amount", "unit_amount_decimal", "quantity")
	return money{minor, currency}, known, nil
}

// settleInvoiceItem holds what the item adds, on the invoice where one is named and on the item where none is.
func settleInvoiceItem(_ *vendors.Call, b vendors.Bound, r *vendors.Reply) (vendors.Settlement, error) {
	o := readReply(r, "invoiceitem")
	id, m := o.text("id"), money{o.amount("amount"), o.currency()}
	if o.err != nil {
		return vendors.Settlement{}, o.err
	}
	if b.Object == "" {
		return settled(vendors.Settlement{Object: id, Objects: ids(id), Again: withinWeek}, b, cost.Charge, money{currency: m.currency}, m)
	}
	if o.maybe("invoice") != b.Object {
		return vendors.Settlement{}, errors.New("kbstripe: the reply is about an item of another invoice")
	}
	return vendors.Settlement{Held: b.Lines, Object: b.Object, Objects: ids(id, b.Object), Again: withinWeek}, nil
}

// boundAddLines is the invoice's level with the amounts of the lines that the call adds. A line below zero lowers
// nothing here, because Stripe may carry it over.
func boundAddLines(c *vendors.Call, seen *vendors.Reply) (vendors.Bound, error) {
	added, known := lineAmounts(c)
	switch {
	case !known:
		return unknown("the price of a line stands at Stripe alone, or tax comes on top; number the elements of lines and give each its amount, or give the rule a ceiling"), nil
	case seen == nil:
		return lookInvoice(c.IDs["id"]), nil
	}
	in, err := probedInvoice(c.IDs["id"], seen)
	if err != nil {
		return vendors.Bound{}, err
	}
	sum, err := cost.Add(added, sumDue(in))
	if err != nil {
		return vendors.Bound{}, invalid("lines", "their sum is out of range")
	}
	b, err := onObject(c)(in.of(sum).bound(cost.Charge, "lines"))
	b.Kind = vendors.AtMost
	return b, err
}

// lineAmounts adds up the lines of a call that each give their amount.
func lineAmounts(c *vendors.Call) (sum int64, known bool) {
	all, numbered := elements(c, "lines")
	for _, e := range all {
		for field := range e {
			root, _, _ := strings.Cut(field, "[")
			if !slices.Contains([]string{"amount", "description", "discountable", "discounts", "metadata", "period"}, root) {
				return 0, false
			}
		}
		size, below := strings.CutPrefix(e["amount"], "-")
		minor, err := cost.ParseCount(size)
		if err != nil || !wholeNumber.MatchString(size) {
			return 0, false
		}
		if below {
			continue
		}
		if sum, err = cost.Add(sum, minor); err != nil {
			return 0, false
		}
	}
	return sum, numbered && len(all) > 0 && only(c, "expand", "invoice_metadata", "lines")
}

// boundInvoiceItemDelete: to delete a credit raises what the customer owes.
func boundInvoiceItemDelete(c *vendors.Call, seen *vendors.Reply) (vendors.Bound, error) {
	if seen == nil {
		return look("stripe.invoiceitems.retrieve", "/v1/invoiceitems/"+c.IDs["id"]), nil
	}
	o, err := probed(seen, "invoiceitem", c.IDs["id"])
	if err != nil {
		return vendors.Bound{}, err
	}
	amount := o.signed("amount")
	switch {
	case o.err != nil:
		return vendors.Bound{}, probeError(o.err)
	case amount < 0:
		return unknown("the item is a credit, and without it the customer's next invoice takes more; give the rule a ceiling"), nil
	}
	return boundEnd(c, seen)
}

// boundCreditNote: what a credit note gives back is at most the amounts that it names, or else the invoice's total.
func boundCreditNote(c *vendors.Call, seen *vendors.Reply) (vendors.Bound, error) {
	id, _ := c.Get("invoice")
	switch {
	case !invoiceID.MatchString(id):
		return vendors.Bound{}, invalid("invoice", "it is not an invoice's id (in_…)")
	case seen == nil:
		return lookInvoice(id), nil
	}
	o, err := probed(seen, "invoice", id)
	if err != nil {
		return vendors.Bound{}, err
	}
	m := money{0, o.currency()}
	if !c.Has("amount") || c.Has("lines") || c.Has("shipping_cost") {
		m.minor = o.amount("total")
	}
	if o.err != nil {
		return vendors.Bound{}, probeError(o.err)
	}
	parts := int64(0)
	for _, name := range []string{"refund_amount", "credit_amount", "out_of_band_amount"} {
		minor, _, err := sentAmount(c, name)
		if err == nil {
			parts, err = cost.Add(parts, minor)
		}
		if err != nil {
			return vendors.Bound{}, invalid(name, "it is not a whole number of the currency's minor unit within range")
		}
	}
	whole, _, err := sentAmount(c, "amount")
	if err != nil {
		return vendors.Bound{}, err
	}
	m.minor = max(m.minor, parts, whole)
	b, err := m.bound(cost.Outflow, "amount")
	b.Kind = vendors.AtMost
	return b, err
}

// settleCreditNote books the note's amount: what was refunded, credited, or will not be asked for any more.
func settleCreditNote(_ *vendors.Call, b vendors.Bound, r *vendors.Reply) (vendors.Settlement, error) {
	o := readReply(r, "credit_note")
	id, m := o.text("id"), money{o.amount("amount"), o.currency()}
	if o.err != nil {
		return vendors.Settlement{}, o.err
	}
	return settled(vendors.Settlement{Objects: ids(id, o.maybe("invoice"), o.maybe("refund"))}, b, cost.Outflow, m, money{currency: m.currency})
}

// boundEnd is a call that costs nothing and ends the hold of the path's object.
func boundEnd(c *vendors.Call, _ *vendors.Reply) (vendors.Bound, error) {
	return vendors.Bound{Kind: vendors.Exact, Object: c.IDs["id"]}, nil
}

// settleEnd reads that the path's object is over: its status is one of those given. Otherwise the hold stays.
func settleEnd(kind string, over ...string) func(*vendors.Call, vendors.Bound, *vendors.Reply) (vendors.Settlement, error) {
	return func(c *vendors.Call, _ vendors.Bound, r *vendors.Reply) (vendors.Settlement, error) {
		o := readReply(r, kind)
		id, status := o.text("id"), o.text("status")
		if o.err == nil && (id != c.IDs["id"] || !slices.Contains(over, status)) {
			o.err = errors.New("kbstripe: the reply does not say that the object is over")
		}
		if o.err != nil {
			return vendors.Settlement{}, o.err
		}
		return vendors.Settlement{Object: id, Objects: ids(id)}, nil
	}
}

// settleDeleted reads that the path's object was deleted.
func settleDeleted(kind string) func(*vendors.Call, vendors.Bound, *vendors.Reply) (vendors.Settlement, error) {
	return func(c *vendors.Call, b vendors.Bound, r *vendors.Reply) (vendors.Settlement, error) {
		o := readReply(r, kind)
		id := o.text("id")
		if gone := o.truth("deleted"); o.err == nil && (id != c.IDs["id"] || !gone) {
			o.err = errors.New("kbstripe: the reply does not say that the object was deleted")
		}
		if o.err != nil {
			return vendors.Settlement{}, o.err
		}
		// Lines are a ceiling, and nothing tells what it did cost.
		return vendors.Settlement{Actual: b.Lines, Object: id, Objects: ids(id)}, nil
	}
}
