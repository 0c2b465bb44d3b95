package rules

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/keybrake/keybrake-go/vendors"
)

// A source is where values stand: exactly one of the first nine.
type source struct {
	JSON        string `json:"json"`         // a path in the request's body
	Form        string `json:"form"`         // a parameter of the body
	Query       string `json:"query"`        // a parameter of the query
	Header      string `json:"header"`       // of the request; one that is passed on
	Reply       string `json:"reply"`        // a path in the reply's body
	ReplyHeader string `json:"reply_header"` // of the reply
	Const       string `json:"const"`        // the text itself
	ID          string `json:"id"`           // an id in the path, by its name in the template
	Seen        string `json:"seen"`         // a path in the answer to the operation's look

	Split    string `json:"split"`    // the value is a list, separated by this
	Optional bool   `json:"optional"` // where it is missing there is nothing, which is no error
	Default  string `json:"default"`  // or this
	Last     bool   `json:"last"`     // of several, the last: in a stream, what is counted up
}

func (c *checker) source(path string, s *source) {
	n := 0
	for _, from := range []string{s.JSON, s.Form, s.Query, s.Header, s.Reply, s.ReplyHeader, s.Const, s.ID, s.Seen} {
		if from != "" {
			n++
		}
	}
	if n != 1 {
		c.fail(path, "name exactly one of json, form, query, header, reply, reply_header, const, id and seen")
		return
	}
	for at, p := range map[string]string{"json": s.JSON, "reply": s.Reply, "seen": s.Seen} {
		if p == "" {
			continue
		}
		if _, err := parsePath(p); err != nil {
			c.fail(path+"."+at, "%w", err)
		}
	}
	enc := encodings[c.op.Body]
	switch {
	case (s.Reply != "" || s.ReplyHeader != "") && !c.reply:
		c.fail(path, "there is no reply yet when this is asked")
	case c.later && s.Seen == "" && s.Const == "" && s.ID == "":
		c.fail(path, "this is asked when the call is long over: read what is seen, an id of the path, or a const")
	case s.Seen != "" && !c.seen:
		c.fail(path+".seen", "only the bound of an operation with a look reads what was seen")
	case s.ID != "" && !strings.Contains(c.op.Path, "{"+s.ID+"}") && !strings.Contains(c.op.Path, "{"+s.ID+":"):
		c.fail(path+".id", "there is no {%s} in the operation's path", s.ID)
	case s.JSON != "" && enc != vendors.JSON:
		c.fail(path+".json", "the operation's body is not json")
	case s.Form != "" && enc != vendors.Form:
		c.fail(path+".form", "the operation's body is not form")
	case s.Query != "" && enc == vendors.JSON:
		c.fail(path+".query", "an operation with a body of json takes no query")
	case s.Optional && s.Default != "":
		c.fail(path+".optional", "what has a default is never missing")
	}
	if s.Header != "" && !contains(c.file.Headers, s.Header) && !contains(c.file.RedirectHeaders, s.Header) {
		c.fail(path+".header", "a header that is not passed on says nothing of the call; name it in headers")
	}
}

func contains(list []string, s string) bool {
	for _, e := range list {
		if e == s {
			return true
		}
	}
	return false
}

// What keeps a source from being read.
var (
	errMissing = errors.New("it is missing")
	errType    = errors.New("it is not of the type that the vendor documents")
)

// An input is what sources read from. reply is nil before there is one.
type input struct {
	call  *vendors.Call
	reply *vendors.Reply
	tree  any // the reply's body
	seen  any // the body of a look's answer
}

// values are what stands at s: at least one unless s is optional. A null is missing.
func (s *source) values(in input) ([]any, error) {
	how := strict
	if s.Optional || s.Default != "" || s.Last {
		how = optional
	}
	all, err := s.find(in, how)
	switch {
	case err != nil && !(errors.Is(err, errMissing) && (s.Optional || s.Default != "")):
		return nil, err
	case len(all) == 0 && s.Default != "":
		return []any{s.Default}, nil
	case len(all) == 0 && !s.Optional:
		return nil, errMissing
	}
	if s.Last && len(all) > 0 {
		all = all[len(all)-1:]
	}
	if s.Split == "" {
		return all, nil
	}
	var parts []any
	for _, v := range all {
		text, ok := v.(string)
		if !ok {
			return nil, errType
		}
		for part := range strings.SplitSeq(text, s.Split) {
			parts = append(parts, part)
		}
	}
	return parts, nil
}

// A manner is how a path is followed.
type manner int

const (
	strict   manner = iota // what is missing on one branch is an error
	optional               // it leaves that branch out
	lenient                // so does what is not of the expected type: a condition sees what stands there all the same
)

// find is what stands at s.
func (s *source) find(in input, how manner) ([]any, error) {
	switch {
	case s.JSON != "":
		return walk(in.call.JSON, s.JSON, how)
	case s.Reply != "":
		if in.reply == nil {
			return nil, errMissing
		}
		return walk(in.tree, s.Reply, how)
	case s.Seen != "":
		return walk(in.seen, s.Seen, how)
	case s.ID != "":
		return present(in.call.IDs[s.ID])
	case s.Const != "":
		return []any{s.Const}, nil
	case s.Header != "":
		return present(in.call.Header.Get(s.Header))
	case s.ReplyHeader != "":
		if in.reply == nil {
			return nil, errMissing
		}
		return present(in.reply.Header.Get(s.ReplyHeader))
	}
	value, ok := in.call.Get(s.Form + s.Query) // one of them is empty
	if !ok {
		return nil, errMissing
	}
	return []any{value}, nil
}

func present(value string) ([]any, error) {
	if value == "" {
		return nil, errMissing
	}
	return []any{value}, nil
}

// name is how a message and a policy call what stands at s: the parameter, without list positions.
func (s *source) name() string {
	path := s.JSON + s.Reply + s.Seen // all but one of them are empty
	if path == "" {
		return s.Form + s.Query + s.Header + s.ReplyHeader + s.ID
	}
	steps, _ := parsePath(path)
	name := ""
	for _, step := range steps {
		switch {
		case name == "":
			name = step.member
		case step.member != "":
			name += "[" + step.member + "]"
		}
	}
	return name
}

// A step goes to a member of that name, or, if it is empty, to every element of a list.
type step struct{ member string }

// parsePath reads "personalizations[*].to[*].email", "[*].To", or "$" for everything.
func parsePath(path string) ([]step, error) {
	bad := fmt.Errorf("%q is no path such as items[*].price", path)
	if path == "$" {
		return nil, nil
	}
	var steps []step
	for i, part := range strings.Split(path, ".") {
		name := strings.TrimRight(part, "[*]")
		lists := part[len(name):]
		if name == "" && (i > 0 || lists == "") || strings.ContainsAny(name, "[]*$ \t\"'") || lists != strings.Repeat("[*]", len(lists)/3) {
			return nil, bad
		}
		if name != "" {
			steps = append(steps, step{name})
		}
		for range len(lists) / 3 {
			steps = append(steps, step{})
		}
	}
	return steps, nil
}

// walk follows a path.
func walk(tree any, path string, how manner) ([]any, error) {
	steps, err := parsePath(path)
	if err != nil {
		return nil, err
	}
	return follow(tree, steps, how)
}

func follow(tree any, steps []step, how manner) ([]any, error) {
	switch {
	case tree == nil && how == strict:
		return nil, errMissing
	case tree == nil:
		return nil, nil
	case len(steps) == 0:
		return []any{tree}, nil
	case steps[0].member != "":
		value, ok := vendors.Member(tree, steps[0].member)
		switch {
		case !ok && !isObject(tree) && how != lenient:
			return nil, errType
		case !ok && how == strict:
			return nil, errMissing
		}
		return follow(value, steps[1:], how)
	}
	list, ok := tree.([]any)
	switch {
	case !ok && how != lenient:
		return nil, errType
	case !ok && isObject(tree):
		list = []any{tree} // one where a list is expected: some vendors take that
	}
	var all []any
	for _, e := range list {
		found, err := follow(e, steps[1:], how)
		if err != nil {
			return nil, err
		}
		all = append(all, found...)
	}
	return all, nil
}

func isObject(tree any) bool {
	switch tree.(type) {
	case nil, bool, string, json.Number, []any:
		return false
	}
	return true
}

// text is a scalar as it was written.
func text(v any) (string, error) {
	switch v := v.(type) {
	case string:
		return v, nil
	case json.Number:
		return v.String(), nil
	case bool:
		return fmt.Sprint(v), nil
	}
	return "", errType
}

// holds reports whether there is a value that the condition does not expect.
func (u *condition) holds(in input) (bool, error) {
	values, err := u.From.find(in, lenient)
	if err != nil && !errors.Is(err, errMissing) {
		return false, err
	}
	for _, v := range values {
		s, err := text(v)
		if err != nil || !contains(u.OtherThan, s) { // an object where a word is expected is not expected either
			return true, nil
		}
	}
	return false, nil
}
