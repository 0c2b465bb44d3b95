package memory_test

import (
	"context"
	"fmt"
	"time"

	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/ledger"
	"github.com/keybrake/keybrake-go/ledger/memory"
)

// A ledger is used by the brake; this is what the brake does with it.
func ExampleNew() {
	ctx := context.Background()
	l := memory.New()
	expires := time.Now().Add(time.Hour)
	_ = l.Open(ctx, ledger.Key{Tenant: "acme", ID: "k1", Expires: expires})
	budget := ledger.Budget{Name: "run", Meter: cost.Spend, Currency: "USD", Limit: 30_000_000, Window: cost.Lifetime}
	for call := range 2 {
		id := fmt.Sprint("r", call)
		_, err := l.Reserve(ctx, ledger.Request{
			Tenant: "acme", ID: id, Nonce: id, Key: "k1", Expires: expires, Operation: "stripe.refunds.create",
			Lines:   []cost.Line{{Meter: cost.Outflow, Currency: "USD", Amount: 20_000_000}},
			Budgets: []ledger.Budget{budget}, Deadline: time.Minute,
		})
		fmt.Println(err)
	}
	// Output:
	// <nil>
	// ledger: budget_exceeded: budget run has 10.00 USD left of 30.00 USD, needs 20.00 USD
}
