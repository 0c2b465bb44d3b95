package keybrake

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"time"

	"github.com/keybrake/keybrake-go/audit"
	"github.com/keybrake/keybrake-go/internal/flight"
	"github.com/keybrake/keybrake-go/reason"
	"github.com/keybrake/keybrake-go/vendors"
)

// forward records the intent and sends the call. An error means that nothing that can cost was sent, for certain, and
// that the hold was given back. Whatever else comes is for settle.
func (a *attempt) forward() error {
	if err := a.recordIntent(); err != nil {
		a.release(!a.probed)
		return err
	}
	if err := a.cutOff(); err != nil {
		a.release(!a.probed)
		return err
	}
	ctx, cancel := context.WithTimeout(a.ctx, a.cfg.CallTimeout)
	defer cancel()
	if a.revoked != nil {
		defer context.AfterFunc(a.revoked, cancel)()
	}
	began := time.Now()
	a.landing = a.permit.Forward(ctx, a.outgoing(a.permit.Hold().ID))
	a.vendorFor += time.Since(began)
	if a.landing.Rest != nil {
		closeRest(a.landing)
		a.landing.Body, a.landing.Cut = a.landing.Body[:a.cfg.MaxReply], errTooLarge
	}
	a.landing = clean(a.secret, a.landing)
	if a.landing.Err == nil || !a.landing.Unsent && !(a.free() && a.cutOff() != nil) {
		return nil
	}
	a.release(!a.probed)
	if err := a.ctx.Err(); err != nil {
		return &Denial{Reason: reason.Canceled, cause: err}
	}
	if err := a.cutOff(); err != nil {
		return err
	}
	return a.unreachable(a.landing.Err)
}

// cutOff is the revoke that has stopped the call after its reserve, if its policy lets one do so.
func (a *attempt) cutOff() error {
	if a.revoked == nil || a.revoked.Err() == nil {
		return nil
	}
	return context.Cause(a.revoked)
}

// unreachable is the refusal for a request of which no byte left.
func (a *attempt) unreachable(err error) error {
	a.log().WarnContext(a.ctx, "keybrake: the vendor could not be reached", "host", a.call.Host, "error", a.scrubError(err))
	return vendors.Refuse(reason.Unsent, "the vendor could not be reached; nothing was sent. Behind a proxy, set Config.Base")
}

// outgoing is a fresh request of the parts that were read, for the reservation id. Form parameters of query and body go out as one
// body, so that the vendor has no second place to read.
func (a *attempt) outgoing(id string) flight.Outgoing {
	c := a.call
	out := flight.Outgoing{Method: c.Method, Host: c.Host, Path: c.Path, Header: c.Header.Clone(), Credential: a.credential, Values: a.values()}
	if out.Method == "" {
		out.Method = http.MethodGet
	}
	switch c.Operation.Body {
	case vendors.None:
		out.Query = vendors.Encode(a.sent(id))
	case vendors.Form:
		out.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		out.Body = []byte(vendors.Encode(a.sent(id)))
	case vendors.JSON:
		out.Header.Set("Content-Type", "application/json")
		out.Body = a.markedBody(id)
	}
	if a.call.Operation.KeyMemory > 0 {
		out.Header.Set("Idempotency-Key", a.outgoingKey(id))
	}
	return out
}

// values are what those that follow calls show to the transport below.
func (a *attempt) values() context.Context {
	ctx := context.Background()
	for _, f := range a.follow {
		ctx = audit.Forward(a.ctx, ctx, f)
	}
	return ctx
}

// outgoingKey is the agent's idempotency key as the vendor gets it. Where the SDK sent none it is the call's own, so that
// nothing below the brake, a proxy or a connection that is tried again, can have one call executed twice.
func (a *attempt) outgoingKey(id string) string {
	if a.protected() {
		return a.idempotency()
	}
	return digest("call", id)
}

// sent are the parameters that go out: the caller's, less those that are headers, and with those that the bound
// and the marks set in their place.
func (a *attempt) sent(id string) []vendors.Param {
	marks, _ := a.marks(id)
	return slices.DeleteFunc(withSend(withSend(a.call.Params, a.bound.Send), marks), func(p vendors.Param) bool {
		return slices.Contains(a.vendor.RedirectHeaders, p.Name)
	})
}

// marks are what names the run and the call in the vendor's own object, where the brake's owner wants that and the
// operation can carry it. A retry carries the marks of the first attempt, whose call it is.
func (a *attempt) marks(id string) (send []vendors.Param, body any) {
	row, wanted := a.call.Operation, a.cfg.Stamp
	if a.permit != nil && a.permit.Hold().Attached {
		wanted = a.kept.Marked
	}
	if row.Stamp == nil || !wanted {
		return nil, nil
	}
	err := contain(func() error { send, body = row.Stamp(a.call, a.claims.Run, id); return nil })
	if err != nil || row.Body != vendors.Form && len(send) > 0 || row.Body != vendors.JSON && body != nil {
		return nil, nil // unmarked: what is priced is what is sent
	}
	return send, body
}

// markedBody is the caller's JSON, or the same with the marks in it.
func (a *attempt) markedBody(id string) []byte {
	_, body := a.marks(id)
	if body == nil {
		return a.body
	}
	var text bytes.Buffer
	e := json.NewEncoder(&text)
	e.SetEscapeHTML(false)
	if err := e.Encode(body); err != nil {
		return a.body
	}
	return bytes.TrimSuffix(text.Bytes(), []byte("\n"))
}
