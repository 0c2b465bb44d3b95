// Package reason is the one table of why a call was refused: a stable code, the HTTP status that the refusal
// carries, and a sentence for the person who reads it. Codes are part of the public contract: they are never
// renamed, and a new one is a minor release.
//
// This package imports nothing of Keybrake.
package reason

import "slices"

// A Code names one reason. It is made of [a-z_] and contains no two underscores in a row, so that it can be
// carried in a message and cut out of it again.
type Code string

// The codes. See [All] for status and sentence of each.
const (
	KeyMissing   Code = "key_missing"
	KeyMalformed Code = "key_malformed"
	KeyAmbiguous Code = "key_ambiguous"
	KeyReal      Code = "key_real_credential"
	KeyUntrusted Code = "key_untrusted"
	KeyNotYet    Code = "key_not_yet_valid"
	KeyExpired   Code = "key_expired"
	KeyUnknown   Code = "key_unknown"
	KeyRevoked   Code = "key_revoked"
	KeyPaused    Code = "key_paused"
	KeyFrozen    Code = "key_frozen"
	KeyVendor    Code = "key_vendor"
	KeyPeer      Code = "key_peer"

	RequestInvalid      Code = "request_invalid"
	HostUnknown         Code = "host_unknown"
	HeaderDenied        Code = "header_denied"
	BodyInvalid         Code = "body_invalid"
	ParamDuplicate      Code = "param_duplicate"
	ParamInvalid        Code = "param_invalid"
	ParamUnknown        Code = "param_unknown"
	ParamRedirects      Code = "param_redirects"
	ParamDenied         Code = "param_denied"
	AccountMismatch     Code = "account_mismatch"
	OperationUnknown    Code = "operation_unknown"
	OperationHardDenied Code = "operation_hard_denied"
	OperationDenied     Code = "operation_denied"
	CountryDenied       Code = "country_denied"
	RecipientDenied     Code = "recipient_denied"
	CostUnknown         Code = "cost_unknown"
	CurrencyDenied      Code = "currency_denied"
	MaxPerCall          Code = "max_per_call"
	ProbeFailed         Code = "probe_failed"
	IdempotencyInvalid  Code = "idempotency_key_invalid"
	IdempotencyConflict Code = "idempotency_conflict"
	IdempotencyInFlight Code = "idempotency_in_flight"

	BudgetExceeded Code = "budget_exceeded"
	BudgetMissing  Code = "budget_missing"
	RepeatExceeded Code = "repeat_exceeded"

	LedgerUnavailable     Code = "ledger_unavailable"
	LedgerFrozen          Code = "ledger_frozen"
	CredentialUnavailable Code = "credential_unavailable"
	AuditUnavailable      Code = "audit_unavailable"
	Canceled              Code = "canceled"
	Unsent                Code = "vendor_unreachable"
	InDoubt               Code = "in_doubt"
)

// An Entry is one row of the table.
type Entry struct {
	Code     Code
	Status   int    // the HTTP status of the refusal: 401 key, 403 not allowed, 429 budget, 503 cannot check
	Sentence string // what happened and what to do, without the particulars of the call
}

// table is ordered as the way of a call is: the key, the request, the policy, the ledger, the rest.
var table = []Entry{
	{KeyMissing, 401, "no vault key in the request; give the SDK the token of a key that the brake issued"},
	{KeyMalformed, 401, "the credential is not a vault key, or is damaged; issue a new one"},
	{KeyAmbiguous, 401, "the request carries more than one credential, or a vault key where it would go out; send it once, where the SDK sends the vendor's key"},
	{KeyReal, 401, "the request carries a real vendor credential; agents hold vault keys only, rotate the credential"},
	{KeyUntrusted, 401, "the vault key was not signed by an issuer that this brake trusts"},
	{KeyNotYet, 401, "the vault key is not valid yet; check not-before and the clock"},
	{KeyExpired, 401, "the vault key has expired; issue a new one"},
	{KeyUnknown, 401, "the ledger has no row for this vault key; it was never opened here, or the ledger lost it; issue a new key"},
	{KeyRevoked, 401, "revoked; this is final, issue a new key if the agent may go on"},
	{KeyPaused, 401, "paused; resume it if the agent may go on"},
	{KeyFrozen, 401, "frozen after the vendor took more than its bound; look at the overrun, then resume the key"},
	{KeyVendor, 401, "the vault key does not cover this vendor; name a credential for it in the grant"},
	{KeyPeer, 401, "the vault key is bound to another client than the one that sent the call"},

	{RequestInvalid, 403, "the request is not in canonical form; send the path and headers as the vendor documents them"},
	{HostUnknown, 403, "no registered vendor serves this scheme, host and port; register the vendor or fix the URL"},
	{HeaderDenied, 403, "a header of the request could change whose money moves or how the call is read; remove it"},
	{BodyInvalid, 403, "the body cannot be read as the operation's content type says; nothing unread is forwarded"},
	{ParamDuplicate, 403, "a parameter is given twice; send it once"},
	{ParamInvalid, 403, "a parameter's value is not of the form that the vendor documents"},
	{ParamUnknown, 403, "a parameter is not in the catalogue of this money operation; name it in the rule's params to allow it"},
	{ParamRedirects, 403, "a parameter redirects money or effect; name it in the rule's params to allow it"},
	{ParamDenied, 403, "the policy's rule does not allow this value of a parameter"},
	{AccountMismatch, 403, "the request acts for another account than the key's credential"},
	{OperationUnknown, 403, "the operation is not in the vendor's catalogue; unknown calls are never forwarded"},
	{OperationHardDenied, 403, "the operation is never allowed through a vault key, whatever the policy says"},
	{OperationDenied, 403, "no rule of the policy allows this operation; add one if the agent needs it"},
	{CountryDenied, 403, "the policy does not name the destination's country"},
	{RecipientDenied, 403, "the policy does not allow this recipient"},
	{CostUnknown, 403, "the cost of this call cannot be bounded before it is made; give its rule a ceiling, or send the missing parameter"},
	{CurrencyDenied, 403, "a budget that counts this call is in another currency"},
	{MaxPerCall, 403, "the call costs more than the rule allows for one call"},
	{ProbeFailed, 403, "the amount is known only at the vendor, and reading it there failed; nothing was sent that costs"},
	{IdempotencyInvalid, 403, "the idempotency key is empty, too long or not printable ASCII"},
	{IdempotencyConflict, 403, "this idempotency key was used by the run for a different request; use a new key"},

	{IdempotencyInFlight, 403, "the first attempt with this idempotency key is not over, or was made with another vault key; wait until it has ended, or retry with that key"},

	{BudgetExceeded, 429, "a budget does not cover this call; wait for its reset or raise it"},
	{BudgetMissing, 429, "a budget that the key names has no row in the ledger; create it with SetBudget"},
	{RepeatExceeded, 429, "the run has made this very call as often as its policy allows; if it is meant, wait for the reset or raise the repeat rule"},

	{LedgerUnavailable, 503, "the ledger did not answer, so spending cannot be checked; nothing was sent"},
	{LedgerFrozen, 503, "the ledger's store has lost writes that it had acknowledged, so what was spent is not known; nothing was sent; put them back and re-arm the ledger"},
	{CredentialUnavailable, 503, "the real credential could not be fetched; nothing was sent"},
	{AuditUnavailable, 503, "the audit sink did not take the record, and what cannot be recorded is not forwarded"},
	{Canceled, 503, "the caller's context ended before the call was sent"},
	{Unsent, 503, "the vendor could not be reached; nothing was sent, nothing is held"},
	{InDoubt, 503, "the call was sent and its outcome is unknown; the money stays held, do not send it again"},
}

// All returns the table in the order of the way of a call. The slice is the caller's.
func All() []Entry { return slices.Clone(table) }

// Lookup returns the row of c. An unknown code is answered with status 403 and no sentence, so that a code
// from a newer process is still a refusal here.
func Lookup(c Code) (Entry, bool) {
	for _, e := range table {
		if e.Code == c {
			return e, true
		}
	}
	return Entry{Code: c, Status: 403}, false
}
