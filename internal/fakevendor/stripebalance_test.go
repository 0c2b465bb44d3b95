package fakevendor_test

import (
	"testing"
	"time"

	"github.com/stripe/stripe-go/v76"
)

// Every movement of money has an entry in the balance, with the charge or other object that it is of, and those add up
// to what was executed.
func TestBalanceTransactions(t *testing.T) {
	s := start(t)
	s.SeedCharge("ch_async", 9000, "usd")
	sc := stripeOf(s, stripeKey)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	pi, err := sc.PaymentIntents.New(&stripe.PaymentIntentParams{
		Amount: stripe.Int64(5000), Currency: stripe.String("usd"), Confirm: stripe.Bool(true), PaymentMethod: stripe.String("pm_1"),
		Metadata: map[string]string{"keybrake_run": "run_1"},
	})
	must(err)
	_, err = sc.Refunds.New(&stripe.RefundParams{PaymentIntent: &pi.ID, Amount: stripe.Int64(2000)})
	must(err)
	slow, err := sc.Refunds.New(&stripe.RefundParams{Charge: stripe.String("ch_async"), Amount: stripe.Int64(1000)})
	must(err)
	if slow.Status != stripe.RefundStatusPending {
		t.Errorf("the refund that takes days is %s", slow.Status)
	}
	must(s.Conclude(slow.ID, false))
	tr, err := sc.Transfers.New(&stripe.TransferParams{Amount: stripe.Int64(700), Currency: stripe.String("usd"), Destination: stripe.String("acct_1")})
	must(err)
	_, err = sc.TransferReversals.New(&stripe.TransferReversalParams{ID: &tr.ID, Amount: stripe.Int64(200)})
	must(err)
	po, err := sc.Payouts.New(&stripe.PayoutParams{Amount: stripe.Int64(600), Currency: stripe.String("usd")})
	must(err)
	must(s.Conclude(po.ID, true))
	must(s.Conclude(po.ID, false))
	tu, err := sc.Topups.New(&stripe.TopupParams{Amount: stripe.Int64(400), Currency: stripe.String("usd")})
	must(err)
	must(s.Conclude(tu.ID, false))

	params := &stripe.BalanceTransactionListParams{CreatedRange: &stripe.RangeQueryParams{GreaterThanOrEqual: time.Now().Add(-time.Hour).Unix()}}
	params.Limit = stripe.Int64(3)
	params.AddExpand("data.source")
	got := map[stripe.BalanceTransactionType]int64{}
	for it := sc.BalanceTransactions.List(params); it.Next(); {
		bt := it.BalanceTransaction()
		got[bt.Type] += bt.Amount
		if bt.Source == nil || bt.Source.ID == "" {
			t.Errorf("%s has no source", bt.Type)
		}
		if bt.Type == "charge" && (bt.Fee != 175 || bt.Source.Charge.Metadata["keybrake_run"] != "run_1") {
			t.Errorf("the charge costs %d and is of run %q", bt.Fee, bt.Source.Charge.Metadata["keybrake_run"])
		}
	}
	want := map[stripe.BalanceTransactionType]int64{
		"charge": 5000, "refund": -3000, "refund_failure": 1000, "transfer": -700, "transfer_refund": 200,
		"payout": -600, "payout_failure": 600, "topup": 400, "topup_reversal": -400,
	}
	for name, amount := range want {
		if got[name] != amount {
			t.Errorf("%s: %d, want %d", name, got[name], amount)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%v", got)
	}
	wantSpent(t, s, "outflow", "USD", 27_000_000) // 20 refunded, 7 transferred; what came back later is not
	reversed, before := 0, &stripe.TransferReversalListParams{ID: &tr.ID}
	for it := sc.TransferReversals.List(before); it.Next(); {
		reversed++
	}
	if reversed != 1 {
		t.Errorf("%d reversals are listed", reversed)
	}
}
