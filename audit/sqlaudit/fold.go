package sqlaudit

import (
	"cmp"
	"errors"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/keybrake/keybrake-go/audit"
	"github.com/keybrake/keybrake-go/cost"
)

// The states of a call that are no outcome. The others are the outcome that the latest record tells.
const (
	stateUnknown = "unknown" // the call's own records have not come
	stateOpen    = "open"    // its intent alone has come: it is on its way, or nobody was left to say what became of it
	stateDenied  = "denied"
)

// fold says what the records of a call come to, and of the retries that were attached to it: they are all that there are,
// in any order. What it says depends on nothing else, so that it is the same whatever came first, and however often.
//
// What a call did cost is what [keybrake.Reconciler.Drift] says: at what the latest of its records says, a retry's answer
// changing nothing of a spend that is settled, and a refusal of a retry nothing at all.
//
// Without the retries' records it says the same, where it says that these can change nothing: final.
func fold(k callKey, all []entry) (row callRow, sums []amountRow, final bool, err error) {
	all = sorted(all)
	own := filter(all, func(e entry) bool { return e.Call == k.Call && ofCall(e.record) })
	row = callRow{Tenant: k.Tenant, Call: k.Call, Reservation: k.Call, State: stateUnknown}
	for _, e := range own {
		if e.Reservation != "" && e.Reservation != k.Call {
			row.Reservation, row.Attached = e.Reservation, 1
		}
	}
	first := slices.IndexFunc(own, func(e entry) bool {
		return e.record.Kind != audit.Denied && (row.Attached == 1 || !e.record.Attached)
	})
	if first >= 0 {
		row.Counted = 1
		row.identify(own[first])
	} else if len(own) > 0 {
		row.identify(own[0])
	} else if others := filter(all, func(e entry) bool { return !row.retries(e) }); len(others) > 0 {
		row.identify(others[0])
	} else if len(all) > 0 {
		row.identify(all[0])
	}
	row.describe(own, all)
	a := amounts{}
	if row.Attached == 1 {
		final, err = true, row.retried(own, a)
	} else {
		final, err = row.settle(own, first, all, a)
	}
	return row, a.rows(k), final, err
}

// ofCall reports whether a record is one of the call itself.
func ofCall(r audit.Record) bool {
	return !r.Probe && (r.Kind == audit.Intent || r.Kind == audit.Outcome || r.Kind == audit.Denied)
}

// retries reports whether an entry is of a retry that was attached to the call.
func (row *callRow) retries(e entry) bool { return ofCall(e.record) && e.Call != row.Call }

// later reports whether a record says afterwards what became of a call.
func later(r audit.Record) bool {
	return !r.Probe && (r.Kind == audit.Reconciled || r.Kind == audit.Control && r.Outcome != "")
}

// sorted are the entries in the order of their times, each once.
func sorted(all []entry) []entry {
	all = slices.Clone(all)
	slices.SortFunc(all, func(x, y entry) int {
		return cmp.Or(x.record.Time.Compare(y.record.Time), strings.Compare(x.ID, y.ID))
	})
	return slices.CompactFunc(all, func(x, y entry) bool { return x.ID == y.ID })
}

func filter(list []entry, keep func(entry) bool) []entry {
	return slices.DeleteFunc(slices.Clone(list), func(e entry) bool { return !keep(e) })
}

// identify takes over whose call it is and when it began.
func (row *callRow) identify(e entry) {
	r := e.record
	row.Day, row.Began = dayOf(r.Time), e.Time
	row.Agent, row.Run, row.Key, row.Tool, row.Step = e.Agent, e.Run, e.Key, name(r.Tool), name(r.Step)
	row.Policy, row.Customer, row.Attempt = name(r.Policy), name(r.Customer), int64(r.Attempt)
	row.Vendor, row.Credential, row.Operation, row.Class, row.Verdict = e.Vendor, name(r.Credential), e.Operation, e.Class, e.Verdict
}

// describe takes over what does not depend on money.
func (row *callRow) describe(own, all []entry) {
	for _, e := range own {
		r := e.record
		row.Refusals += e.Refusals
		if r.Kind == audit.Intent || r.Count > 0 {
			continue
		}
		row.Ended = e.Time
		row.Duration, row.OwnDuration = r.Duration.Microseconds(), r.OwnDuration.Microseconds()
		row.LedgerDuration, row.VendorDuration = r.LedgerDuration.Microseconds(), r.VendorDuration.Microseconds()
		row.Error = name(r.Error)
		row.Status, row.VendorRequest = cmp.Or(int64(r.Status), row.Status), cmp.Or(name(r.VendorRequest), row.VendorRequest)
	}
	for _, e := range all {
		if row.retries(e) {
			continue // it has a row of its own
		}
		row.Flag = cmp.Or(plain(e.record.Flag), row.Flag)
		row.Changed = max(row.Changed, e.Time)
	}
}

// becomes takes over what a record says of the call's state.
func (row *callRow) becomes(state string, e entry) {
	if state != audit.OutcomeInDoubt {
		row.DoubtSince = 0
	} else if row.State != audit.OutcomeInDoubt {
		row.DoubtSince = e.Time
	}
	row.State, row.Reason, row.Detail = state, e.Reason, plain(e.record.Detail)
}

// begin is the state of a call of which no record tells the outcome.
func (row *callRow) begin(own []entry) {
	if row.Counted == 1 {
		row.State = stateOpen
	}
	for _, e := range own {
		if e.record.Kind == audit.Denied {
			row.becomes(stateDenied, e)
			row.Verdict = e.Verdict
		}
	}
}

// retried is a call that was attached to another's reservation: it is a call, and its money is the other's.
func (row *callRow) retried(own []entry, sums amounts) (err error) {
	row.begin(own)
	for _, e := range own {
		if e.record.Outcome != "" {
			row.becomes(e.Outcome, e)
		}
		if e.record.Kind == audit.Denied {
			continue
		}
		if err := sums.reserve(e, func(m cost.Meter) bool { return m == cost.Calls }); err != nil {
			return err
		}
	}
	row.count(sums, false)
	return nil
}

// settle is a call with a reservation of its own.
func (row *callRow) settle(own []entry, first int, all []entry, sums amounts) (final bool, err error) {
	said := filter(all, func(e entry) bool {
		r := e.record
		if cmp.Or(e.Reservation, e.Call) != row.Call || r.Probe {
			return false
		}
		mine := first < 0 || e.Vendor == row.Vendor && r.Credential == own[first].record.Credential
		return later(r) || ofCall(r) && r.Kind != audit.Denied && mine
	})
	row.begin(own)
	for _, e := range said {
		if !e.record.Attached && ofCall(e.record) && len(e.record.Reserved) > 0 {
			if err := sums.reserve(e, func(cost.Meter) bool { return true }); err != nil {
				return false, err
			}
		}
	}
	if row.State == stateOpen {
		sums.holdReserved()
	}
	settled, counted := false, false
	for _, e := range said {
		r := e.record
		switch r.Outcome {
		case audit.OutcomeExecuted, audit.OutcomeAdjusted, audit.OutcomePending:
			if r.Attached && settled {
				continue
			}
			if err := sums.book(e); err != nil {
				return false, err
			}
			settled = r.Outcome != audit.OutcomePending && !slices.ContainsFunc(r.Held, func(l cost.Line) bool { return l.Amount > 0 })
			final = settled && !r.Attached // a retry that came before would have changed nothing, nor would one that comes behind
			counted = slices.ContainsFunc(r.Actual, func(l cost.Line) bool { return l.Meter == cost.Calls })
		case audit.OutcomeNotExecuted:
			if r.Attached {
				continue // the answer to a retry proves nothing about the first attempt
			}
			sums.clear()
			settled, counted, final = false, false, false
		case audit.OutcomeInDoubt:
			if r.Attached {
				continue // a retry has no hold of its own to put in doubt
			}
			if err := sums.doubt(e); err != nil {
				return false, err
			}
		default:
			continue
		}
		row.becomes(r.Outcome, e)
	}
	row.count(sums, counted)
	return final, nil
}

// count books that the call was let through, where its own record does not. A call comes back only if no byte of it left.
func (row *callRow) count(sums amounts, counted bool) {
	for line, a := range sums {
		if line.meter == string(cost.Calls) && row.State != stateDenied && !counted {
			a.Actual = a.Reserved
		}
	}
}

// amounts are a call's by meter and currency.
type amounts map[meterKey]*amountRow

type meterKey struct{ meter, currency string }

func (a amounts) at(l cost.Line) *amountRow {
	k := meterKey{name(string(l.Meter)), name(string(l.Currency))}
	if a[k] == nil {
		a[k] = &amountRow{Meter: k.meter, Currency: k.currency}
	}
	return a[k]
}

// set gives one column the sums of lines, and zero where there are none.
func (a amounts) set(e entry, lines []cost.Line, column func(*amountRow) *int64) error {
	for _, row := range a {
		*column(row) = 0
	}
	for _, l := range lines {
		at := column(a.at(l))
		if l.Amount < 0 || l.Amount > math.MaxInt64-*at {
			return &amountError{e.ID}
		}
		*at += l.Amount
	}
	return nil
}

func reservedOf(r *amountRow) *int64 { return &r.Reserved }
func actualOf(r *amountRow) *int64   { return &r.Actual }
func heldOf(r *amountRow) *int64     { return &r.Held }

// reserve takes over what a record says was reserved on the meters.
func (a amounts) reserve(e entry, on func(cost.Meter) bool) error {
	lines := slices.DeleteFunc(slices.Clone(e.record.Reserved), func(l cost.Line) bool { return !on(l.Meter) })
	return a.set(e, lines, reservedOf)
}

// holdReserved holds all that was reserved. A call is spent when it is let through, and never held.
func (a amounts) holdReserved() {
	for k, row := range a {
		if k.meter != string(cost.Calls) {
			row.Held = row.Reserved
		}
	}
}

func (a amounts) book(e entry) error {
	return errors.Join(a.set(e, e.record.Actual, actualOf), a.set(e, e.record.Held, heldOf))
}

// doubt holds what the record says, or else what is booked and held; where that is nothing, all that was reserved: what is
// in doubt counts as spent.
func (a amounts) doubt(e entry) error {
	if len(e.record.Held) > 0 {
		return a.set(e, e.record.Held, heldOf)
	}
	for k, row := range a {
		if k.meter != string(cost.Calls) && (row.Held > 0 || row.Actual > 0) {
			return nil
		}
	}
	a.holdReserved()
	return nil
}

func (a amounts) clear() {
	for _, row := range a {
		row.Actual, row.Held = 0, 0
	}
}

// rows are those that are not all zero.
func (a amounts) rows(k callKey) (list []amountRow) {
	for _, at := range slices.SortedFunc(maps.Keys(a), func(x, y meterKey) int {
		return cmp.Or(strings.Compare(x.meter, y.meter), strings.Compare(x.currency, y.currency))
	}) {
		row := *a[at]
		if row == (amountRow{Meter: row.Meter, Currency: row.Currency}) {
			continue
		}
		row.Tenant, row.Call = k.Tenant, k.Call
		list = append(list, row)
	}
	return list
}
