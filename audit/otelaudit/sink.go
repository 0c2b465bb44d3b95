// Package otelaudit shows calls to OpenTelemetry as they happen: a span for each call, as a child of the caller's, and
// metrics of calls, refusals, money and time. It needs the OpenTelemetry API alone; which SDK and exporters are behind
// it is the program's choice.
//
// It keeps no record. Config.Audit is a store, and this stands beside it:
//
//	audit.Tee(store, otelaudit.New(nil))
//
// docs/telemetry.md lists every attribute and metric.
package otelaudit

import (
	"context"
	"errors"
	"fmt"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/trace"

	"github.com/keybrake/keybrake-go/audit"
)

// scope is the name under which the spans and metrics come.
const scope = "github.com/keybrake/keybrake-go/audit/otelaudit"

// Options change what a sink says and to whom. A nil *Options means all defaults.
type Options struct {
	TracerProvider trace.TracerProvider // Default: the global one, also when it is set later
	MeterProvider  metric.MeterProvider // Default: the global one, also when it is set later

	// Tenants and Agents put these names on metrics of calls and money. Nobody bounds how many names there are, and each
	// makes series of its own: the first so many are told apart, and those that come later count as "_OTHER" together.
	// Default: 0, the name stands on no metric
	Tenants, Agents int

	// Budgets is of how many shared budgets, the first that come, keybrake.budget.used_ratio is told. A key's own budgets
	// end with their run and are on spans alone. Default: 0, of none
	Budgets int
}

// A Sink is an [audit.Follower]. It is safe for concurrent use, does no I/O of its own, and never fails: whatever
// becomes of telemetry, calls go on. Put into Config.Audit alone it would let calls through that are on no record.
type Sink struct {
	tracer                trace.Tracer
	meter                 metric.Meter
	meters                meters
	tenant, agent, budget names
	open                  reservations
	wrong                 error
}

var _ audit.Follower = (*Sink)(nil)

// New makes a sink. What is wrong with the options, or with an instrument, is told by [Sink.Check], which keybrake.New
// asks.
func New(o *Options) *Sink {
	if o == nil {
		o = &Options{}
	}
	s := &Sink{tenant: names{most: o.Tenants}, agent: names{most: o.Agents}, budget: names{most: o.Budgets}}
	if min(o.Tenants, o.Agents, o.Budgets) < 0 {
		s.wrong = errors.New("otelaudit: a bound in Options is negative; 0 leaves the name out")
	}
	s.tracer = tracerOf(o.TracerProvider, &s.wrong)
	s.meter = meterOf(o.MeterProvider, &s.wrong)
	s.meters = metersOf(s.meter, &s.wrong)
	return s
}

// Check reports what is wrong with the options or with the instruments. A call goes on without what is wrong.
func (s *Sink) Check(context.Context) error {
	if s.tracer == nil && s.wrong == nil {
		return errors.New("otelaudit: a zero Sink tells nothing; make one with New")
	}
	return s.wrong
}

// Begin starts the call's span.
func (s *Sink) Begin(ctx context.Context) context.Context {
	began := ctx
	contain(func() { began = s.begin(ctx) })
	return began
}

// Forward shows the transport below the call's span, and nothing else: no baggage reaches the vendor.
func (s *Sink) Forward(ctx, outgoing context.Context) context.Context {
	shown := outgoing
	contain(func() { shown = s.forward(ctx, outgoing) })
	return shown
}

// Write counts the money of records, and notes on the span when the call was reserved. It keeps none, and never fails.
func (s *Sink) Write(ctx context.Context, r audit.Record) error {
	contain(func() { s.reserved(ctx, r) })
	contain(func() { s.countMoney(ctx, r) })
	return nil
}

// End counts the call and ends its span.
func (s *Sink) End(ctx context.Context, r audit.Record) {
	contain(func() { s.countCall(ctx, r) }) // under the span, so that the SDK can attach exemplars
	contain(func() { s.end(ctx, r) })
}

// contain runs what a provider may panic in. Telemetry that is lost harms no call.
func contain(f func()) {
	defer func() { _ = recover() }()
	f()
}

// try is contain for what is made once: a panic is an error.
func try(f func() error) (err error) {
	defer func() {
		if recover() != nil {
			err = errors.New("otelaudit: a provider panicked")
		}
	}()
	if err := f(); err != nil {
		return fmt.Errorf("otelaudit: %w", err)
	}
	return nil
}

func tracerOf(p trace.TracerProvider, wrong *error) (t trace.Tracer) {
	if p == nil {
		p = otel.GetTracerProvider()
	}
	err := try(func() error { t = p.Tracer(scope); return nil })
	*wrong = errors.Join(*wrong, err)
	return t
}

func meterOf(p metric.MeterProvider, wrong *error) (m metric.Meter) {
	m = noop.Meter{}
	if p == nil {
		p = otel.GetMeterProvider()
	}
	err := try(func() error {
		if got := p.Meter(scope); got != nil {
			m = got
		}
		return nil
	})
	*wrong = errors.Join(*wrong, err)
	return m
}
