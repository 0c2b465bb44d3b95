package kbstripe

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/reason"
	"github.com/keybrake/keybrake-go/vendors"
)

// When an amount that is not final is worth looking at again. An authorisation lapses after seven days by
// default; a payout shown as paid may turn to failed within five business days.
const (
	soon       = 24 * time.Hour
	withinWeek = 7 * 24 * time.Hour
)

// A reader takes fields out of one JSON object and keeps the first error. Money is read from exactly these
// fields and never guessed: absent, negative, fractional or quoted numbers are errors, and the hold stays.
type reader struct {
	tree any
	err  error
}

// readReply reads a reply's body as a Stripe object of the given kind, which has an id.
func readReply(r *vendors.Reply, kind string) *reader {
	tree, err := vendors.DecodeJSON(r.Body)
	if err != nil {
		return &reader{err: errors.New("kbstripe: the reply is not one JSON document")}
	}
	return readObject(tree, kind)
}

func readObject(tree any, kind string) *reader {
	o := &reader{tree: tree}
	if got := o.text("object"); o.err == nil && got != kind {
		o.err = fmt.Errorf("kbstripe: the reply is not a %s", kind)
	}
	return o
}

func (o *reader) fail(name, want string) {
	if o.err == nil {
		o.err = fmt.Errorf("kbstripe: the reply's %s is not %s", name, want)
	}
}

// has reports whether a field is there and not null.
func (o *reader) has(name string) bool {
	v, ok := vendors.Member(o.tree, name)
	return ok && v != nil
}

// text is a field that has to be a string.
func (o *reader) text(name string) string {
	v, _ := vendors.Member(o.tree, name)
	s, ok := v.(string)
	if !ok || s == "" {
		o.fail(name, "a string")
	}
	return s
}

// maybe is a field that may be a string: an id that was not expanded. Anything else is the empty string.
func (o *reader) maybe(name string) string {
	v, _ := vendors.Member(o.tree, name)
	s, _ := v.(string)
	return s
}

// truth is a field that has to be a boolean.
func (o *reader) truth(name string) bool {
	v, _ := vendors.Member(o.tree, name)
	b, ok := v.(bool)
	if !ok {
		o.fail(name, "a boolean")
	}
	return b
}

// isTrue reports whether a field is true; absent or null it is not.
func (o *reader) isTrue(name string) bool { return o.has(name) && o.truth(name) }

// signed is a field that has to be a whole number, below zero or not, whose size is within [cost.Max].
func (o *reader) signed(name string) int64 {
	v, _ := vendors.Member(o.tree, name)
	n, ok := v.(json.Number)
	size, below := strings.CutPrefix(n.String(), "-")
	minor, err := cost.ParseCount(size)
	if !ok || err != nil {
		o.fail(name, "a whole number of minor units")
		return 0
	}
	if below {
		return -minor
	}
	return minor
}

// amount is a field that has to be a whole number in 0..[cost.Max].
func (o *reader) amount(name string) int64 {
	v, _ := vendors.Member(o.tree, name)
	n, ok := v.(json.Number)
	minor, err := cost.ParseCount(n.String())
	if !ok || err != nil {
		o.fail(name, "a whole number of minor units, zero or more")
		return 0
	}
	return minor
}

// currency is the field of that name.
func (o *reader) currency() cost.Currency {
	c := currencyOf(o.text("currency"))
	if c == "" {
		o.fail("currency", "a three-letter code")
	}
	return c
}

// child is a field that has to be an object of the given kind.
func (o *reader) child(name, kind string) *reader {
	v, _ := vendors.Member(o.tree, name)
	if o.err != nil {
		return o
	}
	return readObject(v, kind)
}

// probed reads the reply to a probe as the object of that kind and id. Everything else refuses the call: what
// was not read is not priced.
func probed(seen *vendors.Reply, kind, id string) (*reader, error) {
	if seen.Status != http.StatusOK {
		return nil, vendors.Refuse(reason.ProbeFailed, "Stripe answered status %d to the read of the %s", seen.Status, kind)
	}
	o := readReply(seen, kind)
	if got := o.text("id"); o.err == nil && got != id {
		o.err = fmt.Errorf("it is another %s than asked for", kind)
	}
	return o, probeError(o.err)
}

// probeError makes a reading error of a probe the refusal of its call.
func probeError(err error) error {
	if err == nil {
		return nil
	}
	return vendors.Refuse(reason.ProbeFailed, "Stripe's answer with status 200 cannot be read: %s", strings.TrimPrefix(err.Error(), "kbstripe: "))
}

// look is a bound that waits for the read of one object.
func look(operation, path string, query ...vendors.Param) vendors.Bound {
	return vendors.Bound{Probe: &vendors.Probe{Operation: operation, Path: path, Query: query}}
}

// unknown is a bound that only a ceiling can carry.
func unknown(why string) vendors.Bound { return vendors.Bound{Kind: vendors.Unknown, Why: why} }

// settled fills s with what was booked and what is still held, both in the reply's currency. A reply in another
// currency than the bound's keeps the bound and is flagged: no rate is at hand that would make the two agree. So does
// one that names less than was asked for to the unit: nothing in it says where the rest is.
func settled(s vendors.Settlement, b vendors.Bound, meter cost.Meter, booked, held money) (vendors.Settlement, error) {
	var err error
	if s.Actual, err = booked.lines(meter); err != nil {
		return vendors.Settlement{}, fmt.Errorf("kbstripe: the reply's amount: %w", err)
	}
	if s.Held, err = held.lines(meter); err != nil {
		return vendors.Settlement{}, fmt.Errorf("kbstripe: the reply's amount: %w", err)
	}
	switch {
	case len(b.Lines) == 0:
		return s, nil
	case b.Lines[0].Currency != booked.currency:
		s.Flag = "unexpected currency"
	case b.Kind == vendors.Exact && sum(s.Actual)+sum(s.Held) < b.Lines[0].Amount:
		s.Flag = "less than asked for"
	default:
		return s, nil
	}
	switch {
	case s.Actual != nil:
		s.Actual, s.Held = b.Lines, nil
	case s.Held != nil:
		s.Held = b.Lines
	default:
		s.Flag = "" // nothing moved: a refund that failed, an intent that was cancelled
	}
	return s, nil
}

func sum(lines []cost.Line) (total int64) {
	for _, l := range lines {
		total += l.Amount
	}
	return total
}

// digits writes an amount as Stripe reads it.
func digits(minor int64) string { return strconv.FormatInt(minor, 10) }

// ids are the ids that are there.
func ids(all ...string) []string {
	return slices.DeleteFunc(all, func(id string) bool { return id == "" })
}
