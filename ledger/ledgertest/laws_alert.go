package ledgertest

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/keybrake/keybrake-go/ledger"
)

// waiting are the alerts of a tenant that were not acknowledged.
func (w *world) waiting(tenant string) []ledger.Alert {
	list, err := w.Alerts(w.ctx, tenant)
	w.must("alerts", err)
	return list
}

// told expects the alerts of a tenant that wait, each as its kind and what it is about.
func (w *world) told(tenant string, want ...string) []ledger.Alert {
	list := w.waiting(tenant)
	ids := map[string]bool{}
	var got []string
	for _, a := range list {
		got = append(got, strings.TrimSpace(fmt.Sprint(a.Kind, " ", a.Key, " ", a.Hold)))
		ids[a.ID] = true
		if a.ID == "" || a.At.After(w.clock.Now()) || a.At.Before(w.clock.Now().Add(-100*24*time.Hour)) {
			w.fail("an alert says %+v", a)
		}
	}
	if strings.Join(got, ", ") != strings.Join(want, ", ") {
		w.fail("the alerts are %q, want %q", strings.Join(got, ", "), strings.Join(want, ", "))
	}
	if len(ids) != len(list) {
		w.fail("%d alerts have %d ids", len(list), len(ids))
	}
	return list
}

var overrunLaws = []Law{
	{"alert-overrun", "A settlement above what was held is told of once, with the budget that it overran and by how much, however often it is said.", func(w *world) {
		h := w.admit(w.call(key1, lines(usd(10), oneCall), tally(5), purse(100), per("day", "", 100)))
		w.told(acme)
		w.settle(h, usd(17))
		w.settle(h, usd(17))
		a := w.told(acme, "overrun key1 "+h.ID, "frozen key1 "+h.ID)[0]
		if a.Excess != 7 || a.State.Name != "purse" || a.State.Spent != 17 || a.State.Held != 0 || a.State.Limit != 100 || !a.At.Equal(w.clock.Now()) {
			w.fail("the overrun says %+v", a)
		}
		w.must("acknowledge", w.Acknowledge(w.ctx, acme, a.ID))
		w.settle(h, usd(17))
		w.told(acme, "frozen key1 "+h.ID)
	}},
	{"alert-overrun-more", "A reservation that overruns again is told of no second time; a settlement within what was held, a doubt and an adjustment are not told of.", func(w *world) {
		h := w.admit(w.pay(10, purse(100)))
		w.pend(h, "o1", usd(12))
		w.pend(h, "o1", usd(15))
		w.told(acme, "overrun key1 "+h.ID, "frozen key1 "+h.ID)
		other := w.call(key2, lines(usd(10)), purse(100))
		o := w.admit(other)
		w.doubt(o)
		w.settle(o, usd(10))
		w.adjust(o, "a1", usd(20))
		w.told(acme, "overrun key1 "+h.ID, "frozen key1 "+h.ID)
	}},
	{"alert-frozen", "A key is told of as frozen each time that it becomes so, and not while it is.", func(w *world) {
		h1, h2, h3 := w.admit(w.pay(1, purse(100))), w.admit(w.pay(1, purse(100))), w.admit(w.pay(1, purse(100)))
		w.pend(h1, "o1", usd(2))
		w.settle(h2, usd(2))
		first := []string{"overrun key1 " + h1.ID, "frozen key1 " + h1.ID, "overrun key1 " + h2.ID}
		w.told(acme, first...)
		w.clock.Add(time.Second)
		w.control(ledger.Control{Verb: ledger.Resume, Tenant: acme, Key: key1})
		w.settle(h3, usd(2))
		second := append(first, "overrun key1 "+h3.ID, "frozen key1 "+h3.ID)
		w.told(acme, second...)
		w.clock.Add(time.Second)
		w.control(ledger.Control{Verb: ledger.Resume, Tenant: acme, Key: key1})
		w.settle(h1, usd(3)) // the same reservation, which has told that it overran
		w.told(acme, append(second, "frozen key1 "+h1.ID)...)
	}},
}

// give gives an alert of its own kind to acme.
func (w *world) give(tenant, id string) {
	w.must("alert "+id, w.Alert(w.ctx, tenant, ledger.Alert{ID: id, Kind: "denied", Key: "k", Hold: id, Memo: `{"of":"` + id + `"}`}))
}

var givenLaws = []Law{
	{"alert-given", "An alert that is given is stored once for its id, acknowledged or not, for a month; then again.", func(w *world) {
		w.give(acme, "one")
		w.give(acme, "two")
		w.clock.Add(time.Hour)
		w.give(acme, "one")
		a := w.told(acme, "denied k one", "denied k two")[0]
		if a.ID != "one" || a.Memo != `{"of":"one"}` || !a.At.Equal(w.clock.Now().Add(-time.Hour)) || a.Percent != 0 || a.Excess != 0 || a.State.Name != "" {
			w.fail("it came back as %+v", a)
		}
		w.must("acknowledge", w.Acknowledge(w.ctx, acme, "one", "two"))
		w.told(acme)
		w.clock.Add(ledger.AlertMemory - time.Hour - time.Microsecond)
		w.give(acme, "one")
		w.told(acme)
		w.clock.Add(time.Microsecond)
		w.give(acme, "one")
		w.told(acme, "denied k one")
	}},
	{"alert-given-apart", "The id of an alert is its tenant's own, and what is no tenant's stands under the empty name.", func(w *world) {
		for _, t := range []string{acme, "other", ""} {
			w.give(t, "one")
			w.told(t, "denied k one")
		}
		w.must("acknowledge", w.Acknowledge(w.ctx, "", "one"))
		w.told("")
		w.told(acme, "denied k one")
		for _, t := range w.control(ledger.Control{Verb: ledger.Pause, All: true}).Tenants {
			if t == "" {
				w.fail("what is no tenant's is paused as one")
			}
		}
	}},
	{"alert-given-form", "An alert that is not valid is an error and is not stored: without an id, of a kind of the ledger's own, with a memo too long or no text.", func(w *world) {
		good := ledger.Alert{ID: "i", Kind: "denied", Memo: strings.Repeat("m", ledger.MostAlertMemo)}
		for what, change := range map[string]func(*ledger.Alert){
			"no id":       func(a *ledger.Alert) { a.ID = "" },
			"a long id":   func(a *ledger.Alert) { a.ID = strings.Repeat("i", 513) },
			"no kind":     func(a *ledger.Alert) { a.Kind = "" },
			"a threshold": func(a *ledger.Alert) { a.Kind = ledger.AlertThreshold },
			"an overrun":  func(a *ledger.Alert) { a.Kind = ledger.AlertOverrun },
			"a freeze":    func(a *ledger.Alert) { a.Kind = ledger.AlertFrozen },
			"a long memo": func(a *ledger.Alert) { a.Memo += "m" },
			"no text":     func(a *ledger.Alert) { a.Memo = "\xff" },
		} {
			bad := good
			change(&bad)
			if w.Alert(w.ctx, acme, bad) == nil {
				w.fail("an alert with %s was taken", what)
			}
			w.told(acme)
		}
		w.must("alert", w.Alert(w.ctx, acme, good))
		if got := w.waiting(acme); len(got) != 1 || got[0].Memo != good.Memo {
			w.fail("%d alerts wait", len(got))
		}
	}},
	{"alert-given-race", "Of many who give the same alert at once, one stores it.", func(w *world) {
		for round := range 8 {
			id := fmt.Sprint("round", round)
			var all sync.WaitGroup
			for range 8 {
				all.Go(func() {
					_ = w.Alert(w.ctx, acme, ledger.Alert{ID: id, Kind: "denied"})
					_ = w.Acknowledge(w.ctx, acme, id)
				})
			}
			all.Wait()
			w.give(acme, id)
			w.told(acme)
		}
	}},
}
