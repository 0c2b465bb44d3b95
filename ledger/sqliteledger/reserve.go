package sqliteledger

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/keybrake/keybrake-go/ledger"
	"github.com/keybrake/keybrake-go/reason"
)

// Reserve admits a call and holds its lines. When it returns a hold, that is on disk. A *[ledger.Denied] is a
// verdict; after any other error the call must not be made, though its hold may stand until it is released by id.
func (l *Ledger) Reserve(ctx context.Context, r ledger.Request) (ledger.Hold, error) {
	return change(ctx, l, r.Tenant, func(b *books) (ledger.Hold, error) { return b.reserve(r) })
}

func (b *books) reserve(r ledger.Request) (ledger.Hold, error) {
	if old := b.hold(r.ID); old != nil {
		return b.replay(old, r)
	}
	if err := b.admit(r); err != nil {
		return ledger.Hold{}, err
	}
	first, err := b.claimed(r)
	if err != nil {
		return ledger.Hold{}, err
	}
	var would []ledger.Shortfall
	if r.Repeat != nil && first == nil {
		if would, err = b.repeated(*r.Repeat); err != nil {
			return ledger.Hold{}, err
		}
	}
	if first != nil || r.Read {
		r.Lines, r.Object = ledger.CallsOnly(r.Lines), ""
	}
	h := &hold{Hold: ledger.Hold{
		Tenant: r.Tenant, ID: r.ID, Nonce: r.Nonce, Key: r.Key, Operation: r.Operation,
		Phase: ledger.InFlight, Deadline: b.now.Add(r.Deadline), Controls: slices.Clone(r.Controls), Memo: r.Memo, Would: would,
	}, probing: r.Probing && first == nil}
	if err := b.charge(h, r); err != nil {
		return ledger.Hold{}, err
	}
	if r.Repeat != nil && first == nil {
		b.repeat(*r.Repeat)
	}
	switch {
	case first != nil:
		b.exec(`UPDATE holds SET attached = attached + 1, retry = max(retry, ?) WHERE tenant = ? AND id = ?`, h.Deadline.UnixMicro(), b.tenant, first.ID)
		h.Phase, h.first = ledger.Settled, first.ID
		b.put(h, retention)
	case r.Read:
		h.Phase = ledger.Settled
		if len(h.parts) > 0 || r.Repeat != nil { // what counts nothing may be asked twice
			b.put(h, retentionRead)
		}
	default:
		b.claims(h, r.Claim)
		b.put(h, retention)
	}
	return b.answer(h)
}

// replay answers the same reserve again.
func (b *books) replay(h *hold, r ledger.Request) (ledger.Hold, error) {
	if h.Nonce != r.Nonce || h.Phase == ledger.Released {
		return ledger.Hold{}, fmt.Errorf("sqliteledger: reservation id %s is taken", r.ID)
	}
	return b.answer(h)
}

// answer is what the caller of h's reserve is told: an attempt of a retry is told the first attempt's hold. It
// holds nothing of its own.
func (b *books) answer(h *hold) (ledger.Hold, error) {
	states := h.States
	if states == nil { // asked again
		states = b.states(h.Key, h.parts)
	}
	a := h.plain()
	if h.first != "" {
		first := b.hold(h.first)
		if first == nil {
			return ledger.Hold{}, ledger.ErrNoHold
		}
		a = first.plain()
		a.Attached, a.Would = true, h.Would
	}
	a.States = states
	return a, nil
}

// admit refuses a key that may not call at all.
func (b *books) admit(r ledger.Request) error {
	var frozen bool
	if !b.get(`SELECT frozen FROM keys WHERE tenant = ? AND id = ?`, []any{b.tenant, r.Key}, &frozen) {
		return &ledger.Denied{Code: reason.KeyUnknown, Name: r.Key}
	}
	if !r.Expires.After(b.now) {
		return &ledger.Denied{Code: reason.KeyExpired, Name: r.Key}
	}
	if err := b.stopped(r.Controls); err != nil {
		return err
	}
	if frozen {
		return &ledger.Denied{Code: reason.KeyFrozen, Name: r.Key}
	}
	return nil
}

// stopped refuses what is revoked, else what is paused.
func (b *books) stopped(names []string) error {
	if len(names) == 0 {
		return nil
	}
	args := []any{b.tenant}
	for _, n := range names {
		args = append(args, n)
	}
	verbs := map[string]ledger.Verb{}
	var name string
	var verb ledger.Verb
	b.each(`SELECT name, verb FROM controls WHERE tenant = ? AND name IN (?`+strings.Repeat(", ?", len(names)-1)+`)`,
		args, func() { verbs[name] = verb }, &name, &verb)
	for _, want := range []struct {
		verb ledger.Verb
		code reason.Code
	}{{ledger.Revoke, reason.KeyRevoked}, {ledger.Pause, reason.KeyPaused}} {
		for _, n := range names {
			if verbs[n] == want.verb {
				return &ledger.Denied{Code: want.code, Name: n}
			}
		}
	}
	return nil
}

// claimed returns the reservation that a retry belongs to, if the vendor still remembers its key.
func (b *books) claimed(r ledger.Request) (*hold, error) {
	if r.Claim == nil {
		return nil, nil
	}
	var id, fingerprint string
	var at int64
	if !b.get(`SELECT hold, fingerprint, at FROM claims WHERE tenant = ? AND id = ?`, []any{b.tenant, r.Claim.ID}, &id, &fingerprint, &at) {
		return nil, nil
	}
	first := b.hold(id)
	if first == nil || first.Phase == ledger.Released || b.now.Sub(time.UnixMicro(at)) >= r.Claim.Memory ||
		first.probing && !first.Deadline.After(b.now) {
		return nil, nil
	}
	switch {
	case fingerprint != r.Claim.Fingerprint:
		return nil, &ledger.Denied{Code: reason.IdempotencyConflict}
	case first.probing:
		return nil, &ledger.Denied{Code: reason.IdempotencyInFlight}
	}
	return first, nil
}

// claims ties h to its idempotency key.
func (b *books) claims(h *hold, c *ledger.Claim) {
	if c == nil {
		return
	}
	h.claim = c.ID
	b.exec(`
		INSERT INTO claims (tenant, id, hold, fingerprint, at) VALUES (?, ?, ?, ?, ?)
		ON CONFLICT (tenant, id) DO UPDATE SET hold = excluded.hold, fingerprint = excluded.fingerprint, at = excluded.at`,
		b.tenant, c.ID, h.ID, c.Fingerprint, b.micros())
}

// Raise adds lines to a hold that is in flight. A *[ledger.Denied] leaves it as it was.
func (l *Ledger) Raise(ctx context.Context, h ledger.Hold, r ledger.Request) (ledger.Hold, error) {
	raised, err := change(ctx, l, r.Tenant, func(b *books) (ledger.Hold, error) { return b.raise(h.ID, r) })
	if err != nil {
		return h, err
	}
	return raised, nil
}

func (b *books) raise(id string, r ledger.Request) (ledger.Hold, error) {
	h := b.hold(id)
	switch {
	case h == nil:
		return ledger.Hold{}, ledger.ErrNoHold
	case h.Phase != ledger.InFlight || h.Nonce != r.Nonce:
		return ledger.Hold{}, fmt.Errorf("sqliteledger: reservation %s is not in flight", id)
	case h.raised:
		return b.answer(h)
	case h.Key != r.Key:
		return ledger.Hold{}, fmt.Errorf("sqliteledger: reservation %s is another key's", id)
	case h.Object != "" && r.Object != "" && h.Object != r.Object:
		return ledger.Hold{}, fmt.Errorf("sqliteledger: reservation %s moves another object", id)
	}
	if err := b.admit(r); err != nil {
		return ledger.Hold{}, err
	}
	h.Would = nil
	if err := b.charge(h, r); err != nil {
		return ledger.Hold{}, err
	}
	h.raised, h.probing, h.Memo = true, false, r.Memo
	b.put(h, retention)
	return b.answer(h)
}
