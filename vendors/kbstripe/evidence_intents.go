package kbstripe

import (
	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/vendors"
)

// tellsAmount: the intent has the amount and currency that the call was to give it.
func tellsAmount(c *vendors.Case, o *reader) string {
	currency := o.currency()
	if o.amount("amount") != reserved(c.Bound, currency) || len(c.Bound.Lines) == 0 {
		return "the intent has another amount than the call was to give it"
	}
	return ""
}

// tellsPaid: the intent's money is taken, authorised or on its way, or can be taken no more. While it waits, a decline
// and a call that never arrived look the same. That another confirmation of the same intent has taken it, and is booked
// itself, its state does not tell: then it is booked twice, which is the safe side. A capture is always another call.
func tellsPaid(c *vendors.Case, o *reader) string {
	if o.maybe("capture_method") == "manual" && o.maybe("status") == "succeeded" {
		return "the intent was captured since, by a call that is booked itself if it was made here"
	}
	if why := over("succeeded", "processing", "requires_action", "requires_capture", "canceled")(c, o); why != "" {
		return why
	}
	amount, limit := max(o.amount("amount"), o.amount("amount_received")), reserved(c.Bound, o.currency())
	if o.text("status") != "canceled" && (amount > limit || c.Bound.Kind == vendors.Exact && amount < limit) {
		return "the intent has another amount than the call was to confirm"
	}
	return ""
}

// settleSeenIntent books all that the intent has received: no earlier call of this hold has booked of it.
func settleSeenIntent(c *vendors.Call, b vendors.Bound, r *vendors.Reply) (vendors.Settlement, error) {
	in, err := readIntent(readReply(r, "payment_intent"))
	if err != nil {
		return vendors.Settlement{}, err
	}
	level := levels[in.status]
	if level == nil {
		return vendors.Settlement{}, errStatus
	}
	b.Kind = vendors.AtMost // it may have been captured for less since, or canceled
	s := vendors.Settlement{Object: in.id, Objects: ids(in.id, in.charge), Again: in.again()}
	held := level(in)
	if in.open() {
		held = max(held, reserved(b, in.currency))
	}
	return settled(s, b, cost.Charge, in.of(in.received), in.of(held))
}

// findCapture reads the intent. What it has received is the sum of all its captures, so that it tells of one only where
// nothing was captured before, which is when the bound was exact.
func findCapture(t *teller) vendors.Finding {
	r := t.object(t.e.shelf, pathID(t.Call))
	if r == nil {
		return t.finding
	}
	in, err := readIntent(readReply(r, "payment_intent"))
	switch {
	case err != nil:
		return vendors.Finding{Why: plain(err)}
	case !t.Doubt:
		return t.captured(in)
	case in.status == "canceled" && in.received == 0:
		return t.costs(r, in.status)
	case t.Bound.Kind != vendors.Exact:
		return vendors.Finding{Why: "the intent was captured in parts, and what it has received does not tell which of them"}
	}
	asked := reserved(t.Bound, in.currency)
	if text, ok := t.Call.Get("amount_to_capture"); ok {
		if asked, err = cost.ParseCount(text); err != nil {
			return vendors.Finding{Why: "what was to be captured is not known any more"}
		}
	}
	if asked == 0 || in.received != asked {
		return vendors.Finding{Why: "what the intent has received is not what was to be captured"}
	}
	return t.costs(r, in.status)
}

// captured is a capture that was read before: what it has booked stands, and what it still holds goes by the intent.
func (t *teller) captured(in intent) vendors.Finding {
	level := levels[in.status]
	if level == nil {
		return vendors.Finding{Why: plain(errStatus)}
	}
	s := vendors.Settlement{Actual: t.Booked, Object: in.id, Objects: ids(in.id, in.charge), Again: in.again()}
	var err error
	if s.Held, err = in.of(level(in)).lines(cost.Charge); err != nil {
		return vendors.Finding{Why: "the intent's amount cannot be read"}
	}
	return t.found(s, in.status)
}

// tellsCaptured: the charge was captured for what the call asked, or was released.
func tellsCaptured(c *vendors.Case, o *reader) string {
	p, err := readCharge(o)
	switch {
	case err != nil:
		return plain(err)
	case !p.complete && p.left() > 0:
		return "the charge is not captured"
	case p.complete && p.taken() != reserved(c.Bound, p.currency):
		return "the charge was captured for another amount than the call's"
	}
	return ""
}

// settleSeenCharge is settleCharge of a charge that may have been captured in part, or released, since.
func settleSeenCharge(c *vendors.Call, b vendors.Bound, r *vendors.Reply) (vendors.Settlement, error) {
	b.Kind = vendors.AtMost
	s, err := settleCharge(c, b, r)
	if sum(s.Held) == 0 {
		s.Again = 0
	}
	return s, err
}
