package sqlaudit

import (
	"context"
	"crypto/ed25519"
	"database/sql"
	"errors"
	"fmt"
	"iter"
	"math"

	"github.com/keybrake/keybrake-go/audit"
)

// Verify is [audit.Verify] of all records, each writer's in its order. It sees besides whether each row is what its line
// says, whether what a chain has written twice is there once more, and whether what [Sink.Delete] has kept of open calls is
// what their writers have made. Where Delete has removed older records it goes on from the heads that it has left in the
// database. Who can write the database can make these up, and so take away the beginning of any chain: where o has a From,
// though it be empty, they do not count, and From, the Cuts that were kept elsewhere, does.
//
// It reads while records are written. While Delete runs it may call tampering what that has removed.
func (s *Sink) Verify(ctx context.Context, o *audit.VerifyOptions) (audit.Verified, error) {
	var options audit.VerifyOptions
	if o != nil {
		options = *o
	}
	cuts, err := s.Cuts(ctx)
	if err != nil {
		return audit.Verified{}, err
	}
	if options.From == nil {
		options.From = cuts
	}
	v, err := audit.Verify(s.Chains(ctx), &options)
	if err != nil {
		return v, err
	}
	if err := s.verifyRepeats(ctx, v.Records); err != nil {
		return v, err
	}
	return v, s.verifyKept(ctx, v.Records, options.From, options.Keys)
}

// verifyRepeats looks for repetitions of which the record itself is not there, though no Delete has removed it: a chain is
// whole with a repetition, and no question is answered from one.
func (s *Sink) verifyRepeats(ctx context.Context, index int64) error {
	var before sql.NullInt64
	if err := s.db.QueryRowContext(ctx, "SELECT max(before) FROM keybrake_cuts").Scan(&before); err != nil {
		return fmt.Errorf("sqlaudit: %w", err)
	}
	for last := (repeatRow{}); ; {
		rows, err := readRows(ctx, s, repeatsTable, fmt.Sprintf(`SELECT %s FROM keybrake_repeats AS t WHERE (t.id, t.writer, t.n) > ($1, $2, $3)
			AND NOT EXISTS (SELECT 1 FROM keybrake_records AS r WHERE r.id = t.id) ORDER BY t.id, t.writer, t.n LIMIT %d`, names(repeatsTable.cols, "t."), page), last.ID, last.Writer, last.N)
		if err != nil {
			return err
		}
		for _, last = range rows {
			e, err := entryOfLine(last.Line)
			if err != nil || !before.Valid || e.Time >= before.Int64 {
				return &audit.Tampered{Index: index, ID: last.ID, Writer: last.Writer, N: last.N, Why: "removed: it is there as a repetition alone"}
			}
		}
		if len(rows) < page {
			return nil
		}
	}
}

// verifyKept looks at the removed records that are kept, from which calls are still derived: each has to be one that its
// writer has made, before the cut.
func (s *Sink) verifyKept(ctx context.Context, index int64, cuts map[string]audit.Head, keys []ed25519.PublicKey) error {
	unlinked := false // Without a key, records without a link are kept, too, where such were removed.
	if len(keys) == 0 {
		err := s.db.QueryRowContext(ctx, "SELECT count(*) > 0 FROM keybrake_cuts WHERE writer = ''").Scan(&unlinked)
		if err != nil {
			return fmt.Errorf("sqlaudit: %w", err)
		}
	}
	for last := (keptRow{}); ; {
		rows, err := readRows(ctx, s, keptTable, fmt.Sprintf("SELECT %s FROM keybrake_kept AS t WHERE t.id > $1 ORDER BY t.id LIMIT %d", names(keptTable.cols, "t."), page), last.ID)
		if err != nil {
			return err
		}
		for _, last = range rows {
			e, err := entryOfLine(last.Line)
			if err != nil {
				return &audit.Tampered{Index: index, ID: last.ID, Why: "changed: the line that is kept of it cannot be read: " + err.Error()}
			}
			bad := &audit.Tampered{Index: index, ID: last.ID, Writer: e.Writer, N: e.N}
			line, err := lineOf(e.record)
			if err != nil || line != last.Line || last != (keptRow{e.ID, e.Tenant, e.Call, e.Reservation, e.Line}) {
				bad.Why = "changed: what is kept of it is not what its line says"
				return bad
			}
			l, cut := e.record.Chain, cuts[e.Writer]
			if l == nil && !unlinked || l != nil && e.N > cut.N {
				bad.Why = "inserted: it is kept as if it was removed, and no cut is behind it"
				return bad
			}
			if l == nil {
				continue
			}
			before := map[string]audit.Head{l.Writer: {N: l.N - 1 - l.Lost, Hash: l.Prev}}
			one := func(yield func(audit.Record, error) bool) { yield(e.record, nil) }
			if _, err := audit.Verify(one, &audit.VerifyOptions{Keys: keys, From: before}); err != nil {
				bad.Why = "changed or inserted where removed records are kept"
				return bad
			}
		}
		if len(rows) < page {
			return nil
		}
	}
}

// readRows reads rows of t outside of a transaction.
func readRows[R any](ctx context.Context, s *Sink, t table[R], text string, args ...any) (list []R, err error) {
	rows, err := s.db.QueryContext(ctx, s.dialect.sql(text), args...)
	if err != nil {
		return nil, fmt.Errorf("sqlaudit: %w", err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var r R
		if err := rows.Scan(t.pointers(&r)...); err != nil {
			return nil, fmt.Errorf("sqlaudit: %w", err)
		}
		list = append(list, r)
	}
	return list, rows.Err()
}

// Chains reads all records in the order that [audit.Verify] wants, each writer's by its numbers; those without a link come
// first. The first error ends it; a row that is not what its line says is a [*audit.Tampered].
func (s *Sink) Chains(ctx context.Context) iter.Seq2[audit.Record, error] {
	return func(yield func(audit.Record, error) bool) {
		last, index := storedRow{recordRow: recordRow{N: math.MinInt64}}, int64(0)
		for {
			rows, err := s.read(ctx, chained(last))
			for _, row := range rows {
				r, err := row.exact(index)
				index++
				if !yield(r, err) || err != nil {
					return
				}
				last = row
			}
			if err != nil {
				yield(audit.Record{}, fmt.Errorf("sqlaudit: reading records: %w", err))
			}
			if err != nil || len(rows) < page {
				return
			}
		}
	}
}

// exact is the record of a row that is whole, and whose line is to the byte as a record is written: the hash of a link is of
// what the line says, which leaves room for blanks and for fields that nobody knows.
func (row storedRow) exact(index int64) (audit.Record, error) {
	r, err := row.whole(index)
	if err != nil {
		return r, err
	}
	if line, err := lineOf(r); err != nil || line != row.Line {
		return audit.Record{}, row.bad(index, "its line is not one that a record makes")
	}
	return r, nil
}

// chained are the records behind last in the order of the chains, with those that were written again under another link.
func chained(last storedRow) question {
	blank := ""
	for _, c := range recordsTable.cols {
		value := map[string]string{"text": "''", "bigint": "0"}[c.kind]
		if c.name == "id" || c.name == "writer" || c.name == "n" || c.name == "line" {
			value = c.name
		}
		blank += value + " AS " + c.name + ", "
	}
	from, behind := ">", ">"
	if last.ID == "" {
		from = ">=" // the beginning: no row is before it, whatever its columns are
	}
	if !last.again {
		behind = ">=" // one that was written again comes behind the record itself
	}
	return question{
		text: fmt.Sprintf(`SELECT * FROM (SELECT %s, 0 AS again FROM keybrake_records WHERE (writer, n, id) %s ($1, $2, $3) ORDER BY writer, n, id LIMIT %d) AS a
			UNION ALL SELECT * FROM (SELECT %s 1 AS again FROM keybrake_repeats WHERE (writer, n, id) %s ($1, $2, $3) ORDER BY writer, n, id LIMIT %d) AS b
			ORDER BY writer, n, id, again LIMIT %d`, names(recordsTable.cols, ""), from, page, blank, behind, page, page),
		args: []any{last.Writer, last.N, last.ID},
	}
}

// Cuts are the ends of the chains' parts that [Sink.Delete] has removed, by writer.
func (s *Sink) Cuts(ctx context.Context) (map[string]audit.Head, error) {
	if s.fault != nil {
		return nil, s.fault
	}
	rows, err := s.db.QueryContext(ctx, "SELECT writer, n, hash FROM keybrake_cuts WHERE writer <> ''")
	if err != nil {
		return nil, fmt.Errorf("sqlaudit: %w", err)
	}
	heads := map[string]audit.Head{}
	for rows.Next() {
		var writer string
		var h audit.Head
		if err := rows.Scan(&writer, &h.N, &h.Hash); err != nil {
			return nil, fmt.Errorf("sqlaudit: %w", errors.Join(err, rows.Close()))
		}
		heads[writer] = h
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return nil, fmt.Errorf("sqlaudit: %w", err)
	}
	return heads, nil
}
