// Package flight is the only place from which a request leaves. It holds the base transport, and the only way
// to use it is a [Permit], which only [Gate.Reserve] makes: code that would forward without a reserve does not
// compile, and a permit that is nil or used up does not fly.
package flight

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/keybrake/keybrake-go/ledger"
)

// A Gate holds the ledger and the base transport.
type Gate struct {
	ledger   ledger.Ledger
	base     http.RoundTripper
	proves   bool // base reports by httptrace when it gets a connection
	maxReply int64
}

// New makes a gate over base; nil means [Hardened]. Replies are read up to maxReply bytes.
func New(l ledger.Ledger, base http.RoundTripper, maxReply int64) *Gate {
	if base == nil {
		base = Hardened()
	}
	_, proves := base.(*http.Transport)
	return &Gate{ledger: l, base: base, proves: proves, maxReply: maxReply}
}

// Hardened is the default base transport. It takes no proxy from the environment, which could read the real
// credential off the wire, and no TLS below 1.2.
func Hardened() *http.Transport {
	return &http.Transport{
		DialContext:            (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:    10 * time.Second,
		ResponseHeaderTimeout:  80 * time.Second,
		MaxIdleConnsPerHost:    16,
		MaxResponseHeaderBytes: 256 << 10,
		IdleConnTimeout:        90 * time.Second,
		ForceAttemptHTTP2:      true,
	}
}

// CloseIdleConnections closes the base transport's idle connections.
func (g *Gate) CloseIdleConnections() {
	if c, ok := g.base.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

// Permit is one admitted call. Its type has no name outside this package, so no other code can make one.
type Permit = *permit

type permit struct {
	gate  *Gate
	hold  ledger.Hold
	useBy time.Time
	used  atomic.Bool
}

// freshness is how old a reserve may be when its call leaves. A process that was stopped in between comes back
// to a world in which its key may be revoked: it has to ask again.
const freshness = 30 * time.Second

// Reserve asks the ledger to admit a call.
func (g *Gate) Reserve(ctx context.Context, r ledger.Request) (Permit, error) {
	asked := time.Now()
	hold, err := g.ledger.Reserve(ctx, r)
	if err != nil {
		return nil, err
	}
	return &permit{gate: g, hold: hold, useBy: asked.Add(freshness)}, nil
}

// Raise adds lines to the permit's hold. On error the hold is as it was.
func (p *permit) Raise(ctx context.Context, r ledger.Request) error {
	asked := time.Now()
	hold, err := p.gate.ledger.Raise(ctx, p.hold, r)
	if err == nil {
		p.hold, p.useBy = hold, asked.Add(freshness)
	}
	return err
}

// Hold is what the permit's call holds in the books.
func (p *permit) Hold() ledger.Hold { return p.hold }

// Settle books the outcome of the permit's call.
func (p *permit) Settle(ctx context.Context, s ledger.Settlement) (ledger.Receipt, error) {
	return p.gate.ledger.Settle(ctx, p.hold, s)
}

// Release gives the permit's hold back and uses the permit up.
func (p *permit) Release(ctx context.Context, unsent bool) error {
	p.used.Store(true)
	return p.gate.ledger.Release(ctx, p.hold, unsent)
}

// An Outgoing is a request to build: nothing in it comes from the caller's request unread.
type Outgoing struct {
	Method, Host, Path, Query string
	Header                    http.Header
	Body                      []byte

	// Preview says that the request, though no GET, only computes.
	Preview bool

	// Credential returns the headers that carry the real credential, in canonical form. They take the place of those in
	// Header. It is called once, when the request is built.
	Credential func() http.Header

	// Values is the context whose values the base transport sees: what the program's owner adds for it, such as a trace's
	// span. nil: none. The caller's own are never shown.
	Values context.Context
}

// A Landing is what came back.
type Landing struct {
	Status int
	Proto  string
	Header http.Header
	Body   []byte        // up to the limit
	Rest   io.ReadCloser // what is left of a body above the limit; nil when Body is all
	Cut    error         // why the body could not be read to its end

	Err    error // no reply at all
	Unsent bool  // with Err: certain that no byte left
}

// The errors of a permit that does not fly.
var (
	ErrNoPermit = errors.New("flight: no permit: the call was not reserved")
	ErrUsed     = errors.New("flight: the permit was used")
	ErrStale    = errors.New("flight: too long between reserve and send; ask again")
)

// Forward sends the call, once. A nil or used permit sends nothing.
func (p *permit) Forward(ctx context.Context, out Outgoing) Landing {
	if p == nil || p.gate == nil {
		return Landing{Err: ErrNoPermit, Unsent: true}
	}
	if p.used.Swap(true) {
		return Landing{Err: ErrUsed, Unsent: true}
	}
	return p.send(ctx, out)
}

// Probe sends a read that the call needs. It does not use the permit up.
func (p *permit) Probe(ctx context.Context, out Outgoing) Landing {
	switch {
	case p == nil || p.gate == nil:
		return Landing{Err: ErrNoPermit, Unsent: true}
	case p.used.Load():
		return Landing{Err: ErrUsed, Unsent: true}
	case !out.looks():
		return Landing{Err: fmt.Errorf("flight: a probe is a GET or a preview, not %s", out.Method), Unsent: true}
	}
	return p.send(ctx, out)
}

// Look sends a read that belongs to no call of an agent: the reconciler's. It needs no permit, because it holds and
// spends nothing.
func (g *Gate) Look(ctx context.Context, out Outgoing) Landing {
	if !out.looks() || out.Preview {
		return Landing{Err: fmt.Errorf("flight: a look is a GET, not %s", out.Method), Unsent: true}
	}
	return (&permit{gate: g, useBy: time.Now().Add(freshness)}).send(ctx, out)
}

// looks reports whether out changes nothing.
func (out Outgoing) looks() bool {
	return out.Method == http.MethodGet && len(out.Body) == 0 || out.Method == http.MethodPost && out.Preview
}

// stale also compares wall clocks: the monotonic one stands still while a machine sleeps.
func (p *permit) stale(now time.Time) bool {
	return now.After(p.useBy) || now.Round(0).After(p.useBy.Round(0))
}

func (p *permit) send(ctx context.Context, out Outgoing) Landing {
	if p.stale(time.Now()) {
		return Landing{Err: ErrStale, Unsent: true}
	}
	if err := ctx.Err(); err != nil {
		return Landing{Err: err, Unsent: true}
	}
	var asked, touched atomic.Bool // a connection was asked for, was obtained: from then on nothing proves that no byte left
	trace := &httptrace.ClientTrace{
		GetConn: func(string) { asked.Store(true) },
		GotConn: func(httptrace.GotConnInfo) { touched.Store(true) },
	}
	req := out.request(httptrace.WithClientTrace(quiet{ctx, out.Values}, trace))
	resp, err := roundTrip(p.gate.base, req)
	if err != nil {
		// Fails closed: a base that is not net/http's own does not tell when it sends, nor does a protocol registered
		// with one that is, which never asks for a connection. Their errors prove nothing.
		return Landing{Err: err, Unsent: p.gate.proves && asked.Load() && !touched.Load()}
	}
	return p.gate.land(resp)
}

// request builds a fresh request. It has no GetBody, so net/http cannot send it a second time on its own
// unless it has no body and carries an idempotency key, which the vendor honours.
func (out Outgoing) request(ctx context.Context) *http.Request {
	req := &http.Request{
		Method: out.Method,
		URL:    &url.URL{Scheme: "https", Host: out.Host, Path: out.Path, RawQuery: out.Query},
		Host:   out.Host,
		Header: out.Header.Clone(),
		Proto:  "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	}
	if req.Header == nil {
		req.Header = http.Header{}
	}
	if len(out.Body) > 0 {
		req.Body, req.ContentLength = io.NopCloser(bytes.NewReader(out.Body)), int64(len(out.Body))
	}
	for name, values := range out.Credential() {
		req.Header[name] = values
	}
	return req.WithContext(ctx)
}

// roundTrip contains whatever a base transport may do: panic, return both or neither of response and error, or
// a nil body.
func roundTrip(base http.RoundTripper, req *http.Request) (resp *http.Response, err error) {
	defer func() {
		if r := recover(); r != nil {
			// The panic's value may hold the request, hence the credential: it is not passed on.
			resp, err = nil, errors.New("flight: the base transport panicked")
		}
	}()
	resp, err = base.RoundTrip(req)
	switch {
	case resp == nil && err == nil:
		return nil, errors.New("flight: the base transport returned neither response nor error")
	case resp != nil && err != nil && resp.Body != nil:
		resp.Body.Close()
	case resp != nil && resp.Body == nil:
		resp.Body = http.NoBody
	}
	return resp, err
}

// land reads the reply up to the limit.
func (g *Gate) land(resp *http.Response) Landing {
	l := Landing{Status: resp.StatusCode, Proto: resp.Proto, Header: resp.Header}
	if l.Header == nil {
		l.Header = http.Header{}
	}
	body := &contained{body: resp.Body}
	l.Body, l.Cut = io.ReadAll(io.LimitReader(body, g.maxReply+1))
	if int64(len(l.Body)) > g.maxReply && l.Cut == nil {
		l.Rest = body
		return l
	}
	if err := body.Close(); l.Cut == nil && errors.Is(err, errBody) {
		l.Cut = err
	}
	return l
}

// contained is a reply's body whose base transport may do what it likes: a panic, or a count that cannot be, is
// errBody. The panic's value may hold the request, as in roundTrip.
type contained struct {
	body  io.ReadCloser
	empty int // reads in a row that gave nothing
}

var errBody = errors.New("flight: the reply's body panicked or lied about its length")

func (c *contained) Read(p []byte) (n int, err error) {
	defer contain(&err)
	n, err = c.body.Read(p)
	switch {
	case n < 0 || n > len(p):
		return 0, errBody
	case n > 0 || err != nil || len(p) == 0:
		c.empty = 0
	default:
		if c.empty++; c.empty > 100 {
			return 0, io.ErrNoProgress
		}
	}
	return n, err
}

func (c *contained) Close() (err error) {
	defer contain(&err)
	return c.body.Close()
}

func contain(err *error) {
	if recover() != nil {
		*err = errBody
	}
}

// quiet passes a context's end on and hides its values: a caller's httptrace would otherwise be shown the
// headers of the outgoing request, the real credential among them. Those of values take their place.
type quiet struct{ ctx, values context.Context }

func (q quiet) Deadline() (time.Time, bool) { return q.ctx.Deadline() }
func (q quiet) Done() <-chan struct{}       { return q.ctx.Done() }
func (q quiet) Err() error                  { return q.ctx.Err() }

func (q quiet) Value(key any) any {
	if q.values == nil {
		return nil
	}
	return q.values.Value(key)
}
