package keybrake_test

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/keybrake/keybrake-go"
	"github.com/keybrake/keybrake-go/audit"
	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/credentials"
	"github.com/keybrake/keybrake-go/ledger/memory"
	"github.com/keybrake/keybrake-go/policy"
	"github.com/keybrake/keybrake-go/vendors"
	"github.com/keybrake/keybrake-go/vendors/kbstripe"
)

// exampleBrake is a brake with a key that may spend 80 dollars on refunds.
func exampleBrake() (*keybrake.Brake, keybrake.Key) {
	ctx := context.Background()
	issuer, err := keybrake.NewIssuer()
	if err != nil {
		panic(err)
	}
	brake, err := keybrake.New(ctx, keybrake.Config{
		Issuer:      issuer,
		Ledger:      memory.New(),
		Vendors:     []vendors.Vendor{kbstripe.New(nil)},
		Credentials: credentials.Static(map[string]string{"stripe": "sk_test_4eC39HqLyjWDarjtT1zdp7dc"}),
		Audit:       audit.InsecureDiscard(),
	})
	if err != nil {
		panic(err)
	}
	key, err := brake.Issue(ctx, keybrake.Grant{
		Tenant: "acme", Agent: "refund-bot", Run: "run_42",
		Credentials: map[string]string{"stripe": "stripe"},
		Policy: policy.Policy{
			Allow:   []policy.Rule{{Operation: "stripe.refunds.create"}},
			Budgets: []policy.Budget{policy.Lifetime(policy.USD("80"))},
		},
		TTL: time.Hour,
	})
	if err != nil {
		panic(err)
	}
	return brake, key
}

// Every mistake in a Config is reported at once, with what to do.
func ExampleNew() {
	_, err := keybrake.New(context.Background(), keybrake.Config{})
	fmt.Println(err)
	// Output:
	// keybrake: Config.Issuer and Config.Verify are both unset, so every vault key would be refused; set one
	// Config.Ledger is nil; use redisledger.New for processes that share a budget, memory.New within one
	// Config.Vendors is empty, so every call would be refused; add kbstripe.New(nil) or another
	// Config.Credentials is nil; use credentials.Env or another source
	// Config.Audit is nil; use audit.JSON(os.Stderr), or audit.InsecureDiscard() to keep no record
}

// An issuer for one process. Its keys die with it.
func ExampleNewIssuer() {
	issuer, err := keybrake.NewIssuer()
	fmt.Println(issuer, len(issuer.Public()), err)
	// Output: [issuer] 32 <nil>
}

// An issuer of a key from a secret store, so that other processes can verify what it signs.
func ExampleIssuerFrom() {
	seed := []byte("32 bytes from your secret store!")
	issuer, err := keybrake.IssuerFrom(ed25519.NewKeyFromSeed(seed))
	if err != nil {
		fmt.Println(err)
		return
	}
	enforcer := keybrake.Config{Verify: []ed25519.PublicKey{issuer.Public()}}
	fmt.Println(len(enforcer.Verify), enforcer.Issuer == nil)
	// Output: 1 true
}

func ExampleBrake_Issue() {
	_, key := exampleBrake()
	fmt.Println(len(key.Token()) > 100, fmt.Sprint(key) == "[vault key "+key.ID+"]")
	// Output: true true
}

func ExampleBrake_Transport() {
	brake, key := exampleBrake()
	client := &http.Client{Transport: brake.Transport(nil)}
	req, _ := http.NewRequest("GET", "https://api.stripe.com/v1/payouts", nil)
	req.Header.Set("Authorization", "Bearer "+key.Token())
	resp, err := client.Do(req)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer resp.Body.Close()
	fmt.Println(resp.Status, resp.Header.Get("Keybrake-Denial"))
	// Output: 403 Forbidden operation_denied
}

func ExampleDenialFrom() {
	brake, key := exampleBrake()
	transport := brake.Transport(nil)
	transport.DenyAsError = true // with a vendor's SDK leave it: DenialFrom finds the denial in the SDK's error
	req, _ := http.NewRequest("DELETE", "https://api.stripe.com/v1/customers/cus_1", nil)
	req.Header.Set("Authorization", "Bearer "+key.Token())
	_, err := (&http.Client{Transport: transport}).Do(req)
	if d, ok := keybrake.DenialFrom(err); ok {
		fmt.Println(d.Reason, d.Status)
		fmt.Println(d)
	}
	// Output:
	// operation_denied 403
	// refused stripe.customers.delete: no rule allows stripe.customers.delete
}

func ExampleByRun() {
	brake, _ := exampleBrake()
	ctx := context.Background()
	for _, s := range []keybrake.Selector{
		keybrake.ByKey("acme", "k1"), keybrake.ByRun("acme", "run_42"), keybrake.ByAgent("acme", "refund-bot"),
		keybrake.ByLabel("acme", "canary"), keybrake.ByTenant("acme"), keybrake.ByVendor("acme", "stripe"),
		keybrake.ByVendorEverywhere("stripe"), keybrake.Everything(),
	} {
		_, err := brake.Pause(ctx, s.Because("the refunds look wrong"))
		fmt.Println(s, err)
	}
	// Output:
	// tenant:acme key:k1 keybrake: pause tenant:acme key:k1: ledger: no such key
	// tenant:acme run:run_42 <nil>
	// tenant:acme agent:refund-bot <nil>
	// tenant:acme label:canary <nil>
	// tenant:acme <nil>
	// tenant:acme vendor:stripe <nil>
	// vendor:stripe <nil>
	// all <nil>
}

// The tool's name stands in the record. It decides nothing.
func ExampleWithCall() {
	ctx := keybrake.WithCall(context.Background(), keybrake.Call{Tool: "refund_customer", Step: "3"})
	req, err := http.NewRequestWithContext(ctx, "POST", "https://api.stripe.com/v1/refunds", nil)
	fmt.Println(req.URL.Host, err)
	// Output: api.stripe.com <nil>
}

// What a person found out at the vendor ends a doubt. A resolution that says nothing is refused.
func ExampleBrake_Resolve() {
	brake, _ := exampleBrake()
	ctx := context.Background()
	for _, r := range []keybrake.Resolution{
		keybrake.NotExecuted(),
		keybrake.ExecutedAsHeld(),
		keybrake.Executed(cost.Line{Meter: cost.Outflow, Currency: "USD", Amount: 20_000_000}),
		{},
	} {
		err := brake.Resolve(ctx, "acme", "r1", r)
		fmt.Println(errors.Unwrap(err) != nil, err)
	}
	// Output:
	// true keybrake: resolve r1: ledger: no such reservation
	// true keybrake: resolve r1: ledger: no such reservation
	// true keybrake: resolve r1: ledger: no such reservation
	// false keybrake: resolve: the resolution says nothing; use NotExecuted, ExecutedAsHeld or Executed
}
