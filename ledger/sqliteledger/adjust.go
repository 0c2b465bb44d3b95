package sqliteledger

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/keybrake/keybrake-go/ledger"
)

// Adjust corrects what a settled reservation has cost. After an error that is none of the ledger's sentinels it may
// have been carried out: saying it again is safe and finds out. A reservation can be adjusted for as long as it is
// remembered, and an adjustment makes that 31 days more.
func (l *Ledger) Adjust(ctx context.Context, tenant, id string, a ledger.Adjustment) (ledger.Receipt, error) {
	if err := a.Valid(); err != nil {
		return ledger.Receipt{}, err
	}
	type outcome struct {
		ledger.Receipt
		err error // beside the receipt; nothing was written
	}
	o, err := change(ctx, l, tenant, func(b *books) (outcome, error) {
		receipt, err := b.adjust(b.hold(id), a)
		return outcome{receipt, err}, nil
	})
	if err != nil {
		return ledger.Receipt{}, err
	}
	return o.Receipt, o.err
}

func (b *books) adjust(rec *hold, a ledger.Adjustment) (ledger.Receipt, error) {
	switch {
	case rec == nil || rec.Phase == ledger.Released && len(rec.parts) == 0:
		return ledger.Receipt{}, ledger.ErrNoHold
	case rec.Phase != ledger.Settled && rec.Phase != ledger.Released:
		return ledger.Receipt{}, ledger.ErrOpen
	}
	booked, strays, err := ledger.Amounts(rec.plain().Entries, a.Actual)
	if err != nil || len(strays) > 0 {
		r := b.receipt(rec, false)
		r.Strays = strays
		return r, err
	}
	made := b.adjustments(rec.ID)
	if i := slices.IndexFunc(made, func(o ledger.Adjustment) bool { return o.ID == a.ID }); i >= 0 {
		if !slices.Equal(made[i].Actual, a.Actual) {
			return b.receipt(rec, false), ledger.ErrAdjusted
		}
		return b.receipt(rec, made[i].Rose()), nil
	}
	if len(made) == ledger.MostAdjustments {
		return b.receipt(rec, false), fmt.Errorf("sqliteledger: reservation %s has %d adjustments, the most it can have", rec.ID, ledger.MostAdjustments)
	}
	deltas := make([]int64, len(booked))
	for i, p := range rec.parts {
		deltas[i] = booked[i] - p.Booked
	}
	b.exec(`INSERT INTO adjustments (tenant, hold, n, id, actual, reason, at, deltas) VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
		b.tenant, rec.ID, len(made), a.ID, b.json(a.Actual), a.Reason, b.micros(), b.json(deltas))
	rec.Phase = ledger.Settled
	b.book(rec, booked, make([]int64, len(booked)))
	rec.States = b.states(rec.Key, rec.parts)
	b.alert(rec)
	b.put(rec, retention)
	return ledger.Receipt{Over: ledger.Adjustment{Deltas: deltas}.Rose(), States: rec.States}, nil
}

// adjustments are those of a reservation, oldest first.
func (b *books) adjustments(hold string) (list []ledger.Adjustment) {
	var id, actual, reason, deltas string
	var at int64
	b.each(`SELECT id, actual, reason, at, deltas FROM adjustments WHERE tenant = ? AND hold = ? ORDER BY n`, []any{b.tenant, hold}, func() {
		a := ledger.Adjustment{ID: id, Reason: reason, At: time.UnixMicro(at)}
		b.parse("adjustment", actual, &a.Actual)
		b.parse("adjustment", deltas, &a.Deltas)
		list = append(list, a)
	}, &id, &actual, &reason, &at, &deltas)
	return list
}
