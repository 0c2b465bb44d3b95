package kbstripe_test

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/keybrake/keybrake-go/vendors"
	"github.com/keybrake/keybrake-go/vendors/kbstripe"
)

func ExampleNew() {
	table, err := vendors.NewTable([]vendors.Vendor{kbstripe.New(nil)})
	if err != nil {
		fmt.Println(err)
		return
	}
	form := "amount=2000&currency=usd"
	req, _ := http.NewRequest("POST", "https://api.stripe.com/v1/payouts", strings.NewReader(form))
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	_, call, err := table.Identify(req, []byte(form))
	if err != nil {
		fmt.Println(err)
		return
	}
	bound, err := call.Operation.Bound(call, nil)
	fmt.Println(call.Operation.Name, bound.Lines, err)
	// Output: stripe.payouts.create [20.00 USD] <nil>
}
