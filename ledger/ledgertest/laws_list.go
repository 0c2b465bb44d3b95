package ledgertest

import (
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/keybrake/keybrake-go/ledger"
)

// reservations are all that the ledger lists of acme, by id.
func (w *world) reservations() (list map[string]ledger.Hold, ok bool) {
	l, ok := w.Ledger.(ledger.Lister)
	if !ok {
		return nil, false // the contract leaves it open
	}
	list = map[string]ledger.Hold{}
	w.must("list", l.Reservations(w.ctx, acme, func(h ledger.Hold) error {
		list[h.ID] = h
		return nil
	}))
	return list, true
}

var listLaws = []Law{
	{"list", "What is open, or has settled and booked money, is listed as it stands, for as long as it is remembered; of another tenant nothing is, and no attempt of a retry.", func(w *world) {
		budget := purse(10_000)
		r := w.pay(1, budget)
		r.Claim = &ledger.Claim{ID: "c", Fingerprint: "f", Memory: time.Hour}
		claimed := w.admit(r)
		inFlight, pending, doubt := w.admit(w.pay(2, budget)), w.admit(w.pay(3, budget)), w.admit(w.pay(4, budget))
		want := map[string]ledger.Phase{claimed.ID: ledger.Settled, inFlight.ID: ledger.InFlight, pending.ID: ledger.Pending, doubt.ID: ledger.Doubt}
		for range 300 { // more than fit on a page
			h := w.admit(w.pay(5, budget))
			w.settle(h, usd(4))
			want[h.ID] = ledger.Settled
		}
		again := w.pay(1, budget)
		again.Claim = r.Claim
		if got := w.admit(again); !got.Attached {
			w.fail("a retry is not attached: %+v", got)
		}
		w.settle(claimed, usd(1))
		w.pend(pending, "thing", usd(3))
		w.doubt(doubt)
		w.must("open", w.Open(w.ctx, ledger.Key{Tenant: "globex", ID: key1}))
		other := w.admit(w.callIn("globex", key1, lines(usd(1)), budget))

		list, ok := w.reservations()
		if !ok {
			return
		}
		for id, phase := range want {
			h, is := list[id]
			found, err := w.Find(w.ctx, acme, id)
			w.must("find", err)
			if !is || h.Phase != phase || h.Operation != found.Operation || h.Key != found.Key || !h.Deadline.Equal(found.Deadline) || !slices.Equal(h.Entries, found.Entries) {
				w.fail("reservation %s, %s, is listed as %+v, and Find says %+v", id, phase, h, found)
			}
		}
		if _, is := list[again.ID]; is || list[other.ID].ID != "" || len(list) != len(want) {
			w.fail("%d are listed and there are %d: %v", len(list), len(want), slices.Sorted(maps.Keys(list)))
		}
	}},
	{"list-end", "Who has seen enough of the list ends it with an error, and gets that one.", func(w *world) {
		w.admit(w.pay(1, purse(100)))
		w.admit(w.pay(1, purse(100)))
		l, ok := w.Ledger.(ledger.Lister)
		if !ok {
			return
		}
		enough, n := errors.New("enough"), 0
		err := l.Reservations(w.ctx, acme, func(ledger.Hold) error {
			n++
			return enough
		})
		if !errors.Is(err, enough) || n != 1 {
			w.fail("after %d reservations the list ended with %v", n, err)
		}
	}},
}
