package keybrake

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/keybrake/keybrake-go/audit"
	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/credentials"
	"github.com/keybrake/keybrake-go/internal/flight"
	"github.com/keybrake/keybrake-go/ledger"
	"github.com/keybrake/keybrake-go/vendors"
)

// A Config says what a [Brake] is made of. Ledger, Vendors, Credentials and Audit have to be given, and an
// Issuer or keys to verify with; the rest has defaults.
type Config struct {
	Issuer *Issuer             // signs vault keys; nil where keys are only enforced
	Verify []ed25519.PublicKey // further issuers whose vault keys are accepted; see Brake.Rotate

	Ledger      ledger.Ledger      // the books, shared by all processes that share a budget
	Vendors     []vendors.Vendor   // the catalogues; what none of them lists is denied
	Credentials credentials.Source // the real credentials; its answers are kept for five minutes. It belongs to this brake
	Audit       audit.Sink         // has to take an intent before a call is forwarded

	// Base sends the requests; it sees the real credential. Default: a hardened [http.Transport] that uses no proxy
	// from the environment. With a base that is not an *http.Transport, a failure to connect cannot be told from a
	// failure after sending, so the call is in doubt.
	Base http.RoundTripper

	// DigestKey keys the digests under which recipients and idempotency keys stand in records, so that the same
	// one can be recognised and not guessed. Default: random, so digests are comparable within one process only.
	DigestKey Secret

	// Rates, where it is set, makes every cost count in one currency, Rates.To, which all budgets then have to be in. It
	// is asked at every call that costs money and must not block; it may return another table each time. A call that
	// costs a currency with no rate, or at a time when the rates are too old, is refused. The rate that a call was
	// reserved at is used again when its cost is booked. nil: a cost counts in budgets of its own currency alone.
	Rates func() cost.Rates

	// Stamp writes the run and the call's reservation into the vendor's own objects, where it has room for that (Stripe's
	// metadata, Resend's tags), under names that start with keybrake_. The vendor's dashboard then shows the run, and what
	// became of a call in doubt can be found out (see [Reconciler]). Agents cannot set or change these names.
	Stamp bool

	// InsecureResend lets a [Reconciler] send a call in doubt again, under the idempotency key that it was sent under, until
	// so long after it was sent; at most ten minutes. The vendor then answers as it did to the first, which tells at once
	// what became of it. But a call that has never arrived is executed then, though nobody may want it any more: that is
	// insecure. It needs a key of the agent's that the vendor honours, and keeps the whole call, of up to 4 KiB and sealed,
	// with its reservation. Zero: calls are never sent again.
	InsecureResend time.Duration

	// CredentialAge is how long after it was fetched a credential may be used while its store does not answer; see
	// [credentials.Cache]. Less than five minutes shortens those too. Default: 1 h
	CredentialAge time.Duration

	Log *slog.Logger // what goes wrong after a call can no longer be refused. Default: [slog.Default]

	CallTimeout   time.Duration // for the vendor's answer to one call, body included; and for the caller's body to come. Default: 80 s
	LedgerTimeout time.Duration // for one operation of the ledger. Default: 5 s
	AuditTimeout  time.Duration // for one record. Default: 5 s
	MaxTTL        time.Duration // the longest life of a key. Default: 24 h
	MaxBody       int64         // bytes of a request's body; a longer one is refused. Default: 16 MiB
	MaxReply      int64         // bytes of a reply's body; a longer one is cut and its call in doubt. Default: 8 MiB
}

// A Secret is bytes that print as a placeholder, so that a Config that is printed or logged does not show them.
type Secret []byte

// String hides the bytes.
func (Secret) String() string { return "[secret]" }

// GoString hides the bytes.
func (Secret) GoString() string { return "[secret]" }

// Format hides the bytes under every verb.
func (Secret) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, "[secret]") }

// MarshalText hides the bytes from encoders.
func (Secret) MarshalText() ([]byte, error) { return []byte("[secret]"), nil }

// GobEncode hides the bytes from encoding/gob, which asks for no text.
func (Secret) GobEncode() ([]byte, error) { return []byte("[secret]"), nil }

// LogValue hides the bytes from slog.
func (Secret) LogValue() slog.Value { return slog.StringValue("[secret]") }

// A Brake issues vault keys, if it has an issuer, and enforces them. Its methods are safe for concurrent use.
type Brake struct {
	cfg     Config // complete, but for DigestKey
	keys    *atomic.Pointer[keyset]
	table   *vendors.Table
	vendors map[string]*vendors.Vendor
	creds   *credentials.Cache
	sink    audit.Sink
	follow  []audit.Follower
	gate    *flight.Gate
	flights *flights

	refusals *tally
	herald   *herald

	digestKey func() []byte // a func prints as an address; in a field of our own not even a Secret hides what it holds
}

// credentialTTL is how long a fetched credential is used without asking its source again.
const credentialTTL = 5 * time.Minute

// New makes a brake. It reports everything that is missing or wrong, and asks the ledger, the source of
// credentials and the sink, within ten seconds, whether they are fit for use: a Redis that may evict rows is
// refused here and not at the first lost budget, and so is a secret store that does not answer. [Brake.Close] ends
// the brake.
func New(ctx context.Context, c Config) (*Brake, error) {
	c.Vendors = slices.Clone(c.Vendors)
	keys, keysErr := newKeyset(c.Issuer, c.Verify)
	table, tableErr := vendors.NewTable(c.Vendors)
	if err := errors.Join(keysErr, c.missing(), tableErr, debugged(os.Getenv("GODEBUG"))); err != nil {
		return nil, fmt.Errorf("keybrake: %w", err)
	}
	c = c.complete()
	b := &Brake{
		cfg:     c,
		keys:    new(atomic.Pointer[keyset]),
		table:   table,
		vendors: map[string]*vendors.Vendor{},
		creds:   credentials.NewCache(c.Credentials, credentialTTL, &credentials.CacheOptions{MaxAge: c.CredentialAge, Log: c.Log}),
		sink:    audit.Guard(c.Audit),
		follow:  audit.Followers(c.Audit),
		gate:    flight.New(c.Ledger, c.Base, c.MaxReply),
		flights: &flights{calls: map[*attempt]context.CancelCauseFunc{}},
	}
	key := slices.Clone(c.DigestKey)
	b.digestKey, b.cfg.DigestKey = func() []byte { return key }, nil
	b.refusals, b.herald = newTally(b), newHerald(b)
	for i := range c.Vendors {
		b.vendors[c.Vendors[i].Name] = &c.Vendors[i]
	}
	b.keys.Store(keys)
	if err := b.check(ctx); err != nil {
		return nil, fmt.Errorf("keybrake: %w", err)
	}
	return b, nil
}

// missing reports what has to be given and is not, or cannot be meant.
func (c Config) missing() error {
	var errs []error
	need := func(ok bool, what string) {
		if !ok {
			errs = append(errs, errors.New(what))
		}
	}
	need(c.Ledger != nil, "Config.Ledger is nil; use redisledger.New for processes that share a budget, memory.New within one")
	need(len(c.Vendors) > 0, "Config.Vendors is empty, so every call would be refused; add kbstripe.New(nil) or another")
	need(c.Credentials != nil, "Config.Credentials is nil; use credentials.Env or another source")
	need(c.Audit != nil, "Config.Audit is nil; use audit.JSON(os.Stderr), or audit.InsecureDiscard() to keep no record")
	if c.Rates != nil {
		if err := c.Rates().Valid(); err != nil {
			need(false, "Config.Rates: "+err.Error())
		}
	}
	need(min(c.CallTimeout, c.LedgerTimeout, c.AuditTimeout, c.MaxTTL, c.CredentialAge) >= 0 && min(c.MaxBody, c.MaxReply) >= 0, "a timeout or size in Config is negative")
	need(c.InsecureResend >= 0 && c.InsecureResend <= 10*time.Minute, "Config.InsecureResend is above ten minutes or negative; what was meant then may not be meant any more")
	need(max(c.MaxBody, c.MaxReply) <= 1<<30, "Config.MaxBody or MaxReply is above 1 GiB; it is held in memory")
	return errors.Join(errs...)
}

// complete fills in the defaults.
func (c Config) complete() Config {
	c.CallTimeout = cmp.Or(c.CallTimeout, 80*time.Second)
	c.LedgerTimeout = cmp.Or(c.LedgerTimeout, 5*time.Second)
	c.AuditTimeout = cmp.Or(c.AuditTimeout, 5*time.Second)
	c.MaxTTL = cmp.Or(c.MaxTTL, 24*time.Hour)
	c.MaxBody = cmp.Or(c.MaxBody, 16<<20)
	c.MaxReply = cmp.Or(c.MaxReply, 8<<20)
	c.Log = cmp.Or(c.Log, slog.Default())
	if len(c.DigestKey) == 0 {
		c.DigestKey = make([]byte, 32)
		_, _ = rand.Read(c.DigestKey) // never fails: the program ends instead
	}
	return c
}

// debugged refuses to run where net/http prints every header it sends, the real credential among them. It reads
// GODEBUG as net/http does: wherever the setting stands in it.
func debugged(godebug string) error {
	if strings.Contains(godebug, "http2debug=1") || strings.Contains(godebug, "http2debug=2") {
		return errors.New("GODEBUG has http2debug, which prints the real credential; unset it")
	}
	return nil
}

// check asks the parts that can tell. One that does not answer in time has failed.
func (b *Brake) check(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	answer := make(chan error, 1)
	go func() {
		var ledgerErr error
		if c, ok := b.cfg.Ledger.(ledger.Checker); ok {
			ledgerErr = c.Check(ctx)
		}
		answer <- errors.Join(ledgerErr, b.creds.Check(ctx), audit.Check(ctx, b.cfg.Audit))
	}()
	select {
	case err := <-answer:
		return err
	case <-ctx.Done():
		return fmt.Errorf("ledger, credentials and audit did not answer in time: %w", ctx.Err())
	}
}

// Client returns a new HTTP client for a vendor's SDK. It follows no redirects, and its timeout is longer than
// the transport's own, so that what ends a call is what books it. It is the caller's, who may change it: twilio-go
// sets the timeout of what it is given.
func (b *Brake) Client() *http.Client {
	return &http.Client{
		Transport:     b.Transport(nil),
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Timeout:       b.cfg.CallTimeout + b.longest(), // the caller's body, and the call
	}
}

// longest is more than all the steps of a call may take together from its reserve on, so that a call that still runs is
// not taken for one in doubt.
func (b *Brake) longest() time.Duration {
	return 2*b.cfg.CallTimeout + 6*(b.cfg.LedgerTimeout+b.cfg.AuditTimeout)
}

// flight is how long after its reserve a call that has not ended is in doubt.
func (b *Brake) flight() time.Duration { return b.longest() + time.Minute }

// Transport returns a transport over base, or over Config.Base when base is nil.
func (b *Brake) Transport(base http.RoundTripper) *Transport {
	if base == nil {
		return &Transport{brake: b, gate: b.gate}
	}
	return &Transport{brake: b, gate: flight.New(b.cfg.Ledger, base, b.cfg.MaxReply)}
}

// log is where the brake says what it can no longer refuse a call for.
func (b *Brake) log() *slog.Logger { return b.cfg.Log }
