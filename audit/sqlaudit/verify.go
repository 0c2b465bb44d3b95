package sqlaudit

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"

	"github.com/keybrake/keybrake-go/audit"
)

// Verify is [audit.Verify] of all records, each writer's in its order. It sees besides whether each row is what its line
// says. Where older records were removed by [Sink.Delete] it goes on from the heads that Delete has left in the database,
// unless o has a From of the writer: who can write the database can write these as well, so that kept Heads prove more.
//
// It reads while records are written. While Delete runs it may call tampering what that has removed.
func (s *Sink) Verify(ctx context.Context, o *audit.VerifyOptions) (audit.Verified, error) {
	var options audit.VerifyOptions
	if o != nil {
		options = *o
	}
	from, err := s.Cuts(ctx)
	if err != nil {
		return audit.Verified{}, err
	}
	maps.Copy(from, options.From)
	options.From = from
	return audit.Verify(s.Chains(ctx), &options)
}

// Chains reads all records in the order that [audit.Verify] wants, each writer's by its numbers; those without a link come
// first. The first error ends it; a row that is not what its line says is a [*audit.Tampered].
func (s *Sink) Chains(ctx context.Context) iter.Seq2[audit.Record, error] {
	return func(yield func(audit.Record, error) bool) {
		last, index := storedRow{recordRow: recordRow{N: -1 << 62}}, int64(0)
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
	behind := ">"
	if !last.again {
		behind = ">=" // one that was written again comes behind the record itself
	}
	return question{
		text: fmt.Sprintf(`SELECT * FROM (SELECT %s, 0 AS again FROM keybrake_records WHERE (writer, n, id) > ($1, $2, $3) ORDER BY writer, n, id LIMIT %d) AS a
			UNION ALL SELECT * FROM (SELECT %s 1 AS again FROM keybrake_repeats WHERE (writer, n, id) %s ($1, $2, $3) ORDER BY writer, n, id LIMIT %d) AS b
			ORDER BY writer, n, id, again LIMIT %d`, names(recordsTable.cols, ""), page, blank, behind, page, page),
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
