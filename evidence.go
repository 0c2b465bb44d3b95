package keybrake

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/keybrake/keybrake-go/audit"
	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/credentials"
	"github.com/keybrake/keybrake-go/ledger"
	"github.com/keybrake/keybrake-go/reason"
	"github.com/keybrake/keybrake-go/vendors"
)

// An item is one reservation that the reconciler has in hand.
type item struct {
	hold   ledger.Hold
	holder string // of its lease

	// recall
	account
	row  *vendors.Operation
	kept trace
	call *vendors.Call

	looked []string // the operations by which it was looked for
}

// An account is whose records at a vendor are read, and with what.
type account struct {
	vendor *vendors.Vendor
	ref    string
	live   bool
	secret vendors.Placement
}

// errSource says that a credential was not to be had just now.
var errSource = errors.New("the source of credentials did not answer")

// recall finds the row of an item's operation, and opens what was kept of its call. An error but errSource will not go
// away by itself: it is for a person.
func (b *Brake) recall(ctx context.Context, it *item) (err error) {
	h := it.hold
	name, _, _ := strings.Cut(h.Operation, ".")
	it.vendor, it.row = b.vendors[name], b.table.Lookup(h.Operation)
	switch {
	case it.row == nil:
		return fmt.Errorf("no vendor of this brake has an operation %s", h.Operation)
	case it.row.Reconcile == nil:
		return fmt.Errorf("%s keeps no records that would tell what became of %s", name, h.Operation)
	}
	if it.ref, it.live, err = labelOf(h.Memo); err != nil {
		return err
	}
	if _, err := b.creds.Get(ctx, it.ref); err != nil && !errors.Is(err, credentials.ErrUnknown) {
		return fmt.Errorf("%w: %s", errSource, it.ref)
	}
	if it.secret, err = b.placement(ctx, it.vendor, it.ref, it.live); err != nil {
		b.log().WarnContext(ctx, "keybrake: no credential to reconcile with", "vendor", name, "reference", it.ref, "error", err)
		return errors.New("the credential that it was sent with cannot be had")
	}
	if it.kept, err = openTrace(it.secret, h.Tenant, h.ID, h.Memo); err != nil {
		return err
	}
	if it.kept.Host == "" {
		return errors.New("the call was too long to be kept, so it cannot be found again")
	}
	it.call = &vendors.Call{
		Operation: it.row, Method: it.row.Method, Host: it.kept.Host, Path: it.kept.Path, IDs: it.kept.IDs,
		Params: it.kept.Params, Header: it.kept.Header, Account: it.secret.Account,
	}
	return nil
}

// question is the item as its row is asked about it. flight is the most that a call takes before it is in doubt.
func (it *item) question(now time.Time, flight time.Duration) *vendors.Case {
	t := it.kept
	// By the clock of the process that made the call, or the ledger's, whichever is behind: a list that is read from a
	// time on would not show a call that was made by a clock that is ahead, and so prove what is not so.
	sent := it.hold.Deadline.Add(-flight)
	if t.Sent.Before(sent) {
		sent = t.Sent
	}
	c := &vendors.Case{
		Call: it.call, Doubt: it.hold.Phase != ledger.Pending, Sent: sent, Ended: it.ended(), Now: now,
		Bound:  vendors.Bound{Kind: t.Kind, Lines: t.Lines, Object: t.Object},
		Booked: t.Booked, Objects: t.Objects,
	}
	if t.Marked {
		c.Mark = it.hold.ID
	}
	return c
}

// ended is when the last attempt of the call had ended, at the latest.
func (it *item) ended() time.Time {
	if it.hold.RetryUntil.After(it.hold.Deadline) {
		return it.hold.RetryUntil
	}
	return it.hold.Deadline
}

// sound is f, or the finding that tells nothing where f cannot be meant: no outcome that there is, or an execution of
// no stated cost, which would give everything back. What was bounded at nothing, such as a cancel, need not state it.
func sound(f vendors.Finding, b vendors.Bound) vendors.Finding {
	stated := append(slices.Clone(f.Cost.Actual), f.Cost.Held...)
	money := func(l cost.Line) bool { return l.Meter.Money() }
	switch f.Outcome {
	case vendors.Executed, vendors.Pending:
		if len(stated) == 0 && len(b.Lines) > 0 || !slices.ContainsFunc(stated, money) && slices.ContainsFunc(b.Lines, money) {
			return vendors.Finding{Why: f.Why + ": it was executed, at a cost that the adapter does not say"}
		}
	case vendors.OutcomeUnknown, vendors.NotExecuted:
	default:
		return vendors.Finding{Why: "the adapter's finding has no outcome that there is"}
	}
	return f
}

// look reads from the vendor what an adapter wants to see; host and header are those of the call that it is about, if
// there is one. It sends GETs of the catalogue that cost nothing, and nothing else. An error says nothing about a call.
func (b *Brake) look(ctx context.Context, at account, l *vendors.Probe, host string, header http.Header) (*vendors.Reply, error) {
	row := b.lookable(at.vendor, l, host)
	if row == nil || row.Preview {
		return nil, errors.New("it is not a read of the catalogue")
	}
	ctx, cancel := context.WithTimeout(ctx, b.cfg.CallTimeout)
	defer cancel()
	credential := func() http.Header { return headersOf(at.secret) }
	landing := clean(at.secret, b.gate.Look(ctx, lookingAt(row, l, host, header, credential)))
	closeRest(landing)
	if landing.Status == http.StatusUnauthorized {
		b.creds.Drop(at.ref)
	}
	switch {
	case landing.Err != nil || landing.Cut != nil:
		return nil, scrubError(at.secret, cmp.Or(landing.Err, landing.Cut))
	case landing.Rest != nil:
		return nil, errTooLarge
	}
	return &vendors.Reply{Status: landing.Status, Header: landing.Header, Body: landing.Body}, nil
}

// reconciled books what was found about a call, on record first. why says what only a person can settle; the hold then
// stands as it was, or in doubt.
func (b *Brake) reconciled(ctx context.Context, it *item, f vendors.Finding, now time.Time) (why string, err error) {
	h := it.hold
	found, err := inBudgets(it.kept.Rates, f.Cost)
	if err != nil {
		return err.Error(), nil
	}
	if f.Outcome == vendors.NotExecuted {
		found.Actual, found.Held = nil, nil
	}
	// As at a settle: a count that no budget counts is lost, and money is not.
	_, strays, err := ledger.Amounts(h.Entries, append(slices.Clone(found.Actual), found.Held...))
	if err == nil && len(strays) > 0 {
		err = fmt.Errorf("no budget of the call counts %v", strays)
	}
	if err != nil {
		return f.Why + ": " + err.Error(), nil
	}
	r := it.record(cmp.Or(f.Why, "the vendor's records tell"))
	r.Outcome, r.Actual, r.Held, r.Flag = f.Outcome.String(), found.Actual, found.Held, found.Flag
	r.HoldOf = clip(objectIn(scope(it.vendor, it.call, it.ref, it.live), found.Object))
	for _, id := range f.Cost.Objects {
		if id = clip(id); !slices.Contains(r.Objects, id) {
			r.Objects = append(r.Objects, id)
		}
	}
	if err := b.write(ctx, r); err != nil {
		return "", fmt.Errorf("the audit sink did not take the record, so nothing is changed: %w", err)
	}
	if f.Outcome == vendors.NotExecuted && h.Phase == ledger.Doubt {
		return "", b.free(ctx, it)
	}
	receipt, err := b.cfg.Ledger.Settle(ctx, h, it.settlement(f, found, now))
	switch {
	case err != nil:
		return "", err
	case len(receipt.Strays) > 0:
		return fmt.Sprintf("%s: no budget of the call counts %v", f.Why, receipt.Strays), nil
	case receipt.Over:
		b.log().ErrorContext(ctx, "keybrake: the vendor took more than its bound; the key is frozen", "operation", h.Operation, "reservation", h.ID, "key", h.Key)
	}
	return "", nil
}

// errRetried says that a call came again between a look and its end, so that what was seen says nothing any more.
var errRetried = errors.New("a retry of it has come meanwhile, which may be at the vendor")

// free gives an item's hold back. The ledger keeps one that a retry has attached to since it was read; then the record
// is put right.
func (b *Brake) free(ctx context.Context, it *item) error {
	if err := b.cfg.Ledger.Release(ctx, it.hold, false); err != nil {
		return err
	}
	now, err := b.cfg.Ledger.Find(ctx, it.hold.Tenant, it.hold.ID)
	if err != nil || now.Phase == ledger.Released {
		return err
	}
	r := it.record("its hold stays: " + errRetried.Error())
	r.Outcome, r.Reason, r.Held = vendors.OutcomeUnknown.String(), reason.InDoubt, b.heldOf(now)
	return errors.Join(errRetried, b.write(ctx, r))
}

// settlement is what was found as the ledger books it.
func (it *item) settlement(f vendors.Finding, found vendors.Settlement, now time.Time) ledger.Settlement {
	s := ledger.Settlement{Phase: ledger.Settled, Actual: found.Actual, Held: found.Held}
	if goesOn(f.Outcome, found) {
		s.Phase = ledger.Pending
		s.Object = objectIn(scope(it.vendor, it.call, it.ref, it.live), found.Object)
		s.Memo = it.kept.with(f.Cost, f.Cost.Actual, now).seal(it.secret, it.hold.Tenant, it.hold.ID, it.ref, it.live)
	}
	return s
}

// record is what every record of a reconciled call says. It shares the call's id.
func (it *item) record(detail string) audit.Record {
	h, t := it.hold, it.kept
	r := audit.Record{
		Kind: audit.Reconciled, CallID: h.ID, Tenant: h.Tenant, Agent: t.Agent, Run: t.Run, Key: h.Key,
		Operation: h.Operation, Objects: slices.Clone(t.Objects), Detail: clip(detail),
	}
	if it.vendor != nil {
		r.Vendor = it.vendor.Name
	}
	if it.row != nil {
		r.Class = string(it.row.Class)
	}
	return r
}
