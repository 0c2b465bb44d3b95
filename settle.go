package keybrake

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/ledger"
	"github.com/keybrake/keybrake-go/vendors"
)

// settle books what became of the call. It has its own deadline, so that no caller can skip it, and it returns
// nothing: whatever fails here leaves the hold standing, which is the safe side, and is in the record.
func (a *attempt) settle() {
	a.classify()
	a.dropRefused(a.landing.Status)
	switch {
	case a.free():
		// It was admitted and counted at the reserve; there is nothing to book, and it is never in doubt.
	case a.outcome == vendors.OutcomeUnknown:
		a.bookDoubt()
	case a.outcome == vendors.NotExecuted:
		// The answer to a retry proves nothing about the first attempt, which holds the money.
		if !a.permit.Hold().Attached {
			a.release(false)
		}
	default:
		a.bookCost()
	}
}

// classify asks the row what the reply proves, and what it says the call did cost.
func (a *attempt) classify() {
	switch l := a.landing; {
	case l.Err != nil && a.cutOff() != nil:
		a.doubt = "cut off by a revoke"
	case l.Err != nil:
		a.doubt = "no reply"
	case l.Cut != nil:
		a.doubt = "the reply did not come whole"
	default:
		a.reply = &vendors.Reply{Status: l.Status, Header: l.Header, Body: l.Body}
		a.read()
	}
	if a.free() && a.outcome == vendors.OutcomeUnknown {
		a.outcome, a.doubt = vendors.NotExecuted, ""
	}
}

func (a *attempt) read() {
	var err error
	if a.outcome, a.cost, err = readReply(a.call, a.bound, a.reply); err == nil {
		a.billed = a.cost.Actual
		a.cost, err = inBudgets(a.rates, a.cost)
	}
	switch {
	case err != nil:
		a.outcome, a.doubt, a.cost = vendors.OutcomeUnknown, "the reply cannot be read", vendors.Settlement{}
		a.log().WarnContext(a.ctx, "keybrake: a reply cannot be read; the hold stays", "operation", a.call.Operation.Name, "reservation", a.permit.Hold().ID, "error", a.scrubError(err))
	case a.outcome == vendors.OutcomeUnknown:
		a.doubt = fmt.Sprintf("status %d proves nothing", a.reply.Status)
	}
	a.flag(a.cost.Flag)
}

// readReply asks the call's row what a reply proves, and what it says that the call did cost in the vendor's currency. An
// error means that the reply cannot be read.
func readReply(c *vendors.Call, b vendors.Bound, r *vendors.Reply) (o vendors.Outcome, s vendors.Settlement, err error) {
	judge, settle := c.Operation.Outcome, c.Operation.Settle
	if judge == nil {
		judge = vendors.ByStatus
	}
	err = contain(func() error { o = judge(c, r); return nil })
	switch {
	case err != nil, o < vendors.OutcomeUnknown, o > vendors.Pending:
		return vendors.OutcomeUnknown, s, err // what is no outcome proves nothing
	case o != vendors.Executed && o != vendors.Pending:
		return o, s, nil
	case settle == nil:
		return o, vendors.Settlement{Actual: b.Lines}, nil
	}
	err = contain(func() (err error) { s, err = settle(c, b, r); return err })
	return o, s, err
}

// goesOn reports whether a call that was executed is not at its end: it can cost more, or turn out to have cost less.
func goesOn(o vendors.Outcome, s vendors.Settlement) bool {
	holds := slices.ContainsFunc(s.Held, func(l cost.Line) bool { return l.Amount > 0 })
	return o == vendors.Pending || holds || s.Again > 0
}

// inBudgets is c in the currency of the budgets, by the rates of the reserve. What is booked is rounded up, and what stays
// held is the rest of both together, rounded up: each for itself would be a micro-unit more than the bound, which would
// freeze the key.
func inBudgets(rates []cost.Rate, c vendors.Settlement) (_ vendors.Settlement, err error) {
	if len(rates) == 0 {
		return c, nil
	}
	all, err := convertBy(rates, slices.Concat(c.Actual, c.Held))
	if err != nil {
		return c, err
	}
	if c.Actual, err = convertBy(rates, c.Actual); err == nil {
		c.Held, err = convertBy(rates, c.Held)
	}
	for i, h := range c.Held {
		same := func(l cost.Line) bool { return l.Meter == h.Meter && l.Currency == h.Currency }
		c.Held[i].Amount = all[slices.IndexFunc(all, same)].Amount
		if booked := slices.IndexFunc(c.Actual, same); booked >= 0 {
			c.Held[i].Amount -= c.Actual[booked].Amount
		}
	}
	return c, err
}

func (a *attempt) flag(what string) {
	if what != "" {
		a.flags = append(a.flags, what)
	}
}

// bookDoubt marks the hold. A retry has no hold of its own to mark.
func (a *attempt) bookDoubt() {
	if a.permit.Hold().Attached {
		return
	}
	_, _ = a.book(ledger.Settlement{Phase: ledger.Doubt})
}

func (a *attempt) bookCost() {
	s := ledger.Settlement{Phase: ledger.Settled, Actual: a.cost.Actual, Held: a.cost.Held, Object: a.object(a.cost.Object)}
	if goesOn(a.outcome, a.cost) {
		s.Phase, s.Memo = ledger.Pending, a.reconcilable()
	}
	receipt, err := a.book(s)
	switch {
	case errors.Is(err, ledger.ErrDeferred):
		a.flag("booked later") // the ledger keeps what it did cost; the hold stands until the store answers
		return
	case err != nil:
		a.inDoubt("the ledger did not book it")
		return
	case len(receipt.Strays) > 0:
		a.inDoubt(fmt.Sprintf("no budget of the call counts %v", receipt.Strays))
	case receipt.Over:
		a.flag("over bound")
		a.stopRetrier()
		a.log().ErrorContext(a.ctx, "keybrake: the vendor took more than its bound; the key is frozen", "operation", a.call.Operation.Name, "reservation", a.permit.Hold().ID, "key", a.claims.name())
	}
	if len(receipt.States) > 0 {
		a.states = receipt.States
	}
}

// stopRetrier pauses the key of a retry that overran under another key than the first attempt's, which is the one
// that the ledger has frozen. Resume by key undoes both.
func (a *attempt) stopRetrier() {
	if a.permit.Hold().Key == a.claims.ID {
		return
	}
	ctx, cancel := a.ledgerContext()
	defer cancel()
	s := ByKey(a.claims.Tenant, a.claims.ID).Because("the vendor took more than its bound")
	a.seePaused()
	if _, err := a.stop(ctx, s, ledger.Pause); err != nil {
		a.log().ErrorContext(a.ctx, "keybrake: the key whose call overran is not stopped", "key", a.claims.ID, "error", err)
	}
}

// inDoubt turns an executed call whose cost could not be booked into one in doubt: its hold stands.
func (a *attempt) inDoubt(why string) {
	a.outcome, a.doubt, a.cost.Actual, a.cost.Held = vendors.OutcomeUnknown, why, nil, nil
	a.flag("not booked")
	a.log().ErrorContext(a.ctx, "keybrake: an executed call is not booked; its hold stays", "operation", a.call.Operation.Name, "reservation", a.permit.Hold().ID, "why", why)
}

// book tells the ledger, up to three times. That a retry's first attempt has settled the spend before is no error.
func (a *attempt) book(s ledger.Settlement) (receipt ledger.Receipt, err error) {
	began := time.Now()
	defer func() { a.ledgerFor += time.Since(began) }()
	for range 3 {
		ctx, cancel := a.ledgerContext()
		receipt, err = a.permit.Settle(ctx, s)
		cancel()
		if err == nil || errors.Is(err, ledger.ErrNoHold) {
			break
		}
		if errors.Is(err, ledger.ErrDeferred) {
			a.log().WarnContext(a.ctx, "keybrake: the ledger settles as soon as its store answers; the hold stands until then", "reservation", a.permit.Hold().ID)
			return receipt, err
		}
		if errors.Is(err, ledger.ErrSettled) {
			if a.permit.Hold().Attached {
				return receipt, nil
			}
			break
		}
	}
	if err != nil {
		a.log().ErrorContext(a.ctx, "keybrake: the ledger did not settle; the hold stays", "reservation", a.permit.Hold().ID, "error", err)
	}
	return receipt, err
}
