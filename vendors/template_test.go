package vendors_test

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/keybrake/keybrake-go/vendors"
)

// TestNamesOfTheUsersChoice says what {name:*} lets through, and that it widens its own part of the path alone.
func TestNamesOfTheUsersChoice(t *testing.T) {
	v := acme()
	v.Operations = append(v.Operations,
		vendors.Operation{Name: "acme.rooms.people.retrieve", Method: "GET", Host: host, Path: "/v1/rooms/{room:RM}/people/{who:*}", Class: vendors.Read},
		vendors.Operation{Name: "acme.rooms.people.hooks.list", Method: "GET", Host: host, Path: "/v1/rooms/{room:RM}/people/hooks", Class: vendors.Control, HardDeny: "it is a secret"},
	)
	tab, err := vendors.NewTable([]vendors.Vendor{v})
	if err != nil {
		t.Fatal(err)
	}
	for who, want := range map[string]string{
		"US0123456789abcdef":     "",
		"anna@acme.example":      "",
		"anna.b+c@acme.example":  "",
		"+14155550100":           "",
		"order:4711":             "",
		"sip:anna@acme.example":  "",
		"_x":                     "",
		"a":                      "",
		strings.Repeat("a", 255): "",
		"anna.jsonx":             "",

		strings.Repeat("a", 256): "operation_unknown",
		"hooks":                  "operation_hard_denied",
		"hooks.json":             "operation_unknown", // what some servers take for hooks
		"hooks.JSON":             "operation_unknown",
		"hooks.xml":              "operation_unknown",
		"hooks.csv":              "operation_unknown",
		".json":                  "operation_unknown",
		"":                       "operation_unknown",
		".anna":                  "operation_unknown",
		"@anna":                  "operation_unknown",
		":anna":                  "operation_unknown",
		"-anna":                  "", // as an id of any kind may
		"a~b":                    "operation_unknown",
		"..":                     "request_invalid",
		".":                      "request_invalid",
		"a b":                    "request_invalid",
		"a;b":                    "request_invalid",
		"a%2Fb":                  "request_invalid",
		"anna%40acme.example":    "request_invalid", // the SDK sends it unescaped
		"ännä":                   "request_invalid",
	} {
		target, err := url.Parse("https://" + host + "/v1/rooms/RM1/people/" + who)
		if err != nil {
			t.Fatal(err)
		}
		_, c, err := tab.Identify(&http.Request{Method: "GET", URL: target, Header: http.Header{}}, nil)
		got := ""
		var refused *vendors.Refusal
		if errors.As(err, &refused) {
			got = string(refused.Code)
		}
		if got != want || got == "" && (c.IDs["who"] != who || !c.Personal("who") || c.Personal("room")) {
			t.Errorf("%.40q: %q, want %q", who, got, want)
		}
	}
	for _, room := range []string{"RM@1", "RM1.2", "RM:1"} {
		if _, _, err := tab.Identify(&http.Request{Method: "GET", URL: &url.URL{Scheme: "https", Host: host, Path: "/v1/rooms/" + room + "/people/anna"}, Header: http.Header{}}, nil); err == nil {
			t.Errorf("%s is a room", room)
		}
	}
}
