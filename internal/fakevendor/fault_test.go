package fakevendor_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stripe/stripe-go/v76"

	"github.com/keybrake/keybrake-go/internal/fakevendor"
)

// refund sends one refund of ch_1 as raw HTTP and returns what came of it.
func refund(t *testing.T, s *fakevendor.Server, key string) (*http.Response, []byte, error) {
	t.Helper()
	return refundWith(t, context.Background(), s, key)
}

func refundWith(t *testing.T, ctx context.Context, s *fakevendor.Server, key string) (*http.Response, []byte, error) {
	t.Helper()
	req, _ := http.NewRequestWithContext(ctx, "POST", "https://api.stripe.com/v1/refunds", strings.NewReader("charge=ch_1&amount=1000"))
	req.Header.Set("Authorization", "Bearer "+stripeKey)
	if key != "" {
		req.Header.Set("Idempotency-Key", key)
	}
	resp, err := httpClient(s).Do(req)
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return resp, body, err
}

func TestFaults(t *testing.T) {
	for _, v := range []struct {
		fault    fakevendor.Fault
		executed bool
		want     string // of the outcome, see outcome
	}{
		{fakevendor.Fault{Kind: fakevendor.Delay, Delay: time.Millisecond}, true, "200 json"},
		{fakevendor.Fault{Kind: fakevendor.DropBefore}, false, "no reply"},
		{fakevendor.Fault{Kind: fakevendor.DropAfter}, true, "no reply"},
		{fakevendor.Fault{Kind: fakevendor.Status}, false, "500 json error"},
		{fakevendor.Fault{Kind: fakevendor.Status, Status: 429}, false, "429 json error"},
		{fakevendor.Fault{Kind: fakevendor.StatusAfter, Status: 503}, true, "503 json error"},
		{fakevendor.Fault{Kind: fakevendor.HTML, Status: 403}, false, "403 other"},
		{fakevendor.Fault{Kind: fakevendor.HTMLAfter}, true, "502 other"},
		{fakevendor.Fault{Kind: fakevendor.BadJSON}, true, "200 other"},
		{fakevendor.Fault{Kind: fakevendor.Truncate}, true, "200 broken off"},
		{fakevendor.Fault{Kind: fakevendor.TruncateClean}, true, "200 other"},
		{fakevendor.Fault{Kind: fakevendor.Enormous, Size: 2}, true, "200 json"},
		{fakevendor.Fault{Kind: fakevendor.Redirect, Body: "https://evil.example/"}, false, "307 other"},
		{fakevendor.Fault{Kind: fakevendor.Echo}, true, "200 json"},
		{fakevendor.Fault{Kind: fakevendor.Overcharge}, true, "200 json"},
		{fakevendor.Fault{Kind: fakevendor.AmountLie, Body: `"12"`}, true, "200 json"},
	} {
		t.Run(string(v.fault.Kind), func(t *testing.T) {
			s := start(t)
			s.SeedCharge("ch_1", 5000, "usd")
			s.Misbehave(v.fault)
			resp, body, err := refund(t, s, "")
			if got := outcome(resp, body, err); got != v.want {
				t.Errorf("the client saw %q, want %q", got, v.want)
			}
			if got := len(s.Executions()) == 1; got != v.executed {
				t.Errorf("executed: %v, want %v", got, v.executed)
			}
			if n := s.Faults(); n != 0 {
				t.Errorf("%d faults are still waiting", n)
			}
			if _, _, err := refund(t, s, ""); err != nil {
				t.Errorf("the next request was spoilt too: %v", err)
			}
		})
	}
}

// outcome says in words what a client saw.
func outcome(resp *http.Response, body []byte, err error) string {
	if resp == nil {
		return "no reply"
	}
	status := resp.Status[:3]
	var o struct{ Error *struct{ Type string } }
	switch {
	case err != nil:
		return status + " broken off"
	case json.Unmarshal(body, &o) != nil:
		return status + " other"
	case o.Error != nil && o.Error.Type != "":
		return status + " json error"
	}
	return status + " json"
}

func TestFaultMatchesAndCounts(t *testing.T) {
	s := start(t)
	s.SeedCharge("ch_1", 5000, "usd")
	s.Misbehave(fakevendor.Fault{Kind: fakevendor.Status, Host: "api.twilio.com"})
	s.Misbehave(fakevendor.Fault{Kind: fakevendor.Status, Method: "GET"})
	s.Misbehave(fakevendor.Fault{
		Kind: fakevendor.Status, PathContains: "/refunds", Times: 2, Header: http.Header{"X-Why": {"test"}},
	})
	for i, want := range []int{500, 500, 200} {
		resp, _, err := refund(t, s, "")
		if err != nil || resp.StatusCode != want {
			t.Errorf("request %d: %v, %+v", i, err, resp)
		}
		if got := resp.Header.Get("X-Why"); (got == "test") != (want == 500) {
			t.Errorf("request %d: header %q", i, got)
		}
	}
	if n := s.Faults(); n != 2 {
		t.Errorf("%d faults are waiting, want the two of others", n)
	}
}

func TestReplayAfterAnUnknownOutcome(t *testing.T) {
	for kind, want := range map[fakevendor.FaultKind]int{
		fakevendor.DropAfter:   200, // the reply was lost, the vendor has it
		fakevendor.HTMLAfter:   200, // a page in front of the vendor
		fakevendor.StatusAfter: 500, // the vendor's own answer, stored
		fakevendor.DropBefore:  200, // executed now
		fakevendor.Status:      200,
	} {
		t.Run(string(kind), func(t *testing.T) {
			s := start(t)
			s.SeedCharge("ch_1", 5000, "usd")
			s.Misbehave(fakevendor.Fault{Kind: kind})
			_, _, _ = refund(t, s, "key")
			resp, body, err := refund(t, s, "key")
			if err != nil || resp.StatusCode != want {
				t.Fatalf("%v, %+v %s", err, resp, body)
			}
			wantExecutions(t, s, "refund")
		})
	}
}

func TestBlockedClientGoesAway(t *testing.T) {
	for kind, want := range map[fakevendor.FaultKind]int{fakevendor.BlockBefore: 0, fakevendor.BlockAfter: 1, fakevendor.Delay: 0} {
		t.Run(string(kind), func(t *testing.T) {
			s := start(t)
			s.SeedCharge("ch_1", 5000, "usd")
			s.Misbehave(fakevendor.Fault{Kind: kind, Delay: map[bool]time.Duration{true: time.Hour}[kind == fakevendor.Delay]})
			ctx, cancel := context.WithCancel(context.Background())
			done := make(chan error)
			go func() { _, _, err := refundWith(t, ctx, s, ""); done <- err }()
			until(t, func() bool { return len(s.Received()) == 1 && len(s.Executions()) == want })
			cancel()
			if err := <-done; err == nil {
				t.Error("the client got a reply")
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
			if n := len(s.Executions()); n != want {
				t.Errorf("%d executions, want %d", n, want)
			}
			if got := s.Received()[0].Status; got != 0 {
				t.Errorf("answered %d to nobody", got)
			}
		})
	}
}

func TestLateExecutionAfterTheClientLeft(t *testing.T) {
	s := start(t)
	s.SeedCharge("ch_1", 5000, "usd")
	hold := make(chan struct{})
	s.Misbehave(fakevendor.Fault{Kind: fakevendor.BlockLate, Hold: hold})
	hc := httpClient(s)
	send := func(ctx context.Context, method, path, body string) error {
		req, _ := http.NewRequestWithContext(ctx, method, "https://api.stripe.com/v1/"+path, strings.NewReader(body))
		req.Header.Set("Authorization", "Bearer "+stripeKey)
		resp, err := hc.Do(req)
		if err == nil {
			err = resp.Body.Close()
		}
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- send(ctx, "POST", "refunds", "charge=ch_1") }()
	until(t, func() bool { return len(s.Received()) == 1 })
	cancel()
	<-done
	// On the same HTTP/2 connection a later request arrives after the reset of
	// the first, so the server knows by now that the client has left.
	if err := send(context.Background(), "GET", "charges/ch_1", ""); err != nil {
		t.Fatal(err)
	}
	wantExecutions(t, s)
	close(hold)
	until(t, func() bool { return len(s.Executions()) == 1 })
}

func TestOverchargeTakesTwice(t *testing.T) {
	s := start(t)
	s.SeedCharge("ch_1", 5000, "usd")
	s.Misbehave(fakevendor.Fault{Kind: fakevendor.Overcharge})
	re, err := stripeOf(s, stripeKey).Refunds.New(&stripe.RefundParams{
		Charge: stripe.String("ch_1"), Amount: stripe.Int64(1000),
	})
	if err != nil || re.Amount != 2000 {
		t.Fatalf("%v, %+v", err, re)
	}
	wantSpent(t, s, "outflow", "USD", 20_000_000)
}

func TestEchoShowsTheSecretInAllForms(t *testing.T) {
	s := start(t)
	s.Misbehave(fakevendor.Fault{Kind: fakevendor.Echo})
	req, _ := http.NewRequest("GET", "https://api.twilio.com/2010-04-01/Accounts/"+accountSID+"/Messages.json", nil)
	req.SetBasicAuth(accountSID, authToken)
	resp, err := httpClient(s).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var body struct{ Echo map[string]string }
	if err := json.NewDecoder(resp.Body).Decode(&body); err != nil {
		t.Fatal(err)
	}
	if resp.Header.Get("X-Echo-Password") != authToken || body.Echo["decoded"] != accountSID+":"+authToken ||
		body.Echo["authorization"] != req.Header.Get("Authorization") {
		t.Errorf("echoed %v and %v", resp.Header, body.Echo)
	}
}

func TestAmountLies(t *testing.T) {
	for _, raw := range []string{"-1", "1.5", "null", `1,"amount":2`} {
		s := start(t)
		s.SeedCharge("ch_1", 5000, "usd")
		s.Misbehave(fakevendor.Fault{Kind: fakevendor.AmountLie, Body: raw})
		_, body, err := refund(t, s, "")
		if err != nil || !strings.Contains(string(body), `"amount":`+raw) || !json.Valid(body) {
			t.Errorf("%v, %s", err, body)
		}
		wantSpent(t, s, "outflow", "USD", 10_000_000) // what was done is right
	}
}

func TestEnormousIsAsLongAsAsked(t *testing.T) {
	s := start(t)
	s.SeedCharge("ch_1", 5000, "usd")
	s.Misbehave(fakevendor.Fault{Kind: fakevendor.Enormous, Size: 3})
	if _, body, err := refund(t, s, ""); err != nil || len(body) < 3<<20 {
		t.Errorf("%v, %d bytes", err, len(body))
	}
}

func TestUnknownFaultPanics(t *testing.T) {
	s := start(t)
	defer func() {
		if recover() == nil {
			t.Error("a fault of no kind was queued")
		}
	}()
	s.Misbehave(fakevendor.Fault{Times: 3})
}
