package kbtwilio

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/vendors"
)

// A priceList is one country's answer of the Pricing API, of whichever kind: Messaging/Countries of v1,
// PhoneNumbers/Countries of v1 or Voice/Countries of v2.
type priceList struct {
	ISO    string         `json:"iso_country"`
	Unit   string         `json:"price_unit"`
	Texts  *[]carrierList `json:"outbound_sms_prices"`
	Number *[]typePrice   `json:"phone_number_prices"`
	Calls  *[]prefixPrice `json:"outbound_prefix_prices"`
}

type carrierList struct {
	Prices []typePrice `json:"prices"`
}

type typePrice struct {
	Type    string `json:"number_type"`
	Current string `json:"current_price"`
}

type prefixPrice struct {
	To      []string `json:"destination_prefixes"`
	From    []string `json:"origination_prefixes"`
	Current string   `json:"current_price"`
}

// WithPrices returns the card with the prices of documents in the place of its own for the same country and kind.
// Each document is the JSON of one country as the Pricing API answers it: /v1/Messaging/Countries/{ISO},
// /v2/Voice/Countries/{ISO} or /v1/PhoneNumbers/Countries/{ISO}, asked with the account that will be billed, because
// prices are the account's. Taken is the current price, and of several that may apply the dearest.
//
// A country without a price loses the one that it had. An error names the document, counted from 1, and the card
// returned with it prices nothing: a document that cannot be read, one of another currency than the card's, a price
// that is no number, and texts of a country whose CarrierFees are not known (the United States and Canada).
func (card RateCard) WithPrices(documents ...[]byte) (RateCard, error) {
	card.Currency = cmp.Or(card.Currency, "USD")
	seen := map[string]bool{}
	for i, d := range documents {
		kind, err := card.take(d)
		if err == nil && seen[kind] {
			err = fmt.Errorf("the %s stands twice", kind)
		}
		if err != nil {
			return RateCard{}, fmt.Errorf("kbtwilio: price list %d: %w", i+1, err)
		}
		seen[kind] = true
	}
	if err := newTariff(card).err; err != nil {
		return RateCard{}, fmt.Errorf("kbtwilio: %w", err)
	}
	return card, nil
}

var isoCountry = regexp.MustCompile(`^[A-Z]{2}$`)

// take puts one document's prices on the card and says what it was.
func (card *RateCard) take(document []byte) (kind string, err error) {
	if _, err := vendors.DecodeJSON(document); err != nil { // refuses a name that stands twice
		return "", errors.New("it is not one JSON document, or a name stands twice in it")
	}
	var l priceList
	if err := json.Unmarshal(document, &l); err != nil {
		return "", fmt.Errorf("it is not of the Pricing API's form: %w", err)
	}
	switch {
	case !isoCountry.MatchString(l.ISO):
		return "", errors.New("its iso_country is not a country code of two capitals")
	case cost.Currency(strings.ToUpper(l.Unit)) != card.Currency:
		return "", fmt.Errorf("its prices are in %q and the card's in %s", l.Unit, card.Currency)
	case l.Texts != nil && l.Number == nil && l.Calls == nil:
		return "texts of " + l.ISO, card.takeTexts(l)
	case l.Number != nil && l.Texts == nil && l.Calls == nil:
		return "numbers of " + l.ISO, card.takeNumbers(l)
	case l.Calls != nil && l.Texts == nil && l.Number == nil:
		return "calls of " + l.ISO, card.takeCalls(l)
	}
	return "", errors.New("it holds none of outbound_sms_prices, phone_number_prices and outbound_prefix_prices, or several")
}

func (card *RateCard) takeTexts(l priceList) error {
	carriers, known := card.CarrierFees[l.ISO]
	if !known && (l.ISO == "US" || l.ISO == "CA") {
		return fmt.Errorf("the API's prices of %s leave out what carriers add; put that in the card's CarrierFees", l.ISO)
	}
	fee, err := roundUp(cmp.Or(carriers, "0"))
	if err != nil {
		return fmt.Errorf("the CarrierFees of %s: %w", l.ISO, err)
	}
	dearest, found := int64(0), false
	for _, c := range *l.Texts {
		for _, p := range c.Prices {
			n, err := roundUp(p.Current)
			if err != nil {
				return fmt.Errorf("the price of a text: %w", err)
			}
			dearest, found = max(dearest, n), true
		}
	}
	card.Rates = slices.DeleteFunc(slices.Clone(card.Rates), func(r Rate) bool { return r.Country == l.ISO })
	if !found {
		return nil
	}
	total, err := cost.Add(dearest, fee)
	card.Rates = append(card.Rates, Rate{Country: l.ISO, PerSegment: cost.Decimal(total)})
	return err
}

func (card *RateCard) takeNumbers(l priceList) error {
	card.Numbers = slices.DeleteFunc(slices.Clone(card.Numbers), func(r NumberRate) bool { return r.Country == l.ISO })
	for _, p := range *l.Number {
		if _, err := roundUp(p.Current); err != nil {
			return fmt.Errorf("the price of a %s number: %w", p.Type, err)
		}
		card.Numbers = append(card.Numbers, NumberRate{Country: l.ISO, Type: p.Type, Monthly: p.Current})
	}
	return nil
}

// takeCalls keeps a price for each prefix. Where the prices of a prefix are only for calls from some places, calls
// from elsewhere are billed as those of the next shorter one, so that the dearer of both is taken.
func (card *RateCard) takeCalls(l priceList) error {
	dearest, everywhere := map[string]int64{}, map[string]bool{}
	for _, p := range *l.Calls {
		n, err := roundUp(p.Current)
		if err != nil {
			return fmt.Errorf("the price of a call: %w", err)
		}
		if len(p.To) == 0 {
			return errors.New("a price of calls has no destination_prefixes; ask v2 of the API")
		}
		for _, prefix := range p.To {
			prefix = strings.TrimPrefix(prefix, "+")
			if strings.Trim(prefix, "0123456789") != "" || prefix == "" {
				return fmt.Errorf("the prefix %q is not digits alone", prefix)
			}
			dearest[prefix] = max(dearest[prefix], n)
			everywhere[prefix] = everywhere[prefix] || len(p.From) == 0 || slices.Contains(p.From, "ALL") || slices.Contains(p.From, "ROW")
		}
	}
	card.Calls = slices.DeleteFunc(slices.Clone(card.Calls), func(r CallRate) bool { return r.Country == l.ISO })
	for _, prefix := range slices.Sorted(maps.Keys(dearest)) { // a prefix sorts before what it begins
		for n := len(prefix) - 1; n > 0 && !everywhere[prefix]; n-- {
			if shorter, ok := dearest[prefix[:n]]; ok {
				dearest[prefix] = max(dearest[prefix], shorter)
				break
			}
		}
		card.Calls = append(card.Calls, CallRate{Country: l.ISO, Prefix: prefix, PerMinute: cost.Decimal(dearest[prefix])})
	}
	return nil
}
