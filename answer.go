package keybrake

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/keybrake/keybrake-go/ledger"
	"github.com/keybrake/keybrake-go/reason"
)

// An answer is the vendor's reply to the first of calls that are the same, as its caller got it. The ledger keeps it
// sealed under the real credential, for the span of the repeat rule.
type answer struct {
	Call   string      `json:"call"` // the id of the first call's reservation
	Status int         `json:"status"`
	Proto  string      `json:"proto"`
	Header http.Header `json:"header"`
	Body   []byte      `json:"body"`
}

// replayHeader marks an answer that was given before, and names the call that got it first.
const replayHeader = "Keybrake-Replayed"

// keepAnswer keeps what the vendor replied, for a policy whose repetitions get it back. What cannot be kept, and a call
// whose outcome is not known, leaves nothing: then a repetition is refused.
func (a *attempt) keepAnswer(header http.Header) {
	rule := a.claims.policy.Repeat
	keeper, ok := a.cfg.Ledger.(ledger.Keeper)
	// No longer than the call itself counts, which it does from its reserve on: the next one has an answer of its own, or
	// is in doubt.
	left := rule.Window.Rolls() - time.Since(a.start)
	if !rule.Answer || !ok || a.reply == nil || a.doubt != "" || a.free() || left <= 0 {
		return
	}
	text, _ := json.Marshal(answer{a.permit.Hold().ID, a.landing.Status, a.landing.Proto, header, a.landing.Body}) // cannot fail
	ctx, cancel := a.ledgerContext()
	defer cancel()
	name := a.repetition()
	if err := keeper.Keep(ctx, a.claims.Tenant, "answer:"+name, sealText(a.secret, text, a.claims.Tenant, name), left); err != nil {
		a.log().WarnContext(a.ctx, "keybrake: the answer to a call is not kept; a repetition will be refused", "operation", a.call.Operation.Name, "error", err)
	}
}

// firstAnswer is the reply to the first of the calls that this one repeats, where the policy says that a repetition gets
// it; nil where there is none to give.
func (a *attempt) firstAnswer(err error) *http.Response {
	var denied *ledger.Denied
	if !errors.As(err, &denied) || denied.Code != reason.RepeatExceeded || !a.claims.policy.Repeat.Answer {
		return nil
	}
	keeper, ok := a.cfg.Ledger.(ledger.Keeper)
	if !ok {
		return nil
	}
	ctx, cancel := context.WithTimeout(a.ctx, a.cfg.LedgerTimeout)
	defer cancel()
	name := a.repetition()
	sealed, err := keeper.Kept(ctx, a.claims.Tenant, "answer:"+name)
	if err != nil {
		a.log().WarnContext(a.ctx, "keybrake: the ledger did not say which answer was kept; the repetition is refused", "operation", a.call.Operation.Name, "error", err)
		return nil
	}
	var first answer
	text, err := openText(a.secret, sealed, a.claims.Tenant, name)
	if err != nil || json.Unmarshal(text, &first) != nil {
		return nil // nothing was kept, or not under this credential
	}
	first.Header.Set(replayHeader, first.Call)
	a.flag("answered as " + first.Call + " was")
	return a.response(first.Status, first.Proto, first.Header, first.Body, nil)
}
