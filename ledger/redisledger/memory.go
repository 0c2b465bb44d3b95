package redisledger

import (
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/keybrake/keybrake-go/ledger"
)

// A memory is what the store has acknowledged to this process, so that it can be put back (rearm.go). It is bounded,
// and lost with the process.
type memory struct {
	mu    sync.Mutex
	of    map[string]*known // by meta row
	order []held            // the reservations in the order in which they came
	keys  int               // of all tenants together, as are
	rows  int               // the floors
}

type held struct{ meta, id string }

// remembered is how many reservations, keys and windows are kept.
const remembered = 1 << 16

// known is what is remembered of one tenant, or of the global rows.
type known struct {
	tenant   string
	controls []controlArgs        // the newest of each name
	keys     map[string]time.Time // when they expire
	frozen   map[string]bool      // keys that an overrun has frozen, and no resume has thawed
	budgets  map[string]spec
	holds    map[string]kept
	floors   map[spot]floor
	tenants  map[string]bool   // global: that were registered
	alone    map[string]string // in a copy: rows that were lost while all else stayed
}

// kept is a reservation as it was acknowledged last.
type kept struct {
	record
	at time.Time
}

// current says that the store would still have the record, had it lost nothing. What was over longer ago may have been
// forgotten there by right; a margin is left for clocks that differ.
func (k kept) current(now time.Time) bool {
	over := k.Phase == ledger.Settled || k.Phase == ledger.Released
	return !over || now.Before(k.at.Add(keepPlain-time.Hour))
}

// spot is where a budget is counted.
type spot struct{ row, name string }

// floor is what the newest window that was seen had spent, and held when that was told.
type floor struct{ start, end, spent, held, back int64 }

// tenant is the entry of a tenant. mu is held.
func (m *memory) tenant(meta, name string) *known {
	k := m.of[meta]
	if k == nil {
		if m.of == nil {
			m.of = map[string]*known{}
		}
		k = &known{tenant: name, keys: map[string]time.Time{}, frozen: map[string]bool{}, budgets: map[string]spec{}, holds: map[string]kept{}, floors: map[spot]floor{}, tenants: map[string]bool{}}
		m.of[meta] = k
	}
	return k
}

func (m *memory) local(t string) *known { return m.tenant(tenant(t).meta(), t) }
func (m *memory) global() *known        { return m.tenant(metaOf(registry), "") }

func (m *memory) opened(t, id string, expires time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.key(m.local(t), id, expires)
	m.global().tenants[t] = true
}

func (m *memory) key(k *known, id string, expires time.Time) {
	if _, ok := k.keys[id]; !ok {
		if m.keys++; m.keys > remembered {
			for _, o := range m.of {
				for old := range o.keys {
					delete(o.keys, old)
					m.keys--
					break
				}
				if m.keys <= remembered {
					break
				}
			}
		}
	}
	if before, ok := k.keys[id]; !ok || expires.IsZero() || !before.IsZero() && expires.After(before) { // a narrowed key ends earlier than its row
		k.keys[id] = expires
	}
}

func (m *memory) budget(t string, s spec) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.local(t).budgets[s.Name] = s
}

func (m *memory) control(t string, a controlArgs) {
	m.mu.Lock()
	defer m.mu.Unlock()
	k := m.global()
	if !a.Global {
		k = m.local(t)
	}
	if a.Key && a.Verb == string(ledger.Resume) {
		delete(k.frozen, a.Name[len("key:"):])
	}
	i := slices.IndexFunc(k.controls, func(o controlArgs) bool { return o.Name == a.Name })
	switch {
	case i < 0:
		k.controls = append(k.controls, a)
	case k.controls[i].Verb != string(ledger.Revoke): // final
		k.controls[i] = a
	}
}

// admitted remembers a reserve or raise: the key and the budgets, which must have been as the plan has them, and what
// passed to the reservation from another that carried its object.
func (m *memory) admitted(r record, p *plan, now time.Time) {
	m.mu.Lock()
	k := m.local(r.Tenant)
	m.key(k, p.Key, p.Expires)
	for _, s := range p.shared {
		k.budgets[s.Name] = s
	}
	if old, ok := k.holds[p.carrier]; ok && p.credit() != nil {
		old.parts, old.Phase, old.at = slices.Clone(old.parts), ledger.Settled, now
		for i := range old.parts {
			old.parts[i].Held = 0
		}
		k.holds[p.carrier] = old
	}
	if r.parts == nil && len(r.States) == len(r.Entries) && !p.attach {
		m.see(k, r, r.States)
	}
	m.mu.Unlock()
	if r.parts != nil {
		m.keep(r, r.States, now)
	}
}

// keep remembers a reservation that the store has acknowledged, and what its windows had spent.
func (m *memory) keep(r record, states []ledger.State, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	k, meta := m.local(r.Tenant), tenant(r.Tenant).meta()
	m.see(k, r, states)
	if _, ok := k.holds[r.ID]; !ok {
		m.order = append(m.order, held{meta, r.ID})
	}
	r.States = nil
	if r.Phase == ledger.Settled || r.Phase == ledger.Released {
		r.Memo = "" // may be long, and is of use to who looks at an open one
	}
	k.holds[r.ID] = kept{r, now}
	if len(m.order) > remembered {
		old := m.order[0]
		m.order = m.order[1:]
		delete(m.of[old.meta].holds, old.id)
	}
}

func (m *memory) see(k *known, r record, states []ledger.State) {
	for i, s := range states {
		back := ledger.Lookback(s.Budget)
		at := s.Start.Add(time.Duration(back) * time.Microsecond) // of a rolling window the newest slot
		_, end, err := ledger.Window(s.Budget, at)
		if err != nil {
			continue
		}
		rows := newRows()
		_, name := place(tenant(r.Tenant), r.Key, r.Entries[i], rows)
		where := spot{rows.keys[0], name}
		f := floor{start: at.UnixMicro(), end: end, spent: s.Spent, held: s.Held, back: back}
		old, ok := k.floors[where]
		switch {
		case !ok && m.rows >= remembered:
			continue
		case !ok:
			m.rows++
		case f.start < old.start || f.start == old.start && f.spent < old.spent:
			continue
		}
		k.floors[where] = f
	}
}

// froze remembers that an overrun has frozen a key. One that is not known will not be opened again.
func (m *memory) froze(t, key string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if k := m.local(t); len(k.frozen) < remembered {
		k.frozen[key] = true
	}
}

// hold is a reservation as it was acknowledged last.
func (m *memory) hold(t, id string) (kept, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if of := m.of[tenant(t).meta()]; of != nil {
		k, ok := of.holds[id]
		return k, ok
	}
	return kept{}, false
}

// drop forgets a reservation of which something else is true than was known.
func (m *memory) drop(t, id string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if of := m.of[tenant(t).meta()]; of != nil {
		delete(of.holds, id)
	}
}

// amount reads digits that this package wrote.
func amount(s string) int64 {
	n, _ := strconv.ParseInt(s, 10, 64)
	return n
}
