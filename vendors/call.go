package vendors

import (
	"net/http"
	"regexp"
	"slices"
	"strings"
)

// A Param is one parameter as it travels: the name as sent ("metadata[k]", "expand[0]") and the value. The
// leaves of a JSON body have names of the same form ("to[0]", "[3][subject]").
type Param struct{ Name, Value string }

// A Call is a request that was read, checked for form and named. Rows look at it and change nothing.
type Call struct {
	Operation *Operation
	Method    string
	Host      string
	Path      string
	IDs       map[string]string // the path template's ids, by name
	Params    []Param           // query, body and redirecting headers, in the order sent; no name twice but a list's
	JSON      any               // the body's tree for JSON operations; numbers are json.Number
	Header    http.Header       // the headers that may be forwarded
	Account   string            // the account of the credential, where it has one
	BasicUser string            // the part of Basic authentication that is not the vault key
	Key       string            // the agent's Idempotency-Key
}

// Get returns the value of the parameter with exactly this name: of a list that is sent by repetition the first.
func (c *Call) Get(name string) (value string, ok bool) {
	for _, p := range c.Params {
		if p.Name == name {
			return p.Value, true
		}
	}
	return "", false
}

// Has reports whether a parameter of this name, or one below it ("name[…]"), was sent.
func (c *Call) Has(name string) bool {
	return slices.ContainsFunc(c.Params, func(p Param) bool {
		return p.Name == name || strings.HasPrefix(p.Name, name+"[")
	})
}

// Personal reports whether the id of that name may tell who somebody is: a name of the user's choice, as {name:*} takes,
// or a telephone number.
func (c *Call) Personal(name string) bool {
	id := c.IDs[name]
	return len(id) >= 7 && strings.Trim(id, "0123456789") == "" || c.Operation != nil && strings.Contains(c.Operation.Path, "{"+name+":*}")
}

// Unlisted returns the names of the parameters that s does not list, and those that s lists as redirecting,
// each once and in order.
func (c *Call) Unlisted(s Schema) (unknown, redirects []string) {
	for _, p := range c.Params {
		name := Collapse(p.Name)
		switch {
		case covers(s.Redirects, name):
			redirects = append(redirects, name)
		case !covers(s.Plain, name):
			unknown = append(unknown, name)
		}
	}
	slices.Sort(unknown)
	slices.Sort(redirects)
	return slices.Compact(unknown), slices.Compact(redirects)
}

// Listed returns the parameters that names list, as a [Schema] does.
func (c *Call) Listed(names []string) []Param {
	var listed []Param
	for _, p := range c.Params {
		if covers(names, Collapse(p.Name)) {
			listed = append(listed, p)
		}
	}
	return listed
}

// covers reports whether a list of schema names holds name.
func covers(list []string, name string) bool {
	return slices.ContainsFunc(list, func(n string) bool {
		if root, ok := strings.CutSuffix(n, "[*]"); ok {
			return name == root || strings.HasPrefix(name, root+"[")
		}
		return n == name
	})
}

var indexes = regexp.MustCompile(`\[[0-9]*\]`)

// Collapse removes list positions from a parameter's name, so that a schema and a policy's rule speak of all
// the elements of a list at once: "to[3]" is "to", "[0][from]" is "from", "items[2][price]" is "items[price]".
func Collapse(name string) string {
	name = indexes.ReplaceAllString(name, "")
	if rest, ok := strings.CutPrefix(name, "["); ok {
		head, tail, _ := strings.Cut(rest, "]")
		return head + tail
	}
	return name
}

// ByStatus is the outcome of most operations, as far as the status line tells: 2xx was executed, anything else
// is unknown. Rows know more about their vendor's refusals and say so.
func ByStatus(_ *Call, r *Reply) Outcome {
	if r.Status >= 200 && r.Status < 300 {
		return Executed
	}
	return OutcomeUnknown
}
