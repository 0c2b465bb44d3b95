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
	Delicate   bool                // changes destinations, limits or settings: only a rule that names it in full allows it
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
		if !r.Names(c) {
			continue
		}
		lines, capped := r.price(c)
		why := r.object(i, c, lines, capped)
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

// Names reports whether r speaks of the operation of c, of which only Operation, ReadOnly and Delicate count. A wildcard does
// not reach what is delicate: who writes it thinks of what the vendor's API is for.
func (r Rule) Names(c Call) bool {
	if !r.Operation.Match(c.Operation) || r.ReadOnly && !c.ReadOnly {
		return false
	}
	return !c.Delicate || string(r.Operation) == c.Operation
}

// price is what to reserve under r: the bound, or the ceiling where there is none.
func (r Rule) price(c Call) (lines []cost.Line, capped bool) {
	// A ceiling that is unset or does not parse would reserve nothing for a call that costs something.
	if c.Priced || c.ToProbe || r.Ceiling.valid() != nil {
		return c.Lines, false
	}
	meter := c.Meter
	if r.Ceiling.Currency == "" {
		meter = r.Ceiling.Meter
	}
	lines = []cost.Line{{Meter: meter, Currency: r.Ceiling.Currency, Amount: r.Ceiling.Value}}
	for _, l := range c.Lines {
		if !l.Meter.Money() && l.Meter != meter { // what is known of it is judged and reserved beside the ceiling
			lines = append(lines, l)
		}
	}
	return lines, true
}

// object collects what r, the rule at index i, has against c.
func (r Rule) object(i int, c Call, lines []cost.Line, capped bool) []Reason {
	var why []Reason
	add := func(code reason.Code, param, format string, args ...any) {
		why = append(why, Reason{Code: code, Rule: i, Param: param, Detail: fmt.Sprintf(format, args...)})
	}
	r.objectParams(c, add)
	r.objectCountries(c, add)
	r.objectRecipients(c, add)
	if !c.Priced && !c.ToProbe && !capped {
		add(reason.CostUnknown, "", "%s", c.Why)
	}
	for _, l := range c.Lines {
		if capped && l.Meter.Money() && (l.Currency != r.Ceiling.Currency || l.Amount > r.Ceiling.Value) {
			add(reason.CostUnknown, "", "the call costs more than %s, which is above the rule's ceiling, %s", l, r.Ceiling)
		}
	}
	if !c.ToProbe {
		r.objectCost(lines, add)
	}
	return why
}

type adder func(code reason.Code, param, format string, args ...any)

func (r Rule) objectParams(c Call, add adder) {
	for _, name := range c.Redirects {
		r.objectUnlisted(c, name, add, reason.ParamRedirects, "it redirects money or effect")
	}
	if c.Paid {
		for _, name := range c.Unknown {
			r.objectUnlisted(c, name, add, reason.ParamUnknown, "the catalogue of "+c.Operation+" does not list it")
		}
	}
	for _, name := range slices.Sorted(maps.Keys(r.Params)) {
		m := r.Params[name]
		values := c.values(name)
		if len(values) == 0 && !m.Optional && !m.Any {
			add(reason.ParamDenied, name, "the rule demands it")
		}
		if slices.ContainsFunc(values, func(v string) bool { return !m.matches(v) }) {
			add(reason.ParamDenied, name, "its value is not one that the rule allows: %s", m)
		}
	}
}

// objectUnlisted objects to a parameter that needs a test of its own and has none. One whose value the call
// does not show passes only a test that takes every value, since an absent value is not tested otherwise.
func (r Rule) objectUnlisted(c Call, name string, add adder, code reason.Code, what string) {
	tests := r.Params.about(name)
	if len(tests) == 0 {
		add(code, name, "%s; name it in the rule's params to allow it", what)
	}
	if len(c.Params[name]) == 0 && slices.ContainsFunc(tests, func(m Match) bool { return !m.Any }) {
		add(reason.ParamDenied, name, "its value cannot be seen, so the rule's test cannot be made")
	}
}

// values returns the values of every parameter that a test of name is made on: itself and all below it. That
// goes for a name without "[*]" too, or a test of "shipping" would let shipping[address] pass unseen.
func (c Call) values(name string) []string {
	root := strings.TrimSuffix(name, "[*]")
	var all []string
	for n, v := range c.Params {
		if n == root || strings.HasPrefix(n, root+"[") {
			all = append(all, v...)
		}
	}
	return all
}

// about returns the tests that speak of a parameter: one of its own name, and those of groups above it
// ("metadata[*]").
func (p Params) about(name string) []Match {
	var tests []Match
	for n, m := range p {
		root, deep := strings.CutSuffix(n, "[*]")
		if n == name || deep && (name == root || strings.HasPrefix(name, root+"[")) {
			tests = append(tests, m)
		}
	}
	return tests
}

func (r Rule) objectCountries(c Call, add adder) {
	if len(r.Countries) == 0 {
		return
	}
	if len(c.Countries) == 0 && !c.ReadOnly {
		add(reason.CountryDenied, "", "the rule names countries and this operation tells none")
	}
	for _, country := range slices.Compact(slices.Sorted(slices.Values(c.Countries))) {
		if !slices.Contains(r.Countries, country) {
			add(reason.CountryDenied, "", "country %s is not among %s", country, strings.Join(r.Countries, ", "))
		}
	}
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
			add(reason.RecipientDenied, "", "recipient %d of %d is not among those that the rule allows", n+1, len(c.Recipients))
			return // a mail to thousands of others is one objection
		}
	}
}

// glob matches a recipient: exactly, by a prefix ("+1415*") or by a suffix ("*@acme.com").
func glob(pattern, s string) bool {
	if prefix, ok := strings.CutSuffix(pattern, "*"); ok {
		return prefix != "" && strings.HasPrefix(s, prefix)
	}
	if suffix, ok := strings.CutPrefix(pattern, "*"); ok {
		return strings.HasSuffix(s, suffix)
	}
	return pattern == s
}

// objectCost compares lines with the limit for one call. A limit that did not parse allows nothing.
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
	switch {
	case limit.valid() != nil || meter == cost.Calls:
		add(reason.MaxPerCall, "", "the rule's limit for one call is not valid, so nothing is within it")
	case err != nil:
		add(reason.MaxPerCall, "", "the call costs more than can be counted and the rule allows %s for one call", limit)
	case total > limit.Value:
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
	if m.Any {
		return "any"
	}
	var parts []string
	if len(m.OneOf) > 0 {
		parts = append(parts, "one of "+strings.Join(m.OneOf, ", "))
	}
	if m.Prefix != "" {
		parts = append(parts, "starting with "+m.Prefix)
	}
	if m.Max != "" {
		parts = append(parts, "a whole number up to "+m.Max)
	}
	if len(parts) == 0 {
		return "nothing"
	}
	return strings.Join(parts, " and ")
}
