package kbresend

import (
	"encoding/json"
	"net/http"
	"slices"

	"github.com/keybrake/keybrake-go/vendors"
)

// sends are what a key with sending access may do: "only send emails" (Resend's documentation, read November 2026).
var sends = []string{"resend.emails.send", "resend.emails.batch"}

// examine tells a key with full access from one with sending access: the latter is answered restricted_api_key, with status
// 401, wherever it does anything but send (Resend's documentation of errors, read November 2026).
func examine(e *vendors.Exam) vendors.Diagnosis {
	if len(e.Seen) == 0 {
		return vendors.Diagnosis{Look: &vendors.Probe{Operation: "resend.domains.list", Host: Host, Path: "/domains"}}
	}
	reply := e.Seen[0]
	var said struct {
		Name string `json:"name"`
	}
	if reply.Status != http.StatusOK {
		_ = json.Unmarshal(reply.Body, &said) // what is no JSON names nothing
	}
	beyond := slices.IndexFunc(e.Needs, func(op *vendors.Operation) bool { return !slices.Contains(sends, op.Name) })
	const full, sending = "a key with full access", "a key with sending access"
	switch {
	case reply.Status == http.StatusOK && beyond < 0:
		return vendors.Diagnosis{
			Fit: vendors.Wider, Is: full, Why: "these policies only send, and it reads mail and contacts, changes domains and webhooks, and makes further keys",
			Do: "make a key with sending access, for the one domain that is sent from; a Reconciler cannot read with it what became of a mail in doubt",
		}
	case reply.Status == http.StatusOK:
		return vendors.Diagnosis{Fit: vendors.Fits, Is: full, Why: "Resend has nothing narrower that may do " + e.Needs[beyond].Name}
	case said.Name == "restricted_api_key" && beyond < 0:
		return vendors.Diagnosis{Fit: vendors.Fits, Is: sending}
	case said.Name == "restricted_api_key":
		return vendors.Diagnosis{
			Fit: vendors.Narrower, Is: sending, Why: "Resend will refuse " + e.Needs[beyond].Name + ", which these policies let through",
			Do: "take it out of the policies, or use a key with full access",
		}
	case said.Name == "invalid_api_key" || said.Name == "missing_api_key":
		return vendors.Diagnosis{Fit: vendors.Refused, Why: "Resend does not accept it", Do: "put a key in its place that is not revoked"}
	}
	return vendors.Diagnosis{Why: "Resend gave no answer that tells"}
}
