package kbresend_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"testing"

	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/vendors"
	"github.com/keybrake/keybrake-go/vendors/kbresend"
)

// FuzzSettle answers every kind of call with arbitrary replies. Nothing but a 4xx gives a hold back, and less than what was
// reserved is booked only for a reply that is JSON and of which an error says who was left out.
func FuzzSettle(f *testing.F) {
	tab := table(f)
	type priced struct {
		name  string
		call  *vendors.Call
		bound vendors.Bound
	}
	var calls []priced
	for _, v := range vectors(f) {
		_, c, err := tab.Identify(v.call, v.body)
		if err != nil || v.reply == nil || c.Operation.Bound == nil {
			continue
		}
		b, err := c.Operation.Bound(c, nil)
		if err != nil {
			continue
		}
		if b.Kind == vendors.Unknown {
			b.Lines = []cost.Line{{Meter: cost.Fee, Currency: "USD", Amount: 1_000_000}}
		}
		f.Add(len(calls), v.reply.Status, v.reply.Body)
		f.Add(len(calls), 500, []byte(`{"statusCode":422,"name":"validation_error","message":"no"}`))
		calls = append(calls, priced{v.name, c, b})
	}
	f.Fuzz(func(t *testing.T, n, status int, body []byte) {
		p := calls[((n%len(calls))+len(calls))%len(calls)]
		r := &vendors.Reply{Status: status, Header: http.Header{}, Body: body}
		outcome := vendors.ByStatus(p.call, r)
		if p.call.Operation.Outcome != nil {
			outcome = p.call.Operation.Outcome(p.call, r)
		}
		if outcome == vendors.NotExecuted && (status < 400 || status > 499 || !json.Valid(body)) {
			t.Fatalf("%s: status %d and %q give a hold back", p.name, status, body)
		}
		if outcome != vendors.Executed && outcome != vendors.Pending || p.call.Operation.Settle == nil {
			return
		}
		s, err := p.call.Operation.Settle(p.call, p.bound, r)
		if err != nil {
			if s.Actual != nil || s.Held != nil {
				t.Fatalf("%s: an error came with money", p.name)
			}
			return
		}
		var reply struct{ Errors []struct{ Index int } }
		reads := json.Unmarshal(body, &reply) == nil
		for _, l := range slices.Concat(s.Actual, s.Held) {
			if err := l.Valid(); err != nil {
				t.Fatalf("%s: %v", p.name, err)
			}
		}
		for _, l := range p.bound.Lines {
			if got, err := cost.Sum(slices.Concat(s.Actual, s.Held), l.Meter, l.Currency); err != nil || got < l.Amount && (!reads || len(reply.Errors) == 0) {
				t.Fatalf("%s: %d of %v is booked for %q, %v", p.name, got, l, body, err)
			}
		}
	})
}

// FuzzEvidence looks mails and broadcasts of unknown end up in arbitrary records of Resend's. It asks for reads alone and
// comes to an end; only records under status 200 that are JSON prove anything; nothing is told to be absent.
func FuzzEvidence(f *testing.F) {
	const broadcast = `{"segment_id":"78261eea-8f8b-4381-83c6-79fa7120f1cf","from":"Acme <ops@acme.com>","subject":"Hi","name":"News","html":"x"}`
	listed := `{"id":"4ef9a417-02e9-4d39-ad75-9611e0fcc33c","object":"email","to":["ann@example.com","Bob <bob@example.com>"],"cc":["c@example.com"],"bcc":null,"from":"Acme <ops@acme.com>","subject":"Hi","created_at":"2026-11-23 00:00:03.000000+00","last_event":"delivered"}`
	for _, path := range []string{"/emails", "/emails/batch", "/broadcasts"} {
		f.Add(path, 200, []byte(listed))
		f.Add(path, 200, []byte(`{"object":"list","has_more":false,"data":[`+listed+`]}`))
		f.Add(path, 200, []byte(`{"object":"list","has_more":false,"data":[]}`))
		f.Add(path, 404, []byte(`{"statusCode":404,"name":"not_found","message":"no"}`))
		f.Add(path, 500, []byte("<html>"))
	}
	f.Fuzz(func(t *testing.T, path string, status int, body []byte) {
		sent, ok := map[string]string{"/emails": aMail, "/emails/batch": "[" + aMail + "]", "/broadcasts": broadcast}[path]
		if !ok {
			return
		}
		c := openCase(t, identified(t, path, sent))
		if c.Call.Operation.Reconcile == nil {
			return
		}
		c.Mark = mark
		for range vendors.MostLooks + 1 {
			found, err := c.Call.Operation.Reconcile(c)
			if err != nil {
				return
			}
			if found.Look == nil {
				for _, l := range slices.Concat(found.Cost.Actual, found.Cost.Held) {
					if err := l.Valid(); err != nil {
						t.Fatal(err)
					}
				}
				if found.Absent || found.Outcome != vendors.OutcomeUnknown && (status != http.StatusOK || !json.Valid(body)) {
					t.Fatalf("status %d and %q prove %v, absent %t", status, body, found.Outcome, found.Absent)
				}
				return
			}
			_, asked, err := table(t).Identify(&http.Request{Method: "GET", URL: &url.URL{Scheme: "https", Host: kbresend.Host, Path: found.Look.Path}}, nil)
			if err != nil || asked.Operation.Name != found.Look.Operation || !asked.Operation.Looks() {
				t.Fatalf("%+v is no read of the catalogue: %v", found.Look, err)
			}
			c.Seen = append(c.Seen, &vendors.Reply{Status: status, Header: http.Header{}, Body: body})
		}
		t.Fatalf("%q asks for more than %d looks", body, vendors.MostLooks)
	})
}
