package vendors_test

import (
	"cmp"
	"errors"
	"net/http"
	"net/url"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/keybrake/keybrake-go/reason"
	"github.com/keybrake/keybrake-go/vendors"
)

// What is read of a form is what every other reader finds in it, in what the caller sent and in what is sent on: names and
// values as a browser's standard, net/url, Ruby and PHP read them. A form that they read differently is refused.
func FuzzForm(f *testing.F) {
	for _, s := range [][2]string{
		{"", "amount=500&currency=usd"}, {"limit=3", ""}, {"a=1", "a=2"}, {"", "metadata[k]=v&metadata=x"}, {"", "expand[]=a&expand[]=b"},
		{"DateSent%3C=a&DateSent>=b", "x=%00"}, {"a%5Bb%5D=1", "items[0][a]=1&items[1][a]=2"}, {"a=%ff", ""}, {"a;b=1", "c#"}, {"", "é=é"}, {"a<[b]=", "a[b]<="},
		{"", "items[][price]=a&items[][quantity]=2"}, {"", "items[0][price]=a&items[00][price]=b"}, {"", "a[b][]=1&a[b][c]=2"}, {"a.b=1", "a_b=2"},
	} {
		f.Add(s[0], s[1])
	}
	tab := table(f)
	f.Fuzz(func(t *testing.T, query, body string) {
		req, b := request(t, "POST", "/v1/things", body)
		req.URL.RawQuery = query
		_, c, err := tab.Identify(req, b)
		if err != nil {
			isRefusal(t, err)
			return
		}
		unique(t, c)
		sent := vendors.Encode(c.Params)
		again, b := request(t, "POST", "/v1/things", sent)
		_, second, err := tab.Identify(again, b)
		if err != nil || !slices.Equal(c.Params, second.Params) {
			t.Fatalf("%q is sent as %q and read as %q, %v", c.Params, sent, second.Params, err)
		}
		others, err := url.ParseQuery(sent)
		if err != nil {
			t.Fatalf("net/url refuses %q: %v", sent, err)
		}
		ours := url.Values{}
		for _, p := range c.Params {
			ours.Add(p.Name, p.Value)
		}
		if !reflect.DeepEqual(others, ours) {
			t.Fatalf("net/url reads %q as %q, not %q", sent, others, ours)
		}
		pairs := append(browserForm(query), browserForm(body)...)
		if !slices.Equal(pairs, leaves(c.Params)) || !slices.Equal(browserForm(sent), pairs) {
			t.Fatalf("%q is read as %q, and sent as %q", pairs, c.Params, sent)
		}
		for part := range strings.SplitSeq(query+"&"+body, "&") {
			if part != "" && !strings.Contains(part, "=") {
				t.Fatalf("%q is accepted, which is nothing to Ruby and an empty text to others", part)
			}
		}
		nestedAlike(t, pairs)
	})
}

func leaves(params []vendors.Param) []leaf {
	var all []leaf
	for _, p := range params {
		all = append(all, leaf{p.Name, p.Value})
	}
	return all
}

// nestedAlike says that readers that build groups and lists from brackets build the same of the pairs and lose none. They
// differ in which element of a list a "[]" in the middle of a name means, and there in nothing but that.
func nestedAlike(t *testing.T, pairs []leaf) {
	t.Helper()
	ruby, err := rackForm(pairs)
	if err != nil {
		t.Fatalf("%q is accepted, and no group for Ruby: %v", pairs, err)
	}
	php := phpForm(pairs)
	if slices.ContainsFunc(pairs, func(p leaf) bool { return strings.Contains(p.path, "[][") }) {
		ruby, php = anywhere(ruby), anywhere(php)
	}
	slices.SortFunc(ruby, leaf.compare)
	slices.SortFunc(php, leaf.compare)
	if !slices.Equal(ruby, php) || len(ruby) != len(pairs) {
		t.Fatalf("%q is read as %q by Ruby, as %q by PHP", pairs, ruby, php)
	}
	if numbers := numberForm(pairs); len(numbers) != len(pairs) {
		t.Fatalf("%q is read as %q where positions are numbers", pairs, numbers)
	}
}

func (l leaf) compare(m leaf) int {
	return cmp.Or(strings.Compare(l.path, m.path), strings.Compare(l.value, m.value))
}

var position = regexp.MustCompile(`/[0-9]+\b`)

// anywhere forgets the positions in lists.
func anywhere(all []leaf) []leaf {
	for i := range all {
		all[i].path = position.ReplaceAllString(all[i].path, "/*")
	}
	return all
}

func isRefusal(t *testing.T, err error) {
	t.Helper()
	var r *vendors.Refusal
	if !errors.As(err, &r) {
		t.Fatalf("%v is not a refusal", err)
	}
	if _, known := reason.Lookup(r.Code); !known {
		t.Fatalf("%q is no reason", r.Code)
	}
}

// unique says that a row or a rule that asks for a name gets the one value there is.
func unique(t *testing.T, c *vendors.Call) {
	t.Helper()
	seen := map[string]bool{}
	for _, p := range c.Params {
		if seen[p.Name] && !strings.HasSuffix(p.Name, "[]") || p.Name == "" {
			t.Fatalf("%q stands twice, or is nothing", p.Name)
		}
		seen[p.Name] = true
	}
}

// The leaves of a JSON body are those that a reader finds who shares no code with this one and refuses what readers take
// differently. Names that differ in case alone are parameters of their own, so that a paid operation knows one of them at most.
func FuzzJSON(f *testing.F) {
	for _, s := range []string{
		`{"to":["a","b"],"n":1.50,"x":null}`, `[{"to":"a"},{"to":"b"}]`, `{"a":{"b":1},"a[b]":2}`, `{"a":"\ud83d\ude00"}`, `{"a":"\ud800"}`,
		`{"":{"a":1},"a":2}`, `{"a":[[],{},[[1]]]}`, `{"a":"\\ud800"}`, `[1]`, `{"a":"\uD800\u0041"}`, `{"t\u006f":1,"to":2}`, `"x"`, "{} x",
	} {
		f.Add([]byte(s))
	}
	tab := table(f)
	f.Fuzz(func(t *testing.T, body []byte) {
		req, _ := request(t, "POST", mails, "")
		_, c, err := tab.Identify(req, body)
		if err != nil {
			isRefusal(t, err)
			return
		}
		unique(t, c)
		other, err := readJSON(string(body))
		if err != nil && len(body) > 0 {
			t.Fatalf("%q is read as %q, and is no JSON", body, c.Params)
		}
		if err == nil && !slices.Equal(other.leaves, leaves(c.Params)) {
			t.Fatalf("%q is read as %q, and by another as %q", body, c.Params, other.leaves)
		}
		if err == nil && other.folded {
			if unknown, _ := c.Unlisted(vendors.Schema{Plain: []string{"to", "from", "subject", "text"}}); len(unknown) == 0 {
				t.Fatalf("%q is known by two names", body)
			}
		}
		for _, p := range c.Params {
			if strings.Count(p.Name, "[") != strings.Count(p.Name, "]") || len(p.Name) > 256 {
				t.Fatalf("%q is not a leaf's name", p.Name)
			}
			if strings.Contains(p.Value, "\ufffd") && !strings.Contains(string(body), "\ufffd") && !strings.Contains(strings.ToLower(string(body)), `\ufffd`) {
				t.Fatalf("%q of %q is not what the body says", p.Value, body)
			}
		}
	})
}

// A request line that is accepted is exactly the one that the operation's row has, whatever the URL looked like.
func FuzzRequestLine(f *testing.F) {
	for _, s := range [][2]string{
		{"GET", "https://api.acme.example/v1/things/th_1"}, {"", "https://api.acme.example:443/v1/things"}, {"POST", "https://api.acme.example/v1/things/th_1/confirm"},
		{"GET", "https://api.acme.example/v1/x/../things"}, {"GET", "https://api.acme.example/Accounts/AC1/Files/FL1.json"}, {"GET", "https://u@api.acme.example/v1/things"},
		{"GET", "https://api.acme.example/v1/things%2fth_1"}, {"GET", "//api.acme.example/v1/things"}, {"get", "https:api.acme.example"},
	} {
		f.Add(s[0], s[1])
	}
	tab := table(f)
	f.Fuzz(func(t *testing.T, method, target string) {
		u, err := url.Parse(target)
		if err != nil {
			return
		}
		_, c, err := tab.Identify(&http.Request{Method: method, URL: u}, nil)
		if err != nil {
			isRefusal(t, err)
			return
		}
		if method != c.Method && (method != "" || c.Method != "GET") || c.Operation.Method != c.Method || c.Operation.Host != c.Host {
			t.Fatalf("%s of %s is taken for %s of %s", method, target, c.Operation.Method, c.Operation.Host)
		}
		path := c.Operation.Path
		for name, value := range c.IDs {
			for _, brace := range []string{"{" + name + "}", "{" + name + ":th_}", "{" + name + ":AC}", "{" + name + ":FL}"} {
				path = strings.Replace(path, brace, value, 1)
			}
		}
		if path != u.Path || path != c.Path || u.EscapedPath() != path {
			t.Fatalf("%s is taken for %s with %v", target, c.Operation.Path, c.IDs)
		}
	})
}
