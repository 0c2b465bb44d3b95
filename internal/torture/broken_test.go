package main

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/internal/redistest"
	"github.com/keybrake/keybrake-go/ledger"
	"github.com/keybrake/keybrake-go/reason"
)

// A checker that finds nothing in these ledgers would find nothing in ours. Each is a real ledger in Redis with one
// mistake in it.
func TestTheCheckFindsBrokenLedgers(t *testing.T) {
	s := Setup{Redis: redistest.Start(t), Timeout: 10 * time.Second, Wait: 10 * time.Second}
	for name, broken := range map[string]func(ledger.Ledger) ledger.Ledger{
		"looks at the balance, then reserves":    func(l ledger.Ledger) ledger.Ledger { return &checksThenActs{Ledger: l} },
		"forgets a hold when a settle times out": func(l ledger.Ledger) ledger.Ledger { return &forgets{Ledger: l} },
		"knows the controls of a moment ago":     func(l ledger.Ledger) ledger.Ledger { return &remembersControls{Ledger: l} },
		"clips what does not fit":                func(l ledger.Ledger) ledger.Ledger { return &clips{Ledger: l} },
		"answers with the balance of before":     func(l ledger.Ledger) ledger.Ledger { return &answersLate{Ledger: l} },
	} {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(20) {
				tenant := fmt.Sprintf("t%d%s", seed, name)
				l := broken(opened(t, s))
				must(t, furnish(t.Context(), l, tenant))
				do := doer(l)
				d := &Drive{Seed: seed, Tenant: tenant, Clients: []Doer{do, do, do, do, do, do}, Steps: 60, Final: true}
				h := newHistory(tenant, 0)
				d.run(h)
				if wrong, done := h.check(time.Minute); done && wrong != "" {
					t.Logf("found with seed %d: %s", seed, wrong)
					return
				}
			}
			t.Error("not found in 20 histories")
		})
	}
}

// checksThenActs looks at the key's own budget in a step of its own.
type checksThenActs struct{ ledger.Ledger }

func (l *checksThenActs) Reserve(ctx context.Context, r ledger.Request) (ledger.Hold, error) {
	states, err := l.Balance(ctx, r.Tenant, r.Key, r.Budgets)
	if err != nil {
		return ledger.Hold{}, err
	}
	if s := states[0]; s.Spent+s.Held+r.Lines[0].Amount <= s.Limit {
		r.Budgets[0].Limit = cost.Max
	}
	h, err := l.Ledger.Reserve(ctx, r)
	for i := range h.States {
		if !h.States[i].Shared {
			h.States[i].Limit = purseLimit
		}
	}
	return h, err
}

// forgets gives a hold back when a settle has no answer in time.
type forgets struct {
	ledger.Ledger
	n atomic.Int64
}

func (l *forgets) Settle(ctx context.Context, h ledger.Hold, s ledger.Settlement) (ledger.Receipt, error) {
	if l.n.Add(1)%10 == 0 {
		_ = l.Release(ctx, h, false)
		return ledger.Receipt{}, context.DeadlineExceeded
	}
	return l.Ledger.Settle(ctx, h, s)
}

// remembersControls does not ask about stops every time.
type remembersControls struct {
	ledger.Ledger
	n atomic.Int64
}

func (l *remembersControls) Reserve(ctx context.Context, r ledger.Request) (ledger.Hold, error) {
	if l.n.Add(1)%4 == 0 {
		r.Controls = nil
	}
	return l.Ledger.Reserve(ctx, r)
}

// clips admits what does not fit, for less.
type clips struct{ ledger.Ledger }

func (l *clips) Reserve(ctx context.Context, r ledger.Request) (ledger.Hold, error) {
	h, err := l.Ledger.Reserve(ctx, r)
	if d := judge(err); reason.Code(d.Verdict) == reason.BudgetExceeded {
		r.Lines = usd(1)
		if h, err := l.Ledger.Reserve(ctx, r); err == nil {
			return h, nil
		}
	}
	return h, err
}

// answersLate answers a balance with that of the time before.
type answersLate struct {
	ledger.Ledger
	last atomic.Pointer[[]ledger.State]
}

func (l *answersLate) Balance(ctx context.Context, tenant, key string, budgets []ledger.Budget) ([]ledger.State, error) {
	states, err := l.Ledger.Balance(ctx, tenant, key, budgets)
	if err == nil {
		if old := l.last.Swap(&states); old != nil {
			return *old, nil
		}
	}
	return states, err
}
