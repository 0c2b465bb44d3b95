package sqlaudit

import (
	"database/sql"
	"flag"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/keybrake/keybrake-go/audit/sqlaudit/queries"
	"github.com/keybrake/keybrake-go/internal/auditgen"
	"github.com/keybrake/keybrake-go/internal/pgtest"
)

var manyRecords = flag.Int("audit.records", 10_000_000, "how many records BenchmarkQuestions asks about")

// BenchmarkQuestions fills a database with many records over ninety days and asks each question of it, about the largest
// tenant and, where a span is asked for, about the month so far: the first time, and the median of seven times after that.
func BenchmarkQuestions(b *testing.B) {
	for _, d := range []Dialect{SQLite, PostgreSQL} {
		b.Run(d.String(), func(b *testing.B) {
			var server *pgtest.Server
			if d == PostgreSQL {
				var err error
				// All but shared_buffers is for the copy alone.
				server, err = pgtest.Run("shared_buffers=1GB", "fsync=off", "wal_level=minimal", "max_wal_senders=0", "max_wal_size=2GB", "maintenance_work_mem=1GB")
				check(b, err)
				b.Cleanup(server.Close)
			}
			db := openForBulk(b, d, server)
			s := New(db, d, &Options{InsecureNoSync: true})
			check(b, s.Migrate(b.Context()))
			times := max(1, *manyRecords/500_000)
			w := auditgen.New(auditgen.Options{Records: *manyRecords / times})
			began := time.Now()
			bulk(b, s, w, times)
			fmt.Printf("%s: filled in %s\n", d, time.Since(began).Round(time.Second))
			for _, t := range []string{"records", "calls", "amounts", "spend", "denials", "budgets", "runs", "labels"} {
				var n int64
				check(b, db.QueryRow("SELECT count(*) FROM keybrake_"+t).Scan(&n))
				fmt.Printf("%s: %d rows in keybrake_%s\n", d, n, t)
			}
			for b.Loop() {
				askAll(b, db, d, w)
			}
		})
	}
}

func askAll(b *testing.B, db *sql.DB, d Dialect, w *auditgen.World) {
	month := time.Date(w.Until.Year(), w.Until.Month(), 1, 0, 0, 0, 0, time.UTC)
	args := queries.Args{
		"tenant": "acme", "run": auditgen.LoopRun, "label": auditgen.LoopLabel, "from_day": month, "until_day": w.Until, "most": 100,
		"open_since": w.Until.Add(-time.Hour), "since": month, "history": w.Until.AddDate(0, 0, -37), "from": w.Until.AddDate(0, 0, -7), "until": w.Until,
		"times": 5, "least": 20, "month_day": month, "week_day": w.Until.AddDate(0, 0, -7), "today_day": w.Until, "left": 7,
	}
	for _, q := range queries.All() {
		own := queries.Args{}
		for _, p := range q.Params {
			own[p] = args[p]
		}
		var times []time.Duration
		n := 0
		for range 8 {
			began := time.Now()
			rows, err := q.Run(b.Context(), db, own)
			check(b, err)
			for n = 0; rows.Next(); n++ {
			}
			check(b, rows.Err())
			times = append(times, time.Since(began))
		}
		first, rest := times[0], times[1:]
		slices.Sort(rest)
		fmt.Printf("| %s | %s | %d | %s | %s |\n", d, q.Name, n, first.Round(100*time.Microsecond), rest[len(rest)/2].Round(100*time.Microsecond))
	}
}
