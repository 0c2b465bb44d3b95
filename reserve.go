package keybrake

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/http"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/keybrake/keybrake-go/credentials"
	"github.com/keybrake/keybrake-go/internal/flight"
	"github.com/keybrake/keybrake-go/ledger"
	"github.com/keybrake/keybrake-go/reason"
	"github.com/keybrake/keybrake-go/vendors"
)

// reserve fetches the credential and holds the call's bound, in one step of the ledger. Where the bound is known
// at the vendor alone it takes three: it reserves the call at no money, looks, and raises the reservation.
func (a *attempt) reserve() error {
	if err := a.equip(); err != nil {
		return err
	}
	if err := a.ctx.Err(); err != nil {
		return &Denial{Reason: reason.Canceled, cause: err}
	}
	if a.claims.policy.CancelOnRevoke {
		a.revoked = a.flights.board(a)
	}
	r := a.request()
	ctx, cancel := a.ledgerContext()
	defer cancel()
	began := time.Now()
	permit, err := a.gate.Reserve(ctx, r)
	a.ledgerFor += time.Since(began)
	if err != nil {
		return a.unreserved(r, err)
	}
	a.permit = permit
	a.states = permit.Hold().States
	a.observed(permit.Hold().Would)
	if permit.Hold().Attached {
		return a.remember(permit.Hold().Memo)
	}
	if r.Probing {
		return a.look(r)
	}
	return nil
}

// equip fetches the real credential and checks the call against its account.
func (a *attempt) equip() error {
	ctx, cancel := context.WithTimeout(a.ctx, a.cfg.LedgerTimeout)
	defer cancel()
	placed, err := a.placement(ctx, a.vendor, a.ref(), a.claims.live)
	if err != nil {
		if a.ctx.Err() != nil {
			return &Denial{Reason: reason.Canceled, cause: a.ctx.Err()}
		}
		a.log().WarnContext(ctx, "keybrake: no credential", "vendor", a.vendor.Name, "reference", a.ref(), "error", err)
		detail := "the credential could not be fetched; nothing was sent"
		if errors.Is(err, credentials.ErrUnknown) {
			detail = "the source has no such credential any more; nothing was sent"
		}
		return vendors.Refuse(reason.CredentialUnavailable, "%s", detail)
	}
	a.secret, a.call.Account = placed, placed.Account
	if a.vendor.Check == nil {
		return nil
	}
	err = contain(func() error { return a.vendor.Check(a.call) })
	var refusal *vendors.Refusal
	if err != nil && !errors.As(err, &refusal) {
		return vendors.Refuse(reason.RequestInvalid, "%v", err)
	}
	return err
}

func (a *attempt) ref() string { return a.claims.Credentials[a.vendor.Name] }

// ledgerContext is detached from the caller's, so that its end leaves no reserve behind that nobody knows of.
func (a *attempt) ledgerContext() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(a.ctx), a.cfg.LedgerTimeout)
}

// request is what the ledger is asked for.
func (a *attempt) request() ledger.Request {
	row, c := a.call.Operation, a.claims
	r := ledger.Request{
		Tenant: c.Tenant, ID: a.id, Nonce: newID("n"), Key: c.ID, Expires: c.expires(),
		Controls:  a.controls(),
		Operation: row.Name,
		Lines:     append(slices.Clone(a.lines), countsCall),
		Budgets:   c.books(),
		Object:    a.object(a.bound.Object),
		Read:      a.free(),
		Probing:   a.bound.Probe != nil,
		Deadline:  a.flight(),
	}
	if a.protected() {
		r.Claim = &ledger.Claim{ID: a.idempotency(), Fingerprint: a.fingerprint(), Memory: row.KeyMemory}
	}
	if rule := c.policy.Repeat; !rule.IsZero() && row.Class != vendors.Read {
		r.Repeat = &ledger.Repeat{
			ID: a.repetition(), Most: rule.Limit.Value, Window: rule.Window.Rolls(), Observed: c.policy.InsecureObserve,
		}
	}
	if r.Probing {
		r.Lines = ledger.CallsOnly(r.Lines) // the rest comes with the raise
	} else if r.Claim != nil || row.Reconcile != nil {
		r.Memo = a.memorize()
	}
	return r
}

// free reports whether the call is a read that costs nothing: it is admitted and counted, and holds nothing.
func (a *attempt) free() bool {
	return a.call.Operation.Class == vendors.Read && a.call.Operation.Bound == nil
}

// protected reports whether the vendor will execute a second send of this call as the first.
func (a *attempt) protected() bool { return a.call.Operation.KeyMemory > 0 && a.call.Key != "" }

// unreserved is the refusal for a reserve that failed. When the ledger did not answer, the reserve may have been
// carried out; nothing was sent and nothing will be, so it is given back, now or when it arrives.
func (a *attempt) unreserved(r ledger.Request, err error) error {
	var denied *ledger.Denied
	if errors.As(err, &denied) {
		a.states = statesOf(denied)
		return err
	}
	a.log().ErrorContext(a.ctx, "keybrake: the ledger did not reserve", "reservation", r.ID, "error", err)
	ctx, cancel := a.ledgerContext()
	defer cancel()
	gone := ledger.Hold{Tenant: r.Tenant, ID: r.ID, Nonce: r.Nonce, Key: r.Key, Operation: r.Operation, Phase: ledger.InFlight}
	if err := a.cfg.Ledger.Release(ctx, gone, true); err != nil && !errors.Is(err, ledger.ErrNoHold) && !errors.Is(err, ledger.ErrDeferred) {
		a.log().WarnContext(a.ctx, "keybrake: a reservation may be left behind; it counts until it is resolved", "reservation", r.ID, "error", err)
	}
	return vendors.Refuse(reason.LedgerUnavailable, "the ledger did not answer, so spending cannot be checked; nothing was sent")
}

// look makes the probe, prices the call with its answer, and raises the reservation to it. A retry of an earlier
// attempt does not look again: it is the same spend, at the same amount.
func (a *attempt) look(r ledger.Request) error {
	seen, err := a.probe()
	var bound vendors.Bound
	if err == nil {
		bound, err = a.price(seen)
	}
	if err == nil && bound.Probe != nil {
		err = vendors.Refuse(reason.ProbeFailed, "the %s adapter asked for a second probe", a.vendor.Name)
	}
	if err == nil {
		err = a.judge(bound)
	}
	if err == nil {
		err = a.raise(r)
	}
	if err != nil {
		a.release(!a.probed)
	}
	return err
}

func (a *attempt) raise(r ledger.Request) error {
	r.Lines, r.Object, r.Probing = a.lines, a.object(a.bound.Object), false
	r.Memo = a.memorize()
	ctx, cancel := a.ledgerContext()
	defer cancel()
	began := time.Now()
	err := a.permit.Raise(ctx, r)
	a.ledgerFor += time.Since(began)
	var denied *ledger.Denied
	switch {
	case err == nil:
		a.states = a.permit.Hold().States
		a.observed(a.permit.Hold().Would)
		return nil
	case errors.As(err, &denied):
		a.states = statesOf(denied)
		return err
	}
	a.log().ErrorContext(a.ctx, "keybrake: the ledger did not raise", "reservation", a.id, "error", err)
	return vendors.Refuse(reason.LedgerUnavailable, "the ledger did not answer, so spending cannot be checked; nothing was sent that costs")
}

// probe reads what the bound needs to know. Its reply never reaches the agent.
func (a *attempt) probe() (*vendors.Reply, error) {
	p := a.bound.Probe
	row := a.lookable(a.vendor, p, a.call.Host)
	if row == nil {
		return nil, vendors.Refuse(reason.ProbeFailed, "%q is not a read of the catalogue", p.Operation)
	}
	a.looked = path.Base(p.Path)
	if err := a.recordProbe(row, nil); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(a.ctx, a.cfg.CallTimeout)
	defer cancel()
	began := time.Now()
	out := lookingAt(row, p, a.call.Host, a.call.Header, a.credential)
	out.Values = a.values()
	l := a.permit.Probe(ctx, out)
	l = clean(a.secret, l)
	a.vendorFor += time.Since(began)
	a.probed = a.probed || l.Err == nil || !l.Unsent
	if err := a.recordProbe(row, &l); err != nil {
		return nil, err
	}
	a.dropRefused(l.Status)
	switch {
	case a.ctx.Err() != nil:
		return nil, &Denial{Reason: reason.Canceled, cause: a.ctx.Err()}
	case l.Err != nil && l.Unsent:
		return nil, a.unreachable(l.Err)
	case l.Err != nil || l.Cut != nil || l.Rest != nil:
		closeRest(l)
		a.log().WarnContext(a.ctx, "keybrake: a probe's answer did not come whole", "operation", row.Name, "error", a.scrubError(cmp.Or(l.Err, l.Cut)))
		return nil, vendors.Refuse(reason.ProbeFailed, "the amount is known only at the vendor, and its answer did not come whole; nothing was sent that costs")
	}
	return &vendors.Reply{Status: l.Status, Header: l.Header, Body: l.Body}, nil
}

// lookable is the row of a look that the brake may make on its own: one that costs and changes nothing, at a host of
// the vendor whose credential goes there. Otherwise nil.
func (b *Brake) lookable(v *vendors.Vendor, p *vendors.Probe, host string) *vendors.Operation {
	row := b.table.Lookup(p.Operation)
	if row == nil || !row.Looks() || b.table.Vendor(cmp.Or(p.Host, host)) != v {
		return nil
	}
	return row
}

// lookingAt is the request of a look: a GET, or the form of a preview.
func lookingAt(row *vendors.Operation, p *vendors.Probe, host string, header http.Header, credential func() http.Header) flight.Outgoing {
	out := flight.Outgoing{
		Method: row.Method, Host: cmp.Or(p.Host, host), Path: p.Path, Query: vendors.Encode(p.Query),
		Header: header, Credential: credential,
	}
	if row.Method != http.MethodGet {
		out.Header = header.Clone()
		out.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		out.Query, out.Body, out.Preview = "", []byte(out.Query), true
	}
	return out
}

// credential is the headers that carry the real credential. Only the flight calls it.
func (a *attempt) credential() http.Header { return headersOf(a.secret) }

func headersOf(p vendors.Placement) http.Header {
	header := http.Header{p.Header: {p.Value}}
	for _, part := range p.Also {
		header[part.Name] = []string{part.Value}
	}
	return header
}

// dropRefused forgets a credential that the vendor has refused, so that one rotated meanwhile is fetched.
func (a *attempt) dropRefused(status int) {
	if status == http.StatusUnauthorized {
		a.creds.Drop(a.ref())
	}
}

// release gives the hold back: nothing that costs was sent. When that fails the hold stands, which is safe. A free
// read holds nothing.
func (a *attempt) release(unsent bool) {
	if a.free() {
		return
	}
	ctx, cancel := a.ledgerContext()
	defer cancel()
	switch err := a.permit.Release(ctx, unsent); {
	case errors.Is(err, ledger.ErrDeferred):
		a.log().WarnContext(a.ctx, "keybrake: a hold is released as soon as the ledger answers; it counts until then", "reservation", a.permit.Hold().ID)
		return
	case err != nil:
		a.log().ErrorContext(a.ctx, "keybrake: a hold was not released; it counts until it is resolved", "reservation", a.permit.Hold().ID, "error", err)
		return
	}
	a.states = less(a.states, a.permit.Hold(), unsent)
}

// less are the budgets after the reserve without what the hold had in them, for the record. Where states are not
// those of the hold, as after a raise that was refused, they stay.
func less(states []ledger.State, h ledger.Hold, calls bool) []ledger.State {
	if len(states) != len(h.Entries) || h.Attached {
		return states
	}
	states = slices.Clone(states)
	for i, e := range h.Entries {
		if states[i].Name != e.Budget {
			return states
		}
		states[i].Held -= e.Held
		if calls {
			states[i].Spent -= e.Booked
		}
	}
	return states
}

// scope names the account that the call acts on: two calls of one idempotency key, or on one object's id, are
// the same only there. No secret and no id of the key is in it, so that a renewed key keeps it.
func (a *attempt) scope() []string { return scope(a.vendor, a.call, a.ref(), a.claims.live) }

func scope(v *vendors.Vendor, c *vendors.Call, ref string, live bool) []string {
	mode := testBox
	if live {
		mode = liveBox
	}
	parts := []string{v.Name, cmp.Or(c.Account, "ref:"+ref), mode}
	for _, name := range v.RedirectHeaders {
		connected, _ := c.Get(name)
		parts = append(parts, connected)
	}
	return parts
}

// object is the ledger's name of a vendor's object, or empty.
func (a *attempt) object(id string) string { return objectIn(a.scope(), id) }

func objectIn(scope []string, id string) string {
	if id == "" {
		return ""
	}
	return scope[0] + ":" + digest(append([]string{"object"}, scope...)...)[:16] + ":" + id
}

// idempotency is the claim's id and the key that the vendor gets. The run is part of it, so that no run can reach
// another's replies by guessing its keys.
func (a *attempt) idempotency() string {
	return digest(append([]string{"idempotency", a.claims.Tenant, a.claims.Run, a.call.Key}, a.scope()...)...)
}

// repetition is what a repeat rule counts: the same request of the same run on the same account, whatever its
// idempotency key is and whichever of the run's keys makes it.
func (a *attempt) repetition() string {
	window := string(a.claims.policy.Repeat.Window) // another window is another rule
	return digest(append([]string{"repetition", window, a.claims.Run, a.asRead()}, a.scope()...)...)
}

// controls are the names whose revoke or pause stops this call.
func (a *attempt) controls() []string { return a.claims.controls(a.vendor.Name) }

// fingerprint is what makes two requests the same. The order of form parameters is not part of it.
func (a *attempt) fingerprint() string {
	if a.call.Operation.Body == vendors.JSON {
		return digest(a.asRead(), string(a.body))
	}
	return a.asRead()
}

// asRead is the request as it was read: two bodies that say the same in other words, such as JSON with more spaces, are
// one. A JSON value that reads as empty may be an attachment's bytes, which no parameter shows: then what stands there is
// compared as it was written, or the second of two mails would get the first one's answer and never be sent.
func (a *attempt) asRead() string {
	params := make([]string, 0, len(a.call.Params))
	unseen := false
	for _, p := range a.call.Params {
		params = append(params, digest(p.Name, p.Value))
		unseen = unseen || p.Value == ""
	}
	slices.Sort(params)
	if unseen && a.call.Operation.Body == vendors.JSON {
		var text bytes.Buffer
		if json.Compact(&text, a.body) != nil { // it was read, so it can be
			text.Write(a.body)
		}
		params = append(params, digest(text.String()))
	}
	return digest(a.call.Operation.Name, a.call.Path, strings.Join(params, ""))
}

// digest is a SHA-256 of parts, each with its length before it, in hex.
func digest(parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		_ = binary.Write(h, binary.BigEndian, uint64(len(p)))
		_, _ = h.Write([]byte(p))
	}
	return hex.EncodeToString(h.Sum(nil))
}

func closeRest(l flight.Landing) {
	if l.Rest != nil {
		_ = l.Rest.Close()
	}
}

var errTooLarge = errors.New("keybrake: the vendor's reply is longer than Config.MaxReply")
