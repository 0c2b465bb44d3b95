package sqliteledger

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/ledger"
	"github.com/keybrake/keybrake-go/reason"
)

// scope is whose budget it is.
func scope(key string, shared bool) string {
	if shared {
		return "shared"
	}
	return "key:" + key
}

// shared returns a shared budget's row.
func (b *books) shared(name string) (ledger.Budget, bool) {
	s := ledger.Budget{Name: name, Shared: true}
	var operations string
	if !b.get(`SELECT meter, currency, most, span, zone, operations FROM budgets WHERE tenant = ? AND name = ?`,
		[]any{b.tenant, name}, &s.Meter, &s.Currency, &s.Limit, &s.Window, &s.Zone, &operations) {
		return s, false
	}
	if json.Unmarshal([]byte(operations), &s.Operations) != nil || s.Valid() != nil {
		b.fail(errors.New("a shared budget's row cannot be read")) // what is wrong may quote it
	}
	return s, true
}

// resolve replaces shared budgets by their rows. A token's limit can only lower the row's.
func (b *books) resolve(budgets []ledger.Budget) ([]ledger.Budget, error) {
	out := slices.Clone(budgets)
	for i, t := range out {
		if !t.Shared {
			continue
		}
		row, ok := b.shared(t.Name)
		if !ok {
			return nil, &ledger.Denied{Code: reason.BudgetMissing, Name: t.Name}
		}
		out[i] = ledger.Lower(row, t)
	}
	return out, nil
}

// state returns a budget's amounts in the window that holds now. It changes nothing: only a call that is admitted
// enters a new window.
func (b *books) state(key string, of ledger.Budget) (ledger.State, error) {
	start, end, err := ledger.Window(of, b.now)
	if err != nil {
		return ledger.State{}, err
	}
	var from, to, spent, held int64
	known := b.get(`SELECT start, stop, spent, held FROM amounts WHERE tenant = ? AND scope = ? AND budget = ? ORDER BY start DESC LIMIT 1`,
		[]any{b.tenant, scope(key, of.Shared), of.Name}, &from, &to, &spent, &held)
	switch {
	case known && from > start: // the clock went back; the newer window stands
		start, end = from, to
	case !known || from < start:
		spent, held = 0, 0
	}
	return stateOf(of, start, end, spent, held), nil
}

func stateOf(of ledger.Budget, start, end, spent, held int64) ledger.State {
	s := ledger.State{Budget: of, Spent: spent, Held: held, Start: time.UnixMicro(start)}
	if end != 0 {
		s.Reset = time.UnixMicro(end)
	}
	return s
}

// states are the budgets of parts as they stand, each in its part's window.
func (b *books) states(key string, parts []ledger.Part) []ledger.State {
	states := make([]ledger.State, len(parts))
	for i, p := range parts {
		var spent, held int64
		b.get(`SELECT spent, held FROM amounts WHERE tenant = ? AND scope = ? AND budget = ? AND start = ?`,
			[]any{b.tenant, scope(key, p.Shared), p.Budget, p.Start}, &spent, &held)
		states[i] = stateOf(p.Of, p.Start, p.End, spent, held)
	}
	return states
}

// add moves the amounts of a budget in one window. The first to enter a window makes its row, and then old ones go
// in which nothing is held.
func (b *books) add(key string, e ledger.Entry, end, spent, held int64) {
	at := []any{b.tenant, scope(key, e.Shared), e.Budget, e.Start}
	if b.exec(`UPDATE amounts SET spent = spent + ?, held = held + ? WHERE tenant = ? AND scope = ? AND budget = ? AND start = ?`,
		append([]any{spent, held}, at...)...) > 0 {
		return
	}
	b.exec(`INSERT INTO amounts (tenant, scope, budget, start, stop, spent, held) VALUES (?, ?, ?, ?, ?, ?, ?)`, append(at, end, spent, held)...)
	b.exec(`DELETE FROM amounts WHERE tenant = ? AND scope = ? AND budget = ? AND start < ? AND stop < ? AND held = 0`,
		append(at, b.now.Add(-retention).UnixMicro())...)
}

// charge checks all of r's budgets and, when each covers it, holds.
func (b *books) charge(h *hold, r ledger.Request) error {
	budgets, err := b.resolve(r.Budgets)
	if err != nil {
		return err
	}
	charges, err := ledger.Charges(budgets, r.Operation, r.Lines)
	if err != nil {
		return err
	}
	carrier, saw := b.pending(r.Object), ""
	if carrier != nil {
		saw = carrier.ID
	}
	if carrier != nil && carrier.Key != r.Key {
		carrier = nil // another payer's gives no credit: it is swapped out at settle
	}
	var carried []ledger.Part
	if carrier != nil {
		carried = carrier.parts
	}
	moves := ledger.Moves(charges, h.parts, carried, r.Object != "" && r.Object == h.Object)
	if err := b.fits(h.Key, moves); err != nil {
		return err
	}
	b.move(h, moves)
	if r.Object != "" {
		h.Object, h.saw = r.Object, saw
	}
	if carrier != nil {
		b.absorbed(carrier)
		b.setCarrier(r.Object, h.ID)
	}
	return nil
}

// fits puts the moves into the windows that hold now, and refuses those that a budget does not cover.
func (b *books) fits(key string, moves []ledger.Move) error {
	var short []ledger.Shortfall
	for i := range moves {
		m := &moves[i]
		if m.Kept {
			continue
		}
		state, err := b.state(key, m.Of)
		if err != nil {
			return err
		}
		m.Start = state.Start.UnixMicro()
		if !state.Reset.IsZero() {
			m.End = state.Reset.UnixMicro()
		}
		standing := m.Standing(m.Start)
		sum, err := cost.Add(state.Spent+state.Held-standing, m.Level())
		if m.Level() > standing && (err != nil || sum > state.Limit) {
			short = append(short, ledger.Shortfall{State: state, Need: m.Level() - standing})
		}
	}
	if len(short) > 0 {
		return &ledger.Denied{Code: reason.BudgetExceeded, Shortfalls: short}
	}
	return nil
}

// move takes out of the books what the moves replace, and puts the new parts in.
func (b *books) move(h *hold, moves []ledger.Move) {
	h.parts = nil
	for _, m := range moves {
		for _, e := range m.Old {
			b.add(h.Key, e, m.End, -e.Booked, -e.Held)
		}
		b.add(h.Key, m.Entry, m.End, m.Booked, m.Held)
		h.parts = append(h.parts, m.Part)
	}
}

// setBudget makes or revises a shared budget. What it counts is never changed.
func (b *books) setBudget(s ledger.Budget) error {
	old, ok := b.shared(s.Name)
	if ok && !ledger.SameCount(old, s) {
		return ledger.ErrBudgetFixed
	}
	operations, err := json.Marshal(s.Operations)
	if err != nil {
		return fmt.Errorf("sqliteledger: %w", err)
	}
	b.newTenant()
	b.exec(`
		INSERT INTO budgets (tenant, name, meter, currency, most, span, zone, operations) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (tenant, name) DO UPDATE SET most = excluded.most`,
		b.tenant, s.Name, string(s.Meter), string(s.Currency), s.Limit, string(s.Window), s.Zone, string(operations))
	return nil
}
