package kbtwilio

import (
	"encoding/json"
	"errors"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/vendors"
)

// longestCall is how long a call lasts at most where its request does not say: an account may have Twilio raise its
// 4 hours to 24, and the request does not tell (Twilio's documentation, read November 2026).
const longestCall = 24 * 60 * 60

// boundCall prices one outgoing call: its limit in minutes, at the dearest price of its destination, and what is
// billed beside it. What it runs once it is answered has to be in the request and call nobody else. A Twiml that may is
// nobody's to grant by name, so whom it calls is one recipient more, unknown: no rule that lists countries or recipients
// lets it through, whatever its ceiling.
func (t tariff) boundCall(c *vendors.Call, _ *vendors.Reply) (vendors.Bound, error) {
	b, to, country, err := t.leg(c)
	if err != nil {
		return vendors.Bound{}, err
	}
	for _, name := range []string{"Url", "FallbackUrl", "ApplicationSid"} {
		if value, _ := c.Get(name); value != "" {
			b.add(0, 0, name+": what the call runs is not in the request and may call others; send Twiml, or give the rule a ceiling")
		}
	}
	twiml, ok := c.Get("Twiml")
	if !ok {
		return b.bound(to, country)
	}
	said, why := saidBy(twiml)
	b.add(0, 0, why)
	if said > 0 {
		b.use((said+99)/100, "call.say")
	}
	bound, err := b.bound(to, country)
	if why != "" {
		bound.Recipients, bound.Countries = append(bound.Recipients, "?"), append(bound.Countries, unknownCountry)
	}
	return bound, err
}

// boundParticipant prices a call into a conference.
func (t tariff) boundParticipant(c *vendors.Call, _ *vendors.Reply) (vendors.Bound, error) {
	b, to, country, err := t.leg(c)
	if err != nil {
		return vendors.Bound{}, err
	}
	minutes, _ := minutes(c)
	b.use(minutes, "conference")
	if value, _ := c.Get("WaitUrl"); value != "" {
		b.add(0, 0, "WaitUrl: what the call runs is not in the request; leave it out, or give the rule a ceiling")
	}
	if value, _ := c.Get("ConferenceRecord"); value != "" && value != "false" && value != "do-not-record" {
		b.use(minutes, "call.recording")
	}
	return b.bound(to, country)
}

// leg is the bill of one call as far as calls and participants are alike.
func (t tariff) leg(c *vendors.Call) (b bill, to, country string, err error) {
	b = bill{tariff: t}
	minutes, err := minutes(c)
	if err != nil {
		return b, "", "", err
	}
	to, _ = c.Get("To")
	country = unknownCountry
	switch scheme, _, _ := strings.Cut(to, ":"); {
	case e164.MatchString(to):
		country = countryOf(to)
		micros, why := t.perMinute(to, country)
		b.add(minutes, micros, why)
	case scheme == "client" || scheme == "sip":
		b.use(minutes, "call."+scheme)
		to = "?"
	default:
		return b, "", "", invalid("To", "give one number in E.164 form, + and 7 to 15 digits, or an address with client: or sip:")
	}
	if value, _ := c.Get("MachineDetection"); value != "" {
		b.use(1, "call.machine_detection")
	}
	if value, _ := c.Get("Record"); value != "" && value != "false" || c.Has("RecordingConfigurationId") {
		b.use(minutes, "call.recording")
	}
	for _, name := range []string{"CallReason", "Byoc", "Passports"} {
		if value, _ := c.Get(name); value != "" {
			b.add(0, 0, name+": the rate card has no price for it; leave it out, or give the rule a ceiling")
		}
	}
	return b, to, country, nil
}

// minutes is how long a call lasts at most.
func minutes(c *vendors.Call) (int64, error) {
	seconds := int64(longestCall)
	if limit, ok := c.Get("TimeLimit"); ok {
		n, err := cost.ParseCount(limit)
		if err != nil || n < 1 || n > longestCall {
			return 0, invalid("TimeLimit", "give whole seconds, from 1 to %d", longestCall)
		}
		seconds = n
	}
	return (seconds + 59) / 60, nil
}

// boundCallUpdate allows to end a call, which costs nothing. Everything else can make it longer or call others.
func boundCallUpdate(c *vendors.Call, _ *vendors.Reply) (vendors.Bound, error) {
	if ends(c) {
		return vendors.Bound{Kind: vendors.Exact}, nil
	}
	return noPrice(c, nil)
}

// ends reports whether c is an update that ends a call and does nothing else.
func ends(c *vendors.Call) bool {
	status, _ := c.Get("Status")
	return c.Operation.Name == callsUpdate && (status == "completed" || status == "canceled") &&
		!slices.ContainsFunc([]string{"Url", "Twiml", "FallbackUrl", "TimeLimit"}, c.Has)
}

// A called is what Twilio says of a call.
type called struct {
	Sid       string  `json:"sid"`
	CallSid   string  `json:"call_sid"` // of a participant
	Status    string  `json:"status"`
	Price     *string `json:"price"`
	PriceUnit string  `json:"price_unit"`
}

var callSid = regexp.MustCompile(`^CA[A-Za-z0-9_-]{1,255}$`)

// settleCall books the bound until the call has ended and has a price, which says what the connection cost and nothing
// beside it. Where the bound is the row's own, it is booked in two lines, connection and what is beside it, so that
// [tariff.callCost] knows later which of them the price takes the place of. Under a rule's ceiling it stands.
func (t tariff) settleCall(c *vendors.Call, b vendors.Bound, r *vendors.Reply) (vendors.Settlement, error) {
	var call called
	if err := json.Unmarshal(r.Body, &call); err != nil {
		return vendors.Settlement{}, errors.New("kbtwilio: the reply names no call")
	}
	sid := call.Sid
	if sid == "" {
		sid = call.CallSid
	}
	if !callSid.MatchString(sid) {
		return vendors.Settlement{}, errors.New("kbtwilio: the reply names no call")
	}
	s := vendors.Settlement{Actual: b.Lines, Objects: []string{sid}}
	apart := t.apart(c, b)
	beside, own := besides(apart)
	switch {
	case len(b.Lines) == 0: // it was ended, which costs nothing
	case call.Price == nil || !ended(call.Status):
		s.Actual, s.Again = apart, lookAgain
	case !own:
	case !inCurrency(call.PriceUnit, b.Lines):
		s.Flag = "unexpected currency"
	default:
		price, err := parsePrice(*call.Price)
		if err != nil {
			return vendors.Settlement{}, err
		}
		if price, err = cost.Add(price, beside); err != nil {
			return vendors.Settlement{}, err
		}
		s.Actual = booked(b.Lines, price, 0)
	}
	return s, nil
}

// apart is the bound of c with what the connection can cost in a line of its own, before the line of what is billed
// beside it. A bound that is not the row's own, a rule's ceiling, stays as it is: what it covers is not known.
func (t tariff) apart(c *vendors.Call, b vendors.Bound) []cost.Line {
	bound := t.boundCall
	switch c.Operation.Name {
	case callsCreate:
	case participantsCreate:
		bound = t.boundParticipant
	default:
		return b.Lines
	}
	own, err := bound(c, nil)
	minutes, minutesErr := minutes(c)
	to, _ := c.Get("To")
	if err != nil || minutesErr != nil || !e164.MatchString(to) || len(b.Lines) != 1 || !slices.Equal(own.Lines, b.Lines) {
		return b.Lines
	}
	rate, _ := t.perMinute(to, countryOf(to))
	connection := b.Lines[0]
	connection.Amount, err = cost.Mul(minutes, rate)
	if beside := b.Lines[0]; err == nil && connection.Amount <= beside.Amount {
		beside.Amount -= connection.Amount
		return []cost.Line{connection, beside}
	}
	return b.Lines
}

// besides is what is billed beside the connection, where lines say that in a line of its own.
func besides(lines []cost.Line) (micros int64, ok bool) {
	if len(lines) != 2 || lines[0].Meter != cost.Fee || lines[1].Meter != cost.Fee || lines[0].Currency != lines[1].Currency {
		return 0, false
	}
	return lines[1].Amount, true
}

func ended(status string) bool {
	switch status {
	case "completed", "busy", "failed", "no-answer", "canceled":
		return true
	}
	return false
}

// outcomeCall is Pending until the call has ended and has a price.
func outcomeCall(c *vendors.Call, r *vendors.Reply) vendors.Outcome {
	o := outcome(c, r)
	if o != vendors.Executed || ends(c) {
		return o
	}
	var call called
	if err := json.Unmarshal(r.Body, &call); err == nil && ended(call.Status) && call.Price != nil {
		return vendors.Executed
	}
	return vendors.Pending
}

// boundPayment is the amount that a payment by telephone takes, and the fee for it.
func (t tariff) boundPayment(c *vendors.Call, _ *vendors.Reply) (vendors.Bound, error) {
	b := bill{tariff: t}
	b.use(1, "pay")
	bound, err := b.bound("?", unknownCountry)
	amount, sent := c.Get("ChargeAmount")
	if err != nil || !sent {
		return bound, err // without an amount a card is kept and not charged
	}
	n, err := cost.ParseDecimal(amount)
	if err != nil {
		return vendors.Bound{}, invalid("ChargeAmount", "give a decimal number of the currency's major unit")
	}
	currency := "USD" // Twilio's default
	if given, ok := c.Get("Currency"); ok {
		currency = strings.ToUpper(given)
	}
	if !cost.Currency(currency).Valid() {
		return vendors.Bound{}, invalid("Currency", "give a currency code of three letters")
	}
	if n > 0 {
		bound.Lines = append(bound.Lines, cost.Line{Meter: cost.Charge, Currency: cost.Currency(currency), Amount: n})
	}
	return bound, nil
}

// boundPaymentUpdate lets a payment be called off for nothing. To complete one takes the amount that it was begun
// with, which the request does not name.
func boundPaymentUpdate(c *vendors.Call, _ *vendors.Reply) (vendors.Bound, error) {
	if status, _ := c.Get("Status"); status == "cancel" && !c.Has("Capture") {
		return vendors.Bound{Kind: vendors.Exact}, nil
	}
	return unknownReach("the amount is that with which the payment was begun; give its rule a ceiling")(c, nil)
}

// settleNamed books the bound for a reply that names an object whose id begins with one of prefixes, and says flag.
func settleNamed(flag string, prefixes ...string) func(*vendors.Call, vendors.Bound, *vendors.Reply) (vendors.Settlement, error) {
	return func(_ *vendors.Call, b vendors.Bound, r *vendors.Reply) (vendors.Settlement, error) {
		var named struct {
			Sid string `json:"sid"`
		}
		if err := json.Unmarshal(r.Body, &named); err == nil {
			for _, p := range prefixes {
				if rest, ok := strings.CutPrefix(named.Sid, p); ok && len(rest) == 32 {
					return vendors.Settlement{Actual: b.Lines, Objects: []string{named.Sid}, Flag: flag}, nil
				}
			}
		}
		return vendors.Settlement{}, errors.New("kbtwilio: the reply names no object that begins with " + strings.Join(prefixes, " or "))
	}
}

// count reads a whole number out of a parameter, or takes one where it was not sent.
func count(c *vendors.Call, name string, most, otherwise int64) (int64, error) {
	text, ok := c.Get(name)
	if !ok {
		return otherwise, nil
	}
	n, err := cost.ParseCount(text)
	if err != nil || n < 1 || n > most {
		return 0, invalid(name, "give a whole number from 1 to %s", strconv.FormatInt(most, 10))
	}
	return n, nil
}
