package redisledger

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/ledger"
)

// alertsArgs is ARGV[1] of alerts.lua.
type alertsArgs struct {
	After string `json:"after"` // a place in the order
	Limit string `json:"limit"`
}

// acknowledgeArgs is ARGV[1] of acknowledge.lua.
type acknowledgeArgs struct {
	IDs []string `json:"ids"`
}

// alertText is an alert as alert.lua writes it.
type alertText struct {
	Key     string   `json:"key"`
	Budget  budget   `json:"budget"`
	Window  []string `json:"window"`
	Percent string   `json:"percent"`
	At      string   `json:"at"`
}

// marks makes field al of a record: the thresholds of each part as amounts, lowest first. Empty where there are none.
func marks(parts []ledger.Part) string {
	var b strings.Builder
	any := false
	for _, p := range parts {
		list := slices.Clone(p.Of.AlertAt)
		slices.Sort(list)
		for _, percent := range slices.Compact(list) {
			limited := p.Of
			limited.Limit = min(limited.Limit, cost.Max)
			fmt.Fprintf(&b, "%d %s,", max(0, percent), digits(ledger.Threshold(limited, percent)))
			any = true
		}
		b.WriteByte(';')
	}
	if !any {
		return ""
	}
	return b.String()
}

// Alerts lists the crossings that were not acknowledged, oldest first, in steps. The list is no snapshot: one that is
// acknowledged meanwhile may be in it.
func (l *Ledger) Alerts(ctx context.Context, t string) ([]ledger.Alert, error) {
	keys := []string{tenant(t).alerts(), tenant(t).alertTexts()}
	var alerts []ledger.Alert
	for after := "0"; ; {
		got, err := l.run(ctx, alertsScript, keys, alertsArgs{after, strconv.Itoa(page)})
		if err != nil {
			return nil, err
		}
		if err := got.expect("ok"); err != nil {
			return nil, err
		}
		n := len(got.rest) / 3
		for range n {
			after = got.word()
			a, err := parseAlert(got.word(), got.word())
			if err != nil {
				return nil, err
			}
			alerts = append(alerts, a)
		}
		if n < page {
			return alerts, nil
		}
	}
}

func parseAlert(id, text string) (ledger.Alert, error) {
	var a alertText
	if err := json.Unmarshal([]byte(text), &a); err != nil {
		return ledger.Alert{}, fmt.Errorf("redisledger: alert %s is damaged", id)
	}
	got := &reply{status: "alert", rest: append(a.Window, a.Percent, a.At)}
	w, percent, at := got.window(), got.number(), got.time()
	return ledger.Alert{ID: id, Key: a.Key, State: w.state(a.Budget.load()), Percent: int(percent), At: at}, got.err()
}

// Acknowledge forgets alerts.
func (l *Ledger) Acknowledge(ctx context.Context, t string, ids ...string) error {
	for some := range slices.Chunk(ids, page) {
		got, err := l.run(ctx, acknowledgeScript, []string{tenant(t).alerts(), tenant(t).alertTexts()}, acknowledgeArgs{some})
		if err != nil {
			return err
		}
		if err := got.expect("ok"); err != nil {
			return err
		}
	}
	return nil
}
