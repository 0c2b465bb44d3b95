package sqliteledger_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/ledger"
	"github.com/keybrake/keybrake-go/ledger/sqliteledger"
)

// A ledger is used by the brake; this is what the brake does with it. What one process has spent, the next one
// finds.
func ExampleNew() {
	dir, _ := os.MkdirTemp("", "books")
	defer os.RemoveAll(dir)
	ctx, expires := context.Background(), time.Now().Add(time.Hour)
	budget := ledger.Budget{Name: "run", Meter: cost.Spend, Currency: "USD", Limit: 30_000_000, Window: cost.Lifetime}
	for call := range 2 {
		l := sqliteledger.New(filepath.Join(dir, "ledger.db"), nil) // does no I/O
		if err := l.Check(ctx); err != nil {                        // keybrake.New does this
			fmt.Println(err)
		}
		_ = l.Open(ctx, ledger.Key{Tenant: "acme", ID: "k1", Expires: expires})
		id := fmt.Sprint("r", call)
		_, err := l.Reserve(ctx, ledger.Request{
			Tenant: "acme", ID: id, Nonce: id, Key: "k1", Expires: expires, Operation: "stripe.refunds.create",
			Lines:   []cost.Line{{Meter: cost.Outflow, Currency: "USD", Amount: 20_000_000}},
			Budgets: []ledger.Budget{budget}, Deadline: time.Minute,
		})
		fmt.Println(err)
		_ = l.Close()
	}
	// Output:
	// <nil>
	// ledger: budget_exceeded: budget run has 10.00 USD left of 30.00 USD, needs 20.00 USD
}
