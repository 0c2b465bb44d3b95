package sqlaudit_test

import (
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/keybrake/keybrake-go/audit"
	"github.com/keybrake/keybrake-go/audit/sqlaudit"
	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/internal/pgtest"
)

func eachEmpty(t *testing.T, test func(t *testing.T, w *world)) {
	for _, d := range []sqlaudit.Dialect{sqlaudit.SQLite, sqlaudit.PostgreSQL} {
		t.Run(d.String(), func(t *testing.T) {
			t.Parallel()
			test(t, emptyWorld(t, d))
		})
	}
}

func TestNothingIsMadeUntilMigrateIsCalled(t *testing.T) {
	eachEmpty(t, func(t *testing.T, w *world) {
		if err := w.Check(t.Context()); !errors.Is(err, sqlaudit.ErrNotMigrated) {
			t.Errorf("Check: %v", err)
		}
		if w.Write(t.Context(), executed("e1", "c1", 1)) == nil {
			t.Error("Write wrote")
		}
		must(t, w.Migrate(t.Context()))
		must(t, w.Check(t.Context()))
		w.write(t, executed("e1", "c1", 1))
		must(t, w.Migrate(t.Context()))
		if len(w.all(t)) != 1 {
			t.Error("a second Migrate lost a record")
		}
	})
}

func TestProcessesMigrateAtOnce(t *testing.T) {
	eachEmpty(t, func(t *testing.T, w *world) {
		var wg sync.WaitGroup
		for range 6 {
			other := *w
			driver := "sqlite"
			if w.dialect == sqlaudit.PostgreSQL {
				driver = "pgx"
				address, err := url.Parse(w.dsn)
				must(t, err)
				settings := address.Query()
				settings.Set("default_transaction_isolation", "serializable") // as a database may have it
				address.RawQuery = settings.Encode()
				other.dsn = address.String()
			}
			other.open(t, driver)
			wg.Go(func() {
				if err := other.Migrate(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		must(t, w.Check(t.Context()))
	})
}

func TestTablesOfALaterVersionAreRefused(t *testing.T) {
	eachEmpty(t, func(t *testing.T, w *world) {
		must(t, w.Migrate(t.Context()))
		w.exec(t, "INSERT INTO keybrake_schema (version) VALUES (999)")
		for name, err := range map[string]error{"Check": w.Check(t.Context()), "Migrate": w.Migrate(t.Context())} {
			if err == nil || !strings.Contains(err.Error(), "999") {
				t.Errorf("%s: %v", name, err)
			}
		}
		w.exec(t, "DELETE FROM keybrake_schema")
		w.exec(t, "INSERT INTO keybrake_schema (version) VALUES (0)")
		if err := w.Check(t.Context()); !errors.Is(err, sqlaudit.ErrNotMigrated) {
			t.Errorf("of an earlier version: %v", err)
		}
	})
}

func TestAMigrationThatFailsLeavesNothing(t *testing.T) {
	eachEmpty(t, func(t *testing.T, w *world) {
		_, err := w.db.Exec("CREATE TABLE keybrake_labels (a int)")
		must(t, err)
		if err := w.Migrate(t.Context()); err == nil || !strings.Contains(err.Error(), "keybrake_labels") {
			t.Fatalf("got %v", err)
		}
		if _, err := w.db.Exec("SELECT 1 FROM keybrake_records"); err == nil {
			t.Error("a part of it stands there")
		}
		_, err = w.db.Exec("DROP TABLE keybrake_labels")
		must(t, err)
		must(t, w.Migrate(t.Context()))
		must(t, w.Check(t.Context()))
	})
}

func TestASinkOfNothingFails(t *testing.T) {
	db := emptyWorld(t, sqlaudit.SQLite).db
	for _, s := range []*sqlaudit.Sink{sqlaudit.New(nil, sqlaudit.SQLite, nil), sqlaudit.New(db, sqlaudit.Dialect{}, nil)} {
		_, verify := s.Verify(t.Context(), nil)
		_, remove := s.Delete(t.Context(), theDay)
		var records error
		for _, err := range s.Records(t.Context(), sqlaudit.Query{}) {
			records = err
		}
		for name, err := range map[string]error{
			"Check": s.Check(t.Context()), "Migrate": s.Migrate(t.Context()), "Write": s.Write(t.Context(), executed("e", "c", 1)), "Rebuild": s.Rebuild(t.Context()),
			"Verify": verify, "VerifyDerived": s.VerifyDerived(t.Context()), "Delete": remove, "Records": records, "PutVendorFigures": s.PutVendorFigures(t.Context(), sqlaudit.VendorFigures{}),
		} {
			if err == nil {
				t.Errorf("%s does not fail", name)
			}
		}
	}
}

// opened is a world on a SQLite file with settings.
func opened(t *testing.T, path, query string) *world {
	w := &world{dialect: sqlaudit.SQLite, dsn: (&url.URL{Scheme: "file", Path: path, RawQuery: query}).String()}
	w.open(t, "sqlite")
	return w
}

func TestSQLiteWaitsForTheDiskWhateverItsSettings(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.db")
	for query, want := range map[string]string{"": "3", "_pragma=synchronous(OFF)": "3", "_pragma=journal_mode(WAL)&_pragma=synchronous(NORMAL)": "3", "_pragma=synchronous(EXTRA)": "3"} {
		w := opened(t, path, query)
		w.db.SetMaxOpenConns(1)
		must(t, w.Migrate(t.Context()))
		w.write(t, executed("e"+want+query, "c1", 1))
		if got := w.rows(t, "PRAGMA synchronous"); got != `["`+want+`"]`+"\n" {
			t.Errorf("%s: %s", query, got)
		}
		insecure := sqlaudit.New(w.db, sqlaudit.SQLite, &sqlaudit.Options{InsecureNoSync: true})
		must(t, w.Check(t.Context()))
		_, err := w.db.Exec("PRAGMA synchronous = OFF")
		must(t, err)
		must(t, insecure.Check(t.Context()))
		must(t, insecure.Write(t.Context(), executed("i"+want+query, "c1", 1)))
		if got := w.rows(t, "PRAGMA synchronous"); got != `["0"]`+"\n" {
			t.Errorf("insecure: %s", got)
		}
	}
}

func TestSQLiteThatDoesNotKeepIsRefused(t *testing.T) {
	dir := t.TempDir()
	for name, query := range map[string]string{"no journal": "_pragma=journal_mode(OFF)", "a journal in memory": "_pragma=journal_mode(MEMORY)"} {
		w := opened(t, filepath.Join(dir, "audit.db"), query)
		must(t, w.Migrate(t.Context()))
		if err := w.Check(t.Context()); err == nil || !strings.Contains(err.Error(), "journal") {
			t.Errorf("%s: %v", name, err)
		}
		must(t, sqlaudit.New(w.db, sqlaudit.SQLite, &sqlaudit.Options{InsecureNoSync: true}).Check(t.Context()))
	}
	memory, err := sql.Open("sqlite", "file::memory:")
	must(t, err)
	defer func() { _ = memory.Close() }()
	memory.SetMaxOpenConns(1)
	s := sqlaudit.New(memory, sqlaudit.SQLite, nil)
	must(t, s.Migrate(t.Context()))
	if s.Check(t.Context()) == nil {
		t.Error("in memory: it is taken")
	}
	path := filepath.Join(dir, "audit.db")
	if w := opened(t, path, "mode=ro"); w.Check(t.Context()) == nil {
		t.Error("one that may only be read is taken")
	}
	if w := opened(t, path, "_pragma=query_only(1)"); w.Check(t.Context()) == nil {
		t.Error("a connection that may only read is taken")
	}
}

func TestPostgreSQLThatDoesNotKeepIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sqlaudit.PostgreSQL)
	refused := func(name, dsn, why string) {
		t.Helper()
		other := &world{dialect: sqlaudit.PostgreSQL, dsn: dsn}
		other.open(t, "pgx")
		if err := other.Check(t.Context()); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%s: %v", name, err)
		}
	}
	refused("one that may only read", w.dsn+"&default_transaction_read_only=on", "only read")
	refused("no server", strings.Replace(w.dsn, "@127.0.0.1:", "@127.0.0.1:1", 1), "")

	_, err := w.db.Exec("CREATE ROLE clerk LOGIN PASSWORD 'x'")
	must(t, err)
	address, err := url.Parse(w.dsn)
	must(t, err)
	address.User = url.UserPassword("clerk", "x")
	grant := func(rights string) {
		t.Helper()
		for _, table := range append(derived, "records", "repeats", "kept", "cuts", "schema") {
			_, err := w.db.Exec(fmt.Sprintf("GRANT %s ON keybrake_%s TO clerk", rights, table))
			must(t, err)
		}
	}
	grant("SELECT")
	refused("a user who may only read", address.String(), "INSERT on keybrake_records")
	grant("INSERT, UPDATE")
	_, err = w.db.Exec("REVOKE UPDATE ON keybrake_records FROM clerk")
	must(t, err)
	clerk := &world{dialect: sqlaudit.PostgreSQL, dsn: address.String()}
	clerk.open(t, "pgx")
	must(t, clerk.Check(t.Context()))
	clerk.write(t, executed("e1", "c1", 1), executed("e2", "c1", 2)) // needs neither UPDATE of keybrake_records nor any DELETE
	clerk.write(t, executed("e1", "c1", 1))

	_, err = w.db.Exec("CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
	must(t, err)
	address, err = url.Parse(w.dsn)
	must(t, err)
	address.Path = "/latin"
	refused("another encoding", address.String(), "encoding")

	s := pgtest.Serve(t, "fsync=off")
	dsn, err := s.NewDatabase()
	must(t, err)
	refused("fsync off", dsn, "fsync")
}

// Both databases have the same tables, column by column.
func TestBothDatabasesHaveTheSameColumns(t *testing.T) {
	lite, pg := newWorld(t, sqlaudit.SQLite), newWorld(t, sqlaudit.PostgreSQL)
	columns := func(w *world, table string) string {
		rows, err := w.db.Query("SELECT * FROM keybrake_" + table)
		must(t, err)
		defer func() { _ = rows.Close() }()
		names, err := rows.Columns()
		must(t, err)
		return strings.Join(names, " ")
	}
	for _, table := range append(derived, "records", "repeats", "kept", "cuts", "vendor_figures", "schema") {
		if a, b := columns(lite, table), columns(pg, table); a != b || a == "" {
			t.Errorf("%s: %s in SQLite, %s in PostgreSQL", table, a, b)
		}
	}
}

func TestWhatAVendorSaysOfADayTakesThePlaceOfWhatItHasSaid(t *testing.T) {
	each(t, func(t *testing.T, w *world) {

		f := sqlaudit.VendorFigures{Day: theDay, Vendor: "acme", Credential: "acme", Total: append(usd(5), usd(2)...), Runs: map[string][]cost.Line{"run_1": usd(3), "run_2": usd(1)}, Asked: theDay}
		must(t, w.PutVendorFigures(t.Context(), f))
		f.Total, f.Runs = usd(9), map[string][]cost.Line{"run_1": usd(4)}
		must(t, w.PutVendorFigures(t.Context(), f))
		f.Day, f.Runs = theDay.AddDate(0, 0, 1), nil
		must(t, w.PutVendorFigures(t.Context(), f))
		want := `["2026-11-22" "" "charge" "9"]` + "\n" + `["2026-11-22" "run_1" "charge" "4"]` + "\n" + `["2026-11-23" "" "charge" "9"]` + "\n"
		if got := w.rows(t, "SELECT day, run, meter, amount FROM keybrake_vendor_figures"); got != want {
			t.Error(diff(got, want))
		}
		f.Total = []cost.Line{{Meter: cost.Charge, Currency: "USD", Amount: cost.Max}, {Meter: cost.Charge, Currency: "USD", Amount: 1}}
		if err := w.PutVendorFigures(t.Context(), f); !errors.Is(err, cost.ErrRange) {
			t.Errorf("more than can be summed up: %v", err)
		}
	})
}

var _ audit.Sink = (*sqlaudit.Sink)(nil)
