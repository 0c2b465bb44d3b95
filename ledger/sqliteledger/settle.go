package sqliteledger

import (
	"context"
	"errors"
	"slices"

	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/ledger"
)

// Settle books the outcome of a call. After an error the hold stands, or the outcome is booked: saying it again
// is safe and finds out.
func (l *Ledger) Settle(ctx context.Context, h ledger.Hold, s ledger.Settlement) (ledger.Receipt, error) {
	if err := s.Valid(); err != nil {
		return ledger.Receipt{}, err
	}
	type outcome struct {
		ledger.Receipt
		err error // beside what stays written
	}
	o, err := change(ctx, l, h.Tenant, func(b *books) (outcome, error) {
		rec := b.hold(h.ID)
		if rec == nil {
			return outcome{}, ledger.ErrNoHold
		}
		receipt, err := b.settle(rec, s)
		return outcome{receipt, err}, nil
	})
	if err != nil {
		return ledger.Receipt{}, err
	}
	return o.Receipt, o.err
}

func (b *books) settle(rec *hold, s ledger.Settlement) (ledger.Receipt, error) {
	if s.Phase == ledger.Doubt {
		return b.keep(rec, s, nil, nil)
	}
	entries := rec.plain().Entries
	booked, strays, err := ledger.Amounts(entries, s.Actual)
	if err != nil || len(strays) > 0 {
		return b.keep(rec, s, strays, err)
	}
	held, strays, err := ledger.Amounts(entries, s.Held)
	if err != nil || len(strays) > 0 {
		return b.keep(rec, s, strays, err)
	}
	for i, e := range entries {
		if e.Meter == cost.Calls {
			held[i] = 0
		}
	}
	if rec.Phase == ledger.Settled {
		err := b.same(rec, booked)
		if err == nil {
			b.learn(rec, s)
		}
		return b.receipt(rec, rec.over), err
	}
	part, by := ledger.Overrun(rec.parts, booked, held)
	b.book(rec, booked, held)
	if part >= 0 {
		rec.States = b.states(rec.Key, rec.parts)
		b.overran(rec, part, by)
		b.alert(rec)
	}
	rec.Phase, rec.Memo = s.Phase, s.MemoAfter(rec.Memo)
	b.carry(rec, s)
	b.put(rec, retention)
	return b.receipt(rec, rec.over), nil
}

// overran freezes the key of a call that has cost more than was held, and tells of both.
func (b *books) overran(rec *hold, part int, by int64) {
	if !rec.over {
		b.tell(ledger.Alert{ID: ledger.OverrunID(rec.ID), Kind: ledger.AlertOverrun, Key: rec.Key, Hold: rec.ID, State: rec.States[part], Excess: by})
	}
	if b.exec(`UPDATE keys SET frozen = 1 WHERE tenant = ? AND id = ? AND frozen = 0`, b.tenant, rec.Key) > 0 {
		b.tell(ledger.Alert{ID: ledger.FrozenID(rec.ID, b.now), Kind: ledger.AlertFrozen, Key: rec.Key, Hold: rec.ID})
	}
	rec.over = true
}

// keep leaves a hold in doubt: nobody knows its outcome yet, or its cost came back on a meter or in a currency
// that no budget of it counts, or out of range.
func (b *books) keep(rec *hold, s ledger.Settlement, strays []cost.Line, err error) (ledger.Receipt, error) {
	if rec.Phase == ledger.InFlight {
		rec.Phase = ledger.Doubt
		b.put(rec, retention)
	}
	if rec.Phase == ledger.Doubt {
		b.learn(rec, s)
	}
	r := b.receipt(rec, rec.over)
	r.Strays = strays
	return r, err
}

// learn keeps the memo of a settlement that books nothing, and changes nothing else: neither an amount nor for how
// long the row is remembered.
func (b *books) learn(rec *hold, s ledger.Settlement) {
	if memo := s.MemoAfter(rec.Memo); memo != rec.Memo {
		rec.Memo = memo
		b.exec(`UPDATE holds SET memo = ? WHERE tenant = ? AND id = ?`, memo, b.tenant, rec.ID)
	}
}

// same says whether a settled reservation was settled with these amounts, before it was adjusted.
func (b *books) same(rec *hold, booked []int64) error {
	for _, a := range b.adjustments(rec.ID) {
		if len(a.Deltas) != len(booked) {
			return errors.New("sqliteledger: an adjustment's row does not fit its reservation's")
		}
		for i := range booked {
			booked[i] += a.Deltas[i]
		}
	}
	for i, e := range rec.parts {
		if e.Booked != booked[i] {
			return ledger.ErrSettled
		}
	}
	return nil
}

// book moves each part to its new amounts.
func (b *books) book(rec *hold, booked, held []int64) {
	for i := range rec.parts {
		p := &rec.parts[i]
		b.add(tallyOf(rec.Key, p.Entry), p.Of, p.Start, p.End, booked[i]-p.Booked, held[i]-p.Held)
		p.Booked, p.Held = booked[i], held[i]
	}
}

// receipt reports the budgets of rec as they stand.
func (b *books) receipt(rec *hold, over bool) ledger.Receipt {
	return ledger.Receipt{Over: over, States: b.states(rec.Key, rec.parts)}
}

// Release gives a hold back.
func (l *Ledger) Release(ctx context.Context, h ledger.Hold, unsent bool) error {
	if h.Attached {
		return nil
	}
	_, err := change(ctx, l, h.Tenant, func(b *books) (struct{}, error) { return struct{}{}, b.release(h, unsent) })
	return err
}

func (b *books) release(h ledger.Hold, unsent bool) error {
	rec := b.hold(h.ID)
	switch {
	case rec == nil:
		// A reserve that is still on its way must find that it came too late.
		b.put(&hold{Hold: ledger.Hold{ID: h.ID, Key: h.Key, Phase: ledger.Released}}, retention)
		return nil
	case rec.Phase == ledger.Released:
		return nil
	case rec.Phase == ledger.Settled:
		return ledger.ErrSettled
	case rec.Retries > 0 && rec.Phase == ledger.Pending && h.Phase == ledger.InFlight:
		return nil // the retry was executed meanwhile: what the first attempt's refusal proves is about itself
	case rec.Retries > 0 && (rec.Phase == ledger.InFlight || rec.Phase == ledger.Doubt && (h.Phase != ledger.Doubt || !h.RetryUntil.Equal(rec.RetryUntil))):
		// The retry may have been executed. Only who has seen the doubt, by InDoubt or Find, can resolve it: this
		// same release sent a second time must not, nor may one of who saw it before another retry has attached.
		rec.Phase = ledger.Doubt
	default:
		b.giveBack(rec, unsent && rec.Phase == ledger.InFlight)
	}
	b.put(rec, retention)
	return nil
}

// giveBack returns each part to the level that the object held before the call. That level counts no more once
// another reservation has told the object's level, and a release never raises what is held.
func (b *books) giveBack(rec *hold, calls bool) {
	booked, held := make([]int64, len(rec.parts)), make([]int64, len(rec.parts))
	carries := b.carries(rec)
	rec.Phase = ledger.Released
	for i, p := range rec.parts {
		if p.Meter == cost.Calls && !calls {
			booked[i] = p.Booked
		}
		if carries {
			held[i] = min(p.Base, p.Held)
		}
		if held[i] > 0 {
			rec.Phase = ledger.Pending
		}
	}
	b.book(rec, booked, held)
	// What is left is the object's level: a retry is a new spend.
	b.exec(`DELETE FROM claims WHERE tenant = ? AND id = ? AND hold = ?`, b.tenant, rec.claim, rec.ID)
	if rec.Phase == ledger.Released {
		b.letGo(rec)
	}
}

// carry makes rec the carrier of its object, and ends another one: the reply has told the object's level.
func (b *books) carry(rec *hold, s ledger.Settlement) {
	if s.Object != "" && s.Object != rec.Object {
		b.letGo(rec)
		rec.Object = s.Object
	}
	if rec.Object == "" {
		return
	}
	if other := b.pending(rec.Object); other != nil && other.ID != rec.ID && other.ID == rec.saw {
		b.absorb(other)
	}
	if slices.ContainsFunc(rec.parts, func(p ledger.Part) bool { return p.Held > 0 }) {
		b.setCarrier(rec.Object, rec.ID)
	} else {
		b.letGo(rec)
	}
}

// carrierOf is the id of the reservation that carries an object's hold, or empty.
func (b *books) carrierOf(object string) (id string) {
	b.get(`SELECT hold FROM carriers WHERE tenant = ? AND object = ?`, []any{b.tenant, object}, &id)
	return id
}

// pending returns the reservation that carries an object's hold, if it is pending, or nil. One that is in flight or
// in doubt gives no credit: what it will cost is open, so both levels are held.
func (b *books) pending(object string) *hold {
	if object == "" {
		return nil
	}
	if h := b.hold(b.carrierOf(object)); h != nil && h.Phase == ledger.Pending {
		return h
	}
	return nil
}

func (b *books) carries(rec *hold) bool { return rec.Object != "" && b.carrierOf(rec.Object) == rec.ID }

func (b *books) setCarrier(object, id string) {
	b.exec(`INSERT INTO carriers (tenant, object, hold) VALUES (?, ?, ?) ON CONFLICT (tenant, object) DO UPDATE SET hold = excluded.hold`,
		b.tenant, object, id)
}

// letGo ends rec's carrying. Where another reservation carries the object, it goes on doing so.
func (b *books) letGo(rec *hold) {
	if rec.Object != "" {
		b.exec(`DELETE FROM carriers WHERE tenant = ? AND object = ? AND hold = ?`, b.tenant, rec.Object, rec.ID)
	}
}

// absorb gives back what another reservation holds for the object of one that has told the object's level.
func (b *books) absorb(carrier *hold) {
	for _, p := range carrier.parts {
		b.add(tallyOf(carrier.Key, p.Entry), p.Of, p.Start, p.End, 0, -p.Held)
	}
	b.letGo(carrier)
	b.absorbed(carrier)
}

// absorbed ends the carrier, whose hold has passed to the reservation that takes it over.
func (b *books) absorbed(carrier *hold) {
	for i := range carrier.parts {
		carrier.parts[i].Held = 0
	}
	carrier.Phase = ledger.Settled
	b.put(carrier, retention)
}
