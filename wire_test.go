package keybrake_test

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/resend/resend-go/v2"
	"github.com/stripe/stripe-go/v76"
	"github.com/twilio/twilio-go"
	twclient "github.com/twilio/twilio-go/client"
	twapi "github.com/twilio/twilio-go/rest/api/v2010"

	"github.com/keybrake/keybrake-go"
	"github.com/keybrake/keybrake-go/audit"
	"github.com/keybrake/keybrake-go/internal/fakevendor"
	"github.com/keybrake/keybrake-go/internal/token"
	"github.com/keybrake/keybrake-go/policy"
	"github.com/keybrake/keybrake-go/reason"
)

// The routes that the raw requests of these tests use.
const (
	intentsURL  = "https://api.stripe.com/v1/payment_intents"
	refundsURL  = "https://api.stripe.com/v1/refunds"
	chargesURL  = "https://api.stripe.com/v1/charges"
	messagesURL = "https://api.twilio.com/2010-04-01/Accounts/" + twilioAccount + "/Messages.json"
	emailsURL   = "https://api.resend.com/emails"
)

const formType = "application/x-www-form-urlencoded"

// request is a raw request with a vault key, for what no SDK would send. An empty contentType means that there is
// no body.
func request(t testing.TB, method, url, token, contentType, body string) *http.Request {
	t.Helper()
	var from io.Reader
	if contentType != "" {
		from = strings.NewReader(body)
	}
	req, err := http.NewRequestWithContext(t.Context(), method, url, from)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	return req
}

// denial sends req and returns the denial that came back, or nil where the vendor has answered.
func denial(t testing.TB, rt http.RoundTripper, req *http.Request) *keybrake.Denial {
	t.Helper()
	resp, err := rt.RoundTrip(req)
	if err != nil {
		t.Fatalf("%s %s: %v", req.Method, req.URL, err)
	}
	return denialIn(t, resp)
}

// denialIn reads the denial that a reply carries, as an SDK's user finds it: in the text.
func denialIn(t testing.TB, resp *http.Response) *keybrake.Denial {
	t.Helper()
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	d, ok := keybrake.DenialFrom(errors.New(string(body)))
	if header := resp.Header.Get("Keybrake-Denial"); ok != (header != "") || ok && (header != string(d.Reason) || resp.StatusCode != d.Status) {
		t.Fatalf("status %d, header %q and body %s do not agree", resp.StatusCode, header, body)
	}
	if !ok {
		return nil
	}
	return d
}

// intent makes a payment intent, which holds its amount from then on, and returns the denial if it was denied.
func intent(t testing.TB, rt http.RoundTripper, token string, cents int) *keybrake.Denial {
	t.Helper()
	return denial(t, rt, request(t, "POST", intentsURL, token, formType, fmt.Sprintf("amount=%d&currency=usd", cents)))
}

// speaking makes a config's base speak one protocol.
func speaking(http2 bool) func(*keybrake.Config) {
	return func(c *keybrake.Config) {
		base := c.Base.(*http.Transport)
		base.Protocols = new(http.Protocols)
		base.Protocols.SetHTTP1(!http2)
		base.Protocols.SetHTTP2(http2)
	}
}

// noise are headers that an agent may send and that no vendor gets: another credential, another way to read the
// request, another way back, a channel to the outside.
var noise = http.Header{
	"Cookie": {"session=1"}, "Proxy-Authorization": {"Basic eDp5"}, "Connection": {"Authorization, Idempotency-Key"},
	"Host": {"evil.example"}, "Expect": {"100-continue"}, "Range": {"bytes=0-0"}, "Accept-Encoding": {"br"}, "Te": {"trailers"},
	"Keep-Alive": {"timeout=5"}, "Traceparent": {"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}, "Baggage": {"user=ann"},
	"X-Keybrake-Run": {"run_2"}, "Keybrake-Denial": {"none"}, "X-Api-Key": {"sk_live_other"}, "X-Forwarded-For": {"10.0.0.1"},
	"Referer": {"https://evil.example"}, "Origin": {"https://evil.example"}, "x-lower-case": {"1"}, "If-None-Match": {"x"},
	"Content-Length": {"99999"}, "Transfer-Encoding": {"chunked"},
}

// The vendor gets a request that was built anew of what was read: the one credential, the headers of a list, one
// set of parameters in one place, and nothing that the agent could hide elsewhere.
func TestTheVendorGetsWhatWasReadAndNothingElse(t *testing.T) {
	const agentKey = "agent-chosen-key-1"
	mail := "{\"from\":\"Acme <a@acme.com>\", \"to\":[\"b@acme.com\"],\n\t\"subject\":\"50 \u20ac \\u00fc\",\"text\":\"1e0 \"}"
	for _, http2 := range []bool{false, true} {
		w := newWorld(t, speaking(http2))
		w.fake.SeedCharge("ch_1", 5_000, "usd")
		p := everything()
		p.Allow[0].Params = policy.Params{"Stripe-Account": policy.Any()}
		tok := w.issue(t, "run_1", p).Token()
		bearer := "Bearer " + tok
		for name, tt := range map[string]struct {
			method, url, contentType, body string
			header                         http.Header // beside noise
			path, query, sent              string
			want                           http.Header // beside the two that net/http adds
		}{
			"a write with parameters in query and body": {
				"POST", intentsURL + "?currency=usd&metadata%5Bb%5D=2", formType + "; charset=UTF-8", "amount=500&description=50+%e2%82%ac&metadata[a]=%31",
				http.Header{
					"Authorization": {bearer}, "Idempotency-Key": {agentKey}, "Stripe-Version": {"2023-10-16"}, "Stripe-Account": {"acct_1"},
					"User-Agent": {"agent/1"}, "Accept": {"application/json"},
				},
				"/v1/payment_intents", "", "currency=usd&metadata%5Bb%5D=2&amount=500&description=50+%E2%82%AC&metadata%5Ba%5D=1",
				http.Header{
					"Authorization": {"Bearer " + stripeSecret}, "Idempotency-Key": nil, "Stripe-Version": {"2023-10-16"}, "Stripe-Account": {"acct_1"},
					"User-Agent": {"agent/1"}, "Accept": {"application/json"}, "Content-Type": {formType},
				},
			},
			"a refund of all that is left, which says how much": {
				"POST", refundsURL, formType, "reason=duplicate&charge=ch_1",
				http.Header{"Authorization": {bearer}, "User-Agent": {"agent/1"}},
				"/v1/refunds", "", "reason=duplicate&charge=ch_1&amount=5000",
				http.Header{"Authorization": {"Bearer " + stripeSecret}, "Idempotency-Key": nil, "User-Agent": {"agent/1"}, "Content-Type": {formType}},
			},
			"a read": {
				"GET", chargesURL + "?limit=3&created[gte]=%31", "", "",
				http.Header{"Authorization": {bearer}, "Idempotency-Key": {agentKey}, "User-Agent": {"agent/1"}},
				"/v1/charges", "limit=3&created%5Bgte%5D=1", "",
				http.Header{"Authorization": {"Bearer " + stripeSecret}, "User-Agent": {"agent/1"}},
			},
			"a text, for which no key is honoured": {
				"POST", messagesURL, formType, "To=%2B14155550100&From=%2B14155550101&Body=a+b",
				http.Header{"Authorization": {basicOf(twilioAccount, tok)}, "Idempotency-Key": {agentKey}, "User-Agent": {"agent/1"}, "Accept-Charset": {"utf-8"}},
				"/2010-04-01/Accounts/" + twilioAccount + "/Messages.json", "", "To=%2B14155550100&From=%2B14155550101&Body=a+b",
				http.Header{"Authorization": {basicOf(twilioAccount, twilioSecret)}, "User-Agent": {"agent/1"}, "Content-Type": {formType}},
			},
			"a mail, byte for byte": {
				"POST", emailsURL, "application/json; charset=utf-8", mail,
				http.Header{"Authorization": {bearer}, "Idempotency-Key": {agentKey}, "User-Agent": {"agent/1"}},
				"/emails", "", mail,
				http.Header{"Authorization": {"Bearer " + resendSecret}, "Idempotency-Key": nil, "User-Agent": {"agent/1"}, "Content-Type": {"application/json"}},
			},
		} {
			req := request(t, tt.method, tt.url, "", tt.contentType, tt.body)
			for _, more := range []http.Header{noise, tt.header} {
				maps.Copy(req.Header, more)
			}
			resp, err := w.Transport(nil).RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			if d := denialIn(t, resp); d != nil || resp.StatusCode/100 != 2 || (resp.ProtoMajor == 2) != http2 {
				t.Fatalf("%s: %v, %s %s", name, d, resp.Proto, resp.Status)
			}
			all := w.fake.Received()
			got := all[len(all)-1]
			if got.Method != tt.method || got.Host != req.URL.Host || got.Path != tt.path || got.RawQuery != tt.query || string(got.Body) != tt.sent {
				t.Errorf("%s: the vendor got %s %s%s?%s\n%s\nwant ?%s\n%s", name, got.Method, got.Host, got.Path, got.RawQuery, got.Body, tt.query, tt.sent)
			}
			wantHeader(t, name, got, tt.want, len(tt.sent))
		}
		for _, r := range w.fake.Received() {
			text := fmt.Sprintf("%s %s %s?%s %v %s", r.Method, r.Host, r.Path, r.RawQuery, r.Header, r.Body)
			for _, other := range []string{token.Prefix, agentKey, "evil.example", "refund-bot", "run_", "keybrake", "Keybrake"} {
				if strings.Contains(text, other) {
					t.Errorf("the vendor was told %q: %s", other, text)
				}
			}
			_, twilio, _ := strings.Cut(basicOf(twilioAccount, twilioSecret), " ")
			secret := map[string]string{"api.stripe.com": stripeSecret, "api.resend.com": resendSecret, "api.twilio.com": twilio}[r.Host]
			if n := strings.Count(text, secret); n != 1 || !strings.HasSuffix(r.Header.Get("Authorization"), " "+secret) {
				t.Errorf("the credential stands %d times in %s", n, text)
			}
		}
	}
}

// wantHeader compares what the vendor got with what it was to get, less what net/http adds by itself: it unzips what
// it asked for, and counts the body. An Idempotency-Key of nil is one digest.
func wantHeader(t *testing.T, name string, got fakevendor.Received, want http.Header, size int) {
	t.Helper()
	if own := got.Header.Get("Accept-Encoding"); own != "gzip" {
		t.Errorf("%s: Accept-Encoding %q", name, own)
	}
	got.Header.Del("Accept-Encoding")
	if n := got.Header.Get("Content-Length"); n != "" && n != fmt.Sprint(size) {
		t.Errorf("%s: Content-Length %s, want %d", name, n, size)
	}
	got.Header.Del("Content-Length")
	if got, want := slices.Sorted(maps.Keys(got.Header)), slices.Sorted(maps.Keys(want)); !slices.Equal(got, want) {
		t.Errorf("%s: the vendor got the headers %q, want %q", name, got, want)
	}
	for field, values := range want {
		key := got.Header.Get(field)
		if values == nil && (len(got.Header[field]) != 1 || len(key) != 64 || strings.Trim(key, "0123456789abcdef") != "") {
			t.Errorf("%s: %s is %q, want one digest", name, field, got.Header[field])
		}
		if values != nil && !slices.Equal(got.Header[field], values) {
			t.Errorf("%s: %s is %q, want %q", name, field, got.Header[field], values)
		}
	}
}

// The key that the vendor gets is a digest of who spends and for what. A retry of the same run is the same spend,
// also under a renewed key; another run's, tenant's or account's is not.
func TestTheIdempotencyKeyIsOfTheSpend(t *testing.T) {
	w := newWorld(t, nil)
	p := everything()
	p.Allow[0].Params = policy.Params{"Stripe-Account": policy.Any()}
	issue := func(tenant, run string) string {
		g := grant(run, p)
		g.Tenant = tenant
		key, err := w.Issue(t.Context(), g)
		if err != nil {
			t.Fatal(err)
		}
		return key.Token()
	}
	send := func(token, agentKey, account string) string {
		t.Helper()
		req := request(t, "POST", intentsURL, token, formType, "amount=100&currency=usd")
		if agentKey != "" {
			req.Header.Set("Idempotency-Key", agentKey)
		}
		if account != "" {
			req.Header.Set("Stripe-Account", account)
		}
		if d := denial(t, w.Transport(nil), req); d != nil {
			t.Fatal(d)
		}
		all := w.fake.Received()
		return all[len(all)-1].Header.Get("Idempotency-Key")
	}
	first := issue("acme", "run_1")
	one := send(first, "k1", "")
	if again := send(first, "k1", ""); again != one {
		t.Errorf("a retry is sent under %s, the first under %s", again, one)
	}
	if renewed := send(issue("acme", "run_1"), "k1", ""); renewed != one {
		t.Error("a retry under a renewed key is another spend")
	}
	seen := map[string]string{one: "the first"}
	for name, other := range map[string]string{
		"another key of the agent's": send(first, "k2", ""),
		"another run":                send(issue("acme", "run_2"), "k1", ""),
		"another tenant":             send(issue("globex", "run_1"), "k1", ""),
		"another account":            send(first, "k1", "acct_1"),
	} {
		if seen[other] != "" || other == "" {
			t.Errorf("%s is sent under the key of %s", name, seen[other])
		}
		seen[other] = name
	}
	for range 2 {
		none := send(first, "", "")
		if seen[none] != "" || none == "" {
			t.Errorf("without a key of the agent's, the call is sent under the key %q of %s", none, seen[none])
		}
		seen[none] = "a call without one"
	}
	if n := len(w.fake.Executions()); n != 7 {
		t.Errorf("%d calls were executed, want 7: the two retries are the first", n)
	}
}

// A caller's httptrace would be shown every header that is written, the credential's too.
func TestTheCallersTraceSeesNothing(t *testing.T) {
	for _, http2 := range []bool{false, true} {
		w := newWorld(t, speaking(http2))
		tok := w.issue(t, "run_1", everything()).Token()
		var mu sync.Mutex
		var seen []string
		note := func(what string) {
			mu.Lock()
			defer mu.Unlock()
			seen = append(seen, what)
		}
		ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
			GetConn:              func(string) { note("GetConn") },
			GotConn:              func(httptrace.GotConnInfo) { note("GotConn") },
			WroteHeaderField:     func(name string, values []string) { note(fmt.Sprint(name, values)) },
			WroteHeaders:         func() { note("WroteHeaders") },
			WroteRequest:         func(httptrace.WroteRequestInfo) { note("WroteRequest") },
			Got1xxResponse:       func(int, textproto.MIMEHeader) error { note("Got1xxResponse"); return nil },
			GotFirstResponseByte: func() { note("GotFirstResponseByte") },
		})
		req := request(t, "GET", chargesURL, tok, "", "").WithContext(ctx)
		if d := denial(t, w.Transport(nil), req); d != nil || len(w.fake.Received()) != 1 {
			t.Fatal(d)
		}
		mu.Lock()
		if len(seen) > 0 {
			t.Errorf("the caller's trace saw %q", seen)
		}
		mu.Unlock()
	}
}

// The vendor's reply comes as it came, less what could change the SDK's next call.
func TestTheReplyComesAsItCame(t *testing.T) {
	w := newWorld(t, nil)
	tok := w.issue(t, "run_1", everything()).Token()
	const page = `{"object":"list",  "data":[], "has_more":false, "note":"\u00fc"}`
	w.fake.Misbehave(fakevendor.Fault{Kind: fakevendor.BadJSON, Body: page, ContentType: "application/json; x=1", Header: http.Header{
		"Set-Cookie": {"a=b"}, "Alt-Svc": {`h3=":443"`}, "Keybrake-Denial": {"budget_exceeded"}, "Keybrake-Other": {"1"}, "X-Two": {"1", "2"},
	}})
	resp, err := w.Transport(nil).RoundTrip(request(t, "GET", chargesURL, tok, "", ""))
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil || string(body) != page || resp.ContentLength != int64(len(page)) || resp.Status != "200 OK" || resp.Header.Get("Content-Length") != fmt.Sprint(len(page)) {
		t.Errorf("%s, %d bytes announced: %s, %v", resp.Status, resp.ContentLength, body, err)
	}
	if err := resp.Body.Close(); err != nil {
		t.Error(err)
	}
	if got := resp.Header.Values("X-Two"); !slices.Equal(got, []string{"1", "2"}) || resp.Header.Get("Content-Type") != "application/json; x=1" {
		t.Errorf("headers %v", resp.Header)
	}
	for _, name := range []string{"Set-Cookie", "Alt-Svc", "Keybrake-Denial", "Keybrake-Other"} {
		if resp.Header.Get(name) != "" {
			t.Errorf("the reply has %s", name)
		}
	}
}

// Fifty agents at once, on three SDKs: every call that was executed is in the books and on record, at its price, and
// none beyond the limit.
func TestTheBooksAreTheExecutions(t *testing.T) {
	w := newWorld(t, nil)
	w.fake.SeedCharge("ch_1", 10_000_000, "usd")
	key := w.issue(t, "run_1", policy.Policy{
		Allow:   []policy.Rule{{Operation: "stripe.*"}, {Operation: "twilio.messages.*"}, {Operation: "resend.*"}},
		Budgets: []policy.Budget{policy.Lifetime(policy.USD("1000")), policy.Lifetime(policy.Calls(90)), policy.Lifetime(policy.Units(1000))},
	})
	sc := stripeOver(w.Transport(nil), key.Token())
	tw := &twclient.Client{Credentials: twclient.NewCredentials(twilioAccount, key.Token()), HTTPClient: w.Client()}
	tw.SetAccountSid(twilioAccount)
	tc := twilio.NewRestClientWithParams(twilio.ClientParams{Client: tw})
	rc := resend.NewCustomClient(w.Client(), key.Token())
	calls := []func() error{
		func() error {
			_, err := sc.Refunds.New(&stripe.RefundParams{Charge: stripe.String("ch_1"), Amount: stripe.Int64(700)})
			return err
		},
		func() error {
			_, err := tc.Api.CreateMessage((&twapi.CreateMessageParams{}).SetTo("+14155550100").SetFrom("+14155550101").SetBody("hi"))
			return err
		},
		func() error {
			_, err := rc.Emails.Send(&resend.SendEmailRequest{From: "a@acme.com", To: []string{"b@acme.com", "c@acme.com"}, Subject: "s", Text: "t"})
			return err
		},
	}
	var group sync.WaitGroup
	for agent := range 50 {
		group.Go(func() {
			for turn := range 2 {
				err := calls[(agent+turn)%len(calls)]()
				if d, ok := keybrake.DenialFrom(err); err != nil && (!ok || d.Reason != reason.BudgetExceeded) {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()

	// Twilio and Resend name no price at once: until they bill, the bound stands in the books.
	bound := map[string]int64{"twilio": 13_300, "resend": 2 * 900}
	var cost, units int64
	executed := int64(len(w.fake.Executions()))
	for _, e := range w.fake.Executions() {
		units += e.Units
		if b, ok := bound[e.Vendor]; ok {
			cost += b
		} else {
			cost += e.Amount
		}
	}
	states, err := w.Balance(t.Context(), key.Token())
	if err != nil || states[0].Spent != cost || states[0].Held != 0 || states[1].Spent != executed || executed != 90 || states[2].Spent != units {
		t.Errorf("executed: %d calls, %d units, for %d; the books: %+v, %v", executed, units, cost, states, err)
	}
	if err := w.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	records := w.sink.Records()
	var recorded int64
	for _, r := range ofKind(records, audit.Outcome) {
		for _, l := range r.Actual {
			if l.Meter.Money() {
				recorded += l.Amount
			}
		}
	}
	if denied := refusalsIn(records); recorded != cost || denied != 10 {
		t.Errorf("executed for %d; on record %d, and %d denials", cost, recorded, denied)
	}
}
