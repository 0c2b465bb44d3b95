package keybrake

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/keybrake/keybrake-go/audit"
	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/internal/flight"
	"github.com/keybrake/keybrake-go/ledger"
	"github.com/keybrake/keybrake-go/vendors"
)

// A sending is a call as it went out, with what it takes to send it again as a retry of itself.
type sending struct {
	Method      string        `json:"method"`
	Query       string        `json:"query,omitempty"`
	Body        []byte        `json:"body,omitempty"`
	Header      http.Header   `json:"header"`
	Claim       string        `json:"claim"`
	Fingerprint string        `json:"fingerprint"`
	Memory      time.Duration `json:"memory"`
	Expires     time.Time     `json:"expires"` // of the vault key
}

// mostSending is how long a call may be, in bytes, to be kept for sending it again.
const mostSending = 4 << 10

// sending is what is kept of a for [Config.InsecureResend]; nil where that is not wanted, or nothing protects a second
// send, or the call is too long to be kept.
func (a *attempt) sending() *sending {
	if a.cfg.InsecureResend == 0 || !a.protected() {
		return nil
	}
	out := a.outgoing(a.id)
	if len(out.Query)+len(out.Body) > mostSending {
		return nil
	}
	return &sending{
		Method: out.Method, Query: out.Query, Body: out.Body, Header: out.Header,
		Claim: a.idempotency(), Fingerprint: a.fingerprint(), Memory: a.call.Operation.KeyMemory, Expires: a.claims.expires(),
	}
}

// sendAgain sends a call in doubt once more, as a retry under its own idempotency key, and returns what the answer
// proves. Like any retry it passes the ledger first: a key that was revoked, paused or has expired sends nothing. It is
// sent only where the ledger attaches it to the hold of the first attempt, so that it is the same spend.
func (b *Brake) sendAgain(ctx context.Context, it *item) (vendors.Finding, error) {
	s, h := it.kept.Again, it.hold
	permit, err := b.gate.Reserve(ctx, ledger.Request{
		Tenant: h.Tenant, ID: newID("r"), Nonce: newID("n"), Key: h.Key, Expires: s.Expires, Controls: h.Controls,
		Operation: h.Operation, Lines: []cost.Line{countsCall}, Deadline: b.flight(),
		Claim: &ledger.Claim{ID: s.Claim, Fingerprint: s.Fingerprint, Memory: s.Memory},
	})
	if err != nil {
		return vendors.Finding{}, fmt.Errorf("send again: %w", err)
	}
	if got := permit.Hold(); !got.Attached || got.ID != h.ID {
		_ = permit.Release(ctx, true) // the claim is gone: it would be another spend
		return vendors.Finding{Why: "the ledger does not know the call's idempotency key any more"}, nil
	}
	r := it.record("sent again under its own idempotency key")
	r.Kind, r.Attached, r.Verdict = audit.Intent, true, audit.Allow
	if err := b.write(ctx, r); err != nil {
		_ = permit.Release(ctx, true)
		return vendors.Finding{}, fmt.Errorf("send again: the audit sink did not take the record, so nothing is sent: %w", err)
	}
	landing := clean(it.secret, permit.Forward(ctx, flight.Outgoing{
		Method: s.Method, Host: it.kept.Host, Path: it.kept.Path, Query: s.Query, Header: s.Header, Body: s.Body,
		Credential: func() http.Header { return headersOf(it.secret) },
	}))
	closeRest(landing)
	if landing.Err != nil || landing.Cut != nil || landing.Rest != nil {
		return vendors.Finding{Why: "it was sent again, and no whole answer came"}, nil
	}
	return it.answered(&vendors.Reply{Status: landing.Status, Header: landing.Header, Body: landing.Body}), nil
}

// answered is what the answer to a second send proves: an execution, or nothing. A refusal says nothing of the first.
func (it *item) answered(r *vendors.Reply) (f vendors.Finding) {
	f.Why = fmt.Sprintf("sent again, it was answered with status %d", r.Status)
	bound := vendors.Bound{Kind: it.kept.Kind, Lines: it.kept.Lines, Object: it.kept.Object}
	outcome, settled, err := readReply(it.call, bound, r)
	switch {
	case err != nil:
		f.Why += ", which cannot be read"
	case outcome == vendors.Executed || outcome == vendors.Pending:
		f.Outcome, f.Cost = outcome, settled
	}
	return f
}
