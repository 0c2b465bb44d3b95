package rules

import (
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/internal/document"
	"github.com/keybrake/keybrake-go/vendors"
)

// A reconcile says how the vendor's own object tells what became of a call whose end is not known. It is read by an
// operation of the file that reads one by its id.
type reconcile struct {
	Operation   string   `json:"operation"`
	ID          *source  `json:"id"`           // in the call's path; default: the one object that the reply named
	Names       string   `json:"names"`        // a path in the answer, where the same id has to stand
	State       string   `json:"state"`        // a path in the answer, to one of the words below
	Executed    []string `json:"executed"`     // it was, for good
	NotExecuted []string `json:"not_executed"` // it failed and costs nothing
	Lines       []line   `json:"lines"`        // what it did cost; default: what was booked, else what was reserved
}

func (c *checker) reconcile(path string, r *reconcile) {
	if _, ok := c.file.lane(r.Operation); !ok {
		c.fail(path+".operation", "%q is no operation of this file that is a GET of class read with one id in its path", r.Operation)
	}
	switch {
	case r.ID != nil && (r.ID.ID == "" || r.ID.Optional || r.ID.Default != ""):
		c.fail(path+".id", "of the call no more than the ids in its path is kept: write {id: name}")
	case r.ID != nil:
		c.source(path+".id", r.ID)
	case c.op.Settle == nil || len(c.op.Settle.Objects) == 0:
		c.fail(path+".id", "say which, or let settle.objects name what the reply does")
	}
	for at, p := range map[string]string{"names": r.Names, "state": r.State} {
		if _, err := parsePath(p); err != nil {
			c.fail(path+"."+at, "%w", err)
		}
	}
	if len(r.Executed) == 0 && len(r.NotExecuted) == 0 {
		c.fail(path+".executed", "name the words by which the vendor says that it was, or was not")
	}
	for i, word := range r.NotExecuted {
		if contains(r.Executed, word) {
			c.fail(document.Element(path+".not_executed", i), "it says that the call was executed, too")
		}
	}
	c.seen, c.later = true, true
	c.settled(path+".lines", r.Lines)
	c.seen, c.later = false, false
}

// reconcile looks at the object and reads its state. Whatever it cannot read tells nothing, nor does a word that the file
// does not name: the hold stays.
func (p pricer) reconcile(c *vendors.Case) (f vendors.Finding, err error) {
	r := p.op.Reconcile
	id, why := r.object(c)
	if why != "" {
		return vendors.Finding{Why: why}, nil
	}
	if len(c.Seen) == 0 {
		f.Look = &vendors.Probe{Operation: r.Operation, Path: p.after.before + id + p.after.after}
		return f, nil
	}
	seen := c.Seen[len(c.Seen)-1]
	if seen == nil || seen.Status != http.StatusOK {
		return vendors.Finding{Why: "the vendor did not show the object"}, nil
	}
	tree, err := vendors.DecodeJSON(seen.Body)
	if err != nil {
		return vendors.Finding{Why: "the vendor's answer cannot be read"}, nil
	}
	if named, err := walk(tree, r.Names, strict); err != nil || len(named) != 1 || named[0] != id {
		return vendors.Finding{Why: "the vendor's answer is about something else"}, nil
	}
	states, err := walk(tree, r.State, strict)
	word := ""
	if err == nil && len(states) == 1 {
		word, _ = states[0].(string)
	}
	f.Cost.Objects = []string{id}
	switch {
	case word != "" && contains(r.NotExecuted, word):
		f.Outcome = vendors.NotExecuted
		return f, nil
	case word == "" || !contains(r.Executed, word):
		return vendors.Finding{Why: "the object is in none of the states that tell"}, nil
	}
	if f.Cost.Actual, err = p.found(c, tree); err != nil {
		return vendors.Finding{Why: "the object does not say what the call did cost"}, nil
	}
	if c.Doubt && !within(f.Cost.Actual, c.Bound.Lines) {
		return vendors.Finding{Why: "the object is of another amount or currency than the call was to have"}, nil
	}
	f.Outcome = vendors.Executed
	return f, nil
}

// object is the id of the object to look at, or why there is none.
func (r *reconcile) object(c *vendors.Case) (id, why string) {
	switch {
	case r.ID != nil:
		id = c.Call.IDs[r.ID.ID]
	case len(c.Objects) == 1:
		id = c.Objects[0]
	default:
		return "", fmt.Sprintf("the reply named %d objects, and one is looked at", len(c.Objects))
	}
	if !anID.MatchString(id) {
		return "", "what is kept of the call has no id that could be looked at"
	}
	return id, ""
}

// found is what the object says that the call did cost.
func (p pricer) found(c *vendors.Case, tree any) ([]cost.Line, error) {
	if len(p.op.Reconcile.Lines) == 0 {
		if len(c.Booked) > 0 {
			return c.Booked, nil
		}
		return c.Bound.Lines, nil
	}
	var all []cost.Line
	for i := range p.op.Reconcile.Lines {
		l, err := p.line(&p.op.Reconcile.Lines[i], input{call: c.Call, seen: tree})
		if err != nil {
			return nil, err
		}
		all = append(all, l)
	}
	return all, nil
}

// within reports whether each line has one of the bound's meter and currency that covers it.
func within(lines, bound []cost.Line) bool {
	for _, l := range lines {
		if !slices.ContainsFunc(bound, func(b cost.Line) bool {
			return b.Meter == l.Meter && b.Currency == l.Currency && b.Amount >= l.Amount
		}) {
			return false
		}
	}
	return true
}

// again is when what a reply says is looked at again.
func (s *settle) again() time.Duration { return time.Duration(s.AgainMinutes) * time.Minute }
