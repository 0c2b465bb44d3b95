package kbtwilio

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/vendors"
)

// A usageRecord is what one category of usage came to on a day. The price is a string in Twilio's examples and a number
// in its description of the API; it is not negative.
type usageRecord struct {
	Account  string      `json:"account_sid"`
	Category string      `json:"category"`
	Start    string      `json:"start_date"`
	End      string      `json:"end_date"`
	AsOf     string      `json:"as_of"`
	Price    json.Number `json:"price"` // takes a string too
	Unit     string      `json:"price_unit"`
}

// noted are the categories that a person is told of: what no call through the brake made is among them.
var noted = []string{"sms-outbound", "sms-inbound", "sms-messages-carrierfees", "mms-outbound", "calls-outbound", "calls-inbound", "phonenumbers", "recordings", "lookups"}

// usage reads Twilio's daily usage records: the total price of the account alone, without its subaccounts, whoever made
// the calls, with numbers' months and everything that came in.
func usage(d *vendors.Day) (vendors.Usage, error) {
	if !accountSid.MatchString(d.Account) {
		return vendors.Usage{}, errors.New("kbtwilio: the credential names no account")
	}
	day := d.Start.UTC().Format(time.DateOnly)
	path := "/2010-04-01/Accounts/" + d.Account + "/Usage/Records/Daily.json"
	look := func(more ...vendors.Param) (vendors.Usage, error) {
		return vendors.Usage{Look: &vendors.Probe{
			Operation: "twilio.usage.records.daily.list", Host: apiHost, Path: path,
			Query: append([]vendors.Param{
				{Name: "StartDate", Value: day}, {Name: "EndDate", Value: day}, {Name: "IncludeSubaccounts", Value: "false"},
				{Name: "PageSize", Value: strconv.Itoa(pageSize)},
			}, more...),
		}}, nil
	}
	if len(d.Seen) == 0 {
		return look()
	}
	var records []usageRecord
	more, why := pages(d.Seen, path, "usage_records", func(list json.RawMessage) error {
		var part []usageRecord
		err := json.Unmarshal(list, &part)
		records = append(records, part...)
		return err
	})
	switch {
	case why != "":
		return vendors.Usage{}, errors.New("kbtwilio: usage: " + why)
	case more != nil && len(d.Seen) >= mostPages:
		return vendors.Usage{}, errors.New("kbtwilio: usage: there are more records than a day has")
	case more != nil:
		return look(more...)
	}
	return total(records, d.Account, day)
}

// total is the one record of the day's total price.
func total(records []usageRecord, account, day string) (u vendors.Usage, err error) {
	var parts []string
	found := false
	for _, r := range records {
		isTotal := r.Category == "totalprice"
		if !isTotal && !slices.Contains(noted, r.Category) {
			continue
		}
		price, err := roundUp(r.Price.String())
		currency := cost.Currency(strings.ToUpper(r.Unit))
		switch {
		case err != nil || !currency.Valid() || r.Account != account || r.Start != day || r.End != day:
			return vendors.Usage{}, fmt.Errorf("kbtwilio: usage: the record of %s is of another account or day, or has no price", r.Category)
		case isTotal && found:
			return vendors.Usage{}, errors.New("kbtwilio: usage: the day has two totals")
		case isTotal:
			found = true
			u.Total = []cost.Line{{Meter: cost.Fee, Currency: currency, Amount: price}}
			u.Note = "as of " + r.AsOf
		case price > 0:
			parts = append(parts, r.Category+" "+cost.Decimal(price))
		}
	}
	if !found {
		return vendors.Usage{}, errors.New("kbtwilio: usage: Twilio has no total of the day")
	}
	if len(parts) > 0 {
		slices.Sort(parts)
		u.Note += "; of it " + strings.Join(parts, ", ")
	}
	u.Note += "; with what came in and the months of numbers, without subaccounts; the last prices of a day may come a day later"
	return u, nil
}
