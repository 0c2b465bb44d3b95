package kbtwilio

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"time"

	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/vendors"
)

// Twilio's objects carry no mark of the call that made them. What is known of a call is therefore of two kinds. An object
// whose id the reply named is the call's own, and what Twilio bills for it is what the call has cost. An object that was
// found by number and time alone may be another's, made in the same seconds: exactly one tells that the call was
// executed, and never that it cost less than was reserved for it. Of several, a person has to choose.

const (
	// slack is how far Twilio's clock, whose times are whole seconds, may be off the brake's.
	slack = 5 * time.Second

	// priceLate is when a price that is to come has to be there: "up to 24 hours in rare cases" (Twilio's
	// documentation, read November 2026). priceNever is when it is not waited for any longer.
	priceLate, priceNever = 24 * time.Hour, 72 * time.Hour

	// mostPages and pageSize bound what is read of a list; 1000 is Twilio's most.
	mostPages, pageSize = 20, 1000
)

// A record is a message, a call, an attempt to verify or a number, as far as it tells of a call. Which of the members
// are there depends on what it is.
type record struct {
	Sid         string          `json:"sid"`
	Account     string          `json:"account_sid"`
	Status      string          `json:"status"`
	Direction   string          `json:"direction"`
	To          string          `json:"to"`
	From        string          `json:"from"`
	Messaging   string          `json:"messaging_service_sid"`
	Parent      string          `json:"parent_call_sid"`
	Number      string          `json:"phone_number"`
	Verify      string          `json:"service_sid"`
	Channel     string          `json:"channel"`
	ChannelData channelData     `json:"channel_data"`
	Created     string          `json:"date_created"`
	Updated     string          `json:"date_updated"`
	Segments    *string         `json:"num_segments"`
	Error       *int            `json:"error_code"`
	Price       json.RawMessage `json:"price"` // a string or null; an attempt's is an object
	PriceUnit   string          `json:"price_unit"`
}

type channelData struct {
	To string `json:"to"`
}

// A trail is where Twilio keeps what a call made, and how that is known.
type trail struct {
	one  string                                   // the operation that reads the object that the reply named
	own  *regexp.Regexp                           // that object's id
	path func(c *vendors.Call, sid string) string // of it
	cost func(c *vendors.Case, r record) vendors.Finding

	list  string                                // the operation that lists what was made
	in    func(c *vendors.Call) string          // its path
	name  string                                // of the list in its reply
	sid   *regexp.Regexp                        // of what it lists
	query func(c *vendors.Case) []vendors.Param // its filters; nil where the call does not say enough
	ours  func(c *vendors.Case, r record) bool  // whether r is what the call asked for, times apart
}

// reconcile looks up the object that the reply named, and where no reply did, what was made in the call's time.
func (t trail) reconcile(c *vendors.Case) (vendors.Finding, error) {
	if i := slices.IndexFunc(c.Objects, t.own.MatchString); i >= 0 {
		return t.byID(c, c.Objects[i])
	}
	if !c.Doubt {
		return tells("the reply named no object that could be looked up")
	}
	return t.byTime(c)
}

// byID reads the object that the reply named.
func (t trail) byID(c *vendors.Case, sid string) (vendors.Finding, error) {
	if len(c.Seen) == 0 {
		return vendors.Finding{Look: &vendors.Probe{Operation: t.one, Path: t.path(c.Call, sid)}}, nil
	}
	var r record
	if why := read(c.Seen[0], &r); why != "" {
		return tells(why)
	}
	if r.Sid != sid || r.Account != c.Call.Account {
		return tells("the answer is of another object than the call's")
	}
	return t.cost(c, r), nil
}

// byTime reads the list of what was made since the call was sent.
func (t trail) byTime(c *vendors.Case) (vendors.Finding, error) {
	query := t.query(c)
	if query == nil {
		return tells("there was no reply, and the call does not say enough to be looked for")
	}
	query = append(query, vendors.Param{Name: "PageSize", Value: strconv.Itoa(pageSize)})
	path := t.in(c.Call)
	if len(c.Seen) == 0 {
		return vendors.Finding{Look: &vendors.Probe{Operation: t.list, Path: path, Query: query}}, nil
	}
	var found []record
	more, why := pages(c.Seen, path, t.name, func(list json.RawMessage) error {
		var records []record
		err := json.Unmarshal(list, &records)
		found = append(found, records...)
		return err
	})
	switch {
	case why != "":
		return tells(why)
	case more != nil && len(c.Seen) >= mostPages:
		return tells(fmt.Sprintf("Twilio lists more than %d objects that this call could have made", len(found)))
	case more != nil:
		return vendors.Finding{Look: &vendors.Probe{Operation: t.list, Path: path, Query: append(query, more...)}}, nil
	}
	return t.judge(c, found)
}

// pages takes the list out of each page that was read so far. more is what to add to the query for the next one.
func pages(seen []*vendors.Reply, path, name string, take func(list json.RawMessage) error) (more []vendors.Param, why string) {
	for i, reply := range seen {
		list, next, why := page(reply, path, name)
		switch {
		case why != "":
			return nil, why
		case take(list) != nil:
			return nil, "Twilio's list cannot be read"
		case next == nil && i < len(seen)-1:
			return nil, "Twilio's list changed while it was read"
		}
		more = next
	}
	return more, ""
}

// page is the list called name of one page of path's, and what to add to the query for the next page; nil is the end.
// The filters stay those that were asked for, whatever the page says.
func page(reply *vendors.Reply, path, name string) (list json.RawMessage, next []vendors.Param, why string) {
	var page map[string]json.RawMessage
	if why := read(reply, &page); why != "" {
		return nil, nil, why
	}
	if list = page[name]; len(list) == 0 || list[0] != '[' {
		return nil, nil, "Twilio's list cannot be read"
	}
	uri, ok := nextPage(page)
	if !ok {
		return nil, nil, "Twilio's list does not say whether it goes on"
	}
	if uri == "" {
		return list, nil, ""
	}
	u, err := url.Parse(uri)
	if err != nil || u.Path != path {
		return nil, nil, "Twilio's list goes on somewhere else"
	}
	for _, name := range []string{"Page", "PageToken"} {
		if value := u.Query().Get(name); value != "" {
			next = append(next, vendors.Param{Name: name, Value: value})
		}
	}
	if next == nil {
		return nil, nil, "Twilio's list does not say how it goes on"
	}
	return list, next, ""
}

// nextPage is the address of the next page, empty at the end: next_page_uri of the classic API, meta.next_page_url of
// the others. ok is false for a page that has neither, which is none.
func nextPage(page map[string]json.RawMessage) (uri string, ok bool) {
	text, ok := page["next_page_uri"]
	if meta, other := page["meta"]; !ok && other {
		var m map[string]json.RawMessage
		if json.Unmarshal(meta, &m) == nil {
			text, ok = m["next_page_url"]
		}
	}
	if !ok {
		return "", false
	}
	var to *string
	if json.Unmarshal(text, &to) != nil {
		return "", false
	}
	if to != nil {
		uri = *to
	}
	return uri, true
}

// judge decides by number and time. What is found costs what was reserved, and more where Twilio says more: it is no
// proof that this call cost less.
func (t trail) judge(c *vendors.Case, found []record) (vendors.Finding, error) {
	seen := map[string]bool{}
	var near []record
	later := 0
	for _, r := range found {
		at, err := created(r)
		if !t.sid.MatchString(r.Sid) || err != nil {
			return tells("Twilio's list has an object whose id or time cannot be read")
		}
		if seen[r.Sid] || r.Account != c.Call.Account || !t.ours(c, r) || at.Before(c.Sent.Add(-slack).Truncate(time.Second)) {
			continue
		}
		seen[r.Sid] = true
		if at.After(c.Ended.Add(slack)) {
			later++
			continue
		}
		near = append(near, r)
	}
	switch {
	case len(near) == 0:
		return tells(fmt.Sprintf("Twilio lists nothing that this call could have made in its time, and %d after it; that is no proof that it was not executed", later))
	case len(near) > 1:
		return tells(fmt.Sprintf("Twilio lists %d objects that this call could have made, and nothing tells which it made, if any", len(near)))
	}
	f := vendors.Finding{
		Outcome: vendors.Executed,
		Cost:    vendors.Settlement{Actual: c.Bound.Lines, Objects: []string{near[0].Sid}, Flag: "known by number and time"},
		Why:     "Twilio lists one object that this call could have made; it counts as what was reserved, since another call could have made it",
	}
	if own := t.cost(c, near[0]); amount(own.Cost.Actual, cost.Fee) > amount(c.Bound.Lines, cost.Fee) {
		f.Cost.Actual = own.Cost.Actual
	}
	return f, nil
}

// created is when Twilio made r: in the form of RFC 2822 in the classic API, of ISO 8601 in the others.
func created(r record) (time.Time, error) {
	if at, err := time.Parse(time.RFC1123Z, r.Created); err == nil {
		return at, nil
	}
	return time.Parse(time.RFC3339, r.Created)
}

// tells is a finding that proves nothing.
func tells(why string) (vendors.Finding, error) { return vendors.Finding{Why: why}, nil }

// read reads a reply that has to be 200 and one JSON document, or says why it proves nothing.
func read(reply *vendors.Reply, into any) (why string) {
	switch {
	case reply.Status == http.StatusNotFound:
		return "Twilio has no such object: it was deleted, or never was this account's"
	case reply.Status != http.StatusOK:
		return fmt.Sprintf("Twilio answered with status %d", reply.Status)
	}
	if _, err := vendors.DecodeJSON(reply.Body); err != nil || json.Unmarshal(reply.Body, into) != nil {
		return "Twilio's answer cannot be read"
	}
	return ""
}

// executed is a call that has cost lines and nothing more to come.
func executed(sid string, lines []cost.Line, flag string) vendors.Finding {
	return vendors.Finding{Outcome: vendors.Executed, Cost: vendors.Settlement{Actual: lines, Objects: []string{sid}, Flag: flag}}
}

// pending is a call whose price is still to come.
func pending(sid string, lines []cost.Line) vendors.Finding {
	return vendors.Finding{Outcome: vendors.Pending, Cost: vendors.Settlement{Actual: lines, Objects: []string{sid}, Again: lookAgain}}
}

// collection is the path of a list of the classic API, and object that of one of it.
func collection(name string) func(*vendors.Call) string {
	return func(c *vendors.Call) string {
		return "/2010-04-01/Accounts/" + c.IDs["AccountSid"] + "/" + name + ".json"
	}
}

func object(name string) func(*vendors.Call, string) string {
	return func(c *vendors.Call, sid string) string {
		return "/2010-04-01/Accounts/" + c.IDs["AccountSid"] + "/" + name + "/" + sid + ".json"
	}
}

// param is a parameter that was kept of the call, or empty.
func param(c *vendors.Case, name string) string {
	value, _ := c.Call.Get(name)
	return value
}

// since is the filter for what was made on the day of the call or later: "on or after midnight" of a date (Twilio's
// documentation, read November 2026).
func since(c *vendors.Case, name string) vendors.Param {
	return vendors.Param{Name: name, Value: c.Sent.Add(-slack).UTC().Format(time.DateOnly)}
}

// price is the price of a message or call as it stands there, or empty for none.
func (r record) price() (text string, readable bool) {
	if len(r.Price) == 0 || string(r.Price) == "null" {
		return "", true
	}
	err := json.Unmarshal(r.Price, &text)
	return text, err == nil && text != ""
}

// age is for how long r, or the call, has been as it is.
func (r record) age(c *vendors.Case) time.Duration {
	last := c.Ended
	if at, err := time.Parse(time.RFC1123Z, r.Updated); err == nil && at.After(last) {
		last = at
	}
	return c.Now.Sub(last)
}
