package keybraketest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"

	"github.com/keybrake/keybrake-go/vendors"
	"github.com/keybrake/keybrake-go/vendors/kbresend"
	"github.com/keybrake/keybrake-go/vendors/kbstripe"
	"github.com/keybrake/keybrake-go/vendors/kbtwilio"
)

// Handle makes the vendor answer calls of operation with h, which replaces what was there before. h gets the request
// as the vendor would, with the made-up credential; it may be called from many goroutines. An operation that the
// policy lets through and that nothing handles fails the test. So does a name that is not in the catalogue.
//
// A call whose amount is known at the vendor alone is looked up there first: a refund by stripe.charges.retrieve, a
// confirmation or capture by stripe.payment_intents.retrieve. Those have to be handled, too.
func (b *Bench) Handle(operation string, h http.Handler) {
	b.vendors.t.Helper()
	b.vendors.handle(operation, h)
}

// Forwarded names the operations that reached the vendor, in order: what the brake let through, lookups included.
func (b *Bench) Forwarded() []string {
	b.vendors.mu.Lock()
	defer b.vendors.mu.Unlock()
	return slices.Clone(b.vendors.forwarded)
}

// JSON answers every call with this status and body.
func JSON(status int, body string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	})
}

// Drop breaks the connection after the vendor has received the call, so that nobody knows whether it was executed:
// the call is in doubt, and its money stays held.
func Drop() http.Handler {
	return http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
}

// canned is the base transport of a bench.
type canned struct {
	t     testing.TB
	all   []vendors.Vendor
	table *vendors.Table

	mu        sync.Mutex
	handlers  map[string]http.Handler
	forwarded []string
}

func newCanned(t testing.TB, all []vendors.Vendor) *canned {
	t.Helper()
	read := func() (*vendors.Table, error) { return vendors.NewTable(all) }
	if all == nil {
		all, read = three(), tableOfThree
	}
	table, err := read()
	if err != nil {
		t.Fatalf("keybraketest: %v", err)
	}
	return &canned{t: t, all: all, table: table, handlers: map[string]http.Handler{}}
}

// three are the vendors that a bench has by default.
func three() []vendors.Vendor {
	return []vendors.Vendor{kbstripe.New(nil), kbtwilio.New(nil), kbresend.New(nil)}
}

// tableOfThree is their table, which takes a while to make and does not change.
var tableOfThree = sync.OnceValues(func() (*vendors.Table, error) { return vendors.NewTable(three()) })

func (c *canned) handle(operation string, h http.Handler) {
	c.t.Helper()
	if c.table.Lookup(operation) == nil {
		c.t.Fatalf("keybraketest: no vendor of the bench has an operation %q", operation)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.handlers[operation] = h
}

// RoundTrip runs the operation's handler in the goroutine of the call.
func (c *canned) RoundTrip(req *http.Request) (*http.Response, error) {
	body := []byte{}
	if req.Body != nil {
		var err error
		if body, err = io.ReadAll(req.Body); err != nil {
			return nil, err
		}
		_ = req.Body.Close()
	}
	_, call, err := c.table.Identify(req, body)
	if err != nil {
		return nil, fmt.Errorf("keybraketest: the brake forwarded what it could not have read: %w", err)
	}
	in := req.Clone(req.Context())
	in.Body = io.NopCloser(bytes.NewReader(body))
	rec := httptest.NewRecorder()
	if err := c.serve(call.Operation.Name, rec, in); err != nil {
		return nil, err
	}
	resp := rec.Result()
	resp.Request = req
	return resp, nil
}

// take notes the call and returns what answers it.
func (c *canned) take(operation string) http.Handler {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.forwarded = append(c.forwarded, operation)
	if h := c.handlers[operation]; h != nil {
		return h
	}
	c.t.Errorf("keybraketest: %s was let through, and nothing handles it; if that is right, say Handle(%q, keybraketest.JSON(200, `…`))", operation, operation)
	return unhandled(operation)
}

// unhandled is a refusal that all three vendors' SDKs and adapters read as one, so that the agent's call ends at once.
func unhandled(operation string) http.Handler {
	message := "keybraketest: nothing handles " + operation
	text, _ := json.Marshal(map[string]any{
		"error": map[string]string{"type": "invalid_request_error", "message": message},
		"code":  20404, "message": message, "name": "not_found", "status": 404, "statusCode": 404,
	})
	return JSON(http.StatusNotFound, string(text))
}

// serve runs the operation's handler. One that panics with http.ErrAbortHandler has broken the connection, as in a
// server; any other panic fails the test.
func (c *canned) serve(operation string, w http.ResponseWriter, r *http.Request) (err error) {
	defer func() {
		switch p := recover(); p {
		case nil:
		case http.ErrAbortHandler:
			err = io.ErrUnexpectedEOF
		default:
			c.t.Errorf("keybraketest: the handler of %s panicked: %v", operation, p)
			err = errors.New("keybraketest: a handler panicked")
		}
	}()
	c.take(operation).ServeHTTP(w, r)
	return nil
}
