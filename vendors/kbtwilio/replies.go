package kbtwilio

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/vendors"
)

// lookAgain is when a price that is not there yet is worth asking for: Twilio may take "up to 24 hours in rare
// cases" (Twilio's documentation, read November 2026).
const lookAgain = 24 * time.Hour

// An apiError is what the classic API and the v1.0 APIs have in common in their refusals.
type apiError struct {
	Code    int     `json:"code"`
	Message *string `json:"message"`
}

// outcome reads what a first send's reply proves. Only Twilio's own error under a 4xx is proof that nothing was
// executed or billed (Twilio's documentation, read November 2026); a page of something in between proves nothing, nor
// does any 5xx, nor a redirect, which twilio-go takes for a success. Twilio's codes have five digits or more; a
// gateway's are a status.
func outcome(c *vendors.Call, r *vendors.Reply) vendors.Outcome {
	if r.Status < 400 || r.Status > 499 || r.Status == http.StatusRequestTimeout {
		return vendors.ByStatus(c, r)
	}
	var e apiError
	if json.Unmarshal(r.Body, &e) != nil || e.Code < 10_000 || e.Message == nil {
		return vendors.OutcomeUnknown
	}
	return vendors.NotExecuted
}

// outcomeMessage is Pending for a text that Twilio took and has not priced, which is nearly every one.
func outcomeMessage(c *vendors.Call, r *vendors.Reply) vendors.Outcome {
	o := outcome(c, r)
	if o != vendors.Executed {
		return o
	}
	if m, err := readMessage(r.Body); err == nil && m.final() {
		return vendors.Executed
	}
	return vendors.Pending
}

// A sent is what Twilio says of a text. Numbers are strings; the price is null until the text was sent.
type sent struct {
	Sid       string  `json:"sid"`
	Status    string  `json:"status"`
	Segments  *string `json:"num_segments"`
	Price     *string `json:"price"`
	PriceUnit string  `json:"price_unit"`
}

var messageSid = regexp.MustCompile(`^(SM|MM)[A-Za-z0-9_-]{1,255}$`)

// readMessage reads a text out of a reply. It refuses XML, which Twilio answers to a path without .json, and whatever
// names no message.
func readMessage(body []byte) (m sent, err error) {
	if err := json.Unmarshal(body, &m); err != nil || !messageSid.MatchString(m.Sid) {
		return sent{}, errors.New("kbtwilio: the reply names no message")
	}
	return m, nil
}

// final reports whether the price of m is there and will not change: after the text has left.
func (m sent) final() bool { return m.left() && m.Price != nil }

// left reports whether Twilio has done with m what it does.
func (m sent) left() bool {
	switch m.Status {
	case "sent", "delivered", "undelivered", "failed", "read", "partially_delivered":
		return true
	}
	return false
}

// settleMessage books the price once it is there, and until then the bound. A price in another currency than was
// reserved leaves the bound standing, for a person to see.
func settleMessage(_ *vendors.Call, b vendors.Bound, r *vendors.Reply) (vendors.Settlement, error) {
	m, err := readMessage(r.Body)
	if err != nil {
		return vendors.Settlement{}, err
	}
	segments, err := m.segments()
	if err != nil {
		return vendors.Settlement{}, err
	}
	s := vendors.Settlement{Objects: []string{m.Sid}}
	if !m.final() {
		s.Again = lookAgain
		s.Actual, err = atLeast(b.Lines, segments)
		return s, err
	}
	price, err := parsePrice(*m.Price)
	if err != nil {
		return vendors.Settlement{}, err
	}
	if !inCurrency(m.PriceUnit, b.Lines) {
		s.Actual, s.Flag = b.Lines, "unexpected currency"
		return s, nil
	}
	s.Actual = booked(b.Lines, price, segments)
	return s, nil
}

// booked is the bound with the price and the segments that Twilio reports. Only what was reserved is booked: under
// a rule's ceiling no units are.
func booked(bound []cost.Line, price, segments int64) []cost.Line {
	lines := slices.Clone(bound)
	for i, l := range lines {
		switch {
		case l.Meter == cost.Fee:
			lines[i].Amount = price
		case l.Meter == cost.Units && segments > 0:
			lines[i].Amount = segments
		}
	}
	return lines
}

// segments is how many Twilio counted; 0 means that it has not, as with a Messaging Service that has yet to choose a
// sender (Twilio's documentation, read November 2026).
func (m sent) segments() (int64, error) {
	if m.Segments == nil {
		return 0, nil
	}
	n, err := cost.ParseCount(*m.Segments)
	if err != nil {
		return 0, errors.New("kbtwilio: the reply's number of segments cannot be read")
	}
	return n, nil
}

// atLeast is the bound, raised in proportion where Twilio counted more segments than it: then more will be billed
// than was reserved, and the ledger has to know now, not when the price comes.
func atLeast(bound []cost.Line, segments int64) ([]cost.Line, error) {
	reserved := amount(bound, cost.Units)
	if segments <= reserved || reserved == 0 {
		return bound, nil
	}
	raised := make([]cost.Line, 0, len(bound))
	for _, l := range bound {
		n, err := cost.Mul(l.Amount, segments)
		if err != nil {
			return nil, err
		}
		l.Amount = (n + reserved - 1) / reserved
		raised = append(raised, l)
	}
	return raised, nil
}

func amount(lines []cost.Line, meter cost.Meter) int64 {
	for _, l := range lines {
		if l.Meter == meter {
			return l.Amount
		}
	}
	return 0
}

// feeCurrency is the currency that was reserved: the card's, or a ceiling's.
func feeCurrency(lines []cost.Line) cost.Currency {
	for _, l := range lines {
		if l.Meter == cost.Fee {
			return l.Currency
		}
	}
	return ""
}

// inCurrency reports whether a price is in the currency that was reserved. The case of its unit varies.
func inCurrency(unit string, lines []cost.Line) bool {
	return cost.Currency(strings.ToUpper(unit)) == feeCurrency(lines)
}

// parsePrice reads a price as Twilio writes it, "-0.00750": a debit is negative. What is finer than a micro-unit is
// rounded up. A price without a minus would be a credit; it is refused, since booking it either way is a guess.
func parsePrice(s string) (int64, error) {
	debit, negative := strings.CutPrefix(s, "-")
	n, err := roundUp(debit)
	if err != nil {
		return 0, errors.New("kbtwilio: the reply's price cannot be read")
	}
	if n > 0 && !negative {
		return 0, errors.New("kbtwilio: the reply's price is a credit")
	}
	return n, nil
}

// restErrorV1 is twilio-go's error of the v1.0 APIs, field for field: whether a body decodes into it decides whether
// twilio-go v1.31.0 sends the call again (client.go:107, measured November 2026).
type restErrorV1 struct {
	Code           int            `json:"code"`
	Message        string         `json:"message"`
	HTTPStatusCode int            `json:"httpStatusCode"`
	Params         map[string]any `json:"params"`
	UserError      bool           `json:"userError"`
}

// resends reports whether twilio-go would send c again: it does for the v1.0 APIs, after an error that it cannot
// read. It does not after a broken connection, but Twilio has no memory of the call, so that the caller is told not to.
func resends(c *vendors.Call, r *vendors.Reply) bool {
	if r == nil {
		return true
	}
	if r.Status >= 200 && r.Status < 400 || c.Header.Get(apiVersion) != "v1.0" {
		return false
	}
	return json.NewDecoder(bytes.NewReader(r.Body)).Decode(&restErrorV1{}) != nil
}
