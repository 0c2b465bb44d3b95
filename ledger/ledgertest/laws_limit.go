package ledgertest

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/ledger"
	"github.com/keybrake/keybrake-go/reason"
)

var keyLaws = []Law{
	{"key-row", "A key without a row is refused: an emptied store denies.", func(w *world) {
		w.refuse(w.call("nobody", lines(usd(1)), purse(10)), reason.KeyUnknown)
		w.refuse(w.callIn("elsewhere", key1, lines(usd(1)), purse(10)), reason.KeyUnknown)
		if _, err := w.Balance(w.ctx, acme, "nobody", []ledger.Budget{purse(10)}); err == nil {
			w.fail("a key without a row has a balance")
		}
	}},
	{"open-twice", "Opening a key twice keeps its row and its counters.", func(w *world) {
		w.settle(w.admit(w.pay(6, purse(10))), usd(6))
		w.open(acme, key1)
		w.stands(purse(10), 6, 0)
		w.refuse(w.pay(5, purse(10)), reason.BudgetExceeded)
	}},
	{"expired", "An expired key is refused, from the very moment of its expiry, by the ledger's clock.", func(w *world) {
		r := w.pay(1, purse(10))
		r.Expires = w.clock.Now().Add(time.Hour)
		w.admit(r)
		w.clock.Add(time.Hour)
		again := w.pay(1, purse(10))
		again.Expires = r.Expires
		w.refuse(again, reason.KeyExpired)
		again.Expires = time.Time{}
		w.refuse(again, reason.KeyExpired)
	}},
	{"key-first", "The key's own state is looked at before its budgets and its idempotency key.", func(w *world) {
		first := w.pay(5, purse(10))
		first.Claim = &ledger.Claim{ID: "c", Fingerprint: "f", Memory: time.Hour}
		w.admit(first)
		w.control(ledger.Control{Verb: ledger.Revoke, Tenant: acme, Key: key1})
		w.refuse(w.pay(1, ref("missing")), reason.KeyRevoked)
		w.refuse(w.pay(100, purse(10)), reason.KeyRevoked)
		w.refuse(w.call(key1, lines(eur(1)), purse(10)), reason.KeyRevoked)
		retry := w.pay(5, purse(10))
		retry.Claim = first.Claim
		w.refuse(retry, reason.KeyRevoked)
	}},
}

var limitLaws = []Law{
	{"limit", "Calls are admitted up to the limit, to the last unit, and not one above it.", func(w *world) {
		w.admit(w.pay(9, purse(10)))
		w.refuse(w.pay(2, purse(10)), reason.BudgetExceeded)
		w.admit(w.pay(1, purse(10)))
		w.refuse(w.pay(1, purse(10)), reason.BudgetExceeded)
		w.stands(purse(10), 0, 10)
	}},
	{"spent-counts", "What is spent counts against the limit as what is held does.", func(w *world) {
		w.settle(w.admit(w.pay(6, purse(10))), usd(6))
		w.refuse(w.pay(5, purse(10)), reason.BudgetExceeded)
		w.admit(w.pay(4, purse(10)))
		w.stands(purse(10), 6, 4)
	}},
	{"whole", "A call that does not fit is refused whole: it is never clipped, and holds nothing.", func(w *world) {
		w.refuse(w.pay(11, purse(10)), reason.BudgetExceeded)
		w.stands(purse(10), 0, 0)
		if _, err := w.Find(w.ctx, acme, "r1"); err == nil {
			w.fail("a refused call left a reservation")
		}
	}},
	{"all-or-nothing", "A reserve is all or nothing over all its budgets.", func(w *world) {
		shared := w.share(team(5))
		w.refuse(w.call(key1, lines(usd(7), oneCall), purse(10), shared, tally(3)), reason.BudgetExceeded)
		w.stands(purse(10), 0, 0)
		w.stands(shared, 0, 0)
		w.stands(tally(3), 0, 0)
		w.admit(w.call(key1, lines(usd(5), oneCall), purse(10), shared, tally(3)))
		w.stands(purse(10), 0, 5)
		w.stands(shared, 0, 5)
		w.stands(tally(3), 1, 0)
	}},
	{"every-shortfall", "A refusal names every budget that does not cover the call, what is left of it and what is needed.", func(w *world) {
		shared := w.share(team(5))
		wide := ledger.Budget{Name: "wide", Meter: cost.Charge, Currency: "USD", Limit: 100, Window: cost.Lifetime}
		w.admit(w.pay(2, purse(6), shared, wide))
		d := w.refuse(w.pay(7, purse(6), shared, wide), reason.BudgetExceeded)
		if len(d.Shortfalls) != 2 {
			w.fail("%d shortfalls, want 2: %+v", len(d.Shortfalls), d.Shortfalls)
		}
		for i, want := range []struct {
			name        string
			limit, left int64
		}{{"purse", 6, 4}, {"team", 5, 3}} {
			s := d.Shortfalls[i]
			if s.Name != want.name || s.Limit != want.limit || s.Left() != want.left || s.Need != 7 {
				w.fail("shortfall %s has %d left of %d and needs %d, want %+v needing 7", s.Name, s.Left(), s.Limit, s.Need, want)
			}
		}
	}},
	{"race", "However many calls reserve at once, exactly as many are admitted as the limit covers.", race},
	{"zero-limit", "A limit of zero refuses every call that costs, and none that does not.", func(w *world) {
		w.refuse(w.pay(1, purse(0)), reason.BudgetExceeded)
		w.admit(w.pay(0, purse(0)))
	}},
	{"largest", "Amounts are exact up to cost.Max.", func(w *world) {
		h := w.admit(w.pay(cost.Max-1, purse(cost.Max)))
		w.stands(purse(cost.Max), 0, cost.Max-1)
		w.refuse(w.pay(2, purse(cost.Max)), reason.BudgetExceeded)
		w.admit(w.pay(1, purse(cost.Max)))
		w.settle(h, usd(cost.Max-2))
		s := w.stands(purse(cost.Max), cost.Max-2, 1)
		if s.Left() != 1 || h.Entries[0].Held != cost.Max-1 {
			w.fail("left %d, held %d", s.Left(), h.Entries[0].Held)
		}
	}},
	{"overflow", "Amounts outside 0..cost.Max, or that add up to more, are refused and never wrap.", func(w *world) {
		w.refuse(w.pay(cost.Max+1, purse(cost.Max)), reason.CostUnknown)
		w.refuse(w.pay(-1, purse(cost.Max)), reason.CostUnknown)
		w.refuse(w.call(key1, lines(usd(cost.Max), usd(cost.Max)), purse(cost.Max)), reason.CostUnknown)
		h := w.admit(w.pay(cost.Max, purse(cost.Max)))
		w.refuse(w.pay(cost.Max, purse(cost.Max)), reason.BudgetExceeded)
		w.settle(h, usd(cost.Max))
		w.refuse(w.call(key2, lines(usd(1)), purse(-5)), reason.BudgetExceeded)
		w.stands(purse(cost.Max), cost.Max, 0)
	}},
	{"meters", "A spend budget counts charges and fees together; a budget on another meter, or for other operations, does not.", func(w *world) {
		fees := ledger.Budget{Name: "fees", Meter: cost.Fee, Currency: "USD", Limit: 10, Window: cost.Lifetime}
		some := ledger.Budget{Name: "some", Meter: cost.Spend, Currency: "USD", Limit: 100, Window: cost.Lifetime, Operations: []cost.Pattern{"acme.refunds.*"}}
		pieces := ledger.Budget{Name: "pieces", Meter: cost.Units, Limit: 10, Window: cost.Lifetime}
		h := w.admit(w.call(key1, lines(usd(5), fee(2), units(3)), purse(100), fees, some, pieces))
		w.stands(purse(100), 0, 7)
		w.stands(fees, 0, 2)
		w.stands(some, 0, 0)
		w.stands(pieces, 0, 3)
		w.settle(h, usd(5), fee(1), units(2))
		w.stands(purse(100), 6, 0)
		w.stands(fees, 1, 0)
		w.stands(pieces, 2, 0)
	}},
	{"reads", "A read is counted and leaves nothing held and nothing in doubt.", func(w *world) {
		r := w.call(key1, lines(usd(5), oneCall), purse(100), tally(2))
		r.Read = true
		w.admit(r)
		w.admit(r) // sent again by the store's client
		w.stands(tally(2), 1, 0)
		w.stands(purse(100), 0, 0)
		w.clock.Add(time.Hour)
		if open, err := w.InDoubt(w.ctx, acme); err != nil || len(open) != 0 {
			w.fail("in doubt after a read: %v, %v", open, err)
		}
		r.ID, r.Nonce = w.id("r"), w.id("n")
		w.admit(r)
		r.ID, r.Nonce = w.id("r"), w.id("n")
		w.refuse(r, reason.BudgetExceeded)
	}},
	{"states", "A hold and a receipt tell how the budgets stand after them.", func(w *world) {
		w.admit(w.pay(1, purse(10)))
		h := w.admit(w.pay(4, purse(10)))
		if len(h.States) != 1 || h.States[0].Name != "purse" || h.States[0].Held != 5 || h.States[0].Left() != 5 || h.States[0].Limit != 10 {
			w.fail("states of the hold: %+v", h.States)
		}
		r := w.settle(h, usd(3))
		if len(r.States) != 1 || r.States[0].Name != "purse" || r.States[0].Spent != 3 || r.States[0].Held != 1 || r.States[0].Limit != 10 {
			w.fail("states of the receipt: %+v", r.States)
		}
	}},
}

// race sends 64 calls at once at a budget for ten.
func race(w *world) {
	shared := w.share(team(30))
	var admitted, denied atomic.Int64
	var wg sync.WaitGroup
	start := make(chan struct{})
	for range 64 {
		r := w.call(key1, lines(usd(3)), purse(1000), shared)
		wg.Go(func() {
			<-start
			_, err := w.Reserve(w.ctx, r)
			switch err.(type) {
			case nil:
				admitted.Add(1)
			case *ledger.Denied:
				denied.Add(1)
			}
		})
	}
	close(start)
	wg.Wait()
	if admitted.Load() != 10 || denied.Load() != 54 {
		w.fail("%d admitted and %d denied of 64, want 10 and 54", admitted.Load(), denied.Load())
	}
	w.stands(shared, 0, 30)
	w.stands(purse(1000), 0, 30)
}

var currencyLaws = []Law{
	{"uncovered", "A money line that no budget counts is refused: nothing is forwarded unbounded.", func(w *world) {
		w.refuse(w.pay(1), reason.BudgetMissing)
		w.refuse(w.call(key1, lines(usd(1)), tally(5)), reason.BudgetMissing)
	}},
	{"currency", "A call in another currency than a budget that counts it is refused.", func(w *world) {
		w.refuse(w.call(key1, lines(eur(1)), purse(10)), reason.CurrencyDenied)
		w.refuse(w.call(key1, lines(usd(1), eur(1)), purse(10)), reason.CurrencyDenied)
	}},
	{"currency-scopes", "Each shared budget, and the key's own budgets together, must cover the call's currency.", func(w *world) {
		euros := ledger.Budget{Name: "euros", Meter: cost.Charge, Currency: "EUR", Limit: 10, Window: cost.Lifetime}
		shared := w.share(team(100))
		w.admit(w.call(key1, lines(eur(1)), purse(10), euros))
		w.stands(purse(10), 0, 0)
		w.refuse(w.call(key1, lines(eur(1)), shared, euros), reason.CurrencyDenied)
		w.refuse(w.call(key1, lines(usd(1)), shared, euros), reason.CurrencyDenied)
	}},
	{"stray", "Cost that no budget of the hold counts books nothing, is named, and leaves the hold in doubt.", func(w *world) {
		h := w.admit(w.pay(5, purse(10)))
		r := w.settle(h, eur(4))
		if len(r.Strays) != 1 || r.Strays[0] != eur(4) {
			w.fail("strays: %v", r.Strays)
		}
		w.stands(purse(10), 0, 5)
		w.phase(h.ID, ledger.Doubt)
		w.settle(h, usd(4))
		w.stands(purse(10), 4, 0)
	}},
	{"unreadable-cost", "A settlement out of range is an error, books nothing and leaves the hold standing.", func(w *world) {
		h := w.admit(w.pay(5, purse(10)))
		for _, bad := range []cost.Line{usd(-1), usd(cost.Max + 1), {Meter: "luck", Amount: 1}} {
			if _, err := w.Settle(w.ctx, h, ledger.Settlement{Phase: ledger.Settled, Actual: lines(bad)}); err == nil {
				w.fail("settled with %+v", bad)
			}
		}
		w.stands(purse(10), 0, 5)
		w.phase(h.ID, ledger.Doubt)
	}},
}

var sharedLaws = []Law{
	{"missing-budget", "A shared budget without a row refuses the call and is named: missing is not zero, nor unlimited.", func(w *world) {
		d := w.refuse(w.pay(1, purse(10), ref("gone")), reason.BudgetMissing)
		if d.Name != "gone" {
			w.fail("the refusal names %q", d.Name)
		}
		w.stands(purse(10), 0, 0)
		if _, err := w.Budget(w.ctx, acme, "gone"); err != ledger.ErrNoBudget {
			w.fail("Budget of a missing row: %v", err)
		}
	}},
	{"two-keys", "A shared budget is one, whichever keys spend from it.", func(w *world) {
		shared := w.share(team(10))
		w.admit(w.pay(6, shared))
		w.refuse(w.call(key2, lines(usd(5)), shared), reason.BudgetExceeded)
		h := w.admit(w.call(key2, lines(usd(4)), shared))
		w.settle(h, usd(1))
		w.stands(shared, 1, 6)
		w.standsFor(key2, shared, 1, 6)
	}},
	{"own-apart", "A key's own budget is its own, also where another key has one of the same name.", func(w *world) {
		w.admit(w.pay(10, purse(10)))
		w.admit(w.call(key2, lines(usd(10)), purse(10)))
		w.standsFor(key2, purse(10), 0, 10)
	}},
	{"tenants-apart", "Tenants have nothing in common, also where their names look alike.", func(w *world) {
		shared := w.share(team(10))
		for _, other := range []string{"acme}", "{acme}", "acme:b", "a cme", "%61cme", "ACME"} {
			w.open(other, key1)
			w.must("set budget", w.SetBudget(w.ctx, other, team(10)))
			h := w.admit(w.callIn(other, key1, lines(usd(10)), purse(10), shared))
			w.stands(shared, 0, 0)
			w.stands(purse(10), 0, 0)
			if _, err := w.Find(w.ctx, acme, h.ID); err == nil {
				w.fail("acme finds a reservation of %q", other)
			}
		}
	}},
	{"revised", "A limit is raised and lowered without a reset, at once, and below what is spent it refuses.", func(w *world) {
		shared := w.share(team(10))
		h := w.admit(w.pay(8, shared))
		w.refuse(w.pay(8, shared), reason.BudgetExceeded)
		w.share(team(20))
		w.admit(w.pay(8, shared))
		w.settle(h, usd(8))
		w.share(team(3))
		s := w.stands(shared, 8, 8)
		if s.Limit != 3 || s.Left() != 0 {
			w.fail("limit %d, left %d", s.Limit, s.Left())
		}
		w.refuse(w.pay(1, shared), reason.BudgetExceeded)
		if b, err := w.Budget(w.ctx, acme, "team"); err != nil || b.Limit != 3 || b.Meter != cost.Spend || b.Window != cost.Lifetime {
			w.fail("budget: %+v, %v", b, err)
		}
	}},
	{"token-lowers", "A key may set a lower limit on a shared budget than its row, and nothing else.", func(w *world) {
		w.share(team(10))
		lower, higher := team(4), team(1000)
		higher.Window, higher.Currency = cost.Hour, "EUR"
		w.refuse(w.pay(5, lower), reason.BudgetExceeded)
		w.refuse(w.pay(11, higher), reason.BudgetExceeded)
		w.admit(w.pay(4, lower))
		w.admit(w.pay(6, higher))
		w.stands(ref("team"), 0, 10)
		if s := w.state(key1, higher); s.Limit != 10 || s.Window != cost.Lifetime || s.Currency != "USD" {
			w.fail("the key's words for a shared budget stand: %+v", s.Budget)
		}
	}},
	{"named-twice", "A shared budget that a key names twice is charged once, under the lower limit; two of the key's own under one name are refused.", func(w *world) {
		w.share(team(10))
		w.admit(w.pay(5, ref("team"), team(6)))
		w.stands(ref("team"), 0, 5)
		w.refuse(w.pay(2, ref("team"), team(6)), reason.BudgetExceeded)
		w.fails(w.pay(1, purse(10), purse(10)))
		w.stands(purse(10), 0, 0)
	}},
	{"budget-fixed", "What a budget counts never changes: another meter, currency, window, zone or filter is ErrBudgetFixed.", func(w *world) {
		w.share(team(10))
		for i, change := range []func(*ledger.Budget){
			func(b *ledger.Budget) { b.Meter = cost.Fee },
			func(b *ledger.Budget) { b.Currency = "EUR" },
			func(b *ledger.Budget) { b.Window = cost.Day },
			func(b *ledger.Budget) { b.Zone = "Europe/Berlin" },
			func(b *ledger.Budget) { b.Operations = []cost.Pattern{"acme.*"} },
		} {
			b := team(99)
			change(&b)
			if err := w.SetBudget(w.ctx, acme, b); err != ledger.ErrBudgetFixed {
				w.fail("change %d: %v", i, err)
			}
		}
		if b, err := w.Budget(w.ctx, acme, "team"); err != nil || b.Limit != 10 {
			w.fail("a refused change left %+v, %v", b, err)
		}
	}},
	{"budget-valid", "A budget that cannot be read as it was meant is refused, and makes no row.", func(w *world) {
		for i, change := range []func(*ledger.Budget){
			func(b *ledger.Budget) { b.Name = "" },
			func(b *ledger.Budget) { b.Meter = "" },
			func(b *ledger.Budget) { b.Currency = "usd" },
			func(b *ledger.Budget) { b.Window = "week" },
			func(b *ledger.Budget) { b.Zone = "Local" },
			func(b *ledger.Budget) { b.Limit = -1 },
			func(b *ledger.Budget) { b.Limit = cost.Max + 1 },
			func(b *ledger.Budget) { b.Operations = []cost.Pattern{"*"} },
		} {
			b := team(10)
			change(&b)
			if err := w.SetBudget(w.ctx, acme, b); err == nil {
				w.fail("change %d was taken: %+v", i, b)
			}
		}
		w.refuse(w.pay(1, ref("team")), reason.BudgetMissing)
	}},
}
