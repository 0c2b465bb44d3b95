package oteltest

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/keybrake/keybrake-go"
	"github.com/keybrake/keybrake-go/audit"
	"github.com/keybrake/keybrake-go/audit/audittest"
	"github.com/keybrake/keybrake-go/audit/otelaudit"
	"github.com/keybrake/keybrake-go/credentials"
	"github.com/keybrake/keybrake-go/internal/fakevendor"
	"github.com/keybrake/keybrake-go/ledger/memory"
	"github.com/keybrake/keybrake-go/policy"
	"github.com/keybrake/keybrake-go/vendors"
	"github.com/keybrake/keybrake-go/vendors/kbresend"
	"github.com/keybrake/keybrake-go/vendors/kbstripe"
	"github.com/keybrake/keybrake-go/vendors/kbtwilio"
)

const (
	stripeSecret  = "sk_test_51Hreal4secret5never6shown"
	twilioAccount = "AC0123456789abcdef0123456789abcdef"
	twilioSecret  = "fedcba9876543210fedcba9876543210"
	resendSecret  = "re_Real4Secret_5Never6Shown7"
)

// A world is a brake over the fake vendor, with otelaudit beside a store, and the SDK's own recorders behind it.
type world struct {
	*keybrake.Brake
	t       *testing.T
	fake    *fakevendor.Server
	store   *audittest.Recorder
	sink    *otelaudit.Sink
	spans   *tracetest.SpanRecorder
	tracers *sdktrace.TracerProvider
	reader  *sdkmetric.ManualReader
	key     keybrake.Key
}

// newWorld starts the vendor and a brake over it; options and change may be nil.
func newWorld(t *testing.T, o *otelaudit.Options, change func(*keybrake.Config)) *world {
	t.Helper()
	w := &world{t: t, store: newStore(), spans: tracetest.NewSpanRecorder(), reader: sdkmetric.NewManualReader()}
	w.tracers = sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(w.spans))
	meters := sdkmetric.NewMeterProvider(sdkmetric.WithReader(w.reader))
	t.Cleanup(func() { _ = w.tracers.Shutdown(context.Background()) })
	t.Cleanup(func() { _ = meters.Shutdown(context.Background()) })
	given := otelaudit.Options{}
	if o != nil {
		given = *o
	}
	if given.TracerProvider == nil {
		given.TracerProvider = w.tracers
	}
	if given.MeterProvider == nil {
		given.MeterProvider = meters
	}
	w.sink = otelaudit.New(&given)
	w.open(w.sink, change)
	return w
}

// open makes the vendor, the brake and a key. The sink is one of a tee, behind the wrappers that a program may use.
func (w *world) open(sink audit.Sink, change func(*keybrake.Config)) {
	t := w.t
	t.Helper()
	fake, err := fakevendor.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = fake.Close() })
	w.fake = fake
	issuer, err := keybrake.NewIssuer()
	if err != nil {
		t.Fatal(err)
	}
	c := keybrake.Config{
		Issuer:  issuer,
		Ledger:  memory.New(),
		Vendors: []vendors.Vendor{kbstripe.New(nil), kbtwilio.New(nil), kbresend.New(nil)},
		Credentials: credentials.Static(map[string]string{
			"stripe": stripeSecret, "twilio": twilioAccount + ":" + twilioSecret, "resend": resendSecret,
		}),
		Audit: audit.Tee(w.store, sink),
		Base:  fake.Transport(),
		Stamp: true,
		Log:   slog.New(slog.DiscardHandler),
	}
	if change != nil {
		change(&c)
	}
	if w.Brake, err = keybrake.New(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.Close(context.Background()) })
	if err := w.SetBudget(t.Context(), "acme", policy.Daily(policy.USD("80")).Shared("team:support")); err != nil {
		t.Fatal(err)
	}
	w.fake.SeedCharge("ch_1", 500000, "usd")
	w.key = w.issue("run_1")
}

func (w *world) issue(run string) keybrake.Key {
	w.t.Helper()
	key, err := w.Issue(w.t.Context(), keybrake.Grant{
		Tenant: "acme", Agent: "refund-bot", Run: run, Labels: []string{"nightly"}, TTL: time.Hour,
		Credentials: map[string]string{"stripe": "stripe", "twilio": "twilio", "resend": "resend"},
		Policy: policy.Policy{
			Allow: []policy.Rule{{Operation: "stripe.*"}, {Operation: "twilio.*", Ceiling: policy.USD("1")}, {Operation: "resend.*"}},
			Budgets: []policy.Budget{
				policy.Lifetime(policy.USD("100")),
				policy.Daily(policy.USD("80")).Shared("team:support"),
			},
		},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return key
}

// send makes one call to Stripe under the world's key.
func (w *world) send(ctx context.Context, rt http.RoundTripper, method, path, form string, header ...string) (int, error) {
	w.t.Helper()
	return w.sendUnder(ctx, rt, w.key, method, "https://api.stripe.com"+path, form, header...)
}

func (w *world) sendUnder(ctx context.Context, rt http.RoundTripper, key keybrake.Key, method, url, form string, header ...string) (int, error) {
	w.t.Helper()
	var body io.Reader
	if form != "" {
		body = strings.NewReader(form)
	}
	req, err := http.NewRequestWithContext(ctx, method, url, body)
	if err != nil {
		w.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+key.Token())
	if form != "" {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := rt.RoundTrip(req)
	if err != nil {
		return 0, err
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	_ = resp.Body.Close()
	return resp.StatusCode, nil
}

// refund gives cents of ch_1 back, with the amount given, and fails the test unless the answer has the status that is wanted.
func (w *world) refund(cents string, want int) {
	w.t.Helper()
	if got, err := w.send(w.t.Context(), w.Transport(nil), "POST", "/v1/refunds", "charge=ch_1&amount="+cents); err != nil || got != want {
		w.t.Fatalf("a refund of %s cents is answered with %d, %v; want %d", cents, got, err, want)
	}
}

// outcomes are the records of the kind, in order.
func (w *world) records(k audit.Kind) (list []audit.Record) {
	for _, r := range w.store.Records() {
		if r.Kind == k && !r.Probe {
			list = append(list, r)
		}
	}
	return list
}

func (w *world) lastRecord(k audit.Kind) audit.Record {
	w.t.Helper()
	list := w.records(k)
	if len(list) == 0 {
		w.t.Fatalf("there is no record of kind %s", k)
	}
	return list[len(list)-1]
}

// ours are the ended spans of otelaudit, in the order of their ends.
func (w *world) ours() (list []sdktrace.ReadOnlySpan) {
	for _, s := range w.spans.Ended() {
		if strings.HasSuffix(s.InstrumentationScope().Name, "otelaudit") {
			list = append(list, s)
		}
	}
	return list
}

func attributesOf(s sdktrace.ReadOnlySpan) map[string]attribute.Value {
	m := map[string]attribute.Value{}
	for _, kv := range s.Attributes() {
		m[string(kv.Key)] = kv.Value
	}
	return m
}

// metrics collects what the SDK has now.
func (w *world) metrics() map[string]metricdata.Metrics {
	w.t.Helper()
	return collect(w.t, w.reader)
}

func collect(t *testing.T, r sdkmetric.Reader) map[string]metricdata.Metrics {
	t.Helper()
	var all metricdata.ResourceMetrics
	if err := r.Collect(context.Background(), &all); err != nil {
		t.Fatal(err)
	}
	m := map[string]metricdata.Metrics{}
	for _, s := range all.ScopeMetrics {
		for _, one := range s.Metrics {
			m[one.Name] = one
		}
	}
	return m
}

// points are the data points of a sum, by their attributes as text.
func points(t *testing.T, m metricdata.Metrics) map[string]int64 {
	t.Helper()
	out := map[string]int64{}
	if m.Data == nil {
		return out
	}
	sum, ok := m.Data.(metricdata.Sum[int64])
	if !ok {
		t.Fatalf("%s is no sum of whole numbers", m.Name)
	}
	for _, p := range sum.DataPoints {
		if p.Value != 0 {
			out[p.Attributes.Encoded(attribute.DefaultEncoder())] = p.Value
		}
	}
	return out
}

// total is the sum over all attributes.
func (w *world) total(name string) (n int64) {
	w.t.Helper()
	for _, v := range points(w.t, w.metrics()[name]) {
		n += v
	}
	return n
}

func (w *world) wantTotal(name string, want int64) {
	w.t.Helper()
	if got := w.total(name); got != want {
		w.t.Errorf("%s is %d, want %d", name, got, want)
	}
}

// wantMoney checks what is told of money, in micro-units.
func (w *world) wantMoney(when string, spend, reversed, held, inDoubt, doubts int64) {
	w.t.Helper()
	for _, m := range []struct {
		name string
		want int64
	}{{"keybrake.spend", spend}, {"keybrake.reversed", reversed}, {"keybrake.held", held}, {"keybrake.in_doubt", inDoubt}, {"keybrake.in_doubt_calls", doubts}} {
		if got := w.total(m.name); got != m.want {
			w.t.Errorf("%s: %s is %d, want %d", when, m.name, got, m.want)
		}
	}
}

func optionsOf(p *sdktrace.TracerProvider) *otelaudit.Options {
	return &otelaudit.Options{TracerProvider: p}
}

// nobody answers a dial.
func nobody(context.Context, string, string) (net.Conn, error) {
	return nil, &net.OpError{Op: "dial", Err: errors.New("refused")}
}

// dying is a base transport that panics.
type dying struct{}

func (dying) RoundTrip(*http.Request) (*http.Response, error) { panic("base") }

func newStore() *audittest.Recorder { return &audittest.Recorder{} }

func fullOutcome() audit.Record {
	r := audittest.Full()
	r.Probe = false
	return r
}
