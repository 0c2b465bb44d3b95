package vendors_test

import (
	"fmt"
	"net/http"

	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/vendors"
)

// A vendor of one's own: one operation that costs ten cents.
func ExampleNewTable() {
	acme := vendors.Vendor{
		Name: "acme",
		Operations: []vendors.Operation{{
			Name: "acme.labels.print", Method: "POST", Host: "api.acme.example", Path: "/v1/labels",
			Class: vendors.Fee, Body: vendors.Form, Params: vendors.Schema{Plain: []string{"address"}},
			Bound: func(*vendors.Call, *vendors.Reply) (vendors.Bound, error) {
				return vendors.Bound{Kind: vendors.Exact, Lines: []cost.Line{{Meter: cost.Fee, Currency: "USD", Amount: 100_000}}}, nil
			},
		}},
		Place: func(parts []string) (vendors.Placement, error) {
			return vendors.Placement{Header: "Authorization", Value: "Bearer " + parts[0], Secrets: parts}, nil
		},
		Refuse: func(_ *vendors.Call, r vendors.Refusal) vendors.Response {
			return vendors.Response{Status: r.Status, Header: http.Header{"Content-Type": {"text/plain"}}, Body: []byte(r.Message)}
		},
	}
	table, err := vendors.NewTable([]vendors.Vendor{acme})
	if err != nil {
		fmt.Println(err)
		return
	}
	req, _ := http.NewRequest("GET", "https://api.acme.example/v1/labels", nil)
	_, _, err = table.Identify(req, nil)
	fmt.Println(err)
	// Output: operation_unknown: GET /v1/labels is not in the acme catalogue
}
