// Package audit is the record of every call: allowed, denied, in doubt. A sink is one method; which sinks are
// required is the caller's choice, made in the open: a sink given as it is must take the record before a call
// is forwarded, one wrapped in [InsecureBestEffort] need not, and [InsecureDiscard] keeps nothing.
//
// Records are structs of vetted fields. No body, no card number, no credential and no vault key ever stands in
// one; a recipient stands only as a keyed digest.
package audit

import (
	"context"
	"time"

	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/reason"
)

// A Sink takes records. Write is called from many goroutines at once. When it returns nil the record is as
// durable as the sink makes it; on error, nothing may be assumed, and a call that waits for it is not
// forwarded. The context carries the brake's own deadline, not the caller's cancellation. A sink changes nothing
// in the record's slices, which others see too, and keeps none of them: it writes or copies them before it returns.
type Sink interface {
	Write(ctx context.Context, r Record) error
}

// A Kind says at which point of a call a record was made.
type Kind string

// The kinds. An intent and the outcome of the same call share its CallID.
const (
	Intent  Kind = "intent"  // reserved, about to be forwarded
	Outcome Kind = "outcome" // what became of it
	Denied  Kind = "denied"  // refused; nothing was forwarded
	Control Kind = "control" // a key was issued; something was revoked, paused, resumed, resolved

	// Reconciled is what the vendor's own records said later about a call; it shares the CallID. Its outcome in_doubt says
	// that they do not tell, and that a person has to decide.
	Reconciled Kind = "reconciled"
)

// A Verdict is what the brake decided.
type Verdict string

// The verdicts.
const (
	Allow   Verdict = "allow"
	Deny    Verdict = "deny"
	Observe Verdict = "observe" // let through although Reasons speak against it: the policy is only observed
)

// A Record is one entry. Amounts are micro-units of a currency's major unit, or counts (package cost); times
// are UTC.
type Record struct {
	Version int       `json:"v"`  // of this schema: 1
	ID      string    `json:"id"` // unique; a sink that can look it up keeps one, readers count one
	Time    time.Time `json:"time"`
	Kind    Kind      `json:"kind"`
	CallID  string    `json:"call,omitempty"` // one for all the records of a call, its probe included
	// Reservation is the id in the ledger, where it is not the CallID: a retry of an earlier attempt. The control record of
	// what a person decided about a reservation has both.
	Reservation string `json:"reservation,omitempty"`
	Probe       bool   `json:"probe,omitempty"` // the record is of a look at the vendor that the call needed

	// Count is how many refusals the record stands for; zero is one. The first refusal of its kind (one tenant, run and key;
	// one tool, vendor and operation; one reason, rule, parameter and budget) has a record of its own at once, and those
	// like it are counted for ten seconds, whose record has the CallID, Detail and Reasons of the first. Of a run with too
	// many kinds to tell apart, refusals of one reason are counted together. The sum over all records is exact: whoever
	// counts refusals adds max(1, Count).
	Count int64     `json:"count,omitempty"`
	First time.Time `json:"first,omitzero"` // with Count: when the first of them was refused
	Last  time.Time `json:"last,omitzero"`  // and the last

	Tenant string   `json:"tenant,omitempty"`
	Agent  string   `json:"agent,omitempty"`
	Run    string   `json:"run,omitempty"`
	Labels []string `json:"labels,omitempty"`
	Key    string   `json:"key,omitempty"` // the vault key's id, never its token; a narrowed key's is its parent's, a dot and a part of its own

	Parents []string `json:"parents,omitempty"` // the ids of the keys that Key was narrowed from, the issued one first

	// Policy is the digest of the policy that judges the key's calls, policy.Policy.Digest; for a narrowed key its parent's,
	// a dot and that of what narrows it.
	Policy string `json:"policy,omitempty"`

	Tool string `json:"tool,omitempty"` // what the agent's program says of the call, in its context
	Step string `json:"step,omitempty"`

	Vendor     string `json:"vendor,omitempty"`
	Credential string `json:"credential,omitempty"` // the reference of the real credential, never itself
	Operation  string `json:"operation,omitempty"`
	Class      string `json:"class,omitempty"`

	Verdict Verdict `json:"verdict,omitempty"`
	// Outcome is one of the Outcome constants; empty on an intent, on a denial, and on a control record that is not about a
	// reservation.
	Outcome string      `json:"outcome,omitempty"`
	Reason  reason.Code `json:"reason,omitempty"`  // why refused, or why in doubt
	Detail  string      `json:"detail,omitempty"`  // for people; made by the brake, never by the agent
	Reasons []Why       `json:"reasons,omitempty"` // the first 32 objections of rules, and the budgets that objected
	Rules   []Rule      `json:"rules,omitempty"`   // those that let the call through: the issued policy's, then one of each that narrows it

	Reserved []cost.Line `json:"reserved,omitempty"`
	Actual   []cost.Line `json:"actual,omitempty"`
	Held     []cost.Line `json:"held,omitempty"`  // what stays held after the call
	Rates    []cost.Rate `json:"rates,omitempty"` // by which the vendor's currencies were counted in the budgets'
	Budgets  []Budget    `json:"budgets,omitempty"`
	Flag     string      `json:"flag,omitempty"` // something a person should see: "over bound", "unexpected currency"

	Status        int      `json:"status,omitempty"`         // the vendor's HTTP status, as it came
	VendorRequest string   `json:"vendor_request,omitempty"` // the vendor's request id
	Error         string   `json:"error,omitempty"`          // what kept the vendor's answer from coming whole, one of the Error constants
	HoldOf        string   `json:"hold_of,omitempty"`        // the ledger's name of the vendor's object whose hold the call carries or takes over
	Objects       []string `json:"objects,omitempty"`        // the vendor's ids of what the call touched
	Customer      string   `json:"customer,omitempty"`       // keyed digest of the vendor's id of the customer that the call is about
	Recipients    []string `json:"recipients,omitempty"`     // keyed digests
	Idempotency   string   `json:"idempotency,omitempty"`    // keyed digest of the agent's key
	Attached      bool     `json:"attached,omitempty"`       // a retry of an earlier attempt: the same spend
	Attempt       int      `json:"attempt,omitempty"`        // of the reservation, from 1, counted by the ledger

	Duration       time.Duration `json:"duration_ns,omitempty"` // the whole call
	OwnDuration    time.Duration `json:"own_ns,omitempty"`      // what of it is the brake's: less the ledger's and the vendor's; the intent's sink is in it
	LedgerDuration time.Duration `json:"ledger_ns,omitempty"`
	VendorDuration time.Duration `json:"vendor_ns,omitempty"` // of a look that the call needed, too

	Chain *Link `json:"chain,omitempty"` // set by a [Chain]
}

// The values of [Record].Outcome. What a call has cost is what the latest of its records says that tells what became of it:
// one in doubt says nothing that changes an earlier one, and the answer to a retry changes nothing that is final.
const (
	OutcomeExecuted    = "executed"
	OutcomeNotExecuted = "not_executed" // for certain
	OutcomePending     = "pending"      // executed or accepted, and not final
	OutcomeInDoubt     = "in_doubt"     // its reservation stays held
	OutcomeAdjusted    = "adjusted"     // it was final, and Actual is what it has cost after all
)

// The values of [Record].Error.
const (
	ErrorCanceled   = "canceled"   // the caller's context ended
	ErrorRevoked    = "revoked"    // a revoke cut the call off
	ErrorTimeout    = "timeout"    // nothing came in time
	ErrorDNS        = "dns"        // the vendor's name was not found
	ErrorConnect    = "connect"    // no connection was made
	ErrorTLS        = "tls"        // the vendor's certificate or handshake was refused
	ErrorIncomplete = "incomplete" // the answer broke off
	ErrorTooLarge   = "too_large"  // it is longer than Config.MaxReply
	ErrorOther      = "other"
)

// A Rule is one that let a call through.
type Rule struct {
	Of   string `json:"of,omitempty"` // the narrowed key whose rule it is; empty: of the issued key's policy
	Rule int    `json:"rule"`         // index into the policy's rules; -1 where the policy is only observed and none does
}

// A Why is one objection of one rule.
type Why struct {
	Code   reason.Code `json:"code"`
	Of     string      `json:"of,omitempty"` // the narrowed key whose rule or budget it is; empty: the issued key's
	Rule   int         `json:"rule"`         // index into the policy's rules; -1 when none names the operation, or a budget objects
	Param  string      `json:"param,omitempty"`
	Budget string      `json:"budget,omitempty"` // the budget that does not cover the call, or would not have, were it not only observed
}

// A Budget is the state of one budget after the call.
type Budget struct {
	Name     string        `json:"name"`
	Shared   bool          `json:"shared,omitempty"`
	Of       string        `json:"of,omitempty"` // the narrowed key whose own it is; empty: the issued key's
	Meter    cost.Meter    `json:"meter"`
	Currency cost.Currency `json:"currency,omitempty"`
	Limit    int64         `json:"limit"`
	Spent    int64         `json:"spent"`
	Held     int64         `json:"held"`
	Left     int64         `json:"left"`
	Reset    time.Time     `json:"reset,omitzero"`
}
