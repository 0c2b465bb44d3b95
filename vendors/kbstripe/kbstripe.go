// Package kbstripe is Stripe's table for the brake: which call is which operation, what it can cost, and what
// its reply says it did cost. It is made of pure functions over bytes and imports no Stripe SDK, so it fits
// every major version of every SDK.
//
// # The catalogue
//
// catalogue.tsv has every operation that Stripe publishes under /v1, and those of /v2 that move money: its name, its
// class, its path, and which parameters redirect money or effect. It is made from Stripe's own description. What is
// not in it is refused.
//
// # What is priced
//
// Money taken counts on the charge meter: payment intents, charges, invoices, checkout sessions, top-ups, reversals of
// transfers and payouts. Money that leaves or is given away counts on outflow: refunds, transfers, payouts, credit
// notes, customer credit, outbound payments, disputes that are given up. Where the amount stands at Stripe alone, the
// object is read first and, where Stripe takes an explicit amount, that amount is sent.
//
// Money that an object may still take is held on it (pi_…, ch_…, in_…, cs_…, plink_…), so that create, confirm and
// capture, or finalize and pay, are one reservation whose level moves. A pending invoice item is held by itself, and
// its invoice is counted again when it is paid: name the invoice in the call, and only the invoice is held.
//
// A paid operation without a bound of its own is unknown: it is denied unless the policy's rule has a ceiling, which is
// then booked whole where no reply tells less. What a subscription charges first, what a change of it charges and its
// last invoice are bounded by Stripe's own preview of the invoice, where the call names its Stripe-Version and nothing
// puts the first payment off; what later cycles charge does not pass here, and the call is flagged as recurring. What
// Stripe bills by the call has the price that [Options] gives it.
//
// # What is found out later
//
// Where the brake's owner wants it, what a call makes carries the run and the call in its metadata (keybrake_run,
// keybrake_call), which no agent may set, change or clear. A call in doubt that has made something is found by that
// mark in Stripe's list, never in a search; one that has acted on an object is known by the object's state, and where
// that does not tell, a person decides. What is not final is read again: intents on their way, refunds that are pending,
// payouts for two weeks after they were made, invoices, sessions and links until they are paid or over. A refund that
// shows as succeeded is final here; one that fails after that shows in the report of drift, which is made from the
// account's balance transactions.
//
// # What is refused
//
// Operations that mint keys, tokens and sessions, that change where money and events go, and uploads, whatever a policy
// says. Those that change settings, and Stripe's test helpers, are allowed only by a rule that names them.
//
// # Evidence
//
// Facts about Stripe are from docs.stripe.com and Stripe's OpenAPI description 2026-08-26.dahlia, read in
// November 2026, unless a comment says otherwise. Parameter lists of
// rows in Go are those of stripe-go v76.25.0, those of the catalogue the description's.
package kbstripe

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/keybrake/keybrake-go/vendors"
)

// apiHost is where all rows are whose path in the catalogue names no host.
const apiHost = "api.stripe.com"

// keyMemory is how long Stripe's v1 is sure to know an Idempotency-Key, less an hour: "clients can safely retry
// within 24 hours". Keys are honoured on POST alone and are at most 255 characters long.
//
// /v2 knows them for 30 days. A request that has succeeded is not executed again; one that has failed is. Either way a
// key makes at most one payment, so that one hold is enough for all the attempts that carry it: a failed attempt that
// Stripe has refused has given its hold back and takes a new one when it is tried again, and one in doubt keeps its own.
// The memory of v1 is used for /v2 too, because to forget a key early is safe: a retry then reserves anew.
const (
	keyMemory = 23 * time.Hour
	keyMax    = 255
)

// Options change the defaults. A nil *Options means all of them.
type Options struct {
	// Fees are what Stripe bills this account for one call of an operation of class fee, by the operation's name:
	// {"stripe.identity.verification_sessions.create": "1.50 USD"}. No reply of Stripe's tells it. An operation that
	// is not here needs a ceiling in the policy's rule.
	Fees map[string]string
}

// New returns Stripe's table. It does no I/O and does not fail: what is wrong with o is the vendor's Err.
func New(o *Options) vendors.Vendor {
	if o == nil {
		o = &Options{}
	}
	ops, err := operations(slices.Concat(paymentIntents(), charges(), refunds(), customers(), transfers(), payouts(), balance()), o.Fees)
	withEvidence(ops)
	return vendors.Vendor{
		Name:            "stripe",
		Operations:      ops,
		Err:             err,
		Headers:         []string{"Stripe-Version"},
		RedirectHeaders: redirectHeaders,
		RetryHeaders:    []string{"Stripe-Should-Retry"},
		Check:           check,
		Place:           place,
		Refuse:          refuse,
		Resends:         resends,
		Customer:        customer,
		Examine:         examine,
		Usage:           usage,
	}
}

// customer is the id that the call names, or that its path is under.
func customer(c *vendors.Call) string {
	if id, ok := c.Get("customer"); ok {
		return id
	}
	if strings.HasPrefix(c.Operation.Path, "/v1/customers/{id:cus_}") {
		return c.IDs["id"]
	}
	return ""
}

// redirectHeaders change whose money moves; Stripe-Context supersedes Stripe-Account.
var redirectHeaders = []string{"Stripe-Account", "Stripe-Context"}

// schema lists what a paid operation takes; every one of them can also carry the redirecting headers.
func schema(plain, redirects []string) vendors.Schema {
	return vendors.Schema{Plain: plain, Redirects: slices.Concat(redirects, redirectHeaders)}
}

// read is the row of a call that changes nothing.
func read(name, path string) vendors.Operation {
	return vendors.Operation{Name: "stripe." + name, Method: http.MethodGet, Host: apiHost, Path: path, Class: vendors.Read}
}

// post completes the row of a v1 write: host, form body, idempotency, and Stripe's general rule for what a
// reply proves where the row has no rule of its own.
func post(op vendors.Operation) vendors.Operation {
	op.Name = "stripe." + op.Name
	op.Method, op.Host, op.Body = http.MethodPost, apiHost, vendors.Form
	op.KeyMemory, op.KeyMax = keyMemory, keyMax
	if op.Outcome == nil {
		op.Outcome = outcome()
	}
	return op
}
