package kbresend_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/internal/fakevendor"
	"github.com/keybrake/keybrake-go/vendors"
	"github.com/keybrake/keybrake-go/vendors/kbresend"
)

const (
	run  = "run_42"
	mark = "r7q3k5m2x4"
)

// A vendorAt is Resend as a case finds it: the fake one, over the wire.
type vendorAt struct {
	*fakevendor.Server
	client *http.Client
}

func fake(t *testing.T) vendorAt {
	t.Helper()
	s, err := fakevendor.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return vendorAt{s, &http.Client{Transport: s.Transport()}}
}

func (v vendorAt) do(t *testing.T, method, path string, body any) *vendors.Reply {
	t.Helper()
	var text []byte
	if body != nil {
		var err error
		if text, err = json.Marshal(body); err != nil {
			t.Fatal(err)
		}
	}
	req, err := http.NewRequestWithContext(t.Context(), method, "https://"+kbresend.Host+path, bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer re_test")
	resp, err := v.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return &vendors.Reply{Status: resp.StatusCode, Header: resp.Header, Body: got}
}

// identified is a POST of body as the brake reads it.
func identified(t *testing.T, path, body string) *vendors.Call {
	t.Helper()
	req := &http.Request{Method: "POST", URL: &url.URL{Scheme: "https", Host: kbresend.Host, Path: path}, Header: http.Header{"Content-Type": {"application/json"}}}
	_, c, err := table(t).Identify(req, []byte(body))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// openCase is the case of a call as the brake keeps it: of its parameters those that are traced, and no body.
func openCase(t *testing.T, c *vendors.Call) *vendors.Case {
	t.Helper()
	kept := *c
	kept.JSON, kept.Header, kept.Params = nil, nil, nil
	for _, p := range c.Params {
		if slices.Contains(c.Operation.Trace, vendors.Collapse(p.Name)) {
			kept.Params = append(kept.Params, p)
		}
	}
	var b vendors.Bound
	if c.Operation.Bound != nil {
		var err error
		if b, err = c.Operation.Bound(c, nil); err != nil {
			t.Fatal(err)
		}
	}
	now := time.Now()
	return &vendors.Case{Call: &kept, Doubt: true, Sent: now.Add(-time.Minute), Ended: now, Now: now, Bound: vendors.Bound{Kind: b.Kind, Lines: b.Lines, Object: b.Object}}
}

// resolve makes the looks that a case asks for, as the reconciler does.
func resolve(t *testing.T, c *vendors.Case, answer func(*vendors.Probe) *vendors.Reply) vendors.Finding {
	t.Helper()
	c.Seen = nil
	for range vendors.MostLooks + 2 {
		f, err := c.Call.Operation.Reconcile(c)
		if err != nil {
			t.Fatal(err)
		}
		if f.Look == nil {
			if f.Outcome == vendors.OutcomeUnknown && f.Why == "" || f.Absent {
				t.Errorf("%+v", f)
			}
			return f
		}
		_, looks, err := table(t).Identify(&http.Request{Method: "GET", URL: &url.URL{Scheme: "https", Host: kbresend.Host, Path: f.Look.Path}}, nil)
		if err != nil || looks.Operation.Name != f.Look.Operation || looks.Operation.Class != vendors.Read || looks.Operation.Bound != nil {
			t.Fatalf("it looks with %s at %s: %v", f.Look.Operation, f.Look.Path, err)
		}
		c.Seen = append(c.Seen, answer(f.Look))
	}
	t.Fatal("it never stops looking")
	return vendors.Finding{}
}

func (v vendorAt) look(t *testing.T) func(*vendors.Probe) *vendors.Reply {
	return func(p *vendors.Probe) *vendors.Reply {
		return v.do(t, "GET", p.Path+"?"+vendors.Encode(p.Query), nil)
	}
}

const aMail = `{"from":"Acme <ops@acme.com>","to":["ann@example.com","Bob <bob@example.com>"],"cc":"c@example.com","subject":"Hi","text":"hello"}`

// send stamps body as the brake does and sends it. It returns the ids.
func (v vendorAt) send(t *testing.T, path, body, mark string) []string {
	t.Helper()
	c := identified(t, path, body)
	var out any = json.RawMessage(body)
	if mark != "" {
		form, stamped := c.Operation.Stamp(c, run, mark)
		if form != nil || stamped == nil {
			t.Fatalf("stamped %v, %v", form, stamped)
		}
		out = stamped
	}
	r := v.do(t, "POST", path, out)
	if r.Status != 200 {
		t.Fatalf("%d %s", r.Status, r.Body)
	}
	var one struct {
		ID   string
		Data []struct{ ID string }
	}
	if err := json.Unmarshal(r.Body, &one); err != nil {
		t.Fatal(err)
	}
	if one.ID != "" {
		return []string{one.ID}
	}
	var ids []string
	for _, d := range one.Data {
		ids = append(ids, d.ID)
	}
	return ids
}

func wantFinding(t *testing.T, f vendors.Finding, o vendors.Outcome, want string, objects ...string) {
	t.Helper()
	if f.Outcome != o || lines(f.Cost.Actual) != want || !slices.Equal(f.Cost.Objects, objects) {
		t.Errorf("got %s, %s of %v (%s); want %s, %s of %v", f.Outcome, lines(f.Cost.Actual), f.Cost.Objects, f.Why, o, want, objects)
	}
}

// A mail in doubt is found by its mark among others to the same people, and without a mark where it is the only one.
func TestInDoubtMailIsFound(t *testing.T) {
	for _, mark := range []string{mark, ""} {
		v := fake(t)
		v.send(t, "/emails", strings.Replace(aMail, "Hi", "Other", 1), "")
		if mark != "" {
			v.send(t, "/emails", aMail, "another")
		}
		ids := v.send(t, "/emails", aMail, mark)
		if mark != "" {
			v.send(t, "/emails", aMail, "")
		}
		for range 120 { // a page and more of later ones
			v.send(t, "/emails", `{"from":"a@acme.com","to":"x@example.com","subject":"s","text":"t"}`, "")
		}
		c := openCase(t, identified(t, "/emails", aMail))
		c.Mark = mark
		wantFinding(t, resolve(t, c, v.look(t)), vendors.Executed, "fee 0.0027 USD, 3 units", ids...)
		if strings.Contains(fmt.Sprint(c.Call.Params), "hello") {
			t.Error("the mail's text is kept")
		}
	}
}

// What could be another call's mail proves nothing, and that there is none is no proof either.
func TestInDoubtMailIsNotGuessed(t *testing.T) {
	for name, tt := range map[string]struct {
		mark   string
		others []string // marks of mails such as this one
		change func(*vendors.Case)
	}{
		"nothing was sent":                    {mark: mark},
		"another call's mark":                 {mark: mark, others: []string{"another"}},
		"a mark that is the start of another": {mark: mark, others: []string{mark + "0"}},
		"no mark where there should be":       {mark: mark, others: []string{""}},
		"two without a mark":                  {others: []string{"", ""}},
		"a mark where there should be none":   {others: []string{"another"}},
		"made before":                         {others: []string{""}, change: func(c *vendors.Case) { c.Sent = c.Sent.Add(time.Hour) }},
		"marked and made before":              {mark: mark, others: []string{mark}, change: func(c *vendors.Case) { c.Sent = c.Sent.Add(time.Hour) }},
		"made long after":                     {others: []string{""}, change: func(c *vendors.Case) { c.Sent, c.Ended = c.Sent.Add(-time.Hour), c.Ended.Add(-time.Hour) }},
		"recipients that do not add up":       {mark: mark, others: []string{mark}, change: func(c *vendors.Case) { c.Bound.Lines[1].Amount++ }},
		"recipients that are gone":            {mark: mark, others: []string{mark}, change: func(c *vendors.Case) { c.Call.Params = nil }},
	} {
		v := fake(t)
		for _, m := range tt.others {
			v.send(t, "/emails", aMail, m)
		}
		c := openCase(t, identified(t, "/emails", aMail))
		c.Mark = tt.mark
		if tt.change != nil {
			tt.change(c)
		}
		if f := resolve(t, c, v.look(t)); f.Outcome != vendors.OutcomeUnknown {
			t.Errorf("%s: %+v", name, f)
		}
	}
}

// To whom, from whom and of what a mail is: one thing other, and it is not the call's.
func TestOtherMailsAreNotTheCalls(t *testing.T) {
	for _, other := range []string{
		strings.Replace(aMail, "ann@", "eve@", 1), strings.Replace(aMail, "ops@", "sales@", 1), strings.Replace(aMail, `"cc"`, `"bcc"`, 1), strings.Replace(aMail, `"cc"`, `"bcc":"d@example.com","cc"`, 1),
		strings.Replace(aMail, "Hi", "Ho", 1), strings.Replace(aMail, `"ann@example.com",`, "", 1), strings.Replace(aMail, `"c@example.com"`, `["c@example.com","c@example.com"]`, 1),
	} {
		for _, mark := range []string{mark, ""} {
			v := fake(t)
			v.send(t, "/emails", other, mark)
			c := openCase(t, identified(t, "/emails", aMail))
			c.Mark = mark
			if f := resolve(t, c, v.look(t)); f.Outcome != vendors.OutcomeUnknown {
				t.Errorf("%s: %+v", other, f)
			}
		}
	}
}

const aBatch = `[{"from":"a@acme.com","to":"x@example.com","subject":"1","text":"t"},{"from":"a@acme.com","to":["y@example.com","z@example.com"],"subject":"2","text":"t"}]`

func TestInDoubtBatch(t *testing.T) {
	v := fake(t)
	ids := v.send(t, "/emails/batch", aBatch, mark)
	c := openCase(t, identified(t, "/emails/batch", aBatch))
	c.Mark = mark
	wantFinding(t, resolve(t, c, v.look(t)), vendors.Executed, "fee 0.0027 USD, 3 units", ids[0])

	v = fake(t)
	ids = v.send(t, "/emails/batch", aBatch, "")
	c.Mark = ""
	wantFinding(t, resolve(t, c, v.look(t)), vendors.Executed, "fee 0.0027 USD, 3 units", ids...)

	v = fake(t) // one of two proves nothing of the other
	v.send(t, "/emails", `{"from":"a@acme.com","to":"x@example.com","subject":"1","text":"t"}`, "")
	if f := resolve(t, c, v.look(t)); f.Outcome != vendors.OutcomeUnknown {
		t.Errorf("%+v", f)
	}
}

// A scheduled mail is not final until it is sent. Resend says that it was canceled, and then it cost nothing.
func TestScheduledMailIsLookedAtAgain(t *testing.T) {
	v := fake(t)
	at := time.Now().Add(3 * time.Hour).UTC().Truncate(time.Second)
	body := strings.Replace(aMail, `"from"`, fmt.Sprintf(`"scheduled_at":%q,"from"`, at.Format(time.RFC3339)), 1)
	call := identified(t, "/emails", body)
	r := v.do(t, "POST", "/emails", json.RawMessage(body))
	c := openCase(t, call)
	s, err := call.Operation.Settle(call, c.Bound, r)
	if err != nil || s.Again == 0 || lines(s.Actual) != "fee 0.0027 USD, 3 units" {
		t.Fatalf("%+v, %v", s, err)
	}
	c.Doubt, c.Booked, c.Objects = false, s.Actual, s.Objects
	f := resolve(t, c, v.look(t))
	wantFinding(t, f, vendors.Pending, "fee 0.0027 USD, 3 units", s.Objects...)
	if want := at.Sub(c.Now) + 10*time.Minute; f.Cost.Again != want {
		t.Errorf("again in %v, want %v", f.Cost.Again, want)
	}
	v.do(t, "POST", "/emails/"+s.Objects[0]+"/cancel", nil)
	wantFinding(t, resolve(t, c, v.look(t)), vendors.Executed, "fee 0.00 USD, 0 units", s.Objects...)
	c.Booked[1].Amount++ // what was booked is not what was canceled
	wantFinding(t, resolve(t, c, v.look(t)), vendors.Executed, "fee 0.0027 USD, 4 units", s.Objects...)

	now := identified(t, "/emails", aMail)
	if s, err := now.Operation.Settle(now, c.Bound, r); err != nil || s.Again != 0 {
		t.Errorf("a mail that goes out at once is not final: %+v, %v", s, err)
	}
}

func TestScheduledBatchIsCanceledInPart(t *testing.T) {
	v := fake(t)
	body := strings.ReplaceAll(aBatch, `"from"`, `"scheduled_at":"in 1 day","from"`)
	call := identified(t, "/emails/batch", body)
	r := v.do(t, "POST", "/emails/batch", json.RawMessage(body))
	c := openCase(t, call)
	s, err := call.Operation.Settle(call, c.Bound, r)
	if err != nil || s.Again == 0 {
		t.Fatalf("%+v, %v", s, err)
	}
	c.Doubt, c.Booked, c.Objects = false, s.Actual, s.Objects
	v.do(t, "POST", "/emails/"+s.Objects[1]+"/cancel", nil)
	f := resolve(t, c, v.look(t))
	wantFinding(t, f, vendors.Pending, "fee 0.0009 USD, 1 units", s.Objects...)
	if f.Cost.Again != time.Hour { // when it goes out is in words
		t.Errorf("again in %v", f.Cost.Again)
	}
	c.Booked = f.Cost.Actual
	v.do(t, "POST", "/emails/"+s.Objects[0]+"/cancel", nil)
	wantFinding(t, resolve(t, c, v.look(t)), vendors.Executed, "fee 0.00 USD, 0 units", s.Objects...)
	c.Objects = s.Objects[:1] // of one mail nothing is known
	c.Booked = s.Actual
	wantFinding(t, resolve(t, c, v.look(t)), vendors.Executed, "fee 0.0027 USD, 3 units", s.Objects[0])
}

// Every state that Resend documents, and one that it does not.
func TestStatesOfAMail(t *testing.T) {
	for event, want := range map[string]vendors.Outcome{
		"bounced": 2, "canceled": 2, "clicked": 2, "complained": 2, "delivered": 2, "delivery_delayed": 2, "failed": 2,
		"opened": 2, "queued": 2, "scheduled": 3, "sent": 2, "suppressed": 2, "": 0, "unsent": 0,
	} {
		c := openCase(t, identified(t, "/emails", aMail))
		c.Booked, c.Objects = c.Bound.Lines, []string{anID}
		f := resolve(t, c, func(*vendors.Probe) *vendors.Reply {
			return &vendors.Reply{Status: 200, Body: fmt.Appendf(nil, `{"object":"email","id":%q,"to":["a@b.c","d@e.f"],"cc":["g@h.i"],"bcc":null,"last_event":%q}`, anID, event)}
		})
		amount := int64(2700)
		if event == "canceled" {
			amount = 0
		}
		if f.Outcome != want || want != 0 && f.Cost.Actual[0].Amount != amount {
			t.Errorf("%q: %+v", event, f)
		}
	}
}

// unreadable are answers that tell nothing, whatever was asked.
var unreadable = []*vendors.Reply{
	nil,
	{Status: 200}, {Status: 200, Body: []byte("<html>")}, {Status: 200, Body: []byte("[]")}, {Status: 200, Body: []byte("{}")},
	{Status: 200, Body: []byte(`{"object":"list"}`)},
	{Status: 200, Body: []byte(`{"object":"list","data":[]}`)},
	{Status: 200, Body: []byte(`{"object":"list","has_more":true,"data":[]}`)},
	{Status: 200, Body: []byte(`{"object":"list","has_more":false,"data":[{"id":"` + anID + `"}]}`)},
	{Status: 200, Body: []byte(`{"object":"list","has_more":false,"data":[{"id":"../x","created_at":"2099-01-01T00:00:00Z"}]}`)},
	{Status: 200, Body: []byte(`{"object":"email","id":"` + anID + `"}`)},
	{Status: 200, Body: []byte(`{"object":"email","id":"other","last_event":"canceled","to":["a@b.c","d@e.f"],"cc":["g@h.i"]}`)},
	{Status: 200, Body: []byte(`{"object":"broadcast","id":"` + anID + `","status":"sent"}`)},
	{Status: 200, Body: []byte(`{"object":"broadcast","id":"other","status":"queued"}`)},
	{Status: 200, Body: []byte(`{"object":"thing","id":"` + anID + `","status":"queued","last_event":"sent"}`)},
	{Status: 404, Body: []byte(`{"name":"not_found","message":"Email not found","statusCode":404}`)},
	{Status: 429, Body: []byte(`{"object":"email","id":"` + anID + `","last_event":"canceled","to":["a@b.c","d@e.f"],"cc":["g@h.i"]}`)},
	{Status: 500, Body: []byte(`{"object":"email","id":"` + anID + `","last_event":"sent"}`)},
	{Status: 500, Body: []byte(`{"object":"broadcast","id":"` + anID + `","status":"queued"}`)},
}

func TestUnreadableEvidenceProvesNothing(t *testing.T) {
	for _, r := range unreadable {
		for _, c := range []*vendors.Case{
			openCase(t, identified(t, "/emails", aMail)), openCase(t, identified(t, "/emails/batch", aBatch)), openCase(t, identified(t, "/broadcasts", aBroadcast)),
			openCase(t, identified(t, "/broadcasts/"+anID+"/send", "{}")),
		} {
			for _, objects := range [][]string{nil, {anID}, {"../emails"}} {
				for _, mark := range []string{"", mark} {
					c.Objects, c.Mark = objects, mark
					if f := resolve(t, c, func(*vendors.Probe) *vendors.Reply { return r }); f.Outcome != vendors.OutcomeUnknown || f.Cost.Actual != nil {
						t.Errorf("%s of %v: %+v proves %+v", c.Call.Operation.Name, objects, r, f)
					}
				}
			}
		}
	}
}

// A list without an end is not read for ever.
func TestLooksAreBounded(t *testing.T) {
	f := resolve(t, openCase(t, identified(t, "/emails", aMail)), func(p *vendors.Probe) *vendors.Reply { // whose ids lead elsewhere
		return &vendors.Reply{Status: 200, Body: []byte(`{"object":"list","has_more":false,"data":[{"id":"../x","created_at":"2099-01-01T00:00:00Z","from":"ops@acme.com","to":["ann@example.com","bob@example.com"],"cc":["c@example.com"],"subject":"Hi"}]}`)}
	})
	if f.Outcome != vendors.OutcomeUnknown {
		t.Errorf("%+v", f)
	}
	n := 0
	f = resolve(t, openCase(t, identified(t, "/emails", aMail)), func(*vendors.Probe) *vendors.Reply {
		n++
		return &vendors.Reply{Status: 200, Body: fmt.Appendf(nil, `{"object":"list","has_more":true,"data":[{"id":"m%d","created_at":"2099-01-01T00:00:00Z"}]}`, n)}
	})
	if f.Outcome != vendors.OutcomeUnknown || n > vendors.MostLooks {
		t.Errorf("%d looks, %+v", n, f)
	}
}

const aBroadcast = `{"segment_id":"seg_1","from":"Acme <ops@acme.com>","subject":"News","name":"n1","send":true}`

func TestBroadcasts(t *testing.T) {
	made := time.Now().UTC().Format("2006-01-02 15:04:05.999999Z07")
	const before = "2020-01-01T00:00:00Z"
	shown := func(status, sentAt, change string) string {
		text := fmt.Sprintf(`{"object":"broadcast","id":"b1","name":"n1","segment_id":"seg_1","from":"Acme <ops@acme.com>","subject":"News","created_at":%q,"status":%q,"sent_at":%q}`, made, status, sentAt)
		if from, to, ok := strings.Cut(change, ">"); ok {
			text = strings.Replace(text, from, to, 1)
		}
		return text
	}
	fee := []cost.Line{{Meter: cost.Fee, Currency: "USD", Amount: 1_000_000}} // a rule's ceiling
	for _, tt := range []struct {
		path, status, sentAt, change string
		listed                       int
		want                         vendors.Outcome
	}{
		{path: "/broadcasts/b1/send", status: "sent", sentAt: made, want: vendors.Executed},
		{path: "/broadcasts/b1/send", status: "queued", want: vendors.Executed},
		{path: "/broadcasts/b1/send", status: "sent", sentAt: before},
		{path: "/broadcasts/b1/send", status: "sent"},
		{path: "/broadcasts/b1/send", status: "draft"},
		{path: "/broadcasts/b1/send", status: "odd"},
		{path: "/broadcasts", status: "queued", listed: 1, want: vendors.Executed},
		{path: "/broadcasts", status: "sent", sentAt: made, listed: 1, want: vendors.Executed},
		{path: "/broadcasts", status: "queued", listed: 0},
		{path: "/broadcasts", status: "queued", listed: 2},
		{path: "/broadcasts", status: "draft", listed: 1},
		{path: "/broadcasts", status: "queued", listed: 1, change: "seg_1>seg_2"},
		{path: "/broadcasts", status: "queued", listed: 1, change: "n1>n2"},
		{path: "/broadcasts", status: "queued", listed: 1, change: "News>Olds"},
		{path: "/broadcasts", status: "queued", listed: 1, change: "ops@>eve@"},
		{path: "/broadcasts", status: "queued", listed: 1, change: made + ">" + before},
	} {
		body := aBroadcast
		if tt.path != "/broadcasts" {
			body = "{}"
		}
		c := openCase(t, identified(t, tt.path, body))
		c.Bound.Lines = fee
		text := shown(tt.status, tt.sentAt, tt.change)
		f := resolve(t, c, func(p *vendors.Probe) *vendors.Reply {
			if p.Path != "/broadcasts" {
				return &vendors.Reply{Status: 200, Body: []byte(text)}
			}
			all := []string{text, strings.Replace(text, `"b1"`, `"b2"`, 1)}
			return &vendors.Reply{Status: 200, Body: []byte(`{"object":"list","has_more":false,"data":[` + strings.Join(all[:tt.listed], ",") + `]}`)}
		})
		if f.Outcome != tt.want || f.Outcome == vendors.Executed && !slices.Equal(f.Cost.Actual, fee) {
			t.Errorf("%+v: %+v", tt, f)
		}
	}
}

// Everything that can be in doubt and that Resend shows again has a way to find it.
func TestWhatIsReconciled(t *testing.T) {
	for _, op := range kbresend.New(nil).Operations {
		want := slices.Contains([]string{"resend.emails.send", "resend.emails.batch", "resend.broadcasts.create", "resend.broadcasts.send"}, op.Name)
		if (op.Reconcile != nil) != want {
			t.Errorf("%s is looked up: %t", op.Name, op.Reconcile != nil)
		}
		if wants := strings.HasPrefix(op.Name, "resend.emails.") && op.Class == vendors.Fee; (op.Stamp != nil) != wants {
			t.Errorf("%s carries marks: %t", op.Name, op.Stamp != nil)
		}
	}
}
