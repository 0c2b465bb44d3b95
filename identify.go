package keybrake

import (
	"context"
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/keybrake/keybrake-go/audit"
	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/internal/flight"
	"github.com/keybrake/keybrake-go/internal/token"
	"github.com/keybrake/keybrake-go/ledger"
	"github.com/keybrake/keybrake-go/policy"
	"github.com/keybrake/keybrake-go/reason"
	"github.com/keybrake/keybrake-go/vendors"
)

// An attempt is one RoundTrip on its way. Each step fills in its part, in this order, and reads only what the
// steps before it have filled in.
type attempt struct {
	*Brake
	gate  *flight.Gate
	req   *http.Request
	ctx   context.Context
	id    string // of the reservation, and of the call in records
	start time.Time

	// identify
	claims *claims
	vendor *vendors.Vendor // nil for a host of nobody's
	call   *vendors.Call   // never nil; holds what was read so far
	body   []byte

	// decide
	asked     policy.Call
	decision  policy.Decision
	objector  string        // the narrowed key whose rules have refused the call
	rules     []audit.Rule  // that let it through
	overruled []audit.Why   // what would have refused the call, were the policy not only observed
	bound     vendors.Bound // with the ceiling, where that is what is reserved
	lines     []cost.Line   // the bound in the currency of the budgets
	rates     []cost.Rate   // by which it was converted

	// reserve
	secret    vendors.Placement
	permit    flight.Permit
	revoked   context.Context // ends when a revoke cuts the call off; nil where the policy does not ask for that
	probed    bool            // a byte left for the probe
	kept      trace           // with the reservation
	looked    string          // the vendor's id of what the probe reads
	ledgerFor time.Duration

	// forward
	landing   flight.Landing
	vendorFor time.Duration

	// settle
	reply   *vendors.Reply // the vendor's answer, if it came whole
	outcome vendors.Outcome
	doubt   string // why the outcome is in doubt
	cost    vendors.Settlement
	billed  []cost.Line // what cost says, in the vendor's own currency
	states  []ledger.State
	flags   []string
}

func (b *Brake) newAttempt(gate *flight.Gate, req *http.Request) *attempt {
	call := &vendors.Call{Method: req.Method, Header: http.Header{}}
	if req.URL != nil {
		call.Host, call.Path = req.URL.Host, req.URL.Path
	}
	a := &attempt{Brake: b, gate: gate, req: req, ctx: req.Context(), id: newID("r"), start: time.Now(), call: call}
	for name, values := range req.Header {
		// Refusals are shaped by what the SDK sent, before anything of it was checked.
		a.call.Header[http.CanonicalHeaderKey(name)] = values
	}
	a.vendor = b.table.Vendor(call.Host)
	for _, f := range b.follow {
		a.ctx = audit.Begin(a.ctx, f)
	}
	return a
}

// identify takes the vault key out of the request and verifies it, then reads the request and names its
// operation. It does no I/O but to read the caller's body.
func (a *attempt) identify() error {
	body := &body{from: a.req.Body}
	defer body.close()
	text, other, err := a.bearer(a.req.Header, a.vendor)
	if err != nil {
		return err
	}
	if a.claims, err = a.keys.Load().verify(text); err != nil {
		return err
	}
	if err := a.claims.within(time.Now()); err != nil {
		return err
	}
	if err := a.claims.sentBy(a.ctx); err != nil {
		return err
	}
	if err := a.worthReading(); err != nil {
		return err
	}
	if a.req.Response != nil {
		return vendors.Refuse(reason.RequestInvalid, "the request follows a redirect; a vault key goes where the SDK was pointed and nowhere else")
	}
	if a.body, err = a.readBody(body); err != nil {
		return err
	}
	vendor, call, err := a.table.Identify(a.req, a.body)
	if vendor != nil {
		a.vendor = vendor
	}
	if call != nil {
		a.call = call
	}
	a.call.BasicUser = other
	if err != nil {
		return err
	}
	return a.keepsKeys()
}

// aKey matches a vault key, wherever it stands.
var aKey = regexp.MustCompile(token.Prefix + `(live|test)[A-Z2-7]{100}`)

// keepsKeys refuses a call that holds a vault key in what goes to the vendor: in its path, a header that is copied, or a
// parameter, which all that a body says is.
func (a *attempt) keepsKeys() error {
	where := ""
	switch {
	case aKey.MatchString(a.call.Path):
		where = "path"
	case slices.ContainsFunc(a.call.Params, func(p vendors.Param) bool { return aKey.MatchString(p.Name) || aKey.MatchString(p.Value) }):
		where = "parameters"
	}
	for name, values := range a.call.Header {
		if slices.ContainsFunc(values, aKey.MatchString) {
			where = "header " + name
		}
	}
	if where == "" {
		return nil
	}
	return vendors.Refuse(reason.KeyAmbiguous, "the %s of the call holds a vault key, which would go to the vendor; send it in %s alone", where, placesOf(a.vendor))
}

// worthReading refuses from the request line alone what no rule names, so that a large body is read and taken apart
// only for a call that may be made.
func (a *attempt) worthReading() error {
	vendor, call, err := a.table.Name(a.req)
	if vendor != nil {
		a.vendor = vendor
	}
	if err != nil {
		if call != nil {
			a.call.Operation = call.Operation
		}
		return err
	}
	a.call.Operation = call.Operation
	if a.claims.Credentials[vendor.Name] == "" {
		return vendors.Refuse(reason.KeyVendor, "the vault key has no credential for %s; name one in Grant.Credentials", vendor.Name)
	}
	asked := asking(call.Operation)
	asked.Priced = true // what it costs is not known yet, and is no objection here
	policies := a.claims.policies()
	if a.claims.policy.InsecureObserve {
		policies = policies[1:] // what no rule of it names is let through too
	}
	for _, p := range policies {
		if d := policy.Decide(p.Policy, asked); !d.Allowed && (len(d.Reasons) == 0 || d.Reasons[0].Rule < 0) {
			a.decision = d
			return refusalOf(d)
		}
	}
	return nil
}

// bearer returns the vault key of the request, and the other part of Basic authentication. The key stands in the
// Authorization header or in one of those in which v takes its credential, and in no other of them.
func (b *Brake) bearer(h http.Header, v *vendors.Vendor) (text, other string, err error) {
	authorization, placed, err := credentialsIn(h, v)
	if err != nil {
		return "", "", err
	}
	keys := slices.DeleteFunc(slices.Clone(placed), func(s string) bool { return !strings.Contains(s, token.Prefix) })
	switch {
	case len(keys) > 1, len(keys) == 1 && authorization != nil:
		return "", "", vendors.Refuse(reason.KeyAmbiguous, "more than one header carries a credential; send the vault key in one of %s", placesOf(v))
	case len(keys) == 1:
		return bare(keys[0]), "", nil
	case len(placed) > 0 && (authorization == nil || b.isCredential(placed...)):
		return placed[0], "", b.notReal(placed...)
	case authorization == nil:
		return "", "", vendors.Refuse(reason.KeyMissing, "no credential in %s; give the SDK the token of a vault key", placesOf(v))
	}
	scheme, rest, _ := strings.Cut(*authorization, " ")
	switch strings.ToLower(scheme) {
	case "bearer":
		return rest, "", b.notReal(rest)
	case "basic":
		return b.basic(rest)
	}
	return "", "", vendors.Refuse(reason.KeyMalformed, "the Authorization header is neither Bearer nor Basic")
}

// credentialsIn are the values of Authorization, nil if there is none, and of v's own headers of credentials, in v's
// order. It works on the map's own keys, because one that is not in canonical form is invisible to Get.
func credentialsIn(h http.Header, v *vendors.Vendor) (authorization *string, placed []string, err error) {
	found := map[string][]string{}
	for name, values := range h {
		name = http.CanonicalHeaderKey(strings.TrimSpace(name))
		found[name] = append(found[name], values...)
	}
	for _, name := range credentialHeaders(v) {
		switch values := found[name]; {
		case len(values) == 0:
		case len(values) > 1:
			return nil, nil, vendors.Refuse(reason.KeyAmbiguous, "more than one %s header; send exactly one", name)
		case name == "Authorization":
			authorization = &values[0]
		default:
			placed = append(placed, values[0])
		}
	}
	return authorization, placed, nil
}

// credentialHeaders are the headers in which a vault key may stand. v may be nil.
func credentialHeaders(v *vendors.Vendor) []string {
	names := []string{"Authorization"}
	if v != nil {
		names = append(names, slices.DeleteFunc(slices.Clone(v.CredentialHeaders), func(n string) bool { return n == "Authorization" })...)
	}
	return names
}

func placesOf(v *vendors.Vendor) string {
	return "the header " + strings.Join(credentialHeaders(v), " or ")
}

// bare is a value without the word that some vendors put before it.
func bare(value string) string {
	if scheme, rest, ok := strings.Cut(value, " "); ok && !strings.Contains(scheme, token.Prefix) {
		return rest
	}
	return value
}

// basic finds the vault key among user and password: twilio-go sends it as the password.
func (b *Brake) basic(encoded string) (text, other string, err error) {
	decoded, err := base64.StdEncoding.DecodeString(encoded)
	user, password, ok := strings.Cut(string(decoded), ":")
	if err != nil || !ok {
		return "", "", vendors.Refuse(reason.KeyMalformed, "the Basic credential cannot be read")
	}
	isUser, isPassword := strings.HasPrefix(user, token.Prefix), strings.HasPrefix(password, token.Prefix)
	switch {
	case isUser && isPassword:
		return "", "", vendors.Refuse(reason.KeyAmbiguous, "both user and password are vault keys; send one")
	case isUser:
		return user, password, nil
	case isPassword:
		return password, user, nil
	}
	return password, user, b.notReal(user, password)
}

// notReal tells an agent that holds the vendor's own credential from one that holds a damaged key: the first is
// an incident. Nothing is forwarded either way.
func (b *Brake) notReal(parts ...string) error {
	if strings.HasPrefix(parts[0], token.Prefix) {
		return nil
	}
	if b.isCredential(parts...) || b.isCredential(parts[0]) {
		return vendors.Refuse(reason.KeyReal, "the request carries a vendor's own credential; agents hold vault keys alone, rotate it")
	}
	return vendors.Refuse(reason.KeyMalformed, "the credential is not a vault key")
}

// isCredential reports whether a registered vendor takes parts for a credential of its own.
func (b *Brake) isCredential(parts ...string) bool {
	for _, v := range b.vendors {
		if _, err := v.Place(parts); err == nil {
			return true
		}
	}
	return false
}

// skew is how far an issuer's clock may be ahead of ours. An expiry has no such tolerance.
const skew = 30 * time.Second

func (c *claims) within(now time.Time) error {
	switch {
	case now.Add(skew).Before(time.Unix(c.NotBefore, 0)):
		return vendors.Refuse(reason.KeyNotYet, "the vault key is valid from %s", time.Unix(c.NotBefore, 0).UTC().Format(time.RFC3339))
	case !now.Before(c.expires()):
		return vendors.Refuse(reason.KeyExpired, "the vault key expired at %s", c.expires().Format(time.RFC3339))
	}
	return nil
}

// A body is the caller's request body, read at most once and closed exactly once, whatever it does.
type body struct {
	from io.ReadCloser
	once sync.Once
	left bool // to who still reads it, and will close it
}

func (b *body) close() {
	if b.from != nil && !b.left {
		b.shut()
	}
}

func (b *body) shut() {
	b.once.Do(func() {
		defer func() { _ = recover() }() // a body that panics at Close has been closed
		_ = b.from.Close()
	})
}

// grace is how long a body that was closed may take to end its read, before it is left to itself.
const grace = time.Second

// read returns the whole body. It has until the end of ctx: then it is closed, which is how a read that hangs ends. A
// body whose read does not end even then, as one whose Close waits for its Read, is left behind and closed when it
// ends: it holds up its own goroutine and not its caller. A body that is not as long as announced is refused: twilio-go's
// second send of a request announces a body that is no longer there.
func (b *body) read(ctx context.Context, announced, limit int64) ([]byte, error) {
	if b.from == nil {
		return nil, nil
	}
	if err := ctx.Err(); err != nil { // or it would be read while the end of ctx closes it
		return nil, err
	}
	var text []byte
	err := errors.New("the body's reader ended its goroutine") // else an empty body
	done := make(chan struct{})
	go func() {
		defer close(done)
		text, err = readAll(ctx, b.from, limit)
	}()
	select {
	case <-done:
	case <-ctx.Done():
		go b.shut()
		select {
		case <-done:
		case <-time.After(grace):
			b.left = true
			return nil, ctx.Err()
		}
	}
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case err != nil:
		return nil, vendors.Refuse(reason.BodyInvalid, "the body cannot be read to its end")
	case int64(len(text)) > limit:
		return nil, vendors.Refuse(reason.BodyInvalid, "the body is longer than %d bytes (Config.MaxBody)", limit)
	case announced > 0 && int64(len(text)) != announced:
		return nil, vendors.Refuse(reason.BodyInvalid, "the body has %d bytes and its length was announced as %d", len(text), announced)
	}
	return text, nil
}

// readBody reads the body within the time that a call may take: nobody can hold up a call, and the memory that it takes,
// by sending slowly.
func (a *attempt) readBody(b *body) ([]byte, error) {
	ctx, cancel := context.WithTimeout(a.ctx, a.cfg.CallTimeout)
	defer cancel()
	text, err := b.read(ctx, a.req.ContentLength, a.cfg.MaxBody)
	switch {
	case a.ctx.Err() != nil && b.from != nil:
		return nil, &Denial{Reason: reason.Canceled, cause: a.ctx.Err()}
	case err != nil && errors.Is(err, ctx.Err()):
		return nil, vendors.Refuse(reason.BodyInvalid, "the body did not come to its end within %s (Config.CallTimeout)", a.cfg.CallTimeout)
	}
	return text, err
}

// readAll reads up to limit+1 bytes, until ctx ends. A reader that panics or makes no progress is an error, not our end.
func readAll(ctx context.Context, r io.Reader, limit int64) (text []byte, err error) {
	defer func() {
		if recover() != nil {
			err = errors.New("the body's reader panicked")
		}
	}()
	return io.ReadAll(io.LimitReader(&progress{r: r, ctx: ctx}, limit+1))
}

type progress struct {
	r     io.Reader
	ctx   context.Context
	empty int
}

func (p *progress) Read(to []byte) (int, error) {
	if err := p.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := p.r.Read(to)
	if n > 0 || err != nil {
		p.empty = 0
		return n, err
	}
	if p.empty++; p.empty > 100 {
		return 0, io.ErrNoProgress
	}
	return 0, nil
}

// countsCall is the line that every admitted call is charged.
var countsCall = cost.Line{Meter: cost.Calls, Amount: 1}
