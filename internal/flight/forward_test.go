package flight_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/textproto"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keybrake/keybrake-go/internal/flight"
)

var quietLog = log.New(io.Discard, "", 0) // broken connections are what these tests are about

// The request is built of the parts alone, and its credential is in one header.
func TestTheRequestIsFresh(t *testing.T) {
	var got *http.Request
	var body []byte
	v := serve(t, false, func(_ http.ResponseWriter, r *http.Request) {
		got = r
		body, _ = io.ReadAll(r.Body)
	})
	asked := 0
	out := outgoing("POST", v.host)
	out.Query, out.Body = "a=b%20c", []byte("amount=5")
	out.Header.Set("Authorization", "Bearer kbrake1_of_the_agent")
	header := out.Header.Clone()
	out.Credential = func() http.Header { asked++; return http.Header{"Authorization": {"Bearer " + secret}} }
	if l := fly(t, v.base, out); l.Err != nil || l.Status != 200 {
		t.Fatalf("%+v", l)
	}
	if got.Method != "POST" || got.Host != v.host || got.RequestURI != "/v1/things?a=b%20c" || string(body) != "amount=5" {
		t.Errorf("%s %s %s with %q", got.Method, got.Host, got.RequestURI, body)
	}
	if got.ContentLength != 8 || got.TransferEncoding != nil {
		t.Errorf("the body is framed by length %d and %v", got.ContentLength, got.TransferEncoding)
	}
	want := http.Header{"Authorization": {"Bearer " + secret}, "User-Agent": {"test"}, "Content-Length": {"8"}, "Accept-Encoding": {"gzip"}}
	if !maps.EqualFunc(got.Header, want, slices.Equal) {
		t.Errorf("headers %v, want %v", got.Header, want)
	}
	if !maps.EqualFunc(out.Header, header, slices.Equal) || asked != 1 {
		t.Errorf("the caller's headers are %v now, and the credential was asked for %d times", out.Header, asked)
	}
	if strings.Contains(got.RequestURI, secret) || strings.Contains(string(body), secret) {
		t.Error("the credential is not in its header alone")
	}
}

func TestACallWithoutHeadersOrBody(t *testing.T) {
	var sent *http.Request
	out := outgoing("GET", "vendor")
	out.Header = nil
	l := fly(t, base(func(r *http.Request) (*http.Response, error) {
		sent = r
		return &http.Response{StatusCode: 204}, nil
	}), out)
	if l.Err != nil || sent.Body != nil || sent.ContentLength != 0 || sent.URL.String() != "https://vendor/v1/things" {
		t.Errorf("%v: %s with a body of %d", l.Err, sent.URL, sent.ContentLength)
	}
	if !maps.EqualFunc(sent.Header, http.Header{"Authorization": {"Bearer " + secret}}, slices.Equal) {
		t.Errorf("headers %v", sent.Header)
	}
}

// net/http sends a request again on its own when it can get the body once more. An idempotency key is reason
// enough for it, and the vendor need not have honoured it.
func TestABodyIsSentOnce(t *testing.T) {
	var requests atomic.Int64
	v := serve(t, false, func(w http.ResponseWriter, r *http.Request) {
		if requests.Add(1) == 1 {
			return // so that the second finds a connection that was used
		}
		_, _ = io.ReadAll(r.Body)
		drop(w)
	})
	g := gate(t, v.base)
	warm, call := outgoing("GET", v.host), outgoing("POST", v.host)
	if l := reserve(t, g).Forward(t.Context(), warm); l.Err != nil {
		t.Fatal(l.Err)
	}
	call.Body = []byte("amount=5")
	call.Header.Set("Idempotency-Key", "order-42")
	l := reserve(t, g).Forward(t.Context(), call)
	if l.Err == nil || l.Unsent || requests.Load() != 2 {
		t.Errorf("%v, unsent %v; the vendor got %d requests, want one and the call", l.Err, l.Unsent, requests.Load())
	}
	got := make(chan *http.Request, 1)
	fly(t, base(func(r *http.Request) (*http.Response, error) { got <- r; return nil, io.EOF }), call)
	if r := <-got; r.GetBody != nil {
		t.Error("the body can be had a second time")
	}
}

// drop breaks the connection without a reply.
func drop(w http.ResponseWriter) { panic(http.ErrAbortHandler) }

func TestARedirectIsReturned(t *testing.T) {
	for _, status := range []int{301, 302, 303, 307, 308} {
		var requests atomic.Int64
		v := serve(t, false, func(w http.ResponseWriter, r *http.Request) {
			requests.Add(1)
			http.Redirect(w, r, "/v1/payouts", status)
		})
		l := fly(t, v.base, outgoing("POST", v.host))
		if l.Err != nil || l.Status != status || l.Header.Get("Location") != "/v1/payouts" || requests.Load() != 1 {
			t.Errorf("%d: %v, status %d, %d requests", status, l.Err, l.Status, requests.Load())
		}
	}
}

// Money is given back on Unsent. It is claimed only where it is certain: of net/http's own transport, before it has
// a connection.
func TestUnsentIsProven(t *testing.T) {
	dropping := func(w http.ResponseWriter, r *http.Request) { _, _ = io.ReadAll(r.Body); drop(w) }
	one, two := serve(t, false, dropping), serve(t, true, dropping)
	nobody := unreachable(t)
	silent := accepting(t, func(c net.Conn) { _ = c.Close() })
	registered := &http.Transport{} // sends https by a way of its own, and tells nobody when
	registered.RegisterProtocol("https", base(func(*http.Request) (*http.Response, error) { return nil, io.ErrUnexpectedEOF }))
	for name, tt := range map[string]struct {
		base http.RoundTripper
		host string
		want bool
	}{
		"a registered protocol breaks":                 {registered, "vendor", false},
		"nobody listens":                               {one.base, nobody, true},
		"the certificate is not trusted":               {&http.Transport{}, one.host, true},
		"the connection breaks in the handshake":       {one.base, silent, true},
		"no way to the vendor is found":                {&http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) { return nil, io.EOF }}, "vendor", true},
		"the connection breaks after the request":      {one.base, one.host, false},
		"the stream breaks after the request":          {two.base, two.host, false},
		"nobody listens, says a base of one's own":     {base(one.base.RoundTrip), nobody, false},
		"nobody listens, says a transport in a struct": {struct{ *http.Transport }{one.base}, nobody, false},
		"a base says that nothing was sent":            {base(func(*http.Request) (*http.Response, error) { return nil, &net.OpError{Op: "dial", Err: io.EOF} }), nobody, false},
	} {
		t.Run(name, func(t *testing.T) {
			out := outgoing("POST", tt.host)
			out.Body = []byte("amount=5")
			l := fly(t, tt.base, out)
			if l.Err == nil || l.Unsent != tt.want {
				t.Errorf("%v, unsent %v, want %v", l.Err, l.Unsent, tt.want)
			}
			if strings.Contains(fmt.Sprint(l.Err), secret) {
				t.Errorf("the error shows the credential: %v", l.Err)
			}
		})
	}
}

// accepting is a server of connections alone.
func accepting(t *testing.T, handle func(net.Conn)) (host string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var served sync.WaitGroup
	served.Go(func() {
		for c, err := l.Accept(); err == nil; c, err = l.Accept() {
			handle(c)
		}
	})
	t.Cleanup(func() { _ = l.Close(); served.Wait() })
	return l.Addr().String()
}

// A call that is cancelled on the way is in doubt; one that is cancelled while it waits for a connection is not.
func TestCancelledOnTheWay(t *testing.T) {
	arrived, done := make(chan struct{}), make(chan struct{})
	v := serve(t, false, func(_ http.ResponseWriter, r *http.Request) { close(arrived); <-done })
	defer close(done)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() { <-arrived; cancel() }()
	if l := reserve(t, gate(t, v.base)).Forward(ctx, outgoing("POST", v.host)); !errors.Is(l.Err, context.Canceled) || l.Unsent {
		t.Errorf("after it was sent: %v, unsent %v", l.Err, l.Unsent)
	}
	ctx, cancel = context.WithCancel(t.Context())
	defer cancel()
	dialing := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		cancel()
		<-ctx.Done()
		return nil, ctx.Err()
	}}
	if l := reserve(t, gate(t, dialing)).Forward(ctx, outgoing("POST", "vendor")); !errors.Is(l.Err, context.Canceled) || !l.Unsent {
		t.Errorf("before it had a connection: %v, unsent %v", l.Err, l.Unsent)
	}
}

func TestTheCallersTraceSeesNothing(t *testing.T) {
	for _, http2 := range []bool{false, true} {
		v := serve(t, http2, func(http.ResponseWriter, *http.Request) {})
		var seen []string
		saw := func(hook string) { seen = append(seen, hook) }
		ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
			GetConn:              func(string) { saw("GetConn") },
			GotConn:              func(httptrace.GotConnInfo) { saw("GotConn") },
			PutIdleConn:          func(error) { saw("PutIdleConn") },
			GotFirstResponseByte: func() { saw("GotFirstResponseByte") },
			Got1xxResponse:       func(int, textproto.MIMEHeader) error { saw("Got1xxResponse"); return nil },
			ConnectStart:         func(string, string) { saw("ConnectStart") },
			ConnectDone:          func(string, string, error) { saw("ConnectDone") },
			TLSHandshakeStart:    func() { saw("TLSHandshakeStart") },
			TLSHandshakeDone:     func(tls.ConnectionState, error) { saw("TLSHandshakeDone") },
			WroteHeaderField:     func(name string, value []string) { saw(name + ": " + strings.Join(value, ",")) },
			WroteHeaders:         func() { saw("WroteHeaders") },
			WroteRequest:         func(httptrace.WroteRequestInfo) { saw("WroteRequest") },
		})
		l := reserve(t, gate(t, v.base)).Forward(ctx, outgoing("POST", v.host))
		if l.Err != nil || l.Status != 200 {
			t.Fatal(l.Err)
		}
		if want := map[bool]string{false: "HTTP/1.1", true: "HTTP/2.0"}[http2]; l.Proto != want {
			t.Errorf("sent by %s, want %s", l.Proto, want)
		}
		if len(seen) > 0 {
			t.Errorf("%s: the caller's trace saw %q", l.Proto, seen)
		}
	}
}

type contextKey struct{}

// The context passes its end on and none of its values, which a base of one's own could act on or print.
func TestTheContextsValuesAreHidden(t *testing.T) {
	end := time.Now().Add(time.Hour)
	ctx, cancel := context.WithDeadline(context.WithValue(t.Context(), contextKey{}, "agent's"), end)
	defer cancel()
	var sent context.Context
	p := reserve(t, gate(t, base(func(r *http.Request) (*http.Response, error) {
		sent = r.Context()
		cancel()
		<-sent.Done() // or the test hangs
		return nil, sent.Err()
	})))
	l := p.Forward(ctx, outgoing("POST", "vendor"))
	if got, ok := sent.Deadline(); !ok || !got.Equal(end) || !errors.Is(l.Err, context.Canceled) {
		t.Errorf("the deadline is %v, the end %v", got, l.Err)
	}
	if v := sent.Value(contextKey{}); v != nil {
		t.Errorf("the base sees %v", v)
	}
}

// A base may do what it likes: the call is in doubt, the process lives, and nobody learns the credential.
func TestABaseThatMisbehaves(t *testing.T) {
	closed := 0
	body := func() io.ReadCloser {
		return &reply{Reader: strings.NewReader("{}"), onClose: func() error { closed++; return nil }}
	}
	for name, b := range map[string]base{
		"panics":                func(r *http.Request) (*http.Response, error) { panic(r) },
		"panics with its words": func(r *http.Request) (*http.Response, error) { panic(r.Header.Get("Authorization")) },
		"panics with nil":       func(*http.Request) (*http.Response, error) { panic(nil) },
		"returns neither":       func(*http.Request) (*http.Response, error) { return nil, nil },
		"returns both": func(*http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: 200, Body: body()}, io.EOF
		},
		"returns both, and panics on Close": func(*http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: 200, Body: &reply{onClose: func() error { panic(secret) }}}, io.EOF
		},
		"returns both without a body": func(*http.Request) (*http.Response, error) { return &http.Response{StatusCode: 200}, io.EOF },
	} {
		l := fly(t, b, outgoing("POST", "vendor"))
		if l.Err == nil || l.Unsent || l.Status != 0 || l.Body != nil {
			t.Errorf("%s: %+v", name, l)
		}
		if strings.Contains(fmt.Sprintf("%v %+v", l.Err, l), secret) {
			t.Errorf("%s: the landing shows the credential", name)
		}
	}
	if closed != 1 {
		t.Errorf("the body beside an error was closed %d times", closed)
	}
}

func TestHardened(t *testing.T) {
	t.Setenv("HTTPS_PROXY", "http://"+unreachable(t))
	h := flight.Hardened()
	if h.Proxy != nil || h.TLSClientConfig.InsecureSkipVerify {
		t.Error("a proxy of the environment could read the credential, or any certificate is good")
	}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	s.Config.ErrorLog = quietLog
	s.TLS = &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}
	s.StartTLS()
	defer s.Close()
	h.TLSClientConfig.RootCAs = s.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
	if l := fly(t, h, outgoing("GET", s.Listener.Addr().String())); l.Err == nil || !l.Unsent {
		t.Errorf("TLS 1.1 is spoken: %v", l.Err)
	}
	v := serve(t, true, func(http.ResponseWriter, *http.Request) {})
	g := flight.New(books(t), nil, 1<<20) // nil is Hardened, which trusts no throw-away authority
	defer g.CloseIdleConnections()
	if l := reserve(t, g).Forward(t.Context(), outgoing("GET", v.host)); l.Err == nil || !l.Unsent {
		t.Errorf("an unknown authority is trusted: %v", l.Err)
	}
	gate(t, base(nil)).CloseIdleConnections() // a base that has none
}
