package kbstripe

import (
	"slices"

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
