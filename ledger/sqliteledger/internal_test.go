package sqliteledger

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/ledger"
)

// used returns a ledger on which every verb was carried out, by every way through it that has a statement of its
// own, with its open file.
func used(t *testing.T) (*Ledger, *file) {
	t.Helper()
	ctx, now := context.Background(), time.Now()
	l := New(filepath.Join(t.TempDir(), "ledger.db"), &Options{Now: func() time.Time { return now }})
	t.Cleanup(func() { must(t, l.Close()) })
	must(t, l.Check(ctx))
	must(t, l.Open(ctx, ledger.Key{Tenant: "acme", ID: "k", Expires: now.Add(time.Hour)}))
	must(t, l.SetBudget(ctx, "acme", ledger.Budget{Name: "team", Meter: cost.Spend, Currency: "USD", Limit: 1000, Window: cost.Hour, AlertAt: []int{1}}))
	rolling := ledger.Budget{Name: "rolling", Meter: cost.Spend, Currency: "USD", Limit: 1000, Window: cost.Rolling(time.Minute)}
	for i := range 6 {
		r := ledger.Request{
			Tenant: "acme", ID: fmt.Sprint("r", i), Nonce: "n", Key: "k", Expires: now.Add(100 * time.Hour), Operation: "v.a",
			Controls: ledger.Names("k", "a", "r", []string{"l"}, "v"), Lines: []cost.Line{{Meter: cost.Charge, Currency: "USD", Amount: 10}},
			Budgets: []ledger.Budget{{Name: "team", Shared: true, Limit: ledger.NoLimit}, rolling}, Object: "pi",
			Repeat: &ledger.Repeat{ID: "x", Most: 1, Window: 3 * time.Hour, Observed: true},
		}
		if i%2 == 0 {
			r.Claim = &ledger.Claim{ID: fmt.Sprint("c", i/4), Fingerprint: "f", Memory: time.Hour}
		}
		h, err := l.Reserve(ctx, r)
		must(t, err)
		if !h.Attached && i < 5 {
			_, err = l.Raise(ctx, h, r)
			must(t, err)
		}
		switch {
		case i < 3:
			_, err = l.Settle(ctx, h, ledger.Settlement{Phase: ledger.Pending, Held: r.Lines, Object: "pi"})
		case i == 3:
			_, err = l.Settle(ctx, h, ledger.Settlement{Phase: ledger.Settled, Actual: r.Lines})
			must(t, err)
			_, err = l.Adjust(ctx, "acme", h.ID, ledger.Adjustment{ID: "a"})
		default:
			err = l.Release(ctx, h, true)
		}
		must(t, err)
		now = now.Add(time.Hour)
	}
	must(t, l.Release(ctx, ledger.Hold{Tenant: "acme", ID: "unknown"}, true))
	for _, v := range []ledger.Verb{ledger.Pause, ledger.Resume} {
		for _, c := range []ledger.Control{{Tenant: "acme", Key: "k"}, {All: true}} {
			c.Verb = v
			_, err := l.Control(ctx, c)
			must(t, err)
		}
	}
	stop, heard := context.WithTimeout(ctx, 20*time.Second)
	var telling sync.WaitGroup
	telling.Go(func() {
		for stop.Err() == nil {
			if _, err := l.Control(ctx, ledger.Control{Verb: ledger.Resume, Tenant: "acme", Run: "r"}); err != nil {
				t.Error(err)
				return
			}
		}
	})
	_ = l.Watch(stop, func(ledger.Control) { heard() }) // it says that stop has ended
	telling.Wait()
	alerts, err := l.Alerts(ctx, "acme")
	must(t, err)
	must(t, l.Acknowledge(ctx, "acme", alerts[0].ID))
	_, err = l.Unsettled(ctx, "acme", "run:r")
	must(t, err)
	now = now.Add(2 * retention)
	_, err = l.Balance(ctx, "acme", "k", []ledger.Budget{{Name: "team", Shared: true, Limit: ledger.NoLimit}})
	must(t, err)
	_, err = l.InDoubt(ctx, "acme")
	must(t, err)
	must(t, l.Check(ctx)) // forgets
	return l, l.file
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// However many reservations there are, a verb finds what it needs by an index. Only a control of every tenant
// walks, and over tenants.
func TestNoVerbWalksOverATable(t *testing.T) {
	_, f := used(t)
	seen := map[string]bool{}
	for _, c := range []*conn{f.write, f.read} {
		for q := range c.prepared {
			if verb, _, _ := strings.Cut(strings.TrimSpace(q), " "); !strings.Contains("SELECT INSERT UPDATE DELETE", verb) {
				continue
			}
			args := make([]any, strings.Count(q, "?"))
			rows, err := c.QueryContext(context.Background(), "EXPLAIN QUERY PLAN "+q, args...)
			must(t, err)
			for rows.Next() {
				var id, parent, unused int
				var step string
				must(t, rows.Scan(&id, &parent, &unused, &step))
				walk, everyTenant := strings.HasPrefix(step, "SCAN"), strings.Contains(q, "FROM tenants") || strings.Contains(q, "FROM globals") || strings.Contains(q, "controls WHERE name")
				if step == "SCAN holds USING COVERING INDEX holds_over" || strings.Contains(step, "TEMP B-TREE") {
					walk = true
				}
				if walk && !everyTenant {
					t.Errorf("%s\n%s", step, q)
				}
			}
			must(t, rows.Close())
			seen[q] = true
		}
	}
	if len(seen) < 45 {
		t.Errorf("%d statements were looked at", len(seen))
	}
}

// Without it a commit is acknowledged before it is on disk, and no test that can be run here would notice.
func TestEveryCommitWaitsForTheDisk(t *testing.T) {
	_, f := used(t)
	for _, c := range []*conn{f.write, f.read} {
		for pragma, want := range map[string]int{"synchronous": 2, "fullfsync": 1, "checkpoint_fullfsync": 1} {
			var got int
			must(t, c.QueryRowContext(context.Background(), "PRAGMA "+pragma).Scan(&got))
			if got != want {
				t.Errorf("%s is %d, want %d", pragma, got, want)
			}
		}
	}
}

func TestALargeFileIsLookedAtInPart(t *testing.T) {
	l, f := used(t)
	must(t, f.write.whole(context.Background(), 0))
	must(t, l.Check(context.Background()))
}
