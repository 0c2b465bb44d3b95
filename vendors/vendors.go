// Package vendors is the contract between the brake and a vendor adapter. A vendor is a table of operations:
// each row says how the call is recognised, what it may cost before it is made, how its reply is read afterwards,
// and how the vendor's own records tell later what became of it. Rows are pure functions over bytes: they do no I/O,
// keep no state and import no vendor SDK, so one adapter fits every major version of an SDK.
//
// The zero value of everything here denies: a row without a class is refused when the table is made, a [Bound]
// of kind Unknown is not forwarded, an [Outcome] of zero is Unknown and keeps the hold.
package vendors

import (
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/reason"
)

// A Vendor is one vendor's table and the few facts that hold for all its calls.
type Vendor struct {
	// Name is the first part of every operation's name: "stripe".
	Name string

	// Operations is the catalogue. A call that no row matches is denied as unknown.
	Operations []Operation

	// HostOf returns the host of the catalogue that another host is the same as, such as a regional one, or "". It is
	// asked for hosts that no row has, in lower case and without a port; the call goes to the host that was asked for.
	// nil knows none. It must know only hosts that the vendor itself serves: the credential is sent there.
	HostOf func(host string) string

	// Headers are the canonical names of the request headers that are copied to the vendor, besides Accept and
	// User-Agent. Those of credential, body, framing and idempotency are always the brake's own.
	Headers []string

	// RedirectHeaders are the canonical names of the request headers that change whose money moves, such as
	// Stripe-Account. Each is a parameter of the call under its own name and needs a rule that grants it.
	RedirectHeaders []string

	// CredentialHeaders are the canonical names of the request headers in which the vendor takes its credential, where that
	// is not Authorization alone. The SDK's vault key is taken from one of them or from Authorization. None of them is ever
	// copied, whatever it holds, and Place may name no other.
	CredentialHeaders []string

	// RetryHeaders are the reply headers by which the vendor asks its SDKs to send a call again. They are not
	// passed on for writes that no idempotency key protects.
	RetryHeaders []string

	// Err is what is wrong with the options that the adapter was made with: a price that cannot be read. NewTable
	// returns it, because adapters' constructors do not fail. Rows that need the option refuse besides.
	Err error

	// Check refuses a call for reasons that hold for every operation: a header value, an account in the path
	// that is not the credential's. nil refuses nothing.
	Check func(*Call) error

	// Place reads a credential, given as the parts that its source holds, and says where it goes. It refuses
	// what cannot be a credential of this vendor. Errors must not contain any of the parts.
	Place func(parts []string) (Placement, error)

	// Refuse writes a refusal as the vendor's own error reply, such that the vendor's SDKs return their own
	// error type after exactly one round trip. c is nil when the request could not be read that far.
	Refuse func(c *Call, r Refusal) Response

	// Customer returns the vendor's id of the customer that a call is about, or "". nil: the vendor has no such thing.
	Customer func(*Call) string

	// Usage says what the vendor itself counted on a day, for the report of drift. nil: it does not tell.
	Usage func(d *Day) (Usage, error)

	// Examine says what a credential may do, beside what it is needed for. nil: the vendor does not tell.
	Examine func(e *Exam) Diagnosis

	// Resends reports whether one of the vendor's SDKs would send this write again on its own, given the reply
	// (nil: the connection broke). It is asked only for writes that no idempotency key protects. nil: never.
	Resends func(c *Call, r *Reply) bool
}

// A Class says what an operation does with money.
type Class string

// The classes. Read, Free, Control and Test never cost; the others may.
const (
	Read    Class = "read"    // changes nothing
	Free    Class = "free"    // changes something that never costs
	Edit    Class = "edit"    // changes an amount that a later operation will use
	Commit  Class = "commit"  // creates something that can charge later, perhaps with no further call
	Charge  Class = "charge"  // takes money from customers
	Outflow Class = "outflow" // moves money out
	Fee     Class = "fee"     // the vendor bills the call
	Release Class = "release" // cancels something that holds money
	Control Class = "control" // changes destinations, limits, keys
	Test    Class = "test"    // the vendor's test helpers
)

// valid reports whether c is one of the classes above. A class that is misspelt would not be Paid.
func (c Class) valid() bool {
	return slices.Contains([]Class{Read, Free, Edit, Commit, Charge, Outflow, Fee, Release, Control, Test}, c)
}

// Paid reports whether operations of class c can cost, so that unknown parameters are refused, a bound is
// demanded, and a policy that allows them needs a budget.
func (c Class) Paid() bool {
	return c == Edit || c == Commit || c == Charge || c == Outflow || c == Fee
}

// Delicate reports whether operations of class c are allowed by their full names only: one that changes destinations,
// limits or settings costs nothing today and may cost everything tomorrow.
func (c Class) Delicate() bool { return c == Control || c == Test }

// Meter is the meter on which a ceiling is reserved for an operation of class c.
func (c Class) Meter() cost.Meter {
	switch c {
	case Outflow:
		return cost.Outflow
	case Fee:
		return cost.Fee
	}
	return cost.Charge
}

// An Encoding is how an operation's parameters travel in the body.
type Encoding int

// The encodings. None means that a body is refused; parameters are in the query.
const (
	None Encoding = iota
	Form          // application/x-www-form-urlencoded
	JSON          // application/json
)

// An Operation is one row.
type Operation struct {
	// Name is stable and public: "stripe.refunds.create".
	Name string

	// Method, Host and Path recognise the call, all exactly. Path is a template: a segment {name:prefix} matches
	// an id that starts with prefix ("{id:re_}"), followed by 1 to 255 of [A-Za-z0-9_-]; {name} matches such an
	// id without a prefix; a suffix after the brace is literal ("{id:SM}.json"). {name:*} matches a name of the user's
	// choice: it may have . @ + and : in it too, starts with a letter, a digit, _ or +, and does not end in .json, .xml or
	// .csv, which some servers take for the form of the answer. It is for what costs nothing.
	Method, Host, Path string

	Class Class

	// HardDeny, when not empty, is why this operation is refused whatever a policy says.
	HardDeny string

	// Body is the encoding of the request body. For None the parameters are those of the query; for Form, query
	// and body are one set; for JSON a query is refused.
	Body Encoding

	// Params lists the parameters that a paid operation is known to take. Others are refused by name.
	Params Schema

	// Bound says what c can cost at most. For the first look, seen is nil; when the answer asks for a probe, it
	// is run again with the probe's reply. An error refuses the call; a [*Refusal] says how. nil costs nothing,
	// which only classes that are not Paid may say.
	Bound func(c *Call, seen *Reply) (Bound, error)

	// Outcome says what r proves about a first send of c. It never sees a broken connection: that is Unknown,
	// unless no byte was sent. nil means the vendor's general rule, [ByStatus].
	Outcome func(c *Call, r *Reply) Outcome

	// Settle reads what the call did cost from a reply whose outcome is Executed or Pending. An error means that
	// the reply cannot be read: the hold stays, in doubt. nil books the bound.
	Settle func(c *Call, b Bound, r *Reply) (Settlement, error)

	// Trace names the parameters that Reconcile needs to find the call at the vendor again ("To", "metadata[*]"), as in a
	// [Schema]. They are kept with the reservation, sealed so that only who has the credential can read them.
	Trace []string

	// Reconcile says what the vendor's own records tell of a call whose end is not known. It asks for reads only, and is
	// pure as Bound is. An error, and nil, mean that only a person can tell.
	Reconcile func(c *Case) (Finding, error)

	// Stamp returns what to send so that the vendor's object names the run and the call: parameters to set in a form, or
	// for a JSON operation the whole body. Neither: this call cannot carry marks. It is asked only where the brake's
	// owner wants it. Agents must not be able to set or to change the same marks: Check refuses that.
	Stamp func(c *Call, run, mark string) (send []Param, body any)

	// Preview says that this operation, though not a GET, only computes and changes nothing, so that it may be a [Probe].
	Preview bool

	// KeyMemory is how long the vendor is sure to remember an Idempotency-Key of this operation, less a margin:
	// 23 h for Stripe's v1. Zero means that the vendor does not honour one; then the header is not sent.
	KeyMemory time.Duration

	// KeyMax is the longest Idempotency-Key, in bytes, that the vendor takes; 0 means 255.
	KeyMax int
}

// Looks reports whether a call of op changes nothing and costs nothing, so that the brake may make it on its own.
func (op *Operation) Looks() bool {
	return op.Bound == nil && op.HardDeny == "" && (op.Class == Read && op.Method == http.MethodGet || op.Class == Free && op.Preview)
}

// A Schema names parameters. "amount" names one; "metadata[*]" names every parameter below metadata.
type Schema struct {
	Plain     []string // harmless or priced
	Redirects []string // redirect money or effect: each needs a rule that names it

	// Lists are the parameters of a query or form that the vendor reads as lists when they are repeated: name=a&name=b. A
	// rule sees every value. Of any other name two are refused. Paid operations name them above as well.
	Lists []string
}

// A Kind is what is known about a bound.
type Kind int

// The kinds of bound. Unknown is the zero value and is not forwarded without a ceiling.
const (
	Unknown Kind = iota
	AtMost
	Exact
)

// A Bound is what a call can cost.
type Bound struct {
	Kind  Kind
	Lines []cost.Line // each rounded up once; for Unknown, what is known all the same: a ceiling must cover it

	// Why says, for Unknown, what is missing and how to supply it.
	Why string

	// Probe, when set, is a read to make before the bound is known; Kind is then ignored.
	Probe *Probe

	// Send are parameters that are set in the outgoing form, over what the caller sent: the explicit amount that
	// the probe found, so that the vendor executes what was reserved.
	Send []Param

	// Object is the vendor's id of the object whose hold this operation moves ("pi_…"). Lines are then the whole
	// level that the object needs after the operation, not the difference. Empty where no object holds money.
	Object string

	// Recipients and Countries (ISO 3166 alpha-2) are whom the call reaches, for the policy's rules. One that the
	// adapter cannot name is "?" and matches no rule.
	Recipients, Countries []string
}

// A Probe is a read of the same vendor that an operation needs before its bound is known, or to reconcile it.
type Probe struct {
	Operation string // catalogue name; its class must be Read, or the row a Preview
	Host      string // empty: the call's own
	Path      string
	Query     []Param // of a Preview: the form
}

// An Outcome is what is known about whether the vendor executed a call.
type Outcome int

// The outcomes. Unknown is the zero value: the hold stays.
const (
	OutcomeUnknown Outcome = iota
	NotExecuted            // proof that the vendor did not execute: the hold is given back
	Executed
	Pending // executed or accepted, not final
)

// String is the outcome as it stands in records.
func (o Outcome) String() string {
	return [...]string{"in_doubt", "not_executed", "executed", "pending"}[o]
}

// A Settlement is what a reply says about cost.
type Settlement struct {
	Actual []cost.Line // booked as spent now
	Held   []cost.Line // still held afterwards: an authorisation not yet captured, an intent not yet confirmed
	Object string      // the id of the object that carries Held, as the reply names it

	// Objects are the vendor's ids of what the call touched, for the record.
	Objects []string

	// Again is when the amount is worth looking at again; zero means that it is final.
	Again time.Duration

	// Flag names something a person should see, in a word or two: "unexpected currency". Empty is usual.
	Flag string
}

// A Reply is the vendor's answer, wholly read.
type Reply struct {
	Status int
	Header http.Header
	Body   []byte
}

// A Response is a reply that the brake makes itself.
type Response struct {
	Status int
	Header http.Header
	Body   []byte
}

// A Refusal is why a call does not go through. It is an error so that a row can return it.
type Refusal struct {
	Code    reason.Code
	Param   string // the parameter at fault, if it is one
	Detail  string // what happened and what to do, for this call; never a value that the agent sent, never a secret
	Message string // the whole text for the caller, set by the brake; ends with the marker
	Status  int    // set by the brake from the reason table
}

// Error is the refusal for a log line.
func (r *Refusal) Error() string {
	if r.Param != "" {
		return fmt.Sprintf("%s: parameter %q: %s", r.Code, r.Param, r.Detail)
	}
	return fmt.Sprintf("%s: %s", r.Code, r.Detail)
}

// Refuse makes a Refusal with a formatted detail.
func Refuse(code reason.Code, format string, args ...any) *Refusal {
	return &Refusal{Code: code, Detail: fmt.Sprintf(format, args...)}
}

// A Mode says whether a credential moves real money.
type Mode int

// The modes. ModeUnknown belongs to vendors whose credentials do not tell.
const (
	ModeUnknown Mode = iota
	ModeTest
	ModeLive
)

// A Placement is a credential, ready to be sent. Only the brake's flight reads it; it is never printed.
type Placement struct {
	Header, Value string   // the header that carries it, its secret part where it has several
	Also          []Param  // further headers that carry parts of it
	Account       string   // the account it acts for, where the credential says so (Twilio's AC…)
	Mode          Mode     // live or test
	Kind          string   // what its form tells of it, in a word of the adapter's own, for [Vendor.Examine]
	Secrets       []string // the secret parts, to be scrubbed from replies
}

// String hides the credential.
func (Placement) String() string { return "[credential]" }

// GoString hides the credential.
func (Placement) GoString() string { return "[credential]" }

// Format hides the credential under every verb.
func (Placement) Format(s fmt.State, _ rune) { fmt.Fprint(s, "[credential]") }

// MarshalText hides the credential from encoders.
func (Placement) MarshalText() ([]byte, error) { return []byte("[credential]"), nil }

// GobEncode hides the credential from encoding/gob, which asks for no text.
func (Placement) GobEncode() ([]byte, error) { return []byte("[credential]"), nil }

// LogValue hides the credential from slog.
func (Placement) LogValue() slog.Value { return slog.StringValue("[credential]") }
