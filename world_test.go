package keybrake_test

import (
	"bytes"
	"log/slog"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/stripe/stripe-go/v76"
	stripeclient "github.com/stripe/stripe-go/v76/client"

	"github.com/keybrake/keybrake-go"
	"github.com/keybrake/keybrake-go/audit/audittest"
	"github.com/keybrake/keybrake-go/credentials"
	"github.com/keybrake/keybrake-go/internal/fakevendor"
	"github.com/keybrake/keybrake-go/ledger/memory"
	"github.com/keybrake/keybrake-go/policy"
	"github.com/keybrake/keybrake-go/vendors"
	"github.com/keybrake/keybrake-go/vendors/kbresend"
	"github.com/keybrake/keybrake-go/vendors/kbstripe"
	"github.com/keybrake/keybrake-go/vendors/kbtwilio"
)

// The real credentials of the tests. They must come back in nothing.
const (
	stripeSecret  = "sk_test_51Hreal4secret5never6shown"
	twilioAccount = "AC0123456789abcdef0123456789abcdef"
	twilioSecret  = "fedcba9876543210fedcba9876543210"
	resendSecret  = "re_Real4Secret_5Never6Shown7"
)

// A world is a brake over the fake vendor, with everything recorded.
type world struct {
	*keybrake.Brake
	fake   *fakevendor.Server
	ledger *memory.Ledger
	sink   *audittest.Recorder
	issuer *keybrake.Issuer
	log    *logBuffer
}

// newWorld starts a fake vendor and a brake over it. change may be nil.
func newWorld(t testing.TB, change func(*keybrake.Config)) *world {
	t.Helper()
	fake, err := fakevendor.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = fake.Close() })
	issuer, err := keybrake.NewIssuer()
	if err != nil {
		t.Fatal(err)
	}
	w := &world{fake: fake, ledger: memory.New(), sink: &audittest.Recorder{}, issuer: issuer, log: &logBuffer{}}
	config := w.config()
	if change != nil {
		change(&config)
	}
	w.Brake, err = keybrake.New(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *world) config() keybrake.Config {
	return keybrake.Config{
		Issuer:  w.issuer,
		Ledger:  w.ledger,
		Vendors: []vendors.Vendor{kbstripe.New(nil), kbtwilio.New(nil), kbresend.New(nil)},
		Credentials: credentials.Static(map[string]string{
			"stripe": stripeSecret, "twilio": twilioAccount + ":" + twilioSecret, "resend": resendSecret,
		}),
		Audit: w.sink,
		Base:  w.fake.Transport(),
		Log:   slog.New(slog.NewTextHandler(w.log, nil)),
	}
}

// recordingEach makes b record every refusal by itself, however many are alike.
func recordingEach(t testing.TB, b *keybrake.Brake) {
	t.Helper()
	if err := keybrake.RecordEach(t.Context(), b); err != nil {
		t.Fatal(err)
	}
}

// everything allows what the three vendors offer, within 100 USD.
func everything() policy.Policy {
	return policy.Policy{
		Allow:   []policy.Rule{{Operation: "stripe.*"}, {Operation: "twilio.*", Ceiling: policy.USD("1")}, {Operation: "resend.*"}},
		Budgets: []policy.Budget{policy.Lifetime(policy.USD("100"))},
	}
}

// issue makes a key for all three vendors.
func (w *world) issue(t testing.TB, run string, p policy.Policy) keybrake.Key {
	t.Helper()
	key, err := w.Issue(t.Context(), grant(run, p))
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func grant(run string, p policy.Policy) keybrake.Grant {
	return keybrake.Grant{
		Tenant: "acme", Agent: "refund-bot", Run: run,
		Credentials: map[string]string{"stripe": "stripe", "twilio": "twilio", "resend": "resend"},
		Policy:      p, TTL: time.Hour,
	}
}

func stripeOver(rt http.RoundTripper, token string) *stripeclient.API {
	return stripeclient.New(token, stripe.NewBackends(&http.Client{Transport: rt}))
}

// A logBuffer is a log that many goroutines write.
type logBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}
