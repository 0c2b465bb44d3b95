package memory

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/ledger"
)

// Raise adds lines to a hold that is in flight.
func (l *Ledger) Raise(_ context.Context, h ledger.Hold, r ledger.Request) (ledger.Hold, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	t, now := l.open(r.Tenant), l.Now()
	rec := t.holds[h.ID]
	switch {
	case rec == nil:
		return h, ledger.ErrNoHold
	case rec.Phase != ledger.InFlight || rec.Nonce != r.Nonce:
		return h, fmt.Errorf("ledger: reservation %s is not in flight", h.ID)
	case rec.raised:
		return rec.copy(), nil
	case rec.Key != r.Key:
		return h, fmt.Errorf("ledger: reservation %s is another key's", h.ID)
	case rec.Object != "" && r.Object != "" && rec.Object != r.Object:
		return h, fmt.Errorf("ledger: reservation %s moves another object", h.ID)
	}
	if err := t.admit(r, now); err != nil {
		return h, err
	}
	would := rec.Would
	rec.Would = nil
	if err := t.charge(rec, r, now); err != nil {
		rec.Would = would
		return h, err
	}
	rec.raised, rec.probing, rec.Memo = true, false, r.Memo
	return rec.copy(), nil
}

// Settle books the outcome of a call.
func (l *Ledger) Settle(_ context.Context, h ledger.Hold, s ledger.Settlement) (ledger.Receipt, error) {
	if err := s.Valid(); err != nil {
		return ledger.Receipt{}, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	t, now := l.open(h.Tenant), l.Now()
	rec := t.holds[h.ID]
	if rec == nil {
		return ledger.Receipt{}, ledger.ErrNoHold
	}
	if s.Phase == ledger.Doubt {
		return t.keep(rec, s, nil, nil)
	}
	entries := rec.copy().Entries
	booked, strays, err := ledger.Amounts(entries, s.Actual)
	if err != nil || len(strays) > 0 {
		return t.keep(rec, s, strays, err)
	}
	held, strays, err := ledger.Amounts(entries, s.Held)
	if err != nil || len(strays) > 0 {
		return t.keep(rec, s, strays, err)
	}
	for i, e := range entries {
		if e.Meter == cost.Calls {
			held[i] = 0
		}
	}
	if rec.Phase == ledger.Settled {
		err := rec.same(booked)
		if err == nil {
			rec.Memo = s.MemoAfter(rec.Memo)
		}
		return t.receipt(rec, rec.over), err
	}
	part, by := ledger.Overrun(rec.parts, booked, held)
	t.book(rec, booked, held)
	if part >= 0 {
		rec.States = t.states(rec)
		t.overran(rec, part, by, now)
		t.alert(rec, now)
	}
	rec.Phase, rec.Memo = s.Phase, s.MemoAfter(rec.Memo)
	t.carry(rec, s, now)
	if rec.Phase == ledger.Settled {
		t.end(rec.ID, now)
	}
	return t.receipt(rec, rec.over), nil
}

// overran freezes the key of a call that has cost more than was held, and tells of both.
func (t *tenant) overran(rec *hold, part int, by int64, now time.Time) {
	if !rec.over {
		t.tell(ledger.Alert{ID: ledger.OverrunID(rec.ID), Kind: ledger.AlertOverrun, Key: rec.Key, Hold: rec.ID, State: rec.States[part], Excess: by, At: now})
	}
	if k := t.keys[rec.Key]; !k.frozen {
		t.tell(ledger.Alert{ID: ledger.FrozenID(rec.ID, now), Kind: ledger.AlertFrozen, Key: rec.Key, Hold: rec.ID, At: now})
		k.frozen = true
	}
	rec.over = true
}

// keep leaves a hold in doubt: nobody knows its outcome yet, or its cost came back on a meter or in a currency that
// no budget of it counts, or out of range.
func (t *tenant) keep(rec *hold, s ledger.Settlement, strays []cost.Line, err error) (ledger.Receipt, error) {
	if rec.Phase == ledger.InFlight {
		rec.Phase = ledger.Doubt
	}
	if rec.Phase == ledger.Doubt {
		rec.Memo = s.MemoAfter(rec.Memo)
	}
	r := t.receipt(rec, rec.over)
	r.Strays = strays
	return r, err
}

func (h *hold) same(booked []int64) error {
	for i, e := range h.parts {
		for _, a := range h.Adjustments {
			booked[i] += a.Deltas[i]
		}
		if e.Booked != booked[i] {
			return ledger.ErrSettled
		}
	}
	return nil
}

// book moves each entry to its new amounts.
func (t *tenant) book(rec *hold, booked, held []int64) {
	for i := range rec.parts {
		e := &rec.parts[i].Entry
		t.counter(tallyOf(rec.Key, *e)).add(e.Start, booked[i]-e.Booked, held[i]-e.Held)
		e.Booked, e.Held = booked[i], held[i]
	}
}

// carry makes rec the carrier of its object, and ends another one: the reply has told the object's level.
func (t *tenant) carry(rec *hold, s ledger.Settlement, now time.Time) {
	if s.Object != "" && s.Object != rec.Object {
		t.drop(rec)
		rec.Object = s.Object
	}
	if rec.Object == "" {
		return
	}
	if other := t.holds[t.carriers[rec.Object]]; other != nil && other != rec && other.Phase == ledger.Pending && other.ID == rec.saw {
		t.absorb(other, now)
	}
	if slices.ContainsFunc(rec.parts, func(p ledger.Part) bool { return p.Held > 0 }) {
		t.carriers[rec.Object] = rec.ID
	} else {
		t.drop(rec)
	}
}

// absorb gives back what another reservation holds for the object of one that has told the object's level.
func (t *tenant) absorb(carrier *hold, now time.Time) {
	for _, p := range carrier.parts {
		t.counter(tallyOf(carrier.Key, p.Entry)).add(p.Start, 0, -p.Held)
	}
	t.drop(carrier)
	t.absorbed(carrier, now)
}

// drop ends rec's carrying. Where another reservation carries the object, it goes on doing so.
func (t *tenant) drop(rec *hold) {
	if t.carriers[rec.Object] == rec.ID {
		delete(t.carriers, rec.Object)
	}
}

// receipt reports the budgets of rec as they stand.
func (t *tenant) receipt(rec *hold, over bool) ledger.Receipt {
	return ledger.Receipt{Over: over, States: t.states(rec)}
}

// Adjust corrects what a settled reservation has cost.
func (l *Ledger) Adjust(_ context.Context, tenant, id string, a ledger.Adjustment) (ledger.Receipt, error) {
	if err := a.Valid(); err != nil {
		return ledger.Receipt{}, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	t, now := l.open(tenant), l.Now()
	rec := t.holds[id]
	switch {
	case rec == nil || rec.Phase == ledger.Released && len(rec.parts) == 0:
		return ledger.Receipt{}, ledger.ErrNoHold
	case rec.Phase != ledger.Settled && rec.Phase != ledger.Released:
		return ledger.Receipt{}, ledger.ErrOpen
	}
	booked, strays, err := ledger.Amounts(rec.copy().Entries, a.Actual)
	if err != nil || len(strays) > 0 {
		return ledger.Receipt{States: t.states(rec), Strays: strays}, err
	}
	if i := slices.IndexFunc(rec.Adjustments, func(o ledger.Adjustment) bool { return o.ID == a.ID }); i >= 0 {
		if !slices.Equal(rec.Adjustments[i].Actual, a.Actual) {
			return t.receipt(rec, false), ledger.ErrAdjusted
		}
		return t.receipt(rec, rec.Adjustments[i].Rose()), nil
	}
	if len(rec.Adjustments) == ledger.MostAdjustments {
		return t.receipt(rec, false), fmt.Errorf("ledger: reservation %s has %d adjustments, the most it can have", id, ledger.MostAdjustments)
	}
	a.At, a.Actual, a.Deltas = now, slices.Clone(a.Actual), make([]int64, len(booked))
	for i, p := range rec.parts {
		a.Deltas[i] = booked[i] - p.Booked
	}
	rec.Adjustments = append(rec.Adjustments, a)
	rec.Phase = ledger.Settled
	t.book(rec, booked, make([]int64, len(booked)))
	rec.States = t.states(rec)
	t.alert(rec, now)
	return t.receipt(rec, a.Rose()), nil
}

// Release gives a hold back.
func (l *Ledger) Release(_ context.Context, h ledger.Hold, unsent bool) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	t, now := l.open(h.Tenant), l.Now()
	rec := t.holds[h.ID]
	switch {
	case h.Attached:
		return nil
	case rec == nil:
		// A reserve that is still on its way must find that it came too late.
		t.holds[h.ID] = &hold{Hold: ledger.Hold{Tenant: h.Tenant, ID: h.ID, Key: h.Key, Phase: ledger.Released}}
		t.end(h.ID, now)
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
		return nil
	}
	t.giveBack(rec, unsent && rec.Phase == ledger.InFlight)
	if rec.Phase == ledger.Released {
		t.end(rec.ID, now)
	}
	return nil
}

// giveBack returns each part to the level that the object held before the call. That level counts no more once
// another reservation has told the object's level, and a release never raises what is held.
func (t *tenant) giveBack(rec *hold, calls bool) {
	booked, held := make([]int64, len(rec.parts)), make([]int64, len(rec.parts))
	rec.Phase = ledger.Released
	for i, p := range rec.parts {
		if p.Meter == cost.Calls && !calls {
			booked[i] = p.Booked
		}
		if t.carriers[rec.Object] == rec.ID {
			held[i] = min(p.Base, p.Held)
		}
		if held[i] > 0 {
			rec.Phase = ledger.Pending
		}
	}
	t.book(rec, booked, held)
	if t.claims[rec.claim].id == rec.ID {
		delete(t.claims, rec.claim) // what is left is the object's level: a retry is a new spend
	}
	if rec.Phase == ledger.Released {
		t.drop(rec)
	}
}

// InDoubt lists the holds that need a look.
func (l *Ledger) InDoubt(_ context.Context, tenant string) ([]ledger.Hold, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var holds []ledger.Hold
	for _, h := range l.open(tenant).holds {
		if h.Phase == ledger.Doubt || h.Phase == ledger.InFlight && !h.Deadline.After(l.Now()) {
			holds = append(holds, h.copy())
		}
	}
	slices.SortFunc(holds, func(a, b ledger.Hold) int { return a.Deadline.Compare(b.Deadline) })
	return holds, nil
}

// Unsettled lists the holds that are open.
func (l *Ledger) Unsettled(_ context.Context, tenant string, names ...string) ([]ledger.Hold, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var holds []ledger.Hold
	for _, h := range l.open(tenant).holds {
		open := h.Phase == ledger.InFlight || h.Phase == ledger.Pending || h.Phase == ledger.Doubt
		if open && h.stoppedBy(names) {
			holds = append(holds, h.copy())
		}
	}
	slices.SortFunc(holds, func(a, b ledger.Hold) int { return a.Deadline.Compare(b.Deadline) })
	return holds, nil
}

func (h *hold) stoppedBy(names []string) bool {
	return len(names) == 0 || slices.ContainsFunc(names, func(n string) bool { return slices.Contains(h.Controls, n) })
}

// Reservations goes through what is remembered, in the order of the ids.
func (l *Ledger) Reservations(_ context.Context, tenant string, each func(ledger.Hold) error) error {
	l.mu.Lock()
	t := l.open(tenant)
	var holds []ledger.Hold
	for _, id := range slices.Sorted(maps.Keys(t.holds)) {
		if h := t.holds[id]; h.first == nil {
			holds = append(holds, h.copy())
		}
	}
	l.mu.Unlock()
	for _, h := range holds {
		if err := each(h); err != nil {
			return err
		}
	}
	return nil
}

// Alert stores an alert that the caller has seen, once for its id.
func (l *Ledger) Alert(_ context.Context, tenant string, a ledger.Alert) error {
	if err := a.Valid(); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	t, now := l.open(tenant), l.Now()
	maps.DeleteFunc(t.told, func(_ string, until time.Time) bool { return !until.After(now) })
	if _, told := t.told[a.ID]; told {
		return nil
	}
	t.told[a.ID] = now.Add(ledger.AlertMemory)
	t.tell(ledger.Alert{ID: a.ID, Kind: a.Kind, Key: a.Key, Hold: a.Hold, Memo: a.Memo, At: now})
	return nil
}

// Alerts lists the alerts that were not acknowledged.
func (l *Ledger) Alerts(_ context.Context, tenant string) ([]ledger.Alert, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.open(tenant).alerts), nil
}

// Acknowledge forgets alerts.
func (l *Ledger) Acknowledge(_ context.Context, tenant string, ids ...string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.open(tenant)
	t.alerts = slices.DeleteFunc(t.alerts, func(a ledger.Alert) bool { return slices.Contains(ids, a.ID) })
	return nil
}

// Find returns one hold.
func (l *Ledger) Find(_ context.Context, tenant, id string) (ledger.Hold, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	h := l.open(tenant).holds[id]
	if h == nil {
		return ledger.Hold{}, ledger.ErrNoHold
	}
	return h.copy(), nil
}
