package kbtwilio_test

import (
	"encoding/json"
	"slices"
	"testing"

	"github.com/keybrake/keybrake-go/vendors/kbtwilio"
	"github.com/keybrake/keybrake-go/vendors/vendortest"
)

const conformanceAccount = "AC0123456789abcdef0123456789abcdef"

// settling are calls that no file settles: under a ceiling, so that they say nothing of prices.
var settling = []vendortest.Vector{
	under("charge 50.00 USD", "a payment that settles", "https://api.twilio.com/2010-04-01/Accounts/"+conformanceAccount+"/Calls/CA0123456789abcdef0123456789abcdef/Payments.json",
		"IdempotencyKey=k&ChargeAmount=20.00", `{"sid": "PK0123456789abcdef0123456789abcdef"}`),
	under("fee 5.00 USD", "a participant that settles", "https://api.twilio.com/2010-04-01/Accounts/"+conformanceAccount+"/Conferences/support/Participants.json",
		"From=%2B14155550100&To=%2B14155550101&TimeLimit=60", `{"call_sid": "CA0123456789abcdef0123456789abcdef"}`),
	under("fee 5.00 USD", "a room that settles", "https://video.twilio.com/v1/Rooms",
		"UniqueName=r", `{"sid": "RM0123456789abcdef0123456789abcdef"}`),
}

func under(ceiling, name, url, form, reply string) vendortest.Vector {
	body, _ := json.Marshal(form) // a string
	return vendortest.Vector{
		Name: name, Ceiling: ceiling, Reply: &vendortest.Reply{Status: 201, Body: json.RawMessage(reply)},
		Call: vendortest.Request{Method: "POST", URL: url, Header: map[string]string{"Content-Type": "application/x-www-form-urlencoded"}, Body: body},
	}
}

func TestConformance(t *testing.T) {
	vectors, err := vendortest.ReadWire("testdata/*.txt")
	if err != nil {
		t.Fatal(err)
	}
	vendortest.Run(t, vendortest.Kit{
		Vendor:  kbtwilio.New(nil),
		Vectors: slices.Concat(vectors, settling),
		Over:    []string{"settle-above-the-bound", "settle-more-segments"},
		Account: conformanceAccount,
	})
}
