package fakevendor_test

import (
	"context"
	"crypto/tls"
	"errors"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/stripe/stripe-go/v76"

	"github.com/keybrake/keybrake-go/internal/fakevendor"
)

func TestCertificateChecksAreProductions(t *testing.T) {
	s := start(t)
	get := func(tr *http.Transport, target string) error {
		defer tr.CloseIdleConnections()
		resp, err := (&http.Client{Transport: tr}).Get(target)
		if err == nil {
			resp.Body.Close()
		}
		return err
	}
	var bad *tls.CertificateVerificationError
	if err := get(fakevendor.Dial(s.Addr(), s.CA()), "https://api.stripe.com/v1/charges"); err != nil {
		t.Error(err)
	}
	if err := get(fakevendor.Dial(s.Addr(), s.CA()), "https://api.stripe.com.evil.example/"); !errors.As(err, &bad) {
		t.Errorf("a foreign name gave %v", err)
	}
	if err := get(fakevendor.Dial(s.Addr(), start(t).CA()), "https://api.stripe.com/"); !errors.As(err, &bad) {
		t.Errorf("another server's authority gave %v", err)
	}
	if err := get(fakevendor.Dial(s.Addr(), nil), "https://api.stripe.com/"); !errors.As(err, &bad) {
		t.Errorf("no authority gave %v", err)
	}
}

func TestBothProtocols(t *testing.T) {
	s := start(t)
	s.SeedCharge("ch_1", 5000, "usd")
	for proto, h2 := range map[string]bool{"HTTP/1.1": false, "HTTP/2.0": true} {
		tr := s.Transport()
		tr.ForceAttemptHTTP2 = h2
		for _, kind := range []fakevendor.FaultKind{"", fakevendor.DropBefore, fakevendor.Truncate} {
			if kind != "" {
				s.Misbehave(fakevendor.Fault{Kind: kind})
			}
			req, _ := http.NewRequest("GET", "https://api.stripe.com/v1/charges/ch_1", nil)
			req.SetBasicAuth(stripeKey, "")
			resp, err := tr.RoundTrip(req)
			if kind == fakevendor.DropBefore {
				// A GET on a reused HTTP/1.1 connection is sent again by net/http.
				if h2 && err == nil {
					t.Errorf("%s: a dropped request was answered", proto)
				}
				if err == nil {
					resp.Body.Close()
				}
				continue
			}
			if err != nil {
				t.Fatalf("%s %s: %v", proto, kind, err)
			}
			if resp.Proto != proto || resp.StatusCode != 200 {
				t.Errorf("%s %d, want %s 200", resp.Proto, resp.StatusCode, proto)
			}
			resp.Body.Close()
		}
	}
}

func TestForeignHostHeaderIsMisdirected(t *testing.T) {
	s := start(t)
	req, _ := http.NewRequest("GET", "https://api.stripe.com/v1/charges", nil)
	req.Host = "evil.example"
	if status, _ := do(t, s, req); status != http.StatusMisdirectedRequest {
		t.Errorf("status %d", status)
	}
}

func TestTwoAuthorizationsAreNone(t *testing.T) {
	s := start(t)
	req, _ := http.NewRequest("GET", "https://api.stripe.com/v1/charges", nil)
	req.Header["Authorization"] = []string{"Bearer " + stripeKey, "Bearer sk_test_other"}
	if status, _ := do(t, s, req); status != http.StatusUnauthorized {
		t.Errorf("status %d", status)
	}
}

func TestConcurrentCallsAreAllLogged(t *testing.T) {
	s := start(t)
	s.SeedCharge("ch_1", 1000, "usd")
	sc := stripeOf(s, stripeKey)
	var wg sync.WaitGroup
	for range 40 {
		wg.Go(func() {
			p := &stripe.RefundParams{Charge: stripe.String("ch_1"), Amount: stripe.Int64(100)}
			_, _ = sc.Refunds.New(p)
			s.Received()
			s.Spent()
		})
	}
	wg.Wait()
	if n := len(s.Received()); n != 40 {
		t.Errorf("received %d requests, want 40", n)
	}
	if n := len(s.Executions()); n != 10 { // the charge has money for ten
		t.Errorf("executed %d refunds, want 10", n)
	}
	wantSpent(t, s, "outflow", "USD", 10_000_000)
}

func TestOneKeyExecutesOnceUnderConcurrency(t *testing.T) {
	s := start(t)
	s.SeedCharge("ch_1", 1000, "usd")
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() { _, _, _ = refundWith(t, context.Background(), s, "same") })
	}
	wg.Wait()
	wantExecutions(t, s, "refund")
}

func TestResetForgets(t *testing.T) {
	s := start(t)
	s.SeedCharge("ch_1", 5000, "usd")
	s.AllowCredentials("stripe", "sk_test_other")
	s.Misbehave(fakevendor.Fault{Kind: fakevendor.DropAfter})
	s.Reset()
	resp, body, err := refund(t, s, "")
	if err != nil || resp.StatusCode != 404 || !strings.Contains(string(body), "No such charge") {
		t.Errorf("%v, %+v %s", err, resp, body)
	}
	if len(s.Received()) != 1 || len(s.Executions()) != 0 {
		t.Errorf("received %d, executed %d", len(s.Received()), len(s.Executions()))
	}
}

func TestCloseLeavesNoGoroutine(t *testing.T) {
	before := runtime.NumGoroutine()
	s, err := fakevendor.Start()
	if err != nil {
		t.Fatal(err)
	}
	s.SeedCharge("ch_1", 5000, "usd")
	s.Misbehave(fakevendor.Fault{Kind: fakevendor.BlockLate}) // nobody will ever release it
	var wg sync.WaitGroup
	for range 5 {
		wg.Go(func() { _, _, _ = refund(t, s, "") })
	}
	until(t, func() bool { return len(s.Received()) == 5 && len(s.Executions()) == 4 })
	for range 2 {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	wg.Wait()
	until(t, func() bool { return runtime.NumGoroutine() <= before })
	if n := len(s.Executions()); n != 4 {
		t.Errorf("%d executions after Close, want 4", n)
	}
}
