package fakevendor

import (
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// stripe is Stripe's API v1: payment intents, charges, refunds, customers,
// transfers, payouts and top-ups, subscriptions whose items carry their price, with
// previews of their first invoice, and the balance transactions of what moved;
// a balance of nothing and a list of no webhook endpoints.
// Everything else is a 404.
type stripe struct {
	world    *world
	keys     keys
	requests atomic.Int64

	mu    sync.Mutex // guards what follows, objects' contents included
	made  int        // objects so far, for their ids
	items []*item    // in order of creation
	byID  map[string]*item
}

// item is a stored object and the books that it is in.
type item struct {
	object object
	scope  string // mode and account; empty is seen by all
}

func newStripe(w *world) *stripe { return &stripe{world: w, byID: map[string]*item{}} }

// stripeCall is a request that was authenticated and routed.
type stripeCall struct {
	*call
	form       form
	credential string
	account    string // Stripe-Account
	live       bool
	ids        []string // the path's wildcards
}

// scope keeps test and live mode and connected accounts apart, as Stripe does.
func (c *stripeCall) scope() string { return fmt.Sprint(c.live, " ", c.account) }

// id is the first wildcard of the path.
func (c *stripeCall) id() string { return c.ids[0] }

// secretKey is the form of the credentials that Stripe's SDKs send: secret and
// restricted keys, not publishable ones.
var secretKey = regexp.MustCompile(`^(sk|rk)_(test|live)_[A-Za-z0-9_]+$`)

func (v *stripe) serve(c *call) reply {
	if c.host == "connect.stripe.com" {
		return v.stamp(c.finish(oauthError()))
	}
	key, err := v.authenticate(c)
	if err != nil {
		return v.stamp(err.reply())
	}
	handle, ids := route(c)
	if handle == nil {
		return v.stamp(c.finish(unrecognized(c)))
	}
	f, perr := parseForm(c.query, c.body)
	if perr != nil {
		return v.stamp(invalid(http.StatusBadRequest, "", "Invalid request body.").reply())
	}
	sc := &stripeCall{call: c, form: f, credential: key, ids: ids,
		account: c.header.Get("Stripe-Account"), live: strings.Contains(key, "k_live_")}
	return v.stamp(v.deduplicate(sc, handle))
}

// authenticate accepts Bearer, and Basic with the key as user, as curl -u sends.
func (v *stripe) authenticate(c *call) (string, *stripeError) {
	key, ok := bearer(c.header)
	if !ok {
		key, _, ok = basic(c.header)
	}
	if !ok {
		return "", invalid(http.StatusUnauthorized, "", "You did not provide an API key.")
	}
	if !secretKey.MatchString(key) || !v.world.guard.accepts("stripe", key) {
		return "", invalid(http.StatusUnauthorized, "", "Invalid API Key provided: "+key[:min(3, len(key))]+"***")
	}
	return key, nil
}

// deduplicate executes a POST once for each idempotency key. On GET and DELETE
// the key is ignored (docs.stripe.com/api/idempotent_requests, read 2026-11).
func (v *stripe) deduplicate(c *stripeCall, handle stripeHandler) reply {
	key := c.header.Get("Idempotency-Key")
	if key == "" || c.method != http.MethodPost {
		r, _ := v.execute(c, handle)
		return r
	}
	if len(key) > 255 {
		return badParam("", "", "Keys for idempotent requests can be at most 255 characters.").reply()
	}
	fingerprint := c.method + " " + c.path + "?" + c.form.encode()
	r, verdict := v.keys.once(c.scope()+" "+key, fingerprint, func() (reply, bool) { return v.execute(c, handle) })
	switch verdict {
	case mismatch:
		e := invalid(http.StatusBadRequest, "", "Keys for idempotent requests can only be used with the same parameters "+
			"they were first used with. Try using a key other than '"+key+"' if you meant to execute a different request.")
		e.fields["type"] = "idempotency_error"
		return e.reply()
	case inFlight:
		return invalid(http.StatusConflict, "idempotency_key_in_use",
			"There is currently another in-progress request using this Idempotent Key.").reply()
	case replayed:
		r = r.set("Idempotent-Replayed", "true")
	}
	return r.set("Idempotency-Key", key)
}

// execute runs the handler under the lock, and the fault's hook without it. The
// reply is kept under the idempotency key if the endpoint began to execute.
func (v *stripe) execute(c *stripeCall, handle stripeHandler) (r reply, keep bool) {
	r, keep = v.locked(c, handle)
	return c.finish(r), keep
}

// locked is the part that touches the books, rendering included.
func (v *stripe) locked(c *stripeCall, handle stripeHandler) (r reply, keep bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	o, err := handle(v, c)
	if err != nil {
		return err.reply(), err.ran
	}
	return jsonReply(http.StatusOK, v.expanded(c, o)), true
}

func (v *stripe) nextRequest() string { return fmt.Sprintf("req_Fake%010d", v.requests.Add(1)) }

// stamp gives every reply the header fields that all of Stripe's have.
func (v *stripe) stamp(r reply) reply {
	return r.set("Request-Id", v.nextRequest()).set("Stripe-Version", "2023-10-16")
}

// log puts an execution of c into the journal.
func (v *stripe) log(c *stripeCall, kind string, o object, e Execution) {
	e.Vendor, e.Kind, e.Object = "stripe", kind, o.str("id")
	e.Credential, e.Account = c.credential, c.account
	e.IdempotencyKey, e.Request = c.header.Get("Idempotency-Key"), c.index
	v.enter(c.scope(), kind, o, e)
	v.world.journal.execute(e)
}

// money is the Execution of minor units of o's currency.
func money(moved bool, meter string, minor int64, o object) Execution {
	currency := o.str("currency")
	return Execution{Money: moved, Meter: meter, Amount: micros(minor, currency), Currency: strings.ToUpper(currency)}
}

// store puts a new object into the books of c, with the members that all have.
func (v *stripe) store(c *stripeCall, kind, prefix string, o object) object {
	v.made++
	o["id"] = fmt.Sprintf("%s_3Fake%012d", prefix, v.made)
	o["object"], o["created"], o["livemode"] = kind, time.Now().Unix(), c.live
	if _, ok := o["metadata"]; !ok {
		o["metadata"] = c.form.mapping("metadata")
	}
	v.keep(o, c.scope())
	return o
}

// keep puts o in its place; it replaces an object of the same id.
func (v *stripe) keep(o object, scope string) {
	if old := v.byID[o.str("id")]; old != nil {
		v.items = slices.DeleteFunc(v.items, func(it *item) bool { return it == old })
	}
	it := &item{object: o, scope: scope}
	v.items = append(v.items, it)
	v.byID[o.str("id")] = it
}

// find returns the object id of this kind, if c may see it.
func (v *stripe) find(c *stripeCall, kind, param, id string) (object, *stripeError) {
	it := v.byID[id]
	if it == nil || it.object.str("object") != kind || it.scope != "" && it.scope != c.scope() {
		return nil, noSuch(kind, param, id)
	}
	return it.object, nil
}

// oauthError is the shape that the Connect host answers in, unlike the API's.
func oauthError() reply {
	return jsonReply(http.StatusBadRequest, object{"error": "invalid_request", "error_description": "the fake has no OAuth"})
}

func unrecognized(c *call) reply {
	return invalid(http.StatusNotFound, "", fmt.Sprintf("Unrecognized request URL (%s: %s).", c.method, c.path)).reply()
}
