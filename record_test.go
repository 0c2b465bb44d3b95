package keybrake_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/keybrake/keybrake-go"
	"github.com/keybrake/keybrake-go/audit"
	"github.com/keybrake/keybrake-go/reason"
)

// What cannot be recorded is not forwarded: when the request arrives at the base transport, its intent is on record.
func TestTheIntentIsOnRecordBeforeAByteLeaves(t *testing.T) {
	var w *world
	w = newWorld(t, func(c *keybrake.Config) {
		next := c.Base
		c.Base = tripFunc(func(r *http.Request) (*http.Response, error) {
			all := w.sink.Records()
			last := all[len(all)-1]
			if last.Kind != audit.Intent || last.Probe != (r.Method == "GET") || last.Run != "run_1" {
				t.Errorf("%s %s leaves after the record %+v", r.Method, r.URL.Path, last)
			}
			return next.RoundTrip(r)
		})
	})
	w.fake.SeedCharge("ch_1", 500000, "usd")
	key := w.issue(t, "run_1", everything())
	if d := denial(t, w.Transport(nil), request(t, "POST", refundsURL, key.Token(), formType, "charge=ch_1&amount=2000")); d != nil {
		t.Error(d)
	}
	if len(w.fake.Received()) != 2 {
		t.Errorf("%d requests", len(w.fake.Received()))
	}
}

// The outcome says who, what, why, how much, and what is left; and nothing that would tell a reader more.
func TestTheOutcomeSaysWhatBecameOfACall(t *testing.T) {
	w := newWorld(t, nil)
	key := w.issue(t, "run_1", everything())
	ctx := keybrake.WithCall(t.Context(), keybrake.Call{Tool: "notify", Step: "3"})
	req := request(t, "POST", emailsURL, key.Token(), "application/json", `{"from":"bot@acme.com","to":["ann@acme.com","bob@acme.com"],"subject":"a secret","text":"a body"}`).WithContext(ctx)
	req.Header.Set("Idempotency-Key", "mail-of-order-1")
	if d := denial(t, w.Transport(nil), req); d != nil {
		t.Fatal(d)
	}
	all := w.sink.Records()
	got := all[len(all)-1]
	intent := all[len(all)-2]
	if intent.Kind != audit.Intent || intent.CallID != got.CallID || intent.Outcome != "" {
		t.Errorf("the intent is %+v", intent)
	}
	if got.Kind != audit.Outcome || got.Tenant != "acme" || got.Agent != "refund-bot" || got.Run != "run_1" || got.Key != key.ID ||
		got.Tool != "notify" || got.Step != "3" || got.Vendor != "resend" || got.Operation != "resend.emails.send" || got.Class != "fee" ||
		got.Verdict != audit.Allow || got.Outcome != "executed" || got.Status != 200 || len(got.Objects) != 1 {
		t.Errorf("the outcome is %+v", got)
	}
	if len(got.Reserved) == 0 || got.Reserved[0].Amount != 1_800 || len(got.Actual) == 0 || got.Actual[0].Amount != 1_800 {
		t.Errorf("reserved %v, actual %v; want 0.0018 USD", got.Reserved, got.Actual)
	}
	if len(got.Budgets) != 1 || got.Budgets[0].Left != 100_000_000-1_800 || got.Budgets[0].Held != 0 {
		t.Errorf("the budgets are %+v", got.Budgets)
	}
	if len(got.Recipients) != 2 || got.Recipients[0] == got.Recipients[1] || got.Idempotency == "" {
		t.Errorf("recipients %v, idempotency %q", got.Recipients, got.Idempotency)
	}
	text, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	for _, private := range []string{"ann@acme.com", "bob@acme.com", "a secret", "a body", "mail-of-order-1", key.Token()} {
		if strings.Contains(string(text), private) {
			t.Errorf("%q is on record", private)
		}
	}
}

// A lost reply's record names what a person looks up: the reservation and the object.
func TestTheRecordOfADoubtNamesWhatToLookUp(t *testing.T) {
	w := newWorld(t, func(c *keybrake.Config) {
		next := c.Base
		c.Base = tripFunc(func(r *http.Request) (*http.Response, error) {
			if r.Method == "POST" {
				return nil, errors.New("connection reset by peer")
			}
			return next.RoundTrip(r)
		})
	})
	w.fake.SeedCharge("ch_1", 500000, "usd")
	key := w.issue(t, "run_1", everything())
	req := request(t, "POST", refundsURL, key.Token(), formType, "charge=ch_1&amount=2000")
	if d := denial(t, w.Transport(nil), req); d == nil || d.Reason != reason.InDoubt {
		t.Fatalf("got %v", d)
	}
	holds, err := w.InDoubt(t.Context(), "acme")
	if err != nil || len(holds) != 1 {
		t.Fatalf("%v, %v", holds, err)
	}
	all := w.sink.Records()
	got := all[len(all)-1]
	if got.Outcome != "in_doubt" || got.Reason != reason.InDoubt || got.CallID != holds[0].ID || len(got.Objects) != 1 || got.Objects[0] != "ch_1" {
		t.Errorf("the record is %+v", got)
	}
}

func TestASinkThatFails(t *testing.T) {
	full := errors.New("the disk is full")
	t.Run("at the intent, refuses the call and gives the hold back", func(t *testing.T) {
		w := newWorld(t, nil)
		key := w.issue(t, "run_1", everything())
		w.sink.Fail(full)
		d := denial(t, w.Transport(nil), request(t, "POST", emailsURL, key.Token(), "application/json", mailTo("ann@acme.com")))
		if d == nil || d.Reason != reason.AuditUnavailable || d.Status != 503 {
			t.Errorf("got %v", d)
		}
		w.wantNothing(t, key)
	})
	t.Run("at the outcome, loses the record and not the reply", func(t *testing.T) {
		var w *world
		w = newWorld(t, func(c *keybrake.Config) {
			next := c.Base
			c.Base = tripFunc(func(r *http.Request) (*http.Response, error) { w.sink.Fail(full); return next.RoundTrip(r) })
		})
		key := w.issue(t, "run_1", everything())
		resp, err := w.Transport(nil).RoundTrip(request(t, "POST", emailsURL, key.Token(), "application/json", mailTo("ann@acme.com")))
		if err != nil || resp.StatusCode != 200 {
			t.Fatalf("%v, %v", resp, err)
		}
		_ = resp.Body.Close()
		if states, err := w.Balance(t.Context(), key.Token()); err != nil || states[0].Spent != 900 || states[0].Held != 0 {
			t.Errorf("the books say %+v, %v", states, err)
		}
		if !strings.Contains(w.log.String(), "record is lost") {
			t.Errorf("the log says %q", w.log)
		}
	})
	t.Run("at a denial, leaves the denial", func(t *testing.T) {
		w := newWorld(t, nil)
		key := w.issue(t, "run_1", everything())
		w.sink.Fail(full)
		d := denial(t, w.Transport(nil), request(t, "DELETE", "https://api.stripe.com/v1/api_keys/1", key.Token(), "", ""))
		if d == nil || d.Reason != reason.OperationUnknown {
			t.Errorf("got %v", d)
		}
	})
	t.Run("for a while, is asked again", func(t *testing.T) {
		times := 0
		w := newWorld(t, func(c *keybrake.Config) {
			next := c.Audit
			c.Audit = sinkFunc(func(ctx context.Context, r audit.Record) error {
				if r.Kind == audit.Outcome {
					if times++; times < 3 {
						return full
					}
				}
				return next.Write(ctx, r)
			})
		})
		key := w.issue(t, "run_1", everything())
		if d := denial(t, w.Transport(nil), request(t, "POST", emailsURL, key.Token(), "application/json", mailTo("ann@acme.com"))); d != nil {
			t.Error(d)
		}
		all := w.sink.Records()
		if last := all[len(all)-1]; last.Kind != audit.Outcome || times != 3 {
			t.Errorf("after %d times the last record is %+v", times, last)
		}
	})
}

type sinkFunc func(context.Context, audit.Record) error

func (f sinkFunc) Write(ctx context.Context, r audit.Record) error { return f(ctx, r) }

func mailTo(address string) string {
	return `{"from":"bot@acme.com","to":["` + address + `"],"subject":"s","text":"t"}`
}

// wantNothing checks that nothing was executed and nothing is booked or held.
func (w *world) wantNothing(t *testing.T, key keybrake.Key) {
	t.Helper()
	states, err := w.Balance(t.Context(), key.Token())
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range states {
		if s.Spent != 0 || s.Held != 0 {
			t.Errorf("%s: %d spent, %d held", s.Name, s.Spent, s.Held)
		}
	}
	if n := len(w.fake.Executions()); n != 0 {
		t.Errorf("the vendor executed %d calls", n)
	}
}
