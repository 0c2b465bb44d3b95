package sqlaudit

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
)

// A repeatRow is a row of keybrake_repeats: a record that a chain has written again, under another link. It counts for
// nothing, and the chain is whole with it alone.
type repeatRow struct {
	ID     string `json:"id"`
	Writer string `json:"writer"`
	N      int64  `json:"n"`
	Line   string `json:"line"`
}

var repeatsTable = tableOf[repeatRow]("keybrake_repeats", 3)

// put writes entries, and what follows from those that are not there yet.
func put(ctx context.Context, tx *transaction, all []entry) error {
	firsts, again := apart(all)
	rows := make([]recordRow, len(firsts))
	for i, e := range firsts {
		rows[i] = e.recordRow
	}
	made, err := insertNew(ctx, tx, recordsTable, idsOf, rows)
	if err != nil {
		return err
	}
	fresh := slices.DeleteFunc(slices.Clone(firsts), func(e entry) bool { return !made[idRow{e.ID}] })
	again = append(again, slices.DeleteFunc(firsts, func(e entry) bool { return made[idRow{e.ID}] })...)
	if err := putAgain(ctx, tx, again); err != nil {
		return err
	}
	if len(fresh) == 0 {
		return nil
	}
	return derive(ctx, tx, fresh)
}

// apart are the first entries of each id, and the others. They are in the order of their ids, as the locks on these are then.
func apart(all []entry) (firsts, again []entry) {
	all = slices.Clone(all)
	slices.SortStableFunc(all, func(x, y entry) int { return strings.Compare(x.ID, y.ID) })
	for i, e := range all {
		if i > 0 && all[i-1].ID == e.ID {
			again = append(again, e)
		} else {
			firsts = append(firsts, e)
		}
	}
	return firsts, again
}

// putAgain sees to entries whose ids are there. One that stands there as it is needs nothing; one that a chain has written
// under another link is kept for the chain; one that says something else is an error.
func putAgain(ctx context.Context, tx *transaction, all []entry) error {
	if len(all) == 0 {
		return nil
	}
	ids := make([]idRow, len(all))
	for i, e := range all {
		ids[i] = idRow{e.ID}
	}
	lines, err := query(ctx, tx, linesOf, "SELECT t.line FROM "+tx.dialect.rows(idsOf.cols, "k")+" CROSS JOIN keybrake_records AS t WHERE t.id = k.id", ids)
	if err != nil {
		return err
	}
	there := map[string]entry{}
	for _, l := range lines {
		e, err := entryOfLine(l.Line)
		if err != nil {
			return fmt.Errorf("a record that stands there cannot be read: %w", err)
		}
		there[e.ID] = e
	}
	var repeats []repeatRow
	for _, e := range all {
		was, ok := there[e.ID]
		same, err := sameBut(was, e)
		switch {
		case err != nil:
			return err
		case !ok || !same:
			return fmt.Errorf("record %s: %w", e.ID, ErrConflict)
		case was.Line != e.Line:
			repeats = append(repeats, repeatRow{e.ID, e.Writer, e.N, e.Line})
		}
	}
	slices.SortFunc(repeats, func(x, y repeatRow) int {
		return cmp.Or(strings.Compare(x.ID, y.ID), strings.Compare(x.Writer, y.Writer), cmp.Compare(x.N, y.N))
	})
	return insert(ctx, tx, repeatsTable, repeats, "NOTHING")
}

// sameBut reports whether two entries say the same, whatever their links.
func sameBut(x, y entry) (bool, error) {
	if x.Line == y.Line {
		return true, nil
	}
	a, err := bare(x.record)
	if err != nil {
		return false, err
	}
	b, err := bare(y.record)
	return a == b, err
}
