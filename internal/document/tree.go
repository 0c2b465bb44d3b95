// Package document reads a file of JSON or of YAML into Go structs, strictly: a field that is not known or stands twice,
// a value of another type, null, and whatever readers of YAML disagree about are errors, each with its line, column and
// field. Policies and rule files are read with it.
package document

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"
)

// A node is one value of a file, JSON or YAML, with its place. The two formats meet here; what only one of them
// has (anchors, tags, merge keys, several documents) is refused on the way.
type node struct {
	kind    kind
	text    string // of a scalar
	members []field
	items   []node
	place   place
}

type field struct {
	name  string
	place place
	value node
}

type place struct{ line, column int }

// A kind is what stands in a file, in the words of an error about it.
type kind string

const (
	object kind = "an object"
	list   kind = "a list"
	text   kind = "a string"
	number kind = "a number"
	truth  kind = "true or false"
	null   kind = "nothing"
)

// A misplaced is an error at a place.
type misplaced struct {
	place place
	err   error
}

func (m *misplaced) Error() string { return m.err.Error() }
func (m *misplaced) Unwrap() error { return m.err }

func wrong(at place, format string, args ...any) error {
	return &misplaced{at, fmt.Errorf(format, args...)}
}

// readYAML reads exactly one document of the plain part of YAML.
func readYAML(data []byte) (node, error) {
	if err := wholeText(data); err != nil {
		return node{}, err
	}
	loader, err := yaml.NewLoader(bytes.NewReader(data))
	if err != nil {
		return node{}, err
	}
	var document, second yaml.Node
	switch err := loader.Load(&document); {
	case err == io.EOF:
		return node{}, wrong(place{1, 1}, "the file is empty")
	case err != nil:
		return node{}, yamlError(err)
	}
	switch err := loader.Load(&second); {
	case err == nil:
		return node{}, wrong(place{second.Line, second.Column}, "the file holds more than one document")
	case err != io.EOF:
		return node{}, yamlError(err)
	}
	return fromYAML(document.Content[0])
}

// yamlError takes the place out of a parser's error and leaves its stages out.
func yamlError(err error) error {
	var load *yaml.LoadError
	if !errors.As(err, &load) {
		return err
	}
	return wrong(place{load.Mark.Line, load.Mark.Column}, "%s", load.Message)
}

func fromYAML(y *yaml.Node) (node, error) {
	at := place{y.Line, y.Column}
	switch {
	case y.Anchor != "": // before any alias of it
		return node{}, wrong(at, "anchors and aliases are not read; remove &%s", y.Anchor)
	case y.Style&yaml.TaggedStyle != 0 || y.Tag == "!":
		return node{}, wrong(at, "tags are not read; remove %s", y.Tag)
	}
	switch y.Kind {
	case yaml.MappingNode:
		return mapping(y, at)
	case yaml.SequenceNode:
		return sequence(y, at)
	}
	return node{kind: scalar(y), text: y.Value, place: at}, nil
}

// scalar is the kind of a plain word. Words on whose meaning readers of YAML disagree (yes, 0100, 2026-11-24)
// are what a string's place refuses: only strings are strings, and only true and false are either.
func scalar(y *yaml.Node) kind {
	switch y.Tag {
	case "!!str":
		return text
	case "!!null":
		return null
	case "!!bool":
		return truth
	}
	return number
}

func mapping(y *yaml.Node, at place) (node, error) {
	n := node{kind: object, place: at}
	for i := 0; i+1 < len(y.Content); i += 2 {
		key := y.Content[i]
		if key.Tag == "!!merge" {
			return n, wrong(place{key.Line, key.Column}, "merge keys are not read; write the fields out")
		}
		k, err := fromYAML(key)
		if err != nil {
			return n, err
		}
		if k.kind != text {
			return n, wrong(k.place, "a field's name is a string; put it in quotes")
		}
		v, err := fromYAML(y.Content[i+1])
		if err != nil {
			return n, err
		}
		n.members = append(n.members, field{k.text, k.place, v})
	}
	return n, nil
}

func sequence(y *yaml.Node, at place) (node, error) {
	n := node{kind: list, place: at}
	for _, e := range y.Content {
		item, err := fromYAML(e)
		if err != nil {
			return n, err
		}
		n.items = append(n.items, item)
	}
	return n, nil
}

// readJSON reads exactly one JSON value. encoding/json checks the grammar first, so that what walks the tokens
// afterwards may trust it, and gives no places, so that they are counted here.
func readJSON(data []byte) (node, error) {
	if err := wholeText(data); err != nil {
		return node{}, err
	}
	var grammar json.RawMessage
	if err := json.Unmarshal(data, &grammar); err != nil {
		var syntax *json.SyntaxError
		if errors.As(err, &syntax) {
			return node{}, wrong(locate(data, int(syntax.Offset)-1), "%w", err)
		}
		return node{}, err
	}
	j := &jsonReader{d: json.NewDecoder(bytes.NewReader(data)), data: data, place: place{1, 1}}
	j.d.UseNumber()
	return j.value()
}

type jsonReader struct {
	d     *json.Decoder
	data  []byte
	place place // of data[done]
	done  int
}

// token returns the next token and where it starts.
func (j *jsonReader) token() (json.Token, place, error) {
	start := int(j.d.InputOffset())
	start += len(j.data[start:]) - len(bytes.TrimLeft(j.data[start:], " \t\r\n,:"))
	j.place = j.place.after(j.data[j.done:start])
	j.done = start
	t, err := j.d.Token()
	return t, j.place, err
}

func (j *jsonReader) value() (node, error) {
	t, at, err := j.token()
	if err != nil {
		return node{}, wrong(at, "%w", err)
	}
	switch v := t.(type) {
	case json.Delim:
		if v == '{' {
			return j.object(at)
		}
		return j.list(at)
	case string:
		return node{kind: text, text: v, place: at}, nil
	case bool:
		return node{kind: truth, text: fmt.Sprint(v), place: at}, nil
	case json.Number:
		return node{kind: number, text: v.String(), place: at}, nil
	}
	return node{kind: null, place: at}, nil
}

func (j *jsonReader) object(at place) (node, error) {
	n := node{kind: object, place: at}
	for j.d.More() {
		key, where, _ := j.token()
		name, ok := key.(string)
		if !ok {
			return n, wrong(where, "a field's name is missing")
		}
		v, err := j.value()
		if err != nil {
			return n, err
		}
		n.members = append(n.members, field{name, where, v})
	}
	_, _, err := j.token()
	return n, err
}

func (j *jsonReader) list(at place) (node, error) {
	n := node{kind: list, place: at}
	for j.d.More() {
		v, err := j.value()
		if err != nil {
			return n, err
		}
		n.items = append(n.items, v)
	}
	_, _, err := j.token()
	return n, err
}

// wholeText refuses bytes that are not UTF-8, which the parsers would replace or report without a place.
func wholeText(data []byte) error {
	for i := 0; i < len(data); {
		r, n := utf8.DecodeRune(data[i:])
		if r == utf8.RuneError && n == 1 {
			return wrong(locate(data, i), "the file is not UTF-8")
		}
		i += n
	}
	return nil
}

func locate(data []byte, offset int) place {
	return place{1, 1}.after(data[:min(max(offset, 0), len(data))])
}

// after is the place behind text that starts at p. Columns count characters.
func (p place) after(s []byte) place {
	if n := strings.Count(string(s), "\n"); n > 0 {
		p = place{p.line + n, 1}
		s = s[bytes.LastIndexByte(s, '\n')+1:]
	}
	return place{p.line, p.column + utf8.RuneCount(s)}
}
