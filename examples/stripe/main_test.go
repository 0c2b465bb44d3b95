package main

import (
	"testing"

	"github.com/keybrake/keybrake-go/internal/fakevendor"
)

func TestOneRefundIsExecutedAndThePayoutIsNot(t *testing.T) {
	fake, err := fakevendor.Start()
	if err != nil {
		t.Fatal(err)
	}
	defer fake.Close()
	t.Setenv("STRIPE_SECRET_KEY", "sk_test_ExampleSecret")
	fake.AllowCredentials("stripe", "sk_test_ExampleSecret")
	fake.SeedCharge("ch_1", 5000, "usd")
	if err := run(t.Context(), fake.Transport(), "ch_1"); err != nil {
		t.Fatal(err)
	}
	if e := fake.Executions(); len(e) != 1 || e[0].Kind != "refund" || e[0].Amount != 20_000_000 {
		t.Errorf("executed %+v", e)
	}
}
