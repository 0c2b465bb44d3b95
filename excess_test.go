package keybrake_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/keybrake/keybrake-go"
	"github.com/keybrake/keybrake-go/internal/fakevendor"
	"github.com/keybrake/keybrake-go/ledger"
	"github.com/keybrake/keybrake-go/ledger/memory"
	"github.com/keybrake/keybrake-go/policy"
	"github.com/keybrake/keybrake-go/reason"
	"github.com/keybrake/keybrake-go/vendors"
	"github.com/keybrake/keybrake-go/vendors/kbstripe"
)

// These tests are calls that once got past the brake, or that a reviewer tried to get past it. What the vendor
// executed judges each.

// post sends a form to Stripe through the brake.
func postForm(t testing.TB, rt http.RoundTripper, token, path, idem string, form ...string) (int, string) {
	t.Helper()
	v := url.Values{}
	for i := 0; i < len(form); i += 2 {
		v.Add(form[i], form[i+1])
	}
	req, _ := http.NewRequest("POST", "https://api.stripe.com"+path, strings.NewReader(v.Encode()))
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Authorization", "Bearer "+token)
	if idem != "" {
		req.Header.Set("Idempotency-Key", idem)
	}
	resp, err := rt.RoundTrip(req)
	if err != nil {
		return 0, err.Error()
	}
	b, _ := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	return resp.StatusCode, string(b)
}

func idOf(body string) string {
	i := strings.Index(body, `"id":"pi_`)
	if i < 0 {
		i = strings.Index(body, `"id": "pi_`)
	}
	s := body[i:]
	s = s[strings.Index(s, "pi_"):]
	return s[:strings.IndexByte(s, '"')]
}

func stands(t testing.TB, w *world, key keybrake.Key) (spent, held, limit int64) {
	t.Helper()
	st, err := w.Balance(context.Background(), key.Token())
	if err != nil {
		t.Fatal(err)
	}
	return st[0].Spent, st[0].Held, st[0].Limit
}

// An edit that was refused (429) is released to the level that the object had; its claim stays alive, so that
// its retry attaches, holds nothing and is executed.
func TestARetryOfARefusedEditIsANewSpend(t *testing.T) {
	w := newWorld(t, nil)
	key := w.issue(t, "run_f1", everything()) // 100 USD
	rt := w.Transport(nil)
	w.fake.SeedCharge("ch_1", 500000, "usd")
	_, body := postForm(t, rt, key.Token(), "/v1/payment_intents", "create", "amount", "1000", "currency", "usd", "payment_method", "pm_card_visa")
	pi := idOf(body)
	w.fake.Misbehave(fakevendor.Fault{PathContains: pi, Method: "POST", Kind: fakevendor.Status, Status: 429})
	if st, b := postForm(t, rt, key.Token(), "/v1/payment_intents/"+pi, "edit", "amount", "9000", "currency", "usd"); st != 429 {
		t.Fatal(st, b)
	}
	// the budget is used up otherwise: 85 USD of refunds beside the 10 USD that the intent holds
	if st, b := postForm(t, rt, key.Token(), "/v1/refunds", "refund", "charge", "ch_1", "amount", "8500"); st != 200 {
		t.Fatal(st, b)
	}
	st, b := postForm(t, rt, key.Token(), "/v1/payment_intents/"+pi, "edit", "amount", "9000", "currency", "usd")
	spent, held, limit := stands(t, w, key)
	t.Logf("status %d, %.120s; spent %d held %d limit %d", st, b, spent, held, limit)
	if st == 200 {
		t.Error("the retry was forwarded and executed, and nothing was reserved for it")
	}
	if spent+held > limit {
		t.Errorf("spent+held = %d > limit %d", spent+held, limit)
	}
}

// The same, and in between another operation takes the object over: then the retry attaches to a settled
// reservation, and the books never learn of the raise: nothing freezes.
func TestARetryOfARefusedEditIsHeldWhoeverHasTheObject(t *testing.T) {
	w := newWorld(t, nil)
	key := w.issue(t, "run_f1b", everything())
	rt := w.Transport(nil)
	_, body := postForm(t, rt, key.Token(), "/v1/payment_intents", "create", "amount", "1000", "currency", "usd", "payment_method", "pm_card_visa")
	pi := idOf(body)
	w.fake.Misbehave(fakevendor.Fault{PathContains: pi, Method: "POST", Kind: fakevendor.Status, Status: 409})
	postForm(t, rt, key.Token(), "/v1/payment_intents/"+pi, "edit", "amount", "9000", "currency", "usd")
	if st, b := postForm(t, rt, key.Token(), "/v1/payment_intents/"+pi, "same", "amount", "1000", "currency", "usd"); st != 200 {
		t.Fatal(st, b)
	}
	st, b := postForm(t, rt, key.Token(), "/v1/payment_intents/"+pi, "edit", "amount", "9000", "currency", "usd")
	spent, held, _ := stands(t, w, key)
	t.Logf("status %d; spent %d held %d", st, spent, held)
	if st == 200 && strings.Contains(b, "9000") && held < 90_000_000 {
		t.Errorf("the intent stands at 90 USD and %d is held", held)
	}
}

// gateRT sends the nth POST late: its reply is kept until released.
type gateRT struct {
	next http.RoundTripper
	mu   sync.Mutex
	hold func(*http.Request) chan struct{}
}

func (g *gateRT) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := g.next.RoundTrip(r)
	if g.hold != nil {
		g.mu.Lock()
		ch := g.hold(r)
		g.mu.Unlock()
		if ch != nil {
			<-ch
		}
	}
	return resp, err
}

// The first attempt is refused (429) and its reply is slow; the retry beside it is executed and its outcome is
// pending. Then the refusal arrives and gives the whole hold back.
func TestALateRefusalDoesNotGiveBackWhatTheRetryMade(t *testing.T) {
	slow, arrived := make(chan struct{}), make(chan struct{})
	n := 0
	g := &gateRT{}
	w := newWorld(t, func(c *keybrake.Config) {
		g.next = c.Base
		g.hold = func(r *http.Request) chan struct{} {
			if r.Method != "POST" {
				return nil
			}
			if n++; n == 1 {
				close(arrived)
				return slow
			}
			return nil
		}
		c.Base = g
	})
	key := w.issue(t, "run_f2", everything())
	rt := w.Transport(nil)
	w.fake.Misbehave(fakevendor.Fault{PathContains: "/payouts", Kind: fakevendor.Status, Status: 429})
	done := make(chan int)
	go func() {
		st, _ := postForm(t, rt, key.Token(), "/v1/payouts", "k", "amount", "9000", "currency", "usd")
		done <- st
	}()
	<-arrived
	st, b := postForm(t, rt, key.Token(), "/v1/payouts", "k", "amount", "9000", "currency", "usd")
	spent, held, _ := stands(t, w, key)
	t.Logf("retry: %d, spent %d held %d", st, spent, held)
	if st != 200 {
		t.Fatal(b)
	}
	close(slow)
	t.Log("first:", <-done)
	spent, held, _ = stands(t, w, key)
	t.Logf("afterwards spent %d held %d, executed %d", spent, held, w.executed())
	if spent+held < w.executed() {
		t.Errorf("the vendor has executed %d and the books say spent %d, held %d", w.executed(), spent, held)
	}
	st, _ = postForm(t, rt, key.Token(), "/v1/payouts", "k2", "amount", "9000", "currency", "usd")
	if st == 200 {
		t.Errorf("a second payout went through: %d executed under a limit of 100 USD", w.executed())
	}
}

// Two edits of one intent, whose replies come in the other order than they were executed: the older reply takes
// away what the newer holds.
func TestAnOlderReplyDoesNotLowerWhatANewerHolds(t *testing.T) {
	slow, arrived := make(chan struct{}), make(chan struct{})
	g := &gateRT{}
	w := newWorld(t, func(c *keybrake.Config) { g.next = c.Base; c.Base = g })
	key := w.issue(t, "run_f3", everything())
	rt := w.Transport(nil)
	_, body := postForm(t, rt, key.Token(), "/v1/payment_intents", "create", "amount", "100", "currency", "usd", "payment_method", "pm_card_visa")
	pi := idOf(body)
	n := 0
	g.hold = func(r *http.Request) chan struct{} {
		if n++; n == 1 {
			close(arrived)
			return slow
		}
		return nil
	}
	done := make(chan int)
	go func() {
		st, _ := postForm(t, rt, key.Token(), "/v1/payment_intents/"+pi, "low", "amount", "100", "currency", "usd")
		done <- st
	}()
	<-arrived // executed; its reply is on the way
	if st, b := postForm(t, rt, key.Token(), "/v1/payment_intents/"+pi, "high", "amount", "9000", "currency", "usd"); st != 200 {
		t.Fatal(b)
	}
	_, held, _ := stands(t, w, key)
	t.Logf("after the raise %d is held", held)
	close(slow)
	<-done
	spent, held, _ := stands(t, w, key)
	if held < 90_000_000 {
		t.Errorf("the intent stands at 90 USD at the vendor; spent %d, held %d", spent, held)
	}
}

// No concurrency is needed: an edit in doubt (its reply was lost) is retried after a newer edit. The vendor
// replays the old reply, which takes away what the newer edit holds.
func TestAReplayedReplyDoesNotLowerWhatANewerHolds(t *testing.T) {
	w := newWorld(t, nil)
	key := w.issue(t, "run_f3b", everything())
	rt := w.Transport(nil)
	_, body := postForm(t, rt, key.Token(), "/v1/payment_intents", "create", "amount", "100", "currency", "usd", "payment_method", "pm_card_visa")
	pi := idOf(body)
	w.fake.Misbehave(fakevendor.Fault{PathContains: pi, Method: "POST", Kind: fakevendor.DropAfter})
	postForm(t, rt, key.Token(), "/v1/payment_intents/"+pi, "low", "amount", "100", "currency", "usd")
	if st, b := postForm(t, rt, key.Token(), "/v1/payment_intents/"+pi, "high", "amount", "9000", "currency", "usd"); st != 200 {
		t.Fatal(b)
	}
	st, _ := postForm(t, rt, key.Token(), "/v1/payment_intents/"+pi, "low", "amount", "100", "currency", "usd")
	spent, held, _ := stands(t, w, key)
	if held < 90_000_000 {
		t.Errorf("retry %d: the intent stands at 90 USD at the vendor; spent %d, held %d", st, spent, held)
	}
	// the budget is free again, although 90 USD can be confirmed with the client secret
	w.fake.SeedCharge("ch_1", 500000, "usd")
	if st, _ := postForm(t, rt, key.Token(), "/v1/refunds", "r", "charge", "ch_1", "amount", "9800"); st == 200 {
		t.Errorf("98 USD more were let through under a limit of 100 USD")
	}
}

// A rule with a ceiling: the agent makes a call "unpriceable" by one parameter and so escapes price and
// MaxPerCall alike, although its amount stands in the request.
func TestACeilingDoesNotHideAKnownAmount(t *testing.T) {
	w := newWorld(t, nil)
	key := w.issue(t, "run_f4", policy.Policy{
		Allow:   []policy.Rule{{Operation: "stripe.payouts.create", MaxPerCall: policy.USD("20"), Ceiling: policy.USD("20")}},
		Budgets: []policy.Budget{policy.Lifetime(policy.USD("100"))},
	})
	st, b := postForm(t, w.Transport(nil), key.Token(), "/v1/payouts", "", "amount", "100000000", "currency", "usd", "method", "instant")
	spent, held, _ := stands(t, w, key)
	if w.executed() > 100_000_000 {
		t.Errorf("status %d %.80s: the vendor has paid out %d micro-USD under a limit of 100 USD and MaxPerCall 20; spent %d held %d", st, b, w.executed(), spent, held)
	}
}

// MaxPerCall in units is not asked where the ceiling is what is reserved, although the units are known.
func TestUnitsAreJudgedUnderACeiling(t *testing.T) {
	w := newWorld(t, nil)
	key := w.issue(t, "run_f5", policy.Policy{
		Allow:   []policy.Rule{{Operation: "twilio.messages.create", MaxPerCall: policy.Units(1), Ceiling: policy.USD("1")}},
		Budgets: []policy.Budget{policy.Lifetime(policy.USD("100"))},
	})
	send := func(to string) (int, string) {
		v := url.Values{"To": {to}, "From": {"+14155550100"}, "Body": {strings.Repeat("x", 1500)}}
		req, _ := http.NewRequest("POST", "https://api.twilio.com/2010-04-01/Accounts/"+twilioAccount+"/Messages.json", strings.NewReader(v.Encode()))
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		req.SetBasicAuth(twilioAccount, key.Token())
		resp, err := w.Transport(nil).RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(resp.Body)
		return resp.StatusCode, string(b)
	}
	if st, b := send("+14155550101"); st != 403 {
		t.Fatal("priced:", st, b)
	}
	st, b := send("+18005550101") // toll-free: no country, no rate
	if st < 300 {
		t.Errorf("10 segments went out under MaxPerCall of 1 unit: %d %.100s", st, b)
	}
}

// A ceiling of units: what is reserved then is no money, for a call that costs money nobody knows.
func TestACeilingOfACountIsNoneForMoney(t *testing.T) {
	w := newWorld(t, nil)
	key := w.issue(t, "run_1", policy.Policy{
		Allow:   []policy.Rule{{Operation: "twilio.messages.create", Ceiling: policy.Units(10)}},
		Budgets: []policy.Budget{policy.Lifetime(policy.USD("100")), policy.Lifetime(policy.Units(100))},
	})
	d := denial(t, w.Transport(nil), request(t, "POST", "https://api.twilio.com/2010-04-01/Accounts/"+twilioAccount+"/Messages.json", key.Token(), formType, "To=%2B18005550101&From=%2B14155550100&Body=x"))
	if d == nil || d.Reason != reason.CostUnknown {
		t.Errorf("got %v", d)
	}
	if n := len(w.fake.Executions()); n != 0 {
		t.Errorf("the vendor has executed %d calls", n)
	}
}

// A renewed key of the same run with a lower limit for one call: its retry of an earlier attempt whose amount was
// looked up is not judged.
func TestARetryUnderARenewedKeyIsJudgedByItsPolicy(t *testing.T) {
	w := newWorld(t, nil)
	w.fake.SeedCharge("ch_1", 9000, "usd")
	rt := w.Transport(nil)
	old := w.issue(t, "run_f6", everything())
	w.fake.Misbehave(fakevendor.Fault{PathContains: "/refunds", Kind: fakevendor.DropBefore})
	postForm(t, rt, old.Token(), "/v1/refunds", "k", "charge", "ch_1")
	if _, err := w.Revoke(t.Context(), keybrake.ByKey("acme", old.ID)); err != nil {
		t.Fatal(err)
	}
	renewed := w.issue(t, "run_f6", policy.Policy{
		Allow:   []policy.Rule{{Operation: "stripe.refunds.create", MaxPerCall: policy.USD("10")}},
		Budgets: []policy.Budget{policy.Lifetime(policy.USD("10"))},
	})
	st, b := postForm(t, rt, renewed.Token(), "/v1/refunds", "k", "charge", "ch_1")
	if st == 200 {
		t.Errorf("a key with MaxPerCall 10 USD made a refund of %d micro-USD: %.80s", w.executed(), b)
	}
}

// Executed() with no lines gives all money back.
func TestExecutedWithoutItsCostIsRefused(t *testing.T) {
	w := newWorld(t, nil)
	w.fake.SeedCharge("ch_1", 9000, "usd")
	key := w.issue(t, "run_f7", everything())
	w.fake.Misbehave(fakevendor.Fault{PathContains: "/refunds", Kind: fakevendor.DropAfter})
	postForm(t, w.Transport(nil), key.Token(), "/v1/refunds", "k", "charge", "ch_1")
	doubts, _ := w.InDoubt(t.Context(), "acme")
	if len(doubts) != 1 {
		t.Fatal(doubts)
	}
	err := w.Resolve(t.Context(), "acme", doubts[0].ID, keybrake.Executed())
	spent, held, _ := stands(t, w, key)
	if err == nil && spent+held < w.executed() {
		t.Errorf("resolved as executed: spent %d held %d, executed %d", spent, held, w.executed())
	}
}

// A ceiling of nothing.
func TestACeilingOfNothingIsRefused(t *testing.T) {
	w := newWorld(t, nil)
	key, err := w.Issue(t.Context(), grant("run_f8", policy.Policy{
		Allow:   []policy.Rule{{Operation: "stripe.payouts.create", Ceiling: policy.USD("0")}},
		Budgets: []policy.Budget{policy.Lifetime(policy.USD("1"))},
	}))
	if err != nil {
		t.Log("refused:", err)
		return
	}
	for range 2 {
		postForm(t, w.Transport(nil), key.Token(), "/v1/payouts", "", "amount", "5000", "currency", "usd", "method", "instant")
	}
	if w.executed() > 1_000_000 {
		t.Errorf("paid out %d with a ceiling of 0 and a limit of 1 USD", w.executed())
	}
}

// Issue drops a limit that is not below the row's at that moment; SetBudget then raises the row.
func TestALimitOnASharedBudgetStays(t *testing.T) {
	w := newWorld(t, nil)
	w.fake.SeedCharge("ch_1", 500000, "usd")
	team := func(usd string) policy.Budget { return policy.Lifetime(policy.USD(usd)).Shared("team:x") }
	if err := w.SetBudget(t.Context(), "acme", team("50")); err != nil {
		t.Fatal(err)
	}
	key := w.issue(t, "run_f9", policy.Policy{Allow: []policy.Rule{{Operation: "stripe.*"}}, Budgets: []policy.Budget{team("60")}})
	if err := w.SetBudget(t.Context(), "acme", team("1000")); err != nil {
		t.Fatal(err)
	}
	st, _ := postForm(t, w.Transport(nil), key.Token(), "/v1/refunds", "", "charge", "ch_1", "amount", "50000")
	if st == 200 {
		t.Errorf("the key's policy says at most 60 USD and it spent %d", w.executed())
	}
}

// A vendor that echoes Basic credentials without padding, or with = escaped as JSON writers for HTML do.
func TestAnEchoedCredentialIsScrubbedInItsOtherForms(t *testing.T) {
	for name, form := range map[string]func(string) string{
		"without padding": func(s string) string { return strings.TrimRight(s, "=") },
		"escaped":         func(s string) string { return strings.ReplaceAll(s, "=", `\u003d`) },
		"hex":             func(s string) string { return fmt.Sprintf("%x", s) },
	} {
		w := newWorld(t, func(c *keybrake.Config) {
			next := c.Base
			c.Base = tripFunc(func(r *http.Request) (*http.Response, error) {
				resp, err := next.RoundTrip(r)
				if err == nil {
					_, cred, _ := strings.Cut(r.Header.Get("Authorization"), " ")
					resp.Body = io.NopCloser(strings.NewReader(`{"messages":[],"echo":"` + form(cred) + `"}`))
					resp.ContentLength = -1
				}
				return resp, err
			})
		})
		key := w.issue(t, "run_f10", everything())
		req, _ := http.NewRequest("GET", "https://api.twilio.com/2010-04-01/Accounts/"+twilioAccount+"/Messages.json", nil)
		req.SetBasicAuth(twilioAccount, key.Token())
		resp, err := w.Transport(nil).RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(resp.Body)
		plain := base64.StdEncoding.EncodeToString([]byte(twilioAccount + ":" + twilioSecret))
		if bytes.Contains(b, []byte(form(plain))) {
			t.Errorf("%s: the reply shows %s", name, b)
		}
	}
}

// Whoever writes the ledger chooses what a retry sends: the memo is sent as it stands.
type memoWriter struct {
	*memory.Ledger
}

func (m memoWriter) Reserve(ctx context.Context, r ledger.Request) (ledger.Hold, error) {
	h, err := m.Ledger.Reserve(ctx, r)
	if h.Attached {
		h.Memo = `{"kind":2,"lines":[{"meter":"outflow","currency":"USD","amount":1000000}],"send":[{"Name":"amount","Value":"400000"},{"Name":"reverse_transfer","Value":"true"}],"object":""}`
	}
	return h, err
}

func TestAWriterOfTheLedgerCannotChooseWhatARetrySends(t *testing.T) {
	w := newWorld(t, func(c *keybrake.Config) { c.Ledger = memoWriter{memory.New()} })
	w.fake.SeedCharge("ch_1", 500000, "usd")
	key := w.issue(t, "run_f11", policy.Policy{
		Allow:   []policy.Rule{{Operation: "stripe.refunds.create", MaxPerCall: policy.USD("10")}},
		Budgets: []policy.Budget{policy.Lifetime(policy.USD("10"))},
	})
	w.fake.Misbehave(fakevendor.Fault{PathContains: "/refunds", Kind: fakevendor.DropBefore})
	postForm(t, w.Transport(nil), key.Token(), "/v1/refunds", "k", "charge", "ch_1", "amount", "100")
	postForm(t, w.Transport(nil), key.Token(), "/v1/refunds", "k", "charge", "ch_1", "amount", "100")
	if w.executed() > 10_000_000 {
		t.Errorf("a writer of the ledger made a key of 10 USD refund %d: %s", w.executed(), w.writes()[len(w.writes())-1].Body)
	}
}

// A zero Transport panics.
func TestAZeroTransportForwardsNothing(t *testing.T) {
	defer func() {
		if r := recover(); r != nil {
			t.Errorf("panic: %v", r)
		}
	}()
	req, _ := http.NewRequest("GET", "https://api.stripe.com/v1/balance", nil)
	resp, err := (&keybrake.Transport{}).RoundTrip(req)
	t.Log(resp, err)
}

// A lower ceiling in a renewed key lowers what the retry books.
func TestARetryBooksByTheFirstAttemptsCeiling(t *testing.T) {
	w := newWorld(t, nil)
	rt := w.Transport(nil)
	pol := func(ceiling string) policy.Policy {
		return policy.Policy{
			Allow:   []policy.Rule{{Operation: "stripe.payouts.create", Ceiling: policy.USD(ceiling)}},
			Budgets: []policy.Budget{policy.Lifetime(policy.USD("100"))},
		}
	}
	first := w.issue(t, "run_f13", pol("90"))
	w.fake.Misbehave(fakevendor.Fault{PathContains: "/payouts", Kind: fakevendor.DropAfter})
	postForm(t, rt, first.Token(), "/v1/payouts", "k", "amount", "5000", "currency", "usd", "method", "instant")
	_, held, _ := stands(t, w, first)
	second := w.issue(t, "run_f13", pol("55"))
	st, _ := postForm(t, rt, second.Token(), "/v1/payouts", "k", "amount", "5000", "currency", "usd", "method", "instant")
	spent, left, _ := stands(t, w, first)
	if spent+left < held {
		t.Errorf("retry %d: %d was held for amount and fee; now spent %d held %d", st, held, spent, left)
	}
}

// A person resolves a doubt while its retry is at the vendor.
func TestADoubtIsNotResolvedWhileARetryIsAtTheVendor(t *testing.T) {
	w := newWorld(t, nil)
	w.fake.SeedCharge("ch_1", 500000, "usd")
	key := w.issue(t, "run_f14", everything())
	rt := w.Transport(nil)
	w.fake.Misbehave(fakevendor.Fault{PathContains: "/refunds", Kind: fakevendor.DropBefore})
	postForm(t, rt, key.Token(), "/v1/refunds", "k", "charge", "ch_1", "amount", "9000")
	hold := make(chan struct{})
	w.fake.Misbehave(fakevendor.Fault{PathContains: "/refunds", Kind: fakevendor.BlockBefore, Hold: hold})
	done := make(chan int)
	n := len(w.fake.Received())
	go func() {
		st, _ := postForm(t, rt, key.Token(), "/v1/refunds", "k", "charge", "ch_1", "amount", "9000")
		done <- st
	}()
	waitFor(t, func() bool { return len(w.fake.Received()) > n && w.fake.Faults() == 0 })
	doubts, _ := w.InDoubt(t.Context(), "acme")
	err := w.Resolve(t.Context(), "acme", doubts[0].ID, keybrake.NotExecuted())
	if err == nil {
		t.Error("resolved, although a call under this reservation is in flight")
		postForm(t, rt, key.Token(), "/v1/refunds", "k2", "charge", "ch_1", "amount", "9000")
	}
	close(hold)
	<-done
	if spent, held, limit := stands(t, w, key); w.executed() > limit {
		t.Errorf("executed %d under a limit of %d; spent %d held %d", w.executed(), limit, spent, held)
	}
}

// An adapter that answers an outcome which is none of the four: the hold is settled at nothing, and the record
// of it panics.
func TestAnOutcomeThatIsNoneIsADoubt(t *testing.T) {
	w := newWorld(t, func(c *keybrake.Config) {
		v := kbstripe.New(nil)
		for i := range v.Operations {
			if v.Operations[i].Name == "stripe.refunds.create" {
				v.Operations[i].Outcome = func(*vendors.Call, *vendors.Reply) vendors.Outcome { return 7 }
			}
		}
		c.Vendors[0] = v
	})
	w.fake.SeedCharge("ch_1", 9000, "usd")
	key := w.issue(t, "run_f16", everything())
	func() {
		defer func() {
			if r := recover(); r != nil {
				t.Errorf("RoundTrip panics after the call was executed: %v", r)
			}
		}()
		postForm(t, w.Transport(nil), key.Token(), "/v1/refunds", "k", "charge", "ch_1")
	}()
	if spent, held, _ := stands(t, w, key); spent+held < w.executed() {
		t.Errorf("executed %d, spent %d held %d", w.executed(), spent, held)
	}
}

// A retry attached to a first attempt that overran: who is frozen.
func TestAnOverrunOfARetryStopsItsKeyToo(t *testing.T) {
	w := newWorld(t, nil)
	w.fake.SeedCharge("ch_1", 900000, "usd")
	rt := w.Transport(nil)
	old := w.issue(t, "run_f19", everything())
	w.fake.Misbehave(fakevendor.Fault{PathContains: "/refunds", Kind: fakevendor.DropBefore})
	postForm(t, rt, old.Token(), "/v1/refunds", "k", "charge", "ch_1", "amount", "1000")
	renewed := w.issue(t, "run_f19", everything())
	w.fake.Misbehave(fakevendor.Fault{PathContains: "/refunds", Kind: fakevendor.Overcharge})
	postForm(t, rt, renewed.Token(), "/v1/refunds", "k", "charge", "ch_1", "amount", "1000")
	st, _ := postForm(t, rt, renewed.Token(), "/v1/refunds", "k3", "charge", "ch_1", "amount", "1000")
	if st == 200 {
		t.Errorf("the key whose call overran goes on; frozen is the old one")
	}
}
