package kbtwilio

import (
	"slices"

	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/vendors"
)

// callTrace is what is kept of a call: whom it went to and what was asked for that may be billed though nobody answers,
// and not what was said.
var callTrace = append([]string{"To", "From"}, callExtras...)

var callExtras = []string{"MachineDetection", "CallReason", "Byoc", "Passports"}

// callTrail is the trail of a call, and of one into a conference, which is a call too.
func (t tariff) callTrail() trail {
	return trail{
		one: "twilio.calls.retrieve", own: callSid, path: object("Calls"), cost: callCost,
		list: "twilio.calls.list", in: collection("Calls"), name: "calls", sid: callSid,
		query: func(c *vendors.Case) []vendors.Param { return correspondents(c, "StartTime>") },
		ours:  func(c *vendors.Case, r record) bool { return corresponds(c, r) && r.Parent == "" },
	}
}

// callCost is what the call that the reply named has cost: the price, which is of its connection alone, and what was
// reserved for what is billed beside it. Where that is not known, as under a rule's ceiling, what was reserved stands.
func callCost(c *vendors.Case, r record) vendors.Finding {
	text, readable := r.price()
	through := r.Status == "completed"
	switch {
	case !readable:
		return vendors.Finding{Why: "the call's price cannot be read"}
	case !ended(r.Status):
		return pending(r.Sid, soFar(c))
	case text == "" && !through:
		return executed(r.Sid, unanswered(c), "")
	case text == "" && r.age(c) < priceNever:
		return pending(r.Sid, soFar(c))
	case text == "":
		return executed(r.Sid, c.Bound.Lines, "the price never came")
	case !inCurrency(r.PriceUnit, c.Bound.Lines):
		return executed(r.Sid, c.Bound.Lines, "unexpected currency")
	}
	price, err := parsePrice(text)
	beside, own := besides(c.Booked)
	if !own { // at least the price, and as much as it may be
		price = max(price, amount(c.Bound.Lines, cost.Fee))
	}
	total, sumErr := cost.Add(price, beside)
	if err != nil || sumErr != nil {
		return vendors.Finding{Why: "the call's price cannot be read, or is a credit"}
	}
	return executed(r.Sid, booked(c.Bound.Lines, total, 0), "")
}

// unanswered is what a call costs that was not put through: for busy, no-answer, failed and canceled nothing is charged
// (Twilio's support, read November 2026), and nothing ran that could have called others. What else was asked for counts
// as reserved.
func unanswered(c *vendors.Case) []cost.Line {
	if beside, own := besides(c.Booked); own {
		return booked(c.Bound.Lines, beside, 0)
	}
	if slices.ContainsFunc(callExtras, c.Call.Has) {
		return c.Bound.Lines
	}
	return nothing(c.Bound.Lines)
}

// reconcileCallUpdate looks whether a call has ended, which is all that an update without a price does. What else an
// update does is billed with what it makes; once the call has ended nothing more can come.
func reconcileCallUpdate(c *vendors.Case) (vendors.Finding, error) {
	sid, free := c.Call.IDs["Sid"], len(c.Bound.Lines) == 0
	if c.Doubt && !free {
		return tells("what an update did to a call does not follow from what Twilio has of it")
	}
	if len(c.Seen) == 0 {
		return vendors.Finding{Look: &vendors.Probe{Operation: "twilio.calls.retrieve", Path: c.Call.Path}}, nil
	}
	var r record
	if why := read(c.Seen[0], &r); why != "" {
		return tells(why)
	}
	switch {
	case r.Sid != sid || r.Account != c.Call.Account:
		return tells("the answer is of another call than the one that was updated")
	case ended(r.Status):
		return executed(sid, c.Bound.Lines, ""), nil
	case c.Doubt:
		return tells("the call has not ended")
	}
	return pending(sid, soFar(c)), nil
}

// soFar is what the call counts for as long as its price is to come.
func soFar(c *vendors.Case) []cost.Line {
	if len(c.Booked) > 0 {
		return c.Booked
	}
	return c.Bound.Lines
}
