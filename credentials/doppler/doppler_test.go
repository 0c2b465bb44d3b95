package doppler_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/keybrake/keybrake-go/credentials"
	"github.com/keybrake/keybrake-go/credentials/doppler"
)

const (
	secret = "sk_live_T0PsecretT0P"
	token  = "dp.st.prd.T0Ptoken"
)

// A fakeDoppler answers as Doppler's documentation says, in error texts that hold what must not be passed on.
type fakeDoppler struct {
	t      *testing.T
	query  string // that is expected
	config map[string]any
	status int // answered instead, if not 0
	asked  int
	mu     sync.Mutex
}

func (f *fakeDoppler) RoundTrip(r *http.Request) (*http.Response, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked++
	if got := r.Method + " " + r.URL.String(); got != "GET https://api.doppler.com/v3/configs/config/secrets/download?"+f.query || r.Header.Get("Accept") != "application/json" {
		f.t.Errorf("asked %s with %v", got, r.Header)
	}
	status, answer := 200, any(f.config)
	switch {
	case r.Header.Get("Authorization") != "Bearer "+token:
		status, answer = 401, map[string]any{"messages": []string{"Invalid Auth token " + r.Header.Get("Authorization")}, "success": false}
	case f.status != 0:
		status, answer = f.status, map[string]any{"messages": []string{"something about " + secret}, "success": false}
	}
	w := httptest.NewRecorder()
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(answer)
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	return w.Result(), nil
}

func fake(t *testing.T) *fakeDoppler {
	return &fakeDoppler{t: t, query: "format=json", config: map[string]any{
		"STRIPE_SECRET_KEY": secret, "TWILIO_ACCOUNT_SID": "AC1", "TWILIO_KEY_SID": "SK1", "TWILIO_KEY_SECRET": "s", "EMPTY": "", "HIDDEN": nil,
		"DOPPLER_PROJECT": "payments", "DOPPLER_CONFIG": "prd", "DOPPLER_ENVIRONMENT": "prd",
	}}
}

var secrets = map[string][]string{
	"stripe": {"STRIPE_SECRET_KEY"}, "twilio": {"TWILIO_ACCOUNT_SID", "TWILIO_KEY_SID", "TWILIO_KEY_SECRET"},
	"none": {"RESEND_API_KEY"}, "half": {"STRIPE_SECRET_KEY", "RESEND_API_KEY"}, "empty": {"EMPTY"}, "hidden": {"HIDDEN"},
}

func refused(t *testing.T, s credentials.Source, ref string) error {
	t.Helper()
	c, err := s.Get(t.Context(), ref)
	if err == nil {
		t.Fatalf("%s was found", ref)
	}
	if text := fmt.Sprintf("%v %+v %#v", err, err, err); c.Reveal() != nil || strings.Contains(text, "T0P") {
		t.Errorf("%s: %s", ref, text)
	}
	var fault *credentials.Fault
	if !errors.As(err, &fault) {
		t.Errorf("%s: a %T, of which the brake shows nothing", ref, err)
	}
	return err
}

func TestGet(t *testing.T) {
	f := fake(t)
	s := doppler.New(token, secrets, &doppler.Options{Base: f})
	for ref, want := range map[string]string{"stripe": secret, "twilio": "AC1 SK1 s"} {
		if c, err := s.Get(t.Context(), ref); err != nil || strings.Join(c.Reveal(), " ") != want || !c.Expires().IsZero() {
			t.Errorf("%s: %q, %v", ref, c.Reveal(), err)
		}
	}
	for _, ref := range []string{"none", "half", "empty", "hidden", "no reference"} {
		if err := refused(t, s, ref); !errors.Is(err, credentials.ErrUnknown) {
			t.Errorf("%s: %v", ref, err)
		}
	}
	if err := credentials.Check(t.Context(), s); err == nil || strings.Count(err.Error(), "\n") != 3 || strings.Contains(err.Error(), "T0P") {
		t.Errorf("Check: %v", err)
	}
	f.config["STRIPE_SECRET_KEY"] = "sk_new"
	if c, err := s.Get(t.Context(), "stripe"); err != nil || c.Reveal()[0] != "sk_new" {
		t.Errorf("after a rotation: %q, %v", c.Reveal(), err)
	}
	if text := fmt.Sprintf("%v %+v %#v", s, s, s); strings.Contains(text, "T0P") {
		t.Errorf("it prints its token: %s", text)
	}
}

func TestProjectAndConfig(t *testing.T) {
	f := fake(t)
	f.query = "config=prd&format=json&project=payments"
	if _, err := doppler.New(token, secrets, &doppler.Options{Project: "payments", Config: "prd", Base: f}).Get(t.Context(), "stripe"); err != nil {
		t.Error(err)
	}
}

func TestErrors(t *testing.T) {
	f := fake(t)
	s := doppler.New(token, secrets, &doppler.Options{Base: f})
	for status, unknown := range map[int]bool{400: false, 401: false, 403: false, 404: true, 429: false, 500: false, 503: false, 302: false} {
		f.status = status
		if err := refused(t, s, "stripe"); errors.Is(err, credentials.ErrUnknown) != unknown || !strings.Contains(err.Error(), fmt.Sprint(status)) {
			t.Errorf("%d: %v", status, err)
		}
	}
	if err := refused(t, doppler.New("dp.st.T0Pother", secrets, &doppler.Options{Base: f}), "stripe"); errors.Is(err, credentials.ErrUnknown) || !strings.Contains(err.Error(), "401") {
		t.Errorf("another token: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Get(ctx, "stripe"); !errors.Is(err, context.Canceled) {
		t.Errorf("a context that has ended: %v", err)
	}
}

// What is wrong with the arguments is told, with nothing sent; a secret in the place of its name is not shown.
func TestWrongArguments(t *testing.T) {
	f := fake(t)
	for _, names := range [][]string{nil, {}, {""}, {secret}, {"STRIPE_SECRET_KEY", "lower"}} {
		_ = refused(t, doppler.New(token, map[string][]string{"stripe": names}, &doppler.Options{Base: f}), "stripe")
	}
	_ = refused(t, doppler.New("", secrets, &doppler.Options{Base: f}), "stripe")
	if f.asked != 0 {
		t.Errorf("asked %d times", f.asked)
	}
}

func TestConcurrentUse(t *testing.T) {
	s := doppler.New(token, secrets, &doppler.Options{Base: fake(t)})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if c, err := s.Get(t.Context(), "stripe"); err != nil || c.Reveal()[0] != secret {
				t.Error(err)
			}
			_ = s.Refs()
		})
	}
	wg.Wait()
}
