package keybrake

import (
	"context"
	"fmt"
)

// Close writes the records of refusals that are counted and not on record yet (see [audit.Record], Count). Call it
// when the last call has returned, before the sink is closed. It forwards nothing, ends no call and releases no hold.
//
// It may be called more than once, and from many goroutines. After an error some refusals are counted and not on
// record, and Close may be called again. A refusal after Close is recorded by itself.
func (b *Brake) Close(ctx context.Context) error {
	if err := b.refusals.close(ctx); err != nil {
		return fmt.Errorf("keybrake: close: %w", err)
	}
	return nil
}
