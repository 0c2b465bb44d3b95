package keybrake_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	twilioapi "github.com/twilio/twilio-go/rest/api/v2010"

	"github.com/keybrake/keybrake-go/policy"
)

// TestEveryValueOfAListMeetsTheRule sends pictures as twilio-go does, MediaUrl=a&MediaUrl=b. A rule's test holds for
// each of them, and the vendor gets them all, in order.
func TestEveryValueOfAListMeetsTheRule(t *testing.T) {
	const one, two, bad = "https://cdn.acme.example/1.png", "https://cdn.acme.example/2.png", "https://evil.example/3.png"
	w := newWorld(t, nil)
	key := w.issue(t, "run_1", policy.Policy{
		Allow: []policy.Rule{{
			Operation: "twilio.messages.create", Ceiling: policy.USD("0.10"),
			Params: policy.Params{"MediaUrl": policy.Prefix("https://cdn.acme.example/")},
		}},
		Budgets: []policy.Budget{policy.Lifetime(policy.USD("1"))},
	})
	hc := &http.Client{Transport: w.Transport(nil)}
	send := func(media ...string) error {
		p := (&twilioapi.CreateMessageParams{}).SetTo("+14155550100").SetFrom("+14155550101").SetBody("hi").SetMediaUrl(media)
		_, err := twilioSDK(hc, twilioAccount, twilioAccount, key.Token()).Api.CreateMessage(p)
		return err
	}
	for _, media := range [][]string{{one, bad}, {bad, one}, {one, two, bad}} {
		if err := send(media...); err == nil || !strings.Contains(err.Error(), "MediaUrl") {
			t.Errorf("%q: %v", media, err)
		}
	}
	if n := len(w.fake.Received()); n != 0 {
		t.Fatalf("%d calls went out that the rule does not allow", n)
	}
	if err := send(one, two); err != nil {
		t.Fatal(err)
	}
	got, err := url.ParseQuery(string(w.fake.Received()[0].Body))
	if err != nil || !slices.Equal(got["MediaUrl"], []string{one, two}) {
		t.Errorf("the vendor got %q, %v", got["MediaUrl"], err)
	}
}

// TestRecordsHoldNoNamesOfPeople looks up a user by an address and a telephone number, which are in the path. What is
// kept of them in the records is a digest.
func TestRecordsHoldNoNamesOfPeople(t *testing.T) {
	w := newWorld(t, nil)
	key := w.issue(t, "run_1", policy.Policy{
		Allow:   []policy.Rule{{Operation: "twilio.*", Ceiling: policy.USD("0.10")}},
		Budgets: []policy.Budget{policy.Lifetime(policy.USD("1"))},
	})
	tc := twilioSDK(&http.Client{Transport: w.Transport(nil)}, twilioAccount, twilioAccount, key.Token())
	_, _ = tc.ConversationsV1.FetchUser("anna@acme.example")
	_, _ = tc.LookupsV2.FetchPhoneNumber("+14155550123", nil)
	if n := len(w.fake.Received()); n != 2 {
		t.Fatalf("%d calls went out, want 2", n)
	}
	named := 0
	for _, r := range w.sink.Records() {
		text, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		for _, person := range []string{"anna", "acme.example", "4155550123"} {
			if strings.Contains(string(text), person) {
				t.Errorf("a record tells %s: %s", person, text)
			}
		}
		named += len(r.Objects)
	}
	if named == 0 {
		t.Error("the records name nothing that the calls were about")
	}
}
