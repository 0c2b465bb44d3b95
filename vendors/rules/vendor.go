package rules

import (
	"errors"
	"fmt"
	"net/http"
	"net/mail"
	"regexp"
	"slices"
	"strings"

	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/reason"
	"github.com/keybrake/keybrake-go/vendors"
)

// vendor makes the vendor that a valid file describes.
func (f *file) vendor(tables Tables) vendors.Vendor {
	v := vendors.Vendor{
		Name:            f.Vendor,
		Headers:         f.Headers,
		RedirectHeaders: f.RedirectHeaders,
		RetryHeaders:    f.RetryHeaders,

		CredentialHeaders: f.Credential.headers(),

		Place:   f.Credential.placer(f.Vendor),
		Refuse:  f.Refusal.refuse,
		Resends: resends,
	}
	for _, host := range f.Hosts {
		for i := range f.Operations {
			v.Operations = append(v.Operations, f.Operations[i].row(host, f.pricer(i, tables)))
		}
	}
	return v
}

// resends says that an SDK of which nothing is known sends a call again where SDKs do.
func resends(_ *vendors.Call, r *vendors.Reply) bool {
	return r == nil || r.Status >= 500 || slices.Contains([]int{408, 409, 425, 429}, r.Status)
}

// headers are where the credential goes out, and so where a vault key may come in.
func (k credential) headers() []string {
	var names []string
	for _, p := range k.parts() {
		names = append(names, p.Header)
	}
	return names
}

func (k credential) placer(vendor string) func([]string) (vendors.Placement, error) {
	parts := k.parts()
	whole := make([]*regexp.Regexp, len(parts))
	for i, p := range parts {
		whole[i] = regexp.MustCompile(`^(?:` + p.Pattern + `)$`)
	}
	return func(given []string) (placed vendors.Placement, err error) {
		if len(given) == 1 && len(parts) > 1 { // most sources hold one string
			given = strings.SplitN(given[0], ":", len(parts))
		}
		if len(given) != len(parts) {
			return placed, fmt.Errorf("the credential is not one of %s's: it has %d parts, not %d", vendor, len(parts), len(given))
		}
		for i, p := range parts {
			if !printable(given[i]) || !whole[i].MatchString(given[i]) {
				return vendors.Placement{}, fmt.Errorf("the credential is not one of %s's", vendor)
			}
			value := given[i]
			if p.Scheme != "" {
				value = p.Scheme + " " + value
			}
			if !p.Public {
				placed.Secrets = append(placed.Secrets, given[i])
			}
			if !p.Public && placed.Header == "" {
				placed.Header, placed.Value = p.Header, value
			} else {
				placed.Also = append(placed.Also, vendors.Param{Name: p.Header, Value: value})
			}
		}
		return placed, nil
	}
}

// printable keeps out what would end a header, whatever a pattern allows.
func printable(s string) bool {
	return s != "" && len(s) <= 4096 && !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' })
}

const plainRefusal = `{"error":{"type":"invalid_request_error","code":"$code","message":"$message"}}`

// refuse writes a refusal as the file says.
func (k refusal) refuse(_ *vendors.Call, r vendors.Refusal) vendors.Response {
	if r.Status == 0 {
		row, _ := reason.Lookup(r.Code)
		r.Status = row.Status
	}
	if r.Message == "" {
		r.Message = r.Error()
	}
	template, contentType := k.Body, k.ContentType
	if template == "" {
		template = plainRefusal
	}
	if contentType == "" {
		contentType = "application/json"
	}
	body, err := fill(template, r)
	if err != nil { // cannot happen: the template was filled in when the file was read
		body = []byte("{}")
	}
	return vendors.Response{Status: r.Status, Header: http.Header{"Content-Type": {contentType}}, Body: body}
}

func (op *operation) row(host string, p pricer) vendors.Operation {
	row := vendors.Operation{
		Name: op.Name, Method: op.Method, Host: host, Path: op.Path,
		Class: vendors.Class(op.Class), HardDeny: op.Deny, Body: encodings[op.Body],
		Params: vendors.Schema{Plain: op.Params, Redirects: op.Redirects},
	}
	if op.Outcome != nil {
		row.Outcome = op.Outcome.judge
	}
	if row.Class.Paid() && op.Deny == "" {
		row.Bound = p.bound
		if op.Settle != nil {
			row.Settle = p.settle
		}
		if op.Reconcile != nil {
			row.Reconcile = p.reconcile
		}
	}
	if row.Class == vendors.Release && op.Object != nil && op.Deny == "" {
		row.Bound, row.Settle = p.release, p.released
	}
	return row
}

// A pricer prices one operation's calls.
type pricer struct {
	op     *operation
	tables Tables
	at     lane // of its look
	after  lane // of its reconcile
}

func (f *file) pricer(i int, tables Tables) pricer {
	p := pricer{op: &f.Operations[i], tables: tables}
	if p.op.Look != nil {
		p.at, _ = f.lane(p.op.Look.Operation) // the file was checked, here and below
	}
	if p.op.Reconcile != nil {
		p.after, _ = f.lane(p.op.Reconcile.Operation)
	}
	return p
}

// bound refuses what it cannot read. What has no price, or is named as what has none, is unknown.
func (p pricer) bound(c *vendors.Call, seen *vendors.Reply) (vendors.Bound, error) {
	in := input{call: c}
	b := vendors.Bound{Kind: vendors.AtMost}
	if p.op.Kind == "exact" {
		b.Kind = vendors.Exact
	}
	var err error
	if l := p.op.Look; l != nil && seen == nil {
		b.Probe, err = p.probe(in)
		return b, err
	} else if l != nil {
		if in.seen, err = l.answer(in, seen); err != nil {
			return vendors.Bound{}, err
		}
	}
	if p.op.Object != nil {
		if b.Object, err = p.op.Object.one(in); err != nil {
			return vendors.Bound{}, refused(err)
		}
	}
	for i := range p.op.Bound {
		l, err := p.line(&p.op.Bound[i], in)
		var none *notPriced
		switch {
		case errors.As(err, &none):
			b.Kind, b.Why = vendors.Unknown, none.Error()
		case err != nil:
			return vendors.Bound{}, refused(err)
		default:
			b.Lines = append(b.Lines, l)
		}
	}
	for i := range p.op.UnknownIf {
		u := &p.op.UnknownIf[i]
		holds, err := u.holds(in)
		if err != nil {
			return vendors.Bound{}, refused(&unread{&u.From, err})
		}
		if holds {
			b.Kind, b.Why = vendors.Unknown, u.Why
		}
	}
	if len(p.op.Bound) == 0 && b.Kind != vendors.Unknown {
		// A file that says only when the cost is unknown says nothing of other calls.
		b.Kind, b.Why = vendors.Unknown, "the rules of "+p.op.Name+" do not say what it costs; give the rule a ceiling"
	}
	b.Recipients, err = p.recipients(in)
	return b, err
}

func refused(err error) error {
	var u *unread
	if errors.As(err, &u) && u.at.name() != "" {
		r := vendors.Refuse(reason.ParamInvalid, "the call cannot be priced: %v", u.err)
		r.Param = u.at.name()
		return r
	}
	return vendors.Refuse(reason.CostUnknown, "the call cannot be priced: %v", err)
}

func (p pricer) line(l *line, in input) (out cost.Line, err error) {
	out.Meter = cost.Meter(l.Meter)
	n, err := l.Amount.eval(in, p.tables)
	if err != nil {
		return out, err
	}
	if out.Amount, err = amount(n, out.Meter); err != nil {
		return out, err
	}
	if l.Currency != nil {
		if out.Currency, err = l.Currency.read(in); err != nil {
			return out, err
		}
	}
	return out, out.Valid()
}

func (k *currency) read(in input) (cost.Currency, error) {
	if k.Code != "" {
		return cost.Currency(k.Code), nil
	}
	values, err := k.From.values(in)
	if err != nil {
		return "", &unread{k.From, err}
	}
	first, err := text(values[0])
	code := cost.Currency(strings.ToUpper(first))
	if err != nil || len(values) != 1 || !code.Valid() {
		return "", &unread{k.From, errors.New("it is not a currency code such as USD")}
	}
	return code, nil
}

// recipients are the mail addresses of the call. What is none, or cannot be told apart, is "?".
func (p pricer) recipients(in input) ([]string, error) {
	var all []string
	for i := range p.op.People {
		values, err := p.op.People[i].values(in)
		if err != nil {
			return nil, refused(&unread{&p.op.People[i], err})
		}
		for _, v := range values {
			if s, _ := text(v); s != "" { // what is no text is "?"
				all = append(all, addresses(s)...)
			} else if v != "" {
				all = append(all, "?")
			}
		}
	}
	return all, nil
}

func addresses(s string) []string {
	list, err := mail.ParseAddressList(s)
	if err != nil {
		return []string{"?"}
	}
	var all []string
	for _, a := range list {
		at := strings.LastIndexByte(a.Address, '@')
		all = append(all, a.Address[:at]+strings.ToLower(a.Address[at:]))
	}
	return all
}

// judge says what a reply proves. Not executed takes a status that the file names and the vendor's own error.
func (o *outcome) judge(c *vendors.Call, r *vendors.Reply) vendors.Outcome {
	switch {
	case len(o.Executed) == 0 && vendors.ByStatus(c, r) == vendors.Executed, slices.Contains(o.Executed, r.Status):
		return vendors.Executed
	case !slices.Contains(o.NotExecuted, r.Status):
		return vendors.OutcomeUnknown
	}
	tree, err := vendors.DecodeJSON(r.Body)
	if err != nil {
		return vendors.OutcomeUnknown
	}
	if found, err := walk(tree, o.Error, strict); err != nil || len(found) == 0 {
		return vendors.OutcomeUnknown
	}
	return vendors.NotExecuted
}

// settle reads what the call did cost. Where the bound was not known, what was reserved is the rule's ceiling, and the
// reply's numbers are not all that it costs: the ceiling is booked.
func (p pricer) settle(c *vendors.Call, b vendors.Bound, r *vendors.Reply) (vendors.Settlement, error) {
	s, err := p.settled(c, b, r)
	if err == nil {
		s.Again = p.op.Settle.again()
	}
	return s, err
}

func (p pricer) settled(c *vendors.Call, b vendors.Bound, r *vendors.Reply) (s vendors.Settlement, err error) {
	asked := input{call: c}
	atBound, err := p.unknown(asked)
	if err != nil {
		return s, err
	}
	atBound = atBound || len(p.op.Settle.Lines) == 0 && p.op.Settle.Held == nil
	for i := range p.op.Settle.BoundIf {
		holds, err := p.op.Settle.BoundIf[i].holds(asked)
		if err != nil {
			return s, err
		}
		atBound = atBound || holds
	}
	lines := p.op.Settle.Lines
	in, err := input{call: c, reply: r}, error(nil)
	streamed := p.op.Settle.Stream != nil && strings.HasPrefix(r.Header.Get("Content-Type"), "text/event-stream")
	if streamed {
		lines = p.op.Settle.Stream.Lines
		in.tree, err = events(r.Body, p.op.Settle.Stream.End)
	} else if in.tree, err = p.op.Settle.proof(r); err == nil {
		s.Objects, err = p.objects(in)
	}
	switch {
	case err != nil && p.op.Settle.Has != "":
		return vendors.Settlement{}, fmt.Errorf("the reply cannot be read: %w", err)
	case atBound: // whatever the reply is
		return vendors.Settlement{Actual: b.Lines, Objects: s.Objects}, nil
	case err != nil:
		return vendors.Settlement{}, fmt.Errorf("the reply cannot be read: %w", err)
	}
	if err := p.keep(&s, in); err != nil {
		return vendors.Settlement{}, fmt.Errorf("the reply does not say what stays held: %w", err)
	}
	for i := range lines {
		l, err := p.line(&lines[i], in)
		if streamed && errors.Is(err, errMissing) {
			// It came to its end and does not say, because the call did not ask it to.
			return vendors.Settlement{Actual: b.Lines}, nil
		}
		if err != nil {
			return vendors.Settlement{}, fmt.Errorf("the reply does not say what it did cost: %w", err)
		}
		s.Actual = append(s.Actual, l)
	}
	for _, l := range slices.Concat(s.Actual, s.Held) {
		if !slices.ContainsFunc(b.Lines, func(bl cost.Line) bool { return bl.Meter == l.Meter && bl.Currency == l.Currency }) {
			s.Flag = "unexpected currency"
		}
	}
	return s, nil
}

// unknown reports whether the call's cost was not known beforehand. What a look has seen is not at hand any more, and the
// bound of an operation with one has no table.
func (p pricer) unknown(in input) (bool, error) {
	if p.op.Look == nil {
		b, err := p.bound(in.call, nil)
		return b.Kind == vendors.Unknown, err
	}
	for i := range p.op.UnknownIf {
		if holds, err := p.op.UnknownIf[i].holds(in); holds || err != nil {
			return holds, err
		}
	}
	return false, nil
}

// events are what the events of a stream hold, those of JSON. A stream that does not come to its end is an error: what
// it says last is not the whole cost.
func events(body []byte, end string) (any, error) {
	all := []any{}
	ended := false
	text := strings.ReplaceAll(string(body), "\r\n", "\n")
	blocks := strings.Split(text, "\n\n")
	if blocks[len(blocks)-1] != "" {
		return nil, errors.New("the stream ends within an event")
	}
	for _, block := range blocks[:len(blocks)-1] {
		var data []string
		for line := range strings.SplitSeq(block, "\n") {
			if d, ok := strings.CutPrefix(line, "data:"); ok {
				data = append(data, strings.TrimPrefix(d, " "))
			}
		}
		joined := strings.Join(data, "\n")
		ended = joined == end
		if ended || joined == "" {
			continue
		}
		tree, err := vendors.DecodeJSON([]byte(joined))
		if err != nil {
			return nil, errors.New("an event of the stream is not JSON")
		}
		kind, _ := vendors.Member(tree, "type")
		ended = kind == end
		all = append(all, tree)
	}
	if !ended {
		return nil, errors.New("the stream does not come to its end")
	}
	return all, nil
}

func (p pricer) objects(in input) ([]string, error) {
	var all []string
	for i := range p.op.Settle.Objects {
		values, err := p.op.Settle.Objects[i].values(in)
		if err != nil {
			return nil, &unread{&p.op.Settle.Objects[i], err}
		}
		for _, v := range values {
			s, err := text(v)
			if err != nil {
				return nil, &unread{&p.op.Settle.Objects[i], err}
			}
			all = append(all, s)
		}
	}
	return all, nil
}
