package policy_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/policy"
	"github.com/keybrake/keybrake-go/reason"
)

// refund is a call that was read and priced: 20 USD of outflow.
func refund() policy.Call {
	return policy.Call{
		Operation: "stripe.refunds.create",
		Paid:      true,
		Meter:     cost.Outflow,
		Params:    map[string][]string{"amount": {"2000"}, "reason": {"duplicate"}, "metadata[order]": {"o_1"}},
		Lines:     []cost.Line{{Meter: cost.Outflow, Currency: "USD", Amount: 20_000_000}},
		Priced:    true,
	}
}

// message is a text message to two people.
func message() policy.Call {
	return policy.Call{
		Operation:  "twilio.messages.create",
		Paid:       true,
		Meter:      cost.Fee,
		Recipients: []string{"+14155550100", "+493012345"},
		Countries:  []string{"US", "DE"},
		Lines:      []cost.Line{{Meter: cost.Fee, Currency: "USD", Amount: 8_300}, {Meter: cost.Units, Amount: 2}},
		Priced:     true,
	}
}

// answer writes a decision in one line: "allow 0", or each objection as "code rule param".
func answer(d policy.Decision) string {
	if d.Allowed {
		return fmt.Sprintf("allow %d", d.Rule)
	}
	var out []string
	for _, r := range d.Reasons {
		out = append(out, strings.TrimSpace(fmt.Sprintf("%s %d %s", r.Code, r.Rule, r.Param)))
	}
	return strings.Join(out, "; ")
}

func with(c policy.Call, change func(*policy.Call)) policy.Call {
	change(&c)
	return c
}

func read(operation string) policy.Call {
	return policy.Call{Operation: operation, ReadOnly: true, Priced: true}
}

type rules = []policy.Rule

const refunds = "stripe.refunds.create"

func TestDecide(t *testing.T) {
	redirecting := with(refund(), func(c *policy.Call) {
		c.Params["transfer_data[destination]"] = []string{"acct_1"}
		c.Redirects = []string{"transfer_data[destination]"}
	})
	unknown := with(refund(), func(c *policy.Call) {
		c.Params["new_thing"] = []string{"1"}
		c.Unknown = []string{"new_thing"}
	})
	unseen := with(refund(), func(c *policy.Call) { c.Redirects = []string{"Stripe-Account"} })
	unpriced := with(refund(), func(c *policy.Call) { c.Lines, c.Priced, c.Why = nil, false, "the amount is missing" })
	toProbe := with(unpriced, func(c *policy.Call) { c.ToProbe = true })
	euros := with(refund(), func(c *policy.Call) { c.Lines = []cost.Line{{Meter: cost.Outflow, Currency: "EUR", Amount: 1}} })
	list := with(refund(), func(c *policy.Call) { c.Params["expand"] = []string{"charge", "evil", "worse"} })
	huge := with(refund(), func(c *policy.Call) {
		c.Lines = []cost.Line{{Meter: cost.Outflow, Currency: "USD", Amount: cost.Max}, {Meter: cost.Fee, Currency: "USD", Amount: 1}}
	})
	params := func(p policy.Params) rules { return rules{{Operation: refunds, Params: p}} }

	for _, tt := range []struct {
		name  string
		allow rules
		call  policy.Call
		want  string
	}{
		// What denies by itself.
		{"the zero policy allows nothing", nil, refund(), "operation_denied -1"},
		{"the zero rule matches nothing", rules{{}}, refund(), "operation_denied -1"},
		{"the zero call is not allowed by the zero rule", rules{{}}, policy.Call{}, "operation_denied -1"},
		{"a call without a price is denied", rules{{Operation: refunds}}, policy.Call{Operation: refunds}, "cost_unknown 0"},
		{"another operation", rules{{Operation: "stripe.refunds.cancel"}}, refund(), "operation_denied -1"},

		// Operations.
		{"the operation itself", rules{{Operation: refunds}}, refund(), "allow 0"},
		{"below a prefix", rules{{Operation: "stripe.*"}}, refund(), "allow 0"},
		{"a prefix is of whole words", rules{{Operation: "stripe.refund.*"}}, refund(), "operation_denied -1"},
		{"read only takes reads", rules{{Operation: "stripe.*", ReadOnly: true}}, read("stripe.charges.list"), "allow 0"},
		{"read only takes nothing else", rules{{Operation: "stripe.*", ReadOnly: true}}, refund(), "operation_denied -1"},

		// Several rules.
		{"a wildcard does not reach what is delicate", rules{{Operation: "stripe.*"}, {Operation: "stripe.refunds.*"}}, with(refund(), func(c *policy.Call) { c.Delicate = true }), "operation_denied -1"},
		{"what is delicate is allowed by its full name", rules{{Operation: "stripe.*"}, {Operation: refunds}}, with(refund(), func(c *policy.Call) { c.Delicate = true }), "allow 1"},
		{"the first rule without an objection allows", rules{{Operation: "twilio.*"}, {Operation: refunds, MaxPerCall: policy.USD("5")}, {Operation: "stripe.*"}}, refund(), "allow 2"},
		{"rules do not add up", rules{{Operation: refunds, MaxPerCall: policy.USD("5")}, {Operation: refunds, Params: policy.Params{"reason": policy.OneOf("fraud")}}}, refund(), "max_per_call 0; param_denied 1 reason"},
		{"the closest rule's objections come first", rules{
			{Operation: refunds, MaxPerCall: policy.USD("5"), Params: policy.Params{"reason": policy.OneOf("fraud"), "amount": policy.Max("10")}},
			{Operation: "stripe.*", MaxPerCall: policy.USD("6")},
		}, refund(), "max_per_call 1; param_denied 0 amount; param_denied 0 reason; max_per_call 0"},

		// Tests of parameters.
		{"one of", params(policy.Params{"reason": policy.OneOf("fraud", "duplicate")}), refund(), "allow 0"},
		{"none of", params(policy.Params{"reason": policy.OneOf("fraud")}), refund(), "param_denied 0 reason"},
		{"prefix", params(policy.Params{"reason": policy.Prefix("dup")}), refund(), "allow 0"},
		{"another prefix", params(policy.Params{"reason": policy.Prefix("up")}), refund(), "param_denied 0 reason"},
		{"at most", params(policy.Params{"amount": policy.Max("2000")}), refund(), "allow 0"},
		{"above", params(policy.Params{"amount": policy.Max("1999")}), refund(), "param_denied 0 amount"},
		{"a maximum of what is no number", params(policy.Params{"reason": policy.Max("10")}), refund(), "param_denied 0 reason"},
		{"a maximum that is no number", params(policy.Params{"amount": policy.Max("5O00")}), refund(), "param_denied 0 amount"},
		{"a maximum that is no number, and nothing", params(policy.Params{"amount": policy.Max("5O00")}), with(refund(), func(c *policy.Call) { c.Params = map[string][]string{"amount": {"0"}} }), "param_denied 0 amount"},
		{"all conditions hold", params(policy.Params{"amount": {Prefix: "2", Max: "3000", OneOf: []string{"2000"}}}), refund(), "allow 0"},
		{"one condition of several fails", params(policy.Params{"amount": {Prefix: "3", Max: "3000", OneOf: []string{"2000"}}}), refund(), "param_denied 0 amount"},
		{"the zero test fails everything", params(policy.Params{"reason": {}}), refund(), "param_denied 0 reason"},
		{"any passes everything", params(policy.Params{"reason": policy.Any()}), refund(), "allow 0"},
		{"any passes absence", params(policy.Params{"currency": policy.Any()}), refund(), "allow 0"},
		{"a parameter that is tested is demanded", params(policy.Params{"currency": policy.OneOf("usd")}), refund(), "param_denied 0 currency"},
		{"unless it may be absent", params(policy.Params{"currency": policy.OneOf("usd").OrAbsent()}), refund(), "allow 0"},
		{"but where it is present it is tested", params(policy.Params{"reason": policy.OneOf("fraud").OrAbsent()}), refund(), "param_denied 0 reason"},
		{"the zero test, optional, demands absence", params(policy.Params{"currency": policy.Match{}.OrAbsent()}), refund(), "allow 0"},
		{"and denies presence", params(policy.Params{"reason": policy.Match{}.OrAbsent()}), refund(), "param_denied 0 reason"},
		{"every element of a list is tested, and the list objected to once", params(policy.Params{"expand": policy.OneOf("charge")}), list, "param_denied 0 expand"},
		{"a list that passes", params(policy.Params{"expand": policy.OneOf("charge", "evil", "worse")}), list, "allow 0"},
		{"a group tests all below it", params(policy.Params{"metadata[*]": policy.Prefix("o_")}), refund(), "allow 0"},
		{"a group whose member fails", params(policy.Params{"metadata[*]": policy.Prefix("x_")}), refund(), "param_denied 0 metadata[*]"},
		{"a group without a member", params(policy.Params{"shipping[*]": policy.Prefix("x_")}), refund(), "param_denied 0 shipping[*]"},
		{"a group tests its bare name", params(policy.Params{"reason[*]": policy.Prefix("x_")}), refund(), "param_denied 0 reason[*]"},
		{"a bare name tests all below it", params(policy.Params{"metadata": policy.Prefix("x_").OrAbsent()}), refund(), "param_denied 0 metadata"},
		{"a bare name forbids all below it", params(policy.Params{"metadata": policy.Match{}.OrAbsent()}), refund(), "param_denied 0 metadata"},
		{"a group is not a prefix of a word", params(policy.Params{"meta[*]": policy.Prefix("x_").OrAbsent()}), refund(), "allow 0"},
		{"a group's test and one's own both hold", params(policy.Params{"metadata[*]": policy.Prefix("x_"), "metadata[order]": policy.Any()}), refund(), "param_denied 0 metadata[*]"},
		{"objections to parameters are in the order of names", params(policy.Params{"reason": {}, "amount": {}, "metadata[order]": {}}), refund(), "param_denied 0 amount; param_denied 0 metadata[order]; param_denied 0 reason"},

		// Parameters that need a test of their own.
		{"a redirect is denied", rules{{Operation: refunds}}, redirecting, "param_redirects 0 transfer_data[destination]"},
		{"a redirect that is named", params(policy.Params{"transfer_data[destination]": policy.OneOf("acct_1")}), redirecting, "allow 0"},
		{"a redirect to elsewhere", params(policy.Params{"transfer_data[destination]": policy.OneOf("acct_2")}), redirecting, "param_denied 0 transfer_data[destination]"},
		{"a redirect that is named by its group", params(policy.Params{"transfer_data[*]": policy.OneOf("acct_1")}), redirecting, "allow 0"},
		{"a redirect of the group's bare name", params(policy.Params{"transfer_data[*]": policy.Any()}), with(redirecting, func(c *policy.Call) { c.Redirects = []string{"transfer_data"} }), "allow 0"},
		{"a group of another name", params(policy.Params{"transfer[*]": policy.Any()}), redirecting, "param_redirects 0 transfer_data[destination]"},
		{"a group to elsewhere", params(policy.Params{"transfer_data[*]": policy.OneOf("acct_2")}), redirecting, "param_denied 0 transfer_data[*]"},
		{"the group's bare name does not name what is below", params(policy.Params{"transfer_data": policy.Any()}), redirecting, "param_redirects 0 transfer_data[destination]"},
		{"a redirect is denied to reads too", rules{{Operation: "stripe.*"}}, with(read("stripe.charges.list"), func(c *policy.Call) { c.Redirects = []string{"Stripe-Account"} }), "param_redirects 0 Stripe-Account"},
		{"a redirect whose value does not show fails its test", params(policy.Params{"Stripe-Account": policy.OneOf("acct_1").OrAbsent()}), unseen, "param_denied 0 Stripe-Account"},
		{"unless every value is allowed", params(policy.Params{"Stripe-Account": policy.Any()}), unseen, "allow 0"},
		{"an unknown parameter of a paid call is denied", rules{{Operation: refunds}}, unknown, "param_unknown 0 new_thing"},
		{"an unknown parameter that is named", params(policy.Params{"new_thing": policy.Any()}), unknown, "allow 0"},
		{"an unknown parameter with a test that it fails", params(policy.Params{"new_thing": policy.OneOf("2")}), unknown, "param_denied 0 new_thing"},
		{"an unknown parameter of a call that cannot cost", rules{{Operation: refunds}}, with(unknown, func(c *policy.Call) { c.Paid = false }), "allow 0"},

		// Whom a call reaches.
		{"every country is named", rules{{Operation: "twilio.*", Countries: []string{"DE", "US"}}}, message(), "allow 0"},
		{"a country is not named", rules{{Operation: "twilio.*", Countries: []string{"US", "CA"}}}, message(), "country_denied 0"},
		{"a country is objected to once", rules{{Operation: "twilio.*", Countries: []string{"CA"}}}, with(message(), func(c *policy.Call) { c.Countries = []string{"US", "DE", "US"} }), "country_denied 0; country_denied 0"},
		{"countries are demanded", rules{{Operation: "twilio.*", Countries: []string{"US"}}}, with(message(), func(c *policy.Call) { c.Countries = nil }), "country_denied 0"},
		{"but not of reads", rules{{Operation: "twilio.*", Countries: []string{"US"}}}, read("twilio.messages.list"), "allow 0"},
		{"a read of a country that is not named", rules{{Operation: "twilio.*", Countries: []string{"US"}}}, with(read("twilio.lookups.get"), func(c *policy.Call) { c.Countries = []string{"DE"} }), "country_denied 0"},
		{"every recipient matches", rules{{Operation: "twilio.*", Recipients: []string{"+1415*", "+493012345"}}}, message(), "allow 0"},
		{"a recipient does not", rules{{Operation: "twilio.*", Recipients: []string{"+1415*"}}}, message(), "recipient_denied 0"},
		{"an exact recipient is not a prefix", rules{{Operation: "twilio.*", Recipients: []string{"+1415*", "+4930"}}}, message(), "recipient_denied 0"},
		{"a suffix", rules{{Operation: "resend.*", Recipients: []string{"*@acme.com"}}}, policy.Call{Operation: "resend.emails.send", Recipients: []string{"a@acme.com"}, Priced: true}, "allow 0"},
		{"another suffix", rules{{Operation: "resend.*", Recipients: []string{"*@acme.com"}}}, policy.Call{Operation: "resend.emails.send", Recipients: []string{"a@acme.com.evil"}, Priced: true}, "recipient_denied 0"},
		{"an exact recipient is not a suffix", rules{{Operation: "resend.*", Recipients: []string{"a@acme.com"}}}, policy.Call{Operation: "resend.emails.send", Recipients: []string{"evila@acme.com"}, Priced: true}, "recipient_denied 0"},
		{"a lone star matches nobody", rules{{Operation: "twilio.*", Recipients: []string{"*"}}}, message(), "recipient_denied 0"},
		{"many recipients are one objection", rules{{Operation: "twilio.*", Recipients: []string{"+44*"}}}, message(), "recipient_denied 0"},
		{"recipients are demanded", rules{{Operation: "stripe.*", Recipients: []string{"+44*"}}}, refund(), "recipient_denied 0"},
		{"but not of reads", rules{{Operation: "twilio.*", Recipients: []string{"+44*"}}}, read("twilio.messages.list"), "allow 0"},

		// Cost.
		{"exactly the limit", rules{{Operation: refunds, MaxPerCall: policy.USD("20")}}, refund(), "allow 0"},
		{"a micro-unit above it", rules{{Operation: refunds, MaxPerCall: policy.USD("19.999999")}}, refund(), "max_per_call 0"},
		{"a limit of zero", rules{{Operation: refunds, MaxPerCall: policy.USD("0")}}, refund(), "max_per_call 0"},
		{"a limit of zero lets what is free pass", rules{{Operation: refunds, MaxPerCall: policy.USD("0")}}, with(refund(), func(c *policy.Call) { c.Lines = nil }), "allow 0"},
		{"a limit written out by hand is a limit", rules{{Operation: refunds, MaxPerCall: policy.Amount{Value: 1, Currency: "USD"}}}, refund(), "max_per_call 0"},
		{"another currency than the limit's", rules{{Operation: refunds, MaxPerCall: policy.USD("50")}}, euros, "currency_denied 0"},
		{"nothing in another currency", rules{{Operation: refunds, MaxPerCall: policy.USD("50")}}, with(euros, func(c *policy.Call) { c.Lines = []cost.Line{{Meter: cost.Outflow, Currency: "EUR"}} }), "allow 0"},
		{"a limit in units", rules{{Operation: "twilio.*", MaxPerCall: policy.Units(2)}}, message(), "allow 0"},
		{"more units", rules{{Operation: "twilio.*", MaxPerCall: policy.Units(1)}}, message(), "max_per_call 0"},
		{"a sum that overflows", rules{{Operation: refunds, MaxPerCall: policy.USD("50")}}, huge, "max_per_call 0"},
		{"a limit that did not parse allows nothing", rules{{Operation: refunds, MaxPerCall: policy.USD("5O")}}, with(refund(), func(c *policy.Call) { c.Lines = nil }), "max_per_call 0"},
		{"a limit in calls allows nothing", rules{{Operation: refunds, MaxPerCall: policy.Calls(5)}}, refund(), "max_per_call 0"},

		// Cost that is not known.
		{"unknown cost is denied", rules{{Operation: refunds}}, unpriced, "cost_unknown 0"},
		{"a limit is no ceiling", rules{{Operation: refunds, MaxPerCall: policy.USD("50")}}, unpriced, "cost_unknown 0"},
		{"a ceiling allows", rules{{Operation: refunds, Ceiling: policy.USD("30")}}, unpriced, "allow 0"},
		{"a ceiling of zero allows", rules{{Operation: refunds, Ceiling: policy.USD("0")}}, unpriced, "allow 0"},
		{"a ceiling that did not parse is none", rules{{Operation: refunds, Ceiling: policy.USD("3O")}}, unpriced, "cost_unknown 0"},
		{"a ceiling above the limit", rules{{Operation: refunds, Ceiling: policy.USD("30"), MaxPerCall: policy.USD("20")}}, unpriced, "max_per_call 0"},
		{"a price that will be probed is decided later", rules{{Operation: refunds, MaxPerCall: policy.USD("1")}}, toProbe, "allow 0"},
		{"whatever lines it has by then", rules{{Operation: refunds, MaxPerCall: policy.USD("1")}}, with(toProbe, func(c *policy.Call) { c.Lines = refund().Lines }), "allow 0"},
		{"everything else is decided before", rules{{Operation: refunds, Params: policy.Params{"reason": policy.OneOf("fraud")}}}, toProbe, "param_denied 0 reason"},

		{"every reason is kept", rules{{Operation: "twilio.*", MaxPerCall: policy.USD("0"), Countries: []string{"US"}, Recipients: []string{"+1*"}, Params: policy.Params{"Body": policy.Prefix("Hi")}}},
			with(message(), func(c *policy.Call) { c.Redirects, c.Unknown = []string{"StatusCallback"}, []string{"Foo"} }),
			"param_redirects 0 StatusCallback; param_unknown 0 Foo; param_denied 0 Body; country_denied 0; recipient_denied 0; max_per_call 0"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := policy.Decide(policy.Policy{Allow: tt.allow}, tt.call)
			if got := answer(d); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
			if d.Allowed == (len(d.Reasons) > 0) {
				t.Errorf("Allowed is %v with reasons %v", d.Allowed, d.Reasons)
			}
		})
	}
}

func TestZeroDecisionDenies(t *testing.T) {
	if (policy.Decision{}).Allowed {
		t.Error("the zero Decision allows")
	}
}

// What is to be reserved: the bound where there is one, else the ceiling, on the call's meter.
func TestDecideLines(t *testing.T) {
	unpriced := with(refund(), func(c *policy.Call) { c.Lines, c.Priced = nil, false })
	for _, tt := range []struct {
		name   string
		rule   policy.Rule
		call   policy.Call
		want   []cost.Line
		capped bool
	}{
		{"a bound beats a ceiling", policy.Rule{Ceiling: policy.USD("30")}, refund(), refund().Lines, false},
		{"a ceiling in money is on the call's meter", policy.Rule{Ceiling: policy.USD("30")}, unpriced, []cost.Line{{Meter: cost.Outflow, Currency: "USD", Amount: 30_000_000}}, true},
		{"a ceiling in units is in units", policy.Rule{Ceiling: policy.Units(3)}, unpriced, []cost.Line{{Meter: cost.Units, Amount: 3}}, true},
		{"a call to be probed reserves no ceiling", policy.Rule{Ceiling: policy.USD("30")}, with(unpriced, func(c *policy.Call) { c.ToProbe = true }), nil, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.rule.Operation = refunds
			d := policy.Decide(policy.Policy{Allow: rules{tt.rule}}, tt.call)
			if !d.Allowed || !slices.Equal(d.Lines, tt.want) || d.Capped != tt.capped {
				t.Errorf("got %v capped %v, want %v capped %v", d.Lines, d.Capped, tt.want, tt.capped)
			}
		})
	}
}

// Details tell what to change, and never hold what the agent sent: they reach logs and other agents.
func TestDetails(t *testing.T) {
	const evil = "EVIL\x1b[2J"
	c := policy.Call{
		Operation: refunds, Paid: true, Params: map[string][]string{"reason": {evil}, "amount": {evil}},
		Recipients: []string{"+1", evil}, Countries: []string{"US"}, Why: "the amount is missing",
	}
	p := policy.Policy{Allow: rules{{
		Operation: refunds, Recipients: []string{"+1*"}, Countries: []string{"CA", "MX"},
		Params: policy.Params{"reason": {OneOf: []string{"a", "b"}, Prefix: "a"}, "amount": policy.Max("10"), "currency": policy.OneOf("usd")},
	}}}
	d := policy.Decide(p, c)
	var got []string
	for _, r := range d.Reasons {
		got = append(got, r.Detail)
	}
	want := []string{
		"its value is not one that the rule allows: a whole number up to 10",
		"the rule demands it",
		"its value is not one that the rule allows: one of a, b and starting with a",
		"country US is not among CA, MX",
		"recipient 2 of 2 is not among those that the rule allows",
		"the amount is missing",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	d = policy.Decide(policy.Policy{Allow: rules{{Operation: refunds, MaxPerCall: policy.USD("5")}}}, refund())
	if got, want := d.Reasons[0].Detail, "the call costs up to 20.00 USD and the rule allows 5.00 USD for one call"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := policy.Decide(policy.Policy{}, refund()).Reasons[0]; got.Code != reason.OperationDenied || got.Detail != "no rule allows stripe.refunds.create" {
		t.Errorf("got %+v", got)
	}
}

func TestMatchString(t *testing.T) {
	for want, m := range map[string]policy.Match{
		"any": policy.Any(), "nothing": {}, "one of a, b": policy.OneOf("a", "b"), "starting with a": policy.Prefix("a"),
		"one of 1 and starting with 1 and a whole number up to 5": {OneOf: []string{"1"}, Prefix: "1", Max: "5"},
	} {
		if got := m.String(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
