package kbstripe

import "github.com/keybrake/keybrake-go/vendors"

// balance is the row of /v1/balance.
func balance() []vendors.Operation {
	return []vendors.Operation{read("balance.retrieve", "/v1/balance")}
}
