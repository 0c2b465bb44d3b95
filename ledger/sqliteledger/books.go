package sqliteledger

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"
	"unicode/utf8"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// A conn is one connection. Its statements are prepared once. It is used by one goroutine at a time.
type conn struct {
	*sql.Conn
	prepared map[string]*sql.Stmt
}

func (c *conn) prepare(query string) (*sql.Stmt, error) {
	if s := c.prepared[query]; s != nil {
		return s, nil
	}
	s, err := c.PrepareContext(context.Background(), query)
	if err == nil {
		c.prepared[query] = s
	}
	return s, err
}

// run carries out a statement without arguments, to its end.
func (c *conn) run(query string) error {
	s, err := c.prepare(query)
	if err == nil {
		_, err = s.ExecContext(context.Background())
	}
	return err
}

// books are a tenant's books within one transaction.
//
// err is the first failure of the store. After it nothing more is asked and what seems to have been read is
// worth nothing; whatever the verb makes of it is taken back, and err is its answer.
type books struct {
	ctx    context.Context
	conn   *conn
	tenant string
	now    time.Time
	err    error
}

// verdict is the answer of a verb that has come to err.
func (b *books) verdict(err error) error {
	if b.err != nil {
		return failure(b.err)
	}
	return err
}

// micros is the time as it is stored: all that is compared with it is whole microseconds.
func (b *books) micros() int64 { return b.now.UnixMicro() }

// statement prepares query, unless something has failed. Arguments have to be text: JSON would make one name
// of two that differ in other bytes.
func (b *books) statement(query string, args []any) *sql.Stmt {
	for _, a := range args {
		if s, ok := a.(string); ok && !utf8.ValidString(s) {
			b.fail(errors.New("a name or a memo is not UTF-8"))
		}
	}
	if b.err != nil {
		return nil
	}
	s, err := b.conn.prepare(query)
	b.fail(err)
	return s
}

// json writes a list or a struct for a column.
func (b *books) json(v any) string {
	text, err := json.Marshal(v)
	if b.fail(err); bytes.Contains(text, []byte(`\ufffd`)) {
		b.fail(errors.New("a name is not UTF-8")) // it would be read back as another
	}
	return string(text)
}

// parse reads what json has written. What of a row cannot be read is told by its kind alone: the text may hold
// anything.
func (b *books) parse(kind, text string, into any) {
	if json.Unmarshal([]byte(text), into) != nil {
		b.fail(fmt.Errorf("a %s's row cannot be read", kind))
	}
}

func (b *books) fail(err error) {
	if b.err == nil {
		b.err = err
	}
}

// exec writes, and returns how many rows were.
func (b *books) exec(query string, args ...any) int64 {
	s := b.statement(query, args)
	if b.err != nil {
		return 0
	}
	r, err := s.ExecContext(b.ctx, args...)
	if err != nil {
		b.fail(err)
		return 0
	}
	n, err := r.RowsAffected()
	b.fail(err)
	return n
}

// get reads one row into the pointers, if there is one.
func (b *books) get(query string, args []any, into ...any) bool {
	s := b.statement(query, args)
	if b.err != nil {
		return false
	}
	err := s.QueryRowContext(b.ctx, args...).Scan(into...)
	if errors.Is(err, sql.ErrNoRows) {
		return false
	}
	b.fail(err)
	return err == nil
}

// each reads all rows into the pointers, one after the other, and calls do after each.
func (b *books) each(query string, args []any, do func(), into ...any) {
	s := b.statement(query, args)
	if b.err != nil {
		return
	}
	rows, err := s.QueryContext(b.ctx, args...)
	if err != nil {
		b.fail(err)
		return
	}
	defer func() { _ = rows.Close() }()
	for b.err == nil && rows.Next() {
		if err := rows.Scan(into...); err != nil {
			b.fail(err)
			return
		}
		do()
	}
	b.fail(rows.Err())
}

// failure is a store's error for the caller, with what to do about it where that is known. SQLite's own texts
// hold no values.
func failure(err error) error {
	if errors.Is(err, errClosed) {
		return errClosed
	}
	switch code(err) {
	case sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB:
		return fmt.Errorf("sqliteledger: the file is damaged or not a ledger; %s: %w", cure, err)
	case sqlite3.SQLITE_FULL:
		return fmt.Errorf("sqliteledger: no room on the disk; calls are refused and holds stand until there is: %w", err)
	case sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM:
		return fmt.Errorf("sqliteledger: this user needs to read and write the file and its directory: %w", err)
	}
	return fmt.Errorf("sqliteledger: %w", err)
}

// code is SQLite's primary result code, or 0.
func code(err error) int {
	var e *sqlite.Error
	if !errors.As(err, &e) {
		return 0
	}
	return e.Code() & 0xff
}

func busy(err error) bool {
	c := code(err)
	return c == sqlite3.SQLITE_BUSY || c == sqlite3.SQLITE_LOCKED
}
