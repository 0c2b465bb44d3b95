package kbresend

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"time"

	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/vendors"
)

// What is kept of a call to find it again.
var (
	mailTrace      = []string{"from", "to", "cc", "bcc", "subject"}
	broadcastTrace = []string{"name", "segment_id", "audience_id", "from", "subject", "send"}
)

// A record is a mail or a broadcast as GET shows it, and, without tags and text, a list. Null is absent.
type record struct {
	Object      string   `json:"object"`
	ID          string   `json:"id"`
	From        string   `json:"from"`
	To          []string `json:"to"`
	Cc          []string `json:"cc"`
	Bcc         []string `json:"bcc"`
	Subject     string   `json:"subject"`
	CreatedAt   string   `json:"created_at"`
	ScheduledAt string   `json:"scheduled_at"`
	LastEvent   string   `json:"last_event"` // of a mail
	Tags        []struct {
		Name  string `json:"name"`
		Value string `json:"value"`
	} `json:"tags"`

	Name       string `json:"name"` // of a broadcast, as all that follows
	SegmentID  string `json:"segment_id"`
	AudienceID string `json:"audience_id"`
	Status     string `json:"status"`
	SentAt     string `json:"sent_at"`
}

func (r record) recipients() int64 { return int64(len(r.To) + len(r.Cc) + len(r.Bcc)) }

// mark is the call that the mail names.
func (r record) mark() string {
	for _, t := range r.Tags {
		if t.Name == callTag {
			return t.Value
		}
	}
	return ""
}

// A kind is what is looked for: where it is listed and what one of it is called.
type kind struct{ object, path, retrieve, list string }

var (
	mailKind      = kind{"email", "/emails", "resend.emails.retrieve", "resend.emails.list"}
	broadcastKind = kind{"broadcast", "/broadcasts", "resend.broadcasts.retrieve", "resend.broadcasts.list"}
)

// A look reads a case's answers in their order, and asks for the one that is not there yet. Once it has stopped, by
// asking or by an answer that tells nothing, finding is what it has come to.
type look struct {
	kind
	c       *vendors.Case
	next    int
	finding *vendors.Finding
}

func (l *look) stop(why string, args ...any) {
	if l.finding == nil {
		l.finding = &vendors.Finding{Why: fmt.Sprintf(why, args...)}
	}
}

// read takes the next answer into v, which has to be an object of that name. ok is false once the look has stopped.
func (l *look) read(p vendors.Probe, object string, v any) (ok bool) {
	if l.finding != nil {
		return false
	}
	if l.next == len(l.c.Seen) {
		if l.next >= vendors.MostLooks {
			l.stop("there is more than can be looked through")
			return false
		}
		l.finding = &vendors.Finding{Look: &p}
		return false
	}
	r := l.c.Seen[l.next]
	l.next++
	var head struct {
		Object string `json:"object"`
	}
	switch {
	case r == nil || r.Status != http.StatusOK:
		status := 0
		if r != nil {
			status = r.Status
		}
		l.stop("Resend answered a look with status %d", status)
	case json.Unmarshal(r.Body, &head) != nil || head.Object != object || json.Unmarshal(r.Body, v) != nil:
		l.stop("Resend's answer to a look cannot be read")
	}
	return l.finding == nil
}

// retrieve reads one of it by id.
func (l *look) retrieve(id string) (r record, ok bool) {
	if !objectID.MatchString(id) {
		l.stop("the id that is kept is none of Resend's")
		return r, false
	}
	if !l.read(vendors.Probe{Operation: l.kind.retrieve, Path: l.path + "/" + id}, l.object, &r) {
		return r, false
	}
	if r.ID != id {
		l.stop("Resend's answer is about something else")
		return r, false
	}
	return r, true
}

// since are those that Resend has made at or after t. Its lists are read from the newest on. That something is not in
// one proves nothing: they carry no tags, and how soon and how long they show everything is not documented
// (Resend's documentation, read November 2026).
func (l *look) since(t time.Time) (all []record, ok bool) {
	after := ""
	for {
		var page struct {
			HasMore *bool    `json:"has_more"`
			Data    []record `json:"data"`
		}
		query := []vendors.Param{{Name: "limit", Value: strconv.Itoa(pageSize)}}
		if after != "" {
			query = append(query, vendors.Param{Name: "after", Value: after})
		}
		if !l.read(vendors.Probe{Operation: l.list, Path: l.path, Query: query}, "list", &page) {
			return nil, false
		}
		if page.HasMore == nil || page.Data == nil || *page.HasMore && len(page.Data) == 0 {
			l.stop("Resend's answer to a look cannot be read")
			return nil, false
		}
		for _, r := range page.Data {
			made, ok := moment(r.CreatedAt)
			switch {
			case !ok || !objectID.MatchString(r.ID) || r.ID == after:
				l.stop("Resend's answer to a look cannot be read")
				return nil, false
			case made.Before(t):
				return all, true
			case !slices.ContainsFunc(all, func(o record) bool { return o.ID == r.ID }):
				all = append(all, r)
			}
		}
		if !*page.HasMore {
			return all, true
		}
		after = page.Data[len(page.Data)-1].ID
	}
}

// moment reads a time as Resend writes it.
func moment(s string) (time.Time, bool) {
	for _, layout := range []string{time.RFC3339, "2006-01-02 15:04:05Z07", "2006-01-02 15:04:05Z07:00"} {
		if t, err := time.Parse(layout, s); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}

// skew is how far Resend's clock and the brake's may be apart; late is how long after a call's end a mail without a mark
// may be made and still be taken for the call's.
const (
	skew = 2 * time.Minute
	late = 10 * time.Minute
)

// An asked is what the call said of one mail.
type asked struct {
	from, subject string
	to, cc, bcc   []string
}

// mailParam is the parameter of a mail, in a batch or alone: [3][to][0], to[0], to.
var mailParam = regexp.MustCompile(`^(?:\[([0-9]+)\]\[(from|to|cc|bcc|subject)\]|(from|to|cc|bcc|subject))(?:\[[0-9]+\])?$`)

// askedOf are the mails that the call was to send, by what was kept of it.
func askedOf(c *vendors.Call) []asked {
	at := map[string]int{}
	var all []asked
	for _, p := range c.Params {
		m := mailParam.FindStringSubmatch(p.Name)
		if m == nil || p.Value == "" { // an empty list, or null
			continue
		}
		i, seen := at[m[1]]
		if !seen {
			i = len(all)
			at[m[1]], all = i, append(all, asked{})
		}
		switch a := &all[i]; m[2] + m[3] {
		case "from":
			a.from = p.Value
		case "subject":
			a.subject = p.Value
		case "to":
			a.to = append(a.to, p.Value)
		case "cc":
			a.cc = append(a.cc, p.Value)
		case "bcc":
			a.bcc = append(a.bcc, p.Value)
		}
	}
	return all
}

// fits reports whether r is a mail such as a. A template may have given what the call leaves out.
func (a asked) fits(r record) bool {
	return (a.from == "" || same([]string{a.from}, []string{r.From})) && (a.subject == "" || a.subject == r.Subject) &&
		len(a.to) > 0 && same(a.to, r.To) && same(a.cc, r.Cc) && same(a.bcc, r.Bcc)
}

// same reports whether two lists are of the same addresses, each as often. One that cannot be read is like no other.
func same(a, b []string) bool {
	x, y := make([]string, len(a)), make([]string, len(b))
	for to, from := range map[*[]string][]string{&x: a, &y: b} {
		for i, s := range from {
			address, err := Address(s)
			if err != nil {
				return false
			}
			(*to)[i] = address
		}
		slices.Sort(*to)
	}
	return slices.Equal(x, y)
}

// reconcileMails tells of a send or a batch: by the ids that its reply named, else by a mail that carries its mark, else,
// where it has none, by the only mails of that time to those recipients.
func reconcileMails(c *vendors.Case) (vendors.Finding, error) {
	l := &look{kind: mailKind, c: c}
	var found []record
	switch {
	case len(c.Objects) > 0:
		for _, id := range c.Objects[:min(len(c.Objects), vendors.MostLooks)] {
			r, ok := l.retrieve(id)
			if !ok {
				return *l.finding, nil
			}
			found = append(found, r)
		}
	case !c.Doubt:
		return vendors.Finding{Why: "the reply named no mail"}, nil
	default:
		if found = l.search(); l.finding != nil {
			return *l.finding, nil
		}
	}
	return outcomeOf(c, found), nil
}

// search finds the call's mails in the list.
func (l *look) search() []record {
	mails := askedOf(l.c.Call)
	if n := recipientsAsked(mails); n == 0 || n != units(l.c.Bound.Lines) {
		l.stop("what was kept of the call does not say whom it went to")
		return nil
	}
	listed, ok := l.since(l.c.Sent.Add(-skew))
	if !ok {
		return nil
	}
	var found []record
	taken := map[string]bool{}
	for _, a := range mails {
		candidates := slices.DeleteFunc(slices.Clone(listed), func(r record) bool { return taken[r.ID] || !a.fits(r) || l.tooLate(r) })
		if l.c.Mark == "" && len(candidates) > 1 {
			l.stop("several mails could be this call's, and it carries no mark")
			return nil
		}
		for _, r := range candidates {
			full, ok := l.retrieve(r.ID)
			if !ok {
				return nil
			}
			if l.c.Mark != "" && full.mark() != tagValue(l.c.Mark) || l.c.Mark == "" && full.mark() != "" {
				continue
			}
			if !a.fits(full) {
				l.stop("the mail that carries the call's mark is another than it was to send")
				return nil
			}
			taken[r.ID], found = true, append(found, full)
			if l.c.Mark != "" {
				return found // of a batch too: one is enough to know that it was executed, and it is booked whole
			}
			break
		}
	}
	switch {
	case len(found) == 0:
		l.stop("no mail of the call was found; that is no proof that none was sent")
	case l.c.Mark == "" && len(found) < len(mails):
		l.stop("%d mails of %d were found, and they carry no mark", len(found), len(mails))
	}
	return found
}

// tooLate reports whether a mail without a mark was made when the call was long over.
func (l *look) tooLate(r record) bool {
	made, _ := moment(r.CreatedAt)
	return l.c.Mark == "" && made.After(l.c.Ended.Add(late))
}

func recipientsAsked(mails []asked) (n int64) {
	for _, a := range mails {
		n += int64(len(a.to) + len(a.cc) + len(a.bcc))
	}
	return n
}

// units are the recipients in lines.
func units(lines []cost.Line) int64 {
	i := slices.IndexFunc(lines, func(l cost.Line) bool { return l.Meter == cost.Units })
	if i < 0 {
		return 0
	}
	return lines[i].Amount
}

// sent are the events of a mail that was handed on, or that can no longer be canceled. Whether one that failed or was
// suppressed counts towards the quota is not documented, so it does.
var sent = []string{
	"bounced", "clicked", "complained", "delivered", "delivery_delayed", "failed", "opened", "queued", "sent", "suppressed",
}

// outcomeOf is what the call's mails say: what they cost, less those that were canceled before they were sent.
func outcomeOf(c *vendors.Case, mails []record) vendors.Finding {
	paid := c.Booked
	if len(paid) == 0 {
		paid = c.Bound.Lines
	}
	f := vendors.Finding{Outcome: vendors.Executed, Cost: vendors.Settlement{Actual: paid}}
	var all, canceled int64
	for _, m := range mails {
		f.Cost.Objects = append(f.Cost.Objects, m.ID)
		all += m.recipients()
		switch {
		case m.LastEvent == "canceled":
			canceled += m.recipients()
		case m.LastEvent == "scheduled":
			again := untilSent(m, c.Now)
			if f.Outcome == vendors.Executed || again < f.Cost.Again {
				f.Cost.Again = again
			}
			f.Outcome = vendors.Pending
		case !slices.Contains(sent, m.LastEvent):
			return vendors.Finding{Why: "Resend shows a state of the mail that is not known"}
		}
	}
	n := units(c.Bound.Lines)
	switch {
	case all < units(paid) || all > n: // what was canceled is not known in full; what was found canceled before is not in paid
		f.Why = "Resend shows other recipients than were booked, or not all mails of a batch; it is booked as they all were sent"
	case canceled > 0:
		f.Cost.Actual = part(c.Bound.Lines, all-canceled, n)
	}
	return f
}

// part is what k of n recipients cost, of what n cost, rounded up.
func part(lines []cost.Line, k, n int64) []cost.Line {
	lines = slices.Clone(lines)
	for i, l := range lines {
		lines[i].Amount = l.Amount/n*k + (l.Amount%n*k+n-1)/n
	}
	return lines
}

// untilSent is when a scheduled mail is worth looking at again: when it will have been sent, and once a day till then,
// because it may be canceled or moved.
func untilSent(m record, now time.Time) time.Duration {
	at, ok := moment(m.ScheduledAt)
	if !ok {
		return time.Hour
	}
	return min(max(at.Sub(now), 0)+10*time.Minute, 24*time.Hour)
}

// reconcileBroadcast tells of a broadcast: by its own id, or by the only one of that time that is such as the call said.
// What it costs stays what was reserved.
func reconcileBroadcast(c *vendors.Case) (vendors.Finding, error) {
	l := &look{kind: broadcastKind, c: c}
	id := c.Call.IDs["id"]
	if id == "" && len(c.Objects) > 0 {
		id = c.Objects[0]
	}
	if id == "" {
		if id = l.searchBroadcast(); l.finding != nil {
			return *l.finding, nil
		}
	}
	b, ok := l.retrieve(id)
	if !ok {
		return *l.finding, nil
	}
	send, _ := c.Call.Get("send")
	draft := c.Call.IDs["id"] == "" && send != "true"
	at, timed := moment(b.SentAt)
	switch {
	case c.Call.IDs["id"] == "" && !fitsBroadcast(c.Call, b):
		return vendors.Finding{Why: "the broadcast is another than the call was to make"}, nil
	case b.Status == "draft" && !draft:
		return vendors.Finding{Why: "the broadcast is a draft: it was not sent, or was canceled since"}, nil
	case b.Status == "sent" && (!timed || at.Before(c.Sent.Add(-skew))):
		return vendors.Finding{Why: "the broadcast was sent, and not by this call"}, nil
	case !slices.Contains([]string{"draft", "queued", "scheduled", "sent"}, b.Status):
		return vendors.Finding{Why: "Resend shows a state of the broadcast that is not known"}, nil
	}
	return vendors.Finding{Outcome: vendors.Executed, Cost: vendors.Settlement{Actual: c.Bound.Lines, Objects: []string{id}}}, nil
}

// searchBroadcast is the id of the only broadcast that was made at the time of the call and is such as it said. A list
// does not show all of it, so what it shows has to fit, and the rest is compared when it is retrieved.
func (l *look) searchBroadcast() string {
	listed, ok := l.since(l.c.Sent.Add(-skew))
	if !ok {
		return ""
	}
	listed = slices.DeleteFunc(listed, func(r record) bool {
		made, _ := moment(r.CreatedAt)
		return made.After(l.c.Ended.Add(late)) || segmentOf(l.c.Call) != r.segment() || !fitsWhere(l.c.Call, "name", r.Name)
	})
	switch len(listed) {
	case 0:
		l.stop("no broadcast of the call was found; that is no proof that none was made")
		return ""
	case 1:
		return listed[0].ID
	}
	l.stop("several broadcasts could be this call's")
	return ""
}

func (r record) segment() string {
	if r.SegmentID != "" {
		return r.SegmentID
	}
	return r.AudienceID
}

func segmentOf(c *vendors.Call) string {
	if s, _ := c.Get("segment_id"); s != "" {
		return s
	}
	s, _ := c.Get("audience_id")
	return s
}

func fitsBroadcast(c *vendors.Call, r record) bool {
	from, _ := c.Get("from")
	return segmentOf(c) == r.segment() && fitsWhere(c, "name", r.Name) && fitsWhere(c, "subject", r.Subject) &&
		(from == "" || same([]string{from}, []string{r.From}))
}

// fitsWhere reports whether the call's parameter, if it had one, is that value.
func fitsWhere(c *vendors.Call, param, value string) bool {
	asked, _ := c.Get(param)
	return asked == "" || asked == value
}
