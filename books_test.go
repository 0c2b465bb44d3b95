package keybrake_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keybrake/keybrake-go"
	"github.com/keybrake/keybrake-go/audit"
	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/internal/fakevendor"
	"github.com/keybrake/keybrake-go/ledger"
	"github.com/keybrake/keybrake-go/policy"
	"github.com/keybrake/keybrake-go/reason"
)

func TestSetBudgetRefuses(t *testing.T) {
	l := &watched{}
	w := newWorld(t, watch(l))
	for name, tt := range map[string]struct {
		tenant string
		budget policy.Budget
		want   []string
	}{
		"a key's own budget":      {"acme", policy.Daily(policy.USD("500")), []string{"give it a scope", "Shared("}},
		"no limit":                {"acme", policy.Scoped("team:support"), []string{"a limit"}},
		"nothing":                 {"acme", policy.Budget{}, []string{"give it a scope and a limit"}},
		"no tenant":               {"", policy.Daily(policy.USD("500")).Shared("team:support"), []string{"tenant", "1 to 64"}},
		"a tenant with a space":   {"acme inc", policy.Daily(policy.USD("500")).Shared("team:support"), []string{"tenant"}},
		"a scope with a space":    {"acme", policy.Daily(policy.USD("500")).Shared("team support"), []string{"budgets[0].scope"}},
		"a literal of letters":    {"acme", policy.Daily(policy.USD("5OO")).Shared("team:support"), []string{"budgets[0].limit", "5OO"}},
		"a negative limit":        {"acme", policy.Daily(policy.Calls(-1)).Shared("team:support"), []string{"budgets[0].limit"}},
		"no window":               {"acme", policy.Budget{Scope: "team:support", Limit: policy.USD("1")}, []string{"budgets[0].window"}},
		"a zone of nowhere":       {"acme", policy.Daily(policy.USD("500")).In("Europe/Nowhere").Shared("team:support"), []string{"budgets[0].zone"}},
		"operations of no vendor": {"acme", policy.Daily(policy.USD("500")).For("stripe").Shared("team:support"), []string{"budgets[0].only[0]"}},
		"a meter of counts":       {"acme", policy.Daily(policy.USD("500")).On(cost.Units).Shared("team:support"), []string{"budgets[0].meter"}},
	} {
		err := w.SetBudget(t.Context(), tt.tenant, tt.budget)
		for _, want := range append(tt.want, "keybrake: SetBudget") {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v does not say %q", name, err, want)
			}
		}
	}
	if verbs := l.asked(); len(verbs) > 0 || len(w.sink.Records()) > 0 {
		t.Errorf("the ledger was asked to %v, and there are %d records", verbs, len(w.sink.Records()))
	}
}

// What raises a limit is on record, or it is not raised.
func TestSetBudgetIsOnRecordFirst(t *testing.T) {
	w := newWorld(t, nil)
	budget := func(dollars string) policy.Budget { return policy.Daily(policy.USD(dollars)).Shared("team:support") }
	if err := w.SetBudget(t.Context(), "acme", budget("500")); err != nil {
		t.Fatal(err)
	}
	if r := last(w.sink.Records(), audit.Control); r.Tenant != "acme" || r.Detail != "budget team:support set to 500.00 USD" {
		t.Errorf("the record says %+v", r)
	}
	full := errors.New("disk full")
	w.sink.Fail(full)
	if err := w.SetBudget(t.Context(), "acme", budget("9000")); !errors.Is(err, full) || !strings.Contains(err.Error(), "nothing is changed") {
		t.Errorf("got %v", err)
	}
	w.sink.Fail(nil)
	if row, err := w.ledger.Budget(t.Context(), "acme", "team:support"); err != nil || row.Limit != 500_000_000 {
		t.Errorf("the row is %+v, %v", row, err)
	}
	for name, other := range map[string]policy.Budget{
		"window":     policy.Monthly(policy.USD("500")).Shared("team:support"),
		"currency":   policy.Daily(policy.Money("500", "EUR")).Shared("team:support"),
		"meter":      policy.Daily(policy.USD("500")).On(cost.Outflow).Shared("team:support"),
		"counts":     policy.Daily(policy.Calls(500)).Shared("team:support"),
		"zone":       policy.Daily(policy.USD("500")).In("Europe/Oslo").Shared("team:support"),
		"operations": policy.Daily(policy.USD("500")).For("stripe.*").Shared("team:support"),
	} {
		if err := w.SetBudget(t.Context(), "acme", other); !errors.Is(err, ledger.ErrBudgetFixed) {
			t.Errorf("another %s under the same name: %v", name, err)
		}
	}
}

func TestSetBudgetSaysWhenTheLedgerFails(t *testing.T) {
	down := errors.New("ledger down")
	w := newWorld(t, watch(&watched{before: func(context.Context, string) error { return down }}))
	if err := w.SetBudget(t.Context(), "acme", policy.Daily(policy.USD("5")).Shared("team:support")); !errors.Is(err, down) {
		t.Errorf("got %v", err)
	}
}

// Balance lists what a key draws on as its policy does, with what is spent, held and left.
func TestBalanceIsInThePolicysOrder(t *testing.T) {
	w := newWorld(t, nil)
	named := policy.Daily(policy.USD("500")).In("Europe/Oslo").Shared("team:support")
	named.Name = "the-team" // for people; the scope names the row
	for _, b := range []policy.Budget{named, policy.Lifetime(policy.Units(1000)).Shared("mails")} {
		if err := w.SetBudget(t.Context(), "acme", b); err != nil {
			t.Fatal(err)
		}
	}
	named.Limit = policy.USD("100") // lower than its row
	p := policy.Policy{
		Allow: []policy.Rule{{Operation: "stripe.*"}, {Operation: "resend.*"}},
		Budgets: []policy.Budget{
			policy.Scoped("mails"),
			policy.Lifetime(policy.Calls(150)),
			named,
			{Name: "refunds", Limit: policy.USD("40"), Meter: cost.Outflow, Window: cost.Month, Only: []cost.Pattern{"stripe.refunds.*"}},
			policy.Lifetime(policy.USD("80")),
		},
	}
	w.fake.SeedCharge("ch_1", 5000, "usd")
	key := w.issue(t, "run_1", p)
	rt := w.Transport(nil)
	for _, call := range []func() *keybrake.Denial{
		func() *keybrake.Denial {
			return denial(t, rt, request(t, "POST", refundsURL, key.Token(), formType, "charge=ch_1&amount=2000"))
		},
		func() *keybrake.Denial { return intent(t, rt, key.Token(), 500) },
		func() *keybrake.Denial {
			return denial(t, rt, request(t, "POST", emailsURL, key.Token(), "application/json", `{"from":"a@acme.com","to":["b@acme.com","c@acme.com"],"subject":"s","text":"t"}`))
		},
	} {
		if d := call(); d != nil {
			t.Fatal(d)
		}
	}
	states, err := w.Balance(t.Context(), key.Token())
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, s := range states {
		reset := "never"
		if !s.Reset.IsZero() && s.Reset.After(time.Now()) {
			reset = "later"
		}
		got = append(got, fmt.Sprintf("%s %v %s %d %d %d %s", s.Name, s.Shared, cost.Format(s.Limit, s.Currency, s.Meter), s.Spent, s.Held, s.Left(), reset))
	}
	want := []string{
		"mails true 1000 units 2 0 998 never",
		"lifetime 150 calls false 150 calls 3 0 147 never",
		"team:support true 100.00 USD 20001800 5000000 74998200 later",
		"refunds false 40.00 USD 20000000 0 20000000 later",
		"lifetime 80.00 USD false 80.00 USD 20001800 5000000 54998200 never",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// Balance needs a key that this brake could have issued, and does not mind that it has ended.
func TestBalanceVerifiesTheKeyAndReadsOneThatHasEnded(t *testing.T) {
	w := newWorld(t, nil)
	g := grant("run_1", everything())
	g.NotBefore = time.Now().Add(-2 * time.Hour)
	ended, err := w.Issue(t.Context(), g)
	if err != nil {
		t.Fatal(err)
	}
	if d := intent(t, w.Transport(nil), ended.Token(), 100); d == nil || d.Reason != reason.KeyExpired {
		t.Fatalf("the key has not ended: %v", d)
	}
	if states, err := w.Balance(t.Context(), ended.Token()); err != nil || len(states) != 1 || states[0].Limit != 100_000_000 {
		t.Errorf("%v, %v", states, err)
	}
	if _, err := w.Revoke(t.Context(), keybrake.ByKey("acme", ended.ID)); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Balance(t.Context(), ended.Token()); err != nil {
		t.Errorf("of a revoked key: %v", err)
	}
	for name, text := range map[string]string{
		"an id": ended.ID, "nothing": "", "a damaged token": ended.Token()[1:], "a real credential": stripeSecret,
		"a forged token": forge(t, ended.Token(), func(b []byte) []byte { b[20] ^= 1; return b }),
	} {
		states, err := w.Balance(t.Context(), text)
		if err == nil || states != nil || text != "" && strings.Contains(err.Error(), text) {
			t.Errorf("%s: %v, %v", name, states, err)
		}
	}
}

// InDoubt lists what is not known to have been executed, of one tenant, oldest first, with what it holds.
func TestInDoubtListsWhatIsNotKnown(t *testing.T) {
	w := newWorld(t, nil)
	key := w.issue(t, "run_1", everything())
	g := grant("run_1", everything())
	g.Tenant = "globex"
	other, err := w.Issue(t.Context(), g)
	if err != nil {
		t.Fatal(err)
	}
	for _, fail := range []struct {
		token string
		cents int
	}{{key.Token(), 300}, {other.Token(), 400}, {key.Token(), 500}} {
		w.fake.Misbehave(fakevendor.Fault{Kind: fakevendor.StatusAfter})
		if d := intent(t, w.Transport(nil), fail.token, fail.cents); d == nil || d.Reason != reason.InDoubt {
			t.Fatalf("got %v", d)
		}
		if d := intent(t, w.Transport(nil), fail.token, 100); d != nil { // which is not in doubt
			t.Fatal(d)
		}
	}
	holds, err := w.InDoubt(t.Context(), "acme")
	if err != nil || len(holds) != 2 || holds[0].Entries[0].Held != 3_000_000 || holds[1].Entries[0].Held != 5_000_000 ||
		!holds[0].Deadline.Before(holds[1].Deadline) || holds[0].Operation != "stripe.payment_intents.create" || holds[0].Key != key.ID {
		t.Errorf("%+v, %v", holds, err)
	}
	if holds, err := w.InDoubt(t.Context(), "initech"); err != nil || len(holds) != 0 {
		t.Errorf("a tenant of nobody's: %v, %v", holds, err)
	}
}
