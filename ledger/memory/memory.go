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
	// Now is the clock; it is asked by goroutines of the brake, too. Default: [time.Now].
	Now func() time.Time

	// Remember is how long a finished reservation is remembered, so that a late or repeated verb finds it. The default, 31
	// days, is longer than any vendor remembers an idempotency key.
	Remember time.Duration

	mu       sync.Mutex
	tenants  map[string]*tenant
	global   map[string]ledger.Verb
	texts    texts
	watchers map[chan ledger.Control]bool
}

// New returns an empty ledger.
func New() *Ledger {
	return &Ledger{
		Now: time.Now, Remember: 31 * 24 * time.Hour, tenants: map[string]*tenant{}, global: map[string]ledger.Verb{}, watchers: map[chan ledger.Control]bool{},
		texts: newTexts(),
	}
}

type tenant struct {
	keys     map[string]*key
	shared   map[string]*ledger.Budget
	controls map[string]ledger.Verb // revoke or pause
	holds    map[string]*hold
	claims   map[string]claim
	carriers map[string]string // object → id of the reservation that carries its hold
	counters map[tally]*counter
	repeats  map[rule]*repeats
	leases   map[string]lease
	alerts   []ledger.Alert
	told     map[string]time.Time // until when the ids of alerts that were given are remembered
	ended    []ended              // reservations that may be forgotten, oldest first
}

type key struct {
	frozen bool
}

// A tally is what one counter counts: a shared budget, or a budget of a key's own.
type tally struct {
	key, of, budget  string // key is empty for a shared budget
	shared, observed bool
}

func tallyOf(key string, e ledger.Entry) tally {
	if e.Shared {
		key = ""
	}
	return tally{key, e.Of, e.Budget, e.Shared, e.Observed}
}

// A counter is one budget's amounts by window, or by slot of a rolling one.
type counter struct {
	start, end int64 // of the newest window seen; windows never go back
	cells      map[int64]*cell
	told       int   // the highest alert threshold that was crossed
	toldAt     int64 // in the window or slot of this start
}

// A rule is what repeats are kept for: an observed one counts apart.
type rule struct {
	id       string
	observed bool
}

func ruleOf(r ledger.Repeat) rule { return rule{r.ID, r.Observed} }

// repeats are the times at which a call that a repeat rule counts was admitted, the latest of them.
type repeats struct {
	times []time.Time
	ends  time.Time // when none of them counts any more
}

type cell struct{ spent, held int64 }

type hold struct {
	ledger.Hold
	parts   []ledger.Part // what Entries and States are made from
	probing bool          // its lines are still to come
	raised  bool
	over    bool // it has cost more than was held
	claim   string
	saw     string // the pending reservation that carried the object when this one took it up
	first   *hold  // an attempt of a retry: the reservation it has attached to
}

type claim struct {
	id, fingerprint string
	at              time.Time
}

type ended struct {
	id string
	at time.Time
}

// Open makes the row of a key.
func (l *Ledger) Open(_ context.Context, k ledger.Key) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.open(k.Tenant)
	if t.keys[k.ID] == nil {
		t.keys[k.ID] = &key{}
	}
	return nil
}

// open returns the tenant's books, made and told of the global controls when new.
func (l *Ledger) open(name string) *tenant {
	t := l.tenants[name]
	if t == nil {
		t = &tenant{
			keys: map[string]*key{}, shared: map[string]*ledger.Budget{}, controls: map[string]ledger.Verb{},
			holds: map[string]*hold{}, claims: map[string]claim{}, carriers: map[string]string{},
			counters: map[tally]*counter{}, repeats: map[rule]*repeats{}, leases: map[string]lease{}, told: map[string]time.Time{},
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
		b.Shared, b.Of, b.Observed = true, "", false
		b.Operations, b.AlertAt = slices.Clone(b.Operations), slices.Clone(b.AlertAt)
		t.shared[b.Name] = &b
		return nil
	}
	if !ledger.SameCount(*old, b) {
		return ledger.ErrBudgetFixed
	}
	old.Limit, old.AlertAt = b.Limit, slices.Clone(b.AlertAt)
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
	return *s, nil
}

// Balance returns the state of budgets for a key.
func (l *Ledger) Balance(_ context.Context, tenant, keyID string, budgets []ledger.Budget) ([]ledger.State, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.open(tenant)
	if t.keys[keyID] == nil {
		return nil, ledger.ErrNoKey
	}
	budgets, err := t.resolve(budgets)
	if err != nil {
		return nil, err
	}
	states := make([]ledger.State, len(budgets))
	for i, b := range budgets {
		c := t.counter(tallyOf(keyID, ledger.Entry{Budget: b.Name, Shared: b.Shared, Of: b.Of, Observed: b.Observed}))
		start, end, err := c.window(b, l.Now())
		if err != nil {
			return nil, err
		}
		states[i] = c.state(b, start, end)
	}
	return states, nil
}

// Reserve admits a call and holds its lines.
func (l *Ledger) Reserve(_ context.Context, r ledger.Request) (ledger.Hold, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	t, now := l.open(r.Tenant), l.Now()
	t.forget(now, l.Remember)
	if old := t.holds[r.ID]; old != nil {
		return old.replay(r)
	}
	if err := t.admit(r, now); err != nil {
		return ledger.Hold{}, err
	}
	first, err := t.claimed(r, now)
	if err != nil {
		return ledger.Hold{}, err
	}
	var would []ledger.Shortfall
	if r.Repeat != nil && first == nil {
		if would, err = t.repeated(*r.Repeat, now); err != nil {
			return ledger.Hold{}, err
		}
	}
	if first != nil || r.Read {
		r.Lines = ledger.CallsOnly(r.Lines)
		r.Object = ""
	}
	h := &hold{Hold: ledger.Hold{
		Tenant: r.Tenant, ID: r.ID, Nonce: r.Nonce, Key: r.Key, Operation: r.Operation,
		Phase: ledger.InFlight, Deadline: now.Add(r.Deadline), Controls: slices.Clone(r.Controls), Memo: r.Memo, Would: would,
	}, probing: r.Probing && first == nil}
	if err := t.charge(h, r, now); err != nil {
		return ledger.Hold{}, err
	}
	t.holds[r.ID] = h
	if r.Repeat != nil && first == nil {
		t.repeats[ruleOf(*r.Repeat)].add(*r.Repeat, now)
	}
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
	a.Attached, a.States, a.Would = true, slices.Clone(h.States), slices.Clone(h.Would)
	return a
}

// admit refuses a key that may not call at all.
func (t *tenant) admit(r ledger.Request, now time.Time) error {
	k := t.keys[r.Key]
	switch {
	case k == nil:
		return &ledger.Denied{Code: reason.KeyUnknown, Name: r.Key}
	case !r.Expires.After(now):
		return &ledger.Denied{Code: reason.KeyExpired, Name: r.Key}
	}
	for _, want := range []struct {
		verb ledger.Verb
		code reason.Code
	}{{ledger.Revoke, reason.KeyRevoked}, {ledger.Pause, reason.KeyPaused}} {
		for _, name := range r.Controls {
			if t.controls[name] == want.verb {
				return &ledger.Denied{Code: want.code, Name: name}
			}
		}
	}
	if k.frozen {
		return &ledger.Denied{Code: reason.KeyFrozen, Name: r.Key}
	}
	return nil
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
	first.Retries++
	if h.Deadline.After(first.RetryUntil) {
		first.RetryUntil = h.Deadline
	}
	h.Phase, h.first = ledger.Settled, first
	t.end(h.ID, now)
	return h.answer()
}

// repeated refuses a call that was admitted too often, or says that it would have been.
func (t *tenant) repeated(rule ledger.Repeat, now time.Time) (would []ledger.Shortfall, err error) {
	if err := rule.Valid(); err != nil {
		return nil, err
	}
	seen := t.repeats[ruleOf(rule)]
	if seen == nil {
		seen = &repeats{}
		t.repeats[ruleOf(rule)] = seen
	}
	in := seen.within(rule.Window, now)
	if int64(len(in)) < rule.Most {
		return nil, nil
	}
	short := []ledger.Shortfall{rule.Short(int64(len(in)), in[len(in)-int(rule.Most)])}
	if rule.Observed {
		return short, nil
	}
	return nil, &ledger.Denied{Code: reason.RepeatExceeded, Shortfalls: short}
}

// within are the times in the span that ends now. One that is still to come, since the clock went back, counts.
func (r *repeats) within(window time.Duration, now time.Time) []time.Time {
	i := 0
	for i < len(r.times) && now.Sub(r.times[i]) >= window {
		i++
	}
	return r.times[i:]
}

func (r *repeats) add(rule ledger.Repeat, now time.Time) {
	if n := len(r.times); n > 0 && r.times[n-1].After(now) {
		now = r.times[n-1] // the clock went back; times never do
	}
	r.times = append(r.times, now)
	r.times = r.times[max(0, len(r.times)-ledger.MostRepeats):]
	if ends := now.Add(rule.Window); ends.After(r.ends) {
		r.ends = ends // a rule of a shorter window must not end what a longer one counts
	}
}

// charge checks all of r's budgets and, when each covers it, holds. On error nothing has changed.
func (t *tenant) charge(h *hold, r ledger.Request, now time.Time) error {
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
	short, would, err := t.shortfalls(moves, h.Key, now)
	if err != nil {
		return err
	}
	if len(short) > 0 {
		return &ledger.Denied{Code: reason.BudgetExceeded, Shortfalls: short}
	}
	h.Would = append(h.Would, would...)
	t.move(h, moves, now)
	if r.Object != "" {
		h.Object, h.saw = r.Object, saw
	}
	if carrier != nil {
		t.absorbed(carrier, now)
		t.carriers[r.Object] = h.ID
	}
	return nil
}

// shortfalls gives each move its window, and finds the budgets that do not cover it: those that refuse it, and
// those that would if they were not only observed.
func (t *tenant) shortfalls(moves []ledger.Move, key string, now time.Time) (short, would []ledger.Shortfall, err error) {
	for i := range moves {
		m := &moves[i]
		if m.Kept {
			continue
		}
		c := t.counter(tallyOf(key, m.Entry))
		if m.Start, m.End, err = c.window(m.Of, now); err != nil {
			return nil, nil, err
		}
		state := c.state(m.Of, m.Start, m.End)
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
	return short, would, nil
}

// move takes out of the books what the moves replace, and puts the new parts in.
func (t *tenant) move(h *hold, moves []ledger.Move, now time.Time) {
	h.parts = nil
	for _, m := range moves {
		c := t.counter(tallyOf(h.Key, m.Entry))
		if !m.Kept {
			c.roll(m.Start, m.End, ledger.Lookback(m.Of))
		}
		for _, e := range m.Old {
			c.add(e.Start, -e.Booked, -e.Held)
		}
		c.add(m.Start, m.Booked, m.Held)
		h.parts = append(h.parts, m.Part)
	}
	h.States = t.states(h)
	t.alert(h, now)
}

// states are the budgets of h as they stand, one for each of its entries.
func (t *tenant) states(h *hold) []ledger.State {
	states := make([]ledger.State, len(h.parts))
	for i, p := range h.parts {
		c := t.counter(tallyOf(h.Key, p.Entry))
		start, end := p.Start, p.End
		if p.Of.Window.Rolls() > 0 {
			start, end = c.start, c.end
		}
		states[i] = c.state(p.Of, start, end)
	}
	return states
}

// alert stores the thresholds that h has crossed, each once in a window.
func (t *tenant) alert(h *hold, now time.Time) {
	for i, p := range h.parts {
		c, s := t.counter(tallyOf(h.Key, p.Entry)), h.States[i]
		if c.toldAt < c.start-ledger.Lookback(p.Of) {
			c.told = 0
		}
		if p.Start < c.start-ledger.Lookback(p.Of) {
			continue // of a window that is over
		}
		for _, percent := range ledger.Crossed(s, c.told) {
			n := tallyOf(h.Key, p.Entry)
			t.tell(ledger.Alert{
				ID: fmt.Sprintf("%q %q %q %t %d %d", n.key, n.of, n.budget, n.observed, c.start, percent), Kind: ledger.AlertThreshold,
				Key: n.key, State: s, Percent: percent, At: now,
			})
			c.told, c.toldAt = percent, c.start
		}
	}
}

// mostAlerts is how many alerts of a tenant wait to be acknowledged.
const mostAlerts = 10_000

// tell stores an alert. Of too many the oldest goes.
func (t *tenant) tell(a ledger.Alert) {
	if slices.ContainsFunc(t.alerts, func(b ledger.Alert) bool { return b.ID == a.ID }) {
		return // a key that was frozen, resumed and frozen within one tick of the clock
	}
	t.alerts = append(t.alerts, a)
	t.alerts = t.alerts[max(0, len(t.alerts)-mostAlerts):]
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
		out[i] = ledger.Lower(*row, b)
	}
	return out, nil
}

// window is where a call is counted now. When the clock went back, the newer window stands.
func (c *counter) window(b ledger.Budget, now time.Time) (start, end int64, err error) {
	if start, end, err = ledger.Window(b, now); err == nil && start < c.start {
		return c.start, c.end, nil
	}
	return start, end, err
}

// state adds up what counts in the window, or in the slot of a rolling one and those before it that still count.
func (c *counter) state(b ledger.Budget, start, end int64) ledger.State {
	since := start - ledger.Lookback(b)
	s := ledger.State{Budget: b, Start: time.UnixMicro(since)}
	first := end
	for at, cell := range c.cells {
		if at < since || at > start || cell.spent == 0 && cell.held == 0 {
			continue
		}
		s.Spent, s.Held = s.Spent+cell.spent, s.Held+cell.held
		first = min(first, at+end-start)
	}
	if end != 0 {
		s.Reset = ledger.Reset(b, first)
	}
	return s
}

// roll enters a window, and when it is new forgets old ones in which nothing is held.
func (c *counter) roll(start, end, lookback int64) {
	if start <= c.start && c.end == end {
		return
	}
	for at, cell := range c.cells {
		if at < start-lookback && at < c.start && cell.held == 0 {
			delete(c.cells, at)
		}
	}
	c.start, c.end = start, end
}

// counter returns that of n, made when new.
func (t *tenant) counter(n tally) *counter {
	c := t.counters[n]
	if c == nil {
		c = &counter{cells: map[int64]*cell{}}
		t.counters[n] = c
	}
	return c
}

// add changes the amounts in a window.
func (c *counter) add(start, spent, held int64) {
	at := c.cells[start]
	if at == nil {
		at = &cell{}
		c.cells[start] = at
	}
	at.spent, at.held = at.spent+spent, at.held+held
}

// end lets a reservation be forgotten in its time.
func (t *tenant) end(id string, now time.Time) { t.ended = append(t.ended, ended{id, now}) }

func (t *tenant) forget(now time.Time, after time.Duration) {
	for id, r := range t.repeats {
		if !r.ends.After(now) {
			delete(t.repeats, id)
		}
	}
	for len(t.ended) > 0 && now.Sub(t.ended[0].at) > after {
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
	h.Entries, h.States, h.Would = slices.Clone(h.Entries), slices.Clone(h.States), slices.Clone(h.Would)
	h.Controls, h.Adjustments = slices.Clone(h.Controls), slices.Clone(h.Adjustments)
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
			if tenant == "" {
				continue // it has alerts, and no keys
			}
			turn(t.controls, name, c.Verb)
			report.Tenants = append(report.Tenants, tenant)
		}
		slices.SortFunc(report.Tenants, strings.Compare)
		l.tell(c)
		return report, nil
	}
	t := l.open(c.Tenant)
	if c.Key != "" && t.keys[ledger.Issued(c.Key)] == nil {
		return report, ledger.ErrNoKey
	}
	if k := t.keys[c.Key]; k != nil && c.Verb == ledger.Resume {
		k.frozen = false
	}
	turn(t.controls, name, c.Verb)
	l.tell(c)
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

// Watch tells of controls. One that comes while tell is a thousand behind is lost, as the contract allows.
func (l *Ledger) Watch(ctx context.Context, tell func(ledger.Control)) error {
	heard := make(chan ledger.Control, 1000)
	l.mu.Lock()
	l.watchers[heard] = true
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.watchers, heard)
	}()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case c := <-heard:
			tell(c)
		}
	}
}

// tell passes a control on to whoever watches.
func (l *Ledger) tell(c ledger.Control) {
	for heard := range l.watchers {
		select {
		case heard <- c:
		default:
		}
	}
}
