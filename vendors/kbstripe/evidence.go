package kbstripe

import (
	"fmt"
	"net/http"
	"net/url"
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

// marked is the id of the object that carries the call's mark, or empty. The list is read from the newest object back
// to the call. Stripe's lists are complete at once and its searches are not, so that only lists are read.
func (t *teller) marked() string {
	if t.Mark == "" {
		t.stop("the call carries no mark, and no reply has named what it made, so nothing at Stripe can be told to be its")
		return ""
	}
	if strings.HasPrefix(t.e.path, "/v2/") {
		return t.markedV2()
	}
	query := t.listQuery()
	if query == nil {
		return ""
	}
	after := ""
	for {
		page := query
		if after != "" {
			page = append(slices.Clone(query), vendors.Param{Name: "starting_after", Value: after})
		}
		r := t.ask(t.e.name+".list", t.e.in(t.Call), page...)
		if r == nil {
			return t.unlessTooMany()
		}
		o, data := t.page(r)
		if o == nil {
			return ""
		}
		id, last := t.inPage(data)
		switch more := o.truth("has_more"); {
		case o.err != nil:
			t.stop("%s", plain(o.err))
			return ""
		case t.finding.Why != "" || id != "":
			return id
		case !more || t.before(data):
			t.absent()
			return ""
		case last == "" || last == after:
			t.stop("the list of %ss does not go on", t.e.kind)
			return ""
		default:
			after = last
		}
	}
}

// unlessTooMany gives up where a list has more pages than may be read.
func (t *teller) unlessTooMany() string {
	if len(t.Seen) >= vendors.MostLooks-1 { // one is kept for the object
		t.stop("the list of %ss since the call is longer than %d pages", t.e.kind, len(t.Seen))
	}
	return ""
}

func (t *teller) absent() {
	t.finding = vendors.Finding{
		Absent: t.Doubt,
		Why:    fmt.Sprintf("no %s that was created since the call carries its mark", t.e.kind),
	}
}

// listQuery asks for everything since the call; nil where the list cannot be asked for.
func (t *teller) listQuery() []vendors.Param {
	query := []vendors.Param{{Name: "limit", Value: "100"}}
	if t.e.dated {
		query = append(query, vendors.Param{Name: "created[gte]", Value: digits(t.Sent.Add(-margin).Unix())})
	}
	if t.e.by != "" {
		v, ok := t.Call.Get(t.e.by)
		if !ok || !plainID.MatchString(v) {
			t.stop("the list of %ss needs the call's %s, which is not known any more", t.e.kind, t.e.by)
			return nil
		}
		query = append(query, vendors.Param{Name: t.e.by, Value: v})
	}
	return append(query, t.e.always...)
}

// page reads one page of a list.
func (t *teller) page(r *vendors.Reply) (*reader, []any) {
	if r.Status != http.StatusOK {
		t.stop("Stripe answered status %d to the list of %ss", r.Status, t.e.kind)
		return nil, nil
	}
	o := readReply(r, "list")
	v, _ := vendors.Member(o.tree, "data")
	data, ok := v.([]any)
	if !ok && o.err == nil {
		o.fail("data", "a list")
	}
	if o.err != nil {
		t.stop("%s", plain(o.err))
		return nil, nil
	}
	return o, data
}

// inPage is the id of the one object in a page that carries the mark, and the id of the last one.
func (t *teller) inPage(data []any) (id, last string) {
	for _, v := range data {
		o := readObject(v, t.e.kind)
		last = o.text("id")
		if o.err != nil {
			t.stop("an element of the list cannot be read: %s", plain(o.err))
			return "", ""
		}
		if o.mark() != t.Mark {
			continue
		}
		if id != "" {
			t.stop("two %ss carry the call's mark", t.e.kind)
			return "", ""
		}
		id = last
	}
	return id, last
}

// mark is the mark that an object carries, or empty.
func (o *reader) mark() string {
	if !o.has("metadata") {
		return ""
	}
	v, _ := vendors.Member(o.tree, "metadata")
	return (&reader{tree: v}).maybe(markCall)
}

// before reports whether a page of a list that cannot be asked for a time ends before the call. Lists are in the order
// of creation, the newest first.
func (t *teller) before(data []any) bool {
	if t.e.dated || len(data) == 0 {
		return false
	}
	o := &reader{tree: data[len(data)-1]}
	created := o.amount("created")
	return o.err == nil && created > 0 && time.Unix(created, 0).Before(t.Sent.Add(-time.Hour))
}

// markedV2 is marked in the lists of /v2, whose pages name the next one.
func (t *teller) markedV2() string {
	query := []vendors.Param{{Name: "limit", Value: "100"}, {Name: "created_gte", Value: t.Sent.Add(-margin).UTC().Format(time.RFC3339)}}
	for {
		r := t.ask(t.e.name+".list", t.e.path, query...)
		if r == nil {
			return t.unlessTooMany()
		}
		if r.Status != http.StatusOK {
			t.stop("Stripe answered status %d to the list of %ss", r.Status, t.e.kind)
			return ""
		}
		tree, err := vendors.DecodeJSON(r.Body)
		v, listed := vendors.Member(tree, "data")
		data, ok := v.([]any)
		next, paged := vendors.Member(tree, "next_page_url")
		if err != nil || !listed || !ok || !paged {
			t.stop("the answer is not a list of %ss", t.e.kind)
			return ""
		}
		id, _ := t.inPage(data)
		if t.finding.Why != "" || id != "" {
			return id
		}
		if next == nil {
			t.absent()
			return ""
		}
		if query = nextPage(next, t.e.path); query == nil {
			t.stop("the list of %ss does not go on", t.e.kind)
			return ""
		}
	}
}

// nextPage is the query of the next page, if that is a page of the same list.
func nextPage(next any, path string) (query []vendors.Param) {
	text, _ := next.(string)
	u, err := url.Parse(text)
	if err != nil || u.Path != path || u.Host != "" && u.Host != apiHost {
		return nil
	}
	values, err := url.ParseQuery(u.RawQuery)
	if err != nil || values.Get("page") == "" {
		return nil
	}
	for _, name := range slices.Sorted(func(yield func(string) bool) {
		for name := range values {
			if !yield(name) {
				return
			}
		}
	}) {
		query = append(query, vendors.Param{Name: name, Value: values.Get(name)})
	}
	return query
}

// plain is an error for a person who reads a finding.
func plain(err error) string { return strings.TrimPrefix(err.Error(), "kbstripe: ") }

// pathID is the object of the call's path.
func pathID(c *vendors.Call) string { return c.IDs["id"] }

// sent is the object that a parameter names.
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
