package keybrake_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
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

// An office is a vendor of one paid operation, whose records a test writes itself.
type office struct {
	*world
	conf   keybrake.Config
	clock  *shiftedClock
	key    keybrake.Key
	secret string

	mu       sync.Mutex
	find     func(*vendors.Case) (vendors.Finding, error)
	replies  func(*http.Request) (*http.Response, error) // to the paid call
	looks    []string                                    // that reached the vendor
	accounts []string                                    // whose each look was at
	writes   []string                                    // the body of each
	down     bool
	keys     []string // under which each write came
}

// A shiftedClock is ahead by what a test says.
type shiftedClock struct{ ahead atomic.Int64 }

func (c *shiftedClock) now() time.Time          { return time.Now().Add(time.Duration(c.ahead.Load())) }
func (c *shiftedClock) advance(d time.Duration) { c.ahead.Add(int64(d)) }

const usd20 = 20_000_000

func lines(amount int64) []cost.Line {
	return []cost.Line{{Meter: cost.Charge, Currency: "USD", Amount: amount}}
}

func newOffice(t *testing.T) *office { return officeWith(t, nil) }

// officeWith is an office whose brake is made with what change says.
func officeWith(t *testing.T, change func(*keybrake.Config)) *office {
	t.Helper()
	o := &office{clock: &shiftedClock{}, secret: "acme_secret_0123456789"}
	o.find = func(*vendors.Case) (vendors.Finding, error) { return vendors.Finding{}, nil }
	o.replies = func(*http.Request) (*http.Response, error) { return nil, errors.New("cut") }
	vendor := vendors.Vendor{
		Name: "acme", Headers: []string{"Acme-Version"}, RedirectHeaders: []string{"Acme-Account"},
		Place: func(parts []string) (vendors.Placement, error) {
			if !strings.HasPrefix(parts[0], "acme_") {
				return vendors.Placement{}, errors.New("not a credential of acme")
			}
			return vendors.Placement{Header: "Authorization", Value: "Bearer " + parts[0], Account: "acct", Secrets: parts}, nil
		},
		Refuse: kbresend.New(nil).Refuse,
		Operations: []vendors.Operation{
			{
				Name: "acme.orders.create", Method: "POST", Host: "api.acme.test", Path: "/orders/{customer}", Class: vendors.Charge, Body: vendors.Form, KeyMemory: time.Hour,
				Params: vendors.Schema{Plain: []string{"amount", "note"}}, Trace: []string{"note"},
				Bound: func(*vendors.Call, *vendors.Reply) (vendors.Bound, error) {
					return vendors.Bound{Kind: vendors.Exact, Lines: lines(usd20)}, nil
				},
				Settle: func(*vendors.Call, vendors.Bound, *vendors.Reply) (vendors.Settlement, error) {
					return vendors.Settlement{Actual: lines(usd20), Objects: []string{"or_1"}, Again: time.Hour}, nil
				},
				Outcome: func(_ *vendors.Call, r *vendors.Reply) vendors.Outcome {
					if r.Status/100 == 4 {
						return vendors.NotExecuted
					}
					return vendors.ByStatus(nil, r)
				},
				Reconcile: func(c *vendors.Case) (vendors.Finding, error) { return o.find(c) },
				Stamp: func(_ *vendors.Call, run, mark string) ([]vendors.Param, any) {
					return []vendors.Param{{Name: "metadata[run]", Value: run}, {Name: "metadata[call]", Value: mark}}, nil
				},
			},
			{Name: "acme.orders.list", Method: "GET", Host: "api.acme.test", Path: "/orders", Class: vendors.Read},
			{
				Name: "acme.scores.retrieve", Method: "GET", Host: "api.acme.test", Path: "/scores", Class: vendors.Fee,
				Bound: func(*vendors.Call, *vendors.Reply) (vendors.Bound, error) {
					return vendors.Bound{Kind: vendors.Exact, Lines: []cost.Line{{Meter: cost.Fee, Currency: "USD", Amount: 1}}}, nil
				},
			},
			{Name: "acme.orders.delete", Method: "DELETE", Host: "api.acme.test", Path: "/orders/{id}", Class: vendors.Free},
			{
				Name: "acme.gifts.create", Method: "POST", Host: "api.acme.test", Path: "/gifts", Class: vendors.Charge, Body: vendors.Form,
				Params: vendors.Schema{Plain: []string{"note"}},
				Bound: func(*vendors.Call, *vendors.Reply) (vendors.Bound, error) {
					return vendors.Bound{Kind: vendors.Exact, Lines: lines(usd20)}, nil
				},
			},
		},
	}
	books := memory.New()
	books.Now = o.clock.now
	o.world = newWorld(t, func(c *keybrake.Config) {
		c.Ledger, c.Stamp = books, true
		c.Vendors = []vendors.Vendor{vendor, kbresend.New(nil)}
		c.Credentials = changing{func() map[string]string { return map[string]string{"acme": o.secret, "resend": resendSecret} }}
		c.Base = roundTripper(o.answer)
		if change != nil {
			change(c)
		}
		o.conf = *c
	})
	o.ledger = books
	var err error
	o.key, err = o.Issue(t.Context(), keybrake.Grant{
		Tenant: "acme", Agent: "bot", Run: "run_1", Credentials: map[string]string{"acme": "acme"}, TTL: time.Hour,
		Policy: policy.Policy{Allow: []policy.Rule{{Operation: "acme.*", Params: policy.Params{"Acme-Account": policy.OneOf("connected")}}}, Budgets: []policy.Budget{policy.Lifetime(policy.USD("100"))}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// changing is a source whose credentials change under the brake.
type changing struct{ now func() map[string]string }

func (c changing) Get(ctx context.Context, ref string) (credentials.Credential, error) {
	return credentials.Static(c.now()).Get(ctx, ref)
}

// another is the brake of another process on the same ledger.
func (o *office) another(t *testing.T, change func(*keybrake.Config)) *keybrake.Brake {
	t.Helper()
	c := o.conf
	if change != nil {
		change(&c)
	}
	b, err := keybrake.New(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// answer is the vendor: it says "cut" to a paid call and answers looks with what was asked for.
func (o *office) answer(r *http.Request) (*http.Response, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if r.Method != http.MethodGet {
		body, _ := io.ReadAll(r.Body)
		o.writes, o.keys = append(o.writes, string(body)), append(o.keys, r.Header.Get("Idempotency-Key"))
		return o.replies(r)
	}
	if r.Header.Get("Authorization") != "Bearer "+o.secret || o.down {
		return nil, fmt.Errorf("a look under %q that is not answered", r.Header.Get("Authorization"))
	}
	o.looks = append(o.looks, r.URL.RequestURI())
	o.accounts = append(o.accounts, r.Header.Get("Acme-Account"))
	return &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(strings.NewReader("you are " + o.secret)), Request: r}, nil
}

func (o *office) looked() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.looks)
}

// order makes the paid call. Its outcome is not known unless the office replies.
func (o *office) order(t *testing.T, path string) { o.orderAs(t, path, "n1", "") }

// orderAs is order with a note, and an idempotency key if that is not empty.
func (o *office) orderAs(t *testing.T, path, note, key string) {
	t.Helper()
	req := request(t, "POST", "https://api.acme.test"+path, o.key.Token(), "application/x-www-form-urlencoded", "note="+note)
	if key != "" {
		req.Header.Set("Idempotency-Key", key)
	}
	req.Header.Set("Acme-Version", "7")
	req.Header.Set("Acme-Account", "connected")
	resp, err := o.Transport(nil).RoundTrip(req)
	if err == nil {
		_ = resp.Body.Close()
	}
}

func (o *office) reconciler(t *testing.T, change func(*keybrake.ReconcilerConfig)) *keybrake.Reconciler {
	t.Helper()
	c := keybrake.ReconcilerConfig{Tenants: []string{"acme"}, Pace: time.Nanosecond, Gap: time.Nanosecond, Now: o.clock.now}
	if change != nil {
		change(&c)
	}
	r, err := o.another(t, nil).Reconciler(c) // of another process, which has fetched no credential yet
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func (o *office) pass(t *testing.T, r *keybrake.Reconciler) keybrake.Progress {
	t.Helper()
	p, err := r.Pass(t.Context())
	if err != nil {
		t.Errorf("a pass failed: %v", err)
	}
	return p
}

func (o *office) want(t *testing.T, spent, held int64) {
	t.Helper()
	states, err := o.Balance(t.Context(), o.key.Token())
	if err != nil || states[0].Spent != spent || states[0].Held != held {
		t.Errorf("the books show %+v, %v, want %d spent and %d held", states, err, spent, held)
	}
}

func (o *office) reconciled() []audit.Record { return ofKind(o.sink.Records(), audit.Reconciled) }

// finds answers a case with f, after one look at the list.
func finds(f vendors.Finding) func(*vendors.Case) (vendors.Finding, error) {
	return func(c *vendors.Case) (vendors.Finding, error) {
		if len(c.Seen) > 0 && strings.Contains(string(c.Seen[0].Body), "acme_secret") {
			return vendors.Finding{}, errors.New("an adapter sees the credential")
		}
		if len(c.Seen) == 0 {
			return vendors.Finding{Look: &vendors.Probe{Operation: "acme.orders.list", Path: "/orders", Query: []vendors.Param{{Name: "since", Value: "1"}}}}, nil
		}
		return f, nil
	}
}

func costing(amount int64) vendors.Settlement {
	return vendors.Settlement{Actual: lines(amount), Objects: []string{"or_9"}}
}

func TestTheReconcilerBooksWhatTheVendorsRecordsTell(t *testing.T) {
	for name, tt := range map[string]struct {
		finding     vendors.Finding
		spent, held int64
		progress    keybrake.Progress
		outcome     string
	}{
		"executed, for less": {
			vendors.Finding{Outcome: vendors.Executed, Cost: costing(15_000_000), Why: "found"}, 15_000_000, 0,
			keybrake.Progress{Open: 1, Done: 1, Looks: 1, Settled: 1}, "executed",
		},
		"executed, not final": {
			vendors.Finding{Outcome: vendors.Pending, Cost: vendors.Settlement{Actual: lines(5_000_000), Held: lines(10_000_000), Again: time.Hour}}, 5_000_000, 10_000_000,
			keybrake.Progress{Open: 1, Done: 1, Looks: 1, Pending: 1}, "pending",
		},
		"failed": {
			vendors.Finding{Outcome: vendors.NotExecuted, Why: "the order is marked failed"}, 0, 0,
			keybrake.Progress{Open: 1, Done: 1, Looks: 1, Freed: 1}, "not_executed",
		},
		"nothing": {
			vendors.Finding{Why: "many are alike"}, 0, usd20,
			keybrake.Progress{Open: 1, Done: 1, Looks: 1, Waiting: 1}, "",
		},
		"executed, at no stated cost": {
			vendors.Finding{Outcome: vendors.Executed}, 0, usd20,
			keybrake.Progress{Open: 1, Done: 1, Looks: 1, Waiting: 1}, "",
		},
		"executed, at a count and no money": {
			vendors.Finding{Outcome: vendors.Executed, Cost: vendors.Settlement{Actual: []cost.Line{{Meter: cost.Units, Amount: 1}}}}, 0, usd20,
			keybrake.Progress{Open: 1, Done: 1, Looks: 1, Waiting: 1}, "",
		},
		"an outcome that there is not": {
			vendors.Finding{Outcome: 9, Cost: costing(1)}, 0, usd20,
			keybrake.Progress{Open: 1, Done: 1, Looks: 1, Waiting: 1}, "",
		},
		"executed, in a currency that no budget counts": {
			vendors.Finding{Outcome: vendors.Executed, Cost: vendors.Settlement{Actual: []cost.Line{{Meter: cost.Charge, Currency: "EUR", Amount: 1}}}}, 0, usd20,
			keybrake.Progress{Open: 1, Done: 1, Looks: 1, Persons: 1}, "in_doubt",
		},
	} {
		t.Run(name, func(t *testing.T) {
			o := newOffice(t)
			o.order(t, "/orders/cu_1")
			o.want(t, 0, usd20)
			o.find = finds(tt.finding)
			if p := o.pass(t, o.reconciler(t, nil)); p != tt.progress {
				t.Errorf("progress %+v, want %+v", p, tt.progress)
			}
			o.want(t, tt.spent, tt.held)
			if got := o.looked(); !slices.Equal(got, []string{"/orders?since=1"}) || !slices.Equal(o.accounts, []string{"connected"}) {
				t.Errorf("the vendor was asked %q, of the accounts %q", got, o.accounts)
			}
			records := o.reconciled()
			if tt.outcome == "" && len(records) > 0 || tt.outcome != "" && (len(records) != 1 || records[0].Outcome != tt.outcome) {
				t.Fatalf("on record is %+v, want one of outcome %q", records, tt.outcome)
			}
			if tt.outcome == "executed" {
				r, first := records[0], o.sink.Records()[1]
				if r.CallID != first.CallID || r.Run != "run_1" || r.Agent != "bot" || r.Vendor != "acme" || r.Operation != "acme.orders.create" || r.Detail != "found" || !slices.Equal(r.Actual, lines(15_000_000)) || !slices.Contains(r.Objects, "or_9") {
					t.Errorf("on record is %+v, of the call %+v", r, first)
				}
			}
			if len(o.writes) != 1 {
				t.Errorf("%d writes reached the vendor, want the agent's one", len(o.writes))
			}
		})
	}
}

// What a row gets to see is what is needed to find the call, and no more.
func TestACaseIsTheCallAsItWasSent(t *testing.T) {
	o := newOffice(t)
	before := time.Now()
	o.order(t, "/orders/cu_1")
	var got *vendors.Case
	o.find = func(c *vendors.Case) (vendors.Finding, error) { got = c; return vendors.Finding{}, nil }
	o.pass(t, o.reconciler(t, nil))
	if got == nil {
		t.Fatal("the row was not asked")
	}
	c := got.Call
	if c.Operation.Name != "acme.orders.create" || c.Host != "api.acme.test" || c.Path != "/orders/cu_1" || c.IDs["customer"] != "cu_1" || c.Account != "acct" || c.Header.Get("Acme-Version") != "7" {
		t.Errorf("the call is %+v", c)
	}
	if want := []vendors.Param{{Name: "Acme-Account", Value: "connected"}, {Name: "note", Value: "n1"}}; !slices.Equal(c.Params, want) {
		t.Errorf("its parameters are %v, want those that Trace names", c.Params)
	}
	open, _ := o.InDoubt(t.Context(), "acme")
	if !got.Doubt || got.Mark != open[0].ID || got.Sent.Before(before.Add(-time.Second)) || got.Sent.After(got.Ended) || !slices.Equal(got.Bound.Lines, lines(usd20)) {
		t.Errorf("the case is %+v", got)
	}
	if !strings.Contains(o.writes[0], "metadata%5Bcall%5D="+got.Mark) || !strings.Contains(o.writes[0], "metadata%5Brun%5D=run_1") {
		t.Errorf("the vendor got %q, without the marks", o.writes[0])
	}
	for _, secret := range []string{"cu_1", "note", o.secret, o.key.Token()} {
		if strings.Contains(open[0].Memo, secret) {
			t.Errorf("the ledger holds %q in the clear: %s", secret, open[0].Memo)
		}
	}
}

// A list that does not show the call proves nothing by itself: the vendor may be late, or the call still on its way.
func TestAbsenceIsProofWhenItIsSeenTwiceAfterTheEnd(t *testing.T) {
	absent := vendors.Finding{Absent: true, Why: "not in the list"}
	t.Run("while the call may be on its way", func(t *testing.T) {
		o := newOffice(t)
		o.order(t, "/orders/cu_1")
		o.find = finds(absent)
		if p := o.pass(t, o.reconciler(t, nil)); p.Waiting != 1 || p.Freed != 0 {
			t.Errorf("progress %+v", p)
		}
		o.want(t, 0, usd20)
	})
	t.Run("twice after it", func(t *testing.T) {
		o := newOffice(t)
		o.order(t, "/orders/cu_1")
		o.clock.advance(time.Hour)
		o.find = finds(absent)
		if p := o.pass(t, o.reconciler(t, nil)); p.Freed != 1 || p.Looks != 2 {
			t.Errorf("progress %+v, want one freed after two looks", p)
		}
		o.want(t, 0, 0)
	})
	t.Run("then there after all", func(t *testing.T) {
		o := newOffice(t)
		o.order(t, "/orders/cu_1")
		o.clock.advance(time.Hour)
		times := 0
		o.find = func(*vendors.Case) (vendors.Finding, error) {
			if times++; times == 1 {
				return absent, nil
			}
			return vendors.Finding{Outcome: vendors.Executed, Cost: costing(usd20)}, nil
		}
		if p := o.pass(t, o.reconciler(t, nil)); p.Freed != 0 || p.Settled != 1 {
			t.Errorf("progress %+v", p)
		}
		o.want(t, usd20, 0)
	})
	t.Run("then not to be told", func(t *testing.T) {
		o := newOffice(t)
		o.order(t, "/orders/cu_1")
		o.clock.advance(time.Hour)
		times := 0
		o.find = func(*vendors.Case) (vendors.Finding, error) {
			if times++; times == 1 {
				return absent, nil
			}
			return vendors.Finding{}, nil
		}
		o.pass(t, o.reconciler(t, nil))
		o.want(t, 0, usd20)
	})
	t.Run("of a call without a mark", func(t *testing.T) {
		o := newOffice(t)
		o.find = finds(absent)
		o.Brake = o.another(t, func(c *keybrake.Config) { c.Stamp = false })
		o.order(t, "/orders/cu_1")
		o.clock.advance(time.Hour)
		o.pass(t, o.reconciler(t, nil))
		o.want(t, 0, usd20)
	})
	t.Run("of a call that was executed", func(t *testing.T) {
		o := newOffice(t)
		o.replies = ok
		o.order(t, "/orders/cu_1")
		o.want(t, usd20, 0)
		o.clock.advance(2 * time.Hour)
		o.find = finds(absent)
		o.pass(t, o.reconciler(t, nil))
		o.want(t, usd20, 0)
	})
}

// A retry that comes between the second look and the release is at the vendor, perhaps: its hold stays, and the record
// says so.
func TestARetryThatComesMeanwhileKeepsItsHold(t *testing.T) {
	o := officeWith(t, nil)
	o.orderAs(t, "/orders/cu_1", "n1", "k1")
	o.clock.advance(50 * time.Minute)
	looks := 0
	o.find = func(*vendors.Case) (vendors.Finding, error) {
		if looks++; looks == 2 {
			o.orderAs(t, "/orders/cu_1", "n1", "k1")
		}
		return vendors.Finding{Absent: true, Why: "not in the list"}, nil
	}
	if p := o.pass(t, o.reconciler(t, nil)); p.Freed != 0 || p.Waiting != 1 || len(o.writes) != 2 {
		t.Errorf("progress %+v after %d writes", p, len(o.writes))
	}
	o.want(t, 0, usd20)
	if records := o.reconciled(); len(records) != 2 || records[1].Outcome != "in_doubt" {
		t.Errorf("on record is %+v, want at last that it is in doubt", records)
	}
}

func ok(r *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(strings.NewReader("{}")), Request: r}, nil
}

// A price that comes later is looked up when it is due, not before.
func TestTheReconcilerTruesUpWhatIsNotFinal(t *testing.T) {
	o := newOffice(t)
	o.replies = ok
	o.order(t, "/orders/cu_1")
	o.want(t, usd20, 0)
	var got *vendors.Case
	o.find = func(c *vendors.Case) (vendors.Finding, error) {
		got = c
		return vendors.Finding{Outcome: vendors.Executed, Cost: costing(12_000_000)}, nil
	}
	r := o.reconciler(t, nil)
	if p := o.pass(t, r); p.Waiting != 1 || got != nil {
		t.Errorf("before it is due: progress %+v, asked about %+v", p, got)
	}
	o.clock.advance(61 * time.Minute)
	if p := o.pass(t, r); p.Settled != 1 {
		t.Errorf("when it is due: progress %+v", p)
	}
	if got == nil || got.Doubt || !slices.Equal(got.Booked, lines(usd20)) || !slices.Equal(got.Objects, []string{"or_1"}) {
		t.Errorf("the case is %+v", got)
	}
	o.want(t, 12_000_000, 0)
	if p := o.pass(t, r); p.Open != 0 {
		t.Errorf("afterwards: progress %+v", p)
	}
}

// The vendor took more than was held: booked in full, and the key stops.
func TestAnOverrunThatIsFoundLaterFreezesTheKey(t *testing.T) {
	o := newOffice(t)
	o.order(t, "/orders/cu_1")
	o.find = finds(vendors.Finding{Outcome: vendors.Executed, Cost: costing(usd20 + 1)})
	o.pass(t, o.reconciler(t, nil))
	o.want(t, usd20+1, 0)
	o.order(t, "/orders/cu_1")
	if len(o.writes) != 1 || !strings.Contains(o.log.String(), "the key is frozen") {
		t.Errorf("%d writes reached the vendor; the log says %s", len(o.writes), o.log)
	}
}

// What cannot be told is looked at ever more rarely, and a person is told once a day.
func TestTheReconcilerGivesUpToAPerson(t *testing.T) {
	o := newOffice(t)
	o.order(t, "/orders/cu_1")
	o.find = finds(vendors.Finding{Why: "two orders are alike"})
	var told []keybrake.Unresolved
	r := o.reconciler(t, func(c *keybrake.ReconcilerConfig) {
		c.Person = func(_ context.Context, u keybrake.Unresolved) { told = append(told, u) }
	})
	asked := func(want int, when string) {
		t.Helper()
		o.pass(t, r)
		if n := len(o.looked()); n != want {
			t.Errorf("%s: %d looks, want %d", when, n, want)
		}
	}
	asked(1, "at once")
	asked(1, "again at once")
	o.clock.advance(31 * time.Second)
	asked(2, "after half a minute")
	o.clock.advance(2 * time.Hour)
	asked(3, "after two hours")
	o.clock.advance(30 * time.Minute)
	asked(3, "before half the age has passed")
	if len(told) != 0 {
		t.Errorf("a person was told early: %+v", told)
	}
	o.clock.advance(72 * time.Hour)
	asked(4, "after three days")
	o.clock.advance(20 * time.Hour)
	asked(4, "on the day that a person was told")
	if len(told) != 1 || len(o.reconciled()) != 1 {
		t.Fatalf("a person was told %d times, on record are %d", len(told), len(o.reconciled()))
	}
	u := told[0]
	if u.Run != "run_1" || u.Agent != "bot" || u.Hold.Operation != "acme.orders.create" || u.Mark != u.Hold.ID || u.Why != "two orders are alike" || !slices.Equal(u.Looked, []string{"acme.orders.list"}) || !slices.Equal(u.Held, lines(usd20)) {
		t.Errorf("a person was told %+v", u)
	}
	o.clock.advance(5 * time.Hour)
	asked(5, "a day later")
	if len(told) != 2 {
		t.Errorf("a person was told %d times, want a reminder", len(told))
	}
	if err := o.Resolve(t.Context(), "acme", u.Hold.ID, keybrake.ExecutedAsHeld()); err != nil {
		t.Fatal(err)
	}
	o.clock.advance(25 * time.Hour)
	asked(5, "after somebody has decided")
	o.want(t, usd20, 0)
}

func TestWhatOnlyAPersonCanTellIsToldAtOnce(t *testing.T) {
	for name, tt := range map[string]struct {
		path   string
		change func(*testing.T, *office)
		why    string
	}{
		"an operation without evidence": {"/gifts", nil, "keeps no records that would tell"},
		"the credential was rotated":    {"/orders/cu_1", func(_ *testing.T, o *office) { o.secret = "acme_another_secret_42" }, "sealed under another credential"},
		"the credential is gone":        {"/orders/cu_1", func(_ *testing.T, o *office) { o.secret = "" }, "cannot be had"},
		"the row panics":                {"/orders/cu_1", func(_ *testing.T, o *office) { o.find = func(*vendors.Case) (vendors.Finding, error) { panic("no") } }, ""},
		"the row fails": {"/orders/cu_1", func(_ *testing.T, o *office) {
			o.find = func(c *vendors.Case) (vendors.Finding, error) {
				return vendors.Finding{}, errors.New("an answer of " + o.secret)
			}
		}, ""},
		"the ledger's writer changed it": {"/orders/cu_1", changeMemo, "or was changed"},
	} {
		t.Run(name, func(t *testing.T) {
			o := newOffice(t)
			o.order(t, tt.path)
			if tt.change != nil {
				tt.change(t, o)
			}
			o.clock.advance(10 * time.Minute)
			var told []keybrake.Unresolved
			r := o.reconciler(t, func(c *keybrake.ReconcilerConfig) {
				c.Person = func(_ context.Context, u keybrake.Unresolved) { told = append(told, u) }
				if tt.why == "" {
					c.GiveUp = time.Minute
				}
			})
			o.pass(t, r)
			if len(told) != 1 || !strings.Contains(told[0].Why, tt.why) || told[0].Why == "" {
				t.Fatalf("a person was told %+v, want %q", told, tt.why)
			}
			o.want(t, 0, usd20)
			if text := fmt.Sprintf("%+v %+v %s", told, o.sink.Records(), o.log); strings.Contains(text, "acme_secret") || strings.Contains(text, "acme_another") {
				t.Errorf("the credential is in what people see: %s", text)
			}
		})
	}
}

// A look is a read of the catalogue at the vendor's own host, whatever a row asks for.
func TestTheReconcilerOnlyReads(t *testing.T) {
	for name, look := range map[string]vendors.Probe{
		"a write":                  {Operation: "acme.orders.delete", Path: "/orders/or_1"},
		"a read that costs":        {Operation: "acme.scores.retrieve", Path: "/scores"},
		"the paid call":            {Operation: "acme.orders.create", Path: "/orders/cu_1"},
		"nothing of the catalogue": {Operation: "acme.orders.burn", Path: "/orders"},
		"another vendor's host":    {Operation: "acme.orders.list", Path: "/orders", Host: "api.resend.com"},
		"nobody's host":            {Operation: "acme.orders.list", Path: "/orders", Host: "evil.example"},
	} {
		o := newOffice(t)
		o.order(t, "/orders/cu_1")
		o.find = func(*vendors.Case) (vendors.Finding, error) { return vendors.Finding{Look: &look}, nil }
		p, err := o.reconciler(t, nil).Pass(t.Context())
		if p.Failed != 1 || err == nil || len(o.looked()) != 0 || len(o.writes) != 1 {
			t.Errorf("%s: %+v, %v; the vendor got the looks %q and the writes %q", name, p, err, o.looked(), o.writes)
		}
		o.want(t, 0, usd20)
	}
}

func TestAListWithoutEndIsLeft(t *testing.T) {
	o := newOffice(t)
	o.order(t, "/orders/cu_1")
	o.find = func(c *vendors.Case) (vendors.Finding, error) {
		return vendors.Finding{Look: &vendors.Probe{Operation: "acme.orders.list", Path: "/orders"}}, nil
	}
	o.pass(t, o.reconciler(t, nil))
	if n := len(o.looked()); n != vendors.MostLooks+1 && n != vendors.MostLooks {
		t.Errorf("%d looks, want about %d", n, vendors.MostLooks)
	}
	o.want(t, 0, usd20)
}

// Each call is handled by one of many reconcilers, and what one leaves another takes up.
func TestManyReconcilersHandleEachCallOnce(t *testing.T) {
	o := newOffice(t)
	for range 5 {
		o.order(t, "/orders/cu_1")
	}
	o.find = finds(vendors.Finding{Outcome: vendors.Executed, Cost: costing(1_000_000)})
	var wg sync.WaitGroup
	var settled atomic.Int64
	for range 8 {
		wg.Go(func() { settled.Add(int64(o.pass(t, o.reconciler(t, nil)).Settled)) })
	}
	wg.Wait()
	if settled.Load() != 5 || len(o.looked()) != 5 || len(o.reconciled()) != 5 {
		t.Errorf("%d settled after %d looks, on record are %d; want 5 of each", settled.Load(), len(o.looked()), len(o.reconciled()))
	}
	o.want(t, 5_000_000, 0)
}

func TestWhatFailsIsTriedAgain(t *testing.T) {
	t.Run("the network", func(t *testing.T) {
		o := newOffice(t)
		o.order(t, "/orders/cu_1")
		o.find = finds(vendors.Finding{Outcome: vendors.Executed, Cost: costing(usd20)})
		o.down = true
		p, err := o.reconciler(t, nil).Pass(t.Context())
		if p.Failed != 1 || err == nil || strings.Contains(err.Error()+o.log.String(), o.secret) {
			t.Errorf("%+v, %v", p, err)
		}
		o.want(t, 0, usd20)
		o.down = false
		o.clock.advance(time.Minute)
		if p := o.pass(t, o.reconciler(t, nil)); p.Settled != 1 {
			t.Errorf("a minute later: %+v", p)
		}
	})
	t.Run("the sink", func(t *testing.T) {
		o := newOffice(t)
		o.order(t, "/orders/cu_1")
		o.find = finds(vendors.Finding{Outcome: vendors.NotExecuted})
		o.sink.Fail(errors.New("full"))
		if p, err := o.reconciler(t, nil).Pass(t.Context()); p.Failed != 1 || err == nil {
			t.Errorf("%+v, %v", p, err)
		}
		o.want(t, 0, usd20)
	})
	t.Run("a pass that is stopped", func(t *testing.T) {
		o := newOffice(t)
		for range 3 {
			o.order(t, "/orders/cu_1")
		}
		ctx, stop := context.WithCancel(t.Context())
		o.find = finds(vendors.Finding{Outcome: vendors.Executed, Cost: costing(usd20)})
		first := o.reconciler(t, func(c *keybrake.ReconcilerConfig) { c.Progress = func(keybrake.Progress) { stop() } })
		if p, err := first.Pass(ctx); p.Settled != 1 || !errors.Is(err, context.Canceled) {
			t.Errorf("the first: %+v, %v", p, err)
		}
		if p := o.pass(t, o.reconciler(t, nil)); p.Settled != 2 || p.Open != 2 {
			t.Errorf("the next: %+v", p)
		}
		o.want(t, 3*usd20, 0)
	})
}

func TestRunPassesUntilItIsStopped(t *testing.T) {
	o := newOffice(t)
	o.order(t, "/orders/cu_1")
	o.find = finds(vendors.Finding{Outcome: vendors.Executed, Cost: costing(usd20)})
	ctx, stop := context.WithCancelCause(t.Context())
	enough := errors.New("enough")
	passes := 0
	r := o.reconciler(t, func(c *keybrake.ReconcilerConfig) {
		c.Every = time.Nanosecond
		c.Progress = func(p keybrake.Progress) {
			if passes++; p.Settled == 1 || passes > 100 {
				stop(enough)
			}
		}
	})
	if err := r.Run(ctx); !errors.Is(err, enough) || passes != 1 {
		t.Errorf("%v after %d items", err, passes)
	}
	o.want(t, usd20, 0)
}

func TestAReconcilerThatCouldNotWorkIsNotMade(t *testing.T) {
	o := newOffice(t)
	for name, c := range map[string]keybrake.ReconcilerConfig{
		"nobody's":   {},
		"no name":    {Tenants: []string{"acme", "a b"}},
		"a negative": {Tenants: []string{"acme"}, Gap: -1},
	} {
		if r, err := o.Reconciler(c); err == nil || r != nil {
			t.Errorf("%s: %v, %v", name, r, err)
		}
	}
	w := newWorld(t, func(c *keybrake.Config) { c.Ledger = struct{ ledger.Ledger }{c.Ledger} })
	if _, err := w.Reconciler(keybrake.ReconcilerConfig{Tenants: []string{"acme"}}); err == nil || !strings.Contains(err.Error(), "leases") {
		t.Errorf("a ledger without leases: %v", err)
	}
}

// changeMemo writes to the ledger as somebody could who has access to its store.
func changeMemo(t *testing.T, o *office) {
	t.Helper()
	open, err := o.InDoubt(t.Context(), "acme")
	if err != nil {
		t.Fatal(err)
	}
	mode, rest, _ := strings.Cut(open[0].Memo, " ")
	box := []byte(rest)
	box[30] = map[bool]byte{true: 'B', false: 'A'}[box[30] == 'A'] // base64 as before
	if _, err := o.ledger.Settle(t.Context(), open[0], ledger.Settlement{Phase: ledger.Doubt, Memo: mode + " " + string(box)}); err != nil {
		t.Fatal(err)
	}
}
