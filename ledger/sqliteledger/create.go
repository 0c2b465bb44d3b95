package sqliteledger

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"

	"modernc.org/sqlite"
)

// cure is what to do about a file that cannot be used.
const cure = "restore it together with its -wal file, or move all its files away to begin new books, in which every key has to be issued again"

// ensure makes the file if there is none. It is made whole under another name and then linked to its own, so that
// a crash leaves no half of one and of two processes that begin together one makes it and both use it.
func ensure(ctx context.Context, path string) error {
	// First the log: where it is there and the file is not, the file has been lost, and what is in the log must
	// not get into another one.
	_, log := os.Stat(path + "-wal")
	_, err := os.Stat(path)
	switch {
	case err == nil:
		return nil
	case !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("sqliteledger: %w", err)
	case log == nil:
		return fmt.Errorf("sqliteledger: %s has gone, but %s-wal is there; %s", path, filepath.Base(path), cure)
	}
	draft := path + "." + rand.Text()[:8] + ".new"
	defer remove(draft)
	if err := create(ctx, draft); err != nil {
		return fmt.Errorf("sqliteledger: making %s: %w", path, err)
	}
	if err := os.Link(draft, path); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("sqliteledger: %w", err)
	}
	return syncDir(filepath.Dir(path))
}

// create makes a whole, empty ledger that only this user can read and write; SQLite gives the files beside it the
// same mode.
func create(ctx context.Context, path string) error {
	made, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	if err := errors.Join(made.Chmod(0o600), made.Close()); err != nil {
		return err
	}
	connector, err := sqlite.NewConnector(source(path))
	if err != nil {
		return err
	}
	db := sql.OpenDB(connector)
	db.SetMaxOpenConns(1)
	for _, s := range []string{
		"PRAGMA synchronous = FULL", "PRAGMA journal_mode = WAL", "BEGIN", schema,
		fmt.Sprintf("PRAGMA application_id = %d", application), fmt.Sprintf("PRAGMA user_version = %d", version), "COMMIT",
	} {
		if _, err := db.ExecContext(ctx, s); err != nil {
			return errors.Join(err, db.Close())
		}
	}
	return db.Close() // moves the log into the file, and syncs it
}

func remove(draft string) {
	for _, s := range []string{"", "-wal", "-shm"} {
		_ = os.Remove(draft + s)
	}
}

// syncDir makes the file's name as durable as its content.
func syncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil // it has no such call
	}
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("sqliteledger: %w", err)
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return fmt.Errorf("sqliteledger: %w", err)
	}
	return nil
}

// ours reports that the file is not a ledger of this version.
func (c *conn) ours(ctx context.Context, path string) error {
	var app, user int64
	var journal string
	for query, into := range map[string]any{"PRAGMA application_id": &app, "PRAGMA user_version": &user, "PRAGMA journal_mode": &journal} {
		if err := c.QueryRowContext(ctx, query).Scan(into); err != nil {
			return err
		}
	}
	switch {
	case app != application:
		return fmt.Errorf("%s is a SQLite database, but not a ledger; give the ledger a file of its own", path)
	case user > version:
		return fmt.Errorf("%s was made or changed by a newer version of this package (its books are version %d, this one knows %d); update this program", path, user, version)
	case user != version:
		return fmt.Errorf("%s holds books of version %d, which none of ours is; %s", path, user, cure)
	case journal != "wal":
		return fmt.Errorf("%s has journal mode %q, so something else has changed it or the file system cannot share memory between processes; use a local disk, and PRAGMA journal_mode = WAL", path, journal)
	}
	return c.complete(ctx, path)
}

// complete reports a table, a column or an index of the schema that the file does not have. Without it some verbs
// would work and others not.
func (c *conn) complete(ctx context.Context, path string) error {
	connector, err := sqlite.NewConnector("file::memory:")
	if err != nil {
		return err
	}
	empty := sql.OpenDB(connector)
	empty.SetMaxOpenConns(1) // each has a memory of its own
	defer func() { _ = empty.Close() }()
	if _, err := empty.ExecContext(ctx, schema); err != nil {
		return err
	}
	want, err := names(ctx, empty)
	if err != nil {
		return err
	}
	have, err := names(ctx, c)
	if err != nil {
		return err
	}
	for _, name := range want {
		if !slices.Contains(have, name) {
			return fmt.Errorf("%s lacks %s, so it was made by an unfinished version of this package or something else has changed it; %s", path, name, cure)
		}
	}
	return nil
}

// names are all indexes, and all tables with each of their columns.
func names(ctx context.Context, db interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}) (list []string, err error) {
	rows, err := db.QueryContext(ctx, `SELECT concat_ws(' ', m.type, m.name, p.name) FROM sqlite_schema m LEFT JOIN pragma_table_info(m.name) p`)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return nil, err
		}
		list = append(list, name)
	}
	return list, rows.Err()
}

// checked is the size up to which the whole file is looked at. Beyond it, the reservations and the kept texts are not:
// they are nearly all of it, and a process that starts has to start.
const checked = 64 << 20

// whole looks for damage: everywhere in a file of at most upTo bytes.
func (c *conn) whole(ctx context.Context, upTo int64) error {
	var pages, size int64
	if err := c.QueryRowContext(ctx, "PRAGMA page_count").Scan(&pages); err != nil {
		return err
	}
	if err := c.QueryRowContext(ctx, "PRAGMA page_size").Scan(&size); err != nil {
		return err
	}
	queries := []string{"PRAGMA quick_check(1)"}
	if pages*size > upTo {
		queries = nil
		for _, table := range []string{"tenants", "keys", "budgets", "amounts", "carriers", "controls", "globals", "repeats", "leases", "alerts", "told", "commands"} {
			queries = append(queries, "PRAGMA quick_check("+table+")")
		}
	}
	for _, q := range queries {
		var found string
		if err := c.QueryRowContext(ctx, q).Scan(&found); err != nil {
			return err
		}
		if found != "ok" {
			return fmt.Errorf("the file is damaged (%s); %s", found, cure)
		}
	}
	return nil
}
