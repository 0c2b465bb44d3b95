package keybrake

import (
	"context"

	"github.com/keybrake/keybrake-go/audit"
)

// RecordEach makes b record every refusal by itself from now on, as a closed one does, and go on with calls.
func RecordEach(ctx context.Context, b *Brake) error { return b.refusals.close(ctx) }

// Boarded is how many calls of b a revoke could cut off now.
func Boarded(b *Brake) int {
	b.flights.mu.Lock()
	defer b.flights.mu.Unlock()
	return len(b.flights.calls)
}

// EventID is the id of the event of an alert.
func EventID(tenant, alert string) string { return eventID(tenant, alert) }

// Sentence is the text of an event.
func Sentence(e audit.Event) string { return sentence(e) }

// Heralding reports whether b stores something in the background that a person should hear of.
func Heralding(b *Brake) bool {
	b.herald.mu.Lock()
	defer b.herald.mu.Unlock()
	return b.herald.work != nil
}
