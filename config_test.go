package keybrake_test

import (
	"context"
	"crypto/ed25519"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/keybrake/keybrake-go"
	"github.com/keybrake/keybrake-go/audit"
	"github.com/keybrake/keybrake-go/audit/audittest"
	"github.com/keybrake/keybrake-go/credentials"
	"github.com/keybrake/keybrake-go/internal/redistest"
	"github.com/keybrake/keybrake-go/ledger"
	"github.com/keybrake/keybrake-go/ledger/memory"
	"github.com/keybrake/keybrake-go/ledger/redisledger"
	"github.com/keybrake/keybrake-go/policy"
	"github.com/keybrake/keybrake-go/reason"
	"github.com/keybrake/keybrake-go/vendors"
	"github.com/keybrake/keybrake-go/vendors/kbresend"
	"github.com/keybrake/keybrake-go/vendors/kbstripe"
	"github.com/keybrake/keybrake-go/vendors/kbtwilio"
)

// smallConfig is a config with which New succeeds, and quickly: it has one vendor, the smallest.
func smallConfig(t testing.TB) keybrake.Config {
	t.Helper()
	issuer, err := keybrake.NewIssuer()
	if err != nil {
		t.Fatal(err)
	}
	return keybrake.Config{
		Issuer:      issuer,
		Ledger:      memory.New(),
		Vendors:     []vendors.Vendor{kbresend.New(nil)},
		Credentials: credentials.Static(map[string]string{"resend": resendSecret}),
		Audit:       &audittest.Recorder{},
	}
}

// Every misconfiguration is an error of New that says what to do, never a panic and never a surprise at the first
// call.
func TestNewRefuses(t *testing.T) {
	good := smallConfig(t)
	for name, tt := range map[string]struct {
		change func(*keybrake.Config)
		want   []string
	}{
		"nobody whose keys could be accepted": {
			func(c *keybrake.Config) { c.Issuer = nil },
			[]string{"Config.Issuer and Config.Verify are both unset", "set one"},
		},
		"an issuer without a key": {
			func(c *keybrake.Config) { c.Issuer = &keybrake.Issuer{} },
			[]string{"Config.Issuer", "NewIssuer"},
		},
		"a public key of another length": {
			func(c *keybrake.Config) { c.Verify = []ed25519.PublicKey{c.Issuer.Public(), make([]byte, 31)} },
			[]string{"Config.Verify[1] has 31 bytes, not 32"},
		},
		"no ledger": {
			func(c *keybrake.Config) { c.Ledger = nil },
			[]string{"Config.Ledger is nil", "redisledger.New", "memory.New"},
		},
		"no vendors": {
			func(c *keybrake.Config) { c.Vendors = nil },
			[]string{"Config.Vendors is empty", "kbstripe.New(nil)"},
		},
		"a vendor twice": {
			func(c *keybrake.Config) { c.Vendors = append(c.Vendors, kbresend.New(nil)) },
			[]string{`"resend" is registered twice`},
		},
		"a vendor that is no vendor": {
			func(c *keybrake.Config) { c.Vendors = []vendors.Vendor{{Name: "acme"}} },
			[]string{`"acme"`, "needs a Name, Place and Refuse"},
		},
		"a price that cannot be read": {
			func(c *keybrake.Config) {
				c.Vendors = []vendors.Vendor{kbresend.New(&kbresend.Options{PricePerRecipient: "O.1"})}
			},
			[]string{"PricePerRecipient", "O.1"},
		},
		"a rate card that cannot be read": {
			func(c *keybrake.Config) {
				c.Vendors = []vendors.Vendor{kbtwilio.New(&kbtwilio.Options{Rates: &kbtwilio.RateCard{Rates: []kbtwilio.Rate{{Country: "US", PerSegment: "1,5"}}}})}
			},
			[]string{"Options.Rates", "US"},
		},
		"no credentials": {
			func(c *keybrake.Config) { c.Credentials = nil },
			[]string{"Config.Credentials is nil", "credentials.Env"},
		},
		"an environment variable that is not set": {
			func(c *keybrake.Config) { c.Credentials = credentials.Env{"stripe": "KEYBRAKE_TEST_UNSET"} },
			[]string{`"stripe"`, "KEYBRAKE_TEST_UNSET is not set"},
		},
		"no audit": {
			func(c *keybrake.Config) { c.Audit = nil },
			[]string{"Config.Audit is nil", "audit.JSON(os.Stderr)", "audit.InsecureDiscard()"},
		},
		"a sink that keeps nothing and does not say so": {
			func(c *keybrake.Config) { c.Audit = audit.Tee() },
			[]string{"a tee of no sinks keeps nothing"},
		},
		"a logger that drops the records of allowed calls": {
			func(c *keybrake.Config) {
				c.Audit = audit.Slog(slog.New(slog.NewTextHandler(io.Discard, &slog.HandlerOptions{Level: slog.LevelWarn})))
			},
			[]string{"drops entries of level INFO"},
		},
		"a negative timeout":         {func(c *keybrake.Config) { c.LedgerTimeout = -1 }, []string{"negative"}},
		"a negative call timeout":    {func(c *keybrake.Config) { c.CallTimeout = -1 }, []string{"negative"}},
		"a negative audit timeout":   {func(c *keybrake.Config) { c.AuditTimeout = -1 }, []string{"negative"}},
		"a negative life of keys":    {func(c *keybrake.Config) { c.MaxTTL = -1 }, []string{"negative"}},
		"a negative size of bodies":  {func(c *keybrake.Config) { c.MaxBody = -1 }, []string{"negative"}},
		"a negative size of replies": {func(c *keybrake.Config) { c.MaxReply = -1 }, []string{"negative"}},
	} {
		c := good
		tt.change(&c)
		b, err := keybrake.New(t.Context(), c)
		if b != nil || err == nil || strings.Count(err.Error(), "\n") > 0 || !strings.HasPrefix(err.Error(), "keybrake: ") {
			t.Errorf("%s: %v, %v; want one error and no brake", name, b, err)
			continue
		}
		for _, want := range tt.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %q does not say %q", name, err, want)
			}
		}
	}
}

func TestNewReportsAllFaultsAtOnce(t *testing.T) {
	t.Setenv("GODEBUG", "http2debug=1")
	_, err := keybrake.New(t.Context(), keybrake.Config{
		Verify:  []ed25519.PublicKey{{}},
		Vendors: []vendors.Vendor{kbstripe.New(nil), kbstripe.New(nil)},
		MaxBody: -1,
	})
	for _, want := range []string{"Config.Verify[0]", "Config.Ledger", "Config.Credentials", "Config.Audit", "negative", "registered twice", "http2debug"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not say %q", err, want)
		}
	}
}

// With http2debug, net/http prints every header that it sends, the real credential's among them.
func TestNewRefusesADebuggerOfHeaders(t *testing.T) {
	config := smallConfig(t)
	for setting, refused := range map[string]bool{
		"http2debug=1": true, "http2debug=2": true, "gctrace=0,http2debug=1": true,
		" http2debug=2 ": true, "gctrace=0, http2debug=1": true, "http2debug=0,http2debug=1": true, // as net/http reads them
		"http2debug=0": false, "gctrace=0": false, "": false,
	} {
		t.Setenv("GODEBUG", setting)
		_, err := keybrake.New(t.Context(), config)
		if refused != (err != nil) || refused && (!strings.Contains(err.Error(), "http2debug") || !strings.Contains(err.Error(), "unset")) {
			t.Errorf("GODEBUG=%q: %v", setting, err)
		}
	}
}

// A Redis that drops rows when its memory is full would set budgets back to zero.
func TestNewRefusesARedisThatEvicts(t *testing.T) {
	config := smallConfig(t)
	open := func(args ...string) ledger.Ledger {
		rdb := redis.NewClient(&redis.Options{Addr: redistest.Start(t, args...)})
		t.Cleanup(func() { _ = rdb.Close() })
		return redisledger.New(rdb, nil)
	}
	config.Ledger = open("--maxmemory-policy", "allkeys-lru")
	_, err := keybrake.New(t.Context(), config)
	if err == nil || !strings.Contains(err.Error(), `maxmemory-policy is "allkeys-lru"`) || !strings.Contains(err.Error(), "noeviction") {
		t.Errorf("got %v", err)
	}
	config.Ledger = open()
	if _, err := keybrake.New(t.Context(), config); err != nil {
		t.Errorf("a Redis that does not evict: %v", err)
	}
}

// A part that has an answer of its own to Check.
type (
	checkedLedger struct {
		ledger.Ledger
		check func(context.Context) error
	}
	checkedSource struct {
		credentials.Source
		check func(context.Context) error
	}
	checkedSink struct {
		audit.Sink
		check func(context.Context) error
	}
)

func (l checkedLedger) Check(ctx context.Context) error { return l.check(ctx) }
func (s checkedSource) Check(ctx context.Context) error { return s.check(ctx) }
func (s checkedSink) Check(ctx context.Context) error   { return s.check(ctx) }

// checked gives one part of a config an answer to Check.
var checked = map[string]func(*keybrake.Config, func(context.Context) error){
	"ledger": func(c *keybrake.Config, check func(context.Context) error) {
		c.Ledger = checkedLedger{c.Ledger, check}
	},
	"credentials": func(c *keybrake.Config, check func(context.Context) error) {
		c.Credentials = checkedSource{c.Credentials, check}
	},
	"audit": func(c *keybrake.Config, check func(context.Context) error) { c.Audit = checkedSink{c.Audit, check} },
}

func TestNewAsksEveryPart(t *testing.T) {
	good := smallConfig(t)
	failed := &credentials.Fault{Ref: "stripe", Why: "not fit"} // what any other error of a source says is not shown
	for part, with := range checked {
		c := good
		with(&c, func(context.Context) error { return failed })
		if _, err := keybrake.New(t.Context(), c); !errors.Is(err, failed) {
			t.Errorf("%s: New says %v", part, err)
		}
	}
	c := good
	for _, with := range checked {
		with(&c, func(context.Context) error { return failed })
	}
	if _, err := keybrake.New(t.Context(), c); err == nil || strings.Count(err.Error(), failed.Error()) != len(checked) {
		t.Errorf("three parts are not fit and New says %v", err)
	}
}

// A part that does not answer has failed, after ten seconds, whether it looks at its context or not.
func TestNewDoesNotWaitForEver(t *testing.T) {
	good := smallConfig(t)
	for part, with := range checked {
		for manner, deaf := range map[string]bool{"waits for its context": false, "is deaf": true} {
			synctest.Test(t, func(t *testing.T) {
				release := make(chan struct{})
				c := good
				with(&c, func(ctx context.Context) error {
					if deaf {
						<-release
						return nil
					}
					<-ctx.Done()
					return ctx.Err()
				})
				began := time.Now()
				_, err := keybrake.New(context.Background(), c)
				if !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != 10*time.Second {
					t.Errorf("%s that %s: %v after %v", part, manner, err, time.Since(began))
				}
				close(release)
			})
		}
	}
}

// New gives up when its caller does.
func TestNewEndsWithItsContext(t *testing.T) {
	c := smallConfig(t)
	release := make(chan struct{})
	defer close(release)
	ctx, cancel := context.WithCancel(t.Context())
	checked["ledger"](&c, func(context.Context) error { cancel(); <-release; return nil })
	if _, err := keybrake.New(ctx, c); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestErrorsOfNewAreTyped(t *testing.T) {
	c := smallConfig(t)
	c.Credentials = credentials.Env{"stripe": "KEYBRAKE_TEST_UNSET"}
	if _, err := keybrake.New(t.Context(), c); !errors.Is(err, credentials.ErrUnknown) {
		t.Errorf("got %v", err)
	}
}

func TestABrakeThatOnlyVerifiesEnforcesAndCannotIssue(t *testing.T) {
	w := newWorld(t, nil)
	key := w.issue(t, "run_1", policy.Policy{
		Allow:   []policy.Rule{{Operation: "stripe.payment_intents.create"}},
		Budgets: []policy.Budget{policy.Lifetime(policy.USD("10"))},
	})
	c := w.config()
	c.Issuer, c.Verify = nil, []ed25519.PublicKey{w.issuer.Public()}
	enforcer, err := keybrake.New(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := enforcer.Issue(t.Context(), grant("run_2", everything())); !errors.Is(err, keybrake.ErrNotIssuer) || got.Token() != "" || got.ID != "" {
		t.Errorf("Issue: %v, %v", got, err)
	}
	if d := intent(t, enforcer.Transport(nil), key.Token(), 600); d != nil {
		t.Errorf("within the budget: %v", d)
	}
	if d := intent(t, enforcer.Transport(nil), key.Token(), 600); d == nil || d.Reason != reason.BudgetExceeded {
		t.Errorf("beyond the budget: %v", d)
	}
	if n := len(w.fake.Executions()); n != 1 {
		t.Errorf("%d calls were executed", n)
	}
}

// Each client is the caller's own: twilio-go sets the timeout of what it is given.
func TestClient(t *testing.T) {
	w := newWorld(t, func(c *keybrake.Config) { c.CallTimeout = 80 * time.Second })
	one, other := w.Client(), w.Client()
	if one == other {
		t.Fatal("two callers share one client")
	}
	// A call that looks at the vendor first may take its timeout twice, and what ends it has to be what books it.
	if one.Timeout = time.Second; other.Timeout <= 2*80*time.Second || other.Timeout != w.Client().Timeout {
		t.Errorf("a client's timeout is %v; it has to be longer than the transport's own and nobody else's to change", other.Timeout)
	}
	if err := one.CheckRedirect(nil, nil); !errors.Is(err, http.ErrUseLastResponse) {
		t.Errorf("redirects: %v", err)
	}
}
