package kbstripe

import (
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/vendors"
)

// A shelf is where Stripe keeps objects of one kind. {id} in its path is the id in the call's own path.
type shelf struct {
	name   string // of the reads, without ".retrieve" and ".list"
	path   string
	prefix string // how the objects' ids begin
	kind   string
	amount string // the field with the amount; empty: it has none that a bound could be compared with

	dated  bool            // the list can be asked for what was created since
	always []vendors.Param // what the list needs to show everything
	by     string          // the parameter of the call that the list has to be asked for
}

// An evidence says how Stripe is asked what became of a call: which object tells, and how it is read.
type evidence struct {
	shelf

	// own names the object where the call acts on one that was there before. nil: the call makes it, and it is known by
	// the mark that it carries, or by its id where a reply has named it.
	own func(*vendors.Call) string

	// tells says what of an own object's state is not yet proof that the call was executed, or "". An object that the
	// call makes needs none: that it is there is the proof.
	tells func(*vendors.Case, *reader) string

	// settle reads the object as if it were the call's reply; nil is the row's own.
	settle func(*vendors.Call, vendors.Bound, *vendors.Reply) (vendors.Settlement, error)

	// comesBack is how long after the call its money can still come back, though the object says that it has gone.
	comesBack time.Duration

	// find takes the place of all that, where more than one object has to be read.
	find func(*teller) vendors.Finding
}

// margin is how much earlier than the call the lists begin: Stripe's clock is not the brake's.
const margin = time.Minute

// A teller works through one case. It starts anew each time that it is asked, and takes the answers that are there in
// their order; at the first that is missing it stops, and finding says what to look at.
type teller struct {
	*vendors.Case
	row     vendors.Operation
	e       evidence
	read    int
	finding vendors.Finding
}

// reconcile is the row's Reconcile.
func (e evidence) reconcile(row vendors.Operation) func(*vendors.Case) (vendors.Finding, error) {
	return func(c *vendors.Case) (vendors.Finding, error) {
		t := &teller{Case: c, row: row, e: e}
		switch {
		case c.Doubt && free(c.Bound):
			return costsNothing(c), nil
		case e.find != nil:
			return e.find(t), nil
		}
		return t.whole(), nil
	}
}

// reconcileFree is the Reconcile of a row whose calls nothing at Stripe shows.
func reconcileFree(c *vendors.Case) (vendors.Finding, error) {
	if c.Doubt && free(c.Bound) {
		return costsNothing(c), nil
	}
	return vendors.Finding{Why: "Stripe keeps nothing by which this call can be told from another"}, nil
}

// costsNothing is the end of a call that costs the same whether it was executed or not.
func costsNothing(c *vendors.Case) vendors.Finding {
	return vendors.Finding{
		Outcome: vendors.Executed, Cost: vendors.Settlement{Actual: nothing(c.Bound)},
		Why: "the call costs nothing, whether it was executed or not",
	}
}

// nothing says that a call that could have cost something has cost none of it.
func nothing(b vendors.Bound) []cost.Line {
	if len(b.Lines) == 0 {
		return nil
	}
	return []cost.Line{{Meter: b.Lines[0].Meter, Currency: b.Lines[0].Currency}}
}

func free(b vendors.Bound) bool {
	return b.Kind != vendors.Unknown && b.Object == "" && sum(b.Lines) == 0
}

// whole finds the one object that tells, and reads it.
func (t *teller) whole() vendors.Finding {
	id := t.named()
	if id == "" {
		if id = t.marked(); id == "" {
			return t.finding
		}
	}
	r := t.object(t.e.shelf, id)
	if r == nil {
		return t.finding
	}
	return t.says(r)
}

// named is the id of the object that tells, where the call or its reply names it.
func (t *teller) named() string {
	if t.e.own != nil {
		return t.e.own(t.Call)
	}
	for _, id := range t.Objects {
		if t.e.shelf.has(id) {
			return id
		}
	}
	return ""
}

// stop ends the work with what a person should know.
func (t *teller) stop(format string, args ...any) {
	t.finding = vendors.Finding{Why: fmt.Sprintf(format, args...)}
}

// ask is the answer to a look, or nil if it was not made yet.
func (t *teller) ask(operation, path string, query ...vendors.Param) *vendors.Reply {
	if t.read < len(t.Seen) {
		t.read++
		return t.Seen[t.read-1]
	}
	t.finding = vendors.Finding{Look: &vendors.Probe{Operation: "stripe." + operation, Path: path, Query: query}}
	return nil
}

// object is the answer that shows an object of p by its id, or nil. An answer that is not wholly that object says
// nothing: not that the object is gone, nor that it never was.
func (t *teller) object(p shelf, id string, query ...vendors.Param) *vendors.Reply {
	if !p.has(id) {
		t.stop("what should be the id of a %s is none", p.kind)
		return nil
	}
	r := t.ask(p.name+".retrieve", p.in(t.Call)+"/"+id, query...)
	switch {
	case r == nil:
		return nil
	case r.Status != http.StatusOK:
		t.stop("Stripe answered status %d to the read of the %s", r.Status, p.kind)
		return nil
	}
	o := readReply(r, p.kind)
	if got := o.text("id"); o.err == nil && got != id {
		o.fail("id", "the one that was asked for")
	}
	if o.err != nil {
		t.stop("%s", plain(o.err))
		return nil
	}
	return r
}

// says is what the object's state proves.
func (t *teller) says(r *vendors.Reply) vendors.Finding {
	o := readReply(r, t.e.kind)
	if t.Doubt {
		why := ""
		if t.e.own == nil {
			why = t.e.differs(t.Bound, o)
		} else if t.e.tells != nil {
			why = t.e.tells(t.Case, o)
		}
		if o.err != nil {
			why = plain(o.err)
		}
		if why != "" {
			return vendors.Finding{Why: why}
		}
	}
	return t.costs(r, o.maybe("status"))
}

// costs reads the object as the call's reply.
func (t *teller) costs(r *vendors.Reply, status string) vendors.Finding {
	settle := t.e.settle
	if settle == nil {
		settle = t.row.Settle
	}
	s, err := settle(t.Call, t.Bound, r)
	if err != nil {
		return vendors.Finding{Why: plain(err)}
	}
	return t.found(s, status)
}

// final are the statuses after which nothing happens, or what happens comes within evidence.comesBack.
var final = []string{"", "succeeded", "paid", "posted", "complete", "active", "lost", "closed", "reversed", "expired"}

// found is the finding of a cost. What holds nothing any more, and is too old to come back, is final.
func (t *teller) found(s vendors.Settlement, status string) vendors.Finding {
	if sum(s.Held) == 0 && slices.Contains(final, status) && t.Now.Sub(t.Sent) >= t.e.comesBack {
		s.Again = 0
	}
	if len(s.Actual)+len(s.Held) == 0 {
		s.Actual = nothing(t.Bound)
	}
	if sum(s.Held) > 0 || s.Again > 0 {
		s.Again = max(s.Again, soon)
		return vendors.Finding{Outcome: vendors.Pending, Cost: s}
	}
	return vendors.Finding{Outcome: vendors.Executed, Cost: s}
}

// has reports whether id is one of p's, and can stand in a path.
func (p shelf) has(id string) bool {
	for prefix := range strings.FieldsSeq(p.prefix) {
		if rest, ok := strings.CutPrefix(id, prefix); ok && plainID.MatchString(rest) {
			return true
		}
	}
	return false
}

var plainID = regexp.MustCompile(`^[A-Za-z0-9_]{1,230}$`)

func (p shelf) in(c *vendors.Call) string { return strings.ReplaceAll(p.path, "{id}", c.IDs["id"]) }

// differs says in what an object is not what the call asked for, or "".
func (p shelf) differs(b vendors.Bound, o *reader) string {
	if p.amount == "" || len(b.Lines) == 0 {
		return ""
	}
	minor, currency := o.signed(p.amount), o.currency()
	micros, err := money{max(minor, -minor), currency}.micros()
	switch {
	case o.err != nil || err != nil:
		return fmt.Sprintf("the amount of the %s that was found cannot be read", p.kind)
	case b.Lines[0].Currency != currency:
		return fmt.Sprintf("the %s that was found is in another currency than the call", p.kind)
	case b.Kind == vendors.Exact && micros != sum(b.Lines):
		return fmt.Sprintf("the %s that was found has another amount than the call", p.kind)
	case micros > sum(b.Lines):
		return fmt.Sprintf("the %s that was found has a larger amount than the call could cost", p.kind)
	}
	return ""
}

// plain is an error for a person who reads a finding.
func plain(err error) string { return strings.TrimPrefix(err.Error(), "kbstripe: ") }

// pathID is the object of the call's path.
func pathID(c *vendors.Call) string { return c.IDs["id"] }

// sentID is the object that a parameter names.
func sentID(param string) func(*vendors.Call) string {
	return func(c *vendors.Call) string {
		id, _ := c.Get(param)
		return id
	}
}

// over tells that the object has come to the end that the call was to bring about.
func over(statuses ...string) func(*vendors.Case, *reader) string {
	return func(_ *vendors.Case, o *reader) string {
		if status := o.text("status"); !slices.Contains(statuses, status) {
			return fmt.Sprintf("its status is %.40q, which does not show that the call was executed", status)
		}
		return ""
	}
}

// ended is the settlement of a call whose object is over.
func ended(c *vendors.Call, b vendors.Bound, r *vendors.Reply) (vendors.Settlement, error) {
	tree, err := vendors.DecodeJSON(r.Body)
	o := &reader{tree: tree, err: err}
	id := o.text("id")
	return vendors.Settlement{Object: b.Object, Objects: ids(id)}, o.err
}

// bookedBound is the settlement of a call whose object shows that it was made and not what it did cost.
func bookedBound(_ *vendors.Call, b vendors.Bound, r *vendors.Reply) (vendors.Settlement, error) {
	tree, err := vendors.DecodeJSON(r.Body)
	o := &reader{tree: tree, err: err}
	id := o.text("id")
	return vendors.Settlement{Actual: b.Lines, Objects: ids(id)}, o.err
}

// reserved is a bound in the minor units of a currency.
func reserved(b vendors.Bound, currency cost.Currency) (total int64) {
	for _, l := range b.Lines {
		total += minorOf(currency, l)
	}
	return total
}
