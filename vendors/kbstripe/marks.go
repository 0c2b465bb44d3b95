package kbstripe

import (
	"slices"
	"strings"

	"github.com/keybrake/keybrake-go/reason"
	"github.com/keybrake/keybrake-go/vendors"
)

// The keys of the marks in an object's metadata: the run, for people and for the report of drift, and the call, by which
// its object is found again.
const (
	markRun  = "keybrake_run"
	markCall = "keybrake_call"
)

// An object has at most 50 metadata keys with values of at most 500 characters (docs.stripe.com/api/metadata, read
// November 2026).
const (
	mostKeys  = 50
	mostValue = 500
)

// alsoMade are the operations, besides those named create, that make an object which carries their metadata.
var alsoMade = []string{"stripe.charges.refund", "stripe.payouts.reverse", "stripe.terminal.readers.refund_payment"}

// stampOf marks what an operation makes. It is nil for operations that make nothing, or nothing with metadata: a mark on
// an object that was there before would take the place of its maker's.
func stampOf(op *vendors.Operation) func(c *vendors.Call, run, mark string) ([]vendors.Param, any) {
	makes := strings.HasSuffix(op.Name, ".create") || slices.Contains(alsoMade, op.Name)
	if !makes || !slices.Contains(op.Params.Plain, "metadata[*]") {
		return nil
	}
	return func(c *vendors.Call, run, mark string) ([]vendors.Param, any) {
		keys := 0
		for _, p := range c.Params {
			if strings.HasPrefix(p.Name, "metadata[") || strings.HasPrefix(p.Name, "payment_intent_data[metadata][") {
				keys++
			}
		}
		if keys > mostKeys-2 || len(run) > mostValue || len(mark) > mostValue {
			return nil, nil
		}
		if c.JSON != nil { // a call of /v2
			old, _ := vendors.Member(c.JSON, "metadata")
			return nil, vendors.With(c.JSON, "metadata", vendors.With(vendors.With(old, markRun, run), markCall, mark))
		}
		send := []vendors.Param{{Name: "metadata[" + markRun + "]", Value: run}, {Name: "metadata[" + markCall + "]", Value: mark}}
		if mode, _ := c.Get("mode"); op.Name == "stripe.checkout.sessions.create" && mode == "payment" {
			// The charge has the metadata of its intent, not of the session: the report of drift finds the run there.
			send = append(send, vendors.Param{Name: "payment_intent_data[metadata][" + markRun + "]", Value: run})
		}
		return send, nil
	}
}

// checkMarks refuses what would set, change or remove a mark, wherever metadata can stand: an agent that could would
// make one call pass for another, or make what it has spent look absent.
func checkMarks(c *vendors.Call) error {
	for _, p := range c.Params {
		if strings.Contains(p.Name, "[keybrake_") {
			return &vendors.Refusal{Code: reason.ParamDenied, Param: p.Name, Detail: "metadata keys that begin with keybrake_ are the brake's own marks; use other keys"}
		}
		if strings.HasSuffix(strings.TrimRight(p.Name, "[]"), "metadata") { // of the object, or of another: invoice_metadata
			return &vendors.Refusal{Code: reason.ParamDenied, Param: p.Name, Detail: "metadata as a single value removes all keys, the brake's marks among them; unset keys by their names"}
		}
	}
	return nil
}
