package oteltest

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"testing"

	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel/baggage"
	"go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/propagation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	semconv "go.opentelemetry.io/otel/semconv/v1.39.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/keybrake/keybrake-go/audit"
)

// overHTTP wraps a transport in otelhttp, with all that it propagates by default in most programs.
func (w *world) overHTTP(base http.RoundTripper) *otelhttp.Transport {
	return otelhttp.NewTransport(base,
		otelhttp.WithTracerProvider(w.tracers), otelhttp.WithMeterProvider(noop.NewMeterProvider()),
		otelhttp.WithPropagators(propagation.NewCompositeTextMapPropagator(propagation.TraceContext{}, propagation.Baggage{})))
}

// family is the spans that ended since from: by name the kind, and whose child each is.
func (w *world) family(from int) (tree []string, byID map[trace.SpanID]sdktrace.ReadOnlySpan) {
	byID = map[trace.SpanID]sdktrace.ReadOnlySpan{}
	for _, s := range w.spans.Ended()[from:] {
		byID[s.SpanContext().SpanID()] = s
	}
	for _, s := range w.spans.Ended()[from:] {
		line := s.Name() + " " + s.SpanKind().String()
		for p := byID[s.Parent().SpanID()]; p != nil; p = byID[p.Parent().SpanID()] {
			line = p.Name() + " > " + line
		}
		tree = append(tree, line)
	}
	slices.Sort(tree)
	return tree, byID
}

// The brake and otelhttp stand in either order, or on both sides: each request has one span of each, in the order of the
// transports, and what reaches the vendor names the span that sent it.
func TestBesideOtelhttp(t *testing.T) {
	w := newWorld(t, nil, nil)
	const read, refund = "keybrake stripe.charges.retrieve", "keybrake stripe.refunds.create"
	for _, tt := range []struct {
		name   string
		rt     http.RoundTripper
		method string
		want   []string
		traced int // how many of the requests at the vendor name a span
	}{
		{"otelhttp above, a read", w.overHTTP(w.Transport(nil)), "GET", []string{
			"turn > HTTP GET > " + read + " internal",
			"turn > HTTP GET client",
			"turn internal",
		}, 0},
		{"otelhttp above, a refund and its look", w.overHTTP(w.Transport(nil)), "POST", []string{
			"turn > HTTP POST > " + refund + " internal",
			"turn > HTTP POST client",
			"turn internal",
		}, 0},
		{"otelhttp below, a read", w.Transport(w.overHTTP(w.fake.Transport())), "GET", []string{
			"turn > " + read + " > HTTP GET client",
			"turn > " + read + " internal",
			"turn internal",
		}, 1},
		{"otelhttp below, a refund and its look", w.Transport(w.overHTTP(w.fake.Transport())), "POST", []string{
			"turn > " + refund + " > HTTP GET client",
			"turn > " + refund + " > HTTP POST client",
			"turn > " + refund + " internal",
			"turn internal",
		}, 2},
		{"both", w.overHTTP(w.Transport(w.overHTTP(w.fake.Transport()))), "GET", []string{
			"turn > HTTP GET > " + read + " > HTTP GET client",
			"turn > HTTP GET > " + read + " internal",
			"turn > HTTP GET client",
			"turn internal",
		}, 1},
	} {
		from, received := len(w.spans.Ended()), len(w.fake.Received())
		ctx, turn := w.tracers.Tracer("the agent's program").Start(t.Context(), "turn")
		member, err := baggage.NewMember("user", "ann")
		if err != nil {
			t.Fatal(err)
		}
		bag, err := baggage.New(member)
		if err != nil {
			t.Fatal(err)
		}
		path, form := "/v1/charges/ch_1", ""
		if tt.method == "POST" {
			path, form = "/v1/refunds", "charge=ch_1&amount=100"
		}
		if got, err := w.send(baggage.ContextWithBaggage(ctx, bag), tt.rt, tt.method, path, form); err != nil || got != 200 {
			t.Fatalf("%s: %d, %v", tt.name, got, err)
		}
		turn.End()
		tree, byID := w.family(from)
		if !slices.Equal(tree, tt.want) {
			t.Errorf("%s: the spans are\n%s\nwant\n%s", tt.name, strings.Join(tree, "\n"), strings.Join(tt.want, "\n"))
		}
		traced := 0
		for _, r := range w.fake.Received()[received:] {
			if r.Header.Get("Baggage") != "" {
				t.Errorf("%s: the vendor was sent the caller's baggage %q", tt.name, r.Header.Get("Baggage"))
			}
			if r.Header.Get("Traceparent") == "" {
				continue
			}
			traced++
			sent := trace.SpanContextFromContext(propagation.TraceContext{}.Extract(context.Background(), propagation.HeaderCarrier(r.Header)))
			s := byID[sent.SpanID()]
			if s != nil && attributesOf(s)[string(semconv.URLFullKey)].AsString() != "https://"+r.Host+r.Path {
				t.Errorf("%s: the page warns of whole URLs, and %v has none", tt.name, s.Attributes())
			}
			if s == nil || s.SpanKind() != trace.SpanKindClient || s.Name() != "HTTP "+r.Method || byID[s.Parent().SpanID()] == nil || !strings.HasPrefix(byID[s.Parent().SpanID()].Name(), "keybrake ") {
				t.Errorf("%s: a %s names the span %v at the vendor", tt.name, r.Method, s)
			}
		}
		if traced != tt.traced {
			t.Errorf("%s: %d requests name a span, want %d", tt.name, traced, tt.traced)
		}
	}
}

// Of what is refused nothing is sent. Above the brake otelhttp cannot know that and tells a request; below it tells none.
func TestARefusalBesideOtelhttp(t *testing.T) {
	w := newWorld(t, nil, nil)
	for _, tt := range []struct {
		name string
		rt   http.RoundTripper
		want []string
	}{
		{"below", w.Transport(w.overHTTP(w.fake.Transport())), []string{"keybrake internal"}},
		{"above", w.overHTTP(w.Transport(nil)), []string{"HTTP GET > keybrake internal", "HTTP GET client"}},
	} {
		from := len(w.spans.Ended())
		if got, err := w.send(t.Context(), tt.rt, "GET", "/v1/nothing", ""); err != nil || got != 403 {
			t.Fatalf("%s: %d, %v", tt.name, got, err)
		}
		if tree, _ := w.family(from); !slices.Equal(tree, tt.want) {
			t.Errorf("%s: the spans are %q", tt.name, tree)
		}
	}
	if len(w.fake.Received()) != 0 {
		t.Error("a refused call was sent")
	}
}

// Over a base that is not net/http's own the brake cannot know that no connection was made: such a call is in doubt. That
// is what otelhttp below the brake costs.
func TestAFailureToConnectUnderOtelhttpIsInDoubt(t *testing.T) {
	w := newWorld(t, nil, nil)
	const payment = "amount=1000&currency=usd&payment_method=pm_card_visa"
	unreachable := &http.Transport{DialContext: nobody}
	_, _ = w.send(t.Context(), w.Transport(unreachable), "POST", "/v1/payment_intents", payment)
	if r := w.lastRecord(audit.Denied); r.Reason != "vendor_unreachable" {
		t.Errorf("on record is %+v", r)
	}
	w.wantMoney("refused", 0, 0, 0, 0, 0)
	_, _ = w.send(t.Context(), w.Transport(w.overHTTP(unreachable)), "POST", "/v1/payment_intents", payment)
	if r := w.lastRecord(audit.Outcome); r.Outcome != "in_doubt" || r.Error != audit.ErrorConnect {
		t.Errorf("on record is %+v", r)
	}
	w.wantMoney("in doubt", 0, 0, 10_000_000, 10_000_000, 1)
}
