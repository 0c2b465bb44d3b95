package keybrake_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stripe/stripe-go/v76"
	stripeclient "github.com/stripe/stripe-go/v76/client"

	"github.com/keybrake/keybrake-go"
	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/internal/fakevendor"
	"github.com/keybrake/keybrake-go/ledger"
	"github.com/keybrake/keybrake-go/policy"
	"github.com/keybrake/keybrake-go/reason"
)

// A rateTable can be changed while a brake uses it.
type rateTable struct{ cost.Rates }

func (r *rateTable) set(c *keybrake.Config) { c.Rates = func() cost.Rates { return r.Rates } }

func euros() *rateTable {
	return &rateTable{cost.Rates{
		To: "USD", Of: map[cost.Currency]string{"EUR": "1.10"}, AsOf: time.Now(), MaxAge: time.Hour, Haircut: 100,
	}}
}

// charge takes euros, in cents, and wants the books to show so much spent, in micro-units of USD.
func charge(t *testing.T, w *world, token string, cents, spent int64) error {
	t.Helper()
	_, err := stripeOver(w.Transport(nil), token).Charges.New(&stripe.ChargeParams{
		Amount: stripe.Int64(cents), Currency: stripe.String("eur"), Source: &stripe.PaymentSourceSourceParams{Token: stripe.String("tok_visa")},
	})
	states, balanceErr := w.Balance(t.Context(), token)
	if balanceErr != nil || states[0].Spent+states[0].Held != spent {
		t.Errorf("after %d euro cents the books show %v, %v, want %d", cents, states, balanceErr, spent)
	}
	return err
}

func deniedAs(err error, code reason.Code) bool {
	d, ok := keybrake.DenialFrom(err)
	return ok && d.Reason == code
}

// Budgets are in one currency; a cost in another counts at the rate of its reserve, up to the budget's end.
func TestACostInAnotherCurrencyCountsAtItsRate(t *testing.T) {
	rates := euros()
	w := newWorld(t, rates.set)
	tok := w.issue(t, "run_1", policy.Policy{
		Allow:   []policy.Rule{{Operation: "stripe.charges.create", MaxPerCall: policy.USD("50")}},
		Budgets: []policy.Budget{policy.Lifetime(policy.USD("60"))},
	}).Token()
	if err := charge(t, w, tok, 40_00, 44_440_000); err != nil { // 40 × 1.10 × 1.01
		t.Error(err)
	}
	if err := charge(t, w, tok, 45_01, 44_440_000); !deniedAs(err, reason.MaxPerCall) { // 50.01 USD
		t.Errorf("a call above the rule's maximum, in another currency: %v", err)
	}
	if err := charge(t, w, tok, 20_00, 44_440_000); !deniedAs(err, reason.BudgetExceeded) { // 22.22 USD
		t.Errorf("a call that does not fit, in another currency: %v", err)
	}
	if err := charge(t, w, tok, 14_00, 44_440_000+15_554_000); err != nil {
		t.Error(err)
	}
	if n := len(w.fake.Executions()); n != 2 {
		t.Errorf("%d calls were executed, want 2", n)
	}
}

func TestRatesThatAreOldOrMissingRefuse(t *testing.T) {
	for name, change := range map[string]func(*rateTable){
		"too old":   func(r *rateTable) { r.AsOf = time.Now().Add(-time.Hour - time.Second) },
		"missing":   func(r *rateTable) { r.Of = map[cost.Currency]string{"GBP": "1.3"} },
		"no number": func(r *rateTable) { r.Of = map[cost.Currency]string{"EUR": "a lot"} },
		"no table":  func(r *rateTable) { r.Rates = cost.Rates{} },
	} {
		rates := euros()
		w := newWorld(t, rates.set)
		tok := w.issue(t, "run_1", everything()).Token()
		change(rates)
		if err := charge(t, w, tok, 1_00, 0); !deniedAs(err, reason.CurrencyDenied) || len(w.fake.Received()) > 0 {
			t.Errorf("%s: %v, and the vendor got %d requests", name, err, len(w.fake.Received()))
		}
	}
}

// The rate may have moved when the reply comes, or when a retry books what the first attempt has cost.
func TestTheRateOfTheReserveIsUsedAgain(t *testing.T) {
	var asked atomic.Int64
	w := newWorld(t, func(c *keybrake.Config) {
		c.Rates = func() cost.Rates {
			r := euros().Rates
			r.Of = map[cost.Currency]string{"EUR": fmt.Sprint(1 + asked.Load())}
			return r
		}
	})
	tok := w.issue(t, "run_1", everything()).Token()
	asked.Store(0)
	count := func(rt http.RoundTripper) http.RoundTripper { // the rate rises while the call is on its way
		return roundTripper(func(r *http.Request) (*http.Response, error) {
			asked.Add(1)
			return rt.RoundTrip(r)
		})
	}
	charge := func(key string) error {
		params := &stripe.ChargeParams{Amount: stripe.Int64(10_00), Currency: stripe.String("eur"), Source: &stripe.PaymentSourceSourceParams{Token: stripe.String("tok_visa")}}
		params.SetIdempotencyKey(key)
		backend := stripe.NewBackends(&http.Client{Transport: w.Transport(count(w.fake.Transport()))})
		backend.API = stripe.GetBackendWithConfig(stripe.APIBackend, &stripe.BackendConfig{
			HTTPClient: &http.Client{Transport: w.Transport(count(w.fake.Transport()))}, MaxNetworkRetries: stripe.Int64(0), LeveledLogger: &stripe.LeveledLogger{},
		})
		_, err := stripeclient.New(tok, backend).Charges.New(params)
		return err
	}
	if err := charge("k1"); err != nil {
		t.Fatal(err)
	}
	wantSpent := func(spent, held int64) {
		t.Helper()
		if states, err := w.Balance(t.Context(), tok); err != nil || states[0].Spent != spent || states[0].Held != held {
			t.Errorf("the books show %v, %v, want %d spent and %d held", states, err, spent, held)
		}
	}
	wantSpent(10_100_000, 0)
	w.fake.Misbehave(fakevendor.Fault{PathContains: "/charges", Kind: fakevendor.DropAfter})
	if err := charge("k2"); err == nil {
		t.Fatal("the reply was lost and came all the same")
	}
	wantSpent(10_100_000, 20_200_000)
	if err := charge("k2"); err != nil {
		t.Fatal(err)
	}
	wantSpent(10_100_000+20_200_000, 0)
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestBudgetsInOtherCurrenciesThanTheRatesAreRefused(t *testing.T) {
	w := newWorld(t, euros().set)
	p := everything()
	p.Budgets = append(p.Budgets, policy.Daily(policy.Money("10", "EUR")))
	if _, err := w.Issue(t.Context(), grant("run_1", p)); err == nil || !strings.Contains(err.Error(), "counts all costs in USD") {
		t.Errorf("a key with a budget in euros: %v", err)
	}
	for name, r := range map[string]policy.Rule{
		"max_per_call": {Operation: "stripe.charges.create", MaxPerCall: policy.Money("1", "EUR")},
		"ceiling":      {Operation: "stripe.charges.create", Ceiling: policy.Money("1", "EUR")},
	} {
		p := everything()
		p.Allow = append(p.Allow, r)
		if _, err := w.Issue(t.Context(), grant("run_1", p)); err == nil || !strings.Contains(err.Error(), name+" is in EUR") {
			t.Errorf("a key with a %s in euros: %v", name, err)
		}
	}
	if err := w.SetBudget(t.Context(), "acme", policy.Daily(policy.Money("10", "EUR")).Shared("team")); err == nil || !strings.Contains(err.Error(), "counts all costs in USD") {
		t.Errorf("a shared budget in euros: %v", err)
	}
	if _, err := w.ledger.Budget(t.Context(), "acme", "team"); !errors.Is(err, ledger.ErrNoBudget) {
		t.Errorf("it was made all the same: %v", err)
	}
}

func TestRatesThatCannotBeMeantAreNoConfiguration(t *testing.T) {
	w := newWorld(t, nil)
	c := w.config()
	c.Rates = func() cost.Rates { return cost.Rates{To: "USD"} }
	if _, err := keybrake.New(t.Context(), c); err == nil || !strings.Contains(err.Error(), "Config.Rates") {
		t.Errorf("a table without a date: %v", err)
	}
}
