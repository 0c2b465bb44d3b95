package backtest

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/keybrake/keybrake-go/audit"
	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/ledger"
	"github.com/keybrake/keybrake-go/reason"
)

// A Report is what a plan would have done. Its lists are sorted, so that the same records give the same report.
type Report struct {
	From, To time.Time // of the records

	Calls  int64 // judged: every attempt that was forwarded, retries included
	Denied int64
	Untold int64 // counted as made

	Causes  []Cause  // of what is denied or untold, the first of it first
	Runs    []Run    // by tenant and name
	Budgets []Budget // by tenant and name
	Try     []Tried  // as in the plan

	Then   []Then // what was refused when it was made, and so was not judged
	Before int64  // outcomes and retries of calls that were made before the records begin: not judged, in no budget
	Left   int64  // calls of keys that the plan leaves out
}

// A Moment is one call.
type Moment struct {
	At                     time.Time
	Tenant, Run, Key, Call string
}

func moment(r audit.Record) Moment { return Moment{r.Time, r.Tenant, r.Run, r.Key, r.CallID} }

// A Cause is one reason and how many calls it speaks against. A call to which several rules or budgets object is in each.
type Cause struct {
	Verdict Verdict // Denied or Untold
	Reason
	Calls int64
	First Moment
}

// A Run is one run's calls.
type Run struct {
	Tenant, Run           string
	Calls, Denied, Untold int64
	First                 Moment // the first that would have been denied; zero without one
}

// A Budget is what became of one budget. Of keys' own budgets of one name it is the highest of all keys.
type Budget struct {
	Tenant, Name string
	Shared       bool
	Meter        cost.Meter
	Currency     cost.Currency
	Limit        int64
	Denied       int64 // calls that it would not have covered

	// Peak is the most that stood in it, spent and held, under the plan. Need is the least limit that would have refused
	// nothing, had no budget a limit: what the rules refuse is not in it.
	Peak, Need Peak

	Windows []Window // the same for each window, by time; none of a rolling budget
}

// A Window is one window of a budget.
type Window struct {
	Start      time.Time // zero for a lifetime
	Peak, Need Peak
}

// A Peak is an amount, in micro-units or a count, and the call at which it was first reached.
type Peak struct {
	Amount int64
	Moment
}

func (p *Peak) raise(amount int64, r audit.Record) {
	if amount > p.Amount {
		*p = Peak{amount, moment(r)}
	}
}

// A Tried limit is what a plan with it would have denied.
type Tried struct {
	Try
	Denied   int64 // for whatever reason
	ByBudget int64 // of them, those that this budget would not have covered
	First    Moment

	found bool
}

// Then is what was refused when it was made, for one reason.
type Then struct {
	Code   reason.Code
	Rule   int
	Budget string
	Calls  int64
	Still  int64 // of them, those whose operation no rule of the plan names. Of the others it is not told
	First  time.Time
}

type cause struct {
	verdict Verdict
	Reason
}

type name struct {
	tenant, name string
	shared       bool
}

// report collects what a Report says.
type report struct {
	Report
	each    func(Judged)
	causes  map[cause]*Cause
	runs    map[[2]string]*Run
	budgets map[name]*budget
	limits  map[name]int64
	then    map[Then]*Then
}

type budget struct {
	Budget
	windows map[time.Time]*Window
}

func newReport(p Plan) *report {
	r := &report{each: p.Each, causes: map[cause]*Cause{}, runs: map[[2]string]*Run{}, budgets: map[name]*budget{}, limits: map[name]int64{}, then: map[Then]*Then{}}
	for _, t := range p.Try {
		r.Try = append(r.Try, Tried{Try: t})
	}
	return r
}

func (r *report) span(at time.Time) {
	if r.From.IsZero() {
		r.From = at
	}
	r.To = at
}

// judged counts a call in the trial of index i.
func (r *report) judged(i int, j Judged) {
	switch {
	case i >= others:
		if j.Verdict == Denied {
			r.Try[i-others].count(j)
		}
		return
	case i != plan:
		return
	}
	r.Calls++
	run := r.run(j.Record)
	run.Calls++
	switch j.Verdict {
	case Denied:
		r.Denied++
		run.Denied++
		if run.First.At.IsZero() {
			run.First = moment(j.Record)
		}
	case Untold:
		r.Untold++
		run.Untold++
	}
	if j.Verdict != Allowed {
		r.blame(j)
	}
	if r.each != nil {
		r.each(j)
	}
}

func (r *report) run(rec audit.Record) *Run {
	id := [2]string{rec.Tenant, rec.Run}
	if r.runs[id] == nil {
		r.runs[id] = &Run{Tenant: rec.Tenant, Run: rec.Run}
	}
	return r.runs[id]
}

func (r *report) blame(j Judged) {
	said := map[cause]bool{}
	for _, why := range j.Reasons {
		c := cause{j.Verdict, why}
		if said[c] {
			continue
		}
		said[c] = true
		if r.causes[c] == nil {
			r.causes[c] = &Cause{Verdict: j.Verdict, Reason: why, First: moment(j.Record)}
		}
		r.causes[c].Calls++
	}
}

func (t *Tried) count(j Judged) {
	t.Denied++
	if t.First.At.IsZero() {
		t.First = moment(j.Record)
	}
	if slices.ContainsFunc(j.Reasons, func(why Reason) bool { return why.Budget == t.Budget }) {
		t.ByBudget++
	}
}

// limit notes the limit of a budget of the plan, and which limits are tried for it.
func (r *report) limit(tenant string, b ledger.Budget) error {
	if b.Limit == ledger.NoLimit {
		return nil // its row has the limit
	}
	id := name{tenant, b.Name, b.Shared}
	if _, is := r.limits[id]; !is || !b.Shared { // a shared budget's row comes before what keys ask for
		r.limits[id] = b.Limit
	}
	for i := range r.Try {
		if r.Try[i].of(b) {
			r.Try[i].found = true
			if err := r.Try[i].fits(b); err != nil {
				return err
			}
		}
	}
	return nil
}

// short notes that budgets do not cover a call.
func (r *report) short(i int, rec audit.Record, list []ledger.Shortfall) {
	if i != plan {
		return
	}
	for _, s := range list {
		b, _ := r.budget(rec, s.State)
		b.Denied++
	}
}

// reserved notes what stands in the budgets after a reserve.
func (r *report) reserved(i int, rec audit.Record, states []ledger.State) {
	r.settled(i, rec, states)
	if i != free {
		return
	}
	for _, s := range states {
		b, w := r.budget(rec, s)
		b.Need.raise(s.Spent+s.Held, rec)
		w.Need.raise(s.Spent+s.Held, rec)
	}
}

// settled notes what stands in the budgets after a call was booked.
func (r *report) settled(i int, rec audit.Record, states []ledger.State) {
	if i != plan {
		return
	}
	for _, s := range states {
		b, w := r.budget(rec, s)
		b.Peak.raise(s.Spent+s.Held, rec)
		w.Peak.raise(s.Spent+s.Held, rec)
	}
}

func (r *report) budget(rec audit.Record, s ledger.State) (*budget, *Window) {
	id := name{rec.Tenant, s.Name, s.Shared}
	b := r.budgets[id]
	if b == nil {
		b = &budget{Budget{Tenant: rec.Tenant, Name: s.Name, Shared: s.Shared, Meter: s.Meter, Currency: s.Currency, Limit: r.limits[id]}, map[time.Time]*Window{}}
		r.budgets[id] = b
	}
	start := s.Start.UTC()
	if s.Window.Rolls() > 0 {
		return b, &Window{}
	}
	if s.Window == cost.Lifetime {
		start = time.Time{}
	}
	if b.windows[start] == nil {
		b.windows[start] = &Window{Start: start}
	}
	return b, b.windows[start]
}

func (r *report) refusedThen(rec audit.Record, still bool) {
	t := Then{Code: rec.Reason, Rule: -1}
	if len(rec.Reasons) > 0 {
		t.Rule = rec.Reasons[0].Rule
	}
	if len(rec.Budgets) > 0 && rec.Reason == reason.BudgetExceeded {
		t.Budget = rec.Budgets[0].Name
	}
	if r.then[t] == nil {
		n := t
		n.First = rec.Time
		if !rec.First.IsZero() {
			n.First = rec.First
		}
		r.then[t] = &n
	}
	n := max(1, rec.Count)
	r.then[t].Calls += n
	if still {
		r.then[t].Still += n
	}
}

// finish sorts what was collected.
func (r *report) finish() (Report, error) {
	for _, t := range r.Try {
		if !t.found && r.Calls > 0 {
			return Report{}, fmt.Errorf("backtest: no budget of the plan has a limit and is called %q; Budget.Title says what one is called", t.Budget)
		}
	}
	for _, c := range r.causes {
		r.Causes = append(r.Causes, *c)
	}
	slices.SortFunc(r.Causes, func(a, b Cause) int {
		return cmp.Or(a.First.At.Compare(b.First.At), cmp.Compare(a.First.Call, b.First.Call), cmp.Compare(a.Rule, b.Rule),
			cmp.Compare(a.Code, b.Code), cmp.Compare(a.Budget, b.Budget), cmp.Compare(a.Param, b.Param), cmp.Compare(a.Detail, b.Detail), cmp.Compare(a.Verdict, b.Verdict))
	})
	for _, run := range r.runs {
		r.Runs = append(r.Runs, *run)
	}
	slices.SortFunc(r.Runs, func(a, b Run) int { return cmp.Or(cmp.Compare(a.Tenant, b.Tenant), cmp.Compare(a.Run, b.Run)) })
	for _, b := range r.budgets {
		for _, start := range slices.SortedFunc(maps.Keys(b.windows), time.Time.Compare) {
			b.Windows = append(b.Windows, *b.windows[start])
		}
		r.Budgets = append(r.Budgets, b.Budget)
	}
	slices.SortFunc(r.Budgets, func(a, b Budget) int {
		return cmp.Or(cmp.Compare(a.Tenant, b.Tenant), cmp.Compare(a.Name, b.Name), compareBool(a.Shared, b.Shared))
	})
	for _, t := range r.then {
		r.Then = append(r.Then, *t)
	}
	slices.SortFunc(r.Then, func(a, b Then) int {
		return cmp.Or(cmp.Compare(a.Code, b.Code), cmp.Compare(a.Rule, b.Rule), cmp.Compare(a.Budget, b.Budget))
	})
	return r.Report, nil
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}
