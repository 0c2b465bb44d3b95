package sqliteledger

import (
	"context"
	"slices"

	"github.com/keybrake/keybrake-go/ledger"
)

// Open makes the row of a key. The row goes a month after the key has expired, once nothing is held in its own
// budgets; until then a settlement finds it, and afterwards nothing asks for it.
func (l *Ledger) Open(ctx context.Context, k ledger.Key) error {
	_, err := change(ctx, l, k.Tenant, func(b *books) (struct{}, error) {
		var expires int64
		if !k.Expires.IsZero() {
			expires = max(1, k.Expires.UnixMicro())
		}
		b.newTenant()
		b.exec(`
			INSERT INTO keys (tenant, id, expires) VALUES (?, ?, ?)
			ON CONFLICT (tenant, id) DO UPDATE SET expires = iif(expires = 0 OR excluded.expires = 0, 0, max(expires, excluded.expires))`,
			b.tenant, k.ID, expires)
		return struct{}{}, nil
	})
	return err
}

// newTenant makes the tenant's row if there is none and tells it the global controls. All writing is in one
// order, so a tenant is either told here or found by a control of all.
func (b *books) newTenant() {
	if b.exec(`INSERT INTO tenants (name) VALUES (?) ON CONFLICT DO NOTHING`, b.tenant) > 0 {
		b.exec(`INSERT INTO controls (tenant, name, verb, reason, at) SELECT ?, name, verb, reason, at FROM globals`, b.tenant)
	}
}

// Control revokes, pauses or resumes: in every tenant it means, or in none. It never returns a
// [*ledger.PartialError].
func (l *Ledger) Control(ctx context.Context, c ledger.Control) (ledger.Report, error) {
	if err := c.Valid(); err != nil {
		return ledger.Report{}, err
	}
	name, err := c.Name()
	if err != nil {
		return ledger.Report{}, err
	}
	return change(ctx, l, c.Tenant, func(b *books) (ledger.Report, error) {
		b.announce(name, c)
		if c.Tenant == "" {
			return b.controlAll(name, c), nil
		}
		return b.control(name, c)
	})
}

func (b *books) control(name string, c ledger.Control) (ledger.Report, error) {
	if c.Key != "" && !b.get(`SELECT 1 FROM keys WHERE tenant = ? AND id = ?`, []any{b.tenant, ledger.Issued(c.Key)}, new(int)) {
		return ledger.Report{}, ledger.ErrNoKey
	}
	b.newTenant()
	// Revoke is final: nothing replaces it.
	if c.Verb == ledger.Resume {
		b.exec(`DELETE FROM controls WHERE tenant = ? AND name = ? AND verb <> 'revoke'`, b.tenant, name)
		b.exec(`UPDATE keys SET frozen = 0 WHERE tenant = ? AND id = ?`, b.tenant, c.Key)
	} else {
		b.exec(`
			INSERT INTO controls (tenant, name, verb, reason, at) VALUES (?, ?, ?, ?, ?)
			ON CONFLICT (tenant, name) DO UPDATE SET verb = excluded.verb, reason = excluded.reason, at = excluded.at WHERE verb <> 'revoke'`,
			b.tenant, name, string(c.Verb), c.Reason, b.micros())
	}
	return ledger.Report{Tenants: []string{c.Tenant}}, nil
}

// controlAll writes the global row, for tenants to come, and that of every tenant there is.
func (b *books) controlAll(name string, c ledger.Control) ledger.Report {
	if c.Verb == ledger.Resume {
		b.exec(`DELETE FROM globals WHERE name = ? AND verb <> 'revoke'`, name)
		b.exec(`DELETE FROM controls WHERE name = ? AND verb <> 'revoke'`, name)
	} else {
		b.exec(`
			INSERT INTO globals (name, verb, reason, at) VALUES (?, ?, ?, ?)
			ON CONFLICT (name) DO UPDATE SET verb = excluded.verb, reason = excluded.reason, at = excluded.at WHERE verb <> 'revoke'`,
			name, string(c.Verb), c.Reason, b.micros())
		b.exec(`
			INSERT INTO controls (tenant, name, verb, reason, at) SELECT name, ?, ?, ?, ? FROM tenants WHERE true
			ON CONFLICT (tenant, name) DO UPDATE SET verb = excluded.verb, reason = excluded.reason, at = excluded.at WHERE verb <> 'revoke'`,
			name, string(c.Verb), c.Reason, b.micros())
	}
	var report ledger.Report
	var tenant string
	b.each(`SELECT name FROM tenants ORDER BY name`, nil, func() { report.Tenants = append(report.Tenants, tenant) }, &tenant)
	return report
}

// SetBudget makes or revises a shared budget.
func (l *Ledger) SetBudget(ctx context.Context, tenant string, s ledger.Budget) error {
	if err := s.Valid(); err != nil {
		return err
	}
	_, err := change(ctx, l, tenant, func(b *books) (struct{}, error) { return struct{}{}, b.setBudget(s) })
	return err
}

// Budget returns a shared budget.
func (l *Ledger) Budget(ctx context.Context, tenant, name string) (ledger.Budget, error) {
	return view(ctx, l, tenant, func(b *books) (ledger.Budget, error) {
		s, ok := b.shared(name)
		if !ok {
			return s, ledger.ErrNoBudget
		}
		return s, nil
	})
}

// Balance returns the state of budgets for a key.
func (l *Ledger) Balance(ctx context.Context, tenant, key string, budgets []ledger.Budget) ([]ledger.State, error) {
	return view(ctx, l, tenant, func(b *books) ([]ledger.State, error) {
		if !b.get(`SELECT 1 FROM keys WHERE tenant = ? AND id = ?`, []any{tenant, key}, new(int)) {
			return nil, ledger.ErrNoKey
		}
		budgets, err := b.resolve(budgets)
		if err != nil {
			return nil, err
		}
		states := make([]ledger.State, len(budgets))
		for i, of := range budgets {
			t := tallyOf(key, ledger.Entry{Budget: of.Name, Shared: of.Shared, Of: of.Of, Observed: of.Observed})
			start, end, err := b.window(t, of)
			if err != nil {
				return nil, err
			}
			states[i] = b.state(t, of, start, end)
		}
		return states, nil
	})
}

// InDoubt lists the holds that need a look.
func (l *Ledger) InDoubt(ctx context.Context, tenant string) ([]ledger.Hold, error) {
	return view(ctx, l, tenant, func(b *books) ([]ledger.Hold, error) {
		return b.open(func(h *hold) bool {
			return h.Phase == ledger.Doubt || h.Phase == ledger.InFlight && !h.Deadline.After(b.now)
		}), nil
	})
}

// Unsettled lists the holds that are open.
func (l *Ledger) Unsettled(ctx context.Context, tenant string, names ...string) ([]ledger.Hold, error) {
	return view(ctx, l, tenant, func(b *books) ([]ledger.Hold, error) {
		return b.open(func(h *hold) bool {
			return len(names) == 0 || slices.ContainsFunc(names, func(n string) bool { return slices.Contains(h.Controls, n) })
		}), nil
	})
}

// open lists the open holds that are wanted, oldest first.
func (b *books) open(wanted func(*hold) bool) (holds []ledger.Hold) {
	var r row
	b.each(selectHold+`WHERE tenant = ? AND phase IN ('in_flight', 'pending', 'in_doubt') ORDER BY deadline, rowid`, []any{b.tenant},
		func() {
			if h := b.unpack(r); h != nil && wanted(h) {
				holds = append(holds, h.plain())
			}
		}, r.into()...)
	return holds
}

// Reservations goes through what is remembered, in the order of the ids, a page at a time: no writer waits for it.
func (l *Ledger) Reservations(ctx context.Context, tenant string, each func(ledger.Hold) error) error {
	for after := ""; ; {
		holds, err := view(ctx, l, tenant, func(b *books) (holds []ledger.Hold, _ error) {
			var r row
			b.each(selectHold+`WHERE tenant = ? AND id > ? AND first = '' ORDER BY id LIMIT 200`, []any{b.tenant, after},
				func() {
					if h := b.unpack(r); h != nil {
						holds = append(holds, h.plain())
					}
				}, r.into()...)
			return holds, nil
		})
		if err != nil || len(holds) == 0 {
			return err
		}
		for _, h := range holds {
			if err := each(h); err != nil {
				return err
			}
			after = h.ID
		}
	}
}

// Find returns one hold.
func (l *Ledger) Find(ctx context.Context, tenant, id string) (ledger.Hold, error) {
	return view(ctx, l, tenant, func(b *books) (ledger.Hold, error) {
		h := b.hold(id)
		if h == nil {
			return ledger.Hold{}, ledger.ErrNoHold
		}
		found := h.plain()
		found.Adjustments = b.adjustments(id)
		return found, nil
	})
}
