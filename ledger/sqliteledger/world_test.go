package sqliteledger_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/ledger"
	"github.com/keybrake/keybrake-go/ledger/sqliteledger"
)

var (
	_   ledger.Ledger  = (*sqliteledger.Ledger)(nil)
	_   ledger.Checker = (*sqliteledger.Ledger)(nil)
	ctx                = context.Background()
)

const acme = "acme"

// fresh is a path at which there is nothing yet.
func fresh(t testing.TB) string { return filepath.Join(t.TempDir(), "ledger.db") }

// unsynced is such a path in memory, where there is one, for tests of what the books say: they commit thousands of
// times and would wait for the disk each time.
func unsynced(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "sqliteledger")
	if err != nil {
		return fresh(t)
	}
	t.Cleanup(func() { must(t, os.RemoveAll(dir)) })
	return filepath.Join(dir, "ledger.db")
}

// at returns the ledger at path, which is closed with the test.
func at(t testing.TB, path string, o *sqliteledger.Options) *sqliteledger.Ledger {
	t.Helper()
	l := sqliteledger.New(path, o)
	t.Cleanup(func() { must(t, l.Close()) })
	return l
}

// opened returns the ledger at path with key "k" and a shared budget "team" of limit.
func opened(t testing.TB, path string, limit int64) *sqliteledger.Ledger {
	t.Helper()
	l := at(t, path, &sqliteledger.Options{Timeout: time.Minute})
	must(t, l.Check(ctx))
	must(t, l.Open(ctx, ledger.Key{Tenant: acme, ID: "k"}))
	must(t, l.SetBudget(ctx, acme, team(limit)))
	return l
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func usd(n int64) []cost.Line { return []cost.Line{{Meter: cost.Charge, Currency: "USD", Amount: n}} }

func team(limit int64) ledger.Budget {
	return ledger.Budget{Name: "team", Shared: true, Meter: cost.Spend, Currency: "USD", Limit: limit, Window: cost.Lifetime}
}

func purse(limit int64) ledger.Budget {
	return ledger.Budget{Name: "purse", Meter: cost.Spend, Currency: "USD", Limit: limit, Window: cost.Lifetime}
}

var ids atomic.Int64

// pay is a request of key "k" for n under a purse of its own and the team's budget.
func pay(n int64) ledger.Request {
	return ledger.Request{
		Tenant: acme, ID: fmt.Sprint("r", ids.Add(1)), Nonce: "n", Key: "k", Expires: time.Now().Add(1000 * time.Hour),
		Controls: ledger.Names("k", "a", "r", nil, "v"), Operation: "v.things.buy", Lines: usd(n),
		Budgets: []ledger.Budget{purse(cost.Max), {Name: "team", Shared: true, Limit: ledger.NoLimit}}, Deadline: time.Minute,
	}
}

func admit(t testing.TB, l ledger.Ledger, r ledger.Request) ledger.Hold {
	t.Helper()
	h, err := l.Reserve(ctx, r)
	must(t, err)
	return h
}

// stands expects amounts in the team's budget.
func stands(t testing.TB, l ledger.Ledger, spent, held int64) {
	t.Helper()
	states, err := l.Balance(ctx, acme, "k", []ledger.Budget{{Name: "team", Shared: true, Limit: ledger.NoLimit}})
	must(t, err)
	if s := states[0]; s.Spent != spent || s.Held != held {
		t.Fatalf("team has spent %d and holds %d, want %d and %d", s.Spent, s.Held, spent, held)
	}
}
