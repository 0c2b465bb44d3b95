package policy

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"
)

// Load reads a policy from a file whose name ends in .json, .yaml or .yml; see [ParseJSON] and [ParseYAML].
func Load(path string) (Policy, error) {
	parse := ParseYAML
	switch ext := strings.ToLower(filepath.Ext(path)); ext {
	case ".json":
		parse = ParseJSON
	case ".yaml", ".yml":
	default:
		return Policy{}, fmt.Errorf("policy: %s: the name ends in none of .json, .yaml and .yml", path)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return Policy{}, fmt.Errorf("policy: %w", err)
	}
	return parse(path, data)
}

// ParseJSON reads a policy from JSON and validates it. name is what errors call the file. Unknown and repeated
// fields, null, empty strings in a field and values of another type are errors; each names its line, column and field, and all are
// reported together.
func ParseJSON(name string, data []byte) (Policy, error) { return parse(name, data, readJSON) }

// ParseYAML reads a policy from YAML and validates it, as strictly as [ParseJSON] does. Beyond that it refuses
// anchors, aliases, merge keys, tags and a second document, and takes for a string only what all readers of YAML
// do: a phone number or a count has to stand in quotes.
func ParseYAML(name string, data []byte) (Policy, error) { return parse(name, data, readYAML) }

func parse(name string, data []byte, read func([]byte) (node, error)) (Policy, error) {
	tree, err := read(data)
	if err != nil {
		return Policy{}, inFile(name, []error{err})
	}
	r := &reader{places: map[string]place{}}
	var p Policy
	r.value(tree, reflect.ValueOf(&p).Elem(), "")
	if len(r.errs) == 0 { // else most of what Validate could say would follow from what is said already
		r.locate(p.faults())
	}
	if len(r.errs) > 0 {
		return Policy{}, inFile(name, r.errs)
	}
	return p, nil
}

// inFile joins errs in the order of their places and puts file and place before each.
func inFile(file string, errs []error) error {
	at := func(err error) (p place) {
		var m *misplaced
		if errors.As(err, &m) {
			p = m.place
		}
		return p
	}
	slices.SortStableFunc(errs, func(a, b error) int {
		return cmp.Or(cmp.Compare(at(a).line, at(b).line), cmp.Compare(at(a).column, at(b).column))
	})
	for i, err := range errs {
		if p := at(err); p.line > 0 {
			errs[i] = fmt.Errorf("%s:%d:%d: %w", file, p.line, p.column, err)
		} else {
			errs[i] = fmt.Errorf("%s: %w", file, err)
		}
	}
	return errors.Join(errs...)
}

// A reader fills a policy from a tree. It knows of the types what encoding/json knows of them, so that a new
// field needs no line here.
type reader struct {
	places map[string]place // by path, of everything read
	errs   []error
}

func (r *reader) fail(at place, path, format string, args ...any) {
	err := fmt.Errorf(format, args...)
	if path != "" {
		err = &fault{path, err}
	}
	r.errs = append(r.errs, &misplaced{at, err})
}

// locate gives each fault of the policy the place of its field, or of the nearest thing around it.
func (r *reader) locate(all faults) {
	for _, f := range all {
		path := f.path
		for r.places[path] == (place{}) { // the whole file, "", has one
			path = path[:len(path)-1]
		}
		r.errs = append(r.errs, &misplaced{r.places[path], f})
	}
}

var amountType = reflect.TypeFor[Amount]()

func (r *reader) value(n node, v reflect.Value, path string) {
	r.places[path] = n.place
	switch {
	case n.kind == null:
		r.fail(n.place, path, "it has no value; give it one, or leave the field out")
	case v.Type() == amountType:
		r.amount(n, v, path)
	case v.Kind() == reflect.Struct && r.expect(n, object, path):
		r.fields(n, v, path)
	case v.Kind() == reflect.Map && r.expect(n, object, path):
		r.entries(n, v, path)
	case v.Kind() == reflect.Slice && r.expect(n, list, path):
		r.list(n, v, path)
	case v.Kind() == reflect.String && r.expect(n, text, path):
		v.SetString(n.text)
	case v.Kind() == reflect.Bool && r.expect(n, truth, path):
		if n.text != "true" && n.text != "false" { // True, TRUE: strings to some readers
			r.fail(n.place, path, "write true or false, not %s", n.text)
		}
		v.SetBool(n.text == "true")
	}
}

// expect reports whether n is what belongs at path, and fails if not.
func (r *reader) expect(n node, want kind, path string) bool {
	switch {
	case n.kind == want:
		return true
	case want == text && (n.kind == number || n.kind == truth):
		r.fail(n.place, path, "it is to be a string; write \"%s\", in quotes", n.text)
	default:
		r.fail(n.place, path, "it is to be %s and is %s", want, n.kind)
	}
	return false
}

func (r *reader) amount(n node, v reflect.Value, path string) {
	if n.kind != text {
		r.fail(n.place, path, "write money as a string with its currency, such as \"50 USD\"")
		return
	}
	a, err := ParseAmount(n.text)
	if err != nil {
		r.fail(n.place, path, "%w", err)
		return
	}
	v.Set(reflect.ValueOf(a))
}

func (r *reader) fields(n node, v reflect.Value, path string) {
	known := fieldNames(v.Type())
	r.distinct(n, func(m field) {
		i := slices.Index(known, m.name)
		if i < 0 || m.name == "" {
			r.fail(m.place, path, "%q is no field here; %s", m.name, suggest(m.name, known))
			return
		}
		if m.value.kind == text && m.value.text == "" {
			m.value.kind = null // left empty by a template, perhaps: an empty scope would be a budget of this key alone
		}
		r.value(m.value, v.Field(i), strings.TrimPrefix(path+"."+m.name, "."))
	}, path)
}

// fieldNames are the names of a struct's fields in files, by index; empty for those that files do not have.
func fieldNames(t reflect.Type) []string {
	names := make([]string, t.NumField())
	for i := range names {
		names[i], _, _ = strings.Cut(t.Field(i).Tag.Get("json"), ",")
	}
	return names
}

func (r *reader) entries(n node, v reflect.Value, path string) {
	if len(n.members) == 0 {
		return // as the field left out: none of either tests anything
	}
	v.Set(reflect.MakeMap(v.Type()))
	r.distinct(n, func(m field) {
		e := reflect.New(v.Type().Elem()).Elem()
		r.value(m.value, e, path+member(m.name))
		v.SetMapIndex(reflect.ValueOf(m.name), e)
	}, path)
}

// distinct calls do for each member of n, and fails for names that stand twice: readers differ in which they take.
func (r *reader) distinct(n node, do func(field), path string) {
	seen := map[string]bool{}
	for _, m := range n.members {
		if seen[m.name] {
			r.fail(m.place, path, "%q stands twice", m.name)
			continue
		}
		seen[m.name] = true
		do(m)
	}
}

// list keeps an empty list empty rather than nil, so that Validate sees it where it would mean the opposite of
// what it says; where it means what it says, it is as if left out.
func (r *reader) list(n node, v reflect.Value, path string) {
	if len(n.items) == 0 && (path == "allow" || path == "budgets") {
		return
	}
	v.Set(reflect.MakeSlice(v.Type(), len(n.items), len(n.items)))
	for i, item := range n.items {
		r.value(item, v.Index(i), element(path, i))
	}
}

// suggest names the field that was meant, or all of them.
func suggest(name string, known []string) string {
	known = slices.DeleteFunc(slices.Clone(known), func(s string) bool { return s == "" })
	nearest := slices.MinFunc(known, func(a, b string) int { return cmp.Compare(distance(name, a), distance(name, b)) })
	if d := distance(name, nearest); d <= 2 && d < len(nearest)-1 {
		return "did you mean " + nearest + "?"
	}
	return "there are " + strings.Join(known, ", ")
}

// distance is how many letters have to be changed, added or dropped to make a of b; case, _ and - do not count.
func distance(a, b string) int {
	bare := strings.NewReplacer("_", "", "-", "")
	a, b = bare.Replace(strings.ToLower(a)), bare.Replace(strings.ToLower(b))
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

// JSON writes p as [ParseJSON] reads it. A policy that is not valid is an error.
func (p Policy) JSON() ([]byte, error) {
	if err := p.Validate(); err != nil {
		return nil, err
	}
	if p.Allow == nil {
		p.Allow = []Rule{} // null is no list
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	err := e.Encode(p)
	return b.Bytes(), err
}

// YAML writes p as [ParseYAML] reads it, with every value in quotes. A policy that is not valid is an error.
// (JSON is YAML too; this form is for people.)
func (p Policy) YAML() ([]byte, error) {
	data, err := p.JSON()
	if err != nil {
		return nil, err
	}
	tree, err := readJSON(data)
	if err != nil {
		return nil, err
	}
	return yaml.Dump(tree.yaml(), yaml.WithLineWidth(-1))
}

func (n node) yaml() *yaml.Node {
	switch n.kind {
	case object:
		y := &yaml.Node{Kind: yaml.MappingNode}
		for _, m := range n.members {
			name := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: m.name} // in quotes where it needs them
			y.Content = append(y.Content, name, m.value.yaml())
		}
		return y
	case list:
		y := &yaml.Node{Kind: yaml.SequenceNode}
		for _, e := range n.items {
			y.Content = append(y.Content, e.yaml())
		}
		return y
	case truth:
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!bool", Value: n.text}
	}
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: n.text, Style: yaml.DoubleQuotedStyle}
}
