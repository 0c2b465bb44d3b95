package kbtwilio_test

import (
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/keybrake/keybrake-go/internal/fakevendor"
	"github.com/keybrake/keybrake-go/vendors"
	"github.com/keybrake/keybrake-go/vendors/kbtwilio"
	"github.com/twilio/twilio-go"
	"github.com/twilio/twilio-go/client"
	api "github.com/twilio/twilio-go/rest/api/v2010"
)

// TestReconcileAgainstAVendorWithAState sends by the real SDK, loses the reply, and looks the call up where the vendor
// keeps what it executed.
func TestReconcileAgainstAVendorWithAState(t *testing.T) {
	fake, err := fakevendor.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = fake.Close() })
	hc := &http.Client{Transport: fake.Transport()}
	c := &client.Client{Credentials: client.NewCredentials(me, "0123456789abcdef0123456789abcdef"), HTTPClient: hc}
	c.SetAccountSid(me)
	tc := twilio.NewRestClientWithParams(twilio.ClientParams{Client: c})
	get := func(p *vendors.Probe) *vendors.Reply {
		t.Helper()
		host := p.Host
		if host == "" {
			host = "api.twilio.com"
		}
		req, _ := http.NewRequest("GET", "https://"+host+p.Path+"?"+vendors.Encode(p.Query), nil)
		req.SetBasicAuth(me, "0123456789abcdef0123456789abcdef")
		resp, err := hc.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return &vendors.Reply{Status: resp.StatusCode, Header: resp.Header, Body: body}
	}
	settle := func(k *vendors.Case) string {
		t.Helper()
		k.Seen = nil
		for {
			f, err := k.Call.Operation.Reconcile(k)
			if err != nil {
				t.Fatal(err)
			}
			if f.Look == nil {
				return found(f)
			}
			k.Seen = append(k.Seen, get(f.Look))
		}
	}
	at := func(k *vendors.Case, began time.Time, sid string) *vendors.Case {
		k.Sent, k.Ended, k.Now = began, time.Now(), time.Now()
		if sid != "" {
			k.Objects = []string{sid}
		}
		return k
	}

	began := time.Now()
	send := func() string {
		t.Helper()
		m, err := tc.Api.CreateMessage((&api.CreateMessageParams{}).SetTo("+14155550100").SetFrom("+15005550006").SetBody("hi"))
		if err != nil {
			t.Fatal(err)
		}
		return *m.Sid
	}
	lost := at(caseOf(t, classic+"/Messages.json", text, "", ""), began, "")
	if got := settle(lost); got != "in_doubt" {
		t.Errorf("before it was executed: %s", got)
	}
	sid := send()
	lost = at(lost, began, "")
	if got := settle(lost); got != "executed: fee 0.0133 USD, 1 units, known by number and time" {
		t.Errorf("lost: %s", got)
	}
	named := at(caseOf(t, classic+"/Messages.json", text, `{"sid": "`+sid+`", "status": "queued"}`, ""), began, sid)
	if got := settle(named); got != "pending: fee 0.0133 USD, 1 units, again" {
		t.Errorf("queued: %s", got)
	}
	fake.FillPrices()
	if got := settle(named); got != "executed: fee 0.0083 USD, 1 units" {
		t.Errorf("priced: %s", got)
	}
	send()
	if got := settle(at(lost, began, "")); got != "in_doubt" {
		t.Errorf("one of two: %s", got)
	}

	p, err := tc.Api.CreateCall((&api.CreateCallParams{}).SetTo("+14155550100").SetFrom("+15005550006").SetTimeLimit(600).SetTwiml("<Response><Hangup/></Response>"))
	if err != nil {
		t.Fatal(err)
	}
	called := at(caseOf(t, classic+"/Calls.json", dial, `{"sid": "`+*p.Sid+`", "status": "queued"}`, ""), began, "")
	if err := fake.HangUp(*p.Sid, 61); err != nil {
		t.Fatal(err)
	}
	fake.FillPrices()
	if got := settle(called); got != "executed: fee 0.028 USD" {
		t.Errorf("a call: %s", got)
	}

	d := &vendors.Day{Start: began.UTC().Truncate(24 * time.Hour), Account: me}
	u, err := kbtwilio.New(nil).Usage(d)
	for err == nil && u.Look != nil {
		d.Seen = append(d.Seen, get(u.Look))
		u, err = kbtwilio.New(nil).Usage(d)
	}
	if want := fake.Spent()["fee"]["USD"]; err != nil || len(u.Total) != 1 || u.Total[0].Amount != want {
		t.Errorf("the day's usage is %s, %v; executed were %d micros", lines(u.Total), err, want)
	}
}
