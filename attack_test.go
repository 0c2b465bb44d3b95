package keybrake_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keybrake/keybrake-go"
	"github.com/keybrake/keybrake-go/audit"
	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/credentials"
	"github.com/keybrake/keybrake-go/ledger"
	"github.com/keybrake/keybrake-go/ledger/memory"
	"github.com/keybrake/keybrake-go/policy"
	"github.com/keybrake/keybrake-go/vendors"
	"github.com/keybrake/keybrake-go/vendors/kbresend"
)

// What is booked and what stays held are rounded up at the rate of the reserve. Both together are the bound, and not a
// micro-unit more, which would freeze the key.
func TestAPartThatIsBookedAndTheRestThatIsHeldAreTheBoundAtAnyRate(t *testing.T) {
	eur := func(amount int64) []cost.Line {
		return []cost.Line{{Meter: cost.Charge, Currency: "EUR", Amount: amount}}
	}
	o := officeWith(t, func(c *keybrake.Config) {
		c.Rates = func() cost.Rates {
			return cost.Rates{To: "USD", Of: map[cost.Currency]string{"EUR": "1.0842"}, AsOf: time.Now(), MaxAge: time.Hour, Haircut: 200}
		}
		c.Vendors[0].Operations[0].Bound = func(*vendors.Call, *vendors.Reply) (vendors.Bound, error) {
			return vendors.Bound{Kind: vendors.Exact, Lines: eur(50_000_000)}, nil
		}
		c.Vendors[0].Operations[0].Settle = func(*vendors.Call, vendors.Bound, *vendors.Reply) (vendors.Settlement, error) {
			return vendors.Settlement{Actual: eur(16_670_000), Held: eur(33_330_000)}, nil
		}
	})
	o.replies = ok
	o.order(t, "/orders/cu_1")
	o.want(t, 18_435_087, 55_294_200-18_435_087)
	if r := o.sink.Records(); r[len(r)-1].Flag != "" {
		t.Errorf("the record is flagged: %+v", r[len(r)-1])
	}
}

// An agent chooses the parameters of its calls, and the ledger remembers refused calls for a month: of one that is long
// no more is kept than what a retry and the settle need.
func TestALongCallIsNotKeptInTheLedger(t *testing.T) {
	o := newOffice(t)
	o.replies = func(r *http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: 422, Header: http.Header{}, Body: http.NoBody, Request: r}, nil
	}
	long := strings.Repeat("n", 1<<20)
	o.orderAs(t, "/orders/cu_1", long, "")
	records := o.sink.Records()
	h, err := o.ledger.Find(t.Context(), "acme", records[len(records)-1].CallID)
	if err != nil || h.Phase != ledger.Released || len(h.Memo) > 4<<10 {
		t.Errorf("%v: of a %s call of 1 MiB the ledger keeps %d bytes", err, h.Phase, len(h.Memo))
	}

	o.replies = func(*http.Request) (*http.Response, error) { return nil, errors.New("cut") }
	o.orderAs(t, "/orders/cu_1", long, "k1")
	var told []keybrake.Unresolved
	o.pass(t, o.reconciler(t, func(c *keybrake.ReconcilerConfig) {
		c.Person = func(_ context.Context, u keybrake.Unresolved) { told = append(told, u) }
	}))
	if len(told) != 1 || !strings.Contains(told[0].Why, "too long to be kept") || len(o.looked()) != 0 {
		t.Errorf("a person was told %+v after the looks %q", told, o.looked())
	}
	o.want(t, 0, usd20)
	o.replies = ok
	o.orderAs(t, "/orders/cu_1", long, "k1")
	o.want(t, usd20, 0)
}

func TestASourceThatIsDownForAMomentIsNotForAPerson(t *testing.T) {
	o := newOffice(t)
	o.order(t, "/orders/cu_1")
	down := true
	b := o.another(t, func(c *keybrake.Config) {
		static := c.Credentials
		c.Credentials = sourceFunc(func(ctx context.Context, ref string) (credentials.Credential, error) {
			if down {
				return credentials.Credential{}, errors.New("the vault is sealed")
			}
			return static.Get(ctx, ref)
		})
	})
	persons := 0
	r, err := b.Reconciler(keybrake.ReconcilerConfig{Tenants: []string{"acme"}, Now: o.clock.now, Pace: 1, Gap: 1, Person: func(context.Context, keybrake.Unresolved) { persons++ }})
	if err != nil {
		t.Fatal(err)
	}
	o.find = finds(vendors.Finding{Outcome: vendors.Executed, Cost: costing(1)})
	if p, err := r.Pass(t.Context()); p.Failed != 1 || err == nil || persons != 0 {
		t.Errorf("%+v, %v; a person was told %d times", p, err, persons)
	}
	down = false
	o.clock.advance(2 * time.Minute)
	if p, err := r.Pass(t.Context()); p.Settled != 1 || err != nil {
		t.Errorf("two minutes later: %+v, %v", p, err)
	}
	o.want(t, 1, 0)
}

type sourceFunc func(context.Context, string) (credentials.Credential, error)

func (f sourceFunc) Get(ctx context.Context, ref string) (credentials.Credential, error) {
	return f(ctx, ref)
}

// A vendor that cannot be reached for days is for a person too, in the end.
func TestLooksThatFailForDaysAreForAPerson(t *testing.T) {
	o := newOffice(t)
	o.order(t, "/orders/cu_1")
	o.find = finds(vendors.Finding{Outcome: vendors.Executed, Cost: costing(1)})
	o.down = true
	o.clock.advance(100 * time.Hour)
	persons := 0
	r := o.reconciler(t, func(c *keybrake.ReconcilerConfig) {
		c.Person = func(context.Context, keybrake.Unresolved) { persons++ }
	})
	if p, err := r.Pass(t.Context()); p.Failed != 1 || err == nil || persons != 1 {
		t.Errorf("%+v, %v; a person was told %d times", p, err, persons)
	}
	o.want(t, 0, usd20)
}

// Between two clocks the one that is behind says from when on a call is looked for: a list that begins after it proves
// that it was never executed.
func TestAClockThatIsAheadHidesNoCall(t *testing.T) {
	o := newOffice(t)
	o.clock.advance(-30 * time.Minute) // the ledger's is right; the brake's, with which Sent is kept, is ahead
	o.order(t, "/orders/cu_1")
	var got *vendors.Case
	o.find = func(c *vendors.Case) (vendors.Finding, error) { got = c; return vendors.Finding{}, nil }
	o.pass(t, o.reconciler(t, nil))
	if late := got.Sent.Sub(o.clock.now()); late > 0 {
		t.Errorf("it is looked for from %v after it was made", late)
	}
}

// Where the ledger is of the same machine, the vendor's own clock shows that this one is ahead.
func TestAbsenceIsNoProofByAClockThatIsAheadOfTheVendors(t *testing.T) {
	for ahead, freed := range map[time.Duration]int{2 * time.Minute: 0, 0: 1, -2 * time.Minute: 1} {
		var o *office
		o = officeWith(t, func(c *keybrake.Config) {
			c.Base = roundTripper(func(r *http.Request) (*http.Response, error) {
				resp, err := o.answer(r)
				if err == nil {
					resp.Header.Set("Date", time.Now().Add(-ahead).UTC().Format(http.TimeFormat))
				}
				return resp, err
			})
		})
		o.order(t, "/orders/cu_1")
		o.clock.advance(time.Hour)
		o.find = finds(vendors.Finding{Absent: true, Why: "not in the list"})
		if p := o.pass(t, o.reconciler(t, nil)); p.Freed != freed {
			t.Errorf("%v ahead: %+v", ahead, p)
		}
	}
}

// What stops a pass leaves what it had in hand to the next one.
func TestAStoppedPassKeepsNothingFromTheNext(t *testing.T) {
	o := newOffice(t)
	o.order(t, "/orders/cu_1")
	ctx, stop := context.WithCancel(t.Context())
	o.find = func(*vendors.Case) (vendors.Finding, error) {
		stop()
		return vendors.Finding{Look: &vendors.Probe{Operation: "acme.orders.list", Path: "/orders"}}, nil
	}
	r := o.reconciler(t, func(c *keybrake.ReconcilerConfig) { c.Pace = time.Hour })
	_, _ = r.Pass(ctx)
	o.find = func(*vendors.Case) (vendors.Finding, error) {
		return vendors.Finding{Outcome: vendors.Executed, Cost: costing(usd20)}, nil
	}
	if p := o.pass(t, o.reconciler(t, nil)); p.Settled != 1 {
		t.Errorf("the next pass: %+v", p)
	}
}

// Two mails that differ in what is attached alone are two, and the second does not get the first one's answer.
func TestAnotherAttachmentIsNoRepetition(t *testing.T) {
	w := newWorld(t, nil)
	p := everything()
	p.Repeat = policy.Once(time.Minute)
	key := w.issue(t, "run_1", p)
	for i, content := range []string{"[1,2,3]", "[1,2,4]", `"AQID"`, "[ 1, 2, 3 ]"} {
		body := `{"from":"a@acme.dev","to":"b@x.dev","subject":"invoice","text":"t","attachments":[{"filename":"a.pdf","content":` + content + `}]}`
		resp, err := w.Transport(nil).RoundTrip(request(t, "POST", "https://api.resend.com/emails", key.Token(), "application/json", body))
		if err != nil || resp.StatusCode != 200 {
			t.Fatalf("%s: %v, %v", content, resp, err)
		}
		if again := resp.Header.Get("Keybrake-Replayed") != ""; again != (i == 3) {
			t.Errorf("%s: answered as before is %v", content, again)
		}
	}
	if n := len(w.fake.Executions()); n != 3 {
		t.Errorf("%d mails were sent, want 3", n)
	}
}

// An answer is no one's any more once its call has left the window: the next call may be in doubt.
func TestAnAnswerIsKeptForAsLongAsItsCallCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		issuer, err := keybrake.NewIssuer()
		if err != nil {
			t.Fatal(err)
		}
		calls := 0
		b, err := keybrake.New(t.Context(), keybrake.Config{
			Issuer: issuer, Ledger: memory.New(), Vendors: []vendors.Vendor{kbresend.New(nil)}, Audit: audit.InsecureDiscard(),
			Credentials: credentials.Static(map[string]string{"resend": resendSecret}),
			Base: roundTripper(func(r *http.Request) (*http.Response, error) {
				if calls++; calls > 1 {
					return nil, errors.New("cut")
				}
				time.Sleep(30 * time.Second)
				return &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(`{"id":"m1"}`)), Request: r}, nil
			}),
		})
		if err != nil {
			t.Fatal(err)
		}
		p := policy.Policy{Allow: []policy.Rule{{Operation: "resend.*"}}, Budgets: []policy.Budget{policy.Lifetime(policy.USD("1"))}}
		p.Repeat = policy.Once(time.Minute)
		key, err := b.Issue(t.Context(), keybrake.Grant{
			Tenant: "acme", Agent: "bot", Run: "run_1", Credentials: map[string]string{"resend": "resend"}, Policy: p, TTL: time.Hour,
		})
		if err != nil {
			t.Fatal(err)
		}
		send := func() (*http.Response, error) {
			body := `{"from":"a@acme.dev","to":"b@x.dev","subject":"s","text":"t"}`
			return b.Transport(nil).RoundTrip(request(t, "POST", "https://api.resend.com/emails", key.Token(), "application/json", body))
		}
		if resp, err := send(); err != nil || resp.StatusCode != 200 {
			t.Fatal(resp, err)
		}
		time.Sleep(20 * time.Second)
		if resp, err := send(); err != nil || resp.Header.Get("Keybrake-Replayed") == "" {
			t.Errorf("within the window: %v, %v", resp, err)
		}
		time.Sleep(11 * time.Second) // a minute after the first
		_, _ = send()                // in doubt
		if resp, err := send(); err != nil || resp.StatusCode != 429 || calls != 2 {
			t.Errorf("the repetition of a call in doubt: %v, %v after %d calls", resp, err, calls)
		}
	})
}
