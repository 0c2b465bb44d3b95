package backtest

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/keybrake/keybrake-go/audit"
	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/internal/books"
	"github.com/keybrake/keybrake-go/ledger"
	"github.com/keybrake/keybrake-go/ledger/memory"
	"github.com/keybrake/keybrake-go/policy"
)

// A trial is one set of books: of the plan, of one with another limit, or of one without limits, which tells what the
// limits would have had to be.
type trial struct {
	books  *memory.Ledger
	limits func(ledger.Budget) ledger.Budget
	opened map[string]bool
	moved  map[string]string // where the reservation of then is another here: its first attempt was refused, a retry was not
}

func newTrial(now func() time.Time, remember time.Duration, limits func(ledger.Budget) ledger.Budget) *trial {
	t := &trial{books: memory.New(), limits: limits, opened: map[string]bool{}, moved: map[string]string{}}
	t.books.Now, t.books.Remember = now, remember
	return t
}

// open makes the rows of a tenant and of a key when they are seen first.
func (t *trial) open(tenant, key string, shared []policy.Budget) error {
	ctx := context.Background()
	if id := "tenant " + tenant; !t.opened[id] {
		t.opened[id] = true
		for _, b := range shared {
			row := t.limits(books.Budget(b))
			row.AlertAt = nil
			if err := t.books.SetBudget(ctx, tenant, row); err != nil {
				return err
			}
		}
	}
	if id := "key " + tenant + " " + key; !t.opened[id] {
		t.opened[id] = true
		return t.books.Open(ctx, ledger.Key{Tenant: tenant, ID: key})
	}
	return nil
}

// An asked call is what is reserved for it.
type asked struct {
	ledger.Request
	lines  []cost.Line // of the call, when Lines are only those before a look at the vendor
	looked bool
	denied bool // by what the look has shown
}

// reserve does what the brake does for a call. A refusal comes back as such; an error is none.
func (t *trial) reserve(a asked) (states []ledger.State, refused *ledger.Denied, err error) {
	ctx := context.Background()
	r := a.Request
	r.Budgets = make([]ledger.Budget, len(a.Budgets))
	for i, b := range a.Budgets {
		r.Budgets[i] = t.limits(b)
	}
	r.Probing = a.looked
	if a.looked {
		r.Lines, r.Object = ledger.CallsOnly(a.lines), ""
	}
	h, err := t.books.Reserve(ctx, r)
	if err == nil && a.looked && !h.Attached {
		before := h
		if !a.denied {
			r.Lines, r.Object, r.Probing = less(a.lines), a.Object, false
			h, err = t.books.Raise(ctx, h, r)
		}
		if err != nil || a.denied {
			_ = t.books.Release(ctx, before, false) // the look was made, so the call is counted
		}
	}
	if errors.As(err, &refused) {
		return nil, refused, nil
	}
	if err == nil && r.Claim != nil && r.Claim.ID != h.ID {
		t.moved[r.Claim.ID] = h.ID
	}
	return h.States, nil, err
}

// less are lines without those that count calls.
func less(lines []cost.Line) []cost.Line {
	return slices.DeleteFunc(slices.Clone(lines), func(l cost.Line) bool { return l.Meter == cost.Calls })
}

// book does what became of the call: settles, releases or corrects it. A reservation that is not in these books was
// refused here, or is of a call from before the records, and is passed over.
func (t *trial) book(r audit.Record, looked bool) (states []ledger.State, err error) {
	ctx := context.Background()
	h, err := t.find(r)
	if errors.Is(err, ledger.ErrNoHold) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	later := r.Kind == audit.Control || r.Kind == audit.Reconciled
	switch {
	case r.Kind == audit.Denied && !r.Attached:
		return nil, t.books.Release(ctx, ledger.Hold{Tenant: h.Tenant, ID: h.ID, Phase: ledger.InFlight}, !looked)
	case r.Outcome == audit.OutcomeExecuted, r.Outcome == audit.OutcomePending, r.Outcome == audit.OutcomeAdjusted:
		states, err = t.cost(h, r)
	case r.Outcome == audit.OutcomeNotExecuted && later && h.Phase == ledger.Pending:
		states, err = t.cost(h, r)
	case r.Outcome == audit.OutcomeNotExecuted && later:
		err = t.books.Release(ctx, h, false)
	case r.Outcome == audit.OutcomeNotExecuted && !r.Attached:
		err = t.books.Release(ctx, ledger.Hold{Tenant: h.Tenant, ID: h.ID, Phase: ledger.InFlight}, false)
	case r.Outcome == audit.OutcomeInDoubt && !later && !r.Attached:
		_, err = t.books.Settle(ctx, h, ledger.Settlement{Phase: ledger.Doubt})
	}
	if errors.Is(err, ledger.ErrSettled) || errors.Is(err, ledger.ErrOpen) {
		return nil, nil // a retry or a person was quicker, then as now
	}
	return states, err
}

func (t *trial) find(r audit.Record) (ledger.Hold, error) {
	id := r.CallID
	if r.Reservation != "" {
		id = r.Reservation
	}
	if here, is := t.moved[id]; is {
		id = here
	}
	return t.books.Find(context.Background(), r.Tenant, id)
}

// cost books what the call has cost.
func (t *trial) cost(h ledger.Hold, r audit.Record) ([]ledger.State, error) {
	ctx := context.Background()
	correction := r.Outcome == audit.OutcomeAdjusted || r.Kind == audit.Reconciled && (h.Phase == ledger.Settled || h.Phase == ledger.Released)
	var got ledger.Receipt
	var err error
	if correction {
		got, err = t.books.Adjust(ctx, h.Tenant, h.ID, ledger.Adjustment{ID: r.ID, Actual: r.Actual})
	} else {
		s := ledger.Settlement{Phase: ledger.Settled, Actual: r.Actual, Held: r.Held, Object: r.HoldOf}
		if r.Outcome == audit.OutcomePending || slices.ContainsFunc(r.Held, func(l cost.Line) bool { return l.Amount > 0 }) {
			s.Phase = ledger.Pending
		}
		got, err = t.books.Settle(ctx, h, s)
	}
	if got.Over {
		// The key was frozen then, too; that there are further calls says that somebody has resumed it.
		if _, err := t.books.Control(ctx, ledger.Control{Verb: ledger.Resume, Tenant: h.Tenant, Key: h.Key}); err != nil {
			return nil, err
		}
	}
	return got.States, err
}
