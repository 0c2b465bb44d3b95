package kbstripe

import (
	"errors"
	"slices"
	"time"

	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/reason"
	"github.com/keybrake/keybrake-go/vendors"
)

// paymentIntents are the rows of /v1/payment_intents. An intent holds its amount from creation on, because the
// customer's browser can confirm it with the client secret and no further call passes here.
func paymentIntents() []vendors.Operation {
	return []vendors.Operation{
		post(vendors.Operation{
			Name: "payment_intents.create", Path: "/v1/payment_intents", Class: vendors.Commit,
			Params: intentCreateParams, Bound: boundIntentCreate, Outcome: outcomeIntentCreate, Settle: settleIntent(takesReceived),
		}),
		read("payment_intents.list", "/v1/payment_intents"),
		read("payment_intents.search", "/v1/payment_intents/search"),
		read("payment_intents.retrieve", "/v1/payment_intents/{id:pi_}"),
		post(vendors.Operation{
			Name: "payment_intents.update", Path: "/v1/payment_intents/{id:pi_}", Class: vendors.Edit,
			Params: intentUpdateParams, Bound: boundIntentUpdate, Settle: settleIntent(takesNothing),
		}),
		post(vendors.Operation{
			Name: "payment_intents.confirm", Path: "/v1/payment_intents/{id:pi_}/confirm", Class: vendors.Charge,
			Params: intentConfirmParams, Bound: boundIntentConfirm, Outcome: outcomeIntentConfirm, Settle: settleIntent(takesReceived),
		}),
		post(vendors.Operation{
			Name: "payment_intents.capture", Path: "/v1/payment_intents/{id:pi_}/capture", Class: vendors.Charge,
			Params: intentCaptureParams, Bound: boundIntentCapture, Settle: settleIntent(takesCaptured),
		}),
		post(vendors.Operation{
			Name: "payment_intents.increment_authorization", Path: "/v1/payment_intents/{id:pi_}/increment_authorization", Class: vendors.Charge,
			Params: intentIncrementParams, Bound: boundIntentIncrement, Settle: settleIntent(takesNothing),
		}),
		post(vendors.Operation{
			Name: "payment_intents.cancel", Path: "/v1/payment_intents/{id:pi_}/cancel", Class: vendors.Release,
			Bound: boundIntentCancel, Settle: settleIntent(endsHold),
		}),
	}
}

// Parameters by family. payment_method_data carries card numbers; setup_future_usage, off_session and
// mandate_data let the customer be charged again without being there; payment_method_options can do the same
// for one method (card[setup_future_usage], card[moto]) and can permit a capture above the authorisation
// (card[request_overcapture]), so the whole group needs a rule that names what is meant.
var (
	intentMoney     = []string{"amount", "amount_to_confirm", "currency"}
	intentDetails   = []string{"automatic_payment_methods[*]", "capture_method", "client_secret", "customer", "description", "expand", "metadata[*]", "payment_method", "payment_method_configuration", "payment_method_types", "receipt_email", "shipping[*]", "statement_descriptor", "statement_descriptor_suffix"}
	intentConfirm   = []string{"confirmation_token", "error_on_requires_action", "mandate", "radar_options[*]", "return_url", "use_stripe_sdk"}
	intentThird     = []string{"application_fee_amount", "on_behalf_of", "transfer_data[*]", "transfer_group"}
	intentMethod    = []string{"payment_method_data[*]", "payment_method_options[*]", "setup_future_usage"}
	intentUnwatched = []string{"mandate_data[*]", "off_session"}
)

// confirm and its companions are not among the parameters of an update: Stripe does not document them there,
// and an update that confirmed would take money that no line of its bound stands for.
var (
	intentCreateParams = schema(
		slices.Concat(intentMoney, intentDetails, intentConfirm, []string{"confirm", "confirmation_method"}),
		slices.Concat(intentThird, intentMethod, intentUnwatched))
	intentUpdateParams = schema(
		slices.Concat([]string{"amount", "currency"}, intentDetails),
		slices.Concat(intentThird, intentMethod))
	intentConfirmParams = schema(
		slices.Concat([]string{"amount_to_confirm", "capture_method", "client_secret", "expand", "payment_method", "payment_method_types", "receipt_email", "shipping[*]"}, intentConfirm),
		slices.Concat(intentMethod, intentUnwatched))
	intentCaptureParams = schema(
		[]string{"amount_to_capture", "expand", "final_capture", "metadata[*]", "statement_descriptor", "statement_descriptor_suffix"},
		[]string{"application_fee_amount", "transfer_data[*]"})
	intentIncrementParams = schema(
		[]string{"amount", "description", "expand", "metadata[*]", "statement_descriptor"},
		[]string{"application_fee_amount", "transfer_data[*]"})
)

// An intent is what is read of a payment intent.
type intent struct {
	id, status, charge           string
	currency                     cost.Currency
	amount, capturable, received int64
}

func readIntent(o *reader) (intent, error) {
	in := intent{
		id: o.text("id"), status: o.text("status"), charge: o.maybe("latest_charge"),
		currency: o.currency(), amount: o.amount("amount"),
		capturable: o.amount("amount_capturable"), received: o.amount("amount_received"),
	}
	return in, o.err
}

func (in intent) of(minor int64) money { return money{minor, in.currency} }

func lookIntent(id string, query ...vendors.Param) vendors.Bound {
	return look("stripe.payment_intents.retrieve", "/v1/payment_intents/"+id, query...)
}

func probedIntent(c *vendors.Call, seen *vendors.Reply) (intent, error) {
	o, err := probed(seen, "payment_intent", c.IDs["id"])
	if err != nil {
		return intent{}, err
	}
	in, err := readIntent(o)
	return in, probeError(err)
}

// boundIntentCreate holds the amount whether the intent is confirmed at once or later. amount_to_confirm
// stands in the place of amount when it is confirmed; the larger of the two is held.
func boundIntentCreate(c *vendors.Call, _ *vendors.Reply) (vendors.Bound, error) {
	m, err := needMoney(c)
	if err != nil {
		return vendors.Bound{}, err
	}
	return boundConfirmed(c, m)
}

// boundConfirmed is the bound of m or of amount_to_confirm, whichever is larger.
func boundConfirmed(c *vendors.Call, m money) (vendors.Bound, error) {
	instead, ok, err := sentAmount(c, "amount_to_confirm")
	if err != nil {
		return vendors.Bound{}, err
	}
	b, err := money{max(m.minor, instead), m.currency}.bound(cost.Charge, "amount")
	if ok && err == nil {
		b.Kind = vendors.AtMost
	}
	return b, err
}

// boundIntentUpdate is the new amount: the whole level, whatever is held now. An update that names neither
// amount nor currency moves no level, so it names no object either. One of the two alone is completed from the
// intent.
func boundIntentUpdate(c *vendors.Call, seen *vendors.Reply) (vendors.Bound, error) {
	minor, hasAmount, err := sentAmount(c, "amount")
	if err != nil {
		return vendors.Bound{}, err
	}
	currency, hasCurrency, err := sentCurrency(c)
	switch {
	case err != nil:
		return vendors.Bound{}, err
	case !hasAmount && !hasCurrency:
		return vendors.Bound{Kind: vendors.Exact}, nil
	case hasAmount && hasCurrency:
		return onObject(c)(money{minor, currency}.bound(cost.Charge, "amount"))
	case seen == nil:
		return lookIntent(c.IDs["id"]), nil
	}
	in, err := probedIntent(c, seen)
	if err != nil {
		return vendors.Bound{}, err
	}
	if hasAmount {
		return onObject(c)(in.of(minor).bound(cost.Charge, "amount"))
	}
	return onObject(c)(money{in.amount, currency}.bound(cost.Charge, "amount"))
}

// boundIntentConfirm is what the intent says, read just now: a remembered amount may have been changed by
// someone else since.
func boundIntentConfirm(c *vendors.Call, seen *vendors.Reply) (vendors.Bound, error) {
	if seen == nil {
		return lookIntent(c.IDs["id"]), nil
	}
	in, err := probedIntent(c, seen)
	if err != nil {
		return vendors.Bound{}, err
	}
	return onObject(c)(boundConfirmed(c, in.of(in.amount)))
}

// boundIntentCapture sends the amount explicitly, so that what is captured is what was reserved. With
// final_capture=false the rest stays authorised and the level stays whole.
//
// The kind is AtMost where something was captured before: the reply then tells the sum of all captures and not
// this one's, and [takesCaptured] goes by what was sent.
func boundIntentCapture(c *vendors.Call, seen *vendors.Reply) (vendors.Bound, error) {
	if seen == nil {
		return lookIntent(c.IDs["id"]), nil
	}
	in, err := probedIntent(c, seen)
	if err != nil {
		return vendors.Bound{}, err
	}
	take, err := captureAmount(c, "amount_to_capture", in.capturable)
	if err != nil {
		return vendors.Bound{}, err
	}
	b, err := onObject(c)(in.of(take.level).bound(cost.Charge, "amount_to_capture"))
	b.Send = take.send
	if in.received > 0 {
		b.Kind = vendors.AtMost
	}
	return b, err
}

// boundIntentIncrement is the new total, which the parameter is by Stripe's definition, not the difference.
func boundIntentIncrement(c *vendors.Call, seen *vendors.Reply) (vendors.Bound, error) {
	total, err := needAmount(c, "amount")
	if err != nil {
		return vendors.Bound{}, err
	}
	if seen == nil {
		return lookIntent(c.IDs["id"]), nil
	}
	in, err := probedIntent(c, seen)
	if err != nil {
		return vendors.Bound{}, err
	}
	return onObject(c)(in.of(total).bound(cost.Charge, "amount"))
}

func boundIntentCancel(c *vendors.Call, _ *vendors.Reply) (vendors.Bound, error) {
	return vendors.Bound{Kind: vendors.Exact, Object: c.IDs["id"]}, nil
}

// onObject names the object of the path in a bound.
func onObject(c *vendors.Call) func(vendors.Bound, error) (vendors.Bound, error) {
	return func(b vendors.Bound, err error) (vendors.Bound, error) {
		if err != nil {
			return vendors.Bound{}, err
		}
		b.Object = c.IDs["id"]
		return b, nil
	}
}

// A capture is an explicit amount to capture, and the level that the object needs for it.
type capture struct {
	level int64
	send  []vendors.Param
}

// captureAmount takes the amount that the agent named, else all that can be captured. More than that is an
// overcapture or a tip added on a reader: possible on some accounts, bounded by nothing that was read here.
func captureAmount(c *vendors.Call, param string, capturable int64) (capture, error) {
	minor, ok, err := sentAmount(c, param)
	switch {
	case err != nil:
		return capture{}, err
	case capturable == 0:
		return capture{}, vendors.Refuse(reason.CostUnknown, "nothing is authorised that could be captured")
	case ok && minor > capturable:
		return capture{}, &vendors.Refusal{Code: reason.CostUnknown, Param: param, Detail: "it is more than was authorised; what an overcapture takes cannot be bounded, capture at most the authorised amount"}
	case !ok:
		minor = capturable
	}
	level := minor
	if final, ok := c.Get("final_capture"); ok && final != "true" {
		level = capturable
	}
	return capture{level, []vendors.Param{{Name: param, Value: digits(minor)}}}, nil
}

// outcomeIntent is pending while the bank or the customer has yet to act.
var outcomeIntent = outcome("processing", "requires_action")

// outcomeIntentCreate knows that a declined create leaves an intent behind, which can be confirmed again: it is
// executed, and its amount stays held. A decline that does not show the intent hides its id: that is in doubt.
func outcomeIntentCreate(c *vendors.Call, r *vendors.Reply) vendors.Outcome {
	switch {
	case success(r) || !refused(r):
		return outcomeIntent(c, r)
	case declinedIntent(r) != nil:
		return vendors.Executed
	case r.Status == 402:
		return vendors.OutcomeUnknown
	}
	return vendors.NotExecuted
}

// outcomeIntentConfirm: a decline (402) leaves the intent as it was before, to be tried again. Any other
// refusal changes nothing, not even where it shows an intent, which may be long paid.
func outcomeIntentConfirm(c *vendors.Call, r *vendors.Reply) vendors.Outcome {
	if r.Status == 402 && refused(r) && declinedIntent(r) != nil {
		return vendors.Executed
	}
	return outcomeIntent(c, r)
}

// declinedIntent is the intent that a refusal shows, or nil.
func declinedIntent(r *vendors.Reply) *reader {
	e := errorOf(r)
	if e == nil || !e.has("payment_intent") {
		return nil
	}
	return e.child("payment_intent", "payment_intent")
}

// A taking says how much of what an intent received was taken by this call.
type taking func(in intent, b vendors.Bound) (int64, error)

var errStatus = errors.New("kbstripe: the intent's status does not fit the operation")

// takesReceived: before create and confirm nothing had been received.
func takesReceived(in intent, _ vendors.Bound) (int64, error) { return in.received, nil }

// takesCaptured is all that was received, or what was sent where earlier captures are part of that sum.
func takesCaptured(in intent, b vendors.Bound) (int64, error) {
	if b.Kind == vendors.Exact || len(b.Send) == 0 {
		return in.received, nil
	}
	sent, err := cost.ParseCount(b.Send[0].Value)
	return min(sent, in.received), err
}

// takesNothing: an edit of the amount takes no money, so an intent that has been paid meanwhile was paid by
// someone else, and the hold stays until that is looked at.
func takesNothing(in intent, _ vendors.Bound) (int64, error) {
	if in.status == "succeeded" {
		return 0, errStatus
	}
	return 0, nil
}

// endsHold: what was captured before a cancel is booked already.
func endsHold(intent, vendors.Bound) (int64, error) { return 0, nil }

// levels is what an intent can still take, by status. A status that is not here is an error.
var levels = map[string]func(intent) int64{
	"requires_payment_method": func(in intent) int64 { return in.amount },
	"requires_confirmation":   func(in intent) int64 { return in.amount },
	"requires_action":         func(in intent) int64 { return in.amount },
	"processing":              func(in intent) int64 { return in.amount },
	"requires_capture":        func(in intent) int64 { return in.capturable },
	"succeeded":               func(intent) int64 { return 0 },
	"canceled":                func(intent) int64 { return 0 },
}

// settleIntent books what take says and holds what the status leaves open. A call whose bound names no object
// and no line moved no level.
func settleIntent(take taking) func(*vendors.Call, vendors.Bound, *vendors.Reply) (vendors.Settlement, error) {
	return func(c *vendors.Call, b vendors.Bound, r *vendors.Reply) (vendors.Settlement, error) {
		in, err := repliedIntent(c, r)
		if err != nil {
			return vendors.Settlement{}, err
		}
		s := vendors.Settlement{Objects: ids(in.id, in.charge)}
		if b.Object == "" && len(b.Lines) == 0 {
			return s, nil
		}
		booked, held, err := in.split(take, b, success(r))
		if err != nil {
			return vendors.Settlement{}, err
		}
		s.Object, s.Again = in.id, in.again()
		return settled(s, b, cost.Charge, in.of(booked), in.of(held))
	}
}

// repliedIntent is the intent of a reply, or the one that a refusal shows; it must be the path's, if it has one.
func repliedIntent(c *vendors.Call, r *vendors.Reply) (intent, error) {
	o := readReply(r, "payment_intent")
	if !success(r) {
		if o = declinedIntent(r); o == nil {
			return intent{}, errStatus
		}
	}
	in, err := readIntent(o)
	if id := c.IDs["id"]; err == nil && id != "" && id != in.id {
		err = errors.New("kbstripe: the reply is about another intent")
	}
	return in, err
}

// split divides the intent's money into what is booked now and what stays held. A refusal books nothing, and
// one that shows a paid intent contradicts itself. While a confirmation is open, amount_to_confirm may be what
// is taken in the end, so the hold does not fall below the bound.
func (in intent) split(take taking, b vendors.Bound, ok bool) (booked, held int64, err error) {
	level := levels[in.status]
	if level == nil || (!ok && in.status == "succeeded") {
		return 0, 0, errStatus
	}
	if held = level(in); in.open() && len(b.Lines) > 0 && b.Lines[0].Currency == in.currency {
		held = max(held, in.minorOf(b.Lines[0].Amount))
	}
	if ok && (in.status == "succeeded" || in.status == "requires_capture" || in.status == "canceled") {
		booked, err = take(in, b)
	}
	return booked, held, err
}

// open reports whether a confirmation is under way.
func (in intent) open() bool { return in.status == "processing" || in.status == "requires_action" }

// minorOf converts a line of the intent's currency back, rounding up; zero where the currency has no scale.
func (in intent) minorOf(amount int64) int64 {
	unit, err := in.of(1).micros()
	if err != nil || unit == 0 {
		return 0
	}
	return (amount + unit - 1) / unit
}

func (in intent) again() time.Duration {
	switch in.status {
	case "succeeded", "canceled":
		return 0
	case "requires_capture":
		return withinWeek
	}
	return soon
}
