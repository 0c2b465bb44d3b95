// Package kbresend is Resend for the brake: its operations, what a mail costs, and how its replies are read.
//
// Resend names no price in any reply, so a mail's cost is what it will count towards the plan: "Multiple To, CC,
// or BCC recipients in sent emails count as separate emails towards this quota" (Resend's documentation, read
// 2026-11). The bound is therefore exact: recipients × [Options.PricePerRecipient] on the fee
// meter, and the recipients themselves on the units meter, which is the brake that matters for mail.
//
// Everything here is a pure function over bytes. What the catalogue does not list is denied: broadcasts, events
// and automations send to lists that no request names, so that nothing can bound them.
package kbresend

import (
	"encoding/json"
	"errors"
	"net/http"
	"regexp"
	"time"

	"github.com/keybrake/keybrake-go/reason"
	"github.com/keybrake/keybrake-go/vendors"
)

// Host is the one host of Resend's API.
const Host = "api.resend.com"

// DefaultPricePerRecipient is what one recipient costs at most in US dollars: $0.90 for each started thousand
// above a Pro plan, and the Scale plan's $90 for 100 000; within a plan a mail is cheaper (read 2026-11,
// resend.com/pricing). The first mail of a started thousand is billed as 0.90 at once; the average is never above.
const DefaultPricePerRecipient = "0.0009"

// Options change the defaults. A nil *Options means all of them.
type Options struct {
	// PricePerRecipient is a decimal number of US dollars, with at most six digits after the point. "0" means
	// that mails are counted and not priced. One that cannot be read is an error where the vendor is registered, and
	// refuses every send. Default: [DefaultPricePerRecipient].
	PricePerRecipient string
}

// New makes the vendor. It does no I/O and does not fail: what is wrong with o is the vendor's Err.
func New(o *Options) vendors.Vendor {
	price := DefaultPricePerRecipient
	if o != nil && o.PricePerRecipient != "" {
		price = o.PricePerRecipient
	}
	t := newTariff(price)
	return vendors.Vendor{
		Name:       "resend",
		Operations: operations(t),
		Headers:    []string{batchValidation},
		Check:      check,
		Place:      place,
		Refuse:     refuse,
		Resends:    resends,
		Err:        t.err,
	}
}

// batchValidation is the header that says whether a batch is all or nothing ("strict", the default) or sends the
// mails that are valid ("permissive").
const batchValidation = "X-Batch-Validation"

// check refuses a validation mode that is neither of the two that Resend documents: how many of the mails
// it would send is not known.
func check(c *vendors.Call) error {
	switch c.Header.Get(batchValidation) {
	case "", "strict", "permissive":
		return nil
	}
	return vendors.Refuse(reason.HeaderDenied, "%s is neither strict nor permissive", batchValidation)
}

// keyMemory is less than the 24 hours for which Resend remembers an Idempotency-Key of /emails and /emails/batch,
// and keyMax is the longest that it takes (Resend's documentation, read November 2026). No other operation honours one.
const (
	keyMemory = 23 * time.Hour
	keyMax    = 256
)

// operations is the catalogue. Paths and bodies are those of Resend's OpenAPI description and of resend-go v2.28.0.
func operations(t tariff) []vendors.Operation {
	return append([]vendors.Operation{
		{
			Name: "resend.emails.send", Method: http.MethodPost, Host: Host, Path: "/emails",
			Class: vendors.Fee, Body: vendors.JSON, Params: mailParams,
			Bound: t.boundSend, Outcome: outcome, Settle: settleSend,
			KeyMemory: keyMemory, KeyMax: keyMax,
		},
		{
			Name: "resend.emails.batch", Method: http.MethodPost, Host: Host, Path: "/emails/batch",
			Class: vendors.Fee, Body: vendors.JSON, Params: mailParams,
			Bound: t.boundBatch, Outcome: outcome, Settle: t.settleBatch,
			KeyMemory: keyMemory, KeyMax: keyMax,
		},
		{
			Name: "resend.emails.retrieve", Method: http.MethodGet, Host: Host, Path: "/emails/{id}",
			Class: vendors.Read,
		},
		{
			Name: "resend.emails.list", Method: http.MethodGet, Host: Host, Path: "/emails",
			Class: vendors.Read,
		},
		{
			// Moves a scheduled mail to another time, perhaps past the run's end: it costs nothing and still needs a grant.
			Name: "resend.emails.update", Method: http.MethodPatch, Host: Host, Path: "/emails/{id}",
			Class: vendors.Control, Body: vendors.JSON, Outcome: outcome,
		},
		{
			Name: "resend.emails.cancel", Method: http.MethodPost, Host: Host, Path: "/emails/{id}/cancel",
			Class: vendors.Release, Outcome: outcome,
		},
	}, hardDenied()...)
}

// mailParams are the members of one mail, of /emails and of each element of /emails/batch alike.
var mailParams = vendors.Schema{
	Plain: []string{
		"from", "to", "cc", "bcc", "reply_to", "subject", "html", "text", "tags[*]",
		"attachments[content]", "attachments[filename]", "attachments[content_type]",
		"attachments[content_id]", "attachments[inline_content_id]",
	},
	Redirects: []string{
		"headers[*]",        // may repeat what the mail says elsewhere
		"scheduled_at",      // takes effect later, perhaps after the key has ended
		"attachments[path]", // Resend fetches the URL: it tells whoever owns it, and sends what it finds
		"template[*]",       // the content is at Resend, where others edit it
		"topic_id",          // subscribes and filters recipients
	},
}

// hardDenied are the operations that make keys, or that send what Resend knows elsewhere.
func hardDenied() []vendors.Operation {
	const (
		keys  = "API keys are managed by people, not through a vault key"
		hooks = "webhooks carry every mail event to a URL, and their secret signs it"
		grant = "OAuth grants are managed by people, not through a vault key"
	)
	return []vendors.Operation{
		deny("resend.api_keys.create", http.MethodPost, "/api-keys", keys),
		deny("resend.api_keys.list", http.MethodGet, "/api-keys", keys),
		deny("resend.api_keys.update", http.MethodPatch, "/api-keys/{id}", keys),
		deny("resend.api_keys.delete", http.MethodDelete, "/api-keys/{id}", keys),
		deny("resend.webhooks.create", http.MethodPost, "/webhooks", hooks),
		deny("resend.webhooks.list", http.MethodGet, "/webhooks", hooks),
		deny("resend.webhooks.retrieve", http.MethodGet, "/webhooks/{id}", hooks),
		deny("resend.webhooks.update", http.MethodPatch, "/webhooks/{id}", hooks),
		deny("resend.webhooks.delete", http.MethodDelete, "/webhooks/{id}", hooks),
		deny("resend.oauth.grants.list", http.MethodGet, "/oauth/grants", grant),
		deny("resend.oauth.grants.delete", http.MethodDelete, "/oauth/grants/{id}", grant),
	}
}

func deny(name, method, path, why string) vendors.Operation {
	op := vendors.Operation{Name: name, Method: method, Host: Host, Path: path, Class: vendors.Control, HardDeny: why}
	if method == http.MethodPost || method == http.MethodPatch {
		op.Body = vendors.JSON
	}
	return op
}

var apiKey = regexp.MustCompile(`^re_[A-Za-z0-9_]{1,252}$`)

// place takes one part: the API key, which Resend issues as "re_…". The key does not say whether it is live.
func place(parts []string) (vendors.Placement, error) {
	if len(parts) != 1 || !apiKey.MatchString(parts[0]) {
		return vendors.Placement{}, errors.New("kbresend: the credential is not one Resend API key (re_ and letters, digits or _)")
	}
	return vendors.Placement{
		Header:  "Authorization",
		Value:   "Bearer " + parts[0],
		Mode:    vendors.ModeUnknown,
		Secrets: []string{parts[0]},
	}, nil
}

// refuse writes Resend's error object. resend-go reads the message only under a Content-Type that starts with
// application/json, and makes a RateLimitError of status 429 and a plain error of the rest (measured, November 2026).
func refuse(_ *vendors.Call, r vendors.Refusal) vendors.Response {
	status, message := r.Status, r.Message
	if status == 0 {
		row, _ := reason.Lookup(r.Code)
		status = row.Status
	}
	if message == "" {
		message = r.Error()
	}
	body, err := json.Marshal(apiError{Name: "keybrake_" + string(r.Code), Message: message, StatusCode: status})
	if err != nil { // cannot happen: two strings and a number; an empty object is still a refusal
		body = []byte("{}")
	}
	return vendors.Response{
		Status: status,
		Header: http.Header{"Content-Type": {"application/json; charset=utf-8"}},
		Body:   body,
	}
}

// resends reports true for a connection that broke: resend-go sends nothing again, but the error that it
// would return invites its caller to, and Resend has no memory of a call without a key.
func resends(_ *vendors.Call, r *vendors.Reply) bool { return r == nil }
