package keybrake

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keybrake/keybrake-go/audit"
	"github.com/keybrake/keybrake-go/audit/audittest"
	"github.com/keybrake/keybrake-go/reason"
)

// More runs are refused than there is room for, each for reasons that nobody has seen. What is kept stays bounded, no
// count is lost, and it is gone when it is written.
func TestATallyOfTooManyRunsIsBoundedAndExact(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sink := &audittest.Recorder{}
		b := &Brake{cfg: Config{AuditTimeout: time.Second, Log: slog.New(slog.DiscardHandler)}, sink: sink}
		tl := newTally(b)
		const runs, each = 3000, 5
		for run := range runs {
			for i := range each {
				l := likeness{tenant: "acme", run: fmt.Sprint("run_", run), reason: reason.Code(fmt.Sprint("made_up_", run)), param: fmt.Sprint("p", i)}
				r := audit.Record{Kind: audit.Denied, Verdict: audit.Deny, Tenant: "acme", Run: l.run, Reason: l.reason}
				tl.add(t.Context(), l, func() audit.Record { return r })
			}
		}
		if n := len(tl.rows); n > mostRows+len(reason.All())+1 {
			t.Errorf("%d rows", n)
		}
		if err := tl.flush(context.Background()); err != nil {
			t.Fatal(err)
		}
		var n, anonymous int64
		for _, r := range sink.Records() {
			n += max(1, r.Count)
			if r.Run == "" {
				anonymous += r.Count
			}
		}
		if n != runs*each || anonymous == 0 {
			t.Errorf("%d refusals are on record, want %d; %d of them of any run", n, runs*each, anonymous)
		}
		if len(tl.rows)+len(tl.told) != 0 {
			t.Errorf("%d rows and %d runs are left when all is written", len(tl.rows), len(tl.told))
		}
		time.Sleep(2 * tallySpan)
		synctest.Wait()
		tl.mu.Lock()
		defer tl.mu.Unlock()
		if tl.timer != nil {
			t.Error("a timer runs for nothing")
		}
	})
}
