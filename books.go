package keybrake

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/keybrake/keybrake-go/audit"
	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/internal/books"
	"github.com/keybrake/keybrake-go/ledger"
	"github.com/keybrake/keybrake-go/policy"
)

// SetBudget makes or revises a tenant's shared budget, which has to have a scope. What is spent and held in it
// stays; a new limit holds from the next reserve on, also below what is spent. What it counts cannot change. The
// record is written first: what raises a limit is on record.
func (b *Brake) SetBudget(ctx context.Context, tenant string, budget policy.Budget) error {
	if budget.Scope == "" || budget.Limit.IsZero() {
		return errors.New("keybrake: SetBudget makes shared budgets; give it a scope and a limit, as in policy.Daily(policy.USD(\"500\")).Shared(\"team:support\")")
	}
	if err := errors.Join(checkName("tenant", tenant), policy.Policy{Budgets: []policy.Budget{budget}}.Validate()); err != nil {
		return fmt.Errorf("keybrake: SetBudget: %w", err)
	}
	if err := b.checkCurrency([]ledger.Budget{books.Budget(budget)}); err != nil {
		return fmt.Errorf("keybrake: SetBudget: %w", err)
	}
	r := audit.Record{Tenant: tenant, Detail: fmt.Sprintf("budget %s set to %s", budget.Scope, budget.Limit)}
	if err := b.recordControl(ctx, r); err != nil {
		return fmt.Errorf("keybrake: SetBudget: the audit sink did not take the record, so nothing is changed: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, b.cfg.LedgerTimeout)
	defer cancel()
	if err := b.cfg.Ledger.SetBudget(ctx, tenant, books.Budget(budget)); err != nil {
		return fmt.Errorf("keybrake: SetBudget: %w", err)
	}
	return nil
}

// Balance returns the state of every budget that the vault key draws on, in its policy's order; of a narrowed key first
// those of the key that was issued, then those of each that narrows it, its own last. The key has to be one that this brake
// verifies, and may have ended.
func (b *Brake) Balance(ctx context.Context, vaultKey string) ([]ledger.State, error) {
	c, err := b.keys.Load().verify(vaultKey)
	if err != nil {
		return nil, fmt.Errorf("keybrake: balance: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, b.cfg.LedgerTimeout)
	defer cancel()
	return b.cfg.Ledger.Balance(ctx, c.Tenant, c.ID, c.books())
}

// InDoubt lists a tenant's reservations whose outcome is not known, oldest first. Their money stays held until
// they are resolved.
func (b *Brake) InDoubt(ctx context.Context, tenant string) ([]ledger.Hold, error) {
	ctx, cancel := context.WithTimeout(ctx, b.cfg.LedgerTimeout)
	defer cancel()
	return b.cfg.Ledger.InDoubt(ctx, tenant)
}

// A Resolution is what a person found out, at the vendor, about a reservation that is in doubt or pending. The
// zero Resolution says nothing and is refused.
type Resolution struct {
	verdict string
	actual  []cost.Line
	why     string
}

// Because adds a reason, for people: it stands in the record.
func (r Resolution) Because(why string) Resolution {
	r.why = why
	return r
}

// NotExecuted says that the vendor did not execute the call: its money is given back. That an object cannot be
// found is no proof of it.
func NotExecuted() Resolution { return Resolution{verdict: "not executed"} }

// Executed says that the vendor executed the call at this cost, which is booked, also above what was held. Amounts
// are in micro-units: 20 USD of a refund are cost.Line{Meter: cost.Outflow, Currency: "USD", Amount: 20_000_000}. A
// cost of nothing has to be said as such, with a line of zero.
func Executed(actual ...cost.Line) Resolution { return Resolution{verdict: "executed", actual: actual} }

// ExecutedAsHeld says that the vendor executed the call at what is held for it.
func ExecutedAsHeld() Resolution { return Resolution{verdict: "executed as held"} }

// Resolve ends the doubt about a reservation. A call that may still be in flight is refused. The record is
// written first.
func (b *Brake) Resolve(ctx context.Context, tenant, reservation string, r Resolution) error {
	switch {
	case r.verdict == "":
		return errors.New("keybrake: resolve: the resolution says nothing; use NotExecuted, ExecutedAsHeld or Executed")
	case r.verdict == Executed().verdict && len(r.actual) == 0:
		return errors.New("keybrake: resolve: executed at which cost? Give Executed its lines, or use ExecutedAsHeld")
	}
	ctx, cancel := context.WithTimeout(ctx, 2*b.cfg.LedgerTimeout+b.cfg.AuditTimeout)
	defer cancel()
	h, err := b.doubted(ctx, tenant, reservation)
	if err != nil {
		return fmt.Errorf("keybrake: resolve %s: %w", reservation, err)
	}
	if r.verdict == ExecutedAsHeld().verdict {
		r.actual = b.heldOf(h)
	}
	if err := b.checkActual(h, r.actual); err != nil {
		return fmt.Errorf("keybrake: resolve %s: %w", reservation, err)
	}
	record := recordOf(h, audit.OutcomeExecuted, r.actual, "resolved by a person: "+r.verdict)
	if r.verdict == NotExecuted().verdict {
		record.Outcome = audit.OutcomeNotExecuted
	}
	if r.why != "" {
		record.Detail += ": " + clip(r.why)
	}
	if err := b.recordControl(ctx, record); err != nil {
		return fmt.Errorf("keybrake: resolve %s: the audit sink did not take the record, so nothing is changed: %w", reservation, err)
	}
	if err := b.resolveHold(ctx, h, r); err != nil {
		return fmt.Errorf("keybrake: resolve %s: %w", reservation, err)
	}
	return nil
}

// recordOf says what is known of a reservation's cost now. It shares the call's id, so that readers of records find it.
func recordOf(h ledger.Hold, outcome string, actual []cost.Line, detail string) audit.Record {
	return audit.Record{
		Tenant: h.Tenant, Key: h.Key, Operation: h.Operation, CallID: h.ID, Reservation: h.ID,
		Outcome: outcome, Actual: actual, Detail: detail,
	}
}

// doubted returns a hold that may be resolved. One that was in flight past its deadline is put in doubt first, so
// that whoever still works on it finds it taken.
func (b *Brake) doubted(ctx context.Context, tenant, id string) (ledger.Hold, error) {
	h, err := b.cfg.Ledger.Find(ctx, tenant, id)
	if err != nil {
		return h, err
	}
	switch h.Phase {
	case ledger.Doubt, ledger.Pending:
		if h.RetryUntil.After(time.Now()) {
			return h, fmt.Errorf("a retry of it may be in flight until %s", h.RetryUntil.UTC().Format("2006-01-02T15:04:05Z"))
		}
		return h, nil
	case ledger.Settled, ledger.Released:
		return h, fmt.Errorf("it is %s already", h.Phase)
	}
	overdue, err := b.cfg.Ledger.InDoubt(ctx, tenant)
	if err != nil {
		return h, err
	}
	for _, o := range overdue {
		if o.ID != id {
			continue
		}
		if _, err := b.cfg.Ledger.Settle(ctx, o, ledger.Settlement{Phase: ledger.Doubt}); err != nil {
			return h, err
		}
		return b.cfg.Ledger.Find(ctx, tenant, id)
	}
	return h, fmt.Errorf("it may be in flight until %s", h.Deadline.UTC().Format("2006-01-02T15:04:05Z"))
}

// meter is the one on which the operation of a hold costs money.
func (b *Brake) meter(h ledger.Hold) cost.Meter {
	if row := b.table.Lookup(h.Operation); row != nil {
		return row.Class.Meter()
	}
	for _, e := range h.Entries {
		if e.Meter.Money() && e.Meter != cost.Spend {
			return e.Meter
		}
	}
	return cost.Charge
}

// heldOf is what a hold counts: of several budgets that count the same, the one that holds most.
func (b *Brake) heldOf(h ledger.Hold) []cost.Line {
	var lines []cost.Line
	for _, e := range h.Entries {
		l := cost.Line{Meter: e.Meter, Currency: e.Currency, Amount: e.Held + e.Booked}
		switch {
		case e.Meter == cost.Calls:
			continue // counted at the reserve
		case e.Meter.Money():
			l.Meter = b.meter(h)
		}
		same := slices.IndexFunc(lines, func(o cost.Line) bool { return o.Meter == l.Meter && o.Currency == l.Currency })
		if same < 0 {
			lines = append(lines, l)
		} else {
			lines[same].Amount = max(lines[same].Amount, l.Amount)
		}
	}
	return lines
}

// checkActual refuses a cost that the operation cannot have, or that no budget of the hold counts: booked, it would
// be lost.
func (b *Brake) checkActual(h ledger.Hold, actual []cost.Line) error {
	for _, l := range actual {
		if err := l.Valid(); err != nil {
			return err
		}
		if l.Meter.Money() && l.Meter != b.meter(h) {
			return fmt.Errorf("%s costs on the meter %s, not %s", h.Operation, b.meter(h), l.Meter)
		}
		counted := func(e ledger.Entry) bool { return e.Meter.Counts(l.Meter) && e.Currency == l.Currency }
		if l.Meter == cost.Calls || !slices.ContainsFunc(h.Entries, counted) {
			return fmt.Errorf("no budget of the reservation counts %v; give the cost on the meters and in the currency of its budgets", l)
		}
	}
	return nil
}

func (b *Brake) resolveHold(ctx context.Context, h ledger.Hold, r Resolution) error {
	if r.verdict == NotExecuted().verdict {
		return b.cfg.Ledger.Release(ctx, h, false)
	}
	receipt, err := b.cfg.Ledger.Settle(ctx, h, ledger.Settlement{Phase: ledger.Settled, Actual: r.actual})
	if err == nil && len(receipt.Strays) > 0 {
		return fmt.Errorf("no budget of the reservation counts %v; give the amount in its budgets' currency", receipt.Strays)
	}
	return err
}

// Adjust corrects what a call has cost, when the vendor says so after it was settled: a price that comes after hours, a
// refund that failed and came back. actual is all that the call has cost, as is known now; where that is nothing, it
// has to be said as such, with a line of zero. The correction is booked in the window of the call, above a limit too, as
// an entry of its own beside what was booked; nothing is edited. id names it: saying the same again changes nothing, so
// that a webhook may come twice. The record is written first.
func (b *Brake) Adjust(ctx context.Context, tenant, reservation, id, why string, actual ...cost.Line) (ledger.Receipt, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*b.cfg.LedgerTimeout+b.cfg.AuditTimeout)
	defer cancel()
	h, err := b.cfg.Ledger.Find(ctx, tenant, reservation)
	if err == nil {
		err = b.checkActual(h, actual)
	}
	if err == nil && len(actual) == 0 {
		err = errors.New("to which cost? Give its lines, a line of zero where it was nothing")
	}
	if err == nil && h.Phase != ledger.Settled && h.Phase != ledger.Released {
		err = ledger.ErrOpen // not on record: it would be read as what the call has cost
	}
	if err != nil {
		return ledger.Receipt{}, fmt.Errorf("keybrake: adjust %s: %w", reservation, err)
	}
	// What is said again is on record already: a second record would look like a later word than those between the two.
	said := slices.ContainsFunc(h.Adjustments, func(a ledger.Adjustment) bool { return a.ID == id })
	if !said {
		if err := b.recordControl(ctx, recordOf(h, audit.OutcomeAdjusted, actual, clip(why))); err != nil {
			return ledger.Receipt{}, fmt.Errorf("keybrake: adjust %s: the audit sink did not take the record, so nothing is changed: %w", reservation, err)
		}
	}
	receipt, err := b.cfg.Ledger.Adjust(ctx, tenant, reservation, ledger.Adjustment{ID: id, Actual: actual, Reason: clip(why)})
	if err == nil && len(receipt.Strays) > 0 {
		err = fmt.Errorf("no budget of the reservation counts %v", receipt.Strays)
	}
	if err != nil {
		return receipt, fmt.Errorf("keybrake: adjust %s: %w", reservation, err)
	}
	return receipt, nil
}
