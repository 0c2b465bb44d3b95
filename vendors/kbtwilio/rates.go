package kbtwilio

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/vendors"
)

// A RateCard says what is billed at most, by destination and by use. It is plain data: fill it from your contract, or
// with [RateCard.WithPrices] from Twilio's Pricing API. What it does not list is not sent, unless the policy's rule gives
// a ceiling: prices differ more than tenfold between countries.
type RateCard struct {
	Source   string        // where the prices are from, for a person: a page or a contract
	Date     string        // when they were read: "2026-11-09"
	Currency cost.Currency // of the prices and of the account; the empty one is USD
	Rates    []Rate        // of texts
	Calls    []CallRate
	Numbers  []NumberRate

	// CarrierFees are what carriers add to each segment, by country. The Pricing API's prices are without them, so that
	// [RateCard.WithPrices] adds them; Rates have them in.
	CarrierFees map[string]string

	// Fees are the prices of single uses, decimal numbers of Currency by name. Those with a country in the name are
	// for numbers of that country, with everything that is billed beside them:
	//
	//	mms.US                     a picture message
	//	whatsapp.US, messenger     a message by that channel, Meta's fee for a template included
	//	rcs.US                     160 bytes of an RCS message
	//	message.failed             a message that was taken and could not be sent
	//	call.sip, call.client      a minute to such an address
	//	call.machine_detection     once a call
	//	call.recording             a minute of a call that is recorded
	//	call.say                   100 characters that TwiML says
	//	conference                 a minute of a participant
	//	pay                        a payment by telephone
	//	number.verification        a check of a caller's number by call or text
	//	verify.sms.US, verify.call.US, verify.whatsapp.US, verify.rcs.US, verify.sna.US, verify.email
	//	                           an attempt to verify by that channel
	//	verify.success             a verification that succeeds
	//	lookup.line_type_intelligence
	//	                           a package of a lookup, by the name that Fields has
	//	video                      a minute of a participant of a room
	Fees map[string]string
}

// A Rate is the price of one segment to a country, or to the numbers of it that start with Prefix. Of several
// that match, the longest Prefix decides, and among equals the dearest.
type Rate struct {
	Country    string // ISO 3166 alpha-2: "US"
	Prefix     string // digits after the +; empty is the whole country
	PerSegment string // a decimal number of Currency, carriers' fees included: "0.0133"
}

// A CallRate is the price of one minute of a call to the numbers of a country that start with Prefix, chosen as a
// [Rate] is.
type CallRate struct {
	Country   string
	Prefix    string
	PerMinute string
}

// numberTypes are the types of numbers as the Pricing API has them.
var numberTypes = []string{"local", "mobile", "national", "toll free"}

// A NumberRate is what a telephone number costs every month.
type NumberRate struct {
	Country string
	Type    string // as the Pricing API has it: "local", "mobile", "national" or "toll free"
	Monthly string
}

// DefaultRates is a card for texts to the United States without its territories and to Canada, for numbers of the
// United States, and for verifications that succeed; everything else is unknown to it. Its prices are upper bounds out
// of third parties' readings of price pages, high rather than low: put your own in [Options].
//
// Texts, United States: $0.0083 from every kind of sender (Twilio's page as read 2026-11-09), and the dearest carrier's
// fee, $0.005 (read 2026-09-24; both from its price pages). Canada: $0.0083 (LeadConnector's copy of Twilio's prices)
// and the dearest carrier's fee, CAD 0.021 taken as $0.0167 (Bandwidth, "Canadian Operator Fees"; read 2026-11).
// Numbers: $1.15 and $2.15 a month (read 2026-11-09). A verification that succeeds: $0.05 (several projects, read 2026-11).
// A message that failed: $0.001 (Twilio's page, read 2026-11).
func DefaultRates() RateCard {
	return RateCard{
		Source:   "third parties' readings of Twilio's price pages",
		Date:     "2026-11-09",
		Currency: "USD",
		Rates: []Rate{
			{Country: "US", PerSegment: "0.0133"},
			{Country: "CA", PerSegment: "0.025"},
		},
		Numbers: []NumberRate{
			{Country: "US", Type: "local", Monthly: "1.15"},
			{Country: "US", Type: "toll free", Monthly: "2.15"},
		},
		CarrierFees: map[string]string{"US": "0.005", "CA": "0.0167"},
		Fees:        map[string]string{"verify.success": "0.05", "message.failed": "0.001"},
	}
}

// A tariff is a rate card, read. A card with a mistake in it has no price for anybody, rather than a wrong one.
type tariff struct {
	card    RateCard
	texts   []price
	calls   []price
	numbers map[string]map[string]int64 // by country and type, a month
	fees    map[string]int64
	err     error
}

type price struct {
	country, prefix string
	micros          int64
}

func newTariff(card RateCard) tariff {
	if card.Currency == "" {
		card.Currency = "USD"
	}
	t := tariff{card: card, numbers: map[string]map[string]int64{}, fees: map[string]int64{}}
	if !card.Currency.Valid() {
		t.err = fmt.Errorf("%q is not a currency code", card.Currency)
	}
	for _, r := range card.Rates {
		t.texts = append(t.texts, t.price(r.Country, r.Prefix, r.PerSegment))
	}
	for _, r := range card.Calls {
		t.calls = append(t.calls, t.price(r.Country, r.Prefix, r.PerMinute))
	}
	for _, r := range card.Numbers {
		p := t.price(r.Country, "", r.Monthly)
		if !slices.Contains(numberTypes, r.Type) {
			t.err = fmt.Errorf("%q is not a type of number; those are %s", r.Type, strings.Join(numberTypes, ", "))
		}
		if t.numbers[r.Country] == nil {
			t.numbers[r.Country] = map[string]int64{}
		}
		t.numbers[r.Country][r.Type] = max(t.numbers[r.Country][r.Type], p.micros)
	}
	for country, amount := range card.CarrierFees {
		t.price(country, "", amount)
	}
	for name, amount := range card.Fees {
		n, err := roundUp(amount)
		if err != nil {
			t.err = fmt.Errorf("the fee %s: %w", name, err)
		}
		if !knownFee(name) { // misspelt, it would price nothing, and nobody would see why
			t.err = fmt.Errorf("%q is not the name of a fee", name)
		}
		t.fees[name] = n
	}
	return t
}

// price reads one price. What is wrong with it is the tariff's err.
func (t *tariff) price(country, prefix, amount string) price {
	n, err := roundUp(amount)
	if err != nil {
		t.err = fmt.Errorf("the rate for %s: %w", country, err)
	}
	digits := strings.TrimPrefix(prefix, "+")
	if strings.Trim(digits, "0123456789") != "" { // would match no number, and the country's cheaper price would
		t.err = fmt.Errorf("the rate for %s: the prefix %q is not digits alone", country, prefix)
	}
	return price{country, digits, n}
}

// roundUp reads a decimal number. What is finer than a micro-unit is rounded up.
func roundUp(s string) (int64, error) {
	whole, frac, _ := strings.Cut(s, ".")
	fine := ""
	if len(frac) > 6 {
		frac, fine = frac[:6], frac[6:]
		s = whole + "." + frac
	}
	n, err := cost.ParseDecimal(s)
	if err != nil {
		return 0, err
	}
	if strings.Trim(fine, "0123456789") != "" {
		return 0, errors.New("what stands after the point is not digits alone")
	}
	if strings.Trim(fine, "0") != "" {
		n++
	}
	if n > cost.Max {
		return 0, cost.ErrRange
	}
	return n, nil
}

// The names of fees; one that ends in a dot goes on with a country, or with a package of a lookup.
var feeNames = []string{
	"mms.", "whatsapp.", "messenger", "rcs.", "message.failed", "call.sip", "call.client", "call.machine_detection", "call.recording",
	"call.say", "conference", "pay", "number.verification", "verify.sms.", "verify.call.", "verify.whatsapp.", "verify.rcs.",
	"verify.sna.", "verify.email", "verify.success", "lookup.", "video",
}

func knownFee(name string) bool {
	return slices.ContainsFunc(feeNames, func(known string) bool {
		rest, ok := strings.CutPrefix(name, known)
		switch {
		case !ok || !strings.HasSuffix(known, "."):
			return ok && rest == ""
		case known == "lookup.":
			return rest != "" && strings.Trim(rest, "abcdefghijklmnopqrstuvwxyz_-") == ""
		}
		return len(rest) == 2 && strings.ToUpper(rest) == rest
	})
}

// unreadable is what is wrong with the card and where to mend it, or nil.
func (t tariff) unreadable() error {
	if t.err == nil {
		return nil
	}
	return fmt.Errorf("kbtwilio's rate card cannot be read (%w); mend Options.Rates", t.err)
}

// perSegment is the price of one segment to number, in micro-units, or why there is none.
func (t tariff) perSegment(number, country string) (micros int64, why string) {
	return t.find(t.texts, "price", number, country)
}

// perMinute is the price of a minute of a call to number, or why there is none.
func (t tariff) perMinute(number, country string) (micros int64, why string) {
	return t.find(t.calls, "price of a call", number, country)
}

// find takes a price for a number of one country: a prefix alone is not enough, because under +1 the price for the
// United States would fit its neighbours.
func (t tariff) find(prices []price, what, number, country string) (micros int64, why string) {
	if err := t.unreadable(); err != nil {
		return 0, err.Error()
	}
	if country == unknownCountry {
		return 0, "the number is a premium, toll-free, personal or satellite number, or of no known country"
	}
	found := -1
	for _, p := range prices {
		if p.country != country || !strings.HasPrefix(number, "+"+p.prefix) {
			continue
		}
		if n := len(p.prefix); n > found || n == found && p.micros > micros {
			found, micros = n, p.micros
		}
	}
	if found < 0 {
		return 0, fmt.Sprintf("the rate card of %s has no %s for %s; add one to kbtwilio's Options.Rates", t.card.Date, what, country)
	}
	return micros, ""
}

// fee is the price of one use, or why there is none.
func (t tariff) fee(name string) (micros int64, why string) {
	if err := t.unreadable(); err != nil {
		return 0, err.Error()
	}
	micros, ok := t.fees[name]
	if !ok {
		return 0, fmt.Sprintf("the rate card of %s has no fee %q; add it to kbtwilio's Options.Rates, or give the rule a ceiling", t.card.Date, name)
	}
	return micros, ""
}

// A bill adds up what a call can cost. The first thing that has no price makes the whole unknown.
type bill struct {
	tariff tariff
	total  int64
	why    string
	err    error
}

// add puts times uses at a price on the bill.
func (b *bill) add(times, micros int64, why string) {
	n, err := cost.Mul(times, micros)
	if err == nil {
		b.total, err = cost.Add(b.total, n)
	}
	if b.why == "" {
		b.why = why
	}
	if b.err == nil {
		b.err = err
	}
}

// use puts a fee on the bill.
func (b *bill) use(times int64, name string) {
	micros, why := b.tariff.fee(name)
	b.add(times, micros, why)
}

// bound is the bill as a bound on the fees of to in country.
func (b *bill) bound(to, country string) (vendors.Bound, error) {
	bound := vendors.Bound{Why: b.why, Recipients: []string{to}, Countries: []string{country}}
	if b.why != "" || b.err != nil {
		return bound, b.err
	}
	bound.Kind = vendors.AtMost
	if b.total > 0 {
		bound.Lines = []cost.Line{{Meter: cost.Fee, Currency: b.tariff.card.Currency, Amount: b.total}}
	} else {
		bound.Kind = vendors.Exact
	}
	return bound, nil
}
