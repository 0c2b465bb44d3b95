package vendors_test

import (
	"errors"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// These are the other readers of what the brake reads: written from the descriptions of what servers do, sharing no code with
// the package, lenient where servers are.

// A leaf is a value and the way to it.
type leaf struct{ path, value string }

// browserForm reads a form as the URL Standard of the WHATWG has it. It refuses nothing: a bad escape stays, an empty part is
// skipped, a part without "=" is a name.
func browserForm(s string) (pairs []leaf) {
	for _, part := range strings.Split(s, "&") {
		if part == "" {
			continue
		}
		name, value := part, ""
		if i := strings.IndexByte(part, '='); i >= 0 {
			name, value = part[:i], part[i+1:]
		}
		pairs = append(pairs, leaf{browserDecoded(name), browserDecoded(value)})
	}
	return pairs
}

func browserDecoded(s string) string {
	var out []byte
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c == '+' {
			c = ' '
		} else if c == '%' && i+2 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+3], 16, 8); err == nil {
				c, i = byte(n), i+2
			}
		}
		out = append(out, c)
	}
	return strings.ToValidUTF8(string(out), "\ufffd")
}

// rackForm nests the pairs as Ruby's Rack does, on which Stripe and others stand: "a[][b]" goes into the last element until a
// name would stand twice in it; a type conflict is an error.
func rackForm(pairs []leaf) ([]leaf, error) {
	root := map[string]any{}
	for _, p := range pairs {
		if _, err := rackPut(root, p.path, p.value, 0); err != nil {
			return nil, err
		}
	}
	return leavesOf("", root), nil
}

var errRack = errors.New("a value is expected to be of another kind")

func rackPut(into map[string]any, name, value string, depth int) (any, error) {
	key, after := name, ""
	switch start := strings.IndexByte(name[min(1, len(name)):], '[') + 1; {
	case depth == 0 && start > 0:
		key, after = name[:start], name[start:]
	case depth == 0:
	case strings.HasPrefix(name, "[]"):
		key, after = "[]", name[2:]
	case strings.HasPrefix(name, "["):
		if end := strings.IndexByte(name, ']'); end > 0 {
			key, after = name[1:end], name[end+1:]
		}
	}
	if key == "" {
		return into, nil
	}
	switch {
	case after == "" && key == "[]" && depth > 0:
		return []any{value}, nil
	case after == "":
		into[key] = value
	case after == "[":
		into[name] = value
	case after == "[]":
		list, ok := into[key].([]any)
		if into[key] != nil && !ok {
			return nil, errRack
		}
		into[key] = append(list, value)
	case strings.HasPrefix(after, "[]"):
		child := after[2:]
		if inner, ok := strings.CutPrefix(child, "["); ok {
			if inner, ok := strings.CutSuffix(inner, "]"); ok && inner != "" && !strings.ContainsAny(inner, "[]") {
				child = inner
			}
		}
		list, ok := into[key].([]any)
		if into[key] != nil && !ok {
			return nil, errRack
		}
		element := map[string]any{}
		if len(list) > 0 {
			if last, ok := list[len(list)-1].(map[string]any); ok && !rackHas(last, child) {
				element, list = last, list[:len(list)-1]
			}
		}
		v, err := rackPut(element, child, value, depth+1)
		if err != nil {
			return nil, err
		}
		into[key] = append(list, v)
	default:
		inner, ok := into[key].(map[string]any)
		if into[key] != nil && !ok {
			return nil, errRack
		}
		if inner == nil {
			inner = map[string]any{}
		}
		v, err := rackPut(inner, after, value, depth+1)
		if err != nil {
			return nil, err
		}
		into[key] = v
	}
	return into, nil
}

func rackHas(in map[string]any, key string) bool {
	if strings.Contains(key, "[]") {
		return false
	}
	var at any = in
	for _, part := range strings.FieldsFunc(key, func(r rune) bool { return r == '[' || r == ']' }) {
		m, ok := at.(map[string]any)
		if !ok || m[part] == nil {
			return false
		}
		at = m[part]
	}
	return true
}

// phpForm nests the pairs as PHP does: the last of two wins, whatever kind the first was; "[]" is the next free position.
// That PHP writes "_" for a point is left out.
func phpForm(pairs []leaf) []leaf {
	root := map[string]any{}
	for _, p := range pairs {
		head, rest, _ := strings.Cut(p.path, "[")
		keys := []string{head}
		for rest != "" {
			key, after, ok := strings.Cut(rest, "]")
			if !ok {
				break
			}
			keys = append(keys, key)
			rest, ok = strings.CutPrefix(after, "[")
			if !ok {
				break
			}
		}
		at := root
		for i, key := range keys {
			if key == "" && i > 0 {
				key = strconv.Itoa(nextFree(at))
			}
			if i == len(keys)-1 {
				at[key] = p.value
				break
			}
			inner, ok := at[key].(map[string]any)
			if !ok {
				inner = map[string]any{}
				at[key] = inner
			}
			at = inner
		}
	}
	return leavesOf("", root)
}

func nextFree(m map[string]any) int {
	next := 0
	for key := range m {
		if n, err := strconv.Atoi(key); err == nil && strconv.Itoa(n) == key && n >= next {
			next = n + 1
		}
	}
	return next
}

// numberForm nests as readers do that make a list of every group whose names are numbers: "[01]" is the place of "[1]".
func numberForm(pairs []leaf) []leaf {
	at := map[string]string{}
	for _, p := range pairs {
		parts := strings.Split(p.path, "[")
		for i, part := range parts {
			if key := strings.TrimSuffix(part, "]"); i > 0 && key != "" && strings.Trim(key, "0123456789") == "" {
				n, _ := new(big.Int).SetString(key, 10)
				parts[i] = n.String() + "]"
			}
		}
		name := strings.Join(parts, "[")
		if strings.Contains(name, "[]") {
			name = p.path + fmt.Sprintf("#%d", len(at)) // no position is said
		}
		at[name] = p.value
	}
	var all []leaf
	for path, value := range at {
		all = append(all, leaf{path, value})
	}
	return all
}

// leavesOf are the values below v, with paths such as "a/b/0".
func leavesOf(path string, v any) (all []leaf) {
	switch v := v.(type) {
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(v)) {
			all = append(all, leavesOf(path+"/"+key, v[key])...)
		}
	case []any:
		for i, e := range v {
			all = append(all, leavesOf(fmt.Sprintf("%s/%d", path, i), e)...)
		}
	default:
		all = append(all, leaf{path, fmt.Sprint(v)})
	}
	return all
}

// A jsonReader reads a document as RFC 8259 has it, byte by byte, and refuses what that leaves open: a name twice in one
// object, bytes that are not UTF-8, half of a surrogate pair.
type jsonReader struct {
	text   string
	at     int
	depth  int
	leaves []leaf
	folded bool // two names in one object differ in case alone
}

var errJSON = errors.New("not JSON that every reader reads alike")

// readJSON returns the leaves in order; an empty group and a list of numbers alone are leaves without a value.
func readJSON(text string) (*jsonReader, error) {
	r := &jsonReader{text: text}
	if !utf8.ValidString(text) {
		return nil, errJSON
	}
	leaves, _, err := r.value("")
	if err != nil {
		return nil, err
	}
	if r.space(); r.at != len(text) {
		return nil, errJSON
	}
	r.leaves = leaves
	return r, nil
}

func (r *jsonReader) space() {
	for r.at < len(r.text) && strings.IndexByte(" \t\r\n", r.text[r.at]) >= 0 {
		r.at++
	}
}

func (r *jsonReader) take(s string) bool {
	r.space()
	if !strings.HasPrefix(r.text[r.at:], s) {
		return false
	}
	r.at += len(s)
	return true
}

func (r *jsonReader) value(path string) (leaves []leaf, number bool, err error) {
	if r.depth++; r.depth > 1000 {
		return nil, false, errJSON
	}
	defer func() { r.depth-- }()
	switch {
	case r.take("{"):
		leaves, err = r.object(path)
	case r.take("["):
		leaves, err = r.list(path)
	case r.take("null"):
		leaves = []leaf{{path, ""}}
	case r.take("true"):
		leaves = []leaf{{path, "true"}}
	case r.take("false"):
		leaves = []leaf{{path, "false"}}
	case r.take(`"`):
		var s string
		s, err = r.string()
		leaves = []leaf{{path, s}}
	default:
		var s string
		s, err = r.number()
		leaves, number = []leaf{{path, s}}, true
	}
	return leaves, number, err
}

func (r *jsonReader) object(path string) (all []leaf, err error) {
	names := map[string]bool{}
	folded := map[string]bool{}
	for !r.take("}") {
		if len(names) > 0 && !r.take(",") || !r.take(`"`) {
			return nil, errJSON
		}
		name, err := r.string()
		if err != nil || names[name] || !r.take(":") {
			return nil, errJSON
		}
		names[name] = true
		low := strings.ToLower(name)
		r.folded = r.folded || folded[low]
		folded[low] = true
		below := name
		if path != "" {
			below = path + "[" + name + "]"
		}
		leaves, _, err := r.value(below)
		if err != nil {
			return nil, err
		}
		all = append(all, leaves...)
	}
	if len(names) == 0 && path != "" {
		all = []leaf{{path, ""}}
	}
	return all, nil
}

func (r *jsonReader) list(path string) (all []leaf, err error) {
	n, numbers := 0, true
	for !r.take("]") {
		if n > 0 && !r.take(",") {
			return nil, errJSON
		}
		leaves, number, err := r.value(fmt.Sprintf("%s[%d]", path, n))
		if err != nil {
			return nil, err
		}
		all, numbers, n = append(all, leaves...), numbers && number, n+1
	}
	if numbers && (n > 0 || path != "") {
		return []leaf{{path, ""}}, nil
	}
	return all, nil
}

// string reads on behind the opening quote.
func (r *jsonReader) string() (string, error) {
	var out []rune
	for r.at < len(r.text) {
		c, size := utf8.DecodeRuneInString(r.text[r.at:])
		r.at += size
		switch {
		case c == '"':
			return string(out), nil
		case c < ' ':
			return "", errJSON
		case c != '\\':
			out = append(out, c)
			continue
		}
		if r.at >= len(r.text) {
			return "", errJSON
		}
		e := r.text[r.at]
		r.at++
		if i := strings.IndexByte(`"\/bfnrt`, e); i >= 0 {
			out = append(out, rune("\"\\/\b\f\n\r\t"[i]))
			continue
		}
		unit, err := r.unit(e)
		if err != nil {
			return "", err
		}
		if unit >= 0xD800 && unit <= 0xDBFF {
			if !strings.HasPrefix(r.text[r.at:], `\u`) {
				return "", errJSON
			}
			r.at += 2
			low, err := r.unit('u')
			if err != nil || low < 0xDC00 || low > 0xDFFF {
				return "", errJSON
			}
			unit = 0x10000 + (unit-0xD800)<<10 + low - 0xDC00
		} else if unit >= 0xDC00 && unit <= 0xDFFF {
			return "", errJSON
		}
		out = append(out, unit)
	}
	return "", errJSON
}

func (r *jsonReader) unit(e byte) (rune, error) {
	if e != 'u' || r.at+4 > len(r.text) || strings.Trim(r.text[r.at:r.at+4], "0123456789abcdefABCDEF") != "" {
		return 0, errJSON
	}
	n, err := strconv.ParseUint(r.text[r.at:r.at+4], 16, 16)
	r.at += 4
	return rune(n), err
}

func (r *jsonReader) number() (string, error) {
	from := r.at
	digits := func() bool {
		start := r.at
		for r.at < len(r.text) && r.text[r.at] >= '0' && r.text[r.at] <= '9' {
			r.at++
		}
		return r.at > start
	}
	next := func(set string) bool {
		if r.at < len(r.text) && strings.IndexByte(set, r.text[r.at]) >= 0 {
			r.at++
			return true
		}
		return false
	}
	next("-")
	if !next("0") && !digits() || next(".") && !digits() {
		return "", errJSON
	}
	if next("eE") {
		next("+-")
		if !digits() {
			return "", errJSON
		}
	}
	return r.text[from:r.at], nil
}
