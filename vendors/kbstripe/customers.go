package kbstripe

import (
	"net/http"

	"github.com/keybrake/keybrake-go/vendors"
)

// customers are the rows of /v1/customers. They take no money, yet some of their parameters change what is owed
// or what is charged later; those need a rule that names them. Deleting a customer ends their subscriptions.
func customers() []vendors.Operation {
	return []vendors.Operation{
		post(vendors.Operation{
			Name: "customers.create", Path: "/v1/customers", Class: vendors.Edit,
			Params: customerParams, Bound: boundNothing,
		}),
		read("customers.list", "/v1/customers"),
		read("customers.search", "/v1/customers/search"),
		read("customers.retrieve", "/v1/customers/{id:cus_}"),
		post(vendors.Operation{
			Name: "customers.update", Path: "/v1/customers/{id:cus_}", Class: vendors.Edit,
			Params: customerParams, Bound: boundCustomerUpdate,
		}),
		{
			Name: "stripe.customers.delete", Method: http.MethodDelete, Host: apiHost, Path: "/v1/customers/{id:cus_}",
			Class: vendors.Control, Body: vendors.Form, Outcome: outcome(),
		},
	}
}

var customerParams = schema(
	[]string{"address[*]", "description", "email", "expand", "invoice_prefix", "metadata[*]", "name", "next_invoice_sequence", "phone", "preferred_locales", "shipping[*]", "tax[*]", "tax_id_data[*]", "test_clock", "validate"},
	[]string{"balance", "cash_balance[*]", "coupon", "default_source", "invoice_settings[*]", "payment_method", "promotion_code", "source", "tax_exempt"})

func boundNothing(*vendors.Call, *vendors.Reply) (vendors.Bound, error) {
	return vendors.Bound{Kind: vendors.Exact}, nil
}

// boundCustomerUpdate: a new source makes Stripe try the latest open invoice of every past-due subscription
// again, in the background and for an amount that stands in none of the replies
// (docs.stripe.com/api/customers/update). default_source does not.
func boundCustomerUpdate(c *vendors.Call, seen *vendors.Reply) (vendors.Bound, error) {
	if c.Has("source") {
		return unknown("a new source makes Stripe try the customer's open invoices again; attach it outside the agent, or give the rule a ceiling"), nil
	}
	return boundNothing(c, seen)
}
