package vendortest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/reason"
	"github.com/keybrake/keybrake-go/vendors"
)

// A Vector is one call, what the table has to say of it, and one reply. In a file it is one line of JSON; a field that
// is not known is an error, and what Want leaves out is expected to be absent.
type Vector struct {
	Name  string `json:"name"`
	About string `json:"about,omitempty"`

	Call  Request `json:"call"`
	Probe *Reply  `json:"probe,omitempty"` // the answer to the look that the bound asks for
	Reply *Reply  `json:"reply,omitempty"`

	Account   string `json:"account,omitempty"`    // of the credential; default: the kit's
	BasicUser string `json:"basic_user,omitempty"` // what stands beside the vault key
	Ceiling   string `json:"ceiling,omitempty"`    // of the rule, for a bound that is not known: "fee 0.50 USD", "5 units"

	Want *Want `json:"want,omitempty"` // nil: nothing is expected, the laws are tried all the same
}

// A Request is a call as the SDK sends it. URL is absolute. Body is the body's JSON, or a string that holds the body.
type Request struct {
	Method string            `json:"method"`
	URL    string            `json:"url"`
	Header map[string]string `json:"header,omitempty"`
	Body   json.RawMessage   `json:"body,omitempty"`
}

// A Reply is an answer of the vendor's. Body is as in [Request].
type Reply struct {
	Status int               `json:"status"`
	Header map[string]string `json:"header,omitempty"`
	Body   json.RawMessage   `json:"body,omitempty"`
}

// A Want is what a vendor's table says of a call, in the order in which it is asked.
type Want struct {
	Operation  string   `json:"operation,omitempty"`
	Refused    string   `json:"refused,omitempty"` // the reason's code and, if there is one, the parameter
	Asks       string   `json:"asks,omitempty"`    // the probe: operation, path and query
	Kind       string   `json:"kind,omitempty"`    // "unknown", "at most", "exact"
	Why        string   `json:"why,omitempty"`     // of an unknown bound
	Lines      []string `json:"lines,omitempty"`   // what is reserved: "fee 0.0083 USD", "units 3"
	Send       []string `json:"send,omitempty"`    // parameters that the bound sets
	Object     string   `json:"object,omitempty"`
	Recipients []string `json:"recipients,omitempty"`
	Countries  []string `json:"countries,omitempty"`
	Unlisted   []string `json:"unlisted,omitempty"`  // parameters of a paid call that the catalogue does not know
	Redirects  []string `json:"redirects,omitempty"` // those that need a grant

	Outcome    string   `json:"outcome,omitempty"`    // "in_doubt", "not_executed", "executed", "pending"
	Unreadable bool     `json:"unreadable,omitempty"` // the reply cannot be settled from: the hold stays
	Actual     []string `json:"actual,omitempty"`
	Held       []string `json:"held,omitempty"`
	Holds      string   `json:"holds,omitempty"` // the object that carries what is held
	Objects    []string `json:"objects,omitempty"`
	Again      string   `json:"again,omitempty"`
	Flag       string   `json:"flag,omitempty"`
}

// Read reads a file of vectors, one a line. Empty lines and lines that start with # are skipped.
func Read(file string) ([]Vector, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var all []Vector
	n := 0
	for line := range strings.Lines(string(text)) {
		n++
		if line = strings.TrimSpace(line); line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		var v Vector
		d := json.NewDecoder(strings.NewReader(line))
		d.DisallowUnknownFields()
		if err := d.Decode(&v); err != nil {
			return nil, fmt.Errorf("%s:%d: %w", file, n, err)
		}
		if _, err := d.Token(); err != io.EOF {
			return nil, fmt.Errorf("%s:%d: more than one vector", file, n)
		}
		all = append(all, v)
	}
	return all, nil
}

// ReadWire reads vectors of the files that match pattern, one a file, in the form in which messages stand on the wire:
// "key: value" lines, of which ceiling, account and user are read and no expectation, a blank line, the request
// with a Host header, and after lines "=== probe" and "=== reply" the replies, each a status, headers, a blank line and
// a body.
func ReadWire(pattern string) ([]Vector, error) {
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		return nil, fmt.Errorf("vendortest: no file matches %q: %v", pattern, err)
	}
	all := make([]Vector, len(files))
	for i, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		if all[i], err = wire(string(text)); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		all[i].Name = strings.TrimSuffix(filepath.Base(file), filepath.Ext(file))
	}
	return all, nil
}

func wire(text string) (v Vector, err error) {
	head, rest, ok := strings.Cut(text, "\n\n")
	if !ok {
		return v, errors.New("no blank line after the head")
	}
	for line := range strings.SplitSeq(head, "\n") {
		switch key, value, _ := strings.Cut(line, ": "); key {
		case "ceiling":
			v.Ceiling = value
		case "account":
			v.Account = value
		case "user":
			v.BasicUser = value
		}
	}
	rest, reply, hasReply := strings.Cut(rest, "\n=== reply\n")
	rest, probe, hasProbe := strings.Cut(rest, "\n=== probe\n")
	first, header, body, err := message(rest)
	method, target, ok := strings.Cut(first, " ")
	if err != nil || !ok {
		return v, fmt.Errorf("%q is not METHOD /path: %v", first, err)
	}
	v.Call = Request{Method: method, URL: "https://" + header["Host"] + target, Header: header, Body: body}
	delete(header, "Host")
	if hasReply {
		v.Reply, err = wireReply(reply)
	}
	if hasProbe && err == nil {
		v.Probe, err = wireReply(probe)
	}
	return v, err
}

func wireReply(text string) (*Reply, error) {
	first, header, body, err := message(text)
	if err != nil {
		return nil, err
	}
	status, err := strconv.Atoi(first)
	return &Reply{Status: status, Header: header, Body: body}, err
}

func message(text string) (first string, header map[string]string, body json.RawMessage, err error) {
	head, rest, _ := strings.Cut(text+"\n", "\n\n")
	lines := strings.Split(strings.TrimSpace(head), "\n")
	header = map[string]string{}
	for _, line := range lines[1:] {
		name, value, ok := strings.Cut(line, ": ")
		if !ok {
			return "", nil, nil, fmt.Errorf("%q is not a header", line)
		}
		if _, twice := header[name]; twice {
			return "", nil, nil, fmt.Errorf("header %s stands twice", name)
		}
		header[name] = value
	}
	if rest = strings.TrimSpace(rest); rest != "" {
		body, err = json.Marshal(rest)
	}
	return lines[0], header, body, err
}

// bodyOf is the bytes of a body in a vector.
func bodyOf(raw json.RawMessage) ([]byte, error) {
	if len(raw) > 0 && raw[0] == '"' {
		var s string
		err := json.Unmarshal(raw, &s)
		return []byte(s), err
	}
	return raw, nil
}

func headerOf(m map[string]string) http.Header {
	h := http.Header{}
	for name, value := range m {
		h.Set(name, value)
	}
	return h
}

func (r *Reply) reply() (*vendors.Reply, error) {
	if r == nil {
		return nil, nil
	}
	body, err := bodyOf(r.Body)
	return &vendors.Reply{Status: r.Status, Header: headerOf(r.Header), Body: body}, err
}

// A played vector is what a table said of it, stage by stage.
type played struct {
	Vector
	got     Want
	request *http.Request
	body    []byte
	probed  *vendors.Reply // what the vendor answers to a probe
	answer  *vendors.Reply // what it answers to the call
	call    *vendors.Call  // nil where the call was not named
	probe   *vendors.Probe // what the bound asks to see
	priced  bool           // the bound is known, or a ceiling stands for it
	ceiling bool           // which it does
	bound   vendors.Bound
	outcome vendors.Outcome
	settled *vendors.Settlement // nil where the reply could not be read, or there was nothing to settle
}

// play takes a vector the way of a call and writes down what the table says on the way. An error is the vector's.
func (w *world) play(v Vector) (p played, err error) {
	defer contain(&err)
	p.Vector = v
	if p.body, err = bodyOf(v.Call.Body); err != nil {
		return p, err
	}
	u, err := url.Parse(v.Call.URL)
	if err != nil {
		return p, err
	}
	p.request = &http.Request{Method: v.Call.Method, URL: u, Header: headerOf(v.Call.Header)}
	if p.probed, err = v.Probe.reply(); err != nil {
		return p, err
	}
	if p.answer, err = v.Reply.reply(); err != nil {
		return p, err
	}
	refused := w.price(&p)
	if refused != nil {
		p.got.Refused = refusal(refused)
		return p, nil
	}
	if err := p.cap(); err != nil {
		return p, err
	}
	if p.answer != nil && p.priced {
		w.land(&p)
	}
	return p, nil
}

// price identifies the call and asks for its bound, with the probe's answer where one is asked for.
func (w *world) price(p *played) error {
	vendor, c, err := w.table.Identify(p.request, p.body)
	if c != nil {
		p.call, p.got.Operation = c, c.Operation.Name
	}
	if err != nil {
		return err
	}
	c.BasicUser, c.Account = p.BasicUser, p.Account
	if c.Account == "" {
		c.Account = w.Account
	}
	if vendor.Check != nil {
		if err := vendor.Check(c); err != nil {
			return err
		}
	}
	p.bound.Kind = vendors.Exact
	if c.Operation.Bound != nil {
		if p.bound, err = c.Operation.Bound(c, nil); err != nil {
			return err
		}
	}
	if p.bound.Probe != nil {
		p.probe = p.bound.Probe
		p.got.Asks = strings.TrimSuffix(p.probe.Operation+" "+p.probe.Path+"?"+vendors.Encode(p.probe.Query), "?")
		if p.probed == nil {
			return nil // nobody has answered
		}
		if p.bound, err = c.Operation.Bound(c, p.probed); err != nil {
			return err
		}
		if p.bound.Probe != nil {
			return vendors.Refuse(reason.ProbeFailed, "a second probe")
		}
	}
	p.priced = p.bound.Kind != vendors.Unknown
	if c.Operation.Class.Paid() {
		sent := *c
		sent.Params = slices.Concat(sent.Params, p.bound.Send)
		schema := c.Operation.Params
		schema.Redirects = slices.Concat(schema.Redirects, vendor.RedirectHeaders)
		p.got.Unlisted, p.got.Redirects = sent.Unlisted(schema)
	}
	p.got.Kind = [...]string{"unknown", "at most", "exact"}[p.bound.Kind]
	p.got.Why, p.got.Object = p.bound.Why, p.bound.Object
	p.got.Recipients, p.got.Countries = p.bound.Recipients, p.bound.Countries
	for _, s := range p.bound.Send {
		p.got.Send = append(p.got.Send, s.Name+"="+s.Value)
	}
	return nil
}

// cap puts the rule's ceiling in the place of a bound that is not known, beside what is, as the brake does.
func (p *played) cap() error {
	if p.call != nil && !p.priced && p.Ceiling != "" && p.got.Kind != "" {
		line, err := ParseLine(p.Ceiling)
		if err != nil {
			return err
		}
		lines := []cost.Line{line}
		for _, l := range p.bound.Lines {
			if !l.Meter.Money() && l.Meter != line.Meter {
				lines = append(lines, l)
			}
		}
		p.bound.Kind, p.bound.Lines, p.priced, p.ceiling = vendors.AtMost, lines, true, true
	}
	p.got.Lines = lines(p.bound.Lines)
	return nil
}

// land asks what the reply proves and what the call did cost.
func (w *world) land(p *played) {
	o, s, err := settle(p.call, p.bound, p.answer)
	p.outcome, p.got.Outcome = o, o.String()
	if o != vendors.Executed && o != vendors.Pending {
		return
	}
	if err != nil {
		p.got.Unreadable = true
		return
	}
	p.settled = &s
	p.got.Actual, p.got.Held, p.got.Holds = lines(s.Actual), lines(s.Held), s.Object
	p.got.Objects, p.got.Flag = s.Objects, s.Flag
	if s.Again > 0 {
		p.got.Again = s.Again.String()
	}
}

// settle does with a reply what the brake does.
func settle(c *vendors.Call, b vendors.Bound, r *vendors.Reply) (vendors.Outcome, vendors.Settlement, error) {
	judge := c.Operation.Outcome
	if judge == nil {
		judge = vendors.ByStatus
	}
	o := judge(c, r)
	s := vendors.Settlement{Actual: b.Lines}
	var err error
	if (o == vendors.Executed || o == vendors.Pending) && c.Operation.Settle != nil {
		s, err = c.Operation.Settle(c, b, r)
	}
	return o, s, err
}

func refusal(err error) string {
	var r *vendors.Refusal
	if !errors.As(err, &r) {
		return string(reason.CostUnknown) // as the brake takes any other error
	}
	return strings.TrimSpace(string(r.Code) + " " + r.Param)
}

// ParseLine reads a line as vectors write it: "fee 0.0083 USD", "units 3".
func ParseLine(s string) (cost.Line, error) {
	f := strings.Fields(s)
	var l cost.Line
	var err error
	switch len(f) {
	case 3:
		l = cost.Line{Meter: cost.Meter(f[0]), Currency: cost.Currency(f[2])}
		l.Amount, err = cost.ParseDecimal(f[1])
	case 2:
		l = cost.Line{Meter: cost.Meter(f[0])}
		l.Amount, err = cost.ParseCount(f[1])
	default:
		err = fmt.Errorf("%q is not a line such as \"fee 0.0083 USD\" or \"units 3\"", s)
	}
	if err != nil {
		return l, err
	}
	return l, l.Valid()
}

func lines(ls []cost.Line) []string {
	var out []string
	for _, l := range ls {
		text := string(l.Meter) + " " + strconv.FormatInt(l.Amount, 10)
		if l.Meter.Money() {
			text = string(l.Meter) + " " + l.String()
		}
		out = append(out, text)
	}
	return out
}

// JSON is the vector as one line of a file, without its newline.
func (v Vector) JSON() ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return bytes.TrimSpace(b.Bytes()), err
}
