package kbstripe

import (
	"cmp"
	"errors"
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/vendors"
)

const day = 24 * time.Hour

// The shelves. Which lists can be asked for a time, and what they leave out unless asked, is Stripe's description's word;
// GET /v1/subscriptions alone leaves something out.
var (
	intents       = shelf{name: "payment_intents", path: "/v1/payment_intents", prefix: "pi_", kind: "payment_intent", amount: "amount", dated: true}
	payments      = shelf{name: "charges", path: "/v1/charges", prefix: "ch_ py_", kind: "charge", amount: "amount", dated: true}
	refundsMade   = shelf{name: "refunds", path: "/v1/refunds", prefix: "re_ pyr_", kind: "refund", amount: "amount", dated: true}
	transfersMade = shelf{name: "transfers", path: "/v1/transfers", prefix: "tr_", kind: "transfer", amount: "amount", dated: true}
	reversals     = shelf{name: "transfers.reversals", path: "/v1/transfers/{id}/reversals", prefix: "trr_", kind: "transfer_reversal", amount: "amount"}
	payoutsMade   = shelf{name: "payouts", path: "/v1/payouts", prefix: "po_", kind: "payout", amount: "amount", dated: true}
	topups        = shelf{name: "topups", path: "/v1/topups", prefix: "tu_", kind: "topup", amount: "amount", dated: true}
	feeRefunds    = shelf{name: "application_fees.refunds", path: "/v1/application_fees/{id}/refunds", prefix: "fr_", kind: "fee_refund", amount: "amount"}
	bills         = shelf{name: "invoices", path: "/v1/invoices", prefix: "in_", kind: "invoice", dated: true}
	billItems     = shelf{name: "invoiceitems", path: "/v1/invoiceitems", prefix: "ii_", kind: "invoiceitem", amount: "amount", dated: true}
	creditNotes   = shelf{name: "credit_notes", path: "/v1/credit_notes", prefix: "cn_", kind: "credit_note", amount: "amount", dated: true}
	balanceMoves  = shelf{name: "customers.balance_transactions", path: "/v1/customers/{id}/balance_transactions", prefix: "cbtxn_", kind: "customer_balance_transaction", amount: "amount", dated: true}
	grants        = shelf{name: "billing.credit_grants", path: "/v1/billing/credit_grants", prefix: "credgr_", kind: "billing.credit_grant"}
	orders        = shelf{name: "climate.orders", path: "/v1/climate/orders", prefix: "climorder_", kind: "climate.order", amount: "amount_total"}
	disputesHad   = shelf{name: "disputes", path: "/v1/disputes", prefix: "dp_ du_", kind: "dispute", amount: "amount"}
	approvals     = shelf{name: "issuing.authorizations", path: "/v1/issuing/authorizations", prefix: "iauth_", kind: "issuing.authorization", amount: "amount"}
	quotesMade    = shelf{name: "quotes", path: "/v1/quotes", prefix: "qt_", kind: "quote"}
	sessions      = shelf{name: "checkout.sessions", path: "/v1/checkout/sessions", prefix: "cs_", kind: "checkout.session", amount: "amount_total", dated: true}
	links         = shelf{name: "payment_links", path: "/v1/payment_links", prefix: "plink_", kind: "payment_link"}
	subscriptions = shelf{name: "subscriptions", path: "/v1/subscriptions", prefix: "sub_", kind: "subscription", dated: true, always: []vendors.Param{{Name: "status", Value: "all"}}}
	subItems      = shelf{name: "subscription_items", path: "/v1/subscription_items", prefix: "si_", kind: "subscription_item", by: "subscription"}
	schedules     = shelf{name: "subscription_schedules", path: "/v1/subscription_schedules", prefix: "sub_sched_", kind: "subscription_schedule", dated: true}
	outPayments   = shelf{name: "treasury.outbound_payments", path: "/v1/treasury/outbound_payments", prefix: "obp_", kind: "treasury.outbound_payment", amount: "amount", dated: true, by: "financial_account"}
	outTransfers  = shelf{name: "treasury.outbound_transfers", path: "/v1/treasury/outbound_transfers", prefix: "obt_", kind: "treasury.outbound_transfer", amount: "amount", by: "financial_account"}
	inTransfers   = shelf{name: "treasury.inbound_transfers", path: "/v1/treasury/inbound_transfers", prefix: "ibt_", kind: "treasury.inbound_transfer", amount: "amount", by: "financial_account"}
	credits       = shelf{name: "treasury.received_credits", path: "/v1/treasury/received_credits", prefix: "rc_", kind: "treasury.received_credit"}
	debits        = shelf{name: "treasury.received_debits", path: "/v1/treasury/received_debits", prefix: "rd_", kind: "treasury.received_debit"}
	creditsBack   = shelf{name: "treasury.credit_reversals", path: "/v1/treasury/credit_reversals", prefix: "credrev_", kind: "treasury.credit_reversal", amount: "amount"}
	debitsBack    = shelf{name: "treasury.debit_reversals", path: "/v1/treasury/debit_reversals", prefix: "debrev_", kind: "treasury.debit_reversal", amount: "amount"}
	outboundV2    = shelf{name: "v2.money_management.outbound_payments", path: "/v2/money_management/outbound_payments", prefix: "obp_", kind: "v2.money_management.outbound_payment"}
	inboundV2     = shelf{name: "v2.money_management.inbound_transfers", path: "/v2/money_management/inbound_transfers", prefix: "ibt_", kind: "v2.money_management.inbound_transfer"}
)

// payoutReturns is how long after the call a payout that shows as paid, or a payment that shows as posted, can still come
// back: within five business days of its arrival.
const payoutReturns = 14 * day

// evidences are where Stripe shows what became of a call, by its operation.
func evidences() map[string]evidence {
	refund := evidence{shelf: refundsMade, settle: settleOutflow("refund", refundStatus)}
	invoice := evidence{shelf: bills, own: pathID, settle: settleBill}
	intent := evidence{shelf: intents, own: pathID, settle: settleSeenIntent}
	all := map[string]evidence{
		"stripe.payment_intents.create":                  {shelf: intents, settle: settleSeenIntent},
		"stripe.payment_intents.update":                  intent.when(tellsAmount),
		"stripe.payment_intents.confirm":                 intent.when(tellsPaid),
		"stripe.payment_intents.apply_customer_balance":  intent.when(tellsPaid),
		"stripe.payment_intents.verify_microdeposits":    intent.when(tellsPaid),
		"stripe.payment_intents.increment_authorization": intent.when(tellsAmount),
		"stripe.payment_intents.capture":                 {shelf: intents, find: findCapture},
		"stripe.payment_intents.cancel":                  intent.when(over("canceled")),
		"stripe.terminal.readers.process_payment_intent": {shelf: intents, own: sentID("payment_intent"), tells: tellsPaid, settle: settleSeenIntent},
		"stripe.terminal.readers.confirm_payment_intent": {shelf: intents, own: sentID("payment_intent"), tells: tellsPaid, settle: settleSeenIntent},

		"stripe.charges.create":  {shelf: payments, settle: settleSeenCharge},
		"stripe.charges.capture": {shelf: payments, own: pathID, tells: tellsCaptured, settle: settleSeenCharge},

		"stripe.refunds.create":                  refund,
		"stripe.refunds.cancel":                  {shelf: refundsMade, own: pathID, tells: over("canceled"), settle: ended},
		"stripe.charges.refund":                  refund,
		"stripe.charges.refunds.create":          refund,
		"stripe.terminal.readers.refund_payment": refund,

		"stripe.transfers.create":                {shelf: transfersMade},
		"stripe.transfers.reversals.create":      {shelf: reversals},
		"stripe.application_fees.refunds.create": {shelf: feeRefunds},
		"stripe.payouts.create":                  {shelf: payoutsMade, comesBack: payoutReturns},
		"stripe.payouts.cancel":                  {shelf: payoutsMade, own: pathID, tells: over("canceled"), settle: ended},
		"stripe.payouts.reverse":                 {shelf: payoutsMade, find: findReversedPayout, comesBack: payoutReturns},
		"stripe.topups.create":                   {shelf: topups},
		"stripe.topups.cancel":                   {shelf: topups, own: pathID, tells: over("canceled"), settle: ended},

		"stripe.treasury.outbound_payments.create":  {shelf: outPayments, comesBack: payoutReturns},
		"stripe.treasury.outbound_payments.cancel":  {shelf: outPayments, own: pathID, tells: over("canceled"), settle: ended},
		"stripe.treasury.outbound_transfers.create": {shelf: outTransfers, comesBack: payoutReturns},
		"stripe.treasury.outbound_transfers.cancel": {shelf: outTransfers, own: pathID, tells: over("canceled"), settle: ended},
		"stripe.treasury.inbound_transfers.create":  {shelf: inTransfers},
		"stripe.treasury.inbound_transfers.cancel":  {shelf: inTransfers, own: pathID, tells: over("canceled"), settle: ended},
		"stripe.treasury.credit_reversals.create":   {shelf: creditsBack, find: findReversal(credits, "received_credit", "credit_reversal"), comesBack: payoutReturns},
		"stripe.treasury.debit_reversals.create":    {shelf: debitsBack, find: findReversal(debits, "received_debit", "debit_reversal")},

		"stripe.invoices.create":             {shelf: bills, settle: settleBill},
		"stripe.invoices.update":             invoice.when(tellsArmed),
		"stripe.invoices.add_lines":          invoice.when(tellsNothing),
		"stripe.invoices.finalize":           invoice.when(over("open", "paid", "void", "uncollectible")),
		"stripe.invoices.send":               invoice.when(over("paid", "void")),
		"stripe.invoices.pay":                invoice.when(over("paid", "void")),
		"stripe.invoices.void":               invoice.when(over("void")),
		"stripe.invoices.mark_uncollectible": {shelf: bills, own: pathID, tells: over("uncollectible"), settle: ended},
		"stripe.invoiceitems.create":         {shelf: billItems, find: findItem},
		"stripe.credit_notes.create":         {shelf: creditNotes},

		"stripe.customers.balance_transactions.create": {shelf: balanceMoves},
		"stripe.billing.credit_grants.create":          {shelf: grants},
		"stripe.climate.orders.create":                 {shelf: orders},
		"stripe.disputes.close":                        {shelf: disputesHad, own: pathID, tells: disputesHad.shows(over("lost"))},
		"stripe.charges.dispute.close":                 {shelf: disputesHad, find: findDispute},
		"stripe.issuing.authorizations.approve":        {shelf: approvals, own: pathID, tells: approvals.shows(tellsApproved), comesBack: 7 * day},

		"stripe.checkout.sessions.create": {shelf: sessions},
		"stripe.checkout.sessions.expire": {shelf: sessions, own: pathID, tells: over("expired"), settle: ended},
		"stripe.payment_links.create":     {shelf: links, find: findLink},
		"stripe.payment_links.update":     {shelf: links, own: pathID, tells: tellsOff, settle: ended},
		"stripe.quotes.accept":            {shelf: quotesMade, find: findAccepted},

		"stripe.subscriptions.create":           {shelf: subscriptions, find: findSubscription},
		"stripe.customers.subscriptions.create": {shelf: subscriptions, find: findSubscription},
		"stripe.subscriptions.update":           {shelf: subscriptions, find: findInvoiced},
		"stripe.customers.subscriptions.update": {shelf: subscriptions, find: findInvoiced},
		"stripe.subscriptions.resume":           {shelf: subscriptions, find: findInvoiced},
		"stripe.subscriptions.migrate":          {shelf: subscriptions, find: findInvoiced},
		"stripe.subscriptions.cancel":           {shelf: subscriptions, own: pathID, tells: over("canceled", "incomplete_expired")},
		"stripe.customers.subscriptions.cancel": {shelf: subscriptions, own: pathID, tells: over("canceled", "incomplete_expired")},
		"stripe.subscription_items.create":      {shelf: subItems, settle: bookedBound},
		"stripe.subscription_schedules.create":  {shelf: schedules, settle: bookedBound},
		"stripe.subscription_schedules.cancel":  {shelf: schedules, own: pathID, tells: over("canceled")},

		"stripe.v2.money_management.outbound_payments.create": {shelf: outboundV2, comesBack: payoutReturns},
		"stripe.v2.money_management.outbound_payments.cancel": {shelf: outboundV2, own: pathID, tells: over("canceled"), settle: ended},
		"stripe.v2.money_management.inbound_transfers.create": {shelf: inboundV2, settle: settleSeenInbound, comesBack: payoutReturns},
	}
	return all
}

// when is e for an operation whose execution shows in its object by that.
func (e evidence) when(tells func(*vendors.Case, *reader) string) evidence {
	e.tells = tells
	return e
}

// traced are the parameters that the looks need: ids, amounts and modes; nothing that names a customer.
var traced = []string{
	"active", "amount", "amount[currency]", "amount[value]", "amount_to_capture", "amount_to_confirm", "auto_advance", "capture",
	"charge", "currency", "final_capture", "financial_account", "from[currency]", "invoice", "invoice_now", "method", "mode",
	"paid_out_of_band", "payment_intent", "prorate", "received_credit", "received_debit", "subscription",
}

// trace are those of them that the operation takes.
func trace(s vendors.Schema) (names []string) {
	for _, name := range traced {
		if slices.Contains(s.Plain, name) || slices.Contains(s.Redirects, name) {
			names = append(names, name)
		}
	}
	return names
}

// withEvidence gives every write its Trace, Reconcile and Stamp.
func withEvidence(ops []vendors.Operation) {
	all := maps.Clone(evidences())
	for i := range ops {
		op := &ops[i]
		if op.Class == vendors.Read || op.HardDeny != "" {
			continue
		}
		op.Reconcile = reconcileFree
		if e, ok := all[op.Name]; ok {
			op.Reconcile, op.Trace = e.reconcile(*op), trace(op.Params)
		}
		op.Stamp = stampOf(op)
	}
}

// shows is that, and that the object is of the amount that the call was to move.
func (p shelf) shows(tells func(*vendors.Case, *reader) string) func(*vendors.Case, *reader) string {
	return func(c *vendors.Case, o *reader) string {
		if why := tells(c, o); why != "" {
			return why
		}
		return p.differs(c.Bound, o)
	}
}

// tellsAmount: the intent has the amount and currency that the call was to give it.
func tellsAmount(c *vendors.Case, o *reader) string {
	currency := o.currency()
	if o.amount("amount") != reserved(c.Bound, currency) || len(c.Bound.Lines) == 0 {
		return "the intent has another amount than the call was to give it"
	}
	return ""
}

// tellsPaid: the intent's money is taken, authorised or on its way, or can be taken no more. While it waits, a decline
// and a call that never arrived look the same. That another confirmation of the same intent has taken it, and is booked
// itself, its state does not tell: then it is booked twice, which is the safe side. A capture is always another call.
func tellsPaid(c *vendors.Case, o *reader) string {
	if o.maybe("capture_method") == "manual" && o.maybe("status") == "succeeded" {
		return "the intent was captured since, by a call that is booked itself if it was made here"
	}
	if why := over("succeeded", "processing", "requires_action", "requires_capture", "canceled")(c, o); why != "" {
		return why
	}
	amount, limit := max(o.amount("amount"), o.amount("amount_received")), reserved(c.Bound, o.currency())
	if o.text("status") != "canceled" && (amount > limit || c.Bound.Kind == vendors.Exact && amount < limit) {
		return "the intent has another amount than the call was to confirm"
	}
	return ""
}

// settleSeenIntent books all that the intent has received: no earlier call of this hold has booked of it.
func settleSeenIntent(c *vendors.Call, b vendors.Bound, r *vendors.Reply) (vendors.Settlement, error) {
	in, err := readIntent(readReply(r, "payment_intent"))
	if err != nil {
		return vendors.Settlement{}, err
	}
	level := levels[in.status]
	if level == nil {
		return vendors.Settlement{}, errStatus
	}
	b.Kind = vendors.AtMost // it may have been captured for less since, or canceled
	s := vendors.Settlement{Object: in.id, Objects: ids(in.id, in.charge), Again: in.again()}
	held := level(in)
	if in.open() {
		held = max(held, reserved(b, in.currency))
	}
	return settled(s, b, cost.Charge, in.of(in.received), in.of(held))
}

// settleSeenInbound is settleV2Inbound of a debit whose history may have ended: one that failed, or was returned, has
// taken nothing.
func settleSeenInbound(c *vendors.Call, b vendors.Bound, r *vendors.Reply) (vendors.Settlement, error) {
	s, err := settleV2Inbound(c, b, r)
	tree, _ := vendors.DecodeJSON(r.Body)
	v, _ := vendors.Member(tree, "transfer_history")
	history, ok := v.([]any)
	if err == nil && !ok {
		err = errors.New("kbstripe: the reply's transfer_history is not a list")
	}
	for _, v := range history {
		if what := (&reader{tree: v}).maybe("type"); what == "bank_debit_failed" || what == "bank_debit_returned" {
			s.Actual, s.Again = nil, 0
		}
	}
	return s, err
}

// findCapture reads the intent. What it has received is the sum of all its captures, so that it tells of one only where
// nothing was captured before, which is when the bound was exact.
func findCapture(t *teller) vendors.Finding {
	r := t.object(t.e.shelf, pathID(t.Call))
	if r == nil {
		return t.finding
	}
	in, err := readIntent(readReply(r, "payment_intent"))
	switch {
	case err != nil:
		return vendors.Finding{Why: plain(err)}
	case !t.Doubt:
		return t.captured(in)
	case in.status == "canceled" && in.received == 0:
		return t.costs(r, in.status)
	case t.Bound.Kind != vendors.Exact:
		return vendors.Finding{Why: "the intent was captured in parts, and what it has received does not tell which of them"}
	}
	asked := reserved(t.Bound, in.currency)
	if text, ok := t.Call.Get("amount_to_capture"); ok {
		if asked, err = cost.ParseCount(text); err != nil {
			return vendors.Finding{Why: "what was to be captured is not known any more"}
		}
	}
	if asked == 0 || in.received != asked {
		return vendors.Finding{Why: "what the intent has received is not what was to be captured"}
	}
	return t.costs(r, in.status)
}

// captured is a capture that was read before: what it has booked stands, and what it still holds goes by the intent.
func (t *teller) captured(in intent) vendors.Finding {
	level := levels[in.status]
	if level == nil {
		return vendors.Finding{Why: plain(errStatus)}
	}
	s := vendors.Settlement{Actual: t.Booked, Object: in.id, Objects: ids(in.id, in.charge), Again: in.again()}
	var err error
	if s.Held, err = in.of(level(in)).lines(cost.Charge); err != nil {
		return vendors.Finding{Why: "the intent's amount cannot be read"}
	}
	return t.found(s, in.status)
}

// tellsCaptured: the charge was captured for what the call asked, or was released.
func tellsCaptured(c *vendors.Case, o *reader) string {
	p, err := readCharge(o)
	switch {
	case err != nil:
		return plain(err)
	case !p.complete && p.left() > 0:
		return "the charge is not captured"
	case p.complete && p.taken() != reserved(c.Bound, p.currency):
		return "the charge was captured for another amount than the call's"
	}
	return ""
}

// settleSeenCharge is settleCharge of a charge that may have been captured in part, or released, since.
func settleSeenCharge(c *vendors.Call, b vendors.Bound, r *vendors.Reply) (vendors.Settlement, error) {
	b.Kind = vendors.AtMost
	s, err := settleCharge(c, b, r)
	if sum(s.Held) == 0 {
		s.Again = 0
	}
	return s, err
}

// findReversedPayout: a payout is reversed once, and then names the payout that reverses it.
func findReversedPayout(t *teller) vendors.Finding {
	if !t.Doubt {
		return vendors.Finding{Outcome: vendors.Executed, Cost: vendors.Settlement{Actual: t.Booked}}
	}
	original := t.object(payoutsMade, pathID(t.Call))
	if original == nil {
		return t.finding
	}
	by := readReply(original, "payout").maybe("reversed_by")
	if by == "" {
		return vendors.Finding{Why: "the payout does not show that it was reversed"}
	}
	r := t.object(payoutsMade, by)
	if r == nil {
		return t.finding
	}
	o := readReply(r, "payout")
	switch {
	case o.maybe("original_payout") != pathID(t.Call):
		return vendors.Finding{Why: "the payout that was found reverses another"}
	case t.Mark != "" && o.mark() != t.Mark:
		return vendors.Finding{Why: "the payout was reversed by another call"}
	}
	if why := t.e.differs(t.Bound, o); why != "" {
		return vendors.Finding{Why: why}
	}
	s := vendors.Settlement{Actual: t.Bound.Lines, Objects: ids(by, pathID(t.Call))}
	if status := o.text("status"); status == "failed" || status == "canceled" {
		s.Actual = nil
	}
	return t.found(s, "")
}

// findReversal: what was received names the flow that reverses it.
func findReversal(of shelf, param, flow string) func(*teller) vendors.Finding {
	return func(t *teller) vendors.Finding {
		id := t.named()
		if id == "" {
			received := t.object(of, sentID(param)(t.Call))
			if received == nil {
				return t.finding
			}
			o := readReply(received, of.kind)
			if id = o.part("linked_flows").maybe(flow); id == "" {
				return vendors.Finding{Why: "what was received does not show that it was reversed"}
			}
		}
		r := t.object(t.e.shelf, id)
		if r == nil {
			return t.finding
		}
		o := readReply(r, t.e.kind)
		if t.Doubt && t.Mark != "" && o.mark() != t.Mark {
			return vendors.Finding{Why: "it was reversed by another call"}
		}
		return t.says(r)
	}
}

// findDispute reads the dispute of the path's charge.
func findDispute(t *teller) vendors.Finding {
	charge := pathID(t.Call)
	r := t.ask("charges.dispute.retrieve", "/v1/charges/"+charge+"/dispute")
	if r == nil {
		return t.finding
	}
	o := readReply(r, "dispute")
	if r.Status != http.StatusOK || o.maybe("charge") != charge || !disputesHad.has(o.maybe("id")) {
		return vendors.Finding{Why: "Stripe does not show the charge's dispute"}
	}
	if why := disputesHad.shows(over("lost"))(t.Case, o); why != "" || o.err != nil {
		return vendors.Finding{Why: cmp.Or(why, "the dispute cannot be read")}
	}
	return t.costs(r, "lost")
}

// tellsArmed: the invoice advances by itself, or has been finalised.
func tellsArmed(_ *vendors.Case, o *reader) string {
	in, err := readInvoice(o)
	switch {
	case err != nil:
		return plain(err)
	case in.status == "draft" && !in.advances:
		return "the invoice is a draft that does not advance by itself"
	}
	return ""
}

// tellsNothing: what was due before the call is not known any more, so that the sum does not tell whether it was made.
func tellsNothing(*vendors.Case, *reader) string {
	return "the invoice shows its sum, and not whether the lines were added"
}

// settleBill books what was paid of an invoice and holds what is left. A draft keeps what was reserved for it, if that
// is more; an uncollectible invoice can still be paid, a void one cannot.
func settleBill(c *vendors.Call, b vendors.Bound, r *vendors.Reply) (vendors.Settlement, error) {
	in, err := readInvoice(readReply(r, "invoice"))
	if err != nil {
		return vendors.Settlement{}, err
	}
	s := vendors.Settlement{Object: in.id, Objects: ids(in.id), Again: soon}
	limit := reserved(b, in.currency)
	booked, held := in.paid, in.left
	if before := c.Operation.Name == "stripe.invoices.pay" && b.Kind != vendors.Exact; before && limit > 0 {
		booked = min(booked, limit) // what was paid before is booked already
	}
	switch in.status {
	case "draft":
		booked, held = 0, max(sumDue(in), limit)
	case "paid", "void":
		s.Again, held = 0, 0
	case "open", "uncollectible":
	default:
		return vendors.Settlement{}, errInvoice
	}
	if outside, _ := c.Get("paid_out_of_band"); outside == "true" {
		booked = 0
	}
	b.Kind = vendors.AtMost // credit may have lowered it since
	return settled(s, b, cost.Charge, in.of(booked), in.of(held))
}

// findItem reads the item, and once an invoice has taken it up, the invoice. An item whose call has named its invoice
// holds on that.
func findItem(t *teller) vendors.Finding {
	on := t.Bound.Object
	var item *vendors.Reply
	if t.Doubt || on == "" {
		id := t.named()
		if id == "" {
			if id = t.marked(); id == "" {
				return t.finding
			}
		}
		if item = t.object(billItems, id); item == nil {
			return t.finding
		}
		o := readReply(item, "invoiceitem")
		if t.Doubt {
			if why := t.differsItem(o); why != "" {
				return vendors.Finding{Why: why}
			}
		}
		if on == "" {
			on = o.maybe("invoice")
		}
	}
	if on == "" {
		return t.costs(item, "")
	}
	r := t.object(bills, on)
	if r == nil {
		return t.finding
	}
	if t.Bound.Object != "" {
		s, err := settleBill(t.Call, t.Bound, r)
		if err != nil {
			return vendors.Finding{Why: plain(err)}
		}
		return t.found(s, "")
	}
	return t.item(item, r)
}

// differsItem compares an item that adds to a named invoice with nothing: the bound is the invoice's whole level.
func (t *teller) differsItem(o *reader) string {
	if t.Bound.Object == "" {
		return t.e.differs(t.Bound, o)
	}
	if o.maybe("invoice") != t.Bound.Object {
		return "the item that was found is on another invoice"
	}
	return ""
}

// item is what an item costs that an invoice has taken up: all of it once that is paid, nothing once that is void.
func (t *teller) item(item, bill *vendors.Reply) vendors.Finding {
	o := readReply(item, "invoiceitem")
	id, m := o.text("id"), money{o.amount("amount"), o.currency()}
	in, err := readInvoice(readReply(bill, "invoice"))
	if o.err != nil || err != nil {
		return vendors.Finding{Why: "the item or its invoice cannot be read"}
	}
	none := money{currency: m.currency}
	s := vendors.Settlement{Object: id, Objects: ids(id, in.id)}
	switch in.status {
	case "paid":
		s, err = settled(s, t.Bound, cost.Charge, m, none)
	case "void":
		s, err = settled(s, t.Bound, cost.Charge, none, none)
	default:
		s.Again = withinWeek
		s, err = settled(s, t.Bound, cost.Charge, none, m)
	}
	if err != nil {
		return vendors.Finding{Why: plain(err)}
	}
	return t.found(s, "")
}

func tellsApproved(_ *vendors.Case, o *reader) string {
	if approved := o.truth("approved"); o.err == nil && !approved {
		return "the authorization is not approved"
	}
	return ""
}

func tellsOff(_ *vendors.Case, o *reader) string {
	if active := o.truth("active"); o.err == nil && active {
		return "the link is still on"
	}
	return ""
}

// findLink reads a payment link and the sessions that were opened by it: what was paid by it is booked, and what it can
// still take is held, all of it while the link is on.
func findLink(t *teller) vendors.Finding {
	id := t.named()
	if id == "" {
		if id = t.marked(); id == "" {
			return t.finding
		}
	}
	r := t.object(links, id)
	if r == nil {
		return t.finding
	}
	o := readReply(r, "payment_link")
	active := o.truth("active")
	if o.err != nil || len(t.Bound.Lines) == 0 {
		return vendors.Finding{Why: "the link cannot be read, or what was reserved for it is not known"}
	}
	currency := t.Bound.Lines[0].Currency
	paid, open, ok := t.sessions(id, currency)
	if !ok {
		return t.finding
	}
	s := vendors.Settlement{Object: id, Objects: ids(id), Again: withinWeek}
	left := max(0, reserved(t.Bound, currency)-paid)
	if !active {
		left = min(left, open)
	}
	var err error
	if s.Actual, err = (money{paid, currency}).lines(cost.Charge); err == nil {
		s.Held, err = money{left, currency}.lines(cost.Charge)
	}
	if err != nil {
		return vendors.Finding{Why: plain(err)}
	}
	return t.found(s, "")
}

// sessions adds up the sessions of a payment link: what was paid in them, and what can still be.
func (t *teller) sessions(link string, currency cost.Currency) (paid, open int64, ok bool) {
	after := ""
	for {
		query := []vendors.Param{{Name: "payment_link", Value: link}, {Name: "limit", Value: "100"}}
		if after != "" {
			query = append(query, vendors.Param{Name: "starting_after", Value: after})
		}
		r := t.ask("checkout.sessions.list", "/v1/checkout/sessions", query...)
		if r == nil {
			_ = t.unlessTooMany()
			return 0, 0, false
		}
		o, data := t.page(r)
		if o == nil {
			return 0, 0, false
		}
		for _, v := range data {
			session := readObject(v, "checkout.session")
			after = session.text("id")
			status, state := session.text("status"), session.text("payment_status")
			amount, in := session.amount("amount_total"), session.currency()
			sum, err := cost.Add(paid, amount)
			switch {
			case session.err != nil || err != nil || in != currency || !sessions.has(after):
				t.stop("a session of the link cannot be read, or is in another currency")
				return 0, 0, false
			case status == "complete" && state == "paid":
				paid = sum
			case status != "expired":
				open += amount
			}
		}
		switch more := o.truth("has_more"); {
		case o.err != nil || more && len(data) == 0:
			t.stop("the list of the link's sessions does not go on")
			return 0, 0, false
		case !more:
			return paid, open, true
		}
	}
}

// findAccepted reads the quote, and then the invoice that its acceptance has made.
func findAccepted(t *teller) vendors.Finding {
	r := t.object(quotesMade, pathID(t.Call))
	if r == nil {
		return t.finding
	}
	o := readReply(r, "quote")
	if why := over("accepted")(t.Case, o); why != "" {
		return vendors.Finding{Why: why}
	}
	invoice := o.maybe("invoice")
	if !bills.has(invoice) {
		return t.costs(r, "accepted")
	}
	bill := t.object(bills, invoice)
	if bill == nil {
		return t.finding
	}
	return t.billed(bill, o.maybe("subscription") != "")
}

// billed is what an invoice tells of the call that made it.
func (t *teller) billed(bill *vendors.Reply, recurs bool) vendors.Finding {
	s, err := settleBill(t.Call, t.Bound, bill)
	if err != nil {
		return vendors.Finding{Why: plain(err)}
	}
	if recurs && s.Flag == "" {
		s.Flag = "recurring"
	}
	return t.found(s, "")
}

// findSubscription reads the subscription that carries the mark, and its first invoice. Later invoices are later
// cycles: which no call has made.
func findSubscription(t *teller) vendors.Finding {
	if bill := t.namedInvoice(); bill != "" {
		return t.invoiceOf(bill)
	}
	id := t.named()
	if id == "" {
		if id = t.marked(); id == "" {
			return t.finding
		}
	}
	r := t.object(subscriptions, id)
	if r == nil {
		return t.finding
	}
	bill := readReply(r, "subscription").maybe("latest_invoice")
	if !bills.has(bill) {
		return t.costs(r, "active")
	}
	return t.invoiceOf(bill)
}

// findInvoiced looks up the invoice that a change of a subscription has made, where its reply has named it. Whether a
// change was made, no state of the subscription tells: its next call may have made it too.
func findInvoiced(t *teller) vendors.Finding {
	bill := t.namedInvoice()
	if bill == "" {
		return vendors.Finding{Why: "no reply has named the invoice that the change of the subscription has made, if it was made"}
	}
	return t.invoiceOf(bill)
}

func (t *teller) namedInvoice() string {
	for _, id := range t.Objects {
		if bills.has(id) {
			return id
		}
	}
	return ""
}

// invoiceOf reads an invoice that a call on a subscription has made, and none of a later cycle.
func (t *teller) invoiceOf(id string) vendors.Finding {
	bill := t.object(bills, id)
	if bill == nil {
		return t.finding
	}
	if why := readReply(bill, "invoice").maybe("billing_reason"); why == "subscription_cycle" || why == "subscription_threshold" {
		return vendors.Finding{Why: "the invoice that was found is of a later cycle"}
	}
	return t.billed(bill, true)
}
