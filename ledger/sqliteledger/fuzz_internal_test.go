package sqliteledger

import (
	"context"
	"database/sql"
	"path/filepath"
	"testing"
	"time"

	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/ledger"
)

// FuzzStored puts arbitrary texts and numbers into the row of a reservation and of a shared budget, then asks and settles. No
// verb panics. Each either fails, or what it says is amounts that a ledger can have; and a settle that was carried out has
// booked what it was told.
func FuzzStored(f *testing.F) {
	const parts = `[{"b":"own","m":"charge","c":"USD","l":1000,"w":"day","from":1772323200000000,"to":1772409600000000,"held":10,"spent":0}]`
	f.Add(parts, "null", `["key:k"]`, int64(5), "", `["v.*"]`, "[50]", "day", int64(100))
	f.Add("[]", "[]", "[]", int64(0), "x", "[]", "[]", "lifetime", int64(0))
	f.Add("{", "[{}]", "7", int64(-1), "\x00", "{", "[101,-1]", "rolling 1s", int64(1)<<62)
	f.Add(`[{"b":"own","m":"charge","c":"USD","w":"day","held":-10,"spent":-5}]`, "null", "[null]", int64(1)<<62, "", "null", "null", "fortnight", int64(1))
	f.Add(`[{"b":"own","m":"charge","c":"USD","w":"day","held":9223372036854775807,"spent":9223372036854775807,"base":1}]`, `[{"Need":-1}]`, "[]", int64(-1)<<63, "", `["*"]`, "[1]", "", int64(7))
	f.Add(`[{"b":"other","s":true,"m":"nothing","w":"day","held":1,"spent":1},null]`, "[null]", "null", int64(1), "", `[""]`, `["1"]`, "month", int64(7))
	ctx := context.Background()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	l := New(filepath.Join(f.TempDir(), "ledger.db"), &Options{Now: func() time.Time { return now }})
	f.Cleanup(func() { _ = l.Close() })
	if err := l.Check(ctx); err != nil { // opens the file
		f.Fatal(err)
	}
	side, err := l.file.db.Conn(ctx)
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = side.Close() })
	for _, c := range []interface {
		ExecContext(context.Context, string, ...any) (sql.Result, error)
	}{side, l.file.write} { // nothing is lost here that a disk would have to keep
		if _, err := c.ExecContext(ctx, "PRAGMA synchronous = OFF"); err != nil {
			f.Fatal(err)
		}
	}
	usd := func(n int64) []cost.Line { return []cost.Line{{Meter: cost.Charge, Currency: "USD", Amount: n}} }
	budgets := []ledger.Budget{{Name: "own", Meter: cost.Charge, Currency: "USD", Limit: 1000, Window: cost.Day}, {Name: "team", Shared: true, Limit: ledger.NoLimit}}
	f.Fuzz(func(t *testing.T, parts, would, controls string, deadline int64, memo, operations, alertAt, span string, most int64) {
		must(t, l.Open(ctx, ledger.Key{Tenant: "acme", ID: "k", Expires: now.Add(time.Hour)}))
		for _, table := range []string{"holds", "amounts", "budgets", "adjustments", "alerts"} {
			_, err := side.ExecContext(ctx, "DELETE FROM "+table)
			must(t, err)
		}
		_, err := side.ExecContext(ctx, "UPDATE keys SET frozen = 0")
		must(t, err)
		must(t, l.SetBudget(ctx, "acme", ledger.Budget{Name: "team", Meter: cost.Spend, Currency: "USD", Limit: 1000, Window: cost.Day}))
		reserve := func(id string) (ledger.Hold, error) {
			return l.Reserve(ctx, ledger.Request{
				Tenant: "acme", ID: id, Nonce: "n", Key: "k", Expires: now.Add(time.Hour), Operation: "v.a", Lines: usd(10), Budgets: budgets, Deadline: time.Minute,
			})
		}
		h, err := reserve("r1")
		must(t, err)
		_, err = side.ExecContext(ctx, "UPDATE holds SET parts = ?, would = ?, controls = ?, deadline = ?, memo = ?", parts, would, controls, deadline, memo)
		must(t, err)
		if most >= 0 {
			_, err = side.ExecContext(ctx, "UPDATE budgets SET operations = ?, alert_at = ?, span = ?, most = ?", operations, alertAt, span, most)
			must(t, err)
		}
		sane := func(what string, n ...int64) {
			for _, n := range n {
				if n < 0 || n > cost.Max {
					t.Fatalf("%s says %d", what, n)
				}
			}
		}
		if found, err := l.Find(ctx, "acme", "r1"); err == nil {
			for _, e := range found.Entries {
				sane("Find", e.Held, e.Booked)
			}
		}
		if states, err := l.Balance(ctx, "acme", "k", budgets); err == nil {
			for _, s := range states {
				sane("Balance of "+s.Name, s.Limit, s.Spent, s.Held, s.Left())
			}
		}
		if open, err := l.InDoubt(ctx, "acme"); err == nil {
			for _, h := range open {
				for _, e := range h.Entries {
					sane("InDoubt", e.Held, e.Booked)
				}
			}
		}
		if second, err := reserve("r2"); err == nil {
			for _, s := range second.States {
				sane("Reserve in "+s.Name, s.Spent, s.Held)
			}
		}
		if r, err := l.Settle(ctx, h, ledger.Settlement{Phase: ledger.Settled, Actual: usd(7)}); err == nil {
			for _, s := range r.States {
				sane("Settle in "+s.Name, s.Spent, s.Held)
			}
			found, err := l.Find(ctx, "acme", "r1")
			if err != nil || found.Phase == ledger.Settled && len(r.Strays) == 0 && len(found.Entries) > 0 && found.Entries[0].Booked != 7 && found.Entries[0].Meter == cost.Charge && found.Entries[0].Currency == "USD" {
				t.Fatalf("settled at 7, and found as %+v, %v", found, err)
			}
		}
	})
}
