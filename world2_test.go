package keybrake_test

import (
	"testing"

	"github.com/keybrake/keybrake-go"
	"github.com/keybrake/keybrake-go/policy"
	"github.com/stripe/stripe-go/v76"
)

func TestSmoke(t *testing.T) {
	w := newWorld(t, nil)
	w.fake.SeedCharge("ch_1", 500000, "usd")
	key := w.issue(t, "run_1", policy.Policy{
		Allow:   []policy.Rule{{Operation: "stripe.refunds.create"}},
		Budgets: []policy.Budget{policy.Lifetime(policy.USD("80"))},
	})
	sc := stripeOver(w.Transport(nil), key.Token())
	for i := 0; i < 6; i++ {
		r, err := sc.Refunds.New(&stripe.RefundParams{Charge: stripe.String("ch_1"), Amount: stripe.Int64(2000)})
		d, ok := keybrake.DenialFrom(err)
		t.Log(i, r != nil, err, d, ok)
	}
	states, err := w.Balance(t.Context(), key.Token())
	t.Log(states, err)
	t.Log(w.fake.Spent(), len(w.fake.Executions()))
	for _, r := range w.sink.Records() {
		t.Logf("%+v", r)
	}
	t.Log(w.log.String())
}
