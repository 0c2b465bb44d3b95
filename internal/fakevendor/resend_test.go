package fakevendor_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/resend/resend-go/v2"

	"github.com/keybrake/keybrake-go/internal/fakevendor"
)

func mail(to ...string) *resend.SendEmailRequest {
	return &resend.SendEmailRequest{From: "me@example.com", To: to, Subject: "hi", Text: "hello"}
}

func TestRecipientsAreCounted(t *testing.T) {
	s := start(t)
	rc := resendOf(s)
	m := mail("a@example.com", "b@example.com")
	m.Cc, m.Bcc = []string{"c@example.com"}, []string{"d@example.com"}
	sent, err := rc.Emails.Send(m)
	if err != nil {
		t.Fatal(err)
	}
	got, err := rc.Emails.Get(sent.Id)
	if err != nil || got.LastEvent != "delivered" || len(got.To) != 2 {
		t.Errorf("%v, %+v", err, got)
	}
	if e := wantExecutions(t, s, "email"); e[0].Units != 4 || e[0].Credential != resendKey {
		t.Errorf("logged %+v", e[0])
	}
	wantSpent(t, s, "fee", "USD", 3_600)
}

func TestAddressMayBeAString(t *testing.T) {
	s := start(t)
	req, _ := http.NewRequest("POST", "https://api.resend.com/emails",
		strings.NewReader(`{"from":"me@example.com","to":"a@example.com","cc":["b@example.com"],"subject":"s","html":"h"}`))
	req.Header.Set("Authorization", "Bearer "+resendKey)
	if status, body := do(t, s, req); status != 200 {
		t.Fatalf("%d %s", status, body)
	}
	if e := wantExecutions(t, s, "email"); e[0].Units != 2 {
		t.Errorf("logged %+v", e[0])
	}
}

func TestBatchStrictAndPermissive(t *testing.T) {
	s := start(t)
	rc := resendOf(s)
	batch := []*resend.SendEmailRequest{mail("a@example.com"), mail("nobody"), mail("b@example.com", "c@example.com")}
	if _, err := rc.Batch.Send(batch); err == nil {
		t.Error("a strict batch with an invalid mail was sent")
	}
	wantExecutions(t, s)
	got, err := rc.Batch.SendWithOptions(context.Background(), batch, &resend.BatchSendEmailOptions{
		BatchValidation: resend.BatchValidationPermissive,
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Data) != 2 || len(got.Errors) != 1 || got.Errors[0].Index != 1 {
		t.Errorf("answered %+v", got)
	}
	e := wantExecutions(t, s, "email", "email")
	if e[0].Units+e[1].Units != 3 || e[0].Request != e[1].Request {
		t.Errorf("logged %+v", e)
	}
}

func TestMailIdempotency(t *testing.T) {
	s := start(t)
	rc := resendOf(s)
	send := func(to string) (*resend.SendEmailResponse, error) {
		return rc.Emails.SendWithOptions(context.Background(), mail(to), &resend.SendEmailOptions{IdempotencyKey: "once"})
	}
	first, err := send("a@example.com")
	if err != nil {
		t.Fatal(err)
	}
	if again, err := send("a@example.com"); err != nil || again.Id != first.Id {
		t.Errorf("the replay gave %v, %+v", err, again)
	}
	if _, err = send("b@example.com"); err == nil || !strings.Contains(err.Error(), "different payload") {
		t.Errorf("another payload gave %v", err)
	}
	wantExecutions(t, s, "email")
	s.ForgetKeys()
	if _, err = send("a@example.com"); err != nil {
		t.Error(err)
	}
	wantExecutions(t, s, "email", "email")
}

func TestScheduledMail(t *testing.T) {
	s := start(t)
	rc := resendOf(s)
	m := mail("a@example.com")
	m.ScheduledAt = "in 1 hour"
	sent, err := rc.Emails.Send(m)
	if err != nil {
		t.Fatal(err)
	}
	if _, err = rc.Emails.Update(&resend.UpdateEmailRequest{Id: sent.Id, ScheduledAt: "in 2 hours"}); err != nil {
		t.Error(err)
	}
	if _, err = rc.Emails.Cancel(sent.Id); err != nil {
		t.Error(err)
	}
	if _, err = rc.Emails.Cancel(sent.Id); err == nil {
		t.Error("cancelled twice")
	}
	list, err := rc.Emails.List()
	if err != nil || len(list.Data) != 1 || list.Data[0].LastEvent != "canceled" {
		t.Errorf("%v, %+v", err, list)
	}
	wantExecutions(t, s, "email", "email.update", "email.cancel")
	wantSpent(t, s, "fee", "USD", 0)
}

func TestMailRefusals(t *testing.T) {
	s := start(t)
	s.AllowCredentials("resend", "re_other")
	if _, err := resendOf(s).Emails.Send(mail("a@example.com")); err == nil || !strings.Contains(err.Error(), "API key is invalid") {
		t.Errorf("a wrong key gave %v", err)
	}
	s.Reset()
	s.Misbehave(fakevendor.Fault{Kind: fakevendor.Status, Status: 429})
	if _, err := resendOf(s).Emails.Send(mail("a@example.com")); !errors.Is(err, resend.ErrRateLimit) {
		t.Errorf("429 gave %v", err)
	}
	wantExecutions(t, s)
}

func TestMailsAreListedByPage(t *testing.T) {
	s := start(t)
	rc := resendOf(s)
	for range 3 {
		if _, err := rc.Emails.Send(mail("a@example.com")); err != nil {
			t.Fatal(err)
		}
	}
	limit, seen := 2, 0
	options := &resend.ListOptions{Limit: &limit}
	for {
		list, err := rc.Emails.ListWithOptions(context.Background(), options)
		if err != nil {
			t.Fatal(err)
		}
		seen += len(list.Data)
		if !list.HasMore {
			break
		}
		options.After = &list.Data[len(list.Data)-1].Id
	}
	if seen != 3 {
		t.Errorf("listed %d mails, want 3", seen)
	}
}
