package redisledger

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/ledger"
)

// adjustArgs is ARGV[1] of adjust.lua.
type adjustArgs struct {
	Now     string     `json:"now"`
	ID      string     `json:"id"`
	Key     string     `json:"key"`
	Version string     `json:"version"` // of the record that Go has read
	Entry   string     `json:"entry"`   // the adjustment
	Parts   []partArgs `json:"parts"`
	keepArgs
}

// adjustment is a [ledger.Adjustment] in JSON, without its time, which the script gives it.
type adjustment struct {
	ID     string       `json:"id"`
	Reason string       `json:"why,omitempty"`
	Actual []actualLine `json:"is,omitempty"`
	Deltas []string     `json:"by"`
}

type actualLine struct {
	Meter    cost.Meter    `json:"m"`
	Currency cost.Currency `json:"c,omitempty"`
	Amount   int64         `json:"a,string"`
}

// Adjust corrects what a finished reservation has cost. It takes two round trips: the record is read first. After an
// error it may or may not have been booked: saying it again is safe and finds out.
func (l *Ledger) Adjust(ctx context.Context, t, id string, a ledger.Adjustment) (ledger.Receipt, error) {
	if err := a.Valid(); err != nil {
		return ledger.Receipt{}, err
	}
	for range tries {
		rec, err := l.read(ctx, t, id)
		switch {
		case err != nil:
			return ledger.Receipt{}, err
		case rec.Phase == ledger.Released && len(rec.parts) == 0:
			return ledger.Receipt{}, ledger.ErrNoHold
		case rec.Phase != ledger.Settled && rec.Phase != ledger.Released:
			return ledger.Receipt{}, ledger.ErrOpen
		}
		booked, strays, err := ledger.Amounts(rec.Entries, a.Actual)
		if err != nil {
			return ledger.Receipt{}, err
		}
		if done, rose, err := adjusted(rec, a); done || len(strays) > 0 {
			return l.unchanged(ctx, rec, rose && len(strays) == 0, strays, err)
		}
		keys, args := l.adjustArgs(rec, a, booked)
		got, err := l.run(ctx, adjustScript, keys, args)
		if err != nil {
			return ledger.Receipt{}, err
		}
		if got.status == "ok" {
			r, err := l.receipt(got)
			if err == nil {
				l.adjusted(rec, booked)
			}
			return r, err
		}
		if err := got.expect("stale"); err != nil {
			return ledger.Receipt{}, err
		}
	}
	return ledger.Receipt{}, errBusy
}

// adjusted reports whether there is nothing to do: a was booked before, and whether it rose then, or cannot be.
func adjusted(rec record, a ledger.Adjustment) (done, rose bool, err error) {
	for _, old := range rec.Adjustments {
		switch {
		case old.ID == a.ID && slices.Equal(old.Actual, a.Actual):
			return true, old.Rose(), nil
		case old.ID == a.ID:
			return true, false, ledger.ErrAdjusted
		}
	}
	if len(rec.Adjustments) >= ledger.MostAdjustments {
		return true, false, fmt.Errorf("redisledger: reservation %s has %d adjustments, the most it can have", rec.ID, len(rec.Adjustments))
	}
	return false, false, nil
}

// unchanged is the receipt of an adjustment that books nothing.
func (l *Ledger) unchanged(ctx context.Context, rec record, over bool, strays []cost.Line, because error) (ledger.Receipt, error) {
	states, err := l.states(ctx, rec)
	if err != nil {
		return ledger.Receipt{}, err
	}
	if len(strays) > 0 {
		because = nil
	}
	return ledger.Receipt{States: states, Over: over, Strays: strays}, because
}

func (l *Ledger) adjustArgs(rec record, a ledger.Adjustment, booked []int64) ([]string, adjustArgs) {
	t := tenant(rec.Tenant)
	args := adjustArgs{Now: l.clock(), ID: rec.ID, Key: rec.Key, Version: rec.version, Parts: []partArgs{}, keepArgs: l.keeps()}
	reason := strings.ToValidUTF8(a.Reason, "\uFFFD") // no reason keeps it from being booked
	entry := adjustment{ID: a.ID, Reason: reason, Deltas: []string{}}
	for _, line := range a.Actual {
		entry.Actual = append(entry.Actual, actualLine(line))
	}
	keys := closing(t, rec)
	for i, e := range rec.Entries {
		row, name := place(t, rec.Key, e, keys)
		args.Parts = append(args.Parts, partArgs{Row: row, Name: name, Booked: digits(booked[i]), Held: "0", Money: e.Meter.Money()})
		entry.Deltas = append(entry.Deltas, strconv.FormatInt(booked[i]-e.Booked, 10))
	}
	args.Entry = inner(entry)
	return keys.keys, args
}

// adjustments reads field adj of a record.
func adjustments(text string) ([]ledger.Adjustment, error) {
	var list []ledger.Adjustment
	for line := range strings.Lines(text) {
		at, entry, _ := strings.Cut(line, " ")
		micros, err := strconv.ParseInt(at, 10, 64)
		if err != nil {
			return nil, err
		}
		var e adjustment
		if err := json.Unmarshal([]byte(entry), &e); err != nil {
			return nil, err
		}
		a := ledger.Adjustment{ID: e.ID, Reason: e.Reason, At: time.UnixMicro(micros)}
		for _, l := range e.Actual {
			a.Actual = append(a.Actual, cost.Line(l))
		}
		for _, d := range e.Deltas {
			n, err := strconv.ParseInt(d, 10, 64)
			if err != nil {
				return nil, err
			}
			a.Deltas = append(a.Deltas, n)
		}
		list = append(list, a)
	}
	return list, nil
}
