// Package kbresend is Resend for the brake: its operations, what a mail costs, and how its replies are read.
//
// Resend names no price in any reply, so a mail's cost is what it will count towards the plan: "Multiple To, CC,
// or BCC recipients in sent emails count as separate emails towards this quota" (Resend's documentation, read
// 2026-11). The bound is therefore exact: recipients × [Options.PricePerRecipient] on the fee
// meter, and the recipients themselves on the units meter, which is the brake that matters for mail.
//
// Everything here is a pure function over bytes. The catalogue is catalogue.tsv: all that Resend publishes. What sends
// to a list that no request names (broadcasts, events, automations, an inbox's drafts and replies) has no bound and
// needs a ceiling in its rule; a broadcast that is created to be sent at once has one where its price is known.
//
// A scheduled mail is booked when Resend accepts it, and is looked at again until it is sent. A call that cancels it gives
// nothing back by itself; that Resend shows it as canceled does, since it was never sent.
//
// Where the brake's owner wants it, every mail carries the run and the call as tags (keybrake_run, keybrake_call), which
// no agent may set. A call in doubt is found by the ids that its reply named, by the tag, or, of calls without one, as the
// only mail of that time to the same people. That nothing is found proves nothing: Resend does not say how soon its lists
// are complete.
package kbresend

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
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

// A Plan is a transactional plan of Resend's, by which a mail is priced.
type Plan string

// The plans (resend.com/pricing, read 2026-11). What a plan does not include is sold in started thousands at $0.90, and
// a recipient is booked at what the dearest one of a full thousand costs.
const (
	Free  Plan = "free"  // nothing is billed: mails beyond the quota are refused
	Pro   Plan = "pro"   // DefaultPricePerRecipient
	Scale Plan = "scale" // DefaultPricePerRecipient
)

func (p Plan) price() (string, error) {
	switch p {
	case Free:
		return "0", nil
	case "", Pro, Scale:
		return DefaultPricePerRecipient, nil
	}
	return "", fmt.Errorf("kbresend: Options.Plan is %q; it is free, pro or scale", string(p))
}

// Options change the defaults. A nil *Options means all of them. What cannot be read in one is an error where the
// vendor is registered, and refuses every send.
type Options struct {
	// Plan is the team's transactional plan. Default: the dearest.
	Plan Plan

	// PricePerRecipient is a decimal number of US dollars, with at most six digits after the point. "0" means
	// that mails are counted and not priced. Default: the plan's, at most [DefaultPricePerRecipient].
	PricePerRecipient string

	// PricePerBroadcastRecipient is the same for those whom a broadcast reaches: "0" on a marketing plan, which is paid
	// by the number of contacts. Default: not known, so that sending a broadcast needs a ceiling.
	PricePerBroadcastRecipient string
}

// New makes the vendor. It does no I/O and does not fail: what is wrong with o is the vendor's Err.
func New(o *Options) vendors.Vendor {
	if o == nil {
		o = &Options{}
	}
	t := newTariff(*o)
	rows, err := operations(t)
	return vendors.Vendor{
		Name:       "resend",
		Operations: rows,
		Headers:    []string{batchValidation},
		Check:      check,
		Place:      place,
		Refuse:     refuse,
		Resends:    resends,
		Examine:    examine,
		Err:        cmp.Or(t.err, err),
	}
}

// batchValidation is the header that says whether a batch is all or nothing ("strict", the default) or sends the
// mails that are valid ("permissive").
const batchValidation = "X-Batch-Validation"

// keyMemory is less than the 24 hours for which Resend remembers an Idempotency-Key of /emails and /emails/batch,
// and keyMax is the longest that it takes (Resend's documentation, read November 2026). No other operation honours one.
const (
	keyMemory = 23 * time.Hour
	keyMax    = 256
)

// rows are the operations that are code, by name: what the catalogue does not say of them.
func (t tariff) rows() map[string]vendors.Operation {
	return map[string]vendors.Operation{
		"emails.send": {
			Params: mailParams, Bound: t.boundSend, Settle: settleSend, KeyMemory: keyMemory, KeyMax: keyMax,
			Trace: mailTrace, Reconcile: reconcileMails, Stamp: stamp,
		},
		"emails.batch": {
			Params: mailParams, Bound: t.boundBatch, Settle: t.settleBatch, KeyMemory: keyMemory, KeyMax: keyMax,
			Trace: mailTrace, Reconcile: reconcileMails, Stamp: stamp,
		},
		"broadcasts.create": {
			Params: broadcastParams, Bound: t.boundBroadcast, Settle: settleCreate,
			Trace: broadcastTrace, Reconcile: reconcileBroadcast,
		},
	}
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

// broadcastParams are the members of a broadcast.
var broadcastParams = vendors.Schema{
	Plain:     []string{"name", "segment_id", "audience_id", "from", "html", "text", "subject", "reply_to", "preview_text", "send"},
	Redirects: []string{"scheduled_at", "topic_id"},
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
