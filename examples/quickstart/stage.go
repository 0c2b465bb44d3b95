package main

import (
	"context"
	"time"

	"github.com/resend/resend-go/v2"
	"github.com/stripe/stripe-go/v76"
	"github.com/stripe/stripe-go/v76/client"
	"github.com/twilio/twilio-go"
	twclient "github.com/twilio/twilio-go/client"
	openapi "github.com/twilio/twilio-go/rest/api/v2010"

	"github.com/keybrake/keybrake-go"
	"github.com/keybrake/keybrake-go/credentials"
	"github.com/keybrake/keybrake-go/internal/fakevendor"
	"github.com/keybrake/keybrake-go/ledger/memory"
	"github.com/keybrake/keybrake-go/policy"
	"github.com/keybrake/keybrake-go/vendors"
	"github.com/keybrake/keybrake-go/vendors/kbresend"
	"github.com/keybrake/keybrake-go/vendors/kbstripe"
	"github.com/keybrake/keybrake-go/vendors/kbtwilio"
)

const (
	tenant   = "acme"
	account  = "AC0123456789abcdef0123456789abcdef"
	american = "+14155550100"
	british  = "+447700900123"
)

// secrets are the real credentials that the agents never see.
var secrets = map[string]string{
	"stripe": "sk_test_51QuickstartRealSecret",
	"twilio": account + ":fedcba9876543210fedcba9876543210",
	"resend": "re_Quickstart_RealSecret",
}

// priceList is the fake Twilio's. Your own account's prices belong here; the default card is high rather than low.
var priceList = kbtwilio.RateCard{
	Source: "internal/fakevendor", Date: "2026-11-23",
	Rates: []kbtwilio.Rate{{Country: "US", PerSegment: "0.0083"}, {Country: "GB", PerSegment: "0.0463"}},
}

// A stage is what all scenes share: the vendors, the brake before them, and the runs so far.
type stage struct {
	fake   *fakevendor.Server
	brake  *keybrake.Brake
	hasty  *keybrake.Brake // the same, but it gives a vendor only a second
	tell   *narrator
	agents []*agent
}

func newStage(ctx context.Context, tell *narrator) (*stage, error) {
	issuer, err := keybrake.NewIssuer()
	if err != nil {
		return nil, err
	}
	fake, err := fakevendor.Start()
	if err != nil {
		return nil, err
	}
	config := keybrake.Config{
		Issuer:      issuer,
		Ledger:      memory.New(),
		Vendors:     []vendors.Vendor{kbstripe.New(nil), kbtwilio.New(&kbtwilio.Options{Rates: &priceList}), kbresend.New(nil)},
		Credentials: credentials.Static(secrets),
		Audit:       tell,
		Base:        fake.Transport(), // the vendors' own hosts, at another address; leave it out to reach the real ones
	}
	s := &stage{fake: fake, tell: tell}
	if s.brake, err = keybrake.New(ctx, config); err == nil {
		config.CallTimeout = time.Second
		s.hasty, err = keybrake.New(ctx, config)
	}
	if err != nil {
		fake.Close()
	}
	return s, err
}

// limit is what each run may spend, of any kind.
var limit = policy.USD("80")

var support = policy.Policy{
	Allow: []policy.Rule{
		{Operation: "stripe.refunds.create", MaxPerCall: policy.USD("50")},
		{Operation: "twilio.messages.create", Countries: []string{"US"}},
		{Operation: "resend.emails.send"},
	},
	Budgets: []policy.Budget{policy.Lifetime(limit)},
}

// An agent is one run of the support agent: three SDKs, and in the place of three credentials one vault key.
type agent struct {
	run    string
	key    keybrake.Key
	charge string // what it refunds; named in everything that it sends, so that the vendor's log tells the runs apart
	stripe *client.API
	twilio *twilio.RestClient
	resend *resend.Client
}

// agent issues a vault key for a new run and hands it to the SDKs.
func (s *stage) agent(ctx context.Context, brake *keybrake.Brake, run string) (*agent, error) {
	key, err := brake.Issue(ctx, keybrake.Grant{
		Tenant: tenant, Agent: "support", Run: run,
		Credentials: map[string]string{"stripe": "stripe", "twilio": "twilio", "resend": "resend"},
		Policy:      support,
		TTL:         time.Hour,
	})
	if err != nil {
		return nil, err
	}
	tw := &twclient.Client{Credentials: twclient.NewCredentials(account, key.Token()), HTTPClient: brake.Client()}
	tw.SetAccountSid(account)
	a := &agent{
		run: run, key: key, charge: "ch_" + run,
		stripe: client.New(key.Token(), stripe.NewBackends(brake.Client())),
		twilio: twilio.NewRestClientWithParams(twilio.ClientParams{Client: tw}),
		resend: resend.NewCustomClient(brake.Client(), key.Token()),
	}
	s.fake.SeedCharge(a.charge, 500_000, "usd")
	s.agents = append(s.agents, a)
	return a, nil
}

// runOf is the run that a vault key was issued for.
func (s *stage) runOf(keyID string) string {
	for _, a := range s.agents {
		if a.key.ID == keyID {
			return a.run
		}
	}
	return ""
}

// refund gives 20.00 USD back.
func (a *agent) refund() error {
	_, err := a.stripe.Refunds.New(&stripe.RefundParams{Charge: stripe.String(a.charge), Amount: stripe.Int64(2000)})
	return err
}

func (a *agent) text(to string) error {
	m := &openapi.CreateMessageParams{}
	m.SetTo(to).SetFrom("+14155550199").SetBody("Your refund of " + a.charge + " is on its way.")
	_, err := a.twilio.Api.CreateMessage(m)
	return err
}

func (a *agent) mail() error {
	_, err := a.resend.Emails.Send(&resend.SendEmailRequest{
		From: "support@acme.example", To: []string{"ann@example.com"}, Subject: "Your refund", Text: "Your refund of " + a.charge + " is on its way.",
	})
	return err
}

// stripe-go writes every error to stderr, refusals among them; here they are on stdout already.
func init() { stripe.DefaultLeveledLogger = &stripe.LeveledLogger{Level: stripe.LevelNull} }
