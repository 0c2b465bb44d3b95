package redisledger

import (
	"cmp"
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

// alertArgs is ARGV[1] of alertonce.lua.
type alertArgs struct {
	Now  string `json:"now"`
	ID   string `json:"id"`
	Kind string `json:"kind"`
	Key  string `json:"key"`
	Hold string `json:"hold"`
	Memo string `json:"memo"`
	Span string `json:"span"` // microseconds
	Keep string `json:"keep"` // milliseconds
}

// alertText is an alert as the scripts write it. What a kind has not is left out.
type alertText struct {
	Kind    string   `json:"kind"` // empty in one of before there were others: a threshold
	Key     string   `json:"key"`
	Hold    string   `json:"hold"`
	Budget  *budget  `json:"budget"`
	Window  []string `json:"window"`
	Percent string   `json:"percent"`
	Excess  string   `json:"excess"`
	Memo    string   `json:"memo"`
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

// Alert stores an alert that the caller has seen, once for its id. After an error it may be stored: saying it again is safe.
// Like leases, what it writes are no books.
func (l *Ledger) Alert(ctx context.Context, t string, a ledger.Alert) error {
	if err := a.Valid(); err != nil {
		return err
	}
	args := alertArgs{
		Now: l.clock(), ID: a.ID, Kind: string(a.Kind), Key: a.Key, Hold: a.Hold, Memo: a.Memo,
		Span: digits(ledger.AlertMemory.Microseconds()), Keep: digits((ledger.AlertMemory + margin).Milliseconds()),
	}
	got, err := l.run(ctx, alertScript, []string{tenant(t).told(a.ID), tenant(t).alerts(), tenant(t).alertTexts()}, args)
	if err != nil {
		return err
	}
	return got.expect("ok")
}

// Alerts lists the alerts that were not acknowledged, oldest first, in steps. The list is no snapshot: one that is
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
	alert := ledger.Alert{ID: id, Kind: cmp.Or(ledger.AlertKind(a.Kind), ledger.AlertThreshold), Key: a.Key, Hold: a.Hold, Memo: a.Memo}
	got := &reply{status: "alert", rest: append(a.Window, cmp.Or(a.Percent, "0"), cmp.Or(a.Excess, "0"), a.At)}
	if a.Budget != nil {
		alert.State = got.window().state(a.Budget.load())
	}
	alert.Percent, alert.Excess, alert.At = int(got.number()), got.number(), got.time()
	return alert, got.err()
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
