package otelaudit

import (
	"context"
	"strconv"
	"strings"
	"sync"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/keybrake/keybrake-go/audit"
	"github.com/keybrake/keybrake-go/cost"
)

// spanName is that of a call whose operation is not known, and the beginning of all others.
const spanName = "keybrake"

// The events of a span.
const (
	eventLook    = "keybrake.look"    // a look at the vendor, by which the call was priced, is handed to the transport
	eventReserve = "keybrake.reserve" // the call's bound is held
	eventForward = "keybrake.forward" // the call is handed to the transport
	eventSettle  = "keybrake.settle"  // what became of it is booked
)

// A call is the span of one call on its way.
type call struct {
	span trace.Span

	mu       sync.Mutex
	reserved bool
}

// callKey finds a sink's call in a context. Each sink has calls of its own.
type callKey struct{ *Sink }

func (s *Sink) callIn(ctx context.Context) *call {
	c, _ := ctx.Value(callKey{s}).(*call)
	return c
}

// begin starts a span of the kind internal. The brake is no client: of what it refuses nothing was sent, and a call may
// take two requests. The client's span is that of whoever sends, such as otelhttp below.
func (s *Sink) begin(ctx context.Context) context.Context {
	ctx, span := s.tracer.Start(ctx, spanName, trace.WithSpanKind(trace.SpanKindInternal))
	return context.WithValue(ctx, callKey{s}, &call{span: span})
}

// reserved notes the intent of a call: its bound is held by then.
func (s *Sink) reserved(ctx context.Context, r audit.Record) {
	c := s.callIn(ctx)
	if c == nil || r.Kind != audit.Intent || r.Probe {
		return
	}
	c.mu.Lock()
	again := c.reserved
	c.reserved = true
	c.mu.Unlock()
	if !again && c.span.IsRecording() {
		c.span.AddEvent(eventReserve, trace.WithTimestamp(r.Time), trace.WithAttributes(lines(attrReserved, r.Reserved)...))
	}
}

func (s *Sink) forward(ctx, outgoing context.Context) context.Context {
	c := s.callIn(ctx)
	if c == nil {
		return outgoing
	}
	c.mu.Lock()
	event := eventLook
	if c.reserved {
		event = eventForward
	}
	c.mu.Unlock()
	if c.span.IsRecording() {
		c.span.AddEvent(event)
	}
	return trace.ContextWithSpan(outgoing, c.span)
}

func (s *Sink) end(ctx context.Context, r audit.Record) {
	c := s.callIn(ctx)
	if c == nil {
		return
	}
	defer c.span.End()
	if !c.span.IsRecording() {
		return
	}
	if r.Operation != "" {
		c.span.SetName(spanName + " " + text(r.Operation))
	}
	if r.Kind == audit.Outcome {
		settled := append(texts{}.add(attrOutcome, r.Outcome), lines(attrActual, r.Actual)...)
		c.span.AddEvent(eventSettle, trace.WithTimestamp(r.Time), trace.WithAttributes(settled...))
	}
	c.span.SetAttributes(attributes(r)...)
	if failure := errorType(r); failure != "" {
		c.span.SetAttributes(attribute.String(attrErrorType, failure))
		c.span.SetStatus(codes.Error, text(string(r.Reason)))
	}
}

// Attributes are named as the fields of a record are in JSON, but for those of the semantic conventions.
const (
	attrCall          = "keybrake.call"
	attrReservation   = "keybrake.reservation"
	attrTenant        = "keybrake.tenant"
	attrAgent         = "keybrake.agent"
	attrRun           = "keybrake.run"
	attrLabels        = "keybrake.labels"
	attrKey           = "keybrake.key"
	attrPolicy        = "keybrake.policy"
	attrTool          = "keybrake.tool"
	attrStep          = "keybrake.step"
	attrVendor        = "keybrake.vendor"
	attrOperation     = "keybrake.operation"
	attrClass         = "keybrake.class"
	attrVerdict       = "keybrake.verdict"
	attrOutcome       = "keybrake.outcome"
	attrReason        = "keybrake.reason"
	attrReserved      = "keybrake.reserved"
	attrActual        = "keybrake.actual"
	attrHeld          = "keybrake.held"
	attrFlag          = "keybrake.flag"
	attrAttached      = "keybrake.attached"
	attrVendorRequest = "keybrake.vendor_request"
	attrOwnSeconds    = "keybrake.own_seconds"
	attrLedgerSeconds = "keybrake.ledger_seconds"
	attrVendorSeconds = "keybrake.vendor_seconds"
	attrBudget        = "keybrake.budget"
	attrUsedRatio     = "keybrake.used_ratio"

	// On metrics alone.
	attrMeter    = "keybrake.meter"
	attrCurrency = "keybrake.currency"

	// Of the semantic conventions. Method, address and path are not told: records have none, since a path can hold an
	// account or a telephone number.
	attrStatus    = "http.response.status_code"
	attrResent    = "http.request.resend_count"
	attrErrorType = "error.type"
)

// attributes are what a span says of its call. Left out are the fields that quote others or are about people: what was
// asked and answered, objects, recipients, customers and idempotency keys. Who needs them finds the records by the call.
func attributes(r audit.Record) []attribute.KeyValue {
	list := texts{}.
		add(attrCall, r.CallID).
		add(attrReservation, r.Reservation).
		add(attrTenant, r.Tenant).
		add(attrAgent, r.Agent).
		add(attrRun, r.Run).
		add(attrKey, r.Key).
		add(attrPolicy, r.Policy).
		add(attrTool, r.Tool).
		add(attrStep, r.Step).
		add(attrVendor, r.Vendor).
		add(attrOperation, r.Operation).
		add(attrClass, r.Class).
		add(attrVerdict, string(r.Verdict)).
		add(attrOutcome, r.Outcome).
		add(attrReason, string(r.Reason)).
		add(attrFlag, r.Flag).
		add(attrVendorRequest, r.VendorRequest)
	if len(r.Labels) > 0 {
		labels := make([]string, len(r.Labels))
		for i, l := range r.Labels {
			labels[i] = text(l)
		}
		list = append(list, attribute.StringSlice(attrLabels, labels))
	}
	list = append(list, lines(attrReserved, r.Reserved)...)
	list = append(list, lines(attrActual, r.Actual)...)
	list = append(list, lines(attrHeld, r.Held)...)
	if r.Attached {
		list = append(list, attribute.Bool(attrAttached, true))
	}
	if r.Attempt > 1 {
		list = append(list, attribute.Int(attrResent, r.Attempt-1))
	}
	if r.Status != 0 {
		list = append(list, attribute.Int(attrStatus, r.Status))
	}
	if b, ratio, ok := fullest(r.Budgets); ok {
		list = append(list, attribute.String(attrBudget, text(b.Name)), attribute.Float64(attrUsedRatio, ratio))
	}
	return append(list,
		attribute.Float64(attrOwnSeconds, r.OwnDuration.Seconds()),
		attribute.Float64(attrLedgerSeconds, r.LedgerDuration.Seconds()),
		attribute.Float64(attrVendorSeconds, r.VendorDuration.Seconds()),
	)
}

// errorType is why the span is one of an error: what broke, the refusal, a status that the conventions for HTTP clients
// call an error, or that the outcome is not known. Empty: it is none.
func errorType(r audit.Record) string {
	switch {
	case r.Error == audit.ErrorOther:
		return other
	case r.Error != "":
		return text(r.Error)
	case r.Kind == audit.Denied, r.Outcome == audit.OutcomeInDoubt:
		return text(string(r.Reason))
	case r.Status >= 400:
		return strconv.Itoa(r.Status)
	}
	return ""
}

// fullest is the budget of which most is used.
func fullest(all []audit.Budget) (most audit.Budget, ratio float64, ok bool) {
	for _, b := range all {
		if used := usedRatio(b); !ok || used > ratio {
			most, ratio, ok = b, used, true
		}
	}
	return most, ratio, ok
}

// usedRatio is what of a budget is spent or held; above 1 where the vendor took more or the limit was lowered. Of a limit
// of nothing all is used.
func usedRatio(b audit.Budget) float64 {
	if b.Limit <= 0 {
		return 1
	}
	return (float64(b.Spent) + float64(b.Held)) / float64(b.Limit)
}

// texts are attributes of those fields that are set.
type texts []attribute.KeyValue

func (t texts) add(name, value string) texts {
	if value == "" {
		return t
	}
	return append(t, attribute.String(name, text(value)))
}

// lines are amounts for people: "outflow 20.00 USD".
func lines(name string, list []cost.Line) []attribute.KeyValue {
	if len(list) == 0 {
		return nil
	}
	out := make([]string, len(list))
	for i, l := range list {
		out[i] = l.String()
		if l.Meter.Money() {
			out[i] = string(l.Meter) + " " + out[i]
		}
		out[i] = text(out[i])
	}
	return []attribute.KeyValue{attribute.StringSlice(name, out)}
}

// mostText is how long a text may be, in bytes.
const mostText = 256

// text is s as an exporter can send it: whole UTF-8, without which OTLP loses the batch that it is in, and not long.
func text(s string) string {
	if len(s) > mostText {
		s = s[:mostText]
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}
