package keybrake

import (
	"context"
	"fmt"
)

// Close ends the brake: the real credentials are forgotten, and a secret store gets back what it lent (a token of its
// own, leases). Call it when the last call has returned, for a leased credential ends under calls that still go on.
// Every later call is refused with the reason credential_unavailable, and so is Issue; Revoke and Pause go on. It does
// not close the ledger or the sink, which may serve other brakes.
//
// It may be called more than once, and from many goroutines. After an error something may still be lent, which ends at
// the store's own time; Close may be called again. A program that ends without Close loses nothing else.
func (b *Brake) Close(ctx context.Context) error {
	if err := b.creds.Close(ctx); err != nil {
		return fmt.Errorf("keybrake: close: %w", err)
	}
	return nil
}
