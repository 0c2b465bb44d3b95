package kbtwilio

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"
)

// What Fetch bounds: one answer's time and length, how many are asked for at once, and how many countries there are.
const (
	fetchTimeout   = 30 * time.Second
	longestList    = 8 << 20
	fetchAtOnce    = 4
	mostCountries  = 300
	pricingHost    = "pricing.twilio.com"
	notFoundByCode = 20404
)

// priceKinds are the Pricing API's lists of a country, and by which member an answer is known to be one.
var priceKinds = []struct{ name, path, member string }{
	{"texts", "/v1/Messaging/Countries/", "outbound_sms_prices"},
	{"calls", "/v2/Voice/Countries/", "outbound_prefix_prices"},
	{"numbers", "/v1/PhoneNumbers/Countries/", "phone_number_prices"},
}

// Fetch asks Twilio's Pricing API for the prices of texts, calls and numbers of countries (ISO 3166 alpha-2), three
// free reads each, and returns the card with them in the place of its own, as [RateCard.WithPrices] does. Prices are
// the account's: credential are the parts of the one that will be billed, as its source holds them
// (credentials.Credential.Reveal). It is meant for the start of a program:
//
//	card, err := kbtwilio.DefaultRates().Fetch(ctx, nil, credential.Reveal(), "US", "CA", "GB")
//	vendor := kbtwilio.New(&kbtwilio.Options{Rates: &card})
//
// The card's Date is then the day of the fetch, and its Source says so and what the rest of it is from. A kind of which
// Twilio has no prices for a country is taken off the card for it, so that its calls have no price and are refused. An
// error names the country and the kind, holds no part of the credential, and comes with a card that prices nothing: some
// prices of today beside others of last year would look like a card of today.
//
// A nil client is a new one. Redirects are not followed. An answer may take 30 seconds; ctx bounds the whole.
func (card RateCard) Fetch(ctx context.Context, client *http.Client, credential []string, countries ...string) (RateCard, error) {
	placed, err := place(credential)
	if err != nil {
		return RateCard{}, err
	}
	if err := listOfCountries(countries); err != nil {
		return RateCard{}, fmt.Errorf("kbtwilio: %w", err)
	}
	documents, err := fetchAll(ctx, straight(client), placed.Header, placed.Value, countries)
	if err != nil {
		return RateCard{}, fmt.Errorf("kbtwilio: %w", err)
	}
	old := card
	card, err = card.without(documents, countries).WithPrices(slices.DeleteFunc(slices.Concat(documents...), func(d []byte) bool { return d == nil })...)
	if err != nil {
		return RateCard{}, err
	}
	card.Date = time.Now().UTC().Format(time.DateOnly)
	card.Source = fmt.Sprintf("Twilio's Pricing API for %d countries; the rest %s, %s", len(countries), cmp.Or(old.Source, "of no source"), cmp.Or(old.Date, "of no date"))
	return card, nil
}

func listOfCountries(countries []string) error {
	if len(countries) == 0 || len(countries) > mostCountries {
		return fmt.Errorf("name the countries whose prices to fetch, 1 to %d of them", mostCountries)
	}
	for i, c := range countries {
		if !isoCountry.MatchString(c) {
			return fmt.Errorf("%q is not a country code of two capitals", c)
		}
		if slices.Contains(countries[:i], c) {
			return fmt.Errorf("the country %s stands twice", c)
		}
	}
	return nil
}

// straight is client without redirects: the credential goes to Twilio alone, and an answer from elsewhere is no price.
func straight(client *http.Client) *http.Client {
	if client == nil {
		client = &http.Client{}
	}
	c := *client
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	c.Jar = nil
	return &c
}

// fetchAll returns a country's answers in the order of priceKinds, nil for a kind that it has none of. The first
// failure ends the others.
func fetchAll(ctx context.Context, client *http.Client, header, value string, countries []string) ([][][]byte, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	documents := make([][][]byte, len(countries))
	slots := make(chan struct{}, fetchAtOnce)
	var all sync.WaitGroup
	for i, country := range countries {
		documents[i] = make([][]byte, len(priceKinds))
		for k := range priceKinds {
			all.Go(func() {
				slots <- struct{}{}
				defer func() { <-slots }()
				d, err := fetch(ctx, client, header, value, k, country)
				if err != nil {
					cancel(fmt.Errorf("the prices of %s of %s: %w", priceKinds[k].name, country, err))
				}
				documents[i][k] = d
			})
		}
	}
	all.Wait()
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	for i, d := range documents {
		if !slices.ContainsFunc(d, func(d []byte) bool { return d != nil }) {
			return nil, fmt.Errorf("the prices of %s: Twilio has none at all", countries[i])
		}
	}
	return documents, nil
}

// fetch is one list of one country, or nil where Twilio says that it has none.
func fetch(ctx context.Context, client *http.Client, header, value string, kind int, country string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+pricingHost+priceKinds[kind].path+country, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set(header, value)
	resp, err := client.Do(req)
	if err != nil {
		return nil, errors.New("the vendor could not be reached, or did not answer in time") // err is a transport's, which saw the credential
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, longestList+1))
	switch {
	case err != nil:
		return nil, errors.New("the answer did not come whole")
	case len(body) > longestList:
		return nil, fmt.Errorf("the answer is longer than %d bytes", longestList)
	case resp.StatusCode == http.StatusNotFound && ownError(body) == notFoundByCode:
		return nil, nil
	case resp.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("it was answered with status %d and error %d", resp.StatusCode, ownError(body))
	}
	var answer map[string]json.RawMessage
	var iso string
	if json.Unmarshal(body, &answer) != nil || json.Unmarshal(answer["iso_country"], &iso) != nil || iso != country || answer[priceKinds[kind].member] == nil {
		return nil, errors.New("the answer is not of that country and kind")
	}
	return body, nil
}

// ownError is the code of Twilio's own error, or 0 for whatever else answered.
func ownError(body []byte) int {
	var e apiError
	if json.Unmarshal(body, &e) != nil || e.Message == nil {
		return 0
	}
	return e.Code
}

// without is the card less what Twilio has no prices of.
func (card RateCard) without(documents [][][]byte, countries []string) RateCard {
	for i, country := range countries {
		for k, d := range documents[i] {
			switch {
			case d != nil:
			case priceKinds[k].name == "texts":
				card.Rates = slices.DeleteFunc(slices.Clone(card.Rates), func(r Rate) bool { return r.Country == country })
			case priceKinds[k].name == "calls":
				card.Calls = slices.DeleteFunc(slices.Clone(card.Calls), func(r CallRate) bool { return r.Country == country })
			case priceKinds[k].name == "numbers":
				card.Numbers = slices.DeleteFunc(slices.Clone(card.Numbers), func(r NumberRate) bool { return r.Country == country })
			}
		}
	}
	return card
}
