// Package queries has the questions that are asked of an audit in a database that sqlaudit keeps: what did each run cost,
// what is in doubt, who came near a budget. Each is one file of SQL, embedded here, which runs as it stands on SQLite and on
// PostgreSQL, in any client; docs/audit.md prints them all.
//
//	rows, err := queries.Run(ctx, db, "cost_per_run", queries.Args{"tenant": "acme", "from_day": monday, "until_day": sunday, "most": 20})
//
// What they have in common: amounts are micro-units of the currency's major unit, or counts (package cost), times are
// microseconds since 1970, days are YYYY-MM-DD of UTC, and "until" is the first that is not asked about. Money in doubt, in
// flight or pending at the vendor is held, never cost. They only read, and they read roll-ups and rows that an index finds:
// their time grows with what is asked about, not with the age of the audit.
package queries

import (
	"context"
	"database/sql"
	"embed"
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"strings"
	"time"
)

//go:embed *.sql
var files embed.FS

// A Query is one question.
type Query struct {
	Name     string   // "cost_per_run"; that of its file
	Question string   // for people
	Params   []string // the names of $1, $2 and so on
	SQL      string   // the file, with a comment on each parameter
}

// Args are the values of a query's parameters by their names: all of them and no others. A [time.Time] is given as it is, also
// for a day.
type Args map[string]any

// all is ordered by name.
var all = load()

// All returns the queries, by name.
func All() []Query { return slices.Clone(all) }

// Find returns the query of a name.
func Find(name string) (Query, bool) {
	i := slices.IndexFunc(all, func(q Query) bool { return q.Name == name })
	if i < 0 {
		return Query{}, false
	}
	return all[i], true
}

// A Queryer is a *sql.DB, *sql.Conn or *sql.Tx.
type Queryer interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// Run asks a question by its name. The rows are the caller's to close.
func Run(ctx context.Context, db Queryer, name string, args Args) (*sql.Rows, error) {
	q, ok := Find(name)
	if !ok {
		return nil, fmt.Errorf("queries: there is no query %q", name)
	}
	return q.Run(ctx, db, args)
}

// Run asks the question. The rows are the caller's to close.
func (q Query) Run(ctx context.Context, db Queryer, args Args) (*sql.Rows, error) {
	values, err := q.Values(args)
	if err != nil {
		return nil, err
	}
	rows, err := db.QueryContext(ctx, q.SQL, values...)
	if err != nil {
		return nil, fmt.Errorf("queries: %s: %w", q.Name, err)
	}
	return rows, nil
}

// Values are args in the order of the parameters, as a driver takes them. One that is missing is an error, and so is one
// that the query does not have.
func (q Query) Values(args Args) ([]any, error) {
	values := make([]any, len(q.Params))
	for i, name := range q.Params {
		v, ok := args[name]
		if !ok {
			return nil, fmt.Errorf("queries: %s takes %s, and no %s was given", q.Name, strings.Join(q.Params, ", "), name)
		}
		if t, is := v.(time.Time); is && strings.HasSuffix(name, "_day") {
			v = t.UTC().Format(time.DateOnly)
		} else if is {
			v = t.UnixMicro()
		}
		values[i] = v
	}
	for name := range args {
		if !slices.Contains(q.Params, name) {
			return nil, fmt.Errorf("queries: %s takes %s, and no %s", q.Name, strings.Join(q.Params, ", "), name)
		}
	}
	return values, nil
}

// load reads the embedded files. Reading what is embedded does not fail.
func load() (list []Query) {
	names, _ := fs.Glob(files, "*.sql")
	for _, name := range names {
		text, _ := files.ReadFile(name)
		list = append(list, parse(strings.TrimSuffix(name, ".sql"), string(text)))
	}
	return list
}

var param = regexp.MustCompile(`^-- \$[0-9]+ ([a-z_]+)\b`)

// parse reads the comment at the head of a file: the question, which ends with its question mark, and a line for each
// parameter, in their order.
func parse(name, text string) Query {
	q := Query{Name: name, SQL: text}
	for line := range strings.Lines(text) {
		comment, ok := strings.CutPrefix(strings.TrimSpace(line), "-- ")
		if !ok {
			break
		}
		if m := param.FindStringSubmatch(line); m != nil {
			q.Params = append(q.Params, m[1])
		} else if !strings.Contains(q.Question, "?") {
			q.Question = strings.TrimSpace(q.Question + " " + comment)
		}
	}
	q.Question, _, _ = strings.Cut(q.Question, "?")
	q.Question += "?"
	return q
}
