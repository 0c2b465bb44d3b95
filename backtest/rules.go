package backtest

import (
	"cmp"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/keybrake/keybrake-go/audit"
	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/policy"
	"github.com/keybrake/keybrake-go/reason"
	"github.com/keybrake/keybrake-go/vendors"
)

// A ruling is what a policy's rules say to a call, as far as its record tells.
type ruling struct {
	verdict Verdict
	reasons []Reason
}

// asking is what a policy is told of a call from its record: the operation, its class and what it reserved.
func asking(r audit.Record) policy.Call {
	class := vendors.Class(r.Class)
	c := policy.Call{
		Operation: r.Operation, ReadOnly: class == vendors.Read, Delicate: class.Delicate(), Paid: class.Paid(), Meter: class.Meter(), Priced: true,
	}
	for _, l := range r.Reserved {
		if l.Meter != cost.Calls {
			c.Lines = append(c.Lines, l)
		}
	}
	return c
}

// rule asks after's rules about a call. A rule that surely objects is asked no further; one that surely does not allows
// the call; what is left is untold. before is the policy that the call was made under; nil is not known.
func rule(after policy.Policy, before *policy.Policy, r audit.Record, c policy.Call) ruling {
	var untold []Reason
	var denied [][]Reason
	for i, a := range after.Allow {
		if !a.Names(c) {
			continue
		}
		seen := a
		seen.Params, seen.Countries, seen.Recipients = nil, nil, nil
		if d := policy.Decide(policy.Policy{Allow: []policy.Rule{seen}}, c); !d.Allowed {
			denied = append(denied, named(i, d.Reasons))
			continue
		}
		objections, missing := unseen(a, before, r, c)
		switch {
		case len(objections) > 0:
			for n := range objections {
				objections[n].Rule = i
			}
			denied = append(denied, objections)
		case missing != "":
			untold = append(untold, Reason{Code: reason.ParamDenied, Rule: i, Detail: missing})
		default:
			return ruling{verdict: Allowed}
		}
	}
	switch {
	case len(untold) > 0:
		return ruling{Untold, untold}
	case len(denied) == 0:
		return ruling{Denied, []Reason{{Code: reason.OperationDenied, Rule: -1}}}
	}
	slices.SortStableFunc(denied, func(x, y []Reason) int { return len(x) - len(y) }) // as Decide does
	return ruling{Denied, slices.Concat(denied...)}
}

// named are the objections of the rule at index i.
func named(i int, list []policy.Reason) (out []Reason) {
	for _, why := range list {
		out = append(out, Reason{Code: why.Code, Rule: i, Param: why.Param})
	}
	return out
}

// unseen is what can be said of a beyond the cost: what the record says of a rule of before that asks no less, or no more.
func unseen(a policy.Rule, before *policy.Policy, r audit.Record, c policy.Call) (objections []Reason, missing string) {
	if before == nil {
		return nil, "the record does not hold the call's parameters, and the policy that it was made under is not given"
	}
	passed, failed, whole := answers(*before, r, c)
	if !whole {
		return nil, "the record does not name all objections of then"
	}
	missing = "no rule of the policy that the call was made under names it, so that its parameters are not known"
	for _, i := range passed {
		if missing = narrower(a, before.Allow[i], c); missing == "" {
			return nil, ""
		}
	}
	for _, i := range slices.Sorted(maps.Keys(failed)) {
		if why := failed[i]; i < len(before.Allow) && same(a, before.Allow[i]) {
			return why, ""
		}
		missing = cmp.Or(missing, "the rule is not as it was")
	}
	return nil, missing
}

// answers are the rules of before that name the call: those that looked at its parameters and had nothing against them,
// and those that had, with what. whole says that the record names all of it.
func answers(before policy.Policy, r audit.Record, c policy.Call) (passed []int, failed map[int][]Reason, whole bool) {
	failed = map[int][]Reason{}
	allowed := -1
	for _, by := range r.Rules {
		if by.Of == "" {
			allowed = by.Rule
		}
	}
	if allowed >= 0 {
		if allowed >= len(before.Allow) {
			return nil, nil, false
		}
		return []int{allowed}, failed, true
	}
	objected := 0
	for _, why := range r.Reasons {
		if why.Budget != "" || why.Of != "" {
			continue
		}
		objected++
		if why.Rule >= 0 && beyondCost(why.Code) {
			failed[why.Rule] = append(failed[why.Rule], Reason{Code: why.Code, Param: why.Param})
		}
	}
	if objected == 0 || objected >= mostReasons {
		return nil, nil, false
	}
	for i, b := range before.Allow {
		if b.Names(c) && len(failed[i]) == 0 {
			passed = append(passed, i)
		}
	}
	return passed, failed, true
}

// mostReasons is how many objections a record tells: with as many, there may be more.
const mostReasons = 32

func beyondCost(code reason.Code) bool {
	return code != reason.MaxPerCall && code != reason.CurrencyDenied && code != reason.CostUnknown
}

// narrower says why a call that passes b may fail a, if it may: a asks for something that b does not, or does not name a
// parameter that b has allowed by naming it, or reserves something else.
func narrower(a, b policy.Rule, c policy.Call) string {
	for name := range b.Params {
		if _, is := a.Params[name]; !is {
			return "the rule does not name the parameter " + name + ", which the rule of then did"
		}
	}
	for name, m := range a.Params {
		if was, is := b.Params[name]; !m.Any && !(is && reflect.DeepEqual(m, was)) {
			return "the record does not hold the parameter " + name
		}
	}
	if len(a.Countries) > 0 && (len(b.Countries) == 0 || !all(b.Countries, a.Countries)) {
		return "the record does not hold the countries"
	}
	if len(a.Recipients) > 0 && !c.ReadOnly && (len(b.Recipients) == 0 || !all(b.Recipients, a.Recipients)) {
		return "the record does not hold the recipients in clear"
	}
	if a.Ceiling != b.Ceiling && slices.ContainsFunc(c.Lines, func(l cost.Line) bool {
		return !b.Ceiling.IsZero() && l.Amount == b.Ceiling.Value && l.Currency == b.Ceiling.Currency
	}) {
		return "what the call reserved may have been the ceiling of then"
	}
	return ""
}

func all(list, in []string) bool {
	return !slices.ContainsFunc(list, func(s string) bool { return !slices.Contains(in, s) })
}

// same reports whether a and b ask the same of what a record does not hold.
func same(a, b policy.Rule) bool {
	return (len(a.Params)+len(b.Params) == 0 || reflect.DeepEqual(a.Params, b.Params)) && slices.Equal(a.Countries, b.Countries) && slices.Equal(a.Recipients, b.Recipients)
}

// before is the policy that r was made under, or nil.
func (r *replay) before(rec audit.Record) *policy.Policy {
	digest, _, _ := strings.Cut(rec.Policy, ".")
	return r.digests[digest]
}
