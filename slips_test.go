package keybrake_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/keybrake/keybrake-go"
	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/internal/fakevendor"
	"github.com/keybrake/keybrake-go/ledger"
	"github.com/keybrake/keybrake-go/policy"
)

// Whoever pastes a token or a credential where a name belongs finds it neither in the error nor on record.
func TestASecretInTheWrongPlaceIsNotRepeated(t *testing.T) {
	w := newWorld(t, nil)
	key := w.issue(t, "run_1", everything())
	token := key.Token()
	for name, slip := range map[string]func(context.Context) error{
		"a token as the key's id": func(ctx context.Context) error { _, err := w.Revoke(ctx, keybrake.ByKey("acme", token)); return err },
		"a token as the run":      func(ctx context.Context) error { _, err := w.Pause(ctx, keybrake.ByRun("acme", token)); return err },
		"a token as the tenant":   func(ctx context.Context) error { _, err := w.Resume(ctx, keybrake.ByTenant(token)); return err },
		"a cut token as the agent": func(ctx context.Context) error {
			_, err := w.Revoke(ctx, keybrake.ByAgent("acme", token[:60]))
			return err
		},
		"a token as the grant's": func(ctx context.Context) error { return w.tryGrant(ctx, func(g *keybrake.Grant) { g.Agent = token }) },
		"a credential as reference": func(ctx context.Context) error {
			return w.tryGrant(ctx, func(g *keybrake.Grant) { g.Credentials["stripe"] = stripeSecret })
		},
		"twilio's as reference": func(ctx context.Context) error {
			return w.tryGrant(ctx, func(g *keybrake.Grant) { g.Credentials["twilio"] = twilioAccount + ":" + twilioSecret })
		},
	} {
		err := slip(t.Context())
		if err == nil {
			t.Errorf("%s: no error", name)
			continue
		}
		for _, secret := range []string{token[:60], stripeSecret, twilioSecret} {
			if strings.Contains(err.Error(), secret) {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	text, err := json.Marshal(w.sink.Records())
	if err != nil || strings.Contains(string(text), token[:60]) || strings.Contains(string(text), stripeSecret) || strings.Contains(w.log.String(), token[:60]) {
		t.Errorf("a secret is on record: %s %v", text, err)
	}
	if d := denial(t, w.Transport(nil), request(t, "GET", chargesURL, token, "", "")); d != nil {
		t.Errorf("a slip stopped a key: %v", d)
	}
}

func (w *world) tryGrant(ctx context.Context, change func(*keybrake.Grant)) error {
	g := grant("run_2", everything())
	change(&g)
	_, err := w.Issue(ctx, g)
	return err
}

// A budget that counts an operation which does not exist counts nothing, and nobody would see why.
func TestABudgetOfNoOperationIsRefused(t *testing.T) {
	w := newWorld(t, nil)
	p := everything()
	p.Budgets = append(p.Budgets, policy.Daily(policy.USD("1")).For("stripe.refund.create"))
	err := w.tryGrant(t.Context(), func(g *keybrake.Grant) { g.Policy = p })
	if err == nil || !strings.Contains(err.Error(), `budgets[1].only[0]: "stripe.refund.create"`) {
		t.Errorf("got %v", err)
	}
}

// A resolution books what the operation can have cost and its budgets count, and nothing else.
func TestAResolutionBooksWhatTheBudgetsCount(t *testing.T) {
	doubt := func(t *testing.T) (*world, keybrake.Key, ledger.Hold) {
		w := newWorld(t, nil)
		w.fake.SeedCharge("ch_1", 500000, "usd")
		key := w.issue(t, "run_1", everything())
		w.fake.Misbehave(fakevendor.Fault{Method: "POST", Kind: fakevendor.DropAfter})
		_ = denial(t, w.Transport(nil), request(t, "POST", refundsURL, key.Token(), formType, "charge=ch_1&amount=2000"))
		holds, err := w.InDoubt(t.Context(), "acme")
		if err != nil || len(holds) != 1 {
			t.Fatal(holds, err)
		}
		return w, key, holds[0]
	}
	dollars := func(m cost.Meter, c cost.Currency, n int64) keybrake.Resolution {
		return keybrake.Executed(cost.Line{Meter: m, Currency: c, Amount: n * cost.MicrosPerUnit})
	}
	for name, tt := range map[string]struct {
		resolution  keybrake.Resolution
		refused     bool
		spent, held int64
	}{
		"as held":             {keybrake.ExecutedAsHeld(), false, 20_000_000, 0},
		"at another cost":     {dollars(cost.Outflow, "USD", 19), false, 19_000_000, 0},
		"at more":             {dollars(cost.Outflow, "USD", 21), false, 21_000_000, 0},
		"at a cost of zero":   {dollars(cost.Outflow, "USD", 0), false, 0, 0},
		"not executed":        {keybrake.NotExecuted(), false, 0, 0},
		"on another meter":    {dollars(cost.Fee, "USD", 20), true, 0, 20_000_000},
		"in another currency": {dollars(cost.Outflow, "EUR", 20), true, 0, 20_000_000},
		"as calls":            {keybrake.Executed(cost.Line{Meter: cost.Calls, Amount: 1}), true, 0, 20_000_000},
		"without its cost":    {keybrake.Executed(), true, 0, 20_000_000},
		"below zero":          {dollars(cost.Outflow, "USD", -20), true, 0, 20_000_000},
	} {
		t.Run(name, func(t *testing.T) {
			w, key, h := doubt(t)
			err := w.Resolve(t.Context(), "acme", h.ID, tt.resolution)
			if (err != nil) != tt.refused {
				t.Errorf("got %v", err)
			}
			states, err := w.Balance(t.Context(), key.Token())
			if err != nil || states[0].Spent != tt.spent || states[0].Held != tt.held {
				t.Errorf("spent %d, held %d, %v; want %d and %d", states[0].Spent, states[0].Held, err, tt.spent, tt.held)
			}
		})
	}
}
