// Package policy says what a vault key may do. A policy is data: Go literals and strict JSON or YAML files are
// the same thing, and both deny by default. The zero Policy allows nothing, the zero [Rule] matches nothing,
// the zero [Decision] denies.
//
// [Decide] is a pure function of a policy and a call that was already read and priced; it does no I/O, knows no
// vendor, and keeps every reason, not only the first.
package policy

import (
	"strconv"
	"time"

	"github.com/keybrake/keybrake-go/cost"
)

// A Policy is a list of what is allowed and of what it may cost.
type Policy struct {
	Allow   []Rule   `json:"allow"`
	Budgets []Budget `json:"budgets,omitempty"`

	// Repeat stops a loop while there is still budget. Unset, nothing does.
	Repeat Repeat `json:"repeat,omitzero"`

	// CancelOnRevoke says that a revoke also cuts off calls that are at the vendor already, in every process that runs
	// Brake.Watch. What was cut off is in doubt and stays held: the vendor may have executed it.
	CancelOnRevoke bool `json:"cancel_on_revoke,omitempty"`

	// InsecureObserve lets through what rules, the repeat rule and budgets would refuse, and records why they would
	// have: for finding out what a policy does before it is enforced. All else still refuses: the key's life, revoke
	// and pause, canonical form, hosts, operations that are never allowed, calls without a price or that no budget
	// counts, the ledger and the audit. What is spent is counted apart from the enforced budgets of the same names.
	InsecureObserve bool `json:"insecure_observe,omitempty"`
}

// A Repeat refuses the same call made again and again: the same run's writes of one operation with the same
// parameters, whatever their idempotency keys. A retry that carries the key of the first attempt is no repetition.
type Repeat struct {
	Limit  Amount      `json:"limit"`  // how many are admitted: Calls(3), at most 1000
	Window cost.Window `json:"window"` // in any span of this length: cost.Rolling

	// Answer gives a repetition the answer that the first call got, where that is known and is not longer than about 48
	// KiB, in place of the refusal. It needs a limit of one call.
	Answer bool `json:"answer,omitempty"`
}

// Once is a repeat rule for agents that have no idempotency keys of their own: the same call goes to the vendor once in any
// span of length d, and who makes it again gets the first one's answer.
func Once(d time.Duration) Repeat { return Repeat{Calls(1), cost.Rolling(d), true} }

// Times is a repeat rule: at most n of the same call in any span of length d, which is whole seconds.
func Times(n int64, d time.Duration) Repeat { return Repeat{Limit: Calls(n), Window: cost.Rolling(d)} }

// IsZero reports whether r is unset.
func (r Repeat) IsZero() bool { return r.Limit.IsZero() && r.Window == "" && !r.Answer }

// A Rule allows the operations that its pattern names, within its limits. A call is allowed when one rule
// allows all of it; rules do not add up.
type Rule struct {
	// Operation is the pattern: "stripe.refunds.create", "stripe.charges.*". Empty matches nothing. Operations that change
	// destinations, limits or settings, and the vendor's test helpers, are allowed by their full names only.
	Operation cost.Pattern `json:"operation"`

	// ReadOnly narrows the rule to operations that change nothing.
	ReadOnly bool `json:"read_only,omitempty"`

	// MaxPerCall is the most that one call may cost, in money or in units. Unset is no limit beyond the budgets;
	// zero allows only calls that cost nothing.
	MaxPerCall Amount `json:"max_per_call,omitzero"`

	// Ceiling is reserved for a call whose cost cannot be bounded beforehand; without one such a call is denied.
	// The vendor may take more: then it is booked in full and the key is frozen.
	Ceiling Amount `json:"ceiling,omitzero"`

	// Params holds a test for each parameter that matters, by name without list positions ("reason", "expand",
	// "metadata[order]"), or for a whole group ("metadata[*]"). A test is made on everything below its name too,
	// and every test of a parameter must hold, its group's beside its own. Naming a parameter here is also what
	// allows one that redirects money or effect, or that the catalogue does not know; only a "[*]" does so for
	// what is below it.
	Params Params `json:"params,omitempty"`

	// Countries are ISO 3166 alpha-2 codes. When set, every destination must be in one of them.
	Countries []string `json:"countries,omitempty"`

	// Recipients are whom a call may reach: "+14155550100", "+1415*", "a@acme.com", "*@acme.com". When set, every
	// recipient must match one.
	Recipients []string `json:"recipients,omitempty"`
}

// Params are tests by parameter name.
type Params map[string]Match

// A Match is a test of one parameter. Unless Optional, a call without the parameter fails it. Several conditions
// must all hold. The zero Match fails everything, and with Optional alone it forbids the parameter.
type Match struct {
	Any      bool     `json:"any,omitempty"`      // every value, and none
	OneOf    []string `json:"one_of,omitempty"`   // exactly one of these
	Prefix   string   `json:"prefix,omitempty"`   // starts with this
	Max      string   `json:"max,omitempty"`      // a whole number of ASCII digits, at most this
	Optional bool     `json:"optional,omitempty"` // may be absent

	err error
}

// Any allows a parameter with whatever value, or without. It is the way to grant one that redirects money.
func Any() Match { return Match{Any: true} }

// OneOf allows exactly these values.
func OneOf(values ...string) Match { return Match{OneOf: values} }

// Prefix allows values that start with p.
func Prefix(p string) Match { return Match{Prefix: p} }

// Max allows whole numbers of ASCII digits up to n, in the parameter's own unit.
func Max(n string) Match {
	_, err := cost.ParseCount(n)
	return Match{Max: n, err: err}
}

// OrAbsent makes a test pass for calls without the parameter.
func (m Match) OrAbsent() Match {
	m.Optional = true
	return m
}

// A Budget is a limit on one meter in one window.
type Budget struct {
	// Name is how messages and records call this budget. Default: see [Budget.Title].
	Name string `json:"name,omitempty"`

	// Scope is empty for a budget of this key alone, or the name of a budget shared by many keys: "team:support".
	// A shared budget lives in the ledger, made by Brake.SetBudget.
	Scope string `json:"scope,omitempty"`

	// Limit is the most that the budget lets through in a window. For a shared budget it can only lower the limit of
	// the ledger's row; unset, it lowers nothing, and then the fields below are unset too, because the row has them.
	Limit Amount `json:"limit,omitzero"`

	Meter  cost.Meter     `json:"meter,omitempty"`  // money only: charge, outflow, fee or spend. Default: spend
	Window cost.Window    `json:"window,omitempty"` // lifetime, hour, day, month, or one of cost.Rolling; demanded beside a limit
	Zone   string         `json:"zone,omitempty"`   // IANA time zone of a calendar window. Default: UTC
	Only   []cost.Pattern `json:"only,omitempty"`   // the operations that count. Default: all

	// AlertAt are shares of the limit ("80%") that raise an alert when the budget has used that much, once in a window.
	AlertAt []Percent `json:"alert_at,omitempty"`
}

// A Percent is a share in whole percent, from "1%" to "100%".
type Percent string

// percent is the number, and zero for what is not one.
func (p Percent) percent() int {
	for n := 1; n <= 100; n++ {
		if string(p) == strconv.Itoa(n)+"%" {
			return n
		}
	}
	return 0
}

// Percents are the shares of b's limit that raise an alert, as numbers.
func (b Budget) Percents() []int {
	var list []int
	for _, p := range b.AlertAt {
		list = append(list, p.percent())
	}
	return list
}

// Lifetime is a budget that never resets.
func Lifetime(limit Amount) Budget { return Budget{Limit: limit, Window: cost.Lifetime} }

// Hourly is a budget by clock hour, in UTC unless [Budget.In] says otherwise.
func Hourly(limit Amount) Budget { return Budget{Limit: limit, Window: cost.Hour} }

// Daily is a budget by calendar day, in UTC unless [Budget.In] says otherwise.
func Daily(limit Amount) Budget { return Budget{Limit: limit, Window: cost.Day} }

// Monthly is a budget by calendar month, in UTC unless [Budget.In] says otherwise.
func Monthly(limit Amount) Budget { return Budget{Limit: limit, Window: cost.Month} }

// Rolling is a budget over the last d, whenever that is: whole seconds, at most 400 days. What is spent counts for
// d, and up to a sixtieth of it longer.
func Rolling(d time.Duration, limit Amount) Budget {
	return Budget{Limit: limit, Window: cost.Rolling(d)}
}

// Scoped draws on the shared budget of that name, under the limit that its row in the ledger has.
func Scoped(name string) Budget { return Budget{Scope: name} }

// Shared makes b the budget of a scope that many keys draw on.
func (b Budget) Shared(scope string) Budget {
	b.Scope = scope
	return b
}

// In sets the time zone of b's window, by its IANA name.
func (b Budget) In(zone string) Budget {
	b.Zone = zone
	return b
}

// On makes b count one meter of money instead of all.
func (b Budget) On(m cost.Meter) Budget {
	b.Meter = m
	return b
}

// For makes b count only the operations named.
func (b Budget) For(only ...cost.Pattern) Budget {
	b.Only = only
	return b
}

// Alert makes b raise an alert at shares of its limit, in percent.
func (b Budget) Alert(percent ...int) Budget {
	b.AlertAt = nil
	for _, p := range percent {
		b.AlertAt = append(b.AlertAt, Percent(strconv.Itoa(p)+"%"))
	}
	return b
}

// Title is how messages and records call b: its name, the scope of a shared budget, or a name made from window,
// limit and meter, such as "lifetime 80.00 USD". The titles of a policy's budgets differ from each other.
func (b Budget) Title() string {
	switch {
	case b.Name != "":
		return b.Name
	case b.Scope != "":
		return b.Scope
	}
	title := string(b.Window)
	if word := adverbs[b.Window]; word != "" {
		title = word
	}
	title += " " + b.Limit.String()
	if b.Meter != "" && b.Meter != cost.Spend {
		title += " of " + string(b.Meter)
	}
	return title
}

var adverbs = map[cost.Window]string{cost.Lifetime: "lifetime", cost.Hour: "hourly", cost.Day: "daily", cost.Month: "monthly"}

// Counts is the meter that b counts: its own, or the one that follows from its limit. It is empty for a shared
// budget without a limit, which counts what its row in the ledger does.
func (b Budget) Counts() cost.Meter {
	if b.Limit.Currency == "" {
		return b.Limit.Meter
	}
	if b.Meter == "" {
		return cost.Spend
	}
	return b.Meter
}
