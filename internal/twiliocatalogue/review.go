package twiliocatalogue

import (
	"cmp"
	"errors"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
	"unicode"
)

// A Row is one line of the catalogue.
type Row struct {
	Class  string
	Name   string
	Method string
	Host   string
	Path   string   // a template of package vendors
	Body   string   // "form", "json" or "none"
	Params []string // of a call that is not paid only the lists
	Why    string   // why it is denied for good, or empty
}

// String is the row as it stands in the catalogue, without the end of the line.
func (r Row) String() string {
	return strings.Join([]string{r.Class, r.Name, r.Method, r.Host, r.Path, r.Body, dash(strings.Join(r.Params, " ")), dash(r.Why)}, "\t")
}

func dash(s string) string { return cmp.Or(s, "-") }

// A Review is what a person decided about the calls: classes, names, ids, parameters that redirect.
type Review struct {
	rules      []rule
	plain      map[string]string // by product, the version that has no version in its names
	ids        map[string]string // the prefix of an id, by its name or by the word before it
	redirects  []string          // patterns of parameters
	chosen     map[string]bool   // "sync Items/Key": ids that are names of the user's choice; true once one is found
	used       map[*rule]bool
	renamed    map[string]string // name by "METHOD host path"
	namesTaken map[string]string
}

type rule struct {
	line    int
	class   string
	why     string
	methods []string
	where   string // "verify /v2/Services/*"
}

// ReadReview reads the file of rules. Its form is told at its head.
func ReadReview(file string) (*Review, error) {
	r := &Review{plain: map[string]string{}, ids: map[string]string{}, chosen: map[string]bool{}, used: map[*rule]bool{}, renamed: map[string]string{}, namesTaken: map[string]string{}}
	line := 0
	for l := range strings.SplitSeq(file, "\n") {
		line++
		l, _, _ = strings.Cut(l, "#")
		f := strings.Fields(l)
		if len(f) == 0 {
			continue
		}
		if err := r.readLine(f, line); err != nil {
			return nil, fmt.Errorf("review.txt:%d: %w", line, err)
		}
	}
	return r, nil
}

var (
	errForm = errors.New("the line is of no known form")
	classes = []string{"read", "free", "edit", "commit", "charge", "outflow", "fee", "release", "control", "deny"}
	writes  = []string{"POST", "PUT", "PATCH", "DELETE"}
)

func (r *Review) readLine(f []string, line int) error {
	switch {
	case f[0] == "version" && len(f) == 3:
		r.plain[f[1]] = f[2]
	case f[0] == "id" && len(f) == 3:
		r.ids[f[1]] = f[2]
	case f[0] == "chosen" && len(f) > 2:
		for _, id := range f[2:] {
			r.chosen[f[1]+" "+id] = false
		}
	case f[0] == "redirect":
		r.redirects = append(r.redirects, f[1:]...)
	case f[0] == "name" && len(f) == 5:
		r.renamed[f[2]+" "+f[3]+".twilio.com "+f[4]] = f[1]
	case len(f) == 4:
		class, why, _ := strings.Cut(f[0], ":")
		if !slices.Contains(classes, class) || (class == "deny") != (why != "") {
			return errForm
		}
		r.rules = append(r.rules, rule{line, class, why, methods(f[1]), f[2] + " " + f[3]})
	default:
		return errForm
	}
	return nil
}

func methods(s string) []string {
	switch s {
	case "any":
		return append([]string{"GET"}, writes...)
	case "write":
		return writes
	}
	return strings.Split(s, ",")
}

// Rows makes the catalogue. A write that no rule names is an error, and so is a rule that names nothing: both are
// for a person.
func (r *Review) Rows(calls []Call) ([]Row, error) {
	var rows []Row
	var errs []error
	for _, c := range calls {
		row, err := r.row(c)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s %s%s: %w", c.Method, c.Host, c.Path, err))
			continue
		}
		rows = append(rows, row)
		if plus := number.ReplaceAllString(row.Path, "+$0"); plus != row.Path { // E.164, as users write it
			row.Path = plus
			rows = append(rows, row)
		}
	}
	for i := range r.rules {
		if !r.used[&r.rules[i]] {
			errs = append(errs, fmt.Errorf("review.txt:%d: no call is of this rule", r.rules[i].line))
		}
	}
	for id, found := range r.chosen {
		if !found {
			errs = append(errs, fmt.Errorf("review.txt: no call that is free has the id %s", id))
		}
	}
	slices.SortFunc(rows, func(a, b Row) int {
		return cmp.Or(cmp.Compare(a.Host, b.Host), literalFirst(a.Path, b.Path), cmp.Compare(a.Method, b.Method))
	})
	return rows, errors.Join(errs...)
}

// literalFirst orders paths such that of two that fit one request the one with the word stands before the one with
// the id.
func literalFirst(a, b string) int {
	return cmp.Compare(strings.ReplaceAll(a, "{", "~"), strings.ReplaceAll(b, "{", "~"))
}

func (r *Review) row(c Call) (Row, error) {
	class, why, err := r.class(c)
	if err != nil {
		return Row{}, err
	}
	paid := slices.Contains([]string{"edit", "commit", "charge", "outflow", "fee"}, class)
	row := Row{Class: class, Why: why, Method: c.Method, Host: c.Host, Path: r.path(c, paid), Body: body(c)}
	if row.Name, err = r.name(c); err != nil {
		return Row{}, err
	}
	if paid {
		for _, p := range c.Params {
			if r.redirecting(p) {
				p = "!" + p
			}
			row.Params = append(row.Params, p)
		}
	} else if row.Body != "json" {
		row.Params = slices.DeleteFunc(slices.Clone(c.Params), func(p string) bool { return !strings.HasSuffix(p, "[*]") })
	}
	return row, nil
}

func body(c Call) string {
	switch {
	case c.Method == "GET" || c.Method == "DELETE":
		return "none"
	case c.JSON:
		return "json"
	}
	return "form"
}

// class is that of the first rule that fits. Reads need none.
func (r *Review) class(c Call) (class, why string, err error) {
	where := strings.TrimSuffix(c.Host, ".twilio.com") + " " + ids.ReplaceAllString(c.Path, "*")
	for i := range r.rules {
		u := &r.rules[i]
		if !slices.Contains(u.methods, c.Method) || !fits(u.where, where) {
			continue
		}
		r.used[u] = true
		if u.class == "deny" {
			return "control", u.why, nil
		}
		return u.class, "", nil
	}
	if c.Method == "GET" {
		return "read", "", nil
	}
	return "", "", errors.New("no rule of review.txt says what it does with money")
}

// fits is path.Match, where a pattern that ends in ** fits everything below too.
func fits(pattern, where string) bool {
	if root, ok := strings.CutSuffix(pattern, "**"); ok {
		n := strings.Count(root, "/")
		parts := strings.SplitAfterN(where, "/", n+1)
		if len(parts) <= n {
			return false
		}
		where, pattern = strings.Join(parts[:n], ""), root
	}
	ok, err := path.Match(pattern, where)
	return ok && err == nil
}

// number is an id that is a telephone number.
var number = regexp.MustCompile(`\{[A-Za-z]*Number\}`)

var ids = regexp.MustCompile(`\{([A-Za-z]+)\}`)

// path is the path with the prefixes of its ids, where they are always of one kind, and a star for names of the user's
// choice. Of a call that costs no id is one.
func (r *Review) path(c Call, paid bool) string {
	parts := strings.Split(c.Path, "/")
	for i, p := range parts {
		m := ids.FindStringSubmatch(p)
		if m == nil {
			continue
		}
		key := m[1]
		if key == "Sid" {
			key = parts[i-1]
		}
		prefix := r.ids[key]
		if chosen := strings.TrimSuffix(c.Host, ".twilio.com") + " " + parts[i-1] + "/" + m[1]; !paid && has(r.chosen, chosen) {
			r.chosen[chosen], prefix = true, "*"
		}
		if prefix != "" {
			parts[i] = strings.Replace(p, m[0], "{"+m[1]+":"+prefix+"}", 1)
		}
	}
	return strings.Join(parts, "/")
}

func has(m map[string]bool, key string) bool {
	_, ok := m[key]
	return ok
}

// name is twilio.<product>.<resource>.<verb>. The classic API has no product in it, and a product one version
// without its number; a word that repeats the product is left out.
func (r *Review) name(c Call) (string, error) {
	name, renamed := r.renamed[c.Method+" "+c.Host+" "+c.Path]
	if !renamed {
		version, known := r.plain[c.Product]
		if !known {
			return "", fmt.Errorf("review.txt has no version line for %s", c.Product)
		}
		parts := []string{"twilio"}
		if c.Product != "api" {
			parts = append(parts, c.Product)
		}
		if version != c.Version {
			parts = append(parts, c.Version)
		}
		parts = append(parts, words(c)...)
		name = strings.Join(append(parts, verb(c.Func)), ".")
	}
	if other, taken := r.namesTaken[name]; taken {
		return "", fmt.Errorf("it would be %s, and so is %s; give it a name line", name, other)
	}
	r.namesTaken[name] = c.Method + " " + c.Path
	return name, nil
}

// words are the parts of the path that are not ids, of the API's own and not of its version.
func words(c Call) (out []string) {
	p := strings.TrimPrefix(c.Path, "/2010-04-01")
	p = strings.TrimPrefix(p, "/Accounts/{AccountSid}/")
	for part := range strings.SplitSeq(strings.Trim(p, "/"), "/") {
		part = strings.TrimPrefix(strings.TrimSuffix(part, ".json"), ".") // .well-known
		if strings.HasPrefix(part, "{") || part == c.Version {
			continue
		}
		if w := snake(part); len(out) > 0 || w != c.Product {
			out = append(out, w)
		}
	}
	return out
}

func verb(name string) string {
	for prefix, verb := range map[string]string{"Fetch": "retrieve", "Page": "list", "Create": "create", "Update": "update", "Patch": "patch", "Delete": "delete"} {
		if strings.HasPrefix(name, prefix) {
			return verb
		}
	}
	return snake(name)
}

var (
	lowerUpper = regexp.MustCompile(`([a-z])([A-Z])`)
	upperWord  = regexp.MustCompile(`([A-Z])([A-Z][a-z])`)
)

// snake is "CredentialLists" as "credential_lists".
func snake(s string) string {
	s = lowerUpper.ReplaceAllString(s, "${1}_${2}")
	s = upperWord.ReplaceAllString(s, "${1}_${2}")
	return strings.Map(func(r rune) rune {
		if r == '-' {
			return '_'
		}
		return unicode.ToLower(r)
	}, s)
}

// redirecting reports whether a parameter sends something elsewhere or takes content from elsewhere.
func (r *Review) redirecting(param string) bool {
	name := strings.TrimSuffix(param, "[*]")
	return slices.ContainsFunc(r.redirects, func(pattern string) bool {
		ok, err := path.Match(pattern, name)
		return ok && err == nil
	})
}
