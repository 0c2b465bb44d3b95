package flight_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/internal/flight"
	"github.com/keybrake/keybrake-go/ledger"
	"github.com/keybrake/keybrake-go/ledger/memory"
)

// secret is the real credential: it may be in the one header of the outgoing request and nowhere else.
const secret = "sk_live_the_real_one"

// base is a base transport of the test's own.
type base func(*http.Request) (*http.Response, error)

func (b base) RoundTrip(req *http.Request) (*http.Response, error) { return b(req) }

// books is a real ledger with one open key.
func books(t *testing.T) *memory.Ledger {
	t.Helper()
	l := memory.New()
	if err := l.Open(t.Context(), ledger.Key{Tenant: "acme", ID: "key", Expires: time.Now().Add(time.Hour)}); err != nil {
		t.Fatal(err)
	}
	return l
}

func gate(t *testing.T, b http.RoundTripper) *flight.Gate {
	t.Helper()
	return flight.New(books(t), b, 1<<20)
}

var calls atomic.Int64

// request asks for ten of a budget of a hundred.
func request() ledger.Request {
	id := fmt.Sprintf("call_%d", calls.Add(1))
	return ledger.Request{
		Tenant: "acme", ID: id, Nonce: id, Key: "key", Expires: time.Now().Add(time.Hour), Operation: "acme.things.create",
		Lines:    []cost.Line{{Meter: cost.Units, Amount: 10}},
		Budgets:  []ledger.Budget{{Name: "own", Meter: cost.Units, Limit: 100, Window: cost.Lifetime}},
		Deadline: time.Minute,
	}
}

func reserve(t *testing.T, g *flight.Gate) flight.Permit {
	t.Helper()
	p, err := g.Reserve(t.Context(), request())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// outgoing is a call to host that carries the credential.
func outgoing(method, host string) flight.Outgoing {
	return flight.Outgoing{
		Method: method, Host: host, Path: "/v1/things", Header: http.Header{"User-Agent": {"test"}},
		Credential: func() http.Header { return http.Header{"Authorization": {"Bearer " + secret}} },
	}
}

// fly reserves and sends one call.
func fly(t *testing.T, b http.RoundTripper, out flight.Outgoing) flight.Landing {
	t.Helper()
	return reserve(t, gate(t, b)).Forward(t.Context(), out)
}

// A vendor is a real TLS server on loopback, and a transport that trusts it.
type vendor struct {
	host string
	base *http.Transport
}

func serve(t *testing.T, http2 bool, handle http.HandlerFunc) vendor {
	t.Helper()
	s := httptest.NewUnstartedServer(handle)
	s.Config.ErrorLog = quietLog
	s.EnableHTTP2 = http2
	s.StartTLS()
	t.Cleanup(s.Close)
	return vendor{host: s.Listener.Addr().String(), base: s.Client().Transport.(*http.Transport)}
}

// unreachable is a loopback address on which nobody listens.
func unreachable(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// slow is a ledger that answers late.
type slow struct {
	ledger.Ledger
	by time.Duration
}

func (s slow) Reserve(ctx context.Context, r ledger.Request) (ledger.Hold, error) {
	h, err := s.Ledger.Reserve(ctx, r)
	time.Sleep(s.by) // in a synctest bubble only
	return h, err
}
