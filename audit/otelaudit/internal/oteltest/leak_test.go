package oteltest

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"unicode/utf8"

	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/keybrake/keybrake-go"
	"github.com/keybrake/keybrake-go/audit"
	"github.com/keybrake/keybrake-go/audit/audittest"
	"github.com/keybrake/keybrake-go/audit/otelaudit"
	"github.com/keybrake/keybrake-go/internal/fakevendor"
)

// told is all that the SDK has of spans and metrics, as text.
func (w *world) told() string {
	w.t.Helper()
	spans, err := json.Marshal(tracetest.SpanStubsFromReadOnlySpans(w.spans.Ended()))
	if err != nil {
		w.t.Fatal(err)
	}
	metrics, err := json.Marshal(w.metrics())
	if err != nil {
		w.t.Fatal(err)
	}
	return string(spans) + string(metrics)
}

// No credential, no vault key and nothing of what was asked and answered is in a span or a metric.
func TestNothingSecretIsTold(t *testing.T) {
	w := newWorld(t, &otelaudit.Options{Tenants: 10, Agents: 10, Budgets: 10}, nil)
	rt := w.Transport(nil)
	const marked = "zq7secretzq"
	for i, try := range []struct {
		method, path, form string
		header             []string
	}{
		{"POST", "/v1/refunds", "charge=ch_1&amount=100&metadata[note]=" + marked, nil},
		{"POST", "/v1/refunds", "charge=ch_1&amount=100&" + marked + "=1", nil},
		{"POST", "/v1/refunds", "charge=ch_1&amount=100&reason=" + marked, nil},
		{"POST", "/v1/refunds", "charge=ch_1&amount=100", []string{"Idempotency-Key", marked}},
		{"POST", "/v1/refunds", "charge=" + marked + "&amount=100", nil},
		{"GET", "/v1/charges/ch_1?expand[]=" + marked, "", nil},
		{"GET", "/v1/charges/" + marked, "", nil},
		{"GET", "/v1/" + marked, "", nil},
		{marked, "/v1/charges/ch_1", "", nil},
		{"GET", "/v1/charges/ch_1", "", []string{"X-" + marked, marked, "Baggage", "a=" + marked, "Stripe-Account", marked, "User-Agent", marked}},
		{"GET", "/v1/charges/" + w.key.Token(), "", nil},
		{"POST", "/v1/refunds", "charge=ch_1&amount=100&metadata[k]=" + w.key.Token(), nil},
	} {
		if i%3 == 0 {
			w.fake.Misbehave(fakevendor.Fault{PathContains: "/v1/", Kind: fakevendor.Echo, Header: http.Header{"X-Said": {marked}}})
		}
		if i == 4 {
			w.fake.Misbehave(fakevendor.Fault{PathContains: "/v1/refunds", Kind: fakevendor.HTML, Body: "<html>" + marked})
		}
		_, _ = w.send(t.Context(), rt, try.method, try.path, try.form, try.header...)
	}
	req, _ := http.NewRequestWithContext(t.Context(), "GET", "https://"+marked+":pw@"+marked+".test/?"+marked, nil)
	req.Header.Set("Authorization", "Bearer "+stripeSecret)
	_, _ = rt.RoundTrip(req)
	all := w.told()
	if n := len(w.ours()); n != 13 {
		t.Fatalf("%d spans", n)
	}
	for _, secret := range []string{marked, stripeSecret, twilioSecret, w.key.Token(), w.key.Token()[20:60], stripeSecret[10:], "Bearer"} {
		if i := strings.Index(all, secret); i >= 0 {
			t.Errorf("%q is told: %s", secret, all[max(0, i-200):i+50])
		}
	}
}

// Of a record that has everything, what is about people and what was asked is not told, whatever stands there.
func TestWhatIsLeftOutOfARecord(t *testing.T) {
	w := newWorld(t, &otelaudit.Options{Tenants: 10, Agents: 10, Budgets: 10}, nil)
	r := audittest.Full()
	const marked = "zq7secretzq"
	r.Detail, r.Customer, r.Idempotency, r.Credential = marked, marked, marked, marked
	r.Objects, r.Recipients = []string{marked}, []string{marked}
	r.Reasons = []audit.Why{{Param: marked, Budget: marked}}
	ctx := w.sink.Begin(t.Context())
	_ = w.sink.Write(ctx, r)
	w.sink.End(ctx, r)
	if all := w.told(); strings.Contains(all, marked) {
		t.Error(all)
	}
}

// Text of others is whole UTF-8 and not long, wherever it is told: OTLP loses the batch that has other.
func TestHostileTextIsToldWhole(t *testing.T) {
	w := newWorld(t, &otelaudit.Options{Tenants: 10, Agents: 10, Budgets: 10}, nil)
	hostile := "a\xffb\xc3\n\u202e" + strings.Repeat("é", 5000)
	r := audittest.Full()
	r.Kind = audit.Outcome
	for _, field := range []*string{&r.CallID, &r.Reservation, &r.Tenant, &r.Agent, &r.Run, &r.Key, &r.Policy, &r.Tool, &r.Step, &r.Vendor, &r.Operation, &r.Class, &r.Outcome, &r.Flag, &r.VendorRequest, &r.Error} {
		*field = hostile
	}
	r.Labels, r.Reason, r.Verdict = []string{hostile}, "made_up\xff", audit.Verdict(hostile)
	r.Budgets[0].Name = hostile
	r.Actual[0].Currency = "\xff"
	ctx := w.sink.Begin(keybrake.WithCall(t.Context(), keybrake.Call{Tool: hostile}))
	_ = w.sink.Write(ctx, r)
	w.sink.End(ctx, r)
	check := func(name, s string) {
		if !utf8.ValidString(s) || len(s) > 300 {
			t.Errorf("%s is %d bytes, whole: %v", name, len(s), utf8.ValidString(s))
		}
	}
	s := w.ours()[0]
	check("the name", s.Name())
	check("the status", s.Status().Description)
	for name, v := range attributesOf(s) {
		list := v.AsStringSlice() // String would write it in JSON, which is whole
		if list == nil {
			list = []string{v.String()}
		}
		for _, one := range list {
			check(name, one)
		}
	}
	for _, name := range []string{"keybrake.calls"} {
		for set := range points(t, w.metrics()[name]) {
			for _, part := range strings.Split(set, ",") {
				check(name, part)
			}
			if !strings.Contains(set, "keybrake.reason=_OTHER") {
				t.Errorf("a reason that is none of the brake's makes a series of its own: %s", set)
			}
		}
	}
}
