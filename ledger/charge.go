package ledger

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/reason"
)

// This file is the arithmetic that every implementation shares: which budgets a call touches, and by how much.
// It is pure, so the implementations differ only in how they make one atomic step of it.

// A Charge is what a request needs of one budget.
type Charge struct {
	Budget Budget
	Amount int64
	AtOnce bool // counted calls: booked as spent at reserve
}

// Charges works out what lines of operation need of each budget. budgets are complete: those of shared rows
// have been looked up. It refuses
//
//   - an amount outside the books' range,
//   - a money line that no budget counts: nothing is forwarded unpriced or unbounded,
//   - a money line that a budget means to count in another currency. A shared budget is one scope, the own
//     budgets of one key together are another; each scope that counts the line on its meter must have a budget in its
//     currency, else a cap in one currency could be escaped by paying in another.
//
// A budget that the call does not touch gets no charge. A shared budget that is named twice, as a narrowed key
// may, is charged once, under the lower limit; two budgets of one key's own under one name are an error, since
// each would be checked without the other. The budgets of each narrowed key are a scope of their own.
func Charges(budgets []Budget, operation string, lines []cost.Line) ([]Charge, error) {
	budgets, err := distinct(budgets)
	if err != nil {
		return nil, err
	}
	for _, l := range lines {
		if err := l.Valid(); err != nil {
			return nil, &Denied{Code: reason.CostUnknown, Name: err.Error()}
		}
		if err := covered(budgets, operation, l); err != nil {
			return nil, err
		}
	}
	var charges []Charge
	for _, b := range budgets {
		if !cost.MatchAny(b.Operations, operation) {
			continue
		}
		amount, err := cost.Sum(lines, b.Meter, b.Currency)
		if err != nil {
			return nil, &Denied{Code: reason.CostUnknown, Name: err.Error()}
		}
		if counts(b, lines) {
			charges = append(charges, Charge{b, amount, b.Meter == cost.Calls})
		}
	}
	return charges, nil
}

// distinct names each budget once.
func distinct(budgets []Budget) ([]Budget, error) {
	out := make([]Budget, 0, len(budgets))
	for _, b := range budgets {
		i := slices.IndexFunc(out, func(o Budget) bool { return o.counter() == b.counter() })
		switch {
		case b.Shared && b.Of != "":
			return nil, fmt.Errorf("ledger: budget %s is shared and a narrowed key's own at once", b.Name)
		case i < 0:
			out = append(out, b)
		case !b.Shared:
			return nil, fmt.Errorf("ledger: the key has two budgets of its own named %q", b.Name)
		default:
			out[i].Limit = min(out[i].Limit, b.Limit)
		}
	}
	return out, nil
}

func counts(b Budget, lines []cost.Line) bool {
	for _, l := range lines {
		if b.Meter.Counts(l.Meter) && b.Currency == l.Currency {
			return true
		}
	}
	return false
}

func covered(budgets []Budget, operation string, l cost.Line) error {
	if !l.Meter.Money() {
		return nil
	}
	same := map[string]bool{} // scopes that have a budget in the line's currency
	for _, b := range budgets {
		if b.Counts(operation, l) && b.Currency == l.Currency {
			same[b.scope()] = true
		}
	}
	for _, b := range budgets {
		if b.Counts(operation, l) && !same[b.scope()] {
			return &Denied{Code: reason.CurrencyDenied, Name: fmt.Sprintf("%s counts %s, the call costs %s", b.Name, b.Currency, l.Currency)}
		}
	}
	if len(same) == 0 {
		return &Denied{Code: reason.BudgetMissing, Name: fmt.Sprintf("no budget counts %s in %s", l.Meter, l.Currency)}
	}
	return nil
}

// Amounts distributes lines over the entries of a hold, for Settle: one amount per entry, in order. Lines in a
// currency or on a meter that no entry counts are returned as strays: their cost is real but the reserve did
// not foresee it, so the implementation keeps the hold.
func Amounts(entries []Entry, lines []cost.Line) (amounts []int64, strays []cost.Line, err error) {
	amounts = make([]int64, len(entries))
	for i, e := range entries {
		if e.Meter == cost.Calls {
			amounts[i] = e.Booked // counted once, at reserve
			continue
		}
		if amounts[i], err = cost.Sum(lines, e.Meter, e.Currency); err != nil {
			return nil, nil, err
		}
	}
	for _, l := range lines {
		if err := l.Valid(); err != nil {
			return nil, nil, err
		}
		if l.Meter.Money() && !entriesCount(entries, l) {
			strays = append(strays, l)
		}
	}
	return amounts, strays, nil
}

func entriesCount(entries []Entry, l cost.Line) bool {
	for _, e := range entries {
		if e.Meter.Counts(l.Meter) && e.Currency == l.Currency {
			return true
		}
	}
	return false
}

// CallsOnly returns the lines that count calls: all that a read or a retry of the same spend is charged.
func CallsOnly(lines []cost.Line) []cost.Line {
	var calls []cost.Line
	for _, l := range lines {
		if l.Meter == cost.Calls {
			calls = append(calls, l)
		}
	}
	return calls
}

// counter is what one amount is kept for: budgets that differ in it never share one.
func (b Budget) counter() counter { return counter{b.Name, b.Of, b.Shared, b.Observed} }

func (e Entry) counter() counter { return counter{e.Budget, e.Of, e.Shared, e.Observed} }

type counter struct {
	name, of         string
	shared, observed bool
}

// scope is whose budget b is: that of a shared name, or one of the own budgets of one key.
func (b Budget) scope() string {
	if b.Shared {
		return "shared:" + b.Name
	}
	return "key:" + b.Of
}

// SameCount reports whether two budgets count the same thing, whatever their limits.
func SameCount(a, b Budget) bool {
	return a.Meter == b.Meter && a.Currency == b.Currency && a.Window == b.Window && a.Zone == b.Zone &&
		slices.Equal(a.Operations, b.Operations)
}

// Lower returns a shared budget's row with the limit that a key's token asks for, when that is lower. A token
// whose limit is negative sets none.
func Lower(row, token Budget) Budget {
	row.Shared, row.Observed = true, token.Observed
	if token.Limit >= 0 && token.Limit < row.Limit {
		row.Limit = token.Limit
	}
	return row
}

// NoLimit in a shared budget of a [Request] means that the row's limit is the limit.
const NoLimit = -1

// slots is into how many slots a rolling window is cut. It bounds what a budget remembers, and costs that an amount
// counts for up to a sixtieth of the window's length longer than it would have to, never shorter.
const slots = 60

// Window returns where in b a call is counted now: the window that holds now, or the slot of a rolling one, in Unix
// microseconds. start is included, end excluded, an end of 0 is a lifetime. A zone that this machine does not know
// is an error, hence a denial: counting in another zone would give two machines two windows, and each its own limit.
func Window(b Budget, now time.Time) (start, end int64, err error) {
	if !b.Window.Valid() {
		return 0, 0, fmt.Errorf("ledger: budget %s: %q is not a window", b.Name, b.Window)
	}
	zone, err := location(b.Zone)
	if err != nil {
		return 0, 0, fmt.Errorf("ledger: budget %s: %w", b.Name, err)
	}
	if b.Window.Rolls() > 0 {
		size := slot(b)
		start = now.UnixMicro() - now.UnixMicro()%size
		return start, start + size, nil
	}
	from, to := b.Window.Bounds(now, zone)
	if !to.IsZero() {
		end = to.UnixMicro()
	}
	return from.UnixMicro(), end, nil
}

// slot is the length of a slot of b's rolling window in microseconds.
func slot(b Budget) int64 { return (b.Window.Rolls().Microseconds() + slots - 1) / slots }

// Lookback is how far before the start of a window's slot the oldest one starts whose amounts still count, in
// microseconds: zero but for a rolling window. Two calls within the length of a rolling window are never further
// apart than that, so what is admitted in any span of its length was checked together.
func Lookback(b Budget) int64 {
	if b.Window.Rolls() == 0 {
		return 0
	}
	return slots * slot(b)
}

// Reset is when room comes back to b, the oldest amounts of which are in the slot from start to end: the zero time
// for a lifetime.
func Reset(b Budget, end int64) time.Time {
	if end == 0 {
		return time.Time{}
	}
	return time.UnixMicro(end + Lookback(b))
}

// Crossed are the alert thresholds of s, in percent of its limit, that its use has reached and that are above told,
// lowest first.
func Crossed(s State, told int) []int {
	var list []int
	for _, p := range s.AlertAt {
		if p > told && s.Spent+s.Held >= Threshold(s.Budget, p) {
			list = append(list, p)
		}
	}
	slices.Sort(list)
	return list
}

// Threshold is the amount from which on b has used percent of its limit, rounded up.
func Threshold(b Budget, percent int) int64 {
	whole, rest := b.Limit/100, b.Limit%100
	return whole*int64(percent) + (rest*int64(percent)+99)/100
}

// zones remembers the time zones, which [cost.Zone] reads from disk each time. Only names that load are kept,
// so it cannot grow beyond the tz database.
var zones sync.Map

func location(name string) (*time.Location, error) {
	if zone, ok := zones.Load(name); ok {
		return zone.(*time.Location), nil
	}
	zone, err := cost.Zone(name)
	if err == nil {
		zones.Store(name, zone)
	}
	return zone, err
}
