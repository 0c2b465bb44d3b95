package kbstripe

import (
	"maps"
	"slices"
	"time"

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
