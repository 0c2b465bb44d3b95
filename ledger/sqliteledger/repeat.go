package sqliteledger

import (
	"time"

	"github.com/keybrake/keybrake-go/ledger"
	"github.com/keybrake/keybrake-go/reason"
)

// rule selects what a repeat rule counts, with the arguments of rule. An observed one counts apart.
const rule = `tenant = ? AND id = ? AND observed = ?`

func (b *books) rule(r ledger.Repeat, more ...any) []any {
	return append([]any{b.tenant, r.ID, r.Observed}, more...)
}

// repeated refuses a call that was admitted too often, or says that it would have been.
func (b *books) repeated(r ledger.Repeat) (would []ledger.Shortfall, err error) {
	if err := r.Valid(); err != nil {
		return nil, err
	}
	since := b.micros() - r.Window.Microseconds()
	var first, count int64
	if !b.get(`SELECT at FROM repeats WHERE `+rule+` ORDER BY n DESC LIMIT 1 OFFSET ?`, b.rule(r, r.Most-1), &first) || first <= since {
		return nil, nil
	}
	b.get(`SELECT count(*) FROM repeats WHERE `+rule+` AND at > ?`, b.rule(r, since), &count)
	short := []ledger.Shortfall{r.Short(count, time.UnixMicro(first))}
	if r.Observed {
		return short, nil
	}
	return nil, &ledger.Denied{Code: reason.RepeatExceeded, Shortfalls: short}
}

// repeat remembers that a call was admitted now. When the clock went back, the time is that of the latest: times
// never go back, so what was admitted meanwhile counts for longer, never shorter. For one that comes, up to two go of
// those that no rule can ask for: what is over, and all but the latest.
func (b *books) repeat(r ledger.Repeat) {
	var n, last int64
	b.get(`SELECT n, at FROM repeats WHERE `+rule+` ORDER BY n DESC LIMIT 1`, b.rule(r), &n, &last)
	n++
	at := max(b.micros(), last)
	b.exec(`INSERT INTO repeats (tenant, id, observed, n, at, forget) VALUES (?, ?, ?, ?, ?, ?)`, b.rule(r, n, at, at+r.Window.Microseconds())...)
	b.exec(`DELETE FROM repeats WHERE `+rule+` AND n IN (SELECT n FROM repeats WHERE `+rule+` ORDER BY n LIMIT 2) AND (n <= ? OR +forget <= ?)`,
		append(b.rule(r), b.rule(r, n-ledger.MostRepeats, b.micros())...)...)
}
