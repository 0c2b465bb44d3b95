package keybrake_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stripe/stripe-go/v76"
	"github.com/stripe/stripe-go/v76/client"

	"github.com/keybrake/keybrake-go"
	"github.com/keybrake/keybrake-go/internal/fakevendor"
	"github.com/keybrake/keybrake-go/policy"
)

// What became of a call is looked for in the account that the call was made in: in another it would be missing.
func TestALostCallIsFoundInItsOwnAccount(t *testing.T) {
	for _, account := range []string{"", "acct_1"} {
		clock := &shiftedClock{}
		w := newWorld(t, func(c *keybrake.Config) { c.Stamp = true })
		w.ledger.Now = clock.now
		w.fake.SeedCharge("ch_1", 50_000, "usd")
		key := w.issue(t, "run_1", policy.Policy{
			Allow:   []policy.Rule{{Operation: "stripe.*", Params: policy.Params{"Stripe-Account": policy.Any()}}},
			Budgets: []policy.Budget{policy.Lifetime(policy.USD("100"))},
		})
		sc := client.New(key.Token(), stripe.NewBackendsWithConfig(&stripe.BackendConfig{
			HTTPClient: &http.Client{Transport: w.Transport(nil)}, MaxNetworkRetries: stripe.Int64(0), LeveledLogger: &stripe.LeveledLogger{},
		}))
		refund := func(amount int64, lost fakevendor.FaultKind) {
			w.fake.Misbehave(fakevendor.Fault{Method: "POST", PathContains: "/v1/refunds", Kind: lost})
			p := &stripe.RefundParams{Charge: stripe.String("ch_1"), Amount: stripe.Int64(amount)}
			if account != "" {
				p.SetStripeAccount(account)
			}
			if _, err := sc.Refunds.New(p); err == nil {
				t.Errorf("%q: the refund was answered", account)
			}
		}
		refund(2000, fakevendor.DropAfter)
		refund(3000, fakevendor.DropBefore)
		clock.advance(time.Hour)
		r, err := w.Reconciler(keybrake.ReconcilerConfig{Tenants: []string{"acme"}, Pace: time.Nanosecond, Gap: time.Nanosecond, Now: clock.now})
		if err != nil {
			t.Fatal(err)
		}
		p, err := r.Pass(t.Context())
		if err != nil || p.Settled != 1 || p.Freed != 1 {
			t.Errorf("%q: %+v, %v\n%s", account, p, err, w.log)
		}
		states, err := w.Balance(t.Context(), key.Token())
		if spent := w.fake.Spent()["outflow"]["USD"]; err != nil || states[0].Spent != spent || spent != 20_000_000 || states[0].Held != 0 {
			t.Errorf("%q: the books show %+v, %v, and Stripe has refunded %d", account, states, err, spent)
		}
	}
}

// A bookkeeper is a world whose clock a test moves, with a key for Stripe and a reconciler.
type bookkeeper struct {
	*world
	*testing.T
	clock *shiftedClock
	key   keybrake.Key
	sc    *client.API
}

func newBookkeeper(t *testing.T) *bookkeeper {
	b := &bookkeeper{T: t, clock: &shiftedClock{}}
	b.world = newWorld(t, func(c *keybrake.Config) { c.Stamp = true })
	b.world.ledger.Now = b.clock.now
	b.key = b.issue(t, "run_1", policy.Policy{
		Allow:   []policy.Rule{{Operation: "stripe.*"}},
		Budgets: []policy.Budget{policy.Lifetime(policy.USD("100"))},
	})
	b.sc = client.New(b.key.Token(), stripe.NewBackendsWithConfig(&stripe.BackendConfig{
		HTTPClient: &http.Client{Transport: b.Transport(nil)}, MaxNetworkRetries: stripe.Int64(0), LeveledLogger: &stripe.LeveledLogger{},
	}))
	return b
}

// pass lets time go by and reconciles.
func (b *bookkeeper) pass(later time.Duration) {
	b.Helper()
	b.clock.advance(later)
	r, err := b.Reconciler(keybrake.ReconcilerConfig{Tenants: []string{"acme"}, Pace: time.Nanosecond, Gap: time.Nanosecond, Now: b.clock.now})
	if err != nil {
		b.Fatal(err)
	}
	if p, err := r.Pass(b.Context()); err != nil || p.Failed > 0 {
		b.Errorf("%+v, %v", p, err)
	}
}

func (b *bookkeeper) books(what string, spent, held int64) {
	b.Helper()
	states, err := b.Balance(b.Context(), b.key.Token())
	if err != nil || states[0].Spent != spent*1_000_000 || states[0].Held != held*1_000_000 {
		b.Errorf("%s: the books show %+v, %v, want %d spent and %d held", what, states, err, spent, held)
	}
}

func (b *bookkeeper) must(err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

// What Stripe decides days later is booked then: a payout that is paid and then fails, a refund that comes back, a debit
// that goes through.
func TestWhatStripeDecidesLaterIsBooked(t *testing.T) {
	t.Run("a payout that fails after it was paid", func(t *testing.T) {
		b := newBookkeeper(t)
		po, err := b.sc.Payouts.New(&stripe.PayoutParams{Amount: stripe.Int64(2000), Currency: stripe.String("usd")})
		b.must(err)
		b.books("at once", 20, 0)
		b.must(b.fake.Conclude(po.ID, true))
		b.pass(25 * time.Hour)
		b.books("paid", 20, 0)
		b.must(b.fake.Conclude(po.ID, false))
		b.pass(8 * 24 * time.Hour)
		b.books("failed", 0, 0)
	})
	t.Run("a payout that stays paid", func(t *testing.T) {
		b := newBookkeeper(t)
		po, err := b.sc.Payouts.New(&stripe.PayoutParams{Amount: stripe.Int64(2000), Currency: stripe.String("usd")})
		b.must(err)
		b.must(b.fake.Conclude(po.ID, true))
		b.pass(15 * 24 * time.Hour)
		b.books("paid", 20, 0)
		if open, err := b.ledger.Unsettled(b.Context(), "acme"); err != nil || len(open) > 0 {
			t.Errorf("%v is still open (%v)", open, err)
		}
	})
	t.Run("a refund that comes back", func(t *testing.T) {
		b := newBookkeeper(t)
		b.fake.SeedCharge("ch_async", 5000, "usd")
		re, err := b.sc.Refunds.New(&stripe.RefundParams{Charge: stripe.String("ch_async"), Amount: stripe.Int64(2000)})
		b.must(err)
		b.books("at once", 20, 0)
		b.must(b.fake.Conclude(re.ID, false))
		b.pass(25 * time.Hour)
		b.books("failed", 0, 0)
	})
	t.Run("a debit that goes through", func(t *testing.T) {
		b := newBookkeeper(t)
		pi, err := b.sc.PaymentIntents.New(&stripe.PaymentIntentParams{Amount: stripe.Int64(2000), Currency: stripe.String("usd"), Confirm: stripe.Bool(true), PaymentMethod: stripe.String("pm_processing")})
		b.must(err)
		b.books("at once", 0, 20)
		b.must(b.fake.Conclude(pi.ID, true))
		b.pass(25 * time.Hour)
		b.books("paid", 20, 0)
	})
}

// Of an intent that was created, confirmed and captured, the money is booked once. A lost capture shows in the intent;
// that a lost confirm was not what took the money does not, and stays held for a person.
func TestALostCaptureIsBookedOnce(t *testing.T) {
	for _, lost := range []string{"/confirm", "/capture"} {
		b := newBookkeeper(t)
		pi, err := b.sc.PaymentIntents.New(&stripe.PaymentIntentParams{Amount: stripe.Int64(2000), Currency: stripe.String("usd"), CaptureMethod: stripe.String("manual")})
		b.must(err)
		b.books("created", 0, 20)
		b.fake.Misbehave(fakevendor.Fault{Method: "POST", PathContains: lost, Kind: fakevendor.DropAfter})
		_, err = b.sc.PaymentIntents.Confirm(pi.ID, &stripe.PaymentIntentConfirmParams{PaymentMethod: stripe.String("pm_1")})
		if (err != nil) != (lost == "/confirm") {
			t.Fatal(err)
		}
		b.books("confirmed", 0, 20)
		_, err = b.sc.PaymentIntents.Capture(pi.ID, nil)
		if (err != nil) != (lost == "/capture") {
			t.Fatal(err)
		}
		for range 3 {
			b.pass(25 * time.Hour)
		}
		b.books(lost+" was lost", 20, map[string]int64{"/confirm": 20}[lost])
		if spent := b.fake.Spent()["charge"]["USD"]; spent != 20_000_000 {
			t.Errorf("Stripe has taken %d", spent)
		}
	}
}

// What a subscription charges first is asked of Stripe beforehand, by the preview that the call's API version has, and is
// all that is reserved. A lost one is found with its first invoice.
func TestASubscriptionIsPreviewed(t *testing.T) {
	const form = "customer=cus_1&items[0][price_data][currency]=usd&items[0][price_data][product]=prod_1&items[0][price_data][recurring][interval]=month&items[0][price_data][unit_amount]=1000&items[0][quantity]=2"
	for version, asked := range map[string]string{
		"2023-10-16": "GET /v1/invoices/upcoming", "2026-08-26.dahlia": "POST /v1/invoices/create_preview",
	} {
		b := newBookkeeper(t)
		subscribe := func(form string) int {
			req := request(t, "POST", "https://api.stripe.com/v1/subscriptions", b.key.Token(), "application/x-www-form-urlencoded", form)
			req.Header.Set("Stripe-Version", version)
			resp, err := b.Transport(nil).RoundTrip(req)
			if err != nil {
				return 0
			}
			_ = resp.Body.Close()
			return resp.StatusCode
		}
		if status := subscribe(form); status != 200 {
			t.Fatalf("%s: status %d\n%s", version, status, b.log)
		}
		b.books(version, 20, 0)
		var calls []string
		for _, r := range b.fake.Received() {
			calls = append(calls, r.Method+" "+r.Path)
			if r.Header.Get("Authorization") != "Bearer "+stripeSecret || r.Header.Get("Stripe-Version") != version {
				t.Errorf("%s %s came with %v", r.Method, r.Path, r.Header)
			}
		}
		if len(calls) != 2 || calls[0] != asked || calls[1] != "POST /v1/subscriptions" {
			t.Errorf("%s: %v", version, calls)
		}
		if status := subscribe(strings.ReplaceAll(form, "[quantity]=2", "[quantity]=9")); status != 429 {
			t.Errorf("%s: a subscription of 90 USD with 80 left: status %d", version, status)
		}
		b.fake.Misbehave(fakevendor.Fault{Method: "POST", PathContains: "/v1/subscriptions", Kind: fakevendor.DropAfter})
		subscribe(form)
		b.books(version+", lost", 20, 20)
		b.pass(time.Hour)
		b.books(version+", found", 40, 0)
		if spent := b.fake.Spent()["charge"]["USD"]; spent != 40_000_000 {
			t.Errorf("Stripe has taken %d", spent)
		}
	}
}
