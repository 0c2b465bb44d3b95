package kbtwilio_test

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/vendors"
	"github.com/keybrake/keybrake-go/vendors/kbtwilio"
)

const (
	classic = "https://api.twilio.com/2010-04-01/Accounts/" + me
	call    = "CA0123456789abcdef0123456789abcdef"
	other   = "SM00000000000000000000000000000001"
	third   = "SM00000000000000000000000000000002"
)

// sentAt is when the calls of these tests were sent, and endedAt when they had ended.
var (
	sentAt  = time.Date(2026, 11, 23, 0, 0, 2, 0, time.UTC)
	endedAt = sentAt.Add(10 * time.Second)
)

// caseOf is the case of a call that was sent as a form, read by the table, priced by its row and answered: with reply
// empty it is in doubt. Of the call only what its row's Trace names is left. ceiling is that of a rule, or empty.
func caseOf(t *testing.T, target, form, reply, ceiling string) *vendors.Case {
	t.Helper()
	tab := richTable(t)
	u, err := url.Parse(target)
	if err != nil {
		t.Fatal(err)
	}
	req := &http.Request{Method: "POST", URL: u, Header: http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}}
	_, c, err := tab.Identify(req, []byte(form))
	if err != nil {
		t.Fatal(err)
	}
	c.Account = me
	b, err := c.Operation.Bound(c, nil)
	if err != nil {
		t.Fatal(err)
	}
	if ceiling != "" {
		if b.Kind != vendors.Unknown {
			t.Fatalf("%s has a bound, and no ceiling: %v", c.Operation.Name, b.Lines)
		}
		b.Kind, b.Lines = vendors.AtMost, []cost.Line{readLine(t, ceiling)}
	}
	k := &vendors.Case{Call: c, Doubt: reply == "", Sent: sentAt, Ended: endedAt, Now: endedAt.Add(time.Hour), Bound: b}
	if reply != "" {
		s, err := c.Operation.Settle(c, b, &vendors.Reply{Status: 201, Body: []byte(reply)})
		if err != nil {
			t.Fatal(err)
		}
		k.Booked, k.Objects = s.Actual, s.Objects
	}
	kept := *c
	kept.Params, kept.JSON, kept.Header = nil, nil, nil
	for _, p := range c.Params {
		if slices.Contains(c.Operation.Trace, p.Name) {
			kept.Params = append(kept.Params, p)
		}
	}
	k.Call = &kept
	return k
}

// richTable is the table with a price for everything.
func richTable(t *testing.T) *vendors.Table {
	t.Helper()
	rich.Do(func() {
		card := full(t)
		card.Fees["message.failed"] = "0.001"
		rich.table, rich.err = vendors.NewTable([]vendors.Vendor{kbtwilio.New(&kbtwilio.Options{Rates: &card})})
	})
	if rich.err != nil {
		t.Fatal(rich.err)
	}
	return rich.table
}

var rich struct {
	sync.Once
	table *vendors.Table
	err   error
}

// ask looks at the case until the row asks for nothing more, and answers its looks with replies. A look has to be one
// that the brake makes: a read of the catalogue.
func ask(t *testing.T, k *vendors.Case, replies ...string) (f vendors.Finding, asked []string) {
	t.Helper()
	for {
		f, err := k.Call.Operation.Reconcile(k)
		if err != nil {
			t.Fatal(err)
		}
		if f.Look == nil {
			return f, asked
		}
		host := f.Look.Host
		if host == "" {
			host = k.Call.Host
		}
		target := f.Look.Path
		if len(f.Look.Query) > 0 {
			target += "?" + vendors.Encode(f.Look.Query)
		}
		u, err := url.Parse("https://" + host + target)
		if err != nil {
			t.Fatal(err)
		}
		_, c, err := table(t).Identify(&http.Request{Method: "GET", URL: u, Header: http.Header{}}, nil)
		if err != nil || c.Operation.Name != f.Look.Operation || c.Operation.Class != vendors.Read || c.Operation.Bound != nil {
			t.Fatalf("the look %s is not a read called %s: %v", target, f.Look.Operation, err)
		}
		asked = append(asked, target)
		if len(asked) > len(replies) {
			t.Fatalf("asked for %s, and there is no answer", asked)
		}
		k.Seen = append(k.Seen, replyOf(replies[len(asked)-1]))
	}
}

// replyOf is a reply of status 200 with that body, or of the status that stands before it: "503 <html>".
func replyOf(text string) *vendors.Reply {
	r := &vendors.Reply{Status: 200, Body: []byte(text)}
	if !strings.HasPrefix(text, "{") {
		var status int
		if n, _ := fmt.Sscanf(text, "%d ", &status); n == 1 {
			r.Status, r.Body = status, []byte(text[4:])
		}
	}
	return r
}

// found is a finding in one line.
func found(f vendors.Finding) string {
	s := f.Outcome.String()
	if f.Outcome == vendors.Executed || f.Outcome == vendors.Pending {
		s += ": " + lines(f.Cost.Actual)
	}
	if f.Cost.Flag != "" {
		s += ", " + f.Cost.Flag
	}
	if f.Cost.Again > 0 {
		s += ", again"
	}
	return s
}

const text = "To=%2B14155550100&From=%2B15005550006&Body=hi"

// message is a message as Twilio has it, with what the members say in the place of what it is by default.
func message(members string) string {
	return record(`"sid": "`+sms+`", "status": "delivered", "num_segments": "1", "price": "-0.00830", "price_unit": "USD", "error_code": null,
		"to": "+14155550100", "from": "+15005550006", "messaging_service_sid": null, "direction": "outbound-api"`, members)
}

func record(usual, members string) string {
	usual = strings.ReplaceAll(usual, ",\n\t\t", ", ") + `, "account_sid": "` + me + `", "date_created": "Mon, 23 Nov 2026 00:00:05 +0000", "date_updated": "Mon, 23 Nov 2026 00:00:06 +0000"`
	have := map[string]bool{}
	for pair := range strings.SplitSeq(members, ", \"") {
		name, _, _ := strings.Cut(strings.TrimPrefix(pair, "\""), "\"")
		have[name] = true
	}
	var kept []string
	for pair := range strings.SplitSeq(usual, ", \"") {
		name, _, _ := strings.Cut(strings.TrimPrefix(strings.TrimSpace(pair), "\""), "\"")
		if !have[strings.TrimSpace(name)] {
			kept = append(kept, `"`+strings.TrimPrefix(strings.TrimSpace(pair), "\""))
		}
	}
	if members != "" {
		kept = append(kept, members)
	}
	return "{" + strings.Join(kept, ", ") + "}"
}

// TestMessageCostsWhatItsRecordSays is about messages whose reply named them.
func TestMessageCostsWhatItsRecordSays(t *testing.T) {
	const day = 24 * time.Hour
	for name, c := range map[string]struct {
		record string
		after  time.Duration
		want   string
	}{
		"delivered and priced":                      {message(""), 0, "executed: fee 0.0083 USD, 1 units"},
		"a lower-case unit":                         {message(`"price_unit": "usd"`), 0, "executed: fee 0.0083 USD, 1 units"},
		"dearer than reserved":                      {message(`"price": "-0.05"`), 0, "executed: fee 0.05 USD, 1 units"},
		"more segments than reserved":               {message(`"num_segments": "3", "price": "-0.0249"`), 0, "executed: fee 0.0249 USD, 3 units"},
		"undelivered is billed":                     {message(`"status": "undelivered"`), 0, "executed: fee 0.0083 USD, 1 units"},
		"sent, no price yet":                        {message(`"status": "sent", "price": null`), time.Hour, "pending: fee 0.0133 USD, 1 units, again"},
		"delivered, no price after two days":        {message(`"price": null`), 2 * day, "pending: fee 0.0133 USD, 1 units, again"},
		"delivered, no price after four days":       {message(`"price": null`), 4 * day, "executed: fee 0.0133 USD, 1 units, the price never came"},
		"delivered days after it was made":          {message(`"price": null, "date_updated": "Thu, 26 Nov 2026 20:00:00 +0000"`), 4 * day, "pending: fee 0.0133 USD, 1 units, again"},
		"queued with a price":                       {message(`"status": "queued"`), 0, "pending: fee 0.0133 USD, 1 units, again"},
		"queued for ever":                           {message(`"status": "queued", "price": null`), 30 * day, "pending: fee 0.0133 USD, 1 units, again"},
		"queued as three segments":                  {message(`"status": "queued", "price": null, "num_segments": "3"`), 0, "pending: fee 0.0399 USD, 3 units, again"},
		"cancelled":                                 {message(`"status": "canceled", "price": null`), 0, "executed: fee 0.00 USD, 0 units"},
		"failed, with a price":                      {message(`"status": "failed", "price": "-0.001"`), 0, "executed: fee 0.001 USD, 1 units"},
		"failed just now":                           {message(`"status": "failed", "price": null, "error_code": 30005`), time.Hour, "pending: fee 0.0133 USD, 1 units, again"},
		"failed a day ago":                          {message(`"status": "failed", "price": null, "error_code": 30005`), day, "executed: fee 0.001 USD, 1 units"},
		"failed without an error":                   {message(`"status": "failed", "price": null`), day, "executed: fee 0.001 USD, 1 units"},
		"failed by an error that is not billed":     {message(`"status": "failed", "price": null, "error_code": 30450`), day, "executed: fee 0.00 USD, 0 units"},
		"undelivered text without a price":          {message(`"status": "undelivered", "price": null`), day, "pending: fee 0.0133 USD, 1 units, again"},
		"undelivered on WhatsApp":                   {message(`"status": "undelivered", "price": null, "to": "whatsapp:+4915123456789"`), day, "executed: fee 0.00 USD, 0 units"},
		"undelivered on WhatsApp just now":          {message(`"status": "undelivered", "price": null, "to": "whatsapp:+4915123456789"`), time.Hour, "pending: fee 0.0133 USD, 1 units, again"},
		"in euros":                                  {message(`"price_unit": "EUR"`), 0, "executed: fee 0.0133 USD, 1 units, unexpected currency"},
		"without a unit":                            {message(`"price_unit": null`), 0, "executed: fee 0.0133 USD, 1 units, unexpected currency"},
		"a credit":                                  {message(`"price": "0.0083"`), 0, "in_doubt"},
		"a price that is a number":                  {message(`"price": -0.0083`), 0, "in_doubt"},
		"a price that is empty":                     {message(`"price": ""`), 0, "in_doubt"},
		"segments that are no number":               {message(`"num_segments": "-1"`), 0, "in_doubt"},
		"another message":                           {message(`"sid": "` + other + `"`), 0, "in_doubt"},
		"another account's":                         {message(`"account_sid": "AC00000000000000000000000000000001"`), 0, "in_doubt"},
		"a status that nobody knows":                {message(`"status": "teleported"`), 30 * day, "pending: fee 0.0133 USD, 1 units, again"},
		"deleted":                                   {`404 {"code": 20404, "message": "not found", "status": 404}`, 0, "in_doubt"},
		"a page":                                    {`503 <html>`, 0, "in_doubt"},
		"a page that says 200":                      {`200 <html>`, 0, "in_doubt"},
		"too many requests":                         {`429 {"code": 20429}`, 0, "in_doubt"},
		"nothing":                                   {`200 `, 0, "in_doubt"},
		"a name that stands twice":                  {strings.Replace(message(""), "{", `{"price": "-0.5", `, 1), 0, "in_doubt"},
		"an error that looks like a message":        {`500 ` + message(""), 0, "in_doubt"},
		"an empty object under the status of a hit": {`{}`, 0, "in_doubt"},
	} {
		t.Run(name, func(t *testing.T) {
			k := caseOf(t, classic+"/Messages.json", text, `{"sid": "`+sms+`", "status": "queued", "num_segments": "1", "price": null, "price_unit": "USD"}`, "")
			k.Now = endedAt.Add(c.after)
			f, asked := ask(t, k, c.record)
			if got := found(f); got != c.want {
				t.Errorf("got %q, want %q (%s)", got, c.want, f.Why)
			}
			if want := "/2010-04-01/Accounts/" + me + "/Messages/" + sms + ".json"; !slices.Equal(asked, []string{want}) {
				t.Errorf("asked for %q", asked)
			}
			if f.Outcome == vendors.OutcomeUnknown && f.Why == "" {
				t.Error("a person is not told why")
			}
			if f.Outcome != vendors.OutcomeUnknown && !slices.Equal(f.Cost.Objects, []string{sms}) {
				t.Errorf("objects %q", f.Cost.Objects)
			}
		})
	}
}

func list(name string, records ...string) string {
	return `{"` + name + `": [` + strings.Join(records, ", ") + `], "next_page_uri": null}`
}

// TestLostMessageIsKnownByNumberAndTime is about messages to which no reply came.
func TestLostMessageIsKnownByNumberAndTime(t *testing.T) {
	const atBound = "executed: fee 0.0133 USD, 1 units, known by number and time"
	one := message("")
	for name, c := range map[string]struct {
		form    string
		replies []string
		want    string
		why     string
	}{
		"one, and it counts as reserved":        {"", []string{list("messages", one)}, atBound, "one object"},
		"one that is dearer than reserved":      {"", []string{list("messages", message(`"price": "-0.02"`))}, "executed: fee 0.02 USD, 1 units, known by number and time", ""},
		"one that was cancelled":                {"", []string{list("messages", message(`"status": "canceled"`))}, atBound, ""},
		"one that is queued":                    {"", []string{list("messages", message(`"status": "queued", "price": null`))}, atBound, ""},
		"none":                                  {"", []string{list("messages")}, "in_doubt", "no proof"},
		"two":                                   {"", []string{list("messages", one, message(`"sid": "`+other+`"`))}, "in_doubt", "2 objects"},
		"the same twice, as pages move":         {"", []string{list("messages", one, one)}, atBound, ""},
		"one to somebody else":                  {"", []string{list("messages", message(`"to": "+14155550199"`))}, "in_doubt", "no proof"},
		"one from somebody else":                {"", []string{list("messages", message(`"from": "+14155550199"`))}, "in_doubt", "no proof"},
		"one that came in":                      {"", []string{list("messages", message(`"direction": "inbound"`))}, "in_doubt", "no proof"},
		"one that TwiML sent":                   {"", []string{list("messages", message(`"direction": "outbound-reply"`))}, "in_doubt", "no proof"},
		"one of more segments":                  {"", []string{list("messages", message(`"num_segments": "2"`))}, "in_doubt", "no proof"},
		"one of another account":                {"", []string{list("messages", message(`"account_sid": "AC1"`))}, "in_doubt", "no proof"},
		"one long before":                       {"", []string{list("messages", message(`"date_created": "Sun, 22 Nov 2026 23:59:50 +0000"`))}, "in_doubt", "no proof"},
		"one by a clock that is late":           {"", []string{list("messages", message(`"date_created": "Sun, 22 Nov 2026 23:59:57 +0000"`))}, atBound, ""},
		"one by a clock that is early":          {"", []string{list("messages", message(`"date_created": "Mon, 23 Nov 2026 00:00:17 +0000"`))}, atBound, ""},
		"one after it":                          {"", []string{list("messages", message(`"date_created": "Mon, 23 Nov 2026 00:00:18 +0000"`))}, "in_doubt", "and 1 after it"},
		"one in its time and a retry's":         {"", []string{list("messages", one, message(`"sid": "`+other+`", "date_created": "Mon, 23 Nov 2026 00:01:00 +0000"`))}, atBound, ""},
		"one with no time":                      {"", []string{list("messages", message(`"date_created": null`))}, "in_doubt", "cannot be read"},
		"one with no id":                        {"", []string{list("messages", one, message(`"sid": null`))}, "in_doubt", "cannot be read"},
		"a second on the second page":           {"", []string{page(1, one), list("messages", message(`"sid": "`+other+`"`))}, "in_doubt", "2 objects"},
		"one on the third page":                 {"", []string{page(1), page(2), list("messages", one)}, atBound, ""},
		"a second page that cannot be read":     {"", []string{page(1, one), `503 <html>`}, "in_doubt", "503"},
		"a page that does not say if it is all": {"", []string{`{"messages": [` + one + `]}`}, "in_doubt", "whether it goes on"},
		"a page that goes on elsewhere":         {"", []string{strings.Replace(page(1, one), "Accounts/"+me, "Accounts/AC1", 1)}, "in_doubt", "somewhere else"},
		"a page that goes on in no page":        {"", []string{`{"messages": [` + one + `], "next_page_uri": "/2010-04-01/Accounts/` + me + `/Messages.json?To=1"}`}, "in_doubt", "how it goes on"},
		"a list of something else":              {"", []string{list("calls", one)}, "in_doubt", "cannot be read"},
		"a list that is null":                   {"", []string{`{"messages": null, "next_page_uri": null}`}, "in_doubt", "cannot be read"},
		"an error":                              {"", []string{`429 {"code": 20429}`}, "in_doubt", "429"},
		"no sender":                             {"To=%2B14155550100&Body=hi", nil, "in_doubt", "not say enough"},
	} {
		t.Run(name, func(t *testing.T) {
			form := c.form
			if form == "" {
				form = text
			}
			f, asked := ask(t, caseOf(t, classic+"/Messages.json", form, "", ""), c.replies...)
			if got := found(f); got != c.want {
				t.Errorf("got %q, want %q (%s)", got, c.want, f.Why)
			}
			if !strings.Contains(f.Why, c.why) || f.Why == "" || strings.Contains(f.Why, "1415555") {
				t.Errorf("a person is told %q", f.Why)
			}
			if f.Absent {
				t.Error("a list without marks proves that something is not there")
			}
			if len(c.replies) > 0 && asked[0] != "/2010-04-01/Accounts/"+me+"/Messages.json?To=%2B14155550100&From=%2B15005550006&DateSent%3E=2026-11-22&PageSize=1000" {
				t.Errorf("asked for %s", asked[0])
			}
			if f.Outcome == vendors.Executed && !slices.Equal(f.Cost.Objects, []string{sms}) {
				t.Errorf("objects %q", f.Cost.Objects)
			}
		})
	}
}

// page is a page of messages that is followed by another.
func page(next int, records ...string) string {
	return fmt.Sprintf(`{"messages": [%s], "next_page_uri": "/2010-04-01/Accounts/%s/Messages.json?To=%%2B1999&PageSize=1000&Page=%d&PageToken=PA%s"}`, strings.Join(records, ", "), me, next, sms)
}

// TestPagesOfAListKeepItsFilters says that whatever a page names, what is asked for next is the list that was asked for
// first, and that a list without an end is given up.
func TestPagesOfAListKeepItsFilters(t *testing.T) {
	k := caseOf(t, classic+"/Messages.json", text, "", "")
	var pages []string
	for i := range 20 {
		pages = append(pages, page(i+1, message("")))
	}
	f, asked := ask(t, k, pages...)
	if f.Outcome != vendors.OutcomeUnknown || !strings.Contains(f.Why, "more than 20 objects") || len(asked) != 20 || len(asked) > vendors.MostLooks {
		t.Errorf("after %d pages: %s, %s", len(asked), found(f), f.Why)
	}
	if want := asked[0] + "&Page=3&PageToken=PA" + sms; asked[3] != want {
		t.Errorf("asked for %s, want %s", asked[3], want)
	}
}

func TestLostMessageOfAServiceIsKnownByTheService(t *testing.T) {
	const service = "MG0123456789abcdef0123456789abcdef"
	form := "To=%2B14155550100&MessagingServiceSid=" + service + "&Body=hi"
	of := func(sid string) string {
		return message(`"from": "+15005550009", "messaging_service_sid": "` + sid + `"`)
	}
	for got, want := range map[string]string{
		of(service): "executed: fee 0.50 USD, known by number and time",
		of("MG1"):   "in_doubt",
	} {
		f, asked := ask(t, caseOf(t, classic+"/Messages.json", form, "", "fee 0.50 USD"), list("messages", got))
		if found(f) != want || strings.Contains(asked[0], "From") {
			t.Errorf("%s: %s, asked for %s", got, found(f), asked)
		}
	}
}

const (
	dial   = "To=%2B14155550100&From=%2B15005550006&TimeLimit=600&Twiml=%3CResponse%3E%3CHangup%2F%3E%3C%2FResponse%3E"
	says   = "To=%2B14155550100&From=%2B15005550006&TimeLimit=600&MachineDetection=Enable&Twiml=%3CResponse%3E%3CSay%3EHello%3C%2FSay%3E%3C%2FResponse%3E"
	byURL  = "To=%2B14155550100&From=%2B15005550006&TimeLimit=600&Url=https%3A%2F%2Fexample.com"
	queued = `{"sid": "` + call + `", "status": "queued", "price": null, "price_unit": "USD"}`
)

func dialled(members string) string {
	return record(`"sid": "`+call+`", "status": "completed", "price": "-0.02800", "price_unit": "USD", "duration": "61",
		"to": "+14155550100", "from": "+15005550006", "parent_call_sid": null, "direction": "outbound-api"`, members)
}

// TestCallCostsItsPriceAndWhatIsBesideIt is about calls whose reply named them.
func TestCallCostsItsPriceAndWhatIsBesideIt(t *testing.T) {
	const day = 24 * time.Hour
	rang := dialled(`"status": "no-answer", "price": null`)
	for name, c := range map[string]struct {
		form, ceiling, record string
		after                 time.Duration
		want                  string
	}{
		"a connection alone":                    {dial, "", dialled(""), 0, "executed: fee 0.028 USD"},
		"with a machine's detection and speech": {says, "", dialled(""), 0, "executed: fee 0.0363 USD"},
		"under a ceiling":                       {byURL, "fee 1.00 USD", dialled(""), 0, "executed: fee 1.00 USD"},
		"dearer than a ceiling":                 {byURL, "fee 0.01 USD", dialled(""), 0, "executed: fee 0.028 USD"},
		"still in progress":                     {dial, "", dialled(`"status": "in-progress"`), 30 * day, "pending: fee 0.14 USD, fee 0.00 USD, again"},
		"speech, still in progress":             {says, "", dialled(`"status": "in-progress", "price": null`), 0, "pending: fee 0.14 USD, fee 0.0083 USD, again"},
		"ended, no price yet":                   {dial, "", dialled(`"price": null`), 2 * day, "pending: fee 0.14 USD, fee 0.00 USD, again"},
		"ended, no price after four days":       {dial, "", dialled(`"price": null`), 4 * day, "executed: fee 0.14 USD, the price never came"},
		"nobody answered":                       {dial, "", rang, 0, "executed: fee 0.00 USD"},
		"nobody answered, a machine looked for": {says, "", rang, 0, "executed: fee 0.0083 USD"},
		"nobody answered, under a ceiling":      {byURL, "fee 1.00 USD", rang, 0, "executed: fee 0.00 USD"},
		"nobody answered, ceiling and machine":  {byURL + "&MachineDetection=Enable", "fee 1.00 USD", rang, 0, "executed: fee 1.00 USD"},
		"in euros":                              {dial, "", dialled(`"price_unit": "EUR"`), 0, "executed: fee 0.14 USD, unexpected currency"},
		"a credit":                              {dial, "", dialled(`"price": "0.028"`), 0, "in_doubt"},
		"a price that is no text":               {dial, "", dialled(`"price": 0.028`), 0, "in_doubt"},
		"another call":                          {dial, "", dialled(`"sid": "CA1"`), 0, "in_doubt"},
		"another account's":                     {dial, "", dialled(`"account_sid": "AC1"`), 0, "in_doubt"},
		"a page":                                {dial, "", "502 <html>", 0, "in_doubt"},
	} {
		t.Run(name, func(t *testing.T) {
			k := caseOf(t, classic+"/Calls.json", c.form, queued, c.ceiling)
			k.Now = endedAt.Add(c.after)
			f, asked := ask(t, k, c.record)
			if got := found(f); got != c.want {
				t.Errorf("got %q, want %q (%s)", got, c.want, f.Why)
			}
			if want := "/2010-04-01/Accounts/" + me + "/Calls/" + call + ".json"; !slices.Equal(asked, []string{want}) {
				t.Errorf("asked for %q", asked)
			}
		})
	}
}

func TestParticipantCostsItsCallAndTheConference(t *testing.T) {
	k := caseOf(t, classic+"/Conferences/CF1/Participants.json", "To=%2B14155550100&From=%2B15005550006&TimeLimit=600", `{"call_sid": "`+call+`", "status": "queued"}`, "")
	if f, _ := ask(t, k, dialled("")); found(f) != "executed: fee 0.046 USD" { // 0.028 and ten minutes of the conference
		t.Error(found(f), f.Why)
	}
}

func TestLostCallIsKnownByNumberAndTime(t *testing.T) {
	for want, records := range map[string][]string{
		"executed: fee 0.14 USD, known by number and time": {dialled("")},
		"in_doubt": {dialled(""), dialled(`"sid": "CA00000000000000000000000000000001"`)},
	} {
		f, asked := ask(t, caseOf(t, classic+"/Calls.json", dial, "", ""), list("calls", records...))
		if found(f) != want || asked[0] != "/2010-04-01/Accounts/"+me+"/Calls.json?To=%2B14155550100&From=%2B15005550006&StartTime%3E=2026-11-22&PageSize=1000" {
			t.Errorf("%s, want %s; asked for %s", found(f), want, asked)
		}
	}
	leg := dialled(`"parent_call_sid": "CA1"`)
	if f, _ := ask(t, caseOf(t, classic+"/Calls.json", dial, "", ""), list("calls", leg)); f.Outcome != vendors.OutcomeUnknown {
		t.Errorf("a leg that another call dialled counts for this one: %s", found(f))
	}
}

func TestUpdatesAreKnownByWhatTheyLeft(t *testing.T) {
	for name, c := range map[string]struct {
		path, form, record, want string
	}{
		"a message that was cancelled":       {"/Messages/" + sms + ".json", "Status=canceled", message(`"status": "canceled"`), "executed: "},
		"a message that was sent":            {"/Messages/" + sms + ".json", "Status=canceled", message(""), "not_executed"},
		"a message that waits":               {"/Messages/" + sms + ".json", "Status=canceled", message(`"status": "scheduled"`), "in_doubt"},
		"another message that was cancelled": {"/Messages/" + sms + ".json", "Status=canceled", message(`"status": "canceled", "sid": "` + other + `"`), "in_doubt"},
		"another account's":                  {"/Messages/" + sms + ".json", "Status=canceled", message(`"status": "canceled", "account_sid": "AC1"`), "in_doubt"},
		"a message, and a page":              {"/Messages/" + sms + ".json", "Status=canceled", "500 <html>", "in_doubt"},
		"a call that has ended":              {"/Calls/" + call + ".json", "Status=completed", dialled(""), "executed: "},
		"a call that goes on":                {"/Calls/" + call + ".json", "Status=completed", dialled(`"status": "in-progress"`), "in_doubt"},
		"another call that has ended":        {"/Calls/" + call + ".json", "Status=completed", dialled(`"sid": "CA1"`), "in_doubt"},
	} {
		f, _ := ask(t, caseOf(t, classic+c.path, c.form, "", ""), c.record)
		if got := found(f); got != c.want {
			t.Errorf("%s: %q, want %q (%s)", name, got, c.want, f.Why)
		}
	}
	k := caseOf(t, classic+"/Calls/"+call+".json", "TimeLimit=3600", "", "fee 2.00 USD")
	if f, asked := ask(t, k); f.Outcome != vendors.OutcomeUnknown || asked != nil {
		t.Errorf("a longer call: %s", found(f))
	}
	k = caseOf(t, classic+"/Calls/"+call+".json", "TimeLimit=3600", queued, "fee 2.00 USD")
	if f, _ := ask(t, k, dialled("")); found(f) != "executed: fee 2.00 USD" {
		t.Errorf("a longer call that has ended: %s", found(f))
	}
}

func TestVerificationAndNumberAreKnownByWhatTwilioLists(t *testing.T) {
	const (
		service = "VA0123456789abcdef0123456789abcdef"
		verify  = "https://verify.twilio.com/v2/Services/" + service + "/Verifications"
		form    = "To=%2B14155550100&Channel=sms"
		number  = "PN0123456789abcdef0123456789abcdef"
	)
	attempt := func(members string) string {
		return record(`"sid": "VL0123456789abcdef0123456789abcdef", "service_sid": "`+service+`", "channel": "sms", "channel_data": {"to": "+14155550100"}, "price": {"value": "0.0075", "currency": "usd"}`,
			strings.Join(slices.DeleteFunc([]string{`"date_created": "2026-11-23T00:00:05Z"`, members}, func(s string) bool { return s == "" }), ", "))
	}
	attempts := func(records ...string) string {
		return `{"attempts": [` + strings.Join(records, ", ") + `], "meta": {"next_page_url": null, "key": "attempts"}}`
	}
	for name, c := range map[string]struct{ reply, want string }{
		"one attempt":     {attempts(attempt("")), "executed: fee 0.03 USD, known by number and time"},
		"none":            {attempts(), "in_doubt"},
		"two":             {attempts(attempt(""), attempt(`"sid": "VL00000000000000000000000000000001"`)), "in_doubt"},
		"another service": {attempts(attempt(`"service_sid": "VA1"`)), "in_doubt"},
		"another channel": {attempts(attempt(`"channel": "call"`)), "in_doubt"},
		"another number":  {attempts(attempt(`"channel_data": {"to": "+14155550199"}`)), "in_doubt"},
		"an hour later":   {strings.ReplaceAll(attempts(attempt("")), "T00:00:05Z", "T01:00:05Z"), "in_doubt"},
		"no end":          {`{"attempts": [` + attempt("") + `], "meta": {}}`, "in_doubt"},
	} {
		f, asked := ask(t, caseOf(t, verify, form, "", ""), c.reply)
		if found(f) != c.want || asked[0] != "/v2/Attempts?ChannelData.To=%2B14155550100&VerifyServiceSid="+service+"&DateCreatedAfter=2026-11-22T23%3A59%3A57Z&PageSize=1000" {
			t.Errorf("%s: %s (%s), asked for %s", name, found(f), f.Why, asked)
		}
	}

	bought := func(members string) string {
		return record(`"sid": "`+number+`", "phone_number": "+14155550123"`, members)
	}
	for name, c := range map[string]struct{ reply, want string }{
		"the number":       {list("incoming_phone_numbers", bought("")), "executed: fee 2.15 USD, known by number and time"},
		"bought last year": {list("incoming_phone_numbers", bought(`"date_created": "Sun, 23 Nov 2025 00:00:05 +0000"`)), "in_doubt"},
		"another":          {list("incoming_phone_numbers", bought(`"phone_number": "+14155550124"`)), "in_doubt"},
	} {
		f, _ := ask(t, caseOf(t, classic+"/IncomingPhoneNumbers.json", "PhoneNumber=%2B14155550123", "", ""), c.reply)
		if found(f) != c.want {
			t.Errorf("%s: %s (%s)", name, found(f), f.Why)
		}
	}
	if f, asked := ask(t, caseOf(t, classic+"/IncomingPhoneNumbers.json", "AreaCode=415", "", "")); f.Outcome != vendors.OutcomeUnknown || asked != nil {
		t.Errorf("any number of an area: %s", found(f))
	}
}

// TestWhatIsKeptOfACallIsNotWhatItSays says that no text travels with a reservation.
func TestWhatIsKeptOfACallIsNotWhatItSays(t *testing.T) {
	for _, op := range table(t).Operations() {
		for _, name := range op.Trace {
			if slices.Contains([]string{"Body", "Twiml", "MediaUrl", "ContentVariables", "Url", "CustomMessage", "CustomCode", "SendDigits"}, name) {
				t.Errorf("%s keeps %s", op.Name, name)
			}
		}
		if (op.Trace != nil) && op.Reconcile == nil {
			t.Errorf("%s keeps parameters for nothing", op.Name)
		}
	}
}
