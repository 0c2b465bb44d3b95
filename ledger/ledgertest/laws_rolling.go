package ledgertest

import (
	"math/rand/v2"
	"time"

	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/ledger"
	"github.com/keybrake/keybrake-go/reason"
)

// last is a budget of the key's own over the last d.
func last(d time.Duration, limit int64) ledger.Budget { return per(cost.Rolling(d), "", limit) }

// admitted is when a law's call was admitted, and at what.
type admitted struct {
	at     time.Time
	amount int64
}

// fits fails where more than limit was admitted in a span of length d.
func (w *world) fits(all []admitted, d time.Duration, limit int64) {
	for i := range all {
		var sum int64
		for _, a := range all[:i+1] {
			if all[i].at.Sub(a.at) < d {
				sum += a.amount
			}
		}
		if sum > limit {
			w.fail("%d were admitted in the %s up to %s, the limit is %d", sum, d, all[i].at, limit)
		}
	}
}

var rollingLaws = []Law{
	{"rolling", "A rolling budget never admits more than its limit in any span of its length.", func(w *world) {
		for _, d := range []time.Duration{time.Second, time.Minute, 24 * time.Hour} {
			b := last(d, 100)
			var all []admitted
			random := rand.New(rand.NewPCG(1, uint64(d)))
			for range 600 {
				w.clock.Add(time.Duration(random.Int64N(int64(d) / 40)).Truncate(time.Microsecond))
				r := w.pay(random.Int64N(20)+1, b)
				if _, err := w.Reserve(w.ctx, r); err == nil {
					all = append(all, admitted{w.clock.Now(), r.Lines[0].Amount})
				}
			}
			w.fits(all, d, 100)
			if len(all) < 100 {
				w.fail("of 600 calls over 7 windows of %s only %d were admitted", d, len(all))
			}
		}
	}},
	{"rolling-returns", "What falls out of a rolling window comes back, at the latest a sixtieth of its length late, and the refusal says when.", func(w *world) {
		b := last(time.Hour, 10)
		start := w.clock.Now()
		w.settle(w.admit(w.pay(4, b)), usd(4))
		w.clock.Add(30 * time.Minute)
		w.settle(w.admit(w.pay(6, b)), usd(6))
		w.clock.Set(start.Add(time.Hour - time.Microsecond))
		d := w.refuse(w.pay(1, b), reason.BudgetExceeded)
		s := d.Shortfalls[0]
		if s.Spent != 10 || s.Held != 0 || s.Need != 1 || s.Reset.Before(start.Add(time.Hour)) || s.Reset.After(start.Add(62*time.Minute)) {
			w.fail("the refusal says %+v", s)
		}
		w.clock.Set(s.Reset)
		w.stands(b, 6, 0)
		w.refuse(w.pay(5, b), reason.BudgetExceeded)
		w.admit(w.pay(4, b))
	}},
	{"rolling-settle", "In a rolling window a settle and a release land where their reserve was counted.", func(w *world) {
		b := last(time.Hour, 10)
		start := w.clock.Now()
		h, back := w.admit(w.pay(5, b)), w.admit(w.pay(3, b))
		w.clock.Add(40 * time.Minute)
		w.settle(h, usd(2))
		w.release(back, true)
		w.stands(b, 2, 0)
		w.settle(w.admit(w.pay(8, b)), usd(8))
		w.clock.Set(start.Add(62 * time.Minute))
		w.stands(b, 8, 0)
		w.admit(w.pay(2, b))
	}},
	{"rolling-late", "What settles after its rolling window is over changes nothing in the one that counts now, and is booked all the same.", func(w *world) {
		b := last(time.Hour, 10)
		h, gone := w.admit(w.pay(5, b)), w.admit(w.pay(5, b))
		w.clock.Add(3 * time.Hour)
		w.admit(w.pay(7, b))
		w.settle(h, usd(4))
		w.release(gone, true)
		w.stands(b, 0, 7)
		if e := w.phase(h.ID, ledger.Settled).Entries[0]; e.Booked != 4 {
			w.fail("the reservation has booked %d, want 4", e.Booked)
		}
	}},
	{"rolling-clock-back", "A clock that goes back makes no room in a rolling window.", func(w *world) {
		b := last(time.Hour, 10)
		w.settle(w.admit(w.pay(6, b)), usd(6))
		w.clock.Add(-50 * time.Minute)
		w.admit(w.pay(4, b))
		w.refuse(w.pay(1, b), reason.BudgetExceeded)
		w.clock.Add(-5 * time.Hour)
		w.refuse(w.pay(1, b), reason.BudgetExceeded)
	}},
	{"rolling-shared", "A shared budget rolls for all keys together, and a budget of calls is a rate.", func(w *world) {
		rate := ledger.Budget{Name: "rate", Shared: true, Meter: cost.Calls, Limit: 3, Window: cost.Rolling(time.Minute)}
		b := w.share(rate)
		for _, key := range []string{key1, key2, key1} {
			w.admit(w.call(key, lines(oneCall), b))
			w.clock.Add(10 * time.Second)
		}
		for _, key := range []string{key1, key2} {
			w.refuse(w.call(key, lines(oneCall), b), reason.BudgetExceeded)
		}
		w.clock.Add(32 * time.Second)
		w.admit(w.call(key2, lines(oneCall), b))
	}},
	{"rolling-object", "What an object holds in a rolling window already, the call that moves it need not find room for again.", func(w *world) {
		b := last(time.Hour, 10)
		w.pend(w.admit(w.pay(8, b)), "pi", usd(8))
		w.clock.Add(20 * time.Minute)
		r := w.pay(10, b)
		r.Object = "pi"
		h := w.admit(r)
		w.stands(b, 0, 10)
		w.settle(h, usd(9))
		w.stands(b, 9, 0)
	}},
	{"rolling-raise", "A raise in a rolling window is checked against what counts when it is raised.", func(w *world) {
		b := last(time.Hour, 10)
		r := w.call(key1, lines(usd(0)), b)
		r.Probing = true
		h := w.admit(r)
		w.settle(w.admit(w.pay(6, b)), usd(6))
		r.Lines, r.Probing = lines(usd(5)), false
		_, err := w.Raise(w.ctx, h, r)
		w.denied(h, err, reason.BudgetExceeded)
		r.Lines = lines(usd(4))
		_, err = w.Raise(w.ctx, h, r)
		w.must("raise", err)
		w.stands(b, 6, 4)
	}},
}
