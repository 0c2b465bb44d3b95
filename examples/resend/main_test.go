package main

import (
	"testing"

	"github.com/keybrake/keybrake-go/internal/fakevendor"
)

func TestOneMailIsSentAndNotTheOneToMany(t *testing.T) {
	fake, err := fakevendor.Start()
	if err != nil {
		t.Fatal(err)
	}
	defer fake.Close()
	t.Setenv("RESEND_API_KEY", "re_Example_Secret")
	fake.AllowCredentials("resend", "re_Example_Secret")
	if err := run(t.Context(), fake.Transport(), "ann@example.com", "bob@example.com"); err != nil {
		t.Fatal(err)
	}
	if e := fake.Executions(); len(e) != 1 || e[0].Kind != "email" || e[0].Units != 1 {
		t.Errorf("executed %+v", e)
	}
}
