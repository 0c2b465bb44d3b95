package stripemock

import (
	"bufio"
	"bytes"
	"cmp"
	_ "embed"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/stripe/stripe-mock/embedded"
	"github.com/stripe/stripe-mock/server"
	"github.com/stripe/stripe-mock/spec"
)

var segment = regexp.MustCompile(`\{[^}]*\}`)

//go:embed review.tsv
var review string

// description is Stripe's OpenAPI document, as of the API version 2026-08-26.dahlia.
var description = sync.OnceValues(func() (*spec.Spec, error) {
	return server.LoadSpec(embedded.OpenAPISpec, "")
})

// Catalogue is the text of vendors/kbstripe/catalogue.tsv: Stripe's own description of /v1, as the stripe-mock in
// this module's go.mod carries it, under what a person has decided in review.tsv. An operation of the description
// that nobody has classed is an error, and so is a decision about an operation that is not there.
func Catalogue() ([]byte, error) {
	doc, err := description()
	if err != nil {
		return nil, err
	}
	d, err := readDecisions(review)
	if err != nil {
		return nil, err
	}
	hosts, err := uploads(embedded.OpenAPISpec)
	if err != nil {
		return nil, err
	}
	rows := slices.Clone(d.extra)
	for path, verbs := range doc.Paths {
		for verb, op := range verbs {
			row, err := d.row(doc, string(path), strings.ToUpper(string(verb)), op)
			if err != nil {
				return nil, err
			}
			row.path = hosts[string(path)+" "+string(verb)] + row.path
			rows = append(rows, row)
		}
	}
	if left := slices.Concat(slices.Sorted(maps.Keys(d.classes)), slices.Sorted(maps.Keys(d.older))); len(left) > 0 {
		return nil, fmt.Errorf("review.tsv speaks of what the description does not have: %v", left)
	}
	return write(doc.Info.Version, rows), nil
}

// uploads are the operations that the description puts on another host, by path and verb.
func uploads(document []byte) (map[string]string, error) {
	var doc struct {
		Paths map[string]map[string]struct{ Servers []struct{ URL string } }
	}
	if err := json.Unmarshal(document, &doc); err != nil {
		return nil, err
	}
	hosts := map[string]string{}
	for path, verbs := range doc.Paths {
		for verb, op := range verbs {
			if len(op.Servers) > 0 {
				hosts[path+" "+verb] = strings.Trim(strings.TrimPrefix(op.Servers[0].URL, "https:"), "/")
			}
		}
	}
	return hosts, nil
}

// A catalogued is one line of the catalogue.
type catalogued struct {
	name, class, method, path, cost string // path is a template; one that is not on api.stripe.com begins with its host
	plain, redirects                []string
	prefixes                        []string // of the id at the path's end, for more rows than one
}

// decisions is review.tsv.
type decisions struct {
	reasons, names, classes map[string]string // by key; by method and shape, the class and, after a tab, the cost
	verbs, redirects        map[string]bool
	prefixes                map[string][]string // by shape
	extra                   []catalogued
	older                   map[string][]string // by method and shape
}

func readDecisions(text string) (*decisions, error) {
	d := &decisions{
		reasons: map[string]string{}, names: map[string]string{}, classes: map[string]string{},
		verbs: map[string]bool{}, redirects: map[string]bool{}, prefixes: map[string][]string{}, older: map[string][]string{},
	}
	lines := bufio.NewScanner(strings.NewReader(text))
	for n := 1; lines.Scan(); n++ {
		if line := lines.Text(); line != "" && line[0] != '#' {
			if err := d.decide(strings.Split(line, "\t")); err != nil {
				return nil, fmt.Errorf("review.tsv:%d: %w", n, err)
			}
		}
	}
	return d, lines.Err()
}

var width = map[string]int{"reason": 3, "verb": 2, "prefix": 3, "name": 4, "redirect": 2, "row": 8, "older": 4}

func (d *decisions) decide(f []string) error {
	if want := width[f[0]]; want != len(f) && (want > 0 || len(f) < 3 || len(f) > 4) {
		return fmt.Errorf("%d fields", len(f))
	}
	switch f[0] {
	case "reason":
		d.reasons[f[1]] = f[2]
	case "verb":
		d.verbs[f[1]] = true
	case "prefix":
		d.prefixes[f[1]] = strings.Fields(f[2])
	case "name":
		d.names[f[1]+" "+f[2]] = f[3]
	case "redirect":
		d.redirects[f[1]] = true
	case "older":
		d.older[f[1]+" "+f[2]] = strings.Fields(f[3])
	case "row":
		cost, err := d.cost(f[4])
		if err != nil {
			return err
		}
		host, path, _ := strings.Cut(f[3], "/")
		if path = "/" + path; host != "api.stripe.com" {
			path = host + path
		}
		path = strings.ReplaceAll(path, "{}", "{id}")
		if i := strings.IndexByte(path, '{'); i >= 0 && path[i:i+3] != "{id" {
			path = path[:i+1] + "id:" + path[i+1:]
		}
		d.extra = append(d.extra, catalogued{name: f[7], class: f[1], method: f[2], path: path, cost: unpriced(f[1], cost), plain: strings.Fields(f[5]), redirects: strings.Fields(f[6])})
	default:
		key := f[1] + " " + f[2]
		if d.classes[key] != "" {
			return fmt.Errorf("%s is classed twice", key)
		}
		cost, err := d.cost(strings.Join(f[3:], ""))
		if err != nil {
			return err
		}
		d.classes[key] = f[0] + "\t" + cost
	}
	return nil
}

// cost checks the last field of a class, and puts a reason's text in the place of its key.
func (d *decisions) cost(s string) (string, error) {
	key, denied := strings.CutPrefix(s, "deny ")
	switch {
	case denied && d.reasons[key] != "":
		return "denied: " + d.reasons[key], nil
	case !denied && slices.Contains([]string{"", "go", "rule", "nothing"}, s):
		return s, nil
	}
	return "", fmt.Errorf("%q is no cost", s)
}

// unpriced names the cost of a paid class that nobody has looked at closer.
func unpriced(class, cost string) string {
	if cost == "" && slices.Contains([]string{"charge", "outflow", "commit", "edit", "fee"}, class) {
		return "unknown"
	}
	return cost
}

// row is the catalogue's line for one operation of the description.
func (d *decisions) row(doc *spec.Spec, path, method string, op *spec.Operation) (r catalogued, err error) {
	shape := segment.ReplaceAllString(path, "{}")
	key := method + " " + shape
	class, ok := d.classes[key]
	delete(d.classes, key)
	if !ok && method == "GET" {
		class, ok = "read\t", true
	}
	if !ok {
		return catalogued{}, fmt.Errorf("review.tsv does not class %s; say what it does to money", key)
	}
	r = catalogued{method: method, name: d.names[key]}
	r.class, r.cost, _ = strings.Cut(class, "\t")
	r.cost = unpriced(r.class, r.cost)
	if r.name == "" {
		r.name = d.name(doc, path, method)
	}
	denied := strings.HasPrefix(r.cost, "denied")
	r.path, r.prefixes = d.template(path, denied)
	if r.cost == "unknown" || r.cost == "rule" || r.cost == "nothing" {
		if r.plain, r.redirects, err = d.parameters(op, d.older[key]); err != nil {
			return catalogued{}, fmt.Errorf("%s: %w", key, err)
		}
		delete(d.older, key)
	}
	return r, nil
}

// name makes a path's name: its words, then what is done.
func (d *decisions) name(doc *spec.Spec, path, method string) string {
	parts := strings.Split(path, "/")[2:]
	words := slices.DeleteFunc(slices.Clone(parts), isID)
	noun, last := strings.Join(words, "."), parts[len(parts)-1]
	switch {
	case isID(last):
		return noun + map[string]string{"GET": ".retrieve", "POST": ".update", "DELETE": ".delete"}[method]
	case method == "DELETE":
		return noun + ".delete"
	case d.verbs[last]:
		return noun
	}
	get := doc.Paths[spec.Path(path)]["get"]
	list := get != nil && isList(get)
	switch {
	case method == "GET" && list:
		return noun + ".list"
	case method == "GET":
		return noun + ".retrieve"
	case list || hasChild(doc, path):
		return noun + ".create"
	case get != nil:
		return noun + ".update"
	case len(parts) > 1 && isID(parts[len(parts)-2]):
		return noun
	}
	return noun + ".create"
}

func isID(part string) bool { return strings.HasPrefix(part, "{") }

func isList(op *spec.Operation) bool {
	s := op.Responses["200"].Content["application/json"].Schema
	return s != nil && s.Properties["data"] != nil && s.Properties["has_more"] != nil
}

func hasChild(doc *spec.Spec, path string) bool {
	for other := range doc.Paths {
		if rest, ok := strings.CutPrefix(string(other), path+"/"); ok && isID(rest) && !strings.Contains(rest, "/") {
			return true
		}
	}
	return false
}

// template writes a path as the table reads it: the last id is called id, those before it by the description's word.
// An operation that is denied takes any id, and so does one below an id that begins in more than one way.
func (d *decisions) template(path string, denied bool) (template string, prefixes []string) {
	parts := strings.Split(path, "/")
	last := 0
	for i, part := range parts {
		if isID(part) {
			last = i
		}
	}
	for i, part := range parts {
		if !isID(part) {
			continue
		}
		known := d.prefixes[segment.ReplaceAllString(strings.Join(strings.Split(path, "/")[:i+1], "/"), "{}")]
		if name := strings.Trim(part, "{}"); i < last {
			parts[i] = "{" + strings.ReplaceAll(name, "_", "")
		} else {
			parts[i] = "{id"
		}
		switch {
		case denied || len(known) == 0 || len(known) > 1 && i < last:
		case len(known) == 1:
			parts[i] += ":" + known[0]
		default:
			parts[i] += ":%"
			prefixes = known
		}
		parts[i] += "}"
	}
	return strings.Join(parts, "/"), prefixes
}

// parameters are what an operation takes, at the top level: a group whole, as name[*], and what redirects money or
// effect by itself, wherever it stands. older are those that the description no longer has.
func (d *decisions) parameters(op *spec.Operation, older []string) (plain, redirects []string, err error) {
	for _, name := range older {
		if d.redirects[strings.TrimSuffix(name, "[*]")] {
			redirects = append(redirects, name)
		} else {
			plain = append(plain, name)
		}
	}
	if op.RequestBody == nil {
		return plain, redirects, nil
	}
	for _, media := range op.RequestBody.Content {
		for name, s := range media.Schema.Properties {
			if slices.Contains(older, groupName(name, s)) {
				return nil, nil, fmt.Errorf("the description still has %s", name)
			}
			if !d.redirects[name] {
				plain = append(plain, groupName(name, s))
			}
		}
		d.redirecting(media.Schema, "", &redirects)
	}
	slices.Sort(plain)
	slices.Sort(redirects)
	return slices.Compact(plain), slices.Compact(redirects), nil
}

func (d *decisions) redirecting(s *spec.Schema, name string, found *[]string) {
	for key, field := range s.Properties {
		full := below(name, key)
		if d.redirects[key] {
			*found = append(*found, groupName(full, field))
			continue
		}
		d.redirecting(field, full, found)
	}
	for _, choice := range s.AnyOf {
		d.redirecting(choice, name, found)
	}
	if s.Items != nil {
		d.redirecting(s.Items, name, found)
	}
	if s.AdditionalProperties != nil {
		d.redirecting(s.AdditionalProperties, below(name, "*"), found)
	}
}

func groupName(name string, s *spec.Schema) string {
	if isGroup(s) {
		return name + "[*]"
	}
	return name
}

func isGroup(s *spec.Schema) bool {
	return s.Type == spec.TypeObject || len(s.Properties) > 0 || s.AdditionalProperties != nil ||
		s.Items != nil && isGroup(s.Items) || slices.ContainsFunc(s.AnyOf, isGroup)
}

// write puts the rows in the order of their paths, a word before an id, so that the first row which fits is the one
// that is meant.
func write(version string, rows []catalogued) []byte {
	var all []catalogued
	for _, r := range rows {
		if r.prefixes == nil {
			all = append(all, r)
			continue
		}
		for _, p := range r.prefixes {
			one := r
			one.path = strings.Replace(r.path, "%", p, 1)
			all = append(all, one)
		}
	}
	slices.SortFunc(all, func(a, b catalogued) int {
		id := func(path string) string { return segment.ReplaceAllString(path, "~") } // sorts after every letter
		return cmp.Or(strings.Compare(id(a.path), id(b.path)), strings.Compare(a.method, b.method), strings.Compare(a.path, b.path))
	})
	var b bytes.Buffer
	fmt.Fprintf(&b, "# Stripe's operations, API version %s. Made by internal/stripemock/cmd/catalogue from Stripe's OpenAPI\n", version)
	b.WriteString("# description and internal/stripemock/review.tsv; do not edit. Paths without a host are on api.stripe.com.\n")
	b.WriteString("# name\tclass\tmethod\tpath\tcost\tparameters\tparameters that redirect money or effect\n")
	for _, r := range all {
		line := []string{r.name, r.class, r.method, r.path, r.cost, strings.Join(r.plain, " "), strings.Join(r.redirects, " ")}
		b.WriteString(strings.TrimRight(strings.Join(line, "\t"), "\t") + "\n")
	}
	return b.Bytes()
}

// below is the name of a parameter's part.
func below(name, key string) string {
	if name == "" {
		return key
	}
	return name + "[" + key + "]"
}
