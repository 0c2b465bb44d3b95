package fakevendor_test

import (
	"testing"

	"github.com/stripe/stripe-go/v76"
)

func TestWhatFailsLaterComesBack(t *testing.T) {
	s := start(t)
	s.SeedCharge("ch_1", 5000, "usd")
	sc := stripeOf(s, stripeKey)
	re, err := sc.Refunds.New(&stripe.RefundParams{Charge: stripe.String("ch_1"), Amount: stripe.Int64(1000)})
	if err != nil {
		t.Fatal(err)
	}
	po, err := sc.Payouts.New(&stripe.PayoutParams{Amount: stripe.Int64(900), Currency: stripe.String("usd")})
	if err != nil {
		t.Fatal(err)
	}
	m, err := twilioOf(s).Api.CreateMessage(sms("+14155550100", "hi"))
	if err != nil {
		t.Fatal(err)
	}
	wantSpent(t, s, "outflow", "USD", 19_000_000)
	wantSpent(t, s, "fee", "USD", 8_300)
	for _, id := range []string{re.ID, po.ID, *m.Sid} {
		if err := s.Conclude(id, false); err != nil {
			t.Error(err)
		}
		if err := s.Conclude(id, false); err == nil {
			t.Errorf("%s failed twice", id)
		}
	}
	wantSpent(t, s, "outflow", "USD", 0)
	wantSpent(t, s, "fee", "USD", 1_000)
	if m, err = twilioOf(s).Api.FetchMessage(*m.Sid, nil); err != nil || *m.Status != "failed" || *m.Price != "-0.00100" {
		t.Errorf("%v, %+v", err, m)
	}
	// The charge can be refunded in full again.
	if re, err = sc.Refunds.New(&stripe.RefundParams{Charge: stripe.String("ch_1")}); err != nil || re.Amount != 5000 {
		t.Errorf("%v, %+v", err, re)
	}
}

func TestPayoutIsPaidLater(t *testing.T) {
	s := start(t)
	sc := stripeOf(s, stripeKey)
	po, err := sc.Payouts.New(&stripe.PayoutParams{Amount: stripe.Int64(900), Currency: stripe.String("usd")})
	if err != nil || po.Status != stripe.PayoutStatusPending {
		t.Fatalf("%v, %+v", err, po)
	}
	if err := s.Conclude(po.ID, true); err != nil {
		t.Fatal(err)
	}
	if po, err = sc.Payouts.Get(po.ID, nil); err != nil || po.Status != stripe.PayoutStatusPaid {
		t.Errorf("%v, %+v", err, po)
	}
	wantSpent(t, s, "outflow", "USD", 9_000_000)
}
