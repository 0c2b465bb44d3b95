// Package memory is the ledger of a single process: the reference that the others are measured by. It forgets
// everything when the process ends, holds included, so it protects one run of one program and no more.
package memory

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/ledger"
	"github.com/keybrake/keybrake-go/reason"
)

// A Ledger is a [ledger.Ledger] under one mutex.
type Ledger struct {
	// Now is the clock. Default: [time.Now].
	Now func() time.Time

	mu      sync.Mutex
	tenants map[string]*tenant
	global  map[string]ledger.Verb
}

// New returns an empty ledger.
func New() *Ledger {
	return &Ledger{Now: time.Now, tenants: map[string]*tenant{}, global: map[string]ledger.Verb{}}
}

type tenant struct {
	keys     map[string]*key
	shared   map[string]*shared
	controls map[string]ledger.Verb // revoke or pause
	holds    map[string]*hold
	claims   map[string]claim
	carriers map[string]string // object → id of the reservation that carries its hold
	ended    []ended           // reservations that may be forgotten, oldest first
}

type key struct {
	frozen   bool
	counters map[string]*counter // the key's own budgets
}

type shared struct {
	ledger.Budget
	counter
}

// A counter is one budget's amounts by window.
type counter struct {
	start, end int64 // of the newest window seen; windows never go back
	cells      map[int64]*cell
}

type cell struct{ spent, held int64 }

type hold struct {
	ledger.Hold
	parts    []ledger.Part // what Entries and States are made from
	probing  bool          // its lines are still to come
	raised   bool
	attached bool // a retry has joined; its outcome is not ours to judge
	claim    string
	saw      string // the pending reservation that carried the object when this one took it up
	first    *hold  // an attempt of a retry: the reservation it has attached to
}

type claim struct {
	id, fingerprint string
	at              time.Time
}

type ended struct {
	id string
	at time.Time
}

// retention is how long a finished reservation is remembered, so that a late or repeated verb finds it. It is
// longer than any vendor remembers an idempotency key.
const retention = 31 * 24 * time.Hour

// Open makes the row of a key.
func (l *Ledger) Open(_ context.Context, k ledger.Key) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.open(k.Tenant)
	if t.keys[k.ID] == nil {
		t.keys[k.ID] = &key{counters: map[string]*counter{}}
	}
	return nil
}

// open returns the tenant's books, made and told of the global controls when new.
func (l *Ledger) open(name string) *tenant {
	t := l.tenants[name]
	if t == nil {
		t = &tenant{
			keys: map[string]*key{}, shared: map[string]*shared{}, controls: map[string]ledger.Verb{},
			holds: map[string]*hold{}, claims: map[string]claim{}, carriers: map[string]string{},
		}
		for name, verb := range l.global {
			t.controls[name] = verb
		}
		l.tenants[name] = t
	}
	return t
}

// SetBudget makes or revises a shared budget.
func (l *Ledger) SetBudget(_ context.Context, tenant string, b ledger.Budget) error {
	if err := b.Valid(); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.open(tenant)
	old := t.shared[b.Name]
	if old == nil {
		b.Shared, b.Operations = true, slices.Clone(b.Operations)
		t.shared[b.Name] = &shared{Budget: b}
		return nil
	}
	if !ledger.SameCount(old.Budget, b) {
		return ledger.ErrBudgetFixed
	}
	old.Limit = b.Limit
	return nil
}

// Budget returns a shared budget.
func (l *Ledger) Budget(_ context.Context, tenant, name string) (ledger.Budget, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.open(tenant).shared[name]
	if s == nil {
		return ledger.Budget{}, ledger.ErrNoBudget
	}
	return s.Budget, nil
}

// Balance returns the state of budgets for a key.
func (l *Ledger) Balance(_ context.Context, tenant, keyID string, budgets []ledger.Budget) ([]ledger.State, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.open(tenant)
	k := t.keys[keyID]
	if k == nil {
		return nil, ledger.ErrNoKey
	}
	budgets, err := t.resolve(budgets)
	if err != nil {
		return nil, err
	}
	states := make([]ledger.State, len(budgets))
	for i, b := range budgets {
		if states[i], err = t.look(k, b, l.Now()); err != nil {
			return nil, err
		}
	}
	return states, nil
}

// Reserve admits a call and holds its lines.
func (l *Ledger) Reserve(_ context.Context, r ledger.Request) (ledger.Hold, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	t, now := l.open(r.Tenant), l.Now()
	t.forget(now)
	if old := t.holds[r.ID]; old != nil {
		return old.replay(r)
	}
	k, err := t.admit(r, now)
	if err != nil {
		return ledger.Hold{}, err
	}
	first, err := t.claimed(r, now)
	if err != nil {
		return ledger.Hold{}, err
	}
	if first != nil || r.Read {
		r.Lines = ledger.CallsOnly(r.Lines)
		r.Object = ""
	}
	h := &hold{Hold: ledger.Hold{
		Tenant: r.Tenant, ID: r.ID, Nonce: r.Nonce, Key: r.Key, Operation: r.Operation,
		Phase: ledger.InFlight, Deadline: now.Add(r.Deadline), Memo: r.Memo,
	}, probing: r.Probing && first == nil}
	if err := t.charge(k, h, r, now); err != nil {
		return ledger.Hold{}, err
	}
	t.holds[r.ID] = h
	switch {
	case first != nil:
		return t.attach(h, first, now), nil
	case r.Read:
		h.Phase = ledger.Settled
		t.end(r.ID, now)
	case r.Claim != nil:
		h.claim = r.Claim.ID
		t.claims[h.claim] = claim{r.ID, r.Claim.Fingerprint, now}
	}
	return h.copy(), nil
}

// replay answers the same reserve again: the store's client sent it twice, or the caller asked twice.
func (h *hold) replay(r ledger.Request) (ledger.Hold, error) {
	if h.Nonce != r.Nonce || h.Phase == ledger.Released {
		return ledger.Hold{}, fmt.Errorf("ledger: reservation id %s is taken", r.ID)
	}
	return h.answer(), nil
}

// answer is what the caller of h's reserve is told: an attempt of a retry is told the first attempt's hold.
func (h *hold) answer() ledger.Hold {
	if h.first == nil {
		return h.copy()
	}
	a := h.first.copy()
	a.Attached, a.States = true, slices.Clone(h.States)
	return a
}

// admit refuses a key that may not call at all.
func (t *tenant) admit(r ledger.Request, now time.Time) (*key, error) {
	k := t.keys[r.Key]
	switch {
	case k == nil:
		return nil, &ledger.Denied{Code: reason.KeyUnknown, Name: r.Key}
	case !r.Expires.After(now):
		return nil, &ledger.Denied{Code: reason.KeyExpired, Name: r.Key}
	}
	for _, want := range []struct {
		verb ledger.Verb
		code reason.Code
	}{{ledger.Revoke, reason.KeyRevoked}, {ledger.Pause, reason.KeyPaused}} {
		for _, name := range r.Controls {
			if t.controls[name] == want.verb {
				return nil, &ledger.Denied{Code: want.code, Name: name}
			}
		}
	}
	if k.frozen {
		return nil, &ledger.Denied{Code: reason.KeyFrozen, Name: r.Key}
	}
	return k, nil
}

// claimed returns the reservation that a retry belongs to, if the vendor still remembers its key.
func (t *tenant) claimed(r ledger.Request, now time.Time) (*hold, error) {
	if r.Claim == nil {
		return nil, nil
	}
	c, ok := t.claims[r.Claim.ID]
	first := t.holds[c.id]
	if !ok || first == nil || first.Phase == ledger.Released || now.Sub(c.at) >= r.Claim.Memory ||
		first.probing && !first.Deadline.After(now) {
		return nil, nil
	}
	switch {
	case c.fingerprint != r.Claim.Fingerprint:
		return nil, &ledger.Denied{Code: reason.IdempotencyConflict}
	case first.probing:
		return nil, &ledger.Denied{Code: reason.IdempotencyInFlight}
	}
	return first, nil
}

// attach makes h the attempt of a retry: it holds nothing, and is answered with the first attempt's hold.
func (t *tenant) attach(h, first *hold, now time.Time) ledger.Hold {
	first.attached = true
	if h.Deadline.After(first.RetryUntil) {
		first.RetryUntil = h.Deadline
	}
	h.Phase, h.first = ledger.Settled, first
	t.end(h.ID, now)
	return h.answer()
}

// charge checks all of r's budgets and, when each covers it, holds. On error nothing has changed.
func (t *tenant) charge(k *key, h *hold, r ledger.Request, now time.Time) error {
	budgets, err := t.resolve(r.Budgets)
	if err != nil {
		return err
	}
	charges, err := ledger.Charges(budgets, r.Operation, r.Lines)
	if err != nil {
		return err
	}
	carrier := t.carrier(r.Object, r.Key)
	saw := ""
	if c := t.holds[t.carriers[r.Object]]; r.Object != "" && c != nil && c.Phase == ledger.Pending {
		saw = c.ID
	}
	moves := ledger.Moves(charges, h.parts, carrier.carried(), r.Object != "" && r.Object == h.Object)
	var short []ledger.Shortfall
	for i := range moves {
		m := &moves[i]
		if m.Kept {
			continue
		}
		state, err := t.look(k, m.Of, now)
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
	t.move(k, h, moves)
	if r.Object != "" {
		h.Object, h.saw = r.Object, saw
	}
	if carrier != nil {
		t.absorbed(carrier, now)
		t.carriers[r.Object] = h.ID
	}
	return nil
}

// move takes out of the books what the moves replace, and puts the new parts in.
func (t *tenant) move(k *key, h *hold, moves []ledger.Move) {
	h.parts = nil
	for _, m := range moves {
		if !m.Kept {
			t.counter(k, m.Budget, m.Shared).roll(m.Start, m.End)
		}
		for _, e := range m.Old {
			c := t.cell(k, e)
			c.spent, c.held = c.spent-e.Booked, c.held-e.Held
		}
		c := t.cell(k, m.Entry)
		c.spent, c.held = c.spent+m.Booked, c.held+m.Held
		h.parts = append(h.parts, m.Part)
	}
	h.States = t.states(k, h)
}

// states are the budgets of h as they stand, one for each of its entries.
func (t *tenant) states(k *key, h *hold) []ledger.State {
	states := make([]ledger.State, len(h.parts))
	for i, p := range h.parts {
		c := t.cell(k, p.Entry)
		states[i] = ledger.State{Budget: p.Of, Spent: c.spent, Held: c.held, Start: time.UnixMicro(p.Start)}
		if p.End != 0 {
			states[i].Reset = time.UnixMicro(p.End)
		}
	}
	return states
}

// carrier returns the pending reservation of the same key that carries an object's hold, or nil. One that is in
// flight or in doubt gives no credit: what it will cost is open, so both levels are held.
func (t *tenant) carrier(object, key string) *hold {
	h := t.holds[t.carriers[object]]
	if object == "" || h == nil || h.Phase != ledger.Pending || h.Key != key {
		return nil
	}
	return h
}

// carried are the parts of a carrier, or none.
func (h *hold) carried() []ledger.Part {
	if h == nil {
		return nil
	}
	return h.parts
}

// absorbed ends the carrier, whose hold has passed to the reservation that takes it over.
func (t *tenant) absorbed(carrier *hold, now time.Time) {
	for i := range carrier.parts {
		carrier.parts[i].Held = 0
	}
	carrier.Phase = ledger.Settled
	t.end(carrier.ID, now)
}

// resolve replaces shared budgets by their rows. A token's limit can only lower the row's.
func (t *tenant) resolve(budgets []ledger.Budget) ([]ledger.Budget, error) {
	out := slices.Clone(budgets)
	for i, b := range out {
		if !b.Shared {
			continue
		}
		row := t.shared[b.Name]
		if row == nil {
			return nil, &ledger.Denied{Code: reason.BudgetMissing, Name: b.Name}
		}
		out[i] = ledger.Lower(row.Budget, b)
	}
	return out, nil
}

// look returns a budget's state in the window that holds now. It changes nothing: only a call that is admitted
// enters a new window.
func (t *tenant) look(k *key, b ledger.Budget, now time.Time) (ledger.State, error) {
	c := t.counter(k, b.Name, b.Shared)
	start, end, err := ledger.Window(b, now)
	if err != nil {
		return ledger.State{}, err
	}
	if start < c.start {
		start, end = c.start, c.end // the clock went back; the newer window stands
	}
	state := ledger.State{Budget: b, Start: time.UnixMicro(start)}
	if end != 0 {
		state.Reset = time.UnixMicro(end)
	}
	if cell := c.cells[start]; cell != nil {
		state.Spent, state.Held = cell.spent, cell.held
	}
	return state, nil
}

// roll enters a window, and when it is new forgets old ones in which nothing is held.
func (c *counter) roll(start, end int64) {
	if start <= c.start && c.end == end {
		return
	}
	for s, cell := range c.cells {
		if s < c.start && cell.held == 0 {
			delete(c.cells, s)
		}
	}
	c.start, c.end = start, end
}

func (t *tenant) counter(k *key, name string, isShared bool) *counter {
	if isShared {
		return &t.shared[name].counter
	}
	c := k.counters[name]
	if c == nil {
		c = &counter{}
		k.counters[name] = c
	}
	return c
}

// cell returns the amounts in the window of e.
func (t *tenant) cell(k *key, e ledger.Entry) *cell {
	c := t.counter(k, e.Budget, e.Shared)
	if c.cells == nil {
		c.cells = map[int64]*cell{}
	}
	if c.cells[e.Start] == nil {
		c.cells[e.Start] = &cell{}
	}
	return c.cells[e.Start]
}

// end lets a reservation be forgotten after retention.
func (t *tenant) end(id string, now time.Time) { t.ended = append(t.ended, ended{id, now}) }

func (t *tenant) forget(now time.Time) {
	for len(t.ended) > 0 && now.Sub(t.ended[0].at) > retention {
		id := t.ended[0].id
		t.ended = t.ended[1:]
		h := t.holds[id]
		if h == nil || h.Phase != ledger.Settled && h.Phase != ledger.Released {
			continue
		}
		delete(t.holds, id)
		if t.claims[h.claim].id == id {
			delete(t.claims, h.claim)
		}
	}
}

func (h *hold) copy() ledger.Hold {
	c := h.Hold
	c.Entries = nil
	for _, p := range h.parts {
		c.Entries = append(c.Entries, p.Entry)
	}
	return clone(c)
}

func clone(h ledger.Hold) ledger.Hold {
	h.Entries, h.States = slices.Clone(h.Entries), slices.Clone(h.States)
	return h
}

// Control revokes, pauses or resumes.
func (l *Ledger) Control(_ context.Context, c ledger.Control) (ledger.Report, error) {
	if err := c.Valid(); err != nil {
		return ledger.Report{}, err
	}
	name, _ := c.Name()
	l.mu.Lock()
	defer l.mu.Unlock()
	var report ledger.Report
	if c.Tenant == "" {
		turn(l.global, name, c.Verb)
		for tenant, t := range l.tenants {
			turn(t.controls, name, c.Verb)
			report.Tenants = append(report.Tenants, tenant)
		}
		slices.SortFunc(report.Tenants, strings.Compare)
		return report, nil
	}
	t := l.open(c.Tenant)
	if c.Key != "" && t.keys[c.Key] == nil {
		return report, ledger.ErrNoKey
	}
	if c.Key != "" && c.Verb == ledger.Resume {
		t.keys[c.Key].frozen = false
	}
	turn(t.controls, name, c.Verb)
	return ledger.Report{Tenants: []string{c.Tenant}}, nil
}

// turn applies a verb. Revoke is final: nothing replaces it.
func turn(controls map[string]ledger.Verb, name string, verb ledger.Verb) {
	switch {
	case controls[name] == ledger.Revoke:
	case verb == ledger.Resume:
		delete(controls, name)
	default:
		controls[name] = verb
	}
}
