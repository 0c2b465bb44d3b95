package kbstripe_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/keybrake/keybrake-go/vendors"
	"github.com/keybrake/keybrake-go/vendors/kbstripe"
)

// identify is a form call as the table reads it.
func identify(t *testing.T, tab *vendors.Table, path, form string) (*vendors.Vendor, *vendors.Call) {
	t.Helper()
	req := &http.Request{Method: "POST", URL: &url.URL{Scheme: "https", Host: "api.stripe.com", Path: path}, Header: http.Header{}}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if strings.HasPrefix(form, "{") {
		req.Header.Set("Content-Type", "application/json")
	}
	v, c, err := tab.Identify(req, []byte(form))
	if err != nil {
		t.Fatalf("%s %s: %v", path, form, err)
	}
	return v, c
}

func TestStamp(t *testing.T) {
	tab := table(t)
	_, c := identify(t, tab, "/v1/refunds", "charge=ch_1&metadata[order]=7")
	send, body := c.Operation.Stamp(c, "run_1", "rsv_1")
	if got := params(send); got != "metadata[keybrake_run]=run_1&metadata[keybrake_call]=rsv_1" || body != nil {
		t.Errorf("%s, %v", got, body)
	}
	_, c = identify(t, tab, "/v1/checkout/sessions", "mode=payment")
	if got := params(second(c.Operation.Stamp(c, "run_1", "rsv_1"))); !strings.HasSuffix(got, "&payment_intent_data[metadata][keybrake_run]=run_1") {
		t.Errorf("a session's charge is not of its run: %s", got)
	}
	if _, c = identify(t, tab, "/v1/checkout/sessions", "mode=setup"); len(second(c.Operation.Stamp(c, "run_1", "rsv_1"))) != 2 {
		t.Error("a setup has no payment intent")
	}
	many := "charge=ch_1"
	for i := range 48 {
		many += fmt.Sprintf("&metadata[k%d]=v", i)
	}
	if _, c = identify(t, tab, "/v1/refunds", many); len(second(c.Operation.Stamp(c, "run_1", "rsv_1"))) != 2 {
		t.Error("48 keys leave room for two")
	}
	if _, c = identify(t, tab, "/v1/refunds", many+"&metadata[last]=v"); second(c.Operation.Stamp(c, "run_1", "rsv_1")) != nil {
		t.Error("49 keys leave no room for two")
	}
	if second(c.Operation.Stamp(&vendors.Call{}, strings.Repeat("r", 501), "rsv_1")) != nil {
		t.Error("a run that Stripe does not take is sent")
	}
}

func TestStampOfABody(t *testing.T) {
	tab := table(t)
	for body, want := range map[string]string{
		`{"amount":{"value":500,"currency":"usd"},"metadata":{"order":"7"},"to":{"recipient":"x"}}`: `{"amount":{"value":500,"currency":"usd"},"metadata":{"order":"7","keybrake_run":"run_1","keybrake_call":"rsv_1"},"to":{"recipient":"x"}}`,
		`{"amount":{"value":500,"currency":"usd"}}`:                                                 `{"amount":{"value":500,"currency":"usd"},"metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`,
	} {
		_, c := identify(t, tab, "/v2/money_management/outbound_payments", body)
		send, marked := c.Operation.Stamp(c, "run_1", "rsv_1")
		text, err := json.Marshal(marked)
		if err != nil || send != nil || string(text) != want {
			t.Errorf("%s, %v, %v", text, send, err)
		}
		if again, _ := json.Marshal(c.JSON); string(again) != body {
			t.Errorf("the call has become %s", again)
		}
	}
}

func second(send []vendors.Param, _ any) []vendors.Param { return send }

// What is made is marked, and nothing that was there before: a mark is its maker's. A mark is sent only where metadata
// is taken.
func TestWhatIsStamped(t *testing.T) {
	stamped := map[string]bool{}
	for _, op := range kbstripe.New(nil).Operations {
		if op.Stamp == nil {
			continue
		}
		stamped[op.Name] = true
		if op.Body == vendors.JSON {
			continue
		}
		send, _ := op.Stamp(&vendors.Call{Operation: &op}, "run_1", "rsv_1")
		c := &vendors.Call{Operation: &op, Params: send}
		if unknown, redirects := c.Unlisted(op.Params); len(unknown)+len(redirects) > 0 {
			t.Errorf("%s is sent %v %v", op.Name, unknown, redirects)
		}
	}
	for _, name := range []string{
		"payment_intents.create", "charges.create", "refunds.create", "charges.refund", "charges.refunds.create", "terminal.readers.refund_payment",
		"transfers.create", "transfers.reversals.create", "payouts.create", "payouts.reverse", "topups.create", "application_fees.refunds.create",
		"invoices.create", "invoiceitems.create", "credit_notes.create", "customers.balance_transactions.create", "billing.credit_grants.create",
		"climate.orders.create", "checkout.sessions.create", "payment_links.create", "quotes.create", "subscriptions.create", "customers.subscriptions.create",
		"subscription_items.create", "subscription_schedules.create", "treasury.outbound_payments.create", "treasury.outbound_transfers.create",
		"treasury.inbound_transfers.create", "treasury.credit_reversals.create", "treasury.debit_reversals.create",
	} {
		if !stamped["stripe."+name] {
			t.Errorf("%s is not stamped", name)
		}
	}
	for name := range stamped {
		last := name[strings.LastIndex(name, ".")+1:]
		if last != "create" && last != "refund" && last != "reverse" && last != "refund_payment" {
			t.Errorf("%s is stamped, and makes nothing", name)
		}
	}
}

// An agent sets, changes and removes no mark, wherever metadata can stand and whatever the operation costs.
func TestMarksAreTheBrakes(t *testing.T) {
	tab := table(t)
	for _, call := range []string{
		"/v1/refunds charge=ch_1&metadata[keybrake_call]=rsv_9",
		"/v1/refunds charge=ch_1&metadata%5Bkeybrake_run%5D=x",
		"/v1/refunds charge=ch_1&metadata[keybrake_]=x",
		"/v1/refunds/re_1 metadata[keybrake_call]=",
		"/v1/refunds/re_1 metadata=",
		"/v1/refunds/re_1 metadata[]=",
		"/v1/charges/ch_1 metadata[keybrake_call]=rsv_9",
		"/v1/payment_intents/pi_1 metadata[keybrake_call]=rsv_9",
		"/v1/payment_intents/pi_1 metadata=",
		"/v1/checkout/sessions payment_intent_data[metadata][keybrake_call]=x",
		"/v1/checkout/sessions subscription_data[metadata][keybrake_run]=x",
		"/v1/checkout/sessions subscription_data[metadata]=",
		"/v1/invoices/in_1/add_lines invoice_metadata=",
		"/v1/invoices/in_1/add_lines invoice_metadata[keybrake_call]=",
		"/v1/subscriptions customer=cus_1&items[0][metadata][keybrake_call]=x",
		"/v1/products name=x&default_price_data[metadata][keybrake_call]=x",
		`/v2/money_management/outbound_payments {"metadata":{"keybrake_call":"x"}}`,
		`/v2/money_management/outbound_payments {"metadata":null}`,
	} {
		path, form, _ := strings.Cut(call, " ")
		v, c := identify(t, tab, path, form)
		if err := v.Check(c); err == nil || !strings.HasPrefix(refusal(err), "param_denied ") {
			t.Errorf("%s: %v", call, err)
		}
	}
	for _, call := range []string{
		"/v1/refunds charge=ch_1&metadata[order]=keybrake_call", "/v1/refunds/re_1 metadata[order]=", "/v1/refunds/re_1 metadata[my_keybrake_note]=x",
	} {
		path, form, _ := strings.Cut(call, " ")
		if v, c := identify(t, tab, path, form); v.Check(c) != nil {
			t.Errorf("%s is refused", call)
		}
	}
}
