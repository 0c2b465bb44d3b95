package vendors

import (
	"net/http"
	"slices"
	"strings"

	"github.com/keybrake/keybrake-go/reason"
)

// maxPath is the longest path and maxQuery the longest query in bytes. No call of the catalogues comes near.
const (
	maxPath  = 2 << 10
	maxQuery = 16 << 10
)

// canonicalHost returns the request's host in lower case, or refuses one that could be routed elsewhere than
// its certificate was checked for: only https, only the default port, no user, no Host header of another name.
func canonicalHost(req *http.Request) (string, error) {
	u := req.URL
	if u == nil {
		return "", Refuse(reason.RequestInvalid, "the request has no URL")
	}
	if u.Scheme != "https" {
		return "", Refuse(reason.HostUnknown, "the scheme is not https")
	}
	if u.User != nil || u.Opaque != "" {
		return "", Refuse(reason.RequestInvalid, "the URL carries user information or an opaque part")
	}
	host := lower(u.Host)
	host = strings.TrimSuffix(host, ":443")
	if req.Host != "" && lower(req.Host) != lower(u.Host) {
		return "", Refuse(reason.RequestInvalid, "the Host header differs from the URL's host")
	}
	return host, nil
}

// lower folds ASCII only: a Unicode fold would make hosts equal that a resolver keeps apart.
func lower(s string) string {
	b := []byte(s)
	for i, c := range b {
		if c >= 'A' && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}

// canonicalRequest refuses a request whose line or framing could mean something else to the vendor than to us.
func canonicalRequest(req *http.Request) error {
	switch {
	case req.Method != "" && !methodName.MatchString(req.Method):
		return Refuse(reason.RequestInvalid, "the method is not of upper-case letters")
	case req.URL.RawPath != "":
		return Refuse(reason.RequestInvalid, "the path contains an escape; no operation's path needs one")
	case len(req.URL.Path) > maxPath || len(req.URL.RawQuery) > maxQuery:
		return Refuse(reason.RequestInvalid, "the URL is too long")
	case len(req.TransferEncoding) > 0 && !slices.Equal(req.TransferEncoding, []string{"chunked"}):
		// "chunked" is how a server's request says that its body came without a length. It is read whole, and goes out
		// with one.
		return Refuse(reason.RequestInvalid, "the request sets its own transfer encoding")
	case len(req.Trailer) > 0:
		return Refuse(reason.RequestInvalid, "the request declares trailers")
	}
	return canonicalPath(req.URL.Path)
}

func canonicalPath(path string) error {
	if !strings.HasPrefix(path, "/") {
		return Refuse(reason.RequestInvalid, "the path does not start with a slash")
	}
	for _, r := range path {
		if !strings.ContainsRune("/._-~@+:", r) && !alphanumeric(r) {
			return Refuse(reason.RequestInvalid, "the path contains a character that no operation's path has")
		}
	}
	for segment := range strings.SplitSeq(path[1:], "/") {
		if segment == "." || segment == ".." {
			return Refuse(reason.RequestInvalid, "the path contains a dot segment")
		}
	}
	return nil
}

func alphanumeric(r rune) bool {
	return r >= '0' && r <= '9' || r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z'
}

// overrides are headers that make some servers read another method, host or path than the request line has.
var overrides = []string{
	"X-Http-Method-Override", "X-Http-Method", "X-Method-Override", "X-Forwarded-Host", "X-Forwarded-Prefix",
	"Forwarded", "X-Original-Url", "X-Rewrite-Url", "Upgrade", "Content-Encoding",
}

// readHeaders keeps the headers that may be forwarded. It works on the map's own keys, because a key that is
// not in canonical form is invisible to Get and still goes out.
func (c *Call) readHeaders(v *Vendor, in http.Header) error {
	c.Header = http.Header{}
	seen := map[string]bool{}
	for name, values := range in {
		canonical := http.CanonicalHeaderKey(name)
		if strings.ContainsAny(name, " \t\r\n:\x00") || strings.Contains(name, "_") {
			return Refuse(reason.HeaderDenied, "a header's name is malformed")
		}
		if contains(overrides, canonical) {
			return Refuse(reason.HeaderDenied, "header %s could change what the vendor executes; remove it", canonical)
		}
		if !c.keeps(v, canonical) {
			continue
		}
		if seen[canonical] || len(values) != 1 {
			return Refuse(reason.HeaderDenied, "header %s is given more than once", canonical)
		}
		seen[canonical] = true
		if err := c.keep(v, canonical, values[0]); err != nil {
			return err
		}
	}
	return nil
}

func (c *Call) keeps(v *Vendor, name string) bool {
	return name == "Idempotency-Key" || name == "Accept" || name == "User-Agent" ||
		contains(v.Headers, name) || contains(v.RedirectHeaders, name)
}

func (c *Call) keep(v *Vendor, name, value string) error {
	if !printable(value) || len(value) > 1024 {
		return Refuse(reason.HeaderDenied, "header %s is too long or not printable ASCII", name)
	}
	switch {
	case name == "Idempotency-Key":
		return c.keepKey(value)
	case contains(v.RedirectHeaders, name):
		c.Params = append(c.Params, Param{name, value})
	}
	c.Header.Set(name, value)
	return nil
}

// keepKey takes the agent's idempotency key where the vendor honours one. Elsewhere it is dropped: net/http
// sends a request with that header again on its own, and a vendor that ignores it executes twice.
func (c *Call) keepKey(value string) error {
	if c.Operation.KeyMemory == 0 {
		return nil
	}
	limit := c.Operation.KeyMax
	if limit == 0 {
		limit = 255
	}
	if value == "" || len(value) > limit {
		return Refuse(reason.IdempotencyInvalid, "the idempotency key is empty or longer than %d bytes", limit)
	}
	c.Key = value
	return nil
}

func printable(s string) bool {
	for i := range len(s) {
		if s[i] < 0x20 || s[i] > 0x7e {
			return false
		}
	}
	return true
}

func contains(list []string, s string) bool {
	for _, e := range list {
		if e == s {
			return true
		}
	}
	return false
}
