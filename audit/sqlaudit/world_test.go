package sqlaudit_test

import (
	"context"
	"database/sql"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"
	_ "modernc.org/sqlite"

	"github.com/keybrake/keybrake-go/audit"
	"github.com/keybrake/keybrake-go/audit/sqlaudit"
	"github.com/keybrake/keybrake-go/internal/pgtest"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// A world is a database with a sink on it.
type world struct {
	*sqlaudit.Sink
	db      *sql.DB
	dialect sqlaudit.Dialect
	dsn     string
}

// each runs a test in both databases.
func each(t *testing.T, test func(t *testing.T, w *world)) {
	for _, d := range []sqlaudit.Dialect{sqlaudit.SQLite, sqlaudit.PostgreSQL} {
		t.Run(d.String(), func(t *testing.T) {
			t.Parallel()
			test(t, newWorld(t, d))
		})
	}
}

// newWorld is a new database with the tables in it.
func newWorld(t testing.TB, d sqlaudit.Dialect) *world {
	t.Helper()
	w := emptyWorld(t, d)
	must(t, w.Migrate(t.Context()))
	must(t, w.Check(t.Context()))
	return w
}

func emptyWorld(t testing.TB, d sqlaudit.Dialect) *world {
	t.Helper()
	w := &world{dialect: d}
	driver := "pgx"
	if d == sqlaudit.SQLite {
		driver = "sqlite"
		w.dsn = (&url.URL{Scheme: "file", Path: filepath.Join(t.TempDir(), "audit.db"), RawQuery: "_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)"}).String()
	} else {
		w.dsn = pgtest.Database(t)
	}
	w.open(t, driver)
	return w
}

// open connects to the world's database, as another process would.
func (w *world) open(t testing.TB, driver string) {
	t.Helper()
	db, err := sql.Open(driver, w.dsn)
	must(t, err)
	t.Cleanup(func() { _ = db.Close() })
	w.db = db
	w.Sink = sqlaudit.New(db, w.dialect, nil)
}

func (w *world) write(t testing.TB, records ...audit.Record) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	must(t, w.WriteBatch(ctx, records))
}
