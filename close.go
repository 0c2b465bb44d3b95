package keybrake

import (
	"context"
	"errors"
	"fmt"
)

// Close ends the brake. The records of refusals that are counted and not on record yet are written (see [audit.Record],
// Count); the real credentials are forgotten, and a secret store gets back what it lent (a token of its own, leases). Call
// it when the last call has returned and before the sink is closed, for a leased credential ends under calls that still go
// on. It releases no hold.
//
// Every later call is refused with the reason credential_unavailable, each on record by itself, and so is Issue; Revoke and
// Pause go on. It does not close the ledger or the sink, which may serve other brakes.
//
// It may be called more than once, and from many goroutines. After an error some refusals may be counted and not on record,
// and something may still be lent, which ends at the store's own time; Close may be called again.
func (b *Brake) Close(ctx context.Context) error {
	if err := errors.Join(b.refusals.close(ctx), b.herald.close(ctx), b.creds.Close(ctx)); err != nil {
		return fmt.Errorf("keybrake: close: %w", err)
	}
	return nil
}
