package keybrake_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"github.com/resend/resend-go/v2"
	"github.com/stripe/stripe-go/v76"
	stripeclient "github.com/stripe/stripe-go/v76/client"
	"github.com/twilio/twilio-go"
	twilioclient "github.com/twilio/twilio-go/client"
	twilioapi "github.com/twilio/twilio-go/rest/api/v2010"
	conversations "github.com/twilio/twilio-go/rest/conversations/v2"

	"github.com/keybrake/keybrake-go"
	"github.com/keybrake/keybrake-go/audit"
	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/keybraketest"
	"github.com/keybrake/keybrake-go/ledger"
	"github.com/keybrake/keybrake-go/reason"
)

// This file says what each vendor's SDK makes of each refusal: every reason of package reason times every SDK. The
// SDKs and the brake are real, and what was executed is told by the fake vendor. The table of how each refusal comes
// about is in sdk_refusals_test.go; none is made up but where an SDK cannot come to it.

// An sdkCall is one call of an SDK.
type sdkCall func(hc *http.Client, token string) error

// An sdkAgent is an agent that makes a call which costs.
type sdkAgent struct {
	name      string
	operation string
	need      int64 // micro-USD
	pay       sdkCall
	asError   bool // Transport.DenyAsError

	// own reports whether err is the type that the SDK gives for a refusal of this status.
	own func(err error, d *keybrake.Denial, status int) bool
}

const (
	stripeGo    = "stripe-go"
	twilioGo    = "twilio-go"
	twilioV1    = "twilio-go for a v1.0 API"
	resendGo    = "resend-go"
	plainHTTP   = "net/http"
	plainErrors = "net/http with DenyAsError"
)

func sdkAgents() []sdkAgent {
	return []sdkAgent{
		{name: stripeGo, operation: "stripe.refunds.create", need: 20_000_000, pay: makeRefund(nil), own: isStripeError},
		{name: twilioGo, operation: "twilio.messages.create", need: 13_300, pay: sendText(nil), own: isTwilioError},
		{name: twilioV1, operation: "twilio.conversations.actions.create", need: 1_000_000, pay: sendAction(nil), own: isTwilioV1Error},
		{name: resendGo, operation: "resend.emails.send", need: 900, pay: sendMail(nil), own: isResendError},
		{name: plainHTTP, operation: "stripe.payment_intents.create", need: 20_000_000, pay: postIntent(nil), own: isReply},
		{name: plainErrors, operation: "stripe.payment_intents.create", need: 20_000_000, pay: postIntent(nil), own: isDenial, asError: true},
	}
}

func isStripeError(err error, d *keybrake.Denial, status int) bool {
	var e *stripe.Error
	return errors.As(err, &e) && e.HTTPStatusCode == status && string(e.Code) == "keybrake_"+string(d.Reason) && e.Param == d.Param &&
		e.Type != stripe.ErrorTypeCard
}

func isTwilioError(err error, _ *keybrake.Denial, status int) bool {
	var e *twilioclient.TwilioRestError
	return errors.As(err, &e) && e.Status == status && e.Code == 20000+status
}

func isTwilioV1Error(err error, _ *keybrake.Denial, status int) bool {
	var e *twilioclient.RestErrorV1
	return errors.As(err, &e) && e.HttpStatusCode == status && e.Code == 20000+status
}

func isResendError(err error, _ *keybrake.Denial, status int) bool {
	var limited *resend.RateLimitError
	if status == http.StatusTooManyRequests {
		return errors.As(err, &limited)
	}
	return !errors.As(err, &limited) && strings.HasPrefix(err.Error(), "[ERROR]: ")
}

// A replyError is what a program that uses net/http alone may make of a reply.
type replyError struct {
	status int
	body   string
}

func (e *replyError) Error() string { return e.body }

func isReply(err error, _ *keybrake.Denial, status int) bool {
	var e *replyError
	return errors.As(err, &e) && e.status == status
}

func isDenial(err error, found *keybrake.Denial, status int) bool {
	var d *keybrake.Denial
	return errors.As(err, &d) && d == found && d.Status == status
}

// stripeSDK is stripe-go with its retries and without its sleeps and its log.
func stripeSDK(hc *http.Client, token string) *stripeclient.API {
	backend := func(kind stripe.SupportedBackend) stripe.Backend {
		b := stripe.GetBackendWithConfig(kind, &stripe.BackendConfig{HTTPClient: hc, LeveledLogger: &stripe.LeveledLogger{}})
		b.(*stripe.BackendImplementation).SetNetworkRetriesSleep(false)
		return b
	}
	return stripeclient.New(token, &stripe.Backends{
		API: backend(stripe.APIBackend), Connect: backend(stripe.ConnectBackend), Uploads: backend(stripe.UploadsBackend),
	})
}

func twilioSDK(hc *http.Client, account, user, token string) *twilio.RestClient {
	c := &twilioclient.Client{Credentials: twilioclient.NewCredentials(user, token), HTTPClient: hc}
	c.SetAccountSid(account)
	return twilio.NewRestClientWithParams(twilio.ClientParams{Client: c})
}

// makeRefund gives 20 USD of the seeded charge back.
func makeRefund(change func(*stripe.RefundParams)) sdkCall {
	return func(hc *http.Client, token string) error {
		p := &stripe.RefundParams{Charge: stripe.String("ch_1"), Amount: stripe.Int64(2000)}
		if change != nil {
			change(p)
		}
		_, err := stripeSDK(hc, token).Refunds.New(p)
		return err
	}
}

// sendText sends one segment to the United States.
func sendText(change func(*twilioapi.CreateMessageParams)) sdkCall {
	return func(hc *http.Client, token string) error {
		p := &twilioapi.CreateMessageParams{}
		p.SetTo("+14155550100").SetFrom("+14155550199").SetBody("your refund is on its way")
		if change != nil {
			change(p)
		}
		_, err := twilioSDK(hc, twilioAccount, twilioAccount, token).Api.CreateMessage(p)
		return err
	}
}

// sendAction sends a message in a conversation, through an API of Twilio's newer kind.
func sendAction(change func(*conversations.CreateConversationActionRequest)) sdkCall {
	return func(hc *http.Client, token string) error {
		return runAction(twilioSDK(hc, twilioAccount, twilioAccount, token), change)
	}
}

func runAction(c *twilio.RestClient, change func(*conversations.CreateConversationActionRequest)) error {
	r := conversations.CreateConversationActionRequest{Type: "SEND_MESSAGE"}
	r.Payload.From = conversations.ConversationsV2SendMessageParticipant{Address: "+14155550199", Channel: "SMS"}
	r.Payload.To = []conversations.ConversationsV2SendMessageParticipant{{Address: "+14155550100", Channel: "SMS"}}
	r.Payload.Content.Text = "your refund is on its way"
	if change != nil {
		change(&r)
	}
	p := &conversations.CreateConversationActionParams{}
	_, err := c.ConversationsV2.CreateConversationAction("conv_1", p.SetCreateConversationActionRequest(r))
	return err
}

// sendMail sends one mail to one recipient, under an idempotency key if there is one.
func sendMail(change func(*resend.SendEmailRequest, *resend.SendEmailOptions)) sdkCall {
	return func(hc *http.Client, token string) error {
		r := &resend.SendEmailRequest{From: "bot@acme.com", To: []string{"ann@example.com"}, Subject: "Refund", Text: "It is on its way."}
		o := &resend.SendEmailOptions{}
		if change != nil {
			change(r, o)
		}
		_, err := resend.NewCustomClient(hc, token).Emails.SendWithOptions(context.Background(), r, o)
		return err
	}
}

// postIntent makes a payment intent of 20 USD with net/http alone.
func postIntent(change func(form url.Values, header http.Header)) sdkCall {
	return func(hc *http.Client, token string) error {
		form := url.Values{"amount": {"2000"}, "currency": {"usd"}}
		header := http.Header{"Authorization": {"Bearer " + token}, "Content-Type": {"application/x-www-form-urlencoded"}}
		if change != nil {
			change(form, header)
		}
		req, err := http.NewRequestWithContext(context.Background(), http.MethodPost, "https://api.stripe.com/v1/payment_intents", strings.NewReader(form.Encode()))
		if err != nil {
			return err
		}
		req.Header = header
		resp, err := hc.Do(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err == nil && resp.StatusCode >= 300 {
			err = &replyError{resp.StatusCode, string(body)}
		}
		return err
	}
}

// A tripCounter counts round trips and keeps the last reply, with its body.
type tripCounter struct {
	next http.RoundTripper

	mu    sync.Mutex
	trips int
	reply *http.Response
	body  string
}

func (c *tripCounter) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := c.next.RoundTrip(req)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.trips++
	if err != nil {
		return resp, err
	}
	text, cut := io.ReadAll(resp.Body)
	c.reply, c.body = resp, string(text)
	resp.Body = io.NopCloser(io.MultiReader(strings.NewReader(c.body), iotest.ErrReader(cmp.Or(cut, io.EOF))))
	return resp, nil
}

// A tripFunc is a function as a transport.
type tripFunc func(*http.Request) (*http.Response, error)

func (f tripFunc) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// An sdkStage is where one refusal is provoked. A provocation changes its fields.
type sdkStage struct {
	*world
	t         *testing.T
	agent     sdkAgent
	enforcing *keybrake.Brake // which the agent's transport is of

	grant  keybrake.Grant
	before func(*keybrake.Brake)             // what happens after the key was issued
	on     func(*http.Request) *http.Request // what happens to a request between the SDK and the transport
	call   sdkCall                           // instead of the agent's own

	key      keybrake.Key
	token    string
	executes int // how many times the vendor executes all the same
	records  int // how many there were before the call
}

// A provocation leads to a refusal.
type provocation func(*sdkStage)

// A refusalRow is one reason, and how every agent comes to it.
type refusalRow struct {
	code    reason.Code
	how     string
	enforce func(*keybrake.Config) // what is different in the process that enforces; nil: it is the issuing one
	by      provocation            // for every agent that has none of its own
	own     map[string]provocation // by name of the agent
	not     map[string]string      // agents that cannot come to it, and why
	wait    bool                   // a reset is known
}

// stop revokes or pauses.
func (s *sdkStage) stop(verb func(context.Context, keybrake.Selector) (keybrake.Report, error), which keybrake.Selector) {
	if _, err := verb(s.t.Context(), which); err != nil {
		s.t.Fatal(err)
	}
}

// openIn makes the row of the key in another ledger.
func (s *sdkStage) openIn(l ledger.Ledger) {
	if err := l.Open(s.t.Context(), ledger.Key{Tenant: s.grant.Tenant, ID: s.key.ID, Expires: s.key.Expires}); err != nil {
		s.t.Fatal(err)
	}
}

func TestEverySDKGetsEveryRefusalOnce(t *testing.T) {
	rows := refusalRows(t)
	for _, entry := range reason.All() {
		if !slices.ContainsFunc(rows, func(r refusalRow) bool { return r.code == entry.Code }) {
			t.Errorf("%s is a reason that no row provokes", entry.Code)
		}
	}
	w := newWorld(t, nil) // one for all, because a brake takes a while to make; each has a tenant of its own
	start, tenants := time.Now(), 0
	w.ledger.Now = func() time.Time { return start } // so that no window ends between a refusal and a look at the books
	for _, row := range rows {
		enforcing := w.Brake
		if row.enforce != nil {
			enforcing = w.another(t, row.enforce)
		}
		recordingEach(t, enforcing)
		for _, agent := range sdkAgents() {
			tenants++
			t.Run(fmt.Sprintf("%s/%s/%s", row.code, cmp.Or(row.how, "simply"), agent.name), func(t *testing.T) {
				w.fake.Reset()
				w.fake.SeedCharge("ch_1", 500000, "usd")
				s := &sdkStage{t: t, agent: agent, world: w, enforcing: enforcing, grant: grant("run_1", everything()), call: agent.pay}
				s.grant.Tenant = fmt.Sprintf("acme-%d", tenants)
				if why := row.not[agent.name]; why != "" {
					s.canned(row, why)
				} else {
					s.provoke(row)
				}
			})
		}
	}
}

// Without a cause nothing is refused: what the rows above change is what refuses.
func TestEverySDKPaysWhereNothingIsWrong(t *testing.T) {
	w := newWorld(t, nil)
	w.fake.SeedCharge("ch_1", 500000, "usd")
	key := w.issue(t, "run_1", everything())
	for _, agent := range sdkAgents() {
		count := &tripCounter{next: w.Transport(nil)}
		err := agent.pay(&http.Client{Transport: count}, key.Token())
		if _, denied := keybrake.DenialFrom(err); denied || count.trips != 1 {
			t.Errorf("%s: %d round trips: %v", agent.name, count.trips, err)
		}
		if err != nil && agent.name != twilioV1 { // the fake vendor has no conversations
			t.Errorf("%s: %v", agent.name, err)
		}
	}
}

// another is a further brake of the same issuer, ledger and vendor.
func (w *world) another(t testing.TB, change func(*keybrake.Config)) *keybrake.Brake {
	t.Helper()
	config := w.config()
	change(&config)
	b, err := keybrake.New(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// canned has the refusal written by the brake's own hand, for an SDK that cannot come to it.
func (s *sdkStage) canned(row refusalRow, why string) {
	s.t.Logf("written for it: %s", why)
	count := &tripCounter{next: keybraketest.Deny(s.t, keybrake.Denial{Reason: row.code, Operation: s.agent.operation})}
	err := s.agent.pay(&http.Client{Transport: count}, "anytoken")
	if s.agent.asError {
		s.agent.own = isReply
	}
	d := s.found(row, count, err)
	s.checkReply(row, d, count)
}

// provoke brings the refusal about and looks at all that it left behind.
func (s *sdkStage) provoke(row refusalRow) {
	lead := row.own[s.agent.name]
	if lead == nil {
		lead = row.by
	}
	if lead == nil {
		s.t.Fatal("the row does not say how this agent comes to it, nor why it cannot")
	}
	lead(s)
	key, err := s.Issue(s.t.Context(), s.grant)
	if err != nil {
		s.t.Fatal(err)
	}
	s.key, s.token = key, key.Token()
	if s.before != nil {
		s.before(s.enforcing)
	}
	count := s.agentsTransport()
	hc := s.enforcing.Client()
	hc.Transport = count

	before, executed, received := s.balance(), len(s.fake.Executions()), len(s.fake.Received())
	s.records = len(s.sink.Records())
	err = s.call(hc, s.token)
	d := s.found(row, count, err)
	s.checkReply(row, d, count)
	s.checkVendor(executed, received)
	s.checkBooks(row, d, before)
	s.checkRecord(row, d)
}

// agentsTransport is the transport as the SDK has it: counted, with what the stage does to requests in between.
func (s *sdkStage) agentsTransport() *tripCounter {
	transport := s.enforcing.Transport(nil)
	transport.DenyAsError = s.agent.asError
	return &tripCounter{next: tripFunc(func(r *http.Request) (*http.Response, error) {
		if s.on != nil {
			r = s.on(r)
		}
		return transport.RoundTrip(r)
	})}
}

// balance is the state of the key's budgets.
func (s *sdkStage) balance() []ledger.State {
	states, err := s.Balance(s.t.Context(), s.key.Token())
	if err != nil {
		s.t.Fatal(err)
	}
	return states
}

// found is the denial in the error of an SDK that made one round trip.
func (s *sdkStage) found(row refusalRow, count *tripCounter, err error) *keybrake.Denial {
	s.t.Helper()
	if count.trips != 1 {
		s.t.Errorf("%d round trips, want 1", count.trips)
	}
	if err == nil {
		s.t.Fatal("the call went through")
	}
	d, ok := keybrake.DenialFrom(err)
	if !ok {
		s.t.Fatalf("no denial in %T %v", err, err)
	}
	entry, _ := reason.Lookup(row.code)
	if d.Reason != row.code || d.Status != entry.Status {
		s.t.Fatalf("got %s with status %d, want %s with %d: %v", d.Reason, d.Status, row.code, entry.Status, err)
	}
	if row.code == reason.Canceled {
		if !errors.Is(err, context.Canceled) || !errors.As(err, new(*keybrake.Denial)) {
			s.t.Errorf("%v is not both a denial and the end of the context", err)
		}
	} else if !s.agent.own(err, d, entry.Status) {
		s.t.Errorf("%T %v is not the SDK's own error", err, err)
	}
	if text := err.Error() + count.body; leaksSecret(text) {
		s.t.Errorf("a secret is in %s", text)
	}
	if m := markerIn.FindString(count.body); count.reply != nil && (len(m) > 200 || !wholeMarker.MatchString(m)) {
		s.t.Errorf("the marker %q is longer than 200 bytes, or of other characters than A-Z a-z 0-9 _", m)
	}
	return d
}

var (
	markerIn    = regexp.MustCompile(`\[kbd_[^\]]*\]`)
	wholeMarker = regexp.MustCompile(`^\[kbd_[A-Za-z0-9_]+\]$`)
)

// leaksSecret reports whether a real credential is in text.
func leaksSecret(text string) bool {
	return slices.ContainsFunc([]string{stripeSecret, twilioSecret, resendSecret}, func(secret string) bool { return strings.Contains(text, secret) })
}

func (s *sdkStage) checkReply(row refusalRow, d *keybrake.Denial, count *tripCounter) {
	s.t.Helper()
	if count.reply == nil {
		if !s.agent.asError && row.code != reason.Canceled {
			s.t.Error("an error came back where an SDK needs a response")
		}
		return
	}
	h := count.reply.Header
	if count.reply.StatusCode != d.Status || h.Get("Keybrake-Denial") != string(row.code) {
		s.t.Errorf("status %d and header %q, want %d and %q", count.reply.StatusCode, h.Get("Keybrake-Denial"), d.Status, row.code)
	}
	if s.vendor() == "stripe" && h.Get("Stripe-Should-Retry") != "false" {
		s.t.Errorf("Stripe-Should-Retry is %q", h.Get("Stripe-Should-Retry"))
	}
	after := h.Get("Retry-After")
	if (after != "") != row.wait || row.wait != !d.Reset.IsZero() {
		s.t.Errorf("Retry-After is %q and the reset %v", after, d.Reset)
	}
	if seconds, err := strconv.Atoi(after); row.wait && (err != nil || time.Now().Add(time.Duration(seconds)*time.Second).Before(d.Reset)) {
		s.t.Errorf("after %q seconds the budget has not yet reset, which it does at %v", after, d.Reset)
	}
}

// checkVendor says that nothing was executed, and that nothing but a look has reached the vendor.
func (s *sdkStage) checkVendor(executed, received int) {
	s.t.Helper()
	if n := len(s.fake.Executions()) - executed; n != s.executes {
		s.t.Errorf("the vendor has executed %d, want %d", n, s.executes)
	}
	writes := 0
	for _, r := range s.fake.Received()[received:] {
		if r.Method != http.MethodGet {
			writes++
		}
	}
	if s.executes == 0 && writes > 0 && s.agent.name != twilioV1 || writes > 1 {
		s.t.Errorf("%d writes reached the vendor", writes)
	}
}

// checkBooks says that a refusal has cost nothing, that a call in doubt has, and that a refusal for a budget tells
// the ledger's own amounts.
func (s *sdkStage) checkBooks(row refusalRow, d *keybrake.Denial, before []ledger.State) {
	s.t.Helper()
	after := s.balance()
	for i, was := range before {
		if !was.Meter.Money() {
			continue
		}
		used := after[i].Spent + after[i].Held - was.Spent - was.Held
		if row.code == reason.InDoubt {
			if used < s.agent.need && s.agent.name != stripeGo { // whose intent was held before
				s.t.Errorf("%d is held for a call in doubt, want %d", used, s.agent.need)
			}
		} else if used != 0 {
			s.t.Errorf("the refusal has cost %d of %s", used, was.Name)
		}
	}
	if row.code == reason.BudgetExceeded {
		s.checkAmounts(d, after)
	}
	if row.code == reason.InDoubt {
		doubts, err := s.InDoubt(s.t.Context(), s.grant.Tenant)
		if err != nil || len(doubts) != 1 || doubts[0].ID != d.Reservation {
			s.t.Errorf("in doubt are %v (%v), and the caller was told %q", doubts, err, d.Reservation)
		}
	}
}

func (s *sdkStage) checkAmounts(d *keybrake.Denial, states []ledger.State) {
	s.t.Helper()
	i := slices.IndexFunc(states, func(b ledger.State) bool { return b.Name == d.Budget })
	if i < 0 {
		s.t.Fatalf("the ledger has no budget %q", d.Budget)
	}
	b, need := states[i], s.agent.need
	if b.Meter == cost.Calls {
		need = 1
	}
	if d.Left != b.Left() || d.Limit != b.Limit || d.Need != need || d.Meter != b.Meter || d.Currency != b.Currency || !d.Reset.Equal(b.Reset) {
		s.t.Errorf("the denial says %+v, the ledger %+v, and the call needs %d", d, b, need)
	}
	if d.Reset.IsZero() && strings.HasPrefix(d.Budget, "hourly") {
		s.t.Error("the denial names the budget that resets first")
	}
}

// checkRecord says that the refusal is on record as the caller was told it, but where no record can be.
func (s *sdkStage) checkRecord(row refusalRow, d *keybrake.Denial) {
	s.t.Helper()
	if row.code == reason.AuditUnavailable {
		return
	}
	records := s.sink.Records()[s.records:]
	ofCalls := slices.DeleteFunc(slices.Clone(records), func(r audit.Record) bool { return r.Kind == audit.Control }) // a revoke's comes when it comes
	last := ofCalls[len(ofCalls)-1]
	kind, verdict := audit.Denied, audit.Deny
	if row.code == reason.InDoubt {
		kind, verdict = audit.Outcome, audit.Allow
	}
	if last.Kind != kind || last.Verdict != verdict || last.Reason != row.code || last.Operation != d.Operation {
		s.t.Errorf("on record is %s %s %s of %q, the caller was told %s of %q", last.Kind, last.Verdict, last.Reason, last.Operation, d.Reason, d.Operation)
	}
	if kind == audit.Denied && last.Detail != d.Error() {
		s.t.Errorf("on record is %q, the caller was told %q", last.Detail, d.Error())
	}
	if leaksSecret(fmt.Sprintf("%+v", records) + s.log.String()) {
		s.t.Error("a secret is in the records or in the log")
	}
}
