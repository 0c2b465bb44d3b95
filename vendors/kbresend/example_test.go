package kbresend_test

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/keybrake/keybrake-go/vendors"
	"github.com/keybrake/keybrake-go/vendors/kbresend"
)

// Every recipient counts, whether to, cc or bcc.
func ExampleNew() {
	table, err := vendors.NewTable([]vendors.Vendor{kbresend.New(&kbresend.Options{PricePerRecipient: "0.0004"})})
	if err != nil {
		fmt.Println(err)
		return
	}
	mail := `{"from": "bot@acme.com", "to": ["a@acme.com", "b@acme.com"], "bcc": "c@acme.com", "subject": "Hello"}`
	req, _ := http.NewRequest("POST", "https://api.resend.com/emails", strings.NewReader(mail))
	req.Header.Set("Content-Type", "application/json")
	_, call, err := table.Identify(req, []byte(mail))
	if err != nil {
		fmt.Println(err)
		return
	}
	bound, err := call.Operation.Bound(call, nil)
	fmt.Println(call.Operation.Name, bound.Lines, err)
	// Output: resend.emails.send [0.0012 USD 3 units] <nil>
}
