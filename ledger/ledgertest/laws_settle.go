package ledgertest

import (
	"time"

	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/ledger"
	"github.com/keybrake/keybrake-go/reason"
)

var settleLaws = []Law{
	{"settle-less", "Settling for less books the actual and frees the rest.", func(w *world) {
		r := w.settle(w.admit(w.pay(8, purse(10))), usd(3))
		if r.Over {
			w.fail("less than was held is called over")
		}
		w.stands(purse(10), 3, 0)
		w.admit(w.pay(7, purse(10)))
	}},
	{"settle-more", "Settling for more books all of it, above the limit too, and says so.", func(w *world) {
		r := w.settle(w.admit(w.pay(8, purse(10))), usd(15))
		if !r.Over {
			w.fail("the receipt does not say that it went over")
		}
		s := w.stands(purse(10), 15, 0)
		if s.Left() != 0 {
			w.fail("left %d", s.Left())
		}
	}},
	{"freeze", "A key whose call went over its bound is frozen, it alone, until it is resumed.", func(w *world) {
		w.settle(w.admit(w.pay(3, purse(100))), usd(4))
		w.refuse(w.pay(1, purse(100)), reason.KeyFrozen)
		w.admit(w.call(key2, lines(usd(1)), purse(100)))
		w.control(ledger.Control{Verb: ledger.Resume, Tenant: acme, Key: key1})
		w.admit(w.pay(1, purse(100)))
		w.stands(purse(100), 4, 1)
	}},
	{"settle-full", "Settle never refuses for lack of budget.", func(w *world) {
		shared := w.share(team(10))
		h := w.admit(w.pay(10, shared))
		w.share(team(1))
		w.settle(h, usd(10))
		w.stands(shared, 10, 0)
	}},
	{"settle-stopped", "Settle and release ask nothing about the key: it may be revoked, expired or frozen.", func(w *world) {
		a, b := w.admit(w.pay(4, purse(10))), w.admit(w.pay(4, purse(10)))
		w.control(ledger.Control{Verb: ledger.Revoke, Tenant: acme, Key: key1})
		w.clock.Add(99 * 24 * time.Hour)
		w.settle(a, usd(3))
		w.release(b, true)
		w.stands(purse(10), 3, 0)
	}},
	{"settle-twice", "Settling a settled hold with the same amounts changes nothing.", func(w *world) {
		h := w.admit(w.pay(8, purse(10)))
		w.settle(h, usd(5))
		r := w.settle(h, usd(5))
		if r.Over || len(r.States) != 1 || r.States[0].Spent != 5 {
			w.fail("the second receipt: %+v", r)
		}
		w.stands(purse(10), 5, 0)
	}},
	{"settle-other", "Settling a settled hold with other amounts is ErrSettled, and the first stand.", func(w *world) {
		h := w.admit(w.pay(8, purse(10)))
		w.settle(h, usd(5))
		for _, n := range []int64{0, 4, 9} {
			_, err := w.Settle(w.ctx, h, ledger.Settlement{Phase: ledger.Settled, Actual: lines(usd(n))})
			w.is("second settle", err, ledger.ErrSettled)
		}
		w.stands(purse(10), 5, 0)
		w.admit(w.pay(1, purse(10)))
	}},
	{"settle-zero", "The zero settlement is an error and changes nothing; so is one that settles and still holds.", func(w *world) {
		h := w.admit(w.pay(8, purse(10)))
		for _, s := range []ledger.Settlement{{}, {Phase: ledger.InFlight}, {Phase: ledger.Released}, {Phase: ledger.Settled, Held: lines(usd(1))}} {
			if _, err := w.Settle(w.ctx, h, s); err == nil {
				w.fail("settled with %+v", s)
			}
		}
		w.stands(purse(10), 0, 8)
		w.phase(h.ID, ledger.InFlight)
	}},
	{"settle-unknown", "Settling a reservation that does not exist is ErrNoHold.", func(w *world) {
		h := w.admit(w.pay(8, purse(10)))
		h.ID = "never"
		_, err := w.Settle(w.ctx, h, ledger.Settlement{Phase: ledger.Settled, Actual: lines(usd(8))})
		w.is("settle", err, ledger.ErrNoHold)
		_, err = w.Find(w.ctx, acme, "never")
		w.is("find", err, ledger.ErrNoHold)
	}},
	{"pending", "A pending settlement books what has been spent, holds what it says, and is settled later.", func(w *world) {
		h := w.admit(w.pay(8, purse(10)))
		w.book(h, ledger.Settlement{Phase: ledger.Pending, Actual: lines(usd(2)), Held: lines(usd(5))})
		w.stands(purse(10), 2, 5)
		w.phase(h.ID, ledger.Pending)
		w.settle(h, usd(6))
		w.stands(purse(10), 6, 0)
		w.phase(h.ID, ledger.Settled)
	}},
	{"late-settle", "A settle after the release books in full all the same: the money is gone.", func(w *world) {
		h := w.admit(w.pay(8, purse(10)))
		w.release(h, false)
		r := w.settle(h, usd(8))
		if !r.Over {
			w.fail("the receipt does not say that nothing was held any more")
		}
		w.stands(purse(10), 8, 0)
	}},
	{"any-process", "A hold is settled by its reservation id, by whoever has found it.", func(w *world) {
		shared := w.share(team(50))
		h := w.admit(w.call(key1, lines(usd(8), oneCall), purse(10), shared, tally(5)))
		found, err := w.Find(w.ctx, acme, h.ID)
		w.must("find", err)
		if found.Key != key1 || found.Operation != h.Operation || len(found.Entries) != 3 || !found.Deadline.Equal(h.Deadline) || found.Nonce != h.Nonce {
			w.fail("found %+v, reserved %+v", found, h)
		}
		r := w.settle(found, usd(6))
		if len(r.States) != 3 || r.States[0].Limit != 10 || r.States[0].Spent != 6 {
			w.fail("the receipt: %+v", r)
		}
		w.stands(purse(10), 6, 0)
		w.stands(shared, 6, 0)
		w.stands(tally(5), 1, 0)
		bare := w.admit(w.pay(3, purse(10), shared))
		w.settle(ledger.Hold{Tenant: acme, ID: bare.ID}, usd(2))
		w.stands(purse(10), 8, 0)
	}},
}

var releaseLaws = []Law{
	{"release", "A release gives the hold back, once.", func(w *world) {
		h := w.admit(w.pay(8, purse(10)))
		w.admit(w.pay(2, purse(10)))
		w.release(h, true)
		w.release(h, true)
		w.stands(purse(10), 0, 2)
		w.phase(h.ID, ledger.Released)
	}},
	{"release-settled", "What is settled cannot be released.", func(w *world) {
		h := w.admit(w.pay(8, purse(10)))
		w.settle(h, usd(8))
		w.is("release", w.Release(w.ctx, h, true), ledger.ErrSettled)
		w.stands(purse(10), 8, 0)
	}},
	{"calls", "A call is counted at the reserve and comes back only when not even a byte left.", func(w *world) {
		for _, unsent := range []bool{false, true} {
			h := w.admit(w.call(key1, lines(usd(1), oneCall), purse(10), tally(2)))
			w.stands(tally(2), map[bool]int64{false: 1, true: 2}[unsent], 0)
			w.release(h, unsent)
			w.stands(tally(2), 1, 0)
		}
		w.settle(w.admit(w.call(key1, lines(usd(1), oneCall), purse(10), tally(2))), usd(1))
		w.stands(tally(2), 2, 0)
		w.refuse(w.call(key1, lines(usd(1), oneCall), purse(10), tally(2)), reason.BudgetExceeded)
	}},
	{"tombstone", "Releasing an unknown reservation refuses the reserve that arrives after it.", func(w *world) {
		r := w.pay(8, purse(10))
		w.release(ledger.Hold{Tenant: acme, ID: r.ID, Key: key1}, true)
		w.fails(r)
		w.stands(purse(10), 0, 0)
		w.phase(r.ID, ledger.Released)
	}},
	{"released-stays", "A reserve sent again after its release is refused: the hold does not come back.", func(w *world) {
		r := w.pay(8, purse(10))
		w.release(w.admit(r), true)
		w.fails(r)
		w.stands(purse(10), 0, 0)
	}},
	{"release-any-process", "A hold is released by its reservation id, whatever else is known of it.", func(w *world) {
		h := w.admit(w.call(key1, lines(usd(8), oneCall), purse(10), tally(5)))
		w.release(ledger.Hold{Tenant: acme, ID: h.ID}, true)
		w.stands(purse(10), 0, 0)
		w.stands(tally(5), 0, 0)
	}},
}

var doubtLaws = []Law{
	{"doubt-holds", "What is in doubt stays held.", func(w *world) {
		h := w.admit(w.pay(8, purse(10)))
		w.doubt(h)
		w.stands(purse(10), 0, 8)
		w.refuse(w.pay(3, purse(10)), reason.BudgetExceeded)
		w.phase(h.ID, ledger.Doubt)
		w.doubt(h)
		w.settle(h, usd(7))
		w.stands(purse(10), 7, 0)
		w.doubt(h)
		w.phase(h.ID, ledger.Settled)
	}},
	{"deadline-holds", "A hold past its deadline stands: nobody gives it back because time has passed.", func(w *world) {
		h := w.admit(w.pay(8, purse(10)))
		w.clock.Add(60 * 24 * time.Hour)
		w.refuse(w.pay(3, purse(10)), reason.BudgetExceeded)
		w.stands(purse(10), 0, 8)
		w.settle(h, usd(8))
		w.stands(purse(10), 8, 0)
	}},
	{"in-doubt-list", "InDoubt lists what is in doubt and what is past its deadline, oldest first, and nothing else.", func(w *world) {
		late := w.admit(w.pay(1, purse(100)))
		w.clock.Add(time.Second)
		doubt := w.pay(1, purse(100))
		doubt.Deadline = time.Hour
		h := w.admit(doubt)
		w.doubt(h)
		w.settle(w.admit(w.pay(1, purse(100))), usd(1))
		w.release(w.admit(w.pay(1, purse(100))), true)
		w.pend(w.admit(w.pay(1, purse(100))), "obj", usd(1))
		fresh := w.pay(1, purse(100))
		fresh.Deadline = 2 * time.Hour
		w.admit(fresh)
		w.listed(doubt.ID)
		w.clock.Add(time.Minute)
		w.listed(late.ID, doubt.ID)
		w.clock.Add(3 * time.Hour)
		w.listed(late.ID, doubt.ID, fresh.ID)
		w.settle(h, usd(1))
		w.release(late, false)
		w.listed(fresh.ID)
	}},
	{"doubt-resolved", "A doubt that is resolved as not executed gives the hold back, but not the call.", func(w *world) {
		h := w.admit(w.call(key1, lines(usd(8), oneCall), purse(10), tally(5)))
		w.doubt(h)
		w.release(w.phase(h.ID, ledger.Doubt), true)
		w.stands(purse(10), 0, 0)
		w.stands(tally(5), 1, 0)
		w.listed()
	}},
}

func (w *world) listed(ids ...string) {
	holds, err := w.InDoubt(w.ctx, acme)
	w.must("in doubt", err)
	var got []string
	for _, h := range holds {
		got = append(got, h.ID)
	}
	if len(got) != len(ids) {
		w.fail("InDoubt lists %v, want %v", got, ids)
	}
	for i := range ids {
		if got[i] != ids[i] {
			w.fail("InDoubt lists %v, want %v", got, ids)
		}
	}
}

// claimed is a paid and counted call of key1 under an idempotency key.
func (w *world) claimed(id, fingerprint string, n int64) ledger.Request {
	r := w.call(key1, lines(usd(n), oneCall), purse(10), tally(5))
	r.Claim = &ledger.Claim{ID: id, Fingerprint: fingerprint, Memory: 23 * time.Hour}
	return r
}

var claimLaws = []Law{
	{"replay", "The same reserve sent twice counts once and is answered the same.", func(w *world) {
		r := w.call(key1, lines(usd(6), oneCall), purse(10), tally(5))
		a, b := w.admit(r), w.admit(r)
		if a.ID != b.ID || len(a.Entries) != len(b.Entries) || !a.Deadline.Equal(b.Deadline) || b.Attached {
			w.fail("first %+v, then %+v", a, b)
		}
		w.stands(purse(10), 0, 6)
		w.stands(tally(5), 1, 0)
	}},
	{"replay-stopped", "A reserve sent again is answered though the key has been stopped in between: it is the same call.", func(w *world) {
		r := w.pay(6, purse(10))
		w.admit(r)
		w.control(ledger.Control{Verb: ledger.Revoke, Tenant: acme, Key: key1})
		w.admit(r)
		w.stands(purse(10), 0, 6)
	}},
	{"other-nonce", "Another attempt under a taken reservation id is refused.", func(w *world) {
		r := w.pay(6, purse(10))
		w.admit(r)
		r.Nonce = w.id("n")
		w.fails(r)
		w.stands(purse(10), 0, 6)
	}},
	{"attach", "A retry of a claim attaches to its first attempt: it holds nothing and counts its call.", func(w *world) {
		first := w.admit(w.claimed("c", "f", 8))
		again := w.claimed("c", "f", 8)
		h := w.admit(again)
		if !h.Attached || h.ID != first.ID {
			w.fail("the retry got %+v", h)
		}
		w.stands(purse(10), 0, 8)
		w.stands(tally(5), 2, 0)
		if h2 := w.admit(again); !h2.Attached || h2.ID != first.ID {
			w.fail("the retry sent again got %+v", h2)
		}
		w.stands(tally(5), 2, 0)
		w.settle(h, usd(7))
		w.stands(purse(10), 7, 0)
		w.settle(first, usd(7))
		w.stands(purse(10), 7, 0)
	}},
	{"attach-counted", "A retry is told how many retries have attached, itself included, and asking again is none.", func(w *world) {
		first := w.admit(w.claimed("c", "f", 4))
		if first.Retries != 0 {
			w.fail("the first attempt got %d retries", first.Retries)
		}
		for n := 1; n <= 3; n++ {
			again := w.claimed("c", "f", 4)
			for range 2 {
				if h := w.admit(again); h.Retries != n {
					w.fail("retry %d got %d", n, h.Retries)
				}
			}
		}
		if h, err := w.Find(w.ctx, acme, first.ID); err != nil || h.Retries != 3 {
			w.fail("the reservation has %d retries: %v", h.Retries, err)
		}
	}},
	{"attach-settled", "A retry attaches to a settled attempt, too.", func(w *world) {
		w.settle(w.admit(w.claimed("c", "f", 8)), usd(8))
		if h := w.admit(w.claimed("c", "f", 8)); !h.Attached || h.Phase != ledger.Settled {
			w.fail("the retry got %+v", h)
		}
		w.stands(purse(10), 8, 0)
	}},
	{"attach-calls", "A retry that the budget of calls does not cover is refused.", func(w *world) {
		w.admit(w.claimed("c", "f", 1))
		for range 4 {
			w.admit(w.claimed("c", "f", 1))
		}
		w.refuse(w.claimed("c", "f", 1), reason.BudgetExceeded)
	}},
	{"attach-released", "A retry does not attach to a released attempt: it is a new spend.", func(w *world) {
		w.release(w.admit(w.claimed("c", "f", 8)), true)
		h := w.admit(w.claimed("c", "other", 9))
		if h.Attached {
			w.fail("attached to a released attempt")
		}
		w.stands(purse(10), 0, 9)
		if again := w.admit(w.claimed("c", "other", 9)); !again.Attached || again.ID != h.ID {
			w.fail("the claim did not pass to the new attempt: %+v", again)
		}
	}},
	{"attach-forgotten", "A claim older than the vendor's memory is a new spend, and the earlier hold stands.", func(w *world) {
		w.admit(w.claimed("c", "f", 4))
		w.clock.Add(23*time.Hour - time.Microsecond)
		if h := w.admit(w.claimed("c", "f", 4)); !h.Attached {
			w.fail("not attached within the vendor's memory")
		}
		w.clock.Add(time.Microsecond)
		if h := w.admit(w.claimed("c", "f", 4)); h.Attached {
			w.fail("attached to an attempt that the vendor has forgotten")
		}
		w.stands(purse(10), 0, 8)
	}},
	{"fingerprint", "The same idempotency key with another request is refused.", func(w *world) {
		h := w.admit(w.claimed("c", "f", 4))
		w.refuse(w.claimed("c", "g", 4), reason.IdempotencyConflict)
		w.settle(h, usd(4))
		w.refuse(w.claimed("c", "g", 4), reason.IdempotencyConflict)
		w.stands(purse(10), 4, 0)
		w.stands(tally(5), 1, 0)
	}},
	{"release-attached", "A hold that a retry has attached to is not given back by a release, however often it comes: it is in doubt.", func(w *world) {
		h := w.admit(w.claimed("c", "f", 8))
		w.admit(w.claimed("c", "f", 8))
		w.release(h, true)
		w.release(h, true)
		w.stands(purse(10), 0, 8)
		w.release(w.phase(h.ID, ledger.Doubt), true) // who has seen the doubt resolves it
		w.stands(purse(10), 0, 0)
	}},
	{"release-stale", "A doubt that was seen before a retry attached is not resolved by who saw it then.", func(w *world) {
		h := w.admit(w.claimed("c", "f", 8))
		w.doubt(h)
		seen := w.phase(h.ID, ledger.Doubt)
		w.admit(w.claimed("c", "f", 8))
		w.release(seen, false)
		w.stands(purse(10), 0, 8)
		w.release(w.phase(h.ID, ledger.Doubt), false)
		w.stands(purse(10), 0, 0)
	}},
	{"retry-release", "The answer to a retry never releases an earlier attempt's hold.", func(w *world) {
		h := w.admit(w.claimed("c", "f", 8))
		w.release(w.admit(w.claimed("c", "f", 8)), false)
		w.stands(purse(10), 0, 8)
		w.phase(h.ID, ledger.InFlight)
	}},
	{"release-retried", "The first attempt's release does not give back what its retry has settled as pending.", func(w *world) {
		first := w.admit(w.claimed("c", "f", 8))
		w.book(w.admit(w.claimed("c", "f", 8)), ledger.Settlement{Phase: ledger.Pending, Actual: lines(usd(8))})
		w.release(first, false)
		w.stands(purse(10), 8, 0)
	}},
	{"release-void", "A retry of a call that was given back is a new spend, also where its object keeps a level.", func(w *world) {
		edit := func() ledger.Request {
			r := w.claimed("c", "f", 9)
			r.Object = "pi"
			return r
		}
		w.created("pi", 2, purse(10))
		w.release(w.admit(edit()), false)
		w.stands(purse(10), 0, 2)
		if h := w.admit(edit()); h.Attached {
			w.fail("attached to a reservation that was given back")
		}
		w.stands(purse(10), 0, 9)
	}},
	{"retry-until", "A hold says until when a retry that has attached to it may run.", func(w *world) {
		h := w.admit(w.claimed("c", "f", 8))
		w.doubt(h)
		if until := w.phase(h.ID, ledger.Doubt).RetryUntil; !until.IsZero() {
			w.fail("without a retry it says %v", until)
		}
		w.clock.Add(time.Hour)
		again := w.claimed("c", "f", 8)
		w.admit(again)
		if until := w.phase(h.ID, ledger.Doubt).RetryUntil; !until.Equal(w.clock.Now().Add(again.Deadline)) {
			w.fail("it says %v, want %v", until, w.clock.Now().Add(again.Deadline))
		}
	}},
	{"retry-until-last", "Of several retries the one that ends last counts, whichever came last, and a raise forgets it not.", func(w *world) {
		h := w.admit(w.claimed("c", "f", 4))
		long, short := w.claimed("c", "f", 4), w.claimed("c", "f", 4)
		long.Deadline = time.Hour
		until := w.clock.Now().Add(time.Hour)
		w.admit(long)
		if again := w.admit(short); !again.RetryUntil.Equal(until) {
			w.fail("the second retry is told %v, want %v", again.RetryUntil, until)
		}
		r := w.claimed("", "", 5)
		r.Nonce, r.Claim = h.Nonce, nil
		if raised := w.raise(h, r); !raised.RetryUntil.Equal(until) {
			w.fail("the raise returns %v, want %v", raised.RetryUntil, until)
		}
	}},
	{"probing", "While the first attempt still finds out its amount, a retry is refused; past the deadline without a raise the claim counts for nothing.", func(w *world) {
		r := w.claimed("c", "f", 0)
		r.Lines, r.Probing = lines(oneCall), true
		w.admit(r)
		w.refuse(w.claimed("c", "f", 8), reason.IdempotencyInFlight)
		w.clock.Add(time.Minute)
		if h := w.admit(w.claimed("c", "f", 8)); h.Attached {
			w.fail("attached to an attempt without a hold")
		}
	}},
	{"probed", "Once the amount is known, a retry attaches and gets the memo with the hold.", func(w *world) {
		r := w.claimed("c", "f", 0)
		r.Lines, r.Probing = lines(oneCall), true
		h := w.admit(r)
		r.Lines, r.Probing, r.Memo = lines(usd(8)), false, "amount=8"
		if h = w.raise(h, r); h.Memo != "amount=8" {
			w.fail("the raise returns memo %q", h.Memo)
		}
		retry := w.claimed("c", "f", 0)
		retry.Lines, retry.Probing = lines(oneCall), true
		if again := w.admit(retry); !again.Attached || again.Memo != "amount=8" || again.ID != h.ID {
			w.fail("the retry got %+v", again)
		}
		w.stands(purse(10), 0, 8)
	}},
}

func (w *world) raise(h ledger.Hold, r ledger.Request) ledger.Hold {
	raised, err := w.Raise(w.ctx, h, r)
	w.must("raise of "+h.ID, err)
	return raised
}

// probe reserves a call whose amount is not known yet.
func (w *world) probe(budgets ...ledger.Budget) (ledger.Request, ledger.Hold) {
	r := w.call(key1, lines(oneCall), budgets...)
	return r, w.admit(r)
}

var raiseLaws = []Law{
	{"raise", "A raise adds its lines to the hold, and the settle books them together once.", func(w *world) {
		r, h := w.probe(purse(10), tally(5))
		r.Lines = lines(usd(6))
		h = w.raise(h, r)
		w.stands(purse(10), 0, 6)
		w.stands(tally(5), 1, 0)
		w.settle(h, usd(5))
		w.stands(purse(10), 5, 0)
		w.stands(tally(5), 1, 0)
	}},
	{"raise-same", "A raise in a budget that the hold is in already is one part with it: the actual is booked once.", func(w *world) {
		r := w.call(key1, lines(fee(2)), purse(10))
		h := w.admit(r)
		r.Lines = lines(usd(6))
		h = w.raise(h, r)
		w.stands(purse(10), 0, 8)
		receipt := w.settle(h, usd(6), fee(2))
		if receipt.Over {
			w.fail("exactly what was held is called over")
		}
		w.stands(purse(10), 8, 0)
	}},
	{"raise-once", "A raise sent twice counts once.", func(w *world) {
		r, h := w.probe(purse(10), tally(5))
		r.Lines = lines(usd(4))
		w.raise(h, r)
		again := w.raise(h, r)
		if len(again.Entries) != 2 {
			w.fail("the second raise returns %+v", again)
		}
		w.stands(purse(10), 0, 4)
		w.settle(h, usd(4)) // with the hold of before the raise, whose answer was lost
		w.stands(purse(10), 4, 0)
	}},
	{"raise-refused", "A refused raise leaves the hold as it was.", func(w *world) {
		shared := w.share(team(100))
		r := w.call(key1, lines(usd(3)), purse(10), shared)
		h := w.admit(r)
		r.Lines = lines(usd(8))
		raised, err := w.Raise(w.ctx, h, r)
		d := w.denied(raised, err, reason.BudgetExceeded)
		if d.Shortfalls[0].Need != 8 {
			w.fail("the refusal needs %d", d.Shortfalls[0].Need)
		}
		w.stands(purse(10), 0, 3)
		w.stands(shared, 0, 3)
		w.phase(h.ID, ledger.InFlight)
		r.Lines = lines(usd(7))
		w.raise(h, r)
		w.stands(purse(10), 0, 10)
	}},
	{"raise-state", "A raise looks at the key's state again.", func(w *world) {
		r, h := w.probe(purse(10), tally(5))
		w.control(ledger.Control{Verb: ledger.Pause, Tenant: acme, Run: "run-" + key1})
		r.Lines = lines(usd(4))
		raised, err := w.Raise(w.ctx, h, r)
		w.denied(raised, err, reason.KeyPaused)
		w.release(h, true)
		w.stands(purse(10), 0, 0)
	}},
	{"raise-open", "Only a hold in flight, of the same attempt, is raised.", func(w *world) {
		r, h := w.probe(purse(10), tally(5))
		r.Lines = lines(usd(4))
		other := r
		other.Nonce = w.id("n")
		if _, err := w.Raise(w.ctx, h, other); err == nil {
			w.fail("another attempt raised the hold")
		}
		w.settle(h)
		if _, err := w.Raise(w.ctx, h, r); err == nil {
			w.fail("a settled hold was raised")
		}
		h.ID = "never"
		_, err := w.Raise(w.ctx, h, r)
		w.is("raise of an unknown hold", err, ledger.ErrNoHold)
		w.stands(purse(10), 0, 0)
	}},
	{"raise-key", "A raise by another key is refused, whatever it can pay.", func(w *world) {
		h := w.admit(w.pay(4, purse(10)))
		r := w.call(key2, lines(usd(3)), purse(10))
		r.Nonce = h.Nonce
		if _, err := w.Raise(w.ctx, h, r); err == nil {
			w.fail("another key has raised it")
		}
		w.stands(purse(10), 0, 4)
		w.standsFor(key2, purse(10), 0, 0)
	}},
	{"raise-join", "A raise that joins what the hold and its object have in two windows fits into the one in which they join.", func(w *world) {
		day := per(cost.Day, "", 5)
		tomorrow := func() { w.clock.Add(24 * time.Hour) }
		old := w.pay(5, day)
		h := w.admit(old)
		tomorrow()
		w.pend(w.admit(w.pay(5, day)), "pi", usd(5))
		r := w.call(key1, lines(oneCall), day)
		r.Nonce, r.Object = old.Nonce, "pi"
		h, err := w.Raise(w.ctx, h, r)
		w.denied(h, err, reason.BudgetExceeded)
		w.stands(day, 0, 5)

		// What holds nothing itself takes over what the object holds where that stands.
		tomorrow()
		probe := w.pay(0, day)
		empty := w.admit(probe)
		w.admit(w.pay(5, day))
		r.Nonce = probe.Nonce
		w.raise(empty, r)
		w.stands(day, 0, 5)
	}},
	{"raise-window", "A raise holds in the windows of now.", func(w *world) {
		b := per(cost.Hour, "", 10)
		r := w.call(key1, lines(usd(4)), b)
		h := w.admit(r)
		w.clock.Add(time.Hour)
		r.Lines = lines(usd(5))
		h = w.raise(h, r)
		w.stands(b, 0, 9)
		w.settle(h, usd(9))
		w.stands(b, 9, 0)
	}},
}
