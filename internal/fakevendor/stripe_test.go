package fakevendor_test

import (
	"errors"
	"net/http"
	"testing"

	"github.com/stripe/stripe-go/v76"

	"github.com/keybrake/keybrake-go/internal/fakevendor"
)

func TestPaymentIntentLife(t *testing.T) {
	s := start(t)
	sc := stripeOf(s, stripeKey)
	pi, err := sc.PaymentIntents.New(&stripe.PaymentIntentParams{
		Metadata: map[string]string{"run": "run_42"},
		Amount:   stripe.Int64(5000), Currency: stripe.String("usd"), CaptureMethod: stripe.String("manual"),
	})
	if err != nil {
		t.Fatal(err)
	}
	if pi.Status != stripe.PaymentIntentStatusRequiresPaymentMethod || pi.Amount != 5000 || pi.Metadata["run"] != "run_42" {
		t.Fatalf("created %s %d %v", pi.Status, pi.Amount, pi.Metadata)
	}
	if _, err = sc.PaymentIntents.Update(pi.ID, &stripe.PaymentIntentParams{Amount: stripe.Int64(9000)}); err != nil {
		t.Fatal(err)
	}
	pi, err = sc.PaymentIntents.Confirm(pi.ID, &stripe.PaymentIntentConfirmParams{PaymentMethod: stripe.String("pm_card_visa")})
	if err != nil {
		t.Fatal(err)
	}
	if pi.Status != stripe.PaymentIntentStatusRequiresCapture || pi.AmountCapturable != 9000 || pi.LatestCharge == nil {
		t.Fatalf("confirmed %s capturable %d", pi.Status, pi.AmountCapturable)
	}
	wantSpent(t, s, "charge", "USD", 0)
	pi, err = sc.PaymentIntents.Capture(pi.ID, &stripe.PaymentIntentCaptureParams{AmountToCapture: stripe.Int64(4000)})
	if err != nil {
		t.Fatal(err)
	}
	if pi.Status != stripe.PaymentIntentStatusSucceeded || pi.AmountReceived != 4000 {
		t.Fatalf("captured %s received %d", pi.Status, pi.AmountReceived)
	}
	got := wantExecutions(t, s, "payment_intent.create", "payment_intent.update",
		"payment_intent.confirm", "payment_intent.capture")
	if last := got[3]; !last.Money || last.Amount != 40_000_000 || last.Credential != stripeKey || last.Object != pi.ID {
		t.Errorf("capture was logged as %+v", last)
	}
	wantSpent(t, s, "charge", "USD", 40_000_000)
	if _, err = sc.PaymentIntents.Cancel(pi.ID, nil); err == nil {
		t.Error("a paid intent was cancelled")
	}
}

func TestConfirmAtOnceAndRefund(t *testing.T) {
	s := start(t)
	sc := stripeOf(s, stripeKey)
	params := &stripe.PaymentIntentParams{
		Amount: stripe.Int64(5000), Currency: stripe.String("jpy"), Confirm: stripe.Bool(true),
		PaymentMethod: stripe.String("pm_card_visa"),
	}
	params.AddExpand("latest_charge")
	pi, err := sc.PaymentIntents.New(params)
	if err != nil {
		t.Fatal(err)
	}
	if pi.AmountReceived != 5000 || pi.LatestCharge.AmountCaptured != 5000 {
		t.Fatalf("received %d, charge captured %d", pi.AmountReceived, pi.LatestCharge.AmountCaptured)
	}
	wantSpent(t, s, "charge", "JPY", 5000_000_000)
	first, err := sc.Refunds.New(&stripe.RefundParams{PaymentIntent: stripe.String(pi.ID), Amount: stripe.Int64(2000)})
	if err != nil {
		t.Fatal(err)
	}
	rest, err := sc.Refunds.New(&stripe.RefundParams{Charge: stripe.String(pi.LatestCharge.ID)})
	if err != nil {
		t.Fatal(err)
	}
	if first.Amount != 2000 || rest.Amount != 3000 || rest.Status != stripe.RefundStatusSucceeded {
		t.Errorf("refunded %d, then %d (%s)", first.Amount, rest.Amount, rest.Status)
	}
	_, err = sc.Refunds.New(&stripe.RefundParams{Charge: stripe.String(pi.LatestCharge.ID)})
	wantStripeError(t, err, 400, stripe.ErrorCodeChargeAlreadyRefunded)
	wantSpent(t, s, "outflow", "JPY", 5000_000_000)
}

func TestDeclineLeavesTheIntent(t *testing.T) {
	s := start(t)
	_, err := stripeOf(s, stripeKey).PaymentIntents.New(&stripe.PaymentIntentParams{
		Amount: stripe.Int64(700), Currency: stripe.String("usd"), Confirm: stripe.Bool(true),
		PaymentMethod: stripe.String("pm_card_chargeDeclined"),
	})
	se := wantStripeError(t, err, 402, stripe.ErrorCodeCardDeclined)
	if se.PaymentIntent == nil || se.PaymentIntent.Status != stripe.PaymentIntentStatusRequiresPaymentMethod {
		t.Errorf("the error carries %+v", se.PaymentIntent)
	}
	wantExecutions(t, s, "payment_intent.create")
	wantSpent(t, s, "charge", "USD", 0)
}

func TestProcessingIsConcludedLater(t *testing.T) {
	s := start(t)
	sc := stripeOf(s, stripeKey)
	pi, err := sc.PaymentIntents.New(&stripe.PaymentIntentParams{
		Amount: stripe.Int64(700), Currency: stripe.String("kwd"), Confirm: stripe.Bool(true),
		PaymentMethod: stripe.String("pm_processing"),
	})
	if err != nil || pi.Status != stripe.PaymentIntentStatusProcessing {
		t.Fatalf("%v, %+v", err, pi)
	}
	wantSpent(t, s, "charge", "KWD", 0)
	if err := s.Conclude(pi.ID, true); err != nil {
		t.Fatal(err)
	}
	wantSpent(t, s, "charge", "KWD", 700_000)
	if err := s.Conclude(pi.ID, true); err == nil {
		t.Error("concluded twice")
	}
}

func TestIncrementAndMulticapture(t *testing.T) {
	s := start(t)
	sc := stripeOf(s, stripeKey)
	pi, err := sc.PaymentIntents.New(&stripe.PaymentIntentParams{
		Amount: stripe.Int64(1000), Currency: stripe.String("usd"), Confirm: stripe.Bool(true),
		PaymentMethod: stripe.String("pm_card_visa"), CaptureMethod: stripe.String("manual"),
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err = sc.PaymentIntents.IncrementAuthorization(pi.ID, &stripe.PaymentIntentIncrementAuthorizationParams{
		Amount: stripe.Int64(1500),
	}); err != nil {
		t.Fatal(err)
	}
	pi, err = sc.PaymentIntents.Capture(pi.ID, &stripe.PaymentIntentCaptureParams{
		AmountToCapture: stripe.Int64(600), FinalCapture: stripe.Bool(false),
	})
	if err != nil || pi.AmountCapturable != 900 || pi.Status != stripe.PaymentIntentStatusRequiresCapture {
		t.Fatalf("%v, %+v", err, pi)
	}
	if pi, err = sc.PaymentIntents.Capture(pi.ID, nil); err != nil || pi.AmountReceived != 1500 {
		t.Fatalf("%v, %+v", err, pi)
	}
	wantSpent(t, s, "charge", "USD", 15_000_000)
}

func TestChargeHeldThenCaptured(t *testing.T) {
	s := start(t)
	sc := stripeOf(s, stripeKey)
	params := &stripe.ChargeParams{Amount: stripe.Int64(800), Currency: stripe.String("usd"), Capture: stripe.Bool(false)}
	params.AddExtra("source", "tok_visa")
	ch, err := sc.Charges.New(params)
	if err != nil || ch.Captured {
		t.Fatalf("%v, %+v", err, ch)
	}
	if ch, err = sc.Charges.Capture(ch.ID, &stripe.ChargeCaptureParams{
		Amount: stripe.Int64(300),
	}); err != nil || ch.AmountCaptured != 300 {
		t.Fatalf("%v, %+v", err, ch)
	}
	_, err = sc.Charges.Capture(ch.ID, nil)
	wantStripeError(t, err, 400, stripe.ErrorCodeChargeAlreadyCaptured)
	wantExecutions(t, s, "charge", "charge.capture")
	wantSpent(t, s, "charge", "USD", 3_000_000)
}

func TestCancellationsNetToZero(t *testing.T) {
	s := start(t)
	s.SeedCharge("ch_seed", 5000, "usd")
	sc := stripeOf(s, stripeKey)
	re, err := sc.Refunds.New(&stripe.RefundParams{
		PaymentIntent: stripe.String("pi_seed"), InstructionsEmail: stripe.String("a@example.com"),
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err = sc.Refunds.Cancel(re.ID, nil); err != nil {
		t.Fatal(err)
	}
	po, err := sc.Payouts.New(&stripe.PayoutParams{Amount: stripe.Int64(900), Currency: stripe.String("usd")})
	if err != nil {
		t.Fatal(err)
	}
	if po, err = sc.Payouts.Cancel(po.ID, nil); err != nil || po.Status != stripe.PayoutStatusCanceled {
		t.Fatalf("%v, %+v", err, po)
	}
	wantExecutions(t, s, "refund", "refund.cancel", "payout", "payout.cancel")
	wantSpent(t, s, "outflow", "USD", 0)
}

func TestTransfersAndPayoutsLeaveTheAccount(t *testing.T) {
	s := start(t)
	sc := stripeOf(s, stripeKey)
	tr, err := sc.Transfers.New(&stripe.TransferParams{
		Amount: stripe.Int64(400), Currency: stripe.String("eur"), Destination: stripe.String("acct_1"),
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err = sc.TransferReversals.New(&stripe.TransferReversalParams{ID: stripe.String(tr.ID)}); err != nil {
		t.Fatal(err)
	}
	po, err := sc.Payouts.New(&stripe.PayoutParams{
		Amount: stripe.Int64(600), Currency: stripe.String("eur"), Method: stripe.String("instant"),
	})
	if err != nil {
		t.Fatal(err)
	}
	if po, err = sc.Payouts.Reverse(po.ID, nil); err != nil || po.Amount != -600 {
		t.Fatalf("%v, %+v", err, po)
	}
	wantSpent(t, s, "outflow", "EUR", 10_000_000)
	wantSpent(t, s, "inflow", "EUR", 10_000_000)
}

func TestCustomersAreListedSearchedAndDeleted(t *testing.T) {
	s := start(t)
	sc := stripeOf(s, stripeKey)
	var ids []string
	for _, run := range []string{"a", "b", "a"} {
		cus, err := sc.Customers.New(&stripe.CustomerParams{
			Metadata: map[string]string{"run": run}, Email: stripe.String(run + "@example.com"),
		})
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, cus.ID)
	}
	params := &stripe.CustomerListParams{}
	params.Limit = stripe.Int64(2) // two pages
	n := 0
	for it := sc.Customers.List(params); it.Next(); n++ {
		if want := ids[2-n]; it.Customer().ID != want {
			t.Errorf("listed %s at %d, want %s", it.Customer().ID, n, want)
		}
	}
	if n != 3 {
		t.Errorf("listed %d customers, want 3", n)
	}
	found := 0
	for it := sc.Customers.Search(&stripe.CustomerSearchParams{SearchParams: stripe.SearchParams{
		Query: `metadata['run']:'a'`},
	}); it.Next(); found++ {
	}
	if found != 2 {
		t.Errorf("found %d customers, want 2", found)
	}
	if cus, err := sc.Customers.Del(ids[0], nil); err != nil || !cus.Deleted {
		t.Errorf("%v, %+v", err, cus)
	}
	wantExecutions(t, s, "customer.create", "customer.create", "customer.create", "customer.delete")
}

func TestIdempotencyKeyExecutesOnce(t *testing.T) {
	s := start(t)
	s.SeedCharge("ch_1", 5000, "usd")
	sc := stripeOf(s, stripeKey)
	refund := func(amount int64) (*stripe.Refund, error) {
		p := &stripe.RefundParams{Charge: stripe.String("ch_1"), Amount: stripe.Int64(amount)}
		p.SetIdempotencyKey("once")
		return sc.Refunds.New(p)
	}
	_, err := refund(9999) // refused for the charge's state, and that is stored too
	wantStripeError(t, err, 400, "amount_too_large")
	_, err = refund(9999)
	if se := wantStripeError(t, err, 400, "amount_too_large"); se.LastResponse.Header.Get("Idempotent-Replayed") != "true" {
		t.Error("the stored refusal was not marked as replayed")
	}
	s.ForgetKeys()
	first, err := refund(1000)
	if err != nil {
		t.Fatal(err)
	}
	again, err := refund(1000)
	if err != nil || again.ID != first.ID || again.LastResponse.Header.Get("Idempotent-Replayed") != "true" {
		t.Errorf("the replay gave %v, %+v", err, again)
	}
	_, err = refund(2000)
	if se := wantStripeError(t, err, 400, ""); se.Type != stripe.ErrorTypeIdempotency {
		t.Errorf("other parameters gave type %s", se.Type)
	}
	got := wantExecutions(t, s, "refund")
	if got[0].IdempotencyKey != "once" || s.Received()[got[0].Request].Method != http.MethodPost {
		t.Errorf("logged %+v", got[0])
	}
}

func TestInvalidParametersAreNotStored(t *testing.T) {
	s := start(t)
	sc := stripeOf(s, stripeKey)
	create := func(currency string) error {
		p := &stripe.PaymentIntentParams{Amount: stripe.Int64(100)}
		if currency != "" {
			p.Currency = stripe.String(currency)
		}
		p.SetIdempotencyKey("k")
		_, err := sc.PaymentIntents.New(p)
		return err
	}
	wantStripeError(t, create(""), 400, stripe.ErrorCodeParameterMissing)
	if err := create("usd"); err != nil {
		t.Errorf("the key of a request that failed validation is taken: %v", err)
	}
}

func TestKeyInFlightConflicts(t *testing.T) {
	s := start(t)
	s.SeedCharge("ch_1", 5000, "usd")
	sc := stripeOf(s, stripeKey)
	hold := make(chan struct{})
	s.Misbehave(fakevendor.Fault{Kind: fakevendor.BlockAfter, Hold: hold})
	refund := func() error {
		p := &stripe.RefundParams{Charge: stripe.String("ch_1")}
		p.SetIdempotencyKey("slow")
		_, err := sc.Refunds.New(p)
		return err
	}
	done := make(chan error)
	go func() { done <- refund() }()
	until(t, func() bool { return len(s.Executions()) == 1 })
	wantStripeError(t, refund(), 409, "idempotency_key_in_use")
	close(hold)
	if err := <-done; err != nil {
		t.Error(err)
	}
	if err := refund(); err != nil {
		t.Errorf("the replay gave %v", err)
	}
	wantExecutions(t, s, "refund")
}

func TestModesAndAccountsAreApart(t *testing.T) {
	s := start(t)
	s.AllowCredentials("stripe", "sk_test_a", "rk_live_b")
	params := &stripe.CustomerParams{}
	params.SetStripeAccount("acct_1")
	cus, err := stripeOf(s, "sk_test_a").Customers.New(params)
	if err != nil {
		t.Fatal(err)
	}
	_, err = stripeOf(s, "sk_test_a").Customers.Get(cus.ID, nil)
	wantStripeError(t, err, 404, stripe.ErrorCodeResourceMissing)
	_, err = stripeOf(s, "rk_live_b").Customers.Get(cus.ID, params)
	wantStripeError(t, err, 404, stripe.ErrorCodeResourceMissing)
	_, err = stripeOf(s, "sk_test_c").Customers.Get(cus.ID, params)
	wantStripeError(t, err, 401, "")
	if got := wantExecutions(t, s, "customer.create"); got[0].Account != "acct_1" {
		t.Errorf("logged account %q", got[0].Account)
	}
}

func TestUnknownOperationIsReceivedOnly(t *testing.T) {
	s := start(t)
	_, err := stripeOf(s, stripeKey).WebhookEndpoints.New(&stripe.WebhookEndpointParams{
		URL: stripe.String("https://example.com"),
	})
	wantStripeError(t, err, 404, "")
	wantExecutions(t, s)
	if got := s.Received(); len(got) != 1 || got[0].Path != "/v1/webhook_endpoints" || got[0].Status != 404 {
		t.Errorf("received %+v", got)
	}
}

func wantStripeError(t *testing.T, err error, status int, code stripe.ErrorCode) *stripe.Error {
	t.Helper()
	var se *stripe.Error
	if !errors.As(err, &se) {
		t.Fatalf("want a Stripe error %d, got %v", status, err)
	}
	if se.HTTPStatusCode != status || se.Code != code || se.RequestID == "" {
		t.Fatalf("want %d %q with a request id, got %v", status, code, se)
	}
	return se
}
