package sqlaudit_test

import (
	"context"
	"crypto/ed25519"
	"database/sql"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"time"

	"github.com/keybrake/keybrake-go/audit"
	"github.com/keybrake/keybrake-go/audit/sqlaudit"
	"github.com/keybrake/keybrake-go/cost"
)

func Example() {
	ctx := context.Background()
	folder, err := os.MkdirTemp("", "audit")
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = os.RemoveAll(folder) }()
	path := filepath.Join(folder, "audit.db")

	db, err := sql.Open("sqlite", "file:"+path+"?_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)")
	if err != nil {
		log.Fatal(err)
	}
	sink := sqlaudit.New(db, sqlaudit.SQLite, nil) // or "pgx", its address, and sqlaudit.PostgreSQL
	if err := sink.Migrate(ctx); err != nil {      // makes the tables, or brings them up to date
		log.Fatal(err)
	}

	defer func() { _ = db.Close() }()
	_, signing, err := ed25519.GenerateKey(nil)
	if err != nil {
		log.Fatal(err)
	}
	chained := audit.Chain(sink, signing) // Config.Audit
	err = chained.Write(ctx, audit.Record{
		Version: 1, ID: "e_1", Time: time.Now(), Kind: audit.Outcome, CallID: "r_1", Tenant: "acme", Agent: "refund-bot", Run: "run_42",
		Vendor: "stripe", Operation: "stripe.refunds.create", Verdict: audit.Allow, Outcome: audit.OutcomeExecuted,
		Actual: []cost.Line{{Meter: cost.Outflow, Currency: "USD", Amount: 20_000_000}},
	})
	if err != nil {
		log.Fatal(err)
	}
	var spent int64
	err = db.QueryRow("SELECT sum(actual) FROM keybrake_spend WHERE tenant = 'acme' AND run = 'run_42' AND currency = 'USD'").Scan(&spent)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(cost.Format(spent, "USD", cost.Spend))
	// Output: 20.00 USD
}

func ExampleSink_Verify() {
	var ctx context.Context
	var sink *sqlaudit.Sink
	var public ed25519.PublicKey
	var kept map[string]audit.Head
	looked := func() error {
		verified, err := sink.Verify(ctx, &audit.VerifyOptions{
			Keys:  []ed25519.PublicKey{public},
			Until: kept, // the Heads of the last time
		})
		if err != nil {
			return err // *audit.Tampered names the first bad record
		}
		kept = verified.Heads
		return sink.VerifyDerived(ctx) // *sqlaudit.Mismatch names the first row that the records do not say
	}
	_ = looked
}

func ExampleSink_Delete() {
	var ctx context.Context
	var sink *sqlaudit.Sink
	removed := func() error {
		removed, err := sink.Delete(ctx, time.Now().AddDate(-1, 0, 0)) // what is older than a year
		log.Printf("%d records removed", removed)
		return err
	}
	_ = removed
}
