package kbstripe_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/reason"
	"github.com/keybrake/keybrake-go/vendors"
	"github.com/keybrake/keybrake-go/vendors/kbstripe"
	"github.com/stripe/stripe-go/v76"
	"github.com/stripe/stripe-go/v76/client"
)

// TestTable says what holds for every row.
func TestTable(t *testing.T) {
	v := kbstripe.New(nil)
	for _, op := range v.Operations {
		paid := op.Class.Paid() && op.HardDeny == ""
		switch {
		case paid && (op.Bound == nil || op.Outcome == nil):
			t.Errorf("%s is paid and lacks a bound or an outcome", op.Name)
		case paid && op.Method == http.MethodPost && strings.HasPrefix(op.Path, "/v1/") && len(op.Params.Plain) == 0:
			t.Errorf("%s is paid and lacks its parameters", op.Name)
		case paid && !slices.Contains(op.Params.Redirects, "Stripe-Account"):
			t.Errorf("%s lets another account pay without a rule that says so", op.Name)
		case op.Method == http.MethodPost && op.HardDeny == "" && (op.KeyMemory.Hours() != 23 || op.KeyMax != 255):
			t.Errorf("%s does not keep idempotency keys for 23 hours", op.Name)
		case op.Method != http.MethodPost && op.KeyMemory != 0:
			t.Errorf("%s sends an idempotency key that Stripe ignores", op.Name)
		}
	}
}

// TestCloned says that no table shares its rows with another, so that changing one changes nobody else.
func TestCloned(t *testing.T) {
	a, b := kbstripe.New(nil), kbstripe.New(nil)
	a.Operations[0].Name = "x"
	if b.Operations[0].Name == "x" {
		t.Error("two tables share their rows")
	}
}

func TestPlace(t *testing.T) {
	v := kbstripe.New(nil)
	for key, mode := range map[string]vendors.Mode{
		"sk_test_1": vendors.ModeTest, "rk_test_51Abc": vendors.ModeTest,
		"sk_live_51Abc": vendors.ModeLive, "rk_live_x_y": vendors.ModeLive,
	} {
		p, err := v.Place([]string{key})
		if err != nil || p.Header != "Authorization" || p.Value != "Bearer "+key || p.Mode != mode || !slices.Equal(p.Secrets, []string{key}) {
			t.Errorf("%s: header %s, mode %v, %v", key, p.Header, p.Mode, err)
		}
	}
	for _, parts := range [][]string{
		nil, {}, {""}, {"sk_test_1", "sk_test_2"}, {"pk_live_secret"}, {"sk_org_live_secret"}, {"sk_live_"}, {"sk_secret"},
		{"sk_live_sec ret"}, {"sk_live_secret\r\nX: y"}, {" sk_live_secret"}, {"sk_live_secret\n"}, {"whsec_secret"}, {"sk_live_secrét"},
	} {
		p, err := v.Place(parts)
		if err == nil || p.Value != "" {
			t.Errorf("%q was placed", parts)
			continue
		}
		if strings.Contains(err.Error(), "secret\r") || strings.Contains(err.Error(), "_secret") {
			t.Errorf("the error shows the credential: %v", err)
		}
	}
}

// refusing answers every call with one refusal.
type refusing struct {
	vendor  vendors.Vendor
	refusal vendors.Refusal
	calls   int
}

func (r *refusing) RoundTrip(req *http.Request) (*http.Response, error) {
	r.calls++
	res := r.vendor.Refuse(&vendors.Call{Path: req.URL.Path}, r.refusal)
	return &http.Response{
		StatusCode: res.Status, Header: res.Header, Request: req, Body: io.NopCloser(strings.NewReader(string(res.Body))),
	}, nil
}

// TestRefusalsInTheSDK says that stripe-go makes one round trip and returns its own error for every reason.
func TestRefusalsInTheSDK(t *testing.T) {
	stripe.DefaultLeveledLogger = &stripe.LeveledLogger{}
	for _, e := range reason.All() {
		rt := &refusing{vendor: kbstripe.New(nil), refusal: vendors.Refusal{
			Code: e.Code, Status: e.Status, Param: "amount", Message: "refused <here> [kbd_x]",
		}}
		sc := client.New("x", stripe.NewBackends(&http.Client{Transport: rt}))
		_, err := sc.Refunds.New(&stripe.RefundParams{Charge: stripe.String("ch_1")})
		var se *stripe.Error
		if !errors.As(err, &se) || se.HTTPStatusCode != e.Status || se.Code != stripe.ErrorCode("keybrake_"+e.Code) || se.Param != "amount" || se.Msg != "refused <here> [kbd_x]" {
			t.Errorf("%s: %v", e.Code, err)
		}
		_, err = sc.OAuth.New(&stripe.OAuthTokenParams{GrantType: stripe.String("authorization_code")})
		if !errors.As(err, &se) || se.OAuthError != "access_denied" || se.OAuthErrorDescription != "refused <here> [kbd_x]" {
			t.Errorf("%s: OAuth: %v", e.Code, err)
		}
		if rt.calls != 2 {
			t.Errorf("%s: 2 calls of the SDK made %d round trips", e.Code, rt.calls)
		}
	}
}

func TestRefuseUnread(t *testing.T) {
	res := kbstripe.New(nil).Refuse(nil, vendors.Refusal{Code: reason.HostUnknown, Status: 403, Message: "m"})
	if res.Status != 403 || !strings.Contains(string(res.Body), `"keybrake_host_unknown"`) {
		t.Errorf("%d %s", res.Status, res.Body)
	}
}

func TestResends(t *testing.T) {
	v := kbstripe.New(nil)
	const ok, bad = `{"object":"refund"}`, `{"error":{"type":"invalid_request_error"}}`
	for _, tt := range []struct {
		name   string
		status int
		body   string
		retry  string
		want   bool
	}{
		{"success", 200, ok, "", false},
		{"success that asks for more", 200, ok, "true", true},
		{"success cut short", 200, `{"object":"ref`, "", true},
		{"refused", 400, bad, "", false},
		{"declined", 402, `{"error":{"type":"card_error"}}`, "false", false},
		{"refused, asks for more", 403, bad, "true", true},
		{"proxy's page", 403, "<html>", "false", true},
		{"not an error object", 400, `{"error":"x"}`, "", true},
		{"no error object", 404, `{"message":"x"}`, "", true},
		{"rate limit", 429, bad, "", false},
		{"lock", 429, `{"error":{"type":"invalid_request_error","code":"lock_timeout"}}`, "false", true},
		{"conflict", 409, bad, "", true},
		{"server", 500, bad, "", true},
		{"redirect", 302, "", "", true},
	} {
		r := &vendors.Reply{Status: tt.status, Header: http.Header{}, Body: []byte(tt.body)}
		if tt.retry != "" {
			r.Header.Set("Stripe-Should-Retry", tt.retry)
		}
		if got := v.Resends(nil, r); got != tt.want {
			t.Errorf("%s: got %v", tt.name, got)
		}
	}
	if !v.Resends(nil, nil) {
		t.Error("a broken connection is not sent again")
	}
}

func TestRedirectingHeaders(t *testing.T) {
	tab := table(t)
	req, _ := http.NewRequest("POST", "https://api.stripe.com/v1/refunds", nil)
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Stripe-Account", "acct_other")
	req.Header.Set("X-Stripe-Client-User-Agent", `{"uname":"secret host"}`)
	_, c, err := tab.Identify(req, []byte("charge=ch_1"))
	if err != nil {
		t.Fatal(err)
	}
	if _, redirects := c.Unlisted(c.Operation.Params); !slices.Equal(redirects, []string{"Stripe-Account"}) {
		t.Errorf("redirects %v", redirects)
	}
	if c.Header.Get("X-Stripe-Client-User-Agent") != "" {
		t.Error("the machine's name goes out")
	}
}

// FuzzReply says that no reply makes a row panic, and that nothing is booked or held that a ledger would not
// take: no line below zero, out of range or without a currency.
func FuzzReply(f *testing.F) {
	for _, v := range vectors(f) {
		for _, r := range []*vendors.Reply{v.reply, v.probe} {
			if r != nil {
				f.Add(r.Status, r.Body)
			}
		}
	}
	vendor := kbstripe.New(nil)
	ops := slices.DeleteFunc(slices.Clone(vendor.Operations), func(op vendors.Operation) bool { return op.Bound == nil && op.Settle == nil })
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		r := &vendors.Reply{Status: status, Header: http.Header{}, Body: body}
		for i := range ops {
			if err := fuzzRow(&ops[i], r); err != nil {
				t.Fatalf("%s: %v", ops[i].Name, err)
			}
		}
		vendor.Resends(nil, r)
	})
}

func fuzzRow(op *vendors.Operation, r *vendors.Reply) error {
	c := &vendors.Call{Operation: op, IDs: map[string]string{"id": "pi_1"}, Params: []vendors.Param{{Name: "charge", Value: "ch_1"}}}
	b := vendors.Bound{Kind: vendors.Exact, Lines: []cost.Line{{Meter: op.Class.Meter(), Currency: "USD", Amount: 50_000_000}}}
	if op.Bound != nil {
		seen, err := op.Bound(c, r)
		if err == nil {
			b = seen
		}
		if err := valid(b.Lines); err != nil {
			return err
		}
	}
	if op.Outcome == nil || op.Settle == nil {
		return nil
	}
	if o := op.Outcome(c, r); o != vendors.Executed && o != vendors.Pending {
		return nil
	}
	s, err := op.Settle(c, b, r)
	if err != nil && (s.Actual != nil || s.Held != nil) {
		return errors.New("an error came with money")
	}
	return errors.Join(valid(s.Actual), valid(s.Held))
}

func valid(ls []cost.Line) error {
	for _, l := range ls {
		if err := l.Valid(); err != nil {
			return fmt.Errorf("%v: %w", l, err)
		}
	}
	return nil
}
