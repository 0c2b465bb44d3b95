package kbtwilio_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/twilio/twilio-go"
)

// TestNamesOfTheUsersChoiceAreIdentified sends what twilio-go sends for identities, keys and unique names.
func TestNamesOfTheUsersChoiceAreIdentified(t *testing.T) {
	c, r := sdk(t, ok)
	for want, send := range map[string]func(*twilio.RestClient){
		"twilio.conversations.users.retrieve":      func(c *twilio.RestClient) { _, _ = c.ConversationsV1.FetchUser("anna@acme.example") },
		"twilio.conversations.retrieve":            func(c *twilio.RestClient) { _, _ = c.ConversationsV1.FetchConversation("order:4711") },
		"twilio.sync.services.maps.items.retrieve": func(c *twilio.RestClient) { _, _ = c.SyncV1.FetchSyncMapItem("IS1", "seats:hall.2", "row+7") },
		"twilio.sync.services.maps.permissions.retrieve": func(c *twilio.RestClient) {
			_, _ = c.SyncV1.FetchSyncMapPermission("IS1", "seats", "anna@acme.example")
		},
		"twilio.video.rooms.retrieve":                func(c *twilio.RestClient) { _, _ = c.VideoV1.FetchRoom("stand-up:monday") },
		"twilio.lookups.phone_numbers.retrieve":      func(c *twilio.RestClient) { _, _ = c.LookupsV2.FetchPhoneNumber("+14155550100", nil) },
		"twilio.pricing.voice.numbers.retrieve":      func(c *twilio.RestClient) { _, _ = c.PricingV2.FetchVoiceNumber("+14155550100", nil) },
		"twilio.chat.services.users.retrieve":        func(c *twilio.RestClient) { _, _ = c.ChatV2.FetchUser("IS1", "sip:anna@acme.example") },
		"twilio.conversations.services.users.delete": func(c *twilio.RestClient) { _ = c.ConversationsV1.DeleteServiceUser("IS1", "anna@acme.example", nil) },
	} {
		r.calls, r.errs = nil, nil
		send(c)
		if len(r.calls) != 1 || r.errs[0] != nil || r.calls[0].Operation.Name != want {
			t.Errorf("%s: %v, %+v", want, r.errs, r.calls)
		}
	}
}

// TestWhatCostsTakesNoNames says that no operation that costs takes a name of the user's choice for an id.
func TestWhatCostsTakesNoNames(t *testing.T) {
	names := 0
	for _, op := range table(t).Operations() {
		if strings.Contains(op.Path, ":*}") {
			names++
			if op.Class.Paid() || op.Bound != nil {
				t.Errorf("%s costs, and takes any name: %s", op.Name, op.Path)
			}
		}
	}
	if names < 100 {
		t.Errorf("%d operations take names", names)
	}
	for _, path := range []string{
		"POST conversations.twilio.com/v1/Conversations/order:4711/Messages",
		"GET api.twilio.com/2010-04-01/Accounts/" + me + "/Messages/a@b.json",
		"GET conversations.twilio.com/v1/Users/Webhooks.json",
	} {
		method, target, _ := strings.Cut(path, " ")
		u, err := url.Parse("https://" + target)
		if err != nil {
			t.Fatal(err)
		}
		if _, c, err := table(t).Identify(&http.Request{Method: method, URL: u, Header: http.Header{}}, nil); err == nil {
			t.Errorf("%s is %s", path, c.Operation.Name)
		}
	}
}
