package stripemock

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
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

	mu    sync.Mutex
	seen  []string // the requests that arrived, as "METHOD host/path"
	after state    // what writes lead to
}

// start starts a stripe-mock that takes requests of the description's own API version alone.
func start(t *testing.T) *mock { return serve(t, true) }

func serve(t *testing.T, strict bool) *mock {
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
	stub, err := server.NewStubServer(fixtures, doc, strict, false)
	if err != nil {
		t.Fatal(err)
	}
	m := &mock{t: t, fixtures: fixtures.Resources}
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		m.mu.Lock()
		defer m.mu.Unlock()
		at := r.Method + " " + r.Host + r.URL.Path
		if r.Method == http.MethodPost && r.Header.Get("Idempotency-Key") == "" {
			at += " without an idempotency key"
		}
		m.seen = append(m.seen, at)
		if r.Method == http.MethodGet {
			stub.HandleRequest(w, r)
			return
		}
		reply := httptest.NewRecorder()
		m.in(m.after, func() { stub.HandleRequest(reply, r) })
		maps.Copy(w.Header(), reply.Header())
		w.WriteHeader(reply.Code)
		_, _ = w.Write(sameObject(r.URL.Path, reply.Body.Bytes()))
	}))
	t.Cleanup(srv.Close)
	base := srv.Client().Transport.(*http.Transport)
	base.TLSClientConfig.ServerName = "example.com" // the name on httptest's certificate
	base.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, srv.Listener.Addr().String())
	}
	m.client = srv.Client()
	return m
}

// sameObject puts the id of an action's path into its reply, for stripe-mock gives a new one where it does not know that
// the reply is about the same object.
func sameObject(path string, reply []byte) []byte {
	parts := strings.Split(path, "/")
	var o struct{ ID string }
	if len(parts) < 3 || json.Unmarshal(reply, &o) != nil || o.ID == "" {
		return reply
	}
	acted := parts[len(parts)-2]
	if kind := kindOf(parts[:len(parts)-1], o.ID); kind != "" { // of some it takes the kind for the id
		for _, id := range []string{o.ID, acted} {
			reply = bytes.Replace(reply, []byte(`"object":"`+id+`"`), []byte(`"object":"`+kind+`"`), 1)
		}
	}
	if prefix, _, ok := strings.Cut(o.ID, "_"); ok && strings.HasPrefix(acted, prefix+"_") {
		return bytes.ReplaceAll(reply, []byte(o.ID), []byte(acted))
	}
	return reply
}

// kindOf is the last word of a path that is no id like that one.
func kindOf(parts []string, id string) string {
	prefix, _, _ := strings.Cut(id, "_")
	for _, part := range slices.Backward(parts) {
		if !strings.HasPrefix(part, prefix+"_") {
			return strings.TrimSuffix(part, "s")
		}
	}
	return ""
}

// arrived returns the requests that arrived since it was last asked.
func (m *mock) arrived() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	seen := m.seen
	m.seen = nil
	return seen
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
