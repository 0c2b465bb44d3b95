package vendors

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/keybrake/keybrake-go/reason"
)

// Limits of what is read. They bound the work that a hostile agent can cause.
const (
	maxParams = 20_000 // a batch of 100 mails to 100 recipients fits; attachments as number lists do not count
	maxForm   = 1_000
	maxDepth  = 16
	maxName   = 256 // as long as the names in a policy's rules
)

// readParams reads query and body as one set of parameters. Vendors merge the two, so reading only one of them
// would price a call that is not the one executed.
func (c *Call) readParams(query, contentType string, body []byte) error {
	if c.Operation.Body != JSON {
		if err := c.addForm(query, "query"); err != nil {
			return err
		}
	} else if query != "" {
		return Refuse(reason.RequestInvalid, "%s takes no query", c.Operation.Name)
	}
	if len(body) == 0 && c.Operation.Body != JSON {
		return c.checkParams()
	}
	if err := c.checkContentType(contentType, body); err != nil {
		return err
	}
	if c.Operation.Body == JSON {
		return c.addJSON(body)
	}
	if err := c.addForm(string(body), "body"); err != nil {
		return err
	}
	return c.checkParams()
}

func (c *Call) checkContentType(contentType string, body []byte) error {
	switch c.Operation.Body {
	case None:
		return Refuse(reason.BodyInvalid, "%s takes no body", c.Operation.Name)
	case JSON:
		if len(body) == 0 {
			return nil
		}
		return mediaType(contentType, "application/json")
	}
	return mediaType(contentType, "application/x-www-form-urlencoded")
}

func mediaType(got, want string) error {
	kind, params, err := mime.ParseMediaType(got)
	if err != nil || kind != want {
		return Refuse(reason.BodyInvalid, "the content type is not %s", want)
	}
	if cs := params["charset"]; cs != "" && !strings.EqualFold(cs, "utf-8") {
		return Refuse(reason.BodyInvalid, "the charset is not UTF-8")
	}
	return nil
}

// addForm reads s strictly: whoever decodes it after us must find the same names and values, or the call is
// refused. Semicolons, bad escapes and invalid UTF-8 are read differently by different servers.
func (c *Call) addForm(s, where string) error {
	if strings.ContainsAny(s, ";# \t\r\n") {
		return Refuse(reason.BodyInvalid, "the %s contains a character that has to be escaped", where)
	}
	for pair := range strings.SplitSeq(s, "&") {
		if s == "" {
			return nil
		}
		name, value, ok := strings.Cut(pair, "=")
		if !ok || name == "" {
			return Refuse(reason.BodyInvalid, "the %s has a part that is not name=value", where)
		}
		p, err := unescape(name, value)
		if err != nil {
			return Refuse(reason.BodyInvalid, "the %s has a bad escape or is not UTF-8", where)
		}
		if len(c.Params) >= maxForm {
			return Refuse(reason.BodyInvalid, "the call has more than %d parameters", maxForm)
		}
		c.Params = append(c.Params, p)
	}
	return nil
}

func unescape(name, value string) (p Param, err error) {
	if p.Name, err = url.QueryUnescape(name); err != nil {
		return p, err
	}
	if p.Value, err = url.QueryUnescape(value); err != nil {
		return p, err
	}
	if !utf8.ValidString(p.Name) || !utf8.ValidString(p.Value) {
		return p, errors.New("not UTF-8")
	}
	return p, nil
}

// paramName is a parameter's name: a word, then brackets. Anything else is read in more than one way. A word
// alone may end in a comparison, as in Twilio's filters "DateSent<" and "DateSent>": those are parameters of
// their own, so that a schema or a rule that lists "DateSent" does not let them through.
var paramName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_.\-]*([<>]|(\[[A-Za-z0-9_.\-]*\])*)$`)

// checkParams refuses names that are not in form, that stand twice and are no list, or that are a value here and a branch
// there: vendors differ in which of two they take.
func (c *Call) checkParams() error {
	seen := map[string]bool{}
	for _, p := range c.Params {
		if !paramName.MatchString(p.Name) || strings.Count(p.Name, "[") > maxDepth || len(p.Name) > maxName {
			return Refuse(reason.ParamInvalid, "a parameter's name is not of the form name or name[key]")
		}
		if strings.Contains(p.Name, "[][]") { // one more deep, Ruby and PHP read two different trees
			return &Refusal{Code: reason.ParamInvalid, Param: Collapse(p.Name), Detail: "it is a list of lists; write their positions"}
		}
		// A list may repeat: Stripe's expand[]=a&expand[]=b, and Twilio's MediaUrl=a&MediaUrl=b where the row says so.
		if seen[p.Name] && !strings.HasSuffix(p.Name, "[]") && !slices.Contains(c.Operation.Params.Lists, p.Name) {
			return &Refusal{Code: reason.ParamDuplicate, Param: Collapse(p.Name), Detail: "it is given twice; send it once"}
		}
		seen[p.Name] = true
	}
	for _, p := range c.Params {
		for i := strings.LastIndexByte(p.Name, '['); i > 0; i = strings.LastIndexByte(p.Name[:i], '[') {
			if seen[p.Name[:i]] {
				return &Refusal{Code: reason.ParamDuplicate, Param: Collapse(p.Name), Detail: "it is given as a value and as a group; send one of them"}
			}
		}
	}
	return c.checkLists(seen)
}

// checkLists refuses a group that mixes list positions with names or with "[]": "items[0]" beside "items[]". So it does
// one that has a position in two spellings, "items[1]" and "items[01]": some readers take them for one place.
func (c *Call) checkLists(seen map[string]bool) error {
	style := map[string]string{}
	spelled := map[string]string{}
	for name := range seen {
		for i := strings.IndexByte(name, '['); i >= 0; {
			end := i + strings.IndexByte(name[i:], ']')
			key := name[i+1 : end]
			kind, place := elementStyle(key), name[:i+1]+strings.TrimLeft(key, "0")
			if old, ok := spelled[place]; ok && old != key && kind == "index" {
				return &Refusal{Code: reason.ParamDuplicate, Param: Collapse(name), Detail: "one position is written in two ways; write the number alone"}
			}
			spelled[place] = key
			if old, ok := style[name[:i]]; ok && old != kind {
				return &Refusal{Code: reason.ParamDuplicate, Param: Collapse(name), Detail: "its elements are written in two ways; use one"}
			}
			style[name[:i]] = kind
			if end+1 >= len(name) {
				break
			}
			i = end + 1
		}
	}
	return nil
}

func elementStyle(key string) string {
	switch {
	case key == "":
		return "append"
	case strings.Trim(key, "0123456789") == "":
		return "index"
	}
	return "name"
}

// addJSON reads a JSON document strictly: one document, no name twice in an object, no deep nesting, UTF-8, and
// no half of a surrogate pair.
func (c *Call) addJSON(body []byte) error {
	if len(body) == 0 {
		return nil // an operation that needs parameters refuses their absence itself
	}
	if !utf8.Valid(body) {
		return Refuse(reason.BodyInvalid, "the body is not UTF-8")
	}
	tree, err := decodeJSON(body, 3*maxParams)
	var refusal *Refusal
	switch {
	case errors.As(err, &refusal):
		return refusal
	case err != nil:
		return Refuse(reason.BodyInvalid, "the body is not one JSON document")
	case loneSurrogate(body):
		return Refuse(reason.BodyInvalid, "the body escapes half of a surrogate pair")
	}
	c.JSON = tree
	return c.addLeaves("", tree)
}

// loneSurrogate reports whether the JSON document has an escape such as \ud800 without its other half.
// encoding/json reads that as U+FFFD and other readers do not, so what was checked would not be what is sent.
func loneSurrogate(document []byte) bool {
	for rest := document; ; {
		i := bytes.IndexByte(rest, '\\')
		if i < 0 {
			return false
		}
		rest = rest[i:]
		switch r := escaped(rest); {
		case !utf16.IsSurrogate(r):
			rest = rest[2:]
		case utf16.DecodeRune(r, escaped(rest[6:])) == utf8.RuneError:
			return true
		default:
			rest = rest[12:]
		}
	}
}

// escaped is the code unit of the \uXXXX escape that s starts with, or 0 where it starts with something else.
func escaped(s []byte) rune {
	if len(s) < 6 || s[0] != '\\' || s[1] != 'u' {
		return 0
	}
	n, err := strconv.ParseUint(string(s[2:6]), 16, 16)
	if err != nil {
		return 0
	}
	return rune(n)
}

// addLeaves appends the scalars of tree as parameters, and what is empty, so that a name is never sent unseen.
// A list that holds numbers alone counts as empty: it is an attachment's bytes, which no rule looks at and which
// would be thousands of parameters.
func (c *Call) addLeaves(name string, tree any) error {
	switch v := tree.(type) {
	case object:
		for _, m := range v {
			if !plainMember(m.name) {
				return &Refusal{Code: reason.ParamInvalid, Param: Collapse(name), Detail: "a name in this object is empty, or has a bracket or a control character"}
			}
			if err := c.addLeaves(join(name, m.name), m.value); err != nil {
				return err
			}
		}
		if len(v) == 0 && name != "" {
			return c.addLeaf(name, "")
		}
		return nil
	case []any:
		if bytesLike(v) || len(v) == 0 && name != "" {
			return c.addLeaf(name, "")
		}
		for i, e := range v {
			if err := c.addLeaves(fmt.Sprintf("%s[%d]", name, i), e); err != nil {
				return err
			}
		}
		return nil
	case nil:
		return c.addLeaf(name, "")
	case bool:
		return c.addLeaf(name, fmt.Sprint(v))
	case json.Number:
		return c.addLeaf(name, v.String())
	case string:
		return c.addLeaf(name, v)
	}
	return Refuse(reason.BodyInvalid, "the body holds a value of an unknown kind")
}

// plainMember reports whether the name of an object's member can be part of a leaf's name. An empty one, or one
// with a bracket, would give two different trees one leaf's name; a control character would not stay on one line
// of a record. Replies may have such names: their leaves are not named.
func plainMember(name string) bool {
	return name != "" && !strings.ContainsAny(name, "[]") && !strings.ContainsFunc(name, unicode.IsControl)
}

func (c *Call) addLeaf(name, value string) error {
	switch {
	case name == "":
		return Refuse(reason.BodyInvalid, "the body is neither an object nor a list of them")
	case len(name) > maxName:
		return Refuse(reason.ParamInvalid, "a parameter's name is longer than %d bytes", maxName)
	}
	if len(c.Params) >= maxParams {
		return Refuse(reason.BodyInvalid, "the body has more than %d values", maxParams)
	}
	c.Params = append(c.Params, Param{name, value})
	return nil
}

func join(name, key string) string {
	if name == "" {
		return key
	}
	return name + "[" + key + "]"
}

func bytesLike(list []any) bool {
	for _, e := range list {
		if _, ok := e.(json.Number); !ok {
			return false
		}
	}
	return len(list) > 0
}

// object keeps a JSON object's members in order. Rows read it with [Member].
type object []member

type member struct {
	name  string
	value any
}

// Member returns the value of name in a JSON object of a [Call]'s tree; ok is false when tree is no object or
// has no such member. The comparison is exact: "Amount" is not "amount".
func Member(tree any, name string) (value any, ok bool) {
	o, _ := tree.(object)
	for _, m := range o {
		if m.name == name {
			return m.value, true
		}
	}
	return nil, false
}

// With returns a copy of a JSON object of a [Call]'s tree in which name is value, at its place or at the end. A tree that
// is no object is taken for an empty one. encoding/json writes what comes of it as it was read, members in order.
func With(tree any, name string, value any) any {
	o, _ := tree.(object)
	o = slices.Clone(o)
	i := slices.IndexFunc(o, func(m member) bool { return m.name == name })
	if i < 0 {
		return append(o, member{name, value})
	}
	o[i].value = value
	return o
}

// MarshalJSON writes the members in the order in which they were read.
func (o object) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	for i, m := range o {
		name, err := json.Marshal(m.name)
		if err != nil {
			return nil, err
		}
		value, err := json.Marshal(m.value)
		if err != nil {
			return nil, err
		}
		b.WriteByte("{,"[min(i, 1)])
		b.Write(name)
		b.WriteByte(':')
		b.Write(value)
	}
	if len(o) == 0 {
		b.WriteByte('{')
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// Size is how many bytes a JSON tree takes when it is written without space between its values and with its strings as
// UTF-8, unescaped: never more than the body that it was read from, and never less than the text in it. ok is false for
// a tree of which part was not kept, a list of more than 20,000 numbers.
func Size(tree any) (n int64, ok bool) {
	ok = true
	add := func(name int, value any) {
		size, whole := Size(value)
		n, ok = n+int64(name)+size+1, ok && whole
	}
	switch v := tree.(type) {
	case object:
		for _, m := range v {
			add(len(m.name)+3, m.value) // "name":
		}
		return max(n-1, 0) + 2, ok // a comma between two
	case []any:
		for _, e := range v {
			add(0, e)
		}
		return max(n-1, 0) + 2, ok && len(v) < maxParams
	case string:
		return int64(len(v)) + 2, true
	case json.Number:
		return int64(len(v)), true
	case bool:
		return int64(len(strconv.FormatBool(v))), true
	}
	return int64(len("null")), true
}

// DecodeJSON reads exactly one JSON document. A name that stands twice in one object is an error, because
// readers differ in which they take; so are trailing data, nesting deeper than 16 and more than half a million
// values. Objects are read with [Member], lists are []any, numbers json.Number. Of a list of numbers alone, an
// attachment's bytes, no more than the first 20,000 are kept.
func DecodeJSON(body []byte) (any, error) { return decodeJSON(body, 500_000) }

func decodeJSON(body []byte, values int) (any, error) {
	d := &decoder{Decoder: json.NewDecoder(bytes.NewReader(body)), left: values}
	d.UseNumber()
	tree, err := d.value(0)
	if err != nil {
		return nil, err
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, errors.New("data after the JSON document")
	}
	return tree, nil
}

// A decoder bounds what it builds: a small document can be a large tree.
type decoder struct {
	*json.Decoder
	left int // how many values more
}

func (d *decoder) value(depth int) (any, error) {
	if depth > maxDepth {
		return nil, Refuse(reason.BodyInvalid, "the JSON is nested deeper than %d", maxDepth)
	}
	if d.left--; d.left < 0 {
		return nil, Refuse(reason.BodyInvalid, "the JSON has too many values")
	}
	tok, err := d.Token()
	if err != nil {
		return nil, err
	}
	switch tok {
	case json.Delim('{'):
		return d.object(depth)
	case json.Delim('['):
		return d.list(depth)
	}
	return tok, nil
}

func (d *decoder) object(depth int) (any, error) {
	o := object{}
	seen := map[string]bool{}
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return nil, err
		}
		name := key.(string) // a JSON object's keys are strings, or Token has failed
		if seen[name] {
			return nil, &Refusal{Code: reason.ParamDuplicate, Detail: "a name stands twice in one JSON object; send it once"}
		}
		seen[name] = true
		value, err := d.value(depth + 1)
		if err != nil {
			return nil, err
		}
		o = append(o, member{name, value})
	}
	_, err := d.Token()
	return o, err
}

func (d *decoder) list(depth int) (any, error) {
	list := []any{}
	numbers := true
	for d.More() {
		value, err := d.value(depth + 1)
		if err != nil {
			return nil, err
		}
		if _, number := value.(json.Number); !number {
			numbers = false
		}
		switch {
		case len(list) < maxParams:
			list = append(list, value)
			if numbers {
				d.left++ // numbers are counted once their list turns out to be no attachment
			}
		case !numbers:
			return nil, Refuse(reason.BodyInvalid, "a list has more than %d values", maxParams)
		default:
			d.left++
		}
	}
	_, err := d.Token()
	return list, err
}

// Encode writes params as a form, in order.
func Encode(params []Param) string {
	var b strings.Builder
	for i, p := range params {
		if i > 0 {
			b.WriteByte('&')
		}
		b.WriteString(url.QueryEscape(p.Name) + "=" + url.QueryEscape(p.Value))
	}
	return b.String()
}
