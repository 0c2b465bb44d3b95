package vendors_test

import (
	"errors"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keybrake/keybrake-go/reason"
	"github.com/keybrake/keybrake-go/vendors"
)

const host = "api.acme.example"

// acme is a vendor with a row of each kind. Its paths overlap where a real one's would.
func acme() vendors.Vendor {
	row := func(name, method, path string, class vendors.Class) vendors.Operation {
		return vendors.Operation{Name: "acme." + name, Method: method, Host: host, Path: path, Class: class}
	}
	paid := func(op vendors.Operation, body vendors.Encoding) vendors.Operation {
		op.Body = body
		op.Bound = func(*vendors.Call, *vendors.Reply) (vendors.Bound, error) { return vendors.Bound{}, nil }
		op.Params = vendors.Schema{
			Plain:     []string{"amount", "currency", "metadata[*]", "items[price]"},
			Redirects: []string{"destination", "transfer[*]", "Acme-Account", "Acme-Context"},
		}
		return op
	}
	create := paid(row("things.create", "POST", "/v1/things", vendors.Charge), vendors.Form)
	create.KeyMemory, create.KeyMax = 23*time.Hour, 64
	send := paid(row("mails.send", "POST", "/mails", vendors.Fee), vendors.JSON)
	send.Host = "mail.acme.example"
	secret := row("reports.secret", "GET", "/v1/reports/secret", vendors.Control)
	secret.HardDeny = "it shows a key"
	keys := paid(row("keys.create", "POST", "/v1/keys", vendors.Control), vendors.Form)
	keys.HardDeny, keys.Bound = "keys are made by people", nil
	return vendors.Vendor{
		Name: "acme",
		Operations: []vendors.Operation{
			create,
			row("things.list", "GET", "/v1/things", vendors.Read),
			row("things.retrieve", "GET", "/v1/things/{id:th_}", vendors.Read),
			paid(row("things.confirm", "POST", "/v1/things/{id:th_}/confirm", vendors.Charge), vendors.Form),
			row("files.retrieve", "GET", "/Accounts/{account:AC}/Files/{file:FL}.json", vendors.Read),
			row("reports.retrieve", "GET", "/v1/reports/{name}", vendors.Read),
			secret, // behind a row that would match its path too
			row("things.delete", "DELETE", "/v1/things/{id:th_}", vendors.Free),
			keys,
			send,
		},
		Headers:         []string{"Acme-Version"},
		RedirectHeaders: []string{"Acme-Account", "Acme-Context"},
		RetryHeaders:    []string{"Acme-Retry"},
		Place:           func([]string) (vendors.Placement, error) { return vendors.Placement{}, nil },
		Refuse:          func(*vendors.Call, vendors.Refusal) vendors.Response { return vendors.Response{Status: 403} },
	}
}

var acmeTable = sync.OnceValues(func() (*vendors.Table, error) { return vendors.NewTable([]vendors.Vendor{acme()}) })

func table(t testing.TB) *vendors.Table {
	t.Helper()
	tab, err := acmeTable()
	if err != nil {
		t.Fatal(err)
	}
	return tab
}

// request is a call as an SDK would make it: the body's encoding follows from how it starts.
func request(t testing.TB, method, target, body string) (*http.Request, []byte) {
	t.Helper()
	if strings.HasPrefix(target, "/") {
		target = "https://" + host + target
	}
	u, err := url.Parse(target)
	if err != nil {
		t.Fatal(err)
	}
	req := &http.Request{Method: method, URL: u, Header: http.Header{}}
	switch {
	case u.Host == "mail.acme.example":
		req.Header.Set("Content-Type", "application/json")
	case body != "":
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	return req, []byte(body)
}

// verdict is what Identify says in one word: the operation, or the code of the refusal.
func verdict(t testing.TB, req *http.Request, body []byte) string {
	t.Helper()
	_, c, err := table(t).Identify(req, body)
	if err == nil {
		return c.Operation.Name
	}
	var r *vendors.Refusal
	if !errors.As(err, &r) {
		t.Fatalf("%v is not a refusal", err)
	}
	if _, known := reason.Lookup(r.Code); !known {
		t.Fatalf("%q is no reason", r.Code)
	}
	return string(r.Code)
}

func TestNewTableRefusesMistakes(t *testing.T) {
	broken := errors.New("the price of a thing cannot be read")
	for name, tt := range map[string]struct {
		change func(*vendors.Vendor)
		want   string
	}{
		"nothing is wrong": {func(*vendors.Vendor) {}, ""},
		"no name":          {func(v *vendors.Vendor) { v.Name = "" }, "needs a Name"},
		"no Place":         {func(v *vendors.Vendor) { v.Place = nil }, "needs a Name, Place and Refuse"},
		"no Refuse":        {func(v *vendors.Vendor) { v.Refuse = nil }, "needs a Name, Place and Refuse"},
		"broken options":   {func(v *vendors.Vendor) { v.Err = broken }, broken.Error()},

		"a header in lower case":           {func(v *vendors.Vendor) { v.Headers = []string{"acme-version"} }, `"acme-version" is not in canonical form, such as "Acme-Version"`},
		"a redirecting header in no form":  {func(v *vendors.Vendor) { v.RedirectHeaders = []string{"Acme-ACCOUNT"} }, `"Acme-ACCOUNT" is not in canonical form`},
		"a retry header in upper case":     {func(v *vendors.Vendor) { v.RetryHeaders = []string{"ACME-RETRY"} }, `"ACME-RETRY" is not in canonical form`},
		"a header of no name":              {func(v *vendors.Vendor) { v.Headers = []string{""} }, "not in canonical form"},
		"a header with a space":            {func(v *vendors.Vendor) { v.Headers = []string{"Acme Version"} }, "not in canonical form"},
		"a header with a colon":            {func(v *vendors.Vendor) { v.RedirectHeaders = []string{"Acme-Account:"} }, "not in canonical form"},
		"a header with an underscore":      {func(v *vendors.Vendor) { v.Headers = []string{"Acme_version"} }, "not in canonical form"},
		"the credential's header":          {func(v *vendors.Vendor) { v.Headers = []string{"Authorization"} }, "header Authorization is the brake's own"},
		"the body's type":                  {func(v *vendors.Vendor) { v.Headers = []string{"Content-Type"} }, "header Content-Type is the brake's own"},
		"the body's coding":                {func(v *vendors.Vendor) { v.Headers = []string{"Content-Encoding"} }, "header Content-Encoding is the brake's own"},
		"the body's length":                {func(v *vendors.Vendor) { v.Headers = []string{"Content-Length"} }, "header Content-Length is the brake's own"},
		"the framing":                      {func(v *vendors.Vendor) { v.Headers = []string{"Transfer-Encoding"} }, "header Transfer-Encoding is the brake's own"},
		"the host":                         {func(v *vendors.Vendor) { v.Headers = []string{"Host"} }, "header Host is the brake's own"},
		"cookies":                          {func(v *vendors.Vendor) { v.Headers = []string{"Cookie"} }, "header Cookie is the brake's own"},
		"the idempotency key":              {func(v *vendors.Vendor) { v.Headers = []string{"Idempotency-Key"} }, "header Idempotency-Key is the brake's own"},
		"a credential that redirects":      {func(v *vendors.Vendor) { v.RedirectHeaders = []string{"Authorization"} }, "header Authorization is the brake's own"},
		"the reply's coding":               {func(v *vendors.Vendor) { v.Headers = []string{"Accept-Encoding"} }, "header Accept-Encoding is the brake's own"},
		"a length that the vendor retries": {func(v *vendors.Vendor) { v.RetryHeaders = []string{"Connection"} }, ""}, // of replies, where nothing is the brake's own

		"another vendor's operation":  {op(func(o *vendors.Operation) { o.Name = "zeta.things.create" }), `does not start with "acme."`},
		"an operation of no name":     {op(func(o *vendors.Operation) { o.Name = "acme." }), "not a name that a policy can write"},
		"a name in upper case":        {op(func(o *vendors.Operation) { o.Name = "acme.Things.create" }), "not a name that a policy can write"},
		"a name with a star":          {op(func(o *vendors.Operation) { o.Name = "acme.*" }), "not a name that a policy can write"},
		"no class":                    {op(func(o *vendors.Operation) { o.Class = "" }), `"" is not a class`},
		"a class misspelt":            {op(func(o *vendors.Operation) { o.Class, o.Bound = "chrage", nil }), `"chrage" is not a class`},
		"a paid operation, unbounded": {op(func(o *vendors.Operation) { o.Bound = nil }), "has no Bound"},
		"a read that is not a GET":    {op(func(o *vendors.Operation) { o.Class = vendors.Read }), "is a read but not a GET"},
		"no method":                   {op(func(o *vendors.Operation) { o.Method = "" }), `"" is not a method`},
		"a method in lower case":      {op(func(o *vendors.Operation) { o.Method = "post" }), `"post" is not a method`},
		"no host":                     {op(func(o *vendors.Operation) { o.Host = "" }), `"" is not a host name`},
		"a host in upper case":        {op(func(o *vendors.Operation) { o.Host = "API.acme.example" }), "is not a host name"},
		"a host with a port":          {op(func(o *vendors.Operation) { o.Host = host + ":443" }), "is not a host name"},
		"a host with a scheme":        {op(func(o *vendors.Operation) { o.Host = "https://" + host }), "is not a host name"},
		"a host with a final dot":     {op(func(o *vendors.Operation) { o.Host = host + "." }), "is not a host name"},
		"a path without a slash":      {op(func(o *vendors.Operation) { o.Path = "v1/things" }), "does not start with a slash"},
		"a brace that is open":        {op(func(o *vendors.Operation) { o.Path = "/v1/{id" }), "has a brace"},
		"a brace of nothing":          {op(func(o *vendors.Operation) { o.Path = "/v1/{}" }), "has a brace"},
		"a brace with a pattern":      {op(func(o *vendors.Operation) { o.Path = "/v1/{id:.*}" }), "has a brace"},
		"two ids of one name":         {op(func(o *vendors.Operation) { o.Path = "/v1/{id}/{id}" }), "two ids called id"},
		"one path twice":              {op(func(o *vendors.Operation) { o.Path, o.Method = "/v1/keys", "POST" }), "acme.things.create and acme.keys.create are one path"},
	} {
		t.Run(name, func(t *testing.T) {
			v := acme()
			tt.change(&v)
			tab, err := vendors.NewTable([]vendors.Vendor{v})
			switch {
			case tt.want == "" && err != nil:
				t.Error(err)
			case tt.want != "" && (err == nil || tab != nil || !strings.Contains(err.Error(), tt.want)):
				t.Errorf("got %v, want an error that says %q", err, tt.want)
			}
		})
	}
	v := acme()
	v.Err = broken
	if _, err := vendors.NewTable([]vendors.Vendor{v}); !errors.Is(err, broken) {
		t.Errorf("%v does not keep its cause", err)
	}
}

// op changes the first operation.
func op(change func(*vendors.Operation)) func(*vendors.Vendor) {
	return func(v *vendors.Vendor) { change(&v.Operations[0]) }
}

func TestVendorsDoNotShareANameOrAHost(t *testing.T) {
	other := acme()
	if _, err := vendors.NewTable([]vendors.Vendor{acme(), other}); err == nil || !strings.Contains(err.Error(), `"acme" is registered twice`) {
		t.Errorf("one vendor twice: %v", err)
	}
	other.Name = "zeta"
	other.Operations = []vendors.Operation{{Name: "zeta.things.list", Method: "GET", Host: host, Path: "/v2/things", Class: vendors.Read}}
	if _, err := vendors.NewTable([]vendors.Vendor{acme(), other}); err == nil || !strings.Contains(err.Error(), "acme and zeta both claim host "+host) {
		t.Errorf("one host of two vendors: %v", err)
	}
	other.Operations[0].Host = "api.zeta.example"
	tab, err := vendors.NewTable([]vendors.Vendor{acme(), other})
	if err != nil {
		t.Fatal(err)
	}
	if v := tab.Vendor("api.zeta.example"); v == nil || v.Name != "zeta" {
		t.Errorf("the host of zeta is %v's", v)
	}
	if v := tab.Vendor("api.unknown.example"); v != nil {
		t.Errorf("an unknown host is %s's", v.Name)
	}
	if all := tab.Operations(); len(all) != len(acme().Operations)+1 || all[len(all)-1].Name != "zeta.things.list" {
		t.Errorf("%d operations", len(all))
	}
}

func TestLookup(t *testing.T) {
	tab := table(t)
	for _, want := range acme().Operations {
		if got := tab.Lookup(want.Name); got == nil || got.Path != want.Path {
			t.Errorf("%s: %v", want.Name, got)
		}
	}
	if got := tab.Lookup("acme.things"); got != nil {
		t.Errorf("a prefix is %s", got.Name)
	}
}

// One operation may have several paths (Twilio's SM and MM); Lookup finds the first.
func TestOneOperationOnTwoPaths(t *testing.T) {
	v := acme()
	second := v.Operations[2]
	second.Path = "/v1/things/{id:TH_}"
	v.Operations = append(v.Operations, second)
	tab, err := vendors.NewTable([]vendors.Vendor{v})
	if err != nil {
		t.Fatal(err)
	}
	req, body := request(t, "GET", "/v1/things/TH_1", "")
	if _, c, err := tab.Identify(req, body); err != nil || c.Operation.Path != second.Path {
		t.Errorf("%+v, %v", c, err)
	}
	if got := tab.Lookup(second.Name); got.Path != "/v1/things/{id:th_}" {
		t.Errorf("Lookup finds %s", got.Path)
	}
}

func TestIdentifyNamesTheOperation(t *testing.T) {
	for _, tt := range []struct {
		method, target string
		want           string
		ids            map[string]string
	}{
		{"POST", "/v1/things", "acme.things.create", nil},
		{"GET", "/v1/things", "acme.things.list", nil},
		{"", "/v1/things", "acme.things.list", nil}, // net/http sends GET
		{"GET", "/v1/things/th_1-a_B", "acme.things.retrieve", map[string]string{"id": "th_1-a_B"}},
		{"GET", "/v1/things/th_" + strings.Repeat("x", 255), "acme.things.retrieve", map[string]string{"id": "th_" + strings.Repeat("x", 255)}},
		{"POST", "/v1/things/th_1/confirm", "acme.things.confirm", map[string]string{"id": "th_1"}},
		{"DELETE", "/v1/things/th_1", "acme.things.delete", map[string]string{"id": "th_1"}},
		{"GET", "/Accounts/AC1/Files/FL2.json", "acme.files.retrieve", map[string]string{"account": "AC1", "file": "FL2"}},
		{"GET", "/v1/reports/secrets", "acme.reports.retrieve", map[string]string{"name": "secrets"}},
		{"GET", "/v1/reports/secret", "operation_hard_denied", nil}, // though a row before it matches too
		{"POST", "/v1/keys", "operation_hard_denied", nil},

		{"PUT", "/v1/things", "operation_unknown", nil},
		{"HEAD", "/v1/things", "operation_unknown", nil},
		{"TRACE", "/v1/things", "operation_unknown", nil},
		{"CONNECT", "/v1/things", "operation_unknown", nil},
		{"post", "/v1/things", "request_invalid", nil},
		{"POST\r\nX: y", "/v1/things", "request_invalid", nil},
		{"POST ", "/v1/things", "request_invalid", nil},

		// An id never crosses a segment, stands for a literal neighbour, or ends early.
		{"GET", "/v1/things/", "operation_unknown", nil},
		{"GET", "/v1/things/th_", "operation_unknown", nil},
		{"GET", "/v1/things/search", "operation_unknown", nil},
		{"GET", "/v1/things/TH_1", "operation_unknown", nil},
		{"GET", "/v1/things/th_1/", "operation_unknown", nil},
		{"GET", "/v1/things/th_1/refunds", "operation_unknown", nil},
		{"GET", "/v1/things/th_.", "operation_unknown", nil},
		{"GET", "/v1/things/th_1.json", "operation_unknown", nil},
		{"GET", "/v1/things/th_1@2", "operation_unknown", nil},
		{"GET", "/v1/things/th_" + strings.Repeat("x", 256), "operation_unknown", nil},
		{"POST", "/v1/things/th_1/th_2/confirm", "operation_unknown", nil},
		{"POST", "/v1/things//confirm", "operation_unknown", nil},
		{"GET", "/Accounts/AC1/Files/FL2", "operation_unknown", nil},
		{"GET", "/Accounts/AC1/Files/FL2.JSON", "operation_unknown", nil},
		{"GET", "/Accounts/AC1/Files/FL2xjson", "operation_unknown", nil}, // the point is literal
		{"GET", "/Accounts//Files/FL2.json", "operation_unknown", nil},
		{"GET", "/v1/reports/a/b", "operation_unknown", nil},
		{"GET", "/v1/reports/", "operation_unknown", nil},
		{"GET", "/prefix/v1/things", "operation_unknown", nil},
		{"GET", "/V1/Things", "operation_unknown", nil},
		{"POST", "/mails", "operation_unknown", nil}, // of another host
		{"POST", "https://mail.acme.example/v1/things", "operation_unknown", nil},
	} {
		req, body := request(t, tt.method, tt.target, "")
		if got := verdict(t, req, body); got != tt.want {
			t.Errorf("%s %s: got %s, want %s", tt.method, tt.target, got, tt.want)
		}
		if _, c, err := table(t).Identify(req, body); err == nil && !maps.Equal(c.IDs, tt.ids) {
			t.Errorf("%s %s: ids %v, want %v", tt.method, tt.target, c.IDs, tt.ids)
		}
	}
}

func TestIdentifyFillsTheCall(t *testing.T) {
	req, body := request(t, "", "https://API.acme.example:443/v1/things?limit=3", "")
	v, c, err := table(t).Identify(req, body)
	if err != nil || v.Name != "acme" {
		t.Fatal(v, err)
	}
	if c.Method != "GET" || c.Host != host || c.Path != "/v1/things" || len(c.Params) != 1 || c.Params[0] != (vendors.Param{Name: "limit", Value: "3"}) {
		t.Errorf("%+v", c)
	}
}

// A refusal comes with as much as was known, so that it can be written in the vendor's shape and recorded.
func TestARefusalComesWithWhatIsKnown(t *testing.T) {
	tab := table(t)
	identify := func(method, target, body string) (*vendors.Vendor, *vendors.Call) {
		req, b := request(t, method, target, body)
		v, c, err := tab.Identify(req, b)
		if err == nil {
			t.Errorf("%s %s was identified", method, target)
		}
		return v, c
	}
	if v, c := identify("GET", "https://evil.example/v1/things", ""); v != nil || c != nil {
		t.Errorf("unknown host: %v, %v", v, c)
	}
	if v, c := identify("GET", "/v1/nothing", ""); v == nil || c != nil {
		t.Errorf("unknown operation: %v, %v", v, c)
	}
	if v, c := identify("GET", "/v1/reports/secret", ""); v == nil || c == nil || c.Operation.Name != "acme.reports.secret" {
		t.Errorf("denied for good: %v, %+v", v, c)
	}
	if v, c := identify("POST", "/v1/things", "amount=1&amount=2"); v == nil || c == nil || c.Operation.Name != "acme.things.create" {
		t.Errorf("a bad body: %v, %+v", v, c)
	}
}

// Refusals reach logs and records: they repeat neither ids nor values, however the agent spells them.
func TestRefusalsRepeatNoValue(t *testing.T) {
	for _, tt := range []struct{ method, target, body string }{
		{"GET", "/v1/phones/+14155550100", ""},
		{"GET", "/v1/people/ann@secret.example", ""},
		{"GET", "/v1/cus_secret1", ""},
		{"GET", "/Accounts/ACsecret1/Calls.json", ""},
		{"secret", "/v1/things", ""},
		{"GET", "https://api.secret.example/v1/things", ""},
		{"POST", "/v1/things", "amount=secret&amount=secret"},
		{"POST", "/v1/things", "amount=secret;"},
		{"POST", "/v1/things", "amount=%zzsecret"},
		{"POST", "https://mail.acme.example/mails", `{"to": "secret", "to": "secret"}`},
		{"POST", "https://mail.acme.example/mails", `{"to": "secret"`},
	} {
		req, body := request(t, tt.method, tt.target, tt.body)
		_, _, err := table(t).Identify(req, body)
		if err == nil {
			t.Errorf("%s %s was identified", tt.method, tt.target)
			continue
		}
		for _, value := range []string{"secret", "4155550100", "ann@"} {
			if strings.Contains(err.Error(), value) {
				t.Errorf("%s %s: %v", tt.method, tt.target, err)
			}
		}
	}
	req, body := request(t, "GET", "/v1/charges/ch_1/Refunds.json", "")
	if _, _, err := table(t).Identify(req, body); !strings.Contains(err.Error(), "GET /v1/charges/*/Refunds.json") {
		t.Errorf("%v does not say which path", err)
	}
	req, body = request(t, "GET", "/"+strings.Repeat("a/", 200), "")
	if _, _, err := table(t).Identify(req, body); len(err.Error()) > 200 {
		t.Errorf("a long path makes a message of %d bytes", len(err.Error()))
	}
}

func TestAnEmptyAccountHasAHint(t *testing.T) {
	req, body := request(t, "GET", "/Accounts//Files/FL1.json", "")
	if _, _, err := table(t).Identify(req, body); !strings.Contains(err.Error(), "SetAccountSid") {
		t.Errorf("%v does not say how to mend it", err)
	}
}

// A host that the vendor knows as another name of one in its catalogue is that one, and the call goes where it was
// sent. A vendor can only speak for hosts of its own.
func TestOtherNamesOfAHost(t *testing.T) {
	v := acme()
	v.HostOf = func(h string) string {
		return map[string]string{"api.eu.acme.example": host, "stolen.example": "api.other.example"}[h]
	}
	other := vendors.Vendor{Name: "other", Place: v.Place, Refuse: v.Refuse, Operations: []vendors.Operation{
		{Name: "other.things.list", Method: "GET", Host: "api.other.example", Path: "/v1/things", Class: vendors.Read},
	}}
	tab, err := vendors.NewTable([]vendors.Vendor{v, other})
	if err != nil {
		t.Fatal(err)
	}
	for from, want := range map[string]string{
		"api.eu.acme.example": "acme.things.list", "API.eu.acme.example:443": "acme.things.list",
		"stolen.example": "", "api.us.acme.example": "",
	} {
		req := &http.Request{Method: "GET", URL: &url.URL{Scheme: "https", Host: from, Path: "/v1/things"}, Header: http.Header{}}
		_, c, err := tab.Identify(req, nil)
		switch {
		case want == "" && (err == nil || tab.Vendor(from) != nil):
			t.Errorf("%s is served", from)
		case want != "" && (err != nil || c.Operation.Name != want || c.Host != "api.eu.acme.example"):
			t.Errorf("%s: %+v, %v", from, c, err)
		}
	}
	if tab.Vendor("api.eu.acme.example") == nil {
		t.Error("the vendor is not found by the host's other name")
	}
}
