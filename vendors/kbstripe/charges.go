package kbstripe

import (
	"errors"
	"time"

	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/reason"
	"github.com/keybrake/keybrake-go/vendors"
)

// charges are the rows of /v1/charges. A charge's id starts with ch_, or with py_ where it was not made with a
// card or stands on a connected account (docs.stripe.com/api/transfers, destination_payment); the rows of one
// object are there once for each.
func charges() []vendors.Operation {
	rows := []vendors.Operation{
		post(vendors.Operation{
			Name: "charges.create", Path: "/v1/charges", Class: vendors.Charge,
			Params: chargeCreateParams, Bound: boundChargeCreate, Outcome: outcome("pending"), Settle: settleCharge,
		}),
		read("charges.list", "/v1/charges"),
		read("charges.search", "/v1/charges/search"),
	}
	for _, id := range []string{"{id:ch_}", "{id:py_}"} {
		rows = append(rows,
			read("charges.retrieve", "/v1/charges/"+id),
			post(vendors.Operation{Name: "charges.update", Path: "/v1/charges/" + id, Class: vendors.Free}),
			post(vendors.Operation{
				Name: "charges.capture", Path: "/v1/charges/" + id + "/capture", Class: vendors.Charge,
				Params: chargeCaptureParams, Bound: boundChargeCapture, Outcome: outcome("pending"), Settle: settleCharge,
			}),
		)
	}
	return rows
}

// source is a token or a customer's card by id; its fields are a card number in the clear, so each is named as
// redirecting. exchange_rate sets what the account receives. application_fee and destination are what
// application_fee_amount and transfer_data were called before.
var (
	cardFields         = []string{"source[object]", "source[number]", "source[cvc]", "source[currency]", "source[exp_month]", "source[exp_year]", "source[name]", "source[address_city]", "source[address_country]", "source[address_line1]", "source[address_line2]", "source[address_state]", "source[address_zip]"}
	chargeCreateParams = schema(
		[]string{"amount", "capture", "currency", "customer", "description", "expand", "level3[*]", "metadata[*]", "radar_options[*]", "receipt_email", "shipping[*]", "source", "statement_descriptor", "statement_descriptor_suffix"},
		append([]string{"application_fee", "application_fee_amount", "destination[*]", "exchange_rate", "on_behalf_of", "transfer_data[*]", "transfer_group"}, cardFields...))
	chargeCaptureParams = schema(
		[]string{"amount", "expand", "receipt_email", "statement_descriptor", "statement_descriptor_suffix"},
		[]string{"application_fee", "application_fee_amount", "exchange_rate", "transfer_data[*]", "transfer_group"})
)

// A payment is what is read of a charge.
type payment struct {
	id, status, intent         string
	currency                   cost.Currency
	amount, captured, refunded int64 // captured is what was captured, or -1 where the version does not tell
	complete                   bool  // nothing is left to capture
}

func readCharge(o *reader) (payment, error) {
	p := payment{
		id: o.text("id"), status: o.text("status"), intent: o.maybe("payment_intent"), currency: o.currency(),
		amount: o.amount("amount"), captured: -1, refunded: o.amount("amount_refunded"), complete: o.truth("captured"),
	}
	if o.has("amount_captured") { // since 2020
		p.captured = o.amount("amount_captured")
	}
	if o.err == nil && p.refunded > p.amount {
		o.fail("amount_refunded", "within amount")
	}
	return p, o.err
}

// left is what of the charge's amount was neither refunded nor released.
func (p payment) left() int64 { return p.amount - p.refunded }

// taken is what a captured charge took from the customer.
func (p payment) taken() int64 {
	if p.captured >= 0 {
		return p.captured
	}
	return p.left()
}

// refundable is the most that a refund can give back. After a partial capture some API versions count the
// released rest as refunded and some do not; what was captured bounds both.
func (p payment) refundable() int64 {
	if p.captured > 0 {
		return min(p.left(), p.captured)
	}
	return p.left()
}

func (p payment) of(minor int64) money { return money{minor, p.currency} }

func lookCharge(id string) vendors.Bound {
	return look("stripe.charges.retrieve", "/v1/charges/"+id)
}

func probedCharge(id string, seen *vendors.Reply) (payment, error) {
	o, err := probed(seen, "charge", id)
	if err != nil {
		return payment{}, err
	}
	p, err := readCharge(o)
	return p, probeError(err)
}

func boundChargeCreate(c *vendors.Call, _ *vendors.Reply) (vendors.Bound, error) {
	m, err := needMoney(c)
	if err != nil {
		return vendors.Bound{}, err
	}
	return m.bound(cost.Charge, "amount")
}

// boundChargeCapture sends the amount explicitly. An intent's charge is refused: its hold stands on the intent,
// and Stripe says not to capture it here (docs.stripe.com/api/charges/capture).
func boundChargeCapture(c *vendors.Call, seen *vendors.Reply) (vendors.Bound, error) {
	if seen == nil {
		return lookCharge(c.IDs["id"]), nil
	}
	p, err := probedCharge(c.IDs["id"], seen)
	if err != nil {
		return vendors.Bound{}, err
	}
	if p.intent != "" {
		return vendors.Bound{}, vendors.Refuse(reason.CostUnknown, "the charge belongs to a payment intent; capture the intent instead")
	}
	authorised := p.left()
	if p.complete {
		authorised = 0
	}
	take, err := captureAmount(c, "amount", authorised)
	if err != nil {
		return vendors.Bound{}, err
	}
	b, err := onObject(c)(p.of(take.level).bound(cost.Charge, "amount"))
	b.Send = take.send
	return b, err
}

// settleCharge books what was captured and holds what is authorised or on its way.
func settleCharge(c *vendors.Call, b vendors.Bound, r *vendors.Reply) (vendors.Settlement, error) {
	p, err := readCharge(readReply(r, "charge"))
	if id := c.IDs["id"]; err == nil && id != "" && id != p.id {
		err = errors.New("kbstripe: the reply is about another charge")
	}
	if err != nil {
		return vendors.Settlement{}, err
	}
	booked, held, again, err := p.split()
	if err != nil {
		return vendors.Settlement{}, err
	}
	s := vendors.Settlement{Object: p.id, Objects: ids(p.id, p.intent), Again: again}
	return settled(s, b, cost.Charge, p.of(booked), p.of(held))
}

// split divides a charge's money by its status. A failed charge is proof that nothing was taken.
func (p payment) split() (booked, held int64, again time.Duration, err error) {
	switch {
	case p.status == "failed":
		return 0, 0, 0, nil
	case p.status == "pending":
		return 0, p.amount, soon, nil
	case p.status != "succeeded":
		return 0, 0, 0, errors.New("kbstripe: the charge's status is not one that is documented")
	case !p.complete:
		return 0, p.left(), withinWeek, nil
	}
	return p.taken(), 0, 0, nil
}
