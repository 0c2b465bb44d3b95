package keybraketest_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/keybraketest"
	"github.com/keybrake/keybrake-go/policy"
)

// A step is one call of a story: what Stripe answers to each operation, and what the books say afterwards.
type step struct {
	call    string // METHOD /path form
	answers map[string]string
	status  int
	want    string // spent and held, in USD
}

func invoice(status string, due, paid int) string {
	return fmt.Sprintf(`{"id": "in_1", "object": "invoice", "status": %q, "currency": "usd", "amount_due": %d, "amount_paid": %d, "amount_remaining": %d, "auto_advance": false}`, status, due, paid, due-paid)
}

// What an object may still take is one hold, whichever calls move it, and is counted once: through a real brake and
// its ledger.
func TestStripesObjectsAreHeldOnce(t *testing.T) {
	const (
		get, finalize, pay = "stripe.invoices.retrieve", "stripe.invoices.finalize", "stripe.invoices.pay"
		item               = `{"id": "ii_1", "object": "invoiceitem", "amount": 1000, "currency": "usd", "invoice": "in_1"}`
		pending            = `{"id": "ii_1", "object": "invoiceitem", "amount": 1000, "currency": "usd", "invoice": null}`
		session            = `{"id": "cs_1", "object": "checkout.session", "status": %q, "payment_status": "unpaid", "amount_total": 3000, "currency": "usd"}`
		declined           = `{"error": {"type": "card_error", "code": "card_declined", "message": "declined"}}`
		reader             = `{"id": "tmr_1", "object": "terminal.reader", "action": {"status": "in_progress"}}`
		intent             = `{"id": "pi_1", "object": "payment_intent", "status": %q, "currency": "usd", "amount": 2000, "amount_capturable": 0, "amount_received": 0}`
	)
	for name, steps := range map[string][]step{
		"an invoice from its item to its payment": {
			{"POST /v1/invoiceitems invoice=in_1&amount=1000&currency=usd", map[string]string{get: invoice("draft", 0, 0), "stripe.invoiceitems.create": item}, 200, "0.00 10.00"},
			{"POST /v1/invoices/in_1/finalize ", map[string]string{get: invoice("draft", 1000, 0), finalize: invoice("open", 1000, 0)}, 200, "0.00 10.00"},
			{"POST /v1/invoices/in_1/pay ", map[string]string{get: invoice("open", 1000, 0), pay: invoice("paid", 1000, 1000)}, 200, "10.00 0.00"},
		},
		"an invoice that is declined, and voided": {
			{"POST /v1/invoices/in_1/pay ", map[string]string{get: invoice("open", 1000, 0), pay: declined}, 402, "0.00 10.00"},
			{"POST /v1/invoices/in_1/void ", map[string]string{"stripe.invoices.void": invoice("void", 1000, 0)}, 200, "0.00 0.00"},
		},
		"an item of no invoice, deleted": {
			{"POST /v1/invoiceitems customer=cus_1&amount=1000&currency=usd", map[string]string{"stripe.invoiceitems.create": pending}, 200, "0.00 10.00"},
			{"DELETE /v1/invoiceitems/ii_1 ", map[string]string{"stripe.invoiceitems.retrieve": pending, "stripe.invoiceitems.delete": `{"id": "ii_1", "object": "invoiceitem", "deleted": true}`}, 200, "0.00 0.00"},
		},
		"a checkout that expires": {
			{"POST /v1/checkout/sessions mode=payment&line_items[0][price_data][currency]=usd&line_items[0][price_data][unit_amount]=3000", map[string]string{"stripe.checkout.sessions.create": fmt.Sprintf(session, "open")}, 200, "0.00 30.00"},
			{"POST /v1/checkout/sessions/cs_1/expire ", map[string]string{"stripe.checkout.sessions.expire": fmt.Sprintf(session, "expired")}, 200, "0.00 0.00"},
		},
		"an intent that a card reader takes": {
			{"POST /v1/payment_intents amount=2000&currency=usd", map[string]string{"stripe.payment_intents.create": fmt.Sprintf(intent, "requires_payment_method")}, 200, "0.00 20.00"},
			{"POST /v1/terminal/readers/tmr_1/process_payment_intent payment_intent=pi_1&process_config[skip_tipping]=true", map[string]string{"stripe.payment_intents.retrieve": fmt.Sprintf(intent, "requires_payment_method"), "stripe.terminal.readers.process_payment_intent": reader}, 200, "0.00 20.00"},
			{"POST /v1/payment_intents/pi_1/cancel ", map[string]string{"stripe.payment_intents.cancel": fmt.Sprintf(intent, "canceled")}, 200, "0.00 0.00"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			bench := keybraketest.New(t, policy.Policy{
				Allow:   []policy.Rule{{Operation: "stripe.*"}},
				Budgets: []policy.Budget{policy.Lifetime(policy.USD("100"))},
			}, nil)
			for _, s := range steps {
				for operation, answer := range s.answers {
					status := 200
					if strings.Contains(answer, `"error"`) {
						status = 402
					}
					bench.Handle(operation, keybraketest.JSON(status, answer))
				}
				if status := s.send(t, bench); status != s.status {
					t.Fatalf("%s: status %d, want %d", s.call, status, s.status)
				}
				states, err := bench.Balance(context.Background(), bench.Key.Token())
				if err != nil {
					t.Fatal(err)
				}
				if got := cost.Decimal(states[0].Spent) + " " + cost.Decimal(states[0].Held); got != s.want {
					t.Errorf("%s: spent and held %s, want %s", s.call, got, s.want)
				}
			}
		})
	}
}

func (s step) send(t *testing.T, bench *keybraketest.Bench) (status int) {
	t.Helper()
	f := strings.SplitN(s.call, " ", 3)
	req, err := http.NewRequestWithContext(t.Context(), f[0], "https://api.stripe.com"+f[1], strings.NewReader(f[2]))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+bench.Key.Token())
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := bench.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	return resp.StatusCode
}
