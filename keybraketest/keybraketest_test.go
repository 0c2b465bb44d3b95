package keybraketest_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/resend/resend-go/v2"
	"github.com/stripe/stripe-go/v76"
	"github.com/stripe/stripe-go/v76/client"
	"github.com/twilio/twilio-go"
	twilioclient "github.com/twilio/twilio-go/client"
	twilioapi "github.com/twilio/twilio-go/rest/api/v2010"

	"github.com/keybrake/keybrake-go"
	"github.com/keybrake/keybrake-go/audit"
	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/keybraketest"
	"github.com/keybrake/keybrake-go/policy"
	"github.com/keybrake/keybrake-go/reason"
	"github.com/keybrake/keybrake-go/vendors"
)

// stripe-go logs every refusal.
func init() { stripe.DefaultLeveledLogger = &stripe.LeveledLogger{} }

// stripeSDK is stripe-go with its retries and without its sleeps.
func stripeSDK(hc *http.Client, token string) *client.API {
	b := stripe.GetBackendWithConfig(stripe.APIBackend, &stripe.BackendConfig{HTTPClient: hc})
	b.(*stripe.BackendImplementation).SetNetworkRetriesSleep(false)
	return client.New(token, &stripe.Backends{API: b, Connect: b, Uploads: b})
}

func sendText(hc *http.Client, token string) error {
	c := &twilioclient.Client{Credentials: twilioclient.NewCredentials(keybraketest.TwilioAccount, token), HTTPClient: hc}
	c.SetAccountSid(keybraketest.TwilioAccount)
	p := (&twilioapi.CreateMessageParams{}).SetTo("+14155550100").SetFrom("+14155550199").SetBody("hello")
	_, err := twilio.NewRestClientWithParams(twilio.ClientParams{Client: c}).Api.CreateMessage(p)
	return err
}

func sendMail(hc *http.Client, token string) error {
	_, err := resend.NewCustomClient(hc, token).Emails.Send(&resend.SendEmailRequest{
		From: "bot@acme.com", To: []string{"ann@example.com"}, Subject: "Refund", Text: "It is on its way.",
	})
	return err
}

// all allows everything, for 100 USD.
func all() policy.Policy {
	return policy.Policy{
		Allow:   []policy.Rule{{Operation: "stripe.*"}, {Operation: "twilio.*", Ceiling: policy.USD("1")}, {Operation: "resend.*"}},
		Budgets: []policy.Budget{policy.Lifetime(policy.USD("100"))},
	}
}

// A test is a testing.TB that keeps what it is told.
type test struct {
	testing.TB
	mu   sync.Mutex
	told []string
}

func (*test) Helper() {}

func (t *test) Errorf(format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.told = append(t.told, fmt.Sprintf(format, args...))
}

func (t *test) Fatalf(format string, args ...any) {
	t.Errorf(format, args...)
	runtime.Goexit()
}

// failures runs f as a test and returns what it failed with.
func failures(f func(testing.TB)) []string {
	t := &test{}
	done := make(chan struct{})
	go func() {
		defer close(done)
		f(t)
	}()
	<-done
	return t.told
}

func TestABenchIsABrakeOverWhatTheTestSays(t *testing.T) {
	bench := keybraketest.New(t, all(), nil)
	bench.Handle("stripe.charges.retrieve", keybraketest.JSON(200, charge))
	bench.Handle("stripe.refunds.create", keybraketest.JSON(200, refund))
	bench.Handle("twilio.messages.create", keybraketest.JSON(201, `{"sid": "SM00000000000000000000000000000001", "status": "queued"}`))
	bench.Handle("resend.emails.send", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || !strings.Contains(string(body), "ann@example.com") || r.Header.Get("Authorization") != "Bearer re_keybraketest" || r.URL.Host != "api.resend.com" {
			t.Errorf("the vendor got %s %v with %s, %v", r.URL, r.Header, body, err)
		}
		_, _ = io.WriteString(w, `{"id": "1"}`)
	}))
	token := bench.Key.Token()
	for name, err := range map[string]error{
		"stripe-go": refundCustomer(stripeSDK(bench.Client(), token)), "twilio-go": sendText(bench.Client(), token), "resend-go": sendMail(bench.Client(), token),
	} {
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	states, err := bench.Balance(t.Context(), token)
	if want := int64(20_000_000 + 13_300 + 900); err != nil || states[0].Spent != want {
		t.Errorf("%d is spent, want %d (%v)", states[0].Spent, want, err)
	}
	forwarded := bench.Forwarded()
	slices.Sort(forwarded)
	if want := []string{"resend.emails.send", "stripe.charges.retrieve", "stripe.refunds.create", "twilio.messages.create"}; !slices.Equal(forwarded, want) {
		t.Errorf("forwarded %v, want %v", forwarded, want)
	}
	outcomes := 0
	for _, r := range bench.Recorder.Records() {
		if r.Kind == audit.Outcome && !r.Probe && r.Outcome != "" {
			outcomes++
		}
	}
	if outcomes != 3 {
		t.Errorf("%d outcomes are on record, want 3", outcomes)
	}

	if _, err := bench.Revoke(t.Context(), keybrake.ByRun(keybraketest.Tenant, keybraketest.Run)); err != nil {
		t.Fatal(err)
	}
	if d, ok := keybrake.DenialFrom(sendMail(bench.Client(), token)); !ok || d.Reason != reason.KeyRevoked {
		t.Errorf("after the run was revoked: %v", d)
	}
	if len(bench.Forwarded()) != len(forwarded) {
		t.Error("something was forwarded after the run was revoked")
	}
}

func TestWhatABenchTellsTheTest(t *testing.T) {
	trips := 0
	for name, c := range map[string]struct {
		run  func(testing.TB)
		want string
	}{
		"a policy that cannot be meant": {func(t testing.TB) {
			keybraketest.New(t, policy.Policy{Allow: []policy.Rule{{Operation: "stripe.refunds.create"}}, Budgets: []policy.Budget{policy.Lifetime(policy.USD("5O"))}}, nil)
		}, "budgets[0]"},
		"a rule that no budget covers": {func(t testing.TB) {
			keybraketest.New(t, policy.Policy{Allow: []policy.Rule{{Operation: "stripe.refunds.create"}}}, nil)
		}, "no budget counts"},
		"a shared budget that is nowhere": {func(t testing.TB) {
			p := all()
			p.Budgets = append(p.Budgets, policy.Scoped("team:support"))
			keybraketest.New(t, p, nil)
		}, "team:support"},
		"vendors that cannot be": {func(t testing.TB) {
			keybraketest.New(t, all(), &keybraketest.Options{Vendors: []vendors.Vendor{{}}})
		}, "needs a Name"},
		"an operation that is none": {func(t testing.TB) {
			keybraketest.New(t, all(), nil).Handle("stripe.refund.create", keybraketest.Drop())
		}, `no vendor of the bench has an operation "stripe.refund.create"`},
		"a call that nothing handles": {func(t testing.TB) {
			bench := keybraketest.New(t, all(), nil)
			hc := bench.Client()
			inner := hc.Transport
			hc.Transport = roundTrip(func(r *http.Request) (*http.Response, error) {
				trips++
				return inner.RoundTrip(r)
			})
			_, err := stripeSDK(hc, bench.Key.Token()).PaymentIntents.New(&stripe.PaymentIntentParams{Amount: stripe.Int64(1), Currency: stripe.String("usd")})
			if err == nil || !strings.Contains(err.Error(), "nothing handles") {
				t.Errorf("the agent got %v", err)
			}
			states, err := bench.Balance(context.Background(), bench.Key.Token())
			if err != nil || states[0].Held != 0 {
				t.Errorf("it holds %d (%v)", states[0].Held, err)
			}
		}, "stripe.payment_intents.create was let through, and nothing handles it"},
		"a handler that panics": {func(t testing.TB) {
			bench := keybraketest.New(t, all(), nil)
			bench.Handle("resend.emails.send", http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("no such charge") }))
			_ = sendMail(bench.Client(), bench.Key.Token())
		}, "the handler of resend.emails.send panicked: no such charge"},
		"a reason that is none": {func(t testing.TB) { keybraketest.Deny(t, keybrake.Denial{}) }, "is not a reason"},
	} {
		if got := failures(c.run); len(got) != 1 || !strings.Contains(got[0], c.want) {
			t.Errorf("%s: the test was told %q, want %q", name, got, c.want)
		}
	}
	if trips != 1 {
		t.Errorf("an agent whose call nothing handles made %d round trips", trips)
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

func TestSharedBudgetsAreThereBeforeTheKey(t *testing.T) {
	p := all()
	p.Budgets = []policy.Budget{
		policy.Daily(policy.USD("0.001")).Shared("team:support"), // its limit is the policy's own
		policy.Scoped("tenant"),
	}
	bench := keybraketest.New(t, p, &keybraketest.Options{Budgets: []policy.Budget{policy.Lifetime(policy.USD("0.0015")).Shared("tenant")}})
	bench.Handle("resend.emails.send", keybraketest.JSON(200, `{"id": "1"}`))
	if err := sendMail(bench.Client(), bench.Key.Token()); err != nil {
		t.Fatal(err)
	}
	d, ok := keybrake.DenialFrom(sendMail(bench.Client(), bench.Key.Token()))
	if !ok || d.Budget != "tenant" {
		t.Errorf("got %+v", d)
	}
}

func TestTheClockOfTheBooksCanBeSet(t *testing.T) {
	p := all()
	p.Budgets = []policy.Budget{policy.Hourly(policy.USD("0.001"))}
	bench := keybraketest.New(t, p, nil)
	start := time.Now().Truncate(time.Hour)
	var passed atomic.Int64 // the brake asks in the background, too
	bench.Ledger.Now = func() time.Time { return start.Add(time.Duration(passed.Load())) }
	bench.Handle("resend.emails.send", keybraketest.JSON(200, `{"id": "1"}`))
	for _, c := range []struct {
		later time.Duration
		want  reason.Code
	}{{0, ""}, {30 * time.Minute, reason.BudgetExceeded}, {30 * time.Minute, ""}} {
		passed.Add(int64(c.later))
		d, _ := keybrake.DenialFrom(sendMail(bench.Client(), bench.Key.Token()))
		if got := reasonOf(d); got != c.want {
			t.Errorf("after %v: got %q, want %q", time.Duration(passed.Load()), got, c.want)
		}
	}
}

func reasonOf(d *keybrake.Denial) reason.Code {
	if d == nil {
		return ""
	}
	return d.Reason
}

// acme is a vendor of one's own: one operation, at a dollar a call.
func acme() vendors.Vendor {
	return vendors.Vendor{
		Name: "acme",
		Operations: []vendors.Operation{{
			Name: "acme.jobs.create", Method: http.MethodPost, Host: "api.acme.example", Path: "/jobs", Class: vendors.Fee,
			Bound: func(*vendors.Call, *vendors.Reply) (vendors.Bound, error) {
				return vendors.Bound{Kind: vendors.Exact, Lines: []cost.Line{{Meter: cost.Fee, Currency: "USD", Amount: cost.MicrosPerUnit}}}, nil
			},
		}},
		Place: func(parts []string) (vendors.Placement, error) {
			if !strings.HasPrefix(parts[0], "acme_") {
				return vendors.Placement{}, errors.New("not a credential of acme")
			}
			return vendors.Placement{Header: "Authorization", Value: "Bearer " + parts[0], Secrets: parts}, nil
		},
		Refuse: func(c *vendors.Call, r vendors.Refusal) vendors.Response {
			return vendors.Response{Status: r.Status, Body: []byte(r.Message + " at acme: " + string(r.Code))}
		},
	}
}

func TestAVendorOfOnesOwn(t *testing.T) {
	p := policy.Policy{Allow: []policy.Rule{{Operation: "acme.*"}}, Budgets: []policy.Budget{policy.Lifetime(policy.USD("1"))}}
	bench := keybraketest.New(t, p, &keybraketest.Options{Vendors: []vendors.Vendor{acme()}, Credentials: map[string]string{"acme": "acme_letmein"}})
	bench.Handle("acme.jobs.create", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer acme_letmein" {
			t.Errorf("the vendor got %v", r.Header)
		}
		w.WriteHeader(http.StatusAccepted)
	}))
	for _, want := range []int{http.StatusAccepted, http.StatusTooManyRequests} {
		resp := call(t, bench.Transport(nil), post(t, "https://api.acme.example/jobs", bench.Key.Token()))
		if resp.status != want {
			t.Errorf("got %+v, want status %d", resp, want)
		}
	}
}

// A reply is what came back for a request.
type reply struct {
	status int
	header http.Header
	body   string
}

func post(t *testing.T, url, token string) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	return req
}

func call(t *testing.T, rt http.RoundTripper, req *http.Request) reply {
	t.Helper()
	resp, err := rt.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if resp.Request != req || resp.ContentLength != int64(len(body)) {
		t.Errorf("the reply is to another request, or of %d bytes and not %d", resp.ContentLength, len(body))
	}
	return reply{resp.StatusCode, resp.Header, string(body)}
}

// What Deny answers is to the byte what the brake answers when it comes to the same denial by itself.
func TestDenyAnswersAsTheBrakeDoes(t *testing.T) {
	const intents = "https://api.stripe.com/v1/payment_intents?amount=2000&currency=usd"
	p := all()
	p.Allow = slices.Delete(p.Allow, 2, 3)
	p.Budgets = append(p.Budgets, policy.Daily(policy.USD("10")).Shared("team:support"))
	bench := keybraketest.New(t, p, nil)
	start := time.Now()
	bench.Ledger.Now = func() time.Time { return start } // so that no window ends between two calls
	bench.Handle("twilio.messages.create", keybraketest.Drop())
	token := bench.Key.Token()
	paused, err := bench.Issue(t.Context(), keybrake.Grant{
		Tenant: keybraketest.Tenant, Agent: "other", Run: "other", Credentials: map[string]string{"stripe": "stripe"},
		Policy: policy.Policy{Allow: []policy.Rule{{Operation: "stripe.*"}}, Budgets: []policy.Budget{policy.Lifetime(policy.USD("100"))}}, TTL: time.Hour,
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := bench.Pause(t.Context(), keybrake.ByRun(keybraketest.Tenant, "other")); err != nil {
		t.Fatal(err)
	}
	for want, make := range map[reason.Code]func() *http.Request{
		reason.KeyMissing:          func() *http.Request { return post(t, intents, "") },
		reason.KeyMalformed:        func() *http.Request { return post(t, intents, "kbrake1") },
		reason.KeyReal:             func() *http.Request { return post(t, intents, "sk_live_1") },
		reason.KeyPaused:           func() *http.Request { return post(t, intents, paused.Token()) },
		reason.KeyVendor:           func() *http.Request { return post(t, "https://api.resend.com/emails", paused.Token()) },
		reason.HostUnknown:         func() *http.Request { return post(t, "https://dashboard.stripe.com/v1/files", token) },
		reason.OperationUnknown:    func() *http.Request { return post(t, "https://api.stripe.com/v1/nothing", token) },
		reason.OperationHardDenied: func() *http.Request { return post(t, "https://connect.stripe.com/oauth/token", token) },
		reason.OperationDenied: func() *http.Request {
			r := post(t, "https://api.resend.com/emails", token)
			r.Header.Set("Content-Type", "application/json")
			r.Body = io.NopCloser(strings.NewReader(`{"from":"bot@acme.com","to":"ann@example.com","subject":"x","text":"x"}`))
			return r
		},
		reason.ParamUnknown:   func() *http.Request { return post(t, intents+"&hasty=true", token) },
		reason.BudgetExceeded: func() *http.Request { return post(t, intents, token) },
		reason.InDoubt: func() *http.Request {
			r := post(t, "https://api.twilio.com/2010-04-01/Accounts/"+keybraketest.TwilioAccount+"/Messages.json?To=%2B14155550100&From=%2B14155550199&Body=x", "")
			r.SetBasicAuth(keybraketest.TwilioAccount, token)
			return r
		},
	} {
		t.Run(string(want), func(t *testing.T) {
			got := call(t, bench.Transport(nil), make())
			asError := bench.Transport(nil)
			asError.DenyAsError = true
			var d *keybrake.Denial
			if _, err := asError.RoundTrip(make()); !errors.As(err, &d) || d.Reason != want {
				t.Fatalf("got %v, want %s", err, want)
			}
			canned := call(t, keybraketest.Deny(t, *d), make())
			for _, r := range []*reply{&got, &canned} {
				r.body = reservation.ReplaceAllString(r.body, "r…") // each call in doubt has its own
				r.header.Del("Content-Length")
			}
			if seconds := got.header.Get("Retry-After"); (seconds != "") != (canned.header.Get("Retry-After") != "") {
				t.Errorf("Retry-After is %q and %q", seconds, canned.header.Get("Retry-After"))
			}
			got.header.Del("Retry-After") // may have gone down by a second
			canned.header.Del("Retry-After")
			if fmt.Sprint(got) != fmt.Sprint(canned) {
				t.Errorf("the brake says %v\nDeny says %v", got, canned)
			}
		})
	}
}

var reservation = regexp.MustCompile(`r[a-z2-7]{26}`)

// Every reason reaches every SDK as its own error after one round trip.
func TestEverySDKGetsEveryDenial(t *testing.T) {
	sdks := map[string]struct {
		call func(*http.Client, string) error
		own  func(error) bool
	}{
		"stripe-go": {func(hc *http.Client, token string) error { return refundCustomer(stripeSDK(hc, token)) },
			func(err error) bool { return errors.As(err, new(*stripe.Error)) }},
		"twilio-go": {sendText, func(err error) bool { return errors.As(err, new(*twilioclient.TwilioRestError)) }},
		"resend-go": {sendMail, func(err error) bool {
			return strings.Contains(err.Error(), "refused") || strings.Contains(err.Error(), "in doubt")
		}},
	}
	for _, entry := range reason.All() {
		for name, sdk := range sdks {
			trips := 0
			deny := keybraketest.Deny(t, keybrake.Denial{Reason: entry.Code, Status: 200, Operation: "stripe.refunds.create"})
			err := sdk.call(&http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
				trips++
				return deny.RoundTrip(r)
			})}, "anykey")
			d, ok := keybrake.DenialFrom(err)
			if !ok || d.Reason != entry.Code || d.Status != entry.Status || d.Operation != "stripe.refunds.create" {
				t.Errorf("%s, %s: got %+v in %v", entry.Code, name, d, err)
				continue
			}
			if entry.Code == reason.Canceled {
				if !errors.Is(err, context.Canceled) {
					t.Errorf("%s: %v is not the end of a context", name, err)
				}
				continue // stripe-go retries errors whose context goes on; a real one has ended
			}
			if trips != 1 || !sdk.own(err) {
				t.Errorf("%s, %s: %d round trips to %T %v", entry.Code, name, trips, err, err)
			}
		}
	}
}

func TestDenyClosesTheBody(t *testing.T) {
	req := post(t, "https://api.stripe.com/v1/refunds", "anykey")
	body := &closer{Reader: strings.NewReader("amount=1")}
	req.Body = body
	if got := call(t, keybraketest.Deny(t, keybrake.Denial{Reason: reason.KeyExpired}), req); got.status != 401 || body.closed != 1 {
		t.Errorf("got %+v, and the body was closed %d times", got, body.closed)
	}
}

type closer struct {
	io.Reader
	closed int
}

func (c *closer) Close() error { c.closed++; return nil }

// A bench is used by many goroutines at once, and its budget holds.
func TestABenchIsSafeForConcurrentUse(t *testing.T) {
	p := all()
	p.Budgets = []policy.Budget{policy.Lifetime(policy.USD("0.009"))} // ten mails
	bench := keybraketest.New(t, p, nil)
	bench.Handle("resend.emails.send", keybraketest.JSON(200, `{"id": "1"}`))
	var wait sync.WaitGroup
	for range 16 {
		wait.Go(func() { _ = sendMail(bench.Client(), bench.Key.Token()) })
	}
	wait.Wait()
	if n := len(bench.Forwarded()); n != 10 {
		t.Errorf("%d mails were forwarded, want 10", n)
	}
}
