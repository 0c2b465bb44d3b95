package kbstripe

import (
	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/vendors"
)

// tellsArmed: the invoice advances by itself, or has been finalised.
func tellsArmed(_ *vendors.Case, o *reader) string {
	in, err := readInvoice(o)
	switch {
	case err != nil:
		return plain(err)
	case in.status == "draft" && !in.advances:
		return "the invoice is a draft that does not advance by itself"
	}
	return ""
}

// tellsNothing: what was due before the call is not known any more, so that the sum does not tell whether it was made.
func tellsNothing(*vendors.Case, *reader) string {
	return "the invoice shows its sum, and not whether the lines were added"
}

// settleBill books what was paid of an invoice and holds what is left. A draft keeps what was reserved for it, if that
// is more; an uncollectible invoice can still be paid, a void one cannot.
func settleBill(c *vendors.Call, b vendors.Bound, r *vendors.Reply) (vendors.Settlement, error) {
	in, err := readInvoice(readReply(r, "invoice"))
	if err != nil {
		return vendors.Settlement{}, err
	}
	s := vendors.Settlement{Object: in.id, Objects: ids(in.id), Again: soon}
	limit := reserved(b, in.currency)
	booked, held := in.paid, in.left
	if before := c.Operation.Name == "stripe.invoices.pay" && b.Kind != vendors.Exact; before && limit > 0 {
		booked = min(booked, limit) // what was paid before is booked already
	}
	switch in.status {
	case "draft":
		booked, held = 0, max(sumDue(in), limit)
	case "paid", "void":
		s.Again, held = 0, 0
	case "open", "uncollectible":
	default:
		return vendors.Settlement{}, errInvoice
	}
	if outside, _ := c.Get("paid_out_of_band"); outside == "true" {
		booked = 0
	}
	b.Kind = vendors.AtMost // credit may have lowered it since
	return settled(s, b, cost.Charge, in.of(booked), in.of(held))
}

// findItem reads the item, and once an invoice has taken it up, the invoice. An item whose call has named its invoice
// holds on that.
func findItem(t *teller) vendors.Finding {
	on := t.Bound.Object
	var item *vendors.Reply
	if t.Doubt || on == "" {
		id := t.named()
		if id == "" {
			if id = t.marked(); id == "" {
				return t.finding
			}
		}
		if item = t.object(billItems, id); item == nil {
			return t.finding
		}
		o := readReply(item, "invoiceitem")
		if t.Doubt {
			if why := t.differsItem(o); why != "" {
				return vendors.Finding{Why: why}
			}
		}
		if on == "" {
			on = o.maybe("invoice")
		}
	}
	if on == "" {
		return t.costs(item, "")
	}
	r := t.object(bills, on)
	if r == nil {
		return t.finding
	}
	if t.Bound.Object != "" {
		s, err := settleBill(t.Call, t.Bound, r)
		if err != nil {
			return vendors.Finding{Why: plain(err)}
		}
		return t.found(s, "")
	}
	return t.item(item, r)
}

// differsItem compares an item that adds to a named invoice with nothing: the bound is the invoice's whole level.
func (t *teller) differsItem(o *reader) string {
	if t.Bound.Object == "" {
		return t.e.differs(t.Bound, o)
	}
	if o.maybe("invoice") != t.Bound.Object {
		return "the item that was found is on another invoice"
	}
	return ""
}

// item is what an item costs that an invoice has taken up: all of it once that is paid, nothing once that is void.
func (t *teller) item(item, bill *vendors.Reply) vendors.Finding {
	o := readReply(item, "invoiceitem")
	id, m := o.text("id"), money{o.amount("amount"), o.currency()}
	in, err := readInvoice(readReply(bill, "invoice"))
	if o.err != nil || err != nil {
		return vendors.Finding{Why: "the item or its invoice cannot be read"}
	}
	none := money{currency: m.currency}
	s := vendors.Settlement{Object: id, Objects: ids(id, in.id)}
	switch in.status {
	case "paid":
		s, err = settled(s, t.Bound, cost.Charge, m, none)
	case "void":
		s, err = settled(s, t.Bound, cost.Charge, none, none)
	default:
		s.Again = withinWeek
		s, err = settled(s, t.Bound, cost.Charge, none, m)
	}
	if err != nil {
		return vendors.Finding{Why: plain(err)}
	}
	return t.found(s, "")
}

// findAccepted reads the quote, and then the invoice that its acceptance has made.
func findAccepted(t *teller) vendors.Finding {
	r := t.object(quotesMade, pathID(t.Call))
	if r == nil {
		return t.finding
	}
	o := readReply(r, "quote")
	if why := over("accepted")(t.Case, o); why != "" {
		return vendors.Finding{Why: why}
	}
	invoice := o.maybe("invoice")
	if !bills.has(invoice) {
		return t.costs(r, "accepted")
	}
	bill := t.object(bills, invoice)
	if bill == nil {
		return t.finding
	}
	return t.billed(bill, o.maybe("subscription") != "")
}

// billed is what an invoice tells of the call that made it.
func (t *teller) billed(bill *vendors.Reply, recurs bool) vendors.Finding {
	s, err := settleBill(t.Call, t.Bound, bill)
	if err != nil {
		return vendors.Finding{Why: plain(err)}
	}
	if recurs && s.Flag == "" {
		s.Flag = "recurring"
	}
	return t.found(s, "")
}
