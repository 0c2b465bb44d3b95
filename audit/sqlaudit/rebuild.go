package sqlaudit

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"strings"
)

// The tables that are derived from records. What a removed record said stays in those that only ever add to what they say.
var (
	remade = []string{"keybrake_calls", "keybrake_amounts", "keybrake_spend", "keybrake_denials"}
	grown  = []string{"keybrake_budgets", "keybrake_runs", "keybrake_labels"}
)

// Rebuild makes the derived tables anew from the records, in one transaction that writes wait for. What they say of records
// that [Sink.Delete] has removed stays.
func (s *Sink) Rebuild(ctx context.Context) error {
	if s.fault != nil {
		return s.fault
	}
	return s.within(ctx, func(tx *transaction) error {
		if s.dialect == PostgreSQL {
			if _, err := tx.exec(ctx, "LOCK TABLE keybrake_records IN SHARE ROW EXCLUSIVE MODE"); err != nil {
				return err
			}
		}
		for _, t := range remade {
			text := "DELETE FROM " + t
			if t == "keybrake_spend" || t == "keybrake_denials" {
				text += " WHERE removed = 0"
			}
			if _, err := tx.exec(ctx, text); err != nil {
				return err
			}
		}
		for _, t := range grown {
			if _, err := tx.exec(ctx, "DELETE FROM "+t+" WHERE NOT EXISTS (SELECT 1 FROM keybrake_cuts)"); err != nil {
				return err
			}
		}
		return deriveAll(ctx, tx)
	})
}

// deriveAll derives from all records that there are.
func deriveAll(ctx context.Context, tx *transaction) error {
	last := recordRow{Time: -1 << 62}
	for {
		q := Query{}.after(last)
		rows, err := tx.QueryContext(ctx, tx.dialect.sql(q.text), q.args...)
		if err != nil {
			return err
		}
		stored, err := scanStored(rows)
		if err != nil {
			return err
		}
		var all []entry
		for _, row := range stored {
			e, err := entryOfLine(row.Line)
			if err != nil {
				return fmt.Errorf("record %s cannot be read: %w", row.ID, err)
			}
			all = append(all, e)
			last = row.recordRow
		}
		if err := derive(ctx, tx, all); err != nil {
			return err
		}
		if len(stored) < page {
			break
		}
	}
	for id := ""; ; {
		kept, err := keptAfter(ctx, tx, id)
		if err != nil {
			return err
		}
		if err := deriveCalls(ctx, tx, kept); err != nil {
			return err
		}
		if len(kept) < page {
			return nil
		}
		id = kept[len(kept)-1].ID
	}
}

// A keptRow is a row of keybrake_kept: a record that was removed, of a call that is not at its end.
type keptRow struct {
	ID          string `json:"id"`
	Tenant      string `json:"tenant"`
	Call        string `json:"call"`
	Reservation string `json:"reservation"`
	Line        string `json:"line"`
}

var keptTable = tableOf[keptRow]("keybrake_kept", 1)

// A Mismatch is a row of a derived table that is not what the records say.
type Mismatch struct {
	Table  string
	Stored string // the row that stands there, as JSON; empty where there is none
	Said   string // the row that the records say; empty where they say none
}

// Error says which row it is.
func (m *Mismatch) Error() string {
	return fmt.Sprintf("sqlaudit: %s: the records say %s, and there stands %s", m.Table, orNone(m.Said), orNone(m.Stored))
}

func orNone(s string) string {
	if s == "" {
		return "no such row"
	}
	return s
}

// VerifyDerived derives all tables once more, beside those that are there, and compares: the first row that differs is a
// [*Mismatch]. It reads what was committed when it began, writes nothing that lasts, and takes as long as a [Sink.Rebuild].
//
// Rows of removed records cannot be compared. Where there are some, budgets, runs and labels may say more than the records
// that are left, and not less.
func (s *Sink) VerifyDerived(ctx context.Context) error {
	if s.fault != nil {
		return s.fault
	}
	conn, err := s.db.Conn(ctx)
	if err != nil {
		return fmt.Errorf("sqlaudit: %w", err)
	}
	defer func() { _ = conn.Close() }()
	o := &sql.TxOptions{}
	if s.dialect == PostgreSQL {
		o.Isolation = sql.LevelRepeatableRead
	}
	begun, err := conn.BeginTx(ctx, o)
	if err != nil {
		return fmt.Errorf("sqlaudit: %w", err)
	}
	defer func() { _ = begun.Rollback() }() // and with it the tables that were made for this
	if err := s.compare(ctx, &transaction{begun, s.dialect}); err != nil {
		return fmt.Errorf("sqlaudit: comparing what is derived: %w", err)
	}
	return nil
}

func (s *Sink) compare(ctx context.Context, tx *transaction) error {
	var cut int
	if err := tx.QueryRowContext(ctx, "SELECT count(*) FROM keybrake_cuts").Scan(&cut); err != nil {
		return err
	}
	schema, err := shadow(ctx, tx)
	if err != nil {
		return err
	}
	if err := deriveAll(ctx, tx); err != nil {
		return err
	}
	for _, compare := range []func() error{
		func() error { return same(ctx, tx, callsTable, schema, "true") },
		func() error {
			return same(ctx, tx, amountsTable, schema, "NOT (reserved = 0 AND actual = 0 AND held = 0)")
		},
		func() error {
			return same(ctx, tx, spendTable, schema, "removed = 0 AND NOT (calls = 0 AND actual = 0 AND held = 0)")
		},
		func() error { return same(ctx, tx, denialsTable, schema, "removed = 0 AND refusals <> 0") },
	} {
		if err := compare(); err != nil {
			return err
		}
	}
	if cut == 0 {
		for _, t := range []string{"keybrake_spend", "keybrake_denials"} {
			var n int64
			if err := tx.QueryRowContext(ctx, fmt.Sprintf("SELECT count(*) FROM %s.%s WHERE removed <> 0", schema, t)).Scan(&n); err != nil {
				return err
			}
			if n > 0 {
				return &Mismatch{Table: t, Stored: fmt.Sprintf("%d rows of removed records, though none was removed", n)}
			}
		}
		for _, compare := range []func() error{
			func() error { return same(ctx, tx, budgetsTable, schema, "true") },
			func() error { return same(ctx, tx, runsTable, schema, "true") },
			func() error { return same(ctx, tx, labelsTable, schema, "true") },
		} {
			if err := compare(); err != nil {
				return err
			}
		}
		return nil
	}
	for _, compare := range []func() error{
		func() error {
			return covered(ctx, tx, budgetsTable, schema, "s.peak >= t.peak AND s.used >= t.used AND s.last >= t.last")
		},
		func() error { return covered(ctx, tx, runsTable, schema, "s.first <= t.first AND s.last >= t.last") },
		func() error { return covered(ctx, tx, labelsTable, schema, "true") },
	} {
		if err := compare(); err != nil {
			return err
		}
	}
	return nil
}

// shadow makes an empty table of the same name for each of the derived ones, that is this transaction's alone and comes
// before the real one wherever a name is not qualified. It returns what qualifies the real ones.
func shadow(ctx context.Context, tx *transaction) (schema string, err error) {
	if tx.dialect == SQLite {
		schema = "main"
	} else if err := tx.QueryRowContext(ctx, "SELECT quote_ident(n.nspname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = to_regclass('keybrake_calls')").Scan(&schema); err != nil {
		return "", err
	}
	for _, t := range append(append([]string(nil), remade...), grown...) {
		text := fmt.Sprintf("CREATE TEMPORARY TABLE %s (LIKE %s.%s INCLUDING ALL) ON COMMIT DROP", t, schema, t)
		if tx.dialect == SQLite {
			if err := tx.QueryRowContext(ctx, "SELECT sql FROM main.sqlite_schema WHERE type = 'table' AND name = ?1", t).Scan(&text); err != nil {
				return "", err
			}
			text = strings.Replace(text, "CREATE TABLE", "CREATE TEMPORARY TABLE", 1)
		}
		if _, err := tx.ExecContext(ctx, text); err != nil {
			return "", err
		}
	}
	return schema, nil
}

// same compares the rows of a table with those that were derived.
func same[R any](ctx context.Context, tx *transaction, t table[R], schema, where string) error {
	cols := names(t.cols, "")
	ask := func(from, but string) ([]R, error) {
		return query(ctx, tx, t, fmt.Sprintf("SELECT * FROM (SELECT %s FROM %s WHERE %s EXCEPT SELECT %s FROM %s WHERE %s) AS d ORDER BY %s LIMIT 1",
			cols, from, where, cols, but, where, names(t.cols[:t.keys], "")))
	}
	stored, said := schema+"."+t.name, t.name
	if tx.dialect == SQLite {
		said = "temp." + t.name
	}
	more, err := ask(stored, said)
	if err != nil {
		return err
	}
	less, err := ask(said, stored)
	if err != nil {
		return err
	}
	return mismatch(t, more, less)
}

// covered looks for a derived row that no row of the table is for.
func covered[R any](ctx context.Context, tx *transaction, t table[R], schema, by string) error {
	said := t.name
	if tx.dialect == SQLite {
		said = "temp." + t.name
	}
	var on []string
	for _, c := range t.cols[:t.keys] {
		on = append(on, fmt.Sprintf("s.%s = t.%s", c.name, c.name))
	}
	less, err := query(ctx, tx, t, fmt.Sprintf("SELECT %s FROM %s AS t WHERE NOT EXISTS (SELECT 1 FROM %s.%s AS s WHERE %s AND %s) ORDER BY %s LIMIT 1",
		names(t.cols, "t."), said, schema, t.name, strings.Join(on, " AND "), by, names(t.cols[:t.keys], "t.")))
	if err != nil {
		return err
	}
	return mismatch(t, nil, less)
}

func mismatch[R any](t table[R], stored, said []R) error {
	if len(stored) == 0 && len(said) == 0 {
		return nil
	}
	m := &Mismatch{Table: t.name}
	if len(stored) > 0 {
		m.Stored = rowText(stored[0])
	}
	if len(said) > 0 {
		m.Said = rowText(said[0])
	}
	return m
}

func rowText(r any) string {
	text, err := json.Marshal(r)
	if err != nil {
		return err.Error()
	}
	return string(text)
}
