package queries_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/keybrake/keybrake-go/audit/sqlaudit"
	"github.com/keybrake/keybrake-go/audit/sqlaudit/queries"
)

// No query reads a whole table, nor a whole index: each goes in by a key. Where the database may choose, by its own statistics,
// it does so as well for the tables that have a row for each record or call.
func TestNoQueryReadsAWholeTable(t *testing.T) {
	each(t, func(t *testing.T, db *sql.DB, d sqlaudit.Dialect) {
		inTransaction(t, db, func(tx *sql.Tx) {
			for _, q := range asked() {
				for _, scan := range scans(t, tx, d, q) {
					t.Errorf("%s %v: %s", q.name, q.args, scan)
				}
			}
		})
	})
}

// The views, asked about a tenant's run, do not either. The comment says what they are made of, as a query would.
func TestNoViewReadsAWholeTable(t *testing.T) {
	views := []queries.Query{
		{Name: "keybrake_cost_by_run", SQL: "SELECT * FROM keybrake_cost_by_run WHERE tenant = $1 AND run = $2 -- keybrake_spend"},
		{Name: "keybrake_story", SQL: "SELECT * FROM keybrake_story WHERE tenant = $1 AND run = $2 -- keybrake_calls c, keybrake_amounts a"},
		{Name: "keybrake_doubts", SQL: "SELECT * FROM keybrake_doubts WHERE tenant = $1 AND run = $2 -- keybrake_calls c, keybrake_amounts a"},
	}
	each(t, func(t *testing.T, db *sql.DB, d sqlaudit.Dialect) {
		inTransaction(t, db, func(tx *sql.Tx) {
			for _, v := range views {
				read := scansOfSQLite
				if d == sqlaudit.PostgreSQL {
					read = scansOfPostgreSQL
				}
				if list := read(t, tx, v, []any{"acme", "run_1"}); len(list) > 0 {
					t.Errorf("%s: %v", v.Name, list)
				}
			}
		})
	})
}

// The plans are looked at closely enough: without its index, a query is found to read a whole table.
func TestAMissingIndexIsNoticed(t *testing.T) {
	each(t, func(t *testing.T, db *sql.DB, d sqlaudit.Dialect) {
		for index, name := range map[string]string{
			"keybrake_calls_by_run":     "what_run_did",
			"keybrake_calls_unfinished": "in_doubt",
			"keybrake_spend_by_run":     "cost_of_run",
			"keybrake_budgets_by_use":   "near_budgets",
		} {
			inTransaction(t, db, func(tx *sql.Tx) {
				_, err := tx.ExecContext(t.Context(), "DROP INDEX "+index)
				must(t, err)
				for _, q := range asked() {
					if q.name == name && len(scans(t, tx, d, q)) == 0 {
						t.Errorf("%s without %s: no whole table was found to be read", name, index)
					}
				}
			})
		}
	})
}

// asked are the questions, one for each query: the last, which asks for the shortest span.
func asked() (list []question) {
	for _, q := range slices.Backward(questions(known())) {
		if !slices.ContainsFunc(list, func(o question) bool { return o.name == q.name }) {
			list = append(list, q)
		}
	}
	return list
}

// inTransaction does something of which nothing stays.
func inTransaction(t *testing.T, db *sql.DB, do func(*sql.Tx)) {
	t.Helper()
	tx, err := db.BeginTx(t.Context(), nil)
	must(t, err)
	defer func() { _ = tx.Rollback() }()
	do(tx)
}

// scans are the steps of a query's plan that read a whole table or index.
func scans(t *testing.T, tx *sql.Tx, d sqlaudit.Dialect, q question) (list []string) {
	t.Helper()
	query, _ := queries.Find(q.name)
	values, err := query.Values(q.args)
	must(t, err)
	if d == sqlaudit.SQLite {
		return scansOfSQLite(t, tx, query, values)
	}
	for _, may := range []string{"on", "off"} { // read a table from end to end, where that is cheaper
		_, err := tx.ExecContext(t.Context(), "SET LOCAL enable_seqscan = "+may)
		must(t, err)
		for _, scan := range scansOfPostgreSQL(t, tx, query, values) {
			if may == "off" || regexp.MustCompile("_(records|calls|amounts)$").MatchString(scan) {
				list = append(list, scan)
			}
		}
	}
	return list
}

var ours = regexp.MustCompile(`(keybrake_[a-z_]+)(?: ([a-z]))?\b`)

// scansOfSQLite are the steps SCAN name, where name is one of our tables or stands for one in the query, and those that look up
// all that a tenant has.
func scansOfSQLite(t *testing.T, tx *sql.Tx, q queries.Query, values []any) (list []string) {
	var tables []string
	for _, m := range ours.FindAllStringSubmatch(q.SQL, -1) {
		tables = append(tables, m[1], m[2])
	}
	rows, err := tx.QueryContext(context.Background(), "EXPLAIN QUERY PLAN "+q.SQL, values...)
	must(t, err)
	defer func() { _ = rows.Close() }()
	lines := 0
	for rows.Next() {
		var id, parent, unused int
		var detail string
		must(t, rows.Scan(&id, &parent, &unused, &detail))
		words := strings.Fields(detail)
		whole := words[0] == "SCAN" || strings.HasSuffix(detail, "(tenant=?)")
		if lines++; whole && len(words) > 1 && words[1] != q.Name && slices.Contains(tables, words[1]) {
			list = append(list, detail)
		}
	}
	must(t, rows.Err())
	if lines == 0 {
		t.Errorf("%s has no plan", q.Name)
	}
	return list
}

// A node is one of PostgreSQL's plans.
type node struct {
	Type  string `json:"Node Type"`
	Table string `json:"Relation Name"`
	Index string `json:"Index Name"`
	Cond  string `json:"Index Cond"`
	Plans []node
}

func scansOfPostgreSQL(t *testing.T, tx *sql.Tx, q queries.Query, values []any) []string {
	var text string
	must(t, tx.QueryRowContext(t.Context(), "EXPLAIN (FORMAT JSON) "+q.SQL, values...).Scan(&text))
	var plans []struct{ Plan node }
	must(t, json.Unmarshal([]byte(text), &plans))
	list, tables := plans[0].Plan.scans(func(index string) (first string) {
		must(t, tx.QueryRowContext(t.Context(), "SELECT a.attname FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indexrelid AND a.attnum = 1 WHERE i.indexrelid = to_regclass($1)", index).Scan(&first))
		return first
	})
	if tables == 0 {
		t.Errorf("%s: the plan names no table: %s", q.Name, text)
	}
	return list
}

// scans are what a plan reads whole, and how often it goes to a table or an index at all. An index is read whole where its first
// column is not given, and as good as whole where a tenant alone is; but for its runs, which are few beside its calls.
func (n node) scans(firstOf func(index string) string) (list []string, tables int) {
	switch {
	case n.Type == "Seq Scan":
		list, tables = []string{"Seq Scan on " + n.Table}, 1
	case n.Index != "":
		columns := column.FindAllStringSubmatch(n.Cond, -1)
		given := func(name string) bool {
			return slices.ContainsFunc(columns, func(m []string) bool { return m[1] == name })
		}
		if tables = 1; !given(firstOf(n.Index)) || given("tenant") && len(columns) == 1 && !strings.HasPrefix(n.Index, "keybrake_runs_") {
			list = []string{fmt.Sprintf("%s by %s of %s on %s", n.Type, n.Cond, n.Index, n.Table)}
		}
	}
	for _, p := range n.Plans {
		more, t := p.scans(firstOf)
		list, tables = append(list, more...), tables+t
	}
	return list, tables
}

// column is what a condition says something of: ((tenant = $1) AND (run = $2)).
var column = regexp.MustCompile(`\((?:\()*([a-z_]+)(?:\))?(?:::[a-z]+)? [=<>]`)
