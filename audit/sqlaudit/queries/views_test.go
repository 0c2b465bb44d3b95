package queries_test

import (
	"database/sql"
	"testing"
	"time"

	"github.com/keybrake/keybrake-go/audit/sqlaudit"
	"github.com/keybrake/keybrake-go/audit/sqlaudit/queries"
	"github.com/keybrake/keybrake-go/internal/auditgen"
)

// The views say what the queries do, in units of the currency and with times that can be read.
func TestViewsSayWhatTheQueriesDo(t *testing.T) {
	const began = "2026-11-19 10:00:00"
	each(t, func(t *testing.T, db *sql.DB, d sqlaudit.Dialect) {
		var cost, calls float64
		row := db.QueryRowContext(t.Context(), "SELECT cost FROM keybrake_cost_by_run WHERE tenant = $1 AND run = $2 AND currency = 'USD'", auditgen.LoopTenant, auditgen.LoopRun)
		must(t, row.Scan(&cost))
		row = db.QueryRowContext(t.Context(), "SELECT cost FROM keybrake_cost_by_run WHERE tenant = $1 AND run = $2 AND meter = 'calls'", auditgen.LoopTenant, auditgen.LoopRun)
		must(t, row.Scan(&calls))
		if cost != 4200 || calls != 60 {
			t.Errorf("%s costs %v USD in %v calls", auditgen.LoopRun, cost, calls)
		}
		var doubts int
		must(t, db.QueryRowContext(t.Context(), "SELECT COUNT(*), SUM(held) FROM keybrake_doubts WHERE tenant = $1 AND currency = 'USD'", auditgen.DoubtTenant).Scan(&doubts, &cost))
		if doubts != auditgen.Doubts-auditgen.DoubtsUnsaid || cost != 234.5 {
			t.Errorf("%d calls in doubt hold %v USD", doubts, cost)
		}
		story := ask(t, db, "what_run_did", queries.Args{"tenant": auditgen.LoopTenant, "run": auditgen.LoopRun})
		var rows int
		var first any
		must(t, db.QueryRowContext(t.Context(), "SELECT COUNT(*), MIN(began) FROM keybrake_story WHERE tenant = $1 AND run = $2", auditgen.LoopTenant, auditgen.LoopRun).Scan(&rows, &first))
		at, ok := first.(time.Time)
		if text, is := first.(string); is {
			var err error
			at, err = time.Parse(time.RFC3339, text)
			must(t, err)
			ok = true
		}
		if want := number(story[0][0]); rows != len(story) || !ok || at.UnixMilli() != want/1000 || at.UTC().Format(time.DateTime) != began {
			t.Errorf("the story has %d rows from %v on, and not %d from %s on", rows, first, len(story), began)
		}
	})
}
