package rules

import (
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"github.com/keybrake/keybrake-go/internal/document"
	"github.com/keybrake/keybrake-go/reason"
	"github.com/keybrake/keybrake-go/vendors"
)

// What one call needs to know of an earlier one stands in two places, and in no other: at the vendor, where a look reads
// it, and in the ledger, where the object that the earlier call made holds money until a later one moves it.

// A look reads an object of the vendor's before a call, by an operation of the file that reads one by its id.
type look struct {
	Operation string `json:"operation"`
	ID        source `json:"id"`    // in the call
	Names     string `json:"names"` // a path in the answer, where the same id has to stand
}

// A lane is a path with one id in it.
type lane struct{ before, prefix, after string }

// A held is what an executed call leaves held, on the object that a later call moves or ends.
type held struct {
	Object source  `json:"object"`
	NoneIf []state `json:"none_if"` // nothing is held
	Lines  []line  `json:"lines"`
}

// A state is one of some words in a reply.
type state struct {
	From  source   `json:"from"`
	OneOf []string `json:"one_of"`
}

var (
	oneID = regexp.MustCompile(`^([^{}]*)\{[A-Za-z]+(?::([A-Za-z0-9_]+))?\}([^{}]*)$`)
	anID  = regexp.MustCompile(`^[A-Za-z0-9_-]{1,255}$`)
)

func (c *checker) look(path string, l *look) {
	if _, ok := c.file.lane(l.Operation); !ok {
		c.fail(path+".operation", "%q is no operation of this file that is a GET of class read with one id in its path", l.Operation)
	}
	c.source(path+".id", &l.ID)
	if l.ID.Optional || l.ID.Default != "" {
		c.fail(path+".id", "without an id there is nothing to look at")
	}
	if _, err := parsePath(l.Names); err != nil {
		c.fail(path+".names", "%w", err)
	}
}

// lane is where an operation of the file reads one object.
func (f *file) lane(name string) (lane, bool) {
	i := slices.IndexFunc(f.Operations, func(op operation) bool { return op.Name == name })
	if i < 0 {
		return lane{}, false
	}
	op := f.Operations[i]
	m := oneID.FindStringSubmatch(op.Path)
	if op.Class != string(vendors.Read) || op.Method != http.MethodGet || op.Deny != "" || m == nil {
		return lane{}, false
	}
	return lane{m[1], m[2], m[3]}, true
}

// recalls checks what connects the operation with others.
func (c *checker) recalls(path string) {
	op := c.op
	if op.Look != nil {
		c.look(path+".look", op.Look)
		if len(op.Bound) == 0 {
			c.fail(path+".look", "there is no bound that reads what it sees")
		}
	}
	if op.Object != nil {
		c.source(path+".object", op.Object)
		if op.Object.Optional || op.Object.Default != "" {
			c.fail(path+".object", "without an id nothing is moved")
		}
	}
	if vendors.Class(op.Class) == vendors.Release && op.Object != nil {
		s := op.Settle
		if s == nil || s.Has == "" || s.Lines != nil || s.Stream != nil || s.Held != nil || s.BoundIf != nil {
			c.fail(path+".settle", "say what the reply has where the object was released, and nothing else: settle: {has: id}")
		}
	}
}

func (c *checker) held(path string, h *held) {
	c.source(path+".object", &h.Object)
	for i := range h.NoneIf {
		at := document.Element(path+".none_if", i)
		c.source(at+".from", &h.NoneIf[i].From)
		if len(h.NoneIf[i].OneOf) == 0 {
			c.fail(at+".one_of", "name the words by which the vendor says that nothing is held")
		}
	}
	c.lines(path+".lines", h.Lines)
	if len(h.Lines) == 0 {
		c.fail(path+".lines", "say what is held")
	}
}

// one is the only value at s, as an object's id.
func (s *source) one(in input) (string, error) {
	values, err := s.values(in)
	if err != nil {
		return "", &unread{s, err}
	}
	id, err := text(values[0])
	if err != nil || len(values) != 1 || !anID.MatchString(id) {
		return "", &unread{s, errors.New("it is not one id")}
	}
	return id, nil
}

// probe is the look at the object that the call names.
func (p pricer) probe(in input) (*vendors.Probe, error) {
	l := p.op.Look
	id, err := l.ID.one(in)
	if err != nil {
		return nil, refused(err)
	}
	if !strings.HasPrefix(id, p.at.prefix) {
		return nil, refused(&unread{&l.ID, fmt.Errorf("it does not start with %s", p.at.prefix)})
	}
	return &vendors.Probe{Operation: l.Operation, Path: p.at.before + id + p.at.after}, nil
}

// answer is the tree of a look's answer. One that cannot be read, or is about another object, refuses the call.
func (l *look) answer(in input, r *vendors.Reply) (any, error) {
	id, err := l.ID.one(in)
	if err != nil {
		return nil, refused(err)
	}
	tree, err := vendors.DecodeJSON(r.Body)
	if r.Status != http.StatusOK || err != nil {
		return nil, vendors.Refuse(reason.ProbeFailed, "what the call depends on cannot be read, so it cannot be priced")
	}
	if named, err := walk(tree, l.Names, strict); err != nil || len(named) != 1 || named[0] != id {
		return nil, vendors.Refuse(reason.ProbeFailed, "the answer to the look is about something else, so the call cannot be priced")
	}
	return tree, nil
}

// release moves what the object holds to nothing.
func (p pricer) release(c *vendors.Call, _ *vendors.Reply) (vendors.Bound, error) {
	id, err := p.op.Object.one(input{call: c})
	if err != nil {
		return vendors.Bound{}, refused(err)
	}
	return vendors.Bound{Kind: vendors.Exact, Object: id}, nil
}

// released reads that it was. Without the proof the object holds what it held.
func (p pricer) released(_ *vendors.Call, b vendors.Bound, r *vendors.Reply) (s vendors.Settlement, err error) {
	in := input{reply: r}
	if in.tree, err = p.op.Settle.proof(r); err != nil {
		return s, err
	}
	s.Object = b.Object
	s.Objects, err = p.objects(in)
	return s, err
}

// proof is the reply's tree, if it has what it must.
func (s *settle) proof(r *vendors.Reply) (any, error) {
	tree, err := vendors.DecodeJSON(r.Body)
	if err != nil || s.Has == "" {
		return tree, err
	}
	if found, err := walk(tree, s.Has, strict); err != nil || len(found) == 0 {
		return nil, fmt.Errorf("the reply has no %s", s.Has)
	}
	return tree, nil
}

// holds reports whether the reply says one of the words there, and nothing else.
func (w *state) holds(in input) bool {
	values, err := w.From.values(in)
	if err != nil || len(values) != 1 {
		return false
	}
	word, err := text(values[0])
	return err == nil && contains(w.OneOf, word)
}

// keep adds what stays held to s.
func (p pricer) keep(s *vendors.Settlement, in input) error {
	h := p.op.Settle.Held
	if h == nil {
		return nil
	}
	id, err := h.Object.one(in)
	if err != nil {
		return err
	}
	s.Object = id
	for i := range h.NoneIf {
		if h.NoneIf[i].holds(in) {
			return nil
		}
	}
	for i := range h.Lines {
		l, err := p.line(&h.Lines[i], in)
		if err != nil {
			return err
		}
		s.Held = append(s.Held, l)
	}
	return nil
}
