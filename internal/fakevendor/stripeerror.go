package fakevendor

import (
	"fmt"
	"net/http"
)

// stripeError is a refusal in Stripe's shape (measured, November 2026). ran says that
// the endpoint had begun to execute: only then is the reply stored under the
// idempotency key (docs.stripe.com/api/idempotent_requests, read 2026-11:
// nothing is saved where parameters fail validation).
type stripeError struct {
	status int
	fields object
	ran    bool
}

func (e *stripeError) reply() reply {
	return jsonReply(e.status, object{"error": e.fields})
}

func invalid(status int, code, message string) *stripeError {
	fields := object{"type": "invalid_request_error", "message": message}
	if code != "" {
		fields["code"] = code
		fields["doc_url"] = "https://stripe.com/docs/error-codes/" + code
	}
	return &stripeError{status: status, fields: fields}
}

func badParam(code, param, message string) *stripeError {
	e := invalid(http.StatusBadRequest, code, message)
	e.fields["param"] = param
	return e
}

func missing(param string) *stripeError {
	return badParam("parameter_missing", param, "Missing required param: "+param+".")
}

// state is a refusal that the object's state is the reason for.
func state(code, format string, args ...any) *stripeError {
	e := invalid(http.StatusBadRequest, code, fmt.Sprintf(format, args...))
	e.ran = true
	return e
}

func noSuch(kind, param, id string) *stripeError {
	e := invalid(http.StatusNotFound, "resource_missing", quoteID(kind, id))
	e.fields["param"] = param
	return e
}

// declined is the card's refusal: executed, and no money moved.
func declined(intent, charge object) *stripeError {
	fields := object{
		"type": "card_error", "code": "card_declined", "decline_code": "generic_decline",
		"doc_url": "https://stripe.com/docs/error-codes/card-declined",
		"message": "Your card was declined.", "charge": charge.str("id"),
	}
	if intent != nil {
		fields["payment_intent"] = intent.copy()
	}
	return &stripeError{status: http.StatusPaymentRequired, fields: fields, ran: true}
}

// refuse is the shape of an error that no request of ours caused.
func (v *stripe) refuse(status int, message string) reply {
	e := invalid(status, "", message)
	switch {
	case status == http.StatusPaymentRequired:
		e.fields["type"], e.fields["code"], e.fields["decline_code"] = "card_error", "card_declined", "generic_decline"
	case status == http.StatusConflict:
		e.fields["code"] = "lock_timeout"
	case status == http.StatusTooManyRequests:
		e.fields["code"] = "rate_limit"
	case status >= 500:
		e.fields["type"] = "api_error"
	}
	return v.stamp(e.reply())
}
