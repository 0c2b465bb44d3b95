package vendors

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// A template is a path with ids in it, part by part.
type template []part

// A part is what stands between two slashes: literal text, or an id between literals.
type part struct {
	before, after string // all of a literal is in before
	id            string // the id's name; empty for a literal
	prefix        string // what the id begins with
	free          bool   // the id is a name of the user's choice
}

var brace = regexp.MustCompile(`\{([A-Za-z]+)(?::([A-Za-z0-9_]+|\*))?\}`)

// parseTemplate reads a path template as [Operation.Path] describes it.
func parseTemplate(path string) (template, error) {
	if !strings.HasPrefix(path, "/") {
		return nil, fmt.Errorf("path %q does not start with a slash", path)
	}
	var t template
	for _, text := range strings.Split(path, "/") {
		p := part{before: text}
		if at := brace.FindStringSubmatchIndex(text); at != nil {
			p = part{before: text[:at[0]], after: text[at[1]:], id: text[at[2]:at[3]]}
			if at[4] >= 0 {
				p.prefix = text[at[4]:at[5]]
			}
			if p.free = p.prefix == "*"; p.free {
				p.prefix = ""
			}
		}
		if brace.MatchString(p.after) {
			return nil, fmt.Errorf("path %q has two ids in one part", path)
		}
		if strings.ContainsAny(p.before+p.after, "{}") {
			return nil, fmt.Errorf("path %q has a brace that is not {name}, {name:prefix} or {name:*}", path)
		}
		if p.id != "" && slices.ContainsFunc(t, func(o part) bool { return o.id == p.id }) {
			return nil, fmt.Errorf("path %q has two ids called %s", path, p.id)
		}
		t = append(t, p)
	}
	return t, nil
}

// match returns the ids in a path that was split at its slashes, or false when the path is not of this template.
func (t template) match(parts []string) (map[string]string, bool) {
	if len(parts) != len(t) {
		return nil, false
	}
	ids := map[string]string{}
	for i, p := range t {
		if p.id == "" {
			if parts[i] != p.before {
				return nil, false
			}
			continue
		}
		text, ok := strings.CutPrefix(parts[i], p.before)
		if ok {
			text, ok = strings.CutSuffix(text, p.after)
		}
		if !ok || !isID(text, p.prefix) && !(p.free && isChosen(text)) {
			return nil, false
		}
		ids[p.id] = text
	}
	return ids, true
}

// isID reports whether s is an id that begins with prefix: after it 1 to 255 of [A-Za-z0-9_-].
func isID(s, prefix string) bool {
	rest, ok := strings.CutPrefix(s, prefix)
	if !ok || rest == "" || len(rest) > 255 {
		return false
	}
	for i := range len(rest) {
		switch c := rest[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '_', c == '-':
		default:
			return false
		}
	}
	return true
}

// isChosen reports whether s is a name of the user's choice, 1 to 255 bytes: an address, a number, a name with a colon.
// One that ends as a form of answers does would let a word of the API through as a name: "Webhooks.json".
func isChosen(s string) bool {
	if s == "" || len(s) > 255 || strings.IndexByte(".@:-", s[0]) >= 0 {
		return false
	}
	for _, form := range []string{".json", ".xml", ".csv"} {
		if len(s) >= len(form) && strings.EqualFold(s[len(s)-len(form):], form) {
			return false
		}
	}
	return strings.IndexFunc(s, func(r rune) bool { return !alphanumeric(r) && !strings.ContainsRune("_-.@+:", r) }) < 0
}
