package keybraketest_test

import (
	"context"
	"fmt"
	"net/http"
	"testing"

	"github.com/stripe/stripe-go/v76"
	"github.com/stripe/stripe-go/v76/client"

	"github.com/keybrake/keybrake-go"
	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/keybraketest"
	"github.com/keybrake/keybrake-go/policy"
	"github.com/keybrake/keybrake-go/reason"
)

// support is the policy under test: refunds, 30 USD of them.
var support = policy.Policy{
	Allow:   []policy.Rule{{Operation: "stripe.refunds.create"}},
	Budgets: []policy.Budget{policy.Lifetime(policy.USD("30"))},
}

// refundCustomer is the agent's tool under test.
func refundCustomer(sc *client.API) error {
	_, err := sc.Refunds.New(&stripe.RefundParams{Charge: stripe.String("ch_1"), Amount: stripe.Int64(2000)})
	return err
}

const (
	charge = `{"object": "charge", "id": "ch_1", "status": "succeeded", "captured": true,
		"amount": 5000, "amount_captured": 5000, "amount_refunded": 0, "currency": "usd"}`
	refund = `{"object": "refund", "id": "re_1", "status": "succeeded", "amount": 2000, "currency": "usd", "charge": "ch_1"}`
)

func ExampleNew() {
	t := new(testing.T) // your test's

	bench := keybraketest.New(t, support, nil)
	bench.Handle("stripe.charges.retrieve", keybraketest.JSON(200, charge)) // the brake looks the charge up
	bench.Handle("stripe.refunds.create", keybraketest.JSON(200, refund))
	sc := client.New(bench.Key.Token(), stripe.NewBackends(bench.Client()))

	fmt.Println(refundCustomer(sc))
	d, _ := keybrake.DenialFrom(refundCustomer(sc))
	fmt.Println(d.Reason, cost.Decimal(d.Left), "left")
	fmt.Println(bench.Forwarded())
	// Output:
	// <nil>
	// budget_exceeded 10.00 left
	// [stripe.charges.retrieve stripe.refunds.create stripe.charges.retrieve]
}

func ExampleDeny() {
	t := new(testing.T) // your test's

	revoked := &http.Client{Transport: keybraketest.Deny(t, keybrake.Denial{
		Reason: reason.KeyRevoked, Operation: "stripe.refunds.create",
	})}
	sc := client.New("anykey", stripe.NewBackends(revoked))

	err := refundCustomer(sc)
	fmt.Println(err.(*stripe.Error).HTTPStatusCode, err.(*stripe.Error).Code)
	d, _ := keybrake.DenialFrom(err)
	fmt.Println(d)
	// Output:
	// 401 keybrake_key_revoked
	// refused stripe.refunds.create: revoked; this is final, issue a new key if the agent may go on
}

func ExampleJSON() {
	t := new(testing.T) // your test's

	bench := keybraketest.New(t, support, nil)
	bench.Handle("stripe.charges.retrieve", keybraketest.JSON(404, `{"error": {"type": "invalid_request_error", "message": "No such charge: 'ch_1'"}}`))
	sc := client.New(bench.Key.Token(), stripe.NewBackends(bench.Client()))

	d, _ := keybrake.DenialFrom(refundCustomer(sc))
	fmt.Println(d.Reason)
	fmt.Println(bench.Forwarded())
	// Output:
	// probe_failed
	// [stripe.charges.retrieve]
}

func ExampleDrop() {
	t := new(testing.T) // your test's

	pol := policy.Policy{
		Allow:   []policy.Rule{{Operation: "resend.emails.send"}},
		Budgets: []policy.Budget{policy.Lifetime(policy.USD("1"))},
	}
	bench := keybraketest.New(t, pol, nil)
	bench.Handle("resend.emails.send", keybraketest.Drop())

	d, _ := keybrake.DenialFrom(sendMail(bench.Client(), bench.Key.Token()))
	doubts, _ := bench.InDoubt(context.Background(), keybraketest.Tenant)
	fmt.Println(d.Reason, len(doubts), doubts[0].ID == d.Reservation)
	// Output: in_doubt 1 true
}
