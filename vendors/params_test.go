package vendors_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/keybrake/keybrake-go/vendors"
)

const mails = "https://mail.acme.example/mails"

func TestForms(t *testing.T) {
	const created = "acme.things.create"
	long := strings.Repeat("n", 256)
	for name, tt := range map[string]struct {
		query, body string
		want        string
		params      string // name=value, joined by spaces
	}{
		"nothing":                {"", "", created, ""},
		"a body":                 {"", "amount=500&currency=usd", created, "amount=500 currency=usd"},
		"a query":                {"amount=500", "", created, "amount=500"},
		"both, as one set":       {"amount=500", "currency=usd", created, "amount=500 currency=usd"},
		"escapes":                {"", "m%65tadata%5Bk%5D=a+b%2Bc%26", created, "metadata[k]=a b+c&"},
		"an empty value":         {"", "description=", created, "description="},
		"an equals sign":         {"", "a=b=c", created, "a=b=c"},
		"wide characters":        {"", "a=%C3%A9\u00e9", created, "a=éé"},
		"a list that repeats":    {"", "expand[]=a&expand[]=b", created, "expand[]=a expand[]=b"},
		"a list by position":     {"", "items[0][price]=a&items[1][price]=b", created, "items[0][price]=a items[1][price]=b"},
		"a name with a point":    {"", "a.b-c_D9=1", created, "a.b-c_D9=1"},
		"a filter from above":    {"DateSent%3C=2026-11-01", "", created, "DateSent<=2026-11-01"},
		"a filter from below":    {"DateSent>=2026-11-01", "", created, "DateSent>=2026-11-01"},
		"filters from two sides": {"DateSent%3C=b&DateSent%3E=a", "DateSent=c", created, "DateSent<=b DateSent>=a DateSent=c"},
		"the longest name":       {"", long + "=1", created, long + "=1"},

		"a name twice":                        {"", "amount=1&amount=2", "param_duplicate", ""},
		"a name twice, the same":              {"", "amount=1&amount=1", "param_duplicate", ""},
		"a name in query and body":            {"amount=1", "amount=500", "param_duplicate", ""},
		"a name twice, escaped":               {"", "amount=1&%61mount=2", "param_duplicate", ""},
		"a list's element twice":              {"", "items[0]=1&items[0]=2", "param_duplicate", ""},
		"a position in two spellings":         {"", "items[0][price]=1&items[00][price]=2", "param_duplicate", ""},
		"a position in two spellings, apart":  {"", "items[01][price]=1&items[1][quantity]=2", "param_duplicate", ""},
		"a position in one odd spelling":      {"", "metadata[007]=1&metadata[01]=2", "acme.things.create", "metadata[007]=1 metadata[01]=2"},
		"a list of lists":                     {"", "a[][]=1", "param_invalid", ""},
		"a list of lists by position":         {"", "a[0][]=1&a[0][]=2&a[1][]=3", "acme.things.create", "a[0][]=1 a[0][]=2 a[1][]=3"},
		"a member of repeated elements twice": {"", "items[][price]=1&items[][price]=2", "param_duplicate", ""},
		"a filter twice":                      {"DateSent<=a&DateSent%3C=b", "", "param_duplicate", ""},
		"a value and a group":                 {"", "metadata=x&metadata[k]=v", "param_duplicate", ""},
		"a group and a value":                 {"", "metadata[k]=v&metadata=x", "param_duplicate", ""},
		"a value and a group deep inside":     {"", "a[b]=x&a[b][c][d]=v", "param_duplicate", ""},
		"a value and a list":                  {"", "expand=a&expand[]=b", "param_duplicate", ""},
		"positions and names":                 {"", "items[0]=a&items[k]=b", "param_duplicate", ""},
		"positions and appending":             {"", "items[0]=a&items[]=b", "param_duplicate", ""},
		"names and appending":                 {"", "items[k]=a&items[]=b", "param_duplicate", ""},
		"two ways deep inside":                {"", "a[b][0]=a&a[b][c]=b", "param_duplicate", ""},

		"no value":                       {"", "amount", "body_invalid", ""},
		"no name":                        {"", "=5", "body_invalid", ""},
		"an empty part":                  {"", "amount=5&&currency=usd", "body_invalid", ""},
		"an end that is open":            {"", "amount=5&", "body_invalid", ""},
		"a start that is open":           {"&amount=5", "", "body_invalid", ""},
		"a semicolon":                    {"", "amount=5;currency=usd", "body_invalid", ""},
		"a semicolon in the query":       {"amount=5;amount=9", "", "body_invalid", ""},
		"a hash in the query":            {"amount=5#x", "", "body_invalid", ""},
		"a space":                        {"", "amount=5 6", "body_invalid", ""},
		"a tab":                          {"", "amount=5\t", "body_invalid", ""},
		"a line break":                   {"", "amount=5\n", "body_invalid", ""},
		"a line break in the query":      {"amount=5\r\nX: y", "", "body_invalid", ""},
		"a bad escape":                   {"", "amount=%zz", "body_invalid", ""},
		"a bad escape behind good ones":  {"", "amount=5&%zz", "body_invalid", ""},
		"half an escape":                 {"", "amount=%5", "body_invalid", ""},
		"a bad escape in a name":         {"%u0061=1", "", "body_invalid", ""},
		"a value that is not UTF-8":      {"", "amount=%ff", "body_invalid", ""},
		"a name that is not UTF-8":       {"", "a%c0%ae=1", "body_invalid", ""},
		"bytes that are not UTF-8":       {"", "a=\xff", "body_invalid", ""},
		"a surrogate":                    {"", "a=%ed%a0%80", "body_invalid", ""},
		"JSON in a form":                 {"", `{"amount":5}`, "body_invalid", ""},
		"more parameters than any needs": {"", many(1001), "body_invalid", ""},
		"as many as the most need":       {"", many(1000), created, "-"},

		"a space in a name":                {"", "amount+=5", "param_invalid", ""},
		"a NUL in a name":                  {"", "amount%00=5", "param_invalid", ""},
		"a digit first":                    {"", "1a=5", "param_invalid", ""},
		"an underscore first":              {"_method=DELETE", "", "param_invalid", ""},
		"a wide letter in a name":          {"", "amoun%D1%82=5", "param_invalid", ""},
		"a bracket that is open":           {"", "a[b=5", "param_invalid", ""},
		"a bracket that is not":            {"", "a]b=5", "param_invalid", ""},
		"brackets inside":                  {"", "a[b[c]]=5", "param_invalid", ""},
		"brackets first":                   {"", "[a]=5", "param_invalid", ""},
		"a word behind brackets":           {"", "a[b]c=5", "param_invalid", ""},
		"a name deeper than any":           {"", "a" + strings.Repeat("[b]", 17) + "=5", "param_invalid", ""},
		"a name longer than any":           {"", long + "n=1", "param_invalid", ""},
		"two comparisons":                  {"DateSent%3C%3E=a", "", "param_invalid", ""},
		"a comparison inside":              {"Date%3CSent=a", "", "param_invalid", ""},
		"a comparison alone":               {"%3C=a", "", "param_invalid", ""},
		"a comparison behind brackets":     {"a[b]%3C=a", "", "param_invalid", ""},
		"brackets behind a comparison":     {"a%3C[b]=a", "", "param_invalid", ""},
		"a comparison in brackets":         {"a[b%3C]=a", "", "param_invalid", ""},
		"a quote":                          {"", "a'=5", "param_invalid", ""},
		"an escape that is escaped, in it": {"", "a%255Bb%255D=5", "param_invalid", ""},
	} {
		t.Run(name, func(t *testing.T) {
			req, body := request(t, "POST", "/v1/things", tt.body)
			req.URL.RawQuery = tt.query
			if got := verdict(t, req, body); got != tt.want {
				t.Fatalf("got %s, want %s", got, tt.want)
			}
			if _, c, err := table(t).Identify(req, body); err == nil && tt.params != "-" {
				var got []string
				for _, p := range c.Params {
					got = append(got, p.Name+"="+p.Value)
				}
				if s := strings.Join(got, " "); s != tt.params {
					t.Errorf("read as %s, want %s", s, tt.params)
				}
			}
		})
	}
}

// TestListsRepeatWhereTheRowSaysSo says that of the names of a row's lists several pass, in form and query, all of them
// seen, and of no other.
func TestListsRepeatWhereTheRowSaysSo(t *testing.T) {
	vendor := acme()
	for i := range vendor.Operations {
		if vendor.Operations[i].Name == "acme.things.create" {
			vendor.Operations[i].Params.Lists = []string{"tag", "a.b"}
		}
	}
	tab, err := vendors.NewTable([]vendors.Vendor{vendor})
	if err != nil {
		t.Fatal(err)
	}
	for form, want := range map[string]string{
		"tag=1":                   "[{tag 1}]",
		"tag=1&tag=2&tag=1":       "[{tag 1} {tag 2} {tag 1}]",
		"tag=1&amount=5&tag=2":    "[{tag 1} {amount 5} {tag 2}]",
		"a.b=1&a.b=2":             "[{a.b 1} {a.b 2}]",
		"tag=1&tag=2&amount=1":    "[{tag 1} {tag 2} {amount 1}]",
		"amount=1&amount=2":       "param_duplicate",
		"tag=1&tag[]=2":           "param_duplicate",
		"tag=1&tag[k]=2":          "param_duplicate",
		"tag[k]=1&tag[k]=2":       "param_duplicate",
		"tag=1&tag=2&a=1&a=2":     "param_duplicate",
		"Tag=1&Tag=2":             "param_duplicate",
		"tag%3C=1&tag%3C=2&tag=1": "param_duplicate",
	} {
		req, body := request(t, "POST", "/v1/things", form)
		_, c, err := tab.Identify(req, body)
		var r *vendors.Refusal
		got := fmt.Sprint(c.Params)
		if errors.As(err, &r) {
			got = string(r.Code)
		}
		if got != want {
			t.Errorf("%s: %s, want %s", form, got, want)
		}
	}
	req, body := request(t, "POST", "/v1/things?tag=1", "tag=2")
	if _, c, err := tab.Identify(req, body); err != nil || fmt.Sprint(c.Params) != "[{tag 1} {tag 2}]" {
		t.Errorf("a list in query and form: %v, %v", c.Params, err)
	}
}

func many(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "&a%d=1", i)
	}
	return b.String()[1:]
}

// A comparison is a parameter of its own: what a schema or a rule says of the bare name does not let it through.
func TestAComparisonIsNotTheBareName(t *testing.T) {
	req, body := request(t, "POST", "/v1/things", "amount%3C=5&amount=6")
	_, c, err := table(t).Identify(req, body)
	if err != nil {
		t.Fatal(err)
	}
	if v, _ := c.Get("amount"); v != "6" {
		t.Errorf("amount is %q", v)
	}
	if unknown, _ := c.Unlisted(c.Operation.Params); !slices.Equal(unknown, []string{"amount<"}) {
		t.Errorf("unknown are %q", unknown)
	}
	if got := vendors.Collapse("amount<"); got != "amount<" {
		t.Errorf("collapsed to %q", got)
	}
}

func TestContentTypes(t *testing.T) {
	const form, document = "amount=5", `{"to":"a"}`
	for _, tt := range []struct{ target, contentType, body, want string }{
		{"/v1/things", "application/x-www-form-urlencoded", form, "acme.things.create"},
		{"/v1/things", "APPLICATION/X-WWW-FORM-URLENCODED", form, "acme.things.create"},
		{"/v1/things", "application/x-www-form-urlencoded; charset=UTF-8", form, "acme.things.create"},
		{"/v1/things", "application/x-www-form-urlencoded; charset=utf-16", form, "body_invalid"},
		{"/v1/things", "application/x-www-form-urlencoded; charset=utf-8; charset=utf-7", form, "body_invalid"},
		{"/v1/things", "", form, "body_invalid"},
		{"/v1/things", "text/plain", form, "body_invalid"},
		{"/v1/things", "multipart/form-data; boundary=x", form, "body_invalid"},
		{"/v1/things", "application/json", form, "body_invalid"},
		{"/v1/things", "application/x-www-form-urlencoded, application/json", form, "body_invalid"},
		{"/v1/things", "", "", "acme.things.create"}, // there is nothing to be read
		{mails, "application/json", document, "acme.mails.send"},
		{mails, "application/json; charset=utf-8", document, "acme.mails.send"},
		{mails, "application/json; charset=latin1", document, "body_invalid"},
		{mails, "application/x-www-form-urlencoded", document, "body_invalid"},
		{mails, "text/json", document, "body_invalid"},
		{mails, "application/problem+json", document, "body_invalid"},
		{mails, "", document, "body_invalid"},
	} {
		req, body := request(t, "POST", tt.target, tt.body)
		req.Header.Set("Content-Type", tt.contentType)
		if got := verdict(t, req, body); got != tt.want {
			t.Errorf("%s %q: got %s, want %s", tt.target, tt.contentType, got, tt.want)
		}
	}
	req, body := request(t, "POST", "/v1/things", form)
	req.Header = http.Header{"content-type": {"application/x-www-form-urlencoded"}}
	if got := verdict(t, req, body); got != "body_invalid" {
		t.Errorf("a content type that net/http cannot find: got %s", got)
	}
}

func TestBodiesStandWhereTheyBelong(t *testing.T) {
	for _, tt := range []struct{ method, target, body, want string }{
		{"GET", "/v1/things?limit=3", "", "acme.things.list"},
		{"GET", "/v1/things", "limit=3", "body_invalid"},
		{"DELETE", "/v1/things/th_1", "a=b", "body_invalid"},
		{"GET", "/v1/things?limit=3&limit=4", "", "param_duplicate"},
		{"POST", mails + "?to=a", `{"to":"b"}`, "request_invalid"},
		{"POST", mails, "", "acme.mails.send"}, // the row refuses the absence of what it needs
	} {
		req, body := request(t, tt.method, tt.target, tt.body)
		if got := verdict(t, req, body); got != tt.want {
			t.Errorf("%s %s with %q: got %s, want %s", tt.method, tt.target, tt.body, got, tt.want)
		}
	}
}

func TestJSONBodies(t *testing.T) {
	deep := func(n int) string { return strings.Repeat(`{"a":`, n) + "1" + strings.Repeat("}", n) }
	for name, tt := range map[string]struct {
		body   string
		want   string
		params string // name=value, joined by spaces
	}{
		"scalars":            {`{"a":"x","b":1.50,"c":true,"d":null}`, "", "a=x b=1.50 c=true d="},
		"a list":             {`{"to":["a","b"]}`, "", "to[0]=a to[1]=b"},
		"objects":            {`{"a":{"b":{"c":"x"}}}`, "", "a[b][c]=x"},
		"a list of objects":  {`[{"to":"a"},{"to":["b"]}]`, "", "[0][to]=a [1][to][0]=b"},
		"a list of numbers":  {`{"content":[1,2,3]}`, "", "content="},
		"a mixed list":       {`{"a":[1,"x"]}`, "", "a[0]=1 a[1]=x"},
		"nothing":            {`{}`, "", ""},
		"an empty list":      {`[]`, "", ""},
		"what is empty":      {`{"a":{},"b":[],"c":{"d":[]},"e":[{}]}`, "", "a= b= c[d]= e[0]="}, // so that no rule overlooks them
		"large numbers":      {`{"a":123456789012345678901234567890,"b":1e400}`, "", "a=123456789012345678901234567890 b=1e400"},
		"spaces":             {" \r\n\t{ \"a\" : 1 } \n", "", "a=1"},
		"names like numbers": {`{"variables":{"1":"Ann"}}`, "", "variables[1]=Ann"},
		"a pair of halves":   {`{"a":"\ud83d\ude00","b":"\\ud800","c":"\\\\ud800"}`, "", `a=😀 b=\ud800 c=\\ud800`},
		"U+FFFD itself":      {`{"a":"\ufffd�"}`, "", "a=��"},
		"as deep as any":     {deep(16), "", "a" + strings.Repeat("[a]", 15) + "=1"},

		"a name twice":            {`{"to":"a","to":"b"}`, "param_duplicate", ""},
		"a name twice, escaped":   {`{"to":"a","t\u006f":"b"}`, "param_duplicate", ""},
		"a name twice, inside":    {`{"x":[{"a":1,"a":1}]}`, "param_duplicate", ""},
		"deeper than any":         {deep(17), "body_invalid", ""},
		"lists deeper than any":   {strings.Repeat("[", 10_000), "body_invalid", ""},
		"two documents":           {`{"a":1}{"a":2}`, "body_invalid", ""},
		"a document and rubbish":  {`{"a":1} x`, "body_invalid", ""},
		"half a document":         {`{"a":1`, "body_invalid", ""},
		"a trailing comma":        {`{"a":1,}`, "body_invalid", ""},
		"a comment":               {`{"a":1/*x*/}`, "body_invalid", ""},
		"a form":                  {`a=1&b=2`, "body_invalid", ""},
		"single quotes":           {`{'a':1}`, "body_invalid", ""},
		"a number that is none":   {`{"a":NaN}`, "body_invalid", ""},
		"a number with a zero":    {`{"a":007}`, "body_invalid", ""},
		"a byte order mark":       {"\ufeff{}", "body_invalid", ""},
		"spaces alone":            {"  ", "body_invalid", ""},
		"bytes that are no UTF-8": {"{\"a\":\"\xff\"}", "body_invalid", ""},
		"a raw surrogate":         {"{\"a\":\"\xed\xa0\x80\"}", "body_invalid", ""},
		"a control character":     {"{\"a\":\"\n\"}", "body_invalid", ""},
		"a string":                {`"a"`, "body_invalid", ""},
		"a number":                {`5`, "body_invalid", ""},
		"null":                    {`null`, "body_invalid", ""},
		"numbers alone":           {`[1,2]`, "body_invalid", ""},
		"more values than any":    {"[" + strings.Repeat(`"a",`, 20_000) + `"a"]`, "body_invalid", ""},

		"the first half":                {`{"a":"\ud800"}`, "body_invalid", ""},
		"the second half":               {`{"a":"x\udc00y"}`, "body_invalid", ""},
		"the halves the wrong way":      {`{"a":"\ude00\ud83d"}`, "body_invalid", ""},
		"two first halves":              {`{"a":"\ud83d\ud83d\ude00"}`, "body_invalid", ""},
		"a half, then a letter":         {`{"a":"\ud83dude00"}`, "body_invalid", ""},
		"a half, then another escape":   {`{"a":"\ud83d\nude00"}`, "body_invalid", ""},
		"a half before the end":         {`["\uD83D"]`, "body_invalid", ""},
		"a half in a name":              {`{"a\ud800":1}`, "body_invalid", ""},
		"a half behind backslashes":     {`{"a":"\\\ud800"}`, "body_invalid", ""},
		"a half after a good pair":      {`{"a":"\ud83d\ude00\ude00"}`, "body_invalid", ""},
		"an escape that is cut":         {`{"a":"\ud8"}`, "body_invalid", ""},
		"an escape at the very end":     {`{"a":"\`, "body_invalid", ""},
		"a half in a value of no param": {`{"a":[1,2],"b":"\udfff"}`, "body_invalid", ""},

		"a bracket in a name":       {`{"a":{"b":1},"a[b]":2}`, "param_invalid", ""},
		"an opening bracket":        {`{"a[":2}`, "param_invalid", ""},
		"a closing bracket":         {`{"a]":2}`, "param_invalid", ""},
		"a bracket, escaped":        {`{"a\u005bb\u005d":2}`, "param_invalid", ""},
		"a bracket in an inner one": {`{"headers":{"a][b":2}}`, "param_invalid", ""},
		"an empty name":             {`{"":{"a":1},"a":2}`, "param_invalid", ""},
		"an empty inner name":       {`{"a":{"":1}}`, "param_invalid", ""},
		"a line break in a name":    {`{"a\nb":1}`, "param_invalid", ""},
		"a NUL in a name":           {`{"a\u0000":1}`, "param_invalid", ""},
		"a name longer than any":    {`{"` + strings.Repeat("n", 257) + `":1}`, "param_invalid", ""},
	} {
		t.Run(name, func(t *testing.T) {
			req, body := request(t, "POST", mails, tt.body)
			want := tt.want
			if want == "" {
				want = "acme.mails.send"
			}
			if got := verdict(t, req, body); got != want {
				t.Fatalf("got %s, want %s", got, want)
			}
			_, c, err := table(t).Identify(req, body)
			if err != nil {
				return
			}
			var got []string
			for _, p := range c.Params {
				got = append(got, p.Name+"="+p.Value)
			}
			if s := strings.Join(got, " "); s != tt.params {
				t.Errorf("read as %s, want %s", s, tt.params)
			}
		})
	}
}

// Replies are not the agent's: names with brackets and halves of pairs are harmless there. The rest is as strict.
func TestDecodeJSONOfAReply(t *testing.T) {
	tree, err := vendors.DecodeJSON([]byte(`{"a[b]":{"":"\ud800"},"amount":5}`))
	if err != nil {
		t.Fatal(err)
	}
	if v, ok := vendors.Member(tree, "amount"); !ok || v != json.Number("5") {
		t.Errorf("amount is %v", v)
	}
	inner, _ := vendors.Member(tree, "a[b]")
	if v, ok := vendors.Member(inner, ""); !ok || v != "\ufffd" {
		t.Errorf("the inner value is %q", v)
	}
	for _, absent := range []string{"Amount", "amount ", "a", "nothing"} {
		if v, ok := vendors.Member(tree, absent); ok || v != nil {
			t.Errorf("%q is %v", absent, v)
		}
	}
	for _, tree := range []any{nil, "a", []any{}, map[string]any{"a": 1}} {
		if _, ok := vendors.Member(tree, "a"); ok {
			t.Errorf("%v has a member", tree)
		}
	}
	for _, bad := range []string{"", "{}{}", `{"amount":1,"amount":2}`, `{"a":{"b":1,"b":1}}`, "<html>", "{", strings.Repeat("[", 100)} {
		if _, err := vendors.DecodeJSON([]byte(bad)); err == nil {
			t.Errorf("%s was read", bad)
		}
	}
}

func TestEncode(t *testing.T) {
	got := vendors.Encode([]vendors.Param{{Name: "b", Value: "1"}, {Name: "a[k]", Value: "x &=+%é\n"}, {Name: "c", Value: ""}})
	const want = "b=1&a%5Bk%5D=x+%26%3D%2B%25%C3%A9%0A&c="
	if got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got := vendors.Encode(nil); got != "" {
		t.Errorf("nothing is %q", got)
	}
}

func TestErrorsOfIdentifyAreRefusals(t *testing.T) {
	req, body := request(t, "POST", mails, `{"a":1`)
	_, _, err := table(t).Identify(req, body)
	if r := new(vendors.Refusal); !errors.As(err, &r) || r.Detail == "" {
		t.Errorf("%#v is no refusal with a detail", err)
	}
}

// What is built of a document is bounded, however small its values are: a list of numbers is an attachment, of which
// nothing is kept that nobody looks at, and everything else is refused when there is too much of it.
func TestALargeDocumentIsBounded(t *testing.T) {
	const n = 1 << 20
	tree, err := vendors.DecodeJSON([]byte(`{"content":[` + strings.Repeat("7,", n) + `7]}`))
	if err != nil {
		t.Fatal(err)
	}
	content, _ := vendors.Member(tree, "content")
	if got := len(content.([]any)); got > 20_000 {
		t.Errorf("%d numbers of an attachment are kept", got)
	}
	for name, body := range map[string]string{
		"objects":         `{"a":[` + strings.Repeat(`{},`, n) + `0]}`,
		"words":           `{"a":[` + strings.Repeat(`"",`, n) + `0]}`,
		"numbers, a word": `{"a":[` + strings.Repeat(`7,`, n) + `"x"]}`,
		"lists of lists":  `{"a":[` + strings.Repeat(`[[7],[7]],`, n) + `0]}`,
		"words in lists":  `{"a":[` + strings.Repeat(`[`+strings.Repeat(`"",`, n/19_000)+`0],`, 19_000) + `0]}`,
	} {
		if _, err := vendors.DecodeJSON([]byte(body)); err == nil {
			t.Errorf("a million %s are built", name)
		}
	}
}

// A tree is written as it was read, and With changes one member of a copy.
func TestTreesAreWrittenAsTheyWereRead(t *testing.T) {
	const text = `{"b":1.50,"a":[{},[],null,true,12345678901234567890],"":{"x":"\"é"}}`
	tree, err := vendors.DecodeJSON([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		tree any
		want string
	}{
		{tree, text},
		{vendors.With(tree, "a", "new"), `{"b":1.50,"a":"new","":{"x":"\"é"}}`},
		{vendors.With(tree, "c", []any{}), strings.TrimSuffix(text, "}") + `,"c":[]}`},
		{vendors.With(nil, "c", nil), `{"c":null}`},
		{tree, text}, // as it was
	} {
		if got, err := json.Marshal(tt.tree); err != nil || string(got) != tt.want {
			t.Errorf("got %s, %v, want %s", got, err, tt.want)
		}
	}
}
