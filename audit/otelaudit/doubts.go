package otelaudit

import (
	"context"
	"errors"
	"slices"

	"go.opentelemetry.io/otel/metric"

	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/ledger"
)

// WatchInDoubt tells what is in doubt by the books themselves, as keybrake.ledger.in_doubt and keybrake.ledger.in_doubt_calls:
// calls of every process, restarts or not, and whoever ends the doubt. list is [keybrake.Brake.InDoubt]:
//
//	stop, err := telemetry.WatchInDoubt(brake.InDoubt, "acme")
//
// It is asked for each of the tenants at every collection, which waits for it; what it cannot list then is not told. All
// that share a ledger tell the same, so that their maximum is right and their sum is not.
func (s *Sink) WatchInDoubt(list func(ctx context.Context, tenant string) ([]ledger.Hold, error), tenants ...string) (stop func() error, err error) {
	if len(tenants) == 0 {
		return nil, errors.New("otelaudit: WatchInDoubt needs the tenants to watch")
	}
	tenants = slices.Clone(tenants)
	err = try(func() error {
		money, err := s.meter.Int64ObservableGauge("keybrake.ledger.in_doubt", metric.WithUnit(micros), metric.WithDescription("Money held for calls in doubt, by the ledger"))
		if err != nil {
			return err
		}
		count, err := s.meter.Int64ObservableGauge("keybrake.ledger.in_doubt_calls", metric.WithUnit(calls), metric.WithDescription("Calls in doubt, by the ledger"))
		if err != nil {
			return err
		}
		registered, err := s.meter.RegisterCallback(func(ctx context.Context, o metric.Observer) error {
			var errs []error
			for _, tenant := range tenants {
				errs = append(errs, try(func() error {
					holds, err := list(ctx, tenant)
					if err == nil {
						observe(o, money, count, tenant, holds)
					}
					return err
				}))
			}
			return errors.Join(errs...)
		}, money, count)
		if err == nil {
			stop = registered.Unregister
		}
		return err
	})
	return stop, err
}

func observe(o metric.Observer, money, count metric.Int64Observable, tenant string, holds []ledger.Hold) {
	of := texts{}.add(attrTenant, tenant)
	o.ObserveInt64(count, int64(len(holds)), with(of))
	for currency, amount := range held(holds) {
		o.ObserveInt64(money, amount, with(of[:len(of):len(of)].add(attrCurrency, string(currency))))
	}
}

// held is what reservations hold in each currency. Several budgets may count the same money: the one that holds most of it
// says how much that is.
func held(holds []ledger.Hold) map[cost.Currency]int64 {
	sum := map[cost.Currency]int64{}
	for _, h := range holds {
		most := map[cost.Currency]int64{}
		for _, e := range h.Entries {
			if e.Meter.Money() {
				most[e.Currency] = max(most[e.Currency], e.Held)
			}
		}
		for currency, amount := range most {
			sum[currency] += amount
		}
	}
	return sum
}
