package keybrake_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keybrake/keybrake-go"
	"github.com/keybrake/keybrake-go/audit/audittest"
	"github.com/keybrake/keybrake-go/ledger/memory"
	"github.com/keybrake/keybrake-go/policy"
	"github.com/keybrake/keybrake-go/reason"
)

// mails is a brake in a bubble, whose vendor answers at once, and a key for a mail.
func mails(t *testing.T) (*keybrake.Brake, string, *watched) {
	t.Helper()
	c := smallConfig(t)
	l := &watched{Ledger: memory.New()}
	c.Ledger, c.Audit = l, &audittest.Recorder{}
	c.Base = tripFunc(func(r *http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(`{"id":"m_1"}`)), Request: r}, nil
	})
	brake, err := keybrake.New(context.Background(), c)
	if err != nil {
		t.Fatal(err)
	}
	key, err := brake.Issue(context.Background(), keybrake.Grant{
		Tenant: "acme", Agent: "bot", Run: "run_1", Credentials: map[string]string{"resend": "resend"}, TTL: time.Hour,
		Policy: policy.Policy{Allow: []policy.Rule{{Operation: "resend.emails.send"}}, Budgets: []policy.Budget{policy.Lifetime(policy.USD("5"))}},
	})
	if err != nil {
		t.Fatal(err)
	}
	l.asked()
	return brake, key.Token(), l
}

// A caller's body has as long as a call may take, also of a caller whose own context never ends. Nothing is reserved
// meanwhile, and the body is closed.
func TestABodyHasTheTimeOfACall(t *testing.T) {
	for name, tt := range map[string]struct {
		read func(closed <-chan struct{}) func([]byte) (int, error)
	}{
		"a byte a second, for ever": {func(<-chan struct{}) func([]byte) (int, error) {
			return func(p []byte) (int, error) { time.Sleep(time.Second); return copy(p, "x"), nil }
		}},
		"nothing, until it is closed": {func(closed <-chan struct{}) func([]byte) (int, error) {
			return func([]byte) (int, error) { <-closed; return 0, io.ErrClosedPipe }
		}},
		"nothing, and that slowly": {func(<-chan struct{}) func([]byte) (int, error) {
			return func([]byte) (int, error) { time.Sleep(10 * time.Second); return 0, nil }
		}},
		"nothing, closed or not": {func(<-chan struct{}) func([]byte) (int, error) {
			return func([]byte) (int, error) { time.Sleep(time.Hour); return 0, io.EOF }
		}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				brake, token, l := mails(t)
				closed := make(chan struct{})
				body := &watchedBody{read: tt.read(closed), close: func() { close(closed) }}
				req := request(t, "POST", emailsURL, token, "application/json", "")
				req.Body, req.ContentLength, req.GetBody = body, -1, nil
				began := time.Now()
				d := denial(t, brake.Transport(nil), req)
				if codeOf(d) != reason.BodyInvalid || !strings.Contains(d.Detail, "Config.CallTimeout") || time.Since(began) < 80*time.Second || time.Since(began) > 81*time.Second {
					t.Errorf("after %v: %v", time.Since(began), d)
				}
				time.Sleep(2 * time.Hour) // the goroutine that was left behind ends, too, or the bubble does not
				body.mu.Lock()
				defer body.mu.Unlock()
				if verbs := l.asked(); body.closes != 1 || len(verbs) > 0 {
					t.Errorf("closed %d times, and the ledger was asked to %v", body.closes, verbs)
				}
			})
		})
	}
}

// The body of a server's request waits at Close until its Read is over. Whoever sends it slowly does not hold up the
// call for that; it is closed when it can be.
func TestABodyThatCannotBeClosedIsLeftBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		brake, token, l := mails(t)
		reading := make(chan struct{}, 1)
		comes := make(chan struct{})
		body := &watchedBody{
			read: func([]byte) (int, error) {
				reading <- struct{}{}
				defer func() { <-reading }()
				<-comes
				return 0, errors.New("the client is gone")
			},
			close: func() { reading <- struct{}{}; <-reading },
		}
		req := request(t, "POST", emailsURL, token, "application/json", "")
		req.Body, req.ContentLength, req.GetBody = body, -1, nil
		if d := denial(t, brake.Transport(nil), req); codeOf(d) != reason.BodyInvalid {
			t.Errorf("got %v", d)
		}
		if len(l.asked()) > 0 {
			t.Error("the ledger was asked")
		}
		close(comes)
		synctest.Wait()
		body.mu.Lock()
		defer body.mu.Unlock()
		if body.closes != 1 {
			t.Errorf("closed %d times", body.closes)
		}
	})
}

// A reader that ends its goroutine has not said that its body is empty.
func TestABodyWhoseReaderGoesAwayIsRefused(t *testing.T) {
	brake, token, _ := mails(t)
	body := &watchedBody{read: func([]byte) (int, error) { runtime.Goexit(); return 0, io.EOF }}
	req := request(t, "POST", emailsURL, token, "application/json", "")
	req.Body, req.ContentLength, req.GetBody = body, -1, nil
	d := denial(t, brake.Transport(nil), req)
	if codeOf(d) != reason.BodyInvalid || !strings.Contains(d.Detail, "to its end") || body.closes != 1 {
		t.Errorf("got %v, closed %d times", d, body.closes)
	}
}
