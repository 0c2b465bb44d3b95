package kbtwilio

import (
	"slices"
	"strings"

	"github.com/keybrake/keybrake-go/vendors"
)

// boundNumber prices the first month of a number of one of kinds: the dearest of them. The months after it are
// billed without another call, which its settlement says with the flag "recurring".
func (t tariff) boundNumber(kinds ...string) func(*vendors.Call, *vendors.Reply) (vendors.Bound, error) {
	return func(c *vendors.Call, _ *vendors.Reply) (vendors.Bound, error) {
		country, why := bought(c)
		b := bill{tariff: t}
		if err := t.unreadable(); err != nil {
			why = err.Error()
		}
		dearest := int64(-1)
		for kind, monthly := range t.numbers[country] {
			if slices.Contains(kinds, kind) {
				dearest = max(dearest, monthly)
			}
		}
		if why == "" && dearest < 0 {
			why = "the rate card of " + t.card.Date + " has no price of a number of " + country + "; add one to kbtwilio's Options.Rates"
		}
		b.add(1, max(dearest, 0), why)
		return b.bound("?", country)
	}
}

// tollFree are the area codes of the United States' and Canada's toll-free numbers, which one price list has.
var tollFreeAreas = []string{"800", "833", "844", "855", "866", "877", "888"}

// bought is the country of the number that is bought, or why it is not known.
func bought(c *vendors.Call) (country, why string) {
	if number, ok := c.Get("PhoneNumber"); ok {
		if strings.HasPrefix(number, "+1") && len(number) == 12 && slices.Contains(tollFreeAreas, number[2:5]) {
			return "US", ""
		}
		if e164.MatchString(number) && countryOf(number) != unknownCountry {
			return countryOf(number), ""
		}
		return unknownCountry, "PhoneNumber: it is of no known country; give the rule a ceiling"
	}
	area, _ := c.Get("AreaCode")
	if country, ok := areas[area]; ok {
		return country, ""
	}
	return unknownCountry, "neither PhoneNumber nor AreaCode says of which country the number is; give the rule a ceiling"
}

// boundCallerID is the fee of a check of a caller's number: Twilio calls it.
func (t tariff) boundCallerID(c *vendors.Call, _ *vendors.Reply) (vendors.Bound, error) {
	to, _ := c.Get("PhoneNumber")
	if !e164.MatchString(to) {
		return vendors.Bound{}, invalid("PhoneNumber", "give one number in E.164 form, + and 7 to 15 digits")
	}
	b := bill{tariff: t}
	b.use(1, "number.verification")
	return b.bound(to, countryOf(to))
}
