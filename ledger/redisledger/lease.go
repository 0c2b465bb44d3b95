package redisledger

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/keybrake/keybrake-go/ledger"
)

var (
	_ ledger.Leaser = (*Ledger)(nil)
	_ ledger.Keeper = (*Ledger)(nil)
)

// Neither leases nor kept texts are books: no amount depends on them, so their scripts look for no loss, no replica is
// waited for, and a re-arm does not put them back.

// leaseArgs is ARGV[1] of lease.lua.
type leaseArgs struct {
	Now    string `json:"now"`
	Holder string `json:"holder"`
	Span   string `json:"span"` // microseconds; 0 gives it up
	Keep   string `json:"keep"` // milliseconds
}

// keepTextArgs is ARGV[1] of keep.lua and kept.lua.
type keepTextArgs struct {
	Now  string `json:"now"`
	Span string `json:"span"` // microseconds; 0: it is over at once
	Keep string `json:"keep"` // milliseconds
}

// margin is for how much longer Redis keeps a row than it counts: what is written in it decides.
const margin = time.Second

// Lease gives name to holder for d from now, unless another has it. A failover or a restart of Redis can lose a lease,
// so that two have it.
func (l *Ledger) Lease(ctx context.Context, t, name, holder string, d time.Duration) (bool, error) {
	if holder == "" {
		return false, errors.New("redisledger: a lease needs a holder")
	}
	a := leaseArgs{Now: l.clock(), Holder: holder, Span: digits(d.Microseconds()), Keep: digits((max(0, d) + margin).Milliseconds())}
	got, err := l.run(ctx, leaseScript, []string{tenant(t).lease(name)}, a)
	if err != nil {
		return false, err
	}
	given := got.number()
	return given == 1, errors.Join(got.expect("ok"), got.err())
}

// Keep stores text under name for d, in place of what was there. It takes room in Redis until then.
func (l *Ledger) Keep(ctx context.Context, t, name string, text []byte, d time.Duration) error {
	if len(text) > ledger.MostKept {
		return fmt.Errorf("redisledger: a text of %d bytes is longer than %d; it is not kept", len(text), ledger.MostKept)
	}
	text = bytes.Clone(text) // the client may look at it after Keep has returned
	args, err := json.Marshal(keepTextArgs{l.clock(), digits(d.Microseconds()), digits((max(0, d) + margin).Milliseconds())})
	if err != nil {
		return fmt.Errorf("redisledger: %w", err)
	}
	got, err := within(ctx, l.timeout, func(ctx context.Context) (*reply, error) {
		return decode(keepScript.Run(ctx, l.rdb, []string{tenant(t).text(name)}, args, text).Result())
	})
	l.reroute(ctx, err)
	if err != nil {
		return err
	}
	return got.expect("ok")
}

// Kept returns what is stored under name, or nil.
func (l *Ledger) Kept(ctx context.Context, t, name string) ([]byte, error) {
	got, err := l.run(ctx, keptScript, []string{tenant(t).text(name)}, keepTextArgs{Now: l.clock()})
	if err != nil {
		return nil, err
	}
	if err := got.expect("ok"); err != nil || len(got.rest) == 0 {
		return nil, err
	}
	return []byte(got.word()), nil
}
