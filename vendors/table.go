package vendors

import (
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/reason"
)

// A Table is a checked set of vendors. It finds the operation of a request and refuses everything else.
type Table struct {
	hosts   map[string]*Vendor
	vendors []*Vendor
	rows    []*Operation
	names   map[string]*Operation
	paths   map[string]string // method, host and path of every row → its name
	at      map[place][]row
}

type row struct {
	op   *Operation
	path template
}

// A place is where the rows stand that can fit a request.
type place struct {
	host, method string
	parts        int // of the path
}

// NewTable checks the vendors and joins them into one table. Every mistake that could let a call through
// unpriced is an error here rather than a surprise at the first call.
func NewTable(vs []Vendor) (*Table, error) {
	t := &Table{hosts: map[string]*Vendor{}, names: map[string]*Operation{}, paths: map[string]string{}, at: map[place][]row{}}
	seen := map[string]bool{}
	for i := range vs {
		v := &vs[i]
		if v.Name == "" || v.Place == nil || v.Refuse == nil {
			return nil, fmt.Errorf("vendors: vendor %d (%q) needs a Name, Place and Refuse", i, v.Name)
		}
		if seen[v.Name] {
			return nil, fmt.Errorf("vendors: vendor %q is registered twice", v.Name)
		}
		seen[v.Name] = true
		t.vendors = append(t.vendors, v)
		if err := v.check(); err != nil {
			return nil, fmt.Errorf("vendors: vendor %q: %w", v.Name, err)
		}
		for j := range v.Operations {
			if err := t.add(v, &v.Operations[j]); err != nil {
				return nil, err
			}
		}
	}
	return t, nil
}

// own are the request headers that the brake writes itself. An adapter that had one copied would send the vault
// key out, or let the agent say how request and reply are read.
var own = []string{
	"Authorization", "Proxy-Authorization", "Cookie", "Idempotency-Key",
	"Content-Type", "Content-Encoding", "Content-Length", "Accept-Encoding",
	"Host", "Connection", "Transfer-Encoding", "Trailer", "Te", "Upgrade", "Expect",
}

var headerName = regexp.MustCompile(`^[A-Za-z0-9-]+$`)

// check reports what is wrong with v beside its operations. A header name that is not canonical would be
// compared with names that are, and never be found: a header that redirects money would pass unseen.
func (v *Vendor) check() error {
	if v.Err != nil {
		return v.Err
	}
	for _, name := range slices.Concat(v.Headers, v.RedirectHeaders, v.RetryHeaders, v.CredentialHeaders) {
		if !headerName.MatchString(name) || name != http.CanonicalHeaderKey(name) {
			return fmt.Errorf("header %q is not in canonical form, such as %q", name, http.CanonicalHeaderKey(name))
		}
	}
	for _, name := range slices.Concat(v.Headers, v.RedirectHeaders) {
		if slices.Contains(own, name) || slices.Contains(v.CredentialHeaders, name) {
			return fmt.Errorf("header %s is the brake's own and is not copied", name)
		}
	}
	for _, name := range v.CredentialHeaders {
		if name != "Authorization" && (slices.Contains(own, name) || (&Call{}).keeps(v, name)) {
			return fmt.Errorf("header %s says something else than a credential", name)
		}
	}
	return nil
}

func (t *Table) add(v *Vendor, op *Operation) error {
	if err := op.check(v.Name); err != nil {
		return err
	}
	if owner := t.hosts[op.Host]; owner != nil && owner != v {
		return fmt.Errorf("vendors: %s and %s both claim host %s", owner.Name, v.Name, op.Host)
	}
	path, err := parseTemplate(op.Path)
	if err != nil {
		return fmt.Errorf("vendors: %s: %w", op.Name, err)
	}
	where := op.Method + " " + op.Host + " " + op.Path
	if other, twice := t.paths[where]; twice {
		return fmt.Errorf("vendors: %s and %s are one path, %s %s", other, op.Name, op.Method, op.Path)
	}
	t.hosts[op.Host], t.paths[where] = v, op.Name
	t.rows = append(t.rows, op)
	at := place{op.Host, op.Method, len(path)}
	t.at[at] = append(t.at[at], row{op, path})
	if t.names[op.Name] == nil {
		t.names[op.Name] = op
	}
	return nil
}

var (
	hostName   = regexp.MustCompile(`^[a-z0-9-]+(\.[a-z0-9-]+)*$`)
	methodName = regexp.MustCompile(`^[A-Z]+$`)
)

// check refuses what would never match, because somebody relies on it, and what would match with no price.
func (op *Operation) check(vendor string) error {
	switch {
	case !strings.HasPrefix(op.Name, vendor+"."):
		return fmt.Errorf("vendors: operation %q does not start with %q", op.Name, vendor+".")
	case cost.Pattern(op.Name).Valid() != nil || strings.HasSuffix(op.Name, "*"):
		return fmt.Errorf("vendors: operation %q is not a name that a policy can write", op.Name)
	case !hostName.MatchString(op.Host):
		return fmt.Errorf("vendors: %s: %q is not a host name in lower case, without a port", op.Name, op.Host)
	case !methodName.MatchString(op.Method):
		return fmt.Errorf("vendors: %s: %q is not a method in upper case", op.Name, op.Method)
	case !op.Class.valid():
		return fmt.Errorf("vendors: %s: %q is not a class", op.Name, op.Class)
	case op.Class.Paid() && op.Bound == nil && op.HardDeny == "":
		return fmt.Errorf("vendors: %s is of class %s and has no Bound", op.Name, op.Class)
	case op.Class == Read && op.Method != http.MethodGet:
		return fmt.Errorf("vendors: %s is a read but not a GET", op.Name)
	case op.Preview && (op.Class != Free || op.Method != http.MethodPost || op.Body != Form):
		return fmt.Errorf("vendors: %s is a preview, which is a POST of a form that is free", op.Name)
	}
	return nil
}

// Vendor returns the vendor that owns host, or nil.
func (t *Table) Vendor(host string) *Vendor {
	v, _ := t.serves(host)
	return v
}

// serves finds the vendor of host, and the host under which its rows stand.
func (t *Table) serves(host string) (*Vendor, string) {
	if v := t.hosts[host]; v != nil {
		return v, host
	}
	for _, v := range t.vendors {
		if v.HostOf == nil {
			continue
		}
		if listed := v.HostOf(host); t.hosts[listed] == v {
			return v, listed
		}
	}
	return nil, ""
}

// Lookup returns the first row of that name, or nil.
func (t *Table) Lookup(operation string) *Operation { return t.names[operation] }

// Operations returns every row, in the order registered.
func (t *Table) Operations() []*Operation {
	return slices.Clone(t.rows)
}

// Identify names the operation of req and reads its parameters from query and body. body is the whole request
// body. It does no I/O and changes nothing. Its errors are [*Refusal]s; a vendor is returned with one wherever
// the host was known, so that the refusal can be written in that vendor's shape.
//
// A path that is not in canonical form is refused, never normalised: a normaliser is a second opinion about
// what will be executed, and an attacker looks for the place where the two differ.
func (t *Table) Identify(req *http.Request, body []byte) (*Vendor, *Call, error) {
	v, c, err := t.Name(req)
	if err != nil {
		return v, c, err
	}
	err = c.read(v, req, body)
	var refusal *Refusal
	if err != nil && !errors.As(err, &refusal) {
		err = Refuse(reason.RequestInvalid, "%v", err)
	}
	return v, c, err
}

// Name names the operation of req, as Identify does, and looks at nothing but the request line: headers, parameters
// and body of the call are unread. It is for refusing early what is not worth reading.
func (t *Table) Name(req *http.Request) (*Vendor, *Call, error) {
	host, err := canonicalHost(req)
	if err != nil {
		return nil, nil, err
	}
	v, listed := t.serves(host)
	if v == nil {
		return nil, nil, Refuse(reason.HostUnknown, "no registered vendor serves this host; register its vendor or fix the URL")
	}
	c, err := t.name(v, listed, req)
	if c != nil {
		c.Host = host
	}
	return v, c, err
}

func (t *Table) name(v *Vendor, host string, req *http.Request) (*Call, error) {
	if err := canonicalRequest(req); err != nil {
		return nil, err
	}
	method := req.Method
	if method == "" {
		method = http.MethodGet // net/http's meaning of the empty method
	}
	op, ids := t.match(host, method, req.URL.Path)
	if op == nil {
		return nil, Refuse(reason.OperationUnknown, "%s %s is not in the %s catalogue%s", method, route(req.URL.Path), v.Name, emptySegmentHint(req.URL.Path))
	}
	c := &Call{Operation: op, Method: method, Host: host, Path: req.URL.Path, IDs: ids}
	if op.HardDeny != "" {
		return c, Refuse(reason.OperationHardDenied, "%s is never allowed through a vault key: %s", op.Name, op.HardDeny)
	}
	return c, nil
}

// read adds headers and parameters to a call that is named.
func (c *Call) read(v *Vendor, req *http.Request, body []byte) error {
	if err := c.readHeaders(v, req.Header); err != nil {
		return err
	}
	headers := len(c.Params)
	if err := c.readParams(req.URL.RawQuery, req.Header.Get("Content-Type"), body); err != nil {
		return err
	}
	for _, p := range c.Params[headers:] {
		if slices.Contains(v.RedirectHeaders, p.Name) { // would be taken for the header, which is not sent
			return &Refusal{Code: reason.ParamInvalid, Param: p.Name, Detail: "this is the name of a header; send it as one"}
		}
	}
	return nil
}

// match finds the first row that fits, unless one that is denied for good fits too: that beats every other, in
// whatever order they stand.
func (t *Table) match(host, method, path string) (op *Operation, ids map[string]string) {
	parts := strings.Split(path, "/")
	for _, r := range t.at[place{host, method, len(parts)}] {
		if op != nil && r.op.HardDeny == "" {
			continue
		}
		if found, ok := r.path.match(parts); ok {
			op, ids = r.op, found
		}
		if op != nil && op.HardDeny != "" {
			break
		}
	}
	return op, ids
}

// plainSegment matches a part of a path that looks like the API's own: a word, a version.
var plainSegment = regexp.MustCompile(`^([A-Za-z_-]{0,32}(\.(json|csv|xml))?|v[0-9]|[0-9]{4}-[0-9]{2}-[0-9]{2})$`)

// route is a path for a message, at most 83 bytes. Other parts than the API's own are left out: an id may be a
// phone number or an address, and records hold neither.
func route(path string) string {
	parts := strings.Split(path, "/")
	for i, part := range parts {
		if !plainSegment.MatchString(part) {
			parts[i] = "*"
		}
	}
	path = strings.Join(parts, "/")
	if len(path) > 80 {
		path = path[:80] + "..."
	}
	return path
}

func emptySegmentHint(path string) string {
	if strings.Contains(path, "//") {
		return "; a part of the path is empty: with twilio-go call SetAccountSid, or pass PathAccountSid"
	}
	return ""
}
