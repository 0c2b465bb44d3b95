package sqlaudit_test

import (
	"testing"

	"github.com/keybrake/keybrake-go/audit/audittest"
)

func TestSmoke(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		r := audittest.Full()
		r.Probe, r.Reservation, r.Attached = false, "", false
		w.write(t, r)
		w.write(t, r)
		for _, table := range []string{"records", "calls", "amounts", "spend", "denials", "budgets", "runs", "labels"} {
			rows, err := w.db.Query("SELECT * FROM keybrake_" + table)
			must(t, err)
			cols, _ := rows.Columns()
			for rows.Next() {
				row := make([]any, len(cols))
				to := make([]any, len(cols))
				for i := range row {
					to[i] = &row[i]
				}
				must(t, rows.Scan(to...))
				t.Log(table, row)
			}
			must(t, rows.Err())
			_ = rows.Close()
		}
	})
}
