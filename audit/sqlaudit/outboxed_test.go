package sqlaudit_test

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/keybrake/keybrake-go/audit"
	"github.com/keybrake/keybrake-go/audit/audittest"
	"github.com/keybrake/keybrake-go/audit/sqlaudit"
)

// A flaky database now and then does not take a batch, or takes it and says that it has not.
type flaky struct {
	audit.BatchSink
	mu  sync.Mutex
	rnd *rand.Rand
	off bool
}

func (f *flaky) roll() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.off {
		return -1
	}
	return f.rnd.IntN(6)
}

func (f *flaky) Write(ctx context.Context, r audit.Record) error {
	return f.WriteBatch(ctx, []audit.Record{r})
}
func (f *flaky) WriteBatch(ctx context.Context, rs []audit.Record) error {
	switch f.roll() {
	case 0:
		return errors.New("away")
	case 1:
		return errors.Join(f.BatchSink.WriteBatch(ctx, rs), errors.New("late"))
	}
	return f.BatchSink.WriteBatch(ctx, rs)
}

// Behind an outbox, before or behind a chain, every outcome arrives, and the chain is whole, however flaky the database is.
func TestBehindAnOutbox(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		for seed := range uint64(4) {
			next := &flaky{BatchSink: w.Sink, rnd: rand.New(rand.NewPCG(seed, 1))}
			_, key, _ := ed25519.GenerateKey(nil)
			var s audit.Sink
			var box *audit.OutboxSink
			if seed%2 == 0 {
				box = audit.Outbox(next, filepath.Join(t.TempDir(), "outbox"), nil)
				s = audit.Chain(box, key)
			} else {
				box = audit.Outbox(audit.Chain(next, key), filepath.Join(t.TempDir(), "outbox"), nil)
				s = box
			}
			var wg sync.WaitGroup
			for g := range 8 {
				wg.Go(func() {
					for i := range 20 {
						r := audittest.Full()
						r.Chain = nil
						r.ID = fmt.Sprint("r", seed, "-", g, "-", i)
						r.CallID = r.ID
						if i%2 == 0 {
							r.Kind = audit.Intent
							r.Outcome = ""
							r.Actual = nil
						}
						for range 3 {
							ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
							err := audit.Write(ctx, s, r)
							cancel()
							if err == nil {
								break
							}
							if r.Kind != audit.Intent {
								t.Error(err)
							}
						}
					}
				})
			}
			wg.Wait()
			next.mu.Lock()
			next.off = true
			next.mu.Unlock()
			for d := time.Now().Add(20 * time.Second); box.Waiting() > 0 && time.Now().Before(d); {
				time.Sleep(time.Millisecond)
			}
			if box.Waiting() > 0 {
				t.Errorf("%d wait", box.Waiting())
			}
			_ = box.Close()
		}
		if _, err := w.Verify(t.Context(), nil); err != nil {
			t.Error(err)
		}
	})
}

// A record that comes twice under one id is kept once.
func TestKeepsOneOfAnID(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		audittest.RunIdempotent(t, func() (audit.Sink, func() []audit.Record) {
			w := newWorld(t, w.dialect)
			return w.Sink, func() (rs []audit.Record) {
				for r, err := range w.Records(t.Context(), sqlaudit.Query{}) {
					if err != nil {
						t.Error(err)
					}
					rs = append(rs, r)
				}
				return rs
			}
		})
	})
}
