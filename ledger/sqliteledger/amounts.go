package sqliteledger

import (
	"errors"
	"slices"
	"time"

	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/ledger"
	"github.com/keybrake/keybrake-go/reason"
)

// A tally is what one counter counts: a shared budget, or a budget of a key's own; enforced, or only observed.
type tally struct {
	scope    string // "shared", or "key:" and the key whose own it is
	narrowed string
	budget   string
	observed bool
}

func tallyOf(key string, e ledger.Entry) tally {
	return tally{scope(key, e.Shared), e.Of, e.Budget, e.Observed}
}

// scope is whose budget it is.
func scope(key string, shared bool) string {
	if shared {
		return "shared"
	}
	return "key:" + key
}

// counter selects the rows of a tally, with the arguments of counter; cell one of them, by its start as well.
const (
	counter = `tenant = ? AND scope = ? AND narrowed = ? AND budget = ? AND observed = ?`
	cell    = counter + ` AND start = ?`
)

func (b *books) counter(t tally, more ...any) []any {
	return append([]any{b.tenant, t.scope, t.narrowed, t.budget, t.observed}, more...)
}

// shared returns a shared budget's row.
func (b *books) shared(name string) (ledger.Budget, bool) {
	s := ledger.Budget{Name: name, Shared: true}
	var operations, alertAt string
	if !b.get(`SELECT meter, currency, most, span, zone, operations, alert_at FROM budgets WHERE tenant = ? AND name = ?`,
		[]any{b.tenant, name}, &s.Meter, &s.Currency, &s.Limit, &s.Window, &s.Zone, &operations, &alertAt) {
		return s, false
	}
	b.parse("shared budget", operations, &s.Operations)
	b.parse("shared budget", alertAt, &s.AlertAt)
	if s.Valid() != nil {
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

// newest is the newest window that a counter has entered, or slot of a rolling one.
func (b *books) newest(t tally) (start, end int64, known bool) {
	known = b.get(`SELECT start, stop FROM amounts WHERE `+counter+` ORDER BY start DESC LIMIT 1`, b.counter(t), &start, &end)
	return start, end, known
}

// window is where a call is counted now. When the clock went back, the newer window stands. It changes nothing:
// only a call that is admitted enters a new window.
func (b *books) window(t tally, of ledger.Budget) (start, end int64, err error) {
	if start, end, err = ledger.Window(of, b.now); err != nil {
		return 0, 0, err
	}
	if from, to, known := b.newest(t); known && from > start {
		return from, to, nil
	}
	return start, end, nil
}

// state adds up what counts in a window, or in the slot of a rolling one and those before it that still count: at
// most sixty and one.
func (b *books) state(t tally, of ledger.Budget, start, end int64) ledger.State {
	since, oldest := start-ledger.Lookback(of), start
	s := ledger.State{Budget: of, Start: time.UnixMicro(since)}
	b.get(`
		SELECT coalesce(sum(spent), 0), coalesce(sum(held), 0), coalesce(min(iif(spent <> 0 OR held <> 0, start, NULL)), ?)
		FROM amounts WHERE `+counter+` AND start BETWEEN ? AND ?`,
		append([]any{start}, b.counter(t, since, start)...), &s.Spent, &s.Held, &oldest)
	if end != 0 {
		s.Reset = ledger.Reset(of, oldest+end-start)
	}
	return s
}

// states are the budgets of parts as they stand, each in its part's window; a rolling one as it stands with the
// newest slot.
func (b *books) states(key string, parts []ledger.Part) []ledger.State {
	states := make([]ledger.State, len(parts))
	for i, p := range parts {
		t, start, end := tallyOf(key, p.Entry), p.Start, p.End
		if from, to, known := int64(0), int64(0), false; p.Of.Window.Rolls() > 0 {
			if from, to, known = b.newest(t); known {
				start, end = from, to
			}
		}
		states[i] = b.state(t, p.Of, start, end)
	}
	return states
}

// add moves the amounts of a budget in one window. The first to enter a window makes its row.
func (b *books) add(t tally, of ledger.Budget, start, end, spent, held int64) {
	if !b.change(t, start, spent, held) {
		b.leave(t, of, start)
		b.exec(`INSERT INTO amounts (tenant, scope, narrowed, budget, observed, start, stop, spent, held) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`,
			b.counter(t, start, end, spent, held)...)
	}
	b.drop(t, of, start)
}

// change moves the amounts of a window that has a row, and reports whether it has.
func (b *books) change(t tally, start, spent, held int64) bool {
	return b.exec(`UPDATE amounts SET spent = spent + ?, held = held + ? WHERE `+cell, append([]any{spent, held}, b.counter(t, start)...)...) > 0
}

// leave deletes, when a new window is entered, old ones in which nothing is held. Those of the calendar stay for
// a late settlement's receipt. Of a rolling window only the slots that fall out of it now are looked at, so that
// this does not take longer where many old ones are held; these go with drop.
func (b *books) leave(t tally, of ledger.Budget, start int64) {
	back := ledger.Lookback(of)
	if back == 0 {
		b.exec(`DELETE FROM amounts WHERE `+counter+` AND start < ? AND stop < ? AND held = 0`,
			b.counter(t, start, b.now.Add(-retention).UnixMicro())...)
		return
	}
	if newest, _, known := b.newest(t); known {
		b.exec(`DELETE FROM amounts WHERE `+counter+` AND start >= ? AND start < ? AND held = 0`, b.counter(t, newest-back, start-back)...)
	}
}

// drop deletes a slot of a rolling window in which nothing counts and nothing is held any more.
func (b *books) drop(t tally, of ledger.Budget, start int64) {
	if back := ledger.Lookback(of); back > 0 {
		if newest, _, known := b.newest(t); known && start < newest-back {
			b.exec(`DELETE FROM amounts WHERE `+cell+` AND held = 0`, b.counter(t, start)...)
		}
	}
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
	would, err := b.fits(h.Key, moves)
	if err != nil {
		return err
	}
	h.Would = append(h.Would, would...)
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

// fits puts the moves into the windows that hold now, and refuses those that a budget does not cover. would are
// those that one would refuse that is only observed.
func (b *books) fits(key string, moves []ledger.Move) (would []ledger.Shortfall, err error) {
	var short []ledger.Shortfall
	for i := range moves {
		m := &moves[i]
		if m.Kept {
			continue
		}
		t := tallyOf(key, m.Entry)
		if m.Start, m.End, err = b.window(t, m.Of); err != nil {
			return nil, err
		}
		state := b.state(t, m.Of, m.Start, m.End)
		standing := m.Standing(m.Start)
		sum, err := cost.Add(state.Spent+state.Held-standing, m.Level())
		switch s := (ledger.Shortfall{State: state, Need: m.Level() - standing}); {
		case m.Level() <= standing || err == nil && sum <= state.Limit:
		case m.Observed:
			would = append(would, s)
		default:
			short = append(short, s)
		}
	}
	if len(short) > 0 {
		return nil, &ledger.Denied{Code: reason.BudgetExceeded, Shortfalls: short}
	}
	return would, nil
}

// move takes out of the books what the moves replace, and puts the new parts in.
func (b *books) move(h *hold, moves []ledger.Move) {
	h.parts = nil
	for _, m := range moves {
		t := tallyOf(h.Key, m.Entry)
		for _, e := range m.Old {
			b.change(t, e.Start, -e.Booked, -e.Held)
			b.drop(t, m.Of, e.Start)
		}
		b.add(t, m.Of, m.Start, m.End, m.Booked, m.Held)
		h.parts = append(h.parts, m.Part)
	}
	h.States = b.states(h.Key, h.parts)
	b.alert(h)
}

// setBudget makes or revises a shared budget. What it counts is never changed.
func (b *books) setBudget(s ledger.Budget) error {
	old, ok := b.shared(s.Name)
	if ok && !ledger.SameCount(old, s) {
		return ledger.ErrBudgetFixed
	}
	b.newTenant()
	b.exec(`
		INSERT INTO budgets (tenant, name, meter, currency, most, span, zone, operations, alert_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (tenant, name) DO UPDATE SET most = excluded.most, alert_at = excluded.alert_at`,
		b.tenant, s.Name, string(s.Meter), string(s.Currency), s.Limit, string(s.Window), s.Zone, b.json(s.Operations), b.json(s.AlertAt))
	return nil
}
