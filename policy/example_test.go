package policy_test

import (
	"fmt"
	"log"
	"os"

	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/policy"
)

func ExamplePolicy() {
	p := policy.Policy{
		Allow: []policy.Rule{
			{Operation: "stripe.refunds.create", MaxPerCall: policy.USD("50"), Params: policy.Params{"reason": policy.OneOf("duplicate", "requested_by_customer")}},
			{Operation: "stripe.charges.*", ReadOnly: true},
			{Operation: "twilio.messages.create", Countries: []string{"US", "CA"}},
		},
		Budgets: []policy.Budget{
			policy.Lifetime(policy.USD("80")),                      // this run
			policy.Daily(policy.USD("500")).Shared("team:support"), // all runs of the team
			policy.Lifetime(policy.Calls(150)),
		},
	}
	fmt.Println(p.Validate())
	for _, b := range p.Budgets {
		fmt.Println(b.Title())
	}
	// Output:
	// <nil>
	// lifetime 80.00 USD
	// team:support
	// lifetime 150 calls
}

// A literal that does not parse keeps its error until the policy is validated.
func ExamplePolicy_Validate() {
	p := policy.Policy{
		Allow:   []policy.Rule{{Operation: "stripe.refunds.create", MaxPerCall: policy.USD("5O")}},
		Budgets: []policy.Budget{{Limit: policy.USD("80")}},
	}
	fmt.Println(p.Validate())
	// Output:
	// allow[0].max_per_call: "5O" is not a decimal number such as 50 or 0.0083
	// budgets[0].window: "" is not lifetime, hour, day, month or a rolling span such as "rolling 24h"
}

func ExampleDecide() {
	p := policy.Policy{Allow: []policy.Rule{{Operation: "stripe.refunds.create", MaxPerCall: policy.USD("50")}}}
	d := policy.Decide(p, policy.Call{
		Operation: "stripe.refunds.create",
		Lines:     []cost.Line{{Meter: cost.Outflow, Currency: "USD", Amount: 60 * cost.MicrosPerUnit}},
		Priced:    true,
	})
	fmt.Println(d.Allowed, d.Reasons[0].Code)
	fmt.Println(d.Reasons[0].Detail)
	// Output:
	// false max_per_call
	// the call costs up to 60.00 USD and the rule allows 50.00 USD for one call
}

func ExampleParseYAML() {
	p, err := policy.ParseYAML("policy.yaml", []byte(`
allow:
  - operation: stripe.refunds.create
    max_per_call: 50 USD
budgets:
  - {limit: 80 USD, window: lifetime}
`))
	fmt.Println(p.Allow[0].MaxPerCall, p.Budgets[0].Title(), err)

	_, err = policy.ParseYAML("policy.yaml", []byte(`
allow:
  - operation: stripe.refunds.create
    max_per_cal: 50 USD
    ceiling: 50
`))
	fmt.Println(err)
	// Output:
	// 50.00 USD lifetime 80.00 USD <nil>
	// policy.yaml:4:5: allow[0]: "max_per_cal" is no field here; did you mean max_per_call?
	// policy.yaml:5:14: allow[0].ceiling: write money as a string with its currency, such as "50 USD"
}

func ExampleLoad() {
	_, err := policy.Load("no-such-policy.yaml")
	fmt.Println(err)
	// Output:
	// policy: open no-such-policy.yaml: no such file or directory
}

func ExamplePolicy_YAML() {
	p := policy.Policy{
		Allow:   []policy.Rule{{Operation: "twilio.messages.create", Countries: []string{"NO"}}},
		Budgets: []policy.Budget{policy.Daily(policy.USD("5")).On(cost.Fee).In("Europe/Oslo")},
	}
	data, err := p.YAML()
	if err != nil {
		log.Fatal(err)
	}
	os.Stdout.Write(data)
	// Output:
	// allow:
	// - operation: "twilio.messages.create"
	//   countries:
	//   - "NO"
	// budgets:
	// - limit: "5.00 USD"
	//   meter: "fee"
	//   window: "day"
	//   zone: "Europe/Oslo"
}

func ExamplePolicy_JSON() {
	data, err := policy.Policy{
		Allow: []policy.Rule{{Operation: "resend.emails.send", Params: policy.Params{"from": policy.OneOf("Acme <hi@acme.com>")}}},
	}.JSON()
	if err != nil {
		log.Fatal(err)
	}
	os.Stdout.Write(data)
	// Output:
	// {
	//   "allow": [
	//     {
	//       "operation": "resend.emails.send",
	//       "params": {
	//         "from": {
	//           "one_of": [
	//             "Acme <hi@acme.com>"
	//           ]
	//         }
	//       }
	//     }
	//   ]
	// }
}

func ExampleUSD() {
	fmt.Println(policy.USD("50"), policy.USD("0.0083"), policy.Money("80", "EUR"), policy.Calls(150), policy.Units(1000))
	// Output: 50.00 USD 0.0083 USD 80.00 EUR 150 calls 1000 units
}

func ExampleLifetime() {
	b := policy.Lifetime(policy.USD("20")).On(cost.Outflow).For("stripe.refunds.*")
	fmt.Println(b.Title())
	// Output: lifetime 20.00 USD of outflow
}

func ExampleScoped() {
	p := policy.Policy{
		Allow:   []policy.Rule{{Operation: "stripe.refunds.create"}},
		Budgets: []policy.Budget{policy.Scoped("team:support"), policy.Lifetime(policy.USD("80"))},
	}
	data, err := p.YAML()
	if err != nil {
		log.Fatal(err)
	}
	os.Stdout.Write(data)
	// Output:
	// allow:
	// - operation: "stripe.refunds.create"
	// budgets:
	// - scope: "team:support"
	// - limit: "80.00 USD"
	//   window: "lifetime"
}

func ExampleOneOf() {
	p := policy.Policy{Allow: []policy.Rule{{
		Operation: "stripe.refunds.create",
		Params: policy.Params{
			"reason":           policy.OneOf("duplicate", "requested_by_customer").OrAbsent(),
			"amount":           policy.Max("5000"), // in the parameter's own unit
			"metadata[order]":  policy.Prefix("order_"),
			"reverse_transfer": policy.Match{Optional: true}, // forbidden
			"expand":           policy.Any(),
		},
	}}}
	fmt.Println(p.Validate())
	// Output: <nil>
}

func ExampleDaily() {
	for _, b := range []policy.Budget{
		policy.Hourly(policy.Calls(100)),
		policy.Daily(policy.USD("500")).Shared("team:support"),
		policy.Monthly(policy.Money("80", "EUR")).In("Europe/Berlin"),
	} {
		fmt.Println(b.Title())
	}
	// Output:
	// hourly 100 calls
	// team:support
	// monthly 80.00 EUR
}
