package keybrake_test

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"

	"github.com/keybrake/keybrake-go"
	"github.com/keybrake/keybrake-go/audit"
	"github.com/keybrake/keybrake-go/policy"
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
	if got.Policy != everything().Digest() || len(got.Rules) != 1 || got.Rules[0] != (audit.Rule{Rule: 2}) || got.Parents != nil || got.Error != "" {
		t.Errorf("policy %s, rules %v, parents %v, error %q", got.Policy, got.Rules, got.Parents, got.Error)
	}
	if got.OwnDuration <= 0 || got.Duration != got.OwnDuration+got.LedgerDuration+got.VendorDuration {
		t.Errorf("durations %v = %v + %v + %v", got.Duration, got.OwnDuration, got.LedgerDuration, got.VendorDuration)
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

// A narrowed key's records name its parents, the policies of all, and which rule of which of them spoke.
func TestTheRecordSaysWhichKeysRulesSpoke(t *testing.T) {
	w := newWorld(t, nil)
	key := w.issue(t, "run_1", everything())
	mails := policy.Rule{Operation: "resend.emails.send", MaxPerCall: policy.USD("0.001")}
	child, err := key.Narrow(keybrake.Narrowing{Allow: []policy.Rule{{Operation: "stripe.refunds.create"}, mails}})
	if err != nil {
		t.Fatal(err)
	}
	mail := func(to string) *keybrake.Denial {
		return denial(t, w.Transport(nil), request(t, "POST", emailsURL, child.Token(), "application/json", `{"from":"a@acme.com","to":[`+to+`],"subject":"s","text":"t"}`))
	}
	if d := mail(`"b@acme.com"`); d != nil {
		t.Fatal(d)
	}
	if d := mail(`"b@acme.com","c@acme.com"`); d == nil {
		t.Fatal("not refused")
	}
	all := w.sink.Records()
	allowed, refused := all[len(all)-2], all[len(all)-1]
	narrowed := everything()
	narrowed.Allow, narrowed.Budgets = []policy.Rule{{Operation: "stripe.refunds.create"}, mails}, nil
	for _, r := range []audit.Record{allowed, refused} {
		if r.Key != child.ID || !slices.Equal(r.Parents, []string{key.ID}) || r.Policy != everything().Digest()+"."+narrowed.Digest() {
			t.Errorf("%s: key %s, parents %v, policy %s", r.Kind, r.Key, r.Parents, r.Policy)
		}
	}
	if want := []audit.Rule{{Rule: 2}, {Of: child.ID, Rule: 1}}; !slices.Equal(allowed.Rules, want) {
		t.Errorf("rules %v, want %v", allowed.Rules, want)
	}
	if len(refused.Rules) != 0 || len(refused.Reasons) != 1 || refused.Reasons[0].Of != child.ID || refused.Reasons[0].Rule != 1 {
		t.Errorf("rules %v, reasons %v", refused.Rules, refused.Reasons)
	}
	issued := all[0]
	if issued.Kind != audit.Control || issued.Policy != everything().Digest() {
		t.Errorf("the key was issued under %q", issued.Policy)
	}
}

// The customer stands in a record as a digest that is the same for the same customer, wherever the call names it.
func TestTheCustomerIsOnRecordAsADigest(t *testing.T) {
	w := newWorld(t, nil)
	key := w.issue(t, "run_1", everything())
	customer := func(method, url, body string) string {
		t.Helper()
		_ = denial(t, w.Transport(nil), request(t, method, url, key.Token(), formType, body))
		all := w.sink.Records()
		return all[len(all)-1].Customer
	}
	one := customer("POST", "https://api.stripe.com/v1/charges", "amount=100&currency=usd&customer=cus_1&source=tok_visa")
	if one == "" || strings.Contains(one, "cus_1") {
		t.Errorf("digest %q", one)
	}
	if again := customer("GET", "https://api.stripe.com/v1/customers/cus_1", ""); again != one {
		t.Errorf("%q and %q are of one customer", one, again)
	}
	if other := customer("POST", "https://api.stripe.com/v1/charges", "amount=100&currency=usd&customer=cus_2&source=tok_visa"); other == one || other == "" {
		t.Errorf("%q is of two customers", other)
	}
	if none := customer("GET", "https://api.stripe.com/v1/balance", ""); none != "" {
		t.Errorf("%q is of no customer", none)
	}
}

// What kept the vendor's answer from coming is on record as one of a few words.
func TestTheRecordSaysWhyNoAnswerCame(t *testing.T) {
	ended, end := context.WithCancel(t.Context())
	defer end()
	for _, c := range []struct {
		want string
		err  error
		body io.Reader
		ctx  context.Context
	}{
		{audit.ErrorCanceled, context.Canceled, nil, ended},
		{audit.ErrorTimeout, context.DeadlineExceeded, nil, t.Context()},
		{audit.ErrorTimeout, &net.OpError{Op: "read", Err: os.ErrDeadlineExceeded}, nil, t.Context()},
		{audit.ErrorDNS, &net.OpError{Op: "dial", Err: &net.DNSError{Err: "no such host", IsNotFound: true}}, nil, t.Context()},
		{audit.ErrorConnect, &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}, nil, t.Context()},
		{audit.ErrorTLS, &tls.CertificateVerificationError{Err: errors.New("unknown authority")}, nil, t.Context()},
		{audit.ErrorTLS, tls.AlertError(40), nil, t.Context()},
		{audit.ErrorIncomplete, io.ErrUnexpectedEOF, nil, t.Context()},
		{audit.ErrorIncomplete, &net.OpError{Op: "read", Err: syscall.ECONNRESET}, nil, t.Context()},
		{audit.ErrorIncomplete, nil, io.MultiReader(strings.NewReader(`{"id":`), iotest.ErrReader(io.ErrUnexpectedEOF)), t.Context()},
		{audit.ErrorTooLarge, nil, strings.NewReader(strings.Repeat("x", 2000)), t.Context()},
		{audit.ErrorOther, errors.New("something else"), nil, t.Context()},
	} {
		w := newWorld(t, func(cfg *keybrake.Config) {
			cfg.MaxReply = 1000
			cfg.Base = tripFunc(func(*http.Request) (*http.Response, error) {
				if c.ctx == ended {
					end()
				}
				if c.err != nil {
					return nil, c.err
				}
				return &http.Response{StatusCode: 200, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(c.body)}, nil
			})
		})
		key := w.issue(t, "run_1", everything())
		req := request(t, "POST", emailsURL, key.Token(), "application/json", `{"from":"a@acme.com","to":["b@acme.com"],"subject":"s","text":"t"}`)
		resp, err := w.Transport(nil).RoundTrip(req.WithContext(c.ctx))
		if err == nil {
			_ = resp.Body.Close()
		}
		all := w.sink.Records()
		if last := all[len(all)-1]; last.Kind != audit.Outcome || last.Outcome != "in_doubt" || last.Error != c.want {
			t.Errorf("%v: %s %s, error %q, want %q", c.err, last.Kind, last.Outcome, last.Error, c.want)
		}
	}
}

// A refusal for lack of budget names each budget that does not cover the call, also where many have one record.
func TestTheRecordNamesTheBudgetsThatRefused(t *testing.T) {
	w := newWorld(t, nil)
	p := everything()
	p.Budgets = []policy.Budget{policy.Lifetime(policy.USD("100")), policy.Lifetime(policy.Calls(50)), policy.Daily(policy.USD("60"))}
	key := w.issue(t, "run_1", p)
	var denied []*keybrake.Denial
	for range 3 {
		denied = append(denied, denial(t, w.Transport(nil), request(t, "POST", "https://api.stripe.com/v1/charges", key.Token(), formType, "amount=40000&currency=usd&source=tok_visa")))
	}
	if err := w.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	refusals := 0
	for _, r := range w.sink.Records() {
		if r.Kind != audit.Denied {
			continue
		}
		refusals += int(max(1, r.Count))
		var names []string
		for _, why := range r.Reasons {
			if why.Code != reason.BudgetExceeded || why.Rule != -1 {
				t.Errorf("the objection is %+v", why)
			}
			names = append(names, why.Budget)
		}
		if len(names) != 2 || names[0] != denied[0].Budget || names[0] == names[1] || slices.Contains(names, "") {
			t.Errorf("the record names %q, the agent was told %q", names, denied[0].Budget)
		}
	}
	if refusals != 3 {
		t.Errorf("%d refusals of 3", refusals)
	}
}
