package policy

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/internal/document"
)

// Validate reports every mistake in p, each with the path of its field, in the order of the fields; nil when
// there is none. A policy that is not valid is refused where a key is issued. What would only be useless (a rule
// that can match nothing) is a mistake too: somebody meant something by it.
func (p Policy) Validate() error {
	var errs []error
	for _, f := range p.faults() {
		errs = append(errs, f)
	}
	return errors.Join(errs...)
}

// faults collects what is wrong.
type faults []*document.Fault

// add keeps err, unless it is nil.
func (f *faults) add(path string, err error) {
	if err != nil {
		*f = append(*f, &document.Fault{Path: path, Err: err})
	}
}

func (f *faults) addf(path, format string, args ...any) { f.add(path, fmt.Errorf(format, args...)) }

func (p Policy) faults() faults {
	var f faults
	for i, r := range p.Allow {
		r.check(&f, "allow["+strconv.Itoa(i)+"]")
	}
	for i, b := range p.Budgets {
		b.check(&f, "budgets["+strconv.Itoa(i)+"]")
		b.checkTwin(&f, i, p.Budgets)
	}
	p.Repeat.check(&f, "repeat")
	return f
}

func (r Rule) check(f *faults, path string) {
	f.add(path+".operation", operation(r.Operation))
	f.add(path+".max_per_call", perCall(r.MaxPerCall))
	f.add(path+".ceiling", perCall(r.Ceiling))
	f.add(path+".ceiling", r.reachable())
	if r.Ceiling.valid() == nil && r.Ceiling.Value == 0 {
		f.addf(path+".ceiling", "a ceiling of nothing would reserve nothing for a call that costs something; leave it out to deny such calls")
	}
	for _, name := range slices.Sorted(maps.Keys(r.Params)) {
		at := path + ".params" + document.Member(name)
		f.add(at, paramName(name))
		r.Params[name].check(f, at)
	}
	notEmpty(f, path+".countries", r.Countries)
	for i, c := range r.Countries {
		f.add(document.Element(path+".countries", i), country(c))
	}
	notEmpty(f, path+".recipients", r.Recipients)
	for i, to := range r.Recipients {
		f.add(document.Element(path+".recipients", i), recipient(to))
	}
}

// notEmpty refuses a list that is there and empty: a reader takes it for "nobody", and Decide would take it for
// "no limit", as it takes a list that is not there.
func notEmpty[S ~[]E, E any](f *faults, path string, list S) {
	if list != nil && len(list) == 0 {
		f.addf(path, "an empty list would be no limit at all; name at least one, or leave the field out")
	}
}

func operation(p cost.Pattern) error {
	switch {
	case p == "":
		return errors.New("unset, so it matches nothing; name an operation such as stripe.refunds.create")
	case p.Valid() != nil:
		return p.Valid()
	case !strings.Contains(string(p), "."):
		return fmt.Errorf("%q is a vendor and matches nothing; write %s.* for all of its operations", string(p), string(p))
	}
	return nil
}

// perCall checks an optional amount that speaks of a single call.
func perCall(a Amount) error {
	if a.IsZero() {
		return nil
	}
	if err := a.valid(); err != nil {
		return err
	}
	if a.Meter == cost.Calls {
		return fmt.Errorf("%q makes no sense for one call; write money or units", a)
	}
	return nil
}

// reachable refuses a ceiling that the limit for one call never lets through.
func (r Rule) reachable() error {
	c, m := r.Ceiling, r.MaxPerCall
	switch {
	case c.valid() != nil || m.valid() != nil:
		return nil // unset, or reported already
	case c.Currency != "" && m.Currency != "" && c.Currency != m.Currency:
		return fmt.Errorf("%s can never be within max_per_call, which is in %s", c, m.Currency)
	case c.Meter == m.Meter && c.Value > m.Value:
		return fmt.Errorf("%s can never be within max_per_call, %s", c, m)
	}
	return nil
}

// paramForm is a parameter's name as rules write it: a word, names in brackets, at most one "[*]", at the end.
var paramForm = regexp.MustCompile(`^[A-Za-z_$][A-Za-z0-9_.$:-]*(\[[^\[\]*]+\])*(\[\*\])?$`)

var position = regexp.MustCompile(`\[[0-9]*\]`)

func paramName(name string) error {
	switch {
	case position.MatchString(name):
		return fmt.Errorf("%q has a list position; write it without, it means every element", name)
	case !paramForm.MatchString(name) || !printable(name) || len(name) > 256:
		return fmt.Errorf("%q is not a parameter's name such as reason, metadata[order] or metadata[*]", name)
	}
	return nil
}

func country(c string) error {
	if len(c) != 2 || strings.Trim(c, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != "" {
		return fmt.Errorf("%q is not an ISO 3166 country code of two upper-case letters", c)
	}
	return nil
}

// recipient checks a pattern. An end that is left open must stop at a border that the other side cannot move:
// "*acme.com" would also be evilacme.com, and "a@acme*" also a@acme.evil.com.
func recipient(to string) error {
	inner := strings.TrimPrefix(to, "*")
	if inner == to {
		inner = strings.TrimSuffix(to, "*")
	}
	switch {
	case to == "":
		return errors.New("an empty recipient matches nothing")
	case inner == "":
		return errors.New("a lone star is refused; leave recipients out to allow everybody")
	case strings.Contains(inner, "*"):
		return fmt.Errorf("%q has a star that is not its only one at one end", to)
	case !printable(to) || strings.ContainsFunc(to, unicode.IsSpace):
		return fmt.Errorf("%q has a space or a character that is not printable; write the bare address", to)
	case to[0] == '*' && inner[0] != '@' && inner[0] != '.':
		return fmt.Errorf("%q would match look-alikes of %s; write *@%s", to, inner, inner)
	case strings.HasSuffix(to, "*") && strings.Contains(inner, "@"):
		return fmt.Errorf("%q leaves the domain open; write the whole address, or *@ and the domain", to)
	}
	return nil
}

func (m Match) check(f *faults, path string) {
	set := len(m.OneOf) > 0 || m.Prefix != "" || m.Max != ""
	switch {
	case m.Any && set:
		f.addf(path, "any allows every value, so the other conditions would be ignored; drop one or the other")
	case !m.Any && !m.Optional && !set && m.OneOf == nil && m.err == nil:
		f.addf(path, "it has no condition, so it matches nothing; use any, one_of, prefix or max, or optional to forbid the parameter")
	}
	notEmpty(f, path+".one_of", m.OneOf)
	for i, v := range m.OneOf {
		f.add(document.Element(path+".one_of", i), m.text(v))
	}
	f.add(path+".prefix", undamaged(m.Prefix))
	f.add(path+".max", m.checkMax())
}

// text checks one of the listed values: whole, and not ruled out by the test's other conditions.
func (m Match) text(v string) error {
	if err := undamaged(v); err != nil {
		return err
	}
	if !(Match{Prefix: m.Prefix, Max: m.Max, OneOf: []string{v}}).matches(v) {
		return fmt.Errorf("%q can never pass, because of prefix or max beside it", v)
	}
	return nil
}

func (m Match) checkMax() error {
	if m.err != nil {
		return m.err
	}
	if m.Max == "" {
		return nil
	}
	if _, err := cost.ParseCount(m.Max); err != nil {
		return err
	}
	if strings.Trim(m.Prefix, "0123456789") != "" {
		return errors.New("no whole number starts with the prefix beside it")
	}
	return nil
}

// undamaged refuses text that would not come back from a file as it was.
func undamaged(s string) error {
	if strings.ContainsRune(s, utf8.RuneError) {
		return fmt.Errorf("%q is not whole UTF-8 text", s)
	}
	return nil
}

func printable(s string) bool {
	return undamaged(s) == nil && !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })
}

func (b Budget) check(f *faults, path string) {
	f.add(path+".name", name(b.Name))
	f.add(path+".scope", name(b.Scope))
	if b.Scope != "" && b.Limit.IsZero() {
		b.checkBare(f, path)
		return
	}
	if b.Limit.IsZero() {
		f.addf(path+".limit", "unset; write an amount such as \"80 USD\" or \"150 calls\"")
	} else {
		f.add(path+".limit", b.Limit.valid())
	}
	f.add(path+".meter", b.checkMeter())
	if !b.Window.Valid() {
		f.addf(path+".window", "%q is not lifetime, hour, day, month or a rolling span such as \"rolling 24h\"", string(b.Window))
	}
	_, err := cost.Zone(b.Zone)
	f.add(path+".zone", err)
	if b.Window.Rolls() > 0 && b.Zone != "" {
		f.addf(path+".zone", "a rolling window has no time zone; leave it out")
	}
	notEmpty(f, path+".alert_at", b.AlertAt)
	for i, p := range b.AlertAt {
		if at := document.Element(path+".alert_at", i); p.percent() == 0 {
			f.addf(at, "%q is not a share of the limit from \"1%%\" to \"100%%\"", string(p))
		} else if slices.Contains(b.AlertAt[:i], p) {
			f.addf(at, "%q stands twice", string(p))
		}
	}
	notEmpty(f, path+".only", b.Only)
	for i, p := range b.Only {
		f.add(document.Element(path+".only", i), operation(p))
	}
}

// checkBare refuses what a shared budget without a limit would say about its row: the row alone decides, and a
// reader would think that the policy does.
func (b Budget) checkBare(f *faults, path string) {
	for _, field := range []struct {
		name string
		set  bool
	}{{"meter", b.Meter != ""}, {"window", b.Window != ""}, {"zone", b.Zone != ""}, {"only", b.Only != nil}, {"alert_at", b.AlertAt != nil}} {
		if field.set {
			f.addf(path+"."+field.name, "the ledger's row of %q decides this; leave it out, or write a limit beside it", b.Scope)
		}
	}
}

// mostRepeats is how many repetitions a ledger remembers.
const mostRepeats = 1000

func (r Repeat) check(f *faults, path string) {
	if r.IsZero() {
		return
	}
	switch err := r.Limit.valid(); {
	case r.Limit.IsZero():
		f.addf(path+".limit", "unset; write a number of calls such as \"3 calls\"")
	case err != nil:
		f.add(path+".limit", err)
	case r.Limit.Meter != cost.Calls:
		f.addf(path+".limit", "%q is not a number of calls such as \"3 calls\"", r.Limit)
	case r.Limit.Value < 1 || r.Limit.Value > mostRepeats:
		f.addf(path+".limit", "%q is not between 1 and %d calls", r.Limit, mostRepeats)
	}
	if r.Answer && r.Limit.Value > 1 {
		f.addf(path+".answer", "goes with a limit of \"1 calls\", and not of %q: which answer would it be?", r.Limit)
	}
	if r.Window.Rolls() == 0 {
		f.addf(path+".window", "%q is not a rolling span such as \"rolling 10m\"", string(r.Window))
	}
}

func (b Budget) checkMeter() error {
	switch {
	case b.Meter == "":
		return nil
	case b.Limit.Currency == "" && !b.Limit.IsZero():
		return fmt.Errorf("a limit in %s counts those already; leave the meter out", b.Limit.Meter)
	case !b.Meter.Money():
		return fmt.Errorf("%q is not charge, outflow, fee or spend", string(b.Meter))
	}
	return nil
}

// checkTwin refuses a budget that cannot be told from an earlier one: a scope drawn on twice would be charged
// twice, and two of one name leave the reader of a denial guessing.
func (b Budget) checkTwin(f *faults, i int, all []Budget) {
	path := document.Element("budgets", i)
	for j, other := range all[:i] {
		switch {
		case b.Scope != "" && b.Scope == other.Scope:
			f.addf(path+".scope", "%q is the scope of budgets[%d] already", b.Scope, j)
			return
		case b.Title() == other.Title():
			f.addf(path+".name", "%q is the name of budgets[%d] already; give it another", b.Title(), j)
			return
		}
	}
}

// name checks an optional name.
func name(s string) error {
	if len(s) > 64 || strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789:._-") != "" {
		return fmt.Errorf("%q is not a name of 1 to 64 of the characters A-Z a-z 0-9 : . _ -", s)
	}
	return nil
}
