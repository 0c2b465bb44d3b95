package fakevendor_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/keybrake/keybrake-go/internal/fakevendor"
)

// Each kind of credential is refused what its vendor refuses it, in the vendor's own form.
func TestKindsOfCredential(t *testing.T) {
	s := start(t)
	const account = "AC0123456789abcdef0123456789abcdef"
	const stripe, twilio, resend = "https://api.stripe.com/v1", "https://api.twilio.com/2010-04-01/Accounts/" + account, "https://api.resend.com"
	for _, tt := range []struct {
		user, password, url string // with a password Basic, else Bearer
		status              int
		says                string
	}{
		{"sk_live_1", "", stripe + "/balance", 200, `"livemode":true`},
		{"sk_test_1", "", stripe + "/balance", 200, `"livemode":false`},
		{"sk_test_1", "", stripe + "/webhook_endpoints?limit=1", 200, `"data":[]`},
		{fakevendor.WideKey, "", stripe + "/webhook_endpoints?limit=1", 200, `"data":[]`},
		{"rk_test_1", "", stripe + "/webhook_endpoints?limit=1", 403, "does not have the required permissions for this endpoint"},
		{account, "token", twilio + ".json", 200, account},
		{account, "token", twilio + "/Balance.json", 200, `"balance"`},
		{"AC00000000000000000000000000000000", "token", twilio + ".json", 401, `"code":20003`},
		{account, fakevendor.TestToken, twilio + ".json", 403, `"code":20008`},
		{fakevendor.MainKey, "secret", twilio + ".json", 200, account},
		{"SKb", "secret", twilio + ".json", 401, `"code":20003`},
		{"SKb", "secret", twilio + "/Balance.json", 200, `"balance"`},
		{fakevendor.RestrictedKey, "secret", twilio + ".json", 401, `"code":20003`},
		{fakevendor.RestrictedKey, "secret", twilio + "/Balance.json", 401, `"code":20003`},
		{"re_1", "", resend + "/domains", 200, `"data":[]`},
		{fakevendor.SendingKey, "", resend + "/domains", 401, `"name":"restricted_api_key"`},
		{fakevendor.SendingKey, "", resend + "/emails", 401, `"name":"restricted_api_key"`},
	} {
		r, err := http.NewRequestWithContext(t.Context(), "GET", tt.url, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+tt.user)
		if tt.password != "" {
			r.SetBasicAuth(tt.user, tt.password)
		}
		resp, err := httpClient(s).Do(r)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != tt.status || !strings.Contains(string(body), tt.says) {
			t.Errorf("%s at %s: %d %s", tt.user, tt.url, resp.StatusCode, body)
		}
	}
	wantExecutions(t, s)
	r, err := http.NewRequestWithContext(t.Context(), "POST", resend+"/emails", strings.NewReader(`{"from":"a@acme.test","to":"b@acme.test","subject":"s","text":"t"}`))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+fakevendor.SendingKey)
	resp, err := httpClient(s).Do(r)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("a sending key does not send: %v, %v", resp, err)
	}
	resp.Body.Close()
	wantExecutions(t, s, "email")
}
