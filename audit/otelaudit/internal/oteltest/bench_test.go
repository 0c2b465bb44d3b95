package oteltest

import (
	"context"
	"testing"
	"time"

	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/keybrake/keybrake-go/audit"
	"github.com/keybrake/keybrake-go/audit/otelaudit"
	"github.com/keybrake/keybrake-go/cost"
)

// BenchmarkCall is what the sink adds to a call that is forwarded: its begin, its two records and its end.
func BenchmarkCall(b *testing.B) {
	sampled := sdktrace.NewTracerProvider(sdktrace.WithBatcher(dropped{}))
	unsampled := sdktrace.NewTracerProvider(sdktrace.WithBatcher(dropped{}), sdktrace.WithSampler(sdktrace.NeverSample()))
	b.Cleanup(func() { _ = sampled.Shutdown(context.Background()); _ = unsampled.Shutdown(context.Background()) })
	meters := sdkmetric.NewMeterProvider(sdkmetric.WithReader(sdkmetric.NewManualReader()))
	for _, bb := range []struct {
		name string
		o    *otelaudit.Options
	}{
		{"no SDK", nil},
		{"metrics", &otelaudit.Options{MeterProvider: meters}},
		{"metrics and a span that is not sampled", &otelaudit.Options{MeterProvider: meters, TracerProvider: unsampled}},
		{"metrics and a span that is", &otelaudit.Options{MeterProvider: meters, TracerProvider: sampled}},
	} {
		b.Run(bb.name, func(b *testing.B) {
			s := otelaudit.New(bb.o)
			intent := audit.Record{
				Version: 1, ID: "e1", Time: time.Now(), Kind: audit.Intent, CallID: "c1", Tenant: "acme", Agent: "refund-bot", Run: "run_1", Key: "key_1",
				Vendor: "stripe", Operation: "stripe.refunds.create", Class: "outflow", Verdict: audit.Allow, Reserved: []cost.Line{usd(20_000_000)},
				Budgets: []audit.Budget{{Name: "lifetime", Meter: cost.Spend, Currency: "USD", Limit: 100_000_000, Spent: 1}},
			}
			outcome := intent
			outcome.Kind, outcome.Outcome, outcome.Actual, outcome.Status = audit.Outcome, audit.OutcomeExecuted, intent.Reserved, 200
			outcome.OwnDuration, outcome.LedgerDuration, outcome.VendorDuration = time.Millisecond, time.Millisecond, time.Second
			b.ReportAllocs()
			ids := make([]byte, 0, 20)
			n := 0
			for b.Loop() {
				n++
				ids = appendID(ids[:0], n)
				intent.CallID = string(ids)
				outcome.CallID = intent.CallID
				ctx := s.Begin(context.Background())
				_ = s.Write(ctx, intent)
				_ = s.Forward(ctx, context.Background())
				_ = s.Write(ctx, outcome)
				s.End(ctx, outcome)
			}
		})
	}
}

func appendID(to []byte, n int) []byte {
	for ; n > 0; n /= 10 {
		to = append(to, byte('0'+n%10))
	}
	return to
}

// dropped is an exporter to nowhere.
type dropped struct{}

func (dropped) ExportSpans(context.Context, []sdktrace.ReadOnlySpan) error { return nil }
func (dropped) Shutdown(context.Context) error                             { return nil }
