package keybrake_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/keybrake/keybrake-go"
	"github.com/keybrake/keybrake-go/credentials"
	"github.com/keybrake/keybrake-go/internal/fakevendor"
	"github.com/keybrake/keybrake-go/policy"
	"github.com/keybrake/keybrake-go/reason"
)

func basicOf(user, password string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
}

// Whatever is not one vault key in one Authorization header goes nowhere. An agent that holds the vendor's own
// credential is an incident, and is told apart.
func TestOnlyAVaultKeyIsTaken(t *testing.T) {
	l := &watched{}
	w := newWorld(t, watch(l))
	tok := w.issue(t, "run_1", everything()).Token()
	rt := w.Transport(nil)
	l.asked()
	for name, tt := range map[string]struct {
		header http.Header
		want   reason.Code
	}{
		"nothing":                       {http.Header{}, reason.KeyMissing},
		"no header at all":              {nil, reason.KeyMissing},
		"a header without a value":      {http.Header{"Authorization": {}}, reason.KeyMissing},
		"an empty value":                {http.Header{"Authorization": {""}}, reason.KeyMalformed},
		"a scheme alone":                {http.Header{"Authorization": {"Bearer"}}, reason.KeyMalformed},
		"another scheme":                {http.Header{"Authorization": {"Digest " + tok}}, reason.KeyMalformed},
		"no scheme":                     {http.Header{"Authorization": {tok}}, reason.KeyMalformed},
		"two values":                    {http.Header{"Authorization": {"Bearer " + tok, "Bearer " + tok}}, reason.KeyAmbiguous},
		"a second key of the map":       {http.Header{"Authorization": {"Bearer " + tok}, "authorization": {"Bearer x"}}, reason.KeyAmbiguous},
		"a key that ends in a space":    {http.Header{"Authorization": {"Bearer " + tok}, "Authorization ": {"Bearer x"}}, reason.KeyAmbiguous},
		"two keys, neither canonical":   {http.Header{"authorization": {"Bearer " + tok}, "AUTHORIZATION": {"Bearer " + tok}}, reason.KeyAmbiguous},
		"two in one":                    {http.Header{"Authorization": {"Bearer " + tok + ", Bearer " + tok}}, reason.KeyMalformed},
		"a space too many":              {http.Header{"Authorization": {"Bearer  " + tok}}, reason.KeyMalformed},
		"a key as user and as password": {http.Header{"Authorization": {basicOf(tok, tok)}}, reason.KeyAmbiguous},
		"basic that is not base64":      {http.Header{"Authorization": {"Basic %%%"}}, reason.KeyMalformed},
		"basic without a colon":         {http.Header{"Authorization": {"Basic " + base64.StdEncoding.EncodeToString([]byte(tok))}}, reason.KeyMalformed},
		"another header alone":          {http.Header{"X-Api-Key": {tok}}, reason.KeyMissing},
		"a proxy's header alone":        {http.Header{"Proxy-Authorization": {"Bearer " + tok}}, reason.KeyMissing},

		"Stripe's secret key":              {http.Header{"Authorization": {"Bearer " + stripeSecret}}, reason.KeyReal},
		"Stripe's live key":                {http.Header{"Authorization": {"Bearer sk_live_51Hreal4secret5never6shown"}}, reason.KeyReal},
		"Stripe's restricted key":          {http.Header{"Authorization": {"bearer rk_live_51Hreal4secret5never6shown"}}, reason.KeyReal},
		"Stripe's key as a user":           {http.Header{"Authorization": {basicOf(stripeSecret, "")}}, reason.KeyReal},
		"Stripe's key under another's map": {http.Header{"authorization": {"Bearer " + stripeSecret}}, reason.KeyReal},
		"Twilio's account and token":       {http.Header{"Authorization": {basicOf(twilioAccount, twilioSecret)}}, reason.KeyReal},
		"Resend's key":                     {http.Header{"Authorization": {"Bearer " + resendSecret}}, reason.KeyReal},
	} {
		for _, target := range []string{chargesURL, messagesURL, emailsURL, "https://evil.example/v1/charges"} {
			req := request(t, "GET", target, "", "", "")
			req.Header = tt.header
			resp, err := rt.RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			reply, _ := io.ReadAll(resp.Body)
			resp.Body = io.NopCloser(bytes.NewReader(reply))
			if d := denialIn(t, resp); d == nil || d.Reason != tt.want || d.Status != 401 {
				t.Errorf("%s: %v, want %s", name, d, tt.want)
			}
			for _, values := range tt.header {
				for _, v := range values {
					if _, secret, ok := strings.Cut(v, " "); ok && len(secret) > 8 && strings.Contains(string(reply), secret) {
						t.Errorf("%s: the reply repeats the credential: %s", name, reply)
					}
				}
			}
		}
	}
	if verbs := l.asked(); len(verbs) > 0 || len(w.fake.Received()) > 0 {
		t.Errorf("the ledger was asked to %v, the vendors got %d requests", verbs, len(w.fake.Received()))
	}
	// Which key it was that showed up is what an operator wants to know, and it must not be the key that says it.
	for _, r := range w.sink.Records() {
		if strings.Contains(r.Detail, "real4secret5") || strings.Contains(r.Detail, "Real4Secret") || strings.Contains(r.Detail, twilioSecret) {
			t.Errorf("the record repeats the credential: %q", r.Detail)
		}
	}
}

func TestAKeyCoversTheVendorsOfItsGrantAlone(t *testing.T) {
	w := newWorld(t, nil)
	g := grant("run_1", policy.Policy{Allow: []policy.Rule{{Operation: "stripe.*", ReadOnly: true}}})
	g.Credentials = map[string]string{"stripe": "stripe"}
	key, err := w.Issue(t.Context(), g)
	if err != nil {
		t.Fatal(err)
	}
	for target, want := range map[string]reason.Code{chargesURL: "", messagesURL: reason.KeyVendor, emailsURL: reason.KeyVendor} {
		if d := denial(t, w.Transport(nil), request(t, "GET", target, key.Token(), "", "")); codeOf(d) != want {
			t.Errorf("%s: %v, want %q", target, d, want)
		}
	}
	for _, e := range w.fake.Received() {
		if e.Host != "api.stripe.com" {
			t.Errorf("%s got a request", e.Host)
		}
	}
}

// A client that follows a redirect sends the key along, also to another operation of the same host. The brake's
// own client does not; whoever brings another is stopped at the second hop.
func TestARequestThatFollowsARedirectIsRefused(t *testing.T) {
	w := newWorld(t, nil)
	key := w.issue(t, "run_1", everything())
	for _, status := range []int{301, 302, 303, 307, 308} {
		for _, location := range []string{"/v1/payouts", "https://api.stripe.com/v1/charges", "https://evil.example/"} {
			w.fake.Misbehave(fakevendor.Fault{Kind: fakevendor.Redirect, Status: status, Body: location})
			before := len(w.fake.Received())
			req := request(t, "GET", chargesURL, key.Token(), "", "")
			resp, err := w.Client().Do(req)
			if err != nil || resp.StatusCode != status || resp.Header.Get("Location") != location {
				t.Fatalf("the brake's client: %v, %v", resp, err)
			}
			_ = resp.Body.Close()

			w.fake.Misbehave(fakevendor.Fault{Kind: fakevendor.Redirect, Status: status, Body: location})
			resp, err = (&http.Client{Transport: w.Transport(nil)}).Do(request(t, "GET", chargesURL, key.Token(), "", ""))
			if err != nil {
				t.Fatal(err)
			}
			if d := denialIn(t, resp); d == nil || d.Status != 403 && d.Status != 401 { // net/http keeps the key from other hosts
				t.Errorf("%d to %s: %v", status, location, d)
			}
			if n := len(w.fake.Received()) - before; n != 2 {
				t.Errorf("%d to %s: the vendor got %d requests, want one of each client", status, location, n)
			}
		}
	}
	if n := len(w.fake.Executions()); n != 0 {
		t.Errorf("%d calls were executed", n)
	}
}

// A watchedBody counts what is done to a request's body.
type watchedBody struct {
	read  func([]byte) (int, error)
	close func()

	mu     sync.Mutex
	closes int
	late   bool // a read began after Close
}

func (b *watchedBody) Read(p []byte) (int, error) {
	b.mu.Lock()
	b.late = b.late || b.closes > 0
	b.mu.Unlock()
	return b.read(p)
}

func (b *watchedBody) Close() error {
	b.mu.Lock()
	b.closes++
	b.mu.Unlock()
	if b.close != nil {
		b.close()
	}
	return errors.New("a body's error at Close is nobody's")
}

func bodyOf(text string) *watchedBody {
	return &watchedBody{read: strings.NewReader(text).Read}
}

// The body is closed exactly once, whatever happens: http.RoundTripper's contract, without which a client leaks or
// sends garbage.
func TestTheBodyIsClosedExactlyOnce(t *testing.T) {
	const form = "charge=ch_1&amount=100"
	down := errors.New("down")
	l := &watched{}
	source := &switched{Source: credentials.Static(map[string]string{"stripe": stripeSecret, "twilio": twilioAccount + ":" + twilioSecret, "resend": resendSecret})}
	w := newWorld(t, func(c *keybrake.Config) {
		watch(l)(c)
		c.MaxBody = 1000
		c.Credentials = source
	})
	w.fake.SeedCharge("ch_1", 50_000, "usd")
	key := w.issue(t, "run_1", everything())
	small := w.issue(t, "run_2", policy.Policy{
		Allow: []policy.Rule{{Operation: "stripe.refunds.create"}}, Budgets: []policy.Budget{policy.Lifetime(policy.USD("0.5"))},
	})
	strict := w.issue(t, "run_3", policy.Policy{Allow: []policy.Rule{{Operation: "stripe.charges.list"}}})
	nowhere := w.Transport(&http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) { return nil, down }})

	type scene struct {
		req  *http.Request
		body *watchedBody
		rt   http.RoundTripper
		quit func()
	}
	for name, tt := range map[string]struct {
		set  func(*scene)
		want reason.Code // "" for the vendor's own answer
	}{
		"no key":             {func(s *scene) { s.req.Header.Del("Authorization") }, reason.KeyMissing},
		"a damaged key":      {func(s *scene) { s.req.Header.Set("Authorization", "Bearer "+key.Token()[1:]) }, reason.KeyMalformed},
		"a real key":         {func(s *scene) { s.req.Header.Set("Authorization", "Bearer "+stripeSecret) }, reason.KeyReal},
		"a redirect":         {func(s *scene) { s.req.Response = &http.Response{} }, reason.RequestInvalid},
		"no URL":             {func(s *scene) { s.req.URL = nil }, reason.RequestInvalid},
		"no header":          {func(s *scene) { s.req.Header = nil }, reason.KeyMissing},
		"an unknown host":    {func(s *scene) { s.req.URL.Host = "evil.example"; s.req.Host = "" }, reason.HostUnknown},
		"an unknown call":    {func(s *scene) { s.req.URL.Path = "/v1/nothing" }, reason.OperationUnknown},
		"a call not allowed": {func(s *scene) { s.req.Header.Set("Authorization", "Bearer "+strict.Token()) }, reason.OperationDenied},
		"no budget left":     {func(s *scene) { s.req.Header.Set("Authorization", "Bearer "+small.Token()) }, reason.BudgetExceeded},

		"a read that fails": {func(s *scene) {
			s.body.read = func([]byte) (int, error) { return 0, errors.New("torn") }
		}, reason.BodyInvalid},
		"a read that fails half-way": {func(s *scene) {
			s.body.read = io.MultiReader(strings.NewReader(form[:5]), readerFunc(func([]byte) (int, error) { return 0, io.ErrUnexpectedEOF })).Read
		}, reason.BodyInvalid},
		"a read that panics":       {func(s *scene) { s.body.read = func([]byte) (int, error) { panic("torn") } }, reason.BodyInvalid},
		"a read of nothing":        {func(s *scene) { s.body.read = func([]byte) (int, error) { return 0, nil } }, reason.BodyInvalid},
		"a read that lies":         {func(s *scene) { s.body.read = func(p []byte) (int, error) { return len(p) + 1, nil } }, reason.BodyInvalid},
		"a read of less than none": {func(s *scene) { s.body.read = func([]byte) (int, error) { return -1, nil } }, reason.BodyInvalid},
		"a close that panics":      {func(s *scene) { s.body.close = func() { panic("torn") } }, ""},
		"a body too long": {func(s *scene) {
			s.body.read = strings.NewReader(form + "&description=" + strings.Repeat("x", 1000)).Read
		}, reason.BodyInvalid},
		"a body without end":     {func(s *scene) { s.body.read = func(p []byte) (int, error) { return copy(p, "x"), nil } }, reason.BodyInvalid},
		"shorter than announced": {func(s *scene) { s.req.ContentLength = int64(len(form)) + 1 }, reason.BodyInvalid},
		"longer than announced":  {func(s *scene) { s.req.ContentLength = int64(len(form)) - 1 }, reason.BodyInvalid},
		"as long as announced":   {func(s *scene) { s.req.ContentLength = int64(len(form)) }, ""},
		"of no announced length": {func(s *scene) { s.req.ContentLength = -1 }, ""},

		"a context that has ended": {func(s *scene) { s.quit() }, reason.Canceled},
		"a read that hangs until the context ends": {func(s *scene) {
			closed := make(chan struct{})
			s.body.read = func([]byte) (int, error) { s.quit(); <-closed; return 0, io.ErrClosedPipe }
			s.body.close = func() { close(closed) }
		}, reason.Canceled},

		"a ledger that is down": {func(*scene) { l.before = func(context.Context, string) error { return down } }, reason.LedgerUnavailable},
		"a sink that is full":   {func(*scene) { w.sink.Fail(down) }, reason.AuditUnavailable},
		"no credential":         {func(*scene) { source.fail(t, w, key.Token(), down) }, reason.CredentialUnavailable},
		"a vendor out of reach": {func(s *scene) { s.rt = nowhere }, reason.Unsent},

		"a vendor that refuses":        {func(*scene) { w.fake.Misbehave(fakevendor.Fault{Method: "POST", Kind: fakevendor.Status, Status: 402}) }, ""},
		"a vendor that does not reply": {func(*scene) { w.fake.Misbehave(fakevendor.Fault{Method: "POST", Kind: fakevendor.DropAfter}) }, reason.InDoubt},
		"a call that goes through":     {func(*scene) {}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			s := &scene{body: bodyOf(form), rt: w.Transport(nil), quit: cancel}
			s.req = request(t, "POST", refundsURL, key.Token(), formType, form).WithContext(ctx)
			s.req.Body, s.req.ContentLength = s.body, -1
			tt.set(s)
			defer func() {
				l.before = nil
				w.sink.Fail(nil)
				source.down.Store(nil)
				w.fake.AllowCredentials("stripe", stripeSecret)
			}()

			resp, err := s.rt.RoundTrip(s.req)
			var d *keybrake.Denial
			if err == nil {
				d = denialIn(t, resp)
			} else if !errors.As(err, &d) || d.Reason != reason.Canceled || !errors.Is(err, context.Canceled) {
				t.Fatalf("got %v", err)
			}
			if codeOf(d) != tt.want {
				t.Errorf("got %v, want %q", d, tt.want)
			}
			s.body.mu.Lock()
			defer s.body.mu.Unlock()
			if s.body.closes != 1 || s.body.late {
				t.Errorf("the body was closed %d times; read after that: %v", s.body.closes, s.body.late)
			}
		})
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// A switched source of credentials can be made to fail.
type switched struct {
	credentials.Source
	down atomic.Pointer[error]
}

func (s *switched) Get(ctx context.Context, ref string) (credentials.Credential, error) {
	if err := s.down.Load(); err != nil {
		return credentials.Credential{}, *err
	}
	return s.Source.Get(ctx, ref)
}

// fail makes the source fail, and the brake forget the credential that it knows: the vendor refuses it.
func (s *switched) fail(t *testing.T, w *world, token string, err error) {
	t.Helper()
	w.fake.AllowCredentials("stripe")
	if d := denial(t, w.Transport(nil), request(t, "GET", chargesURL, token, "", "")); d != nil {
		t.Fatal(d)
	}
	s.down.Store(&err)
}

// net/http's callers send a request again, or share it between goroutines; the brake changes nothing in it.
func TestTheCallersRequestIsNotChanged(t *testing.T) {
	w := newWorld(t, nil)
	w.fake.SeedCharge("ch_1", 50_000, "usd")
	key := w.issue(t, "run_1", everything())
	for name, build := range map[string]func() *http.Request{
		"a refund, denied": func() *http.Request { return request(t, "POST", refundsURL, key.Token(), formType, "charge=ch_9") },
		"a refund, allowed": func() *http.Request {
			return request(t, "POST", refundsURL, key.Token(), formType, "charge=ch_1&amount=5")
		},
		"a list": func() *http.Request { return request(t, "GET", chargesURL+"?limit=3", key.Token(), "", "") },
		"a mail": func() *http.Request {
			return request(t, "POST", emailsURL, key.Token(), "application/json", `{"from":"a@acme.com","to":"b@acme.com","subject":"s","text":"t"}`)
		},
		"a text": func() *http.Request {
			req := request(t, "POST", messagesURL, "", formType, "To=%2B14155550100&From=%2B14155550101&Body=hi")
			req.SetBasicAuth(twilioAccount, key.Token())
			return req
		},
		"another host": func() *http.Request { return request(t, "GET", "https://EVIL.example/", key.Token(), "", "") },
		"headers of every kind": func() *http.Request {
			req := request(t, "GET", chargesURL, key.Token(), "", "")
			req.Header["Cookie"], req.Header["x-lower"], req.Header["Accept"] = []string{"a=b", "c=d"}, []string{"1"}, []string{"*/*"}
			req.Header.Set("Connection", "Authorization")
			req.Trailer = http.Header{"X-T": nil}
			return req
		},
	} {
		req, twin := build(), build()
		resp, err := w.Transport(nil).RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.Request != req {
			t.Errorf("%s: the reply's request is not the caller's", name)
		}
		for field, pair := range map[string][2]any{
			"Method": {req.Method, twin.Method}, "URL": {req.URL, twin.URL}, "Header": {req.Header, twin.Header}, "Host": {req.Host, twin.Host},
			"ContentLength": {req.ContentLength, twin.ContentLength}, "TransferEncoding": {req.TransferEncoding, twin.TransferEncoding},
			"Trailer": {req.Trailer, twin.Trailer}, "Form": {req.Form, twin.Form}, "Close": {req.Close, twin.Close}, "RequestURI": {req.RequestURI, twin.RequestURI},
			"Response": {req.Response, twin.Response},
		} {
			if !reflect.DeepEqual(pair[0], pair[1]) {
				t.Errorf("%s: %s was %v and is %v", name, field, pair[1], pair[0])
			}
		}
		if req.Body != nil {
			again, err := req.GetBody() // which is what a retry sends
			text, _ := io.ReadAll(again)
			other, _ := twin.GetBody()
			want, _ := io.ReadAll(other)
			if err != nil || !bytes.Equal(text, want) {
				t.Errorf("%s: a retry would send %q", name, text)
			}
		}
	}
}

// One request that two goroutines send at once is two calls, without a race.
func TestARequestWithoutABodyMayBeSentByManyAtOnce(t *testing.T) {
	w := newWorld(t, nil)
	key := w.issue(t, "run_1", everything())
	req := request(t, "GET", chargesURL, key.Token(), "", "")
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			if d := denial(t, w.Transport(nil), req); d != nil {
				t.Error(d)
			}
		})
	}
	group.Wait()
	if n := len(w.fake.Received()); n != 8 {
		t.Errorf("the vendor got %d requests", n)
	}
}

// A host is compared in ASCII lower case with or without its port; all that could be routed elsewhere is refused.
func TestTheHostIsExact(t *testing.T) {
	w := newWorld(t, nil)
	key := w.issue(t, "run_1", everything())
	for name, tt := range map[string]struct {
		set  func(*http.Request)
		want reason.Code
	}{
		"upper case":            {func(r *http.Request) { r.URL.Host = "API.Stripe.COM" }, ""},
		"the port":              {func(r *http.Request) { r.URL.Host = "api.stripe.com:443" }, ""},
		"its own Host":          {func(r *http.Request) { r.Host = "API.stripe.com" }, ""},
		"another port":          {func(r *http.Request) { r.URL.Host = "api.stripe.com:8443" }, reason.HostUnknown},
		"http":                  {func(r *http.Request) { r.URL.Scheme = "http" }, reason.HostUnknown},
		"a user":                {func(r *http.Request) { r.URL.User = url.UserPassword("a", "b") }, reason.RequestInvalid},
		"another Host":          {func(r *http.Request) { r.Host = "evil.example" }, reason.RequestInvalid},
		"an opaque part":        {func(r *http.Request) { r.URL.Opaque = "//evil.example/v1/charges" }, reason.RequestInvalid},
		"a letter that is none": {func(r *http.Request) { r.URL.Host = "\u24d0pi.stripe.com" }, reason.HostUnknown},
		"a name in a name":      {func(r *http.Request) { r.URL.Host = "api.stripe.com.evil.example" }, reason.HostUnknown},
		"an address":            {func(r *http.Request) { r.URL.Host = "127.0.0.1" }, reason.HostUnknown},
	} {
		req := request(t, "GET", chargesURL, key.Token(), "", "")
		req.Host = "" // which means the URL's
		tt.set(req)
		if d := denial(t, w.Transport(nil), req); codeOf(d) != tt.want {
			t.Errorf("%s: %v, want %q", name, d, tt.want)
		}
	}
	for _, r := range w.fake.Received() {
		if r.Host != "api.stripe.com" {
			t.Errorf("a request was sent with Host %s", r.Host)
		}
	}
}
