package fakevendor_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	twclient "github.com/twilio/twilio-go/client"
	api "github.com/twilio/twilio-go/rest/api/v2010"

	"github.com/keybrake/keybrake-go/internal/fakevendor"
)

func sms(to, body string) *api.CreateMessageParams {
	p := &api.CreateMessageParams{}
	return p.SetTo(to).SetFrom("+15005550006").SetBody(body)
}

func TestPriceComesLater(t *testing.T) {
	s := start(t)
	tc := twilioOf(s)
	m, err := tc.Api.CreateMessage(sms("+14155550100", strings.Repeat("a", 161)))
	if err != nil {
		t.Fatal(err)
	}
	if *m.Status != "queued" || m.Price != nil || *m.PriceUnit != "USD" || *m.NumSegments != "2" {
		t.Errorf("created %s, price %v %s, %s segments", *m.Status, m.Price, *m.PriceUnit, *m.NumSegments)
	}
	wantSpent(t, s, "fee", "USD", 16_600)
	s.FillPrices()
	if m, err = tc.Api.FetchMessage(*m.Sid, nil); err != nil {
		t.Fatal(err)
	}
	if *m.Status != "delivered" || m.Price == nil || *m.Price != "-0.01660" {
		t.Errorf("fetched %s, price %v", *m.Status, m.Price)
	}
	got := wantExecutions(t, s, "sms")
	if e := got[0]; e.Units != 2 || e.Credential != accountSID+":"+authToken || e.Account != accountSID {
		t.Errorf("logged %+v", e)
	}
}

func TestTwilioHasNoIdempotency(t *testing.T) {
	s := start(t)
	for range 2 {
		target := "https://api.twilio.com/2010-04-01/Accounts/" + accountSID + "/Messages.json"
		req, _ := http.NewRequest("POST", target, strings.NewReader(url.Values{"To": {"+14155550100"}, "From": {"+15005550006"}, "Body": {"hi"}}.Encode()))
		req.Header.Set("Idempotency-Key", "same")
		req.SetBasicAuth("SK1", "secret")
		if status, body := do(t, s, req); status != 201 {
			t.Fatalf("%d %s", status, body)
		}
	}
	wantExecutions(t, s, "sms", "sms")
}

func TestServiceMessageHasNoSegmentsYet(t *testing.T) {
	s := start(t)
	p := &api.CreateMessageParams{}
	m, err := twilioOf(s).Api.CreateMessage(p.SetTo("+14155550100").SetMessagingServiceSid("MG1").SetBody("hi"))
	if err != nil || *m.Status != "accepted" || *m.NumSegments != "0" {
		t.Fatalf("%v, %+v", err, m)
	}
	wantSpent(t, s, "fee", "USD", 8_300)
}

func TestScheduledMessageIsCancelled(t *testing.T) {
	s := start(t)
	tc := twilioOf(s)
	m, err := tc.Api.CreateMessage(sms("+14155550100", "hi").SetMessagingServiceSid("MG1").SetScheduleType("fixed"))
	if err != nil || *m.Status != "scheduled" {
		t.Fatalf("%v, %+v", err, m)
	}
	u := &api.UpdateMessageParams{}
	if m, err = tc.Api.UpdateMessage(*m.Sid, u.SetStatus("canceled")); err != nil || *m.Status != "canceled" {
		t.Fatalf("%v, %+v", err, m)
	}
	if err = tc.Api.DeleteMessage(*m.Sid, nil); err != nil {
		t.Fatal(err)
	}
	wantExecutions(t, s, "sms", "sms.cancel", "sms.delete")
	wantSpent(t, s, "fee", "USD", 0)
}

func TestMessagesAreListedByPage(t *testing.T) {
	s := start(t)
	tc := twilioOf(s)
	for i := range 3 {
		if _, err := tc.Api.CreateMessage(sms("+14155550100", fmt.Sprint("n", i))); err != nil {
			t.Fatal(err)
		}
	}
	p := &api.ListMessageParams{}
	got, err := tc.Api.ListMessage(p.SetPageSize(2))
	if err != nil || len(got) != 3 || *got[0].Body != "n2" {
		t.Fatalf("%v, %d messages", err, len(got))
	}
}

func TestTwilioRefusals(t *testing.T) {
	s := start(t)
	tc := twilioOf(s)
	_, err := tc.Api.CreateMessage(sms("12", "hi"))
	wantTwilioError(t, err, 400, 21211)
	_, err = tc.Api.CreateMessage(sms("+14155550100", ""))
	wantTwilioError(t, err, 400, 21602)
	other := "AC00000000000000000000000000000002"
	_, err = tc.Api.CreateMessage(sms("+14155550100", "hi").SetPathAccountSid(other))
	wantTwilioError(t, err, 401, 20003)
	s.Misbehave(fakevendor.Fault{Kind: fakevendor.Status, Status: 429})
	_, err = tc.Api.CreateMessage(sms("+14155550100", "hi"))
	wantTwilioError(t, err, 429, 20429)
	s.AllowCredentials("twilio", "SK1:secret")
	_, err = tc.Api.CreateMessage(sms("+14155550100", "hi"))
	wantTwilioError(t, err, 401, 20003)
	wantExecutions(t, s)
}

func TestPathWithoutSuffixAnswersXML(t *testing.T) {
	s := start(t)
	for i, path := range []string{"/Messages", "/SMS/Messages.xml"} {
		req, _ := http.NewRequest("POST", "https://api.twilio.com/2010-04-01/Accounts/"+accountSID+path, strings.NewReader("To=%2B14155550100&From=x&Body=hi"))
		req.SetBasicAuth(accountSID, authToken)
		status, body := do(t, s, req)
		if status != 201 || !strings.Contains(body, "<TwilioResponse><Message><Sid>SM") {
			t.Errorf("%d %s", status, body)
		}
		if n := len(s.Executions()); n != i+1 {
			t.Errorf("%d executions", n)
		}
	}
}

// Golden vectors, computed with Twilio's segment calculator in November 2026.
func TestSegments(t *testing.T) {
	s := start(t)
	tc := twilioOf(s)
	for i, v := range []struct {
		body string
		want int64
	}{
		{strings.Repeat("a", 160), 1}, {strings.Repeat("a", 161), 2}, {strings.Repeat("a", 306), 2}, {strings.Repeat("a", 307), 3},
		{strings.Repeat("€", 80), 1}, {strings.Repeat("€", 81), 2},
		{strings.Repeat("a", 152) + "€" + strings.Repeat("a", 152), 3},
		{strings.Repeat("я", 70), 1}, {strings.Repeat("я", 71), 2}, {strings.Repeat("я", 134), 2}, {strings.Repeat("я", 135), 3},
		{strings.Repeat("😀", 35), 1}, {strings.Repeat("😀", 36), 2}, {strings.Repeat("😀", 66), 2}, {strings.Repeat("😀", 67), 3},
		{strings.Repeat("я", 66) + "😀" + strings.Repeat("я", 66), 3},
		{"’" + strings.Repeat("a", 69), 1}, {"’" + strings.Repeat("a", 70), 2},
		{strings.Repeat("a\r\n", 80), 2}, {strings.Repeat("😀", 1600), 49},
	} {
		if _, err := tc.Api.CreateMessage(sms("+14155550100", v.body)); err != nil {
			t.Fatal(err)
		}
		if got := s.Executions()[i].Units; got != v.want {
			t.Errorf("%.12q… (%d bytes): %d segments, want %d", v.body, len(v.body), got, v.want)
		}
	}
}

func TestOtherTwilioHostsAnswer(t *testing.T) {
	s := start(t)
	for _, host := range []string{"voice.twilio.com", "verify.sydney.au1.twilio.com"} {
		s.Misbehave(fakevendor.Fault{Host: host, Kind: fakevendor.HTML, Status: 503})
		req, _ := http.NewRequest("POST", "https://"+host+"/v3/x", nil)
		req.SetBasicAuth(accountSID, authToken)
		if status, body := do(t, s, req); status != 503 || !strings.HasPrefix(body, "<html>") {
			t.Errorf("%s: %d %s", host, status, body)
		}
		req, _ = http.NewRequest("POST", "https://"+host+"/v3/x", nil)
		req.SetBasicAuth(accountSID, authToken)
		if status, body := do(t, s, req); status != 404 || !strings.Contains(body, `"code":20404`) {
			t.Errorf("%s: %d %s", host, status, body)
		}
	}
}

func wantTwilioError(t *testing.T, err error, status, code int) {
	t.Helper()
	var te *twclient.TwilioRestError
	if !errors.As(err, &te) || te.Status != status || te.Code != code {
		t.Fatalf("want a Twilio error %d %d, got %v", status, code, err)
	}
}

// do sends req through a client of its own and returns status and body.
func do(t *testing.T, s *fakevendor.Server, req *http.Request) (int, string) {
	t.Helper()
	resp, err := httpClient(s).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}
