package kbstripe

import (
	"errors"
	"time"

	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/vendors"
)

// An intent is what is read of a payment intent.
type intent struct {
	id, status, charge           string
	currency                     cost.Currency
	amount, capturable, received int64
}

func readIntent(o *reader) (intent, error) {
	in := intent{
		id: o.text("id"), status: o.text("status"), charge: o.maybe("latest_charge"),
		currency: o.currency(), amount: o.amount("amount"),
		capturable: o.amount("amount_capturable"), received: o.amount("amount_received"),
	}
	return in, o.err
}

func (in intent) of(minor int64) money { return money{minor, in.currency} }

// outcomeIntent is pending while the bank or the customer has yet to act.
var outcomeIntent = outcome("processing", "requires_action")

// outcomeIntentCreate knows that a declined create leaves an intent behind, which can be confirmed again: it is
// executed, and its amount stays held. A decline that does not show the intent hides its id: that is in doubt.
func outcomeIntentCreate(c *vendors.Call, r *vendors.Reply) vendors.Outcome {
	switch {
	case success(r) || !refused(r):
		return outcomeIntent(c, r)
	case declinedIntent(r) != nil:
		return vendors.Executed
	case r.Status == 402:
		return vendors.OutcomeUnknown
	}
	return vendors.NotExecuted
}

// outcomeIntentConfirm: a decline (402) leaves the intent as it was before, to be tried again. Any other
// refusal changes nothing, not even where it shows an intent, which may be long paid.
func outcomeIntentConfirm(c *vendors.Call, r *vendors.Reply) vendors.Outcome {
	if r.Status == 402 && refused(r) && declinedIntent(r) != nil {
		return vendors.Executed
	}
	return outcomeIntent(c, r)
}

// declinedIntent is the intent that a refusal shows, or nil.
func declinedIntent(r *vendors.Reply) *reader {
	e := errorOf(r)
	if e == nil || !e.has("payment_intent") {
		return nil
	}
	return e.child("payment_intent", "payment_intent")
}

// A taking says how much of what an intent received was taken by this call.
type taking func(in intent, b vendors.Bound) (int64, error)

var errStatus = errors.New("kbstripe: the intent's status does not fit the operation")

// takesReceived: before create and confirm nothing had been received.
func takesReceived(in intent, _ vendors.Bound) (int64, error) { return in.received, nil }

// takesCaptured is all that was received, or what was sent where earlier captures are part of that sum.
func takesCaptured(in intent, b vendors.Bound) (int64, error) {
	if b.Kind == vendors.Exact || len(b.Send) == 0 {
		return in.received, nil
	}
	sent, err := cost.ParseCount(b.Send[0].Value)
	return min(sent, in.received), err
}

// takesNothing: an edit of the amount takes no money, so an intent that has been paid meanwhile was paid by
// someone else, and the hold stays until that is looked at.
func takesNothing(in intent, _ vendors.Bound) (int64, error) {
	if in.status == "succeeded" {
		return 0, errStatus
	}
	return 0, nil
}

// endsHold: what was captured before a cancel is booked already.
func endsHold(intent, vendors.Bound) (int64, error) { return 0, nil }

// levels is what an intent can still take, by status. A status that is not here is an error.
var levels = map[string]func(intent) int64{
	"requires_payment_method": func(in intent) int64 { return in.amount },
	"requires_confirmation":   func(in intent) int64 { return in.amount },
	"requires_action":         func(in intent) int64 { return in.amount },
	"processing":              func(in intent) int64 { return in.amount },
	"requires_capture":        func(in intent) int64 { return in.capturable },
	"succeeded":               func(intent) int64 { return 0 },
	"canceled":                func(intent) int64 { return 0 },
}

// settleIntent books what take says and holds what the status leaves open. A call whose bound names no object
// and no line moved no level.
func settleIntent(take taking) func(*vendors.Call, vendors.Bound, *vendors.Reply) (vendors.Settlement, error) {
	return func(c *vendors.Call, b vendors.Bound, r *vendors.Reply) (vendors.Settlement, error) {
		in, err := repliedIntent(c, r)
		if err != nil {
			return vendors.Settlement{}, err
		}
		s := vendors.Settlement{Objects: ids(in.id, in.charge)}
		if b.Object == "" && len(b.Lines) == 0 {
			return s, nil
		}
		booked, held, err := in.split(take, b, success(r))
		if err != nil {
			return vendors.Settlement{}, err
		}
		s.Object, s.Again = in.id, in.again()
		if !success(r) {
			b.Kind = vendors.AtMost // a decline may leave less than was asked for
		}
		return settled(s, b, cost.Charge, in.of(booked), in.of(held))
	}
}

// repliedIntent is the intent of a reply, or the one that a refusal shows; it must be the path's, if it has one.
func repliedIntent(c *vendors.Call, r *vendors.Reply) (intent, error) {
	o := readReply(r, "payment_intent")
	if !success(r) {
		if o = declinedIntent(r); o == nil {
			return intent{}, errStatus
		}
	}
	in, err := readIntent(o)
	if id := c.IDs["id"]; err == nil && id != "" && id != in.id {
		err = errors.New("kbstripe: the reply is about another intent")
	}
	return in, err
}

// split divides the intent's money into what is booked now and what stays held. A refusal books nothing, and
// one that shows a paid intent contradicts itself. While a confirmation is open, amount_to_confirm may be what
// is taken in the end, so the hold does not fall below the bound.
func (in intent) split(take taking, b vendors.Bound, ok bool) (booked, held int64, err error) {
	level := levels[in.status]
	if level == nil || (!ok && in.status == "succeeded") {
		return 0, 0, errStatus
	}
	if held = level(in); in.open() && len(b.Lines) > 0 && b.Lines[0].Currency == in.currency {
		held = max(held, in.minorOf(b.Lines[0].Amount))
	}
	if ok && (in.status == "succeeded" || in.status == "requires_capture") {
		booked, err = take(in, b)
	}
	return booked, held, err
}

// open reports whether a confirmation is under way.
func (in intent) open() bool { return in.status == "processing" || in.status == "requires_action" }

// minorOf converts a line of the intent's currency back, rounding up; zero where the currency has no scale.
func (in intent) minorOf(amount int64) int64 {
	unit, err := in.of(1).micros()
	if err != nil || unit == 0 {
		return 0
	}
	return (amount + unit - 1) / unit
}

func (in intent) again() time.Duration {
	switch in.status {
	case "succeeded", "canceled":
		return 0
	case "requires_capture":
		return withinWeek
	}
	return soon
}
