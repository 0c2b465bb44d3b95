package keybrake_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keybrake/keybrake-go"
	"github.com/keybrake/keybrake-go/credentials"
	"github.com/keybrake/keybrake-go/reason"
)

// A lender is a source that is told of the end.
type lender struct {
	credentials.Source
	closed atomic.Int32
	err    error
}

func (l *lender) Close(context.Context) error {
	l.closed.Add(1)
	return l.err
}

func TestClose(t *testing.T) {
	var l *lender
	w := newWorld(t, func(c *keybrake.Config) {
		l = &lender{Source: c.Credentials, err: errors.New("the store is out")}
		c.Credentials = l
	})
	w.fake.SeedCharge("ch_1", 50_000, "usd")
	key := w.issue(t, "run_1", everything())
	call := func() *keybrake.Denial {
		return denial(t, w.Transport(nil), request(t, "GET", chargesURL, key.Token(), "", ""))
	}
	if d := call(); d != nil {
		t.Fatal(d)
	}
	if err := w.Close(t.Context()); !errors.Is(err, l.err) {
		t.Errorf("a store that cannot take back what it lent: %v", err)
	}
	sent := len(w.fake.Received())
	if d := call(); d == nil || d.Reason != reason.CredentialUnavailable || len(w.fake.Received()) != sent {
		t.Errorf("after Close: %v, %d requests more", d, len(w.fake.Received())-sent)
	}
	if _, err := w.Issue(t.Context(), grant("run_2", everything())); err == nil {
		t.Error("a key was issued after Close")
	}
	if _, err := w.Revoke(t.Context(), keybrake.ByRun("acme", "run_1")); err != nil {
		t.Errorf("a run cannot be stopped after Close: %v", err)
	}
	l.err = nil
	for range 2 {
		if err := w.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
	if n := l.closed.Load(); n != 3 {
		t.Errorf("the source was closed %d times", n)
	}
}

// The credential is changed at the vendor and in the store while the brake runs: the call that the vendor refuses is
// not sent again, the next one goes out with the new credential, and nobody starts anything anew.
func TestRotation(t *testing.T) {
	const rotated = "sk_test_51Rotated7secret8never9shown"
	var current atomic.Value
	current.Store(stripeSecret)
	w := newWorld(t, func(c *keybrake.Config) {
		rest := c.Credentials
		c.Credentials = credentials.SourceFunc(func(ctx context.Context, ref string) (credentials.Credential, error) {
			if ref == "stripe" {
				return credentials.New(current.Load().(string)), nil
			}
			return rest.Get(ctx, ref)
		})
	})
	key := w.issue(t, "run_1", everything())
	charge := func() (int, *keybrake.Denial) {
		resp, err := w.Transport(nil).RoundTrip(request(t, "POST", chargesURL, key.Token(), formType, "amount=500&currency=usd&source=tok_visa"))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = resp.Body.Close() }()
		return resp.StatusCode, denialIn(t, resp)
	}
	if status, d := charge(); status != 200 || d != nil {
		t.Fatalf("%d, %v", status, d)
	}
	w.fake.AllowCredentials("stripe", rotated)
	current.Store(rotated)
	sent := len(w.fake.Received())
	if status, d := charge(); status != 401 || d != nil {
		t.Errorf("with the old credential: %d, %v", status, d)
	}
	if n := len(w.fake.Received()) - sent; n != 1 {
		t.Errorf("a charge that the vendor refused was sent %d times", n)
	}
	if status, d := charge(); status != 200 || d != nil {
		t.Errorf("with the new credential: %d, %v", status, d)
	}
}

// A store that is out does not stop calls, for as long as CredentialAge says.
func TestCredentialAge(t *testing.T) {
	for age, want := range map[time.Duration]reason.Code{0: "", time.Nanosecond: reason.CredentialUnavailable} {
		var out atomic.Bool
		w := newWorld(t, func(c *keybrake.Config) {
			rest := c.Credentials
			c.Credentials = credentials.SourceFunc(func(ctx context.Context, ref string) (credentials.Credential, error) {
				if out.Load() {
					return credentials.Credential{}, errors.New("the store is out")
				}
				return rest.Get(ctx, ref)
			})
			c.CredentialAge = age
		})
		key := w.issue(t, "run_1", everything())
		out.Store(true)
		var got reason.Code
		if d := denial(t, w.Transport(nil), request(t, "GET", chargesURL, key.Token(), "", "")); d != nil {
			got = d.Reason
		}
		if got != want {
			t.Errorf("with an age of %v: %q, want %q", age, got, want)
		}
	}
}
