package processtest_test

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/rpc"
	"os"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/resend/resend-go/v2"
	"github.com/stripe/stripe-go/v76"
	stripeclient "github.com/stripe/stripe-go/v76/client"
	"github.com/twilio/twilio-go"
	twclient "github.com/twilio/twilio-go/client"
	api "github.com/twilio/twilio-go/rest/api/v2010"

	"github.com/keybrake/keybrake-go"
	"github.com/keybrake/keybrake-go/audit"
	"github.com/keybrake/keybrake-go/credentials"
	"github.com/keybrake/keybrake-go/internal/fakevendor"
	"github.com/keybrake/keybrake-go/ledger"
	"github.com/keybrake/keybrake-go/ledger/redisledger"
	"github.com/keybrake/keybrake-go/policy"
	"github.com/keybrake/keybrake-go/vendors"
	"github.com/keybrake/keybrake-go/vendors/kbresend"
	"github.com/keybrake/keybrake-go/vendors/kbstripe"
	"github.com/keybrake/keybrake-go/vendors/kbtwilio"
)

// The vendors' credentials. Every process has them; agents hold vault keys alone.
const (
	stripeSecret  = "sk_test_51Hreal4secret5never6shown"
	twilioAccount = "AC0123456789abcdef0123456789abcdef"
	twilioSecret  = "fedcba9876543210fedcba9876543210"
	resendSecret  = "re_Real4Secret_5Never6Shown7"
)

func secrets() credentials.Source {
	return credentials.Static(map[string]string{
		"stripe": stripeSecret, "twilio": twilioAccount + ":" + twilioSecret, "resend": resendSecret,
	})
}

// usRate is what the fake bills for a segment to the United States, so that books and bills can be compared exactly.
const usRate = "0.0083"

func tables() []vendors.Vendor {
	card := kbtwilio.DefaultRates()
	card.Rates = []kbtwilio.Rate{{Country: "US", PerSegment: usRate}}
	return []vendors.Vendor{kbstripe.New(nil), kbtwilio.New(&kbtwilio.Options{Rates: &card}), kbresend.New(nil)}
}

// A Setup is what a process is told when it starts.
type Setup struct {
	Redis  string
	Vendor string // where the fake vendor listens
	CA     []byte
	Public ed25519.PublicKey // of the one who issues
	Audit  string            // the file that the records go to
	StopAt Point             // where every call stops until GoOn; empty is nowhere
	Ahead  time.Duration     // by how much the ledger's clock is ahead of Redis
	Answer time.Duration     // how long the ledger may take
	Stamp  bool              // whether the calls are marked at the vendors
}

// A Point is a moment in the way of a call, named after what happens before or after it.
type Point string

// The points, in the order in which a call gets there. Those of raise exist where the amount is read at the vendor.
const (
	BeforeReserve Point = "before the reserve"
	AfterReserve  Point = "after the reserve"
	BeforeRaise   Point = "before the raise"
	AfterRaise    Point = "after the raise"
	BeforeIntent  Point = "in the write of the intent, before it is written"
	AfterIntent   Point = "in the write of the intent, after it is written"
	BeforeSend    Point = "before the first byte"
	AfterReply    Point = "after the reply, before it is read"
	BeforeSettle  Point = "before the settle"
	AfterSettle   Point = "after the settle"
	BeforeOutcome Point = "in the write of the outcome, before it is written"

	BeforeAcknowledge Point = "after an event was told, before it is taken out"
)

// A Child is what a process offers to the one that started it, over its standard input and output.
type Child struct {
	brake *keybrake.Brake
	stop  *stop
	ahead time.Duration
}

// hookSecret is what the processes sign events with.
const hookSecret = "whsec_a2V5YnJha2UgdGVzdCBzZWNyZXQgb2YgMzIgYnl0ZXMh"

const childEnv = "KEYBRAKE_PROCESSTEST"

// runChild is the whole life of a process. It ends when whoever started it closes the pipe or dies.
func runChild(config string) error {
	var s Setup
	if err := json.Unmarshal([]byte(config), &s); err != nil {
		return err
	}
	c, err := newChild(s)
	if err != nil {
		return err
	}
	if err := rpc.Register(c); err != nil {
		return err
	}
	rpc.ServeConn(pipe{lifeline{os.Stdin}, os.Stdout})
	return nil
}

// A pipe is two ends as one connection.
type pipe struct {
	io.ReadCloser
	io.WriteCloser
}

// A lifeline ends the process with the pipe, whatever it does: calls that have stopped would keep it for ever.
type lifeline struct{ io.ReadCloser }

func (l lifeline) Read(p []byte) (int, error) {
	n, err := l.ReadCloser.Read(p)
	if err != nil {
		os.Exit(0)
	}
	return n, err
}

func (p pipe) Close() error { return errors.Join(p.ReadCloser.Close(), p.WriteCloser.Close()) }

// newChild makes a brake that has public keys alone.
func newChild(s Setup) (*Child, error) {
	stripe.DefaultLeveledLogger = &stripe.LeveledLogger{Level: stripe.LevelNull}
	file, err := os.OpenFile(s.Audit, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	c := &Child{ahead: s.Ahead, stop: &stop{at: s.StopAt, reached: make(chan struct{}), goOn: make(chan struct{})}}
	c.brake, err = keybrake.New(context.Background(), keybrake.Config{
		Verify:      []ed25519.PublicKey{s.Public},
		Ledger:      watchedLedger{newLedger(s.Redis, s.Answer, s.Ahead), c.stop},
		Vendors:     tables(),
		Credentials: secrets(),
		Audit:       watchedSink{audit.JSON(file), c.stop},
		Stamp:       s.Stamp,
		Base:        c.stop.base(fakevendor.Dial(s.Vendor, s.CA)),
		Log:         slog.New(slog.NewTextHandler(os.Stderr, nil)),
		// A call that stops at a point is to be killed there, however slow the machine is.
		LedgerTimeout: time.Minute, AuditTimeout: time.Minute,
	})
	return c, err
}

// newLedger is a ledger in Redis, by a client that hundreds of calls can wait for. Ahead of zero is Redis's own clock.
func newLedger(addr string, answer, ahead time.Duration) *redisledger.Ledger {
	rdb := redis.NewClient(&redis.Options{
		Addr: addr, PoolTimeout: time.Minute, DialTimeout: time.Minute, ReadTimeout: time.Minute, WriteTimeout: time.Minute,
		DialerRetries: 1, // it would try five times to reach a server that is gone, on top of its retries
	})
	o := &redisledger.Options{Timeout: answer}
	if ahead > 0 {
		o.Now = func() time.Time { return time.Now().Add(ahead) }
	}
	return redisledger.New(rdb, o)
}

// An Op is one operation of a vendor, by the word that its users say.
type Op string

// The operations.
const (
	Payment Op = "payment" // a Stripe payment intent, confirmed at once
	Refund  Op = "refund"  // a Stripe refund, whose charge is read first
	Text    Op = "text"    // a Twilio message of one segment
	Mail    Op = "mail"    // a Resend mail to one person
)

// A Call is one call of a vendor's SDK.
type Call struct {
	Token  string
	Op     Op
	Cents  int64  // of a payment or a refund
	Charge string // of a refund
	Key    string // the agent's idempotency key; empty leaves it to the SDK
}

// A Result is what the SDK returned: its error and the denial in it, both empty when the call went well.
type Result struct {
	Err    string
	Shape  string // the type of the SDK's error
	Status int    // that the SDK's error tells, if it does
	Denial keybrake.Denial
}

// Ready answers when the process has a brake that works.
func (c *Child) Ready(int, *int) error { return nil }

// Call makes one call. All that are asked for before one has ended are made at the same time.
func (c *Child) Call(call Call, r *Result) error {
	err := c.send(call)
	if err == nil {
		return nil
	}
	*r = Result{Err: err.Error(), Shape: fmt.Sprintf("%T", err)}
	if d, ok := keybrake.DenialFrom(err); ok {
		r.Denial = *d
	}
	var fromStripe *stripe.Error
	var fromTwilio *twclient.TwilioRestError
	switch {
	case errors.As(err, &fromStripe):
		r.Status = fromStripe.HTTPStatusCode
	case errors.As(err, &fromTwilio):
		r.Status = fromTwilio.Status
	}
	return nil
}

// send makes the call with the vendor's own SDK.
func (c *Child) send(call Call) error {
	switch call.Op {
	case Payment:
		p := &stripe.PaymentIntentParams{
			Amount: stripe.Int64(call.Cents), Currency: stripe.String("usd"),
			Confirm: stripe.Bool(true), PaymentMethod: stripe.String("pm_card_visa"),
		}
		keyed(&p.Params, call.Key)
		_, err := c.stripe(call.Token).PaymentIntents.New(p)
		return err
	case Refund:
		p := &stripe.RefundParams{Charge: stripe.String(call.Charge), Amount: stripe.Int64(call.Cents)}
		keyed(&p.Params, call.Key)
		_, err := c.stripe(call.Token).Refunds.New(p)
		return err
	case Text:
		sdk := &twclient.Client{Credentials: twclient.NewCredentials(twilioAccount, call.Token), HTTPClient: c.brake.Client()}
		sdk.SetAccountSid(twilioAccount)
		_, err := twilio.NewRestClientWithParams(twilio.ClientParams{Client: sdk}).Api.CreateMessage(
			(&api.CreateMessageParams{}).SetTo("+14155550100").SetFrom("+14155550199").SetBody("Your order has left."))
		return err
	case Mail:
		mail := &resend.SendEmailRequest{From: "shop@acme.com", To: []string{"ann@example.com"}, Subject: "Your order", Text: "It has left."}
		_, err := resend.NewCustomClient(c.brake.Client(), call.Token).Emails.SendWithOptions(
			context.Background(), mail, &resend.SendEmailOptions{IdempotencyKey: call.Key})
		return err
	}
	return fmt.Errorf("no operation %q", call.Op)
}

func (c *Child) stripe(token string) *stripeclient.API {
	return stripeclient.New(token, stripe.NewBackends(c.brake.Client()))
}

func keyed(p *stripe.Params, key string) {
	if key != "" {
		p.SetIdempotencyKey(key)
	}
}

// Issue tries to issue a key.
func (c *Child) Issue(run string, token *string) error {
	key, err := c.brake.Issue(context.Background(), grant("acme", run, policy.Policy{
		Allow: []policy.Rule{{Operation: "stripe.*"}}, Budgets: []policy.Budget{policy.Lifetime(policy.USD("1"))},
	}))
	*token = key.Token()
	return err
}

// An Order stops or resumes what a selector names.
type Order struct {
	Verb         ledger.Verb
	Kind         string // of selectors
	Tenant, Name string
}

// Reconcile makes one pass over the open calls of a tenant.
func (c *Child) Reconcile(tenant string, p *keybrake.Progress) error {
	r, err := c.brake.Reconciler(keybrake.ReconcilerConfig{
		Tenants: []string{tenant}, Pace: time.Nanosecond, Gap: time.Nanosecond,
		Now: func() time.Time { return time.Now().Add(c.ahead) },
	})
	if err != nil {
		return err
	}
	*p, err = r.Pass(context.Background())
	return err
}

// Tell makes one pass over the events of acme, which go to a webhook.
func (c *Child) Tell(hook string, d *keybrake.Delivery) error {
	n, err := audit.Webhook(hook, hookSecret, nil)
	if err != nil {
		return err
	}
	a, err := c.brake.Alerter(keybrake.AlerterConfig{
		Tenants: []string{"acme"}, Notifier: n, Now: func() time.Time { return time.Now().Add(c.ahead) },
	})
	if err != nil {
		return err
	}
	*d, err = a.Pass(context.Background())
	return err
}

// selectors are the ways to say whose calls to stop.
var selectors = map[string]func(tenant, name string) keybrake.Selector{
	"key": keybrake.ByKey, "run": keybrake.ByRun, "agent": keybrake.ByAgent, "label": keybrake.ByLabel, "vendor": keybrake.ByVendor,
	"tenant":            func(tenant, _ string) keybrake.Selector { return keybrake.ByTenant(tenant) },
	"vendor everywhere": func(_, vendor string) keybrake.Selector { return keybrake.ByVendorEverywhere(vendor) },
	"everything":        func(_, _ string) keybrake.Selector { return keybrake.Everything() },
}

// Control carries out o.
func (c *Child) Control(o Order, _ *int) error {
	selector := selectors[o.Kind](o.Tenant, o.Name)
	verb := map[ledger.Verb]func(context.Context, keybrake.Selector) (keybrake.Report, error){
		ledger.Revoke: c.brake.Revoke, ledger.Pause: c.brake.Pause, ledger.Resume: c.brake.Resume,
	}[o.Verb]
	_, err := verb(context.Background(), selector)
	return err
}

// Stopped answers when so many calls have reached the point at which they stop.
func (c *Child) Stopped(calls int, _ *int) error {
	for range calls {
		<-c.stop.reached
	}
	return nil
}

// GoOn lets the calls that have stopped go on, and all later ones pass.
func (c *Child) GoOn(int, *int) error {
	close(c.stop.goOn)
	return nil
}

// A stop holds calls at one point.
type stop struct {
	at      Point
	reached chan struct{} // takes one for each call
	goOn    chan struct{} // closed when they may go on
}

func (s *stop) point(p Point) {
	if p == "" || p != s.at {
		return
	}
	select {
	case s.reached <- struct{}{}:
	case <-s.goOn:
	}
	<-s.goOn
}

// A watchedLedger is a ledger whose verbs can be stopped before and after.
type watchedLedger struct {
	ledger.Ledger
	stop *stop
}

func (l watchedLedger) Check(ctx context.Context) error { return l.Ledger.(ledger.Checker).Check(ctx) }

func (l watchedLedger) Lease(ctx context.Context, tenant, name, holder string, d time.Duration) (bool, error) {
	return l.Ledger.(ledger.Leaser).Lease(ctx, tenant, name, holder, d)
}

func (l watchedLedger) Reserve(ctx context.Context, r ledger.Request) (ledger.Hold, error) {
	l.stop.point(BeforeReserve)
	h, err := l.Ledger.Reserve(ctx, r)
	l.stop.point(AfterReserve)
	return h, err
}

func (l watchedLedger) Raise(ctx context.Context, h ledger.Hold, r ledger.Request) (ledger.Hold, error) {
	l.stop.point(BeforeRaise)
	h, err := l.Ledger.Raise(ctx, h, r)
	l.stop.point(AfterRaise)
	return h, err
}

func (l watchedLedger) Settle(ctx context.Context, h ledger.Hold, s ledger.Settlement) (ledger.Receipt, error) {
	l.stop.point(BeforeSettle)
	r, err := l.Ledger.Settle(ctx, h, s)
	l.stop.point(AfterSettle)
	return r, err
}

func (l watchedLedger) Acknowledge(ctx context.Context, tenant string, ids ...string) error {
	l.stop.point(BeforeAcknowledge)
	return l.Ledger.Acknowledge(ctx, tenant, ids...)
}

// A watchedSink is a sink whose records of a call, not of its probe, can be stopped before and after.
type watchedSink struct {
	audit.Sink
	stop *stop
}

func (s watchedSink) Write(ctx context.Context, r audit.Record) error {
	before, after := Point(""), Point("")
	switch {
	case r.Probe:
	case r.Kind == audit.Intent:
		before, after = BeforeIntent, AfterIntent
	case r.Kind == audit.Outcome:
		before = BeforeOutcome
	}
	s.stop.point(before)
	err := s.Sink.Write(ctx, r)
	s.stop.point(after)
	return err
}

// base is t itself, as in production, unless the stop is on the wire.
func (s *stop) base(t *http.Transport) http.RoundTripper {
	if s.at != BeforeSend && s.at != AfterReply {
		return t
	}
	return watchedTransport{t, s}
}

// A watchedTransport can be stopped before and after it sends what is not a read.
type watchedTransport struct {
	*http.Transport
	stop *stop
}

func (t watchedTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Method == http.MethodGet {
		return t.Transport.RoundTrip(req)
	}
	t.stop.point(BeforeSend)
	resp, err := t.Transport.RoundTrip(req)
	t.stop.point(AfterReply)
	return resp, err
}
