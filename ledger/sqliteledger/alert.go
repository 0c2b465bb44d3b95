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
			b.exec(`INSERT INTO alerts (tenant, id, key, state, percent, at) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (tenant, id) DO NOTHING`,
				b.tenant, id, key, b.json(packState(h.States[i])), percent, b.micros())
			b.exec(`UPDATE amounts SET told = ? WHERE `+cell, append([]any{percent}, b.counter(t, newest)...)...)
			b.exec(`DELETE FROM alerts WHERE tenant = ? AND n <= (SELECT n FROM alerts WHERE tenant = ? ORDER BY n DESC LIMIT 1 OFFSET ?)`,
				b.tenant, b.tenant, mostAlerts)
		}
	}
}

// Alerts lists the crossings that were not acknowledged.
func (l *Ledger) Alerts(ctx context.Context, tenant string) ([]ledger.Alert, error) {
	return view(ctx, l, tenant, func(b *books) ([]ledger.Alert, error) {
		var alerts []ledger.Alert
		var a ledger.Alert
		var state string
		var at int64
		b.each(`SELECT id, key, state, percent, at FROM alerts WHERE tenant = ? ORDER BY n`, []any{tenant}, func() {
			var packed part
			b.parse("alert", state, &packed)
			a.State, a.At = packed.state(), time.UnixMicro(at)
			alerts = append(alerts, a)
		}, &a.ID, &a.Key, &state, &a.Percent, &at)
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
