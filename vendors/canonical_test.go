package vendors_test

import (
	"errors"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/keybrake/keybrake-go/reason"
	"github.com/keybrake/keybrake-go/vendors"
)

func TestHosts(t *testing.T) {
	for target, want := range map[string]string{
		"https://api.acme.example/v1/things":              "acme.things.list",
		"https://API.Acme.Example/v1/things":              "acme.things.list",
		"https://api.acme.example:443/v1/things":          "acme.things.list",
		"https://api.acme.example/v1/things#x":            "acme.things.list", // a fragment is never sent
		"http://api.acme.example/v1/things":               "host_unknown",
		"HTTPS://api.acme.example/v1/things":              "acme.things.list", // url.Parse lowers it
		"wss://api.acme.example/v1/things":                "host_unknown",
		"https://api.acme.example:8443/v1/things":         "host_unknown",
		"https://api.acme.example:/v1/things":             "host_unknown",
		"https://api.acme.example:80/v1/things":           "host_unknown",
		"https://api.acme.example:443:443/v1/things":      "host_unknown",
		"https://api.acme.example./v1/things":             "host_unknown",
		"https://api.acme.example.evil.example/v1/things": "host_unknown",
		"https://evilapi.acme.example/v1/things":          "host_unknown",
		"https://x.api.acme.example/v1/things":            "host_unknown",
		"https://acme.example/v1/things":                  "host_unknown",
		"https://evil.example/v1/things":                  "host_unknown",
		"https://ap\u0131.acme.example/v1/things":         "host_unknown", // dotless i
		"https://ap\u0130.acme.example/v1/things":         "host_unknown", // an I whose Unicode fold is i
		"https://\u24d0pi.acme.example/v1/things":         "host_unknown",
		"https://api.acme.example\u3002/v1/things":        "host_unknown",
		"https://127.0.0.1/v1/things":                     "host_unknown",
		"https://[::ffff:127.0.0.1]/v1/things":            "host_unknown",
		"https://user:pw@api.acme.example/v1/things":      "request_invalid",
		"https://api.acme.example@evil.example/v1/things": "request_invalid",
		"https:///v1/things":                              "host_unknown",
	} {
		u, err := url.Parse(target)
		if err != nil {
			if want != "" {
				t.Errorf("%s: %v", target, err)
			}
			continue
		}
		if got := verdict(t, &http.Request{Method: "GET", URL: u}, nil); got != want {
			t.Errorf("%s: got %s, want %s", target, got, want)
		}
	}
}

// What a caller can set beside the URL, and net/http would send.
func TestRequestLineAndFraming(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*http.Request)
		want   string
	}{
		"nothing":                    {func(*http.Request) {}, "acme.things.list"},
		"no headers":                 {func(r *http.Request) { r.Header = nil }, "acme.things.list"},
		"the same host":              {func(r *http.Request) { r.Host = "API.acme.example" }, "acme.things.list"},
		"no URL":                     {func(r *http.Request) { r.URL = nil }, "request_invalid"},
		"another host":               {func(r *http.Request) { r.Host = "evil.example" }, "request_invalid"},
		"an opaque part":             {func(r *http.Request) { r.URL.Opaque = "//evil.example/v1/things" }, "request_invalid"},
		"a raw path that agrees":     {func(r *http.Request) { r.URL.RawPath = "/v1/things" }, "request_invalid"},
		"a raw path that differs":    {func(r *http.Request) { r.URL.RawPath = "/v1/keys" }, "request_invalid"},
		"a path without a slash":     {func(r *http.Request) { r.URL.Path = "v1/things" }, "request_invalid"},
		"no path":                    {func(r *http.Request) { r.URL.Path = "" }, "request_invalid"},
		"its own transfer encoding":  {func(r *http.Request) { r.TransferEncoding = []string{"identity"} }, "request_invalid"},
		"two transfer encodings":     {func(r *http.Request) { r.TransferEncoding = []string{"gzip", "chunked"} }, "request_invalid"},
		"a body that came in chunks": {func(r *http.Request) { r.TransferEncoding = []string{"chunked"} }, "acme.things.list"},
		"a trailer":                  {func(r *http.Request) { r.Trailer = http.Header{"X": nil} }, "request_invalid"},
		"a long path":                {func(r *http.Request) { r.URL.Path = "/v1/reports/" + strings.Repeat("x", 2048) }, "request_invalid"},
		"a long query":               {func(r *http.Request) { r.URL.RawQuery = "a=" + strings.Repeat("x", 16<<10) }, "request_invalid"},
		"the longest query":          {func(r *http.Request) { r.URL.RawQuery = "a=" + strings.Repeat("x", 16<<10-2) }, "acme.things.list"},
		"a user without a password":  {func(r *http.Request) { r.URL.User = url.User("") }, "request_invalid"},
		"a query that is only asked": {func(r *http.Request) { r.URL.ForceQuery = true }, "acme.things.list"},
	} {
		req, body := request(t, "GET", "/v1/things", "")
		tt.change(req)
		if got := verdict(t, req, body); got != tt.want {
			t.Errorf("%s: got %s, want %s", name, got, tt.want)
		}
	}
}

// A path is refused rather than mended: whoever mends it on the way may mend it to something else.
func TestPathsThatAreNotCanonical(t *testing.T) {
	for _, path := range []string{
		"/v1/./things", "/v1/things/.", "/v1/things/..", "/v1/x/../things", "/./v1/things", "/..", "/.",
		"/v1/%74hings", "/v1/things%2f", "/v1/things%2F", "/v1/things/%2e%2e/keys", "/v1/things/%2E%2e/keys", "/v1/things%252e%252e/keys",
		"/v1/things%c0%ae%c0%ae/keys", "/v1/things%0d%0aX:1", "/v1/things%23x", "/v1/things%20", "/v1/things%3Bx", "/v1/things%00",
		"/v1/things%E2%80%8B", "/v1/things;x=1", "/v1/things/..;a=b/keys", `/v1/things\..\keys`, "/v1/th\u0456ngs", "/v1/\uff54hings",
		"/v1/things*", "/v1/things,1", "/v1/things|x", "/v1/things=1", "/v1/things&a", "/v1/things!", "/v1/'things'", "/v1/(things)", "/v1/things$",
		"/v1/things[0]", "/v1/things{0}", "/v1/\"things\"", "/v1/th ings",
	} {
		u, err := url.Parse("https://" + host + path)
		if err != nil {
			continue // the URL cannot be made
		}
		if got := verdict(t, &http.Request{Method: "GET", URL: u}, nil); got != "request_invalid" {
			t.Errorf("%s: got %s", path, got)
		}
	}
	for path, want := range map[string]string{
		"/v1/things/":    "operation_unknown",
		"//v1/things":    "operation_unknown",
		"/v1//things":    "operation_unknown",
		"/v1/things/...": "operation_unknown",
		"/v1/things.csv": "operation_unknown",
	} {
		if got := verdict(t, &http.Request{Method: "GET", URL: &url.URL{Scheme: "https", Host: host, Path: path}}, nil); got != want {
			t.Errorf("%s: got %s, want %s", path, got, want)
		}
	}
}

func TestHeaders(t *testing.T) {
	const create = "acme.things.create"
	for name, tt := range map[string]struct {
		header http.Header
		want   string
		kept   http.Header // nil: none
		params []vendors.Param
	}{
		"none": {nil, create, nil, nil},
		"those that may go on": {
			http.Header{"Accept": {"application/json"}, "User-Agent": {"acme-go/1"}, "Acme-Version": {"2026-11-01"}}, create,
			http.Header{"Accept": {"application/json"}, "User-Agent": {"acme-go/1"}, "Acme-Version": {"2026-11-01"}}, nil,
		},
		"those that may not": {
			http.Header{
				"Authorization": {"Bearer x"}, "Cookie": {"a=b"}, "Proxy-Authorization": {"x"}, "Connection": {"Authorization"}, "Expect": {"100-continue"},
				"Range": {"bytes=0-0"}, "Accept-Encoding": {"br"}, "Traceparent": {"00"}, "X-Anything": {"a", "b"}, "Host": {"evil.example"}, "Te": {"trailers"},
				"Content-Length": {"3"}, "Referer": {"https://evil.example"},
			}, create, nil, nil,
		},
		"one that redirects is a parameter too": {
			http.Header{"Acme-Account": {"acct_1"}}, create, http.Header{"Acme-Account": {"acct_1"}}, []vendors.Param{{Name: "Acme-Account", Value: "acct_1"}},
		},
		"a key in lower case is found": {
			http.Header{"acme-account": {"acct_1"}, "ACME-VERSION": {"1"}}, create,
			http.Header{"Acme-Account": {"acct_1"}, "Acme-Version": {"1"}}, []vendors.Param{{Name: "Acme-Account", Value: "acct_1"}},
		},
		"one twice":                       {http.Header{"Acme-Account": {"acct_1", "acct_2"}}, "header_denied", nil, nil},
		"one in two spellings":            {http.Header{"Acme-Account": {"acct_1"}, "acme-account": {"acct_2"}}, "header_denied", nil, nil},
		"one in two spellings, the same":  {http.Header{"Acme-Version": {"1"}, "acme-version": {"1"}}, "header_denied", nil, nil},
		"one without a value":             {http.Header{"Acme-Account": {}}, "header_denied", nil, nil},
		"a space behind the name":         {http.Header{"Acme-Account ": {"acct_1"}}, "header_denied", nil, nil},
		"a space before the name":         {http.Header{" Acme-Account": {"acct_1"}}, "header_denied", nil, nil},
		"a colon in the name":             {http.Header{"Acme-Account:": {"acct_1"}}, "header_denied", nil, nil},
		"a line break in a name":          {http.Header{"X\r\nAcme-Account": {"acct_1"}}, "header_denied", nil, nil},
		"a NUL in a name":                 {http.Header{"X\x00": {"y"}}, "header_denied", nil, nil},
		"an underscore in a name":         {http.Header{"Acme_Account": {"acct_1"}}, "header_denied", nil, nil},
		"a line break in a value":         {http.Header{"Acme-Version": {"1\r\nX: y"}}, "header_denied", nil, nil},
		"a value beyond ASCII":            {http.Header{"User-Agent": {"é"}}, "header_denied", nil, nil},
		"a DEL in a value":                {http.Header{"User-Agent": {"\x7f"}}, "header_denied", nil, nil},
		"a long value":                    {http.Header{"User-Agent": {strings.Repeat("x", 1025)}}, "header_denied", nil, nil},
		"the longest value":               {http.Header{"User-Agent": {strings.Repeat("x", 1024)}}, create, http.Header{"User-Agent": {strings.Repeat("x", 1024)}}, nil},
		"a method in a header":            {http.Header{"X-Http-Method-Override": {"DELETE"}}, "header_denied", nil, nil},
		"a method in another":             {http.Header{"X-Http-Method": {"DELETE"}}, "header_denied", nil, nil},
		"a method in a third":             {http.Header{"x-method-override": {"DELETE"}}, "header_denied", nil, nil},
		"a host in a header":              {http.Header{"X-Forwarded-Host": {"evil.example"}}, "header_denied", nil, nil},
		"a forwarded host":                {http.Header{"Forwarded": {"host=evil.example"}}, "header_denied", nil, nil},
		"a path in a header":              {http.Header{"X-Original-Url": {"/v1/keys"}}, "header_denied", nil, nil},
		"a path in another":               {http.Header{"X-REWRITE-URL": {"/v1/keys"}}, "header_denied", nil, nil},
		"a prefix in a header":            {http.Header{"X-Forwarded-Prefix": {"/v1"}}, "header_denied", nil, nil},
		"another protocol":                {http.Header{"Upgrade": {"h2c"}}, "header_denied", nil, nil},
		"a body that is coded":            {http.Header{"content-encoding": {"gzip"}}, "header_denied", nil, nil},
		"a parameter and a header of one": {http.Header{"Acme-Account": {"acct_1"}}, create, http.Header{"Acme-Account": {"acct_1"}}, []vendors.Param{{Name: "Acme-Account", Value: "acct_1"}}},
	} {
		t.Run(name, func(t *testing.T) {
			req, body := request(t, "POST", "/v1/things", "")
			req.Header = tt.header
			if got := verdict(t, req, body); got != tt.want {
				t.Fatalf("got %s, want %s", got, tt.want)
			}
			_, c, err := table(t).Identify(req, body)
			if err != nil {
				return
			}
			if !maps.EqualFunc(c.Header, tt.kept, slices.Equal) {
				t.Errorf("kept %v, want %v", c.Header, tt.kept)
			}
			if !slices.Equal(c.Params, tt.params) {
				t.Errorf("parameters %v, want %v", c.Params, tt.params)
			}
		})
	}
}

// A parameter that has the name of a redirecting header would be taken for it, by a rule and in the books.
func TestAHeaderIsNotSentAsAParameter(t *testing.T) {
	for _, tt := range []struct{ method, target, body string }{
		{"GET", "/v1/things?Acme-Account=acct_1", ""},
		{"POST", "/v1/things?Acme-Context=acct_1", ""},
		{"POST", "/v1/things", "amount=5&Acme-Account=acct_1"},
		{"POST", "https://mail.acme.example/mails", `{"Acme-Account": "acct_1"}`},
	} {
		req, body := request(t, tt.method, tt.target, tt.body)
		if got := verdict(t, req, body); got != "param_invalid" {
			t.Errorf("%s %s %s: got %s", tt.method, tt.target, tt.body, got)
		}
	}
	req, body := request(t, "POST", "/v1/things", "Acme-Account=acct_2")
	req.Header.Set("Acme-Account", "acct_1")
	if got := verdict(t, req, body); got != "param_duplicate" {
		t.Errorf("beside the header: got %s", got)
	}
}

func TestIdempotencyKeys(t *testing.T) {
	for name, tt := range map[string]struct {
		method, target string
		keys           []string
		want, kept     string
	}{
		"kept where the vendor honours it":      {"POST", "/v1/things", []string{"order-42"}, "acme.things.create", "order-42"},
		"dropped where it does not":             {"POST", "/v1/things/th_1/confirm", []string{"order-42"}, "acme.things.confirm", ""},
		"dropped from a read, however long":     {"GET", "/v1/things", []string{strings.Repeat("k", 300)}, "acme.things.list", ""},
		"the longest":                           {"POST", "/v1/things", []string{strings.Repeat("k", 64)}, "acme.things.create", strings.Repeat("k", 64)},
		"too long for this operation":           {"POST", "/v1/things", []string{strings.Repeat("k", 65)}, "idempotency_key_invalid", ""},
		"empty":                                 {"POST", "/v1/things", []string{""}, "idempotency_key_invalid", ""},
		"not printable":                         {"POST", "/v1/things", []string{"a\tb"}, "header_denied", ""},
		"two":                                   {"POST", "/v1/things", []string{"a", "b"}, "header_denied", ""},
		"two where the vendor would ignore one": {"GET", "/v1/things", []string{"a", "b"}, "header_denied", ""},
	} {
		req, body := request(t, tt.method, tt.target, "")
		req.Header["Idempotency-Key"] = tt.keys
		if got := verdict(t, req, body); got != tt.want {
			t.Errorf("%s: got %s, want %s", name, got, tt.want)
		}
		_, c, err := table(t).Identify(req, body)
		if err == nil && (c.Key != tt.kept || c.Header.Get("Idempotency-Key") != "") {
			t.Errorf("%s: key %q, headers %v", name, c.Key, c.Header)
		}
	}
	v := acme()
	v.Operations[0].KeyMax = 0
	tab, err := vendors.NewTable([]vendors.Vendor{v})
	if err != nil {
		t.Fatal(err)
	}
	for n, ok := range map[int]bool{255: true, 256: false} {
		req, body := request(t, "POST", "/v1/things", "")
		req.Header.Set("Idempotency-Key", strings.Repeat("k", n))
		if _, _, err := tab.Identify(req, body); (err == nil) != ok {
			t.Errorf("%d bytes without a limit of the vendor's own: %v", n, err)
		}
	}
}

func TestRefusalIsAnErrorForALogLine(t *testing.T) {
	r := vendors.Refuse(reason.HostUnknown, "%d hosts", 2)
	if r.Error() != "host_unknown: 2 hosts" {
		t.Error(r.Error())
	}
	r.Param = "a\nb"
	if r.Error() != `host_unknown: parameter "a\nb": 2 hosts` {
		t.Error(r.Error())
	}
	var err error = r
	if got := new(vendors.Refusal); !errors.As(err, &got) || got != r {
		t.Error("a row cannot return it as an error")
	}
}
