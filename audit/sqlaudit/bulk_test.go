package sqlaudit

import (
	"context"
	"database/sql"
	"fmt"
	"iter"
	"net/url"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/keybrake/keybrake-go/audit"
	"github.com/keybrake/keybrake-go/internal/auditgen"
	"github.com/keybrake/keybrake-go/internal/pgtest"
)

// bulk fills an empty database with the rows that Write would have written of a world, at the speed of a copy: the rows of
// records, and beside them what is derived, folded in memory by the code that Write folds with. Indexes are made at the end.
// Records have to come in the order of their times, and none of a call later than a week after the one before.
//
// Beside the world there are copies of it, under other ids, calls, runs and keys, so that it is as many times as large.
func bulk(tb testing.TB, s *Sink, w *auditgen.World, times int) {
	tb.Helper()
	ctx := tb.Context()
	conn, err := s.db.Conn(ctx)
	check(tb, err)
	defer func() { _ = conn.Close() }()
	b := &bulker{tb: tb, dialect: s.dialect, conn: conn, open: map[callKey][]entry{}, changed: map[callKey]time.Time{}, spent: spending{}, denials: map[denialRow]int64{}, budgets: map[budgetRow]budgetRow{}, runs: map[runRow]runRow{}, labels: map[labelRow]bool{}}
	indexes := b.begin(ctx)
	for batch := range inParallel(w.Records()) {
		for _, e := range batch {
			b.take(e)
		}
		b.flush(ctx, batch[len(batch)-1].record.Time.Add(-week))
		copyRows(ctx, b, recordsTable, rowsOf(batch))
	}
	b.flush(ctx, time.Now().AddDate(100, 0, 0))
	copyRows(ctx, b, spendTable, b.spent.rows())
	for k, n := range b.denials {
		k.Refusals = n
		b.denied = append(b.denied, k)
	}
	copyRows(ctx, b, denialsTable, b.denied)
	copyRows(ctx, b, budgetsTable, sortedRows(budgetsTable, values(b.budgets)))
	copyRows(ctx, b, runsTable, sortedRows(runsTable, values(b.runs)))
	var labels []labelRow
	for l := range b.labels {
		labels = append(labels, l)
	}
	copyRows(ctx, b, labelsTable, sortedRows(labelsTable, labels))
	var figures []figureRow
	for f, amount := range w.Figures() {
		amount *= int64(times)
		figures = append(figures, figureRow{Day: dayOf(f.Day), Vendor: f.Vendor, Credential: f.Credential, Meter: string(f.Meter), Currency: string(f.Currency), Amount: amount})
	}
	copyRows(ctx, b, figuresTable, figures)
	if times > 1 {
		b.multiply(ctx, times)
	}
	b.run(ctx, "COMMIT")
	for _, text := range append(indexes, "ANALYZE") {
		b.run(ctx, text)
	}
}

// A copy is the same as what Write would have made of the records, row by row.
func TestBulkIsWhatWriteWrites(t *testing.T) {
	for _, d := range []Dialect{SQLite, PostgreSQL} {
		t.Run(d.String(), func(t *testing.T) {
			s := New(openForBulk(t, d, nil), d, nil)
			check(t, s.Migrate(t.Context()))
			bulk(t, s, auditgen.New(auditgen.Options{Records: 1000}), 1)
			check(t, s.VerifyDerived(t.Context()))
		})
	}
}

// openForBulk opens an empty database, of a server that is given where it is PostgreSQL.
func openForBulk(tb testing.TB, d Dialect, server *pgtest.Server) *sql.DB {
	driver, dsn := "sqlite", (&url.URL{Scheme: "file", Path: filepath.Join(tb.TempDir(), "audit.db")}).String()
	if d == PostgreSQL {
		driver = "pgx"
		var err error
		if server == nil {
			dsn = pgtest.Database(tb)
		} else if dsn, err = server.NewDatabase(); err != nil {
			tb.Fatal(err)
		}
	}
	db, err := sql.Open(driver, dsn)
	check(tb, err)
	tb.Cleanup(func() { _ = db.Close() })
	return db
}

const week = 7 * 24 * time.Hour

func check(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

func values[K comparable, V any](m map[K]V) (list []V) {
	for _, v := range m {
		list = append(list, v)
	}
	return list
}

func rowsOf(all []entry) []recordRow {
	rows := make([]recordRow, len(all))
	for i, e := range all {
		rows[i] = e.recordRow
	}
	return rows
}

// inParallel makes entries of records, in batches and in their order.
func inParallel(records iter.Seq[audit.Record]) iter.Seq[[]entry] {
	return func(yield func([]entry) bool) {
		batch := make([]audit.Record, 0, 20_000)
		do := func() bool {
			entries := make([]entry, len(batch))
			var wait sync.WaitGroup
			for half := range slices.Chunk(indexesOf(entries), (len(entries)+1)/2) {
				wait.Go(func() {
					for _, i := range half {
						var err error
						if entries[i], err = entryOf(batch[i]); err != nil {
							panic(err)
						}
					}
				})
			}
			wait.Wait()
			batch = batch[:0]
			return yield(entries)
		}
		for r := range records {
			if batch = append(batch, r); len(batch) == cap(batch) && !do() {
				return
			}
		}
		if len(batch) > 0 {
			do()
		}
	}
}

func indexesOf[E any](list []E) []int {
	out := make([]int, len(list))
	for i := range out {
		out[i] = i
	}
	return out
}

type bulker struct {
	tb      testing.TB
	dialect Dialect
	conn    *sql.Conn
	stmts   map[string]*sql.Stmt

	open    map[callKey][]entry
	changed map[callKey]time.Time
	flushed time.Time
	spent   spending
	denials map[denialRow]int64
	denied  []denialRow
	budgets map[budgetRow]budgetRow
	runs    map[runRow]runRow
	labels  map[labelRow]bool
}

func (b *bulker) run(ctx context.Context, text string) {
	b.tb.Helper()
	if _, err := b.conn.ExecContext(ctx, text); err != nil {
		b.tb.Fatalf("%s: %v", text, err)
	}
}

// begin begins the transaction of the copy, without the indexes that are made afterwards by what it returns.
func (b *bulker) begin(ctx context.Context) (indexes []string) {
	steps, err := migrationsOf(b.dialect)
	check(b.tb, err)
	if b.dialect == SQLite {
		for _, p := range []string{"journal_mode = OFF", "synchronous = OFF", "cache_size = -3000000", "temp_store = MEMORY"} {
			b.run(ctx, "PRAGMA "+p)
		}
	}
	b.run(ctx, "BEGIN")
	for _, step := range steps {
		for _, text := range step.statements {
			words := strings.Fields(text)
			of := func(made string) bool {
				return strings.HasPrefix(made, "CREATE INDEX "+strings.TrimSuffix(words[2], ";")+" ")
			}
			switch {
			case strings.HasPrefix(text, "DROP INDEX "):
				indexes = slices.DeleteFunc(indexes, of)
			case strings.HasPrefix(text, "CREATE INDEX "):
				indexes = append(slices.DeleteFunc(indexes, of), text)
			}
		}
	}
	for _, text := range indexes {
		b.run(ctx, "DROP INDEX "+strings.Fields(text)[2])
	}
	if b.dialect == PostgreSQL {
		b.run(ctx, "TRUNCATE keybrake_records, keybrake_calls, keybrake_amounts") // in this transaction, so that the copy needs no log
		for _, t := range []struct{ name, key string }{
			{recordsTable.name, names(recordsTable.cols[:1], "")}, {callsTable.name, names(callsTable.cols[:2], "")}, {amountsTable.name, names(amountsTable.cols[:4], "")},
		} {
			b.run(ctx, fmt.Sprintf("ALTER TABLE %s DROP CONSTRAINT %s_pkey", t.name, t.name))
			indexes = append([]string{fmt.Sprintf("ALTER TABLE %s ADD PRIMARY KEY (%s)", t.name, t.key)}, indexes...)
		}
	}
	return indexes
}

// multiply makes the copies.
func (b *bulker) multiply(ctx context.Context, times int) {
	for _, t := range []struct {
		name string
		cols []column
	}{
		{recordsTable.name, recordsTable.cols}, {callsTable.name, callsTable.cols}, {amountsTable.name, amountsTable.cols}, {spendTable.name, spendTable.cols},
		{denialsTable.name, denialsTable.cols}, {budgetsTable.name, budgetsTable.cols}, {runsTable.name, runsTable.cols}, {labelsTable.name, labelsTable.cols},
	} {
		var copied []string
		for _, c := range t.cols {
			switch c.name {
			case "id", "last_id", "call", "reservation", "run", "vault_key":
				copied = append(copied, fmt.Sprintf("CASE %s WHEN '' THEN '' ELSE %s || '.' || k END", c.name, c.name))
			default:
				copied = append(copied, c.name)
			}
		}
		cols := names(t.cols, "")
		b.run(ctx, fmt.Sprintf("CREATE TEMPORARY TABLE once AS SELECT %s FROM %s", cols, t.name))
		for k := range times - 1 {
			b.run(ctx, fmt.Sprintf("INSERT INTO %s (%s) SELECT %s FROM once CROSS JOIN (SELECT '%d' AS k) AS n", t.name, cols, strings.Join(copied, ", "), k+1))
		}
		b.run(ctx, "DROP TABLE once")
	}
}

// take takes up what is derived from an entry.
func (b *bulker) take(e entry) {
	one := []entry{e}
	for k, said := range byCall(one) {
		b.open[k] = append(b.open[k], said...)
		b.changed[k] = e.record.Time
	}
	for _, d := range denialsOf(one) {
		n := d.Refusals
		d.Refusals = 0
		b.denials[d] += n
	}
	for _, is := range budgetsOf(one) {
		k := budgetRow{Tenant: is.Tenant, Run: is.Run, Key: is.Key, Owner: is.Owner, Budget: is.Budget, Shared: is.Shared, Meter: is.Meter, Currency: is.Currency, Reset: is.Reset}
		if was, ok := b.budgets[k]; ok {
			is = merge(was, is)
		}
		b.budgets[k] = is
	}
	for _, is := range runsOf(one) {
		k := runRow{Tenant: is.Tenant, Run: is.Run, Agent: is.Agent}
		if was, ok := b.runs[k]; ok {
			is.First, is.Last = min(is.First, was.First), max(is.Last, was.Last)
		}
		b.runs[k] = is
	}
	for _, l := range labelsOf(one) {
		b.labels[l] = true
	}
}

// flush writes the calls that nothing was said of since a time. It looks once for each day.
func (b *bulker) flush(ctx context.Context, before time.Time) {
	if before.Before(b.flushed.Add(24 * time.Hour)) {
		return
	}
	b.flushed = before
	var calls []callRow
	var amounts []amountRow
	for k, at := range b.changed {
		if !at.Before(before) {
			continue
		}
		call, sums, _, err := fold(k, b.open[k])
		check(b.tb, err)
		check(b.tb, b.spent.add(call, sums, 1))
		calls, amounts = append(calls, call), append(amounts, sums...)
		delete(b.open, k)
		delete(b.changed, k)
	}
	slices.SortFunc(calls, func(x, y callRow) int { return x.key().compare(y.key()) })
	slices.SortStableFunc(amounts, func(x, y amountRow) int {
		return callKey{x.Tenant, x.Call}.compare(callKey{y.Tenant, y.Call})
	})
	copyRows(ctx, b, callsTable, calls)
	copyRows(ctx, b, amountsTable, amounts)
}

// copyRows puts rows whose keys are new.
func copyRows[R any](ctx context.Context, b *bulker, t table[R], rows []R) {
	b.tb.Helper()
	fields := func(r *R) []any {
		v, out := reflect.ValueOf(r).Elem(), make([]any, len(t.cols))
		for i, c := range t.cols {
			out[i] = v.Field(c.at).Interface()
		}
		return out
	}
	if b.dialect == PostgreSQL {
		var cols []string
		for _, c := range t.cols {
			cols = append(cols, c.name)
		}
		check(b.tb, b.conn.Raw(func(driver any) error {
			from := pgx.CopyFromSlice(len(rows), func(i int) ([]any, error) { return fields(&rows[i]), nil })
			_, err := driver.(*stdlib.Conn).Conn().CopyFrom(ctx, pgx.Identifier{t.name}, cols, from)
			return err
		}))
		return
	}
	if b.stmts == nil {
		b.stmts = map[string]*sql.Stmt{}
	}
	stmt := b.stmts[t.name]
	if stmt == nil {
		marks := strings.TrimSuffix(strings.Repeat("?, ", len(t.cols)), ", ")
		var err error
		stmt, err = b.conn.PrepareContext(ctx, fmt.Sprintf("INSERT INTO %s (%s) VALUES (%s)", t.name, names(t.cols, ""), marks))
		check(b.tb, err)
		b.stmts[t.name] = stmt
	}
	for i := range rows {
		if _, err := stmt.ExecContext(ctx, fields(&rows[i])...); err != nil {
			b.tb.Fatalf("%s: %v", t.name, err)
		}
	}
}
