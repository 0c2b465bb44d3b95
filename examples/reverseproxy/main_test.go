package main

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/resend/resend-go/v2"
	"github.com/stripe/stripe-go/v76"
	"github.com/stripe/stripe-go/v76/refund"

	"github.com/keybrake/keybrake-go"
	"github.com/keybrake/keybrake-go/audit"
	"github.com/keybrake/keybrake-go/credentials"
	"github.com/keybrake/keybrake-go/internal/fakevendor"
	"github.com/keybrake/keybrake-go/ledger/memory"
	"github.com/keybrake/keybrake-go/policy"
	"github.com/keybrake/keybrake-go/vendors"
	"github.com/keybrake/keybrake-go/vendors/kbresend"
	"github.com/keybrake/keybrake-go/vendors/kbstripe"
	"github.com/keybrake/keybrake-go/vendors/kbtwilio"
)

const (
	stripeSecret = "sk_test_ProxySecret"
	account      = "AC0123456789abcdef0123456789abcdef"
)

// newAgent starts a vendor, a brake and the proxy before it, and returns the proxy's URL and a vault key for 50.00.
func newAgent(t *testing.T) (fake *fakevendor.Server, proxy, token string) {
	t.Helper()
	fake, err := fakevendor.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = fake.Close() })
	fake.SeedCharge("ch_1", 1_000_000, "usd")
	issuer, err := keybrake.NewIssuer()
	if err != nil {
		t.Fatal(err)
	}
	brake, err := keybrake.New(t.Context(), keybrake.Config{
		Issuer: issuer, Ledger: memory.New(), Audit: audit.InsecureDiscard(), Base: fake.Transport(),
		Vendors: []vendors.Vendor{kbstripe.New(nil), kbtwilio.New(nil), kbresend.New(nil)},
		Credentials: credentials.Static(map[string]string{
			"stripe": stripeSecret, "twilio": account + ":fedcba9876543210fedcba9876543210", "resend": "re_Proxy_Secret",
		}),
	})
	if err != nil {
		t.Fatal(err)
	}
	key, err := brake.Issue(t.Context(), keybrake.Grant{
		Tenant: "acme", Agent: "agent", Run: "run_1",
		Credentials: map[string]string{"stripe": "stripe", "twilio": "twilio", "resend": "resend"},
		Policy: policy.Policy{
			Allow:   []policy.Rule{{Operation: "stripe.*"}, {Operation: "twilio.messages.create"}, {Operation: "resend.emails.send"}},
			Budgets: []policy.Budget{policy.Lifetime(policy.USD("50"))},
		},
		TTL: time.Hour,
	})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(newProxy(brake))
	t.Cleanup(server.Close)
	return fake, server.URL, key.Token()
}

// send sends one request as curl would, with path as it stands, and returns the reply with its body.
func send(t *testing.T, method, target, token, body string, header ...string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequest(method, target, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	if body != "" {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(text)
}

const refund20 = "charge=ch_1&amount=2000"

func TestACallIsForwardedWithTheRealCredentialAndNothingOfTheProxys(t *testing.T) {
	fake, proxy, token := newAgent(t)
	resp, body := send(t, "POST", proxy+"/stripe/v1/refunds", token, refund20, "X-Forwarded-Host", "evil.example", "Stripe-Version", "2023-10-16")
	if resp.StatusCode != 200 || !strings.Contains(body, `"object":"refund"`) || len(fake.Executions()) != 1 {
		t.Fatalf("status %d, %d executions: %s", resp.StatusCode, len(fake.Executions()), body)
	}
	for _, r := range fake.Received() {
		if r.Host != "api.stripe.com" || r.Header.Get("Authorization") != "Bearer "+stripeSecret || r.Header.Get("Stripe-Version") != "2023-10-16" {
			t.Errorf("the vendor got %s %s: %v", r.Host, r.Path, r.Header)
		}
		for name := range r.Header {
			if strings.HasPrefix(name, "X-Forwarded") || name == "Forwarded" || name == "Via" {
				t.Errorf("the vendor got header %s", name)
			}
		}
	}
}

func TestADeniedCallComesBackInTheVendorsShape(t *testing.T) {
	fake, proxy, token := newAgent(t)
	for range 2 {
		send(t, "POST", proxy+"/stripe/v1/refunds", token, refund20)
	}
	resp, body := send(t, "POST", proxy+"/stripe/v1/refunds", token, refund20)
	if resp.StatusCode != 429 || resp.Header.Get("Keybrake-Denial") != "budget_exceeded" || resp.Header.Get("Stripe-Should-Retry") != "false" ||
		!strings.HasPrefix(body, `{"error":{"type":"invalid_request_error","code":"keybrake_budget_exceeded"`) {
		t.Errorf("status %d, %v: %s", resp.StatusCode, resp.Header, body)
	}
	if got := fake.Spent()[fakevendor.MeterOutflow]["USD"]; got != 40_000_000 {
		t.Errorf("the vendor executed %d", got)
	}
}

func TestWhatTheProxyMustNotMendIsRefused(t *testing.T) {
	fake, proxy, token := newAgent(t)
	for name, c := range map[string]struct {
		path, body, want string
		header           []string
	}{
		"a vendor that there is not":         {path: "/paypal/v1/refunds", body: refund20, want: "host_unknown"},
		"no vendor":                          {path: "/", body: refund20, want: "host_unknown"},
		"a host in the path":                 {path: "/api.evil.example/v1/refunds", body: refund20, want: "host_unknown"},
		"a dot segment":                      {path: "/stripe/v1/charges/../refunds", body: refund20, want: "request_invalid"},
		"a way out of the prefix":            {path: "/stripe/../resend/emails", body: refund20, want: "request_invalid"},
		"an escaped slash":                   {path: "/stripe/v1%2Frefunds", body: refund20, want: "request_invalid"},
		"an empty segment":                   {path: "/stripe//v1/refunds", body: refund20, want: "operation_unknown"},
		"a query that ReverseProxy cuts":     {path: "/stripe/v1/refunds?expand%5B%5D=charge;x=1", body: refund20, want: "body_invalid"},
		"an amount in both query and body":   {path: "/stripe/v1/refunds?amount=1", body: refund20, want: "param_duplicate"},
		"a compressed body":                  {path: "/stripe/v1/refunds", body: refund20, want: "header_denied", header: []string{"Content-Encoding", "gzip"}},
		"a method in a header":               {path: "/stripe/v1/refunds", body: refund20, want: "header_denied", header: []string{"X-Http-Method-Override", "GET"}},
		"an upgrade":                         {path: "/stripe/v1/refunds", body: refund20, want: "header_denied", header: []string{"Connection", "Upgrade", "Upgrade", "websocket"}},
		"the real credential":                {path: "/stripe/v1/refunds", body: refund20, want: "key_real_credential", header: []string{"Authorization", "Bearer sk_test_Another"}},
		"a key that the hop was told to cut": {path: "/stripe/v1/refunds", body: refund20, want: "key_missing", header: []string{"Connection", "Authorization"}},
		"another account's money":            {path: "/stripe/v1/refunds", body: refund20, want: "param_redirects", header: []string{"Stripe-Account", "acct_1"}},
	} {
		t.Run(name, func(t *testing.T) {
			resp, body := send(t, "POST", proxy+c.path, token, c.body, c.header...)
			if got := resp.Header.Get("Keybrake-Denial"); got != c.want {
				t.Errorf("got %q (status %d), want %q: %s", got, resp.StatusCode, c.want, body)
			}
		})
	}
	if n := len(fake.Received()); n != 0 {
		t.Errorf("the vendor received %d requests", n)
	}
}

func TestARetryThroughTheProxyIsTheSameSpend(t *testing.T) {
	fake, proxy, token := newAgent(t)
	fake.Misbehave(fakevendor.Fault{Method: "POST", Kind: fakevendor.DropAfter})
	for i, want := range []int{http.StatusBadGateway, http.StatusOK} {
		if resp, body := send(t, "POST", proxy+"/stripe/v1/refunds", token, refund20, "Idempotency-Key", "order-1"); resp.StatusCode != want {
			t.Errorf("attempt %d: status %d, want %d: %s", i, resp.StatusCode, want, body)
		}
	}
	if n := len(fake.Executions()); n != 1 {
		t.Errorf("%d refunds executed", n)
	}
}

// The real SDKs that have a base URL: their bodies come chunked.
func TestSDKsWorkThroughTheProxy(t *testing.T) {
	fake, proxy, token := newAgent(t)
	backend := stripe.GetBackendWithConfig(stripe.APIBackend, &stripe.BackendConfig{URL: stripe.String(proxy + "/stripe"), LeveledLogger: &stripe.LeveledLogger{}})
	refunds := refund.Client{B: backend, Key: token}
	if _, err := refunds.New(&stripe.RefundParams{Charge: stripe.String("ch_1"), Amount: stripe.Int64(2000)}); err != nil {
		t.Error(err)
	}
	rc := resend.NewCustomClient(&http.Client{}, token)
	rc.BaseURL, _ = url.Parse(proxy + "/resend/")
	if _, err := rc.Emails.Send(&resend.SendEmailRequest{From: "a@example.com", To: []string{"b@example.com"}, Subject: "s", Text: "t"}); err != nil {
		t.Error(err)
	}
	text := url.Values{"To": {"+14155550100"}, "From": {"+14155550199"}, "Body": {"hello"}}
	if resp, body := send(t, "POST", proxy+"/twilio/2010-04-01/Accounts/"+account+"/Messages.json", token, text.Encode()); resp.StatusCode != 201 {
		t.Errorf("status %d: %s", resp.StatusCode, body)
	}
	if n := len(fake.Executions()); n != 3 {
		t.Errorf("%d executed", n)
	}
}

func TestTheProgramServesUntilItIsStopped(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	printed, out := io.Pipe()
	ended := make(chan error, 1)
	go func() { ended <- run(ctx, out, "127.0.0.1:0", true); out.Close() }()
	curl := regexp.MustCompile(`curl -i (\S+) -u (\w+): -d charge=(ch_1) -d amount=5000`)
	for lines := bufio.NewScanner(printed); lines.Scan(); {
		if m := curl.FindStringSubmatch(lines.Text()); m != nil {
			for _, want := range []int{200, 429} {
				if resp, body := send(t, "POST", m[1], m[2], "charge="+m[3]+"&amount=5000"); resp.StatusCode != want {
					t.Errorf("status %d, want %d: %s", resp.StatusCode, want, body)
				}
			}
			stop()
		}
	}
	if err := <-ended; err != nil || ctx.Err() == nil {
		t.Errorf("it ended with %v", err)
	}
}
