package main

import (
	"slices"

	"github.com/keybrake/keybrake-go/ledger"
	"github.com/keybrake/keybrake-go/reason"
)

// Books are a tenant's, as one person with a pencil would keep them. They share no code with any ledger.
type Books struct {
	limit  int64 // of the team
	paused bool  // the tenant
	keys   [keys]page
	holds  []int64 // by reservation: none, open, released, or what it was settled with plus settled
}

// A page is one key's.
type page struct {
	runPaused, keyPaused, revoked, frozen bool
	spent, held                           int64
}

const (
	none     = 0
	open     = -1
	released = -2
	settled  = 1       // and the amount
	overran  = 1 << 40 // besides, when it was more than stood there: told again to who says the same again
)

// newBooks are those of a tenant that has just been furnished, with room for so many reservations.
func newBooks(reservations int) Books {
	return Books{limit: teamLimit, holds: make([]int64, reservations)}
}

func (b Books) equal(o Books) bool {
	return b.limit == o.limit && b.paused == o.paused && b.keys == o.keys && slices.Equal(b.holds, o.holds)
}

// Do says what has to be answered to op, and how the books are afterwards. The receiver stays as it is.
func (b Books) Do(op Op) (Answer, Books) {
	switch op.Verb {
	case Reserve:
		return b.reserve(op)
	case Settle:
		return b.settle(op)
	case Release:
		return b.release(op)
	case Stop:
		return Answer{Verdict: OK}, b.stop(op)
	case SetBudget:
		b.limit = op.Limit
	case Balance:
		return Answer{Verdict: OK, Amounts: b.amounts(op.Key, true)}, b
	}
	return Answer{Verdict: OK}, b // a doubt changes no amount
}

func (b Books) reserve(op Op) (Answer, Books) {
	k := b.keys[op.Key]
	switch {
	case b.holds[op.Number] == released:
		return Answer{Verdict: Unknown}, b // an error that is no denial
	case b.holds[op.Number] != none:
		return Answer{Verdict: OK, Amounts: b.amounts(op.Key, true)}, b
	case k.revoked:
		return Answer{Verdict: string(reason.KeyRevoked)}, b
	case k.runPaused || k.keyPaused || b.paused:
		return Answer{Verdict: string(reason.KeyPaused)}, b
	case k.frozen:
		return Answer{Verdict: string(reason.KeyFrozen)}, b
	}
	var short []Amount
	for _, a := range b.amounts(op.Key, true) {
		if a.Spent+a.Held+op.Amount > a.Limit {
			a.Need = op.Amount
			short = append(short, a)
		}
	}
	if short != nil {
		return Answer{Verdict: string(reason.BudgetExceeded), Amounts: short}, b
	}
	b = b.change(op, open, 0, op.Amount)
	return Answer{Verdict: OK, Amounts: b.amounts(op.Key, true)}, b
}

func (b Books) settle(op Op) (Answer, Books) {
	was, stood := b.holds[op.Number], int64(0)
	switch was {
	case none:
		return Answer{Verdict: NotThere}, b
	case open:
		stood = op.Amount
	case released: // too early, it shows now: the money is gone
	default:
		a := Answer{Verdict: OK, Over: was >= overran, Amounts: b.amounts(op.Key, false)}
		if was%overran != settled+op.Actual {
			a.Verdict = WasOther
		}
		return a, b
	}
	state, over := settled+op.Actual, op.Actual > stood
	if over {
		state += overran
	}
	b = b.change(op, state, op.Actual, -stood)
	if over {
		b.keys[op.Key].frozen = true
	}
	return Answer{Verdict: OK, Over: over, Amounts: b.amounts(op.Key, false)}, b
}

func (b Books) release(op Op) (Answer, Books) {
	switch b.holds[op.Number] {
	case none: // a reserve that comes later must find it
		b = b.change(op, released, 0, 0)
	case open:
		b = b.change(op, released, 0, -op.Amount)
	case released:
	default:
		return Answer{Verdict: WasOther}, b
	}
	return Answer{Verdict: OK}, b
}

func (b Books) stop(op Op) Books {
	k, pause := &b.keys[op.Key], op.Control == ledger.Pause
	switch {
	case op.Control == ledger.Revoke:
		k.revoked = true // by run: no other is in the plans
	case op.Scope == ByTenant:
		b.paused = pause
	case op.Scope == ByRun:
		k.runPaused = pause
	default:
		k.keyPaused, k.frozen = pause, k.frozen && pause
	}
	return b
}

// change moves a reservation to a state and its key's amounts by so much.
func (b Books) change(op Op, state, spent, held int64) Books {
	b.holds = slices.Clone(b.holds)
	b.holds[op.Number] = state
	b.keys[op.Key].spent += spent
	b.keys[op.Key].held += held
	return b
}

// amounts are the budgets of a key. All that is spent from a purse is spent from the team's budget too.
func (b Books) amounts(key int, limits bool) []Amount {
	own, all := Amount{Name: purseName, Spent: b.keys[key].spent, Held: b.keys[key].held}, Amount{Name: teamName}
	for _, k := range b.keys {
		all.Spent += k.spent
		all.Held += k.held
	}
	if limits {
		own.Limit, all.Limit = purseLimit, b.limit
	}
	return []Amount{own, all}
}
