package kbstripe

import (
	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/vendors"
)

// transfers are the rows of /v1/transfers: money to a connected account. Reversals are the catalogue's.
func transfers() []vendors.Operation {
	return []vendors.Operation{
		post(vendors.Operation{
			Name: "transfers.create", Path: "/v1/transfers", Class: vendors.Outflow,
			Params: transferCreateParams, Bound: boundTransfer, Settle: settleOutflow("transfer", nil),
		}),
		read("transfers.list", "/v1/transfers"),
		read("transfers.retrieve", "/v1/transfers/{id:tr_}"),
		post(vendors.Operation{Name: "transfers.update", Path: "/v1/transfers/{id:tr_}", Class: vendors.Free}),
	}
}

// destination is what a transfer is about, and still it needs a rule that names it: the money goes to a third
// party, and a policy that does not say to whom says too little. source_transaction ties the transfer to a
// charge, whose amount is its default.
var transferCreateParams = schema(
	[]string{"amount", "currency", "description", "expand", "metadata[*]", "source_type"},
	[]string{"destination", "source_transaction", "transfer_group"})

func boundTransfer(c *vendors.Call, _ *vendors.Reply) (vendors.Bound, error) {
	if !c.Has("amount") {
		return unknown("a transfer without amount takes all of its source transaction; send the amount, or give the rule a ceiling"), nil
	}
	m, err := needMoney(c)
	if err != nil {
		return vendors.Bound{}, err
	}
	return m.bound(cost.Outflow, "amount")
}
