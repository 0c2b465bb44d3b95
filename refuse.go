package keybrake

import (
	"cmp"
	"context"
	"net/http"

	"github.com/keybrake/keybrake-go/reason"
)

// Refuse answers req with d exactly as RoundTrip answers a refusal of its own, in the shape of the vendor whose host
// req names, and records it. It forwards nothing and looks at no vault key. It is for tests of how an agent takes a
// refusal (package keybraketest), and for programs before a Transport that refuse for reasons of their own.
//
// Status is the reason's, whatever d says, and an Operation that is not in the catalogue is left out.
func (t *Transport) Refuse(req *http.Request, d Denial) (*http.Response, error) {
	if req.Body != nil {
		_ = req.Body.Close()
	}
	if d.Reason == reason.Canceled {
		d.cause = cmp.Or(req.Context().Err(), context.Canceled)
	}
	a := t.brake.newAttempt(t.gate, req)
	a.call.Operation = t.brake.table.Lookup(d.Operation)
	return t.deny(a, &d)
}
