package main

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/keybrake/keybrake-go"
	"github.com/keybrake/keybrake-go/audit"
	"github.com/keybrake/keybrake-go/credentials"
	"github.com/keybrake/keybrake-go/internal/fakevendor"
	"github.com/keybrake/keybrake-go/ledger"
	"github.com/keybrake/keybrake-go/policy"
	"github.com/keybrake/keybrake-go/vendors"
	"github.com/keybrake/keybrake-go/vendors/kbstripe"
)

// A BrakeSetup is where a process that has a brake finds the vendor and whom it believes.
type BrakeSetup struct {
	Vendor string
	CA     []byte
	Public ed25519.PublicKey
}

// A Payment is a Stripe payment of so many cents by the holder of a vault key.
type Payment struct {
	Token string
	Cents int64
}

// A Result is what the agent got.
type Result struct {
	Status int
	Denial string // the reason
	Err    string
}

// An agent makes calls through the whole brake, as its vendor's SDK would.
type agent struct{ http *http.Client }

func (s BrakeSetup) agent(l ledger.Ledger) (*agent, error) {
	b, err := keybrake.New(context.Background(), s.config(l))
	if err != nil {
		return nil, err
	}
	return &agent{b.Client()}, nil
}

func (s BrakeSetup) config(l ledger.Ledger) keybrake.Config {
	return keybrake.Config{
		Verify:      []ed25519.PublicKey{s.Public},
		Ledger:      l,
		Vendors:     []vendors.Vendor{kbstripe.New(nil)},
		Credentials: credentials.Static(map[string]string{"stripe": "sk_test_51Torture4secret"}),
		Audit:       audit.InsecureDiscard(),
		Base:        fakevendor.Dial(s.Vendor, s.CA),
		Log:         slog.New(slog.NewTextHandler(io.Discard, nil)),
	}
}

func (a *agent) pay(p Payment) Result {
	form := url.Values{"amount": {fmt.Sprint(p.Cents)}, "currency": {"usd"}, "confirm": {"true"}, "payment_method": {"pm_card_visa"}}
	req, err := http.NewRequest(http.MethodPost, "https://api.stripe.com/v1/payment_intents", strings.NewReader(form.Encode()))
	if err != nil {
		return Result{Err: err.Error()}
	}
	req.Header.Set("Authorization", "Bearer "+p.Token)
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := a.http.Do(req)
	if err != nil {
		return Result{Err: err.Error()}
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body)
	return Result{Status: resp.StatusCode, Denial: resp.Header.Get("Keybrake-Denial")}
}

// grant is a key's that may pay from the team's budget and from no other.
func grant(tenant, run string) keybrake.Grant {
	return keybrake.Grant{
		Tenant: tenant, Agent: "agent", Run: run, Credentials: map[string]string{"stripe": "stripe"}, TTL: 12 * time.Hour,
		Policy: policy.Policy{Allow: []policy.Rule{{Operation: "stripe.payment_intents.create"}}, Budgets: []policy.Budget{policy.Scoped("team")}},
	}
}
