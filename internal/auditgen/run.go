package auditgen

import (
	"slices"
	"strconv"
	"time"

	"github.com/keybrake/keybrake-go/audit"
	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/reason"
)

// A run is what one agent does with one vault key.
type run struct {
	*World
	tenant, name, key string
	*agent
	own      *budget
	narrowed *budget // of the key that the run has given to a sub-agent; nil without one
	part     string  // what that key adds to the run's
	observed bool
	left     int // calls
}

// start starts a run of one of the agents.
func (w *World) start() {
	p := w.rng.Float64()
	tenant := tenants[0].name
	for _, t := range tenants {
		if p -= t.share; p < 0 {
			tenant = t.name
			break
		}
	}
	w.runs++
	r := w.newRun(tenant, "run_"+strconv.FormatInt(int64(w.runs), 36), &agents[w.rng.IntN(len(agents))])
	r.left = 4 + w.rng.IntN(32)
	r.observed = w.chance(0.03)
	if w.chance(0.05) {
		r.part = "." + w.id("k")[:9]
		r.narrowed = r.lifetime(r.limit / 2)
		r.narrowed.of = r.key + r.part
	}
	r.step()
}

// newRun issues a run's key.
func (w *World) newRun(tenant, name string, a *agent) *run {
	r := &run{World: w, tenant: tenant, name: name, key: w.id("k"), agent: a}
	r.own = r.lifetime(a.limit)
	w.put(audit.Record{Kind: audit.Control, Tenant: tenant, Agent: a.name, Run: name, Labels: a.labels, Key: r.key, Detail: "issued"})
	return r
}

func (r *run) lifetime(limit int64) *budget {
	currency := r.writes[0].currency
	return &budget{name: "lifetime " + cost.Format(limit, currency, cost.Spend), meter: cost.Spend, currency: currency, limit: limit}
}

// step makes a call, and plans the next.
func (r *run) step() {
	if r.now.After(r.Until.Add(-10 * time.Minute)) {
		return // what is under way comes to its end
	}
	op := r.writes[r.rng.IntN(len(r.writes))]
	if r.chance(0.4) {
		op = r.reads[r.rng.IntN(len(r.reads))]
	}
	c := r.call(op)
	switch {
	case r.chance(0.02):
		r.refuse(c, reason.ParamDenied, 1+r.rng.IntN(2), "metadata", nil)
	case r.chance(0.01):
		r.refuse(c, reason.OperationDenied, -1, "", nil)
	default:
		c.reserve()
	}
	if r.left--; r.left > 0 {
		r.after(r.in(time.Second, 90*time.Second), r.step)
	}
}

// refuse puts a refusal on record, and after ten seconds the count of those like it, where the agent goes on trying.
func (r *run) refuse(c *call, code reason.Code, rule int, param string, short []*budget) {
	d := c.record(audit.Denied)
	d.Verdict, d.Reason, d.Detail = audit.Deny, code, "refused "+c.op.name+": "+string(code)
	d.Reasons, d.Duration = []audit.Why{{Code: code, Rule: rule, Param: param}}, r.in(20*time.Microsecond, 900*time.Microsecond)
	if short != nil {
		d.Reasons, d.Budgets, d.LedgerDuration = nil, states(short), d.Duration/2
		for _, b := range d.Budgets {
			d.Reasons = append(d.Reasons, audit.Why{Code: code, Of: b.Of, Rule: rule, Budget: b.Name})
		}
	}
	r.put(d)
	if r.chance(0.8) {
		return
	}
	more, first := 1+r.rng.Int64N(200), r.now.Add(r.in(time.Millisecond, time.Second))
	r.after(10*time.Second, func() { r.count(d, more, first) })
}

// count is the record of refusals like one that is on record.
func (r *run) count(like audit.Record, n int64, first time.Time) {
	like.Step, like.Objects, like.Recipients, like.Idempotency, like.Budgets = "", nil, nil, "", nil
	like.Duration, like.LedgerDuration, like.VendorDuration = 0, 0, 0
	like.Count, like.First, like.Last = n, first.Truncate(time.Microsecond), r.now
	r.put(like)
}

// A call is one call of a run, with its reservation.
type call struct {
	*run
	id, reservation string // the latter of the first attempt, in a retry
	op              operation
	sub             bool // made with the narrowed key
	bound           []cost.Line
	budgets         []*budget
	began           time.Time
	objects         []string
	recipients      []string
	idempotency     string
	said            []cost.Line // what its latest record says that it did cost
	actual          []cost.Line // what it costs where the vendor executes it
}

func (r *run) call(op operation) *call {
	c := &call{run: r, id: r.id("r"), op: op, sub: r.narrowed != nil && r.chance(0.5)}
	if op.object != "" {
		c.objects = []string{op.object + r.id("")[:16]}
	}
	if op.meter == "" {
		return c
	}
	amount := op.least + r.rng.Int64N(op.most-op.least)
	if op.meter != cost.Fee {
		amount -= amount % 10_000 // cents
	}
	c.bound = []cost.Line{{Meter: op.meter, Currency: op.currency, Amount: amount}}
	if op.units {
		c.bound = append(c.bound, cost.Line{Meter: cost.Units, Amount: 1 + amount/100_000})
		c.recipients = []string{r.digest()}
	}
	c.actual = slices.Clone(c.bound)
	if op.less || op.pending && r.chance(0.3) {
		c.actual[0].Amount = amount * (30 + r.rng.Int64N(70)) / 100
	}
	c.idempotency = r.digest()
	return c
}

// reserve holds the bound where every budget covers it, and sends the call.
func (c *call) reserve() {
	var short []*budget
	if c.bound != nil {
		c.budgets = []*budget{c.own, c.teamOf(c.tenant, c.agent)}
		if c.sub {
			c.budgets = append(c.budgets, c.narrowed)
		}
		for _, b := range c.budgets {
			if b.left() < c.bound[0].Amount {
				short = append(short, b)
			}
		}
	}
	if short != nil && !c.observed {
		c.refuse(c, reason.BudgetExceeded, -1, "", short)
		c.run.left = min(c.run.left, 4)
		return
	}
	c.began = c.now
	if c.op.probe != "" && c.chance(0.1) {
		c.probe()
		return
	}
	c.send()
}

// probe looks at the vendor first.
func (c *call) probe() {
	look := func(kind audit.Kind) audit.Record {
		r := c.record(kind)
		r.Probe, r.Operation, r.Class, r.Reserved, r.Budgets = true, c.op.probe, "read", nil, nil
		return r
	}
	c.put(look(audit.Intent))
	c.after(c.in(40*time.Millisecond, 300*time.Millisecond), func() {
		r := look(audit.Outcome)
		r.Outcome, r.Status, r.VendorRequest = "executed", 200, c.requestID()
		c.put(r)
		c.send()
	})
}

// send records the intent, and what becomes of it after a while.
func (c *call) send() {
	c.hold(1)
	r := c.record(audit.Intent)
	r.Reserved = c.reserved()
	c.put(r)
	c.after(c.in(30*time.Millisecond, 1200*time.Millisecond), c.end)
}

// end is the vendor's answer, or that there was none.
func (c *call) end() {
	p := c.rng.Float64()
	switch {
	case c.bound == nil:
		c.outcome("executed", 200)
	case p < 0.02:
		c.hold(-1)
		c.outcome("not_executed", 402)
	case p < 0.035:
		c.doubt()
		c.clear()
	case c.op.pending:
		held := c.bound
		r := c.ended("pending", 201)
		r.Held = held
		c.put(r)
		c.after(c.in(time.Hour, 40*time.Hour), func() { c.later(audit.Reconciled, "executed", "the vendor's record shows its price") })
	default:
		c.book(c.actual)
		c.outcome("executed", 200)
		if c.chance(0.004) {
			c.after(c.in(24*time.Hour, 120*time.Hour), c.adjust)
		}
	}
}

// doubt leaves the hold.
func (c *call) doubt() {
	r := c.ended("in_doubt", 0)
	r.Reason, r.Detail, r.VendorRequest = reason.InDoubt, "no reply", ""
	c.put(r)
}

// clear finds out what became of a call in doubt: a retry, the vendor's records or a person tells, before the end.
func (c *call) clear() {
	last := c.Until.Sub(c.now) - time.Second
	switch p := c.rng.Float64(); {
	case p < 0.4:
		c.after(min(last, c.in(time.Second, 20*time.Second)), c.retry)
	case p < 0.7:
		c.after(min(last, c.in(time.Minute, 6*time.Hour)), func() { c.later(audit.Reconciled, "executed", "the vendor's record shows it") })
	case p < 0.9:
		c.after(min(last, c.in(time.Minute, 6*time.Hour)), func() { c.later(audit.Reconciled, "not_executed", "the vendor's complete list does not show it") })
	default:
		c.after(min(last, c.in(time.Hour, 30*time.Hour)), func() { c.later(audit.Control, "executed", "resolved by a person: executed as held") })
	}
}

// retry is the same spend once more, under another call's id.
func (c *call) retry() {
	again := *c
	again.id, again.reservation = c.run.id("r"), c.id
	r := again.record(audit.Intent)
	r.Attached, r.Attempt, r.Reserved = true, 2, []cost.Line{{Meter: cost.Calls, Amount: 1}}
	c.put(r)
	c.after(c.in(30*time.Millisecond, 900*time.Millisecond), func() {
		c.book(c.actual)
		again.budgets = c.budgets
		r := again.ended("executed", 200)
		r.Attached, r.Attempt, r.Actual, r.Reserved = true, 2, c.actual, []cost.Line{{Meter: cost.Calls, Amount: 1}}
		c.put(r)
	})
}

// later is what the vendor's records or a person say after the call.
func (c *call) later(kind audit.Kind, outcome, why string) {
	r := audit.Record{Kind: kind, CallID: c.id, Tenant: c.tenant, Key: c.key, Operation: c.op.name, Outcome: outcome, Detail: why}
	if kind == audit.Control {
		r.Reservation = c.id
	} else {
		r.Agent, r.Run, r.Vendor, r.Class, r.Objects = c.agent.name, c.run.name, c.vendor, c.op.class, c.objects
	}
	if outcome == "executed" {
		c.book(c.actual)
		r.Actual = c.actual
	} else {
		c.hold(-1)
	}
	c.put(r)
}

// adjust is a correction: the vendor gave half of it back.
func (c *call) adjust() {
	c.actual = slices.Clone(c.actual)
	c.actual[0].Amount /= 2
	c.bookAgain(c.actual)
	c.put(audit.Record{
		Kind: audit.Control, Tenant: c.tenant, Key: c.key, Operation: c.op.name, CallID: c.id, Reservation: c.id,
		Outcome: audit.OutcomeAdjusted, Actual: c.actual, Detail: "a part came back",
	})
}

// outcome records the end of a call.
func (c *call) outcome(what string, status int) {
	r := c.ended(what, status)
	if what == "executed" {
		r.Actual = c.actual
	}
	c.put(r)
}

func (c *call) ended(what string, status int) audit.Record {
	r := c.record(audit.Outcome)
	r.Outcome, r.Status, r.Reserved, r.VendorRequest = what, status, c.reserved(), c.requestID()
	r.VendorDuration, r.LedgerDuration = c.in(30*time.Millisecond, 1200*time.Millisecond), c.in(100*time.Microsecond, 3*time.Millisecond)
	r.OwnDuration = c.in(20*time.Microsecond, 400*time.Microsecond)
	r.Duration = r.VendorDuration + r.LedgerDuration + r.OwnDuration
	return r
}

// record is what every record of the call says.
func (c *call) record(kind audit.Kind) audit.Record {
	key := c.key
	if c.sub {
		key += c.part
	}
	r := audit.Record{
		Kind: kind, CallID: c.id, Reservation: c.reservation, Tenant: c.tenant, Agent: c.agent.name, Run: c.run.name, Labels: c.labels, Key: key,
		Tool: c.tool, Step: strconv.Itoa(c.run.left), Vendor: c.vendor, Credential: c.credential(), Operation: c.op.name, Class: c.op.class,
		Policy: c.policy, Attempt: 1, Verdict: audit.Allow, Rules: []audit.Rule{{Rule: c.rule}}, Objects: c.objects, Recipients: c.recipients, Idempotency: c.idempotency, Budgets: states(c.budgets),
	}
	if kind == audit.Denied {
		r.Rules, r.Attempt = nil, 0
	}
	if c.observed {
		r.Verdict, r.Reasons = audit.Observe, []audit.Why{{Code: reason.ParamUnknown, Rule: 0, Param: "expand"}}
	}
	return r
}

func (c *call) requestID() string { return "req_" + c.run.id("")[:14] }

func (c *call) reserved() []cost.Line {
	return append(slices.Clone(c.bound), cost.Line{Meter: cost.Calls, Amount: 1})
}

// credential is the vendor's, of which one tenant has its own.
func (c *call) credential() string {
	if c.tenant == OtherTenant {
		return c.vendor + "-" + c.tenant
	}
	return c.vendor
}

// OtherTenant has credentials of its own, named after the vendor, a dash and itself.
const OtherTenant = "globex"

// hold holds the bound, or gives it back.
func (c *call) hold(sign int64) {
	for _, b := range c.budgets {
		b.held += sign * c.bound[0].Amount
	}
}

// book books what a held call did cost.
func (c *call) book(actual []cost.Line) {
	if len(actual) > 0 {
		c.hold(-1)
		c.bookAgain(actual)
	}
}

// bookAgain books actual in place of what was booked before.
func (c *call) bookAgain(actual []cost.Line) {
	for i, l := range actual {
		more := l.Amount
		if c.said != nil {
			more -= c.said[i].Amount
		}
		if i == 0 {
			for _, b := range c.budgets {
				b.spent += more
			}
		}
		if l.Meter.Money() {
			c.figures[Figure{c.began.Truncate(24 * time.Hour), c.vendor, c.credential(), l.Meter, l.Currency}] += more
		}
	}
	c.said = actual
}

func states(list []*budget) (out []audit.Budget) {
	for _, b := range list {
		out = append(out, audit.Budget{
			Name: b.name, Shared: b.shared, Of: b.of, Meter: b.meter, Currency: b.currency,
			Limit: b.limit, Spent: b.spent, Held: b.held, Left: b.left(), Reset: b.reset,
		})
	}
	return out
}
