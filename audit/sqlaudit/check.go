package sqlaudit

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Check says what is wrong with the database: it cannot be reached, its tables are not there or are of another version, this
// user may not write them, or it does not keep what it has acknowledged. It changes nothing.
func (s *Sink) Check(ctx context.Context) error {
	if s.fault != nil {
		return s.fault
	}
	steps, err := migrationsOf(s.dialect)
	if err != nil {
		return err
	}
	conn, err := s.db.Conn(ctx)
	if err != nil {
		return fmt.Errorf("sqlaudit: %w", err)
	}
	defer func() { _ = conn.Close() }()
	if s.dialect == SQLite {
		err = s.checkSQLite(ctx, conn)
	} else {
		err = s.checkPostgreSQL(ctx, conn)
	}
	if err != nil {
		return fmt.Errorf("sqlaudit: %w", err)
	}
	version, err := versionOf(ctx, conn)
	switch {
	case err != nil:
		return fmt.Errorf("%w: %w", ErrNotMigrated, err)
	case version > int64(len(steps)):
		return fmt.Errorf("sqlaudit: %w", laterVersion(version, len(steps)))
	case version < int64(len(steps)):
		return ErrNotMigrated
	}
	if s.dialect == PostgreSQL {
		return s.permitted(ctx, conn)
	}
	if _, err := conn.ExecContext(ctx, touch); err != nil {
		return fmt.Errorf("sqlaudit: the database cannot be written: %w", err)
	}
	return nil
}

// touch takes SQLite's right to write, and writes nothing.
const touch = "UPDATE keybrake_schema SET version = version WHERE false"

// durable makes a connection's commits wait for the disk, and wait for who is before it. Both are settings of the connection
// and not of the file, so that they are looked at for each. EXTRA, since FULL does not sync the folder that a rollback
// journal was removed from: after a power failure it may be there again, and what was committed is rolled back
// (sqlite.org/pragma.html#pragma_synchronous, 2026-11-24). In WAL mode both are the same.
func (s *Sink) durable(ctx context.Context, conn *sql.Conn) error {
	var synchronous, busy int64
	if err := conn.QueryRowContext(ctx, "PRAGMA busy_timeout").Scan(&busy); err != nil {
		return err
	}
	if busy == 0 {
		if err := conn.QueryRowContext(ctx, "PRAGMA busy_timeout = 5000").Scan(&busy); err != nil {
			return err
		}
	}
	if s.o.InsecureNoSync {
		return nil
	}
	if err := conn.QueryRowContext(ctx, "PRAGMA synchronous").Scan(&synchronous); err != nil {
		return err
	}
	if synchronous >= 3 {
		return nil
	}
	_, err := conn.ExecContext(ctx, "PRAGMA synchronous = EXTRA")
	return err
}

func (s *Sink) checkSQLite(ctx context.Context, conn *sql.Conn) error {
	var version, journal string
	var readOnly int64
	if err := conn.QueryRowContext(ctx, "SELECT sqlite_version()").Scan(&version); err != nil {
		return err
	}
	if err := s.durable(ctx, conn); err != nil {
		return err
	}
	if err := conn.QueryRowContext(ctx, "PRAGMA journal_mode").Scan(&journal); err != nil {
		return err
	}
	if err := conn.QueryRowContext(ctx, "PRAGMA query_only").Scan(&readOnly); err != nil {
		return err
	}
	switch {
	case readOnly != 0:
		return errors.New("the connection may only read (PRAGMA query_only)")
	case !s.o.InsecureNoSync && slices.Contains([]string{"memory", "off"}, journal):
		return fmt.Errorf("the journal mode is %q, so that a crash can take away what was committed; use PRAGMA journal_mode = WAL, and a file", journal)
	}
	return nil
}

func (s *Sink) checkPostgreSQL(ctx context.Context, conn *sql.Conn) error {
	var encoding, fsync, readOnly string
	var version int
	err := conn.QueryRowContext(ctx, `SELECT current_setting('server_version_num')::int, current_setting('server_encoding'),
		current_setting('fsync'), current_setting('transaction_read_only')`).Scan(&version, &encoding, &fsync, &readOnly)
	switch {
	case err != nil:
		return err
	case version < 120000:
		return fmt.Errorf("PostgreSQL %d is older than 12", version/10000)
	case encoding != "UTF8":
		return fmt.Errorf("the database's encoding is %s, which does not hold all text; make one with ENCODING 'UTF8'", encoding)
	case readOnly == "on":
		return errors.New("the connection may only read: it is to a standby, or default_transaction_read_only is on")
	case fsync != "on" && !s.o.InsecureNoSync:
		return errors.New("fsync is off, so that a crash can take away what was committed")
	}
	return nil
}

// tables are all that a sink writes.
var tables = []string{
	"keybrake_records", "keybrake_repeats", "keybrake_calls", "keybrake_amounts", "keybrake_spend", "keybrake_denials",
	"keybrake_budgets", "keybrake_runs", "keybrake_labels",
}

// permitted asks whether this user may write what a record needs. To remove from keybrake_records is not among it.
func (s *Sink) permitted(ctx context.Context, conn *sql.Conn) error {
	var missing []string
	for _, t := range tables {
		rights := []string{"SELECT", "INSERT"}
		if t != "keybrake_records" && t != "keybrake_repeats" && t != "keybrake_labels" {
			rights = append(rights, "UPDATE")
		}
		for _, right := range rights {
			var may bool
			if err := conn.QueryRowContext(ctx, "SELECT has_table_privilege($1::text, $2::text)", t, right).Scan(&may); err != nil {
				return fmt.Errorf("sqlaudit: %w", err)
			}
			if !may {
				missing = append(missing, right+" on "+t)
			}
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("sqlaudit: this user may not %s", strings.Join(missing, ", "))
	}
	return nil
}
