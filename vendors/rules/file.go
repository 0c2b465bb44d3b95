package rules

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/internal/document"
	"github.com/keybrake/keybrake-go/vendors"
)

// A file is a rule file as it is written. rules.schema.json says the same of it.
type file struct {
	Vendor          string           `json:"vendor"`           // first part of every operation's name
	About           string           `json:"about"`            // for people
	Hosts           []string         `json:"hosts"`            // every operation is on each of them
	Credential      credential       `json:"credential"`       // how it looks and where it goes
	Headers         []string         `json:"headers"`          // request headers that are passed on
	RedirectHeaders []string         `json:"redirect_headers"` // those that need a grant besides
	RetryHeaders    []string         `json:"retry_headers"`    // reply headers that make SDKs send again
	Tables          map[string]table `json:"tables"`           // prices
	Refusal         refusal          `json:"refusal"`          // a denial in the vendor's shape
	Operations      []operation      `json:"operations"`
}

// A credential is one string, or several parts in the order in which their source has them.
type credential struct {
	Header  string `json:"header"`  // default: Authorization
	Scheme  string `json:"scheme"`  // what stands before it, such as Bearer; default: nothing
	Pattern string `json:"pattern"` // a regular expression for the whole of it
	Parts   []part `json:"parts"`
}

// A part of a credential has a header of its own.
type part struct {
	Header  string `json:"header"`
	Scheme  string `json:"scheme"`
	Pattern string `json:"pattern"`
	Public  bool   `json:"public"` // a name that replies may repeat
}

// parts are what the credential is made of.
func (k credential) parts() []part {
	if len(k.Parts) > 0 {
		return k.Parts
	}
	if k.Header == "" {
		k.Header = "Authorization"
	}
	return []part{{Header: k.Header, Scheme: k.Scheme, Pattern: k.Pattern}}
}

// A table gives numbers by name: what a mail costs, what a token of a model costs.
type table struct {
	About  string            `json:"about"`
	Source string            `json:"source"` // where the numbers are from
	Read   string            `json:"read"`   // and when they were read, 2026-11 or 2026-11-23
	Rows   map[string]string `json:"rows"`   // none: the user gives them, and until then nothing has a price
}

type refusal struct {
	ContentType string `json:"content_type"`
	Body        string `json:"body"` // JSON with $message, $code, $param in strings and "$status" for the number
}

type operation struct {
	Name      string      `json:"name"`
	Method    string      `json:"method"`
	Path      string      `json:"path"`
	Class     string      `json:"class"`
	Deny      string      `json:"deny"` // why it is never allowed
	Body      string      `json:"body"` // none, form or json; default: none
	Params    []string    `json:"params"`
	Redirects []string    `json:"redirects"`
	Look      *look       `json:"look"`       // what to read before the call
	Object    *source     `json:"object"`     // the id of what holds money that this call moves, or of class release ends
	UnknownIf []condition `json:"unknown_if"` // the call has no known cost
	Kind      string      `json:"kind"`       // of the bound: exact or at most
	Bound     []line      `json:"bound"`
	People    []source    `json:"recipients"`
	Outcome   *outcome    `json:"outcome"`
	Settle    *settle     `json:"settle"` // default: what was reserved
	Reconcile *reconcile  `json:"reconcile"`
}

// A condition holds when there is a value at From that OtherThan does not list.
type condition struct {
	From      source   `json:"from"`
	OtherThan []string `json:"other_than"`
	Why       string   `json:"why"`
}

// A line is an amount on one meter.
type line struct {
	Meter    string    `json:"meter"`
	Currency *currency `json:"currency"`
	Amount   expr      `json:"amount"`
}

type currency struct {
	Code string  `json:"code"`
	From *source `json:"from"`
}

// An outcome says what a reply proves. What it does not name proves nothing.
type outcome struct {
	Executed    []int  `json:"executed"` // default: every 2xx
	NotExecuted []int  `json:"not_executed"`
	Error       string `json:"error"` // a path in the reply that has to have a value where it was not executed
}

type settle struct {
	Has     string      `json:"has"`      // a path in the reply that has to have a value
	BoundIf []condition `json:"bound_if"` // what was reserved is what it did cost
	Held    *held       `json:"held"`     // what stays held
	Lines   []line      `json:"lines"`
	Objects []source    `json:"objects"`
	Stream  *stream     `json:"stream"`

	AgainMinutes int `json:"again_minutes"` // the reply's numbers are not final: when to look again
}

// A stream says how a reply of server-sent events is read, as a list of what its events hold: reply: "[*].usage.total".
type stream struct {
	End   string `json:"end"` // what the last event is of type, or its whole data
	Lines []line `json:"lines"`
}

var shape = document.Shape{}

func (f *file) faults() []*document.Fault {
	c := &checker{file: f}
	c.head()
	for i := range f.Operations {
		c.operation(document.Element("operations", i), &f.Operations[i])
	}
	if len(f.Operations) == 0 {
		c.fail("operations", "name at least one operation")
	}
	if len(c.faults) == 0 {
		c.asTable()
	}
	return c.faults
}

// asTable reports what the brake would refuse: of one operation, or of several together.
func (c *checker) asTable() {
	v := c.file.vendor(nil)
	all := v.Operations
	for i := range c.file.Operations {
		v.Operations = all[i : i+1]
		if _, err := vendors.NewTable([]vendors.Vendor{v}); err != nil {
			c.fail(document.Element("operations", i), "%w", err)
		}
	}
	v.Operations = all
	if _, err := vendors.NewTable([]vendors.Vendor{v}); err != nil && len(c.faults) == 0 {
		c.fail("operations", "%w", err)
	}
}

// A checker collects what is wrong with a file that was read.
type checker struct {
	file   *file
	faults []*document.Fault
	reply  bool // a reply may be read here
	seen   bool // what a look has read may be read here
	later  bool // of the call itself nothing is kept here but the ids in its path
	op     *operation
}

func (c *checker) fail(path, format string, args ...any) {
	c.faults = append(c.faults, &document.Fault{Path: path, Err: fmt.Errorf(format, args...)})
}

var word = regexp.MustCompile(`^[a-z][a-z0-9_]*$`)

func (c *checker) head() {
	f := c.file
	if !word.MatchString(f.Vendor) {
		c.fail("vendor", "give the vendor a name of small letters, digits and _")
	}
	if len(f.Hosts) == 0 {
		c.fail("hosts", "name at least one host")
	}
	for i, h := range f.Hosts {
		if slices.Contains(f.Hosts[:i], h) {
			c.fail(document.Element("hosts", i), "it stands twice")
		}
	}
	c.credential(f.Credential)
	for _, name := range slices.Sorted(maps.Keys(f.Tables)) {
		c.table("tables"+document.Member(name), f.Tables[name])
	}
	if b := f.Refusal.Body; b != "" {
		if _, err := fill(b, vendors.Refusal{Message: "m", Code: "c", Status: 400}); err != nil {
			c.fail("refusal.body", "%w", err)
		}
		if !strings.Contains(b, "$message") {
			c.fail("refusal.body", "it says nothing of $message, which tells the agent's owner why")
		}
	}
}

func (c *checker) credential(k credential) {
	if len(k.Parts) == 0 {
		c.part("credential", k.parts()[0])
		return
	}
	if k.Header != "" || k.Scheme != "" || k.Pattern != "" {
		c.fail("credential", "give header, scheme and pattern for each of its parts, and for nothing beside them")
	}
	seen := map[string]bool{}
	for i, p := range k.Parts {
		at := document.Element("credential.parts", i)
		c.part(at, p)
		switch {
		case p.Header == "":
			c.fail(at+".header", "name the header that it goes out in")
		case seen[p.Header]:
			c.fail(at+".header", "another part goes out in it")
		}
		seen[p.Header] = true
	}
	if !slices.ContainsFunc(k.Parts, func(p part) bool { return !p.Public }) {
		c.fail("credential.parts", "one of them is secret")
	}
}

func (c *checker) part(at string, p part) {
	if _, err := regexp.Compile(p.Pattern); err != nil || p.Pattern == "" {
		c.fail(at+".pattern", "give a regular expression that the vendor's credentials match as a whole, and little else does")
	}
	if h := p.Header; h != "" && http.CanonicalHeaderKey(h) != h {
		c.fail(at+".header", "write it as %s", http.CanonicalHeaderKey(h))
	}
	if s := p.Scheme; s != "" && strings.Trim(s, letters) != "" {
		c.fail(at+".scheme", "a scheme is one word, such as Bearer")
	}
}

const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"

func (c *checker) table(path string, t table) {
	for _, name := range slices.Sorted(maps.Keys(t.Rows)) {
		if _, err := decimal(t.Rows[name]); err != nil {
			c.fail(path+".rows"+document.Member(name), "%w", err)
		}
	}
	if len(t.Rows) == 0 {
		return
	}
	if t.Source == "" {
		c.fail(path+".source", "say where the numbers are from")
	}
	_, day := time.Parse("2006-01-02", t.Read)
	if _, month := time.Parse("2006-01", t.Read); day != nil && month != nil {
		c.fail(path+".read", "say when the numbers were read, as 2026-11 or 2026-11-23")
	}
}

func (c *checker) operation(path string, op *operation) {
	c.op = op
	class := vendors.Class(op.Class)
	switch {
	case !strings.HasPrefix(op.Name, c.file.Vendor+"."):
		c.fail(path+".name", "it does not start with %q", c.file.Vendor+".")
	case cost.Pattern(op.Name).Valid() != nil || strings.HasSuffix(op.Name, "*"):
		c.fail(path+".name", "it is not a name that a policy can write, such as %s.things.create", c.file.Vendor)
	}
	if _, ok := encodings[op.Body]; !ok {
		c.fail(path+".body", "it is none, form or json")
	}
	if op.Body == "json" && op.Method == http.MethodGet {
		c.fail(path+".body", "a GET has no body")
	}
	if op.Deny != "" && (op.Bound != nil || op.Settle != nil) {
		c.fail(path+".deny", "what is never allowed has no bound and nothing to settle")
	}
	if class.Paid() && op.Deny == "" && len(op.Bound) == 0 && len(op.UnknownIf) == 0 {
		c.fail(path+".bound", "an operation of class %s can cost: say what, or why that is not known", op.Class)
	}
	releases := class == vendors.Release && op.Object != nil
	if !class.Paid() && (len(op.Bound) > 0 || len(op.UnknownIf) > 0 || op.Settle != nil && !releases || op.Look != nil || op.Object != nil && !releases) {
		c.fail(path+".class", "class %q never costs, and there is a bound", op.Class)
	}
	if len(op.Bound) > 0 && op.Kind != "exact" && op.Kind != "at most" {
		c.fail(path+".kind", "say whether the bound is \"exact\" or \"at most\"")
	}
	for i, u := range op.UnknownIf {
		c.condition(document.Element(path+".unknown_if", i), u)
		if u.Why == "" {
			c.fail(document.Element(path+".unknown_if", i)+".why", "say what is not known, and what to do")
		}
	}
	c.recalls(path)
	c.seen = op.Look != nil
	c.lines(path+".bound", op.Bound)
	c.seen = false
	for i := range op.People {
		c.source(document.Element(path+".recipients", i), &op.People[i])
	}
	if op.Outcome != nil {
		c.outcome(path+".outcome", op.Outcome)
	}
	if op.Settle != nil {
		c.settle(path+".settle", op.Settle)
	}
	if op.Reconcile != nil {
		c.reconcile(path+".reconcile", op.Reconcile)
		if !class.Paid() {
			c.fail(path+".reconcile", "class %q never costs", op.Class)
		}
	}
}

var encodings = map[string]vendors.Encoding{"": vendors.None, "none": vendors.None, "form": vendors.Form, "json": vendors.JSON}

func (c *checker) condition(path string, u condition) {
	if u.From.Default != "" {
		c.fail(path+".from.default", "a condition asks what is there; leave it out")
	}
	c.source(path+".from", &u.From)
}

func (c *checker) lines(path string, lines []line) {
	seen := map[string]bool{}
	for i := range lines {
		l, at := &lines[i], document.Element(path, i)
		m := cost.Meter(l.Meter)
		switch {
		case !m.Valid() || m == cost.Spend || m == cost.Calls:
			c.fail(at+".meter", "it is charge, outflow, fee or units")
		case seen[l.Meter]:
			c.fail(at+".meter", "there is a line on it already; add the two up in one")
		case m.Money() && l.Currency == nil:
			c.fail(at+".currency", "money has a currency")
		case !m.Money() && l.Currency != nil:
			c.fail(at+".currency", "units have no currency")
		}
		seen[l.Meter] = true
		if l.Currency != nil {
			c.currency(at+".currency", l.Currency)
		}
		c.expr(at+".amount", &l.Amount)
	}
}

func (c *checker) currency(path string, cur *currency) {
	if (cur.Code == "") == (cur.From == nil) {
		c.fail(path, "give either a code or where it stands")
	}
	if cur.Code != "" && !cost.Currency(cur.Code).Valid() {
		c.fail(path+".code", "it is not a currency code such as USD")
	}
	if cur.From != nil {
		c.source(path+".from", cur.From)
	}
}

func (c *checker) outcome(path string, o *outcome) {
	for i, s := range o.Executed {
		if s < 200 || s > 299 {
			c.fail(document.Element(path+".executed", i), "only a 2xx says that a call was executed")
		}
	}
	for i, s := range o.NotExecuted {
		if s < 400 || s > 499 || s == http.StatusRequestTimeout {
			c.fail(document.Element(path+".not_executed", i), "only a 4xx but 408 can prove that a call was not executed")
		}
	}
	if len(o.NotExecuted) > 0 && o.Error == "" {
		c.fail(path+".error", "name what the vendor's own errors have: a page of something in between proves nothing")
	}
	if o.Error != "" {
		if _, err := parsePath(o.Error); err != nil {
			c.fail(path+".error", "%w", err)
		}
	}
}

func (c *checker) settle(path string, s *settle) {
	for i, b := range s.BoundIf {
		c.condition(document.Element(path+".bound_if", i), b)
	}
	c.reply = true
	defer func() { c.reply = false }()
	if s.Has != "" {
		if _, err := parsePath(s.Has); err != nil {
			c.fail(path+".has", "%w", err)
		}
	}
	if s.AgainMinutes < 0 || s.AgainMinutes > 7*24*60 {
		c.fail(path+".again_minutes", "it is 1 to 10080, which is a week")
	}
	if s.AgainMinutes != 0 && c.op.Reconcile == nil {
		c.fail(path+".again_minutes", "there is no reconcile to look by")
	}
	if s.Held != nil {
		c.held(path+".held", s.Held)
		if s.Stream != nil || len(s.BoundIf) > 0 {
			c.fail(path+".held", "nothing can be held beside bound_if or a stream")
		}
	}
	c.settled(path+".lines", s.Lines)
	if s.Stream != nil {
		c.settled(path+".stream.lines", s.Stream.Lines)
		if s.Stream.End == "" || len(s.Stream.Lines) == 0 {
			c.fail(path+".stream", "say how the stream ends, and what its events say of the cost")
		}
	}
	for i := range s.Objects {
		c.source(document.Element(path+".objects", i), &s.Objects[i])
	}
}

// settled are lines that take the place of the bound's.
func (c *checker) settled(path string, lines []line) {
	c.lines(path, lines)
	if !c.later && c.op.Settle.Held != nil {
		lines = slices.Concat(lines, c.op.Settle.Held.Lines)
	}
	if len(lines) == 0 {
		return
	}
	for _, b := range c.op.Bound { // one that is left out would be given back by every reply
		if !slices.ContainsFunc(lines, func(l line) bool { return l.Meter == b.Meter }) {
			c.fail(path, "the bound has a line on %s and this has none", b.Meter)
		}
	}
}

// fill writes r into a template of JSON: $message, $code and $param in its strings, and its status for the string
// "$status".
func fill(template string, r vendors.Refusal) ([]byte, error) {
	var tree any
	if err := json.Unmarshal([]byte(template), &tree); err != nil {
		return nil, fmt.Errorf("it is not JSON: %w", err)
	}
	with := strings.NewReplacer("$message", r.Message, "$code", "keybrake_"+string(r.Code), "$param", r.Param)
	return json.Marshal(filled(tree, with, r.Status))
}

func filled(tree any, with *strings.Replacer, status int) any {
	switch v := tree.(type) {
	case string:
		if v == "$status" {
			return status
		}
		return with.Replace(v)
	case []any:
		for i := range v {
			v[i] = filled(v[i], with, status)
		}
	case map[string]any:
		for k := range v {
			v[k] = filled(v[k], with, status)
		}
	}
	return tree
}
