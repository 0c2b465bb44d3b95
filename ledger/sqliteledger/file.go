package sqliteledger

import (
	"context"
	"database/sql"
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"modernc.org/sqlite"
)

//go:embed schema.sql
var schema string

// How a file of ours is told from other SQLite files, and from those of other versions of this package.
const (
	application = 0x4b42_4c47 // "KBLG"
	version     = 1
)

// A file is the open database: a connection for the writer and one for readers.
type file struct {
	path string
	info fs.FileInfo // to notice that another file has taken its place
	db   *sql.DB
	now  func() time.Time

	write   *conn
	queue   chan *job
	closing chan struct{}
	stopped chan struct{} // closed when the writer has ended
	tidied  int64         // when forget last had nothing left to do

	read    *conn
	reading chan struct{} // holds a token while read is in use
}

// open opens the file at path, or makes it, and starts its writer.
func open(ctx context.Context, path string, now func() time.Time) (*file, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("sqliteledger: %w", err)
	}
	if err := local(filepath.Dir(path)); err != nil {
		return nil, fmt.Errorf("sqliteledger: %w", err)
	}
	if err := ensure(ctx, path); err != nil {
		return nil, err
	}
	info, err := fit(path)
	if err != nil {
		return nil, err
	}
	f := &file{
		path: path, info: info, now: now, queue: make(chan *job, most),
		closing: make(chan struct{}), stopped: make(chan struct{}), reading: make(chan struct{}, 1),
	}
	if err := f.connect(ctx); err != nil {
		return nil, errors.Join(failure(err), f.disconnect())
	}
	go f.serve()
	return f, nil
}

// close ends the writer and waits for it and for a read that is under way.
func (f *file) close() error {
	close(f.closing)
	<-f.stopped
	f.reading <- struct{}{} // and is never given back
	return f.disconnect()
}

// connect opens both connections, once it is known that the file is ours and whole.
func (f *file) connect(ctx context.Context) error {
	connector, err := sqlite.NewConnector(source(f.path))
	if err != nil {
		return err
	}
	f.db = sql.OpenDB(connector)
	if f.write, err = f.connection(ctx); err != nil {
		return err
	}
	if err := patiently(ctx, func() error { return f.write.ours(ctx, f.path) }); err != nil {
		return err
	}
	if err := patiently(ctx, func() error { return f.write.whole(ctx, checked) }); err != nil {
		return err
	}
	f.read, err = f.connection(ctx)
	return err
}

func (f *file) disconnect() error {
	var errs []error
	for _, c := range []*conn{f.read, f.write} {
		if c == nil {
			continue
		}
		for _, s := range c.prepared {
			errs = append(errs, s.Close())
		}
		errs = append(errs, c.Close())
	}
	if f.db != nil {
		errs = append(errs, f.db.Close())
	}
	return errors.Join(errs...)
}

// source names the file to the driver. SQLite must never make it: an empty file in the place of one that has
// just gone would be empty books.
func source(path string) string {
	path = filepath.ToSlash(path)
	if !strings.HasPrefix(path, "/") {
		path = "/" + path // C:/…
	}
	return (&url.URL{Scheme: "file", Path: path, RawQuery: "mode=rw&_defensive=1"}).String()
}

// settings are what a connection needs. synchronous FULL makes COMMIT wait for the disk, fullfsync for the
// disk's own cache where an operating system tells the two apart.
var settings = []string{
	"PRAGMA synchronous = FULL", "PRAGMA fullfsync = ON", "PRAGMA checkpoint_fullfsync = ON", "PRAGMA busy_timeout = 0",
	"PRAGMA trusted_schema = OFF", "PRAGMA cell_size_check = ON", "PRAGMA journal_size_limit = 16777216",
}

func (f *file) connection(ctx context.Context) (*conn, error) {
	c, err := f.db.Conn(ctx)
	if err != nil {
		return nil, err
	}
	for _, s := range settings {
		if err := patiently(ctx, func() error { _, err := c.ExecContext(ctx, s); return err }); err != nil {
			return nil, errors.Join(err, c.Close())
		}
	}
	return &conn{Conn: c, prepared: map[string]*sql.Stmt{}}, nil
}

// patiently does what may have to wait for another process, until ctx ends.
func patiently(ctx context.Context, do func() error) error {
	for {
		err := do()
		if !busy(err) {
			return err
		}
		select {
		case <-ctx.Done():
			return errors.Join(context.Cause(ctx), err)
		case <-time.After(pause):
		}
	}
}

// fit looks at the file from outside. It does not open it: where another ledger of this process has it open,
// closing it would end that ledger's locks.
func fit(path string) (fs.FileInfo, error) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, fmt.Errorf("sqliteledger: %w", err)
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("sqliteledger: %s is not a regular file", path)
	case info.Mode().Perm()&0o077 != 0 && runtime.GOOS != "windows":
		return nil, fmt.Errorf("sqliteledger: %s can be read or written by other users (mode %#o); chmod 600 it and the -wal and -shm files beside it", path, info.Mode().Perm())
	case info.Size() < 4096: // SQLite would take it for a new database
		return nil, fmt.Errorf("sqliteledger: %s has %d bytes, so it was cut off or is not a ledger; %s", path, info.Size(), cure)
	}
	return info, nil
}

// there reports that the file has been removed or replaced while it was open: another process would make or use
// another one, and each would give out the whole limit.
func (f *file) there() error {
	info, err := os.Stat(f.path)
	if err == nil && !os.SameFile(info, f.info) {
		err = errors.New("another file is in its place")
	}
	if err != nil {
		return fmt.Errorf("the ledger's file has gone while it was in use; stop all processes that use it and put it back, with its -wal file: %w", err)
	}
	return nil
}
