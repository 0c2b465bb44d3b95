package sqlaudit

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
)

//go:embed migrations
var migrations embed.FS

// A migration is one numbered step of the schema.
type migration struct {
	version    int64
	statements []string
}

// migrationsOf are the steps of a dialect, in their order.
func migrationsOf(d Dialect) (list []migration, err error) {
	files, err := fs.Glob(migrations, path.Join("migrations", d.name, "*.sql"))
	if err != nil {
		return nil, err
	}
	slices.Sort(files)
	for i, name := range files {
		number, _, _ := strings.Cut(path.Base(name), "_")
		version, err := strconv.ParseInt(number, 10, 64)
		if err != nil || version != int64(i+1) {
			return nil, fmt.Errorf("sqlaudit: %s is out of order", name)
		}
		text, err := migrations.ReadFile(name)
		if err != nil {
			return nil, err
		}
		list = append(list, migration{version, statements(string(text))})
	}
	return list, nil
}

// statements are the statements of a file, each of which ends at the end of a line.
func statements(text string) (list []string) {
	var now strings.Builder
	for line := range strings.Lines(text) {
		if strings.HasPrefix(strings.TrimSpace(line), "--") {
			continue
		}
		now.WriteString(line)
		if strings.HasSuffix(strings.TrimSpace(line), ";") {
			list = append(list, strings.TrimSpace(now.String()))
			now.Reset()
		}
	}
	return list
}

// The advisory locks in PostgreSQL: "KBmigrat", "KBdelete".
const (
	migrateLock = 0x4b426d6967726174
	deleteLock  = 0x4b4264656c657465
)

// Migrate makes the tables, or brings those of an earlier version up to date, in one transaction: all of it or nothing.
// Processes that migrate at once do so one after the other, and a later one finds it done. Tables of a later version are an
// error, and stay as they are. There is no way back: keep a copy.
func (s *Sink) Migrate(ctx context.Context) error {
	if s.fault != nil {
		return s.fault
	}
	if err := s.migrate(ctx); err != nil {
		return fmt.Errorf("sqlaudit: migrating: %w", err)
	}
	return nil
}

func (s *Sink) migrate(ctx context.Context) (err error) {
	steps, err := migrationsOf(s.dialect)
	if err != nil {
		return err
	}
	conn, err := s.db.Conn(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	run := func(statement string) error { _, err := conn.ExecContext(ctx, statement); return err }
	begin := "BEGIN ISOLATION LEVEL READ COMMITTED" // what the one before has made is seen, whatever the connection's default
	if s.dialect == SQLite {
		if err := s.durable(ctx, conn); err != nil {
			return err
		}
		begin = "BEGIN IMMEDIATE"
	}
	if err := run(begin); err != nil {
		return err
	}
	done := false
	defer func() {
		if !done {
			_, _ = conn.ExecContext(context.WithoutCancel(ctx), "ROLLBACK")
		}
	}()
	if s.dialect == PostgreSQL {
		if err := run(fmt.Sprintf("SELECT pg_advisory_xact_lock(%d)", int64(migrateLock))); err != nil {
			return err
		}
	}
	if err := run("CREATE TABLE IF NOT EXISTS keybrake_schema (version bigint NOT NULL PRIMARY KEY)"); err != nil {
		return err
	}
	version, err := versionOf(ctx, conn)
	switch {
	case err != nil:
		return err
	case version > int64(len(steps)):
		return laterVersion(version, len(steps))
	}
	for _, m := range steps[version:] {
		for _, statement := range m.statements {
			if err := run(statement); err != nil {
				return fmt.Errorf("step %d: %w", m.version, err)
			}
		}
		if err := run(fmt.Sprintf("INSERT INTO keybrake_schema (version) VALUES (%d)", m.version)); err != nil {
			return err
		}
	}
	if err := run("COMMIT"); err != nil {
		return err
	}
	done = true
	return nil
}

func laterVersion(is int64, known int) error {
	return fmt.Errorf("the tables are of version %d, and this program knows %d: update the program", is, known)
}

// A querier is a connection, or a transaction on it.
type querier interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// versionOf is the version of the tables that are there, 0 for none.
func versionOf(ctx context.Context, q querier) (version int64, err error) {
	err = q.QueryRowContext(ctx, "SELECT coalesce(max(version), 0) FROM keybrake_schema").Scan(&version)
	return version, err
}

// ErrNotMigrated says that the tables are not there, or are of an earlier version: see [Sink.Migrate].
var ErrNotMigrated = errors.New("sqlaudit: the tables are not there or are of an earlier version; call Migrate")
