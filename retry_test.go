package keybrake_test

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"testing"
	"time"

	"github.com/resend/resend-go/v2"
	"github.com/stripe/stripe-go/v76"
	stripeclient "github.com/stripe/stripe-go/v76/client"

	"github.com/keybrake/keybrake-go"
	"github.com/keybrake/keybrake-go/audit"
	"github.com/keybrake/keybrake-go/internal/fakevendor"
	"github.com/keybrake/keybrake-go/ledger"
	"github.com/keybrake/keybrake-go/ledger/memory"
	"github.com/keybrake/keybrake-go/policy"
	"github.com/keybrake/keybrake-go/reason"
)

// This file says that a retry is the same spend, that it passes every check again, and that a write which nothing
// protects is not sent twice. What was really executed is told by the fake vendor, never by our own books.

func TestRetries(t *testing.T) {
	w := newWorld(t, nil) // one for all, because a brake takes a while to make
	for name, test := range map[string]func(*testing.T, *world){
		"a retry of Stripe's SDK is one spend":                                   stripesRetryIsOneSpend,
		"a retry passes every check again":                                       aRetryPassesEveryCheckAgain,
		"a revoke does not call back what is at the vendor, and stops its retry": aRevokeDuringTheFirstAttempt,
		"a retry beside its first attempt is one spend":                          aRetryBesideItsFirstAttempt,
		"a retry needs no room in the budget":                                    aRetryNeedsNoRoom,
		"a retry of an amount that was looked up sends the same amount":          aRetrySendsTheSameAmount,
		"the vendor's refusal of a retry does not release the first attempt":     aRefusalOfARetryReleasesNothing,
		"a request that was refused claims no key":                               aRefusedRequestClaimsNoKey,
		"an idempotency key names one request of one run":                        aKeyNamesOneRequestOfOneRun,
		"a write that nothing protects is sent once":                             aWriteThatNothingProtects,
		"Twilio's SDK does not send an action twice":                             twiliosSDKSendsAnActionOnce,
		"a mail that is sent again under its key is one spend":                   aMailSentAgain,
	} {
		t.Run(name, func(t *testing.T) { test(t, w) })
	}
}

// A spender is an agent with a key of its own run, at a vendor that has just been started.
type spender struct {
	*world
	t     *testing.T
	key   keybrake.Key
	count *tripCounter
	sc    *stripeclient.API
	from  int // how many records there were before

	// after is called after each round trip, with its number from 1.
	after func(trip int)
}

// spend starts the vendor anew, with a charge of 5000 USD, and gives an agent a key.
func (w *world) spend(t *testing.T, p policy.Policy) *spender {
	t.Helper()
	w.fake.Reset()
	w.fake.SeedCharge("ch_1", 500000, "usd")
	return w.spender(t, w.issue(t, fmt.Sprintf("run_%d", len(w.sink.Records())), p))
}

func (w *world) spender(t *testing.T, key keybrake.Key) *spender {
	s := &spender{world: w, t: t, key: key, from: len(w.sink.Records())}
	s.count = &tripCounter{next: w.Transport(nil)}
	hc := w.Client()
	hc.Transport = tripFunc(func(r *http.Request) (*http.Response, error) {
		resp, err := s.count.RoundTrip(r)
		if s.after != nil {
			s.after(s.count.trips)
		}
		return resp, err
	})
	s.sc = stripeSDK(hc, key.Token())
	return s
}

// makeRefund gives cents back, under the key order-1 if keyed, else under one that stripe-go makes for the call.
func (s *spender) refund(cents int64, key string) error {
	p := &stripe.RefundParams{Charge: stripe.String("ch_1")}
	if cents > 0 {
		p.Amount = stripe.Int64(cents)
	}
	if key != "" {
		p.SetIdempotencyKey(key)
	}
	_, err := s.sc.Refunds.New(p)
	return err
}

// intent leaves a payment intent of 20 USD that can be confirmed.
func (s *spender) intent() string {
	s.t.Helper()
	pi, err := s.sc.PaymentIntents.New(&stripe.PaymentIntentParams{
		Amount: stripe.Int64(2000), Currency: stripe.String("usd"), PaymentMethod: stripe.String("pm_card_visa"),
	})
	if err != nil {
		s.t.Fatal(err)
	}
	s.count.trips = 0
	return pi.ID
}

// wantTrips says how many times the SDK has called.
func (s *spender) wantTrips(n int) {
	s.t.Helper()
	if s.count.trips != n {
		s.t.Errorf("%d round trips, want %d", s.count.trips, n)
	}
}

// wantBooks compares the key's first budget with the vendor's own log, in whole USD.
func (s *spender) wantBooks(spent, held, executed int64) {
	s.t.Helper()
	states, err := s.Balance(s.t.Context(), s.key.Token())
	if err != nil {
		s.t.Fatal(err)
	}
	if b := states[0]; b.Spent != spent*1e6 || b.Held != held*1e6 {
		s.t.Errorf("spent %d and held %d, want %d and %d USD", b.Spent, b.Held, spent, held)
	}
	if got := s.executed(); got != executed*1e6 {
		s.t.Errorf("the vendor has executed %d, want %d USD", got, executed)
	}
}

// executed is what the vendor has really taken, in micro-USD.
func (w *world) executed() int64 {
	var sum int64
	for meter, amounts := range w.fake.Spent() {
		if meter != fakevendor.MeterInflow {
			sum += amounts["USD"]
		}
	}
	return sum
}

// writes are the requests that reached the vendor and could cost.
func (w *world) writes() []fakevendor.Received {
	var writes []fakevendor.Received
	for _, r := range w.fake.Received() {
		if r.Method != http.MethodGet {
			writes = append(writes, r)
		}
	}
	return writes
}

// wantSameWrites says that all sends were one request under one key, n times.
func (s *spender) wantSameWrites(n int) {
	s.t.Helper()
	writes := s.writes()
	if len(writes) != n {
		s.t.Fatalf("%d writes reached the vendor, want %d", len(writes), n)
	}
	for _, w := range writes[1:] {
		if string(w.Body) != string(writes[0].Body) || w.Header.Get("Idempotency-Key") != writes[0].Header.Get("Idempotency-Key") {
			s.t.Errorf("a retry sent %s under %s, the first %s under %s", w.Body, w.Header.Get("Idempotency-Key"), writes[0].Body, writes[0].Header.Get("Idempotency-Key"))
		}
	}
	if key := writes[0].Header.Get("Idempotency-Key"); key == "" || key == "order-1" {
		s.t.Errorf("the vendor got the key %q; it has to be the brake's own", key)
	}
}

// wantRefused says that err is a refusal for this reason.
func wantRefused(t testing.TB, err error, code reason.Code) *keybrake.Denial {
	t.Helper()
	d, ok := keybrake.DenialFrom(err)
	if !ok || d.Reason != code {
		t.Fatalf("got %v, want %s", err, code)
	}
	return d
}

// What stripe-go does after each mishap, and what it comes to, for a refund of 20 USD.
func stripesRetryIsOneSpend(t *testing.T, w *world) {
	for _, c := range []struct {
		name        string
		fault       fakevendor.Fault
		trips       int
		spent, held int64
		executed    int64
		fails       bool
	}{
		{name: "the connection breaks after it was executed", fault: fakevendor.Fault{Kind: fakevendor.DropAfter}, trips: 2, spent: 20, executed: 20},
		{name: "it breaks twice", fault: fakevendor.Fault{Kind: fakevendor.DropAfter, Times: 2}, trips: 3, spent: 20, executed: 20},
		{name: "it breaks every time", fault: fakevendor.Fault{Kind: fakevendor.DropAfter, Times: 3}, trips: 3, held: 20, executed: 20, fails: true},
		{name: "the connection breaks before it was executed", fault: fakevendor.Fault{Kind: fakevendor.DropBefore}, trips: 2, spent: 20, executed: 20},
		{name: "the reply breaks off", fault: fakevendor.Fault{Kind: fakevendor.Truncate}, trips: 2, spent: 20, executed: 20},
		{name: "a page comes in place of the reply", fault: fakevendor.Fault{Kind: fakevendor.HTMLAfter}, trips: 2, spent: 20, executed: 20},
		{name: "a page comes in place of the reply, under status 200", fault: fakevendor.Fault{Kind: fakevendor.BadJSON}, trips: 1, held: 20, executed: 20, fails: true},
		{name: "a page comes and nothing is executed", fault: fakevendor.Fault{Kind: fakevendor.HTML}, trips: 2, spent: 20, executed: 20},
		{name: "503 and nothing is executed", fault: fakevendor.Fault{Kind: fakevendor.Status, Status: 503}, trips: 2, spent: 20, executed: 20},
		{name: "503 after it was executed, which Stripe repeats", fault: fakevendor.Fault{Kind: fakevendor.StatusAfter, Status: 503}, trips: 3, held: 20, executed: 20, fails: true},
		{name: "500, which this SDK does not retry", fault: fakevendor.Fault{Kind: fakevendor.StatusAfter, Status: 500}, trips: 1, held: 20, executed: 20, fails: true},
		{name: "409 that says lock_timeout: not executed, so the retry is the spend", fault: fakevendor.Fault{Kind: fakevendor.Status, Status: 409}, trips: 2, spent: 20, executed: 20},
		{name: "a success that asks to be sent again", fault: fakevendor.Fault{Kind: fakevendor.Delay, Header: http.Header{"Stripe-Should-Retry": {"true"}}}, trips: 2, spent: 20, executed: 20},
		{name: "400", fault: fakevendor.Fault{Kind: fakevendor.Status, Status: 400}, trips: 1, fails: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := w.spend(t, everything())
			c.fault.PathContains = "/refunds"
			w.fake.Misbehave(c.fault)
			if err := s.refund(2000, ""); (err != nil) != c.fails {
				t.Errorf("the SDK's call: %v", err)
			}
			s.wantTrips(c.trips)
			s.wantSameWrites(c.trips)
			s.wantBooks(c.spent, c.held, c.executed)
			if w.fake.Faults() != 0 {
				t.Error("the fault did not happen")
			}
		})
	}
}

func aRetryPassesEveryCheckAgain(t *testing.T, w *world) {
	for name, c := range map[string]struct {
		stop func(*spender) (keybrake.Selector, bool)
		want reason.Code
	}{
		"after its run was revoked": {func(s *spender) (keybrake.Selector, bool) { return keybrake.ByKey("acme", s.key.ID), true }, reason.KeyRevoked},
		"after its key was paused":  {func(s *spender) (keybrake.Selector, bool) { return keybrake.ByKey("acme", s.key.ID), false }, reason.KeyPaused},
	} {
		t.Run(name, func(t *testing.T) {
			s := w.spend(t, everything())
			w.fake.Misbehave(fakevendor.Fault{PathContains: "/refunds", Kind: fakevendor.DropAfter})
			s.after = func(trip int) {
				if trip != 1 {
					return
				}
				verb := w.Pause
				selector, final := c.stop(s)
				if final {
					verb = w.Revoke
				}
				if _, err := verb(t.Context(), selector); err != nil {
					t.Error(err)
				}
			}
			wantRefused(t, s.refund(2000, ""), c.want)
			s.wantTrips(2)
			s.wantSameWrites(1)
			s.wantBooks(0, 20, 20) // what the first attempt holds stays held
		})
	}
}

// A call that is at the vendor when its run is revoked is not called back: it is booked. What comes after it is not
// forwarded, not even as its retry.
func aRevokeDuringTheFirstAttempt(t *testing.T, w *world) {
	s := w.spend(t, everything())
	release, done := make(chan struct{}), make(chan error, 1)
	w.fake.Misbehave(fakevendor.Fault{PathContains: "/refunds", Kind: fakevendor.BlockAfter, Hold: release})
	go func() { done <- s.refund(2000, "order-1") }()
	waitFor(t, func() bool { return len(w.fake.Executions()) == 1 })
	if _, err := w.Revoke(t.Context(), keybrake.ByKey("acme", s.key.ID)); err != nil {
		t.Fatal(err)
	}
	second := w.spender(t, s.key)
	wantRefused(t, second.refund(2000, "order-1"), reason.KeyRevoked)
	close(release)
	if err := <-done; err != nil {
		t.Errorf("the call that was under way: %v", err)
	}
	s.wantSameWrites(1)
	s.wantBooks(20, 0, 20)
}

func aRetryBesideItsFirstAttempt(t *testing.T, w *world) {
	s := w.spend(t, everything())
	release, done := make(chan struct{}), make(chan error, 1)
	w.fake.Misbehave(fakevendor.Fault{PathContains: "/refunds", Kind: fakevendor.BlockAfter, Hold: release})
	go func() { done <- s.refund(2000, "order-1") }()
	waitFor(t, func() bool { return len(w.fake.Executions()) == 1 })

	second := w.spender(t, s.key)
	err := second.refund(2000, "order-1") // Stripe says 409: the first is in progress
	if _, denied := keybrake.DenialFrom(err); err == nil || denied {
		t.Errorf("the second attempt: %v", err)
	}
	s.wantBooks(0, 20, 20)
	close(release)
	if err := <-done; err != nil {
		t.Error(err)
	}
	s.wantBooks(20, 0, 20)
}

func aRetryNeedsNoRoom(t *testing.T, w *world) {
	if err := w.SetBudget(t.Context(), "acme", policy.Lifetime(policy.USD("50")).Shared("team:support")); err != nil {
		t.Fatal(err)
	}
	team := policy.Policy{Allow: []policy.Rule{{Operation: "stripe.refunds.create"}}, Budgets: []policy.Budget{policy.Scoped("team:support")}}
	s := w.spend(t, team)
	other := w.spender(t, w.issue(t, "run_other", team))
	w.fake.Misbehave(fakevendor.Fault{PathContains: "/refunds", Kind: fakevendor.DropAfter})
	s.after = func(trip int) {
		if trip != 1 {
			return
		}
		if err := other.refund(3000, ""); err != nil { // the rest of the budget
			t.Error(err)
		}
		wantRefused(t, other.refund(1, ""), reason.BudgetExceeded)
	}
	if err := s.refund(2000, ""); err != nil {
		t.Errorf("the retry: %v", err)
	}
	s.wantTrips(2)
	s.wantBooks(50, 0, 50)
	records := w.sink.Records()
	if last := records[len(records)-1]; !last.Attached || last.Attempt != 2 || last.Reservation == "" || last.Outcome != "executed" {
		t.Errorf("on record is %+v, want the retry as attached to the first attempt's reservation", last)
	}
}

// A refund whose amount was read at the vendor sends that amount again, whatever has happened to the charge since.
func aRetrySendsTheSameAmount(t *testing.T, w *world) {
	plenty := everything()
	plenty.Budgets = []policy.Budget{policy.Lifetime(policy.USD("10000"))}
	for _, c := range []struct {
		name        string
		kind        fakevendor.FaultKind
		fails       bool
		spent, held int64
		executed    int64
	}{
		{"the first was executed, which the vendor repeats", fakevendor.DropAfter, false, 5000, 0, 5000},
		{"the first was not executed, and the vendor refuses what is no longer there", fakevendor.DropBefore, true, 0, 5000, 30},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := w.spend(t, plenty)
			other := w.spender(t, w.issue(t, "run_other", plenty))
			w.fake.Misbehave(fakevendor.Fault{PathContains: "/refunds", Kind: c.kind})
			s.after = func(trip int) {
				if trip == 1 {
					_ = other.refund(3000, "") // in vain where all was refunded
				}
			}
			if err := s.refund(0, ""); (err != nil) != c.fails {
				t.Errorf("the retry: %v", err)
			}
			s.wantTrips(2)
			var sent []string
			for _, r := range w.writes() {
				form, err := url.ParseQuery(string(r.Body))
				if err != nil {
					t.Fatal(err)
				}
				if amount := form.Get("amount"); amount != "3000" {
					sent = append(sent, amount)
				}
			}
			if fmt.Sprint(sent) != "[500000 500000]" {
				t.Errorf("sent %v, want the same amount twice", sent)
			}
			s.wantBooks(c.spent, c.held, c.executed)
		})
	}
}

// What the vendor says to a retry is about the retry: it proves nothing about the attempt before.
func aRefusalOfARetryReleasesNothing(t *testing.T, w *world) {
	for _, status := range []int{400, 401, 402, 403, 404, 429} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			s := w.spend(t, everything())
			w.fake.Misbehave(fakevendor.Fault{PathContains: "/refunds", Kind: fakevendor.DropAfter})
			w.fake.Misbehave(fakevendor.Fault{PathContains: "/refunds", Kind: fakevendor.Status, Status: status})
			if err := s.refund(2000, "order-1"); err == nil {
				t.Error("the vendor's refusal did not reach the caller")
			}
			s.wantTrips(2)
			s.wantBooks(0, 20, 20)
			if err := s.refund(2000, "order-1"); err != nil {
				t.Errorf("a third attempt: %v", err)
			}
			s.wantSameWrites(3)
			s.wantBooks(20, 0, 20)
		})
	}
}

func aKeyNamesOneRequestOfOneRun(t *testing.T, w *world) {
	s := w.spend(t, everything())
	if err := s.refund(2000, "order-1"); err != nil {
		t.Fatal(err)
	}
	wantRefused(t, s.refund(2001, "order-1"), reason.IdempotencyConflict)
	s.wantSameWrites(1)
	s.wantBooks(20, 0, 20)

	other := w.spender(t, w.issue(t, "run_other", everything()))
	if err := other.refund(3000, "order-1"); err != nil {
		t.Errorf("another run's request under the same key: %v", err)
	}
	other.wantBooks(30, 0, 50)
	if writes := w.writes(); len(writes) != 2 || writes[0].Header.Get("Idempotency-Key") == writes[1].Header.Get("Idempotency-Key") {
		t.Errorf("two runs share a key at the vendor")
	}

	renewed := w.spender(t, w.issue(t, "run_other", everything()))
	if _, err := w.Revoke(t.Context(), keybrake.ByKey("acme", other.key.ID)); err != nil {
		t.Fatal(err)
	}
	if err := renewed.refund(3000, "order-1"); err != nil {
		t.Errorf("a retry with a renewed key of the run: %v", err)
	}
	renewed.wantBooks(0, 0, 50) // the spend is the first key's
}

// What was refused has claimed nothing: the same request goes through once its budget has room.
func aRefusedRequestClaimsNoKey(t *testing.T, w *world) {
	limit := func(usd string) {
		if err := w.SetBudget(t.Context(), "acme", policy.Lifetime(policy.USD(usd)).Shared("refunds")); err != nil {
			t.Fatal(err)
		}
	}
	limit("10")
	s := w.spend(t, policy.Policy{Allow: []policy.Rule{{Operation: "stripe.refunds.create"}}, Budgets: []policy.Budget{policy.Scoped("refunds")}})
	wantRefused(t, s.refund(2000, "order-1"), reason.BudgetExceeded)
	limit("20")
	if err := s.refund(2000, "order-1"); err != nil {
		t.Errorf("after the budget was raised: %v", err)
	}
	s.wantBooks(20, 0, 20)
	if n := len(s.doubts()); n != 0 {
		t.Errorf("%d reservations were left behind", n)
	}
}

// The vendor forgets a key after a day. What comes under it afterwards is executed, so it is a spend of its own, and
// what an earlier attempt holds is still not known.
func TestARetryThatTheVendorNoLongerKnowsIsANewSpend(t *testing.T) {
	for _, c := range []struct {
		name        string
		later       time.Duration
		spent, held int64
		executed    int64
	}{
		{"a minute before", 23*time.Hour - time.Minute, 20, 0, 20},
		{"after 23 hours", 23 * time.Hour, 20, 20, 40},
	} {
		t.Run(c.name, func(t *testing.T) {
			clock := time.Now()
			books := memory.New()
			books.Now = func() time.Time { return clock }
			w := newWorld(t, func(config *keybrake.Config) { config.Ledger = books })
			w.fake.SeedCharge("ch_1", 500000, "usd")
			day := grant("run_1", everything())
			day.TTL = 24 * time.Hour
			key, err := w.Issue(t.Context(), day)
			if err != nil {
				t.Fatal(err)
			}
			s := w.spender(t, key)
			w.fake.Misbehave(fakevendor.Fault{PathContains: "/refunds", Kind: fakevendor.DropAfter})
			s.after = func(trip int) {
				if trip != 1 {
					return
				}
				clock = clock.Add(c.later)
				if c.later >= 23*time.Hour {
					w.fake.ForgetKeys()
				}
			}
			if err := s.refund(2000, ""); err != nil {
				t.Error(err)
			}
			s.wantTrips(2)
			s.wantBooks(c.spent, c.held, c.executed)
		})
	}
}

// Without parameters stripe-go sends no idempotency key, and sends again all the same. The brake ends that with an
// error that the SDK does not retry, wherever the outcome is not known.
func aWriteThatNothingProtects(t *testing.T, w *world) {
	again := http.Header{"Stripe-Should-Retry": {"true"}}
	for _, c := range []struct {
		name        string
		fault       fakevendor.Fault
		doubt       bool
		spent, held int64
		executed    int64
		fails       bool
	}{
		{name: "the connection breaks after it was executed", fault: fakevendor.Fault{Kind: fakevendor.DropAfter}, doubt: true, held: 20, executed: 20},
		{name: "the connection breaks before it was executed", fault: fakevendor.Fault{Kind: fakevendor.DropBefore}, doubt: true, held: 20},
		{name: "a page comes under status 200", fault: fakevendor.Fault{Kind: fakevendor.BadJSON}, doubt: true, held: 20, executed: 20},
		{name: "JSON comes that is no object of Stripe's", fault: fakevendor.Fault{Kind: fakevendor.BadJSON, Body: `{"ok":true}`}, doubt: true, held: 20, executed: 20},
		{name: "a page comes under status 502", fault: fakevendor.Fault{Kind: fakevendor.HTMLAfter}, doubt: true, held: 20, executed: 20},
		{name: "the reply breaks off", fault: fakevendor.Fault{Kind: fakevendor.Truncate}, doubt: true, held: 20, executed: 20},
		{name: "half a reply comes as a whole one", fault: fakevendor.Fault{Kind: fakevendor.TruncateClean}, doubt: true, held: 20, executed: 20},
		{name: "500", fault: fakevendor.Fault{Kind: fakevendor.StatusAfter, Status: 500}, doubt: true, held: 20, executed: 20},
		{name: "503", fault: fakevendor.Fault{Kind: fakevendor.StatusAfter, Status: 503}, doubt: true, held: 20, executed: 20},
		{name: "a failure that asks to be sent again", fault: fakevendor.Fault{Kind: fakevendor.StatusAfter, Status: 424, Header: again}, doubt: true, held: 20, executed: 20},
		{name: "a success that asks to be sent again", fault: fakevendor.Fault{Kind: fakevendor.Delay, Header: again}, spent: 20, executed: 20},
		{name: "a refusal that asks to be sent again", fault: fakevendor.Fault{Kind: fakevendor.Status, Status: 400, Header: again}, held: 20, fails: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := w.spend(t, everything())
			id := s.intent()
			c.fault.PathContains = "/confirm"
			w.fake.Misbehave(c.fault)
			_, err := s.sc.PaymentIntents.Confirm(id, nil)
			s.wantTrips(1)
			if n := len(w.writes()); n != 2 { // the intent's creation is the first
				t.Errorf("%d writes reached the vendor, want 2", n)
			}
			keys := map[string]bool{}
			for _, r := range w.writes() {
				keys[r.Header.Get("Idempotency-Key")] = true
			}
			if len(keys) != 2 || keys[""] {
				t.Errorf("calls were sent under the keys %v, want one each", keys)
			}
			if c.doubt {
				s.wantDoubt(err, "stripe.payment_intents.confirm")
			} else if (err != nil) != c.fails {
				t.Errorf("the SDK's call: %v", err)
			}
			s.wantBooks(c.spent, c.held, c.executed)
		})
	}
}

// wantDoubt says that err tells of a call in doubt and names the reservation that the ledger lists, and that it is on
// record so.
func (s *spender) wantDoubt(err error, operation string) {
	s.t.Helper()
	d := wantRefused(s.t, err, reason.InDoubt)
	if h := s.hold(d.Reservation); h.Operation != operation || d.Operation != operation {
		s.t.Errorf("in doubt is %s, the caller was told of %s", h.Operation, d.Operation)
	}
	records := s.sink.Records()
	last := records[len(records)-1]
	if last.Kind != audit.Outcome || last.Outcome != "in_doubt" || last.Reason != reason.InDoubt || last.CallID != d.Reservation {
		s.t.Errorf("on record is %+v", last)
	}
}

// hold is the reservation of that id among those that are in doubt.
func (s *spender) hold(id string) ledger.Hold {
	s.t.Helper()
	doubts, err := s.InDoubt(s.t.Context(), "acme")
	if err != nil {
		s.t.Fatal(err)
	}
	i := slices.IndexFunc(doubts, func(h ledger.Hold) bool { return h.ID == id })
	if i < 0 {
		s.t.Fatalf("the reservation %q is not among those in doubt: %v", id, doubts)
	}
	return doubts[i]
}

// A program that holds a v1.0 API of Twilio's sends the call again after an error that twilio-go cannot read.
func twiliosSDKSendsAnActionOnce(t *testing.T, w *world) {
	for name, fault := range map[string]fakevendor.Fault{
		"a page of something in between": {Kind: fakevendor.HTMLAfter},
		"a page under 404":               {Kind: fakevendor.HTMLAfter, Status: 404},
		"an empty reply":                 {Kind: fakevendor.HTMLAfter, Status: 503, Body: " "},
		"an error in another shape":      {Kind: fakevendor.StatusAfter, Status: 400, Body: `{"code":"20001","message":"no"}`},
		"a broken connection":            {Kind: fakevendor.DropAfter},
	} {
		t.Run(name, func(t *testing.T) {
			s := w.spend(t, everything())
			fault.Host = "conversations.twilio.com"
			w.fake.Misbehave(fault)
			count := &tripCounter{next: w.Transport(nil)}
			err := sendAction(nil)(&http.Client{Transport: count}, s.key.Token())
			if count.trips != 1 || len(w.writes()) != 1 {
				t.Errorf("%d round trips and %d requests at Twilio, want one", count.trips, len(w.writes()))
			}
			s.wantDoubt(err, "twilio.conversations.actions.create")
			s.wantBooks(0, 1, 0)
		})
	}
}

// resend-go sends nothing again, but its caller may, under the same key.
func aMailSentAgain(t *testing.T, w *world) {
	s := w.spend(t, everything())
	send := sendMail(func(_ *resend.SendEmailRequest, o *resend.SendEmailOptions) { o.IdempotencyKey = "order-1" })
	w.fake.Misbehave(fakevendor.Fault{PathContains: "/emails", Kind: fakevendor.DropAfter})
	if err := send(w.Client(), s.key.Token()); err == nil {
		t.Error("the broken connection did not reach the caller")
	}
	if err := send(w.Client(), s.key.Token()); err != nil {
		t.Error(err)
	}
	s.wantSameWrites(2)
	if n := len(w.fake.Executions()); n != 1 {
		t.Errorf("%d mails were sent", n)
	}
	states, err := w.Balance(t.Context(), s.key.Token())
	if err != nil || states[0].Spent != 900 || states[0].Held != 0 {
		t.Errorf("the books say %+v, %v", states, err)
	}
}
