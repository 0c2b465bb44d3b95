package keybrake

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/keybrake/keybrake-go/audit"
	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/ledger"
	"github.com/keybrake/keybrake-go/vendors"
)

// A DriftAccount is an account at a vendor, by the credential that its calls are made with.
type DriftAccount struct {
	Vendor     string // "stripe"
	Credential string // its reference, as in Grant.Credentials
	Live       bool   // as in Grant.Live
}

// A DriftReport is what a vendor counted on a day beside what the records of the brake say.
type DriftReport struct {
	Day     time.Time // 00:00 UTC
	Account DriftAccount
	Total   []DriftLine // by meter and currency, whoever made the calls
	Runs    []RunDrift  // by name, of those runs that either side knows

	// Open are the reservations of the day whose cost is not final yet: in flight, in doubt, or pending at the vendor.
	Open []string

	Note   string  // what the vendor's numbers leave out
	Unread []error // of the records; what they would have said is in no number
}

// A RunDrift is what one run has cost. Runs of one name are one, whatever their tenants: the vendor's marks name no more.
type RunDrift struct {
	Run   string
	Lines []DriftLine
}

// A DriftLine is one meter in one currency. Amounts are as in [cost.Line].
type DriftLine struct {
	Meter      cost.Meter
	Currency   cost.Currency
	Booked     int64  // what the records say that calls did cost
	Open       int64  // what the ledger still holds for calls of the day: it may become a cost
	Vendor     int64  // what the vendor says
	Difference int64  // Vendor less Booked: above zero, the vendor counts what no record does
	Why        string // why the two cannot be compared; then Difference is zero and says nothing
}

// Agrees reports whether every total could be compared and is equal, with every record read.
func (d DriftReport) Agrees() bool {
	return len(d.Unread) == 0 && !slices.ContainsFunc(d.Total, func(l DriftLine) bool { return l.Difference != 0 || l.Why != "" })
}

// Drift compares what a vendor counted on the day of UTC in which day lies with what records say. It reads at the vendor
// and changes nothing. records are those of all processes that use the credential, from the day on until now, since a
// price may come days later, and begin a little before it; their order does not matter and an error among them is in the
// report. The lines that [audit.JSON] has written are read by [audit.Read]:
//
//	report, err := reconciler.Drift(ctx, yesterday, keybrake.DriftAccount{Vendor: "twilio", Credential: "twilio"}, audit.Read(file))
//
// A call counts on the day of its first record, at what the latest of its records says that it did cost. What differs
// without anybody having gone past the brake: calls around midnight, prices that are not final, what the account is
// charged for no call, and calls under another credential of the same account. A run is compared where the vendor's
// records carry marks (see Config.Stamp); those of its calls that cannot carry one are missing at the vendor.
//
// A vendor that does not tell what it counted, and a reply of it that cannot be read, is an error.
func (r *Reconciler) Drift(ctx context.Context, day time.Time, of DriftAccount, records iter.Seq2[audit.Record, error]) (DriftReport, error) {
	day = day.UTC()
	report := DriftReport{Day: time.Date(day.Year(), day.Month(), day.Day(), 0, 0, 0, 0, time.UTC), Account: of}
	fail := func(err error) (DriftReport, error) {
		return DriftReport{}, fmt.Errorf("keybrake: drift of %s on %s: %w", of.Vendor, report.Day.Format(time.DateOnly), err)
	}
	at, err := r.b.accountOf(ctx, of)
	if err != nil {
		return fail(err)
	}
	usage, err := r.usage(ctx, at, report.Day)
	if err != nil {
		return fail(err)
	}
	report.Note = usage.Note
	spends := map[[2]string]*spend{}
	for rec, err := range records {
		if ctx.Err() != nil {
			return fail(context.Cause(ctx))
		}
		if err != nil {
			report.Unread = append(report.Unread, err)
			continue
		}
		note(spends, rec, of)
	}
	open, err := r.b.unsettled(ctx, spends)
	if err != nil {
		return fail(err)
	}
	sums := map[string]*sides{}
	for key, s := range spends {
		if s.begin.IsZero() || s.begin.Before(report.Day) || !s.begin.Before(report.Day.AddDate(0, 0, 1)) {
			continue
		}
		sum := sideOf(sums, s.run)
		sum.booked = addLines(sum.booked, s.cost())
		if h, is := open[key]; is {
			report.Open = append(report.Open, h.ID)
			sum.open = addLines(sum.open, r.b.atRisk(h))
		}
	}
	slices.Sort(report.Open)
	r.b.compare(&report, sums, usage)
	return report, nil
}

// accountOf fetches the credential of an account.
func (b *Brake) accountOf(ctx context.Context, of DriftAccount) (at account, err error) {
	at = account{vendor: b.vendors[of.Vendor], ref: of.Credential, live: of.Live}
	switch {
	case at.vendor == nil:
		return at, fmt.Errorf("this brake has no vendor %q", of.Vendor)
	case at.vendor.Usage == nil:
		return at, fmt.Errorf("%s does not tell what it has counted on a day", of.Vendor)
	}
	if at.secret, err = b.placement(ctx, at.vendor, at.ref, at.live); err != nil {
		return at, fmt.Errorf("credential %q: %w", of.Credential, err)
	}
	return at, nil
}

// usage asks the adapter what the vendor counted, and makes the looks that it wants.
func (r *Reconciler) usage(ctx context.Context, at account, day time.Time) (u vendors.Usage, err error) {
	d := &vendors.Day{Start: day, Account: at.secret.Account}
	for range vendors.MostLooks + 1 {
		if err := contain(func() (err error) { u, err = at.vendor.Usage(d); return err }); err != nil {
			return vendors.Usage{}, errors.New(scrub(at.secret, err.Error()))
		}
		if u.Look == nil {
			return u, sane(u)
		}
		if len(d.Seen) == vendors.MostLooks {
			break
		}
		if err := r.turn(ctx, at); err != nil {
			return vendors.Usage{}, err
		}
		reply, err := r.b.look(ctx, at, u.Look, "", nil)
		if err != nil {
			return vendors.Usage{}, fmt.Errorf("%s: %w", u.Look.Operation, err)
		}
		d.Seen = append(d.Seen, reply)
	}
	return vendors.Usage{}, fmt.Errorf("%d looks did not come to the end of the vendor's list", vendors.MostLooks)
}

// sane refuses amounts that cannot be meant.
func sane(u vendors.Usage) error {
	all := slices.Clone(u.Total)
	for _, lines := range u.Runs {
		all = append(all, lines...)
	}
	for _, l := range all {
		if err := l.Valid(); err != nil {
			return fmt.Errorf("the adapter's answer: %w", err)
		}
	}
	return nil
}

// A spend is what records say of one reservation.
type spend struct {
	begin time.Time // zero: the call itself is not in the records, or is of another account
	run   string
	said  []audit.Record // by id once each
}

// note takes up what rec says, if it is about a reservation that may be of the account.
func note(spends map[[2]string]*spend, rec audit.Record, of DriftAccount) {
	id := cmp.Or(rec.Reservation, rec.CallID)
	call := rec.Kind == audit.Intent || rec.Kind == audit.Outcome
	later := rec.Kind == audit.Reconciled || rec.Kind == audit.Control && rec.Outcome != ""
	mine := rec.Vendor == of.Vendor && rec.Credential == of.Credential
	if id == "" || rec.Probe || !later && !(call && mine) {
		return
	}
	key := [2]string{rec.Tenant, id}
	s := spends[key]
	if s == nil {
		s = &spend{}
		spends[key] = s
	}
	if slices.ContainsFunc(s.said, func(o audit.Record) bool { return o.ID == rec.ID }) {
		return
	}
	if call && !rec.Attached && (s.begin.IsZero() || rec.Time.Before(s.begin)) {
		s.begin, s.run = rec.Time, rec.Run
	}
	s.said = append(s.said, audit.Record{
		ID: rec.ID, Time: rec.Time, Kind: rec.Kind, Outcome: rec.Outcome, Attached: rec.Attached, Actual: rec.Actual, Held: rec.Held,
	})
}

// cost is what the reservation has cost by its latest record. One that does not tell what became of the call changes
// nothing that an earlier one told.
func (s *spend) cost() (booked []cost.Line) {
	slices.SortStableFunc(s.said, func(x, y audit.Record) int { return x.Time.Compare(y.Time) })
	settled := false
	for _, rec := range s.said {
		switch rec.Outcome {
		case audit.OutcomeExecuted, audit.OutcomeAdjusted, audit.OutcomePending:
			if rec.Attached && settled {
				continue // what the vendor remembers of a spend that the books have, perhaps with a later word on it
			}
			booked = rec.Actual
			settled = rec.Outcome != audit.OutcomePending && !slices.ContainsFunc(rec.Held, func(l cost.Line) bool { return l.Amount > 0 })
		case audit.OutcomeNotExecuted:
			if !rec.Attached { // the answer to a retry proves nothing about the first attempt
				booked, settled = nil, false
			}
		}
	}
	return booked
}

// unsettled are the reservations of the spends' tenants whose cost is not final.
func (b *Brake) unsettled(ctx context.Context, spends map[[2]string]*spend) (map[[2]string]ledger.Hold, error) {
	tenants, open := map[string]bool{}, map[[2]string]ledger.Hold{}
	for key, s := range spends {
		if s.begin.IsZero() || tenants[key[0]] {
			continue
		}
		tenants[key[0]] = true
		ctx, cancel := context.WithTimeout(ctx, b.cfg.LedgerTimeout)
		holds, err := b.cfg.Ledger.Unsettled(ctx, key[0])
		cancel()
		if err != nil {
			return nil, fmt.Errorf("the open calls of tenant %s: %w", key[0], err)
		}
		for _, h := range holds {
			open[[2]string{key[0], h.ID}] = h
		}
	}
	return open, nil
}

// atRisk is what a hold may yet cost, without what is booked of it.
func (b *Brake) atRisk(h ledger.Hold) []cost.Line {
	h.Entries = slices.Clone(h.Entries)
	for i := range h.Entries {
		h.Entries[i].Booked = 0
	}
	return b.heldOf(h)
}

// The sides of a comparison.
type sides struct{ booked, open, vendor []cost.Line }

func sideOf(sums map[string]*sides, run string) *sides {
	if sums[run] == nil {
		sums[run] = &sides{}
	}
	return sums[run]
}

// compare puts the lines of the report side by side.
func (b *Brake) compare(report *DriftReport, sums map[string]*sides, u vendors.Usage) {
	all := &sides{vendor: u.Total}
	for _, s := range sums {
		all.booked, all.open = addLines(all.booked, s.booked), addLines(all.open, s.open)
	}
	converts := b.cfg.Rates != nil
	report.Total = all.lines(u.Total, converts)
	for run, lines := range u.Runs {
		sideOf(sums, run).vendor = lines
	}
	for _, run := range slices.Sorted(maps.Keys(sums)) {
		d := RunDrift{Run: run, Lines: sums[run].lines(u.Total, converts)}
		if u.Runs == nil || len(u.Runs) == 0 && !b.cfg.Stamp {
			for i := range d.Lines {
				d.Lines[i].Difference, d.Lines[i].Why = 0, "the vendor's records carry no marks of runs"
			}
		}
		if len(d.Lines) > 0 {
			report.Runs = append(report.Runs, d)
		}
	}
}

// lines are the sides by meter and currency. Counts are left out where the vendor's total has none. Amounts in unlike
// currencies are not compared: those of a meter that one side alone has, and, where the budgets count what was converted,
// all of a meter that the vendor has in another currency.
func (s *sides) lines(total []cost.Line, converts bool) []DriftLine {
	var out []DriftLine
	for i, side := range [][]cost.Line{s.booked, s.open, s.vendor} {
		for _, l := range side {
			counted := l.Meter.Money() || slices.ContainsFunc(total, func(t cost.Line) bool { return t.Meter == l.Meter })
			if l.Amount == 0 || !counted {
				continue
			}
			at := slices.IndexFunc(out, func(o DriftLine) bool { return o.Meter == l.Meter && o.Currency == l.Currency })
			if at < 0 {
				at, out = len(out), append(out, DriftLine{Meter: l.Meter, Currency: l.Currency})
			}
			*[]*int64{&out[at].Booked, &out[at].Open, &out[at].Vendor}[i] += l.Amount
		}
	}
	for i := range out {
		l := &out[i]
		foreign := func(has, hasNot func(DriftLine) int64) bool { // a currency of the meter that one side alone has
			return slices.ContainsFunc(out, func(o DriftLine) bool { return o.Meter == l.Meter && has(o) != 0 && hasNot(o) == 0 })
		}
		theirs, ours := foreign(vendorOf, bookedOf), foreign(bookedOf, vendorOf)
		anything := slices.ContainsFunc(out, func(o DriftLine) bool { return o.Meter == l.Meter && o.Booked != 0 })
		oneSided := (l.Vendor == 0) != (l.Booked == 0)
		if theirs && (ours && oneSided || converts && anything) {
			l.Why = "the vendor and the budgets count it in different currencies"
			continue
		}
		l.Difference = l.Vendor - l.Booked
	}
	slices.SortFunc(out, func(x, y DriftLine) int {
		return cmp.Or(strings.Compare(string(x.Meter), string(y.Meter)), strings.Compare(string(x.Currency), string(y.Currency)))
	})
	return out
}

func vendorOf(l DriftLine) int64 { return l.Vendor }
func bookedOf(l DriftLine) int64 { return l.Booked }
