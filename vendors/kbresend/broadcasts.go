package kbresend

import (
	"encoding/json"
	"regexp"
	"strconv"

	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/reason"
	"github.com/keybrake/keybrake-go/vendors"
)

// pageSize is the most contacts that one page of a list has (Resend's documentation, read November 2026).
const pageSize = 100

const manyContacts = "the segment has more contacts than one look at it shows; give the rule a ceiling"

// objectID matches what may stand in a probe's path: an id that could not be another path.
var objectID = regexp.MustCompile(`^[A-Za-z0-9_-]{1,255}$`)

// boundBroadcast prices POST /broadcasts. A draft costs nothing. With "send" it goes out at once, to whoever is in the
// segment then: a look at the segment's contacts bounds that. Those who unsubscribed are counted, though they are not
// mailed. One that is scheduled goes to those who are in the segment later, whom nobody can count now.
func (t tariff) boundBroadcast(c *vendors.Call, seen *vendors.Reply) (vendors.Bound, error) {
	send, sent := vendors.Member(c.JSON, "send")
	switch {
	case !sent || send == nil || send == false:
		if _, scheduled := vendors.Member(c.JSON, "scheduled_at"); scheduled {
			return vendors.Bound{Kind: vendors.Unknown, Why: "a broadcast that is scheduled goes to those who are in its segment then; give the rule a ceiling"}, nil
		}
		return vendors.Bound{Kind: vendors.Exact}, nil
	case send != true:
		return vendors.Bound{}, invalid("send", "give true or false")
	case t.perBroadcast == nil:
		return vendors.Bound{Kind: vendors.Unknown, Why: "what a broadcast costs depends on the marketing plan; set Options.PricePerBroadcastRecipient of kbresend, or give the rule a ceiling"}, nil
	case c.Has("scheduled_at"):
		return vendors.Bound{Kind: vendors.Unknown, Why: "a broadcast that is scheduled goes to those who are in its segment then; give the rule a ceiling"}, nil
	}
	if seen != nil {
		return t.boundSegment(seen)
	}
	segment, ok := c.Get("segment_id")
	if audience, old := c.Get("audience_id"); old {
		if ok {
			return vendors.Bound{}, invalid("audience_id", "name one segment; audience_id is its older name")
		}
		segment = audience
	}
	if !objectID.MatchString(segment) {
		return vendors.Bound{}, invalid("segment_id", "name one segment by its id")
	}
	return vendors.Bound{Probe: &vendors.Probe{
		Operation: "resend.segments.contacts.list",
		Path:      "/segments/" + segment + "/contacts",
		Query:     []vendors.Param{{Name: "limit", Value: strconv.Itoa(pageSize)}},
	}}, nil
}

// boundSegment counts the contacts of a page that is the whole segment.
func (t tariff) boundSegment(r *vendors.Reply) (vendors.Bound, error) {
	var page struct {
		Object  string `json:"object"`
		HasMore *bool  `json:"has_more"`
		Data    []struct {
			Email string `json:"email"`
		} `json:"data"`
	}
	switch err := json.Unmarshal(r.Body, &page); {
	case r.Status != 200 || err != nil || page.Object != "list" || page.Data == nil || page.HasMore == nil:
		return vendors.Bound{}, vendors.Refuse(reason.ProbeFailed, "the segment's contacts cannot be read, so the broadcast cannot be priced")
	case *page.HasMore:
		return vendors.Bound{Kind: vendors.Unknown, Why: manyContacts}, nil
	}
	recipients := make([]string, len(page.Data))
	for i, contact := range page.Data {
		address, err := Address(contact.Email)
		if err != nil {
			address = "?" // one of the segment that no rule can name
		}
		recipients[i] = address
	}
	lines, err := linesAt(*t.perBroadcast, len(recipients))
	return vendors.Bound{Kind: vendors.AtMost, Lines: lines, Recipients: recipients}, err
}

// linesAt is what n recipients cost at a price for each.
func linesAt(price int64, n int) ([]cost.Line, error) {
	fee, err := cost.Mul(int64(n), price)
	if err != nil {
		return nil, err
	}
	return []cost.Line{
		{Meter: cost.Fee, Currency: currency, Amount: fee},
		{Meter: cost.Units, Amount: int64(n)},
	}, nil
}
