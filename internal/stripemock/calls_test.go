package stripemock

import (
	"bytes"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/vendors"
)

// A call is one call as an agent would make it. before is what Stripe's objects say when the call is priced, and
// after what its reply says: stripe-mock carries nothing out, so a state says what a call has led to.
type call struct {
	row          string // operation, then what is special about this call
	target, form string
	before       state
	after        state
	outcome      string // "executed" when empty
	actual, held string // what the reply has booked and left on hold
}

// What happens to an object.
var (
	confirmed  = state{"payment_intent": {"status": "requires_confirmation", "payment_method": "pm_1"}}
	authorised = state{"payment_intent": {"status": "requires_capture", "amount_capturable": 1099, "latest_charge": "ch_1"}}
	paid       = state{"payment_intent": {"status": "succeeded", "amount_received": 1099, "latest_charge": "ch_1"}}
	taken500   = state{"payment_intent": {"status": "requires_capture", "amount_capturable": 599, "amount_received": 500}}
	canceled   = state{"payment_intent": {"status": "canceled", "cancellation_reason": "requested_by_customer"}}

	uncaptured = state{"charge": {"amount": 100, "captured": false, "amount_captured": 0}}
	captured   = state{"charge": {"amount": 100, "captured": true, "amount_captured": 100}}
	charged    = state{"charge": {"captured": true, "amount_captured": 2000}}
	refundable = state{"charge": {"amount": 250, "captured": true, "amount_captured": 250}, "payment_intent": {"status": "succeeded", "latest_charge": "ch_1"}}

	open       = state{"invoice": {"status": "open"}}
	settled    = state{"invoice": {"status": "paid", "amount_paid": 1000, "amount_remaining": 0}}
	voided     = state{"invoice": {"status": "void"}}
	hopeless   = state{"invoice": {"status": "uncollectible"}}
	advancing  = state{"invoice": {"auto_advance": true}}
	ended      = state{"subscription": {"status": "canceled"}}
	session    = state{"checkout.session": {"amount_total": 3000, "currency": "usd"}}
	lapsed     = state{"checkout.session": {"status": "expired"}}
	linkOff    = state{"payment_link": {"active": false}}
	oneTime    = state{"quote": {"amount_total": 700, "status": "open", "computed": map[string]any{"recurring": nil, "upfront": map[string]any{}}}}
	accepted   = state{"quote": {"amount_total": 700, "status": "accepted", "invoice": "in_1"}}
	lost       = state{"dispute": {"status": "lost"}}
	granted    = state{"billing.credit_grant": {"amount": map[string]any{"type": "monetary", "monetary": map[string]any{"value": 1000, "currency": "usd"}}}}
	ownInvoice = state{"invoiceitem": {"invoice": "in_1"}}

	failedPayout = state{"payout": {"status": "failed", "failure_code": "account_closed"}}
)

var calls = []call{
	{
		row: "stripe.payment_intents.create", target: "POST /v1/payment_intents",
		form: "amount=2000&currency=usd&automatic_payment_methods[enabled]=true&automatic_payment_methods[allow_redirects]=never" +
			"&customer=cus_1&description=Order+6735&metadata[order_id]=6735&receipt_email=jenny%40example.com" +
			"&shipping[name]=Jenny+Rosen&shipping[address][line1]=510+Townsend+St&shipping[address][country]=US&expand[0]=customer",
		held: "charge 20.00 USD",
	},
	{
		row: "stripe.payment_intents.create confirmed at once", target: "POST /v1/payment_intents",
		form:  "amount=1099&currency=eur&confirm=true&payment_method=pm_card_visa&payment_method_types[]=card&return_url=https%3A%2F%2Fexample.com%2Freturn&expand[]=latest_charge",
		after: paid, actual: "charge 10.99 EUR",
	},
	{
		row: "stripe.payment_intents.create to capture later", target: "POST /v1/payment_intents",
		form:  "amount=1099&currency=jpy&capture_method=manual&confirm=true&error_on_requires_action=true&payment_method=pm_card_visa",
		after: authorised, held: "charge 1099.00 JPY",
	},
	{
		row: "stripe.payment_intents.create for a card that asks its holder", target: "POST /v1/payment_intents",
		form:  "amount=1099&currency=usd&confirm=true&payment_method=pm_card_threeDSecure2Required",
		after: state{"payment_intent": {"status": "requires_action"}}, outcome: "pending", held: "charge 10.99 USD",
	},
	{row: "stripe.payment_intents.list", target: "GET /v1/payment_intents?customer=cus_1&limit=3&created[gte]=1700000000&expand[]=data.customer"},
	{row: "stripe.payment_intents.search", target: "GET /v1/payment_intents/search?query=status%3A%27succeeded%27&limit=3"},
	{row: "stripe.payment_intents.retrieve", target: "GET /v1/payment_intents/pi_1?expand[]=latest_charge"},
	{
		row: "stripe.payment_intents.update of the amount", target: "POST /v1/payment_intents/pi_1",
		form: "amount=2500", held: "charge 25.00 USD",
	},
	{
		row: "stripe.payment_intents.update of nothing that costs", target: "POST /v1/payment_intents/pi_1",
		form: "metadata[order_id]=6735&description=Order&statement_descriptor_suffix=6735&shipping[name]=Jenny&shipping[address][line1]=510+Townsend+St",
	},
	{
		row: "stripe.payment_intents.confirm", target: "POST /v1/payment_intents/pi_1/confirm",
		form:   "payment_method=pm_card_visa&return_url=https%3A%2F%2Fexample.com%2Freturn&use_stripe_sdk=true&radar_options[session]=rse_1",
		before: confirmed, after: paid, actual: "charge 10.99 USD",
	},
	{
		row: "stripe.payment_intents.confirm of another amount", target: "POST /v1/payment_intents/pi_1/confirm",
		form: "amount_to_confirm=1500", before: confirmed,
		after: state{"payment_intent": {"status": "processing"}}, outcome: "pending", held: "charge 15.00 USD",
	},
	{
		row: "stripe.payment_intents.capture of all", target: "POST /v1/payment_intents/pi_1/capture",
		before: authorised, after: paid, actual: "charge 10.99 USD",
	},
	{
		row: "stripe.payment_intents.capture of a part", target: "POST /v1/payment_intents/pi_1/capture",
		form:   "amount_to_capture=500&final_capture=false&metadata[part]=1&statement_descriptor=SHOP",
		before: authorised, after: taken500, actual: "charge 5.00 USD", held: "charge 5.99 USD",
	},
	{
		row: "stripe.payment_intents.increment_authorization", target: "POST /v1/payment_intents/pi_1/increment_authorization",
		form:   "amount=1500&description=Late+checkout&metadata[night]=2",
		before: authorised,
		after:  state{"payment_intent": {"status": "requires_capture", "amount_capturable": 1500}}, held: "charge 15.00 USD",
	},
	{
		row: "stripe.payment_intents.cancel", target: "POST /v1/payment_intents/pi_1/cancel",
		form: "cancellation_reason=requested_by_customer", after: canceled,
	},

	{
		row: "stripe.charges.create", target: "POST /v1/charges",
		form:  "amount=2000&currency=usd&source=tok_visa&description=My+First+Charge&metadata[order_id]=6735&shipping[name]=Jenny&shipping[address][line1]=510+Townsend+St",
		after: charged, actual: "charge 20.00 USD",
	},
	{
		row: "stripe.charges.create to capture later", target: "POST /v1/charges",
		form: "amount=2000&currency=usd&capture=false&customer=cus_1", after: uncaptured, held: "charge 20.00 USD",
	},
	{
		row: "stripe.charges.create by bank debit", target: "POST /v1/charges", form: "amount=2000&currency=usd&customer=cus_1&source=ba_1",
		after: state{"charge": {"status": "pending"}}, outcome: "pending", held: "charge 20.00 USD",
	},
	{row: "stripe.charges.list", target: "GET /v1/charges?payment_intent=pi_1&limit=3"},
	{row: "stripe.charges.search", target: "GET /v1/charges/search?query=amount%3E999"},
	{row: "stripe.charges.retrieve", target: "GET /v1/charges/ch_1"},
	{row: "stripe.charges.retrieve of a payment", target: "GET /v1/charges/py_1"},
	{row: "stripe.charges.update", target: "POST /v1/charges/ch_1", form: "metadata[order_id]=6735&fraud_details[user_report]=fraudulent"},
	{row: "stripe.charges.update of a payment", target: "POST /v1/charges/py_1", form: "description=Order"},
	{
		row: "stripe.charges.capture", target: "POST /v1/charges/ch_1/capture", form: "statement_descriptor_suffix=6735",
		before: uncaptured, after: captured, actual: "charge 1.00 USD",
	},
	{
		row: "stripe.charges.capture of a part of a payment", target: "POST /v1/charges/py_1/capture", form: "amount=40&receipt_email=jenny%40example.com",
		before: uncaptured, after: state{"charge": {"amount": 100, "captured": true, "amount_captured": 40}}, actual: "charge 0.40 USD",
	},

	{
		row: "stripe.refunds.create of a charge", target: "POST /v1/refunds", form: "charge=ch_1&reason=requested_by_customer&metadata[case]=5",
		before: refundable, actual: "outflow 2.50 USD",
	},
	{
		row: "stripe.refunds.create of a part of an intent", target: "POST /v1/refunds", form: "payment_intent=pi_1&amount=40&expand[]=charge",
		before: refundable, actual: "outflow 0.40 USD",
	},
	{
		row: "stripe.refunds.create that is still under way", target: "POST /v1/refunds", form: "charge=py_1",
		before: refundable, after: state{"refund": {"status": "pending"}}, outcome: "pending", actual: "outflow 2.50 USD",
	},
	{row: "stripe.refunds.list", target: "GET /v1/refunds?charge=ch_1&limit=3"},
	{row: "stripe.refunds.retrieve", target: "GET /v1/refunds/re_1"},
	{row: "stripe.refunds.retrieve of a payment's", target: "GET /v1/refunds/pyr_1"},
	{row: "stripe.refunds.update", target: "POST /v1/refunds/re_1", form: "metadata[case]=5"},
	{row: "stripe.refunds.update of a payment's", target: "POST /v1/refunds/pyr_1", form: "metadata[case]=5"},
	{row: "stripe.refunds.cancel", target: "POST /v1/refunds/re_1/cancel"},
	{row: "stripe.refunds.cancel of a payment's", target: "POST /v1/refunds/pyr_1/cancel"},

	{
		row: "stripe.customers.create", target: "POST /v1/customers",
		form: "name=Jenny+Rosen&email=jenny%40example.com&phone=%2B15555550123&preferred_locales[0]=en&address[line1]=510+Townsend+St&address[country]=US" +
			"&tax[ip_address]=192.0.2.1&tax_id_data[0][type]=eu_vat&tax_id_data[0][value]=DE123456789&shipping[name]=Jenny&shipping[address][city]=SF&metadata[k]=v",
	},
	{row: "stripe.customers.list", target: "GET /v1/customers?email=jenny%40example.com&limit=3"},
	{row: "stripe.customers.search", target: "GET /v1/customers/search?query=email%3A%27jenny%40example.com%27"},
	{row: "stripe.customers.retrieve", target: "GET /v1/customers/cus_1?expand[]=tax"},
	{row: "stripe.customers.update", target: "POST /v1/customers/cus_1", form: "description=VIP&address[city]=SF&next_invoice_sequence=7&invoice_prefix=ACME"},
	{row: "stripe.customers.delete", target: "DELETE /v1/customers/cus_1"},

	{
		row: "stripe.transfers.create", target: "POST /v1/transfers",
		form:   "amount=400&currency=usd&destination=acct_1&transfer_group=ORDER_95&description=Share&metadata[order_id]=95",
		actual: "outflow 4.00 USD",
	},
	{row: "stripe.transfers.list", target: "GET /v1/transfers?destination=acct_1&limit=3"},
	{row: "stripe.transfers.retrieve", target: "GET /v1/transfers/tr_1"},
	{row: "stripe.transfers.update", target: "POST /v1/transfers/tr_1", form: "metadata[order_id]=95"},

	{
		row: "stripe.payouts.create", target: "POST /v1/payouts",
		form:    "amount=1100&currency=usd&method=standard&source_type=card&statement_descriptor=SHOP&description=Week+40&metadata[week]=40",
		outcome: "pending", actual: "outflow 11.00 USD",
	},
	{
		row: "stripe.payouts.create that fails", target: "POST /v1/payouts", form: "amount=1100&currency=usd", after: failedPayout,
	},
	{row: "stripe.payouts.list", target: "GET /v1/payouts?status=paid&limit=3"},
	{row: "stripe.payouts.retrieve", target: "GET /v1/payouts/po_1"},
	{row: "stripe.payouts.update", target: "POST /v1/payouts/po_1", form: "metadata[week]=40"},
	{row: "stripe.payouts.cancel", target: "POST /v1/payouts/po_1/cancel"},
	{row: "stripe.payouts.reverse", target: "POST /v1/payouts/po_1/reverse", form: "metadata[why]=mistake"},

	{row: "stripe.invoices.create of a draft", target: "POST /v1/invoices", form: "customer=cus_1&auto_advance=false&description=Order"},
	{row: "stripe.invoices.update of words", target: "POST /v1/invoices/in_1", form: "description=Order&footer=Thanks"},
	{row: "stripe.invoices.update that arms it", target: "POST /v1/invoices/in_1", form: "auto_advance=true", after: advancing, held: "charge 10.00 USD"},
	{row: "stripe.invoices.finalize", target: "POST /v1/invoices/in_1/finalize", form: "auto_advance=false", after: open, held: "charge 10.00 USD"},
	{row: "stripe.invoices.send", target: "POST /v1/invoices/in_1/send", before: open, after: open, held: "charge 10.00 USD"},
	{row: "stripe.invoices.pay", target: "POST /v1/invoices/in_1/pay", form: "payment_method=pm_1", before: open, after: settled, actual: "charge 10.00 USD"},
	{row: "stripe.invoices.pay by bank", target: "POST /v1/invoices/in_1/pay", before: open, after: open, outcome: "pending", held: "charge 10.00 USD"},
	{row: "stripe.invoices.pay outside of Stripe", target: "POST /v1/invoices/in_1/pay", form: "paid_out_of_band=true", after: settled},
	{row: "stripe.invoices.void", target: "POST /v1/invoices/in_1/void", after: voided},
	{row: "stripe.invoices.mark_uncollectible", target: "POST /v1/invoices/in_1/mark_uncollectible", after: hopeless},
	{row: "stripe.invoices.delete", target: "DELETE /v1/invoices/in_1"},
	{row: "stripe.invoiceitems.create", target: "POST /v1/invoiceitems", form: "customer=cus_1&amount=1000&currency=usd", held: "charge 10.00 USD"},
	{row: "stripe.invoiceitems.create on an invoice", target: "POST /v1/invoiceitems", form: "customer=cus_1&amount=1000&currency=usd&invoice=in_1", after: ownInvoice, held: "charge 20.00 USD"},
	{row: "stripe.invoiceitems.update", target: "POST /v1/invoiceitems/ii_1", form: "description=Hours"},
	{row: "stripe.invoiceitems.delete", target: "DELETE /v1/invoiceitems/ii_1"},
	{row: "stripe.credit_notes.create", target: "POST /v1/credit_notes", form: "invoice=in_1&amount=1690&refund_amount=1690", before: settled, actual: "outflow 16.90 USD"},
	{row: "stripe.subscriptions.update of words", target: "POST /v1/subscriptions/sub_1", form: "metadata[k]=v"},
	{row: "stripe.subscriptions.cancel", target: "DELETE /v1/subscriptions/sub_1", after: ended},
	{row: "stripe.subscription_schedules.cancel", target: "POST /v1/subscription_schedules/sub_sched_1/cancel", form: "invoice_now=false&prorate=false", after: state{"subscription_schedule": {"status": "canceled"}}},
	{
		row: "stripe.checkout.sessions.create", target: "POST /v1/checkout/sessions",
		form: "mode=payment&success_url=https%3A%2F%2Fexample.com&line_items[0][price_data][currency]=usd&line_items[0][price_data][unit_amount]=1500" +
			"&line_items[0][price_data][product_data][name]=Hat&line_items[0][quantity]=2",
		after: session, held: "charge 30.00 USD",
	},
	{row: "stripe.checkout.sessions.expire", target: "POST /v1/checkout/sessions/cs_1/expire", after: lapsed},
	{
		row: "stripe.payment_links.create", target: "POST /v1/payment_links",
		form: "line_items[0][price_data][currency]=usd&line_items[0][price_data][unit_amount]=1500&line_items[0][price_data][product]=prod_1" +
			"&line_items[0][quantity]=2&restrictions[completed_sessions][limit]=3",
		held: "charge 90.00 USD",
	},
	{row: "stripe.payment_links.update that switches it off", target: "POST /v1/payment_links/plink_1", form: "active=false", after: linkOff},
	{row: "stripe.quotes.accept", target: "POST /v1/quotes/qt_1/accept", before: oneTime, after: accepted, held: "charge 7.00 USD"},

	{row: "stripe.transfers.reversals.create", target: "POST /v1/transfers/tr_1/reversals", actual: "charge 11.00 USD"},
	{row: "stripe.application_fees.refunds.create", target: "POST /v1/application_fees/fee_1/refunds", actual: "outflow 1.00 USD"},
	{row: "stripe.charges.refunds.create", target: "POST /v1/charges/ch_1/refunds", before: refundable, form: "amount=100", actual: "outflow 1.00 USD"},
	{row: "stripe.topups.create", target: "POST /v1/topups", form: "amount=1000&currency=usd", outcome: "pending", actual: "charge 10.00 USD"},
	{row: "stripe.treasury.outbound_payments.create", target: "POST /v1/treasury/outbound_payments", form: "amount=10000&currency=usd&financial_account=fa_1", outcome: "pending", actual: "outflow 100.00 USD"},
	{row: "stripe.treasury.outbound_transfers.create", target: "POST /v1/treasury/outbound_transfers", form: "amount=10000&currency=usd&financial_account=fa_1", outcome: "pending", actual: "outflow 100.00 USD"},
	{row: "stripe.treasury.inbound_transfers.create", target: "POST /v1/treasury/inbound_transfers", form: "amount=10000&currency=usd&financial_account=fa_1&origin_payment_method=pm_1", outcome: "pending", actual: "charge 100.00 USD"},
	{
		row: "stripe.treasury.credit_reversals.create", target: "POST /v1/treasury/credit_reversals", form: "received_credit=rc_1",
		before: state{"treasury.received_credit": {"amount": 1000}}, outcome: "pending", actual: "outflow 10.00 USD",
	},
	{
		row: "stripe.treasury.debit_reversals.create", target: "POST /v1/treasury/debit_reversals", form: "received_debit=rd_1",
		before: state{"treasury.received_debit": {"amount": 1000}}, outcome: "pending", actual: "charge 10.00 USD",
	},
	{row: "stripe.customers.balance_transactions.create", target: "POST /v1/customers/cus_1/balance_transactions", form: "amount=-500&currency=usd", actual: "outflow 5.00 USD"},
	{
		row: "stripe.billing.credit_grants.create", target: "POST /v1/billing/credit_grants",
		form: "customer=cus_1&category=paid&applicability_config[scope][price_type]=metered&amount[type]=monetary&amount[monetary][value]=1000&amount[monetary][currency]=usd", after: granted, actual: "outflow 10.00 USD",
	},
	{row: "stripe.charges.dispute.close", target: "POST /v1/charges/ch_1/dispute/close", before: state{"dispute": {"charge": "ch_1"}}, after: lost, actual: "outflow 10.00 USD"},
	{row: "stripe.invoices.add_lines", target: "POST /v1/invoices/in_1/add_lines", form: "lines[0][amount]=500", held: "charge 10.00 USD"},
	{row: "stripe.disputes.close", target: "POST /v1/disputes/dp_1/close", after: lost, actual: "outflow 10.00 USD"},
	{row: "stripe.issuing.authorizations.approve", target: "POST /v1/issuing/authorizations/iauth_1/approve", after: state{"issuing.authorization": {"amount": 700}}, actual: "outflow 7.00 USD"},
	{row: "stripe.setup_intents.create", target: "POST /v1/setup_intents", form: "customer=cus_1&usage=off_session"},
	{row: "stripe.payment_intents.apply_customer_balance", target: "POST /v1/payment_intents/pi_1/apply_customer_balance", after: paid, actual: "charge 10.99 USD"},
	{
		row: "stripe.terminal.readers.process_payment_intent", target: "POST /v1/terminal/readers/tmr_1/process_payment_intent",
		form: "payment_intent=pi_1&process_config[skip_tipping]=true", outcome: "pending", held: "charge 10.99 USD",
	},

	{row: "stripe.balance.retrieve", target: "GET /v1/balance?expand[]=instant_available.net_available"},
}

// newIDs are the actions whose reply has a new id: stripe-mock does not know that they act on an object.
var newIDs = map[string]bool{
	"stripe.payment_intents.increment_authorization": true, "stripe.payment_intents.apply_customer_balance": true,
	"stripe.checkout.sessions.expire": true, "stripe.terminal.readers.process_payment_intent": true,
}

// Every call goes the way that the brake goes with it: named, priced (with the probe that the row asks for),
// sent with the amount that the row sets, and read. stripe-mock accepts what fits Stripe's description.
func TestStripeTakesTheCallsAndTheTableReadsTheReplies(t *testing.T) {
	tab, stripe := table(t), start(t)
	for _, tt := range calls {
		t.Run(tt.row, func(t *testing.T) {
			stripe.t = t
			c, b := stripe.price(t, tab, tt)
			form := url.Values{}
			if tt.form != "" {
				form = values(t, tt.form)
			}
			for _, p := range b.Send {
				form.Set(p.Name, p.Value)
			}
			stripe.in(tt.after, func() {
				reply := stripe.send(request(t, c.Host, tt.target, form.Encode()))
				if newIDs[c.Operation.Name] {
					reply.Body = bytes.ReplaceAll(reply.Body, []byte(id(t, reply)), []byte(c.IDs["id"]))
				}
				stripe.read(t, tt, c, b, reply)
			})
		})
	}
}

// price names the call and finds its bound.
func (m *mock) price(t *testing.T, tab *vendors.Table, tt call) (c *vendors.Call, b vendors.Bound) {
	t.Helper()
	c = identify(t, tab, request(t, "api.stripe.com", tt.target, ""), tt.form)
	if want, _, _ := strings.Cut(tt.row, " "); c.Operation.Name != want {
		t.Fatalf("the table takes it for %s", c.Operation.Name)
	}
	if unknown, _ := c.Unlisted(c.Operation.Params); c.Operation.Class.Paid() && len(unknown) > 0 {
		t.Fatalf("the catalogue does not list %v", unknown)
	}
	if c.Operation.Bound == nil {
		return c, b
	}
	b, err := c.Operation.Bound(c, nil)
	if err == nil && b.Probe != nil {
		target := "GET " + b.Probe.Path
		if query := (url.Values{}); len(b.Probe.Query) > 0 {
			for _, p := range b.Probe.Query {
				query.Add(p.Name, p.Value)
			}
			target += "?" + query.Encode()
		}
		req := request(t, c.Host, target, "")
		if probe := identify(t, tab, req, ""); probe.Operation.Name != b.Probe.Operation {
			t.Fatalf("the probe is %s, and the row says %s", probe.Operation.Name, b.Probe.Operation)
		}
		m.in(tt.before, func() { b, err = c.Operation.Bound(c, m.send(req)) })
	}
	if err != nil || b.Kind == vendors.Unknown {
		t.Fatalf("not priced: %v %s", err, b.Why)
	}
	return c, b
}

// read asks the row what the reply proves and what it cost.
func (m *mock) read(t *testing.T, tt call, c *vendors.Call, b vendors.Bound, r *vendors.Reply) {
	t.Helper()
	outcome := vendors.ByStatus
	if c.Operation.Outcome != nil {
		outcome = c.Operation.Outcome
	}
	want := tt.outcome
	if want == "" {
		want = "executed"
	}
	if got := outcome(c, r).String(); got != want {
		t.Errorf("outcome %s, want %s", got, want)
	}
	if c.Operation.Settle == nil {
		return
	}
	s, err := c.Operation.Settle(c, b, r)
	if err != nil {
		t.Fatalf("the reply cannot be read: %v\n%s", err, r.Body)
	}
	if lines(s.Actual) != tt.actual || lines(s.Held) != tt.held {
		t.Errorf("booked %q and held %q, want %q and %q", lines(s.Actual), lines(s.Held), tt.actual, tt.held)
	}
	if s.Flag != "" || !slices.Contains(s.Objects, id(t, r)) {
		t.Errorf("flag %q, objects %v of a reply about %s", s.Flag, s.Objects, id(t, r))
	}
}

func identify(t *testing.T, tab *vendors.Table, req *http.Request, form string) *vendors.Call {
	t.Helper()
	_, c, err := tab.Identify(req, []byte(form))
	var refusal *vendors.Refusal
	if errors.As(err, &refusal) {
		t.Fatalf("the table refuses it: %v", refusal)
	}
	return c
}

func values(t *testing.T, form string) url.Values {
	t.Helper()
	v, err := url.ParseQuery(form)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func lines(ls []cost.Line) string {
	var out []string
	for _, l := range ls {
		out = append(out, string(l.Meter)+" "+l.String())
	}
	return strings.Join(out, ", ")
}

// Every rule that reads a reply reads one in Stripe's own shape, but for those that need a ceiling.
func TestEveryRuleReadsAReplyOfStripes(t *testing.T) {
	called := map[string]bool{}
	for _, tt := range calls {
		name, _, _ := strings.Cut(tt.row, " ")
		called[name] = true
	}
	ceilings := []string{ // and what others here read in the same way
		"stripe.climate.orders.create", "stripe.subscriptions.create", "stripe.subscriptions.resume", "stripe.customers.subscriptions.create",
		"stripe.subscription_items.create", "stripe.subscriptions.migrate", "stripe.customers.subscriptions.update", "stripe.customers.subscriptions.cancel", "stripe.payment_intents.verify_microdeposits",
	}
	for _, op := range table(t).Operations() {
		if op.Settle != nil && strings.HasPrefix(op.Path, "/v1/") && !called[op.Name] && !slices.Contains(ceilings, op.Name) {
			t.Errorf("no call of %s", op.Name)
		}
	}
}

// A row of kbstripe's Go that no call of the table above reaches is one that nothing has shown to be Stripe's; the
// others are made from Stripe's description.
func TestEveryRowInGoIsCalled(t *testing.T) {
	tab := table(t)
	called := map[*vendors.Operation]bool{}
	for _, tt := range calls {
		called[identify(t, tab, request(t, "api.stripe.com", tt.target, ""), tt.form).Operation] = true
	}
	costs := costs(t)
	for _, op := range tab.Operations() {
		if costs[op.Name] == "go" && !called[op] {
			t.Errorf("no call of %s (%s)", op.Name, op.Path)
		}
	}
}

// The ids that Stripe gives begin as the catalogue's paths say.
func TestTheTableKnowsTheIdsThatStripeGives(t *testing.T) {
	tab, stripe := table(t), start(t)
	for _, tt := range calls {
		resource, creates := strings.CutSuffix(tt.row, ".create")
		if !creates {
			continue
		}
		given := id(t, stripe.send(request(t, "api.stripe.com", tt.target, tt.form)))
		_, path, _ := strings.Cut(tt.target, " ")
		c := identify(t, tab, request(t, "api.stripe.com", "GET "+path+"/"+given, ""), "")
		if want := resource + ".retrieve"; c.Operation.Name != want {
			t.Errorf("%s is taken for an id of %s, want %s", given, c.Operation.Name, want)
		}
	}
}
