package ledgertest

import (
	"time"

	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/ledger"
	"github.com/keybrake/keybrake-go/reason"
)

// move is a call of key that moves an object to a level.
func (w *world) move(key, object string, level []cost.Line, budgets ...ledger.Budget) ledger.Request {
	r := w.call(key, level, budgets...)
	r.Object = object
	return r
}

// created is an object whose creation holds n from budgets of key1.
func (w *world) created(object string, n int64, budgets ...ledger.Budget) ledger.Hold {
	h := w.admit(w.pay(n, budgets...))
	w.pend(h, object, usd(n))
	return h
}

var objectLaws = []Law{
	{"object", "Create, confirm and capture of an object are one hold whose level moves.", func(w *world) {
		create := w.created("pi", 8, purse(10))
		w.stands(purse(10), 0, 8)
		confirm := w.admit(w.move(key1, "pi", lines(usd(8)), purse(10)))
		w.stands(purse(10), 0, 8)
		w.phase(create.ID, ledger.Settled)
		w.pend(confirm, "pi", usd(8))
		w.stands(purse(10), 0, 8)
		capture := w.admit(w.move(key1, "pi", lines(usd(8)), purse(10)))
		w.settle(capture, usd(6))
		w.stands(purse(10), 6, 0)
		w.phase(confirm.ID, ledger.Settled)
		w.settle(create) // a late, repeated word on the create changes nothing
		w.stands(purse(10), 6, 0)
	}},
	{"object-increase", "A call that raises an object's level reserves the difference.", func(w *world) {
		w.created("pi", 6, purse(10))
		d := w.refuse(w.move(key1, "pi", lines(usd(11)), purse(10)), reason.BudgetExceeded)
		if d.Shortfalls[0].Need != 5 {
			w.fail("it needs %d, want the difference of 5", d.Shortfalls[0].Need)
		}
		w.stands(purse(10), 0, 6)
		h := w.admit(w.move(key1, "pi", lines(usd(10)), purse(10)))
		w.stands(purse(10), 0, 10)
		w.pend(h, "pi", usd(10))
		w.stands(purse(10), 0, 10)
	}},
	{"object-undone", "A call on an object that was not executed returns to the earlier level.", func(w *world) {
		w.created("pi", 6, purse(10))
		h := w.admit(w.move(key1, "pi", lines(usd(10)), purse(10)))
		w.release(h, false)
		w.stands(purse(10), 0, 6)
		w.release(h, false)
		w.stands(purse(10), 0, 6)
		next := w.admit(w.move(key1, "pi", lines(usd(6)), purse(10)))
		w.stands(purse(10), 0, 6)
		w.settle(next, usd(6))
		w.stands(purse(10), 6, 0)
	}},
	{"object-never-lower", "A level does not fall at the reserve: the call may yet not be executed.", func(w *world) {
		w.created("pi", 8, purse(10))
		h := w.admit(w.move(key1, "pi", lines(usd(3)), purse(10)))
		w.stands(purse(10), 0, 8)
		w.settle(h, usd(3))
		w.stands(purse(10), 3, 0)
	}},
	{"object-order", "A reply ends only the hold that its call has seen: an older reply lowers nothing that a newer call holds.", func(w *world) {
		low := w.admit(w.move(key1, "pi", lines(usd(1)), purse(20)))
		high := w.admit(w.move(key1, "pi", lines(usd(9)), purse(20)))
		w.pend(high, "pi", usd(9))
		w.pend(low, "pi", usd(1))
		if s := w.state(key1, purse(20)); s.Held < 9 {
			w.fail("%d is held for an object of which 9 may be taken", s.Held)
		}
	}},
	{"object-cancel", "A call that asks for nothing more, such as a cancel, goes through a full budget and frees the hold.", func(w *world) {
		day := per(cost.Day, "", 10)
		w.created("pi", 8, day)
		w.clock.Add(24 * time.Hour)
		w.settle(w.admit(w.pay(10, day)), usd(10))
		cancel := w.admit(w.move(key1, "pi", nil, day))
		r := w.settle(cancel)
		w.stands(day, 10, 0)
		if len(r.States) != 1 || r.States[0].Held != 0 || !r.States[0].Start.Equal(at("2026-03-02T00:00:00Z")) {
			w.fail("the receipt does not tell the window in which it was held: %+v", r)
		}
	}},
	{"object-cancel-over", "A cancel goes through a budget that stands above its limit.", func(w *world) {
		shared := w.share(team(10))
		w.created("pi", 8, shared)
		w.share(team(2))
		w.settle(w.admit(w.move(key1, "pi", lines(usd(8)), shared)))
		w.stands(shared, 0, 0)
	}},
	{"object-window", "Taking over an object in a new window reserves its whole level there and frees the old one.", func(w *world) {
		day := per(cost.Day, "", 10)
		w.created("pi", 8, day)
		w.clock.Add(24 * time.Hour)
		w.admit(w.pay(3, day))
		w.refuse(w.move(key1, "pi", lines(usd(8)), day), reason.BudgetExceeded)
		w.clock.Add(24 * time.Hour)
		h := w.admit(w.move(key1, "pi", lines(usd(8)), day))
		w.stands(day, 0, 8)
		w.release(h, false)
		w.stands(day, 0, 8)
		w.settle(h)
		w.stands(day, 0, 0)
	}},
	{"object-payer", "Where another key pays, both hold until the settle, which swaps the first one's hold out.", func(w *world) {
		create := w.created("pi", 8, purse(10))
		h := w.admit(w.move(key2, "pi", lines(usd(8)), purse(10)))
		w.stands(purse(10), 0, 8)
		w.standsFor(key2, purse(10), 0, 8)
		w.settle(h, usd(7))
		w.stands(purse(10), 0, 0)
		w.standsFor(key2, purse(10), 7, 0)
		w.phase(create.ID, ledger.Settled)
	}},
	{"object-payer-undone", "Where another key's call was not executed, the first payer holds as before.", func(w *world) {
		w.created("pi", 8, purse(10))
		w.release(w.admit(w.move(key2, "pi", lines(usd(8)), purse(10))), false)
		w.stands(purse(10), 0, 8)
		w.standsFor(key2, purse(10), 0, 0)
		w.settle(w.admit(w.move(key1, "pi", lines(usd(8)), purse(10))), usd(8))
		w.stands(purse(10), 8, 0)
	}},
	{"object-open", "A call on the object that is in flight or in doubt gives no credit: both levels are held.", func(w *world) {
		w.created("pi", 4, purse(10))
		a := w.admit(w.move(key1, "pi", lines(usd(4)), purse(10)))
		w.refuse(w.move(key1, "pi", lines(usd(7)), purse(10)), reason.BudgetExceeded)
		b := w.admit(w.move(key1, "pi", lines(usd(4)), purse(10)))
		w.stands(purse(10), 0, 8)
		w.doubt(a)
		w.refuse(w.move(key1, "pi", lines(usd(3)), purse(10)), reason.BudgetExceeded)
		w.settle(b, usd(4))
		w.stands(purse(10), 4, 4)
		w.settle(a)
		w.stands(purse(10), 4, 0)
	}},
	{"object-superseded", "A call that was not executed does not bring back a level that a later reply has replaced.", func(w *world) {
		w.created("pi", 4, purse(20))
		a := w.admit(w.move(key1, "pi", lines(usd(4)), purse(20)))
		b := w.admit(w.move(key1, "pi", lines(usd(6)), purse(20)))
		w.pend(b, "pi", usd(6))
		w.stands(purse(20), 0, 10)
		w.release(a, false)
		w.stands(purse(20), 0, 6)
		w.settle(w.admit(w.move(key1, "pi", lines(usd(6)), purse(20))), usd(6))
		w.stands(purse(20), 6, 0)
	}},
	{"object-mixed", "An object's hold moves in every budget that it stands in, and calls stay counted.", func(w *world) {
		shared := w.share(team(50))
		h := w.admit(w.call(key1, lines(usd(8), oneCall), purse(10), shared, tally(5)))
		w.pend(h, "pi", usd(8))
		h = w.admit(w.move(key1, "pi", lines(usd(9), oneCall), purse(10), shared, tally(5)))
		w.stands(purse(10), 0, 9)
		w.stands(shared, 0, 9)
		w.stands(tally(5), 2, 0)
		w.release(h, true)
		w.stands(purse(10), 0, 8)
		w.stands(shared, 0, 8)
		w.stands(tally(5), 1, 0)
	}},
	{"object-raise", "A raise on an object takes its hold over, as a reserve would.", func(w *world) {
		w.created("pi", 6, purse(10))
		r, h := w.probe(purse(10), tally(5))
		r.Lines, r.Object = lines(usd(9)), "pi"
		h = w.raise(h, r)
		w.stands(purse(10), 0, 9)
		w.settle(h, usd(9))
		w.stands(purse(10), 9, 0)
		w.phase("r1", ledger.Settled)
	}},
	{"object-probe", "Where the reserve has taken the object over, the raise's lines are its level, and undone it returns to the first.", func(w *world) {
		w.created("pi", 6, purse(10))
		r := w.move(key1, "pi", lines(oneCall), purse(10), tally(5))
		h := w.admit(r)
		w.stands(purse(10), 0, 6)
		r.Lines = lines(usd(9))
		h = w.raise(h, r)
		w.stands(purse(10), 0, 9)
		w.release(h, true)
		w.stands(purse(10), 0, 6)
		w.stands(tally(5), 0, 0)
	}},
}
