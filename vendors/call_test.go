package vendors_test

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/vendors"
)

func TestCollapseSpeaksOfAllElements(t *testing.T) {
	for name, want := range map[string]string{
		"amount":               "amount",
		"to[3]":                "to",
		"to[]":                 "to",
		"[0][from]":            "from",
		"[0][to][12]":          "to",
		"[0]":                  "",
		"items[2][price]":      "items[price]",
		"items[2][tax][0][id]": "items[tax][id]",
		"metadata[order]":      "metadata[order]",
		"metadata[12a]":        "metadata[12a]",
		"[0][headers][Bcc]":    "headers[Bcc]",
		"[0][1][a][b]":         "a[b]",
		"":                     "",
	} {
		if got := vendors.Collapse(name); got != want {
			t.Errorf("%q is %q, want %q", name, got, want)
		}
		if again := vendors.Collapse(want); again != want {
			t.Errorf("%q is not final: %q", want, again)
		}
	}
}

func TestGetAndHas(t *testing.T) {
	c := vendors.Call{Params: []vendors.Param{{Name: "a", Value: ""}, {Name: "m[k]", Value: "v"}, {Name: "long", Value: "x"}}}
	if v, ok := c.Get("m[k]"); !ok || v != "v" {
		t.Errorf("m[k] is %q, %v", v, ok)
	}
	if v, ok := c.Get("a"); !ok || v != "" {
		t.Error("an empty value is taken for none")
	}
	for _, name := range []string{"m", "A", "lon", "b", ""} {
		if v, ok := c.Get(name); ok || v != "" {
			t.Errorf("%q is %q", name, v)
		}
	}
	for name, want := range map[string]bool{"a": true, "m": true, "m[k]": true, "long": true, "lon": false, "m[": false, "k": false, "": false} {
		if c.Has(name) != want {
			t.Errorf("has %q: %v", name, !want)
		}
	}
}

// What the catalogue does not list is named, once; what redirects is named even where it is listed as harmless.
func TestUnlisted(t *testing.T) {
	schema := vendors.Schema{
		Plain:     []string{"amount", "to", "metadata[*]", "items[price]", "both"},
		Redirects: []string{"transfer[*]", "destination", "items[to]", "both"},
	}
	var c vendors.Call
	for _, name := range []string{
		"amount", "to[0]", "to[1]", "metadata[k]", "metadata[k][l]", "metadata", "items[0][price]",
		"transfer[to]", "transfer[amount]", "transfer", "destination", "items[0][to]", "items[1][to]", "both",
		"Amount", "amounts", "amount[x]", "metadatas[k]", "items[0][tax]", "items[1][tax]", "items", "destination[x]", "transfers[a]",
	} {
		c.Params = append(c.Params, vendors.Param{Name: name})
	}
	unknown, redirects := c.Unlisted(schema)
	if want := []string{"Amount", "amount[x]", "amounts", "destination[x]", "items", "items[tax]", "metadatas[k]", "transfers[a]"}; !slices.Equal(unknown, want) {
		t.Errorf("unknown are %q,\nwant %q", unknown, want)
	}
	if want := []string{"both", "destination", "items[to]", "transfer", "transfer[amount]", "transfer[to]"}; !slices.Equal(redirects, want) {
		t.Errorf("redirects are %q,\nwant %q", redirects, want)
	}
	if unknown, redirects := c.Unlisted(vendors.Schema{}); len(unknown) == 0 || len(redirects) != 0 {
		t.Errorf("an empty schema lists %q and %q", unknown, redirects)
	}
}

func TestByStatus(t *testing.T) {
	for status := range 700 {
		want := vendors.OutcomeUnknown // which keeps the hold
		if status >= 200 && status <= 299 {
			want = vendors.Executed
		}
		if got := vendors.ByStatus(nil, &vendors.Reply{Status: status}); got != want {
			t.Errorf("status %d is %s", status, got)
		}
	}
}

// Zero values are the cautious ones: a bound that is not forwarded, an outcome that keeps the hold.
func TestZeroValuesDeny(t *testing.T) {
	if (vendors.Bound{}).Kind != vendors.Unknown || (vendors.Placement{}).Mode != vendors.ModeUnknown {
		t.Error("the zero Bound or Placement says something")
	}
	var o vendors.Outcome
	if o != vendors.OutcomeUnknown || o.String() != "in_doubt" {
		t.Errorf("the zero Outcome is %s", o)
	}
	for o, want := range map[vendors.Outcome]string{vendors.NotExecuted: "not_executed", vendors.Executed: "executed", vendors.Pending: "pending"} {
		if o.String() != want {
			t.Errorf("%d is %s", o, o)
		}
	}
}

func TestClasses(t *testing.T) {
	for class, want := range map[vendors.Class]struct {
		paid  bool
		meter cost.Meter
	}{
		vendors.Read: {false, cost.Charge}, vendors.Free: {false, cost.Charge}, vendors.Release: {false, cost.Charge},
		vendors.Control: {false, cost.Charge}, vendors.Test: {false, cost.Charge},
		vendors.Edit: {true, cost.Charge}, vendors.Commit: {true, cost.Charge}, vendors.Charge: {true, cost.Charge},
		vendors.Outflow: {true, cost.Outflow}, vendors.Fee: {true, cost.Fee},
	} {
		if delicate := class == vendors.Control || class == vendors.Test; class.Delicate() != delicate {
			t.Errorf("%s: delicate %v", class, class.Delicate())
		}
		if class.Paid() != want.paid || class.Meter() != want.meter {
			t.Errorf("%s: paid %v, on %s", class, class.Paid(), class.Meter())
		}
	}
}

func TestPlacementIsNeverPrinted(t *testing.T) {
	const secret = "sk_live_secret"
	p := vendors.Placement{Header: "Authorization", Value: "Bearer " + secret, Account: secret, Secrets: []string{secret}}
	holder := struct{ P vendors.Placement }{p}
	var printed strings.Builder
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%t", "%o"} {
		fmt.Fprintf(&printed, verb+verb+verb+"\n", p, &p, holder)
	}
	printed.WriteString(p.String() + p.GoString())
	for _, v := range []any{p, &p, holder, map[string]any{"p": p}} {
		data, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		printed.Write(data)
	}
	slog.New(slog.NewTextHandler(&printed, nil)).Info("a", "p", p, "h", holder)
	slog.New(slog.NewJSONHandler(&printed, nil)).Info("a", "p", p, "h", holder)
	for _, s := range []string{secret, fmt.Sprintf("%x", secret), fmt.Sprintf("%X", secret), fmt.Sprintf("%d", []byte(secret))} {
		if strings.Contains(printed.String(), s) {
			t.Errorf("%s is printed:\n%s", s, printed.String())
		}
	}
}
