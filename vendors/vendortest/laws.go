package vendortest

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/reason"
	"github.com/keybrake/keybrake-go/vendors"
)

var laws = []Law{
	{"table", "the brake takes the table", (*world).tableIsTaken},
	{"class", "every operation has a class", (*world).everyOperationHasAClass},
	{"name", "a name is well formed and of one operation", (*world).namesAreOfOneOperation},
	{"bound", "an operation that can cost has a bound", (*world).whatCanCostHasABound},
	{"found", "every row is found by a call of its own", (*world).everyRowIsFound},
	{"hard-deny", "what is denied for good is refused whatever else would match, on every host, with its reason", (*world).hardDenialsHold},
	{"credential", "what cannot be a credential is refused and not repeated; what is one is placed", (*world).credentialsAreChecked},
	{"refusal", "a refusal carries its status and its message", (*world).refusalsCarryTheirMessage},
	{"vector", "the table says of each vector what the vector says", (*world).vectorsAreRight},
	{"covered", "what reads its cost from a reply has a vector that shows it", (*world).settlementsAreShown},
	{"line", "every line is one that a ledger takes", (*world).linesAreValid},
	{"unknown", "an unknown cost says what is missing, is not at most nothing, and is never zero", (*world).unknownIsNotZero},
	{"garbled", "a value that cannot be read makes no call free", (*world).garbledIsNotFree},
	{"probe", "a probe is a read of the same vendor, on the same host", (*world).probesAreReads},
	{"within", "a call costs no more than its bound", (*world).costsAreWithinBounds},
	{"unreadable", "a reply that cannot be read books no less than the bound", (*world).unreadableBooksTheBound},
	{"proof", "nothing but the vendor's own refusal gives a hold back", (*world).onlyProofGivesBack},
}

func (w *world) tableIsTaken() error { return w.err }

func (w *world) everyOperationHasAClass() error {
	var p problems
	known := []vendors.Class{vendors.Read, vendors.Free, vendors.Edit, vendors.Commit, vendors.Charge, vendors.Outflow, vendors.Fee, vendors.Release, vendors.Control, vendors.Test}
	for _, op := range w.Vendor.Operations {
		if !slices.Contains(known, op.Class) {
			p.add("%s is of class %q", op.Name, op.Class)
		}
	}
	return p.err()
}

// namesAreOfOneOperation lets a name stand in several rows where those are one operation, on the hosts of several
// regions or at an older path: a policy that allows the name has to mean the same by it everywhere.
func (w *world) namesAreOfOneOperation() error {
	var p problems
	first := map[string]vendors.Operation{}
	for _, op := range w.Vendor.Operations {
		if cost.Pattern(op.Name).Valid() != nil || strings.HasSuffix(op.Name, "*") || !strings.HasPrefix(op.Name, w.Vendor.Name+".") {
			p.add("%q is not a name such as %s.things.create", op.Name, w.Vendor.Name)
		}
		f, twice := first[op.Name]
		if !twice {
			first[op.Name] = op
		} else if f.Class != op.Class || (f.HardDeny == "") != (op.HardDeny == "") || f.Body != op.Body || f.Host == op.Host && f.Method == op.Method && f.Path == op.Path {
			p.add("%s is two operations: %s %s (%s) and %s %s (%s)", op.Name, f.Method, f.Path, f.Class, op.Method, op.Path, op.Class)
		}
	}
	return p.err()
}

func (w *world) whatCanCostHasABound() error {
	var p problems
	for _, op := range w.Vendor.Operations {
		if op.Class.Paid() && op.HardDeny == "" && op.Bound == nil {
			p.add("%s is of class %s", op.Name, op.Class)
		}
	}
	return p.err()
}

var templateID = regexp.MustCompile(`\{[A-Za-z]+(?::(?:([A-Za-z0-9_]+)|\*))?\}`)

// example is a call of op with every id filled in.
func example(op *vendors.Operation) *http.Request {
	path := templateID.ReplaceAllString(op.Path, "${1}0a1B2c3D4e5F")
	return &http.Request{Method: op.Method, URL: &url.URL{Scheme: "https", Host: op.Host, Path: path}}
}

func (w *world) everyRowIsFound() error {
	var p problems
	for i := range w.Vendor.Operations {
		op := &w.Vendor.Operations[i]
		if w.table == nil {
			continue
		}
		_, c, _ := w.table.Identify(example(op), nil)
		if c == nil || c.Operation.Name != op.Name || c.Operation.Path != op.Path {
			found := "nothing"
			if c != nil {
				found = c.Operation.Name
			}
			p.add("%s %s is %s and is taken for %s", op.Method, op.Path, op.Name, found)
		}
	}
	return p.err()
}

func (w *world) hardDenialsHold() error {
	var p problems
	hosts := map[string]bool{}
	for _, op := range w.Vendor.Operations {
		hosts[op.Host] = true
	}
	for i := range w.Vendor.Operations {
		op := &w.Vendor.Operations[i]
		if op.HardDeny == "" || w.table == nil {
			continue
		}
		if len(op.HardDeny) < 10 {
			p.add("%s is denied for good because %q", op.Name, op.HardDeny)
		}
		for host := range hosts {
			req := example(op)
			req.URL.Host = host
			_, c, err := w.table.Identify(req, nil)
			if host != op.Host && (c == nil || c.Operation.Name != op.Name) {
				continue // no such path there, or that of another operation
			}
			var r *vendors.Refusal
			if !errors.As(err, &r) || r.Code != reason.OperationHardDenied {
				p.add("%s: %s %s on %s is not refused for good: %v", op.Name, op.Method, req.URL.Path, host, err)
			}
		}
	}
	return p.err()
}

func (w *world) credentialsAreChecked() error {
	var p problems
	if w.Vendor.Place == nil {
		p.add("the vendor has no Place")
		return p.err()
	}
	const secret = "s3cretOfTheKit"
	for _, parts := range [][]string{nil, {}, {""}, {"", ""}, {secret + "\r\nX: y"}, {secret + "\n"}, {secret + "\x00"}, {secret, secret, secret, secret, secret}} {
		placed, err := w.Vendor.Place(parts)
		switch {
		case err == nil:
			p.add("%q is taken for a credential and placed in %s", parts, placed.Header)
		case strings.Contains(err.Error(), secret):
			p.add("the error repeats a part of the credential")
		}
	}
	return p.err()
}

func (w *world) refusalsCarryTheirMessage() error {
	var p problems
	if w.Vendor.Refuse == nil {
		p.add("the vendor has no Refuse")
		return p.err()
	}
	const message = `refused: budget "day" is used up [kbd_budget_exceeded__l0]`
	quoted, _ := json.Marshal(message)
	for _, row := range reason.All() {
		r := w.Vendor.Refuse(nil, vendors.Refusal{Code: row.Code, Message: message, Status: row.Status})
		if r.Status != row.Status {
			p.add("%s: status %d, want %d", row.Code, r.Status, row.Status)
		}
		if !bytes.Contains(r.Body, quoted[1:len(quoted)-1]) && !bytes.Contains(r.Body, []byte(message)) {
			p.add("%s: the message is not in the body: %s", row.Code, r.Body)
		}
	}
	return p.err()
}

func (w *world) vectorsAreRight() error {
	var p problems
	for _, v := range w.played {
		if v.Want == nil || reflect.DeepEqual(*v.Want, v.got) {
			continue
		}
		got, _ := json.Marshal(v.got)
		want, _ := json.Marshal(v.Want)
		p.add("%s:\n got %s\nwant %s", v.Name, got, want)
	}
	return p.err()
}

func (w *world) settlementsAreShown() error {
	shown := map[string]bool{}
	for _, v := range w.played {
		if v.settled != nil {
			shown[v.call.Operation.Name] = true
		}
	}
	var p problems
	for _, op := range w.Vendor.Operations {
		if op.Class.Paid() && op.HardDeny == "" && op.Settle != nil && !shown[op.Name] {
			p.add("no vector settles %s", op.Name)
		}
	}
	return p.err()
}

func (w *world) linesAreValid() error {
	var p problems
	for _, v := range w.played {
		all := slices.Clone(v.bound.Lines)
		if v.settled != nil {
			all = slices.Concat(all, v.settled.Actual, v.settled.Held)
		}
		for _, l := range all {
			if err := l.Valid(); err != nil || l.Meter == cost.Calls {
				p.add("%s: %v (the calls meter is the brake's)", v.Name, err)
			}
		}
	}
	return p.err()
}

// unknownIsNotZero also looks at each operation that can cost when it is called without a parameter.
func (w *world) unknownIsNotZero() error {
	var p problems
	look := func(what string, b vendors.Bound) {
		switch {
		case b.Probe != nil:
		case b.Kind == vendors.Unknown && b.Why == "":
			p.add("%s: the cost is unknown and nothing says what is missing", what)
		case b.Kind == vendors.AtMost && len(b.Lines) == 0:
			p.add("%s: at most nothing", what)
		}
	}
	for i := range w.Vendor.Operations {
		op := &w.Vendor.Operations[i]
		if !op.Class.Paid() || op.HardDeny != "" || op.Bound == nil || w.table == nil {
			continue
		}
		_, c, err := w.table.Identify(example(op), nil)
		if c == nil || err != nil || c.Operation.Bound == nil {
			continue
		}
		c.Account = w.Account
		if b, err := c.Operation.Bound(c, nil); err == nil {
			look(op.Name+" without parameters", b)
		}
	}
	for _, v := range w.played {
		if v.call == nil || v.got.Kind == "" {
			continue
		}
		if !v.ceiling {
			look(v.Name, v.bound)
		}
	}
	return p.err()
}

const garbage = "keybrake-garbled"

// garbledIsNotFree replaces each value of each call that costs by one that means nothing. Such a call is refused, or
// has no known bound, or costs something on every meter on which it did.
func (w *world) garbledIsNotFree() error {
	var p problems
	for _, v := range w.played {
		if v.call == nil || !v.priced || v.ceiling || !v.call.Operation.Class.Paid() || len(v.bound.Lines) == 0 {
			continue
		}
		for name, body := range garbled(v) {
			g := played{Vector: v.Vector, request: v.request, body: body, probed: v.probed}
			if w.price(&g) != nil || !g.priced || g.probe != nil && g.probed == nil {
				continue
			}
			for _, l := range v.bound.Lines {
				if l.Amount > 0 && sum(g.bound.Lines, l) == 0 {
					p.add("%s: with a %s that cannot be read, the call costs no %s", v.Name, name, l.Meter)
				}
			}
		}
	}
	return p.err()
}

// garbled are the bodies of v with one value each that means nothing, by the value's name.
func garbled(v played) map[string][]byte {
	all := map[string][]byte{}
	switch v.call.Operation.Body {
	case vendors.Form:
		form, err := url.ParseQuery(string(v.body))
		if err != nil {
			return nil
		}
		for name := range form {
			changed := url.Values{}
			for n, values := range form {
				changed[n] = values
			}
			changed[name] = []string{garbage}
			all[name] = []byte(changed.Encode())
		}
	case vendors.JSON:
		var tree any
		d := json.NewDecoder(bytes.NewReader(v.body))
		d.UseNumber()
		if d.Decode(&tree) != nil {
			return nil
		}
		leaves(tree, "", func(name string) {
			body, err := json.Marshal(tree)
			if err == nil && len(all) < 40 {
				all[name] = body
			}
		})
	}
	return all
}

// leaves calls do with each leaf of tree in turn replaced by garbage.
func leaves(tree any, name string, do func(name string)) {
	switch t := tree.(type) {
	case map[string]any:
		for k, old := range t {
			t[k] = garbage
			do(name + "." + k)
			t[k] = old
			leaves(old, name+"."+k, do)
		}
	case []any:
		for i, old := range t {
			t[i] = garbage
			do(name + "[]")
			t[i] = old
			leaves(old, name+"[]", do)
		}
	}
}

func (w *world) probesAreReads() error {
	var p problems
	for _, v := range w.played {
		if v.probe == nil {
			continue
		}
		row := w.table.Lookup(v.probe.Operation)
		if row == nil || !row.Looks() {
			p.add("%s: the probe %s is no read of the catalogue", v.Name, v.probe.Operation)
			continue
		}
		req := &http.Request{Method: row.Method, URL: &url.URL{Scheme: "https", Host: v.call.Host, Path: v.probe.Path, RawQuery: vendors.Encode(v.probe.Query)}}
		_, c, err := w.table.Identify(req, nil)
		if err != nil || c.Operation.Name != v.probe.Operation {
			p.add("%s: the probe's path %s is not %s: %v", v.Name, v.probe.Path, v.probe.Operation, err)
		}
	}
	return p.err()
}

// sum adds up the lines of the meter and currency of like.
func sum(ls []cost.Line, like cost.Line) int64 {
	n, err := cost.Sum(ls, like.Meter, like.Currency)
	if err != nil {
		return cost.Max
	}
	return n
}

func (w *world) costsAreWithinBounds() error {
	var p problems
	over := slices.Clone(w.Over)
	for _, v := range w.played {
		if v.settled == nil {
			continue
		}
		after := slices.Concat(v.settled.Actual, v.settled.Held)
		exceeds := false
		for _, l := range after {
			exceeds = exceeds || sum(after, l) > sum(v.bound.Lines, l)
		}
		i := slices.Index(over, v.Name)
		switch {
		case exceeds && i < 0:
			p.add("%s: bound %v, and it did cost %v and holds %v", v.Name, lines(v.bound.Lines), lines(v.settled.Actual), lines(v.settled.Held))
		case !exceeds && i >= 0:
			p.add("%s: is named as one that costs more than its bound, and does not", v.Name)
		}
		if i >= 0 {
			over = slices.Delete(over, i, i+1)
		}
	}
	for _, name := range over {
		p.add("%s: is named as one that costs more than its bound, and no such vector settles", name)
	}
	return p.err()
}

// unreadableBooksTheBound cuts the reply of each vector off at several places and puts other things in its place. What
// the row then books is what was reserved or more, or it books nothing and the hold stays.
func (w *world) unreadableBooksTheBound() error {
	var p problems
	for _, v := range w.played {
		if v.settled == nil || len(v.bound.Lines) == 0 {
			continue
		}
		for _, body := range unreadable(v.answer.Body) {
			r := &vendors.Reply{Status: v.answer.Status, Header: v.answer.Header, Body: body}
			o, s, err := settle(v.call, v.bound, r)
			after := slices.Concat(s.Actual, s.Held)
			for _, l := range v.bound.Lines {
				switch {
				case o == vendors.NotExecuted:
					p.add("%s: with the body %.60q, the hold is given back", v.Name, body)
				case o != vendors.OutcomeUnknown && err == nil && sum(after, l) < sum(v.bound.Lines, l):
					p.add("%s: with the body %.60q, %v of %v is booked", v.Name, body, lines(after), lines(v.bound.Lines))
				}
			}
		}
	}
	return p.err()
}

// unreadable are bodies that say nothing, and beginnings of body.
func unreadable(body []byte) [][]byte {
	all := [][]byte{nil, []byte(" "), []byte("null"), []byte("[]"), []byte("{}"), []byte(`"ok"`), []byte("0"), []byte("<html>OK</html>"), []byte("\x00\xff"), append(bytes.Clone(body), "{}"...)}
	for i := 1; i < 8; i++ {
		if n := len(body) * i / 8; n > 0 && n < len(body) {
			all = append(all, body[:n])
		}
	}
	if n := len(body); n > 1 {
		all = append(all, body[:n-1])
	}
	return all
}

// onlyProofGivesBack answers each call that costs with what proves nothing.
func (w *world) onlyProofGivesBack() error {
	var p problems
	page := []byte("<html><body>Not here</body></html>")
	for _, v := range w.played {
		if v.call == nil || !v.priced || !v.call.Operation.Class.Paid() {
			continue
		}
		for status := 300; status < 600; status++ {
			if http.StatusText(status) == "" {
				continue
			}
			for _, body := range [][]byte{nil, page, []byte(`{"ok":true}`)} {
				r := &vendors.Reply{Status: status, Header: http.Header{}, Body: body}
				if o, _, _ := settle(v.call, v.bound, r); o == vendors.NotExecuted {
					p.add("%s: status %d with %.30q gives the hold back", v.Name, status, body)
				}
			}
		}
	}
	return p.err()
}
