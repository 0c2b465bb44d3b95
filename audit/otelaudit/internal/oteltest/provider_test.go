package oteltest

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/metric"
	noopmetric "go.opentelemetry.io/otel/metric/noop"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/exemplar"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
	nooptrace "go.opentelemetry.io/otel/trace/noop"

	"github.com/keybrake/keybrake-go/audit/otelaudit"
)

// With nothing given, the global providers are used, also those that are set after the sink was made. That works once in
// a process, so this has one of its own.
func TestTheGlobalProvidersAreTheDefault(t *testing.T) {
	if os.Getenv("OTELTEST_GLOBAL") == "" {
		again := exec.Command(os.Args[0], "-test.run=^TestTheGlobalProvidersAreTheDefault$", "-test.v")
		again.Env = append(os.Environ(), "OTELTEST_GLOBAL=1")
		if out, err := again.CombinedOutput(); err != nil || !bytes.Contains(out, []byte("--- PASS")) {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	w := &world{t: t, store: newStore()}
	w.sink = otelaudit.New(nil)
	w.open(w.sink, nil)
	w.refund("2000", 200) // before any is set
	spans, reader := tracetest.NewSpanRecorder(), sdkmetric.NewManualReader()
	otel.SetTracerProvider(sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans)))
	otel.SetMeterProvider(sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader)))
	w.refund("1000", 200)
	if n := len(spans.Ended()); n != 1 {
		t.Errorf("%d spans", n)
	}
	if got := points(t, collect(t, reader)["keybrake.spend"]); len(got) != 1 || sum(got) != 10_000_000 {
		t.Errorf("the spend is %v", got)
	}
}

func sum(points map[string]int64) (n int64) {
	for _, v := range points {
		n += v
	}
	return n
}

// The SDK attaches the call's trace to what was counted of it, where the span is sampled.
func TestExemplarsNameTheTrace(t *testing.T) {
	reader := sdkmetric.NewManualReader()
	meters := sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader), sdkmetric.WithExemplarFilter(exemplar.TraceBasedFilter))
	w := newWorld(t, &otelaudit.Options{MeterProvider: meters}, nil)
	w.reader = reader
	w.refund("2000", 200)
	id := w.ours()[0].SpanContext()
	traceOf := func(name string, list []metricdata.Exemplar[int64], floats []metricdata.Exemplar[float64]) {
		t.Helper()
		var trace, span []byte
		for _, e := range list {
			trace, span = e.TraceID, e.SpanID
		}
		for _, e := range floats {
			trace, span = e.TraceID, e.SpanID
		}
		want, wantSpan := id.TraceID(), id.SpanID()
		if string(trace) != string(want[:]) || string(span) != string(wantSpan[:]) {
			t.Errorf("the exemplar of %s names trace %x and span %x", name, trace, span)
		}
	}
	got := w.metrics()
	for _, name := range []string{"keybrake.calls", "keybrake.spend"} {
		traceOf(name, got[name].Data.(metricdata.Sum[int64]).DataPoints[0].Exemplars, nil)
	}
	for _, name := range []string{"keybrake.overhead", "keybrake.ledger.duration", "keybrake.vendor.duration"} {
		traceOf(name, nil, got[name].Data.(metricdata.Histogram[float64]).DataPoints[0].Exemplars)
	}
}

// What panics in a provider is lost; the call and what does not panic are not.
func TestAProviderThatPanicsHarmsNoCall(t *testing.T) {
	t.Run("tracer", func(t *testing.T) {
		w := newWorld(t, &otelaudit.Options{TracerProvider: brokenTracers{}}, nil)
		w.refund("2000", 200)
		w.wantMoney("without spans", 20_000_000, 0, 0, 0, 0)
		w.wantTotal("keybrake.calls", 1)
	})
	t.Run("spans", func(t *testing.T) {
		w := newWorld(t, &otelaudit.Options{TracerProvider: brokenTracers{begins: true}}, nil)
		w.refund("2000", 200)
		w.wantMoney("with broken spans", 20_000_000, 0, 0, 0, 0)
		w.wantTotal("keybrake.calls", 1)
		ctx := w.sink.Begin(t.Context()) // as it is, without what contains it in a brake
		_ = w.sink.Write(ctx, intentOf(fullOutcome()))
		w.sink.End(w.sink.Forward(ctx, ctx), fullOutcome())
	})
	t.Run("instruments", func(t *testing.T) {
		w := newWorld(t, &otelaudit.Options{MeterProvider: brokenMeters{}}, nil)
		w.refund("2000", 200)
		if n := len(w.ours()); n != 1 {
			t.Errorf("%d spans", n)
		}
	})
}

// What cannot be meant is said before the first call.
func TestCheckSaysWhatIsWrong(t *testing.T) {
	reader := sdkmetric.NewManualReader()
	meters := sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))
	for name, tt := range map[string]struct {
		o    otelaudit.Options
		want string
	}{
		"a negative bound":             {otelaudit.Options{Agents: -1}, "negative"},
		"instruments that are refused": {otelaudit.Options{MeterProvider: refusing{MeterProvider: meters}}, "no such instrument"},
		"a meter that panics":          {otelaudit.Options{MeterProvider: refusing{panics: true}}, "panicked"},
		"a tracer that panics":         {otelaudit.Options{TracerProvider: brokenTracers{atOnce: true}}, "panicked"},
	} {
		s := otelaudit.New(&tt.o)
		if err := s.Check(t.Context()); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v", name, err)
		}
		ctx := s.Begin(t.Context()) // goes on without
		_ = s.Write(ctx, fullOutcome())
		s.End(s.Forward(ctx, ctx), fullOutcome())
	}
	if got := collect(t, reader); got["keybrake.overhead"].Data == nil {
		t.Errorf("without one instrument the others tell %v", got)
	}
	if err := new(otelaudit.Sink).Check(t.Context()); err == nil {
		t.Error("a zero sink is taken for one")
	}
	if err := otelaudit.New(nil).Check(t.Context()); err != nil {
		t.Error(err)
	}
}

type brokenTracers struct {
	nooptrace.TracerProvider
	atOnce, begins bool
}

func (b brokenTracers) Tracer(string, ...trace.TracerOption) trace.Tracer {
	if b.atOnce {
		panic("tracer")
	}
	return brokenTracer{begins: b.begins}
}

type brokenTracer struct {
	nooptrace.Tracer
	begins bool
}

func (b brokenTracer) Start(ctx context.Context, _ string, _ ...trace.SpanStartOption) (context.Context, trace.Span) {
	if !b.begins {
		panic("start")
	}
	return ctx, brokenSpan{}
}

type brokenSpan struct{ nooptrace.Span }

func (brokenSpan) IsRecording() bool { panic("span") }

type brokenMeters struct{ noopmetric.MeterProvider }

func (brokenMeters) Meter(string, ...metric.MeterOption) metric.Meter { return brokenMeter{} }

type brokenMeter struct{ noopmetric.Meter }

func (brokenMeter) Int64Counter(string, ...metric.Int64CounterOption) (metric.Int64Counter, error) {
	return brokenCounter{}, nil
}

func (brokenMeter) Int64UpDownCounter(string, ...metric.Int64UpDownCounterOption) (metric.Int64UpDownCounter, error) {
	return brokenLevel{}, nil
}

type brokenLevel struct{ noopmetric.Int64UpDownCounter }

func (brokenLevel) Enabled(context.Context) bool { return true }

func (brokenLevel) Add(context.Context, int64, ...metric.AddOption) { panic("add") }

type brokenCounter struct{ noopmetric.Int64Counter }

func (brokenCounter) Enabled(context.Context) bool { return true }

func (brokenCounter) Add(context.Context, int64, ...metric.AddOption) { panic("add") }

// refusing makes no whole-number counters, and all else that the provider below it does.
type refusing struct {
	metric.MeterProvider
	panics bool
}

func (r refusing) Meter(name string, o ...metric.MeterOption) metric.Meter {
	if r.panics {
		panic("meter")
	}
	return refusingMeter{r.MeterProvider.Meter(name, o...)}
}

type refusingMeter struct{ metric.Meter }

func (refusingMeter) Int64Counter(string, ...metric.Int64CounterOption) (metric.Int64Counter, error) {
	return nil, errors.New("no such instrument")
}
