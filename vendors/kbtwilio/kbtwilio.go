// Package kbtwilio is Twilio for the brake: its operations, what a text costs, and how its replies are read.
//
// Twilio names the price of a text hours after it was sent and honours no idempotency key for it, so the brake
// does both sums itself: the bound is segments × the dearest price that the destination's country has on the rate
// card, and a call whose reply was lost stays in doubt. The parameter that once capped a price, MaxPrice, has had no
// effect since 2024-06-03 (Twilio's description of the API, read November 2026).
//
// What a message or a call did cost is read from Twilio's record of it, hours later, by the id that the reply named. A
// reply that was lost named none, and Twilio's objects carry no mark: then one object alone with the same correspondents
// in the same seconds tells that the call was executed, and it counts as what was reserved. Several are for a person.
//
// Everything but [RateCard.Fetch] is a pure function over bytes. The catalogue is every operation that Twilio's Go
// library has, at its usual host and in each region. Prices are the rate card's: [DefaultRates] knows a few,
// [RateCard.Fetch] asks Twilio's Pricing API for the account's own, and [RateCard.Fees] holds what that does not say. A
// call that costs and has no price there, or whose cost does not follow from its request (a message to a conversation, a
// flow, a call whose TwiML is elsewhere), goes through under a policy's ceiling alone. A telephone number's price is its
// first month's; Twilio bills the others without another call.
package kbtwilio

import (
	"net/http"

	"github.com/keybrake/keybrake-go/vendors"
)

// Options change the defaults. A nil *Options means all of them.
type Options struct {
	// Rates replaces the whole rate card. One with a mistake in it is an error where the vendor is registered, and
	// prices nothing. Default: [DefaultRates].
	Rates *RateCard
}

// New makes the vendor. It does no I/O and does not fail: what is wrong with o is the vendor's Err.
func New(o *Options) vendors.Vendor {
	card := DefaultRates()
	if o != nil && o.Rates != nil {
		card = *o.Rates
	}
	t := newTariff(card)
	return vendors.Vendor{
		Name:       "twilio",
		Operations: join(append(operations(t), hardDenied()...)),
		HostOf:     hostOf,
		Headers:    []string{apiVersion, "If-Match"}, // without If-Match an update would be unconditional
		Check:      check,
		Place:      place,
		Refuse:     refuse,
		Usage:      usage,
		Resends:    resends,
		Examine:    examine,
		Err:        t.unreadable(),
	}
}

// The hosts of the operations that have code.
const (
	apiHost           = "api.twilio.com"
	conversationsHost = "conversations.twilio.com"
)

// account is the path of the classic API. An account's id is AC and 32 hex digits; check compares it.
const account = "/2010-04-01/Accounts/{AccountSid:AC}"

// operations are those with code of their own. Paths and parameters are those of twilio-go v1.31.0.
func operations(t tariff) []vendors.Operation {
	ops := []vendors.Operation{
		{
			Name: "twilio.messages.create", Method: http.MethodPost, Host: apiHost, Path: account + "/Messages.json",
			Class: vendors.Fee, Body: vendors.Form, Params: messageParams,
			Bound: t.boundMessage, Outcome: outcomeMessage, Settle: settleMessage,
			Trace: messageTrace, Reconcile: t.messageTrail().reconcile,
		},
		{
			Name: "twilio.messages.list", Method: http.MethodGet, Host: apiHost, Path: account + "/Messages.json",
			Class: vendors.Read,
		},
		{
			Name: "twilio.conversations.actions.create", Method: http.MethodPost, Host: conversationsHost,
			Path:  "/v2/Conversations/{ConversationId}/Actions",
			Class: vendors.Fee, Body: vendors.JSON, Params: actionParams,
			Bound: boundAction, Outcome: outcome, Settle: settleAction,
		},
	}
	ops = append(ops, message("{Sid:SM}")...)
	ops = append(ops, message("{Sid:MM}")...)
	ops = append(ops, beyond()...)
	return append(ops, t.overlay()...)
}

// message are the operations on one message. Texts are SM and picture messages MM, and a row has one prefix.
func message(sid string) []vendors.Operation {
	path := account + "/Messages/" + sid + ".json"
	return []vendors.Operation{
		{
			Name: "twilio.messages.retrieve", Method: http.MethodGet, Host: apiHost, Path: path,
			Class: vendors.Read,
		},
		{
			Name: "twilio.messages.update", Method: http.MethodPost, Host: apiHost, Path: path,
			Class: vendors.Release, Body: vendors.Form, Bound: boundUpdate, Outcome: outcome,
			Trace: []string{"Status"}, Reconcile: reconcileMessageUpdate,
		},
		{
			Name: "twilio.messages.delete", Method: http.MethodDelete, Host: apiHost, Path: path,
			Class: vendors.Free, Outcome: outcome,
		},
	}
}
