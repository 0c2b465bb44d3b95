package fakevendor

import (
	"net/http"
	"strings"
)

// stripeHandler executes a request under the lock and returns what to answer.
// It logs what it executed itself.
type stripeHandler func(*stripe, *stripeCall) (object, *stripeError)

// stripeRoutes are the operations, by method and path below /v1/. A * is one
// segment.
var stripeRoutes = []struct {
	method, pattern string
	handle          stripeHandler
}{
	{"GET", "payment_intents", list("payment_intent", "customer")},
	{"GET", "payment_intents/search", search("payment_intent")},
	{"POST", "payment_intents", (*stripe).createIntent},
	{"GET", "payment_intents/*", retrieve("payment_intent")},
	{"POST", "payment_intents/*", (*stripe).updateIntent},
	{"POST", "payment_intents/*/confirm", (*stripe).confirmIntent},
	{"POST", "payment_intents/*/capture", (*stripe).captureIntent},
	{"POST", "payment_intents/*/cancel", (*stripe).cancelIntent},
	{"POST", "payment_intents/*/increment_authorization", (*stripe).incrementIntent},

	{"GET", "charges", list("charge", "customer", "payment_intent", "transfer_group")},
	{"GET", "charges/search", search("charge")},
	{"POST", "charges", (*stripe).createCharge},
	{"GET", "charges/*", retrieve("charge")},
	{"POST", "charges/*", update("charge", "charge.update")},
	{"POST", "charges/*/capture", (*stripe).captureCharge},
	{"GET", "charges/*/refunds", listBelow("refund", "charge")},
	{"POST", "charges/*/refunds", (*stripe).refundCharge},

	{"GET", "refunds", list("refund", "charge", "payment_intent")},
	{"POST", "refunds", (*stripe).createRefund},
	{"GET", "refunds/*", retrieve("refund")},
	{"POST", "refunds/*", update("refund", "refund.update")},
	{"POST", "refunds/*/cancel", (*stripe).cancelRefund},

	{"GET", "customers", list("customer", "email")},
	{"GET", "customers/search", search("customer")},
	{"POST", "customers", (*stripe).createCustomer},
	{"GET", "customers/*", retrieve("customer")},
	{"POST", "customers/*", update("customer", "customer.update")},
	{"DELETE", "customers/*", (*stripe).deleteCustomer},

	{"GET", "transfers", list("transfer", "destination", "transfer_group")},
	{"POST", "transfers", (*stripe).createTransfer},
	{"GET", "transfers/*", retrieve("transfer")},
	{"POST", "transfers/*", update("transfer", "transfer.update")},
	{"GET", "transfers/*/reversals", listBelow("transfer_reversal", "transfer")},
	{"POST", "transfers/*/reversals", (*stripe).reverseTransfer},
	{"GET", "transfers/*/reversals/*", retrieveBelow("transfer_reversal", "transfer")},

	{"GET", "payouts", list("payout", "status", "destination")},
	{"POST", "payouts", (*stripe).createPayout},
	{"GET", "payouts/*", retrieve("payout")},
	{"POST", "payouts/*", update("payout", "payout.update")},
	{"POST", "payouts/*/cancel", (*stripe).cancelPayout},
	{"POST", "payouts/*/reverse", (*stripe).reversePayout},

	{"GET", "topups", list("topup", "status", "amount")},
	{"POST", "topups", (*stripe).createTopup},
	{"GET", "topups/*", retrieve("topup")},
	{"POST", "topups/*", update("topup", "topup.update")},
	{"POST", "topups/*/cancel", (*stripe).cancelTopup},

	{"GET", "subscriptions", listSubscriptions},
	{"POST", "subscriptions", (*stripe).createSubscription},
	{"GET", "subscriptions/*", retrieve("subscription")},
	{"DELETE", "subscriptions/*", (*stripe).cancelSubscription},
	{"GET", "invoices/upcoming", previewInvoice("subscription_items")},
	{"POST", "invoices/create_preview", previewInvoice("subscription_details[items]")},
	{"GET", "invoices", list("invoice", "customer", "subscription", "status")},
	{"GET", "invoices/*", retrieve("invoice")},

	{"GET", "balance", balance},
	{"GET", "webhook_endpoints", webhooks},

	{"GET", "balance_transactions", list("balance_transaction", "type", "source", "currency")},
	{"GET", "balance_transactions/*", retrieve("balance_transaction")},
}

// route finds the handler of c and the values of its path's wildcards; nil is
// for all that this Stripe does not have.
func route(c *call) (stripeHandler, []string) {
	path, ok := strings.CutPrefix(c.path, "/v1/")
	if !ok || c.host != "api.stripe.com" {
		return nil, nil
	}
	for _, r := range stripeRoutes {
		if ids, ok := match(r.pattern, path); ok && r.method == c.method {
			return r.handle, ids
		}
	}
	return nil, nil
}

func match(pattern, path string) (ids []string, ok bool) {
	want, got := strings.Split(pattern, "/"), strings.Split(path, "/")
	if len(want) != len(got) {
		return nil, false
	}
	for i := range want {
		if want[i] == "*" && got[i] != "" {
			ids = append(ids, got[i])
		} else if want[i] != got[i] {
			return nil, false
		}
	}
	return ids, true
}

// balance is that of an account that nothing has come to.
func balance(_ *stripe, c *stripeCall) (object, *stripeError) {
	none := func() []any { return []any{object{"amount": int64(0), "currency": "usd"}} }
	return object{"object": "balance", "livemode": c.live, "available": none(), "pending": none()}, nil
}

// webhooks is a list of none, for whoever may read it. The words are Stripe's (read November 2026).
func webhooks(_ *stripe, c *stripeCall) (object, *stripeError) {
	if strings.HasPrefix(c.credential, "rk_") && !strings.HasPrefix(c.credential, WideKey) {
		return nil, invalid(http.StatusForbidden, "", "The provided key '"+c.credential[:8]+"***' does not have the required permissions for this endpoint. "+
			"Having more permissions would allow this request to continue.")
	}
	return object{"object": "list", "url": "/v1/webhook_endpoints", "has_more": false, "data": []any{}}, nil
}
