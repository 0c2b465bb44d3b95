package keybrake_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/keybrake/keybrake-go"
	"github.com/keybrake/keybrake-go/audit"
	"github.com/keybrake/keybrake-go/credentials"
	"github.com/keybrake/keybrake-go/internal/fakevendor"
	"github.com/keybrake/keybrake-go/policy"
	"github.com/keybrake/keybrake-go/vendors"
	"github.com/keybrake/keybrake-go/vendors/kbresend"
	"github.com/keybrake/keybrake-go/vendors/kbstripe"
	"github.com/keybrake/keybrake-go/vendors/kbtwilio"
)

// forms are the ways in which a secret can be written that somebody would still read, and the ends of each: half a
// secret is one too.
func forms(secret string) []string {
	var all []string
	for _, s := range []string{secret, "Bearer " + secret, "Basic " + secret} {
		for _, write := range keybrake.Writings {
			all = append(all, write(s))
		}
	}
	for _, s := range all[:len(all):len(all)] {
		if len(s) > 32 {
			all = append(all, s[len(s)-20:])
		}
	}
	for before := range 3 { // within more that is base64, whatever stands before and behind it
		within := base64.RawStdEncoding.EncodeToString([]byte("xx"[:before] + secret + "zzz"))
		all = append(all, within[4:len(within)-8])
	}
	return append(all, secret, secret[len(secret)-16:])
}

// A haul is everything that came out of a brake.
type haul struct {
	mu     sync.Mutex
	places map[string]*strings.Builder
}

func (h *haul) at(place string) io.Writer { return haulAt{h, place} }

type haulAt struct {
	*haul
	place string
}

func (h haulAt) Write(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.places == nil {
		h.places = map[string]*strings.Builder{}
	}
	if h.places[h.place] == nil {
		h.places[h.place] = &strings.Builder{}
	}
	return h.places[h.place].Write(p)
}

// print keeps a value as every printer, encoder and logger shows it.
func (h *haul) print(place string, v any) {
	to := h.at(place)
	fmt.Fprintf(to, "%v\n%+v\n%#v\n%s\n%q\n", v, v, v, v, v)
	if text, err := json.Marshal(v); err == nil {
		_, _ = to.Write(text)
	}
	slog.New(slog.NewJSONHandler(to, nil)).Info("print", "value", v)
	slog.New(slog.NewTextHandler(to, nil)).Info("print", "value", v)
}

// call sends req and keeps what comes back: the reply, the request that it names, the error and all that it wraps.
func (h *haul) call(t testing.TB, name string, rt http.RoundTripper, req *http.Request) {
	t.Helper()
	ctx := httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{
		WroteHeaderField: func(field string, values []string) { fmt.Fprintln(h.at("trace of "+name), field, values) },
	})
	resp, err := rt.RoundTrip(req.WithContext(ctx))
	for e := err; e != nil; e = errors.Unwrap(e) {
		h.print("error of "+name, e)
	}
	if resp == nil {
		return
	}
	h.print("reply's request of "+name, resp.Request.Header)
	asked := resp.Request
	resp.Request = nil // it is the caller's own, with the caller's own key
	h.print("reply of "+name, *resp)
	if text, err := httputil.DumpResponse(resp, false); err == nil {
		_, _ = h.at("reply of " + name).Write(text)
	}
	body, err := io.ReadAll(resp.Body)
	fmt.Fprintf(h.at("body of "+name), "%s\n%s\n", body, body)
	for packed := body; bytes.HasPrefix(packed, []byte{0x1f, 0x8b}); { // packed, and perhaps once more
		z, err := gzip.NewReader(bytes.NewReader(packed))
		if err != nil {
			break
		}
		packed, _ = io.ReadAll(z)
		_, _ = h.at("body of " + name).Write(packed)
	}
	h.print("end of the body of "+name, err)
	h.print("end of the body of "+name, resp.Body.Close())
	h.print("trailer of "+name, resp.Trailer)
	if asked.Body != nil {
		asked.Body, _ = asked.GetBody()
	}
	if text, err := httputil.DumpRequestOut(asked.WithContext(context.Background()), true); err == nil {
		_, _ = h.at("reply's request of " + name).Write(text)
	}
}

// wantNone reports the places that hold one of the secrets in one of its forms.
func (h *haul) wantNone(t *testing.T, secrets []string, except string) {
	t.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	const start = 8 // bytes, by which forms are found in one pass over a text
	wanted := map[[start]byte][]string{}
	for _, secret := range secrets {
		for _, form := range forms(secret) {
			key := [start]byte([]byte(form))
			if !slices.Contains(wanted[key], form) {
				wanted[key] = append(wanted[key], form)
			}
		}
	}
	for place, kept := range h.places {
		if except != "" && strings.HasPrefix(place, except) {
			continue
		}
		text, shown := kept.String(), 0
		for i := 0; i+start <= len(text) && shown < 3; i++ {
			for _, form := range wanted[[start]byte([]byte(text[i:i+start]))] {
				if strings.HasPrefix(text[i:], form) {
					shown++
					t.Errorf("the %s holds %q: …%s…", place, form, text[max(0, i-120):min(len(text), i+len(form)+40)])
					break
				}
			}
		}
	}
}

// A leaky base transport shows the request wherever it can.
type leaky func(*http.Request) (*http.Response, error)

func (f leaky) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// A requestError holds the whole request, as the errors of some transports do.
type requestError struct{ Request *http.Request }

func (e *requestError) Error() string {
	return fmt.Sprintf("sending %+v: %s", e.Request.Header, e.Request.Header.Get("Authorization"))
}
func (e *requestError) Timeout() bool { return true }

// A leakyBody ends with an error, or a panic, that shows the request.
type leakyBody struct {
	io.Reader
	end func() error
}

func (b leakyBody) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if err == io.EOF {
		err = b.end()
	}
	return n, err
}
func (b leakyBody) Close() error { return nil }

// echoes is a page that repeats an Authorization value in every form.
func echoes(authorization string) string {
	_, secret, _ := strings.Cut(authorization, " ")
	var page strings.Builder
	for _, s := range []string{authorization, secret} {
		b := []byte(s)
		quoted, _ := json.Marshal(s)
		for _, form := range []string{
			s, string(quoted), url.QueryEscape(s), hex.EncodeToString(b), strings.ToUpper(hex.EncodeToString(b)),
			base64.StdEncoding.EncodeToString(b), base64.RawStdEncoding.EncodeToString(b), base64.URLEncoding.EncodeToString(b),
		} {
			page.WriteString(form + " ")
		}
	}
	if plain, err := base64.StdEncoding.DecodeString(secret); err == nil {
		page.WriteString(string(plain))
	}
	return page.String()
}

// leakyBases are base transports, each of which gives the credential away in its own manner. ok is what it does for
// requests that are to succeed.
var leakyBases = map[string]func(ok http.RoundTripper) leaky{
	"a panic that holds the request": func(http.RoundTripper) leaky {
		return func(req *http.Request) (*http.Response, error) { panic(req) }
	},
	"a panic that holds the header": func(http.RoundTripper) leaky {
		return func(req *http.Request) (*http.Response, error) { panic(fmt.Sprint(req.Header)) }
	},
	"an error that holds the request": func(http.RoundTripper) leaky {
		return func(req *http.Request) (*http.Response, error) { return nil, &requestError{req} }
	},
	"an error that says it": func(http.RoundTripper) leaky {
		return func(req *http.Request) (*http.Response, error) {
			return nil, fmt.Errorf("dialling: %w (%s) (%q)", &net.OpError{Op: "dial", Err: errors.New(echoes(req.Header.Get("Authorization")))}, echoes(req.Header.Get("Authorization")), req.Header)
		}
	},
	"an error beside a reply": func(ok http.RoundTripper) leaky {
		return func(req *http.Request) (*http.Response, error) {
			resp, _ := ok.RoundTrip(req)
			return resp, &requestError{req}
		}
	},
	"a reply that echoes": func(ok http.RoundTripper) leaky {
		return func(req *http.Request) (*http.Response, error) {
			page := echoes(req.Header.Get("Authorization"))
			return &http.Response{
				StatusCode: 401, Status: "401 " + page, Proto: "HTTP/1.1", Request: req,
				Header:  http.Header{"Content-Type": {"text/plain"}, "X-Echo": {page}, "Location": {"https://evil.example/?k=" + page}, "Request-Id": {"req_" + page}},
				Trailer: http.Header{"X-Echo": {page}},
				Body:    io.NopCloser(strings.NewReader(page)),
			}, nil
		}
	},
	"an object that echoes": func(ok http.RoundTripper) leaky {
		return func(req *http.Request) (*http.Response, error) {
			resp, err := ok.RoundTrip(req)
			if err != nil || req.Method != http.MethodPost {
				return resp, err
			}
			secret, _ := json.Marshal(req.Header.Get("Authorization"))
			page, _ := io.ReadAll(resp.Body)
			text := strings.NewReplacer(`"re_`, `"id":`+string(secret)+`,"x":"re_`, `"SM`, string(secret)+`,"x":"SM`).Replace(string(page))
			resp.Body, resp.ContentLength = io.NopCloser(strings.NewReader(text)), -1
			return resp, nil
		}
	},
	"a body that breaks off with an error that says it": func(ok http.RoundTripper) leaky {
		return func(req *http.Request) (*http.Response, error) {
			return &http.Response{
				StatusCode: 200, Request: req, Header: http.Header{},
				Body: leakyBody{strings.NewReader(`{"object":`), func() error { return &requestError{req} }},
			}, nil
		}
	},
	"a body that panics": func(ok http.RoundTripper) leaky {
		return func(req *http.Request) (*http.Response, error) {
			return &http.Response{
				StatusCode: 200, Request: req, Header: http.Header{},
				Body: leakyBody{strings.NewReader(`{"object":`), func() error { panic(req) }},
			}, nil
		}
	},
}

// leakyAdapters are vendors whose rows say what they were shown: a mistake that the brake has to contain.
func leakyAdapters() []vendors.Vendor {
	all := []vendors.Vendor{kbstripe.New(nil), kbtwilio.New(nil), kbresend.New(nil)}
	for i := range all {
		for j := range all[i].Operations {
			row := &all[i].Operations[j]
			if row.Bound == nil {
				continue
			}
			bound := row.Bound
			row.Bound = func(c *vendors.Call, seen *vendors.Reply) (vendors.Bound, error) {
				if seen != nil {
					return vendors.Bound{}, fmt.Errorf("cannot price %s of %v with %v", seen.Body, seen.Header, c)
				}
				return bound(c, nil)
			}
			row.Settle = func(c *vendors.Call, _ vendors.Bound, r *vendors.Reply) (vendors.Settlement, error) {
				return vendors.Settlement{}, fmt.Errorf("cannot read %s of %v for %v", r.Body, r.Header, c)
			}
		}
	}
	return all
}

// The real credential is in the Authorization header of the outgoing request, and comes back in nothing: not in a
// reply, an error, a log, a record, a trace or a print, whatever the vendor, the network, the transport, the source
// of credentials or an adapter does. Nor does the vault key, beside the caller's own request.
func TestTheSecretComesBackInNothing(t *testing.T) {
	const rotated = "not-a-stripe-key-Wr0ngPlace1234567890"
	const held = "sk_live_51Hheld7by8the9agent10itself" // an incident: it is refused, and repeated nowhere
	secrets := []string{stripeSecret, twilioSecret, resendSecret, rotated}
	_, basic, _ := strings.Cut(basicOf(twilioAccount, twilioSecret), " ")
	secrets = append(secrets, basic)
	credential := map[string]string{
		"api.stripe.com": "Bearer " + stripeSecret, "api.twilio.com": basicOf(twilioAccount, twilioSecret), "api.resend.com": "Bearer " + resendSecret,
	}

	out := &haul{}
	source := &switched{Source: credentials.Static(map[string]string{"stripe": stripeSecret, "twilio": twilioAccount + ":" + twilioSecret, "resend": resendSecret})}
	var config keybrake.Config
	build := func(change func(*keybrake.Config)) *world {
		return newWorld(t, func(c *keybrake.Config) {
			c.Audit = audit.Tee(c.Audit, audit.JSON(out.at("JSON audit")), audit.Slog(slog.New(slog.NewTextHandler(out.at("slog audit"), nil))))
			c.Log = slog.New(slog.NewJSONHandler(out.at("log"), nil))
			c.Credentials = source
			c.MaxReply = 4 << 10
			if change != nil {
				change(c)
			}
			config = *c
		})
	}
	w := build(nil)
	w.fake.SeedCharge("ch_1", 90_000, "usd")
	key := w.issue(t, "run_1", everything())
	calls := map[string]func() *http.Request{
		"a list": func() *http.Request { return request(t, "GET", chargesURL, key.Token(), "", "") },
		"a refund": func() *http.Request {
			return request(t, "POST", refundsURL, key.Token(), formType, "charge=ch_1&amount=100")
		},
		"a text": func() *http.Request {
			req := request(t, "POST", messagesURL, "", formType, "To=%2B14155550100&From=%2B14155550101&Body=hi")
			req.SetBasicAuth(twilioAccount, key.Token())
			return req
		},
		"a mail": func() *http.Request {
			return request(t, "POST", emailsURL, key.Token(), "application/json", `{"from":"a@acme.com","to":"b@acme.com","subject":"s","text":"t"}`)
		},
	}
	all := func(how string, rt http.RoundTripper) {
		for name, call := range calls {
			out.call(t, name+", "+how, rt, call())
		}
	}
	asErrors := w.Transport(nil)
	asErrors.DenyAsError = true

	all("allowed", w.Transport(nil))
	for _, kind := range []fakevendor.FaultKind{
		fakevendor.Echo, fakevendor.Status, fakevendor.StatusAfter, fakevendor.HTMLAfter, fakevendor.BadJSON, fakevendor.DropBefore,
		fakevendor.DropAfter, fakevendor.Truncate, fakevendor.TruncateClean, fakevendor.AmountLie, fakevendor.Overcharge,
	} {
		for name, call := range calls {
			for _, rt := range []http.RoundTripper{w.Transport(nil), asErrors} {
				req := call()
				page := echoes(credential[req.URL.Host])
				w.fake.Misbehave(fakevendor.Fault{Method: req.Method, Kind: kind, Body: `{"error":{"type":"x","message":"` + page + `"}}`, Header: http.Header{"X-Page": {page}, "Request-Id": {page}}})
				out.call(t, fmt.Sprintf("%s, %s", name, kind), rt, req)
				_, _ = w.Resume(t.Context(), keybrake.ByKey("acme", key.ID)) // what took too much has frozen it
			}
		}
	}
	for w.fake.Faults() > 0 { // what a probe that failed has kept from its call
		out.call(t, "a list, to end the faults", w.Transport(nil), calls["a list"]())
		out.call(t, "a refund, to end the faults", w.Transport(nil), calls["a refund"]())
	}
	for how, base := range leakyBases {
		rt := w.Transport(base(config.Base))
		all(how, rt)
		rt.DenyAsError = true
		all(how, rt)
	}
	for name, call := range calls {
		req := call()
		req.Header.Set("Authorization", "Bearer "+held)
		out.call(t, name+", with a real credential", w.Transport(nil), req)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		out.call(t, name+", after the end", w.Transport(nil), call().WithContext(ctx))
	}
	w.sink.Fail(errors.New("disk full"))
	all("without a record", w.Transport(nil))
	w.sink.Fail(nil)

	wrong := build(func(c *keybrake.Config) { c.Vendors, c.Issuer, c.Ledger = leakyAdapters(), w.issuer, w.ledger })
	wrong.fake.SeedCharge("ch_1", 90_000, "usd")
	for range 8 {
		wrong.fake.Misbehave(fakevendor.Fault{Kind: fakevendor.Echo})
	}
	all("with leaky adapters", wrong.Transport(nil))
	all("with leaky adapters", wrong.Transport(leakyBases["a reply that echoes"](config.Base)))

	// A source that fails, and one that answers with what is no credential.
	source.fail(t, w, key.Token(), errors.New("the secret store is down"))
	all("without a credential", w.Transport(nil))
	source.down.Store(nil)
	source.Source = credentials.Static(map[string]string{"stripe": rotated})
	all("with a wrong credential", w.Transport(nil))

	balance, err := w.Balance(t.Context(), key.Token())
	out.print("balance", balance)
	_, err2 := w.Balance(t.Context(), stripeSecret)
	doubts, err3 := w.InDoubt(t.Context(), "acme")
	out.print("doubts", doubts)
	_, err4 := w.Issue(t.Context(), grant("run_2", policy.Policy{Allow: []policy.Rule{{Operation: "stripe.nothing"}}}))
	_, err5 := keybrake.New(t.Context(), keybrake.Config{Credentials: config.Credentials})
	for _, err := range []error{err, err2, err3, err4, err5} {
		out.print("error", err)
	}
	for name, v := range map[string]any{
		"brake": w.Brake, "brake's value": any(*w.Brake), "transport": w.Transport(nil), "config": config, "config's address": &config, "key": key, "issuer": w.issuer,
		"client": w.Client(), "key's address": &key, "source": config.Credentials, "static source": credentials.Static(map[string]string{"stripe": stripeSecret}),
	} {
		out.print(name, v)
	}
	if n := len(out.places); n < 100 {
		t.Fatalf("only %d places were looked at", n)
	}
	out.wantNone(t, secrets, "")
	out.wantNone(t, []string{key.Token(), held}, "reply's request")
}
