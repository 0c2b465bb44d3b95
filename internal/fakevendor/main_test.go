package fakevendor_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/resend/resend-go/v2"
	"github.com/stripe/stripe-go/v76"
	"github.com/stripe/stripe-go/v76/client"
	"github.com/twilio/twilio-go"
	twclient "github.com/twilio/twilio-go/client"

	"github.com/keybrake/keybrake-go/internal/fakevendor"
)

const (
	stripeKey  = "sk_test_fake1"
	accountSID = "AC00000000000000000000000000000001"
	authToken  = "0123456789abcdef0123456789abcdef"
	resendKey  = "re_fake_1"
)

// start gives a server that is closed with the test.
func start(t *testing.T) *fakevendor.Server {
	t.Helper()
	s, err := fakevendor.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func httpClient(s *fakevendor.Server) *http.Client {
	return &http.Client{
		Transport:     s.Transport(),
		Timeout:       20 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// stripeOf makes Stripe's own client without retries. It builds each backend by
// itself, because NewBackendsWithConfig shares one config between them.
func stripeOf(s *fakevendor.Server, key string) *client.API {
	config := func() *stripe.BackendConfig {
		return &stripe.BackendConfig{
			HTTPClient:        httpClient(s),
			MaxNetworkRetries: stripe.Int64(0),
			LeveledLogger:     &stripe.LeveledLogger{},
		}
	}
	return client.New(key, &stripe.Backends{
		API:     stripe.GetBackendWithConfig(stripe.APIBackend, config()),
		Connect: stripe.GetBackendWithConfig(stripe.ConnectBackend, config()),
		Uploads: stripe.GetBackendWithConfig(stripe.UploadsBackend, config()),
	})
}

func twilioOf(s *fakevendor.Server) *twilio.RestClient {
	c := &twclient.Client{Credentials: twclient.NewCredentials(accountSID, authToken), HTTPClient: httpClient(s)}
	c.SetAccountSid(accountSID)
	return twilio.NewRestClientWithParams(twilio.ClientParams{Client: c})
}

func resendOf(s *fakevendor.Server) *resend.Client {
	return resend.NewCustomClient(httpClient(s), resendKey)
}

// wantExecutions compares the kinds of what was executed, in order.
func wantExecutions(t *testing.T, s *fakevendor.Server, kinds ...string) []fakevendor.Execution {
	t.Helper()
	got := s.Executions()
	names := make([]string, len(got))
	for i, e := range got {
		names[i] = e.Kind
		if e.Seq != i+1 {
			t.Errorf("execution %d has sequence number %d", i, e.Seq)
		}
	}
	if len(names) != len(kinds) {
		t.Fatalf("executed %q, want %q", names, kinds)
	}
	for i := range kinds {
		if names[i] != kinds[i] {
			t.Fatalf("executed %q, want %q", names, kinds)
		}
	}
	return got
}

// wantSpent compares one sum of the books, in micro-units.
func wantSpent(t *testing.T, s *fakevendor.Server, meter, currency string, micros int64) {
	t.Helper()
	if got := s.Spent()[meter][currency]; got != micros {
		t.Errorf("spent %d micro-%s on %s, want %d", got, currency, meter, micros)
	}
}
