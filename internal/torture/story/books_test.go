package story_test

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/ledger"
)

// A counter names one budget's counter.
type counter struct {
	tenant, key, of, name string // no key: shared
	shared, observed      bool
}

func counterOf(tenant, key string, b ledger.Budget) counter {
	if b.Shared {
		key = ""
	}
	return counter{tenant, key, b.Of, b.Name, b.Shared, b.Observed}
}

// A part is what one reservation has in one counter, and when that was admitted there.
type part struct {
	ledger.Entry
	at time.Time
}

func (p part) level() int64 { return p.Held + p.Booked }

// books are what was admitted, as plain as can be: each part of each reservation with its time. What fits is found by
// adding up all of them. Time does not go back in a counter, as the contract has it: what is admitted while the clock is
// behind counts as of the latest time at which something was.
type books struct {
	parts  map[counter]map[string]part // by reservation
	latest map[counter]time.Time
	first  map[counter]map[int64]time.Time // when something was first admitted in a window or slot
}

func newBooks() *books {
	return &books{map[counter]map[string]part{}, map[counter]time.Time{}, map[counter]map[int64]time.Time{}}
}

func (b *books) clone() *books {
	c := newBooks()
	for n, parts := range b.parts {
		c.parts[n] = map[string]part{}
		for id, p := range parts {
			c.parts[n][id] = p
		}
	}
	return c
}

// refresh takes over what a reservation has become. charged are the counters that a call was admitted against now.
func (b *books) refresh(h ledger.Hold, charged map[counter]time.Time) {
	for _, e := range h.Entries {
		n := counterOf(h.Tenant, h.Key, ledger.Budget{Name: e.Budget, Shared: e.Shared, Of: e.Of, Observed: e.Observed})
		if b.parts[n] == nil {
			b.parts[n], b.first[n] = map[string]part{}, map[int64]time.Time{}
		}
		old, known := b.parts[n][h.ID]
		at, now := charged[n]
		switch {
		case now:
			if _, seen := b.first[n][e.Start]; !seen {
				b.first[n][e.Start] = at
			}
		case known && old.Start == e.Start:
			at = old.at
		default: // taken over from another reservation, in its window
			at = b.first[n][e.Start]
		}
		b.parts[n][h.ID] = part{e, at}
	}
}

// within says whether both times are in one window of of, or no further apart than a rolling one is long. It is not
// taken from the package under test.
func within(of ledger.Budget, at, now time.Time) bool {
	if d := of.Window.Rolls(); d > 0 {
		return now.Sub(at) < d
	}
	zone, err := time.LoadLocation(of.Zone)
	if err != nil {
		return false
	}
	at, now = at.In(zone), now.In(zone)
	switch of.Window {
	case cost.Hour:
		_, there := at.Zone()
		_, here := now.Zone()
		return at.Format("2006-01-02 15") == now.Format("2006-01-02 15") && there == here
	case cost.Day:
		return at.Format("2006-01-02") == now.Format("2006-01-02")
	case cost.Month:
		return at.Format("2006-01") == now.Format("2006-01")
	}
	return true
}

// use is all that stands in the window of now.
func (b *books) use(n counter, of ledger.Budget, now time.Time) (sum int64) {
	for _, p := range b.parts[n] {
		if within(of, p.at, now) {
			sum += p.level()
		}
	}
	return sum
}

// fits checks that what was admitted just now fits: in each budget that is enforced, what stands in the window is within
// the limit, or has not grown. before are the books before, b has what is now.
func (b *books) fits(before *books, limits map[counter]ledger.Budget, h ledger.Hold, now time.Time) error {
	for _, e := range h.Entries {
		n := counterOf(h.Tenant, h.Key, ledger.Budget{Name: e.Budget, Shared: e.Shared, Of: e.Of, Observed: e.Observed})
		of, named := limits[n]
		if e.Observed || !named {
			continue
		}
		now := now
		if b.latest[n].After(now) {
			now = b.latest[n]
		}
		// A ledger cuts a rolling window into 60 slots, and counts an amount up to a slot longer than the window is: what a call
		// takes over of that may stay, under a limit that was lowered.
		stood, stands := max(before.use(n, of, now), before.use(n, of, now.Add(-of.Window.Rolls()/60))), b.use(n, of, now)
		if stands > of.Limit && stands > stood {
			return fmt.Errorf("%s was admitted, and %d stands in budget %q of %d, %s %q; %d stood there before", h.ID, stands, of.Name, of.Limit, of.Window, of.Zone, stood)
		}
	}
	return nil
}

// charges says of which counters a call is charged, and their budgets with the limit that holds for it.
func charges(r ledger.Request, row func(name string) (ledger.Budget, bool)) (charged []counter, limits map[counter]ledger.Budget) {
	limits = map[counter]ledger.Budget{}
	for _, b := range r.Budgets {
		of := b
		if b.Shared {
			there, ok := row(b.Name)
			if !ok {
				continue
			}
			of = there
			if of.Observed = b.Observed; b.Limit >= 0 {
				of.Limit = min(of.Limit, b.Limit)
			}
			of.Shared = true
		}
		n := counterOf(r.Tenant, r.Key, of)
		if old, twice := limits[n]; twice {
			of.Limit = min(of.Limit, old.Limit)
		}
		limits[n] = of
		counts := func(l cost.Line) bool {
			return l.Currency == of.Currency && (l.Meter == of.Meter || of.Meter == cost.Spend && l.Meter.Money())
		}
		if slices.ContainsFunc(r.Lines, counts) && cost.MatchAny(of.Operations, r.Operation) {
			charged = append(charged, n)
		}
	}
	return charged, limits
}

// adds checks that a budget's state is the sum of its reservations.
func (b *books) adds(n counter, s ledger.State) error {
	var spent, held int64
	for _, p := range b.parts[n] {
		if p.Start >= s.Start.UnixMicro() {
			spent, held = spent+p.Booked, held+p.Held
		}
	}
	if spent != s.Spent || held != s.Held {
		return fmt.Errorf("budget %q has spent %d and holds %d; its reservations say %d and %d", s.Name, s.Spent, s.Held, spent, held)
	}
	return nil
}

// ends checks that what is over holds nothing.
func ends(h ledger.Hold) error {
	if h.Phase != ledger.Settled && h.Phase != ledger.Released {
		return nil
	}
	for _, e := range h.Entries {
		if e.Held != 0 {
			return errors.New(h.ID + " is " + string(h.Phase) + " and holds something")
		}
	}
	return nil
}
