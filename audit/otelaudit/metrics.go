package otelaudit

import (
	"context"
	"errors"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"

	"github.com/keybrake/keybrake-go/audit"
	"github.com/keybrake/keybrake-go/reason"
)

// meters are the instruments. Money is in micro-units, whole numbers as in the books, so that sums are exact.
type meters struct {
	calls        metric.Int64Counter
	spend        metric.Int64Counter
	reversed     metric.Int64Counter
	held         metric.Int64UpDownCounter
	inDoubt      metric.Int64UpDownCounter
	inDoubtCalls metric.Int64UpDownCounter
	usedRatio    metric.Float64Gauge
	overhead     metric.Float64Histogram
	ledger       metric.Float64Histogram
	vendor       metric.Float64Histogram
}

// The units. None has a place for a currency, which is an attribute.
const (
	micros = "{micro_unit}"
	calls  = "{call}"
)

// The buckets, in seconds. A ledger in memory answers in microseconds, one across a network in milliseconds, and a vendor
// has 80 seconds by default.
var (
	shortTimes = []float64{.00001, .000025, .00005, .0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5}
	longTimes  = []float64{.005, .01, .025, .05, .075, .1, .25, .5, .75, 1, 2.5, 5, 7.5, 10, 25, 50, 90}
)

func metersOf(on metric.Meter, wrong *error) meters {
	counter := func(name, unit, what string) metric.Int64Counter {
		return made[metric.Int64Counter](wrong, noop.Int64Counter{}, func() (metric.Int64Counter, error) {
			return on.Int64Counter(name, metric.WithUnit(unit), metric.WithDescription(what))
		})
	}
	level := func(name, unit, what string) metric.Int64UpDownCounter {
		return made[metric.Int64UpDownCounter](wrong, noop.Int64UpDownCounter{}, func() (metric.Int64UpDownCounter, error) {
			return on.Int64UpDownCounter(name, metric.WithUnit(unit), metric.WithDescription(what))
		})
	}
	times := func(name, what string, buckets []float64) metric.Float64Histogram {
		return made[metric.Float64Histogram](wrong, noop.Float64Histogram{}, func() (metric.Float64Histogram, error) {
			return on.Float64Histogram(name, metric.WithUnit("s"), metric.WithDescription(what), metric.WithExplicitBucketBoundaries(buckets...))
		})
	}
	return meters{
		calls:        counter("keybrake.calls", calls, "Calls that have ended, each refusal by itself"),
		spend:        counter("keybrake.spend", micros, "Money that calls did cost, as it was booked"),
		reversed:     counter("keybrake.reversed", micros, "Money that was booked and turned out not to be spent"),
		held:         level("keybrake.held", micros, "Money reserved for calls that are under way or in doubt"),
		inDoubt:      level("keybrake.in_doubt", micros, "Money reserved for calls of which nobody knows whether they were executed"),
		inDoubtCalls: level("keybrake.in_doubt_calls", calls, "Calls of which nobody knows whether they were executed"),
		usedRatio: made[metric.Float64Gauge](wrong, noop.Float64Gauge{}, func() (metric.Float64Gauge, error) {
			return on.Float64Gauge("keybrake.budget.used_ratio", metric.WithUnit("1"), metric.WithDescription("What of a shared budget was spent or held after the last call on it"))
		}),
		overhead: times("keybrake.overhead", "What the brake itself took of a call: neither ledger nor vendor", shortTimes),
		ledger:   times("keybrake.ledger.duration", "How long a call waited for the ledger", shortTimes),
		vendor:   times("keybrake.vendor.duration", "How long a call waited for the vendor", longTimes),
	}
}

// made makes an instrument, or does without it.
func made[I any](wrong *error, without I, make func() (I, error)) (i I) {
	i = without
	err := try(func() error {
		got, err := make()
		if err == nil {
			i = got
		}
		return err
	})
	*wrong = errors.Join(*wrong, err)
	return i
}

// countCall counts a call at its end. Refusals that the brake counts together on record come here one by one, so that
// nothing is to be read from [audit.Record].Count.
func (s *Sink) countCall(ctx context.Context, r audit.Record) {
	ctx, m := context.WithoutCancel(ctx), &s.meters
	if m.calls.Enabled(ctx) {
		m.calls.Add(ctx, 1, with(s.names(r).add(attrVerdict, string(r.Verdict)).add(attrOutcome, r.Outcome).add(attrReason, known(r.Reason))))
	}
	if m.overhead.Enabled(ctx) {
		m.overhead.Record(ctx, r.OwnDuration.Seconds(), with(texts{}.add(attrVerdict, string(r.Verdict))))
	}
	if r.LedgerDuration > 0 && m.ledger.Enabled(ctx) {
		m.ledger.Record(ctx, r.LedgerDuration.Seconds(), with(texts{}.add(attrVerdict, string(r.Verdict))))
	}
	if r.VendorDuration > 0 && m.vendor.Enabled(ctx) {
		to := texts{}.add(attrVendor, r.Vendor).add(attrOperation, r.Operation).add(attrOutcome, r.Outcome)
		m.vendor.Record(ctx, r.VendorDuration.Seconds(), with(to))
	}
	if m.usedRatio.Enabled(ctx) {
		for _, b := range r.Budgets {
			s.measure(ctx, r.Tenant, b)
		}
	}
}

func (s *Sink) measure(ctx context.Context, tenant string, b audit.Budget) {
	if !b.Shared || !s.budget.known(tenant+" "+b.Name) {
		return
	}
	of := texts{}.add(attrTenant, tenant).add(attrBudget, b.Name).add(attrMeter, string(b.Meter)).add(attrCurrency, string(b.Currency))
	s.meters.usedRatio.Record(ctx, usedRatio(b), with(of))
}

// tellMoney reports whether anybody wants to know of money. Nobody does where there is no SDK.
func (m *meters) tellMoney(ctx context.Context) bool {
	return m.spend.Enabled(ctx) || m.reversed.Enabled(ctx) || m.held.Enabled(ctx) || m.inDoubt.Enabled(ctx) || m.inDoubtCalls.Enabled(ctx)
}

// countMoney moves the money metrics by what r changes in what is known of its reservation.
func (s *Sink) countMoney(ctx context.Context, r audit.Record) {
	if !s.meters.tellMoney(ctx) {
		return
	}
	about, moves := s.open.note(r, s.names)
	if len(moves) == 0 {
		return
	}
	ctx = context.WithoutCancel(ctx)
	for _, m := range moves {
		if m.calls != 0 {
			s.meters.inDoubtCalls.Add(ctx, m.calls, with(about))
			continue
		}
		of := with(append(about[:len(about):len(about)], texts{}.add(attrMeter, string(m.meter)).add(attrCurrency, string(m.currency))...))
		if m.held != 0 {
			s.meters.held.Add(ctx, m.held, of)
		}
		if m.inDoubt != 0 {
			s.meters.inDoubt.Add(ctx, m.inDoubt, of)
		}
		if m.booked > 0 {
			s.meters.spend.Add(ctx, m.booked, of)
		}
		if m.booked < 0 {
			s.meters.reversed.Add(ctx, -m.booked, of)
		}
	}
}

// names are the attributes of metrics that say whose call it was. Vendors and operations are those of the catalogue.
func (s *Sink) names(r audit.Record) texts {
	return texts{}.
		add(attrVendor, r.Vendor).
		add(attrOperation, r.Operation).
		add(attrTenant, s.tenant.of(r.Tenant)).
		add(attrAgent, s.agent.of(r.Agent))
}

// known is a reason of the table. Others do not come from the brake, and nobody bounds how many there are.
func known(c reason.Code) string {
	if _, ok := reason.Lookup(c); !ok && c != "" {
		return other
	}
	return string(c)
}

func with(t texts) metric.MeasurementOption { return metric.WithAttributeSet(attribute.NewSet(t...)) }
