package sqlaudit

import (
	"context"
	"database/sql"
	"fmt"
	"iter"
	"strings"
	"time"

	"github.com/keybrake/keybrake-go/audit"
)

// page is how many records are read at once.
const page = 500

// A Query says which records to read. What is not set restricts nothing.
type Query struct {
	Tenant string
	Run    string
	Call   string // of the Tenant: the call's, and those of the retries that were attached to it

	From  time.Time // the first moment
	Until time.Time // the first moment that is too late
}

// Records reads records in the order of their times, a few hundred at once. The first error ends it; a row that is not what
// its line says is a [*audit.Tampered].
func (s *Sink) Records(ctx context.Context, q Query) iter.Seq2[audit.Record, error] {
	return func(yield func(audit.Record, error) bool) {
		from := q.From.UnixMicro()
		if q.From.IsZero() {
			from = -1 << 62
		}
		last, index := recordRow{Time: from}, int64(0)
		for {
			rows, err := s.read(ctx, q.after(last))
			for _, row := range rows {
				r, err := row.whole(index)
				index++
				if !yield(r, err) || err != nil {
					return
				}
				last = row.recordRow
			}
			if err != nil {
				yield(audit.Record{}, fmt.Errorf("sqlaudit: reading records: %w", err))
			}
			if err != nil || len(rows) < page {
				return
			}
		}
	}
}

// A question is a statement that reads records, and its parameters.
type question struct {
	text string
	args []any
}

// and adds a condition, whose parameters stand in it as ?.
func (q *question) and(condition string, args ...any) {
	for _, a := range args {
		q.args = append(q.args, a)
		condition = strings.Replace(condition, "?", fmt.Sprintf("$%d", len(q.args)), 1)
	}
	q.text += " AND " + condition
}

// after are the records behind last, in the order of their times.
func (q Query) after(last recordRow) question {
	source := "SELECT " + names(recordsTable.cols, "") + ", 0 AS again FROM "
	ask := question{text: source + "keybrake_records WHERE true"}
	if q.Call != "" { // few, and each of the two has an index
		ask = question{text: source + `(SELECT * FROM keybrake_records WHERE tenant = $1 AND call = $2 AND call <> ''
			UNION SELECT * FROM keybrake_records WHERE tenant = $1 AND reservation = $2 AND reservation <> '') AS r WHERE true`,
			args: []any{name(q.Tenant), name(q.Call)}}
	}
	ask.and("(time, id) > (?, ?)", last.Time, last.ID)
	if q.Tenant != "" {
		ask.and("tenant = ?", name(q.Tenant))
	}
	if q.Run != "" {
		ask.and("run = ?", name(q.Run))
	}
	if !q.Until.IsZero() {
		ask.and("time < ?", q.Until.UnixMicro())
	}
	ask.text += fmt.Sprintf(" ORDER BY time, id LIMIT %d", page)
	return ask
}

// A storedRow is a row as it stands in keybrake_records, or in keybrake_repeats, which has few columns.
type storedRow struct {
	recordRow
	again bool
}

func (s *Sink) read(ctx context.Context, q question) (list []storedRow, err error) {
	if s.fault != nil {
		return nil, s.fault
	}
	rows, err := s.db.QueryContext(ctx, s.dialect.sql(q.text), q.args...)
	if err != nil {
		return nil, err
	}
	return scanStored(rows)
}

func scanStored(rows *sql.Rows) (list []storedRow, err error) {
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var r storedRow
		var again int64
		if err := rows.Scan(append(recordsTable.pointers(&r.recordRow), &again)...); err != nil {
			return nil, err
		}
		r.again = again != 0
		list = append(list, r)
	}
	return list, rows.Err()
}

// bad is the error for a row that is not as it was written.
func (row storedRow) bad(index int64, why string) error {
	return &audit.Tampered{Index: index, ID: row.ID, Writer: row.Writer, N: row.N, Why: "changed: " + why}
}

// whole is the record of a row whose columns are what its line says.
func (row storedRow) whole(index int64) (audit.Record, error) {
	bad := func(why string) (audit.Record, error) { return audit.Record{}, row.bad(index, why) }
	e, err := entryOfLine(row.Line)
	if err != nil {
		return bad("its line cannot be read: " + err.Error())
	}
	said := e.recordRow
	if row.again {
		said = recordRow{ID: e.ID, Writer: e.Writer, N: e.N, Line: e.Line}
	}
	if said == row.recordRow {
		return e.record, nil
	}
	is, want := recordsTable.pointers(&row.recordRow), recordsTable.pointers(&said)
	for i, c := range recordsTable.cols {
		if differ(is[i], want[i]) {
			return bad("its column " + c.name + " is not what its line says")
		}
	}
	return bad("its columns are not what its line says")
}

func differ(x, y any) bool {
	switch x := x.(type) {
	case *string:
		return *x != *y.(*string)
	case *int64:
		return *x != *y.(*int64)
	}
	return true
}
