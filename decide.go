package keybrake

import (
	"errors"
	"slices"

	"github.com/keybrake/keybrake-go/audit"
	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/ledger"
	"github.com/keybrake/keybrake-go/policy"
	"github.com/keybrake/keybrake-go/reason"
	"github.com/keybrake/keybrake-go/vendors"
)

// decide asks the vendor's table what the call can cost, and the key's policy whether it may be made. It does no
// I/O.
func (a *attempt) decide() error {
	bound, err := a.price(nil)
	if err != nil {
		return err
	}
	return a.judge(bound)
}

// price asks the row what the call can cost. A row without a bound costs nothing, which only rows may say whose
// class is not paid; the table was checked for that.
func (a *attempt) price(seen *vendors.Reply) (bound vendors.Bound, err error) {
	row := a.call.Operation
	if row.Bound == nil {
		return vendors.Bound{Kind: vendors.Exact}, nil
	}
	err = contain(func() error {
		bound, err = row.Bound(a.call, seen)
		return err
	})
	var refusal *vendors.Refusal
	if err != nil && !errors.As(err, &refusal) {
		err = vendors.Refuse(reason.CostUnknown, "%v", err)
	}
	if err == nil && len(bound.Send) > 0 && row.Body != vendors.Form {
		// What the row prices would not be what is sent.
		err = vendors.Refuse(reason.CostUnknown, "the %s adapter sets a parameter of a call that has no form", a.vendor.Name)
	}
	return bound, err
}

// contain turns a panic of an adapter into an error, so that a mistake in one cannot end the program between a
// reserve and its settle.
func contain(f func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = errors.New("the vendor's adapter failed")
		}
	}()
	return f()
}

// judge asks the policy about the call at this bound, and keeps the bound as what is to be reserved.
func (a *attempt) judge(bound vendors.Bound) error {
	lines, rates, err := a.convert(bound.Lines)
	if err != nil {
		return err
	}
	row := a.call.Operation
	a.asked = asking(row)
	a.asked.Params, a.asked.Recipients, a.asked.Countries = map[string][]string{}, bound.Recipients, bound.Countries
	a.asked.Lines, a.asked.Priced, a.asked.ToProbe, a.asked.Why = lines, bound.Probe == nil && bound.Kind != vendors.Unknown, bound.Probe != nil, bound.Why
	// Rules look at what will be sent, the parameters that the bound sets included.
	sent := *a.call
	sent.Params = withSend(a.call.Params, bound.Send)
	for _, p := range sent.Params {
		name := vendors.Collapse(p.Name)
		a.asked.Params[name] = append(a.asked.Params[name], p.Value)
	}
	// A header that changes whose money moves needs a grant on every operation, reads included.
	schema := row.Params
	schema.Redirects = slices.Concat(schema.Redirects, a.vendor.RedirectHeaders)
	a.asked.Unknown, a.asked.Redirects = sent.Unlisted(schema)

	a.decision = policy.Decide(a.claims.policy, a.asked)
	if !a.decision.Allowed && !a.onlyObserved() {
		return refusalOf(a.decision)
	}
	a.rules = []audit.Rule{{Rule: a.decision.Rule}}
	if err := a.judgeNarrowed(); err != nil {
		return err
	}
	a.bound, a.lines, a.rates = bound, lines, rates
	if a.decision.Capped {
		return a.capBound()
	}
	return nil
}

// asking is what a policy is told of a call from its operation's row alone.
func asking(row *vendors.Operation) policy.Call {
	return policy.Call{
		Operation: row.Name, ReadOnly: row.Class == vendors.Read, Delicate: row.Class.Delicate(), Paid: row.Class.Paid(), Meter: row.Class.Meter(),
	}
}

// judgeNarrowed asks what narrows the key about a call that the issued key's policy allows. What narrows is enforced also
// where that policy is only observed. A ceiling is the issued key's: it is what is reserved, so it is what is judged.
func (a *attempt) judgeNarrowed() error {
	asked := a.asked
	asked.Lines, asked.Priced = a.decision.Lines, asked.Priced || a.decision.Capped
	for _, p := range a.claims.policies()[1:] {
		d := policy.Decide(p.Policy, asked)
		if !d.Allowed {
			a.decision, a.objector = d, p.of
			return refusalOf(d)
		}
		a.rules = append(a.rules, audit.Rule{Of: p.of, Rule: d.Rule})
	}
	return nil
}

// onlyObserved lets a call through that rules refuse, where the policy is only observed. What has no price is refused
// all the same: it could not be reserved.
func (a *attempt) onlyObserved() bool {
	if !a.claims.policy.InsecureObserve || !a.asked.Priced && !a.asked.ToProbe {
		return false
	}
	// After a look at the vendor it is judged anew.
	a.overruled = slices.DeleteFunc(a.overruled, func(w audit.Why) bool { return w.Budget == "" })
	a.overruled = append(a.overruled, whyNot("", a.decision)...)
	a.decision = policy.Decision{Allowed: true, Rule: -1, Lines: a.asked.Lines}
	return true
}

// observed keeps why the ledger would have refused the call.
func (a *attempt) observed(would []ledger.Shortfall) {
	for _, s := range would {
		code := reason.BudgetExceeded
		if s.Name == "repeat" && s.Meter == cost.Calls && s.Window.Rolls() > 0 {
			code = reason.RepeatExceeded
		}
		a.overruled = append(a.overruled, audit.Why{Code: code, Rule: -1, Budget: s.Name})
	}
}

// withSend is params with those that the bound sets in their place.
func withSend(params, send []vendors.Param) []vendors.Param {
	kept := slices.DeleteFunc(slices.Clone(params), func(p vendors.Param) bool {
		return slices.ContainsFunc(send, func(s vendors.Param) bool { return s.Name == p.Name })
	})
	return append(kept, send...)
}

// refusalOf is the first objection of the rule that came closest; the record has them all.
func refusalOf(d policy.Decision) error {
	if len(d.Reasons) == 0 { // the zero Decision
		return vendors.Refuse(reason.OperationDenied, "the policy does not allow it")
	}
	first := d.Reasons[0]
	return &vendors.Refusal{Code: first.Code, Param: first.Param, Detail: first.Detail}
}

// capBound makes the rule's ceiling what is reserved: its line, beside what the row could count but not price.
func (a *attempt) capBound() error {
	ceiling := a.decision.Lines
	if !slices.ContainsFunc(ceiling, func(l cost.Line) bool { return l.Meter.Money() }) && a.asked.Paid {
		return vendors.Refuse(reason.CostUnknown, "the rule's ceiling is a count and the call costs money; give the ceiling in money")
	}
	for _, l := range a.bound.Lines {
		if !l.Meter.Money() && !slices.ContainsFunc(ceiling, func(c cost.Line) bool { return c.Meter == l.Meter }) {
			ceiling = append(ceiling, l)
		}
	}
	a.bound.Kind, a.bound.Lines, a.lines = vendors.AtMost, ceiling, ceiling
	return nil
}
