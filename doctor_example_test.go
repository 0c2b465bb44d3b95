package keybrake_test

import (
	"context"
	"fmt"

	"github.com/keybrake/keybrake-go"
	"github.com/keybrake/keybrake-go/audit"
	"github.com/keybrake/keybrake-go/credentials"
	"github.com/keybrake/keybrake-go/internal/fakevendor"
	"github.com/keybrake/keybrake-go/ledger/memory"
	"github.com/keybrake/keybrake-go/policy"
	"github.com/keybrake/keybrake-go/vendors"
	"github.com/keybrake/keybrake-go/vendors/kbresend"
	"github.com/keybrake/keybrake-go/vendors/kbstripe"
)

// At a program's start: are the real credentials wider than what the agents may do?
func ExampleBrake_Doctor() {
	ctx := context.Background()
	fake, err := fakevendor.Start() // in place of Stripe and Resend
	if err != nil {
		panic(err)
	}
	defer fake.Close()
	issuer, err := keybrake.NewIssuer()
	if err != nil {
		panic(err)
	}
	brake, err := keybrake.New(ctx, keybrake.Config{
		Issuer:      issuer,
		Ledger:      memory.New(),
		Vendors:     []vendors.Vendor{kbstripe.New(nil), kbresend.New(nil)},
		Credentials: credentials.Static(map[string]string{"stripe": "sk_test_4eC39HqLyjWDarjtT1zdp7dc", "resend": "re_send_123"}),
		Audit:       audit.InsecureDiscard(),
		Base:        fake.Transport(),
	})
	if err != nil {
		panic(err)
	}
	// begin of the page's part
	support := keybrake.Grant{ // as the program will issue it
		Credentials: map[string]string{"stripe": "stripe", "resend": "resend"},
		Policy: policy.Policy{
			Allow: []policy.Rule{
				{Operation: "stripe.refunds.create", MaxPerCall: policy.USD("50")},
				{Operation: "resend.emails.send"},
			},
			Budgets: []policy.Budget{policy.Daily(policy.USD("500"))},
		},
	}
	findings, err := brake.Doctor(ctx, support)
	if err != nil {
		panic(err)
	}
	for _, f := range findings {
		fmt.Println(f)
	}
	// end of it
	// Output:
	// resend credential "resend": fits; a key with sending access
	// stripe credential "stripe": wider; a full secret key of test mode; it may do everything on the account, webhooks and payout destinations included; make a restricted key with charges (read), payment_intents (read), refunds (write); and balance_transactions (read) where Drift is asked
}
