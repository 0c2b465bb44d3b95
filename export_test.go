package keybrake

import "context"

// RecordEach makes b record every refusal by itself from now on, as a closed one does, and go on with calls.
func RecordEach(ctx context.Context, b *Brake) error { return b.refusals.close(ctx) }

// Boarded is how many calls of b a revoke could cut off now.
func Boarded(b *Brake) int {
	b.flights.mu.Lock()
	defer b.flights.mu.Unlock()
	return len(b.flights.calls)
}
