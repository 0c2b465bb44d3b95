package document

import (
	"cmp"
	"encoding"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"
)

// A Fault is one mistake and where it is.
type Fault struct {
	Path string // "allow[2].max_per_call"
	Err  error
}

func (f *Fault) Error() string { return f.Path + ": " + strings.TrimPrefix(f.Err.Error(), "cost: ") }
func (f *Fault) Unwrap() error { return f.Err }

// Element is the path of a list's element.
func Element(path string, i int) string { return path + "[" + strconv.Itoa(i) + "]" }

// Member is the part of a path that names an object's member.
func Member(name string) string {
	if name != "" && strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") == "" {
		return "." + name
	}
	return "[" + strconv.Quote(name) + "]"
}

// A Format is one in which a file can be.
type Format func(data []byte) (node, error)

// The formats. YAML is the plain part of it: no anchors, aliases, merge keys, tags, and one document.
var (
	JSON Format = readJSON
	YAML Format = readYAML
)

// A Shape is what a struct's types do not say of how it is read.
type Shape struct {
	// Texts are what to write where a type that reads itself from a string finds something else.
	Texts map[reflect.Type]string

	// Empty are the paths of lists that may be empty, which is then as if they were left out.
	Empty []string
}

// Read reads data into the struct that to points to. Then it asks check what is wrong with that. All that is wrong is in
// the error, in the order of the file. Structs are read by the names in their json tags; string, bool, int, struct, pointer,
// slice and map fields are known, and types that read themselves from a string.
func (s Shape) Read(name string, data []byte, in Format, to any, check func() []*Fault) error {
	tree, err := in(data)
	if err != nil {
		return inFile(name, []error{err})
	}
	r := &reader{Shape: s, places: map[string]place{}}
	r.value(tree, reflect.ValueOf(to).Elem(), "")
	if len(r.errs) == 0 { // else most of what check could say would follow from what is said already
		r.locate(check())
	}
	if len(r.errs) > 0 {
		return inFile(name, r.errs)
	}
	return nil
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
	Shape
	places map[string]place // by path, of everything read
	errs   []error
}

func (r *reader) fail(at place, path, format string, args ...any) {
	err := fmt.Errorf(format, args...)
	if path != "" {
		err = &Fault{path, err}
	}
	r.errs = append(r.errs, &misplaced{at, err})
}

// locate gives each fault of the policy the place of its field, or of the nearest thing around it.
func (r *reader) locate(all []*Fault) {
	for _, f := range all {
		path := f.Path
		for r.places[path] == (place{}) { // the whole file, "", has one
			path = path[:len(path)-1]
		}
		r.errs = append(r.errs, &misplaced{r.places[path], f})
	}
}

func (r *reader) value(n node, v reflect.Value, path string) {
	r.places[path] = n.place
	switch {
	case n.kind == null:
		r.fail(n.place, path, "it has no value; give it one, or leave the field out")
	case readsItself(v):
		r.text(n, v, path)
	case v.Kind() == reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		r.value(n, v.Elem(), path)
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
	case v.Kind() == reflect.Int && r.expect(n, number, path):
		i, err := strconv.Atoi(n.text)
		if err != nil || strconv.Itoa(i) != n.text { // 0100, 1e3, 5_000: other numbers to some readers
			r.fail(n.place, path, "write a whole number in decimal, not %s", n.text)
		}
		v.SetInt(int64(i))
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

func readsItself(v reflect.Value) bool {
	_, ok := v.Addr().Interface().(encoding.TextUnmarshaler)
	return ok
}

func (r *reader) text(n node, v reflect.Value, path string) {
	if n.kind != text {
		if what := r.Texts[v.Type()]; what != "" {
			r.fail(n.place, path, "%s", what)
		} else {
			r.expect(n, text, path)
		}
		return
	}
	if err := v.Addr().Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte(n.text)); err != nil {
		r.fail(n.place, path, "%w", err)
	}
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
		r.value(m.value, e, path+Member(m.name))
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
	if len(n.items) == 0 && slices.Contains(r.Empty, path) {
		return
	}
	v.Set(reflect.MakeSlice(v.Type(), len(n.items), len(n.items)))
	for i, item := range n.items {
		r.value(item, v.Index(i), Element(path, i))
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

// AsYAML writes a JSON document as YAML, with every value in quotes.
func AsYAML(data []byte) ([]byte, error) {
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
