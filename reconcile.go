package keybrake

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/ledger"
	"github.com/keybrake/keybrake-go/reason"
	"github.com/keybrake/keybrake-go/vendors"
)

// A ReconcilerConfig says what a [Reconciler] looks after. Tenants has to be given; the rest has defaults.
type ReconcilerConfig struct {
	Tenants []string // whose calls

	Every  time.Duration // between two passes of Run. Default: 1 min
	Pace   time.Duration // between two looks at one account of a vendor. Default: 500 ms
	GiveUp time.Duration // how old a call may get before a person is told. Default: 72 h

	// Gap lies between the two times that a call has to be missing from the vendor's complete list before it counts as not
	// executed, and between the end of its last attempt and the first of them. Default: 1 min
	Gap time.Duration

	// Person is told what only a person can decide, once a day for each call until somebody has (see [Brake.Resolve]). It
	// also stands in the record.
	Person func(context.Context, Unresolved)

	// Progress is called after every item of a pass.
	Progress func(Progress)

	Now func() time.Time // for tests. Default: time.Now
}

// A Reconciler finds out at the vendors what became of calls in doubt, and what calls did cost in the end whose price
// was not final when they were answered. It only reads; what it finds is booked and on record. It never sends a call
// again, unless [Config.InsecureResend] is set.
//
// Many may run at once, in one process or several, and one that is stopped is taken up by the next: what was looked at,
// and when it is due again, stands in the ledger as leases, and each call is handled by one of them at a time.
type Reconciler struct {
	b      *Brake
	c      ReconcilerConfig
	leases ledger.Leaser

	mu   sync.Mutex
	next map[string]time.Time // when each credential's account may be looked at again
}

// An Unresolved is a call whose end the vendor's records do not tell, with all that is known of it.
type Unresolved struct {
	Hold    ledger.Hold // what it holds and who made it
	Agent   string      // this and all that follows but Held and Why is empty where nothing was kept of the call
	Run     string
	Sent    time.Time
	Mark    string      // that its object at the vendor carries; empty without one
	Objects []string    // the vendor's ids by which it may be found
	Looked  []string    // the operations by which it was looked for, in order
	Held    []cost.Line // what counts until somebody decides
	Why     string      // why the vendor's records do not tell
}

// A Progress is how far a pass has come.
type Progress struct {
	Open    int // reservations that are in doubt or not final
	Done    int // of these, how many this pass is through with
	Others  int // not due yet, or in the hands of another reconciler
	Looks   int // requests to vendors
	Settled int // the cost is final now
	Pending int // executed; the cost is not final
	Freed   int // proven not to have been executed
	Waiting int // not to be told yet
	Persons int // left to a person
	Failed  int // could not be handled; the next pass tries again
}

// Reconciler makes a reconciler for c.Tenants.
func (b *Brake) Reconciler(c ReconcilerConfig) (*Reconciler, error) {
	leases, ok := b.cfg.Ledger.(ledger.Leaser)
	errs := []error{}
	if !ok {
		errs = append(errs, errors.New("this ledger gives no leases, so two reconcilers would do everything twice; use one that is a ledger.Leaser"))
	}
	if len(c.Tenants) == 0 {
		errs = append(errs, errors.New("ReconcilerConfig.Tenants is empty, so nothing would be looked after"))
	}
	for _, t := range c.Tenants {
		errs = append(errs, checkName("ReconcilerConfig.Tenants", t))
	}
	if min(c.Every, c.Pace, c.GiveUp, c.Gap) < 0 {
		errs = append(errs, errors.New("a duration in ReconcilerConfig is negative"))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("keybrake: reconciler: %w", err)
	}
	c.Tenants = slices.Clone(c.Tenants)
	c.Every, c.Pace = cmp.Or(c.Every, time.Minute), cmp.Or(c.Pace, 500*time.Millisecond)
	c.GiveUp, c.Gap = cmp.Or(c.GiveUp, 72*time.Hour), cmp.Or(c.Gap, time.Minute)
	if c.Now == nil {
		c.Now = time.Now
	}
	return &Reconciler{b: b, c: c, leases: leases, next: map[string]time.Time{}}, nil
}

// Run makes a pass every so often until ctx ends, and returns its cause. What fails is in the log and is tried again.
//
//	go func() { log.Print(reconciler.Run(ctx)) }()
func (r *Reconciler) Run(ctx context.Context) error {
	for {
		if _, err := r.Pass(ctx); err != nil && ctx.Err() == nil {
			r.b.log().ErrorContext(ctx, "keybrake: a pass of the reconciler failed in part; the next one tries again", "error", err)
		}
		if err := sleep(ctx, r.c.Every); err != nil {
			return err
		}
	}
}

// Pass looks once at everything that is due, for a cron job or a command. An error names what could not be handled;
// the rest was.
func (r *Reconciler) Pass(ctx context.Context) (Progress, error) {
	p := &pass{Reconciler: r, ctx: ctx}
	var missing []*item
	for _, h := range p.open() {
		if ctx.Err() != nil {
			break
		}
		if it := p.take(h); it != nil && p.handle(it) {
			missing = append(missing, it)
		}
		p.progress.Done++
		if r.c.Progress != nil {
			r.c.Progress(p.progress)
		}
	}
	p.lookAgain(missing)
	return p.progress, errors.Join(append(p.errs, context.Cause(ctx))...)
}

// A pass is one time through all that is open.
type pass struct {
	*Reconciler
	ctx      context.Context
	progress Progress
	errs     []error
}

// failed notes what could not be handled. The next pass tries again.
func (p *pass) failed(format string, args ...any) {
	p.progress.Failed++
	p.errs = append(p.errs, fmt.Errorf("keybrake: reconcile: "+format, args...))
}

// open lists what is in doubt or not final, by the ledger's clock.
func (p *pass) open() []ledger.Hold {
	var open []ledger.Hold
	for _, tenant := range p.c.Tenants {
		ctx, cancel := p.short()
		doubtful, err := p.b.cfg.Ledger.InDoubt(ctx, tenant)
		var all []ledger.Hold
		if err == nil {
			all, err = p.b.cfg.Ledger.Unsettled(ctx, tenant)
		}
		cancel()
		if err != nil {
			p.failed("the open calls of tenant %s: %w", tenant, err)
			continue
		}
		open = append(open, doubtful...)
		for _, h := range all {
			if h.Phase == ledger.Pending {
				open = append(open, h)
			}
		}
	}
	p.progress.Open = len(open)
	return open
}

// short is for a step of ledger and record. What was begun at the end of a pass is brought to its end.
func (p *pass) short() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(p.ctx), 2*p.b.cfg.LedgerTimeout+p.b.cfg.AuditTimeout)
}

// take leases a reservation and recalls its call; nil when it is not this pass's to handle.
func (p *pass) take(h ledger.Hold) *item {
	it := &item{hold: h, holder: newID("h")}
	mine, err := p.lease(it, leaseFor)
	switch {
	case err != nil:
		p.failed("%s: lease: %w", h.ID, err)
		return nil
	case !mine:
		p.progress.Others++
		return nil
	}
	if until := h.RetryUntil.Sub(p.c.Now()); until > 0 {
		p.wait(it, until) // a retry of it may be at the vendor
		return nil
	}
	ctx, cancel := p.short()
	defer cancel()
	if it.hold, err = p.b.doubted(ctx, h.Tenant, h.ID); err != nil {
		p.progress.Others++ // a call, a person or another pass has been quicker
		_, _ = p.lease(it, 0)
		return nil
	}
	switch err := p.b.recall(p.ctx, it); {
	case errors.Is(err, errSource):
		p.failed("%s: %w", h.ID, err)
		p.put(it, p.c.Every)
		return nil
	case err != nil:
		p.tellPerson(it, err.Error())
		return nil
	}
	if due := it.kept.Due.Sub(p.c.Now()); it.hold.Phase == ledger.Pending && due > 0 {
		p.wait(it, due)
		return nil
	}
	return it
}

// leaseFor is longer than any one item should take. One that takes longer may be handled twice, and is booked once.
const leaseFor = 10 * time.Minute

// lease takes, prolongs or gives up an item.
func (p *pass) lease(it *item, d time.Duration) (bool, error) {
	ctx, cancel := p.short()
	defer cancel()
	return p.leases.Lease(ctx, it.hold.Tenant, "reconcile:"+it.hold.ID, it.holder, d)
}

// wait keeps an item from every reconciler for d.
func (p *pass) wait(it *item, d time.Duration) {
	p.progress.Waiting++
	p.put(it, d)
}

func (p *pass) put(it *item, d time.Duration) {
	if _, err := p.lease(it, d); err != nil {
		p.b.log().WarnContext(p.ctx, "keybrake: a lease was not prolonged; its call may be looked at early", "reservation", it.hold.ID, "error", err)
	}
}

// backoff is how long to wait before the next look at an item: half its age, within bounds.
func (p *pass) backoff(it *item) time.Duration {
	return min(max(p.age(it)/2, 30*time.Second), 6*time.Hour)
}

func (p *pass) age(it *item) time.Duration { return p.c.Now().Sub(it.kept.Sent) }

// handle finds out what it can and books it. It reports whether the call is missing at the vendor, so that it has to be
// looked for once more.
func (p *pass) handle(it *item) (missing bool) {
	f, err := p.investigate(it)
	if err == nil && f.Outcome == vendors.OutcomeUnknown && it.hold.Phase == ledger.Doubt && it.kept.Again != nil && p.age(it) <= p.b.cfg.InsecureResend {
		f, err = p.sendAgain(it)
	}
	switch {
	case err != nil && p.ctx.Err() != nil:
		p.failed("%s: %w", it.hold.ID, err)
		p.put(it, 0) // the next pass takes it up
	case err != nil && p.age(it) > p.c.GiveUp:
		p.failed("%s: %w", it.hold.ID, err)
		p.tellPerson(it, "the vendor could not be asked; the log says why")
	case err != nil:
		p.failed("%s: %w", it.hold.ID, err)
		p.put(it, p.backoff(it))
	case f.Outcome != vendors.OutcomeUnknown:
		p.conclude(it, f)
	case f.Absent && it.kept.Marked && it.hold.Phase == ledger.Doubt:
		if early := it.ended().Add(p.c.Gap).Sub(p.c.Now()); early > 0 {
			p.wait(it, early)
			return false
		}
		return true
	case p.age(it) > p.c.GiveUp:
		p.tellPerson(it, f.Why)
	default:
		p.wait(it, p.backoff(it))
	}
	return false
}

// lookAgain looks a second time for what was missing, and gives back what is missing still: absence is proof only where
// a complete list shows it twice, after the call has ended.
func (p *pass) lookAgain(missing []*item) {
	if len(missing) == 0 || sleep(p.ctx, p.c.Gap) != nil {
		return
	}
	for _, it := range missing {
		if still, err := p.lease(it, leaseFor); err != nil || !still || !p.handle(it) {
			continue
		}
		p.conclude(it, vendors.Finding{
			Outcome: vendors.NotExecuted,
			Why:     "the vendor's complete list, read twice after the call had ended, shows nothing with its mark",
		})
	}
}

// mostAhead is by how much this machine's clock, with which calls are sent, may be ahead of the vendor's, by which its
// lists begin: less than the least margin of an adapter, a minute.
const mostAhead = 30 * time.Second

// investigate asks the row what became of the call, and makes the looks that it wants. An error may go away.
func (p *pass) investigate(it *item) (f vendors.Finding, err error) {
	c := it.question(p.c.Now(), p.b.flight())
	it.looked = nil
	ahead := false
	for range vendors.MostLooks + 1 {
		if err := contain(func() (err error) { f, err = it.row.Reconcile(c); return err }); err != nil {
			return vendors.Finding{Why: scrub(it.secret, err.Error())}, nil
		}
		if f.Look == nil {
			if f.Absent && ahead {
				return vendors.Finding{Why: "the vendor's list does not show the call, and this machine's clock is ahead of the vendor's, so that it may begin too late"}, nil
			}
			return sound(f, c.Bound), nil
		}
		if len(c.Seen) == vendors.MostLooks {
			break
		}
		if err := p.turn(p.ctx, it.account); err != nil {
			return vendors.Finding{}, err
		}
		p.progress.Looks++
		asked := time.Now()
		reply, err := p.b.look(p.ctx, it.account, f.Look, it.call.Host, it.call.Header)
		if err != nil {
			return vendors.Finding{}, fmt.Errorf("%s: %w", f.Look.Operation, err)
		}
		if at, err := http.ParseTime(reply.Header.Get("Date")); err == nil && asked.Sub(at) > mostAhead {
			ahead = true
		}
		it.looked = append(it.looked, f.Look.Operation)
		c.Seen = append(c.Seen, reply)
	}
	return vendors.Finding{Why: fmt.Sprintf("%d looks did not come to the end of the vendor's list", vendors.MostLooks)}, nil
}

// sendAgain sends the call once more, where the brake's owner wants that.
func (p *pass) sendAgain(it *item) (vendors.Finding, error) {
	ctx, cancel := context.WithTimeout(p.ctx, p.b.cfg.CallTimeout)
	defer cancel()
	f, err := p.b.sendAgain(ctx, it)
	return sound(f, vendors.Bound{Kind: it.kept.Kind, Lines: it.kept.Lines}), err
}

// turn waits until the account may be looked at again.
func (r *Reconciler) turn(ctx context.Context, of account) error {
	name := of.vendor.Name + " " + of.ref
	r.mu.Lock()
	at := r.next[name]
	if now := time.Now(); at.Before(now) {
		at = now
	}
	r.next[name] = at.Add(r.c.Pace)
	r.mu.Unlock()
	return sleep(ctx, time.Until(at))
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}

// conclude books what was found, on record first.
func (p *pass) conclude(it *item, f vendors.Finding) {
	ctx, cancel := p.short()
	defer cancel()
	why, err := p.b.reconciled(ctx, it, f, p.c.Now())
	switch {
	case errors.Is(err, errRetried):
		p.wait(it, p.backoff(it))
	case errors.Is(err, ledger.ErrSettled) || errors.Is(err, ledger.ErrNoHold):
		p.progress.Others++ // a call, a person or another pass has been quicker
		p.put(it, 0)
	case err != nil:
		p.failed("%s: %w", it.hold.ID, err)
		p.put(it, p.backoff(it))
	case why != "":
		p.tellPerson(it, why)
	case f.Outcome == vendors.NotExecuted:
		p.progress.Freed++
		p.put(it, 0)
	case goesOn(f.Outcome, f.Cost):
		p.progress.Pending++
		p.put(it, max(f.Cost.Again, p.backoff(it)))
	default:
		p.progress.Settled++
		p.put(it, 0)
	}
}

// tellPerson gives a call up to a person, with all that is known of it, and keeps it for a day.
func (p *pass) tellPerson(it *item, why string) {
	p.progress.Persons++
	h, t := it.hold, it.kept
	u := Unresolved{
		Hold: h, Agent: t.Agent, Run: t.Run, Sent: t.Sent, Objects: t.Objects,
		Looked: it.looked, Held: p.b.heldOf(h), Why: cmp.Or(why, "the vendor's records do not show the call"),
	}
	if t.Marked {
		u.Mark = h.ID
	}
	ctx, cancel := p.short()
	defer cancel()
	r := it.record("a person has to decide: " + u.Why)
	r.Outcome, r.Reason, r.Held = vendors.OutcomeUnknown.String(), reason.InDoubt, u.Held
	if err := p.b.write(ctx, r); err != nil {
		p.b.log().ErrorContext(ctx, "keybrake: no record of what a person has to decide", "reservation", h.ID, "error", err)
	}
	if p.c.Person != nil {
		p.c.Person(ctx, u)
	}
	p.put(it, 24*time.Hour)
}
