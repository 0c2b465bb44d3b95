package rules_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/keybraketest"
	"github.com/keybrake/keybrake-go/policy"
	"github.com/keybrake/keybrake-go/vendors"
	"github.com/keybrake/keybrake-go/vendors/rules"
)

// A vendor of one's own, from a file.
func ExampleParse() {
	v, err := rules.Parse("acme.yaml", []byte(`
vendor: acme
hosts: [api.acme.example]
credential: {scheme: Bearer, pattern: 'ak_[a-z0-9]{32}'}
tables:
  price: {source: acme.example/prices, read: "2026-11", rows: {letter: "0.85"}}
operations:
  - name: acme.letters.send
    method: POST
    path: /letters
    class: fee
    body: json
    params: [to, text]
    kind: exact
    bound:
      - meter: fee
        currency: {code: USD}
        amount: {product: [{count: {json: "to[*]"}}, {lookup: {table: price, key: {const: letter}}}]}
`))
	fmt.Println(v.Name, len(v.Operations), err)

	_, err = rules.Parse("acme.yaml", []byte("vendor: acme\nhost: api.acme.example"))
	fmt.Println(err)
	// Output:
	// acme 1 <nil>
	// acme.yaml:2:1: "host" is no field here; did you mean hosts?
}

// An agent that talks to a model, with a cent to spend: a call holds what it can cost at most, and what its usage says
// is booked.
func ExampleShipped() {
	t := new(testing.T)                                        // your test's
	anthropic, err := rules.Shipped("anthropic", rules.Tables{ // US dollars for one million tokens
		"input": {"m-1": "3"}, "cache_write": {"m-1": "6"}, "cache_read": {"m-1": "0.30"}, "output": {"m-1": "15"},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	bench := keybraketest.New(t, policy.Policy{
		Allow:   []policy.Rule{{Operation: "anthropic.messages.create"}},
		Budgets: []policy.Budget{policy.Lifetime(policy.USD("0.01"))},
	}, &keybraketest.Options{
		Vendors:     []vendors.Vendor{anthropic},
		Credentials: map[string]string{"anthropic": "sk-ant-api03-0123456789abcdefghij"},
	})
	bench.Handle("anthropic.messages.create", keybraketest.JSON(200, `{"id": "msg_1", "usage": {"input_tokens": 12, "output_tokens": 100}}`))

	for range 3 {
		req, _ := http.NewRequest("POST", "https://api.anthropic.com/v1/messages", strings.NewReader(
			`{"model": "m-1", "max_tokens": 100, "messages": [{"role": "user", "content": "hello"}]}`))
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Authorization", "Bearer "+bench.Key.Token())
		resp, err := bench.Client().Do(req)
		if err != nil {
			fmt.Println(err)
			return
		}
		body, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		text, _, _ := strings.Cut(string(body), " [")
		fmt.Println(resp.StatusCode, text)
	}
	for _, r := range bench.Recorder.Records() {
		if len(r.Actual) > 0 {
			fmt.Println(cost.Decimal(r.Actual[0].Amount))
		}
	}
	// Output:
	// 200 {"id": "msg_1", "usage": {"input_tokens": 12, "output_tokens": 100}}
	// 200 {"id": "msg_1", "usage": {"input_tokens": 12, "output_tokens": 100}}
	// 429 {"error":{"message":"refused anthropic.messages.create: budget lifetime 0.01 USD has 0.006928 USD left of 0.01, needs 0.007974
	// 0.001536
	// 0.001536
}
