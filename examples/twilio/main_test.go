package main

import (
	"testing"

	"github.com/keybrake/keybrake-go/internal/fakevendor"
)

func TestOneTextIsSentAndNoneAbroad(t *testing.T) {
	fake, err := fakevendor.Start()
	if err != nil {
		t.Fatal(err)
	}
	defer fake.Close()
	const account, token = "AC0123456789abcdef0123456789abcdef", "fedcba9876543210fedcba9876543210"
	t.Setenv("TWILIO_ACCOUNT_SID", account)
	t.Setenv("TWILIO_AUTH_TOKEN", token)
	fake.AllowCredentials("twilio", account+":"+token)
	if err := run(t.Context(), fake.Transport(), "+14155550199", "+14155550100"); err != nil {
		t.Fatal(err)
	}
	if e := fake.Executions(); len(e) != 1 || e[0].Kind != "sms" {
		t.Errorf("executed %+v", e)
	}
}
