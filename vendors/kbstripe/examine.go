package kbstripe

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/keybrake/keybrake-go/vendors"
)

// The kinds of credential, by form.
const (
	kindSecret     = "sk"
	kindRestricted = "rk"
)

// examine tells a full secret key from a restricted one by its prefix, and asks whether Stripe accepts it. A restricted key
// is asked for what hardly an agent needs, the webhook endpoints: Stripe shows a key's permissions to no key, and answers 403
// to what it may not do (docs.stripe.com/keys, read November 2026).
func examine(e *vendors.Exam) vendors.Diagnosis {
	full := e.Kind == kindSecret
	if len(e.Seen) == 0 {
		if full {
			return vendors.Diagnosis{Look: &vendors.Probe{Operation: "stripe.balance.retrieve", Host: apiHost, Path: "/v1/balance"}}
		}
		limit := []vendors.Param{{Name: "limit", Value: "1"}}
		return vendors.Diagnosis{Look: &vendors.Probe{Operation: "stripe.webhook_endpoints.list", Host: apiHost, Path: "/v1/webhook_endpoints", Query: limit}}
	}
	mode := map[vendors.Mode]string{vendors.ModeLive: " of live mode", vendors.ModeTest: " of test mode"}[e.Mode]
	restricted := "a restricted key" + mode
	switch status := e.Seen[0].Status; {
	case status == http.StatusUnauthorized:
		return vendors.Diagnosis{Fit: vendors.Refused, Why: "Stripe does not accept it", Do: "put a key in its place that is not revoked"}
	case full: // its prefix tells, whatever the answer
		return vendors.Diagnosis{
			Fit: vendors.Wider, Is: "a full secret key" + mode, Why: "it may do everything on the account, webhooks and payout destinations included", Do: restrict(e.Needs),
		}
	case status == http.StatusOK && !slices.ContainsFunc(e.Needs, func(op *vendors.Operation) bool { return kind(op) == "webhook_endpoints" }):
		return vendors.Diagnosis{
			Fit: vendors.Wider, Is: restricted, Why: "it reads the webhook endpoints, which these policies do not need, so it was made too wide", Do: restrict(e.Needs),
		}
	case status == http.StatusOK || status == http.StatusForbidden:
		return vendors.Diagnosis{Fit: vendors.Fits, Is: restricted, Why: "Stripe does not tell which permissions it has"}
	}
	return vendors.Diagnosis{Is: restricted, Why: "Stripe gave no answer that tells"}
}

// looked are the kinds of objects that the brake itself reads before it lets a write of another kind through.
var looked = map[string][]string{
	"refunds":       {"charges", "payment_intents"},
	"subscriptions": {"invoices"},
	"credit_notes":  {"invoices"},
}

// mostNamed is how many kinds of objects are named to a person.
const mostNamed = 10

// restrict says which key would do. Write permission includes reading.
func restrict(needs []*vendors.Operation) string {
	writes := map[string]bool{} // by kind of object; false is reading alone
	for _, op := range needs {
		writes[kind(op)] = writes[kind(op)] || op.Class != vendors.Read
	}
	for object, written := range writes {
		for _, other := range looked[object] {
			if written {
				writes[other] = writes[other] || false
			}
		}
	}
	if len(writes) > mostNamed {
		return "name in the policies only what the agents need, then make a restricted key for that"
	}
	var named []string
	for object, written := range writes {
		named = append(named, fmt.Sprintf("%s (%s)", object, map[bool]string{true: "write", false: "read"}[written]))
	}
	slices.Sort(named)
	return "make a restricted key with " + strings.Join(named, ", ") + "; and balance_transactions (read) where Drift is asked"
}

// kind is the kind of object that an operation is about, as its name has it: "refunds" of stripe.refunds.create.
func kind(op *vendors.Operation) string {
	object, _, _ := strings.Cut(strings.TrimPrefix(op.Name, "stripe."), ".")
	return object
}
