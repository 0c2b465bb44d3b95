package sqlaudit

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/keybrake/keybrake-go/audit"
)

// Delete removes the records from before a time, a few hundred in a transaction, and returns how many it has removed. What
// was spent and refused, budgets, runs and labels stay as they are; the calls that are at their end go with their records.
// What is known of a call that is open, pending or in doubt stays until it is at its end and a later Delete finds it so.
//
// Of a chain the beginning is removed, up to the first record that is younger, and the head at the cut is kept, where
// [Sink.Verify] goes on. That nothing else was removed is proved by [Sink.Cuts] of after it, kept elsewhere and given to
// Verify as From.
//
// A record that is written again after it was removed, by an outbox that had it for so long, counts again. After an error,
// or when ctx ends, what was removed so far is removed, and Delete can be called again.
func (s *Sink) Delete(ctx context.Context, before time.Time) (removed int64, err error) {
	if s.fault != nil {
		return 0, s.fault
	}
	for writer, more := "", true; more; {
		for n := page; n == page; {
			err := s.within(ctx, func(tx *transaction) (err error) {
				n, err = remove(ctx, tx, writer, before)
				return err
			})
			if err != nil {
				return removed, err
			}
			removed += int64(n)
		}
		if writer, more, err = s.writerAfter(ctx, writer); err != nil {
			return removed, err
		}
	}
	return removed, s.dropKept(ctx)
}

// writerAfter is the next writer of whom there is something.
func (s *Sink) writerAfter(ctx context.Context, writer string) (next string, more bool, err error) {
	var found sql.NullString
	err = s.db.QueryRowContext(ctx, s.dialect.sql(`SELECT min(w.writer) FROM (SELECT min(writer) AS writer FROM keybrake_records WHERE writer > $1
		UNION ALL SELECT min(writer) FROM keybrake_repeats WHERE writer > $1) AS w`), writer).Scan(&found)
	if err != nil {
		return "", false, fmt.Errorf("sqlaudit: %w", err)
	}
	return found.String, found.Valid, nil
}

// lock lets deletions take turns. It also makes the transaction a writer before it reads: SQLite gives the right to write to
// none that has read first, if another has written since.
func (tx *transaction) lock(ctx context.Context) error {
	text := touch
	if tx.dialect == PostgreSQL {
		text = fmt.Sprintf("SELECT pg_advisory_xact_lock(%d)", int64(deleteLock))
	}
	_, err := tx.exec(ctx, text)
	return err
}

// remove removes a page of what a writer has written before a time, and returns how many records these were: from the
// beginning of its chain up to the first that is younger. Those without a link have no order, and each goes by its time.
func remove(ctx context.Context, tx *transaction, writer string, before time.Time) (int, error) {
	if err := tx.lock(ctx); err != nil {
		return 0, err
	}
	ask := chained(storedRow{recordRow: recordRow{Writer: writer, N: math.MinInt64}})
	if writer == "" {
		ask = question{
			text: fmt.Sprintf("SELECT %s, 0 AS again FROM keybrake_records WHERE writer = '' AND time < $1 ORDER BY time, id LIMIT %d", names(recordsTable.cols, ""), page),
			args: []any{before.UnixMicro()},
		}
	}
	rows, err := tx.QueryContext(ctx, tx.dialect.sql(ask.text), ask.args...)
	if err != nil {
		return 0, err
	}
	stored, err := scanStored(rows)
	if err != nil {
		return 0, err
	}
	var gone []entry
	var ids []idRow
	var repeats []repeatRow
	var cut *audit.Link
	for _, row := range stored {
		e, err := entryOfLine(row.Line)
		if err != nil {
			return 0, fmt.Errorf("record %s cannot be read: %w", row.ID, err)
		}
		if row.Writer != writer || e.record.Time.UnixMicro() >= before.UnixMicro() {
			break
		}
		cut = e.record.Chain
		if row.again {
			repeats = append(repeats, repeatRow{ID: row.ID, Writer: row.Writer, N: row.N})
			continue
		}
		gone = append(gone, e)
		ids = append(ids, idRow{row.ID})
	}
	if len(gone)+len(repeats) == 0 {
		return 0, nil
	}
	if err := removeRows(ctx, tx, recordsTable.name, idsOf, ids); err != nil {
		return 0, err
	}
	if err := removeRows(ctx, tx, repeatsTable.name, repeatKeysOf, keysOfRepeats(repeats)); err != nil {
		return 0, err
	}
	head := cutRow{Writer: writer, Before: before.UnixMicro()}
	if cut != nil {
		head.N, head.Hash = cut.N, cut.Hash
	}
	if err := insert(ctx, tx, cutsTable, []cutRow{head}, cutsTable.replaced()); err != nil {
		return 0, err
	}
	if err := keep(ctx, tx, gone); err != nil {
		return 0, err
	}
	return len(gone) + len(repeats), moveDenials(ctx, tx, gone)
}

// A cutRow is a row of keybrake_cuts.
type cutRow struct {
	Writer string `json:"writer"`
	N      int64  `json:"n"`
	Hash   string `json:"hash"`
	Before int64  `json:"before"`
}

type repeatKey struct {
	ID     string `json:"id"`
	Writer string `json:"writer"`
	N      int64  `json:"n"`
}

// A reservationKey names what stands in a table of a call by its reservation.
type reservationKey struct {
	Tenant      string `json:"tenant"`
	Reservation string `json:"reservation"`
}

var (
	cutsTable         = tableOf[cutRow]("keybrake_cuts", 1)
	repeatKeysOf      = tableOf[repeatKey]("", 3)
	reservationKeysOf = tableOf[reservationKey]("", 2)
)

func keysOfRepeats(rows []repeatRow) (keys []repeatKey) {
	for _, r := range rows {
		keys = append(keys, repeatKey{r.ID, r.Writer, r.N})
	}
	return keys
}

// removeRows removes rows by what is a part of their key.
func removeRows[K any](ctx context.Context, tx *transaction, from string, keyOf table[K], keys []K) error {
	if len(keys) == 0 {
		return nil
	}
	cols := names(keyOf.cols, "")
	_, err := tx.exec(ctx, fmt.Sprintf("DELETE FROM %s WHERE (%s) IN (SELECT %s FROM %s)", from, cols, cols, tx.dialect.rows(keyOf.cols, "j")), keys)
	return err
}

// keep keeps what removed records say of calls, and then forgets the calls of which nothing is left to know.
func keep(ctx context.Context, tx *transaction, gone []entry) error {
	var kept []keptRow
	for _, e := range gone {
		if cmp.Or(e.Call, e.Reservation) != "" && (ofCall(e.record) || later(e.record)) {
			kept = append(kept, keptRow{e.ID, e.Tenant, e.Call, e.Reservation, e.Line})
		}
	}
	if err := insert(ctx, tx, keptTable, sortedRows(keptTable, kept), "NOTHING"); err != nil {
		return err
	}
	return forget(ctx, tx, rootsOf(gone))
}

// rootsOf are the calls whose reservations entries are about.
func rootsOf(all []entry) []callKey {
	roots := map[callKey]bool{}
	for _, e := range all {
		if call := cmp.Or(e.Reservation, e.Call); call != "" && (ofCall(e.record) || later(e.record)) {
			roots[callKey{e.Tenant, call}] = true
		}
	}
	return slices.SortedFunc(maps.Keys(roots), callKey.compare)
}

// forget removes calls, with the retries that were attached to them, of which no record is left and whose end is known. What
// they have cost stays, as of removed calls.
func forget(ctx context.Context, tx *transaction, roots []callKey) error {
	if len(roots) == 0 {
		return nil
	}
	all, err := entriesOf(ctx, tx, roots, slices.Concat(ownEntries, retriesEntries))
	if err != nil {
		return err
	}
	group := map[callKey]callKey{} // of each call its root
	for _, e := range all {
		root := callKey{e.Tenant, cmp.Or(e.Reservation, e.Call)}
		group[callKey{e.Tenant, e.Call}] = root
		group[root] = root
	}
	keys := slices.SortedFunc(maps.Keys(group), callKey.compare)
	calls, err := lockCalls(ctx, tx, keys)
	if err != nil {
		return err
	}
	left, err := query(ctx, tx, keysOf, fmt.Sprintf(`SELECT t.tenant, t.call FROM %s CROSS JOIN keybrake_records AS t WHERE t.tenant = k.tenant AND t.call = k.call AND t.call <> ''
		UNION ALL SELECT t.tenant, t.reservation FROM %s CROSS JOIN keybrake_records AS t WHERE t.tenant = k.tenant AND t.reservation = k.call AND t.reservation <> ''`,
		tx.dialect.rows(keysOf.cols, "k"), tx.dialect.rows(keysOf.cols, "k")), keys)
	if err != nil {
		return err
	}
	stays := map[callKey]bool{} // by root
	for _, k := range left {
		stays[group[k]] = true
	}
	for _, c := range calls {
		if c.State == stateOpen || c.State == audit.OutcomePending || c.State == audit.OutcomeInDoubt && c.Attached == 0 {
			stays[group[c.key()]] = true
		}
	}
	calls = slices.DeleteFunc(calls, func(c callRow) bool { return stays[group[c.key()]] })
	return forgetCalls(ctx, tx, calls)
}

func forgetCalls(ctx context.Context, tx *transaction, calls []callRow) error {
	var keys []callKey
	for _, c := range calls {
		keys = append(keys, c.key())
	}
	if len(keys) == 0 {
		return nil
	}
	sums, err := ofCalls(ctx, tx, amountsTable, keys, "")
	if err != nil {
		return err
	}
	of := map[callKey][]amountRow{}
	for _, a := range sums {
		k := callKey{a.Tenant, a.Call}
		of[k] = append(of[k], a)
	}
	live, old := spending{}, spending{}
	for _, c := range calls {
		if err := live.add(c, of[c.key()], -1); err != nil {
			return err
		}
		if err := old.add(c, of[c.key()], 1); err != nil {
			return err
		}
	}
	changes := live.rows()
	for _, r := range old.rows() {
		r.Removed = 1
		changes = append(changes, r)
	}
	var reservations []reservationKey
	for _, k := range keys {
		reservations = append(reservations, reservationKey{k.Tenant, k.Call})
	}
	for _, from := range []string{callsTable.name, amountsTable.name, keptTable.name} {
		if err := removeRows(ctx, tx, from, keysOf, keys); err != nil {
			return err
		}
	}
	if err := removeRows(ctx, tx, keptTable.name, reservationKeysOf, reservations); err != nil {
		return err
	}
	return insert(ctx, tx, spendTable, sortedRows(spendTable, changes), spendAdded)
}

// moveDenials counts what removed records say was refused as of removed records.
func moveDenials(ctx context.Context, tx *transaction, gone []entry) error {
	rows := denialsOf(gone)
	for _, r := range slices.Clone(rows) {
		r.Removed = 1
		rows = append(rows, r)
	}
	for i := range rows {
		if rows[i].Removed == 0 {
			rows[i].Refusals = -rows[i].Refusals
		}
	}
	return insert(ctx, tx, denialsTable, sortedRows(denialsTable, rows), denialsAdded)
}

// dropKept looks once more at the calls of which removed records were kept.
func (s *Sink) dropKept(ctx context.Context) error {
	for id, n := "", page; n == page; {
		err := s.within(ctx, func(tx *transaction) error {
			if err := tx.lock(ctx); err != nil {
				return err
			}
			kept, err := keptAfter(ctx, tx, id)
			if err != nil {
				return err
			}
			if n = len(kept); n > 0 {
				id = kept[n-1].ID
			}
			return forget(ctx, tx, rootsOf(kept))
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// keptAfter is the next page of removed records that are kept.
func keptAfter(ctx context.Context, tx *transaction, id string) (all []entry, err error) {
	rows, err := query(ctx, tx, keptTable, fmt.Sprintf("SELECT %s FROM keybrake_kept WHERE id > $1 ORDER BY id LIMIT %d", names(keptTable.cols, ""), page), id)
	if err != nil {
		return nil, err
	}
	for _, row := range rows {
		e, err := entryOfLine(row.Line)
		if err != nil {
			return nil, fmt.Errorf("record %s cannot be read: %w", row.ID, err)
		}
		all = append(all, e)
	}
	return all, nil
}
