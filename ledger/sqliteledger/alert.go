package sqliteledger

import (
	"context"
	"fmt"
	"time"

	"github.com/keybrake/keybrake-go/ledger"
)

// mostAlerts is how many alerts of a tenant wait to be acknowledged.
const mostAlerts = 10_000

// alert stores the thresholds that the budgets of h, as h.States has them, have crossed: each once in a window.
func (b *books) alert(h *hold) {
	for i, p := range h.parts {
		if len(p.Of.AlertAt) == 0 {
			continue
		}
		t := tallyOf(h.Key, p.Entry)
		newest, _, _ := b.newest(t)
		since := newest - ledger.Lookback(p.Of)
		if p.Start < since {
			continue // of a window that is over
		}
		var told int
		b.get(`SELECT coalesce(max(told), 0) FROM amounts WHERE `+counter+` AND start BETWEEN ? AND ?`, b.counter(t, since, newest), &told)
		for _, percent := range ledger.Crossed(h.States[i], told) {
			key := h.Key
			if p.Shared {
				key = ""
			}
			id := fmt.Sprintf("%q %q %q %t %d %d", key, t.narrowed, t.budget, t.observed, newest, percent)
			b.tell(ledger.Alert{ID: id, Kind: ledger.AlertThreshold, Key: key, State: h.States[i], Percent: percent})
			b.exec(`UPDATE amounts SET told = ? WHERE `+cell, append([]any{percent}, b.counter(t, newest)...)...)
		}
	}
}

// tell stores an alert. Of too many the oldest goes.
func (b *books) tell(a ledger.Alert) {
	b.exec(`INSERT INTO alerts (tenant, id, kind, key, hold, state, percent, excess, memo, at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (tenant, id) DO NOTHING`,
		b.tenant, a.ID, string(a.Kind), a.Key, a.Hold, b.json(packState(a.State)), a.Percent, a.Excess, a.Memo, b.micros())
	b.exec(`DELETE FROM alerts WHERE tenant = ? AND n <= (SELECT n FROM alerts WHERE tenant = ? ORDER BY n DESC LIMIT 1 OFFSET ?)`,
		b.tenant, b.tenant, mostAlerts)
}

// Alert stores an alert that the caller has seen, once for its id. After an error it may be stored: saying it again is safe.
func (l *Ledger) Alert(ctx context.Context, tenant string, a ledger.Alert) error {
	if err := a.Valid(); err != nil {
		return err
	}
	_, err := change(ctx, l, tenant, func(b *books) (struct{}, error) {
		var until int64
		if b.get(`SELECT until FROM told WHERE tenant = ? AND id = ?`, []any{tenant, a.ID}, &until) && until > b.micros() {
			return struct{}{}, nil
		}
		b.exec(`INSERT INTO told (tenant, id, until) VALUES (?, ?, ?) ON CONFLICT (tenant, id) DO UPDATE SET until = excluded.until`,
			tenant, a.ID, b.now.Add(ledger.AlertMemory).UnixMicro())
		b.tell(ledger.Alert{ID: a.ID, Kind: a.Kind, Key: a.Key, Hold: a.Hold, Memo: a.Memo})
		return struct{}{}, nil
	})
	return err
}

// Alerts lists the alerts that were not acknowledged.
func (l *Ledger) Alerts(ctx context.Context, tenant string) ([]ledger.Alert, error) {
	return view(ctx, l, tenant, func(b *books) ([]ledger.Alert, error) {
		var alerts []ledger.Alert
		var a ledger.Alert
		var kind, state string
		var at int64
		b.each(`SELECT id, kind, key, hold, state, percent, excess, memo, at FROM alerts WHERE tenant = ? ORDER BY n`, []any{tenant}, func() {
			var packed part
			b.parse("alert", state, &packed)
			a.Kind, a.State, a.At = ledger.AlertKind(kind), packed.state(), time.UnixMicro(at)
			alerts = append(alerts, a)
		}, &a.ID, &kind, &a.Key, &a.Hold, &state, &a.Percent, &a.Excess, &a.Memo, &at)
		return alerts, nil
	})
}

// Acknowledge forgets alerts.
func (l *Ledger) Acknowledge(ctx context.Context, tenant string, ids ...string) error {
	_, err := change(ctx, l, tenant, func(b *books) (struct{}, error) {
		for _, id := range ids {
			b.exec(`DELETE FROM alerts WHERE tenant = ? AND id = ?`, tenant, id)
		}
		return struct{}{}, nil
	})
	return err
}
