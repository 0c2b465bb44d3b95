// Reconcile shows what looks after calls whose end is not known: a reply that was lost, a payment that is still
// processing, a price that comes a day later. A reconciler asks the vendor, books what was executed, gives back what was
// not, and names what only a person can decide. It runs beside the agent until it is interrupted:
//
//	STRIPE_SECRET_KEY=sk_test_… go run ./examples/reconcile ch_…
//
// Here it is a goroutine of the same process. It may as well be a command of its own, on the same ledger: many may run,
// and each call is handled by one of them.
package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"os/signal"
	"time"

	"github.com/stripe/stripe-go/v76"
	"github.com/stripe/stripe-go/v76/client"

	"github.com/keybrake/keybrake-go"
	"github.com/keybrake/keybrake-go/audit"
	"github.com/keybrake/keybrake-go/credentials"
	"github.com/keybrake/keybrake-go/ledger/memory"
	"github.com/keybrake/keybrake-go/policy"
	"github.com/keybrake/keybrake-go/vendors"
	"github.com/keybrake/keybrake-go/vendors/kbstripe"
)

func main() {
	if len(os.Args) != 2 {
		log.Fatal("usage: STRIPE_SECRET_KEY=sk_test_… reconcile CHARGE")
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Stdout, nil, os.Args[1], keybrake.ReconcilerConfig{}); err != nil {
		log.Fatal("reconcile: ", err)
	}
}

// run lets an agent refund a charge while the reconciler works, until ctx ends. A nil base reaches Stripe; what is zero
// in pace has its default.
func run(ctx context.Context, out io.Writer, base http.RoundTripper, charge string, pace keybrake.ReconcilerConfig) error {
	issuer, err := keybrake.NewIssuer()
	if err != nil {
		return err
	}
	brake, err := keybrake.New(ctx, keybrake.Config{
		Issuer:      issuer,
		Ledger:      memory.New(), // which ends with the process; use redisledger, and what is open outlives it
		Vendors:     []vendors.Vendor{kbstripe.New(nil)},
		Credentials: credentials.Static(map[string]string{"stripe": os.Getenv("STRIPE_SECRET_KEY")}),
		Audit:       audit.JSON(os.Stderr),
		Base:        base,
		Stamp:       true, // without its mark in Stripe's objects a call can often not be told from another
	})
	if err != nil {
		return err
	}
	say := log.New(out, "", 0)
	reconciler, err := brake.Reconciler(config(pace, say))
	if err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- reconciler.Run(ctx) }()

	key, err := brake.Issue(ctx, keybrake.Grant{
		Tenant: "acme", Agent: "refund-bot", Run: "run_42",
		Credentials: map[string]string{"stripe": "stripe"},
		Policy: policy.Policy{
			Allow:   []policy.Rule{{Operation: "stripe.refunds.create"}},
			Budgets: []policy.Budget{policy.Lifetime(policy.USD("100"))},
		},
		TTL: time.Hour,
	})
	if err != nil {
		return err
	}
	sc := client.New(key.Token(), stripe.NewBackends(brake.Client()))
	refund, err := sc.Refunds.New(&stripe.RefundParams{Charge: stripe.String(charge), Amount: stripe.Int64(1000)})
	if err != nil {
		say.Print("the agent got: ", err)
	} else {
		say.Print("refunded: ", refund.ID)
	}

	<-ended
	states, err := brake.Balance(context.WithoutCancel(ctx), key.Token())
	if err != nil {
		return err
	}
	for _, s := range states {
		say.Printf("%s: spent %s, held %s", s.Name, dollars(s.Spent), dollars(s.Held))
	}
	return nil
}

// config says what the reconciler looks after and who is told.
func config(pace keybrake.ReconcilerConfig, say *log.Logger) keybrake.ReconcilerConfig {
	c := pace
	c.Tenants = []string{"acme"}
	c.Progress = func(p keybrake.Progress) {
		say.Printf("%d of %d: %d settled, %d pending, %d given back, %d waiting, %d for a person",
			p.Done, p.Open, p.Settled, p.Pending, p.Freed, p.Waiting, p.Persons)
	}
	// Open a ticket here. Whoever decides it calls Brake.Resolve with the reservation, and with Executed, at what the
	// vendor's own pages say that it did cost, or NotExecuted.
	c.Person = func(_ context.Context, u keybrake.Unresolved) {
		say.Printf("a person has to decide %s, %s of %s at %s: %s; %v counts as spent until then",
			u.Hold.ID, u.Hold.Operation, u.Run, u.Sent.Format(time.RFC3339), u.Why, u.Held)
	}
	return c
}

// dollars writes micro-dollars.
func dollars(micros int64) string { return fmt.Sprintf("%.2f USD", float64(micros)/1e6) }
