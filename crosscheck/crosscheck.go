// Package crosscheck compares the audit with the ledger: the two say the same of what was spent, each in its own way, and
// who changes one of them has not changed the other. It names the reservations without a record, the records without a
// reservation, and the amounts that differ.
//
// The ledger is read first and the records after it, so calls may go on meanwhile. A call is looked at once it can be in
// flight no more; the next run looks at the others. Nothing is changed.
package crosscheck

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/keybrake/keybrake-go/audit"
	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/ledger"
)

// Options are the choices that have a default.
type Options struct {
	// From is since when the records are complete. A reservation may be older than it where its deadline is within Flight
	// of it; then it is not missed in them. Default: they are all that there are.
	From time.Time

	// Until is until when they are: what has a deadline after it is not looked at. Default: when Run began, for records
	// that are read to their end. Where records are delivered late, as from an outbox, give them that much time.
	Until time.Time

	// Flight is the longest that a call is in flight before it is in doubt, in any brake that has used the ledger. Default:
	// one hour, which is more than any brake takes that leaves its timeouts as they are.
	Flight time.Duration

	// Remember is for how long the ledger remembers a reservation that booked money. Default: 31 days.
	Remember time.Duration

	// Most is how many findings of a kind are kept, the first by time; all are counted. Default: 1000.
	Most int
}

// A Report is what the two say.
type Report struct {
	Reservations int // of the ledger, that were looked at
	Recorded     int // of them and others, those of which records tell a call

	Unrecorded List // reservations that hold or have booked money, and of which no record tells
	Missing    List // records of calls that cost money, and whose reservation the ledger does not have
	Differing  List // reservations of which the ledger and the records say other amounts

	Totals []Total // by budget, of the reservations that both know

	// Partial says that the ledger is no ledger.Lister: reservations that are settled are looked up where a record tells of
	// them, and of those of which none tells nothing is known.
	Partial bool
}

// Clean reports whether nothing was found.
func (r Report) Clean() bool { return r.Unrecorded.Count+r.Missing.Count+r.Differing.Count == 0 }

// A List is what was found of one kind.
type List struct {
	Count int
	First []Finding // the first by time
}

// A Finding is one reservation.
type Finding struct {
	Reservation, Key, Run, Operation string
	At                               time.Time // of its first record; else its deadline
	Phase                            ledger.Phase
	Why                              string
}

// A Total is what became of one budget's reservations, in micro-units or a count.
type Total struct {
	Budget   string
	Shared   bool
	Meter    cost.Meter
	Currency cost.Currency
	Booked   int64 // by the ledger
	Told     int64 // by the records
}

// shortest is for how long a ledger remembers a reservation that has ended, whatever it booked.
const shortest = 24 * time.Hour

// Run compares a tenant's reservations in l with records, which may hold those of other tenants and in any order. An error
// of the ledger or among the records ends it. What it keeps in memory grows with the tenant's reservations, by some hundred
// bytes each.
func Run(ctx context.Context, l ledger.Ledger, tenant string, records iter.Seq2[audit.Record, error], o *Options) (Report, error) {
	c := &check{ledger: l, tenant: tenant, began: time.Now(), holds: map[string]ledger.Hold{}, calls: map[string]*call{}}
	if o != nil {
		c.Options = *o
	}
	c.Until, c.Flight = cmp.Or(c.Until, c.began), cmp.Or(c.Flight, time.Hour)
	c.Remember, c.Most = cmp.Or(c.Remember, 31*24*time.Hour), cmp.Or(c.Most, 1000)
	if err := c.list(ctx); err != nil {
		return Report{}, fmt.Errorf("crosscheck: the ledger's reservations: %w", err)
	}
	for rec, err := range records {
		if err != nil {
			return Report{}, fmt.Errorf("crosscheck: %w", err)
		}
		c.read(rec)
	}
	if err := c.compare(ctx); err != nil {
		return Report{}, fmt.Errorf("crosscheck: %w", err)
	}
	return c.finish(), nil
}

type check struct {
	Options
	ledger ledger.Ledger
	tenant string
	began  time.Time
	holds  map[string]ledger.Hold
	calls  map[string]*call
	report Report
	totals []Total
}

// list reads the ledger's reservations, without what can be large in them.
func (c *check) list(ctx context.Context) error {
	keep := func(h ledger.Hold) error {
		h.Memo, h.Controls, h.States = "", nil, nil
		c.holds[h.ID] = h
		return nil
	}
	if l, is := c.ledger.(ledger.Lister); is {
		return l.Reservations(ctx, c.tenant, keep)
	}
	c.report.Partial = true
	open, err := c.ledger.Unsettled(ctx, c.tenant)
	for _, h := range open {
		_ = keep(h)
	}
	return err
}

// A call is what the records say of one reservation.
type call struct {
	first    audit.Record // the first that names it; for the finding
	begun    bool         // a record tells of the call itself
	reserved []cost.Line
	said     []audit.Record // by id once each
	ids      map[string]bool
}

// read takes up one record.
func (c *check) read(r audit.Record) {
	if r.Tenant != c.tenant || r.CallID == "" {
		return
	}
	c.call(r.CallID, r) // an attempt of a retry has the id of a reservation of its own
	k := c.call(cmp.Or(r.Reservation, r.CallID), r)
	mine := r.Kind == audit.Intent || r.Kind == audit.Outcome
	if r.Probe || k.ids[r.ID] || !mine && r.Outcome == "" {
		return
	}
	k.ids[r.ID] = true
	if mine && !r.Attached {
		k.begun = true
		if len(r.Reserved) > 0 {
			k.reserved = r.Reserved
		}
	}
	if r.Outcome != "" {
		k.said = append(k.said, audit.Record{ID: r.ID, Time: r.Time, Kind: r.Kind, Outcome: r.Outcome, Attached: r.Attached, Actual: r.Actual, Held: r.Held, Flag: r.Flag})
	}
}

func (c *check) call(id string, r audit.Record) *call {
	k := c.calls[id]
	if k == nil {
		k = &call{first: r, ids: map[string]bool{}}
		c.calls[id] = k
	}
	if r.Time.Before(k.first.Time) {
		k.first = r
	}
	return k
}

// cost is what the call has cost, and what is held for it, by its latest records. One that does not tell what became of it
// changes nothing that an earlier one told.
func (k *call) cost() (booked, held []cost.Line, last audit.Record) {
	slices.SortStableFunc(k.said, func(a, b audit.Record) int { return a.Time.Compare(b.Time) })
	final := false
	for _, r := range k.said {
		switch r.Outcome {
		case audit.OutcomeExecuted, audit.OutcomeAdjusted, audit.OutcomePending:
			if r.Attached && final {
				continue // what the vendor remembers of a spend that is booked
			}
			booked, held, last = r.Actual, r.Held, r
			final = r.Outcome != audit.OutcomePending && !money(held)
		case audit.OutcomeNotExecuted:
			if !r.Attached { // the answer to a retry proves nothing about the first attempt
				booked, held, last, final = nil, nil, r, false
			}
		case audit.OutcomeInDoubt:
			if last.Outcome == "" {
				last = r
			}
		}
	}
	return booked, held, last
}

func money(lines []cost.Line) bool {
	return slices.ContainsFunc(lines, func(l cost.Line) bool { return l.Meter.Money() && l.Amount > 0 })
}

// compare looks at every reservation that one of the two knows.
func (c *check) compare(ctx context.Context) error {
	for id, h := range c.holds {
		if k := c.calls[id]; k == nil || !k.begun { // a refusal, or a later word, tells of no call that was made
			c.unrecorded(h)
		}
	}
	for id, k := range c.calls {
		h, is := c.holds[id]
		if k.begun {
			c.report.Recorded++
		}
		if !is && k.begun && k.due(c) {
			var err error
			switch h, err = c.ledger.Find(ctx, c.tenant, id); {
			case errors.Is(err, ledger.ErrNoHold):
				c.report.Missing.add(k.finding(id, ledger.Hold{}, "the ledger has no such reservation"))
				continue
			case err != nil:
				return err
			}
			is = true
		}
		if !is || h.Deadline.After(c.Until) || !k.begun {
			continue
		}
		c.report.Reservations++
		why := k.differs(h)
		if why != "" { // it may have changed since it was listed
			now, err := c.ledger.Find(ctx, c.tenant, id)
			if err == nil {
				h, why = now, k.differs(now)
			} else if !errors.Is(err, ledger.ErrNoHold) {
				return err
			}
		}
		if why != "" && !c.moved(h) {
			c.report.Differing.add(k.finding(id, h, why))
		}
		c.sum(h, k)
	}
	return nil
}

// moved reports whether h was corrected after the records were asked for, so that they need not tell of it.
func (c *check) moved(h ledger.Hold) bool {
	return slices.ContainsFunc(h.Adjustments, func(a ledger.Adjustment) bool { return a.At.After(c.began) })
}

// unrecorded judges a reservation of which no record tells. One that was released, or that booked no money, spent
// nothing: its call was refused between the reserve and the intent, such as by a sink that failed.
func (c *check) unrecorded(h ledger.Hold) {
	early := !c.From.IsZero() && h.Deadline.Before(c.From.Add(c.Flight))
	if early || h.Deadline.After(c.Until) || h.Phase == ledger.Released {
		return
	}
	c.report.Reservations++
	if h.Phase == ledger.Settled && !slices.ContainsFunc(h.Entries, func(e ledger.Entry) bool { return e.Meter != cost.Calls && e.Booked != 0 }) {
		return
	}
	c.report.Unrecorded.add(Finding{Reservation: h.ID, Key: h.Key, Operation: h.Operation, At: h.Deadline, Phase: h.Phase, Why: "no record tells of it: " + amounts(h)})
}

// due reports whether the ledger has to know the reservation still.
func (k *call) due(c *check) bool {
	booked, held, last := k.cost()
	switch {
	case !money(k.reserved) && !money(booked):
		return false // a read, or what costs nothing
	case last.Outcome == audit.OutcomeInDoubt:
		return true // an open one is never forgotten
	case last.Outcome == "":
		return c.began.Sub(k.first.Time) < shortest // the record of its end may be lost
	case money(booked) || money(held):
		return c.began.Sub(k.first.Time) < c.Remember
	}
	return last.Outcome != audit.OutcomeNotExecuted && c.began.Sub(last.Time) < shortest
}

// differs says how the ledger's amounts are others than those of the records, if they are.
func (k *call) differs(h ledger.Hold) string {
	booked, held, last := k.cost()
	open := h.Phase == ledger.InFlight || h.Phase == ledger.Doubt
	if open && strings.Contains(last.Flag, "booked later") {
		return "" // the ledger could not be reached, and will book it
	}
	told := booked
	if open && len(booked)+len(held) == 0 {
		held = k.reserved
	}
	spent, _, err := ledger.Amounts(h.Entries, told)
	if err != nil {
		return "the records' amounts are out of range"
	}
	holds, _, err := ledger.Amounts(h.Entries, held)
	if err != nil {
		return "the records' amounts are out of range"
	}
	var why []string
	for i, e := range h.Entries {
		switch {
		case e.Meter == cost.Calls:
		case e.Booked != spent[i]:
			why = append(why, fmt.Sprintf("budget %s: the ledger booked %s, the records say %s", e.Budget, amount(e, e.Booked), amount(e, spent[i])))
		case (open || h.Phase == ledger.Pending) && h.Object == "" && e.Held != holds[i]: // what an object holds passes between its calls
			why = append(why, fmt.Sprintf("budget %s: the ledger holds %s, the records say %s", e.Budget, amount(e, e.Held), amount(e, holds[i])))
		}
	}
	return strings.Join(why, "; ")
}

func amount(e ledger.Entry, n int64) string { return cost.Format(n, e.Currency, e.Meter) }

// amounts are what h has in its budgets.
func amounts(h ledger.Hold) string {
	var list []string
	for _, e := range h.Entries {
		if e.Meter != cost.Calls {
			list = append(list, fmt.Sprintf("budget %s booked %s, held %s", e.Budget, amount(e, e.Booked), amount(e, e.Held)))
		}
	}
	if len(list) == 0 {
		return "it holds nothing"
	}
	return strings.Join(list, "; ")
}

func (k *call) finding(id string, h ledger.Hold, why string) Finding {
	return Finding{Reservation: id, Key: k.first.Key, Run: k.first.Run, Operation: cmp.Or(h.Operation, k.first.Operation), At: k.first.Time, Phase: h.Phase, Why: why}
}

// sum adds up what both say of a reservation.
func (c *check) sum(h ledger.Hold, k *call) {
	booked, _, _ := k.cost()
	told, _, err := ledger.Amounts(h.Entries, booked)
	if err != nil {
		return
	}
	for i, e := range h.Entries {
		if e.Meter == cost.Calls {
			continue
		}
		t := Total{Budget: e.Budget, Shared: e.Shared, Meter: e.Meter, Currency: e.Currency}
		at := slices.IndexFunc(c.totals, func(o Total) bool {
			o.Booked, o.Told = 0, 0
			return o == t
		})
		if at < 0 {
			at, c.totals = len(c.totals), append(c.totals, t)
		}
		c.totals[at].Booked += e.Booked
		c.totals[at].Told += told[i]
	}
}

func (l *List) add(f Finding) {
	l.Count++
	l.First = append(l.First, f)
}

// finish sorts what was found.
func (c *check) finish() Report {
	for _, l := range []*List{&c.report.Unrecorded, &c.report.Missing, &c.report.Differing} {
		slices.SortFunc(l.First, func(a, b Finding) int {
			return cmp.Or(a.At.Compare(b.At), cmp.Compare(a.Reservation, b.Reservation))
		})
		l.First = l.First[:min(len(l.First), c.Most)]
	}
	slices.SortFunc(c.totals, func(a, b Total) int {
		return cmp.Or(cmp.Compare(a.Budget, b.Budget), cmp.Compare(a.Meter, b.Meter), cmp.Compare(a.Currency, b.Currency))
	})
	c.report.Totals = c.totals
	return c.report
}
