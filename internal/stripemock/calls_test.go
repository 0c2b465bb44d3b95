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

	{row: "stripe.balance.retrieve", target: "GET /v1/balance?expand[]=instant_available.net_available"},
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
				if strings.HasSuffix(tt.target, "/increment_authorization") {
					// The one action whose reply has a new id: stripe-mock does not know that it acts on an object.
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
