package rules_test

import (
	"net/http"
	"net/url"
	"testing"

	"github.com/keybrake/keybrake-go/vendors"
	"github.com/keybrake/keybrake-go/vendors/rules"
	"github.com/keybrake/keybrake-go/vendors/vendortest"
)

// prices are for tests: those of no model.
var prices = map[string]rules.Tables{
	"sendgrid":  nil,
	"postmark":  {"mail": {"recipient": "0.0018"}},
	"plaid":     {"fee": {"authorization": "0.10", "transfer": "0.25", "refund": "0.05"}},
	"anthropic": {"input": {"m-1": "3"}, "cache_write": {"m-1": "6"}, "cache_read": {"m-1": "0.30"}, "output": {"m-1": "15"}},
	"openai":    {"input": {"m-1": "1.25", "e-1": "0.02"}, "output": {"m-1": "10"}, "max_output": {"m-1": "4096"}},
}

func shipped(t testing.TB, name string) vendors.Vendor {
	t.Helper()
	v, err := rules.Shipped(name, prices[name])
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// Every file that is shipped keeps the promises of an adapter in Go, and is right about its vectors.
func TestShipped(t *testing.T) {
	for _, name := range rules.Names() {
		t.Run(name, func(t *testing.T) {
			vectors, err := vendortest.Read("testdata/" + name + ".jsonl")
			if err != nil {
				t.Fatal(err)
			}
			for _, v := range vectors {
				if v.Want == nil {
					t.Errorf("%s expects nothing", v.Name)
				}
			}
			vendortest.Run(t, vendortest.Kit{Vendor: shipped(t, name), Vectors: vectors})
		})
	}
}

// call identifies a POST with a body of JSON.
func call(t testing.TB, v vendors.Vendor, target, body string) *vendors.Call {
	t.Helper()
	table, err := vendors.NewTable([]vendors.Vendor{v})
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(target)
	if err != nil {
		t.Fatal(err)
	}
	_, c, err := table.Identify(&http.Request{Method: "POST", URL: u, Header: http.Header{"Content-Type": {"application/json"}}}, []byte(body))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func boundOf(t testing.TB, v vendors.Vendor, target, body string) vendors.Bound {
	t.Helper()
	c := call(t, v, target, body)
	b, err := c.Operation.Bound(c, nil)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
