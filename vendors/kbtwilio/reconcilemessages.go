package kbtwilio

import (
	"slices"
	"strings"

	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/vendors"
)

// messageTrace is what is kept of a message: whom it went to, and not what it says.
var messageTrace = []string{"To", "From", "MessagingServiceSid"}

// messageTrail is the trail of a message.
func (t tariff) messageTrail() trail {
	return trail{
		one: "twilio.messages.retrieve", own: messageSid, path: object("Messages"), cost: t.messageCost,
		list: "twilio.messages.list", in: collection("Messages"), name: "messages", sid: messageSid,
		query: func(c *vendors.Case) []vendors.Param { return correspondents(c, "DateSent>") },
		ours: func(c *vendors.Case, r record) bool {
			segments, err := sent{Segments: r.Segments}.segments()
			return err == nil && corresponds(c, r) && !exceeds(c.Bound.Lines, segments)
		},
	}
}

// correspondents are the filters by which a message or call is found again, after is that for the time: nil without a
// recipient and a sender. With a Messaging Service the sender is its choice.
func correspondents(c *vendors.Case, after string) []vendors.Param {
	to, from := param(c, "To"), param(c, "From")
	switch {
	case to == "" || from == "" && param(c, "MessagingServiceSid") == "":
		return nil
	case from == "":
		return []vendors.Param{{Name: "To", Value: to}, since(c, after)}
	}
	return []vendors.Param{{Name: "To", Value: to}, {Name: "From", Value: from}, since(c, after)}
}

// corresponds reports whether r goes from whom to whom the call said, and was made by a call.
func corresponds(c *vendors.Case, r record) bool {
	if from := param(c, "From"); from != "" && r.From != from {
		return false
	}
	if service := param(c, "MessagingServiceSid"); service != "" && r.Messaging != service {
		return false
	}
	return r.To == param(c, "To") && r.Direction == "outbound-api"
}

// exceeds reports whether a text has more segments than were reserved: it is of another body.
func exceeds(bound []cost.Line, segments int64) bool {
	reserved := amount(bound, cost.Units)
	return reserved > 0 && segments > reserved
}

// unbilled are the errors of messages that failed for which Twilio bills no fee either (Twilio's documentation of its
// failed message processing fee, read November 2026).
var unbilled = []int{
	12400, 20500, 20504, 30103, 30500, 63010, 63012, // its own
	30036,                      // too old to be sent
	30002, 30454, 63038, 90010, // a suspension or a limit
	30450, 21408, // guarded against: pumping, countries
	63013, 63018, 63021, 63024, 63032, 30008, // Meta's, and unknown ones
}

// messageCost is what the message that the reply named has cost.
func (t tariff) messageCost(c *vendors.Case, r record) vendors.Finding {
	m := sent{Sid: r.Sid, Status: r.Status, Segments: r.Segments, PriceUnit: r.PriceUnit}
	price, readable := r.price()
	segments, err := m.segments()
	switch {
	case !readable || err != nil:
		return vendors.Finding{Why: "the message's price or segments cannot be read"}
	case price != "":
		m.Price = &price
	}
	switch age := r.age(c); {
	case m.Status == "canceled":
		return executed(m.Sid, nothing(c.Bound.Lines), "")
	case m.final():
		return priced(c, m, price, segments)
	case age < priceLate:
	case m.Status == "failed":
		return executed(m.Sid, t.failed(c.Bound.Lines, r.Error), "")
	case m.Status == "undelivered" && strings.HasPrefix(r.To, "whatsapp:"):
		return executed(m.Sid, nothing(c.Bound.Lines), "") // not charged (Twilio's documentation, read November 2026)
	case m.left() && age >= priceNever:
		return executed(m.Sid, c.Bound.Lines, "the price never came")
	}
	lines, err := atLeast(c.Bound.Lines, segments)
	if err != nil {
		return vendors.Finding{Why: "the message has more segments than can be counted"}
	}
	return pending(m.Sid, lines)
}

// priced is a message or call with the price that Twilio shows. In another currency than was reserved the bound stands,
// for a person to see.
func priced(c *vendors.Case, m sent, text string, segments int64) vendors.Finding {
	price, err := parsePrice(text)
	switch {
	case err != nil:
		return vendors.Finding{Why: "the price cannot be read, or is a credit"}
	case !inCurrency(m.PriceUnit, c.Bound.Lines):
		return executed(m.Sid, c.Bound.Lines, "unexpected currency")
	}
	return executed(m.Sid, booked(c.Bound.Lines, price, segments), "")
}

// failed is what a message costs that could not be sent: a fee, but for some errors.
func (t tariff) failed(bound []cost.Line, code *int) []cost.Line {
	if code != nil && slices.Contains(unbilled, *code) {
		return nothing(bound)
	}
	fee, why := t.fee("message.failed")
	if why != "" || fee > amount(bound, cost.Fee) || t.card.Currency != feeCurrency(bound) {
		return bound
	}
	return booked(bound, fee, 0)
}

// reconcileMessageUpdate looks whether a message was cancelled. It costs nothing either way.
func reconcileMessageUpdate(c *vendors.Case) (vendors.Finding, error) {
	sid := c.Call.IDs["Sid"]
	if !c.Doubt || param(c, "Status") != "canceled" {
		return tells("only that a message was cancelled can be seen at Twilio")
	}
	if len(c.Seen) == 0 {
		return vendors.Finding{Look: &vendors.Probe{Operation: "twilio.messages.retrieve", Path: c.Call.Path}}, nil
	}
	var r record
	if why := read(c.Seen[0], &r); why != "" {
		return tells(why)
	}
	switch {
	case r.Sid != sid || r.Account != c.Call.Account:
		return tells("the answer is of another message than the call's")
	case r.Status == "canceled":
		return executed(sid, c.Bound.Lines, ""), nil
	case (sent{Status: r.Status}).left():
		return vendors.Finding{Outcome: vendors.NotExecuted, Why: "the message was sent, not cancelled"}, nil
	}
	return tells("the message is neither cancelled nor sent yet")
}
