package sqlaudit_test

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keybrake/keybrake-go/audit"
	"github.com/keybrake/keybrake-go/audit/sqlaudit"
	"github.com/keybrake/keybrake-go/cost"
)

// pair are the two records of a call, as a brake makes them, of one of a hundred runs.
func pair(n int64) (intent, outcome audit.Record) {
	usd20 := []cost.Line{{Meter: cost.Outflow, Currency: "USD", Amount: 20_000_000}, {Meter: cost.Calls, Amount: 1}}
	r := audit.Record{
		Version: 1, Time: theDay.Add(time.Duration(n) * time.Millisecond), CallID: fmt.Sprintf("r_%020d", n),
		Tenant: "acme", Agent: "refund-bot", Run: fmt.Sprintf("run_%d", n%100), Labels: []string{"nightly", "eu"}, Key: "k_0123456789", Tool: "refund_customer",
		Vendor: "stripe", Credential: "stripe_live", Operation: "stripe.refunds.create", Class: "outflow", Verdict: audit.Allow, Reserved: usd20,
		Budgets: []audit.Budget{
			{Name: "lifetime", Meter: cost.Spend, Currency: "USD", Limit: 80_000_000, Spent: n % 80_000_000, Left: 1},
			{Name: "team:support", Shared: true, Meter: cost.Spend, Currency: "USD", Limit: 500_000_000, Spent: n % 500_000_000, Left: 1, Reset: theDay.AddDate(0, 0, 1)},
		},
		Objects: []string{"ch_0123456789"}, Idempotency: "0123456789abcdef",
	}
	intent, outcome = r, r
	intent.ID, intent.Kind = fmt.Sprintf("e_%020d", 2*n), audit.Intent
	outcome.ID, outcome.Kind, outcome.Outcome, outcome.Actual = fmt.Sprintf("e_%020d", 2*n+1), audit.Outcome, "executed", usd20[:1]
	outcome.Time, outcome.Status, outcome.VendorRequest, outcome.Duration = r.Time.Add(300*time.Millisecond), 200, "req_0123456789", 300*time.Millisecond
	return intent, outcome
}

// One operation is one record: half of them begin a call, and half of them end one.
func BenchmarkWrite(b *testing.B) {
	for _, d := range []sqlaudit.Dialect{sqlaudit.SQLite, sqlaudit.PostgreSQL} {
		for _, writers := range []int{1, 16} {
			b.Run(fmt.Sprintf("%s/writers=%d", d, writers), func(b *testing.B) {
				w := newWorld(b, d)
				var n atomic.Int64
				b.SetParallelism(writers)
				b.ReportAllocs()
				if writers == 1 {
					for b.Loop() {
						write(b, w, n.Add(1))
					}
					return
				}
				b.RunParallel(func(p *testing.PB) {
					for p.Next() {
						write(b, w, n.Add(1))
					}
				})
			})
		}
	}
}

func write(b *testing.B, w *world, n int64) {
	intent, outcome := pair(n / 2)
	r := intent
	if n%2 == 1 {
		r = outcome
	}
	if err := w.Write(b.Context(), r); err != nil {
		b.Error(err)
	}
}

// One operation is a batch of 100 records, of 50 calls.
func BenchmarkWriteBatch(b *testing.B) {
	for _, d := range []sqlaudit.Dialect{sqlaudit.SQLite, sqlaudit.PostgreSQL} {
		b.Run(d.String(), func(b *testing.B) {
			w := newWorld(b, d)
			n := int64(0)
			b.ReportAllocs()
			for b.Loop() {
				var batch []audit.Record
				for range 50 {
					intent, outcome := pair(n)
					batch = append(batch, intent, outcome)
					n++
				}
				must(b, w.WriteBatch(b.Context(), batch))
			}
			b.ReportMetric(float64(100*b.N)/b.Elapsed().Seconds(), "records/s")
		})
	}
}
