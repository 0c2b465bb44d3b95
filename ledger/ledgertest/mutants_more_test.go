package ledgertest_test

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/ledger"
)

func init() {
	mutants = append(mutants,
		mutant{"rolling", "resets a rolling window whenever its length has passed", func(b base) ledger.Ledger { return tumbling{b} }},
		mutant{"rolling-returns", "gives nothing back in a rolling window", func(b base) ledger.Ledger { return unrolling{b} }},
		mutant{"rolling-clock-back", "follows a clock that goes back in a rolling window", func(b base) ledger.Ledger { return newRewinding(b) }},
		mutant{"rolling-shared", "keeps a rate for each key", func(b base) ledger.Ledger { return keyEach{b} }},
		mutant{"repeat", "does not look at repeat rules", func(b base) ledger.Ledger { return unrepeating{b} }},
		mutant{"repeat-admitted", "counts a refused call as a repetition", func(b base) ledger.Ledger { return countsRefused{b} }},
		mutant{"repeat-retry", "counts a retry as a repetition", func(b base) ledger.Ledger { return countsRetries{b} }},
		mutant{"repeat-tenants", "counts repetitions across tenants", func(b base) ledger.Ledger { return oneTenant{b, map[string]int{}} }},
		mutant{"repeat-form", "takes a repeat rule of zero for no rule", func(b base) ledger.Ledger { return lenientRepeat{b} }},
		mutant{"observe", "counts observed spend with the enforced", func(b base) ledger.Ledger { return sharedObservation{b} }},
		mutant{"observe-shared", "lets observed spend use up the team's budget", func(b base) ledger.Ledger { return sharedObservation{b} }},
		mutant{"observe-repeat", "enforces an observed repeat rule", func(b base) ledger.Ledger { return strictRepeat{b} }},
		mutant{"observe-stop", "does not look at revokes of observed keys", func(b base) ledger.Ledger { return deafObserver{b} }},
		mutant{"narrowed", "takes a narrowed key's budget for its parent's", func(b base) ledger.Ledger { return parental{b} }},
		mutant{"narrowed-settle", "settles the issued key's part alone", func(b base) ledger.Ledger { return rootOnly{b} }},
		mutant{"narrowed-stop", "stops the issued key when a narrowed one is meant", func(b base) ledger.Ledger { return stopsFamily{b} }},
		mutant{"narrowed-thaw", "thaws the issued key when a narrowed one is resumed", func(b base) ledger.Ledger { return thawsFamily{b} }},
		mutant{"narrowed-currency", "is content with a budget of one key of the chain", func(b base) ledger.Ledger { return anyScope{b} }},
		mutant{"adjust", "edits what was booked and keeps no entry", func(b base) ledger.Ledger { return editing{b} }},
		mutant{"adjust-failed", "never lets a cost fall", func(b base) ledger.Ledger { return ratchet{b} }},
		mutant{"adjust-once", "takes the last adjustment of an id for the truth", func(b base) ledger.Ledger { return renaming{b} }},
		mutant{"adjust-above", "clips an adjustment to the limit", func(b base) ledger.Ledger { return clippedAdjust{b} }},
		mutant{"over-again", "tells of an overrun once", func(b base) ledger.Ledger { return tellsOnce{b, map[string]bool{}} }},
		mutant{"adjust-late", "forgets settled calls after a day", func(b base) ledger.Ledger { return shortMemory{b, map[string]time.Time{}} }},
		mutant{"adjust-open", "settles an open reservation by adjusting it", func(b base) ledger.Ledger { return settlingAdjust{b} }},
		mutant{"adjust-released", "drops an execution that comes after the release", func(b base) ledger.Ledger { return deadReleased{b} }},
		mutant{"adjust-stray", "drops an adjustment that it does not know", func(b base) ledger.Ledger { return strayAdjust{b} }},
		mutant{"adjust-bounded", "refuses the last adjustment that it has to take", func(b base) ledger.Ledger { return fewAdjustments{b} }},
		mutant{"alert", "alerts each time that a threshold is crossed", func(b base) ledger.Ledger { return &loud{base: b} }},
		mutant{"alert-window", "alerts once for ever", func(b base) ledger.Ledger { return onceEver{b} }},
		mutant{"alert-shared", "does not revise the thresholds of a row", func(b base) ledger.Ledger { return fixedAlerts{b} }},
		mutant{"alert-over", "alerts at reserves alone", func(b base) ledger.Ledger { return newReserveAlerts(b) }},
		mutant{"alert-refused", "alerts for what it refuses", func(b base) ledger.Ledger { return &eager{base: b} }},
		mutant{"unsettled", "does not list what is pending", func(b base) ledger.Ledger { return noPending{b} }},
		mutant{"unsettled-names", "lists every open call for any name", func(b base) ledger.Ledger { return allNames{b} }},
		mutant{"watch", "tells nobody", func(b base) ledger.Ledger { return silent{b} }},
	)
}

type stopsFamily struct{ base }

func (m stopsFamily) Control(ctx context.Context, c ledger.Control) (ledger.Report, error) {
	c.Key = ledger.Issued(c.Key)
	return m.base.Control(ctx, c)
}

type thawsFamily struct{ base }

func (m thawsFamily) Control(ctx context.Context, c ledger.Control) (ledger.Report, error) {
	report, err := m.base.Control(ctx, c)
	if c.Verb == ledger.Resume && c.Key != ledger.Issued(c.Key) {
		c.Key = ledger.Issued(c.Key)
		_, err = m.base.Control(ctx, c)
	}
	return report, err
}

// tumbling turns a rolling budget into one that starts anew at multiples of its length.
type tumbling struct{ base }

func (m tumbling) Reserve(ctx context.Context, r ledger.Request) (ledger.Hold, error) {
	return m.base.Reserve(ctx, withBudgets(r, func(b *ledger.Budget) {
		if d := b.Window.Rolls(); d > 0 {
			b.Window = cost.Lifetime
			b.Name += m.clock.Now().Truncate(d).String()
		}
	}))
}

type unrolling struct{ base }

func (m unrolling) Reserve(ctx context.Context, r ledger.Request) (ledger.Hold, error) {
	return m.base.Reserve(ctx, withBudgets(r, endless))
}

func (m unrolling) Balance(ctx context.Context, t, k string, b []ledger.Budget) ([]ledger.State, error) {
	return m.base.Balance(ctx, t, k, withBudgets(ledger.Request{Budgets: b}, endless).Budgets)
}

func endless(b *ledger.Budget) {
	if b.Window.Rolls() > 0 {
		b.Window = cost.Lifetime
	}
}

// rewinding starts counting anew when the clock goes back.
type rewinding struct {
	base
	last *time.Time
	n    *int
}

func newRewinding(b base) rewinding { return rewinding{b, &time.Time{}, new(int)} }

func (m rewinding) Reserve(ctx context.Context, r ledger.Request) (ledger.Hold, error) {
	if m.clock.Now().Before(*m.last) {
		*m.n++
	}
	*m.last = m.clock.Now()
	return m.base.Reserve(ctx, withBudgets(r, func(b *ledger.Budget) { b.Of = strings.Repeat("x", *m.n) }))
}

type unrepeating struct{ base }

func (m unrepeating) Reserve(ctx context.Context, r ledger.Request) (ledger.Hold, error) {
	if r.Repeat != nil && r.Repeat.Valid() == nil {
		r.Repeat = nil
	}
	return m.base.Reserve(ctx, r)
}

type countsRefused struct{ base }

func (m countsRefused) Reserve(ctx context.Context, r ledger.Request) (ledger.Hold, error) {
	h, err := m.base.Reserve(ctx, r)
	if err != nil && r.Repeat != nil {
		r.ID, r.Lines, r.Budgets = r.ID+"-counted", nil, nil
		_, _ = m.base.Reserve(ctx, r)
	}
	return h, err
}

type countsRetries struct{ base }

func (m countsRetries) Reserve(ctx context.Context, r ledger.Request) (ledger.Hold, error) {
	if r.Repeat != nil && r.Claim != nil {
		probe := r
		probe.ID, probe.Claim, probe.Lines, probe.Budgets = r.ID+"-"+r.Nonce, nil, nil, nil
		if _, err := m.base.Reserve(ctx, probe); err != nil {
			return ledger.Hold{}, err
		}
		r.Repeat = nil
	}
	return m.base.Reserve(ctx, r)
}

type oneTenant struct {
	base
	seen map[string]int
}

func (m oneTenant) Reserve(ctx context.Context, r ledger.Request) (ledger.Hold, error) {
	if r.Repeat != nil {
		if m.seen[r.Repeat.ID]++; int64(m.seen[r.Repeat.ID]) > r.Repeat.Most {
			return ledger.Hold{}, &ledger.Denied{Code: "repeat_exceeded"}
		}
	}
	return m.base.Reserve(ctx, r)
}

type lenientRepeat struct{ base }

func (m lenientRepeat) Reserve(ctx context.Context, r ledger.Request) (ledger.Hold, error) {
	if r.Repeat != nil && r.Repeat.Valid() != nil {
		r.Repeat = nil
	}
	return m.base.Reserve(ctx, r)
}

// sharedObservation books what is observed in the enforced counter, under a limit that refuses nothing.
type sharedObservation struct{ base }

func (m sharedObservation) Reserve(ctx context.Context, r ledger.Request) (ledger.Hold, error) {
	for _, b := range r.Budgets {
		if b.Observed && b.Shared {
			row, err := m.Budget(ctx, r.Tenant, b.Name)
			if err != nil {
				break
			}
			high := row
			high.Limit = cost.Max
			_ = m.SetBudget(ctx, r.Tenant, high)
			defer func() { _ = m.SetBudget(ctx, r.Tenant, row) }()
		}
	}
	r.Budgets = slices.Clone(r.Budgets)
	for i := range r.Budgets {
		if b := &r.Budgets[i]; b.Observed {
			b.Observed = false
			if !b.Shared {
				b.Limit = cost.Max
			}
		}
	}
	return m.base.Reserve(ctx, r)
}

type strictRepeat struct{ base }

func (m strictRepeat) Reserve(ctx context.Context, r ledger.Request) (ledger.Hold, error) {
	if r.Repeat != nil {
		rule := *r.Repeat
		rule.Observed = false
		r.Repeat = &rule
	}
	return m.base.Reserve(ctx, r)
}

type deafObserver struct{ base }

func (m deafObserver) Reserve(ctx context.Context, r ledger.Request) (ledger.Hold, error) {
	if slices.ContainsFunc(r.Budgets, func(b ledger.Budget) bool { return b.Observed }) {
		r.Controls = nil
	}
	return m.base.Reserve(ctx, r)
}

type parental struct{ base }

func (m parental) Reserve(ctx context.Context, r ledger.Request) (ledger.Hold, error) {
	r.Budgets = slices.Clone(r.Budgets)
	r.Budgets = slices.DeleteFunc(r.Budgets, func(b ledger.Budget) bool { return b.Of != "" })
	return m.base.Reserve(ctx, r)
}

// rootOnly shows nothing spent in the budgets of narrowed keys.
type rootOnly struct{ base }

func (m rootOnly) Balance(ctx context.Context, t, k string, budgets []ledger.Budget) ([]ledger.State, error) {
	states, err := m.base.Balance(ctx, t, k, budgets)
	for i, b := range budgets {
		if err == nil && b.Of != "" {
			states[i].Spent = 0
		}
	}
	return states, err
}

type anyScope struct{ base }

func (m anyScope) Reserve(ctx context.Context, r ledger.Request) (ledger.Hold, error) {
	return m.base.Reserve(ctx, withBudgets(r, func(b *ledger.Budget) {
		if b.Of != "" && b.Currency != r.Lines[0].Currency {
			b.Operations = []cost.Pattern{"nothing.at.all"}
		}
	}))
}

type editing struct{ base }

func (m editing) Find(ctx context.Context, t, id string) (ledger.Hold, error) {
	h, err := m.base.Find(ctx, t, id)
	h.Adjustments = nil
	return h, err
}

type ratchet struct{ base }

func (m ratchet) Adjust(ctx context.Context, t, id string, a ledger.Adjustment) (ledger.Receipt, error) {
	if len(a.Actual) == 0 {
		return ledger.Receipt{}, nil
	}
	return m.base.Adjust(ctx, t, id, a)
}

type renaming struct{ base }

func (m renaming) Adjust(ctx context.Context, t, id string, a ledger.Adjustment) (ledger.Receipt, error) {
	if len(a.Actual) > 0 {
		a.ID += a.Actual[0].String()
	}
	return m.base.Adjust(ctx, t, id, a)
}

type clippedAdjust struct{ base }

func (m clippedAdjust) Adjust(ctx context.Context, t, id string, a ledger.Adjustment) (ledger.Receipt, error) {
	a.Actual = slices.Clone(a.Actual)
	for i := range a.Actual {
		a.Actual[i].Amount = min(a.Actual[i].Amount, 10)
	}
	return m.base.Adjust(ctx, t, id, a)
}

type shortMemory struct {
	base
	settled map[string]time.Time
}

func (m shortMemory) Settle(ctx context.Context, h ledger.Hold, s ledger.Settlement) (ledger.Receipt, error) {
	m.settled[h.ID] = m.clock.Now()
	return m.base.Settle(ctx, h, s)
}

func (m shortMemory) Adjust(ctx context.Context, t, id string, a ledger.Adjustment) (ledger.Receipt, error) {
	if at, ok := m.settled[id]; ok && m.clock.Now().Sub(at) > 24*time.Hour {
		return ledger.Receipt{}, ledger.ErrNoHold
	}
	return m.base.Adjust(ctx, t, id, a)
}

type tellsOnce struct {
	base
	told map[string]bool
}

func (m tellsOnce) Settle(ctx context.Context, h ledger.Hold, s ledger.Settlement) (ledger.Receipt, error) {
	r, err := m.base.Settle(ctx, h, s)
	r.Over = r.Over && !m.told[h.ID]
	m.told[h.ID] = true
	return r, err
}

type settlingAdjust struct{ base }

func (m settlingAdjust) Adjust(ctx context.Context, t, id string, a ledger.Adjustment) (ledger.Receipt, error) {
	if h, err := m.Find(ctx, t, id); err == nil && h.Phase == ledger.InFlight {
		return m.Settle(ctx, h, ledger.Settlement{Phase: ledger.Settled, Actual: a.Actual})
	}
	return m.base.Adjust(ctx, t, id, a)
}

type deadReleased struct{ base }

func (m deadReleased) Adjust(ctx context.Context, t, id string, a ledger.Adjustment) (ledger.Receipt, error) {
	if h, err := m.Find(ctx, t, id); err == nil && h.Phase == ledger.Released {
		return ledger.Receipt{}, nil
	}
	return m.base.Adjust(ctx, t, id, a)
}

type strayAdjust struct{ base }

func (m strayAdjust) Adjust(ctx context.Context, t, id string, a ledger.Adjustment) (ledger.Receipt, error) {
	a.Actual = slices.DeleteFunc(slices.Clone(a.Actual), func(l cost.Line) bool { return l.Currency == "EUR" })
	return m.base.Adjust(ctx, t, id, a)
}

type fewAdjustments struct{ base }

func (m fewAdjustments) Adjust(ctx context.Context, t, id string, a ledger.Adjustment) (ledger.Receipt, error) {
	if h, err := m.Find(ctx, t, id); err == nil && len(h.Adjustments) >= ledger.MostAdjustments-1 {
		return ledger.Receipt{}, ledger.ErrAdjusted
	}
	return m.base.Adjust(ctx, t, id, a)
}

// loud forgets that it has alerted when a call is given back.
type loud struct {
	base
	again []ledger.Alert
}

func (m *loud) Release(ctx context.Context, h ledger.Hold, unsent bool) error {
	waiting, _ := m.base.Alerts(ctx, h.Tenant)
	m.again = append(m.again, waiting...)
	return m.base.Release(ctx, h, unsent)
}

func (m *loud) Alerts(ctx context.Context, t string) ([]ledger.Alert, error) {
	list, err := m.base.Alerts(ctx, t)
	return append(slices.Clone(m.again), list...), err
}

type onceEver struct{ base }

func (m onceEver) Alerts(ctx context.Context, t string) ([]ledger.Alert, error) {
	list, err := m.base.Alerts(ctx, t)
	seen := map[string]bool{}
	return slices.DeleteFunc(list, func(a ledger.Alert) bool {
		twice := seen[a.State.Name]
		seen[a.State.Name] = true
		return twice && a.State.Window != cost.Lifetime
	}), err
}

type fixedAlerts struct{ base }

func (m fixedAlerts) SetBudget(ctx context.Context, t string, b ledger.Budget) error {
	if old, err := m.Budget(ctx, t, b.Name); err == nil {
		b.AlertAt = old.AlertAt
	}
	return m.base.SetBudget(ctx, t, b)
}

// reserveAlerts hides the alerts that came with a settle or an adjustment.
type reserveAlerts struct {
	base
	known map[string]bool
}

func newReserveAlerts(b base) reserveAlerts { return reserveAlerts{b, map[string]bool{}} }

func (m reserveAlerts) Reserve(ctx context.Context, r ledger.Request) (ledger.Hold, error) {
	h, err := m.base.Reserve(ctx, r)
	list, _ := m.base.Alerts(ctx, r.Tenant)
	for _, a := range list {
		m.known[a.ID] = true
	}
	return h, err
}

func (m reserveAlerts) Alerts(ctx context.Context, t string) ([]ledger.Alert, error) {
	list, err := m.base.Alerts(ctx, t)
	return slices.DeleteFunc(list, func(a ledger.Alert) bool { return !m.known[a.ID] }), err
}

// eager alerts before it knows whether the call is admitted.
type eager struct {
	base
	early []ledger.Alert
}

func (m *eager) Reserve(ctx context.Context, r ledger.Request) (ledger.Hold, error) {
	h, err := m.base.Reserve(ctx, r)
	if err != nil && len(r.Budgets) > 0 && len(r.Budgets[0].AlertAt) > 0 {
		m.early = append(m.early, ledger.Alert{ID: "early", Kind: ledger.AlertThreshold, State: ledger.State{Budget: r.Budgets[0], Held: r.Budgets[0].Limit}, Percent: 50, At: m.clock.Now()})
	}
	return h, err
}

func (m *eager) Alerts(context.Context, string) ([]ledger.Alert, error) { return m.early, nil }

type noPending struct{ base }

func (m noPending) Unsettled(ctx context.Context, t string, names ...string) ([]ledger.Hold, error) {
	list, err := m.base.Unsettled(ctx, t, names...)
	return slices.DeleteFunc(list, func(h ledger.Hold) bool { return h.Phase == ledger.Pending }), err
}

type allNames struct{ base }

func (m allNames) Unsettled(ctx context.Context, t string, _ ...string) ([]ledger.Hold, error) {
	return m.base.Unsettled(ctx, t)
}

type silent struct{ base }

func (m silent) Watch(ctx context.Context, _ func(ledger.Control)) error {
	ctx, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
	defer cancel()
	<-ctx.Done()
	return ctx.Err()
}
