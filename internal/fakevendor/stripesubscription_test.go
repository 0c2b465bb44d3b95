package fakevendor_test

import (
	"testing"

	"github.com/stripe/stripe-go/v76"
)

// A preview computes what the subscription then charges, and carries nothing out.
func TestSubscription(t *testing.T) {
	s := start(t)
	sc := stripeOf(s, stripeKey)
	currency, product, unit := stripe.String("usd"), stripe.String("prod_1"), stripe.Int64(1000)
	items := []*stripe.SubscriptionItemsParams{{
		PriceData: &stripe.SubscriptionItemPriceDataParams{Currency: currency, Product: product, UnitAmount: unit},
		Quantity:  stripe.Int64(2),
	}}
	preview, err := sc.Invoices.Upcoming(&stripe.InvoiceUpcomingParams{Customer: stripe.String("cus_1"), SubscriptionItems: items})
	if err != nil || preview.AmountDue != 2000 || preview.Customer.ID != "cus_1" {
		t.Fatalf("%+v, %v", preview, err)
	}
	wantExecutions(t, s)
	params := &stripe.SubscriptionParams{Customer: stripe.String("cus_1"), Items: items}
	params.AddExpand("latest_invoice")
	sub, err := sc.Subscriptions.New(params)
	if err != nil || sub.Status != "active" || sub.LatestInvoice.AmountPaid != 2000 || sub.LatestInvoice.Status != "paid" {
		t.Fatalf("%+v, %v", sub, err)
	}
	wantSpent(t, s, "charge", "USD", 20_000_000)
	if _, err := sc.Subscriptions.Cancel(sub.ID, nil); err != nil {
		t.Fatal(err)
	}
	listed := func(status string) (n int) {
		p := &stripe.SubscriptionListParams{}
		if status != "" {
			p.Status = &status
		}
		for it := sc.Subscriptions.List(p); it.Next(); {
			n++
		}
		return n
	}
	if listed("") != 0 || listed("all") != 1 || listed("canceled") != 1 {
		t.Errorf("a canceled subscription is listed %d, %d, %d times", listed(""), listed("all"), listed("canceled"))
	}
	wantExecutions(t, s, "subscription.create", "subscription.cancel")
}
