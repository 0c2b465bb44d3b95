// Package audittest helps to test sinks and what writes to them: a [Recorder] that keeps records in memory, and
// the laws that every sink obeys, in [Run] and [RunBroken], and those that some promise, in [RunIdempotent].
package audittest

import (
	"context"
	"sync"

	"github.com/keybrake/keybrake-go/audit"
)

// A Recorder is a sink that keeps records in memory. The zero Recorder is ready for use; it is safe for
// concurrent use and must not be copied.
type Recorder struct {
	mu      sync.Mutex
	records []audit.Record
	err     error
}

// Write keeps a copy of r, or fails as [Recorder.Fail] has set.
func (t *Recorder) Write(_ context.Context, r audit.Record) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.err != nil {
		return t.err
	}
	t.records = append(t.records, r.Clone())
	return nil
}

// Fail makes every further Write fail with err, and with nil succeed again.
func (t *Recorder) Fail(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.err = err
}

// Records returns what was written, in order. The slice is the caller's.
func (t *Recorder) Records() []audit.Record {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := make([]audit.Record, len(t.records))
	for i, r := range t.records {
		out[i] = r.Clone()
	}
	return out
}
