package crosscheck_test

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/keybrake/keybrake-go/audit"
	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/crosscheck"
	"github.com/keybrake/keybrake-go/ledger"
	"github.com/keybrake/keybrake-go/ledger/memory"
)

// A refund of yesterday is in the ledger, and somebody has emptied the file of records.
func ExampleRun() {
	ctx, books, file := context.Background(), yesterday(), strings.NewReader("")

	report, err := crosscheck.Run(ctx, books, "acme", audit.Read(file), nil)
	for _, f := range report.Unrecorded.First {
		fmt.Println(f.Reservation, "stands in the ledger and not in the audit:", f.Why)
	}
	fmt.Println(report.Clean(), err)
	// Output:
	// r_1 stands in the ledger and not in the audit: no record tells of it: budget team booked 20.00 USD, held 0.00 USD
	// false <nil>
}

// yesterday is a ledger with one refund.
func yesterday() *memory.Ledger {
	ctx, l := context.Background(), memory.New()
	l.Now = func() time.Time { return time.Now().Add(-24 * time.Hour) }
	_ = l.Open(ctx, ledger.Key{Tenant: "acme", ID: "k"})
	lines := []cost.Line{{Meter: cost.Outflow, Currency: "USD", Amount: 20_000_000}}
	h, _ := l.Reserve(ctx, ledger.Request{
		Tenant: "acme", ID: "r_1", Nonce: "n", Key: "k", Expires: time.Now(), Operation: "stripe.refunds.create", Lines: lines,
		Budgets: []ledger.Budget{{Name: "team", Meter: cost.Spend, Currency: "USD", Limit: 1e9, Window: cost.Lifetime}},
	})
	_, _ = l.Settle(ctx, h, ledger.Settlement{Phase: ledger.Settled, Actual: lines})
	l.Now = time.Now
	return l
}
