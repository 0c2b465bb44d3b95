package keybrake

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/keybrake/keybrake-go/ledger"
	"github.com/keybrake/keybrake-go/reason"
)

// Watch cuts off calls that are at the vendor already when a revoke stops them, wherever it was made, if their
// policy says CancelOnRevoke. It returns when ctx ends, with its cause, or at once with an error when the ledger
// cannot be watched. Run it in a goroutine of its own in every process that forwards calls:
//
//	go func() { log.Print(brake.Watch(ctx)) }()
//
// It is never what stops a run: that is the check in the ledger, which every call passes before it is forwarded,
// with or without Watch. A call that was cut off is in doubt, because the vendor may have executed it. Revokes that
// this brake makes cut off its own calls without Watch.
func (b *Brake) Watch(ctx context.Context) error {
	w, ok := b.cfg.Ledger.(ledger.Watcher)
	if !ok {
		return errors.New("keybrake: this ledger cannot be watched; calls in flight end by themselves")
	}
	if err := w.Watch(ctx, b.flights.cutOff); err != nil {
		return fmt.Errorf("keybrake: watch: %w", err)
	}
	return nil
}

// flights are the calls between reserve and reply whose policy lets a revoke cut them off.
type flights struct {
	mu    sync.Mutex
	calls map[*attempt]context.CancelCauseFunc
}

// board adds a to the flights. The context ends when a revoke stops the call; it says nothing else. A call boards
// before it reserves: a revoke that comes earlier is seen by the ledger, one that comes later is seen here.
func (f *flights) board(a *attempt) context.Context {
	ctx, cancel := context.WithCancelCause(context.Background())
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls[a] = cancel
	return ctx
}

// leave takes a off the flights, if it is there.
func (f *flights) leave(a *attempt) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if cancel := f.calls[a]; cancel != nil {
		cancel(nil)
		delete(f.calls, a)
	}
}

// cutOff ends the flights that a revoke stops.
func (f *flights) cutOff(c ledger.Control) {
	name, err := c.Name()
	if err != nil || c.Verb != ledger.Revoke {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for a, cancel := range f.calls {
		if (c.Tenant == "" || c.Tenant == a.claims.Tenant) && slices.Contains(a.controls(), name) {
			cancel(&ledger.Denied{Code: reason.KeyRevoked, Name: name})
		}
	}
}
