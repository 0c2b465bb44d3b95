package oteltest

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	prom "github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/prometheus"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/keybrake/keybrake-go"
	"github.com/keybrake/keybrake-go/audit"
	"github.com/keybrake/keybrake-go/audit/otelaudit"
	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/credentials"
	"github.com/keybrake/keybrake-go/ledger"
	"github.com/keybrake/keybrake-go/ledger/memory"
	"github.com/keybrake/keybrake-go/vendors"
	"github.com/keybrake/keybrake-go/vendors/kbstripe"
)

func page(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../../../../docs/telemetry.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// What the page shows runs here, line by line, and tells what it says.
func TestThePageRuns(t *testing.T) {
	ctx, mux, path := t.Context(), http.NewServeMux(), filepath.Join(t.TempDir(), "audit.jsonl")
	issuer, err := keybrake.NewIssuer()
	if err != nil {
		t.Fatal(err)
	}
	config := keybrake.Config{
		Issuer: issuer, Ledger: memory.New(), Vendors: []vendors.Vendor{kbstripe.New(nil)},
		Credentials: credentials.Static(map[string]string{"stripe": stripeSecret}), Log: slog.New(slog.DiscardHandler),
	}
	spanExporter := dropped{}
	defer func(r prom.Registerer, g prom.Gatherer) { prom.DefaultRegisterer, prom.DefaultGatherer = r, g }(prom.DefaultRegisterer, prom.DefaultGatherer)
	registry := prom.NewRegistry()
	prom.DefaultRegisterer, prom.DefaultGatherer = registry, registry

	exporter, err := prometheus.New()
	if err != nil {
		t.Fatal(err)
	}
	tracers := sdktrace.NewTracerProvider(sdktrace.WithBatcher(spanExporter))
	meters := sdkmetric.NewMeterProvider(sdkmetric.WithReader(exporter))
	mux.Handle("/metrics", promhttp.HandlerFor(prom.DefaultGatherer, promhttp.HandlerOpts{EnableOpenMetrics: true})) // for exemplars

	telemetry := otelaudit.New(&otelaudit.Options{
		TracerProvider: tracers, // nil: the global providers
		MeterProvider:  meters,
		Tenants:        100, Budgets: 100, // names on metrics: none by default
	})
	config.Audit = audit.Tee(audit.File(path, nil), telemetry)

	brake, err := keybrake.New(ctx, config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = brake.Close(context.Background()); _ = tracers.Shutdown(context.Background()) })

	stop, err := telemetry.WatchInDoubt(brake.InDoubt, "acme")

	if err != nil {
		t.Fatal(err)
	}
	defer stop()

	client := brake.Client()
	client.Transport = brake.Transport(otelhttp.NewTransport(&http.Transport{}))

	resp, err := client.Get("https://api.stripe.com/v1/charges/ch_1")
	if err != nil || resp.StatusCode != 401 {
		t.Fatal(resp, err)
	}
	_ = resp.Body.Close()
	rec := httptest.NewRecorder()
	mux.ServeHTTP(rec, httptest.NewRequest("GET", "/metrics", nil))
	if text, _ := io.ReadAll(rec.Body); !strings.Contains(string(text), `keybrake_reason="key_missing"`) {
		t.Errorf("the metrics are\n%s", text)
	}

	source, err := os.ReadFile("page_test.go")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?s)```go\n(.*?)```").FindAllStringSubmatch(page(t), -1)
	if len(blocks) != 3 {
		t.Errorf("the page has %d blocks of Go", len(blocks))
	}
	for _, b := range blocks {
		if !strings.Contains(bare(string(source)), bare(b[1])) {
			t.Errorf("the page shows what does not run:\n%s", b[1])
		}
	}
}

// bare is text without the spaces around its lines, and with errors handled in the way of a program.
func bare(text string) string {
	lines := strings.Split(text, "\n")
	for i := range lines {
		lines[i] = strings.TrimSpace(lines[i])
	}
	return strings.ReplaceAll(strings.Join(lines, "\n"), "t.Fatal(err)", "log.Fatal(err)")
}

// table are the rows of the page's table whose head begins with a word, each cell by itself.
func table(t *testing.T, head string) (rows [][]string) {
	t.Helper()
	_, rest, ok := strings.Cut(page(t), "\n| "+head+" |")
	if !ok {
		t.Fatalf("the page has no table of %s", head)
	}
	for _, line := range strings.Split(rest, "\n")[2:] {
		if !strings.HasPrefix(line, "|") {
			break
		}
		var cells []string
		for _, c := range strings.Split(strings.Trim(line, "|"), "|") {
			cells = append(cells, strings.TrimSpace(c))
		}
		rows = append(rows, cells)
	}
	return rows
}

// names are what stands in a cell in backquotes.
func names(cell string) (list []string) {
	for _, m := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(cell, -1) {
		list = append(list, m[1])
	}
	slices.Sort(list)
	return list
}

// full tells calls that have all that a record can have.
func full(t *testing.T) *world {
	w := newWorld(t, &otelaudit.Options{Tenants: 10, Agents: 10, Budgets: 10}, nil)
	write := func(r audit.Record) {
		ctx := w.sink.Begin(t.Context())
		_ = w.sink.Forward(ctx, ctx)
		_ = w.sink.Write(ctx, intentOf(r))
		_ = w.sink.Forward(ctx, ctx)
		_ = w.sink.Write(ctx, r)
		w.sink.End(ctx, r)
	}
	r := fullOutcome()
	r.Attached, r.Reservation = true, "call_0"
	write(r)
	r.Attached, r.Reservation, r.Outcome, r.Error, r.Reason = false, "", audit.OutcomeExecuted, "", ""
	write(r)
	r.CallID, r.Outcome, r.Reason = "call_2", audit.OutcomeInDoubt, "in_doubt"
	write(r)
	_ = w.sink.Write(t.Context(), audit.Record{Tenant: r.Tenant, CallID: "call_1", Kind: audit.Control, Outcome: audit.OutcomeAdjusted})
	list := func(context.Context, string) ([]ledger.Hold, error) {
		return []ledger.Hold{{Entries: []ledger.Entry{{Meter: cost.Spend, Currency: "USD", Held: 1}}}}, nil
	}
	if _, err := w.sink.WatchInDoubt(list, "acme"); err != nil {
		t.Fatal(err)
	}
	return w
}

func intentOf(r audit.Record) audit.Record {
	r.Kind, r.Outcome = audit.Intent, ""
	return r
}

// The page's table of attributes is what spans have, neither less nor more, and so is that of events.
func TestThePageTellsEveryAttribute(t *testing.T) {
	w := full(t)
	attributes, events := map[string]bool{}, map[string]bool{}
	for _, s := range w.ours() {
		for name := range attributesOf(s) {
			attributes[name] = true
		}
		for _, e := range s.Events() {
			var with []string
			for _, kv := range e.Attributes {
				with = append(with, string(kv.Key))
			}
			slices.Sort(with)
			events[e.Name+" "+strings.Join(with, " ")] = true
		}
	}
	told, toldEvents := map[string]bool{}, map[string]bool{}
	for _, row := range table(t, "attribute") {
		for _, name := range names(row[0]) {
			told[name] = true
		}
	}
	for _, row := range table(t, "event") {
		toldEvents[names(row[0])[0]+" "+strings.Join(names(row[2]), " ")] = true
	}
	if fmt.Sprint(told) != fmt.Sprint(attributes) {
		t.Errorf("the page has\n%v\nspans have\n%v", told, attributes)
	}
	if fmt.Sprint(toldEvents) != fmt.Sprint(events) {
		t.Errorf("the page has\n%v\nspans have\n%v", toldEvents, events)
	}
}

// The page's table of metrics is what a meter has: name, kind, unit and attributes.
func TestThePageTellsEveryMetric(t *testing.T) {
	w := full(t)
	got := map[string]string{}
	for name, m := range w.metrics() {
		kind, sets := "", []attribute.Set{}
		switch d := m.Data.(type) {
		case metricdata.Sum[int64]:
			kind = "up-down counter"
			if d.IsMonotonic {
				kind = "counter"
			}
			for _, p := range d.DataPoints {
				sets = append(sets, p.Attributes)
			}
		case metricdata.Gauge[int64]:
			kind = "gauge"
			for _, p := range d.DataPoints {
				sets = append(sets, p.Attributes)
			}
		case metricdata.Gauge[float64]:
			kind = "gauge"
			for _, p := range d.DataPoints {
				sets = append(sets, p.Attributes)
			}
		case metricdata.Histogram[float64]:
			kind = "histogram"
			for _, p := range d.DataPoints {
				sets = append(sets, p.Attributes)
			}
		}
		var with []string
		for _, set := range sets {
			for _, kv := range set.ToSlice() {
				if name := strings.TrimPrefix(string(kv.Key), "keybrake."); !slices.Contains(with, name) {
					with = append(with, name)
				}
			}
		}
		slices.Sort(with)
		got[name] = fmt.Sprint(kind, " ", m.Unit, " ", with)
	}
	told := map[string]string{}
	for _, row := range table(t, "metric") {
		told[names(row[0])[0]] = fmt.Sprint(row[1], " ", names(row[2])[0], " ", names(row[3]))
	}
	for name, what := range got {
		if told[name] != what {
			t.Errorf("%s is %q, and the page has %q", name, what, told[name])
		}
	}
	if len(told) != len(got) {
		t.Errorf("the page has %d metrics of %d", len(told), len(got))
	}
}

// Who imports otelaudit gets the API, and nothing of the SDK.
func TestItNeedsTheAPIAlone(t *testing.T) {
	list := exec.Command("go", "list", "-deps", "-f", "{{with .Module}}{{.Path}}{{end}}", ".")
	list.Dir = "../.."
	out, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	modules := strings.Fields(string(out))
	slices.Sort(modules)
	modules = slices.Compact(modules)
	want := []string{
		"github.com/cespare/xxhash/v2", "github.com/go-logr/logr", "github.com/go-logr/stdr",
		"github.com/keybrake/keybrake-go", "github.com/keybrake/keybrake-go/audit/otelaudit",
		"go.opentelemetry.io/auto/sdk", "go.opentelemetry.io/otel", "go.opentelemetry.io/otel/metric", "go.opentelemetry.io/otel/trace",
	}
	if !slices.Equal(modules, want) {
		t.Errorf("it is built of %v", modules)
	}
}
