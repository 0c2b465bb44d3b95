package ledgertest

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/ledger"
	"github.com/keybrake/keybrake-go/reason"
)

// adjust corrects what a reservation of acme has cost.
func (w *world) adjust(h ledger.Hold, id string, actual ...cost.Line) ledger.Receipt {
	r, err := w.Adjust(w.ctx, acme, h.ID, ledger.Adjustment{ID: id, Actual: actual, Reason: "the vendor says so"})
	w.must("adjust of "+h.ID, err)
	return r
}

var adjustLaws = []Law{
	{"adjust", "A late correction moves what is spent, down or up, and stays beside what was booked as an entry of its own.", func(w *world) {
		b := purse(100)
		h := w.admit(w.pay(10, b))
		w.settle(h, usd(10))
		w.clock.Add(time.Hour)
		w.adjust(h, "a1", usd(4))
		w.stands(b, 4, 0)
		w.clock.Add(time.Hour)
		w.adjust(h, "a2", usd(12))
		w.stands(b, 12, 0)
		found := w.phase(h.ID, ledger.Settled)
		if len(found.Adjustments) != 2 {
			w.fail("the reservation has %d adjustments, want 2", len(found.Adjustments))
		}
		for i, want := range []struct {
			id    string
			delta int64
			at    time.Time
		}{{"a1", -6, w.clock.Now().Add(-time.Hour)}, {"a2", 8, w.clock.Now()}} {
			a := found.Adjustments[i]
			if a.ID != want.id || !slices.Equal(a.Deltas, []int64{want.delta}) || !a.At.Equal(want.at) || a.Reason != "the vendor says so" || len(a.Actual) != 1 {
				w.fail("adjustment %d is %+v", i, a)
			}
		}
	}},
	{"adjust-failed", "A call that failed in the end has cost nothing, and its budget has the room again; counted calls stay counted.", func(w *world) {
		h := w.admit(w.call(key1, lines(usd(10), oneCall), purse(10), tally(5)))
		w.settle(h, usd(10))
		w.refuse(w.pay(1, purse(10)), reason.BudgetExceeded)
		w.adjust(h, "failed")
		w.stands(purse(10), 0, 0)
		w.stands(tally(5), 1, 0)
		w.admit(w.pay(10, purse(10)))
	}},
	{"adjust-once", "The same adjustment again changes nothing; another one under its id is an error and changes nothing either.", func(w *world) {
		h := w.admit(w.pay(10, purse(100)))
		w.settle(h, usd(10))
		w.adjust(h, "a1", usd(4))
		w.adjust(h, "a2", usd(7))
		w.adjust(h, "a1", usd(4))
		_, err := w.Adjust(w.ctx, acme, h.ID, ledger.Adjustment{ID: "a1", Actual: lines(usd(5))})
		w.is("another adjustment of the same id", err, ledger.ErrAdjusted)
		w.stands(purse(100), 7, 0)
		if n := len(w.phase(h.ID, ledger.Settled).Adjustments); n != 2 {
			w.fail("the reservation has %d adjustments, want 2", n)
		}
	}},
	{"adjust-above", "An adjustment is booked above the limit, too, and then refuses further calls.", func(w *world) {
		h := w.admit(w.pay(10, purse(10)))
		w.settle(h, usd(9))
		if r := w.adjust(h, "a1", usd(15)); !r.Over || len(r.States) != 1 || r.States[0].Spent != 15 {
			w.fail("the receipt says %+v", r)
		}
		w.stands(purse(10), 15, 0)
		w.refuse(w.pay(1, purse(10)), reason.BudgetExceeded)
	}},
	{"over-again", "What was told of an overrun or a rise is told again when the same is said again: the first answer may have been lost.", func(w *world) {
		h := w.admit(w.pay(5, purse(100)))
		for range 2 {
			if r := w.settle(h, usd(7)); !r.Over {
				w.fail("the receipt of the settle says %+v", r)
			}
		}
		for range 2 {
			if r := w.adjust(h, "a1", usd(9)); !r.Over {
				w.fail("the receipt of the adjustment says %+v", r)
			}
		}
		for range 2 {
			if r := w.adjust(h, "a2", usd(1)); r.Over {
				w.fail("the receipt of a lower adjustment says %+v", r)
			}
		}
	}},
	{"adjust-window", "An adjustment lands in the window of the reserve.", func(w *world) {
		b := per(cost.Day, "", 10)
		h := w.admit(w.pay(8, b))
		w.settle(h, usd(8))
		w.clock.Add(24 * time.Hour)
		w.admit(w.pay(3, b))
		w.adjust(h, "a1", usd(2))
		w.stands(b, 0, 3)
		w.adjust(h, "a2", usd(20))
		w.stands(b, 0, 3)
	}},
	{"adjust-late", "A settled call that has cost money is adjusted a month later.", func(w *world) {
		h := w.admit(w.pay(8, purse(10)))
		w.settle(h, usd(8))
		w.clock.Add(30 * 24 * time.Hour)
		w.adjust(h, "a1")
		w.stands(purse(10), 0, 0)
	}},
	{"adjust-open", "What is still open is settled, not adjusted; and nobody adjusts what is not there.", func(w *world) {
		h := w.admit(w.pay(8, purse(100)))
		a := ledger.Adjustment{ID: "a1", Actual: lines(usd(2))}
		_, err := w.Adjust(w.ctx, acme, h.ID, a)
		w.is("adjust in flight", err, ledger.ErrOpen)
		w.doubt(h)
		_, err = w.Adjust(w.ctx, acme, h.ID, a)
		w.is("adjust in doubt", err, ledger.ErrOpen)
		_, err = w.Adjust(w.ctx, acme, "nobody", a)
		w.is("adjust of nothing", err, ledger.ErrNoHold)
		_, err = w.Adjust(w.ctx, "other", h.ID, a)
		w.is("adjust in another tenant", err, ledger.ErrNoHold)
		w.stands(purse(100), 0, 8)
	}},
	{"adjust-released", "A call that was given back and was executed after all is booked by an adjustment.", func(w *world) {
		h := w.admit(w.pay(8, purse(10)))
		w.release(h, false)
		w.adjust(h, "a1", usd(8))
		w.stands(purse(10), 8, 0)
		w.phase(h.ID, ledger.Settled)
		w.adjust(h, "a1", usd(8))
		w.stands(purse(10), 8, 0)
	}},
	{"adjust-settle", "A settle that is repeated after an adjustment undoes nothing.", func(w *world) {
		h := w.admit(w.pay(10, purse(100)))
		w.settle(h, usd(10))
		w.adjust(h, "a1", usd(4))
		w.settle(h, usd(10))
		_, err := w.Settle(w.ctx, h, ledger.Settlement{Phase: ledger.Settled, Actual: lines(usd(4))})
		w.is("a settle with the adjusted amount", err, ledger.ErrSettled)
		w.stands(purse(100), 4, 0)
	}},
	{"adjust-stray", "An adjustment in a currency that no budget of the call counts changes nothing and says so.", func(w *world) {
		h := w.admit(w.pay(10, purse(100)))
		w.settle(h, usd(10))
		if r := w.adjust(h, "a1", eur(4)); len(r.Strays) != 1 {
			w.fail("the receipt says %+v", r)
		}
		w.stands(purse(100), 10, 0)
		for _, bad := range []ledger.Adjustment{{Actual: lines(usd(1))}, {ID: "a2", Actual: lines(usd(-1))}, {ID: "a2", Actual: lines(usd(cost.Max + 1))}} {
			if _, err := w.Adjust(w.ctx, acme, h.ID, bad); err == nil {
				w.fail("%+v was taken", bad)
			}
		}
		w.stands(purse(100), 10, 0)
	}},
	{"adjust-bounded", "A reservation takes as many adjustments as the contract says and refuses more.", func(w *world) {
		h := w.admit(w.pay(10, purse(100)))
		w.settle(h, usd(10))
		for i := range ledger.MostAdjustments {
			w.adjust(h, fmt.Sprint("a", i), usd(int64(i)))
		}
		_, err := w.Adjust(w.ctx, acme, h.ID, ledger.Adjustment{ID: "more", Actual: lines(usd(90))})
		if err == nil {
			w.fail("one more was taken")
		}
		w.stands(purse(100), ledger.MostAdjustments-1, 0)
	}},
}

// alerted expects the thresholds that wait, as "budget percent".
func (w *world) alerted(want ...string) []ledger.Alert {
	list := slices.DeleteFunc(w.waiting(acme), func(a ledger.Alert) bool { return a.Kind != ledger.AlertThreshold })
	var got []string
	for _, a := range list {
		got = append(got, fmt.Sprint(a.State.Name, " ", a.Percent))
		if a.ID == "" || a.State.Spent+a.State.Held < ledger.Threshold(a.State.Budget, a.Percent) || a.At.IsZero() {
			w.fail("an alert says %+v", a)
		}
	}
	if !slices.Equal(got, want) {
		w.fail("the alerts are %q, want %q", strings.Join(got, ", "), strings.Join(want, ", "))
	}
	return list
}

var alertLaws = []Law{
	{"alert", "A threshold that is crossed is stored once, whatever happens at it afterwards, until it is acknowledged.", func(w *world) {
		b := purse(1000)
		b.AlertAt = []int{50, 80, 100}
		w.admit(w.pay(499, b))
		w.alerted()
		h := w.admit(w.pay(1, b))
		first := w.alerted("purse 50")
		w.release(h, true)
		w.admit(w.pay(1, b))
		w.alerted("purse 50")
		w.admit(w.pay(500, b))
		all := w.alerted("purse 50", "purse 80", "purse 100")
		if all[0].ID != first[0].ID || all[0].ID == all[1].ID || all[0].Key != key1 {
			w.fail("the alerts cannot be told apart or change their ids: %+v", all)
		}
		w.must("acknowledge", w.Acknowledge(w.ctx, acme, all[0].ID, all[2].ID))
		w.must("acknowledge again", w.Acknowledge(w.ctx, acme, all[0].ID, "nothing"))
		w.alerted("purse 80")
	}},
	{"alert-window", "In a new window a threshold can be crossed again; in a rolling one after the window's length.", func(w *world) {
		day, rolling := per(cost.Day, "", 10), last(time.Hour, 10)
		day.AlertAt, rolling.AlertAt = []int{50}, []int{50}
		day.Name, rolling.Name = "day", "rolling"
		w.settle(w.admit(w.pay(6, day, rolling)), usd(6))
		w.clock.Add(24 * time.Hour)
		w.settle(w.admit(w.pay(6, day, rolling)), usd(6))
		got := w.alerted("day 50", "rolling 50", "day 50", "rolling 50")
		ids := map[string]bool{}
		for _, a := range got {
			ids[a.ID] = true
		}
		if len(ids) != 4 {
			w.fail("four alerts have %d ids", len(ids))
		}
	}},
	{"alert-shared", "The thresholds of a shared budget are its row's, are revised with it, and alert once for all keys.", func(w *world) {
		row := team(100)
		row.AlertAt = []int{90}
		b := w.share(row)
		w.admit(w.pay(60, b))
		w.alerted()
		row.AlertAt = []int{50}
		w.share(row)
		w.admit(w.call(key2, lines(usd(1)), b))
		if got := w.alerted("team 50"); got[0].Key != "" {
			w.fail("a shared budget's alert is of key %s", got[0].Key)
		}
		w.admit(w.pay(1, b))
		w.alerted("team 50")
		back, err := w.Budget(w.ctx, acme, "team")
		w.must("budget", err)
		if !slices.Equal(back.AlertAt, []int{50}) {
			w.fail("the row says %v", back.AlertAt)
		}
	}},
	{"alert-over", "A settle above what was held and an adjustment cross thresholds, too.", func(w *world) {
		b := purse(100)
		b.AlertAt = []int{50, 80}
		h := w.admit(w.pay(10, b))
		w.settle(h, usd(60))
		w.alerted("purse 50")
		w.adjust(h, "a1", usd(90))
		w.alerted("purse 50", "purse 80")
	}},
	{"alert-refused", "A call that is refused alerts nobody.", func(w *world) {
		b := purse(100)
		b.AlertAt = []int{50}
		w.refuse(w.pay(101, b), reason.BudgetExceeded)
		w.alerted()
	}},
}
