package queries_test

import (
	"database/sql"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"
	_ "modernc.org/sqlite"

	"github.com/keybrake/keybrake-go/audit"
	"github.com/keybrake/keybrake-go/audit/sqlaudit"
	"github.com/keybrake/keybrake-go/audit/sqlaudit/queries"
	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/internal/auditgen"
	"github.com/keybrake/keybrake-go/internal/pgtest"
)

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "queries")
	if err != nil {
		panic(err)
	}
	scratch = dir
	code := pgtest.Main(m)
	for _, db := range opened {
		_ = db.Close()
	}
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// The world of all tests is made once, and each database filled with it once, through the sink.
var (
	scratch string
	mu      sync.Mutex
	opened  = map[sqlaudit.Dialect]*sql.DB{}
	known   = sync.OnceValue(func() *oracle { return newOracle(auditgen.New(auditgen.Options{Records: 3000})) })
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// each asks the same in both databases.
func each(t *testing.T, test func(t *testing.T, db *sql.DB, d sqlaudit.Dialect)) {
	for _, d := range []sqlaudit.Dialect{sqlaudit.SQLite, sqlaudit.PostgreSQL} {
		t.Run(d.String(), func(t *testing.T) { test(t, filled(t, d), d) })
	}
}

func filled(t *testing.T, d sqlaudit.Dialect) *sql.DB {
	t.Helper()
	mu.Lock()
	defer mu.Unlock()
	if db := opened[d]; db != nil {
		return db
	}
	driver, dsn := "pgx", ""
	if d == sqlaudit.SQLite {
		driver, dsn = "sqlite", (&url.URL{Scheme: "file", Path: filepath.Join(scratch, "audit.db"), RawQuery: "_pragma=journal_mode(WAL)"}).String()
	} else {
		dsn = pgtest.Database(t)
	}
	db, err := sql.Open(driver, dsn)
	must(t, err)
	opened[d] = db
	s, o := sqlaudit.New(db, d, nil), known()
	must(t, s.Migrate(t.Context()))
	// What one run holds is committed before it is given back, so that rows of nothing are left behind.
	cut := 1 + slices.IndexFunc(o.records, func(r audit.Record) bool { return r.Run == auditgen.DeclinedRun && r.Kind == audit.Intent })
	for _, part := range [][]audit.Record{o.records[:cut], o.records[cut:]} {
		for batch := range slices.Chunk(part, 2000) {
			must(t, s.WriteBatch(t.Context(), batch))
		}
	}
	type account struct {
		day                time.Time
		vendor, credential string
	}
	said := map[account][]cost.Line{}
	for f, amount := range o.world.Figures() {
		if !o.told(f) {
			continue
		}
		a := account{f.Day, f.Vendor, f.Credential}
		said[a] = append(said[a], cost.Line{Meter: f.Meter, Currency: f.Currency, Amount: amount})
	}
	for a, lines := range said {
		must(t, s.PutVendorFigures(t.Context(), sqlaudit.VendorFigures{Day: a.day, Vendor: a.vendor, Credential: a.credential, Total: lines, Runs: map[string][]cost.Line{auditgen.LoopRun: lines}}))
	}
	_, err = db.ExecContext(t.Context(), "ANALYZE")
	must(t, err)
	return db
}

// figured are the days of which some vendors have said something.
func (o *oracle) figured() (from, until time.Time) {
	return o.world.MissingDay().AddDate(0, 0, -2), o.world.MissingDay().AddDate(0, 0, 3)
}

// told reports whether the vendor has said a figure: each day of each vendor is a commit, and it was never asked about the
// credentials that one tenant has for itself.
func (o *oracle) told(f auditgen.Figure) bool {
	from, until := o.figured()
	return !f.Day.Before(from) && f.Day.Before(until) && f.Credential == f.Vendor
}

// ask runs the query of a name as docs/audit.md prints it.
func ask(t *testing.T, db *sql.DB, name string, args queries.Args) (list []row) {
	t.Helper()
	q, ok := queries.Find(name)
	if !ok {
		t.Fatalf("there is no query %s", name)
	}
	q.SQL = printed(t)[name]
	rows, err := q.Run(t.Context(), db, args)
	must(t, err)
	defer func() { _ = rows.Close() }()
	cols, err := rows.Columns()
	must(t, err)
	for rows.Next() {
		values, to := make([]any, len(cols)), make([]any, len(cols))
		for i := range values {
			to[i] = &values[i]
		}
		must(t, rows.Scan(to...))
		r := make(row, len(cols))
		for i, v := range values {
			r[i] = fmt.Sprint(v)
		}
		list = append(list, r)
	}
	must(t, rows.Err())
	return list
}
