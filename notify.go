package keybrake

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/keybrake/keybrake-go/audit"
	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/ledger"
)

// An AlerterConfig says whose events an [Alerter] tells, and to whom. Tenants and Notifier have to be given; the rest has
// defaults.
type AlerterConfig struct {
	Tenants  []string       // whose events; those of no tenant, which are the audit sink's, are always among them
	Notifier audit.Notifier // is told; audit.Webhook, audit.NotifySlog or one's own

	Every   time.Duration // between two passes of Run. Default: 10 s
	Timeout time.Duration // for telling one event. Default: 1 min

	// InDoubt is how long after its time was over a call may be in doubt before somebody is told. The time of a call is over
	// some minutes after its reserve, by when it has returned in any case. Default: 1 h
	InDoubt time.Duration

	// Waiting says how many records wait to be delivered: the Waiting of an outbox under Config.Audit. Where some do in two
	// passes, one after the other, that is told as sink trouble. Default: nobody is asked
	Waiting func() int

	Now func() time.Time // for tests. Default: time.Now
}

// An Alerter tells a [audit.Notifier] of the events that are stored in the ledger: what is listed under the kinds of
// [audit.Event]. Each is stored once, whichever processes have seen it, and told at least once, by one of all alerters that
// share the ledger, with an ID by which to know it: it is taken out of the ledger when the notifier has returned nil, so that
// the next alerter takes up what one that was killed has left.
//
// What cannot be told is tried again without end, after half a minute at first and after an hour at most, and keeps nothing
// else from being told. After three failures in a row a pass ends, and the passes of Run become fewer, down to one in five
// minutes: a receiver that is down is not flooded. Of a tenant's events that wait, the ledger keeps the newest ten thousand.
type Alerter struct {
	b      *Brake
	c      AlerterConfig
	leases ledger.Leaser
	calls  chan struct{} // holds a token for each call of the notifier that has not returned

	// These are of the one pass that is under way.
	turn    chan struct{}
	doubts  map[sight]bool      // that are stored
	later   map[sight]time.Time // when those that another has, or that failed, may be looked at again
	waiting bool                // records waited in the last pass
}

// A Delivery is what a pass of an [Alerter] did.
type Delivery struct {
	Waiting int // events that were listed
	Told    int
	Others  int // not due yet, or in the hands of another alerter
	Failed  int // could not be told, or not be taken out; they are tried again
}

const (
	mostInARow   = 3 // failures after which a pass ends
	mostHanging  = 4 // calls of a notifier that do not return, after which it is not called any more
	leastBackoff = 30 * time.Second
	mostBackoff  = time.Hour
	mostRest     = 5 * time.Minute // between two passes of Run
)

// Alerter makes an alerter for c.Tenants.
func (b *Brake) Alerter(c AlerterConfig) (*Alerter, error) {
	leases, ok := b.cfg.Ledger.(ledger.Leaser)
	errs := []error{}
	if !ok {
		errs = append(errs, errors.New("this ledger gives no leases, so two alerters would tell everything twice; use one that is a ledger.Leaser"))
	}
	if c.Notifier == nil {
		errs = append(errs, errors.New("AlerterConfig.Notifier is nil, so nobody would be told"))
	}
	if len(c.Tenants) == 0 {
		errs = append(errs, errors.New("AlerterConfig.Tenants is empty, so nothing would be told"))
	}
	for _, t := range c.Tenants {
		errs = append(errs, checkName("AlerterConfig.Tenants", t))
	}
	if min(c.Every, c.Timeout, c.InDoubt) < 0 {
		errs = append(errs, errors.New("a duration in AlerterConfig is negative"))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("keybrake: alerter: %w", err)
	}
	c.Tenants = append(slices.Clone(c.Tenants), "")
	c.Every, c.Timeout, c.InDoubt = cmp.Or(c.Every, 10*time.Second), cmp.Or(c.Timeout, time.Minute), cmp.Or(c.InDoubt, time.Hour)
	if c.Now == nil {
		c.Now = time.Now
	}
	return &Alerter{
		b: b, c: c, leases: leases, calls: make(chan struct{}, mostHanging), turn: make(chan struct{}, 1), later: map[sight]time.Time{},
	}, nil
}

// Run makes a pass every so often until ctx ends, and returns its cause. What fails is in the log and is tried again.
//
//	go func() { log.Print(alerter.Run(ctx)) }()
func (a *Alerter) Run(ctx context.Context) error {
	for rest := a.c.Every; ; {
		d, err := a.Pass(ctx)
		if err != nil && ctx.Err() == nil {
			a.b.log().ErrorContext(ctx, "keybrake: a pass of the alerter failed in part; the next one tries again", "error", err)
		}
		rest = min(2*rest, max(mostRest, a.c.Every))
		if d.Failed == 0 || d.Told > 0 {
			rest = a.c.Every
		}
		if err := sleep(ctx, rest); err != nil {
			return err
		}
	}
}

// Pass tells once everything that is due, for a cron job or a command. An error names what could not be told; the rest was,
// unless three failed in a row. One pass of an Alerter is under way at a time.
func (a *Alerter) Pass(ctx context.Context) (Delivery, error) {
	select {
	case a.turn <- struct{}{}:
		defer func() { <-a.turn }()
	case <-ctx.Done():
		return Delivery{}, context.Cause(ctx)
	}
	d := &delivery{Alerter: a, ctx: ctx}
	d.sink()
	var doubts, listed = map[sight]bool{}, map[sight]bool{}
	for _, tenant := range a.c.Tenants {
		if tenant != "" {
			d.inDoubt(tenant, doubts)
		}
		d.list(tenant, listed)
	}
	d.tell()
	a.doubts = doubts
	for s := range a.later {
		if !listed[s] {
			delete(a.later, s)
		}
	}
	return d.Delivery, errors.Join(append(d.errs, context.Cause(ctx))...)
}

// A delivery is one pass.
type delivery struct {
	Delivery
	*Alerter
	ctx   context.Context
	due   []untold
	inRow int // failures since the last event was told
	errs  []error
}

// An untold event waits in the ledger.
type untold struct {
	sight
	alert ledger.Alert
}

// failed notes what could not be done. The next pass tries again.
func (d *delivery) failed(format string, args ...any) {
	d.Failed++
	d.errs = append(d.errs, fmt.Errorf("keybrake: alerter: "+format, args...))
}

// short is for one step at the ledger. What was begun at the end of a pass is brought to its end.
func (d *delivery) short() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(d.ctx), d.b.cfg.LedgerTimeout)
}

// sink looks whether records wait, and waits itself until what the brake has seen is stored.
func (d *delivery) sink() {
	if d.c.Waiting != nil {
		n := d.c.Waiting()
		if n > 0 && d.waiting {
			d.b.herald.sinkTrouble(int64(n))
		}
		d.waiting = n > 0
	}
	ctx, cancel := d.short()
	defer cancel()
	_ = d.b.herald.close(ctx) // else the next pass tells it
}

// inDoubt stores an alert for each call that is in doubt for too long, if it has none yet.
func (d *delivery) inDoubt(tenant string, doubts map[sight]bool) {
	ctx, cancel := d.short()
	holds, err := d.b.cfg.Ledger.InDoubt(ctx, tenant)
	cancel()
	if err != nil {
		d.failed("the calls in doubt of tenant %s: %w", tenant, err)
		return
	}
	for _, h := range holds {
		s := sight{tenant, "in_doubt " + h.ID}
		held := d.b.heldOf(h)
		if len(held) == 0 || d.c.Now().Sub(h.Deadline) < d.c.InDoubt {
			continue // what holds nothing is nothing that a person has to look for
		}
		if doubts[s] = true; d.doubts[s] {
			continue
		}
		agent, run := madeBy(h)
		m := memo{Agent: agent, Run: run, Operation: h.Operation, Held: held, Since: h.Deadline.UTC()}
		ctx, cancel := d.short()
		err := d.b.cfg.Ledger.Alert(ctx, tenant, ledger.Alert{ID: s.id, Kind: alertDoubt, Key: h.Key, Hold: h.ID, Memo: m.text()})
		cancel()
		if err != nil {
			delete(doubts, s)
			d.failed("%s: %w", h.ID, err)
			return // the others are stored in the next pass
		}
	}
}

// list adds what waits in a tenant, oldest first.
func (d *delivery) list(tenant string, listed map[sight]bool) {
	ctx, cancel := d.short()
	alerts, err := d.b.cfg.Ledger.Alerts(ctx, tenant)
	cancel()
	if err != nil {
		d.failed("the events of tenant %q: %w", tenant, err)
		return
	}
	d.Waiting += len(alerts)
	for _, alert := range alerts {
		s := sight{tenant, alert.ID}
		listed[s] = true
		d.due = append(d.due, untold{s, alert})
	}
}

// tell tells what waits: first what was never tried, then what was to be tried again the longest ago. A pass ends after a few
// failures, so that else events which nobody takes would keep those behind them for ever, whosesoever they are.
func (d *delivery) tell() {
	slices.SortStableFunc(d.due, func(x, y untold) int { return d.later[x.sight].Compare(d.later[y.sight]) })
	for _, e := range d.due {
		switch {
		case d.ctx.Err() != nil || d.inRow == mostInARow:
		case d.c.Now().Before(d.later[e.sight]):
			d.Others++
		default:
			d.one(e.sight, e.alert)
		}
	}
}

// one tells one event, if it is this pass's to tell.
func (d *delivery) one(s sight, alert ledger.Alert) {
	holder := newID("h")
	mine, err := d.lease(s, holder, d.c.Timeout+2*d.b.cfg.LedgerTimeout)
	switch {
	case err != nil:
		d.inRow++
		d.failed("lease: %w", err)
		return
	case !mine:
		d.Others++
		d.later[s] = d.c.Now().Add(leastBackoff / 2)
		return
	}
	event, err := d.event(s.tenant, alert)
	if err == nil {
		err = d.notify(event)
	}
	switch {
	case err != nil && d.ctx.Err() != nil:
		_, _ = d.lease(s, holder, 0) // the next pass takes it up
	case err != nil:
		d.inRow++
		d.failed("%s of tenant %q is not told: %w", event.ID, s.tenant, err)
		again := min(max(d.c.Now().Sub(alert.At)/2, leastBackoff), mostBackoff)
		d.later[s] = d.c.Now().Add(again)
		_, _ = d.lease(s, holder, again)
	default:
		d.inRow = 0
		d.done(s)
	}
}

// notify gives an event to the notifier, unless that hangs in too many already.
func (d *delivery) notify(e audit.Event) error {
	select {
	case d.calls <- struct{}{}:
	default:
		return fmt.Errorf("the notifier hangs in %d earlier calls", mostHanging)
	}
	ctx, cancel := context.WithTimeout(d.ctx, d.c.Timeout)
	defer cancel()
	return audit.Notify(ctx, d.c.Notifier, e, func() { <-d.calls })
}

// done takes out what was told. The lease stays until it ends: another alerter may have listed the event before.
func (d *delivery) done(s sight) {
	var err error
	for range 3 {
		ctx, cancel := d.short()
		err = d.b.cfg.Ledger.Acknowledge(ctx, s.tenant, s.id)
		cancel()
		if err == nil {
			d.Told++
			return
		}
	}
	d.failed("an event was told and stays, so that it will be told again: %w", err)
}

// lease takes, prolongs or gives up an event.
func (d *delivery) lease(s sight, holder string, span time.Duration) (bool, error) {
	ctx, cancel := d.short()
	defer cancel()
	return d.leases.Lease(ctx, s.tenant, "alert:"+s.id, holder, span)
}

// madeBy is who has made the call of a reservation.
func madeBy(h ledger.Hold) (agent, run string) {
	for _, name := range h.Controls {
		if a, ok := strings.CutPrefix(name, "agent:"); ok {
			agent = a
		}
		if r, ok := strings.CutPrefix(name, "run:"); ok {
			run = r
		}
	}
	return agent, run
}

// eventID is the same in every process. Ids of alerts are a tenant's own.
func eventID(tenant, alert string) string { return "ev_" + digest("event", tenant, alert)[:32] }

// event is what is told of an alert.
func (d *delivery) event(tenant string, alert ledger.Alert) (audit.Event, error) {
	e := audit.Event{
		Version: 1, ID: eventID(tenant, alert.ID), Kind: audit.EventKind(alert.Kind), Time: alert.At.UTC(),
		Tenant: tenant, Key: alert.Key, CallID: alert.Hold,
	}
	switch alert.Kind {
	case ledger.AlertThreshold:
		budget := budgetOf(alert.State)
		e.Kind, e.Percent, e.Budget = audit.BudgetThreshold, alert.Percent, &budget
	case ledger.AlertOverrun:
		budget := budgetOf(alert.State)
		e.Kind, e.Budget, e.Excess = audit.Overrun, &budget, &cost.Line{Meter: budget.Meter, Currency: budget.Currency, Amount: alert.Excess}
	case ledger.AlertFrozen:
		e.Kind = audit.KeyFrozen
	default:
		var m memo
		if err := json.Unmarshal([]byte(alert.Memo), &m); err != nil {
			return e, errors.New("its row in the ledger is damaged")
		}
		e.Agent, e.Run, e.Operation, e.Reason, e.Budget = m.Agent, m.Run, m.Operation, m.Reason, m.Budget
		e.Held, e.Since, e.Waiting = m.Held, m.Since, m.Waiting
	}
	if e.Kind == audit.Overrun || e.Kind == audit.KeyFrozen {
		ctx, cancel := d.short()
		defer cancel()
		h, err := d.b.cfg.Ledger.Find(ctx, tenant, alert.Hold)
		if err != nil && !errors.Is(err, ledger.ErrNoHold) {
			return e, err
		}
		e.Operation = h.Operation
		e.Agent, e.Run = madeBy(h)
	}
	e.Text = sentence(e)
	return e, nil
}

// sentence is the text of an event.
func sentence(e audit.Event) string {
	switch e.Kind {
	case audit.BudgetThreshold:
		s := fmt.Sprintf("budget %q has used %d %% of its limit: %s", e.Budget.Name, e.Percent, strings.TrimPrefix(e.Budget.String(), e.Budget.Name+" "))
		if !e.Budget.Reset.IsZero() {
			s += "; it resets " + e.Budget.Reset.UTC().Format(time.RFC3339)
		}
		return s
	case audit.FirstDenial:
		s := fmt.Sprintf("run %s of agent %s was refused for the first time: %s", e.Run, e.Agent, e.Reason)
		if e.Operation != "" {
			s += " of " + e.Operation
		}
		if e.Budget != nil {
			s += ", budget " + e.Budget.String()
		}
		return s
	case audit.StillInDoubt:
		return fmt.Sprintf("what became of %s is not known since %s; %s counts until somebody has found out", e.Operation, e.Since.Format(time.RFC3339), amounts(e.Held))
	case audit.Overrun:
		return fmt.Sprintf("%s has cost %s more than was held; it is booked in full, budget %s", e.Operation, e.Excess, e.Budget)
	case audit.KeyFrozen:
		return fmt.Sprintf("vault key %s is stopped, because %s has cost more than was held, until somebody resumes it", e.Key, e.Operation)
	case audit.SinkTrouble:
		if e.Waiting > 0 {
			return fmt.Sprintf("%d records wait for the audit sink; the log says why", e.Waiting)
		}
		return "the audit sink did not take a record, and no call is forwarded that it does not take; the log says why"
	}
	return string(e.Kind)
}

func amounts(lines []cost.Line) string {
	if len(lines) == 0 {
		return "nothing"
	}
	list := make([]string, len(lines))
	for i, l := range lines {
		list[i] = l.String()
	}
	return strings.Join(list, " and ")
}
