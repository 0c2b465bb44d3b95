package oteltest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	otelprometheus "go.opentelemetry.io/otel/exporters/prometheus"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"

	"github.com/keybrake/keybrake-go"
	"github.com/keybrake/keybrake-go/audit/otelaudit"
	"github.com/keybrake/keybrake-go/internal/fakevendor"
	"github.com/keybrake/keybrake-go/ledger"
)

// A scraper is a real Prometheus that scrapes one target.
type scraper struct {
	t    *testing.T
	base string
}

// scrape starts a Prometheus for the test. Without the program the test fails rather than skips: what was not scraped is
// not known to be told.
func scrape(t *testing.T, target string) *scraper {
	t.Helper()
	bin, err := exec.LookPath("prometheus")
	if err != nil {
		t.Fatal("prometheus is not installed; run: apt-get install prometheus")
	}
	for range 20 {
		s, err := startScraper(t, bin, target)
		if err == nil {
			return s
		}
		if !errors.Is(err, errTaken) {
			t.Fatal(err)
		}
	}
	t.Fatal("no free port for prometheus")
	return nil
}

// errTaken says that another process has the port.
var errTaken = errors.New("the port is taken")

func startScraper(t *testing.T, bin, target string) (*scraper, error) {
	dir := t.TempDir()
	config := filepath.Join(dir, "prometheus.yml")
	text := fmt.Sprintf("global: {scrape_interval: 400ms, scrape_timeout: 400ms}\nscrape_configs: [{job_name: agents, static_configs: [{targets: [%q]}]}]\n", target)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return nil, err
	}
	address := net.JoinHostPort("127.0.0.1", strconv.Itoa(10_000+rand.IntN(22_000))) // below the ports of outgoing connections
	log := &bytes.Buffer{}
	cmd := exec.Command(bin, "--config.file="+config, "--storage.tsdb.path="+filepath.Join(dir, "data"),
		"--web.listen-address="+address, "--enable-feature=exemplar-storage", "--log.level=warn")
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	ended := make(chan struct{})
	go func() { defer close(ended); _ = cmd.Wait() }()
	t.Cleanup(func() { _ = cmd.Process.Kill(); <-ended })
	s := &scraper{t, "http://" + address}
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		select {
		case <-ended: // and the log is nobody else's now
			if strings.Contains(log.String(), "address already in use") {
				return nil, errTaken
			}
			return nil, fmt.Errorf("prometheus ended: %s", log)
		default:
		}
		// Another's server might answer on a port that ours did not get; the one that scrapes our target is ours.
		if found, err := s.query(`up{job="agents",instance="` + target + `"}`); err == nil && len(found) == 1 && found[0].value == 1 {
			return s, nil
		}
	}
	_ = cmd.Process.Kill()
	<-ended
	return nil, fmt.Errorf("prometheus does not scrape: %s", log)
}

// A sample is one value of an instant query, or an exemplar.
type sample struct {
	labels map[string]string
	value  float64
}

func (s *scraper) get(path string, args url.Values, data any) error {
	client := http.Client{Timeout: 10 * time.Second}
	resp, err := client.Get(s.base + path + "?" + args.Encode())
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	var answer struct {
		Status, Error string
		Data          json.RawMessage
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		return err
	}
	if answer.Status != "success" {
		return fmt.Errorf("prometheus: %s", answer.Error)
	}
	return json.Unmarshal(answer.Data, data)
}

func (s *scraper) query(expr string) (out []sample, err error) {
	var data struct {
		Result []struct {
			Metric map[string]string
			Value  [2]any
		}
	}
	if err := s.get("/api/v1/query", url.Values{"query": {expr}}, &data); err != nil {
		return nil, err
	}
	for _, r := range data.Result {
		v, err := strconv.ParseFloat(r.Value[1].(string), 64)
		if err != nil {
			return nil, err
		}
		out = append(out, sample{r.Metric, v})
	}
	return out, nil
}

// exemplars are the traces that stand at the series of a metric since the test began.
func (s *scraper) exemplars(metric string) (traces []string, err error) {
	var data []struct {
		Exemplars []struct{ Labels map[string]string }
	}
	args := url.Values{"query": {metric}, "start": {fmt.Sprint(time.Now().Add(-time.Hour).Unix())}, "end": {fmt.Sprint(time.Now().Add(time.Hour).Unix())}}
	if err := s.get("/api/v1/query_exemplars", args, &data); err != nil {
		return nil, err
	}
	for _, d := range data {
		for _, e := range d.Exemplars {
			traces = append(traces, e.Labels["trace_id"])
		}
	}
	return traces, nil
}

// wantValue waits until an expression has this value and no other.
func (s *scraper) wantValue(expr string, want float64) {
	s.t.Helper()
	var found []sample
	var err error
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if found, err = s.query(expr); err == nil && len(found) == 1 && found[0].value == want {
			return
		}
	}
	s.t.Errorf("%s is %v, %v; want %v", expr, found, err, want)
}

// What a real Prometheus scrapes of the exporter is what was done, to the micro-unit, with the traces of the calls; and
// every panel of docs/grafana.json shows something of it.
func TestPrometheusScrapesWhatWasDone(t *testing.T) {
	registry := prometheus.NewRegistry()
	exporter, err := otelprometheus.New(otelprometheus.WithRegisterer(registry))
	if err != nil {
		t.Fatal(err)
	}
	meters := sdkmetric.NewMeterProvider(sdkmetric.WithReader(exporter))
	t.Cleanup(func() { _ = meters.Shutdown(t.Context()) })
	page := httptest.NewServer(promhttp.HandlerFor(registry, promhttp.HandlerOpts{EnableOpenMetrics: true}))
	t.Cleanup(page.Close)
	w := newWorld(t, &otelaudit.Options{MeterProvider: meters, Tenants: 100, Agents: 100, Budgets: 100}, nil)
	list := func(ctx context.Context, tenant string) ([]ledger.Hold, error) {
		if tenant == "broken" {
			return nil, errors.New("the ledger does not answer") // for it alone; the page is whole otherwise
		}
		return w.InDoubt(ctx, tenant)
	}
	if _, err := w.sink.WatchInDoubt(list, "broken", "acme"); err != nil {
		t.Fatal(err)
	}
	s := scrape(t, strings.TrimPrefix(page.URL, "http://"))

	w.refund("2000", 200)
	w.refund("1", 200)
	w.refund("400000", 429)
	for range 3 {
		_, _ = w.send(t.Context(), w.Transport(nil), "GET", "/v1/nothing", "")
	}
	w.fake.Misbehave(fakevendor.Fault{PathContains: "/refunds", Kind: fakevendor.StatusAfter})
	_, _ = w.send(t.Context(), w.Transport(nil), "POST", "/v1/refunds", "charge=ch_1&amount=300")
	const of = `keybrake_vendor="stripe",keybrake_operation="stripe.refunds.create",keybrake_tenant="acme",keybrake_agent="refund-bot"`
	s.wantValue(`keybrake_calls_total{`+of+`,keybrake_verdict="allow",keybrake_outcome="executed"}`, 2)
	s.wantValue(`keybrake_calls_total{`+of+`,keybrake_verdict="allow",keybrake_outcome="in_doubt",keybrake_reason="in_doubt"}`, 1)
	s.wantValue(`keybrake_calls_total{`+of+`,keybrake_verdict="deny",keybrake_reason="budget_exceeded"}`, 1)
	s.wantValue(`keybrake_calls_total{keybrake_verdict="deny",keybrake_reason="operation_unknown"}`, 3)
	s.wantValue(`keybrake_spend_total{`+of+`,keybrake_meter="outflow",keybrake_currency="USD"}`, 20_010_000)
	s.wantValue(`keybrake_held{`+of+`,keybrake_meter="outflow",keybrake_currency="USD"}`, 3_000_000)
	s.wantValue(`keybrake_in_doubt{`+of+`,keybrake_meter="outflow",keybrake_currency="USD"}`, 3_000_000)
	s.wantValue(`keybrake_in_doubt_calls{`+of+`}`, 1)
	s.wantValue(`keybrake_ledger_in_doubt_calls{keybrake_tenant="acme"}`, 1)
	s.wantValue(`keybrake_ledger_in_doubt{keybrake_tenant="acme",keybrake_currency="USD"}`, 3_000_000)
	s.wantValue(`keybrake_budget_used_ratio{keybrake_tenant="acme",keybrake_budget="team:support",keybrake_meter="spend",keybrake_currency="USD"}`, 23.01/80)
	s.wantValue(`sum(keybrake_overhead_seconds_count)`, 7)
	s.wantValue(`sum(keybrake_ledger_duration_seconds_count)`, 4)
	s.wantValue(`sum(keybrake_vendor_duration_seconds_count{keybrake_vendor="stripe",keybrake_operation="stripe.refunds.create"})`, 4)

	s.wantValue(`count(keybrake_in_doubt_calls{keybrake_no_such_name=~".*"})`, 1) // as the dashboard's "All" where names are left out

	var known []string
	for _, span := range w.ours() {
		known = append(known, span.SpanContext().TraceID().String())
	}
	for _, metric := range []string{"keybrake_calls_total", "keybrake_spend_total", "keybrake_overhead_seconds_bucket", "keybrake_vendor_duration_seconds_bucket"} {
		eventually(t, "an exemplar of "+metric, func() bool {
			traces, err := s.exemplars(metric)
			return err == nil && len(traces) > 0 && !slices.ContainsFunc(traces, func(id string) bool { return !slices.Contains(known, id) })
		})
	}

	if err := w.Resolve(t.Context(), "acme", w.lastRecord("outcome").CallID, keybrake.NotExecuted()); err != nil {
		t.Fatal(err)
	}
	s.wantValue(`keybrake_in_doubt_calls`, 0)
	s.wantValue(`keybrake_held`, 0)
	if _, err := w.Adjust(t.Context(), "acme", w.records("outcome")[0].CallID, "a1", "it failed", usd(19_000_000)); err != nil {
		t.Fatal(err)
	}
	s.wantValue(`keybrake_reversed_total`, 1_000_000)

	w.fake.Misbehave(fakevendor.Fault{PathContains: "/refunds", Kind: fakevendor.StatusAfter})
	_, _ = w.send(t.Context(), w.Transport(nil), "POST", "/v1/refunds", "charge=ch_1&amount=300")
	panels(t, w, s)
}

// panels runs every expression of the dashboard, while calls go on.
func panels(t *testing.T, w *world, s *scraper) {
	text, err := os.ReadFile("../../../../docs/grafana.json")
	if err != nil {
		t.Fatal(err)
	}
	var board struct {
		Templating struct {
			List []struct {
				Type  string
				Query any
			}
		}
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(text, &board); err != nil {
		t.Fatal(err)
	}
	asked := 0
	for _, v := range board.Templating.List {
		if ask := regexp.MustCompile(`label_values\((\w+), (\w+)\)`).FindStringSubmatch(fmt.Sprint(v.Query)); ask != nil {
			asked++
			s.wantValue(fmt.Sprintf(`count(count by (%s) (%s{%s!=""}))`, ask[2], ask[1], ask[2]), 1)
		}
	}
	if asked != 1 {
		t.Errorf("the dashboard asks for %d variables", asked)
	}
	variables := strings.NewReplacer("$__rate_interval", "1m", "$tenant", ".*")
	seen := 0
	for _, p := range board.Panels {
		for _, target := range p.Targets {
			seen++
			expr := variables.Replace(target.Expr)
			if regexp.MustCompile(`\$`).MatchString(expr) {
				t.Errorf("%s has a variable that nothing fills in: %s", p.Title, target.Expr)
			}
			var found []sample
			var err error
			for deadline := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
				if found, err = s.query(expr); err == nil && len(found) > 0 && !math.IsNaN(found[0].value) {
					break
				}
				if time.Now().After(deadline) || err != nil && strings.Contains(err.Error(), "parse error") {
					t.Errorf("%s shows nothing: %s: %v, %v", p.Title, target.Expr, found, err)
					break
				}
				w.refund("1", 200)
				_, _ = w.send(t.Context(), w.Transport(nil), "GET", "/v1/nothing", "")
			}
		}
	}
	if seen < 12 {
		t.Errorf("the dashboard has %d expressions", seen)
	}
}
