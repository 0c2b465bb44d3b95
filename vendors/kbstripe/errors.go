package kbstripe

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"

	"github.com/keybrake/keybrake-go/reason"
	"github.com/keybrake/keybrake-go/vendors"
)

// outcome is Stripe's general rule for a first send; pending are the statuses of a 2xx's object that are not
// final. A refusal proves that nothing was executed only if it is Stripe's own: a page of a proxy in between,
// whatever its status, proves nothing.
func outcome(pending ...string) func(*vendors.Call, *vendors.Reply) vendors.Outcome {
	return func(_ *vendors.Call, r *vendors.Reply) vendors.Outcome {
		if success(r) {
			if slices.Contains(pending, statusOf(r)) {
				return vendors.Pending
			}
			return vendors.Executed
		}
		if refused(r) {
			return vendors.NotExecuted
		}
		return vendors.OutcomeUnknown
	}
}

// refused reports whether r is Stripe's word that this send was not executed. 402 is a decline: executed as far
// as the card's bank, no money moved. 429 is counted before the idempotency layer. 409 says that the same key
// is in flight or, with lock_timeout, that the object was locked: only the second is about this send alone.
// 424 and 5xx are, in Stripe's word, indeterminate (docs.stripe.com/error-low-level, read November 2026).
func refused(r *vendors.Reply) bool {
	e := errorOf(r)
	if e == nil {
		return false
	}
	switch r.Status {
	case http.StatusBadRequest, http.StatusUnauthorized, http.StatusPaymentRequired,
		http.StatusForbidden, http.StatusNotFound, http.StatusTooManyRequests:
		return true
	case http.StatusConflict:
		return e.maybe("code") == "lock_timeout"
	}
	return false
}

func success(r *vendors.Reply) bool { return r.Status >= 200 && r.Status < 300 }

// statusOf is the status field of a reply's object, or empty.
func statusOf(r *vendors.Reply) string {
	tree, err := vendors.DecodeJSON(r.Body)
	if err != nil {
		return ""
	}
	return (&reader{tree: tree}).maybe("status")
}

// errorOf is the error object of a reply in Stripe's shape, or nil.
func errorOf(r *vendors.Reply) *reader {
	tree, err := vendors.DecodeJSON(r.Body)
	if err != nil {
		return nil
	}
	v, _ := vendors.Member(tree, "error")
	e := &reader{tree: v}
	if e.maybe("type") == "" {
		return nil
	}
	return e
}

// refuse writes a refusal as Stripe would. stripe-go v76 makes one call and returns its own error type only for
// a well-formed error object together with Stripe-Should-Retry: false; on /oauth/ paths it expects the shape of
// OAuth (measured with v76.25.0, November 2026).
func refuse(c *vendors.Call, r vendors.Refusal) vendors.Response {
	body := apiError(r)
	if c != nil && strings.HasPrefix(c.Path, "/oauth/") {
		body = map[string]string{"error": "access_denied", "error_description": r.Message}
	}
	text, err := json.Marshal(body)
	if err != nil { // strings alone: it cannot fail, and an empty object is still a refusal
		text = []byte("{}")
	}
	return vendors.Response{
		Status: r.Status,
		Header: http.Header{"Content-Type": {"application/json"}, "Stripe-Should-Retry": {"false"}},
		Body:   text,
	}
}

// apiError never has the type card_error: an agent would tell its user that the card was declined.
func apiError(r vendors.Refusal) any {
	kind := "invalid_request_error"
	if r.Status >= 500 {
		kind = "api_error"
	}
	return map[string]stripeError{"error": {Type: kind, Code: "keybrake_" + string(r.Code), Message: r.Message, Param: r.Param}}
}

type stripeError struct {
	Type    string `json:"type"`
	Code    string `json:"code"`
	Message string `json:"message"`
	Param   string `json:"param,omitempty"`
}

// resends reports whether some version of a Stripe SDK sends a write again after r. stripe-go v76 does so after
// a broken connection, a body that is not Stripe's JSON (whatever the status), 409, 503 and whatever says
// Stripe-Should-Retry: true, even a success; v78 and later after every 5xx (measured, November 2026).
func resends(_ *vendors.Call, r *vendors.Reply) bool {
	if r == nil || r.Status >= 500 || r.Status == http.StatusConflict {
		return true
	}
	if strings.EqualFold(r.Header.Get("Stripe-Should-Retry"), "true") {
		return true
	}
	if e := errorOf(r); !success(r) {
		return e == nil || e.maybe("code") == "lock_timeout"
	}
	tree, err := vendors.DecodeJSON(r.Body)
	_, ok := vendors.Member(tree, "object")
	return err != nil || !ok
}

// check refuses what no operation may carry: the brake's own marks, and a preview version of the API, in which
// parameters that this table takes for harmless can mean something else.
func check(c *vendors.Call) error {
	if err := checkMarks(c); err != nil {
		return err
	}
	version := c.Header.Values("Stripe-Version")
	if len(version) == 0 {
		return nil
	}
	if len(version) > 1 || !versions.MatchString(version[0]) || strings.HasSuffix(version[0], ".preview") {
		return vendors.Refuse(reason.HeaderDenied, "Stripe-Version is not a released version such as 2023-10-16 or 2026-08-26.dahlia")
	}
	return nil
}
