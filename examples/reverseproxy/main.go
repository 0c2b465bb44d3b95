// Reverseproxy shows the brake before an agent in any language: a reverse proxy on loopback (proxy.go), to which the
// agent's SDK is pointed by its base URL. With -fake it needs Go alone and prints a key and the calls to try:
//
//	go run ./examples/reverseproxy -fake
//	STRIPE_SECRET_KEY=sk_test_… go run ./examples/reverseproxy
//
// The vault key travels in the clear between the two, so keep them on one machine. What contains an agent that runs
// code is not the proxy but that the agent runs as another user, without the credentials and with no other way out.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"time"

	"github.com/keybrake/keybrake-go"
	"github.com/keybrake/keybrake-go/audit"
	"github.com/keybrake/keybrake-go/credentials"
	"github.com/keybrake/keybrake-go/internal/fakevendor"
	"github.com/keybrake/keybrake-go/ledger/memory"
	"github.com/keybrake/keybrake-go/policy"
	"github.com/keybrake/keybrake-go/vendors"
	"github.com/keybrake/keybrake-go/vendors/kbresend"
	"github.com/keybrake/keybrake-go/vendors/kbstripe"
	"github.com/keybrake/keybrake-go/vendors/kbtwilio"
)

func main() {
	addr := flag.String("listen", "127.0.0.1:8484", "where to listen")
	fake := flag.Bool("fake", false, "use a fake Stripe on loopback")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Stdout, *addr, *fake); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, out io.Writer, addr string, useFake bool) error {
	config := keybrake.Config{
		Ledger:      memory.New(), // redisledger where there are more proxies than one
		Vendors:     []vendors.Vendor{kbstripe.New(nil), kbtwilio.New(nil), kbresend.New(nil)},
		Credentials: credentials.Env{"stripe": "STRIPE_SECRET_KEY"},
		Audit:       audit.JSON(os.Stderr),
	}
	charge := "ch_…"
	if useFake {
		fake, err := fakevendor.Start()
		if err != nil {
			return err
		}
		defer fake.Close()
		charge = "ch_1"
		fake.SeedCharge(charge, 1_000_000, "usd")
		config.Base, config.Credentials = fake.Transport(), credentials.Static(map[string]string{"stripe": "sk_test_ProxySecret"})
	}
	issuer, err := keybrake.NewIssuer()
	if err != nil {
		return err
	}
	config.Issuer = issuer
	brake, err := keybrake.New(ctx, config)
	if err != nil {
		return err
	}
	key, err := brake.Issue(ctx, keybrake.Grant{
		Tenant: "acme", Agent: "refund-bot", Run: "run_42",
		Credentials: map[string]string{"stripe": "stripe"},
		Policy: policy.Policy{
			Allow:   []policy.Rule{{Operation: "stripe.refunds.create"}, {Operation: "stripe.charges.*", ReadOnly: true}},
			Budgets: []policy.Budget{policy.Lifetime(policy.USD("80"))},
		},
		TTL: time.Hour,
	})
	if err != nil {
		return err
	}

	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, `The run may refund 80.00 USD. Try, and the second time be refused:

  curl -i http://%[1]s/stripe/v1/refunds -u %[2]s: -d charge=%[3]s -d amount=5000

In Python: stripe.api_key = "the key after -u", stripe.api_base = "http://%[1]s/stripe"
`, listener.Addr(), key.Token(), charge)
	return serve(ctx, listener, newProxy(brake))
}

// serve serves until ctx ends, and returns when the calls that are under way have ended: one that is cut off is in
// doubt.
func serve(ctx context.Context, l net.Listener, h http.Handler) error {
	server := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(l) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
		return server.Shutdown(context.WithoutCancel(ctx))
	}
}
