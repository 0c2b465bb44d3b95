// Resend shows the line that changes in a program that uses resend-go, and what a refusal looks like there. It sends
// one mail from a domain of yours, and tries one to more people than the run may reach:
//
//	RESEND_API_KEY=re_… go run ./examples/resend you@your.domain delivered@resend.dev
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net/http"
	"os"
	"time"

	"github.com/resend/resend-go/v2"

	"github.com/keybrake/keybrake-go"
	"github.com/keybrake/keybrake-go/audit"
	"github.com/keybrake/keybrake-go/credentials"
	"github.com/keybrake/keybrake-go/ledger/memory"
	"github.com/keybrake/keybrake-go/policy"
	"github.com/keybrake/keybrake-go/vendors"
	"github.com/keybrake/keybrake-go/vendors/kbresend"
)

func main() {
	if len(os.Args) != 3 {
		log.Fatal("usage: RESEND_API_KEY=re_… resend FROM TO")
	}
	if err := run(context.Background(), nil, os.Args[1], os.Args[2]); err != nil {
		log.Fatal(err)
	}
}

// run plays both parts: the one that holds the credential, and the agent. A nil base reaches Resend.
func run(ctx context.Context, base http.RoundTripper, from, to string) error {
	issuer, err := keybrake.NewIssuer()
	if err != nil {
		return err
	}
	brake, err := keybrake.New(ctx, keybrake.Config{
		Issuer:      issuer,
		Ledger:      memory.New(),
		Vendors:     []vendors.Vendor{kbresend.New(nil)}, // the price of a recipient is in kbresend.Options
		Credentials: credentials.Env{"resend": "RESEND_API_KEY"},
		Audit:       audit.JSON(os.Stderr),
		Base:        base,
	})
	if err != nil {
		return err
	}
	key, err := brake.Issue(ctx, keybrake.Grant{
		Tenant: "acme", Agent: "newsletter", Run: "run_42",
		Credentials: map[string]string{"resend": "resend"},
		Policy: policy.Policy{
			Allow: []policy.Rule{{Operation: "resend.emails.send", Params: policy.Params{"from": policy.OneOf(from)}}},
			Budgets: []policy.Budget{
				policy.Lifetime(policy.USD("1")),  // what sends costs has to be covered
				policy.Lifetime(policy.Units(10)), // recipients, which is the brake that matters for mail
			},
		},
		TTL: time.Hour,
	})
	if err != nil {
		return err
	}

	// From here on it is the agent's. Before, the line was rc := resend.NewClient(os.Getenv("RESEND_API_KEY"))
	rc := resend.NewCustomClient(brake.Client(), key.Token())

	ctx = keybrake.WithCall(ctx, keybrake.Call{Tool: "send_mail", Step: "1"})
	mail := &resend.SendEmailRequest{From: from, To: []string{to}, Subject: "Hello", Text: "Your order has left."}
	sent, err := rc.Emails.SendWithContext(ctx, mail)
	if err != nil {
		return fmt.Errorf("the mail: %w", err)
	}
	fmt.Println("sent:", sent.Id)

	// A budget that does not cover the call is status 429, which resend-go has a type for; other refusals are plain
	// errors. Each recipient counts.
	for range 10 {
		mail.To = append(mail.To, to)
	}
	_, err = rc.Emails.SendWithContext(ctx, mail)
	d, ok := keybrake.DenialFrom(err)
	if !ok || !errors.Is(err, resend.ErrRateLimit) {
		return fmt.Errorf("the mail to many was not refused: %v", err)
	}
	fmt.Printf("%T: %v\n", err, d)
	return nil
}
