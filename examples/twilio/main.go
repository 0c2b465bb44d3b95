// Twilio shows the lines that change in a program that uses twilio-go, and what a refusal looks like there. It
// sends one text from a number of yours, and tries one to a country that the policy does not name:
//
//	TWILIO_ACCOUNT_SID=AC… TWILIO_AUTH_TOKEN=… go run ./examples/twilio +14155550199 +14155550100
package main

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"os"
	"time"

	"github.com/twilio/twilio-go"
	"github.com/twilio/twilio-go/client"
	openapi "github.com/twilio/twilio-go/rest/api/v2010"

	"github.com/keybrake/keybrake-go"
	"github.com/keybrake/keybrake-go/audit"
	"github.com/keybrake/keybrake-go/credentials"
	"github.com/keybrake/keybrake-go/ledger/memory"
	"github.com/keybrake/keybrake-go/policy"
	"github.com/keybrake/keybrake-go/vendors"
	"github.com/keybrake/keybrake-go/vendors/kbtwilio"
)

func main() {
	if len(os.Args) != 3 {
		log.Fatal("usage: TWILIO_ACCOUNT_SID=AC… TWILIO_AUTH_TOKEN=… twilio FROM TO")
	}
	if err := run(context.Background(), nil, os.Args[1], os.Args[2]); err != nil {
		log.Fatal(err)
	}
}

// run plays both parts: the one that holds the credential, and the agent. A nil base reaches Twilio.
func run(ctx context.Context, base http.RoundTripper, from, to string) error {
	account := os.Getenv("TWILIO_ACCOUNT_SID")
	issuer, err := keybrake.NewIssuer()
	if err != nil {
		return err
	}
	brake, err := keybrake.New(ctx, keybrake.Config{
		Issuer:  issuer,
		Ledger:  memory.New(),
		Vendors: []vendors.Vendor{kbtwilio.New(nil)}, // the rate card is in kbtwilio.Options; put your own prices there
		// The account with its token, or with an API key: "AC…:SK…:secret".
		Credentials: credentials.Static(map[string]string{"twilio": account + ":" + os.Getenv("TWILIO_AUTH_TOKEN")}),
		Audit:       audit.JSON(os.Stderr),
		Base:        base,
	})
	if err != nil {
		return err
	}
	key, err := brake.Issue(ctx, keybrake.Grant{
		Tenant: "acme", Agent: "notifier", Run: "run_42",
		Credentials: map[string]string{"twilio": "twilio"},
		Policy: policy.Policy{
			Allow: []policy.Rule{
				{Operation: "twilio.messages.create", Countries: []string{"US", "CA"}, MaxPerCall: policy.Units(3)}, // segments
				{Operation: "twilio.messages.*", ReadOnly: true},
			},
			Budgets: []policy.Budget{
				policy.Lifetime(policy.USD("5")),
				policy.Hourly(policy.Units(100)), // segments, whatever they cost
			},
		},
		TTL: time.Hour,
	})
	if err != nil {
		return err
	}

	// From here on it is the agent's. SetAccountSid is needed: ClientParams.AccountSid is ignored beside Client.
	c := &client.Client{Credentials: client.NewCredentials(account, key.Token()), HTTPClient: brake.Client()}
	c.SetAccountSid(account)
	tc := twilio.NewRestClientWithParams(twilio.ClientParams{Client: c})

	message, err := tc.Api.CreateMessage(new(openapi.CreateMessageParams).SetFrom(from).SetTo(to).SetBody("Your order has left."))
	if err != nil {
		return fmt.Errorf("the text: %w", err)
	}
	fmt.Println("sent:", *message.Sid)

	// What the policy does not allow comes back as twilio-go's own error.
	_, err = tc.Api.CreateMessage(new(openapi.CreateMessageParams).SetFrom(from).SetTo("+447700900123").SetBody("Your order has left."))
	d, ok := keybrake.DenialFrom(err)
	if !ok {
		return fmt.Errorf("the text abroad was not refused: %v", err)
	}
	fmt.Printf("%T: %v\n", err, d)
	return nil
}
