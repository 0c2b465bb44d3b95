package main

import (
	"bytes"
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/keybrake/keybrake-go"
	"github.com/keybrake/keybrake-go/internal/fakevendor"
)

// An until is an output that stops what writes it, at a word.
type until struct {
	bytes.Buffer
	word string
	stop func()
}

func (u *until) Write(p []byte) (int, error) {
	if strings.Contains(string(p), u.word) {
		u.stop()
	}
	return u.Buffer.Write(p)
}

// story runs the example with a refund that is executed and whose reply nobody can read, up to a word.
func story(t *testing.T, word string, faults ...fakevendor.Fault) (string, *fakevendor.Server) {
	t.Helper()
	fake, err := fakevendor.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = fake.Close() })
	t.Setenv("STRIPE_SECRET_KEY", "sk_test_ExampleSecret")
	fake.SeedCharge("ch_1", 5000, "usd")
	fake.Misbehave(fakevendor.Fault{Method: http.MethodPost, Kind: fakevendor.BadJSON})
	for _, f := range faults {
		fake.Misbehave(f)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	out := &until{word: word, stop: cancel}
	pace := keybrake.ReconcilerConfig{Every: time.Millisecond, Pace: time.Millisecond, GiveUp: time.Nanosecond}
	if err := run(ctx, out, fake.Transport(), "ch_1", pace); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	if strings.Contains(out.String(), "ExampleSecret") {
		t.Errorf("the credential is in %s", out.String())
	}
	if e := fake.Executions(); len(e) != 1 || e[0].Kind != "refund" {
		t.Errorf("executed %+v", e)
	}
	return out.String(), fake
}

func TestALostRefundIsFoundAndBooked(t *testing.T) {
	out, _ := story(t, "1 settled")
	if !strings.Contains(out, "the agent got:") || !strings.HasSuffix(out, "spent 10.00 USD, held 0.00 USD\n") {
		t.Errorf("got\n%s", out)
	}
}

func TestWhatStripeDoesNotTellIsForAPerson(t *testing.T) {
	out, _ := story(t, "a person has to decide", fakevendor.Fault{Method: http.MethodGet, PathContains: "/v1/refunds", Kind: fakevendor.Status})
	for _, want := range []string{"stripe.refunds.create of run_42", "status 500", "spent 0.00 USD, held 10.00 USD\n"} {
		if !strings.Contains(out, want) {
			t.Errorf("there is no %q in\n%s", want, out)
		}
	}
}
