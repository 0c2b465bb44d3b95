package audit

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"
	"unicode"

	"github.com/keybrake/keybrake-go/cost"
)

// Slog returns a sink that writes each record to l's handler as one entry: at level Warn when the call was
// refused, is in doubt or is flagged, at Info otherwise. Nil l is slog.Default at the time of each record. The
// attributes are flat and named as in the JSON form; lists are one string each, and amounts are for people
// ("20.00 USD"). Characters that a terminal would act upon are escaped.
//
// A handler that is not enabled for the level drops the record, so Write fails instead: an allowed call is not
// forwarded under a logger that keeps only warnings. Wrap the sink in [InsecureBestEffort] if that is wanted.
func Slog(l *slog.Logger) Sink { return logged{l} }

type logged struct{ l *slog.Logger }

func (s logged) handler() slog.Handler {
	if s.l == nil {
		return slog.Default().Handler()
	}
	return s.l.Handler()
}

func (s logged) Write(ctx context.Context, r Record) error {
	h, level := s.handler(), r.level()
	if !h.Enabled(ctx, level) {
		return fmt.Errorf("audit: the logger drops entries of level %s, so the record would be lost", level)
	}
	entry := slog.NewRecord(r.Time, level, "keybrake "+clean(string(r.Kind)), 0)
	entry.AddAttrs(r.attrs()...)
	if err := h.Handle(ctx, entry); err != nil {
		return fmt.Errorf("audit: logging a record: %w", err)
	}
	return nil
}

// Check fails when the logger would drop the records of allowed calls.
func (s logged) Check(ctx context.Context) error {
	if !s.handler().Enabled(ctx, slog.LevelInfo) {
		return fmt.Errorf("audit: the logger drops entries of level %s, which are the records of allowed calls", slog.LevelInfo)
	}
	return nil
}

func (r Record) level() slog.Level {
	if r.Kind == Denied || r.Verdict == Deny || r.Outcome == OutcomeInDoubt || r.Flag != "" {
		return slog.LevelWarn
	}
	return slog.LevelInfo
}

// attrs are the record's fields that are set, in the order of the struct.
func (r Record) attrs() []slog.Attr {
	var a attrs
	a.number("v", int64(r.Version))
	a.text("id", r.ID)
	a.text("call", r.CallID)
	a.text("reservation", r.Reservation)
	a.truth("probe", r.Probe)
	a.number("count", r.Count)
	a.time("first", r.First)
	a.time("last", r.Last)
	a.text("tenant", r.Tenant)
	a.text("agent", r.Agent)
	a.text("run", r.Run)
	a.text("labels", r.Labels...)
	a.text("key", r.Key)
	a.text("parents", r.Parents...)
	a.text("policy", r.Policy)
	a.text("tool", r.Tool)
	a.text("step", r.Step)
	a.text("vendor", r.Vendor)
	a.text("credential", r.Credential)
	a.text("operation", r.Operation)
	a.text("class", r.Class)
	a.text("verdict", string(r.Verdict))
	a.text("outcome", r.Outcome)
	a.text("reason", string(r.Reason))
	a.text("detail", r.Detail)
	a.text("reasons", each(r.Reasons, Why.String)...)
	a.text("rules", each(r.Rules, Rule.String)...)
	a.text("reserved", each(r.Reserved, lineText)...)
	a.text("actual", each(r.Actual, lineText)...)
	a.text("held", each(r.Held, lineText)...)
	a.text("rates", each(r.Rates, rateText)...)
	a.text("budgets", each(r.Budgets, Budget.String)...)
	a.text("flag", r.Flag)
	a.number("status", int64(r.Status))
	a.text("vendor_request", r.VendorRequest)
	a.text("error", r.Error)
	a.text("hold_of", r.HoldOf)
	a.text("objects", r.Objects...)
	a.text("customer", r.Customer)
	a.text("recipients", r.Recipients...)
	a.text("idempotency", r.Idempotency)
	a.truth("attached", r.Attached)
	a.number("attempt", int64(r.Attempt))
	a.number("duration_ns", int64(r.Duration))
	a.number("own_ns", int64(r.OwnDuration))
	a.number("ledger_ns", int64(r.LedgerDuration))
	a.number("vendor_ns", int64(r.VendorDuration))
	if l := r.Chain; l != nil {
		a.text("chain", fmt.Sprintf("%d of %s %s", l.N, l.Writer, l.Hash))
	}
	return a
}

type attrs []slog.Attr

func (a *attrs) text(name string, values ...string) {
	if s := strings.Join(values, ", "); s != "" {
		*a = append(*a, slog.String(name, clean(s)))
	}
}

func (a *attrs) number(name string, n int64) {
	if n != 0 {
		*a = append(*a, slog.Int64(name, n))
	}
}

func (a *attrs) time(name string, t time.Time) {
	if !t.IsZero() {
		*a = append(*a, slog.Time(name, t))
	}
}

func (a *attrs) truth(name string, is bool) {
	if is {
		*a = append(*a, slog.Bool(name, true))
	}
}

func each[E any](list []E, text func(E) string) []string {
	out := make([]string, len(list))
	for i, e := range list {
		out[i] = text(e)
	}
	return out
}

func lineText(l cost.Line) string {
	if l.Meter.Money() {
		return string(l.Meter) + " " + l.String()
	}
	return l.String()
}

func rateText(r cost.Rate) string { return fmt.Sprintf("%s = %s %s", r.From, r.Value, r.To) }

// String is the rule for people: "rule 2 of key_1.ab".
func (r Rule) String() string {
	if r.Of == "" {
		return fmt.Sprintf("rule %d", r.Rule)
	}
	return fmt.Sprintf("rule %d of %s", r.Rule, r.Of)
}

// String is the objection for people: "param_denied reason (rule 0)".
func (w Why) String() string {
	s := string(w.Code)
	if w.Param != "" {
		s += " " + w.Param
	}
	if w.Budget != "" {
		s += " of " + w.Budget
	}
	switch {
	case w.Rule >= 0:
		s += fmt.Sprintf(" (%s)", Rule{w.Of, w.Rule})
	case w.Of != "":
		s += " (" + w.Of + ")"
	}
	return s
}

// String is the budget for people: "team:support 3.50 USD left of 500.00 USD".
func (b Budget) String() string {
	return fmt.Sprintf("%s %s left of %s", b.Name, cost.Format(b.Left, b.Currency, b.Meter), cost.Format(b.Limit, b.Currency, b.Meter))
}

// clean escapes what a terminal would act upon, as the JSON form does.
func clean(s string) string {
	if strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsGraphic(r) }) {
		return string(escape([]byte(s)))
	}
	return s
}
