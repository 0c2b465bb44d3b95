package keybrake_test

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"github.com/keybrake/keybrake-go"
	"github.com/keybrake/keybrake-go/audit"
	"github.com/keybrake/keybrake-go/reason"
)

// The store hangs when a call's outcome comes. The outcome waits on the disk and is on record once the store is back; until
// then no call goes through.
func TestAnOutcomeOutlivesAStoreThatHangs(t *testing.T) {
	back := make(chan struct{})
	var box *audit.OutboxSink
	w := newWorld(t, func(c *keybrake.Config) {
		store := c.Audit
		hangs := sinkFunc(func(ctx context.Context, r audit.Record) error {
			if r.Kind == audit.Outcome {
				<-back // whatever becomes of ctx
			}
			return store.Write(ctx, r)
		})
		box = audit.Outbox(hangs, filepath.Join(t.TempDir(), "outbox"), nil)
		c.Audit, c.AuditTimeout = audit.Chain(box, nil), time.Second
	})
	t.Cleanup(func() { _ = box.Close() })
	key := w.issue(t, "run_1", everything())
	mail := func() *keybrake.Denial {
		return denial(t, w.Transport(nil), request(t, "POST", emailsURL, key.Token(), "application/json", mailTo("ann@acme.com")))
	}
	if d := mail(); d != nil {
		t.Fatal(d)
	}
	if box.Waiting() != 1 {
		t.Errorf("%d records wait", box.Waiting())
	}
	if d := mail(); d == nil || d.Reason != reason.AuditUnavailable {
		t.Errorf("a call while the store hangs: %v", d)
	}
	if n := len(w.fake.Executions()); n != 1 {
		t.Errorf("the vendor executed %d calls", n)
	}
	close(back)
	for deadline := time.Now().Add(20 * time.Second); box.Waiting() > 0 && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
	if d := mail(); d != nil {
		t.Errorf("a call when the store is back: %v", d)
	}
	outcomes := map[string]bool{}
	for _, r := range w.sink.Records() {
		if r.Kind == audit.Outcome {
			outcomes[r.CallID] = true
		}
	}
	if len(outcomes) != 2 {
		t.Errorf("%d of 2 outcomes are on record", len(outcomes))
	}
	if _, err := audit.Verify(inOrder(w.sink.Records()), nil); err != nil {
		t.Error(err)
	}
}

func inOrder(records []audit.Record) func(func(audit.Record, error) bool) {
	return func(yield func(audit.Record, error) bool) {
		for _, r := range records {
			if !yield(r, nil) {
				return
			}
		}
	}
}
