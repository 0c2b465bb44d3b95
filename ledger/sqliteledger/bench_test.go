package sqliteledger_test

import (
	"sync"
	"testing"

	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/ledger"
)

// A pair is a reserve and its settlement, all on one shared budget and one key.
func BenchmarkPairs(b *testing.B) {
	for name, goroutines := range map[string]int{"1": 1, "64": 64} {
		b.Run(name, func(b *testing.B) {
			l := opened(b, fresh(b), cost.Max)
			var wg sync.WaitGroup
			turns := make(chan struct{})
			for range goroutines {
				wg.Go(func() {
					for range turns {
						h, err := l.Reserve(ctx, pay(1))
						if err == nil {
							_, err = l.Settle(ctx, h, ledger.Settlement{Phase: ledger.Settled, Actual: usd(1)})
						}
						if err != nil {
							b.Error(err)
						}
					}
				})
			}
			for b.Loop() {
				turns <- struct{}{}
			}
			close(turns)
			wg.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "pairs/s")
		})
	}
}
