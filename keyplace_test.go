package keybrake_test

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keybrake/keybrake-go"
	"github.com/keybrake/keybrake-go/credentials"
	"github.com/keybrake/keybrake-go/policy"
	"github.com/keybrake/keybrake-go/reason"
	"github.com/keybrake/keybrake-go/vendors"
	"github.com/keybrake/keybrake-go/vendors/rules"
)

// A wire is a TLS server that stands for every host and keeps what arrives as it arrives.
type wire struct {
	mu      sync.Mutex
	arrived []string
}

func (w *wire) take() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := w.arrived
	w.arrived = nil
	return all
}

func startWire(t *testing.T) (*wire, http.RoundTripper) {
	t.Helper()
	w := &wire{}
	s := httptest.NewTLSServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		text, err := httputil.DumpRequest(r, true)
		if err != nil {
			t.Error(err)
		}
		w.mu.Lock()
		w.arrived = append(w.arrived, string(text))
		w.mu.Unlock()
		rw.Header().Set("Content-Type", "application/json")
		_, _ = rw.Write([]byte(`{"id": "x"}`))
	}))
	t.Cleanup(s.Close)
	base := &http.Transport{
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, s.Listener.Addr().String())
		},
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, // whose name it is does not matter here
	}
	t.Cleanup(base.CloseIdleConnections)
	return w, base
}

// The real credentials of these tests.
const (
	anthropicSecret = "sk-ant-api03-Real4Secret5Never6Shown"
	plaidID         = "0123456789abcdef01234567"
	plaidSecret     = "fedcba9876543210fedcba98765432"
)

// placed is a brake for the vendors that take their credential in headers of their own, and a key for them.
func placed(t *testing.T) (*wire, http.RoundTripper, string) {
	t.Helper()
	w, base := startWire(t)
	var vs []vendors.Vendor
	for name, tables := range map[string]rules.Tables{
		"anthropic": {"input": {"m": "1"}, "cache_write": {"m": "1"}, "cache_read": {"m": "1"}, "output": {"m": "1"}},
		"plaid":     nil,
		"sendgrid":  nil,
	} {
		v, err := rules.Shipped(name, tables)
		if err != nil {
			t.Fatal(err)
		}
		vs = append(vs, v)
	}
	source := credentials.Static(map[string]string{"anthropic": anthropicSecret, "plaid": plaidID + ":" + plaidSecret, "sendgrid": "SG.Real4Secret5.Never6Shown"})
	brake := newWorld(t, func(c *keybrake.Config) { c.Vendors, c.Credentials, c.Base = vs, source, base })
	key, err := brake.Issue(t.Context(), keybrake.Grant{
		Tenant: "acme", Agent: "bot", Run: "run_1", TTL: time.Hour,
		Credentials: map[string]string{"anthropic": "anthropic", "plaid": "plaid", "sendgrid": "sendgrid"},
		Policy: policy.Policy{
			Allow:   []policy.Rule{{Operation: "anthropic.messages.create"}, {Operation: "plaid.transfer.*", Ceiling: policy.USD("1")}, {Operation: "sendgrid.*"}},
			Budgets: []policy.Budget{policy.Lifetime(policy.USD("100"))},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return w, brake.Transport(nil), key.Token()
}

// The calls of these tests: one for each vendor.
const (
	anthropicURL = "https://api.anthropic.com/v1/messages"
	plaidURL     = "https://sandbox.plaid.com/transfer/get"
	sendgridURL  = "https://api.sendgrid.com/v3/mail/send"
	anthropicAsk = `{"model":"m","max_tokens":10,"messages":[{"role":"user","content":"hello"}]}`
	plaidAsk     = `{"transfer_id":"t_1"}`
)

func post(t *testing.T, url, body string, header http.Header) *http.Request {
	t.Helper()
	req := request(t, "POST", url, "", "application/json", body)
	req.Header = header
	req.Header["Content-Type"] = []string{"application/json"}
	return req
}

// The vault key comes in where the SDK sends the vendor's key. What goes out there is the credential, whole; the key goes
// out nowhere, nor does anything else that the agent sent in such a header.
func TestTheKeyIsWhereTheSDKSendsIt(t *testing.T) {
	w, rt, tok := placed(t)
	for name, tt := range map[string]struct {
		url, body string
		header    http.Header
		want      []string // on the wire
	}{
		"Anthropic's API key":            {anthropicURL, anthropicAsk, http.Header{"X-Api-Key": {tok}, "Anthropic-Version": {"2023-06-01"}}, []string{"X-Api-Key: " + anthropicSecret, "Anthropic-Version: 2023-06-01"}},
		"not in canonical form":          {anthropicURL, anthropicAsk, http.Header{"x-api-key": {tok}}, []string{"X-Api-Key: " + anthropicSecret}},
		"Anthropic's auth token":         {anthropicURL, anthropicAsk, http.Header{"Authorization": {"Bearer " + tok}}, []string{"X-Api-Key: " + anthropicSecret}},
		"an empty or made-up key beside": {anthropicURL, anthropicAsk, http.Header{"Authorization": {"Bearer " + tok}, "X-Api-Key": {"agents-own"}}, []string{"X-Api-Key: " + anthropicSecret}},
		"Plaid's secret":                 {plaidURL, plaidAsk, http.Header{"Plaid-Client-Id": {"agents-own"}, "Plaid-Secret": {tok}}, []string{"Plaid-Client-Id: " + plaidID, "Plaid-Secret: " + plaidSecret}},
		"Plaid's client id":              {plaidURL, plaidAsk, http.Header{"Plaid-Client-Id": {tok}, "Plaid-Secret": {"agents-own"}}, []string{"Plaid-Client-Id: " + plaidID, "Plaid-Secret: " + plaidSecret}},
		"Plaid's secret alone":           {plaidURL, plaidAsk, http.Header{"PLAID-SECRET": {tok}}, []string{"Plaid-Client-Id: " + plaidID, "Plaid-Secret: " + plaidSecret}},
		"Plaid by Authorization":         {plaidURL, plaidAsk, http.Header{"Authorization": {"Bearer " + tok}, "Plaid-Client-Id": {"agents-own"}, "PLAID-CLIENT-ID": nil}, []string{"Plaid-Client-Id: " + plaidID, "Plaid-Secret: " + plaidSecret}},
		"SendGrid":                       {sendgridURL, `{"personalizations":[{"to":[{"email":"a@b.c"}]}],"from":{"email":"d@e.f"}}`, http.Header{"Authorization": {"Bearer " + tok}, "X-Api-Key": {"agents-own"}}, []string{"Authorization: Bearer SG.Real4Secret5.Never6Shown"}},
	} {
		req := post(t, tt.url, tt.body, tt.header)
		if d := denial(t, rt, req); d != nil {
			t.Errorf("%s: %v", name, d)
			continue
		}
		arrived := w.take()
		if len(arrived) != 1 {
			t.Fatalf("%s: %d requests", name, len(arrived))
		}
		for _, want := range tt.want {
			if strings.Count(arrived[0], "\r\n"+want+"\r\n") != 1 {
				t.Errorf("%s: no %q in\n%s", name, want, arrived[0])
			}
		}
		credential := strings.Count(arrived[0], "\r\nAuthorization:") + strings.Count(arrived[0], "\r\nX-Api-Key:") + strings.Count(arrived[0], "\r\nPlaid-Secret:")
		if strings.Contains(arrived[0], tok[:40]) || strings.Contains(arrived[0], "agents-own") || credential != 1 {
			t.Errorf("%s: the key, or what the agent sent, went out:\n%s", name, arrived[0])
		}
	}
}

// A vault key in any other place, or in two, goes nowhere.
func TestAKeyAnywhereElseGoesNowhere(t *testing.T) {
	w, rt, tok := placed(t)
	bearer := "Bearer " + tok
	for name, tt := range map[string]struct {
		url, body string
		header    http.Header
		want      reason.Code
	}{
		"nowhere":                       {anthropicURL, anthropicAsk, http.Header{}, reason.KeyMissing},
		"in both headers":               {anthropicURL, anthropicAsk, http.Header{"Authorization": {bearer}, "X-Api-Key": {tok}}, reason.KeyAmbiguous},
		"twice in one":                  {anthropicURL, anthropicAsk, http.Header{"X-Api-Key": {tok, tok}}, reason.KeyAmbiguous},
		"in two spellings":              {anthropicURL, anthropicAsk, http.Header{"X-Api-Key": {tok}, "x-api-key": {tok}}, reason.KeyAmbiguous},
		"in two spellings, one blank":   {anthropicURL, anthropicAsk, http.Header{"X-Api-Key": {tok}, "X-Api-Key ": {""}}, reason.KeyAmbiguous},
		"beside another Authorization":  {anthropicURL, anthropicAsk, http.Header{"X-Api-Key": {tok}, "Authorization": {"Bearer x"}}, reason.KeyAmbiguous},
		"beside an empty Authorization": {anthropicURL, anthropicAsk, http.Header{"X-Api-Key": {tok}, "Authorization": {""}}, reason.KeyAmbiguous},
		"damaged":                       {anthropicURL, anthropicAsk, http.Header{"X-Api-Key": {tok[:len(tok)-1]}}, reason.KeyMalformed},
		"two in one value":              {anthropicURL, anthropicAsk, http.Header{"X-Api-Key": {tok + " " + tok}}, reason.KeyMalformed},
		"the real one":                  {anthropicURL, anthropicAsk, http.Header{"X-Api-Key": {anthropicSecret}}, reason.KeyReal},
		"the real one beside":           {anthropicURL, anthropicAsk, http.Header{"Authorization": {bearer}, "X-Api-Key": {anthropicSecret}}, reason.KeyReal},
		"made up":                       {anthropicURL, anthropicAsk, http.Header{"X-Api-Key": {"agents-own"}}, reason.KeyMalformed},
		"another vendor's header":       {anthropicURL, anthropicAsk, http.Header{"Plaid-Secret": {tok}}, reason.KeyMissing},
		"a header of no vendor":         {sendgridURL, `{}`, http.Header{"X-Api-Key": {tok}}, reason.KeyMissing},
		"both of Plaid's":               {plaidURL, plaidAsk, http.Header{"Plaid-Client-Id": {tok}, "Plaid-Secret": {tok}}, reason.KeyAmbiguous},
		"Plaid's real ones":             {plaidURL, plaidAsk, http.Header{"Plaid-Client-Id": {plaidID}, "Plaid-Secret": {plaidSecret}}, reason.KeyReal},
		"Plaid's real ones beside":      {plaidURL, plaidAsk, http.Header{"Authorization": {bearer}, "Plaid-Client-Id": {plaidID}, "Plaid-Secret": {plaidSecret}}, reason.KeyReal},

		"in the body":           {plaidURL, `{"transfer_id":"t_1","secret":"` + tok + `"}`, http.Header{}, reason.KeyMissing},
		"in the body as well":   {plaidURL, `{"transfer_id":"t_1","secret":"` + tok + `"}`, http.Header{"Plaid-Secret": {tok}}, reason.KeyAmbiguous},
		"escaped in the body":   {plaidURL, `{"transfer_id":"t_1","secret":"\u006b` + tok[1:] + `"}`, http.Header{"Plaid-Secret": {tok}}, reason.KeyAmbiguous},
		"as a name in the body": {plaidURL, `{"transfer_id":"t_1","` + tok[:200] + `":"x"}`, http.Header{"Plaid-Secret": {tok}}, reason.KeyAmbiguous},
		"in a text":             {anthropicURL, strings.Replace(anthropicAsk, "hello", "my key is "+tok, 1), http.Header{"X-Api-Key": {tok}}, reason.KeyAmbiguous},
		"in a header as well":   {anthropicURL, anthropicAsk, http.Header{"X-Api-Key": {tok}, "Anthropic-Version": {tok[:300]}}, reason.KeyAmbiguous},
		"in the user agent":     {anthropicURL, anthropicAsk, http.Header{"X-Api-Key": {tok}, "User-Agent": {tok[:300]}}, reason.KeyAmbiguous},
		"in the query":          {anthropicURL + "?x=" + tok, anthropicAsk, http.Header{"X-Api-Key": {tok}}, reason.RequestInvalid},
		"in the path":           {"https://api.anthropic.com/v1/messages/" + tok[:200], anthropicAsk, http.Header{"X-Api-Key": {tok}}, reason.OperationUnknown},
	} {
		if d := denial(t, rt, post(t, tt.url, tt.body, tt.header)); codeOf(d) != tt.want {
			t.Errorf("%s: %v, want %s", name, d, tt.want)
		}
		if arrived := w.take(); len(arrived) > 0 {
			t.Errorf("%s: it went out:\n%s", name, arrived[0])
		}
	}
}

// An id in a path may be anything, a key as well.
func TestAKeyInThePathGoesNowhere(t *testing.T) {
	w := newWorld(t, nil)
	tok := w.issue(t, "run_1", everything()).Token()
	if d := denial(t, w.Transport(nil), request(t, "GET", emailsURL+"/"+tok[:200], tok, "", "")); codeOf(d) != reason.KeyAmbiguous || len(w.fake.Received()) > 0 {
		t.Errorf("%v", d)
	}
}

// A header that is not named as one of credentials could be one that the agent fills.
func TestACredentialIsPlacedWhereTheAdapterSays(t *testing.T) {
	_, base := startWire(t)
	for name, change := range map[string]func(*vendors.Placement){
		"another header":        func(p *vendors.Placement) { p.Header = "X-Other" },
		"not in canonical form": func(p *vendors.Placement) { p.Header = "x-api-key" },
		"another one besides":   func(p *vendors.Placement) { p.Also = []vendors.Param{{Name: "Anthropic-Version", Value: "x"}} },
		"twice":                 func(p *vendors.Placement) { p.Also = []vendors.Param{{Name: "X-Api-Key", Value: "x"}} },
		"an empty part":         func(p *vendors.Placement) { p.Also = []vendors.Param{{Name: "Authorization"}} },
	} {
		v, err := rules.Shipped("anthropic", nil)
		if err != nil {
			t.Fatal(err)
		}
		place := v.Place
		v.Place = func(parts []string) (vendors.Placement, error) {
			p, err := place(parts)
			change(&p)
			return p, err
		}
		w := newWorld(t, func(c *keybrake.Config) {
			c.Vendors, c.Base = []vendors.Vendor{v}, base
			c.Credentials = credentials.Static(map[string]string{"anthropic": anthropicSecret})
		})
		g := grant("run_1", policy.Policy{Allow: []policy.Rule{{Operation: "anthropic.*", ReadOnly: true}}})
		g.Credentials = map[string]string{"anthropic": "anthropic"}
		if _, err := w.Issue(t.Context(), g); err == nil || !strings.Contains(err.Error(), "placed the credential in a header") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
