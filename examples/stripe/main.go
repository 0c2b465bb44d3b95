// Stripe shows the line that changes in a program that uses stripe-go, and what a refusal looks like there. It
// refunds 20.00 of a charge of your test account:
//
//	STRIPE_SECRET_KEY=sk_test_… go run ./examples/stripe ch_…
package main

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"os"
	"time"

	"github.com/stripe/stripe-go/v76"
	"github.com/stripe/stripe-go/v76/client"

	"github.com/keybrake/keybrake-go"
	"github.com/keybrake/keybrake-go/audit"
	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/credentials"
	"github.com/keybrake/keybrake-go/ledger/memory"
	"github.com/keybrake/keybrake-go/policy"
	"github.com/keybrake/keybrake-go/vendors"
	"github.com/keybrake/keybrake-go/vendors/kbstripe"
)

func main() {
	if len(os.Args) != 2 {
		log.Fatal("usage: STRIPE_SECRET_KEY=sk_test_… stripe ch_…")
	}
	if err := run(context.Background(), nil, os.Args[1]); err != nil {
		log.Fatal(err)
	}
}

// run plays both parts: the one that holds the credential, and the agent. A nil base reaches Stripe.
func run(ctx context.Context, base http.RoundTripper, charge string) error {
	issuer, err := keybrake.NewIssuer()
	if err != nil {
		return err
	}
	brake, err := keybrake.New(ctx, keybrake.Config{
		Issuer:      issuer,
		Ledger:      memory.New(),
		Vendors:     []vendors.Vendor{kbstripe.New(nil)},
		Credentials: credentials.Env{"stripe": "STRIPE_SECRET_KEY"},
		Audit:       audit.JSON(os.Stderr),
		Base:        base,
	})
	if err != nil {
		return err
	}
	key, err := brake.Issue(ctx, keybrake.Grant{
		Tenant: "acme", Agent: "refund-bot", Run: "run_42",
		Credentials: map[string]string{"stripe": "stripe"},
		Policy: policy.Policy{
			Allow: []policy.Rule{
				{
					Operation:  "stripe.refunds.create",
					MaxPerCall: policy.USD("50"),
					Params:     policy.Params{"reason": policy.OneOf("duplicate", "requested_by_customer")},
				},
				{Operation: "stripe.charges.*", ReadOnly: true},
			},
			Budgets: []policy.Budget{policy.Lifetime(policy.USD("80"))},
		},
		TTL: time.Hour,
	})
	if err != nil {
		return err
	}

	// From here on it is the agent's: it has the vault key and an http.Client. Before, the line was
	// sc := client.New(os.Getenv("STRIPE_SECRET_KEY"), nil)
	sc := client.New(key.Token(), stripe.NewBackends(brake.Client()))

	// Params carry a context, and with it what the record says of the call.
	params := &stripe.RefundParams{
		Charge: stripe.String(charge),
		Amount: stripe.Int64(2000), // in the charge's minor unit
		Reason: stripe.String("requested_by_customer"),
	}
	params.Context = keybrake.WithCall(ctx, keybrake.Call{Tool: "refund_customer", Step: "1"})
	refund, err := sc.Refunds.New(params)
	if err != nil {
		return fmt.Errorf("the refund: %w", err)
	}
	fmt.Println("refunded:", refund.ID)

	// What the policy does not allow comes back as stripe-go's own error, after one request; stripe-go logs it, too.
	_, err = sc.Payouts.New(&stripe.PayoutParams{Amount: stripe.Int64(100_000), Currency: stripe.String("usd")})
	d, ok := keybrake.DenialFrom(err)
	if !ok {
		return fmt.Errorf("the payout was not refused: %v", err)
	}
	fmt.Printf("%T: %v\n", err, d)

	states, err := brake.Balance(ctx, key.Token())
	if err != nil {
		return err
	}
	for _, b := range states {
		fmt.Printf("%s: %s spent, %s held, %s left\n", b.Name, cost.Decimal(b.Spent), cost.Decimal(b.Held), cost.Decimal(b.Left()))
	}
	return nil
}
