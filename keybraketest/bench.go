package keybraketest

import (
	"cmp"
	"context"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/keybrake/keybrake-go"
	"github.com/keybrake/keybrake-go/audit/audittest"
	"github.com/keybrake/keybrake-go/credentials"
	"github.com/keybrake/keybrake-go/ledger/memory"
	"github.com/keybrake/keybrake-go/policy"
	"github.com/keybrake/keybrake-go/vendors"
)

// Whom the key of a [Bench] is issued to, for selectors such as keybrake.ByRun(keybraketest.Tenant, keybraketest.Run).
const (
	Tenant = "test"
	Agent  = "agent"
	Run    = "run"
)

// TwilioAccount is the account of the bench's Twilio credential: what twilio-go's SetAccountSid has to be given.
const TwilioAccount = "AC00000000000000000000000000000000"

// Options change what a bench is made of. A nil *Options means all defaults.
type Options struct {
	// Vendors are the catalogues. Default: Stripe, Twilio and Resend, with their own defaults.
	Vendors []vendors.Vendor

	// Credentials are made-up credentials by vendor, for vendors other than the three.
	Credentials map[string]string

	// Budgets are the tenant's shared budgets. One whose limit the policy names itself need not be here.
	Budgets []policy.Budget
}

// A Bench is a brake to test with: a real one, with a ledger in memory, a sink that keeps every record, and vendors
// that answer as [Bench.Handle] says. Use it with [keybrake.Brake]'s own methods: Client for an SDK, Balance for what
// is left, Revoke and Pause to see an agent stopped, Issue for further keys. It is safe for concurrent use.
type Bench struct {
	*keybrake.Brake

	// Key is a vault key under the policy, for all vendors, not live, with a day to live.
	Key keybrake.Key

	// Recorder has every record that was written, and makes the sink fail where it is told to.
	Recorder *audittest.Recorder

	// Ledger is the books. Its clock, Now, can be set before the first call.
	Ledger *memory.Ledger

	vendors *canned
}

// New makes a bench, and a key under p. A policy that cannot be meant ends the test, with what is wrong with it; so
// does whatever else [keybrake.New] and [keybrake.Brake.Issue] refuse.
func New(t testing.TB, p policy.Policy, o *Options) *Bench {
	t.Helper()
	b := open(t, o)
	for _, budget := range shared(p, o) {
		if err := b.SetBudget(context.Background(), Tenant, budget); err != nil {
			t.Fatalf("keybraketest: %v", err)
		}
	}
	refs := map[string]string{}
	for _, v := range b.vendors.all {
		refs[v.Name] = v.Name
	}
	key, err := b.Issue(context.Background(), keybrake.Grant{
		Tenant: Tenant, Agent: Agent, Run: Run, Credentials: refs, Policy: p, TTL: 24 * time.Hour,
	})
	if err != nil {
		t.Fatalf("keybraketest: %v", err)
	}
	b.Key = key
	return b
}

// open makes the brake.
func open(t testing.TB, o *Options) *Bench {
	t.Helper()
	if o == nil {
		o = &Options{}
	}
	b := &Bench{Recorder: &audittest.Recorder{}, Ledger: memory.New(), vendors: newCanned(t, o.Vendors)}
	var err error
	b.Brake, err = brake(keybrake.Config{
		Ledger: b.Ledger, Vendors: b.vendors.all, Audit: b.Recorder, Base: b.vendors,
		Credentials: credentials.Static(secrets(b.vendors.all, o.Credentials)),
	})
	if err != nil {
		t.Fatalf("keybraketest: %v", err)
	}
	return b
}

// brake completes c, with an issuer of its own and no log: what that says is in the records, too.
func brake(c keybrake.Config) (b *keybrake.Brake, err error) {
	if c.Issuer, err = keybrake.NewIssuer(); err != nil {
		return nil, err
	}
	c.Log = slog.New(slog.DiscardHandler)
	return keybrake.New(context.Background(), c)
}

// madeUp are credentials of the right form for the three vendors. No vendor has issued them.
var madeUp = map[string]string{
	"stripe": "sk_test_keybraketest", "twilio": TwilioAccount + ":00000000000000000000000000000000", "resend": "re_keybraketest",
}

func secrets(all []vendors.Vendor, given map[string]string) map[string]string {
	values := map[string]string{}
	for _, v := range all {
		values[v.Name] = cmp.Or(given[v.Name], madeUp[v.Name])
	}
	return values
}

// shared are the budgets to make before the key: those given, and those whose limit stands in the policy.
func shared(p policy.Policy, o *Options) []policy.Budget {
	var budgets []policy.Budget
	if o != nil {
		budgets = slices.Clone(o.Budgets)
	}
	for _, b := range p.Budgets {
		given := slices.ContainsFunc(budgets, func(o policy.Budget) bool { return o.Scope == b.Scope })
		if b.Scope != "" && !b.Limit.IsZero() && !given {
			budgets = append(budgets, b)
		}
	}
	return budgets
}
