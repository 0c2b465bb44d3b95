package oteltest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	semconv "go.opentelemetry.io/otel/semconv/v1.39.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/keybrake/keybrake-go"
	"github.com/keybrake/keybrake-go/audit"
	"github.com/keybrake/keybrake-go/audit/otelaudit"
	"github.com/keybrake/keybrake-go/internal/fakevendor"
)

// A call is one span under the caller's, named by its operation, with the times of its steps.
func TestACallIsASpan(t *testing.T) {
	w := newWorld(t, nil, nil)
	ctx, parent := w.tracers.Tracer("the agent's program").Start(t.Context(), "turn")
	ctx = keybrake.WithCall(ctx, keybrake.Call{Tool: "refund_customer", Step: "3"})
	before := time.Now()
	if got, err := w.send(ctx, w.Transport(nil), "POST", "/v1/refunds", "charge=ch_1&amount=2000"); err != nil || got != 200 {
		t.Fatal(got, err)
	}
	parent.End()
	spans := w.ours()
	if len(spans) != 1 {
		t.Fatalf("%d spans for one call and its look", len(spans))
	}
	s, r := spans[0], w.lastRecord(audit.Outcome)
	if s.Name() != "keybrake stripe.refunds.create" || s.SpanKind() != trace.SpanKindInternal {
		t.Errorf("the span is %s of kind %s", s.Name(), s.SpanKind())
	}
	if s.Parent().SpanID() != parent.SpanContext().SpanID() || s.SpanContext().TraceID() != parent.SpanContext().TraceID() {
		t.Error("the span is not a child of the caller's")
	}
	if s.Status().Code != codes.Unset {
		t.Errorf("a call that was executed has the status %v", s.Status())
	}
	got := attributesOf(s)
	for name, want := range map[string]string{
		"keybrake.call": r.CallID, "keybrake.tenant": "acme", "keybrake.agent": "refund-bot", "keybrake.run": "run_1", "keybrake.key": w.key.ID,
		"keybrake.labels": `["nightly"]`, "keybrake.tool": "refund_customer", "keybrake.step": "3", "keybrake.policy": r.Policy,
		"keybrake.vendor": "stripe", "keybrake.operation": "stripe.refunds.create", "keybrake.class": "outflow",
		"keybrake.verdict": "allow", "keybrake.outcome": "executed", "keybrake.vendor_request": r.VendorRequest,
		"keybrake.reserved": `["outflow 20.00 USD","1 calls"]`, "keybrake.actual": `["outflow 20.00 USD"]`,
		"keybrake.budget": "team:support", "keybrake.used_ratio": "0.25", string(semconv.HTTPResponseStatusCodeKey): "200",
	} {
		if v := got[name]; v.String() != want {
			t.Errorf("%s is %q, want %q", name, v.String(), want)
		}
	}
	if v := got["keybrake.own_seconds"].AsFloat64(); v != r.OwnDuration.Seconds() {
		t.Errorf("own_seconds is %v", v)
	}
	var names []string
	last := before
	for _, e := range s.Events() {
		names = append(names, e.Name)
		if e.Time.Before(last.Truncate(time.Microsecond)) || e.Time.After(s.EndTime()) {
			t.Errorf("%s was at %v, before %v or after the span's end %v", e.Name, e.Time, last, s.EndTime())
		}
		last = e.Time
	}
	if fmt.Sprint(names) != "[keybrake.look keybrake.reserve keybrake.forward keybrake.settle]" {
		t.Errorf("the events are %v", names)
	}
}

// Refusals and doubts are errors, each with a span of its own; what the vendor refuses is one by its status.
func TestWhatIsAnErrorOnASpan(t *testing.T) {
	w := newWorld(t, nil, nil)
	w.refund("2000", 200)
	w.refund("400000", 429)
	for range 3 { // of which two have no record of their own
		if got, err := w.send(t.Context(), w.Transport(nil), "GET", "/v1/no/such/thing", ""); err != nil || got != 403 {
			t.Fatal(got, err)
		}
	}
	w.fake.Misbehave(fakevendor.Fault{PathContains: "/refunds", Kind: fakevendor.StatusAfter})
	_, _ = w.send(t.Context(), w.Transport(nil), "POST", "/v1/refunds", "charge=ch_1&amount=1000")
	w.fake.Misbehave(fakevendor.Fault{PathContains: "/refunds", Kind: fakevendor.Status, Status: 402})
	w.refund("1000", 402)
	w.fake.Misbehave(fakevendor.Fault{PathContains: "/refunds", Kind: fakevendor.Truncate})
	_, _ = w.send(t.Context(), w.Transport(nil), "POST", "/v1/refunds", "charge=ch_1&amount=1000")
	const known = "keybrake stripe.refunds.create"
	want := []struct {
		name, reason, errorType string
		code                    codes.Code
	}{
		{known, "", "", codes.Unset},
		{known, "budget_exceeded", "budget_exceeded", codes.Error},
		{"keybrake", "operation_unknown", "operation_unknown", codes.Error},
		{"keybrake", "operation_unknown", "operation_unknown", codes.Error},
		{"keybrake", "operation_unknown", "operation_unknown", codes.Error},
		{known, "in_doubt", "in_doubt", codes.Error},
		{known, "", "402", codes.Error},
		{known, "in_doubt", "incomplete", codes.Error},
	}
	spans := w.ours()
	if len(spans) != len(want) {
		t.Fatalf("%d spans for %d calls", len(spans), len(want))
	}
	for i, s := range spans {
		settled := slices.ContainsFunc(s.Events(), func(e sdktrace.Event) bool { return e.Name == "keybrake.settle" })
		if refused := attributesOf(s)["keybrake.verdict"].AsString() == "deny"; settled == refused {
			t.Errorf("span %d has the events %v", i, s.Events())
		}
		got := attributesOf(s)
		if s.Name() != want[i].name || s.Status().Code != want[i].code || s.Status().Description != want[i].reason ||
			got["keybrake.reason"].String() != want[i].reason || got[string(semconv.ErrorTypeKey)].String() != want[i].errorType {
			t.Errorf("span %d is %s, %v, %v; want %+v", i, s.Name(), s.Status(), s.Attributes(), want[i])
		}
	}
}

// What broke in a way that has no name is called as the conventions call it.
func TestAnErrorWithoutAName(t *testing.T) {
	w := newWorld(t, nil, nil)
	w.sink.End(w.sink.Begin(t.Context()), audit.Record{Kind: audit.Outcome, Outcome: audit.OutcomeInDoubt, Reason: "in_doubt", Error: audit.ErrorOther})
	if got := attributesOf(w.ours()[0])[string(semconv.ErrorTypeKey)].AsString(); got != semconv.ErrorTypeOther.Value.AsString() {
		t.Errorf("error.type is %q", got)
	}
}

// Behind the wrappers of package audit calls have their spans and counts all the same. Behind a buffer their money is told
// when it is handed on, and events come after the span has ended.
func TestBehindWrappers(t *testing.T) {
	var buffer *audit.BufferSink
	w := newWorld(t, nil, func(c *keybrake.Config) {
		buffer = audit.InsecureBuffer(audit.Chain(c.Audit, nil), &audit.BufferOptions{Every: time.Hour})
		c.Audit = buffer
	})
	w.refund("2000", 200)
	w.wantTotal("keybrake.calls", 1)
	if spans := w.ours(); len(spans) != 1 || slices.ContainsFunc(spans[0].Events(), func(e sdktrace.Event) bool { return e.Name == "keybrake.reserve" }) {
		t.Errorf("the spans are %v", spans)
	}
	w.wantMoney("in the buffer", 0, 0, 0, 0, 0)
	if err := buffer.Close(); err != nil {
		t.Fatal(err)
	}
	w.wantMoney("handed on", 20_000_000, 0, 0, 0, 0)
}

// A record that is given to the sink again is one event.
func TestAnIntentIsOneEvent(t *testing.T) {
	w := newWorld(t, nil, nil)
	ctx := w.sink.Begin(t.Context())
	for range 3 {
		_ = w.sink.Write(ctx, audit.Record{Kind: audit.Intent, Time: time.Now()})
	}
	w.sink.End(ctx, audit.Record{Kind: audit.Denied})
	if events := w.ours()[0].Events(); len(events) != 1 {
		t.Errorf("the events are %v", events)
	}
}

// Two sinks have spans of their own.
func TestTwoSinksBeside(t *testing.T) {
	other := tracetest.NewSpanRecorder()
	second := otelaudit.New(&otelaudit.Options{TracerProvider: sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(other))})
	w := newWorld(t, nil, func(c *keybrake.Config) { c.Audit = audit.Tee(c.Audit, audit.InsecureBestEffort(second)) })
	w.refund("2000", 200)
	if len(w.ours()) != 1 || len(other.Ended()) != 1 || len(other.Ended()[0].Events()) != 4 {
		t.Errorf("%d and %d spans", len(w.ours()), len(other.Ended()))
	}
}

// However a call ends, its span does.
func TestEverySpanEnds(t *testing.T) {
	w := newWorld(t, nil, func(c *keybrake.Config) { c.MaxBody, c.CallTimeout = 1000, 2*time.Second })
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	strict := w.Transport(nil)
	strict.DenyAsError = true
	rt := w.Transport(nil)
	for name, try := range map[string]func(){
		"executed":        func() { _, _ = w.send(t.Context(), rt, "POST", "/v1/refunds", "charge=ch_1&amount=100") },
		"a read":          func() { _, _ = w.send(t.Context(), rt, "GET", "/v1/charges/ch_1", "") },
		"canceled":        func() { _, _ = w.send(canceled, rt, "GET", "/v1/charges/ch_1", "") },
		"an error":        func() { _, _ = w.send(t.Context(), strict, "GET", "/v1/nothing", "") },
		"a host unknown":  func() { _, _ = w.sendUnder(t.Context(), rt, w.key, "GET", "https://vendor.test/", "") },
		"a body too long": func() { _, _ = w.send(t.Context(), rt, "POST", "/v1/refunds", strings.Repeat("a=b&", 1000)) },
		"no store": func() {
			w.store.Fail(errors.New("full"))
			_, _ = w.send(t.Context(), rt, "GET", "/v1/charges/ch_1", "")
			w.store.Fail(nil)
		},
		"refused at once": func() {
			req, _ := http.NewRequest("GET", "https://api.stripe.com/v1/charges", nil)
			_, _ = rt.Refuse(req, keybrake.Denial{Reason: "budget_exceeded"})
		},
		"nobody is there": func() {
			_, _ = w.send(t.Context(), w.Transport(&http.Transport{Proxy: nil, DialContext: nobody}), "GET", "/v1/charges/ch_1", "")
		},
		"a base that dies": func() {
			_, _ = w.send(t.Context(), w.Transport(dying{}), "POST", "/v1/refunds", "charge=ch_1&amount=100")
		},
	} {
		before := len(w.ours())
		try()
		if n := len(w.ours()) - before; n != 1 {
			t.Errorf("%s: %d spans have ended", name, n)
		}
	}
	if begun, ended := len(w.spans.Started()), len(w.spans.Ended()); begun != ended {
		t.Errorf("%d spans were begun and %d have ended", begun, ended)
	}
	w.wantTotal("keybrake.calls", 10)
}

// A span that is not recorded changes no call, and metrics go on. What a sampler sees is the name at the beginning.
func TestASpanThatIsNotSampled(t *testing.T) {
	sampler := &never{}
	w := newWorld(t, optionsOf(sdktrace.NewTracerProvider(sdktrace.WithSampler(sampler))), nil)
	w.refund("2000", 200)
	if sampler.name != "keybrake" || sampler.attributes != 0 {
		t.Errorf("the sampler saw %+v", sampler)
	}
	w.wantMoney("not sampled", 20_000_000, 0, 0, 0, 0)
}

// never samples nothing, and notes what it was asked.
type never struct {
	name       string
	attributes int
}

func (n *never) ShouldSample(p sdktrace.SamplingParameters) sdktrace.SamplingResult {
	n.name, n.attributes = p.Name, len(p.Attributes)
	return sdktrace.SamplingResult{Decision: sdktrace.Drop}
}

func (*never) Description() string { return "never" }
