package keybrake_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/resend/resend-go/v2"
	"github.com/stripe/stripe-go/v76"
	stripeclient "github.com/stripe/stripe-go/v76/client"
	twilioapi "github.com/twilio/twilio-go/rest/api/v2010"

	"github.com/keybrake/keybrake-go"
	"github.com/keybrake/keybrake-go/internal/fakevendor"
	"github.com/keybrake/keybrake-go/ledger"
	"github.com/keybrake/keybrake-go/ledger/memory"
	"github.com/keybrake/keybrake-go/policy"
	"github.com/keybrake/keybrake-go/vendors"
	"github.com/keybrake/keybrake-go/vendors/kbresend"
	"github.com/keybrake/keybrake-go/vendors/kbstripe"
	"github.com/keybrake/keybrake-go/vendors/kbtwilio"
)

// This file says that the reconciler brings the books to what the vendors have really executed. The SDKs, the adapters,
// the brake and the reconciler are real; what was executed is told by the fake vendor, which keeps state.

// A site is a world whose calls are made by many runs, each under a key of its own, and looked after by the reconciler
// of another process.
type site struct {
	*world
	*keybrake.Reconciler
	clock *shiftedClock // of ledger and reconciler
	made  []*made
	told  map[string]keybrake.Unresolved // what a person was told last of each reservation
	said  []string                       // the errors that agents and operators got
	after func()                         // called after every item of a pass
	slow  map[int]bool                   // the requests that made a refund which may fail
}

// made is a call that was made, or was tried.
type made struct {
	key        keybrake.Key
	begin, end int // of what the vendors received meanwhile
	err        error
}

// newSite prices texts to the United States as the fake does, unless its rates are the adapter's own.
func newSite(t *testing.T, ownRates bool) *site {
	t.Helper()
	card := kbtwilio.DefaultRates()
	card.Calls = []kbtwilio.CallRate{{Country: "US", PerMinute: "0.014"}}
	if !ownRates {
		card.Rates = []kbtwilio.Rate{{Country: "US", PerSegment: "0.0083"}}
	}
	books := memory.New()
	s := &site{clock: &shiftedClock{}, told: map[string]keybrake.Unresolved{}, slow: map[int]bool{}}
	books.Now = s.clock.now
	change := func(c *keybrake.Config) {
		c.Ledger, c.Stamp, c.MaxTTL = books, true, 10_000*time.Hour
		c.Vendors = []vendors.Vendor{kbstripe.New(nil), kbtwilio.New(&kbtwilio.Options{Rates: &card}), kbresend.New(nil)}
	}
	s.world = newWorld(t, change)
	s.ledger = books
	s.fake.SeedCharge("ch_1", 10_000_000, "usd")
	s.fake.SeedCharge("ch_async", 10_000_000, "usd")
	var err error
	s.Reconciler, err = s.another(t, change).Reconciler(keybrake.ReconcilerConfig{
		Tenants: []string{"acme"}, Pace: time.Nanosecond, Gap: time.Nanosecond, Now: s.clock.now,
		Person: func(_ context.Context, u keybrake.Unresolved) { s.told[u.Hold.ID] = u },
		Progress: func(keybrake.Progress) {
			if s.after != nil {
				s.after()
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.wantNoSecret(t) })
	return s
}

// call makes a call in a run of its own, with faults.
func (s *site) call(t *testing.T, call sdkCall, faults ...fakevendor.Fault) *made {
	t.Helper()
	p := everything()
	p.Allow = append(p.Allow, policy.Rule{Operation: "stripe.transfers.create", Params: policy.Params{"destination": policy.Any()}})
	g := grant(fmt.Sprintf("run_%d", len(s.made)), p)
	g.TTL = 9_000 * time.Hour
	key, err := s.Issue(t.Context(), g)
	if err != nil {
		t.Fatal(err)
	}
	m := &made{key: key}
	s.made = append(s.made, m)
	s.again(m, call, faults...)
	return m
}

// again makes a further call in the run of m.
func (s *site) again(m *made, call sdkCall, faults ...fakevendor.Fault) {
	for _, f := range faults {
		s.fake.Misbehave(f)
	}
	if m.end == 0 {
		m.begin = len(s.fake.Received())
	}
	m.err = call(s.Client(), m.key.Token())
	m.end = len(s.fake.Received())
	if m.err != nil {
		s.said = append(s.said, fmt.Sprintf("%v %+v", m.err, m.err))
	}
}

// executed is what the vendors have executed for m, in micro-USD, and what came of it later without a request.
func (s *site) executed(m *made) (sum int64) {
	objects := map[string]bool{}
	for _, e := range s.fake.Executions() {
		own := e.Request >= m.begin && e.Request < m.end
		if own {
			objects[e.Object] = true
		}
		if e.Money && (own || e.Request < 0 && objects[e.Object]) {
			sum += e.Amount
		}
	}
	return sum
}

func (s *site) books(t *testing.T, m *made) (spent, held int64) {
	t.Helper()
	states, err := s.Balance(t.Context(), m.key.Token())
	if err != nil {
		t.Fatal(err)
	}
	return states[0].Spent, states[0].Held
}

// covered fails where the books of a run stand below what the vendors have executed for it.
func (s *site) covered(t *testing.T) {
	t.Helper()
	for i, m := range s.made {
		if spent, held := s.books(t, m); spent+held < s.executed(m) {
			t.Errorf("run_%d: the books say %d + %d and the vendor has executed %d", i, spent, held, s.executed(m))
		}
	}
}

// true fails unless the books of m say what the vendors have executed for it, and nothing is held.
func (s *site) true(t *testing.T, m *made) {
	t.Helper()
	if spent, held := s.books(t, m); spent != s.executed(m) || held != 0 {
		t.Errorf("run_%d: the books say %d + %d and the vendor has executed %d", slices.Index(s.made, m), spent, held, s.executed(m))
	}
}

// want fails unless the books of m are these.
func (s *site) want(t *testing.T, m *made, spent, held int64) {
	t.Helper()
	if gotSpent, gotHeld := s.books(t, m); gotSpent != spent || gotHeld != held {
		t.Errorf("run_%d: spent %d and held %d, want %d and %d", slices.Index(s.made, m), gotSpent, gotHeld, spent, held)
	}
}

// doubts are the reservations of a run's key that are in doubt.
func (s *site) doubts(t *testing.T, m *made) []ledger.Hold {
	t.Helper()
	all, err := s.InDoubt(t.Context(), "acme")
	if err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(all, func(h ledger.Hold) bool { return h.Key != m.key.ID })
}

// pass makes a pass, which only reads, and after which no run's books stand below what was executed for it.
func (s *site) pass(t *testing.T) keybrake.Progress {
	t.Helper()
	from, executions := len(s.fake.Received()), len(s.fake.Executions())
	p, err := s.Pass(t.Context())
	if err != nil {
		s.said = append(s.said, err.Error())
	}
	for _, r := range s.fake.Received()[from:] {
		if r.Method != http.MethodGet || len(r.Body) > 0 {
			t.Errorf("the reconciler sent %s %s %q", r.Method, r.Path, r.Body)
		}
	}
	if n := len(s.fake.Executions()); n != executions && s.after == nil {
		t.Errorf("a pass made the vendor execute %+v", s.fake.Executions()[executions:])
	}
	s.covered(t)
	return p
}

// later makes a pass when so much time has passed.
func (s *site) later(t *testing.T, d time.Duration) keybrake.Progress {
	t.Helper()
	s.clock.advance(d)
	return s.pass(t)
}

// wantNoSecret looks at all that people and agents got to see, and at what the ledger keeps.
func (s *site) wantNoSecret(t *testing.T) {
	doubtful, _ := s.ledger.InDoubt(context.Background(), "acme")
	pending, _ := s.ledger.Unsettled(context.Background(), "acme")
	seen := fmt.Sprintf("%+v %+v %+v %+v %q %s", s.sink.Records(), s.told, doubtful, pending, s.said, s.log)
	basic := twilioAccount + ":" + twilioSecret
	for _, secret := range []string{stripeSecret, twilioSecret, resendSecret, base64.StdEncoding.EncodeToString([]byte(basic))} {
		if strings.Contains(seen, secret) || strings.Contains(seen, base64.StdEncoding.EncodeToString([]byte(secret))) {
			t.Errorf("the secret %.6s… is in what people see", secret)
		}
	}
}

// byStripe is a call of stripe-go without its retries, which would find out by themselves.
func byStripe(call func(*stripeclient.API) error) sdkCall {
	return func(hc *http.Client, token string) error {
		b := stripe.GetBackendWithConfig(stripe.APIBackend, &stripe.BackendConfig{
			HTTPClient: hc, LeveledLogger: &stripe.LeveledLogger{}, MaxNetworkRetries: stripe.Int64(0),
		})
		return call(stripeclient.New(token, &stripe.Backends{API: b, Connect: b, Uploads: b}))
	}
}

func refundOf(charge string, cents int64) sdkCall {
	return byStripe(func(c *stripeclient.API) error {
		_, err := c.Refunds.New(&stripe.RefundParams{Charge: stripe.String(charge), Amount: stripe.Int64(cents)})
		return err
	})
}

// payment is a payment intent that is confirmed at once.
func payment(method string, cents int64, manual bool) sdkCall {
	return byStripe(func(c *stripeclient.API) error {
		p := &stripe.PaymentIntentParams{
			Amount: stripe.Int64(cents), Currency: stripe.String("usd"), Confirm: stripe.Bool(true), PaymentMethod: stripe.String(method),
		}
		if manual {
			p.CaptureMethod = stripe.String("manual")
		}
		_, err := c.PaymentIntents.New(p)
		return err
	})
}

func capture(intent string, cents int64) sdkCall {
	return byStripe(func(c *stripeclient.API) error {
		_, err := c.PaymentIntents.Capture(intent, &stripe.PaymentIntentCaptureParams{AmountToCapture: stripe.Int64(cents)})
		return err
	})
}

func cancelIntent(intent string) sdkCall {
	return byStripe(func(c *stripeclient.API) error {
		_, err := c.PaymentIntents.Cancel(intent, nil)
		return err
	})
}

func transfer(cents int64) sdkCall {
	return byStripe(func(c *stripeclient.API) error {
		_, err := c.Transfers.New(&stripe.TransferParams{Amount: stripe.Int64(cents), Currency: stripe.String("usd"), Destination: stripe.String("acct_1")})
		return err
	})
}

func payout(cents int64) sdkCall {
	return byStripe(func(c *stripeclient.API) error {
		_, err := c.Payouts.New(&stripe.PayoutParams{Amount: stripe.Int64(cents), Currency: stripe.String("usd")})
		return err
	})
}

func topup(cents int64) sdkCall {
	return byStripe(func(c *stripeclient.API) error {
		_, err := c.Topups.New(&stripe.TopupParams{Amount: stripe.Int64(cents), Currency: stripe.String("usd"), Description: stripe.String("more"), StatementDescriptor: stripe.String("more")})
		return err
	})
}

func textTo(number string) sdkCall {
	return sendText(func(p *twilioapi.CreateMessageParams) { p.SetTo(number) })
}

func dialTo(number string) sdkCall {
	return func(hc *http.Client, token string) error {
		p := (&twilioapi.CreateCallParams{}).SetTo(number).SetFrom("+14155550199").SetTimeLimit(600).SetTwiml("<Response><Hangup/></Response>")
		_, err := twilioSDK(hc, twilioAccount, twilioAccount, token).Api.CreateCall(p)
		return err
	}
}

func mailAll(people ...string) sdkCall {
	return sendMail(func(r *resend.SendEmailRequest, _ *resend.SendEmailOptions) { r.To = people })
}

// lose is the fault that loses a write's reply, or the write.
func lose(path string, kind fakevendor.FaultKind) fakevendor.Fault {
	return fakevendor.Fault{Method: http.MethodPost, PathContains: path, Kind: kind}
}

// A call whose reply was lost is found by what it carries, among calls of other runs that are the same in every other
// way; one that never arrived is found out where the vendor can tell.
func TestWhatWasLostIsFoundAtTheVendor(t *testing.T) {
	const number = "+14155550100"
	s := newSite(t, false)
	for name, tt := range map[string]struct {
		path   string
		call   sdkCall
		marked bool // the vendor's list shows that it is not there
		alike  bool // without a mark, the others could be it
	}{
		"a refund":     {"/refunds", refundOf("ch_1", 2000), true, false},
		"a payment":    {"/payment_intents", payment("pm_card_visa", 2000, false), true, false},
		"a transfer":   {"/transfers", transfer(2000), true, false},
		"a payout":     {"/payouts", payout(2000), true, false},
		"a top-up":     {"/topups", topup(2000), true, false},
		"a mail":       {"/emails", mailAll("ann@example.com"), false, false},
		"a text":       {"/Messages", textTo(number), false, true},
		"a phone call": {"/Calls", dialTo(number), false, true},
	} {
		t.Run(name, func(t *testing.T) {
			from := len(s.made)
			others := func() {
				for range 2 {
					if m := s.call(t, tt.call); m.err != nil {
						t.Fatal(m.err)
					}
				}
			}
			others()
			arrived := s.call(t, tt.call, lose(tt.path, fakevendor.DropAfter))
			others()
			never := s.call(t, tt.call, lose(tt.path, fakevendor.DropBefore))
			others()
			if n := s.fake.Faults(); n != 0 || arrived.err == nil || never.err == nil {
				t.Fatalf("%d faults did not happen: %v, %v", n, arrived.err, never.err)
			}
			s.covered(t)
			_, bound := s.books(t, never)
			s.want(t, arrived, 0, bound)

			s.pass(t) // while either may still be at the vendor
			s.want(t, never, 0, bound)
			if tt.alike {
				s.want(t, arrived, 0, bound)
			} else {
				s.true(t, arrived)
			}
			if p := s.later(t, time.Hour); tt.marked != (p.Freed == 1) {
				t.Errorf("an hour later: %+v", p)
			}
			s.later(t, 80*time.Hour)
			if tt.marked {
				s.true(t, never)
			} else {
				s.want(t, never, 0, bound)
			}
			persons := 0
			for _, m := range []*made{arrived, never} {
				for _, h := range s.doubts(t, m) {
					persons++
					u, told := s.told[h.ID]
					if !told || u.Why == "" || len(u.Looked) == 0 || u.Run == "" || len(u.Held) == 0 {
						t.Errorf("a person was told %+v", u)
					}
					resolution := keybrake.ExecutedAsHeld()
					if m == never {
						resolution = keybrake.NotExecuted()
					}
					if err := s.Resolve(t.Context(), "acme", h.ID, resolution); err != nil {
						t.Error(err)
					}
				}
			}
			if want := map[bool]int{true: 0, false: 1}[tt.marked]; persons != want && !tt.alike || tt.alike && persons != 2 {
				t.Errorf("%d calls are left to persons", persons)
			}
			s.fake.FillPrices()
			s.later(t, 25*time.Hour)
			for _, m := range s.made[from:] {
				if name != "a phone call" || m != arrived { // which a person has put down as it was held
					s.true(t, m)
				}
			}
		})
	}
}

// A text to a number that nobody else has written to is known by it.
func TestALostTextIsKnownByItsNumberAndTime(t *testing.T) {
	s := newSite(t, false)
	s.call(t, textTo("+14155550101"))
	m := s.call(t, textTo("+14155550100"), lose("/Messages", fakevendor.DropAfter))
	s.call(t, textTo("+14155550102"))
	s.pass(t)
	s.true(t, m)
	last := ofRun(s, "run_1")
	if last.Outcome != "executed" || last.Flag == "" || last.Detail == "" {
		t.Errorf("on record is %+v", last)
	}
}

// A capture names its intent, whose state tells.
func TestALostCaptureIsToldByItsIntent(t *testing.T) {
	for kind, want := range map[fakevendor.FaultKind][2]int64{
		fakevendor.DropAfter:  {30_000_000, 0},
		fakevendor.DropBefore: {0, 50_000_000}, // no list shows captures, so a person decides
	} {
		s := newSite(t, false)
		m := s.call(t, payment("pm_card_visa", 5000, true))
		id := s.fake.Executions()[0].Object
		s.want(t, m, 0, 50_000_000)
		s.again(m, capture(id, 3000), lose("/capture", kind))
		s.pass(t)
		s.later(t, 80*time.Hour)
		s.want(t, m, want[0], want[1])
		if n := len(s.doubts(t, m)); (n == 1) != (kind == fakevendor.DropBefore) || len(s.told) != n {
			t.Errorf("%s: %d are in doubt, and a person was told of %d", kind, n, len(s.told))
		}
	}
}

// ofRun is the last record of a run.
func ofRun(s *site, run string) (last reconciledRecord) {
	for _, r := range s.sink.Records() {
		if r.Run == run {
			last = reconciledRecord{r.Outcome, r.Flag, r.Detail}
		}
	}
	return last
}

type reconciledRecord struct{ Outcome, Flag, Detail string }

// What a list does not show whole proves nothing, be it the first or the second look.
func TestABrokenListReleasesNothing(t *testing.T) {
	s := newSite(t, false)
	for _, f := range []fakevendor.Fault{
		{Kind: fakevendor.Status}, {Kind: fakevendor.Status, Status: 429}, {Kind: fakevendor.Status, Status: 401}, {Kind: fakevendor.HTML},
		{Kind: fakevendor.BadJSON}, {Kind: fakevendor.Truncate}, {Kind: fakevendor.TruncateClean}, {Kind: fakevendor.DropBefore},
		{Kind: fakevendor.Redirect, Body: "https://api.stripe.com/v1/customers"}, {Kind: fakevendor.Enormous, Size: 9},
		{Kind: fakevendor.Status, Status: 500, Body: `{"object":"list","data":[],"has_more":false}`},
		{Kind: fakevendor.Status, Status: 200, Body: `{"object":"list","data":[]}`},
		{Kind: fakevendor.Status, Status: 200, Body: `{"object":"list","data":[],"has_more":true}`},
	} {
		for _, second := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s %d %s, second %t", f.Kind, f.Status, f.Body, second), func(t *testing.T) {
				m := s.call(t, refundOf("ch_1", 2000), lose("/refunds", fakevendor.DropBefore))
				f.Method, f.PathContains = http.MethodGet, "/refunds"
				if second {
					s.after = func() { s.fake.Misbehave(f) }
				} else {
					s.fake.Misbehave(f)
				}
				if p := s.later(t, time.Hour); p.Freed != 0 {
					t.Errorf("progress %+v", p)
				}
				s.want(t, m, 0, 20_000_000)
				if n := s.fake.Faults(); n != 0 {
					t.Fatalf("the fault did not happen: %v", m.err)
				}
				s.after = nil
				if p := s.later(t, 25*time.Hour); p.Freed != 1 {
					t.Errorf("when the list is whole: %+v", p)
				}
				s.true(t, m)
			})
		}
	}
}

// A call that the vendor executes long after it was sent is found by the second look.
func TestALateExecutionIsFoundByTheSecondLook(t *testing.T) {
	s := newSite(t, false)
	hold := make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	late := lose("/refunds", fakevendor.BlockLate)
	late.Hold = hold
	s.fake.Misbehave(late)
	go func() {
		waitFor(t, func() bool { return s.fake.Faults() == 0 })
		cancel()
	}()
	m := s.call(t, byStripe(func(c *stripeclient.API) error {
		p := &stripe.RefundParams{Charge: stripe.String("ch_1"), Amount: stripe.Int64(2000)}
		p.Context = ctx
		_, err := c.Refunds.New(p)
		return err
	}))
	if m.err == nil {
		t.Fatal("the call was given up and has succeeded")
	}
	s.after = func() {
		close(hold)
		waitFor(t, func() bool { return s.executed(m) > 0 })
		s.after = func() {}
	}
	if p := s.later(t, time.Hour); p.Settled != 1 || p.Freed != 0 {
		t.Errorf("progress %+v", p)
	}
	s.true(t, m)
}

// What was answered and not final comes to its end later.
func TestWhatACallDidCostInTheEndIsBooked(t *testing.T) {
	usd := func(micros int64) int64 { return micros * 1_000_000 }
	s := newSite(t, true)
	for name, tt := range map[string]struct {
		call        sdkCall
		spent, held int64
		happens     func(t *testing.T, s *site, id string)
		after       time.Duration
		then, keeps int64
	}{
		"a text's price":                  {textTo("+14155550100"), 13_300, 0, fillPrices, 25 * time.Hour, 8_300, 0},
		"a text that fails":               {textTo("+14155550100"), 13_300, 0, fails, 25 * time.Hour, 1_000, 0},
		"a phone call of two minutes":     {dialTo("+14155550100"), 0, -1, lasts(61), 25 * time.Hour, 28_000, 0},
		"a refund that fails":             {refundOf("ch_async", 2000), usd(20), 0, fails, 25 * time.Hour, 0, 0},
		"a refund that goes well":         {refundOf("ch_async", 2000), usd(20), 0, goesWell, 25 * time.Hour, usd(20), 0},
		"a payout that fails":             {payout(2000), usd(20), 0, fails, 25 * time.Hour, 0, 0},
		"a payout that is paid":           {payout(2000), usd(20), 0, goesWell, 25 * time.Hour, usd(20), 0},
		"a paid payout that comes back":   {payout(2000), usd(20), 0, comesBack, 8 * 24 * time.Hour, 0, 0},
		"a top-up that fails":             {topup(2000), usd(20), 0, fails, 25 * time.Hour, 0, 0},
		"a payment that succeeds":         {payment("pm_processing", 2000, false), 0, usd(20), goesWell, 25 * time.Hour, usd(20), 0},
		"a payment that fails":            {payment("pm_processing", 2000, false), 0, usd(20), fails, 25 * time.Hour, 0, usd(20)}, // it can be tried again
		"a payment that is canceled":      {payment("pm_processing", 2000, false), 0, usd(20), isCanceled, 25 * time.Hour, 0, 0},
		"a hold that another run settles": {payment("pm_card_visa", 2000, true), 0, usd(20), isCaptured, 25 * time.Hour, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			s := s
			if tt.after > 25*time.Hour { // by the clock of the others its time is over
				s = newSite(t, true)
			}
			m := s.call(t, tt.call)
			if m.err != nil {
				t.Fatal(m.err)
			}
			if tt.held >= 0 {
				s.want(t, m, tt.spent, tt.held)
			}
			s.later(t, tt.after) // nothing has happened yet
			if spent, held := s.books(t, m); tt.held >= 0 && (spent != tt.spent || held != tt.held) {
				t.Errorf("before it happened: spent %d and held %d", spent, held)
			}
			executions := s.fake.Executions()
			tt.happens(t, s, executions[len(executions)-1].Object)
			s.later(t, tt.after)
			s.want(t, m, tt.then, tt.keeps)
			if tt.keeps == 0 && !strings.Contains(name, "another run") {
				s.true(t, m)
			}
		})
	}
}

func fillPrices(_ *testing.T, s *site, _ string) { s.fake.FillPrices() }

func fails(t *testing.T, s *site, id string) { concludes(t, s, id, false) }

func goesWell(t *testing.T, s *site, id string) { concludes(t, s, id, true) }

func concludes(t *testing.T, s *site, id string, ok bool) {
	t.Helper()
	if err := s.fake.Conclude(id, ok); err != nil {
		t.Fatal(err)
	}
}

// comesBack is a payout that is paid, is looked at, and then returned by the bank.
func comesBack(t *testing.T, s *site, id string) {
	concludes(t, s, id, true)
	s.later(t, 25*time.Hour)
	concludes(t, s, id, false)
}

func lasts(seconds int64) func(*testing.T, *site, string) {
	return func(t *testing.T, s *site, id string) {
		if err := s.fake.HangUp(id, seconds); err != nil {
			t.Fatal(err)
		}
		s.fake.FillPrices()
	}
}

func isCanceled(t *testing.T, s *site, id string) {
	concludes(t, s, id, false)
	m := s.made[len(s.made)-1]
	if s.again(m, cancelIntent(id)); m.err != nil {
		t.Fatal(m.err)
	}
}

// isCaptured has another run, of a key of its own, capture the intent: it is that run's spend.
func isCaptured(t *testing.T, s *site, id string) {
	other := s.call(t, capture(id, 2000))
	if other.err != nil {
		t.Fatal(other.err)
	}
}

// A retry that is under way between the two looks is executed after both: what it attached to is not given back.
func TestARetryBetweenTheTwoLooksKeepsItsHold(t *testing.T) {
	s := newSite(t, false)
	keyed := byStripe(func(c *stripeclient.API) error {
		p := &stripe.RefundParams{Charge: stripe.String("ch_1"), Amount: stripe.Int64(2000)}
		p.SetIdempotencyKey("order-1")
		_, err := c.Refunds.New(p)
		return err
	})
	m := s.call(t, keyed, lose("/refunds", fakevendor.DropBefore))
	hold, done := make(chan struct{}), make(chan error, 1)
	s.after = func() {
		s.after = func() {}
		slow := lose("/refunds", fakevendor.BlockBefore)
		slow.Hold = hold
		s.fake.Misbehave(slow)
		go func() { done <- keyed(s.Client(), m.key.Token()) }()
		waitFor(t, func() bool { return s.fake.Faults() == 0 })
	}
	from := len(s.fake.Received())
	s.clock.advance(time.Hour)
	p, err := s.Pass(t.Context())
	if p.Looks != 2 || err != nil {
		t.Errorf("progress %+v, %v", p, err)
	}
	s.want(t, m, 0, 20_000_000)
	close(hold)
	if err := <-done; err != nil {
		t.Error(err)
	}
	if m.end = len(s.fake.Received()); m.end == from {
		t.Fatal("the retry never arrived")
	}
	if s.true(t, m); s.executed(m) != 20_000_000 {
		t.Error("the retry was not executed")
	}
}
