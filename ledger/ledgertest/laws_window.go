package ledgertest

import (
	"time"

	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/ledger"
	"github.com/keybrake/keybrake-go/reason"
)

// at reads a time of RFC 3339.
func at(s string) time.Time {
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		panic(err)
	}
	return t
}

// resets expects b, filled just before a moment, to be full until then and empty from then on.
func (w *world) resets(b ledger.Budget, moment string) {
	m := at(moment)
	w.clock.Set(m.Add(-2 * time.Microsecond))
	w.settle(w.admit(w.pay(b.Limit, b)), usd(b.Limit))
	w.clock.Set(m.Add(-time.Microsecond))
	d := w.refuse(w.pay(1, b), reason.BudgetExceeded)
	if r := d.Shortfalls[0].Reset; !r.Equal(m) {
		w.fail("the refusal says %s resets at %s, want %s", b.Name, r, m)
	}
	w.clock.Set(m)
	w.stands(b, 0, 0)
	h := w.admit(w.pay(1, b))
	s := w.stands(b, 0, 1)
	w.release(h, true)
	if !s.Start.Equal(m) {
		w.fail("the new window starts at %s, want %s", s.Start, m)
	}
}

var windowLaws = []Law{
	{"hour", "An hour's budget resets at the full hour and not before.", func(w *world) {
		w.resets(per(cost.Hour, "", 10), "2026-03-02T11:00:00Z")
	}},
	{"day", "A day's budget resets at midnight and not before.", func(w *world) {
		w.resets(per(cost.Day, "", 10), "2026-03-03T00:00:00Z")
	}},
	{"month", "A month's budget resets on the first and not before, February included.", func(w *world) {
		w.resets(per(cost.Month, "", 10), "2026-04-01T00:00:00Z")
		w.resets(per(cost.Month, "", 10), "2028-03-01T00:00:00Z")
	}},
	{"lifetime", "A lifetime budget never resets.", func(w *world) {
		w.settle(w.admit(w.pay(10, purse(10))), usd(10))
		w.clock.Add(90 * 24 * time.Hour)
		d := w.refuse(w.pay(1, purse(10)), reason.BudgetExceeded)
		if !d.Shortfalls[0].Reset.IsZero() {
			w.fail("it says that it resets at %s", d.Shortfalls[0].Reset)
		}
	}},
	{"zone", "Days and hours are those of the budget's time zone.", func(w *world) {
		w.resets(per(cost.Day, "America/New_York", 10), "2026-03-03T00:00:00-05:00")
		w.resets(per(cost.Hour, "Asia/Kolkata", 10), "2026-03-04T00:30:00Z")
	}},
	{"spring", "Where clocks go forward the day has 23 hours.", func(w *world) {
		b := per(cost.Day, "Europe/Berlin", 10)
		w.resets(b, "2026-03-29T00:00:00+01:00")
		w.resets(b, "2026-03-30T00:00:00+02:00")
	}},
	{"autumn", "Where clocks go back the day has 25 hours, and the hour that comes twice is two hours.", func(w *world) {
		b := per(cost.Day, "Europe/Berlin", 10)
		w.resets(b, "2026-10-25T00:00:00+02:00")
		h := per(cost.Hour, "Europe/Berlin", 10)
		w.resets(h, "2026-10-25T02:00:00+02:00")
		w.resets(h, "2026-10-25T02:00:00+01:00")
		w.resets(b, "2026-10-26T00:00:00+01:00")
	}},
	{"own-window", "A settle lands in the window of its reserve, however much later it comes.", func(w *world) {
		b, shared := per(cost.Day, "", 10), team(10)
		shared.Window = cost.Day
		day := w.share(shared)
		h := w.admit(w.pay(8, b, day))
		w.clock.Add(24 * time.Hour)
		w.admit(w.pay(3, b, day))
		r := w.settle(h, usd(7))
		w.stands(b, 0, 3)
		w.stands(day, 0, 3)
		for _, s := range r.States {
			if s.Spent != 7 || s.Held != 0 || !s.Start.Equal(at("2026-03-02T00:00:00Z")) {
				w.fail("the receipt says: %+v", s)
			}
		}
		w.admit(w.pay(7, b, day))
	}},
	{"own-window-release", "A release gives back in the window of its reserve.", func(w *world) {
		b := per(cost.Day, "", 10)
		h := w.admit(w.pay(8, b))
		w.clock.Add(24 * time.Hour)
		w.admit(w.pay(9, b))
		w.release(h, true)
		w.stands(b, 0, 9)
		w.refuse(w.pay(2, b), reason.BudgetExceeded)
	}},
	{"many-windows", "Holds of several past windows are kept apart.", func(w *world) {
		b := per(cost.Hour, "", 10)
		var holds []ledger.Hold
		for i := range int64(4) {
			holds = append(holds, w.admit(w.pay(5+i, b)))
			w.clock.Add(time.Hour)
		}
		for i, h := range holds {
			r := w.settle(h, usd(1))
			if s := r.States[0]; s.Spent != 1 || s.Held != 0 || s.Start.UnixMicro() != h.Entries[0].Start {
				w.fail("settle of hour %d: %+v", i, s)
			}
		}
		w.stands(b, 0, 0)
	}},
	{"clock-back", "A clock that goes back never reopens an old window.", func(w *world) {
		b := per(cost.Day, "", 10)
		w.settle(w.admit(w.pay(10, b)), usd(10))
		w.clock.Add(24 * time.Hour)
		w.admit(w.pay(6, b))
		w.clock.Add(-24 * time.Hour)
		d := w.refuse(w.pay(5, b), reason.BudgetExceeded)
		if s := d.Shortfalls[0]; s.Held != 6 || s.Spent != 0 || !s.Start.Equal(at("2026-03-03T00:00:00Z")) || !s.Reset.Equal(at("2026-03-04T00:00:00Z")) {
			w.fail("the refusal speaks of another window: %+v", s)
		}
		w.admit(w.pay(4, b))
		w.stands(b, 0, 10)
	}},
}
