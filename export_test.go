package keybrake

import "context"

// RecordEach makes b record every refusal by itself from now on, as a closed one does, and go on with calls.
func RecordEach(ctx context.Context, b *Brake) error { return b.refusals.close(ctx) }
