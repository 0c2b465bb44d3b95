package keybrake_test

import (
	"net/http"
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
