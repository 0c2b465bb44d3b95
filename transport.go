package keybrake

import (
	"errors"
	"net/http"

	"github.com/keybrake/keybrake-go/internal/flight"
)

// A Transport is the [http.RoundTripper] that goes under a vendor's SDK. Requests carry a vault key where the
// vendor's credential would be; those that the key's policy allows and its budgets cover are forwarded with the
// real credential, all others come back as the vendor's own error. It is safe for concurrent use.
type Transport struct {
	// DenyAsError makes a refusal come back as a *[Denial] error instead of a response, and so the answer that stands
	// in for a reply in doubt, for programs that use net/http without a vendor's SDK. SDKs may send a call again after
	// an error.
	DenyAsError bool

	brake *Brake
	gate  *flight.Gate
}

// RoundTrip is the way of a call: identify, decide, reserve, forward, settle, record.
//
// It never changes req, closes its body exactly once, and sends at most one request that can cost. An error means
// that there is no reply: the caller's context has ended before anything was sent, or the outcome is not known and
// stays reserved.
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	if t.brake == nil {
		(&body{from: req.Body}).close()
		return nil, errors.New("keybrake: a zero Transport forwards nothing; make one with Brake.Transport")
	}
	a := t.brake.newAttempt(t.gate, req)
	defer t.brake.flights.leave(a)
	err := a.identify()
	if err == nil {
		err = a.decide()
	}
	if err == nil {
		err = a.reserve()
	}
	if err == nil {
		err = a.forward()
	}
	if err != nil {
		return t.deny(a, err)
	}
	a.settle()
	a.recordOutcome()
	return t.reply(a)
}

// CloseIdleConnections closes the idle connections of the base transport.
func (t *Transport) CloseIdleConnections() {
	if t.gate != nil {
		t.gate.CloseIdleConnections()
	}
}
