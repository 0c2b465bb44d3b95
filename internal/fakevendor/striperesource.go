package fakevendor

import (
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// retrieve, update, list and search are the same for every kind of object.

func retrieve(kind string) stripeHandler {
	return func(v *stripe, c *stripeCall) (object, *stripeError) { return v.find(c, kind, "id", c.id()) }
}

// update changes metadata and what describes the object, never its money.
func update(kind, execution string) stripeHandler {
	return func(v *stripe, c *stripeCall) (object, *stripeError) {
		o, err := v.find(c, kind, "id", c.id())
		if err != nil {
			return nil, err
		}
		overwrite(o, c.form, "email", "name", "phone", "description", "transfer_group", "receipt_email")
		v.log(c, execution, o, Execution{})
		return o, nil
	}
}

// overwrite takes the named parameters into o, where they are given, and merges
// metadata. An empty value unsets.
func overwrite(o object, f form, names ...string) {
	for _, name := range names {
		if f.has(name) {
			o[name] = orNull(f.str(name))
		}
	}
	old, _ := o["metadata"].(map[string]string)
	merged := maps.Clone(old)
	if merged == nil {
		merged = map[string]string{}
	}
	for key, value := range f.mapping("metadata") {
		merged[key] = value
		if value == "" {
			delete(merged, key)
		}
	}
	o["metadata"] = merged
}

// visible are the objects of a kind that c may see, newest first.
func (v *stripe) visible(c *stripeCall, kind string) []object {
	var out []object
	for _, it := range v.items {
		if it.object.str("object") == kind && !it.object.is("deleted") && (it.scope == "" || it.scope == c.scope()) {
			out = append(out, it.object)
		}
	}
	slices.Reverse(out)
	return out
}

// retrieveBelow is retrieve of what belongs to the object that the path names first, in the given member.
func retrieveBelow(kind, member string) stripeHandler {
	return func(v *stripe, c *stripeCall) (object, *stripeError) {
		o, err := v.find(c, kind, "id", c.ids[1])
		if err == nil && o.str(member) != c.id() {
			return nil, noSuch(kind, "id", c.ids[1])
		}
		return o, err
	}
}

// listBelow lists what belongs to the object that the path names, in the given member.
func listBelow(kind, member string) stripeHandler {
	return func(v *stripe, c *stripeCall) (object, *stripeError) {
		c.form[member] = []string{c.id()}
		return list(kind, member)(v, c)
	}
}

// listSubscriptions leaves out what is canceled unless it is asked for by its status, or for all.
func listSubscriptions(v *stripe, c *stripeCall) (object, *stripeError) {
	switch c.form.str("status") {
	case "all":
		delete(c.form, "status")
	case "":
		c.form["status"] = []string{"active"}
	}
	return list("subscription", "status", "customer")(v, c)
}

// list pages by limit, starting_after and ending_before, and filters by the
// named members and by created, exact or as a range.
func list(kind string, filters ...string) stripeHandler {
	return func(v *stripe, c *stripeCall) (object, *stripeError) {
		limit, err := c.limit()
		if err != nil {
			return nil, err
		}
		all := slices.DeleteFunc(v.visible(c, kind), func(o object) bool {
			return !within(o, c.form) || slices.ContainsFunc(filters, func(name string) bool {
				return c.form.has(name) && o.str(name) != c.form.str(name)
			})
		})
		after, before := c.form.str("starting_after"), c.form.str("ending_before")
		data, more, found := page(all, limit, after, before)
		if !found {
			return nil, badParam("resource_missing", "starting_after", quoteID(kind, after+before))
		}
		return object{"object": "list", "data": append([]object{}, data...), "has_more": more, "url": c.path}, nil
	}
}

func (c *stripeCall) limit() (int, *stripeError) {
	n, given, err := c.form.integer("limit")
	switch {
	case err != nil:
		return 0, err
	case !given:
		return 10, nil
	case n < 1 || n > 100:
		return 0, badParam("parameter_invalid_integer", "limit", "limit must be between 1 and 100.")
	}
	return int(n), nil
}

// within tells whether o was created when the list asks for.
func within(o object, f form) bool {
	at := o.int("created")
	for suffix, ok := range map[string]func(int64) bool{
		"":      func(t int64) bool { return at == t },
		"[gt]":  func(t int64) bool { return at > t },
		"[gte]": func(t int64) bool { return at >= t },
		"[lt]":  func(t int64) bool { return at < t },
		"[lte]": func(t int64) bool { return at <= t },
	} {
		t, err := strconv.ParseInt(f.str("created"+suffix), 10, 64)
		if err == nil && !ok(t) {
			return false
		}
	}
	return true
}

// clause is one condition of Stripe's search language that the fake knows:
// equality of a member or of a metadata value.
var clause = regexp.MustCompile(`^(?:metadata\[["']([^"']+)["']\]|([a-z_]+)):["']?([^"']*)["']?$`)

// search knows clauses joined by AND. Stripe's own index lags behind its
// objects; this one does not.
func search(kind string) stripeHandler {
	return func(v *stripe, c *stripeCall) (object, *stripeError) {
		found := v.visible(c, kind)
		for _, part := range regexp.MustCompile(`(?i)\s+and\s+`).Split(c.form.str("query"), -1) {
			m := clause.FindStringSubmatch(strings.TrimSpace(part))
			if m == nil {
				return nil, badParam("", "query", "We were unable to parse your search query.")
			}
			found = slices.DeleteFunc(found, func(o object) bool { return member(o, m[1], m[2]) != m[3] })
		}
		limit, err := c.limit()
		if err != nil {
			return nil, err
		}
		start := 0
		if n, given, _ := c.form.integer("page"); given {
			start = min(max(0, int(n)), len(found))
		}
		end := min(start+limit, len(found))
		out := object{
			"object": "search_result", "data": append([]object{}, found[start:end]...),
			"has_more": end < len(found), "next_page": nil, "url": c.path,
		}
		if end < len(found) {
			out["next_page"] = strconv.Itoa(end)
		}
		return out, nil
	}
}

// member is o's metadata value or member, as text.
func member(o object, key, name string) string {
	if key != "" {
		metadata, _ := o["metadata"].(map[string]string)
		return metadata[key]
	}
	if n, ok := o[name].(int64); ok {
		return strconv.FormatInt(n, 10)
	}
	return o.str(name)
}

// expanded is o with the ids named by expand replaced by their objects.
func (v *stripe) expanded(c *stripeCall, o object) object {
	for _, path := range c.form.list("expand") {
		o = v.expand(o, strings.Split(path, "."))
	}
	return o
}

func (v *stripe) expand(o object, path []string) object {
	o = o.copy()
	switch value := o[path[0]].(type) {
	case string:
		if it := v.byID[value]; it != nil {
			o[path[0]] = it.object
		}
	case []object:
		data := slices.Clone(value)
		for i := range data {
			if len(path) > 1 {
				data[i] = v.expand(data[i], path[1:])
			}
		}
		o[path[0]] = data
		return o
	}
	if inner, ok := o[path[0]].(object); ok && len(path) > 1 {
		o[path[0]] = v.expand(inner, path[1:])
	}
	return o
}
