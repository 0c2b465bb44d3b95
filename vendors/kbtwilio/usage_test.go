package kbtwilio_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/keybrake/keybrake-go/vendors"
	"github.com/keybrake/keybrake-go/vendors/kbtwilio"
)

func used(category, members string) string {
	return `{"account_sid": "` + me + `", "category": "` + category + `", "start_date": "2026-11-22", "end_date": "2026-11-22", "as_of": "2026-11-23T01:07:35+00:00", ` + members + `}`
}

func records(next string, r ...string) string {
	return `{"usage_records": [` + strings.Join(r, ", ") + `], "next_page_uri": ` + next + `}`
}

// TestUsageIsTheTotalOfTheDay asks for a day until the answer is whole.
func TestUsageIsTheTotalOfTheDay(t *testing.T) {
	total := used("totalprice", `"price": "3.5200001", "price_unit": "usd"`)
	next := `"/2010-04-01/Accounts/` + me + `/Usage/Records/Daily.json?Page=1&PageToken=PAX"`
	for name, c := range map[string]struct {
		replies []string
		want    string
		note    string
		err     string
	}{
		"a total and what it is made of": {
			replies: []string{records("null", used("sms-outbound", `"price": "1.2", "price_unit": "usd"`), used("sms", `"price": "1.2", "price_unit": "usd"`), total, used("phonenumbers", `"price": 2.32, "price_unit": "usd"`), used("mms-outbound", `"price": "0", "price_unit": "usd"`))},
			want:    "fee 3.520001 USD", note: "as of 2026-11-23T01:07:35+00:00; of it phonenumbers 2.32, sms-outbound 1.20;",
		},
		"two pages":                {replies: []string{records(next), records("null", total)}, want: "fee 3.520001 USD", note: "as of"},
		"a total that is a number": {replies: []string{records("null", used("totalprice", `"price": 3.52, "price_unit": "EUR"`))}, want: "fee 3.52 EUR"},
		"nothing used":             {replies: []string{records("null", used("totalprice", `"price": "0", "price_unit": "usd"`))}, want: "fee 0.00 USD"},
		"no total":                 {replies: []string{records("null", used("sms", `"price": "1", "price_unit": "usd"`))}, err: "no total"},
		"two totals":               {replies: []string{records("null", total, total)}, err: "two totals"},
		"no price":                 {replies: []string{records("null", used("totalprice", `"price": null, "price_unit": "usd"`))}, err: "no price"},
		"a negative price":         {replies: []string{records("null", used("totalprice", `"price": "-1", "price_unit": "usd"`))}, err: "no price"},
		"no currency":              {replies: []string{records("null", used("totalprice", `"price": "1"`))}, err: "no price"},
		"another day":              {replies: []string{records("null", strings.ReplaceAll(total, "2026-11-22", "2026-11-21"))}, err: "another account or day"},
		"a week":                   {replies: []string{records("null", strings.Replace(total, "2026-11-22", "2026-11-16", 1))}, err: "another account or day"},
		"a week from it":           {replies: []string{records("null", strings.Replace(total, `"end_date": "2026-11-22"`, `"end_date": "2026-11-28"`, 1))}, err: "another account or day"},
		"another account":          {replies: []string{records("null", strings.ReplaceAll(total, me, "AC1"))}, err: "another account or day"},
		"an error":                 {replies: []string{`429 {"code": 20429}`}, err: "429"},
		"a page":                   {replies: []string{`200 <html>`}, err: "cannot be read"},
		"no end":                   {replies: []string{`{"usage_records": [` + total + `]}`}, err: "whether it goes on"},
	} {
		t.Run(name, func(t *testing.T) {
			d := &vendors.Day{Start: time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC), Account: me}
			got, err := usageOf(t, d, c.replies)
			switch {
			case c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err) || got.Total != nil):
				t.Errorf("got %s, %v; want the error %q", lines(got.Total), err, c.err)
			case c.err == "" && (err != nil || lines(got.Total) != c.want || !strings.Contains(got.Note, c.note)):
				t.Errorf("got %s (%s), %v; want %s (%s)", lines(got.Total), got.Note, err, c.want, c.note)
			case got.Runs != nil:
				t.Error("Twilio's records carry no marks")
			}
		})
	}
	if _, err := kbtwilio.New(nil).Usage(&vendors.Day{Account: "acct_1"}); err == nil {
		t.Error("a path was made of what is no account")
	}
}

func usageOf(t *testing.T, d *vendors.Day, replies []string) (vendors.Usage, error) {
	t.Helper()
	for i := 0; ; i++ {
		u, err := kbtwilio.New(nil).Usage(d)
		if err != nil || u.Look == nil {
			return u, err
		}
		at, err := url.Parse("https://" + u.Look.Host + u.Look.Path + "?" + vendors.Encode(u.Look.Query))
		if err != nil {
			t.Fatal(err)
		}
		_, c, err := table(t).Identify(&http.Request{Method: "GET", URL: at, Header: http.Header{}}, nil)
		if err != nil || c.Operation.Name != u.Look.Operation || c.Operation.Class != vendors.Read {
			t.Fatalf("%s is not a read called %s: %v", at, u.Look.Operation, err)
		}
		for name, want := range map[string]string{"StartDate": "2026-11-22", "EndDate": "2026-11-22", "IncludeSubaccounts": "false"} {
			if got, _ := c.Get(name); got != want {
				t.Errorf("%s is %q, want %q", name, got, want)
			}
		}
		if i == len(replies) {
			t.Fatalf("asked for %s, and there is no answer", at)
		}
		d.Seen = append(d.Seen, replyOf(replies[i]))
	}
}
