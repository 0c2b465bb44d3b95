package kbstripe

import (
	"errors"
	"net/http"
	"regexp"
	"strings"

	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/reason"
	"github.com/keybrake/keybrake-go/vendors"
)

// moveRules move one amount, which is in the call or stands on one object.
var moveRules = map[string]rule{
	// What it debits is the whole payout. The reply is the new payout, and what was read before is booked.
	"stripe.payouts.reverse": {bound: standing{"payouts.retrieve", "/v1/payouts/", "payout", named("amount")}.bound(cost.Charge)},

	"stripe.transfers.reversals.create":         {bound: reversedTransfer.part(cost.Charge), settle: settleMoved(cost.Charge, "transfer_reversal", nil)},
	"stripe.application_fees.refunds.create":    {bound: refundedFee.part(cost.Outflow), settle: settleOutflow("fee_refund", nil)},
	"stripe.application_fees.refund":            {bound: refundedFee.part(cost.Outflow)}, // it answers with the fee
	"stripe.topups.create":                      {boundSent(cost.Charge), outcome("pending"), settleMoved(cost.Charge, "topup", topupStatus)},
	"stripe.treasury.outbound_payments.create":  {boundSent(cost.Outflow), outcome("processing"), settleOutflow("treasury.outbound_payment", movedStatus)},
	"stripe.treasury.outbound_transfers.create": {boundSent(cost.Outflow), outcome("processing"), settleOutflow("treasury.outbound_transfer", movedStatus)},
	"stripe.treasury.inbound_transfers.create":  {boundSent(cost.Charge), outcome("processing"), settleMoved(cost.Charge, "treasury.inbound_transfer", inboundStatus)},
	"stripe.treasury.credit_reversals.create":   {boundReversal("received_credit", "rc_", cost.Outflow), outcome("processing"), settleOutflow("treasury.credit_reversal", reversalStatus)},
	"stripe.treasury.debit_reversals.create":    {boundReversal("received_debit", "rd_", cost.Charge), outcome("processing"), settleMoved(cost.Charge, "treasury.debit_reversal", reversalStatus)},

	"stripe.customers.balance_transactions.create": {boundBalance, nil, settleBalance},
	"stripe.billing.credit_grants.create":          {boundGrant, nil, settleGrant},
	"stripe.climate.orders.create":                 {boundClimate, nil, settleClimate},
	"stripe.disputes.close":                        {bound: standing{"disputes.retrieve", "/v1/disputes/", "dispute", named("amount")}.bound(cost.Outflow), settle: settleOutflow("dispute", disputeStatus)},
	"stripe.charges.dispute.close":                 {boundChargeDispute, nil, settleOutflow("dispute", disputeStatus)},
	"stripe.issuing.authorizations.approve":        {boundApproval, nil, settleApproval},
	"stripe.setup_intents.create":                  {bound: boundSetup},
	"stripe.setup_intents.update":                  {bound: boundSetup},
	"stripe.setup_intents.confirm":                 {bound: boundSetup},
	"stripe.setup_intents.verify_microdeposits":    {bound: boundNothing}, // amounts[] are what the customer saw, not money

	"stripe.payment_intents.apply_customer_balance": {boundIntentWhole, outcomeIntent, settleIntent(takesReceived)},
	"stripe.payment_intents.verify_microdeposits":   {boundIntentWhole, outcomeIntent, settleIntent(takesReceived)},

	"stripe.terminal.readers.process_payment_intent": {boundReader, outcomeReader, settleReader},
	"stripe.terminal.readers.process_setup_intent":   {bound: boundNothing},                        // as a setup intent's own confirm
	"stripe.terminal.readers.refund_payment":         {bound: boundRefund, outcome: outcomeReader}, // the reader answers, not the refund
}

var (
	reversedTransfer = standing{"transfers.retrieve", "/v1/transfers/", "transfer", remaining("amount", "amount_reversed")}
	refundedFee      = standing{"application_fees.retrieve", "/v1/application_fees/", "application_fee", remaining("amount", "amount_refunded")}
)

// Whether money in that status counts as moved. A top-up that failed, was canceled or was taken back is not there.
var (
	topupStatus    = map[string]bool{"pending": true, "succeeded": true, "failed": false, "canceled": false, "reversed": false}
	inboundStatus  = map[string]bool{"processing": true, "succeeded": true, "failed": false, "canceled": false}
	reversalStatus = map[string]bool{"processing": true, "posted": true, "succeeded": true, "failed": false, "canceled": false}
	disputeStatus  = map[string]bool{"lost": true}
)

// remaining is what of one field another does not cover yet.
func remaining(whole, used string) func(*reader) int64 {
	return func(o *reader) int64 {
		left := o.amount(whole) - o.amount(used)
		if left < 0 {
			o.fail(used, "within "+whole)
			return 0
		}
		return left
	}
}

// part is the amount sent, or all that is left, and sends it explicitly. The currency is the object's.
func (s standing) part(meter cost.Meter) func(*vendors.Call, *vendors.Reply) (vendors.Bound, error) {
	return func(c *vendors.Call, seen *vendors.Reply) (vendors.Bound, error) {
		asked, given, err := sentAmount(c, "amount")
		switch {
		case err != nil:
			return vendors.Bound{}, err
		case c.Has("directive"):
			return unknown("directive is not documented, so what it does is not known; leave it out, or give the rule a ceiling"), nil
		case seen == nil:
			return s.look(c.IDs["id"]), nil
		}
		_, m, err := s.read(c.IDs["id"], seen)
		switch {
		case err != nil:
			return vendors.Bound{}, err
		case m.minor == 0:
			return vendors.Bound{}, vendors.Refuse(reason.ParamInvalid, "nothing is left of the %s", s.kind)
		case given && asked > m.minor:
			return vendors.Bound{}, invalid("amount", "it is more than is left")
		case given:
			m.minor = asked
		}
		b, err := m.bound(meter, "amount")
		b.Send = []vendors.Param{{Name: "amount", Value: digits(m.minor)}}
		return b, err
	}
}

// boundSent is the amount and currency of the call.
func boundSent(meter cost.Meter) func(*vendors.Call, *vendors.Reply) (vendors.Bound, error) {
	return func(c *vendors.Call, _ *vendors.Reply) (vendors.Bound, error) {
		m, err := needMoney(c)
		if err != nil {
			return vendors.Bound{}, err
		}
		return m.bound(meter, "amount")
	}
}

// boundReversal is the whole of the credit or debit that the call names.
func boundReversal(param, prefix string, meter cost.Meter) func(*vendors.Call, *vendors.Reply) (vendors.Bound, error) {
	id := regexp.MustCompile(`^` + prefix + `[A-Za-z0-9_]{1,251}$`)
	s := standing{"treasury." + param + "s.retrieve", "/v1/treasury/" + param + "s/", "treasury." + param, named("amount")}
	return func(c *vendors.Call, seen *vendors.Reply) (vendors.Bound, error) {
		named, _ := c.Get(param)
		switch {
		case !id.MatchString(named):
			return vendors.Bound{}, invalid(param, "it is not an id that begins with "+prefix)
		case seen == nil:
			return s.look(named), nil
		}
		_, m, err := s.read(named, seen)
		if err != nil {
			return vendors.Bound{}, err
		}
		return m.bound(meter, param)
	}
}

// balanceChange is the amount of a call on a customer's balance. Below zero it is a credit, which is value given away
// at the next invoice; above, it is a debt, which the next invoice takes.
func balanceChange(c *vendors.Call) (money, cost.Meter, error) {
	s, _ := c.Get("amount")
	size, credit := strings.CutPrefix(s, "-")
	unsigned := *c
	unsigned.Params = []vendors.Param{{Name: "amount", Value: size}}
	if currency, ok := c.Get("currency"); ok {
		unsigned.Params = append(unsigned.Params, vendors.Param{Name: "currency", Value: currency})
	}
	m, err := needMoney(&unsigned)
	if credit {
		return m, cost.Outflow, err
	}
	return m, cost.Charge, err
}

func boundBalance(c *vendors.Call, _ *vendors.Reply) (vendors.Bound, error) {
	m, meter, err := balanceChange(c)
	if err != nil {
		return vendors.Bound{}, err
	}
	return m.bound(meter, "amount")
}

func settleBalance(c *vendors.Call, b vendors.Bound, r *vendors.Reply) (vendors.Settlement, error) {
	_, meter, err := balanceChange(c)
	o := readReply(r, "customer_balance_transaction")
	id, m := o.text("id"), money{o.signed("amount"), o.currency()}
	if err = errors.Join(err, o.err); err != nil {
		return vendors.Settlement{}, err
	}
	if (m.minor < 0) != (meter == cost.Outflow) && m.minor != 0 {
		return vendors.Settlement{}, errors.New("kbstripe: the reply's amount has another sign than the call's")
	}
	m.minor = max(m.minor, -m.minor)
	return settled(vendors.Settlement{Objects: ids(id)}, b, meter, m, money{currency: m.currency})
}

// boundGrant is the value of credits given to a customer.
func boundGrant(c *vendors.Call, _ *vendors.Reply) (vendors.Bound, error) {
	m, err := needMoneyIn(c, "amount[monetary][value]", "amount[monetary][currency]")
	if err != nil {
		return vendors.Bound{}, err
	}
	return m.bound(cost.Outflow, "amount[monetary][value]")
}

func settleGrant(_ *vendors.Call, b vendors.Bound, r *vendors.Reply) (vendors.Settlement, error) {
	o := readReply(r, "billing.credit_grant")
	id, m := o.text("id"), o.part("amount").part("monetary").money()
	if m.err != nil {
		return vendors.Settlement{}, m.err
	}
	return settled(vendors.Settlement{Objects: ids(id)}, b, cost.Outflow, m.money, money{currency: m.currency})
}

// boundClimate: Stripe's fees and, for an order in tonnes, its price stand in the reply alone.
func boundClimate(c *vendors.Call, _ *vendors.Reply) (vendors.Bound, error) {
	b := unknown("an order's fees, and the price of a tonne, are Stripe's and no read tells them before; give the rule a ceiling")
	if !c.Has("amount") {
		return b, nil
	}
	m, err := needMoney(c)
	if err != nil {
		return vendors.Bound{}, err
	}
	least, err := m.bound(cost.Outflow, "amount")
	b.Lines = least.Lines // a ceiling must cover it
	return b, err
}

func settleClimate(_ *vendors.Call, b vendors.Bound, r *vendors.Reply) (vendors.Settlement, error) {
	o := readReply(r, "climate.order")
	id, m := o.text("id"), money{o.amount("amount_total"), o.currency()}
	if o.err != nil {
		return vendors.Settlement{}, o.err
	}
	return settled(vendors.Settlement{Objects: ids(id)}, b, cost.Outflow, m, money{currency: m.currency})
}

// boundApproval is the amount that the merchant asks for, or the one sent, whichever is larger.
func boundApproval(c *vendors.Call, seen *vendors.Reply) (vendors.Bound, error) {
	asked, _, err := sentAmount(c, "amount")
	switch {
	case err != nil:
		return vendors.Bound{}, err
	case seen == nil:
		return look("stripe.issuing.authorizations.retrieve", "/v1/issuing/authorizations/"+c.IDs["id"]), nil
	}
	o, err := probed(seen, "issuing.authorization", c.IDs["id"])
	if err != nil {
		return vendors.Bound{}, err
	}
	m := money{o.amount("amount"), o.currency()}
	if pending := o.part("pending_request"); pending.err == nil && o.has("pending_request") {
		more := pending.amount("amount")
		if m.minor = max(m.minor, more); pending.err != nil {
			return vendors.Bound{}, probeError(pending.err)
		}
	}
	if o.err != nil {
		return vendors.Bound{}, probeError(o.err)
	}
	m.minor = max(m.minor, asked)
	b, err := m.bound(cost.Outflow, "amount")
	b.Kind = vendors.AtMost
	return b, err
}

func settleApproval(_ *vendors.Call, b vendors.Bound, r *vendors.Reply) (vendors.Settlement, error) {
	o := readReply(r, "issuing.authorization")
	id, m := o.text("id"), money{o.amount("amount"), o.currency()}
	if approved := o.truth("approved"); o.err == nil && !approved {
		m.minor = 0
	}
	if o.err != nil {
		return vendors.Settlement{}, o.err
	}
	return settled(vendors.Settlement{Objects: ids(id), Again: withinWeek}, b, cost.Outflow, m, money{currency: m.currency})
}

// boundChargeDispute is the dispute of the path's charge, which is lost when it is closed.
func boundChargeDispute(c *vendors.Call, seen *vendors.Reply) (vendors.Bound, error) {
	charge := c.IDs["id"]
	if seen == nil {
		return look("stripe.charges.dispute.retrieve", "/v1/charges/"+charge+"/dispute"), nil
	}
	o := readReply(seen, "dispute")
	m := money{o.amount("amount"), o.currency()}
	if o.err == nil && o.maybe("charge") != charge {
		o.fail("charge", "the one that was asked for")
	}
	switch {
	case seen.Status != http.StatusOK:
		return vendors.Bound{}, vendors.Refuse(reason.ProbeFailed, "Stripe answered status %d to the read of the charge's dispute", seen.Status)
	case o.err != nil:
		return vendors.Bound{}, probeError(o.err)
	}
	return m.bound(cost.Outflow, "amount")
}

// boundSetup: a setup intent takes no money; it lets the customer be charged later, by a call that is priced then.
// single_use names an amount, and what Stripe does with it is not documented.
func boundSetup(c *vendors.Call, _ *vendors.Reply) (vendors.Bound, error) {
	if c.Has("single_use") {
		return unknown("single_use names an amount, and what Stripe does with it is not documented; leave it out, or give the rule a ceiling"), nil
	}
	return vendors.Bound{Kind: vendors.Exact}, nil
}

// boundIntentWhole is the whole of the path's intent.
func boundIntentWhole(c *vendors.Call, seen *vendors.Reply) (vendors.Bound, error) {
	if seen == nil {
		return lookIntent(c.IDs["id"]), nil
	}
	in, err := probedIntent(c, seen)
	if err != nil {
		return vendors.Bound{}, err
	}
	b, err := onObject(c)(in.of(in.amount).bound(cost.Charge, "amount"))
	b.Kind = vendors.AtMost
	return b, err
}

// boundReader is the intent that a card reader is to take. The customer may add a tip on the reader, which is bounded
// by nothing, unless that is skipped.
func boundReader(c *vendors.Call, seen *vendors.Reply) (vendors.Bound, error) {
	id, _ := c.Get("payment_intent")
	skip, _ := c.Get("process_config[skip_tipping]")
	for _, p := range c.Params {
		field, below := strings.CutPrefix(p.Name, "process_config")
		if below && field != "[skip_tipping]" && field != "[enable_customer_cancellation]" && field != "[allow_redisplay]" {
			return unknown("this part of process_config may change what the reader takes; leave it out, or give the rule a ceiling"), nil
		}
	}
	switch {
	case !intentID.MatchString(id):
		return vendors.Bound{}, invalid("payment_intent", "it is not a payment intent's id (pi_…)")
	case skip != "true":
		return unknown("the customer may add a tip on the reader; send process_config[skip_tipping]=true, or give the rule a ceiling"), nil
	case seen == nil:
		return lookIntent(id), nil
	}
	o, err := probed(seen, "payment_intent", id)
	if err != nil {
		return vendors.Bound{}, err
	}
	in, err := readIntent(o)
	if err != nil {
		return vendors.Bound{}, probeError(err)
	}
	b, err := in.of(in.amount).bound(cost.Charge, "amount")
	b.Object = id
	return b, err
}

// outcomeReader: a reader says that it will, not that it has.
func outcomeReader(c *vendors.Call, r *vendors.Reply) vendors.Outcome {
	if success(r) {
		return vendors.Pending
	}
	return outcome()(c, r)
}

// settleReader holds the bound on the intent, which alone will tell what the reader took.
func settleReader(c *vendors.Call, b vendors.Bound, r *vendors.Reply) (vendors.Settlement, error) {
	o := readReply(r, "terminal.reader")
	id := o.text("id")
	intent, _ := c.Get("payment_intent")
	if o.err == nil && id != c.IDs["id"] {
		o.err = errors.New("kbstripe: the reply is about another reader")
	}
	if o.err != nil {
		return vendors.Settlement{}, o.err
	}
	return vendors.Settlement{Held: b.Lines, Object: intent, Objects: ids(id, intent), Again: soon}, nil
}
