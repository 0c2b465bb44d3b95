package fakevendor_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// stripeJSON sends one raw request to Stripe and decodes its reply.
func stripeJSON(t *testing.T, roundTrip func(*http.Request) (int, string), method, path, body string) (int, map[string]any) {
	t.Helper()
	req, err := http.NewRequest(method, "https://api.stripe.com/v1/"+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+stripeKey)
	status, text := roundTrip(req)
	var o map[string]any
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		t.Fatalf("%s %s: %v in %s", method, path, err, text)
	}
	return status, o
}

func TestStripeRequestsAndReplies(t *testing.T) {
	s := start(t)
	s.SeedCharge("ch_1", 5000, "usd")
	s.SeedCharge("ch_1", 6000, "USD") // replaces it
	for _, v := range []struct {
		method, path, body string
		status             int
		want               string // contained in the reply, as compact JSON
	}{
		{"POST", "refunds", "charge=ch_1&amount=100&metadata[call]=kb1&metadata[x]=y", 200, `"metadata":{"call":"kb1","x":"y"}`},
		{"POST", "refunds?amount=200", "charge=ch_1", 200, `"amount":200`},
		{"POST", "charges/ch_1/refunds", "amount=300", 200, `"amount":300`},
		{"GET", "charges/ch_1", "", 200, `"amount_refunded":600`},
		{"GET", "refunds?charge=ch_1&limit=2", "", 200, `"has_more":true`},
		{"GET", "refunds?charge=ch_2", "", 200, `"data":[]`},
		{"GET", "refunds?created[lt]=1", "", 200, `"data":[]`},
		{"GET", "refunds?created[gte]=1&created[lte]=99999999999&expand[]=data.charge", "", 200, `"charge":{"amount":6000`},
		{"GET", "refunds?starting_after=re_none", "", 400, `"code":"resource_missing"`},
		{"GET", "refunds?limit=0", "", 400, `"param":"limit"`},
		{"GET", "charges/search?query=" + "amount:6000+AND+currency:%27usd%27", "", 200, `"id":"ch_1"`},
		{"GET", "charges/search?query=amount%3E5", "", 400, `parse your search query`},
		{"GET", "payment_intents/pi_1?expand[0]=latest_charge.payment_intent", "", 200, `"latest_charge":{"amount":6000`},
		{"POST", "charges/ch_1", "description=d&metadata[a]=1", 200, `"description":"d"`},
		{"POST", "charges/ch_1", "metadata[a]=", 200, `"metadata":{}`},
		{"POST", "charges", "amount=1&currency=usd&source=tok_chargeDeclined", 402, `"decline_code":"generic_decline"`},
		{"POST", "charges", "amount=1&currency=usd", 400, `"code":"parameter_missing"`},
		{"POST", "charges", "amount=1.5&currency=usd&source=tok_visa", 400, `"code":"parameter_invalid_integer"`},
		{"POST", "charges", "amount=0&currency=usd&source=tok_visa", 400, `"param":"amount"`},
		{"POST", "charges", "amount=5&currency=dollar&source=tok_visa", 400, `"param":"currency"`},
		{"POST", "refunds", "charge=ch_1&payment_intent=pi_1", 400, `only specify one`},
		{"POST", "refunds", "", 400, `"param":"charge"`},
		{"POST", "payment_intents", "amount=5&currency=usd&confirm=true", 400, `missing a payment method`},
		{"POST", "payment_intents", "amount=5&amount_to_confirm=7&currency=usd&confirm=true&payment_method=pm_1", 200, `"amount_received":7`},
		{"POST", "payment_intents/pi_1/confirm", "", 400, `"code":"payment_intent_unexpected_state"`},
		{"POST", "payment_intents/pi_1", "amount=7", 400, `"code":"payment_intent_unexpected_state"`},
		{"POST", "payment_intents/pi_1", "metadata[a]=b", 200, `"amount":6000`},
		{"POST", "transfers", "amount=5&currency=usd", 400, `"param":"destination"`},
		{"POST", "payouts/po_none/cancel", "", 404, `No such payout: 'po_none'`},
		{"DELETE", "customers/cus_none", "", 404, `"code":"resource_missing"`},
		{"GET", "charges/", "", 404, `Unrecognized request URL`},
	} {
		t.Run(v.method+" "+v.path+" "+v.body, func(t *testing.T) {
			status, o := stripeJSON(t, func(r *http.Request) (int, string) { return do(t, s, r) }, v.method, v.path, v.body)
			text, _ := json.Marshal(o)
			if status != v.status || !strings.Contains(string(text), v.want) {
				t.Errorf("got %d %s, want %d with %s", status, text, v.status, v.want)
			}
		})
	}
}

// Exponents: docs.stripe.com/currencies, read 2026-11.
func TestMinorUnits(t *testing.T) {
	s := start(t)
	for currency, micros := range map[string]int64{
		"usd": 1_230_000, "jpy": 123_000_000, "krw": 123_000_000, "kwd": 123_000, "isk": 1_230_000, "ugx": 1_230_000,
	} {
		body := fmt.Sprintf("amount=123&currency=%s&source=tok_visa", currency)
		status, _ := stripeJSON(t, func(r *http.Request) (int, string) { return do(t, s, r) }, "POST", "charges", body)
		if status != 200 {
			t.Errorf("%s: status %d", currency, status)
		}
		wantSpent(t, s, "charge", strings.ToUpper(currency), micros)
	}
}

func TestConnectHostSpeaksOAuth(t *testing.T) {
	s := start(t)
	req, _ := http.NewRequest("POST", "https://connect.stripe.com/oauth/token", nil)
	if status, body := do(t, s, req); status != 400 || !strings.Contains(body, `"error_description"`) {
		t.Errorf("%d %s", status, body)
	}
}
