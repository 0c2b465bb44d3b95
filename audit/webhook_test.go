package audit_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keybrake/keybrake-go/audit"
	"github.com/keybrake/keybrake-go/cost"
)

const hookSecret = "whsec_a2V5YnJha2UgdGVzdCBzZWNyZXQgb2YgMzIgYnl0ZXMh"

// someEvent has every field.
func someEvent() audit.Event {
	return audit.Event{
		Version: 1, ID: "ev_1", Kind: audit.Overrun, Time: time.Date(2026, 11, 24, 23, 59, 59, 0, time.UTC), Text: "the vendor took <more>",
		Tenant: "acme", Agent: "refund-bot", Run: "run_42", Key: "key_1", CallID: "call_1", Operation: "stripe.refunds.create", Reason: "budget_exceeded",
		Budget:  &audit.Budget{Name: "team", Meter: cost.Spend, Currency: "USD", Limit: 10_000_000, Spent: 9_000_000, Left: 1_000_000},
		Percent: 90, Excess: &cost.Line{Meter: cost.Spend, Currency: "USD", Amount: 4_000_000},
		Held: []cost.Line{{Meter: cost.Outflow, Currency: "USD", Amount: 20_000_000}}, Since: time.Date(2026, 11, 24, 22, 59, 59, 0, time.UTC), Waiting: 3,
	}
}

// A receiver is a webhook's other end.
type receiver struct {
	*httptest.Server
	mu   sync.Mutex
	got  []*http.Request
	body [][]byte
}

// receive starts a receiver that answers with each of status once, and with the last from then on.
func receive(t *testing.T, status ...int) *receiver {
	t.Helper()
	r := &receiver{}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, req.Body, audit.MaxWebhook))
		if err != nil {
			t.Error(err)
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		r.got, r.body = append(r.got, req), append(r.body, body)
		w.Header().Set("Location", r.URL+"/elsewhere")
		w.WriteHeader(status[min(len(r.got), len(status))-1])
	}))
	t.Cleanup(r.Close)
	return r
}

func hook(t *testing.T, url string, o *audit.WebhookOptions) audit.Notifier {
	t.Helper()
	n, err := audit.Webhook(url, hookSecret, o)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

var quick = &audit.WebhookOptions{Wait: time.Millisecond}

func TestAWebhookIsSignedSoThatNobodyCanAlterIt(t *testing.T) {
	r := receive(t, 204)
	if err := hook(t, r.URL+"/hook", nil).Notify(t.Context(), someEvent()); err != nil {
		t.Fatal(err)
	}
	if len(r.got) != 1 || r.got[0].Method != "POST" || r.got[0].URL.Path != "/hook" || r.got[0].Header.Get("Content-Type") != "application/json" || r.got[0].Header.Get("webhook-id") != "ev_1" {
		t.Fatalf("got %+v", r.got)
	}
	header, body := r.got[0].Header, r.body[0]
	e, err := audit.VerifyWebhook(header, body, hookSecret)
	if err != nil || !reflect.DeepEqual(e, someEvent()) {
		t.Fatalf("got %+v, %v", e, err)
	}
	for i := range body {
		bad := append([]byte{}, body...)
		bad[i] ^= 1
		if _, err := audit.VerifyWebhook(header, bad, hookSecret); !errors.Is(err, audit.ErrWebhook) {
			t.Fatalf("with byte %d altered: %v", i, err)
		}
	}
	for _, name := range []string{"webhook-id", "webhook-timestamp", "webhook-signature"} {
		value := header.Get(name)
		for i := range value {
			bad := header.Clone()
			bad.Set(name, value[:i]+string(value[i]^1)+value[i+1:])
			if _, err := audit.VerifyWebhook(bad, body, hookSecret); !errors.Is(err, audit.ErrWebhook) {
				t.Fatalf("with %s %q: %v", name, bad.Get(name), err)
			}
		}
		bad := header.Clone()
		bad.Del(name)
		if _, err := audit.VerifyWebhook(bad, body, hookSecret); !errors.Is(err, audit.ErrWebhook) {
			t.Errorf("without %s: %v", name, err)
		}
	}
	if _, err := audit.VerifyWebhook(header, body, "whsec_"+base64.StdEncoding.EncodeToString(make([]byte, 32))); !errors.Is(err, audit.ErrWebhook) {
		t.Errorf("under another secret: %v", err)
	}
	other := header.Clone() // the signatures of two secrets, while one takes over from the other
	other.Set("webhook-signature", "v1,AAAA v2,AAAA "+header.Get("webhook-signature"))
	if _, err := audit.VerifyWebhook(other, body, hookSecret); err != nil {
		t.Errorf("with the signature of another secret beside its own: %v", err)
	}
}

func TestAWebhookIsGoodForMinutes(t *testing.T) {
	secret, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(hookSecret, "whsec_"))
	if err != nil {
		t.Fatal(err)
	}
	verify := func(id string, at time.Time, body string) error {
		stamp := strconv.FormatInt(at.Unix(), 10)
		m := hmac.New(sha256.New, secret)
		_, _ = io.WriteString(m, id+"."+stamp+"."+body)
		h := http.Header{"Webhook-Id": {id}, "Webhook-Timestamp": {stamp}, "Webhook-Signature": {"v1," + base64.StdEncoding.EncodeToString(m.Sum(nil))}}
		_, err := audit.VerifyWebhook(h, []byte(body), hookSecret)
		return err
	}
	now := time.Now()
	if err := verify("ev_1", now.Add(time.Minute-audit.WebhookAge), `{"id":"ev_1"}`); err != nil {
		t.Errorf("of minutes ago: %v", err)
	}
	for what, err := range map[string]error{
		"an old one":             verify("ev_1", now.Add(-audit.WebhookAge-time.Minute), `{"id":"ev_1"}`),
		"one of the future":      verify("ev_1", now.Add(audit.WebhookAge+time.Minute), `{"id":"ev_1"}`),
		"one of no id":           verify("", now, `{"id":""}`),
		"another event's body":   verify("ev_1", now, `{"id":"ev_2"}`),
		"no event":               verify("ev_1", now, `[]`),
		"an id with a dot in it": verify("ev.1", now, `{"id":"ev.1"}`),
	} {
		if !errors.Is(err, audit.ErrWebhook) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestAWebhookIsSentAgainAFewTimes(t *testing.T) {
	for _, c := range []struct {
		status []int
		sent   int
		ok     bool
	}{
		{[]int{500, 200}, 2, true},
		{[]int{429, 408, 201}, 3, true},
		{[]int{503}, 3, false},
		{[]int{400}, 1, false},
		{[]int{410}, 1, false},
		{[]int{302, 200}, 1, false},
		{[]int{307, 200}, 1, false},
	} {
		r := receive(t, c.status...)
		err := hook(t, r.URL, quick).Notify(t.Context(), someEvent())
		if (err == nil) != c.ok || len(r.got) != c.sent {
			t.Errorf("%v: sent %d times, %v", c.status, len(r.got), err)
		}
		for i, req := range r.got {
			if req.URL.Path != "/" {
				t.Errorf("%v: it was sent to %s", c.status, req.URL)
			}
			if e, err := audit.VerifyWebhook(req.Header, r.body[i], hookSecret); err != nil || e.ID != "ev_1" {
				t.Errorf("%v: attempt %d is of %q, %v", c.status, i, e.ID, err)
			}
		}
	}
}

// Neither a receiver that does not answer nor one whose answer does not end keeps the notifier.
func TestAWebhookWaitsForNoReceiverForEver(t *testing.T) {
	gone := make(chan struct{})
	silent := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		select {
		case <-gone:
		case <-time.After(10 * time.Second):
		}
	}))
	defer silent.Close()
	endless := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		for {
			if _, err := w.Write(make([]byte, 1<<10)); err != nil {
				return
			}
		}
	}))
	defer endless.Close()
	defer close(gone)
	o := &audit.WebhookOptions{Wait: time.Millisecond, Timeout: 20 * time.Millisecond}
	if err := hook(t, silent.URL, o).Notify(t.Context(), someEvent()); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("from a receiver that does not answer: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := hook(t, silent.URL, nil).Notify(ctx, someEvent()); !errors.Is(err, context.Canceled) {
		t.Errorf("in a context that has ended: %v", err)
	}
	if err := hook(t, endless.URL, nil).Notify(t.Context(), someEvent()); err != nil {
		t.Errorf("from a receiver whose answer does not end: %v", err)
	}
}

func TestAWebhookIsRefusedThatCannotBeMeant(t *testing.T) {
	good := "https://hooks.example/T0/B0/tok_in_path"
	for what, c := range map[string]struct {
		url, secret string
		o           *audit.WebhookOptions
	}{
		"http":              {url: "http://hooks.example/tok_in_path", secret: hookSecret},
		"http to 127.evil":  {url: "http://127.0.0.1.evil.example/tok_in_path", secret: hookSecret},
		"no scheme":         {url: "hooks.example/tok_in_path", secret: hookSecret},
		"another scheme":    {url: "ftp://hooks.example/tok_in_path", secret: hookSecret},
		"a password":        {url: "https://user:tok_in_path@hooks.example/", secret: hookSecret},
		"no URL":            {url: "https://hooks.example/%zztok_in_path", secret: hookSecret},
		"no secret":         {url: good},
		"a short secret":    {url: good, secret: "whsec_c2hvcnQ="},
		"a secret unnamed":  {url: good, secret: strings.TrimPrefix(hookSecret, "whsec_")},
		"a secret no text":  {url: good, secret: "whsec_*" + hookSecret},
		"a negative option": {url: good, secret: hookSecret, o: &audit.WebhookOptions{Attempts: -1}},
	} {
		n, err := audit.Webhook(c.url, c.secret, c.o)
		if err == nil || n != nil {
			t.Errorf("%s is taken", what)
			continue
		}
		if strings.Contains(err.Error(), "tok_in_path") || c.secret != "" && strings.Contains(err.Error(), c.secret) {
			t.Errorf("%s: the error tells too much: %v", what, err)
		}
	}
	for _, url := range []string{good, "http://localhost:1/x", "http://[::1]:1/x"} {
		if _, err := audit.Webhook(url, hookSecret, nil); err != nil {
			t.Errorf("%s: %v", url, err)
		}
	}
	if _, err := audit.Webhook("http://hooks.internal/x", hookSecret, &audit.WebhookOptions{InsecureHTTP: true}); err != nil {
		t.Error(err)
	}
}

func TestAWebhookKeepsItsAddressAndSecret(t *testing.T) {
	r := receive(t, 200)
	r.Close() // so that nobody answers
	n := hook(t, r.URL+"/tok_in_path", &audit.WebhookOptions{Attempts: 1})
	err := n.Notify(t.Context(), someEvent())
	if err == nil {
		t.Fatal("nobody is there")
	}
	for _, shown := range []string{err.Error(), fmt.Sprintf("%+v %#v", n, n)} {
		if strings.Contains(shown, "tok_in_path") || strings.Contains(shown, strings.TrimPrefix(hookSecret, "whsec_")) || strings.Contains(shown, "keybrake test secret") {
			t.Errorf("it shows %s", shown)
		}
	}
}
