package sqliteledger

import (
	"time"

	"github.com/keybrake/keybrake-go/ledger"
	"github.com/keybrake/keybrake-go/reason"
)

// repeated refuses a call that was admitted too often, or says that it would have been.
func (b *books) repeated(rule ledger.Repeat) (would []ledger.Shortfall, err error) {
	if err := rule.Valid(); err != nil {
		return nil, err
	}
	since := b.micros() - rule.Window.Microseconds()
	var first, count int64
	if !b.get(`SELECT at FROM repeats WHERE tenant = ? AND id = ? ORDER BY n DESC LIMIT 1 OFFSET ?`, []any{b.tenant, rule.ID, rule.Most - 1}, &first) || first <= since {
		return nil, nil
	}
	b.get(`SELECT count(*) FROM repeats WHERE tenant = ? AND id = ? AND at > ?`, []any{b.tenant, rule.ID, since}, &count)
	short := []ledger.Shortfall{rule.Short(count, time.UnixMicro(first))}
	if rule.Observed {
		return short, nil
	}
	return nil, &ledger.Denied{Code: reason.RepeatExceeded, Shortfalls: short}
}

// repeat remembers that a call was admitted now, and forgets what no rule can ask for: what is over, and all but the
// latest. When the clock went back, the time is that of the latest: times never go back, so what was admitted
// meanwhile counts for longer, never shorter.
func (b *books) repeat(rule ledger.Repeat) {
	var n, last int64
	b.get(`SELECT n, at FROM repeats WHERE tenant = ? AND id = ? ORDER BY n DESC LIMIT 1`, []any{b.tenant, rule.ID}, &n, &last)
	n++
	at := max(b.micros(), last)
	b.exec(`INSERT INTO repeats (tenant, id, n, at, forget) VALUES (?, ?, ?, ?, ?)`, b.tenant, rule.ID, n, at, at+rule.Window.Microseconds())
	b.exec(`DELETE FROM repeats WHERE tenant = ? AND id = ? AND (n <= ? OR +forget <= ?)`, b.tenant, rule.ID, n-ledger.MostRepeats, b.micros())
}
