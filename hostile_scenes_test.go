package keybrake_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httputil"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keybrake/keybrake-go"
	"github.com/keybrake/keybrake-go/audit"
	"github.com/keybrake/keybrake-go/credentials"
	"github.com/keybrake/keybrake-go/internal/fakevendor"
	"github.com/keybrake/keybrake-go/policy"
	"github.com/keybrake/keybrake-go/reason"
	"github.com/keybrake/keybrake-go/vendors"
	"github.com/keybrake/keybrake-go/vendors/kbstripe"
)

// What stands in testdata/hostile/ids.txt is tested: by a vector that names it, or by the test that the line names.
func TestEveryHostileCallOfTheListIsTested(t *testing.T) {
	text, err := os.ReadFile("testdata/hostile/ids.txt")
	if err != nil {
		t.Fatal(err)
	}
	named := map[string]int{}
	var count func(vector)
	count = func(v vector) {
		for _, id := range v.IDs {
			named[id]++
		}
		for _, then := range v.Then {
			count(then)
		}
	}
	for _, v := range hostileVectors(t) {
		count(v)
	}
	seen := 0
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		seen++
		id, where, elsewhere := strings.Cut(line, " ")
		if elsewhere {
			dir, test, ok := strings.Cut(where, " ")
			if !ok {
				dir, test = ".", where
			}
			if !hasTest(t, dir, test) {
				t.Errorf("%s: there is no %s in %s", id, test, dir)
			}
		} else if named[id] == 0 {
			t.Errorf("no vector is for %s", id)
		}
		delete(named, id)
	}
	if len(named) > 0 || seen != 232 {
		t.Errorf("%d are listed; vectors name %v, which are not", seen, named)
	}
}

func hasTest(t *testing.T, dir, name string) bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	form := regexp.MustCompile(`(?m)^func ` + name + `\(t \*testing\.T\)`)
	return slices.ContainsFunc(files, func(file string) bool {
		text, err := os.ReadFile(file)
		return err == nil && form.Match(text)
	})
}

// A hundred calls at once, each of a tenth of what there is: ten are made.
func TestTenOfAHundredAtOnce(t *testing.T) {
	h := newHostileWorld(t)
	text := h.token(t, "five dollars", true)
	var allowed, denied atomic.Int64
	var group sync.WaitGroup
	for range 100 {
		group.Go(func() {
			switch d := intent(t, h.Transport(h.http1), text, 50); codeOf(d) {
			case "":
				allowed.Add(1)
			case reason.BudgetExceeded:
				denied.Add(1)
			default:
				t.Error(d)
			}
		})
	}
	group.Wait()
	arrived, _, err := h.tap.take()
	if err != nil || len(arrived) != 10 || allowed.Load() != 10 || denied.Load() != 90 || len(h.fake.Executions()) != 10 {
		t.Errorf("%d let through, %d refused, %d on the wire, %v", allowed.Load(), denied.Load(), len(arrived), err)
	}
	if counts, _ := h.balance(t, text); counts[0] != [2]int64{0, 5_000_000} || counts[1] != [2]int64{10, 0} {
		t.Errorf("the books are at %v", counts)
	}
}

// A day's money may be spent in its last millisecond and the next day's in the first one after: that is what a day means.
// What is asked for in between, or again, is refused.
func TestADayEndsAtMidnight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := smallConfig(t)
		c.Vendors, c.MaxTTL = []vendors.Vendor{kbstripe.New(nil)}, 96*time.Hour
		c.Credentials = credentials.Static(map[string]string{"stripe": stripeSecret})
		sent := 0
		c.Base = tripFunc(func(*http.Request) (*http.Response, error) {
			sent++
			body := fmt.Sprintf(`{"id":"pi_%d","object":"payment_intent","amount":500,"amount_capturable":0,"amount_received":0,"currency":"usd","status":"requires_payment_method"}`, sent)
			return &http.Response{StatusCode: 200, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(body))}, nil
		})
		brake, err := keybrake.New(context.Background(), c)
		if err != nil {
			t.Fatal(err)
		}
		key, err := brake.Issue(context.Background(), keybrake.Grant{
			Tenant: "acme", Agent: "bot", Run: "run_1", Credentials: map[string]string{"stripe": "stripe"}, TTL: 72 * time.Hour,
			Policy: policy.Policy{Allow: []policy.Rule{{Operation: "stripe.payment_intents.create"}}, Budgets: []policy.Budget{policy.Daily(policy.USD("5"))}},
		})
		if err != nil {
			t.Fatal(err)
		}
		midnight := time.Now().UTC().Truncate(24 * time.Hour).Add(24 * time.Hour)
		for _, tt := range []struct {
			at   time.Duration // from midnight
			want reason.Code
		}{
			{-time.Millisecond, ""}, {-time.Nanosecond, reason.BudgetExceeded},
			{0, ""}, {time.Nanosecond, reason.BudgetExceeded}, {24*time.Hour - time.Nanosecond, reason.BudgetExceeded}, {24 * time.Hour, ""},
		} {
			time.Sleep(time.Until(midnight.Add(tt.at)))
			if d := intent(t, brake.Transport(nil), key.Token(), 500); codeOf(d) != tt.want {
				t.Errorf("%v from midnight: %v, want %q", tt.at, d, tt.want)
			}
		}
		if sent != 3 {
			t.Errorf("%d calls left", sent)
		}
	})
}

// A body that comes byte by byte for ever holds up nobody but who sends it: when its caller's time is over it is closed,
// and nothing was reserved meanwhile.
func TestABodyThatTricklesEndsWithItsCaller(t *testing.T) {
	h := newHostileWorld(t)
	text := h.token(t, "", true)
	ctx, end := context.WithCancel(t.Context())
	closed := make(chan struct{})
	reads := 0
	body := &watchedBody{close: func() { close(closed) }}
	body.read = func(p []byte) (int, error) {
		if reads++; reads > 5 {
			end()
			<-closed // as a connection's read ends when the connection is closed
			return 0, errors.New("closed")
		}
		return copy(p, "a"), nil
	}
	req := request(t, "POST", intentsURL, text, formType, "").WithContext(ctx)
	req.Body, req.ContentLength, req.GetBody = body, -1, nil
	_, err := h.Transport(h.http1).RoundTrip(req)
	d, _ := keybrake.DenialFrom(err)
	counts, _ := h.balance(t, text)
	arrived, dialled, _ := h.tap.take()
	if codeOf(d) != reason.Canceled || body.closes != 1 || len(arrived)+len(dialled) > 0 || counts[0] != [2]int64{} || counts[1] != [2]int64{} {
		t.Errorf("%v; closed %d times; the books are at %v; %d requests left", err, body.closes, counts, len(arrived))
	}
}

// Whoever never reads a reply is in the books all the same, leaves nothing open behind, and finds no credential in what he
// sent.
func TestAReplyThatNobodyReadsIsBooked(t *testing.T) {
	h := newHostileWorld(t)
	h.fake.SeedCharge("ch_1", 50_000, "usd")
	text := h.token(t, "refunds", true)
	req := request(t, "POST", refundsURL, text, formType, "charge=ch_1&amount=500")
	resp, err := h.Transport(h.http1).RoundTrip(req)
	if err != nil || resp.StatusCode != 200 {
		t.Fatalf("%v, %v", resp, err)
	}
	if counts, _ := h.balance(t, text); counts[0] != [2]int64{5_000_000, 0} {
		t.Errorf("the books are at %v", counts)
	}
	if d := denial(t, h.Transport(h.http1), request(t, "POST", refundsURL, text, formType, "charge=ch_1&amount=500")); d != nil {
		t.Error(d)
	}
	h.tap.mu.Lock()
	conns := len(h.tap.conns)
	h.tap.mu.Unlock()
	if conns != 1 {
		t.Errorf("%d connections: the reply that nobody reads keeps its own", conns)
	}
	req.Body = io.NopCloser(bytes.NewReader(nil))
	req.ContentLength = 0
	dump, err := httputil.DumpRequestOut(resp.Request, true)
	if err != nil || !bytes.Contains(dump, []byte(text)) || bytes.Contains(dump, []byte(stripeSecret)) {
		t.Errorf("the caller's request is now %s, %v", dump, err)
	}
	for name, v := range map[string]any{"transport": h.Transport(nil), "brake": h.Brake, "reply": resp} {
		for _, form := range []string{"%v", "%+v", "%#v"} {
			if out := fmt.Sprintf(form, v); strings.Contains(out, stripeSecret) {
				t.Errorf("%s of the %s has the credential", form, name)
			}
		}
	}
}

// A sink that panics is one that fails.
func TestASinkThatPanicsRefusesTheCall(t *testing.T) {
	var armed atomic.Bool
	w := newWorld(t, func(c *keybrake.Config) {
		c.Audit = sinkFunc(func(context.Context, audit.Record) error {
			if armed.Load() {
				panic("a sink")
			}
			return nil
		})
	})
	key := w.issue(t, "run_1", everything())
	armed.Store(true)
	if d := intent(t, w.Transport(nil), key.Token(), 500); codeOf(d) != reason.AuditUnavailable {
		t.Errorf("%v", d)
	}
	armed.Store(false)
	w.wantNothing(t, key)
	if n := len(w.fake.Received()); n > 0 {
		t.Errorf("%d requests left", n)
	}
}

// What the vendor sends behind a reply, or beside it, changes nothing of the caller's next call.
func TestAReplysCookiesAndTrailersStay(t *testing.T) {
	h := newHostileWorld(t)
	h.fake.Misbehave(fakevendor.Fault{Kind: fakevendor.BadJSON, Body: `{"object":"list","data":[]}`, Header: http.Header{
		"Set-Cookie": {"a=b"}, "Alt-Svc": {`h3=":443"`}, "Trailer": {"X-T"}, "Clear-Site-Data": {"*"}, "Strict-Transport-Security": {"max-age=1"},
	}})
	resp, err := h.Transport(h.http2).RoundTrip(request(t, "GET", chargesURL, h.token(t, "", true), "", ""))
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	if err := resp.Body.Close(); err != nil || len(resp.Trailer) > 0 || resp.Header.Get("Set-Cookie")+resp.Header.Get("Alt-Svc") != "" {
		t.Errorf("%v, %v, %v", resp.Header, resp.Trailer, err)
	}
}
