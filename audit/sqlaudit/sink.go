package sqlaudit

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"

	"github.com/keybrake/keybrake-go/audit"
)

// Options are the options of [New].
type Options struct {
	// InsecureNoSync lets a database be used that acknowledges what is not on its disk yet: PostgreSQL with synchronous_commit
	// or fsync off, SQLite in memory or without a journal. Then a call can be forwarded whose record a crash takes away.
	InsecureNoSync bool
}

// A Sink writes records to a database. Its methods may be called from any goroutine.
type Sink struct {
	db      *sql.DB
	dialect Dialect
	o       Options
	fault   error // what New was given and cannot be used

	mu      sync.Mutex
	waiting []*job
	busy    bool // somebody commits, and takes what waits next
}

// New returns a sink on a database that [Sink.Migrate] has made ready. It does nothing yet: [Sink.Check], which keybrake.New
// asks, says whether the database can be used. The database stays the caller's to close.
func New(db *sql.DB, d Dialect, o *Options) *Sink {
	s := &Sink{db: db, dialect: d}
	if o != nil {
		s.o = *o
	}
	switch {
	case db == nil:
		s.fault = errors.New("sqlaudit: the database is nil")
	case d != PostgreSQL && d != SQLite:
		s.fault = errors.New("sqlaudit: the dialect is none; give sqlaudit.PostgreSQL or sqlaudit.SQLite")
	}
	return s
}

// ErrConflict says that a record was given whose id another record has: nothing of it was written.
var ErrConflict = errors.New("sqlaudit: the database has another record of the same id")

// Write writes a record, and returns nil when it is committed and on the database's disk. Writes that come while a commit
// is under way share the next one. After an error the record may have been written; writing it again is safe, since a
// record counts once by its id.
func (s *Sink) Write(ctx context.Context, r audit.Record) error {
	return s.WriteBatch(ctx, []audit.Record{r})
}

// WriteBatch writes records, all of them or none, as Write does one.
func (s *Sink) WriteBatch(ctx context.Context, records []audit.Record) error {
	if s.fault != nil {
		return s.fault
	}
	if ctx.Err() != nil {
		return late(ctx)
	}
	j := &job{ctx: ctx, done: make(chan struct{})}
	for _, r := range records {
		e, err := entryOf(r) // copies all that it keeps of the record
		if err != nil {
			return fmt.Errorf("sqlaudit: record %s: %w", name(r.ID), err)
		}
		j.entries = append(j.entries, e)
	}
	if len(j.entries) == 0 {
		return nil
	}
	s.submit(j)
	select {
	case <-j.done:
		return j.err
	case <-ctx.Done():
	}
	if s.giveUp(j) {
		return late(ctx)
	}
	select {
	case <-j.done:
		return j.err
	default:
		return fmt.Errorf("sqlaudit: no answer in time, and it may be written yet: %w", context.Cause(ctx))
	}
}

func late(ctx context.Context) error {
	return fmt.Errorf("sqlaudit: not begun in time, and not written: %w", context.Cause(ctx))
}
