package sqlaudit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/keybrake/keybrake-go/cost"
)

// derive brings what is derived up to date with entries that have just been put, in the transaction that put them. The
// tables, and the rows in each, are written in one order, so that no two transactions wait for each other.
func derive(ctx context.Context, tx *transaction, fresh []entry) error {
	if err := deriveCalls(ctx, tx, fresh); err != nil {
		return err
	}
	if err := insert(ctx, tx, denialsTable, denialsOf(fresh), denialsAdded); err != nil {
		return err
	}
	if err := insert(ctx, tx, budgetsTable, budgetsOf(fresh), budgetsMerged(tx.dialect)); err != nil {
		return err
	}
	if err := insert(ctx, tx, runsTable, runsOf(fresh), runsMerged(tx.dialect)); err != nil {
		return err
	}
	return insert(ctx, tx, labelsTable, labelsOf(fresh), "NOTHING")
}

// The conflicts that add a change to what stands there.
const (
	spendAdded   = "UPDATE SET calls = t.calls + excluded.calls, actual = t.actual + excluded.actual, held = t.held + excluded.held"
	denialsAdded = "UPDATE SET refusals = t.refusals + excluded.refusals"
)

// deriveCalls brings calls, their amounts and what was spent up to date. What a call comes to is made anew from all its
// records, and what was spent moves by the difference.
func deriveCalls(ctx context.Context, tx *transaction, fresh []entry) error {
	said := byCall(fresh)
	if len(said) == 0 {
		return nil
	}
	keys := slices.SortedFunc(maps.Keys(said), callKey.compare)
	books := map[callKey]*book{}
	var rows []callRow
	for _, k := range keys {
		b := &book{}
		if _, err := b.fold(k, said[k]); err != nil {
			return err
		}
		books[k] = b
		rows = append(rows, b.now)
	}
	// Of a call that has no row yet these are all the records. The row of one that has is locked, and then all are read: those
	// of another transaction that was at the call before this one are seen.
	made, err := insertNew(ctx, tx, callsTable, keysOf, rows)
	if err != nil {
		return err
	}
	known := slices.DeleteFunc(slices.Clone(keys), func(k callKey) bool { return made[k] })
	if err := refold(ctx, tx, known, books); err != nil {
		return err
	}
	var changed []callRow
	var sums []amountRow
	spent := spending{}
	for _, k := range keys {
		b := books[k]
		if !made[k] && b.now != b.was {
			changed = append(changed, b.now)
		}
		sums = append(sums, b.changes()...)
		if err := errors.Join(spent.add(b.was, b.had, -1), spent.add(b.now, b.amounts, 1)); err != nil {
			return err
		}
	}
	if err := insert(ctx, tx, callsTable, changed, callsTable.replaced()); err != nil {
		return err
	}
	if err := insert(ctx, tx, amountsTable, sums, amountsTable.replaced()); err != nil {
		return err
	}
	return insert(ctx, tx, spendTable, spent.rows(), spendAdded)
}

// A book is what a call came to before and comes to now.
type book struct {
	was, now     callRow
	had, amounts []amountRow
}

func (b *book) fold(k callKey, all []entry) (final bool, err error) {
	b.now, b.amounts, final, err = fold(k, all)
	return final, err
}

// changes are the amounts that have changed. Those that are no more stand at zero.
func (b *book) changes() (list []amountRow) {
	now := map[meterKey]bool{}
	for _, a := range b.amounts {
		now[meterKey{a.Meter, a.Currency}] = true
		if !slices.Contains(b.had, a) {
			list = append(list, a)
		}
	}
	for _, a := range b.had {
		if gone := (amountRow{Tenant: a.Tenant, Call: a.Call, Meter: a.Meter, Currency: a.Currency}); !now[meterKey{a.Meter, a.Currency}] && a != gone {
			list = append(list, gone)
		}
	}
	return list
}

// refold reads what calls came to, with a lock, and folds them anew from all their records.
func refold(ctx context.Context, tx *transaction, keys []callKey, books map[callKey]*book) error {
	if len(keys) == 0 {
		return nil
	}
	rows, err := lockCalls(ctx, tx, keys)
	if err != nil {
		return err
	}
	for _, r := range rows {
		books[r.key()].was = r
	}
	had, err := ofCalls(ctx, tx, amountsTable, keys, "")
	if err != nil {
		return err
	}
	for _, a := range had {
		b := books[callKey{a.Tenant, a.Call}]
		b.had = append(b.had, a)
	}
	// The records of retries, of which an agent can make any number, are read where they can change something.
	var open []callKey
	own, err := entriesOf(ctx, tx, keys, ownEntries)
	if err != nil {
		return err
	}
	said := byCall(own)
	for _, k := range keys {
		final, err := books[k].fold(k, said[k])
		if err != nil {
			return err
		}
		if !final {
			open = append(open, k)
		}
	}
	if len(open) == 0 {
		return nil
	}
	retries, err := entriesOf(ctx, tx, open, retriesEntries)
	if err != nil {
		return err
	}
	said = byCall(append(own, retries...))
	for _, k := range open {
		if _, err := books[k].fold(k, said[k]); err != nil {
			return err
		}
	}
	return nil
}

// lockCalls reads the rows of calls, and keeps others from them until the transaction ends.
func lockCalls(ctx context.Context, tx *transaction, keys []callKey) ([]callRow, error) {
	lock := " ORDER BY t.tenant, t.call"
	if tx.dialect == PostgreSQL {
		lock += " FOR UPDATE OF t"
	}
	return ofCalls(ctx, tx, callsTable, keys, lock)
}

// ofCalls reads the rows of t that are of calls.
func ofCalls[R any](ctx context.Context, tx *transaction, t table[R], keys []callKey, more string) ([]R, error) {
	return query(ctx, tx, t, fmt.Sprintf("SELECT %s FROM %s CROSS JOIN %s AS t WHERE t.tenant = k.tenant AND t.call = k.call%s",
		names(t.cols, "t."), tx.dialect.rows(keysOf.cols, "k"), t.name, more), keys)
}

type lineRow struct {
	Line string `json:"line"`
}

var linesOf = tableOf[lineRow]("", 1)

// Where the entries of calls stand: those that are not of retries, and those that are. Of removed records few are kept.
var (
	ownEntries = []string{
		"keybrake_records AS t WHERE t.call = k.call AND t.call <> ''",
		"keybrake_records AS t WHERE t.reservation = k.call AND t.reservation <> '' AND t.kind NOT IN ('intent', 'outcome', 'denied')",
		"keybrake_kept AS t WHERE t.call = k.call AND t.call <> ''",
		"keybrake_kept AS t WHERE t.reservation = k.call AND t.reservation <> ''",
	}
	retriesEntries = []string{
		"keybrake_records AS t WHERE t.reservation = k.call AND t.reservation <> '' AND t.kind IN ('intent', 'outcome', 'denied')",
	}
)

// entriesOf reads entries of calls.
func entriesOf(ctx context.Context, tx *transaction, keys []callKey, places []string) ([]entry, error) {
	var parts []string
	for _, p := range places {
		parts = append(parts, fmt.Sprintf("SELECT t.line FROM %s CROSS JOIN %s AND t.tenant = k.tenant", tx.dialect.rows(keysOf.cols, "k"), p))
	}
	lines, err := query(ctx, tx, linesOf, strings.Join(parts, " UNION ALL "), keys)
	if err != nil {
		return nil, err
	}
	var all []entry
	for _, l := range lines {
		e, err := entryOfLine(l.Line)
		if err != nil {
			return nil, fmt.Errorf("a record that stands there cannot be read: %w", err)
		}
		all = append(all, e)
	}
	return all, nil
}

// byCall are the entries that say something of a call, by the calls that they are about: the one that made the record, and
// the one whose reservation it is of.
func byCall(all []entry) map[callKey][]entry {
	said := map[callKey][]entry{}
	for _, e := range all {
		if !ofCall(e.record) && !later(e.record) {
			continue
		}
		for _, call := range slices.Compact([]string{e.Call, cmp.Or(e.Reservation, e.Call)}) {
			if call != "" {
				k := callKey{e.Tenant, call}
				said[k] = append(said[k], e)
			}
		}
	}
	return said
}

// spending are changes of keybrake_spend, by the row without its sums.
type spending map[spendRow]*spendRow

// add adds or takes away what a call counts for. Sums that no column holds are an error, here as in the database.
func (s spending) add(c callRow, sums []amountRow, sign int64) error {
	if c.Counted == 0 {
		return nil
	}
	for _, a := range sums {
		if a.Actual == 0 && a.Held == 0 {
			continue
		}
		k := spendRow{
			Day: c.Day, Tenant: c.Tenant, Agent: c.Agent, Run: c.Run, Vendor: c.Vendor, Credential: c.Credential, Operation: c.Operation,
			Meter: a.Meter, Currency: a.Currency,
		}
		if s[k] == nil {
			s[k] = &spendRow{}
		}
		to := s[k]
		to.Calls += sign
		for _, sum := range [][2]*int64{{&to.Actual, &a.Actual}, {&to.Held, &a.Held}} {
			change := sign * *sum[1]
			if change > 0 && *sum[0] > math.MaxInt64-change || change < 0 && *sum[0] < math.MinInt64-change {
				return fmt.Errorf("the amounts of call %s, with those of the calls beside it, are more than can be summed up", c.Call)
			}
			*sum[0] += change
		}
	}
	return nil
}

// rows are the changes that change something, in the order of the key.
func (s spending) rows() (list []spendRow) {
	for k, sum := range s {
		if *sum != (spendRow{}) {
			k.Calls, k.Actual, k.Held = sum.Calls, sum.Actual, sum.Held
			list = append(list, k)
		}
	}
	return sortedRows(spendTable, list)
}

// sortedRows puts rows in an order by their key that is the same for all who write the table.
func sortedRows[R any](t table[R], list []R) []R {
	type keyed struct {
		key string
		row R
	}
	rows := make([]keyed, len(list))
	for i := range list {
		rows[i] = keyed{t.keyOf(&list[i]), list[i]}
	}
	slices.SortFunc(rows, func(x, y keyed) int { return strings.Compare(x.key, y.key) })
	for i, r := range rows {
		list[i] = r.row
	}
	return list
}

// denialsOf counts the refusals of entries, on the day of the first that each stands for.
func denialsOf(all []entry) []denialRow {
	counts := map[denialRow]int64{}
	for _, e := range all {
		r := e.record
		if e.Refusals == 0 {
			continue
		}
		at := r.Time
		if !r.First.IsZero() {
			at = r.First
		}
		k := denialRow{
			Day: dayOf(at), Tenant: e.Tenant, Agent: e.Agent, Run: e.Run, Key: e.Key, Vendor: e.Vendor, Operation: e.Operation,
			Reason: e.Reason, Policy: name(r.Policy), Rule: -1,
		}
		if len(r.Reasons) > 0 {
			why := r.Reasons[0]
			k.Owner, k.Rule, k.Param, k.Budget = name(why.Of), int64(why.Rule), name(why.Param), name(why.Budget)
		}
		counts[k] += e.Refusals
	}
	var list []denialRow
	for k, n := range counts {
		k.Refusals = n
		list = append(list, k)
	}
	return sortedRows(denialsTable, list)
}

// budgetsOf are the states of budgets that entries tell, the latest and the highest of each. They are merged in the same
// way with what stands in the table, where order and repetition change nothing either.
func budgetsOf(all []entry) []budgetRow {
	rows := map[budgetRow]*budgetRow{}
	for _, e := range all {
		for _, b := range e.record.Budgets {
			k := budgetRow{
				Tenant: e.Tenant, Run: e.Run, Budget: name(b.Name), Meter: name(string(b.Meter)), Currency: name(string(b.Currency)), Reset: micros(b.Reset),
			}
			if b.Shared {
				k.Shared = 1
			} else {
				k.Key, _, _ = strings.Cut(e.Key, ".")
				k.Owner = name(b.Of)
			}
			is := k
			is.Agent, is.Last, is.LastID, is.Cap, is.Spent, is.Held = e.Agent, e.Time, e.ID, b.Limit, b.Spent, b.Held
			is.Peak = sum(b.Spent, b.Held)
			is.Used = share(is.Peak, b.Limit)
			if was := rows[k]; was != nil {
				is = merge(*was, is)
			}
			rows[k] = &is
		}
	}
	var list []budgetRow
	for _, r := range rows {
		list = append(list, *r)
	}
	return sortedRows(budgetsTable, list)
}

// merge is what budgetsMerged does in the database.
func merge(x, y budgetRow) budgetRow {
	latest := x
	if cmp.Or(cmp.Compare(x.Last, y.Last), strings.Compare(x.LastID, y.LastID)) < 0 {
		latest = y
	}
	latest.Peak, latest.Used = max(x.Peak, y.Peak), max(x.Used, y.Used)
	return latest
}

// most is the greater of two values in the dialect.
func (d Dialect) most(x, y string) string {
	if d == SQLite {
		return fmt.Sprintf("max(%s, %s)", x, y)
	}
	return fmt.Sprintf("greatest(%s, %s)", x, y)
}

func (d Dialect) least(x, y string) string {
	if d == SQLite {
		return fmt.Sprintf("min(%s, %s)", x, y)
	}
	return fmt.Sprintf("least(%s, %s)", x, y)
}

func budgetsMerged(d Dialect) string {
	var sets []string
	for _, c := range budgetsTable.cols[budgetsTable.keys:] {
		value := fmt.Sprintf("CASE WHEN excluded.last > t.last OR excluded.last = t.last AND excluded.last_id > t.last_id THEN excluded.%s ELSE t.%s END", c.name, c.name)
		if c.name == "peak" || c.name == "used" {
			value = d.most("t."+c.name, "excluded."+c.name)
		}
		sets = append(sets, c.name+" = "+value)
	}
	return "UPDATE SET " + strings.Join(sets, ", ")
}

// sum is x and y, or the most that there can be.
func sum(x, y int64) int64 {
	if s, err := cost.Add(x, y); err == nil {
		return s
	}
	return cost.Max
}

// share is part of whole in thousandths, rounded down; all of it where the whole is nothing.
func share(part, whole int64) int64 {
	if whole <= 0 {
		return 1000
	}
	return part * 1000 / whole // part is at most cost.Max, which leaves room for three digits
}

// runsOf are from when to when entries tell of runs.
func runsOf(all []entry) []runRow {
	rows := map[runRow]*runRow{}
	for _, e := range all {
		if e.Run == "" || e.Agent == "" && !ofCall(e.record) { // a stop by run names no agent
			continue
		}
		k := runRow{Tenant: e.Tenant, Run: e.Run, Agent: e.Agent}
		is := k
		is.First, is.Last = e.Time, e.Time
		if was := rows[k]; was != nil {
			is.First, is.Last = min(is.First, was.First), max(is.Last, was.Last)
		}
		rows[k] = &is
	}
	var list []runRow
	for _, r := range rows {
		list = append(list, *r)
	}
	return sortedRows(runsTable, list)
}

func runsMerged(d Dialect) string {
	return fmt.Sprintf("UPDATE SET first = %s, last = %s WHERE excluded.first < t.first OR excluded.last > t.last",
		d.least("t.first", "excluded.first"), d.most("t.last", "excluded.last"))
}

// labelsOf are the labels of runs.
func labelsOf(all []entry) []labelRow {
	rows := map[labelRow]bool{}
	for _, e := range all {
		for _, l := range e.record.Labels {
			if e.Run != "" {
				rows[labelRow{e.Tenant, name(l), e.Run}] = true
			}
		}
	}
	return sortedRows(labelsTable, slices.Collect(maps.Keys(rows)))
}
