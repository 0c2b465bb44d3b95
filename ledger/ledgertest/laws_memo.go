package ledgertest

import (
	"strings"
	"time"

	"github.com/keybrake/keybrake-go/ledger"
)

// memo expects what a reservation keeps, in what Find says and in each of lists.
func (w *world) memo(id string, phase ledger.Phase, want string, lists ...[]ledger.Hold) {
	all := []ledger.Hold{w.phase(id, phase)}
	for _, list := range lists {
		found := false
		for _, h := range list {
			if h.ID == id {
				all, found = append(all, h), true
			}
		}
		if !found {
			w.fail("reservation %s is not listed", id)
		}
	}
	for _, h := range all {
		if h.Memo != want {
			w.fail("reservation %s, %s, keeps %.40q, want %.40q", id, h.Phase, h.Memo, want)
		}
	}
}

func (w *world) inDoubt() []ledger.Hold {
	list, err := w.InDoubt(w.ctx, acme)
	w.must("in doubt", err)
	return list
}

func (w *world) stillOpen() []ledger.Hold {
	list, err := w.Unsettled(w.ctx, acme)
	w.must("unsettled", err)
	return list
}

// long is a memo of the length that they have at most in practice, of characters that a store might change.
func long(mark string) string {
	return mark + strings.Repeat("\"<&>\\ ü\u2028\x00\r\n{}", 100)
}

var memoLaws = []Law{
	{"memo", "What a call brings along is kept with its reservation, with an idempotency key or without one, and comes back in every phase for as long as the reservation is remembered.", func(w *world) {
		var holds []ledger.Hold
		for i := range 5 {
			r := w.pay(1, purse(100))
			r.Memo = long(r.ID)
			if i == 4 {
				r.Claim = &ledger.Claim{ID: "c", Fingerprint: "f", Memory: time.Hour}
			}
			h := w.admit(r)
			if h.Memo != r.Memo {
				w.fail("the reserve returns memo %.40q", h.Memo)
			}
			holds = append(holds, h)
		}
		for _, h := range holds {
			w.memo(h.ID, ledger.InFlight, long(h.ID), w.stillOpen())
		}
		w.pend(holds[1], "thing", usd(1))
		w.doubt(holds[2])
		w.settle(holds[3], usd(1))
		w.settle(holds[4], usd(1))
		w.clock.Add(time.Hour)
		w.memo(holds[0].ID, ledger.InFlight, long(holds[0].ID), w.stillOpen(), w.inDoubt())
		w.memo(holds[1].ID, ledger.Pending, long(holds[1].ID), w.stillOpen())
		w.memo(holds[2].ID, ledger.Doubt, long(holds[2].ID), w.stillOpen(), w.inDoubt())
		w.clock.Add(30 * 24 * time.Hour)
		w.admit(w.pay(1, purse(100))) // forgets what is to be forgotten
		for _, h := range holds[3:] {
			w.memo(h.ID, ledger.Settled, long(h.ID))
			_, err := w.Adjust(w.ctx, acme, h.ID, ledger.Adjustment{ID: "a", Actual: lines(usd(0))})
			w.must("adjust", err)
			w.memo(h.ID, ledger.Settled, long(h.ID))
		}
	}},
	{"memo-settle", "The memo of a settlement takes the place of the hold's, whatever its phase; an empty one leaves it.", func(w *world) {
		r := w.pay(8, purse(100))
		r.Memo = "first"
		h := w.admit(r)
		w.book(h, ledger.Settlement{Phase: ledger.Doubt, Memo: long("doubt")})
		w.memo(h.ID, ledger.Doubt, long("doubt"), w.stillOpen(), w.inDoubt())
		w.book(h, ledger.Settlement{Phase: ledger.Doubt, Memo: "doubt again"})
		w.doubt(h)
		w.memo(h.ID, ledger.Doubt, "doubt again", w.stillOpen(), w.inDoubt())
		w.book(h, ledger.Settlement{Phase: ledger.Pending, Held: lines(usd(8)), Memo: long("pending")})
		w.memo(h.ID, ledger.Pending, long("pending"), w.stillOpen())
		w.book(h, ledger.Settlement{Phase: ledger.Pending, Held: lines(usd(6))})
		w.memo(h.ID, ledger.Pending, long("pending"), w.stillOpen())
		w.book(h, ledger.Settlement{Phase: ledger.Settled, Actual: lines(usd(6)), Memo: long("settled")})
		w.memo(h.ID, ledger.Settled, long("settled"))
		bare := w.admit(w.pay(8, purse(100)))
		w.book(ledger.Hold{Tenant: acme, ID: bare.ID}, ledger.Settlement{Phase: ledger.Settled, Actual: lines(usd(3)), Memo: "by id"})
		w.memo(bare.ID, ledger.Settled, "by id")
		w.stands(purse(100), 9, 0)
	}},
	{"memo-same", "The same amounts with another memo are the same settlement: nothing else changes, and the newest memo stands. With other amounts nothing does.", func(w *world) {
		h := w.admit(w.pay(8, purse(100)))
		for _, memo := range []string{"one", "two", "", "three"} {
			r := w.book(h, ledger.Settlement{Phase: ledger.Settled, Actual: lines(usd(5)), Memo: memo})
			if r.Over || len(r.States) != 1 || r.States[0].Spent != 5 {
				w.fail("the receipt: %+v", r)
			}
			if memo == "" {
				memo = "two"
			}
			w.memo(h.ID, ledger.Settled, memo)
		}
		_, err := w.Settle(w.ctx, h, ledger.Settlement{Phase: ledger.Settled, Actual: lines(usd(6)), Memo: "four"})
		w.is("a settlement of another amount", err, ledger.ErrSettled)
		w.memo(h.ID, ledger.Settled, "three")
		w.stands(purse(100), 5, 0)
		_, err = w.Adjust(w.ctx, acme, h.ID, ledger.Adjustment{ID: "a", Actual: lines(usd(7))})
		w.must("adjust", err)
		w.book(h, ledger.Settlement{Phase: ledger.Settled, Actual: lines(usd(5)), Memo: "five"})
		w.memo(h.ID, ledger.Settled, "five")
		w.stands(purse(100), 7, 0)
	}},
	{"memo-doubt", "A doubt that comes when more is known leaves the memo of who knew it; cost that no budget counts brings its own to the doubt that it leaves.", func(w *world) {
		h, given := w.admit(w.pay(8, purse(100))), w.admit(w.pay(8, purse(100)))
		w.book(h, ledger.Settlement{Phase: ledger.Pending, Held: lines(usd(8)), Memo: "known"})
		late := ledger.Settlement{Phase: ledger.Doubt, Memo: "who knows"}
		w.book(h, late)
		w.memo(h.ID, ledger.Pending, "known")
		w.settle(h, usd(8))
		w.book(h, late)
		w.memo(h.ID, ledger.Settled, "known")
		w.release(given, true)
		w.book(given, late)
		w.memo(given.ID, ledger.Released, "")
		stray := w.admit(w.pay(8, purse(100)))
		r := w.book(stray, ledger.Settlement{Phase: ledger.Settled, Actual: lines(eur(8)), Memo: "in euros"})
		if len(r.Strays) != 1 {
			w.fail("the receipt: %+v", r)
		}
		w.memo(stray.ID, ledger.Doubt, "in euros", w.inDoubt())
		w.stands(purse(100), 8, 8)
	}},
	{"memo-any", "An outcome is booked whatever its memo is.", func(w *world) {
		for _, memo := range []string{strings.Repeat("long", 1<<16), "\xff\xfe", "\x00", "\ufffd", `\ufffd`} {
			h := w.admit(w.pay(8, purse(1000)))
			w.book(h, ledger.Settlement{Phase: ledger.Settled, Actual: lines(usd(15)), Memo: memo})
			if got := w.phase(h.ID, ledger.Settled).Memo; got != strings.ToValidUTF8(memo, "\ufffd") {
				w.fail("of memo %.40q there is left %.40q", memo, got)
			}
			w.control(ledger.Control{Verb: ledger.Resume, Tenant: acme, Key: key1})
		}
		w.stands(purse(1000), 75, 0)
	}},
}
