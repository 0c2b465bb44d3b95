package keybrake_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keybrake/keybrake-go"
	"github.com/keybrake/keybrake-go/audit"
	"github.com/keybrake/keybrake-go/internal/fakevendor"
	"github.com/keybrake/keybrake-go/internal/token"
	"github.com/keybrake/keybrake-go/policy"
	"github.com/keybrake/keybrake-go/reason"
)

// A vector is one hostile call, or one that looks like it and must pass: a line of a file in testdata/hostile. Words in
// braces are filled in: {token}, {lower} (the token in lower case), {account}, {fill}, {copies}.
type vector struct {
	IDs  []string `json:"ids"` // in testdata/hostile/ids.txt
	Name string   `json:"name"`
	Note string   `json:"note"` // why the verdict is this one, where another could be expected

	// Want is denied: nothing leaves and nothing is counted. looked: as denied, but the vendor was asked first what the call
	// would move, with a read that counts as a call. executed or read: the vendor gets exactly this call. held: it
	// got it, and the money stays reserved. refused: it got it and said no, so that the money is free again. unread: a
	// server would not even read the request.
	Want   string      `json:"want"`
	Reason reason.Code `json:"reason"`
	Status int         `json:"status"` // of the reply; default: not looked at
	Key    string      `json:"key"`    // of vaultKeys; default: the narrow one
	Forge  string      `json:"forge"`  // what is changed in the key, of forgeries

	// Narrow are blocks that the holder of the key appends to it first, as claims or, where they are no JSON that could be
	// read, as a text of them.
	Narrow []json.RawMessage `json:"narrow"`

	Raw           string      `json:"raw"` // the request as a server reads it, in place of the following
	Method        string      `json:"method"`
	URL           string      `json:"url"`
	Authorization string      `json:"authorization"` // default: Bearer {token}; "none": no such header
	Header        [][2]string `json:"header"`        // names as they are
	Type          *string     `json:"type"`          // of the body; default: what the vendor takes
	Body          *string     `json:"body"`
	Hex           string      `json:"hex"` // a body that is no text
	Fill, Copies  []any       // a text, in which %d is a number from 1, and how often it stands there
	Set           set         `json:"set"` // what only Go can say

	Base  string            `json:"base"` // of oddBases
	Fault *fakevendor.Fault `json:"fault"`

	Sent       sent   `json:"sent"`       // where it differs from the call
	Executed   *int   `json:"executed"`   // how often at the vendor; default: once, where it is a write that is let through
	Booked     *int64 `json:"booked"`     // what the first budget has counted as spent, in its unit; default: not looked at
	Held       *int64 `json:"held"`       // and as held
	Units      *int64 `json:"units"`      // what the vendor counted
	Unrecorded string `json:"unrecorded"` // what must be in no record

	Then []vector `json:"then"` // sent afterwards with the same key
}

type set struct {
	Path, Query, Opaque, Host, Fragment, Proto *string
	RawPath                                    string   `json:"raw_path"`
	NoURL                                      bool     `json:"no_url"`
	NoHeader                                   bool     `json:"no_header"`
	Length                                     *int64   `json:"length"`
	TransferEncoding                           []string `json:"transfer_encoding"`
	Trailer                                    string   `json:"trailer"`
	Body                                       string   `json:"body"` // of oddBodies
	GetBody                                    string   `json:"get_body"`
	Form                                       string   `json:"form"`
	Redirected                                 bool     `json:"redirected"`
	Ended                                      bool     `json:"ended"` // the caller's context
	Close                                      bool     `json:"close"`
	RequestURI                                 string   `json:"request_uri"`
}

type sent struct {
	Host, Path, Query, Params *string
	Body                      *string
	Header                    [][2]string
	Without                   []string
}

// vaultKeys are the keys of vectors, by the policy that each has.
var vaultKeys = map[string]func() keybrake.Grant{
	"":           narrow,
	"everything": func() keybrake.Grant { return hostileGrant(policy.USD("100"), everything().Allow...) },
	"refunds": func() keybrake.Grant {
		return hostileGrant(policy.USD("100"), policy.Rule{Operation: "stripe.refunds.create"})
	},
	"refunds for a reason": func() keybrake.Grant {
		return hostileGrant(policy.USD("100"), policy.Rule{Operation: "stripe.refunds.create", Params: policy.Params{"reason": policy.OneOf("duplicate"), "charge": policy.OneOf("ch_1"), "metadata[*]": policy.Prefix("ok")}})
	},
	"five dollars": fiveDollars,
	"five dollars of refunds": func() keybrake.Grant {
		return hostileGrant(policy.USD("5"), policy.Rule{Operation: "stripe.refunds.create"})
	},
	"yen": func() keybrake.Grant {
		return hostileGrant(policy.Money("500", "JPY"), policy.Rule{Operation: "stripe.payment_intents.create"})
	},
	"unbounded": func() keybrake.Grant {
		return hostileGrant(policy.USD("100"), policy.Rule{Operation: "twilio.messages.create"})
	},
	"calls": func() keybrake.Grant {
		return hostileGrant(policy.USD("100"), policy.Rule{Operation: "twilio.calls.create", Countries: []string{"US"}})
	},
	"calls to anyone": func() keybrake.Grant {
		return hostileGrant(policy.USD("100"), policy.Rule{Operation: "twilio.calls.create"})
	},
	"calls with a ceiling": func() keybrake.Grant {
		return hostileGrant(policy.USD("100"), policy.Rule{Operation: "twilio.calls.create", Countries: []string{"US"}, Ceiling: policy.USD("1")})
	},
	"calls to one number": func() keybrake.Grant {
		return hostileGrant(policy.USD("100"), policy.Rule{Operation: "twilio.calls.create", Recipients: []string{"+14155550100"}, Ceiling: policy.USD("1")})
	},
	"batch": func() keybrake.Grant {
		return hostileGrant(policy.USD("100"), policy.Rule{Operation: "resend.emails.batch", Params: policy.Params{"from": policy.OneOf("bot@acme.com")}, Recipients: []string{"*@acme.com"}})
	},
	"one mail": func() keybrake.Grant {
		g := hostileGrant(policy.USD("100"), policy.Rule{Operation: "resend.emails.*"})
		g.Policy.Budgets = append(g.Policy.Budgets, policy.Lifetime(policy.Units(1)))
		return g
	},
	"two calls": func() keybrake.Grant {
		g := hostileGrant(policy.USD("100"), everything().Allow...)
		g.Policy.Budgets[1] = policy.Lifetime(policy.Calls(2))
		return g
	},
	"once": func() keybrake.Grant {
		g := hostileGrant(policy.USD("100"), everything().Allow...)
		g.Policy.Repeat = policy.Times(1, time.Hour)
		return g
	},
	"observed": func() keybrake.Grant {
		g := narrow()
		g.Policy.InsecureObserve = true
		return g
	},
	"reads alone": func() keybrake.Grant {
		return hostileGrant(policy.USD("100"), policy.Rule{Operation: "stripe.*", ReadOnly: true}, policy.Rule{Operation: "twilio.*", ReadOnly: true}, policy.Rule{Operation: "resend.*", ReadOnly: true})
	},
	"the day": func() keybrake.Grant {
		g := fiveDollars()
		g.Policy.Budgets[0] = policy.Daily(policy.USD("5"))
		return g
	},
	"tomorrow":         func() keybrake.Grant { return starting(24 * time.Hour) },
	"in forty seconds": func() keybrake.Grant { return starting(40 * time.Second) },
	"in ten seconds":   func() keybrake.Grant { return starting(10 * time.Second) },
	"yesterday":        func() keybrake.Grant { return starting(-25 * time.Hour) },
	"an hour ago":      func() keybrake.Grant { return starting(-time.Hour) },
	"stripe alone": func() keybrake.Grant {
		g := fiveDollars()
		g.Credentials = map[string]string{"stripe": "stripe"}
		return g
	},
	"revoked": nil, "paused": nil, "unknown": nil, // made of the narrow one
}

func narrow() keybrake.Grant {
	return hostileGrant(policy.USD("100"),
		policy.Rule{Operation: "stripe.payment_intents.create", MaxPerCall: policy.USD("50"), Params: policy.Params{"Stripe-Account": policy.OneOf("acct_policy").OrAbsent()}},
		policy.Rule{Operation: "stripe.charges.list", Params: policy.Params{"expand": policy.OneOf("data.balance_transaction").OrAbsent()}},
		policy.Rule{Operation: "stripe.charges.retrieve"},
		policy.Rule{Operation: "twilio.messages.create", Countries: []string{"US", "CA"}, Params: policy.Params{"From": policy.OneOf("+14155550101")}},
		policy.Rule{Operation: "resend.emails.send", Recipients: []string{"*@acme.com"}, Params: policy.Params{"from": policy.OneOf("bot@acme.com", "Acme <bot@acme.com>")}},
	)
}

func fiveDollars() keybrake.Grant {
	return hostileGrant(policy.USD("5"), policy.Rule{Operation: "stripe.payment_intents.create"})
}

// The names that the brake is told of. They are its own business: no vendor hears them.
const (
	hostileTenant = "tenant-of-vectors"
	hostileAgent  = "agent-of-vectors"
	hostileRun    = "run-of-vectors"
)

func hostileGrant(limit policy.Amount, rules ...policy.Rule) keybrake.Grant {
	g := grant(hostileRun, policy.Policy{Allow: rules, Budgets: []policy.Budget{policy.Lifetime(limit), policy.Lifetime(policy.Calls(100))}})
	g.Tenant, g.Agent = hostileTenant, hostileAgent
	return g
}

// starting is a key of an hour.
func starting(in time.Duration) keybrake.Grant {
	g := narrow()
	g.NotBefore = time.Now().Add(in)
	return g
}

// A hostileWorld is what all vectors share: a brake, a vendor, and the wire between them.
type hostileWorld struct {
	*world
	tap     *tap
	private ed25519.PrivateKey // the issuer's
	http1   http.RoundTripper
	http2   http.RoundTripper
	records *records
	tokens  map[string]string
	runs    int
}

// records keeps what is recorded until it is taken.
type records struct {
	mu   sync.Mutex
	list []audit.Record
}

func (r *records) Write(_ context.Context, one audit.Record) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.list = append(r.list, one)
	return nil
}

func (r *records) take() []audit.Record {
	r.mu.Lock()
	defer r.mu.Unlock()
	list := r.list
	r.list = nil
	return list
}

func newHostileWorld(t *testing.T) *hostileWorld {
	_, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	issuer, err := keybrake.IssuerFrom(private)
	if err != nil {
		t.Fatal(err)
	}
	h := &hostileWorld{private: private, records: &records{}, tokens: map[string]string{}}
	h.world = newWorld(t, func(c *keybrake.Config) { c.Audit, c.Issuer = h.records, issuer })
	recordingEach(t, h.Brake)
	h.tap = startTap(t, h.fake)
	h.http1, h.http2 = h.tap.transport(t, false), h.tap.transport(t, true)
	return h
}

// token is a vault key of that name. A call that is let through changes what a key has left, so it gets a fresh one.
func (h *hostileWorld) token(t *testing.T, name string, fresh bool) string {
	t.Helper()
	if text, ok := h.tokens[name]; ok && !fresh {
		return text
	}
	make, ok := vaultKeys[name]
	if !ok {
		t.Fatalf("there is no key %q", name)
	}
	if make == nil {
		make = narrow
	}
	g := make()
	h.runs++
	g.Run = fmt.Sprintf("%s-%d", hostileRun, h.runs)
	key, err := h.Issue(t.Context(), g)
	if err != nil {
		t.Fatalf("the key %q: %v", name, err)
	}
	text := key.Token()
	switch name {
	case "revoked":
		_, err = h.Revoke(t.Context(), keybrake.ByKey(hostileTenant, key.ID))
	case "paused":
		_, err = h.Pause(t.Context(), keybrake.ByKey(hostileTenant, key.ID))
	case "unknown":
		text = h.signed(t, strings.Replace(h.claims(t, text), key.ID, "k"+strings.Repeat("a", len(key.ID)-1), 1))
	}
	if err != nil {
		t.Fatal(err)
	}
	h.tokens[name] = text
	return text
}

// request is v's call as net/http has it, and a count of what is done to its body.
func (v vector) request(t *testing.T, text string) (*http.Request, *watchedBody) {
	t.Helper()
	fill := strings.NewReplacer("{token}", text, "{lower}", strings.ToLower(text), "{account}", twilioAccount, "{fill}", repeated(v.Fill), "{copies}", repeated(v.Copies)).Replace
	ctx := t.Context()
	if v.Set.Ended {
		var end context.CancelFunc
		ctx, end = context.WithCancel(ctx)
		end()
	}
	var req *http.Request
	var err error
	if v.Raw != "" {
		if req, err = http.ReadRequest(bufio.NewReader(strings.NewReader(fill(v.Raw)))); err != nil {
			return nil, nil
		}
		req.URL.Scheme, req.URL.Host, req.RequestURI = "https", req.Host, ""
		req = req.WithContext(ctx)
	} else {
		req = &http.Request{Method: v.Method, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: http.Header{}}
		req = req.WithContext(ctx)
		if req.URL, err = url.Parse(fill(v.URL)); err != nil {
			t.Fatalf("%s: %v; say it with set", v.Name, err)
		}
		req.Host = req.URL.Host
	}
	for _, h := range v.Header {
		req.Header[h[0]] = append(req.Header[h[0]], fill(h[1]))
	}
	switch user, password, basic := strings.Cut(strings.TrimPrefix(fill(v.Authorization), "Basic "), ":"); {
	case v.Raw != "", v.Authorization == "none":
	case v.Authorization == "":
		req.Header.Set("Authorization", "Bearer "+text)
	case basic && strings.HasPrefix(v.Authorization, "Basic "):
		req.SetBasicAuth(user, password)
	default:
		req.Header.Set("Authorization", fill(v.Authorization))
	}
	var body *watchedBody
	if v.Body != nil {
		sent := []byte(fill(*v.Body))
		if v.Hex != "" {
			if sent, err = hex.DecodeString(v.Hex); err != nil {
				t.Fatal(err)
			}
		}
		body = bodyOf(string(sent))
		req.Body, req.ContentLength = body, int64(len(sent))
		if v.Type == nil {
			kind := formType
			if strings.Contains(v.URL, "resend.com") {
				kind = "application/json"
			}
			v.Type = &kind
		}
		if *v.Type != "" {
			req.Header.Set("Content-Type", fill(*v.Type))
		}
	}
	if req.Body == nil {
		body = nil
	}
	return v.Set.apply(t, req, body), body
}

func repeated(what []any) string {
	if len(what) == 0 {
		return ""
	}
	text, n := what[0].(string), int(what[1].(float64))
	if !strings.Contains(text, "%d") {
		return strings.Repeat(text, n)
	}
	var b strings.Builder
	for i := range n {
		b.WriteString(strings.ReplaceAll(text, "%d", fmt.Sprint(i+1)))
	}
	return b.String()
}

// oddBodies are readers that no server has to expect.
var oddBodies = map[string]func(*watchedBody){
	"panics": func(b *watchedBody) { b.read = func([]byte) (int, error) { panic("a body") } },
	"panics at the end": func(b *watchedBody) {
		b.close = func() { panic("a body that is closed") }
	},
	"stalls": func(b *watchedBody) { b.read = func([]byte) (int, error) { return 0, nil } },
	"breaks": func(b *watchedBody) { b.read = func([]byte) (int, error) { return 0, errors.New("broken") } },
	"breaks at the end": func(b *watchedBody) {
		from := b.read
		b.read = func(p []byte) (int, error) {
			n, err := from(p)
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return n, err
		}
	},
	"never ends": func(b *watchedBody) { b.read = func(p []byte) (int, error) { return len(p), nil } },
	"says more":  func(b *watchedBody) { b.read = func(p []byte) (int, error) { return len(p) + 1, nil } },
	"says less":  func(b *watchedBody) { b.read = func([]byte) (int, error) { return -1, nil } },
	"byte by byte": func(b *watchedBody) {
		from := b.read
		b.read = func(p []byte) (int, error) { return from(p[:min(1, len(p))]) }
	},
}

func (s set) apply(t *testing.T, req *http.Request, body *watchedBody) *http.Request {
	t.Helper()
	for _, e := range []struct {
		to   *string
		from *string
	}{{&req.URL.Path, s.Path}, {&req.URL.RawQuery, s.Query}, {&req.URL.Opaque, s.Opaque}, {&req.Host, s.Host}, {&req.URL.Fragment, s.Fragment}, {&req.Proto, s.Proto}} {
		if e.from != nil {
			*e.to = *e.from
		}
	}
	if s.RawPath != "" {
		req.URL.RawPath = s.RawPath
	}
	if s.NoURL {
		req.URL = nil
	}
	if s.NoHeader {
		req.Header = nil
	}
	if s.Length != nil {
		req.ContentLength = *s.Length
	}
	if s.TransferEncoding != nil {
		req.TransferEncoding = s.TransferEncoding
	}
	if s.Trailer != "" {
		req.Trailer = http.Header{s.Trailer: {"x"}}
	}
	if s.Body != "" {
		odd := oddBodies[s.Body]
		if odd == nil || body == nil {
			t.Fatalf("there is no body that %s", s.Body)
		}
		odd(body)
	}
	if s.GetBody != "" {
		req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(s.GetBody)), nil }
	}
	if s.Form != "" {
		req.Form = map[string][]string{"amount": {s.Form}}
		req.PostForm = req.Form
	}
	if s.Redirected {
		req.Response = &http.Response{StatusCode: 307}
	}
	req.Close, req.RequestURI = s.Close, s.RequestURI
	return req
}

// oddBases are base transports that do what none may do.
func oddBase(t *testing.T, name string, next http.RoundTripper) http.RoundTripper {
	t.Helper()
	return tripFunc(func(req *http.Request) (*http.Response, error) {
		resp, err := next.RoundTrip(req)
		switch {
		case err != nil:
			return resp, err
		case name == "panics":
			_ = resp.Body.Close()
			panic(req.Header.Get("Authorization"))
		case name == "replies and fails":
			return resp, errors.New("failed")
		case name == "has no body":
			_ = resp.Body.Close()
			resp.Body = nil
		case name == "says nothing":
			_ = resp.Body.Close()
			return nil, nil
		default:
			t.Errorf("there is no base that %s", name)
		}
		return resp, nil
	})
}

// Every hostile call meets its verdict, with its reason; what is refused leaves no byte on the wire and none in the books,
// and what is let through arrives as exactly the call that was judged, with the one credential, in either protocol.
func TestHostileCalls(t *testing.T) {
	h := newHostileWorld(t)
	names := map[string]bool{}
	for _, v := range hostileVectors(t) {
		if names[v.Name] {
			t.Errorf("two vectors are called %q", v.Name)
		}
		names[v.Name] = true
		for _, http2 := range []bool{false, true} {
			if http2 && (v.Want == "denied" || v.Want == "unread" || v.Base != "") {
				continue // the protocol is not chosen yet
			}
			h.run(t, v, http2)
		}
	}
	if len(names) < 800 {
		t.Errorf("there are %d vectors", len(names))
	}
}

func hostileVectors(t testing.TB) (all []vector) {
	t.Helper()
	files, err := filepath.Glob("testdata/hostile/*.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		d := json.NewDecoder(bytes.NewReader(text))
		d.DisallowUnknownFields()
		for d.More() {
			var v vector
			if err := d.Decode(&v); err != nil {
				t.Fatalf("%s, after %d vectors: %v", name, len(all), err)
			}
			all = append(all, v)
		}
	}
	return all
}

func (h *hostileWorld) run(t *testing.T, v vector, http2 bool) {
	t.Helper()
	h.fake.Reset()
	h.fake.SeedCharge("ch_1", 50_000, "usd")
	base := h.http1
	if http2 {
		base = h.http2
	}
	text := h.token(t, v.Key, v.Want != "denied" || len(v.Then) > 0)
	for i, step := range append([]vector{v}, v.Then...) {
		step.Name = fmt.Sprintf("%s, step %d", v.Name, i+1)
		if len(v.Then) == 0 {
			step.Name = v.Name
		}
		if http2 {
			step.Name += ", over HTTP/2"
		}
		if i > 0 && step.Key != "" { // another key joins in
			text = h.token(t, step.Key, true)
		}
		h.step(t, step, text, base)
	}
	if h.fake.Faults() > 0 {
		t.Errorf("%s: the vendor's fault did not happen", v.Name)
	}
}

func (h *hostileWorld) step(t *testing.T, v vector, text string, base http.RoundTripper) {
	t.Helper()
	text = v.narrowed(t, text)
	if v.Forge != "" {
		text = h.forged(t, v.Forge, text)
	}
	req, body := v.request(t, text)
	if req == nil || v.Want == "unread" {
		if req != nil || v.Want != "unread" {
			t.Errorf("%s: a server reads %v, want %s", v.Name, req, v.Want)
		}
		return
	}
	if v.Base != "" {
		base = oddBase(t, v.Base, base)
	}
	if v.Fault != nil {
		h.fake.Misbehave(*v.Fault)
	}
	before, known := h.balance(t, text)
	received, executed := len(h.fake.Received()), len(h.fake.Executions())
	h.records.take()

	resp, err := h.Transport(base).RoundTrip(req)
	var d *keybrake.Denial
	status := 0
	if err != nil {
		d, _ = keybrake.DenialFrom(err)
	} else {
		status = resp.StatusCode
		reply, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Errorf("%s: the reply cannot be read: %v", v.Name, err)
		}
		for _, secret := range []string{stripeSecret, twilioSecret, resendSecret, basicOf(twilioAccount, twilioSecret)[len("Basic "):]} {
			if bytes.Contains(reply, []byte(secret)) || strings.Contains(fmt.Sprint(resp.Header), secret) {
				t.Errorf("%s: the reply has the credential: %v %s", v.Name, resp.Header, reply)
			}
		}
		_ = resp.Body.Close()
		resp.Body = io.NopCloser(bytes.NewReader(reply))
		d = denialIn(t, resp)
	}
	if codeOf(d) != v.Reason {
		t.Errorf("%s: %v, %v, want %q", v.Name, d, err, v.Reason)
	}
	if v.Status != 0 && status != v.Status {
		t.Errorf("%s: status %d, want %d", v.Name, status, v.Status)
	}
	if body != nil && body.closes != 1 {
		t.Errorf("%s: the body was closed %d times", v.Name, body.closes)
	}
	after, _ := h.balance(t, text)
	v.wantRecords(t, h.records.take(), text)
	got := h.fake.Received()[received:]
	arrived, dialled, err := h.tap.take()
	if err != nil {
		t.Errorf("%s: %v", v.Name, err)
		return
	}
	done := h.fake.Executions()[executed:]
	v.wantBooks(t, before, after, known)
	v.wantExecutions(t, done)
	if v.Want == "denied" {
		if len(arrived) > 0 || len(dialled) > 0 || len(got) > 0 {
			t.Errorf("%s: it left: %d requests, connections to %v", v.Name, len(arrived), dialled)
		}
		return
	}
	if len(arrived) != len(got) || len(arrived) == 0 {
		t.Errorf("%s: %d requests were written, %d arrived", v.Name, len(arrived), len(got))
		return
	}
	for i := range arrived {
		arrived[i].fromHTTP2(got[i])
		v.wantSecrecy(t, arrived[i], text)
		if (i < len(arrived)-1 || v.Want == "looked") && (arrived[i].method != "GET" || arrived[i].body != "") {
			t.Errorf("%s: more than a read before the call: %s", v.Name, arrived[i].raw)
		}
	}
	if v.Want == "looked" {
		return
	}
	v.wantArrival(t, arrived[len(arrived)-1])
}

// balance is what every budget of a key has counted; known is false for a key that the books do not have.
func (h *hostileWorld) balance(t *testing.T, text string) (counts [][2]int64, known bool) {
	t.Helper()
	states, err := h.Balance(t.Context(), text)
	for _, s := range states {
		counts = append(counts, [2]int64{s.Spent, s.Held})
	}
	return counts, err == nil
}

func (v vector) wantBooks(t *testing.T, before, after [][2]int64, known bool) {
	t.Helper()
	if v.Want == "looked" && known {
		after[1][0]-- // the look is a call
	}
	if v.Want == "denied" || v.Want == "looked" {
		if !slices.Equal(before, after) {
			t.Errorf("%s: the books were at %v and are at %v", v.Name, before, after)
		}
		return
	}
	if !known || len(after) != len(before) {
		t.Fatalf("%s: no books for the key: %v, %v", v.Name, before, after)
	}
	spent, held := after[0][0]-before[0][0], after[0][1]-before[0][1]
	switch {
	case v.Booked != nil && spent != *v.Booked, v.Held != nil && held != *v.Held:
		t.Errorf("%s: %d were booked and %d are held", v.Name, spent, held)
	case v.Want == "held" && (held <= 0 || v.Held == nil), v.Want == "refused" && spent+held != 0, v.Want == "read" && spent+held != 0:
		t.Errorf("%s, %s: %d were booked and %d are held", v.Name, v.Want, spent, held)
	}
	for i := range after {
		if after[i][0] < before[i][0] || after[i][1] < 0 {
			t.Errorf("%s: budget %d fell from %v to %v", v.Name, i, before[i], after[i])
		}
	}
}

func (v vector) wantExecutions(t *testing.T, done []fakevendor.Execution) {
	t.Helper()
	want := 0
	switch {
	case v.Executed != nil:
		want = *v.Executed
	case v.Want == "executed", v.Want == "held":
		want = 1
	}
	var units int64
	for _, e := range done {
		units += e.Units
	}
	if len(done) != want || v.Units != nil && units != *v.Units {
		t.Errorf("%s: the vendor executed %+v", v.Name, done)
	}
}

func (v vector) wantRecords(t *testing.T, list []audit.Record, text string) {
	t.Helper()
	kinds := map[audit.Kind]int{}
	for _, r := range list {
		kinds[r.Kind]++
		if r.Kind == audit.Denied && r.Reason != v.Reason {
			t.Errorf("%s: the record says %s", v.Name, r.Reason)
		}
	}
	if denied := v.Want == "denied"; denied && len(list) != 1 || (denied || v.Want == "looked") != (kinds[audit.Denied] == 1) {
		t.Errorf("%s: recorded were %v", v.Name, kinds)
	}
	lines, err := json.Marshal(list)
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range append(v.secrets(text), v.Unrecorded) {
		if secret != "" && bytes.Contains(lines, []byte(secret)) {
			t.Errorf("%s: the record has %.40q: %s", v.Name, secret, lines)
		}
	}
}

// secrets are what must neither be recorded nor, the real ones aside, go out.
func (v vector) secrets(text string) []string {
	list := []string{text[:min(len(text), 60)], stripeSecret, twilioSecret, resendSecret}
	if _, own, ok := strings.Cut(v.Authorization, " "); ok && !strings.Contains(own, "{") && len(own) > 8 {
		list = append(list, own)
	}
	return list
}

func (a *arrival) fromHTTP2(got fakevendor.Received) {
	if a.header != nil {
		return
	}
	a.method, a.target = got.Method, got.Path
	if got.RawQuery != "" {
		a.target += "?" + got.RawQuery
	}
	a.header = map[string]string{"host": got.Host}
	for name, values := range got.Header {
		a.header[strings.ToLower(name)] = strings.Join(values, "\x00")
	}
	a.raw = fmt.Sprintf("%s %s\n%q\n%s", a.method, a.target, a.header, a.body)
}

// forwarded are the headers that a vendor may get. All others are an agent's way past the brake.
var forwarded = []string{"host", "authorization", "user-agent", "accept", "accept-encoding", "content-type", "content-length", "idempotency-key", "stripe-version", "stripe-account", "stripe-context"}

// wantSecrecy checks that the credential stands where it belongs, once, and that the vendor is told nothing of the brake's.
func (v vector) wantSecrecy(t *testing.T, a arrival, text string) {
	t.Helper()
	credential := map[string]string{"stripe.com": "Bearer " + stripeSecret, "twilio.com": basicOf(twilioAccount, twilioSecret), "resend.com": "Bearer " + resendSecret}[domain(a.server)]
	_, secret, _ := strings.Cut(credential, " ")
	if credential == "" || a.header["authorization"] != credential || strings.Count(a.raw, secret) != 1 {
		t.Errorf("%s: the credential is not in its place alone, to %s:\n%s", v.Name, a.server, a.raw)
	}
	for _, own := range append(v.secrets(text)[:1], token.Prefix, hostileTenant, hostileAgent, hostileRun, "eybrake", "evil.example") {
		if strings.Contains(a.raw, own) {
			t.Errorf("%s: the vendor is told %.40q:\n%s", v.Name, own, a.raw)
		}
	}
	for name := range a.header {
		if !slices.Contains(forwarded, name) {
			t.Errorf("%s: the header %s went out:\n%s", v.Name, name, a.raw)
		}
	}
}

// domain is the end of a host's name.
func domain(host string) string {
	words := strings.Split(host, ".")
	return strings.Join(words[max(0, len(words)-2):], ".")
}

// wantArrival checks that what arrived is the call that was judged: its method, host, path and parameters, in their order.
func (v vector) wantArrival(t *testing.T, a arrival) {
	t.Helper()
	fill := strings.NewReplacer("{account}", twilioAccount, "{fill}", repeated(v.Fill), "{copies}", repeated(v.Copies)).Replace
	if v.Raw == "" {
		method, host, path, query := v.expected(fill)
		gotPath, gotQuery, _ := strings.Cut(a.target, "?")
		if a.method != method || a.server != host || a.header["host"] != host || gotPath != path {
			t.Errorf("%s: %s %s at %s, for %s, want %s %s at %s", v.Name, a.method, gotPath, a.server, a.header["host"], method, path, host)
		}
		body := ""
		if v.Body != nil {
			body = fill(*v.Body)
		}
		if a.header["content-type"] == "application/json" {
			if a.body != body || gotQuery != query {
				t.Errorf("%s: ?%s\n%.200s\nwent out, want ?%s\n%.200s", v.Name, gotQuery, a.body, query, body)
			}
		} else {
			got, want := slices.Concat(pairsOf(gotQuery), pairsOf(a.body)), slices.Concat(pairsOf(query), pairsOf(body))
			if v.Sent.Params != nil {
				want = pairsOf(*v.Sent.Params)
			}
			if !slices.Equal(got, want) || gotQuery != "" && a.body != "" {
				t.Errorf("%s: %.300q went out, want %.300q", v.Name, got, want)
			}
		}
	}
	if v.Sent.Body != nil && a.body != *v.Sent.Body {
		t.Errorf("%s: the body %q went out, want %q", v.Name, a.body, *v.Sent.Body)
	}
	for _, h := range v.Sent.Header {
		if got := a.header[strings.ToLower(h[0])]; got != h[1] {
			t.Errorf("%s: %s is %q, want %q", v.Name, h[0], got, h[1])
		}
	}
	for _, name := range v.Sent.Without {
		if got, ok := a.header[strings.ToLower(name)]; ok {
			t.Errorf("%s: %s went out: %q", v.Name, name, got)
		}
	}
}

// expected is what the vector's URL says, read by hand: a URL parser is what is tested.
func (v vector) expected(fill func(string) string) (method, host, path, query string) {
	method = v.Method
	if method == "" {
		method = "GET"
	}
	address, _, _ := strings.Cut(fill(v.URL), "#")
	address, query, _ = strings.Cut(strings.TrimPrefix(address, "https://"), "?")
	host, path, _ = strings.Cut(address, "/")
	path = "/" + path
	for to, from := range map[*string]*string{&host: v.Sent.Host, &path: v.Sent.Path, &query: v.Sent.Query} {
		if from != nil {
			*to = fill(*from)
		}
	}
	return method, host, path, query
}

// pairsOf reads a form by hand: name, value, name, value.
func pairsOf(form string) (list []string) {
	if form == "" {
		return nil
	}
	for _, pair := range strings.Split(form, "&") {
		name, value, _ := strings.Cut(pair, "=")
		list = append(list, unescaped(name), unescaped(value))
	}
	return list
}

func unescaped(s string) string {
	var b []byte
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '+':
			b = append(b, ' ')
		case s[i] == '%' && i+2 < len(s):
			c, err := hex.DecodeString(s[i+1 : i+3])
			if err != nil {
				return "a bad escape in " + s
			}
			b = append(b, c...)
			i += 2
		default:
			b = append(b, s[i])
		}
	}
	return string(b)
}
