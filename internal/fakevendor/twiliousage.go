package fakevendor

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// used is what one category of usage came to on one day of UTC.
type used struct {
	day, category string
	count, micros int64
}

// usage is the daily usage records: what the account's messages and calls really cost, on the day on which they were
// made, whether or not their own prices are shown yet. Twilio lists the last thirty days where no day is asked for; here
// it is all there are. A day on which nothing was used has records of zero where it is asked for.
func (v *twilio) usage(c *twilioCall) reply {
	var records []*used
	add := func(at time.Time, category string, count, micros int64) {
		day := at.UTC().Format(time.DateOnly)
		i := slices.IndexFunc(records, func(u *used) bool { return u.day == day && u.category == category })
		if i < 0 {
			i, records = len(records), append(records, &used{day: day, category: category})
		}
		records[i].count += count
		records[i].micros += micros
	}
	for _, category := range []string{"calls", "calls-outbound", "mms", "sms", "sms-outbound", "totalprice"} {
		if day, err := time.Parse(time.DateOnly, c.form.str("StartDate")); err == nil {
			add(day, category, 0, 0)
		}
	}
	for _, m := range v.messages {
		fee := m.fee
		if m.status == "canceled" {
			fee = 0
		}
		kind := "sms"
		if m.media > 0 {
			kind = "mms"
		}
		if m.account == c.account {
			add(m.created, kind, 1, fee)
			add(m.created, kind+"-outbound", 1, fee)
			add(m.created, "totalprice", 0, fee)
		}
	}
	for _, p := range v.calls {
		if p.account == c.account {
			add(p.created, "calls", 1, p.fee)
			add(p.created, "calls-outbound", 1, p.fee)
			add(p.created, "totalprice", 0, p.fee)
		}
	}
	slices.SortFunc(records, func(a, b *used) int { return strings.Compare(a.day+a.category, b.day+b.category) })
	var all []object
	for _, u := range records {
		day, _ := time.Parse(time.DateOnly, u.day)
		if c.form.equal("Category", u.category) && (!c.form.has("StartDate") || u.day >= c.form.str("StartDate")) && (!c.form.has("EndDate") || u.day <= c.form.str("EndDate")) {
			all = append(all, u.object(c.account, day))
		}
	}
	return c.page("usage_records", all)
}

// object is u as Twilio answers it: numbers are strings, the price is what the account paid, and not negative.
func (u *used) object(account string, day time.Time) object {
	return object{
		"account_sid": account, "category": u.category, "description": u.category, "api_version": "2010-04-01",
		"start_date": u.day, "end_date": u.day, "as_of": time.Now().UTC().Format("2006-01-02T15:04:05+00:00"),
		"count": strconv.FormatInt(u.count, 10), "count_unit": "", "usage": strconv.FormatInt(u.count, 10), "usage_unit": "",
		"price": fmt.Sprintf("%d.%06d", u.micros/1_000_000, u.micros%1_000_000), "price_unit": "usd",
		"uri":              fmt.Sprintf("/2010-04-01/Accounts/%s/Usage/Records/Daily.json?Category=%s&StartDate=%s&EndDate=%s", account, u.category, u.day, day.Format(time.DateOnly)),
		"subresource_uris": object{},
	}
}
