// Auditsink shows a sink of one's own: records as a sheet for people, on standard output. sink.go is the sink, and
// sink_test.go has the laws of package audittest tried on it. The vendor is a fake, so it needs Go alone:
//
//	go run ./examples/auditsink > calls.csv
package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"os"
	"time"

	"github.com/resend/resend-go/v2"

	"github.com/keybrake/keybrake-go"
	"github.com/keybrake/keybrake-go/credentials"
	"github.com/keybrake/keybrake-go/internal/fakevendor"
	"github.com/keybrake/keybrake-go/ledger/memory"
	"github.com/keybrake/keybrake-go/policy"
	"github.com/keybrake/keybrake-go/vendors"
	"github.com/keybrake/keybrake-go/vendors/kbresend"
)

func main() {
	if err := run(context.Background(), os.Stdout); err != nil {
		log.Fatal(err)
	}
}

// run sends two mails, and tries a third that the budget does not cover.
func run(ctx context.Context, out io.Writer) error {
	fake, err := fakevendor.Start()
	if err != nil {
		return err
	}
	defer fake.Close()
	issuer, err := keybrake.NewIssuer()
	if err != nil {
		return err
	}
	brake, err := keybrake.New(ctx, keybrake.Config{
		Issuer:      issuer,
		Ledger:      memory.New(),
		Vendors:     []vendors.Vendor{kbresend.New(nil)},
		Credentials: credentials.Static(map[string]string{"resend": "re_Sink_Secret"}),
		Audit:       NewSheet(out), // or audit.Tee(NewSheet(out), audit.JSON(os.Stderr)): both have to take the record
		Base:        fake.Transport(),
	})
	if err != nil {
		return err
	}
	key, err := brake.Issue(ctx, keybrake.Grant{
		Tenant: "acme", Agent: "notifier", Run: "run_42",
		Credentials: map[string]string{"resend": "resend"},
		Policy: policy.Policy{
			Allow:   []policy.Rule{{Operation: "resend.emails.send"}},
			Budgets: []policy.Budget{policy.Lifetime(policy.USD("0.0018"))},
		},
		TTL: time.Hour,
	})
	if err != nil {
		return err
	}
	rc := resend.NewCustomClient(brake.Client(), key.Token())
	ctx = keybrake.WithCall(ctx, keybrake.Call{Tool: "notify"})
	for range 3 {
		_, err = rc.Emails.SendWithContext(ctx, &resend.SendEmailRequest{
			From: "ann@example.com", To: []string{"bob@example.com"}, Subject: "Hello", Text: "Your order has left.",
		})
	}
	if _, ok := keybrake.DenialFrom(err); !ok {
		return fmt.Errorf("the third mail was not refused: %v", err)
	}
	return nil
}
