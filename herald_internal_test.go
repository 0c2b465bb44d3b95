package keybrake

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keybrake/keybrake-go/ledger"
	"github.com/keybrake/keybrake-go/ledger/memory"
)

// asked is a ledger that counts what it is asked to store, and is down when told so.
type asked struct {
	*memory.Ledger
	n    atomic.Int64
	down atomic.Bool
}

func (l *asked) Alert(ctx context.Context, tenant string, a ledger.Alert) error {
	if l.n.Add(1); l.down.Load() {
		<-ctx.Done()
		return errors.New("down")
	}
	return l.Ledger.Alert(ctx, tenant, a)
}

// isDown is a ledger that does not answer.
func isDown() *asked {
	l := &asked{Ledger: memory.New()}
	l.down.Store(true)
	return l
}

// sizes are how many alerts wait, and how many are known.
func (h *herald) sizes() (queued, known int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.queue), len(h.known)
}

func heraldOver(l ledger.Ledger) *herald {
	return newHerald(&Brake{cfg: Config{Ledger: l, LedgerTimeout: 5 * time.Second, Log: slog.New(slog.DiscardHandler)}})
}

func denied(id string) (tenant, name string, tell func() ledger.Alert) {
	return "acme", id, func() ledger.Alert { return ledger.Alert{Kind: alertDenied, Memo: memo{Run: id}.text()} }
}

// The ledger is asked once for what is seen again and again, and again a day later, which it knows then.
func TestWhatIsSeenAgainIsStoredOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &asked{Ledger: memory.New()}
		h := heraldOver(l)
		for range 23 {
			for range 1000 {
				h.see(denied("run_1"))
			}
			time.Sleep(time.Hour)
		}
		if l.n.Load() != 1 {
			t.Errorf("the ledger was asked %d times", l.n.Load())
		}
		time.Sleep(2 * time.Hour)
		h.see(denied("run_1"))
		synctest.Wait()
		if list, err := l.Alerts(t.Context(), "acme"); err != nil || len(list) != 1 || l.n.Load() != 2 {
			t.Errorf("%d alerts, the ledger was asked %d times, %v", len(list), l.n.Load(), err)
		}
	})
}

// A ledger that is down is asked once in a while by one goroutine, and stores what is still seen when it is back.
func TestWhatALedgerDidNotStoreIsStoredWhenItIsSeenAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := isDown()
		h := heraldOver(l)
		for i := range 5000 {
			h.see(denied(fmt.Sprint("run_", i)))
			if queued, known := h.sizes(); queued > mostQueued || known > mostSights {
				t.Fatalf("%d wait, %d are known", queued, known)
			}
		}
		h.see(denied("run_1"))
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if queued, _ := h.sizes(); l.n.Load() != 1 || queued != 0 {
			t.Fatalf("the ledger was asked %d times, %d wait", l.n.Load(), queued)
		}
		l.down.Store(false)
		h.see(denied("run_1"))
		time.Sleep(30 * time.Second)
		if l.n.Load() != 1 {
			t.Errorf("it was asked again at once")
		}
		time.Sleep(time.Minute)
		h.see(denied("run_1"))
		if err := h.close(t.Context()); err != nil {
			t.Error(err)
		}
		if list, err := l.Alerts(t.Context(), "acme"); err != nil || len(list) != 1 {
			t.Errorf("%+v, %v", list, err)
		}
	})
}

// Whoever ends waits for what is being stored, no longer than it wants to.
func TestTheEndWaitsForWhatIsBeingStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := heraldOver(isDown())
		h.see(denied("run_1"))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := h.close(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v", err)
		}
		if err := h.close(t.Context()); err != nil { // it was given up
			t.Errorf("%v", err)
		}
	})
}

// How many runs are known is bounded, and what is forgotten is stored once still.
func TestTheHeraldIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &asked{Ledger: memory.New()}
		h := heraldOver(l)
		const runs = mostSights + 100
		for range 2 {
			for i := range runs {
				h.see(denied(fmt.Sprint("run_", i)))
				synctest.Wait()
			}
		}
		if list, err := l.Alerts(t.Context(), "acme"); err != nil || len(list) != runs {
			t.Errorf("%d alerts of %d runs, %v", len(list), runs, err)
		}
		if _, known := h.sizes(); known > mostSights {
			t.Errorf("%d are known", known)
		}
	})
}
