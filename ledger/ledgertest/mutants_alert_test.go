package ledgertest_test

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/keybrake/keybrake-go/ledger"
)

func init() {
	mutants = append(mutants,
		mutant{"alert-overrun", "tells nobody of an overrun", func(b base) ledger.Ledger { return hides{b, ledger.AlertOverrun, 0} }},
		mutant{"alert-overrun", "tells of an overrun whenever it is said", func(b base) ledger.Ledger { return &saysAgain{base: b} }},
		mutant{"alert-overrun-more", "tells of a price that rose later as of an overrun", func(b base) ledger.Ledger { return &toldRises{base: b} }},
		mutant{"alert-frozen", "tells once that a key is frozen", func(b base) ledger.Ledger { return hides{b, ledger.AlertFrozen, 1} }},
		mutant{"alert-given", "forgets an alert's id when it is acknowledged", func(b base) ledger.Ledger { return newAmnesiac(b) }},
		mutant{"alert-given", "never forgets an alert's id", func(b base) ledger.Ledger { return elephant{b, map[string]bool{}} }},
		mutant{"alert-given-apart", "stores an alert once over all tenants", func(b base) ledger.Ledger { return elephant{b, map[string]bool{}} }},
		mutant{"alert-given-form", "takes an alert of its own kinds from others", func(b base) ledger.Ledger { return credulous{b} }},
		mutant{"alert-given-race", "looks whether an alert is known, then stores it", func(b base) ledger.Ledger { return newSlowAlert(b) }},
	)
}

// hides lists the first few alerts of a kind alone.
type hides struct {
	base
	kind ledger.AlertKind
	most int
}

func (m hides) Alerts(ctx context.Context, t string) ([]ledger.Alert, error) {
	list, err := m.base.Alerts(ctx, t)
	n := 0
	return slices.DeleteFunc(list, func(a ledger.Alert) bool {
		if a.Kind == m.kind {
			n++
		}
		return a.Kind == m.kind && n > m.most
	}), err
}

type saysAgain struct {
	base
	again []ledger.Alert
}

func (m *saysAgain) Settle(ctx context.Context, h ledger.Hold, s ledger.Settlement) (ledger.Receipt, error) {
	r, err := m.base.Settle(ctx, h, s)
	if r.Over {
		m.again = []ledger.Alert{{ID: ledger.OverrunID(h.ID), Kind: ledger.AlertOverrun, Key: h.Key, Hold: h.ID, At: m.clock.Now()}}
	}
	return r, err
}

func (m *saysAgain) Alerts(ctx context.Context, t string) ([]ledger.Alert, error) {
	list, err := m.base.Alerts(ctx, t)
	for _, a := range m.again {
		if !slices.ContainsFunc(list, func(o ledger.Alert) bool { return o.ID == a.ID }) {
			list = append(list, a)
		}
	}
	return list, err
}

type toldRises struct {
	base
	rises []ledger.Alert
}

func (m *toldRises) Adjust(ctx context.Context, t, id string, a ledger.Adjustment) (ledger.Receipt, error) {
	r, err := m.base.Adjust(ctx, t, id, a)
	if r.Over {
		m.rises = append(m.rises, ledger.Alert{ID: ledger.OverrunID(id), Kind: ledger.AlertOverrun, Key: "key2", Hold: id, At: m.clock.Now()})
	}
	return r, err
}

func (m *toldRises) Alerts(ctx context.Context, t string) ([]ledger.Alert, error) {
	list, err := m.base.Alerts(ctx, t)
	return append(list, m.rises...), err
}

// amnesiac keeps alerts of its own: their ids as long as they wait.
type amnesiac struct {
	base
	mu    *sync.Mutex
	boxes map[string][]ledger.Alert
}

func newAmnesiac(b base) amnesiac { return amnesiac{b, &sync.Mutex{}, map[string][]ledger.Alert{}} }

func (m amnesiac) Alert(_ context.Context, t string, a ledger.Alert) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	a.At = m.clock.Now()
	if !slices.ContainsFunc(m.boxes[t], func(o ledger.Alert) bool { return o.ID == a.ID }) {
		m.boxes[t] = append(m.boxes[t], a)
	}
	return a.Valid()
}

func (m amnesiac) Alerts(_ context.Context, t string) ([]ledger.Alert, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.boxes[t]), nil
}

func (m amnesiac) Acknowledge(_ context.Context, t string, ids ...string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.boxes[t] = slices.DeleteFunc(m.boxes[t], func(a ledger.Alert) bool { return slices.Contains(ids, a.ID) })
	return nil
}

type elephant struct {
	base
	seen map[string]bool
}

func (m elephant) Alert(ctx context.Context, t string, a ledger.Alert) error {
	if m.seen[a.ID] {
		return nil
	}
	m.seen[a.ID] = true
	return m.base.Alert(ctx, t, a)
}

type credulous struct{ base }

func (m credulous) Alert(ctx context.Context, t string, a ledger.Alert) error {
	if a.Kind == ledger.AlertThreshold || a.Kind == ledger.AlertOverrun || a.Kind == ledger.AlertFrozen {
		a.Kind = "their own"
	}
	return m.base.Alert(ctx, t, a)
}

// slowAlert stores under the id of nobody what it has seen to be new.
type slowAlert struct {
	base
	mu   *sync.Mutex
	seen map[string]bool
	n    map[string]int
}

func newSlowAlert(b base) slowAlert {
	return slowAlert{b, &sync.Mutex{}, map[string]bool{}, map[string]int{}}
}

func (m slowAlert) Alert(ctx context.Context, t string, a ledger.Alert) error {
	m.mu.Lock()
	seen := m.seen[t+a.ID]
	m.mu.Unlock()
	if seen {
		return nil
	}
	time.Sleep(time.Millisecond)
	m.mu.Lock()
	m.seen[t+a.ID] = true
	m.n[a.ID]++
	if n := m.n[a.ID]; n > 1 {
		a.ID += string(rune('a' + n))
	}
	m.mu.Unlock()
	return m.base.Alert(ctx, t, a)
}
