package kbstripe

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/keybrake/keybrake-go/vendors"
)

// marked is the id of the object that carries the call's mark, or empty. The list is read from the newest object back
// to the call. Stripe's lists are complete at once and its searches are not, so that only lists are read.
func (t *teller) marked() string {
	if t.Mark == "" {
		t.stop("the call carries no mark, and no reply has named what it made, so nothing at Stripe can be told to be its")
		return ""
	}
	if strings.HasPrefix(t.e.path, "/v2/") {
		return t.markedV2()
	}
	query := t.listQuery()
	if query == nil {
		return ""
	}
	after := ""
	for {
		page := query
		if after != "" {
			page = append(slices.Clone(query), vendors.Param{Name: "starting_after", Value: after})
		}
		r := t.ask(t.e.name+".list", t.e.in(t.Call), page...)
		if r == nil {
			return t.unlessTooMany()
		}
		o, data := t.page(r)
		if o == nil {
			return ""
		}
		id, last := t.inPage(data)
		switch more := o.truth("has_more"); {
		case o.err != nil:
			t.stop("%s", plain(o.err))
			return ""
		case t.finding.Why != "" || id != "":
			return id
		case !more || t.before(data):
			t.absent()
			return ""
		case last == "" || last == after:
			t.stop("the list of %ss does not go on", t.e.kind)
			return ""
		default:
			after = last
		}
	}
}

// unlessTooMany gives up where a list has more pages than may be read.
func (t *teller) unlessTooMany() string {
	if len(t.Seen) >= vendors.MostLooks-1 { // one is kept for the object
		t.stop("the list of %ss since the call is longer than %d pages", t.e.kind, len(t.Seen))
	}
	return ""
}

func (t *teller) absent() {
	t.finding = vendors.Finding{
		Absent: t.Doubt,
		Why:    fmt.Sprintf("no %s that was created since the call carries its mark", t.e.kind),
	}
}

// listQuery asks for everything since the call; nil where the list cannot be asked for.
func (t *teller) listQuery() []vendors.Param {
	query := []vendors.Param{{Name: "limit", Value: "100"}}
	if t.e.dated {
		query = append(query, vendors.Param{Name: "created[gte]", Value: digits(t.Sent.Add(-margin).Unix())})
	}
	if t.e.by != "" {
		v, ok := t.Call.Get(t.e.by)
		if !ok || !plainID.MatchString(v) {
			t.stop("the list of %ss needs the call's %s, which is not known any more", t.e.kind, t.e.by)
			return nil
		}
		query = append(query, vendors.Param{Name: t.e.by, Value: v})
	}
	return append(query, t.e.always...)
}

// page reads one page of a list.
func (t *teller) page(r *vendors.Reply) (*reader, []any) {
	if r.Status != http.StatusOK {
		t.stop("Stripe answered status %d to the list of %ss", r.Status, t.e.kind)
		return nil, nil
	}
	o := readReply(r, "list")
	v, _ := vendors.Member(o.tree, "data")
	data, ok := v.([]any)
	if !ok && o.err == nil {
		o.fail("data", "a list")
	}
	if o.err != nil {
		t.stop("%s", plain(o.err))
		return nil, nil
	}
	return o, data
}

// inPage is the id of the one object in a page that carries the mark, and the id of the last one.
func (t *teller) inPage(data []any) (id, last string) {
	for _, v := range data {
		o := readObject(v, t.e.kind)
		last = o.text("id")
		if o.err != nil {
			t.stop("an element of the list cannot be read: %s", plain(o.err))
			return "", ""
		}
		if o.mark() != t.Mark {
			continue
		}
		if id != "" {
			t.stop("two %ss carry the call's mark", t.e.kind)
			return "", ""
		}
		id = last
	}
	return id, last
}

// mark is the mark that an object carries, or empty.
func (o *reader) mark() string {
	if !o.has("metadata") {
		return ""
	}
	v, _ := vendors.Member(o.tree, "metadata")
	return (&reader{tree: v}).maybe(markCall)
}

// before reports whether a page of a list that cannot be asked for a time ends before the call. Lists are in the order
// of creation, the newest first.
func (t *teller) before(data []any) bool {
	if t.e.dated || len(data) == 0 {
		return false
	}
	o := &reader{tree: data[len(data)-1]}
	created := o.amount("created")
	return o.err == nil && created > 0 && time.Unix(created, 0).Before(t.Sent.Add(-time.Hour))
}

// markedV2 is marked in the lists of /v2, whose pages name the next one.
func (t *teller) markedV2() string {
	query := []vendors.Param{{Name: "limit", Value: "100"}, {Name: "created_gte", Value: t.Sent.Add(-margin).UTC().Format(time.RFC3339)}}
	for {
		r := t.ask(t.e.name+".list", t.e.path, query...)
		if r == nil {
			return t.unlessTooMany()
		}
		if r.Status != http.StatusOK {
			t.stop("Stripe answered status %d to the list of %ss", r.Status, t.e.kind)
			return ""
		}
		tree, err := vendors.DecodeJSON(r.Body)
		v, listed := vendors.Member(tree, "data")
		data, ok := v.([]any)
		next, paged := vendors.Member(tree, "next_page_url")
		if err != nil || !listed || !ok || !paged {
			t.stop("the answer is not a list of %ss", t.e.kind)
			return ""
		}
		id, _ := t.inPage(data)
		if t.finding.Why != "" || id != "" {
			return id
		}
		if next == nil {
			t.absent()
			return ""
		}
		if query = nextPage(next, t.e.path); query == nil {
			t.stop("the list of %ss does not go on", t.e.kind)
			return ""
		}
	}
}

// nextPage is the query of the next page, if that is a page of the same list.
func nextPage(next any, path string) (query []vendors.Param) {
	text, _ := next.(string)
	u, err := url.Parse(text)
	if err != nil || u.Path != path || u.Host != "" && u.Host != apiHost {
		return nil
	}
	values, err := url.ParseQuery(u.RawQuery)
	if err != nil || values.Get("page") == "" {
		return nil
	}
	for _, name := range slices.Sorted(func(yield func(string) bool) {
		for name := range values {
			if !yield(name) {
				return
			}
		}
	}) {
		query = append(query, vendors.Param{Name: name, Value: values.Get(name)})
	}
	return query
}
