package sqlaudit

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
)

// A column of a table.
type column struct {
	name string
	kind string // text or bigint
	at   int    // the field of the row
}

// A table is one whose rows are a struct of strings and int64s: the fields' json names are its columns, and the first of
// them are its key.
type table[R any] struct {
	name string
	cols []column
	keys int
}

func tableOf[R any](name string, keys int) table[R] {
	t := table[R]{name: name, keys: keys}
	row := reflect.TypeFor[R]()
	for i := range row.NumField() {
		kind := map[reflect.Kind]string{reflect.String: "text", reflect.Int64: "bigint"}[row.Field(i).Type.Kind()]
		t.cols = append(t.cols, column{row.Field(i).Tag.Get("json"), kind, i})
	}
	return t
}

func names(cols []column, prefix string) string {
	var list []string
	for _, c := range cols {
		list = append(list, prefix+c.name)
	}
	return strings.Join(list, ", ")
}

// pointers are where a row is scanned into.
func (t table[R]) pointers(r *R) (to []any) {
	v := reflect.ValueOf(r).Elem()
	for _, c := range t.cols {
		to = append(to, v.Field(c.at).Addr().Interface())
	}
	return to
}

// replaced is the conflict that puts a row in the place of the one that has its key.
func (t table[R]) replaced() string {
	var sets []string
	for _, c := range t.cols[t.keys:] {
		sets = append(sets, c.name+" = excluded."+c.name)
	}
	return "UPDATE SET " + strings.Join(sets, ", ")
}

// insertText is the statement that puts rows, in their order, and does what conflict says with one whose key is there.
func (t table[R]) insertText(d Dialect, conflict string) string {
	cols := names(t.cols, "")
	return fmt.Sprintf("INSERT INTO %s AS t (%s) SELECT %s FROM %s WHERE true ON CONFLICT (%s) DO %s",
		t.name, cols, cols, d.rows(t.cols, "j"), names(t.cols[:t.keys], ""), conflict)
}

// insert puts rows.
func insert[R any](ctx context.Context, tx *transaction, t table[R], rows []R, conflict string) error {
	if len(rows) == 0 {
		return nil
	}
	_, err := tx.exec(ctx, t.insertText(tx.dialect, conflict), rows)
	return err
}

// insertNew puts those rows whose key is not there yet, and tells which these are.
func insertNew[R any, K comparable](ctx context.Context, tx *transaction, t table[R], keyOf table[K], rows []R) (map[K]bool, error) {
	made := map[K]bool{}
	if len(rows) == 0 {
		return made, nil
	}
	list, err := query(ctx, tx, keyOf, t.insertText(tx.dialect, "NOTHING")+" RETURNING "+names(keyOf.cols, ""), rows)
	for _, k := range list {
		made[k] = true
	}
	return made, err
}

// query reads rows of t.
func query[R any](ctx context.Context, tx *transaction, t table[R], text string, args ...any) (list []R, err error) {
	rows, err := tx.query(ctx, text, args...)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var r R
		if err := rows.Scan(t.pointers(&r)...); err != nil {
			return nil, err
		}
		list = append(list, r)
	}
	return list, rows.Err()
}

// A transaction is one on a database of a dialect.
type transaction struct {
	*sql.Tx
	dialect Dialect
}

// exec and query run a statement in the dialect. A parameter that is a slice goes as JSON.
func (tx *transaction) exec(ctx context.Context, text string, args ...any) (sql.Result, error) {
	args, err := asJSON(args)
	if err != nil {
		return nil, err
	}
	return tx.ExecContext(ctx, tx.dialect.sql(text), args...)
}

func (tx *transaction) query(ctx context.Context, text string, args ...any) (*sql.Rows, error) {
	args, err := asJSON(args)
	if err != nil {
		return nil, err
	}
	return tx.QueryContext(ctx, tx.dialect.sql(text), args...)
}

func asJSON(args []any) ([]any, error) {
	out := make([]any, len(args))
	for i, a := range args {
		out[i] = a
		if reflect.TypeOf(a).Kind() == reflect.Slice {
			text, err := json.Marshal(a)
			if err != nil {
				return nil, err
			}
			out[i] = string(text)
		}
	}
	return out, nil
}
