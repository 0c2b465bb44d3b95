package sqliteledger

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/ledger"
)

// A hold is a reservation as it is stored.
type hold struct {
	ledger.Hold
	parts   []ledger.Part // what Entries and States are made from
	probing bool          // its lines are still to come
	raised  bool
	over    bool // it has cost more than was held
	claim   string
	saw     string // the pending reservation that carried the object when this one took it up
	first   string // an attempt of a retry: the reservation that it has joined
}

// How long a finished reservation is remembered, so that a late or repeated verb finds it: longer than any vendor
// remembers an idempotency key. A read, which cannot be settled, is remembered for as long as its caller may ask
// again.
const (
	retention     = 31 * 24 * time.Hour
	retentionRead = time.Hour
)

const selectHold = `SELECT id, nonce, key, operation, object, phase, deadline, memo, controls, parts, would, claim, first, saw, probing, raised, attached, over, retry FROM holds `

// row is what selectHold reads into.
type row struct {
	hold
	deadline, retry        int64
	controls, parts, would string
}

func (r *row) into() []any {
	return []any{&r.ID, &r.Nonce, &r.Key, &r.Operation, &r.Object, &r.Phase, &r.deadline, &r.Memo, &r.controls, &r.parts, &r.would, &r.claim, &r.first, &r.saw, &r.probing, &r.raised, &r.Retries, &r.over, &r.retry}
}

// hold returns a reservation by its id, or nil.
func (b *books) hold(id string) *hold {
	var r row
	if !b.get(selectHold+`WHERE tenant = ? AND id = ?`, []any{b.tenant, id}, r.into()...) {
		return nil
	}
	return b.unpack(r)
}

func (b *books) unpack(r row) *hold {
	h := r.hold
	h.Tenant, h.Deadline = b.tenant, time.UnixMicro(r.deadline)
	if r.retry != 0 {
		h.RetryUntil = time.UnixMicro(r.retry)
	}
	var parts []part
	var would []shortfall
	b.parse("reservation", r.controls, &h.Controls)
	b.parse("reservation", r.parts, &parts)
	b.parse("reservation", r.would, &would)
	if slices.ContainsFunc(parts, func(p part) bool { return !countable(p.Held) || !countable(p.Booked) }) {
		b.fail(errors.New("a reservation's row has an amount that no ledger has"))
	}
	if b.err != nil {
		return nil
	}
	for _, p := range parts {
		h.parts = append(h.parts, p.part())
	}
	for _, s := range would {
		h.Would = append(h.Would, ledger.Shortfall{State: s.state(), Need: s.Need})
	}
	return &h
}

// countable says that n is an amount that a ledger can have.
func countable(n int64) bool { return n >= 0 && n <= cost.Max }

// put stores h. One that is over may be forgotten after retention.
func (b *books) put(h *hold, after time.Duration) {
	var retry, forget int64
	if !h.RetryUntil.IsZero() {
		retry = h.RetryUntil.UnixMicro()
	}
	if h.Phase == ledger.Settled || h.Phase == ledger.Released {
		forget = b.now.Add(after).UnixMicro()
	}
	parts, would := make([]part, len(h.parts)), make([]shortfall, len(h.Would))
	for i, p := range h.parts {
		parts[i] = pack(p)
	}
	for i, s := range h.Would {
		would[i] = shortfall{packState(s.State), s.Need}
	}
	b.exec(`
		INSERT INTO holds (tenant, id, nonce, key, operation, object, phase, deadline, memo, controls, parts, would, claim, first, saw, probing, raised, attached, over, retry, forget)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (tenant, id) DO UPDATE SET
			object = excluded.object, phase = excluded.phase, memo = excluded.memo, parts = excluded.parts, would = excluded.would, saw = excluded.saw,
			probing = excluded.probing, raised = excluded.raised, attached = excluded.attached, over = excluded.over, retry = excluded.retry, forget = excluded.forget`,
		b.tenant, h.ID, h.Nonce, h.Key, h.Operation, h.Object, string(h.Phase), h.Deadline.UnixMicro(), h.Memo, b.json(h.Controls), b.json(parts), b.json(would), h.claim, h.first, h.saw,
		h.probing, h.raised, h.Retries, h.over, retry, forget)
}

// A part is a [ledger.Part] in JSON of a form of its own, so that a change of the Go struct does not change what
// is stored.
type part struct {
	Name       string         `json:"b"`
	Shared     bool           `json:"s,omitempty"`
	Of         string         `json:"of,omitempty"`
	Observed   bool           `json:"obs,omitempty"`
	Meter      cost.Meter     `json:"m"`
	Currency   cost.Currency  `json:"c,omitempty"`
	Limit      int64          `json:"l"`
	Window     cost.Window    `json:"w"`
	Zone       string         `json:"z,omitempty"`
	Operations []cost.Pattern `json:"o,omitempty"`
	AlertAt    []int          `json:"at,omitempty"`
	Start      int64          `json:"from"`
	End        int64          `json:"to,omitempty"`
	Held       int64          `json:"held"`
	Booked     int64          `json:"spent"`
	Base       int64          `json:"base,omitempty"`
}

func (p part) budget() ledger.Budget {
	return ledger.Budget{
		Name: p.Name, Shared: p.Shared, Of: p.Of, Meter: p.Meter, Currency: p.Currency, Limit: p.Limit, Window: p.Window, Zone: p.Zone,
		Operations: p.Operations, Observed: p.Observed, AlertAt: p.AlertAt,
	}
}

func (p part) part() ledger.Part {
	return ledger.Part{
		Entry: ledger.Entry{
			Budget: p.Name, Shared: p.Shared, Of: p.Of, Observed: p.Observed, Meter: p.Meter, Currency: p.Currency,
			Start: p.Start, Held: p.Held, Booked: p.Booked,
		},
		Of: p.budget(), End: p.End, Base: p.Base,
	}
}

func packBudget(b ledger.Budget) part {
	return part{
		Name: b.Name, Shared: b.Shared, Of: b.Of, Observed: b.Observed, Meter: b.Meter, Currency: b.Currency, Limit: b.Limit, Window: b.Window,
		Zone: b.Zone, Operations: b.Operations, AlertAt: b.AlertAt,
	}
}

func pack(p ledger.Part) part {
	packed := packBudget(p.Of)
	packed.Start, packed.End, packed.Held, packed.Booked, packed.Base = p.Start, p.End, p.Held, p.Booked, p.Base
	return packed
}

// state is a [ledger.State] that was stored as a part.
func (p part) state() ledger.State {
	s := ledger.State{Budget: p.budget(), Spent: p.Booked, Held: p.Held, Start: time.UnixMicro(p.Start)}
	if p.End != 0 {
		s.Reset = time.UnixMicro(p.End)
	}
	return s
}

func packState(s ledger.State) part {
	packed := packBudget(s.Budget)
	packed.Start, packed.Held, packed.Booked = s.Start.UnixMicro(), s.Held, s.Spent
	if !s.Reset.IsZero() {
		packed.End = s.Reset.UnixMicro()
	}
	return packed
}

// A shortfall is a [ledger.Shortfall] in JSON.
type shortfall struct {
	part
	Need int64 `json:"need"`
}

// plain is h for the caller.
func (h *hold) plain() ledger.Hold {
	c := h.Hold
	c.Entries, c.States = nil, nil // the caller of a reserve is told the states by answer
	for _, p := range h.parts {
		c.Entries = append(c.Entries, p.Entry)
	}
	return c
}

// forget deletes what is over and remembered no longer, a little in each transaction.
func (f *file) forget() error {
	now := f.now()
	if since := now.Sub(time.UnixMicro(f.tidied)); since >= 0 && since < time.Minute {
		return nil
	}
	b := &books{ctx: context.Background(), conn: f.write, now: now}
	const over = `(SELECT rowid FROM holds WHERE forget > 0 AND forget <= ? ORDER BY forget LIMIT 256)`
	b.exec(`DELETE FROM claims WHERE (tenant, id, hold) IN (SELECT tenant, claim, id FROM holds WHERE rowid IN `+over+`)`, now.UnixMicro())
	b.exec(`DELETE FROM adjustments WHERE (tenant, hold) IN (SELECT tenant, id FROM holds WHERE rowid IN `+over+`)`, now.UnixMicro())
	holds := b.exec(`DELETE FROM holds WHERE rowid IN `+over, now.UnixMicro())
	repeats := b.exec(`DELETE FROM repeats WHERE (tenant, id, observed, n) IN (SELECT tenant, id, observed, n FROM repeats WHERE forget <= ? ORDER BY forget LIMIT 256)`, now.UnixMicro())
	leases := b.exec(`DELETE FROM leases WHERE (tenant, name) IN (SELECT tenant, name FROM leases WHERE until <= ? ORDER BY until LIMIT 256)`, now.UnixMicro())
	texts := b.exec(`DELETE FROM texts WHERE rowid IN (SELECT rowid FROM texts WHERE until <= ? ORDER BY until LIMIT 256)`, now.UnixMicro())
	told := b.exec(`DELETE FROM told WHERE (tenant, id) IN (SELECT tenant, id FROM told WHERE until <= ? ORDER BY until LIMIT 256)`, now.UnixMicro())
	keys := b.forgetKeys(now.Add(-retention).UnixMicro())
	if max(holds, repeats, leases, texts, told, int64(keys)) < 256 {
		f.tidied = now.UnixMicro()
	}
	return b.err
}

// forgetKeys deletes keys that have expired long ago, with their own budgets, where nothing is held any more.
func (b *books) forgetKeys(before int64) int {
	var tenant, id string
	var over [][2]string
	b.each(`
		SELECT tenant, id FROM keys WHERE expires > 0 AND expires < ? AND NOT EXISTS (
			SELECT 1 FROM amounts a WHERE a.tenant = keys.tenant AND a.scope = 'key:' || keys.id AND a.held > 0
		) LIMIT 256`, []any{before}, func() { over = append(over, [2]string{tenant, id}) }, &tenant, &id)
	for _, k := range over {
		b.exec(`DELETE FROM amounts WHERE tenant = ? AND scope = ?`, k[0], scope(k[1], false))
		b.exec(`DELETE FROM keys WHERE tenant = ? AND id = ?`, k[0], k[1])
	}
	return len(over)
}
