package policy

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/reason"
)

// A Call is what a decision looks at: a request that was read, named and priced.
type Call struct {
	Operation  string
	ReadOnly   bool                // changes nothing
	Paid       bool                // of a class that can cost: unlisted parameters are refused
	Meter      cost.Meter          // on which a ceiling is reserved
	Params     map[string][]string // by name without list positions
	Unknown    []string            // parameters that the catalogue does not list
	Redirects  []string            // parameters that redirect money or effect
	Recipients []string
	Countries  []string

	// Lines are the bound on the cost. Priced says that they are known; ToProbe that they will be, after a look
	// at the vendor, and are left out of this decision. With neither, the cost is unknown and Why says why.
	Lines   []cost.Line
	Priced  bool
	ToProbe bool
	Why     string
}

// A Decision is the answer. Its zero value denies.
type Decision struct {
	Allowed bool
	Rule    int         // index of the rule that allowed, when Allowed
	Lines   []cost.Line // what to reserve: the call's bound, or the rule's ceiling
	Capped  bool        // Lines is a ceiling, not a bound

	// Reasons are why not: those of the rule that came closest first.
	Reasons []Reason
}

// A Reason is one objection.
type Reason struct {
	Code   reason.Code
	Rule   int    // index of the rule that objects; -1 when no rule names the operation
	Param  string // the parameter at fault, if it is one
	Detail string // for the caller: what to change; never a value that the agent sent
}

// Decide says whether p allows c. It is pure. A call is allowed when at least one rule names its operation and
// has no objection; otherwise every objection of every rule that names it is kept.
func Decide(p Policy, c Call) Decision {
	var objections [][]Reason
	for i, r := range p.Allow {
		if !r.Operation.Match(c.Operation) || r.ReadOnly && !c.ReadOnly {
			continue
		}
		lines, capped := r.price(c)
		why := r.object(i, c, lines)
		if len(why) == 0 {
			return Decision{Allowed: true, Rule: i, Lines: lines, Capped: capped}
		}
		objections = append(objections, why)
	}
	if len(objections) == 0 {
		return Decision{Reasons: []Reason{{Code: reason.OperationDenied, Rule: -1, Detail: "no rule allows " + c.Operation}}}
	}
	slices.SortStableFunc(objections, func(a, b []Reason) int { return len(a) - len(b) })
	return Decision{Reasons: slices.Concat(objections...)}
}

// price is what to reserve under r: the bound, or the ceiling where there is none.
func (r Rule) price(c Call) (lines []cost.Line, capped bool) {
	if c.Priced || c.ToProbe || r.Ceiling.IsZero() {
		return c.Lines, false
	}
	meter := c.Meter
	if r.Ceiling.Currency == "" {
		meter = r.Ceiling.Meter
	}
	return []cost.Line{{Meter: meter, Currency: r.Ceiling.Currency, Amount: r.Ceiling.Value}}, true
}

// object collects what r, the rule at index i, has against c.
func (r Rule) object(i int, c Call, lines []cost.Line) []Reason {
	var why []Reason
	add := func(code reason.Code, param, format string, args ...any) {
		why = append(why, Reason{Code: code, Rule: i, Param: param, Detail: fmt.Sprintf(format, args...)})
	}
	r.objectParams(c, add)
	for _, country := range c.Countries {
		if len(r.Countries) > 0 && !slices.Contains(r.Countries, country) {
			add(reason.CountryDenied, "", "country %s is not among %s", country, strings.Join(r.Countries, ", "))
		}
	}
	if len(r.Countries) > 0 && len(c.Countries) == 0 && !c.ReadOnly {
		add(reason.CountryDenied, "", "the rule names countries and this operation tells none")
	}
	r.objectRecipients(c, add)
	if !c.Priced && !c.ToProbe && r.Ceiling.IsZero() {
		add(reason.CostUnknown, "", "%s", c.Why)
	}
	if !c.ToProbe {
		r.objectCost(lines, add)
	}
	return why
}

type adder func(code reason.Code, param, format string, args ...any)

func (r Rule) objectParams(c Call, add adder) {
	for _, name := range c.Redirects {
		if _, named := r.Params.find(name); !named {
			add(reason.ParamRedirects, name, "it redirects money or effect; name it in the rule's params to allow it")
		}
	}
	for _, name := range c.Unknown {
		if _, named := r.Params.find(name); !named {
			add(reason.ParamUnknown, name, "the catalogue of %s does not list it; name it in the rule's params to allow it", c.Operation)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(r.Params)) {
		m := r.Params[name]
		values := c.values(name)
		if len(values) == 0 && !m.Optional && !m.Any {
			add(reason.ParamDenied, name, "the rule demands it")
		}
		for _, v := range values {
			if !m.matches(v) {
				add(reason.ParamDenied, name, "its value is not one that the rule allows: %s", m)
			}
		}
	}
}

// values returns the values of every parameter that name means: itself, or with a trailing "[*]" all below it.
func (c Call) values(name string) []string {
	root, deep := strings.CutSuffix(name, "[*]")
	if !deep {
		return c.Params[name]
	}
	var all []string
	for n, v := range c.Params {
		if n == root || strings.HasPrefix(n, root+"[") {
			all = append(all, v...)
		}
	}
	return all
}

// find returns the test for a parameter: one of its own name, or one of a group above it ("metadata[*]").
func (p Params) find(name string) (Match, bool) {
	if m, ok := p[name]; ok {
		return m, true
	}
	for group, m := range p {
		if root, deep := strings.CutSuffix(group, "[*]"); deep && (name == root || strings.HasPrefix(name, root+"[")) {
			return m, true
		}
	}
	return Match{}, false
}

func (r Rule) objectRecipients(c Call, add adder) {
	if len(r.Recipients) == 0 || c.ReadOnly {
		return
	}
	if len(c.Recipients) == 0 {
		add(reason.RecipientDenied, "", "the rule names recipients and this operation tells none")
	}
	for n, to := range c.Recipients {
		if !slices.ContainsFunc(r.Recipients, func(p string) bool { return glob(p, to) }) {
			add(reason.RecipientDenied, "", "recipient %d is not among those that the rule allows", n+1)
		}
	}
}

// glob matches a recipient: exactly, by a prefix ("+1415*") or by a suffix ("*@acme.com").
func glob(pattern, s string) bool {
	if prefix, ok := strings.CutSuffix(pattern, "*"); ok {
		return prefix != "" && strings.HasPrefix(s, prefix)
	}
	if suffix, ok := strings.CutPrefix(pattern, "*"); ok {
		return suffix != "" && strings.HasSuffix(s, suffix)
	}
	return pattern == s
}

func (r Rule) objectCost(lines []cost.Line, add adder) {
	limit := r.MaxPerCall
	if limit.IsZero() {
		return
	}
	meter := limit.Meter
	if limit.Currency != "" {
		meter = cost.Spend
	}
	for _, l := range lines {
		if meter == cost.Spend && l.Meter.Money() && l.Currency != limit.Currency && l.Amount > 0 {
			add(reason.CurrencyDenied, "", "the call costs %s and the rule's limit is in %s", l.Currency, limit.Currency)
		}
	}
	total, err := cost.Sum(lines, meter, limit.Currency)
	if err != nil || total > limit.Value {
		add(reason.MaxPerCall, "", "the call costs up to %s and the rule allows %s for one call", cost.Format(total, limit.Currency, meter), limit)
	}
}

// matches tests one value.
func (m Match) matches(v string) bool {
	if m.Any {
		return true
	}
	if len(m.OneOf) == 0 && m.Prefix == "" && m.Max == "" {
		return false
	}
	if len(m.OneOf) > 0 && !slices.Contains(m.OneOf, v) {
		return false
	}
	if m.Max != "" && !atMost(v, m.Max) {
		return false
	}
	return strings.HasPrefix(v, m.Prefix)
}

func atMost(value, limit string) bool {
	v, err := cost.ParseCount(value)
	if err != nil {
		return false
	}
	top, err := cost.ParseCount(limit)
	return err == nil && v <= top
}

// String describes the test, for a message.
func (m Match) String() string {
	switch {
	case m.Any:
		return "any"
	case len(m.OneOf) > 0:
		return "one of " + strings.Join(m.OneOf, ", ")
	case m.Max != "":
		return "a whole number up to " + m.Max
	case m.Prefix != "":
		return "starting with " + m.Prefix
	}
	return "nothing"
}
