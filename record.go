package keybrake

import (
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"syscall"
	"time"
	"unicode"

	"github.com/keybrake/keybrake-go/audit"
	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/internal/flight"
	"github.com/keybrake/keybrake-go/ledger"
	"github.com/keybrake/keybrake-go/policy"
	"github.com/keybrake/keybrake-go/reason"
	"github.com/keybrake/keybrake-go/vendors"
)

// write hands a new record to the sink, under the brake's own deadline.
func (b *Brake) write(ctx context.Context, r audit.Record) error {
	return b.put(context.WithoutCancel(ctx), entered(r))
}

// put hands a record that has its id to the sink. After an error it may be given again: a sink that has kept it after
// all has it twice under one id, which readers count once.
func (b *Brake) put(ctx context.Context, r audit.Record) error {
	ctx, cancel := context.WithTimeout(ctx, b.cfg.AuditTimeout)
	defer cancel()
	err := audit.Write(ctx, b.sink, r)
	if err != nil {
		b.herald.sinkTrouble(0)
	}
	return err
}

// entered is r with an id and the time.
func entered(r audit.Record) audit.Record {
	r.Version, r.ID, r.Time = 1, newID("e"), time.Now().UTC()
	return r
}

// recordControl records what was done to keys and budgets.
func (b *Brake) recordControl(ctx context.Context, r audit.Record) error {
	r.Kind = audit.Control
	return b.write(ctx, r)
}

// record is what every record of a call says.
func (a *attempt) record(kind audit.Kind) audit.Record {
	said := callFrom(a.ctx)
	r := audit.Record{
		Kind: kind, CallID: a.id, Verdict: audit.Allow,
		Tool: clip(said.Tool), Step: clip(said.Step),
		Idempotency: a.digest(a.call.Key),
	}
	if c := a.claims; c != nil {
		r.Tenant, r.Agent, r.Run, r.Labels, r.Key = c.Tenant, c.Agent, c.Run, c.labels(), c.name()
		r.Parents, r.Policy = c.parents(), c.named
	}
	if a.vendor != nil {
		r.Vendor = a.vendor.Name
		if a.claims != nil {
			r.Credential = a.ref()
		}
	}
	if len(a.overruled) > 0 {
		r.Verdict, r.Reasons = audit.Observe, a.overruled
	}
	if row := a.call.Operation; row != nil {
		r.Operation, r.Class = row.Name, string(row.Class)
	}
	r.Objects = a.named()
	r.Customer = a.digest(a.customer())
	for _, to := range a.asked.Recipients {
		r.Recipients = append(r.Recipients, a.digest(to))
	}
	for _, s := range a.states {
		r.Budgets = append(r.Budgets, budgetOf(s))
	}
	if a.permit != nil && kind != audit.Denied {
		a.addReservation(&r)
	}
	return r
}

func budgetOf(s ledger.State) audit.Budget {
	return audit.Budget{
		Name: s.Name, Shared: s.Shared, Of: s.Of, Meter: s.Meter, Currency: s.Currency,
		Limit: s.Limit, Spent: s.Spent, Held: s.Held, Left: s.Left(), Reset: s.Reset,
	}
}

// named are the vendor's ids of what the call is about: those in its path, and that of the object that it looked at.
// They are what a person looks up when the reply is lost. Names of the user's choice and telephone numbers are digests.
func (a *attempt) named() []string {
	var ids []string
	for name, id := range a.call.IDs {
		switch {
		case id == a.call.Account:
		case a.call.Personal(name):
			ids = append(ids, a.digest(id))
		default:
			ids = append(ids, clip(id))
		}
	}
	slices.Sort(ids)
	if looked := clip(a.looked); looked != "" && !slices.Contains(ids, looked) {
		ids = append(ids, looked)
	}
	return ids
}

// customer is the vendor's id of the customer that the call is about, where the vendor has such a thing.
func (a *attempt) customer() (id string) {
	if a.vendor == nil || a.vendor.Customer == nil || a.call.Operation == nil {
		return ""
	}
	_ = contain(func() error { id = a.vendor.Customer(a.call); return nil }) // without it the call stays as good
	return id
}

func (a *attempt) addReservation(r *audit.Record) {
	h := a.permit.Hold()
	r.Attached, r.Attempt, r.Rules, r.Rates, r.HoldOf = h.Attached, 1, a.rules, a.rates, clip(h.Object)
	if h.Attached {
		r.Attempt = h.Retries + 1
	}
	if h.ID != a.id {
		r.Reservation = h.ID
	}
	if a.bound.Probe == nil {
		r.Reserved = append(slices.Clone(a.lines), countsCall)
	}
	if h.Attached {
		r.Reserved = []cost.Line{countsCall} // the first attempt holds the money
	}
}

// recordIntent must succeed before a byte leaves.
func (a *attempt) recordIntent() error { return a.must(a.record(audit.Intent)) }

// recordProbe records a look at the vendor: with no landing the intent, which must succeed, else what came.
func (a *attempt) recordProbe(row *vendors.Operation, l *flight.Landing) error {
	r := a.record(audit.Intent)
	r.Probe, r.Operation, r.Class = true, row.Name, string(row.Class)
	if l != nil {
		r.Kind, r.Outcome = audit.Outcome, vendors.NotExecuted.String()
		if l.Err == nil && l.Status >= 200 && l.Status < 300 {
			r.Outcome = vendors.Executed.String()
		}
		r.Status, r.VendorRequest, r.Error = l.Status, a.requestID(*l), a.errorOf(*l)
	}
	return a.must(r)
}

// must refuses a call whose record was not taken.
func (a *attempt) must(r audit.Record) error {
	if err := a.write(a.ctx, r); err != nil {
		a.log().ErrorContext(a.ctx, "keybrake: the audit sink did not take a record", "call", a.id, "kind", string(r.Kind), "error", err)
		return vendors.Refuse(reason.AuditUnavailable, "the audit sink did not take the record, and what cannot be recorded is not forwarded")
	}
	return nil
}

// recordOutcome records what became of a call. It is too late to refuse, so it is tried three times and reported.
func (a *attempt) recordOutcome() {
	r := a.record(audit.Outcome)
	r.Outcome, r.Status, r.VendorRequest, r.Error = a.outcome.String(), a.landing.Status, a.requestID(a.landing), a.errorOf(a.landing)
	r.Actual, r.Held, r.Flag = a.cost.Actual, a.cost.Held, strings.Join(a.flags, ", ")
	if object := a.object(a.cost.Object); object != "" {
		r.HoldOf = clip(object)
	}
	for _, o := range a.cost.Objects {
		if o = clip(o); !slices.Contains(r.Objects, o) {
			r.Objects = append(r.Objects, o)
		}
	}
	if a.outcome == vendors.OutcomeUnknown {
		r.Reason, r.Detail = reason.InDoubt, a.doubt
	}
	a.addDurations(&r)
	r = entered(r)
	a.insist(a.ctx, r)
	a.ended(r)
}

// recordDenial records a refusal, which stands without its record. One that is like others is counted with them; but
// one that comes after an intent is what became of that call, and has a record of its own.
func (a *attempt) recordDenial(d *Denial) {
	if a.permit != nil {
		r := entered(a.denied(d))
		a.insist(a.ctx, r)
		a.seeDenial(d)
		a.ended(r)
		return
	}
	if a.refusals.add(a.ctx, a.likeness(d), func() audit.Record { return a.denied(d) }) {
		a.seeDenial(d)
	}
	if len(a.follow) > 0 {
		a.ended(entered(a.denied(d)))
	}
}

// ended tells those that follow calls that this one is at its end.
func (a *attempt) ended(r audit.Record) {
	for _, f := range a.follow {
		audit.End(a.ctx, f, r)
	}
}

func (a *attempt) denied(d *Denial) audit.Record {
	r := a.record(audit.Denied)
	r.Verdict, r.Reason, r.Detail, r.Reasons, r.Flag = audit.Deny, d.Reason, short(d.Error()), whyNot(a.objector, a.decision), strings.Join(a.flags, ", ")
	if len(r.Reasons) == 0 && d.Budget != "" {
		r.Reasons = a.tooSmall(d)
	}
	r.Error = a.errorOf(a.landing)
	a.addDurations(&r)
	return r
}

// tooSmall are the budgets that do not cover the call, the one that the agent is told of first.
func (a *attempt) tooSmall(d *Denial) []audit.Why {
	list := []audit.Why{{Code: d.Reason, Rule: -1, Budget: d.Budget}}
	for _, s := range a.states {
		switch {
		case s.Name == d.Budget:
			list[0].Of = s.Of
		case len(list) < mostReasons:
			list = append(list, audit.Why{Code: d.Reason, Of: s.Of, Rule: -1, Budget: s.Name})
		}
	}
	return list
}

func (a *attempt) addDurations(r *audit.Record) {
	r.Duration, r.LedgerDuration, r.VendorDuration = time.Since(a.start), a.ledgerFor, a.vendorFor
	r.OwnDuration = r.Duration - r.LedgerDuration - r.VendorDuration
}

// try writes a record that comes too late to refuse its call: up to three times, then it is lost, which is logged.
func (b *Brake) try(ctx context.Context, r audit.Record) { b.insist(ctx, entered(r)) }

func (b *Brake) insist(ctx context.Context, r audit.Record) {
	var err error
	for range 3 {
		if err = b.put(context.WithoutCancel(ctx), r); err == nil {
			return
		}
	}
	b.log().ErrorContext(ctx, "keybrake: a call's record is lost", "call", r.CallID, "kind", string(r.Kind), "operation", r.Operation, "outcome", r.Outcome, "reason", string(r.Reason), "error", err)
}

// digest is a keyed digest of s for records: the same for the same s, and not to be guessed.
func (b *Brake) digest(s string) string {
	if s == "" {
		return ""
	}
	m := hmac.New(sha256.New, b.digestKey())
	_, _ = m.Write([]byte(s))
	return hex.EncodeToString(m.Sum(nil)[:12])
}

// requestID is the vendor's name of the exchange, by which its support finds it.
func (a *attempt) requestID(l flight.Landing) string {
	for _, name := range []string{"Request-Id", "Twilio-Request-Id", "X-Request-Id"} {
		if id := l.Header.Get(name); id != "" {
			return clip(id)
		}
	}
	return ""
}

// errorOf says what kept an answer from coming whole, if anything.
func (a *attempt) errorOf(l flight.Landing) string {
	err := cmp.Or(l.Err, l.Cut)
	var dns *net.DNSError
	var op *net.OpError
	var certificate *tls.CertificateVerificationError
	var alert tls.AlertError
	var timeout net.Error
	switch {
	case err == nil:
		return ""
	case a.cutOff() != nil:
		return audit.ErrorRevoked
	case a.ctx.Err() != nil:
		return audit.ErrorCanceled
	case errors.Is(err, errTooLarge):
		return audit.ErrorTooLarge
	case errors.As(err, &dns):
		return audit.ErrorDNS
	case errors.As(err, &certificate), errors.As(err, &alert), errors.As(err, new(tls.RecordHeaderError)):
		return audit.ErrorTLS
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return audit.ErrorTimeout
	case errors.As(err, &op) && op.Op == "dial":
		return audit.ErrorConnect
	case l.Cut != nil, errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return audit.ErrorIncomplete
	}
	return audit.ErrorOther
}

// clip cuts text that others wrote to what a record may hold of it: 200 bytes of printable characters. It is a copy:
// what is kept of a long text must not keep the whole of it.
func clip(s string) string {
	if len(s) > 200 {
		s = strings.Clone(s[:200])
	}
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == '\uFFFD' {
			return -1
		}
		return r
	}, s)
}

// mostDetail bounds what a record tells of a refusal, in bytes: a name that the agent chose can stand in it.
const mostDetail = 2 << 10

// short is s, or its beginning.
func short(s string) string {
	if len(s) <= mostDetail {
		return s
	}
	return strings.ToValidUTF8(s[:mostDetail], "") + "..."
}

// mostReasons is how many objections a record tells: rules object to each parameter that they do not know, and an agent
// makes up as many as it likes.
const mostReasons = 32

// whyNot are the objections of a decision for the record, the first of them where they are many. of is the narrowed key
// whose rules were asked.
func whyNot(of string, d policy.Decision) (list []audit.Why) {
	for _, why := range d.Reasons[:min(len(d.Reasons), mostReasons)] {
		list = append(list, audit.Why{Code: why.Code, Of: of, Rule: why.Rule, Param: clip(why.Param)})
	}
	return list
}

// statesOf are the budgets that a refusal names.
func statesOf(d *ledger.Denied) []ledger.State {
	states := make([]ledger.State, len(d.Shortfalls))
	for i, s := range d.Shortfalls {
		states[i] = s.State
	}
	return states
}
