package stripemock

import (
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/keybrake/keybrake-go/vendors"
	"github.com/stripe/stripe-mock/spec"
)

// Why the catalogue names a parameter that Stripe's description does not have for the operation.
const (
	older  = "stripe-go v76.25.0 (API 2023-10-16) sends it; the description of 2026-08-26 no longer has it"
	shared = "stripe-go v76.25.0 has one struct for create and update; Stripe documents it for the other"
	asText = "the description has source as an id alone; stripe-go v76.25.0 sends a card's fields below it"
	withIt = "docs.stripe.com/api/payment_intents/create, read November 2026: with confirm=true it takes what confirm takes"
)

var undocumentedParams = map[string]map[string]string{
	"stripe.payment_intents.create": {"amount_to_confirm": withIt, "client_secret": older},
	"stripe.payment_intents.update": {"automatic_payment_methods[*]": shared, "client_secret": older, "on_behalf_of": shared},
	"stripe.charges.create": {
		"level3[*]": older, "exchange_rate": older,
		"source[object]": asText, "source[number]": asText, "source[cvc]": asText, "source[currency]": asText,
		"source[exp_month]": asText, "source[exp_year]": asText, "source[name]": asText, "source[address_city]": asText,
		"source[address_country]": asText, "source[address_line1]": asText, "source[address_line2]": asText,
		"source[address_state]": asText, "source[address_zip]": asText,
	},
	"stripe.charges.capture":  {"exchange_rate": older},
	"stripe.customers.create": {"coupon": older, "default_source": shared, "promotion_code": older, "validate": older},
	"stripe.customers.update": {
		"coupon": older, "payment_method": shared, "promotion_code": older, "tax_id_data[*]": shared, "test_clock": shared,
		"validate": older,
	},
}

// What Stripe documents and the catalogue leaves out on purpose: a call that sends one of these is refused by
// name. The list is here so that a parameter which is new in Stripe's description fails the test until someone
// has looked at what it does to money.
var leftOut = map[string][]string{
	"stripe.payment_intents.create":                  {"allowed_payment_method_types", "amount_details", "customer_account", "excluded_payment_method_types", "hooks", "payment_details"},
	"stripe.payment_intents.update":                  {"allowed_payment_method_types", "amount_details", "customer_account", "excluded_payment_method_types", "hooks", "payment_details"},
	"stripe.payment_intents.confirm":                 {"allowed_payment_method_types", "amount_details", "excluded_payment_method_types", "hooks", "payment_details"},
	"stripe.payment_intents.capture":                 {"amount_details", "hooks", "payment_details"},
	"stripe.payment_intents.increment_authorization": {"amount_details", "hooks", "payment_details"},
	"stripe.charges.create":                          {"card"},
	"stripe.customers.create":                        {"business_name", "individual_name"},
	"stripe.customers.update":                        {"bank_account", "business_name", "card", "default_alipay_account", "default_bank_account", "default_card", "individual_name"},
	"stripe.payouts.create":                          {"payout_method"},
}

// What stands below the groups that the catalogue takes whole. A field that is new there would pass unread, so
// it fails the test until someone has looked at it.
var harmless = map[string][]string{
	"address":                   {"city", "country", "line1", "line2", "postal_code", "state"},
	"automatic_payment_methods": {"allow_redirects", "enabled"},
	"metadata":                  {"*"},
	"radar_options":             {"referrer", "session"},
	"shipping":                  {"address", "carrier", "name", "phone", "tracking_number"},
	"tax":                       {"ip_address", "validate_location"},
	"tax_id_data":               {"type", "value"},
}

// leaves are the parameters that Stripe documents for an operation, under the names that the catalogue gives
// them: without list positions, and "*" for a key that the caller chooses.
func leaves(t *testing.T, op *vendors.Operation) []string {
	t.Helper()
	doc := documented(t, op)
	if doc == nil || doc.RequestBody == nil {
		t.Fatalf("Stripe's description has no body for %s", op.Name)
	}
	names := map[string]bool{}
	for _, media := range doc.RequestBody.Content {
		collect(media.Schema, "", names)
	}
	return slices.Sorted(maps.Keys(names))
}

func collect(s *spec.Schema, name string, names map[string]bool) {
	switch {
	case len(s.AnyOf) > 0:
		for _, choice := range s.AnyOf {
			collect(choice, name, names)
		}
	case s.Items != nil:
		collect(s.Items, name, names)
	case len(s.Properties) > 0:
		for key, field := range s.Properties {
			collect(field, below(name, key), names)
		}
	case s.AdditionalProperties != nil:
		collect(s.AdditionalProperties, below(name, "*"), names)
	default:
		names[name] = true
	}
}

// listed returns the entry of a schema's list that covers name, or "".
func listed(list []string, name string) string {
	for _, entry := range list {
		root, whole := strings.CutSuffix(entry, "[*]")
		if entry == name || whole && (name == root || strings.HasPrefix(name, root+"[")) {
			return entry
		}
	}
	return ""
}

// priced are the rows whose parameters kbstripe lists in Go, each with its name once for all forms of an id. Those of
// the catalogue are made from Stripe's description.
func priced(t *testing.T) map[string]*vendors.Operation {
	t.Helper()
	rows, costs := map[string]*vendors.Operation{}, costs(t)
	for _, op := range table(t).Operations() {
		if costs[op.Name] == "go" && op.Class.Paid() {
			rows[op.Name] = op
		}
	}
	return rows
}

func TestEveryParameterOfTheCatalogueIsStripes(t *testing.T) {
	for name, op := range priced(t) {
		documented := leaves(t, op)
		for _, entry := range slices.Concat(op.Params.Plain, op.Params.Redirects) {
			found := slices.ContainsFunc(documented, func(leaf string) bool { return listed([]string{entry}, leaf) != "" })
			why := undocumentedParams[name][entry]
			switch {
			case strings.HasPrefix(entry, "Stripe-"): // a header: no part of a body's description
			case found && why != "":
				t.Errorf("%s: %s is said not to be in Stripe's description, which has it", name, entry)
			case !found && why == "":
				t.Errorf("%s: Stripe's description has no parameter %s", name, entry)
			}
		}
		for entry := range undocumentedParams[name] {
			if !slices.Contains(op.Params.Plain, entry) && !slices.Contains(op.Params.Redirects, entry) {
				t.Errorf("%s: %s stands in the table above and not in the catalogue", name, entry)
			}
		}
	}
}

func TestEveryParameterOfStripesIsInTheCatalogueOrLeftOut(t *testing.T) {
	for name, op := range priced(t) {
		missing := map[string]bool{}
		for _, leaf := range leaves(t, op) {
			if listed(op.Params.Plain, leaf) == "" && listed(op.Params.Redirects, leaf) == "" {
				root, _, _ := strings.Cut(leaf, "[")
				missing[root] = true
			}
		}
		if got := slices.Sorted(maps.Keys(missing)); !slices.Equal(got, leftOut[name]) {
			t.Errorf("%s: the catalogue does not list %v, want %v", name, got, leftOut[name])
		}
	}
}

func TestNothingUnknownStandsBelowAGroupThatIsTakenWhole(t *testing.T) {
	for name, op := range priced(t) {
		for _, leaf := range leaves(t, op) {
			group, whole := strings.CutSuffix(listed(op.Params.Plain, leaf), "[*]")
			if !whole || leaf == group || listed(op.Params.Redirects, leaf) != "" {
				continue
			}
			field, _, _ := strings.Cut(strings.TrimPrefix(leaf, group+"["), "]")
			if !slices.Contains(harmless[group], field) {
				t.Errorf("%s takes %s unread", name, leaf)
			}
		}
	}
}

// Every parameter that the catalogue lists and that Stripe documents, all in one call: the table reads the form
// as it travels, finds every name listed, and stripe-mock accepts it. Such a call is not realistic (some of the
// parameters exclude each other), and it is the one that leaves none out.
func TestStripeTakesEveryParameterOfTheCatalogue(t *testing.T) {
	tab, stripe := table(t), start(t)
	for _, op := range tab.Operations() {
		if op.HardDeny != "" || !op.Class.Paid() || documented(t, op) == nil || op.Method != http.MethodPost {
			continue
		}
		t.Run(op.Name+" "+op.Path, func(t *testing.T) {
			stripe.t = t
			form := url.Values{}
			for _, media := range documented(t, op).RequestBody.Content {
				fill(media.Schema, "", op.Params, form)
			}
			req := request(t, op.Host, op.Method+" "+sampled(op.Path), form.Encode())
			c := identify(t, tab, req, form.Encode())
			if unknown, _ := c.Unlisted(op.Params); c.Operation != op || len(unknown) > 0 {
				t.Errorf("taken for %s, unknown %v", c.Operation.Name, unknown)
			}
			stripe.send(req)
		})
	}
}

// fill sets every parameter below name that the catalogue lists, as stripe-go writes it: with positions in lists.
// Of several forms that a value may have, it takes the first.
func fill(s *spec.Schema, name string, params vendors.Schema, form url.Values) {
	switch {
	case len(s.AnyOf) > 0:
		fill(s.AnyOf[0], name, params, form)
	case s.Items != nil:
		fill(s.Items, name+"[0]", params, form)
	case len(s.Properties) > 0:
		for key, field := range s.Properties {
			fill(field, below(name, key), params, form)
		}
	case s.AdditionalProperties != nil:
		fill(s.AdditionalProperties, below(name, "k"), params, form)
	case s.Type == spec.TypeObject: // one without fields, which no form can write
	case name == "expand[0]":
		form.Set(name, "*") // stripe-mock's word for any field
	default:
		if leaf := vendors.Collapse(name); listed(params.Plain, leaf) != "" || listed(params.Redirects, leaf) != "" {
			form.Set(name, sample(s))
		}
	}
}

// sample is a value that s allows.
func sample(s *spec.Schema) string {
	if len(s.Enum) > 0 {
		return s.Enum[0].(string)
	}
	switch s.Type {
	case spec.TypeBoolean:
		return "true"
	case spec.TypeInteger, spec.TypeNumber:
		return "1"
	}
	return "x"
}
