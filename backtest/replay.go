package backtest

import (
	"slices"
	"time"

	"github.com/keybrake/keybrake-go/audit"
	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/internal/books"
	"github.com/keybrake/keybrake-go/ledger"
	"github.com/keybrake/keybrake-go/policy"
	"github.com/keybrake/keybrake-go/reason"
	"github.com/keybrake/keybrake-go/vendors"
)

// A replay takes records one after the other.
type replay struct {
	plan    Plan
	digests map[string]*policy.Policy
	now     time.Time
	report  *report
	trials  []*trial // of the plan, of one without limits, and one for each limit that is tried

	subjects map[[2]string]*subject // by tenant and issued key; nil: left out
	begun    map[string]bool        // calls whose outcome is still to come, and whether the vendor was looked at for them
	looked   map[string]bool        // calls for which the vendor was looked at, and that are still to be made
	spends   map[string]spend       // by reservation, for as long as a retry may attach to it
	order    []string               // of spends, oldest first
}

// A spend is what a retry of a call needs to be judged by itself, should its first attempt have been refused.
type spend struct {
	at     time.Time
	lines  []cost.Line
	looked bool // the vendor was looked at first
	ruling
}

const (
	plan   = iota // the trial of the plan itself
	free          // of the plan without limits
	others        // the first of the limits that are tried
)

// mostMemory is longer than any vendor remembers an idempotency key.
const mostMemory = 31 * 24 * time.Hour

func newReplay(p Plan) (*replay, error) {
	if err := p.check(); err != nil {
		return nil, err
	}
	r := &replay{
		plan: p, digests: map[string]*policy.Policy{}, report: newReport(p), subjects: map[[2]string]*subject{},
		begun: map[string]bool{}, looked: map[string]bool{}, spends: map[string]spend{},
	}
	for i := range p.Before {
		r.digests[p.Before[i].Digest()] = &p.Before[i]
	}
	delete(r.digests, "") // of a policy that is not valid
	clock := func() time.Time { return r.now }
	add := func(limits func(ledger.Budget) ledger.Budget) {
		r.trials = append(r.trials, newTrial(clock, p.Remember, limits))
	}
	add(func(b ledger.Budget) ledger.Budget { return b })
	add(func(b ledger.Budget) ledger.Budget {
		if b.Limit != ledger.NoLimit {
			b.Limit = cost.Max
		}
		return b
	})
	for _, t := range p.Try {
		add(func(b ledger.Budget) ledger.Budget {
			if t.of(b) {
				b.Limit = t.Limit.Value
			}
			return b
		})
	}
	for tenant, list := range p.Shared {
		for _, b := range list {
			if err := r.report.limit(tenant, books.Budget(b)); err != nil {
				return nil, err
			}
		}
	}
	return r, nil
}

// take takes up one record.
func (r *replay) take(rec audit.Record) error {
	r.now = rec.Time
	r.report.span(rec.Time)
	switch {
	case rec.Probe:
		if rec.Kind == audit.Outcome && rec.Status != 0 {
			r.looked[rec.CallID] = true
		}
		return nil
	case rec.Kind == audit.Intent:
		return r.call(rec)
	case rec.Kind == audit.Outcome:
		looked, is := r.begun[rec.CallID]
		delete(r.begun, rec.CallID)
		if !is {
			r.report.Before++
			return nil
		}
		return r.book(rec, looked)
	case rec.Kind == audit.Denied:
		looked, is := r.begun[rec.CallID]
		delete(r.begun, rec.CallID)
		delete(r.looked, rec.CallID)
		if !is {
			r.then(rec)
			return nil
		}
		return r.book(rec, looked)
	case rec.Outcome != "":
		return r.book(rec, false)
	}
	return nil
}

// subject is the policy of the key that made the call, or nil where its calls are left out.
func (r *replay) subject(rec audit.Record) (*subject, error) {
	id := [2]string{rec.Tenant, ledger.Issued(rec.Key)}
	if s, is := r.subjects[id]; is {
		return s, nil
	}
	p := &r.plan.Policy
	if r.plan.PolicyOf != nil {
		p = r.plan.PolicyOf(rec)
	}
	var s *subject
	if p != nil {
		var err error
		if s, err = newSubject(*p); err != nil {
			return nil, err
		}
		for _, b := range s.budgets {
			if err := r.report.limit(rec.Tenant, b); err != nil {
				return nil, err
			}
		}
	}
	r.subjects[id] = s
	return s, nil
}

// call judges a call in every trial.
func (r *replay) call(rec audit.Record) error {
	if _, twice := r.begun[rec.CallID]; twice {
		return nil
	}
	s, err := r.subject(rec)
	if err != nil {
		return err
	}
	if s == nil {
		r.report.Left++
		r.begun[rec.CallID] = false
		return nil
	}
	looked := r.looked[rec.CallID]
	delete(r.looked, rec.CallID)
	r.begun[rec.CallID] = looked
	id := rec.CallID
	sp := spend{at: rec.Time, lines: rec.Reserved, looked: looked}
	if rec.Attached {
		first, is := r.spends[rec.Reservation]
		if !is {
			r.report.Before++
			return nil
		}
		id, sp = rec.Reservation, first
	} else {
		if len(sp.lines) == 0 {
			sp.lines = callsOnly
		}
		sp.ruling = r.rule(s, rec)
		r.remember(id, sp)
	}
	return r.judge(rec, s, id, sp)
}

// rule asks the policy, and says of a rule against repetition what can be said.
func (r *replay) rule(s *subject, rec audit.Record) ruling {
	before := r.before(rec)
	got := rule(s.policy, before, rec, asking(rec))
	if s.policy.Repeat.IsZero() || vendors.Class(rec.Class) == vendors.Read || got.verdict == Denied {
		return got
	}
	// What a rule that refused nothing would not have refused, it does not refuse when it counts fewer calls.
	repeated := slices.ContainsFunc(rec.Reasons, func(w audit.Why) bool { return w.Code == reason.RepeatExceeded })
	if before != nil && before.Repeat == s.policy.Repeat && !repeated {
		return got
	}
	return ruling{Untold, append(got.reasons, Reason{Code: reason.RepeatExceeded, Rule: -1, Detail: "the record does not tell which calls are the same"})}
}

// remember keeps what a retry needs.
func (r *replay) remember(id string, sp spend) {
	for len(r.order) > 0 && sp.at.Sub(r.spends[r.order[0]].at) > min(mostMemory, r.plan.Remember) {
		delete(r.spends, r.order[0])
		r.order = r.order[1:]
	}
	if _, is := r.spends[id]; !is {
		r.order = append(r.order, id)
	}
	r.spends[id] = sp
}

// judge reserves the call in every trial, and reports what became of it in that of the plan.
func (r *replay) judge(rec audit.Record, s *subject, id string, sp spend) error {
	a := asked{looked: sp.looked, lines: sp.lines, denied: sp.verdict == Denied, Request: ledger.Request{
		Tenant: rec.Tenant, ID: rec.CallID, Nonce: rec.CallID, Key: ledger.Issued(rec.Key), Expires: rec.Time.Add(time.Hour),
		Operation: rec.Operation, Lines: sp.lines, Budgets: s.budgets, Object: rec.HoldOf,
		Read:  vendors.Class(rec.Class) == vendors.Read && len(sp.lines) == len(ledger.CallsOnly(sp.lines)),
		Claim: &ledger.Claim{ID: id, Memory: mostMemory},
	}}
	for i, t := range r.trials {
		if err := t.open(rec.Tenant, a.Key, r.plan.Shared[rec.Tenant]); err != nil {
			return err
		}
		verdict, reasons := sp.verdict, sp.reasons
		if !a.denied || sp.looked && costAlone(reasons) {
			states, refused, err := t.reserve(a)
			if err != nil {
				return err
			}
			if refused != nil {
				verdict, reasons = Denied, refusals(refused)
				r.report.short(i, rec, refused.Shortfalls)
			}
			r.report.reserved(i, rec, states)
		}
		r.report.judged(i, Judged{rec, verdict, reasons})
	}
	return nil
}

// costAlone reports whether rules object to nothing but the cost, which they were told after the vendor was looked at.
func costAlone(reasons []Reason) bool {
	return len(reasons) > 0 && !slices.ContainsFunc(reasons, func(why Reason) bool { return why.Rule < 0 || beyondCost(why.Code) })
}

// refusals are what the ledger has against a call.
func refusals(d *ledger.Denied) (list []Reason) {
	for _, s := range d.Shortfalls {
		list = append(list, Reason{Code: d.Code, Rule: -1, Budget: s.Name})
	}
	if list == nil {
		list = []Reason{{Code: d.Code, Rule: -1, Budget: d.Name}}
	}
	return list
}

// book does in every trial what became of the call.
func (r *replay) book(rec audit.Record, looked bool) error {
	for i, t := range r.trials {
		states, err := t.book(rec, looked)
		if err != nil {
			return err
		}
		r.report.settled(i, rec, states)
	}
	return nil
}

// then reports a call that was refused when it was made. Its cost is not on record; whether a rule names its operation is.
func (r *replay) then(rec audit.Record) {
	still := false
	if s, err := r.subject(rec); err == nil && s != nil && rec.Operation != "" {
		c := asking(rec)
		still = !slices.ContainsFunc(s.policy.Allow, func(a policy.Rule) bool { return a.Names(c) })
	}
	r.report.refusedThen(rec, still)
}
