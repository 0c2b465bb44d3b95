package audit_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"reflect"
	"strings"
	"testing"

	"github.com/keybrake/keybrake-go/audit"
	"github.com/keybrake/keybrake-go/audit/audittest"
	"github.com/keybrake/keybrake-go/reason"
)

func logger(b *bytes.Buffer, level slog.Level) *slog.Logger {
	return slog.New(slog.NewTextHandler(b, &slog.HandlerOptions{Level: level}))
}

func TestSlogLine(t *testing.T) {
	var b bytes.Buffer
	if err := audit.Slog(logger(&b, slog.LevelInfo)).Write(t.Context(), audittest.Full()); err != nil {
		t.Fatal(err)
	}
	want := `time=2026-11-24T23:59:59.123Z level=WARN msg="keybrake outcome" v=1 id=rec_1 call=call_1 reservation=call_0 probe=true count=9999 first=2026-11-24T23:59:50.123Z last=2026-11-24T23:59:59.122Z tenant=acme agent=refund-bot run=run_42 ` +
		`labels="nightly, eu" key=key_1.ab parents=key_1 policy=aa.bb tool=refund_customer step=3 vendor=stripe credential=stripe_live operation=stripe.refunds.create class=outflow verdict=deny outcome=in_doubt ` +
		`reason=in_doubt detail="the reply did not arrive" reasons="param_denied reason of team:support (rule 2 of key_1.ab), max_per_call amount" rules="rule 3 of key_1.ab, rule -1" reserved="outflow 20.00 USD, 1 calls" ` +
		`actual="fee 0.0083 USD" held="outflow 9007199254.740991 USD" rates="EUR = 1.0825 USD" budgets="team:support 3.50 USD left of 500.00 USD" flag="over bound" status=502 ` +
		`vendor_request=req_1 error=timeout hold_of=stripe:0123456789abcdef:pi_1 objects="re_1, ch_1" customer=hmac:2 recipients=hmac:1 idempotency=sha256:1 attached=true attempt=2 duration_ns=1500000000 own_ns=300000 ledger_ns=700000 vendor_ns=1000000000 chain="7 of w1 bb"` + "\n"
	if b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
}

// A field that is added to the record is in the log, under its JSON name.
func TestSlogHasEveryField(t *testing.T) {
	var b bytes.Buffer
	if err := audit.Slog(logger(&b, slog.LevelInfo)).Write(t.Context(), audittest.Full()); err != nil {
		t.Fatal(err)
	}
	for i := range reflect.TypeFor[audit.Record]().NumField() {
		name, _, _ := strings.Cut(reflect.TypeFor[audit.Record]().Field(i).Tag.Get("json"), ",")
		if name != "kind" && !strings.Contains(b.String(), " "+name+"=") && !strings.HasPrefix(b.String(), name+"=") {
			t.Errorf("%s is missing in %s", name, b.String())
		}
	}
	b.Reset()
	if err := audit.Slog(logger(&b, slog.LevelInfo)).Write(t.Context(), audit.Record{Kind: audit.Intent}); err != nil {
		t.Fatal(err)
	}
	if got := b.String(); got != "level=INFO msg=\"keybrake intent\"\n" {
		t.Errorf("the empty record is logged as %q", got)
	}
}

func TestSlogLevels(t *testing.T) {
	for want, records := range map[string][]audit.Record{
		"level=INFO": {{Kind: audit.Intent, Verdict: audit.Allow}, {Kind: audit.Outcome, Outcome: "executed"}, {Kind: audit.Control}},
		"level=WARN": {{Kind: audit.Denied}, {Kind: audit.Intent, Verdict: audit.Deny}, {Kind: audit.Outcome, Outcome: "in_doubt"}, {Kind: audit.Outcome, Flag: "over bound"}},
	} {
		for _, r := range records {
			var b bytes.Buffer
			if err := audit.Slog(logger(&b, slog.LevelDebug)).Write(t.Context(), r); err != nil || !strings.Contains(b.String(), want) {
				t.Errorf("%+v: %v, %s", r, err, b.String())
			}
		}
	}
}

// A record that the logger would drop is an error, not a record.
func TestSlogDropped(t *testing.T) {
	var b bytes.Buffer
	s := audit.Slog(logger(&b, slog.LevelWarn))
	if err := s.Write(t.Context(), audit.Record{Kind: audit.Intent}); err == nil || b.Len() != 0 {
		t.Errorf("got %v, %q", err, b.String())
	}
	if err := s.Write(t.Context(), audit.Record{Kind: audit.Denied}); err != nil {
		t.Error(err)
	}
	if audit.Check(t.Context(), s) == nil {
		t.Error("Check does not see that the logger drops allowed calls")
	}
	if err := audit.Check(t.Context(), audit.Slog(logger(&b, slog.LevelInfo))); err != nil {
		t.Error(err)
	}
}

func TestWhyString(t *testing.T) {
	for want, w := range map[string]audit.Why{
		"operation_denied": {Code: reason.OperationDenied, Rule: -1}, "cost_unknown (rule 0)": {Code: reason.CostUnknown},
		"param_denied reason (rule 3)": {Code: reason.ParamDenied, Rule: 3, Param: "reason"},
	} {
		if got := w.String(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

type failing struct{ slog.Handler }

var errFull = errors.New("full")

func (failing) Handle(context.Context, slog.Record) error { return errFull }

func TestSlogBroken(t *testing.T) {
	var b bytes.Buffer
	s := audit.Slog(slog.New(failing{logger(&b, slog.LevelInfo).Handler()}))
	audittest.RunBroken(t, func() audit.Sink { return s })
	if err := s.Write(t.Context(), audittest.Full()); !errors.Is(err, errFull) {
		t.Errorf("got %v", err)
	}
}

func TestSlogDefault(t *testing.T) {
	old := slog.Default()
	defer slog.SetDefault(old)
	s := audit.Slog(nil)
	var b bytes.Buffer
	slog.SetDefault(logger(&b, slog.LevelInfo)) // after the sink was made
	if err := s.Write(t.Context(), audittest.Full()); err != nil || !strings.Contains(b.String(), "id=rec_1") {
		t.Errorf("got %v, %q", err, b.String())
	}
}

// Text from outside starts no line and acts on no terminal, whatever the handler escapes by itself.
func TestSlogEscapes(t *testing.T) {
	const evil = "a\nb\x1b[2J\u202e\u2028\u009b\xff\U000e0041"
	r := audit.Record{
		Kind: audit.Denied, Step: evil, Agent: evil, Labels: []string{evil}, Objects: []string{evil},
		Reasons: []audit.Why{{Code: reason.ParamDenied, Param: evil}}, Budgets: []audit.Budget{{Name: evil}},
	}
	for name, handler := range map[string]func(*bytes.Buffer) slog.Handler{
		"text": func(b *bytes.Buffer) slog.Handler { return slog.NewTextHandler(b, nil) },
		"JSON": func(b *bytes.Buffer) slog.Handler { return slog.NewJSONHandler(b, nil) },
	} {
		var b bytes.Buffer
		if err := audit.Slog(slog.New(handler(&b))).Write(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		//lint:ignore SA1011 the byte 0xff is looked for as what it is, invalid UTF-8
		if got := strings.TrimSuffix(b.String(), "\n"); strings.ContainsAny(got, "\n\x1b\u202e\u2028\u009b\xff\U000e0041") || strings.Count(got, "[2J") != 6 {
			t.Errorf("%s: %q", name, got)
		}
	}
}
