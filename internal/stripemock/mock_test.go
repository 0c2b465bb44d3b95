package stripemock

import (
	"context"
	"encoding/json"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/keybrake/keybrake-go/vendors"
	"github.com/keybrake/keybrake-go/vendors/kbstripe"
	"github.com/stripe/stripe-mock/embedded"
	"github.com/stripe/stripe-mock/server"
	"github.com/stripe/stripe-mock/spec"
)

// operationsByShape are Stripe's own operations, by method and path without the ids' names.
var operationsByShape = sync.OnceValues(func() (map[string]*spec.Operation, error) {
	doc, err := description()
	if err != nil {
		return nil, err
	}
	all := map[string]*spec.Operation{}
	for path, verbs := range doc.Paths {
		for verb, op := range verbs {
			all[strings.ToUpper(string(verb))+" "+segment.ReplaceAllString(string(path), "{}")] = op
		}
	}
	return all, nil
})

// documented finds Stripe's own operation for a row of the catalogue; nil means that there is none. Stripe names
// the ids in a path otherwise than the catalogue does, so only their places are compared.
func documented(t *testing.T, op *vendors.Operation) *spec.Operation {
	t.Helper()
	all, err := operationsByShape()
	if err != nil {
		t.Fatal(err)
	}
	return all[op.Method+" "+segment.ReplaceAllString(op.Path, "{}")]
}

// table is the catalogue under test.
func table(t *testing.T) *vendors.Table {
	t.Helper()
	tab, err := vendors.NewTable([]vendors.Vendor{kbstripe.New(nil)})
	if err != nil {
		t.Fatal(err)
	}
	return tab
}

// A mock is stripe-mock in this process, behind TLS on loopback. client reaches it under every host name.
type mock struct {
	t        *testing.T
	client   *http.Client
	fixtures map[spec.ResourceID]any
}

func start(t *testing.T) *mock {
	t.Helper()
	doc, err := description()
	if err != nil {
		t.Fatal(err)
	}
	fixtures, err := server.LoadFixtures(embedded.OpenAPIFixtures, "")
	if err != nil {
		t.Fatal(err)
	}
	silence(t)
	stub, err := server.NewStubServer(fixtures, doc, true, false)
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewTLSServer(http.HandlerFunc(stub.HandleRequest))
	t.Cleanup(srv.Close)
	base := srv.Client().Transport.(*http.Transport)
	base.TLSClientConfig.ServerName = "example.com" // the name on httptest's certificate
	base.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, srv.Listener.Addr().String())
	}
	return &mock{t, srv.Client(), fixtures.Resources}
}

// silence keeps stripe-mock, which prints every request, from printing. Its errors are in its replies.
func silence(t *testing.T) {
	t.Helper()
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	stdout := os.Stdout
	os.Stdout = null
	t.Cleanup(func() { os.Stdout = stdout; null.Close() })
}

// A state is what some fields of stripe-mock's objects say, by the object's kind.
type state map[spec.ResourceID]map[string]any

// in runs f while stripe-mock's objects are in state s.
func (m *mock) in(s state, f func()) {
	m.t.Helper()
	for kind, fields := range s {
		was, ok := m.fixtures[kind].(map[string]any)
		if !ok {
			m.t.Fatalf("stripe-mock has no %s", kind)
		}
		now := maps.Clone(was)
		for name, value := range fields {
			if _, ok := was[name]; !ok {
				m.t.Fatalf("Stripe's %s has no field %s", kind, name)
			}
			now[name] = value
		}
		m.fixtures[kind] = now
		defer func() { m.fixtures[kind] = was }()
	}
	f()
}

// request makes the request of target "METHOD /path?query" with a form as body.
func request(t *testing.T, host, target, form string) *http.Request {
	t.Helper()
	method, path, ok := strings.Cut(target, " ")
	if !ok {
		t.Fatalf("%q is not METHOD /path", target)
	}
	req, err := http.NewRequestWithContext(t.Context(), method, "https://"+host+path, strings.NewReader(form))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer sk_test_123")
	req.Header.Set("Stripe-Version", "2026-08-26.dahlia")
	if method == http.MethodPost {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	return req
}

// send returns stripe-mock's reply, which has to accept the request.
func (m *mock) send(req *http.Request) *vendors.Reply {
	m.t.Helper()
	res, err := m.client.Do(req)
	if err != nil {
		m.t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		m.t.Fatal(err)
	}
	if res.StatusCode != http.StatusOK {
		m.t.Fatalf("stripe-mock refuses %s %s: %s", req.Method, req.URL.Path, body)
	}
	return &vendors.Reply{Status: res.StatusCode, Header: res.Header, Body: body}
}

// id is the id of the object in a reply.
func id(t *testing.T, r *vendors.Reply) string {
	t.Helper()
	var o struct{ ID string }
	if err := json.Unmarshal(r.Body, &o); err != nil {
		t.Fatal(err)
	}
	return o.ID
}
