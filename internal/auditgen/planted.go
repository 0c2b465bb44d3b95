package auditgen

import (
	"time"

	"github.com/keybrake/keybrake-go/audit"
	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/reason"
)

// Loop is a run that spends LoopCost, many times what any other run with its label does.
const (
	LoopTenant = "acme"
	LoopRun    = "run_loop"
	LoopLabel  = "job:refunds"
	LoopCost   = 60 * 70 * usd // of outflow, in USD
)

// Near is a shared budget that two runs bring to 95 % of its limit; it was never full.
const (
	NearTenant = "globex"
	NearBudget = "team:ops"
	NearLimit  = 1000 * usd
	NearSpent  = 950 * usd
)

// Doubts are the calls that are in doubt at the end, all of one tenant. The last DoubtsUnsaid of them have an intent and no
// other record: their process has ended.
const (
	DoubtTenant  = "umbrella"
	DoubtRun     = "run_doubt"
	Doubts       = 17
	DoubtsUnsaid = 3
	DoubtSum     = 310_250_000 // of outflow, in micro-USD: 10.25, 11.25, …, 26.25
)

// Storm is a run that one rule refuses again and again.
const (
	StormTenant = "initech"
	StormRun    = "run_storm"
	StormRule   = 7
	StormCount  = 1 + 20*617
)

// Declined is a run whose one call the vendor did not execute: it has cost nothing.
const (
	DeclinedTenant = "acme"
	DeclinedRun    = "run_declined"
)

// MissingVendor says more than the records do by Missing, on the day that [World.MissingDay] names.
const (
	MissingVendor = "twilio"
	Missing       = 25 * usd // of fee, in USD
)

// MissingDay is the day on which [MissingVendor] has counted what no record knows of.
func (w *World) MissingDay() time.Time { return w.Until.AddDate(0, 0, -4) }

var (
	looper = agent{
		name: "refund-bot", policy: "1d630127108f1feaf1f7beee", vendor: "stripe", tool: "refund_customer", labels: []string{LoopLabel, "team:support"}, team: "team:loop", limit: 5000 * usd,
		writes: []operation{{name: "stripe.refunds.create", class: "outflow", meter: cost.Outflow, currency: "USD", least: 70 * usd, most: 70*usd + 1, object: "re_"}},
	}
	doubter = agent{
		name: "refund-bot", policy: "1d630127108f1feaf1f7beee", vendor: "stripe", tool: "refund_customer", labels: []string{"job:returns"}, team: "team:returns", limit: 500 * usd,
		writes: []operation{{name: "stripe.refunds.create", class: "outflow", meter: cost.Outflow, currency: "USD", least: usd, most: 2 * usd, object: "re_"}},
	}
	declined = agent{
		name: "letter-bot", policy: "0f5c2f3a9be4d2d8a1c6e7b0", vendor: "postmark", tool: "send_letter", labels: []string{"job:letters"}, team: "team:letters", limit: 5 * usd,
		writes: []operation{{name: "postmark.email.send", class: "fee", meter: cost.Fee, currency: "USD", least: 1000, most: 1001}},
	}
	operator = agent{
		name: "ops-bot", policy: "a92c36e66a25ee99ff862faa", vendor: "stripe", tool: "pay_out", labels: []string{"job:payouts"}, team: NearBudget, limit: 2000 * usd,
		writes: []operation{{name: "stripe.transfers.create", class: "outflow", meter: cost.Outflow, currency: "USD", least: 95 * usd, most: 95*usd + 1, object: "tr_"}},
	}
)

// plant plans the facts.
func (w *World) plant() {
	w.figures[Figure{w.MissingDay(), MissingVendor, MissingVendor, cost.Fee, "USD"}] += Missing
	w.figures[Figure{w.Until.AddDate(0, 0, -3), "stripe", "stripe", cost.Outflow, "USD"}] += 0 // of the calls in doubt
	w.at(w.Until.AddDate(0, 0, -5).Add(10*time.Hour), w.loop)
	w.at(w.Until.AddDate(0, 0, -4).Add(9*time.Hour), w.near)
	w.at(w.Until.AddDate(0, 0, -3).Add(8*time.Hour), w.doubts)
	w.at(w.Until.AddDate(0, 0, -6).Add(11*time.Hour), w.storm)
	w.at(w.Until.AddDate(0, 0, -5).Add(7*time.Hour), w.decline)
}

// sure makes a call of a write at an amount, which ends as said.
func (r *run) sure(amount int64, end func(*call)) {
	c := r.call(r.writes[0])
	c.bound[0].Amount = amount
	c.actual = c.bound
	c.budgets, c.began = []*budget{r.own}, r.now
	if b := r.narrowed; b != nil {
		c.budgets = append(c.budgets, b)
	}
	c.hold(1)
	i := c.record(audit.Intent)
	i.Reserved = c.reserved()
	r.put(i)
	r.after(400*time.Millisecond, func() { end(c) })
}

func (c *call) executed() {
	c.book(c.actual)
	c.outcome("executed", 200)
}

func (w *World) loop() {
	r := w.newRun(LoopTenant, LoopRun, &looper)
	for i := range LoopCost / (70 * usd) {
		r.after(time.Duration(i)*3*time.Second, func() { r.sure(70*usd, (*call).executed) })
	}
}

func (w *World) near() {
	runs := []*run{w.newRun(NearTenant, "run_payouts", &operator), w.newRun(NearTenant, "run_payouts_again", &operator)}
	runs[0].narrowed = &budget{name: NearBudget, shared: true, meter: cost.Spend, currency: "USD", limit: NearLimit, reset: w.now.AddDate(0, 1, 0).Truncate(24 * time.Hour)}
	runs[1].narrowed = runs[0].narrowed
	for i := range 10 {
		r := runs[i%2]
		r.after(time.Duration(i)*time.Minute, func() { r.sure(NearSpent/10, (*call).executed) })
	}
}

func (w *World) doubts() {
	r := w.newRun(DoubtTenant, DoubtRun, &doubter)
	for i := range Doubts {
		end := (*call).doubt
		if i >= Doubts-DoubtsUnsaid {
			end = func(*call) {}
		}
		r.after(time.Duration(i)*2*time.Hour, func() { r.sure(10_250_000+int64(i)*usd, end) })
	}
}

func (w *World) storm() {
	r := w.newRun(StormTenant, StormRun, &agents[0])
	c := r.call(r.writes[0])
	d := c.record(audit.Denied)
	d.Verdict, d.Reason, d.Detail = audit.Deny, reason.ParamDenied, "refused "+c.op.name+": parameter amount: 900000 is above 50.00"
	d.Reasons = []audit.Why{{Code: reason.ParamDenied, Rule: StormRule, Param: "amount"}}
	r.put(d)
	for i := range (StormCount - 1) / 617 {
		at := time.Duration(i+1) * 10 * time.Second
		r.after(at, func() { r.count(d, 617, r.now.Add(-9*time.Second)) })
	}
}

func (w *World) decline() {
	r := w.newRun(DeclinedTenant, DeclinedRun, &declined)
	r.sure(1000, func(c *call) {
		c.hold(-1)
		c.outcome(audit.OutcomeNotExecuted, 422)
	})
}
