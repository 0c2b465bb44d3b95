package kbtwilio

import (
	"net/http"
	"slices"

	"github.com/keybrake/keybrake-go/vendors"
)

// Operations whose price is their connection's, and the one that ends a call.
const (
	callsCreate        = "twilio.calls.create"
	participantsCreate = "twilio.conferences.participants.create"
	callsUpdate        = "twilio.calls.update"
)

// A coded is what code knows of an operation of the catalogue.
type coded struct {
	bound  func(*vendors.Call, *vendors.Reply) (vendors.Bound, error)
	settle func(*vendors.Call, vendors.Bound, *vendors.Reply) (vendors.Settlement, error)

	// outcome is nil where nothing is known after the reply that is not known from it.
	outcome func(*vendors.Call, *vendors.Reply) vendors.Outcome

	// trace are the parameters that reconcile needs; nil where only a person can tell.
	trace     []string
	reconcile func(*vendors.Case) (vendors.Finding, error)

	// redirects are parameters that the catalogue takes for plain ones and that this operation's effect follows; plain
	// are those that it takes for redirecting and that the bound reads.
	redirects, plain []string
}

// coded is by the operation's name. Parameters, methods and paths are the catalogue's.
func (t tariff) coded() map[string]coded {
	number := func(kinds ...string) coded {
		return coded{bound: t.boundNumber(kinds...), settle: settleNamed("recurring", "PN"), trace: []string{"PhoneNumber"}, reconcile: numberTrail().reconcile}
	}
	return map[string]coded{
		callsCreate:                    {bound: t.boundCall, settle: t.settleCall, outcome: outcomeCall, plain: []string{"Twiml"}, trace: callTrace, reconcile: t.callTrail().reconcile},
		callsUpdate:                    {bound: boundCallUpdate, settle: t.settleCall, outcome: outcomeCall, reconcile: reconcileCallUpdate},
		"twilio.calls.payments.create": {bound: t.boundPayment, settle: settleNamed("", "PK"), redirects: []string{"PaymentConnector"}},
		"twilio.calls.payments.update": {bound: boundPaymentUpdate, settle: settleNamed("", "PK")},
		participantsCreate:             {bound: t.boundParticipant, settle: t.settleCall, outcome: outcomeCall, trace: callTrace, reconcile: t.callTrail().reconcile},

		"twilio.incoming_phone_numbers.create":           number(numberTypes...),
		"twilio.incoming_phone_numbers.local.create":     number("local", "national"),
		"twilio.incoming_phone_numbers.mobile.create":    number("mobile"),
		"twilio.incoming_phone_numbers.toll_free.create": number("toll free"),
		"twilio.outgoing_caller_ids.create":              {bound: t.boundCallerID},

		"twilio.lookups.v1.phone_numbers.retrieve": {bound: t.boundLookupV1},
		"twilio.lookups.phone_numbers.retrieve":    {bound: t.boundLookup},
		"twilio.lookups.batch.query.create":        {bound: t.boundLookups},

		"twilio.verify.services.verifications.create":      {bound: t.boundVerification, settle: settleNamed("", "VE"), redirects: []string{"Payee", "ChannelConfiguration"}, trace: []string{"To", "Channel"}, reconcile: verificationTrail().reconcile},
		"twilio.verify.services.verifications.update":      {bound: t.boundVerificationUpdate, settle: t.settleVerified},
		"twilio.verify.services.verification_check.create": {bound: t.boundVerificationCheck, settle: t.settleVerified},

		"twilio.video.rooms.create": {bound: t.boundRoom, settle: settleNamed("", "RM")},

		"twilio.conversations.messages.create":                        {bound: unknownReach("how many take part in the conversation, and by what channels, is known at Twilio alone; give its rule a ceiling"), settle: settleNamed("", "IM")},
		"twilio.conversations.services.conversations.messages.create": {bound: unknownReach("how many take part in the conversation, and by what channels, is known at Twilio alone; give its rule a ceiling"), settle: settleNamed("", "IM")},
		"twilio.notify.services.notifications.create":                 {bound: unknownReach("a tag or an identity stands for up to 10,000 bindings; give its rule a ceiling"), settle: settleNamed("", "NT"), redirects: []string{"Identity[*]", "Tag[*]", "ToBinding[*]"}},
		"twilio.studio.flows.executions.create":                       {bound: unknownReach("what the flow does is at Twilio; give its rule a ceiling"), settle: settleNamed("", "FN")},
		"twilio.studio.v1.flows.executions.create":                    {bound: unknownReach("what the flow does is at Twilio; give its rule a ceiling"), settle: settleNamed("", "FN")},
	}
}

// overlay are the rows of the catalogue that code knows more of.
func (t tariff) overlay() []vendors.Operation {
	var ops []vendors.Operation
	known := t.coded()
	for _, op := range listed() {
		k, ok := known[op.Name]
		if !ok {
			continue
		}
		op.Bound, op.Settle, op.Trace, op.Reconcile = k.bound, k.settle, k.trace, k.reconcile
		if k.outcome != nil {
			op.Outcome = k.outcome
		}
		op.Params = vendors.Schema{
			Plain:     slices.Concat(without(op.Params.Plain, k.redirects), k.plain),
			Redirects: slices.Concat(without(op.Params.Redirects, k.plain), k.redirects),
			Lists:     op.Params.Lists,
		}
		ops = append(ops, op)
	}
	return ops
}

// without is list less those in others. The catalogue's own lists are not changed.
func without(list, others []string) []string {
	return slices.DeleteFunc(slices.Clone(list), func(s string) bool { return slices.Contains(others, s) })
}

// unknownReach is the bound of a call that reaches whoever Twilio has on a list.
func unknownReach(why string) func(*vendors.Call, *vendors.Reply) (vendors.Bound, error) {
	return func(*vendors.Call, *vendors.Reply) (vendors.Bound, error) {
		return vendors.Bound{Why: why, Recipients: []string{"?"}, Countries: []string{unknownCountry}}, nil
	}
}

// beyond are operations that Twilio publishes and its Go library does not have: Bulk Messaging, which is a beta, and
// AI Assistants (Twilio's documentation, read November 2026).
func beyond() []vendors.Operation {
	return []vendors.Operation{
		{
			Name: "twilio.comms.messages.create", Method: http.MethodPost, Host: "comms.twilio.com", Path: "/v1/Messages",
			Class: vendors.Fee, Body: vendors.JSON, Outcome: outcome, Settle: settleBulk,
			Params: vendors.Schema{Plain: []string{"from[*]", "to[*]", "content[*]"}, Redirects: []string{"schedule[*]", "tags[*]"}},
			Bound:  boundBulk,
		},
		{
			Name: "twilio.assistants.messages.create", Method: http.MethodPost, Host: "assistants.twilio.com", Path: "/v1/Assistants/{AssistantId}/Messages",
			Class: vendors.Fee, Body: vendors.JSON, Outcome: outcome,
			Params: vendors.Schema{Plain: []string{"identity", "session_id", "body", "mode"}, Redirects: []string{"webhook"}},
			Bound:  unknownReach("what the assistant does and uses is at Twilio; give its rule a ceiling"),
		},
	}
}
