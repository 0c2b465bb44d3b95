package sqliteledger

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/keybrake/keybrake-go/ledger"
)

var (
	_ ledger.Leaser = (*Ledger)(nil)
	_ ledger.Keeper = (*Ledger)(nil)
)

// Lease gives name to holder for d from now, unless another has it.
func (l *Ledger) Lease(ctx context.Context, tenant, name, holder string, d time.Duration) (bool, error) {
	if holder == "" {
		return false, errors.New("sqliteledger: a lease needs a holder")
	}
	return change(ctx, l, tenant, func(b *books) (bool, error) { return b.lease(name, holder, d), nil })
}

func (b *books) lease(name, holder string, d time.Duration) bool {
	var has string
	if b.get(`SELECT holder FROM leases WHERE tenant = ? AND name = ? AND until > ?`, []any{b.tenant, name, b.micros()}, &has) && has != holder {
		return false
	}
	b.exec(`DELETE FROM leases WHERE tenant = ? AND name = ?`, b.tenant, name)
	if d > 0 {
		b.exec(`INSERT INTO leases (tenant, name, holder, until) VALUES (?, ?, ?, ?)`, b.tenant, name, holder, b.now.Add(d).UnixMicro())
	}
	return true
}

// Keep stores text under name for d, in place of what was there.
func (l *Ledger) Keep(ctx context.Context, tenant, name string, text []byte, d time.Duration) error {
	if len(text) > ledger.MostKept {
		return fmt.Errorf("sqliteledger: a text of %d bytes is longer than %d; it is not kept", len(text), ledger.MostKept)
	}
	text = append([]byte{}, text...) // the writer may look at it after Keep has returned, and an empty one is not nil
	_, err := change(ctx, l, tenant, func(b *books) (struct{}, error) {
		b.exec(`DELETE FROM texts WHERE tenant = ? AND name = ?`, b.tenant, name)
		if d > 0 {
			b.exec(`INSERT INTO texts (tenant, name, until, bytes) VALUES (?, ?, ?, ?)`, b.tenant, name, b.now.Add(d).UnixMicro(), text)
		}
		return struct{}{}, nil
	})
	return err
}

// Kept returns what is stored under name, or nil.
func (l *Ledger) Kept(ctx context.Context, tenant, name string) ([]byte, error) {
	return view(ctx, l, tenant, func(b *books) ([]byte, error) {
		var text []byte
		if !b.get(`SELECT bytes FROM texts WHERE tenant = ? AND name = ? AND until > ?`, []any{b.tenant, name, b.micros()}, &text) {
			return nil, nil
		}
		return append([]byte{}, text...), nil // not nil where it is empty
	})
}
