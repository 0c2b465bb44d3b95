package memory

import (
	"context"
	"fmt"
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
	}
	k, err := t.admit(r, now)
	if err != nil {
		return h, err
	}
	if err := t.charge(k, rec, r, now); err != nil {
		return h, err
	}
	rec.raised = true
	return rec.copy(), nil
}

// Settle books the outcome of a call.
func (l *Ledger) Settle(_ context.Context, h ledger.Hold, s ledger.Settlement) (ledger.Receipt, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	t, now := l.open(h.Tenant), l.Now()
	rec := t.holds[h.ID]
	if rec == nil {
		return ledger.Receipt{}, ledger.ErrNoHold
	}
	if s.Phase == ledger.Doubt {
		if rec.Phase == ledger.InFlight {
			rec.Phase = ledger.Doubt
		}
		return t.receipt(rec, false), nil
	}
	booked, strays, err := ledger.Amounts(rec.Entries, s.Actual)
	if err != nil || len(strays) > 0 {
		return t.keep(rec, strays)
	}
	held, strays, err := ledger.Amounts(rec.Entries, s.Held)
	if err != nil || len(strays) > 0 {
		return t.keep(rec, strays)
	}
	for i, e := range rec.Entries {
		if e.Meter == cost.Calls {
			held[i] = 0
		}
	}
	if rec.Phase == ledger.Settled {
		return t.receipt(rec, false), rec.same(booked)
	}
	over := t.book(rec, booked, held)
	rec.Phase = s.Phase
	t.carry(rec, s, now)
	if rec.Phase == ledger.Settled {
		t.end(rec.ID, now)
	}
	return t.receipt(rec, over), nil
}

// keep leaves a hold in doubt whose cost came back on a meter or in a currency that no budget of it counts.
func (t *tenant) keep(rec *hold, strays []cost.Line) (ledger.Receipt, error) {
	if rec.Phase == ledger.InFlight {
		rec.Phase = ledger.Doubt
	}
	r := t.receipt(rec, false)
	r.Strays = strays
	return r, nil
}

func (h *hold) same(booked []int64) error {
	for i, e := range h.Entries {
		if e.Booked != booked[i] {
			return ledger.ErrSettled
		}
	}
	return nil
}

// book moves each entry to its new amounts and freezes the key when the vendor took more than was reserved.
func (t *tenant) book(rec *hold, booked, held []int64) (over bool) {
	for i := range rec.Entries {
		e := &rec.Entries[i]
		over = over || booked[i]+held[i] > e.Booked+e.Held
		c := t.cell(t.keys[rec.Key], *e)
		c.spent += booked[i] - e.Booked
		c.held += held[i] - e.Held
		e.Booked, e.Held = booked[i], held[i]
	}
	if over {
		t.keys[rec.Key].frozen = true
	}
	return over
}

// carry makes rec the carrier of its object, and ends another one: the reply has told the object's level.
func (t *tenant) carry(rec *hold, s ledger.Settlement, now time.Time) {
	if s.Object != "" {
		rec.Object = s.Object
	}
	if rec.Object == "" {
		return
	}
	if other := t.holds[t.carriers[rec.Object]]; other != nil && other != rec && other.Phase == ledger.Pending {
		t.absorb(other, now)
	}
	delete(t.carriers, rec.Object)
	if slices.ContainsFunc(rec.Entries, func(e ledger.Entry) bool { return e.Held > 0 }) {
		t.carriers[rec.Object] = rec.ID
	}
}

// receipt reports the budgets of rec as they stand.
func (t *tenant) receipt(rec *hold, over bool) ledger.Receipt {
	r := ledger.Receipt{Over: over, States: slices.Clone(rec.States)}
	for i := range r.States {
		e := ledger.Entry{Budget: r.States[i].Name, Shared: r.States[i].Shared, Start: r.States[i].Start.UnixMicro()}
		c := t.cell(t.keys[rec.Key], e)
		r.States[i].Spent, r.States[i].Held = c.spent, c.held
	}
	return r
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
	case rec.attached && rec.Phase == ledger.InFlight:
		rec.Phase = ledger.Doubt
		return nil
	}
	t.giveBack(rec, unsent && rec.Phase == ledger.InFlight)
	if rec.Phase == ledger.Released {
		t.end(rec.ID, now)
	}
	return nil
}

// giveBack returns each entry to the level that the object held before the call.
func (t *tenant) giveBack(rec *hold, calls bool) {
	booked, held := make([]int64, len(rec.Entries)), make([]int64, len(rec.Entries))
	rec.Phase = ledger.Released
	for i, e := range rec.Entries {
		if e.Meter == cost.Calls && !calls {
			booked[i] = e.Booked
		}
		if held[i] = rec.base[i]; held[i] > 0 {
			rec.Phase = ledger.Pending
		}
	}
	t.book(rec, booked, held)
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
