package kbtwilio

import (
	"fmt"
	"strings"

	"github.com/keybrake/keybrake-go/cost"
)

// A RateCard says what one segment of a text costs at most, by destination. It is plain data: fill it from
// Twilio's Pricing API or from your contract. A destination that it does not list is not sent to, unless the
// policy's rule gives a ceiling: prices differ more than tenfold between countries.
type RateCard struct {
	Source   string        // where the prices are from, for a person: a page or a contract
	Date     string        // when they were read: "2026-11-09"
	Currency cost.Currency // of the prices and of the account; the empty one is USD
	Rates    []Rate
}

// A Rate is the price of one segment to a country, or to the numbers of it that start with Prefix. Of several
// that match, the longest Prefix decides, and among equals the dearest.
type Rate struct {
	Country    string // ISO 3166 alpha-2: "US"
	Prefix     string // digits after the +; empty is the whole country
	PerSegment string // a decimal number of Currency, carriers' fees included: "0.0133"
}

// DefaultRates is a card for the United States without its territories, and for Canada; every other country is
// unknown to it. Its prices are upper bounds out of third parties' readings of price pages, high rather than low:
// put your own in [Options].
//
// United States: $0.0083 from every kind of sender (Twilio's page as read 2026-11-09), and the dearest carrier's
// fee, $0.005 (read 2026-09-24; both from its price pages). Canada: $0.0083 (LeadConnector's copy of Twilio's prices)
// and the dearest carrier's fee, CAD 0.021 taken as $0.0167 (Bandwidth, "Canadian Operator Fees"; read 2026-11).
func DefaultRates() RateCard {
	return RateCard{
		Source:   "third parties' readings of Twilio's price pages",
		Date:     "2026-11-09",
		Currency: "USD",
		Rates: []Rate{
			{Country: "US", PerSegment: "0.0133"},
			{Country: "CA", PerSegment: "0.025"},
		},
	}
}

// A tariff is a rate card, read. A card with a mistake in it has no price for anybody, rather than a wrong one.
type tariff struct {
	card   RateCard
	prices []price
	err    error
}

type price struct {
	country, prefix string
	perSegment      int64
}

func newTariff(card RateCard) tariff {
	if card.Currency == "" {
		card.Currency = "USD"
	}
	t := tariff{card: card}
	if !card.Currency.Valid() {
		t.err = fmt.Errorf("%q is not a currency code", card.Currency)
	}
	for _, r := range card.Rates {
		n, err := cost.ParseDecimal(r.PerSegment)
		if err != nil {
			t.err = fmt.Errorf("the rate for %s: %w", r.Country, err)
		}
		prefix := strings.TrimPrefix(r.Prefix, "+")
		if strings.Trim(prefix, "0123456789") != "" { // would match no number, and the country's cheaper price would
			t.err = fmt.Errorf("the rate for %s: the prefix %q is not digits alone", r.Country, r.Prefix)
		}
		t.prices = append(t.prices, price{r.Country, prefix, n})
	}
	return t
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
	if err := t.unreadable(); err != nil {
		return 0, err.Error()
	}
	if country == unknownCountry {
		return 0, "the number is a premium, toll-free, personal or satellite number, or of no known country"
	}
	found := -1
	for _, p := range t.prices {
		if p.country != country || !strings.HasPrefix(number, "+"+p.prefix) {
			continue
		}
		if n := len(p.prefix); n > found || n == found && p.perSegment > micros {
			found, micros = n, p.perSegment
		}
	}
	if found < 0 {
		return 0, fmt.Sprintf("the rate card of %s has no price for %s; add one to kbtwilio's Options.Rates", t.card.Date, country)
	}
	return micros, ""
}
