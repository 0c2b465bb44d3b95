package fakevendor_test

import (
	"fmt"
	"testing"
	"time"

	api "github.com/twilio/twilio-go/rest/api/v2010"
)

func TestListsAreFilteredByNumberAndTime(t *testing.T) {
	s := start(t)
	tc := twilioOf(s)
	for i, to := range []string{"+14155550100", "+14155550101", "+14155550100", "+14155550100"} {
		if _, err := tc.Api.CreateMessage(sms(to, fmt.Sprint("n", i))); err != nil {
			t.Fatal(err)
		}
	}
	now := time.Now()
	list := func() *api.ListMessageParams { return &api.ListMessageParams{} }
	for name, c := range map[string]struct {
		p    *api.ListMessageParams
		want int
	}{
		"to, by pages":       {list().SetTo("+14155550100").SetPageSize(1), 3},
		"to and from":        {list().SetTo("+14155550100").SetFrom("+15005550006"), 3},
		"another sender":     {list().SetFrom("+15005550007"), 0},
		"since an hour ago":  {list().SetDateSentAfter(now.Add(-time.Hour)).SetPageSize(2), 4},
		"from in an hour":    {list().SetDateSentAfter(now.Add(time.Hour)), 0},
		"until an hour ago":  {list().SetDateSentBefore(now.Add(-time.Hour)), 0},
		"between both":       {list().SetDateSentAfter(now.Add(-time.Hour)).SetDateSentBefore(now.Add(time.Hour)), 4},
		"another recipient":  {list().SetTo("+14155550199"), 0},
		"the other by pages": {list().SetTo("+14155550101").SetPageSize(1), 1},
	} {
		got, err := tc.Api.ListMessage(c.p)
		if err != nil || len(got) != c.want {
			t.Errorf("%s: %d messages, want %d (%v)", name, len(got), c.want, err)
		}
	}
}

func TestCallIsBilledByTheMinuteOnceItHasEnded(t *testing.T) {
	s := start(t)
	tc := twilioOf(s)
	call := func() string {
		t.Helper()
		p := &api.CreateCallParams{}
		c, err := tc.Api.CreateCall(p.SetTo("+14155550100").SetFrom("+15005550006").SetTwiml("<Response><Hangup/></Response>"))
		if err != nil || *c.Status != "queued" || c.Price != nil {
			t.Fatalf("%v, %+v", err, c)
		}
		return *c.Sid
	}
	talked, rang, left := call(), call(), call()
	wantSpent(t, s, "fee", "USD", 0)
	for sid, seconds := range map[string]int64{talked: 61, rang: 0} {
		if err := s.HangUp(sid, seconds); err != nil {
			t.Fatal(err)
		}
	}
	wantSpent(t, s, "fee", "USD", 28_000)
	if c, err := tc.Api.FetchCall(talked, nil); err != nil || *c.Status != "completed" || c.Price != nil || *c.Duration != "61" {
		t.Errorf("before the price is shown: %v, %+v", err, c)
	}
	s.FillPrices()
	wantSpent(t, s, "fee", "USD", 42_000)
	for sid, want := range map[string]string{talked: "-0.02800", rang: "", left: "-0.01400"} {
		c, err := tc.Api.FetchCall(sid, nil)
		if err != nil {
			t.Fatal(err)
		}
		if (c.Price == nil) != (want == "") || c.Price != nil && *c.Price != want {
			t.Errorf("%s, which is %s, costs %v, want %q", sid, *c.Status, c.Price, want)
		}
	}
	p := &api.ListCallParams{}
	got, err := tc.Api.ListCall(p.SetTo("+14155550100").SetStartTimeAfter(time.Now().Add(-time.Hour)).SetPageSize(2))
	if err != nil || len(got) != 3 || *got[0].Sid != left {
		t.Errorf("listed %d calls, %v", len(got), err)
	}
	if err := s.HangUp(talked, 1); err == nil {
		t.Error("a call ended twice")
	}
}

func TestUsageRecordsAreWhatWasExecuted(t *testing.T) {
	s := start(t)
	tc := twilioOf(s)
	for range 2 {
		if _, err := tc.Api.CreateMessage(sms("+14155550100", "hi")); err != nil {
			t.Fatal(err)
		}
	}
	gone, err := tc.Api.CreateMessage(sms("+14155550100", "deleted, and billed all the same"))
	if err != nil {
		t.Fatal(err)
	}
	if err := tc.Api.DeleteMessage(*gone.Sid, nil); err != nil {
		t.Fatal(err)
	}
	scheduled, err := tc.Api.CreateMessage(sms("+14155550100", "never sent").SetScheduleType("fixed"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tc.Api.UpdateMessage(*scheduled.Sid, (&api.UpdateMessageParams{}).SetStatus("canceled")); err != nil {
		t.Fatal(err)
	}
	p := &api.CreateParticipantParams{}
	leg, err := tc.Api.CreateParticipant("CF1", p.SetTo("+14155550100").SetFrom("+15005550006"))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.HangUp(*leg.CallSid, 1); err != nil {
		t.Fatal(err)
	}
	today := time.Now().UTC().Format(time.DateOnly)
	for category, want := range map[string]float32{"totalprice": 0.0389, "sms": 0.0249, "calls-outbound": 0.014, "mms": 0} {
		p := &api.ListUsageRecordDailyParams{}
		got, err := tc.Api.ListUsageRecordDaily(p.SetCategory(category).SetStartDate(today).SetEndDate(today))
		if err != nil || len(got) != 1 || *got[0].Price != want || *got[0].StartDate != today {
			t.Errorf("%s: %v, %+v", category, err, got)
		}
	}
	if got := s.Spent()["fee"]["USD"]; got != 38_900 {
		t.Errorf("spent %d", got)
	}
	records, err := tc.Api.ListUsageRecordDaily((&api.ListUsageRecordDailyParams{}).SetPageSize(2))
	if err != nil || len(records) != 5 {
		t.Errorf("%d records, %v", len(records), err)
	}
}
