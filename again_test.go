package keybrake_test

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/keybrake/keybrake-go"
)

func resending(c *keybrake.Config) { c.InsecureResend = 5 * time.Minute }

// answering says status to every call but the first, which is cut.
func answering(status int) func(*http.Request) (*http.Response, error) {
	first := true
	return func(r *http.Request) (*http.Response, error) {
		if first {
			first = false
			return nil, errors.New("cut")
		}
		return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader("{}")), Request: r}, nil
	}
}

// A second send under the same key is answered as the first was, and is the same spend.
func TestACallInDoubtIsSentAgainWhereTheOwnerWantsThat(t *testing.T) {
	o := officeWith(t, resending)
	o.replies = answering(200)
	o.orderAs(t, "/orders/cu_1", "n1", "k1")
	o.want(t, 0, usd20)
	o.clock.advance(time.Minute)
	if p := o.pass(t, o.reconciler(t, nil)); p.Pending != 1 { // the office's price is not final
		t.Errorf("progress %+v", p)
	}
	o.want(t, usd20, 0)
	if len(o.writes) != 2 || o.writes[0] != o.writes[1] || o.keys[0] != o.keys[1] || o.keys[0] == "" {
		t.Errorf("the vendor got %q under the keys %q, want the same twice", o.writes, o.keys)
	}
	records := o.sink.Records()
	intent, outcome := records[len(records)-2], records[len(records)-1]
	if intent.Kind != "intent" || !intent.Attached || outcome.Kind != "reconciled" || outcome.Outcome != "executed" || intent.CallID != outcome.CallID {
		t.Errorf("on record are %+v and %+v", intent, outcome)
	}
	o.clock.advance(2 * time.Minute)
	o.pass(t, o.reconciler(t, nil))
	if len(o.writes) != 2 {
		t.Error("it was sent a third time")
	}
}

func TestACallIsNotSentAgain(t *testing.T) {
	for name, tt := range map[string]struct {
		config func(*keybrake.Config)
		note   string
		key    string
		change func(*testing.T, *office)
	}{
		"where nobody asked for it":        {nil, "n1", "k1", nil},
		"when it is older":                 {resending, "n1", "k1", func(_ *testing.T, o *office) { o.clock.advance(5*time.Minute + time.Second) }},
		"under no key of the agent's":      {resending, "n1", "", nil},
		"that is too long to be kept":      {resending, strings.Repeat("n", 5000), "k1", nil},
		"of a run that was revoked":        {resending, "n1", "k1", func(t *testing.T, o *office) { revoke(t, o) }},
		"that a person has decided on":     {resending, "n1", "k1", decide},
		"by a sink that takes no record":   {resending, "n1", "k1", func(_ *testing.T, o *office) { o.sink.Fail(errors.New("full")) }},
		"by a process that does not do it": {resending, "n1", "k1", func(_ *testing.T, o *office) { o.conf.InsecureResend = 0 }},
	} {
		t.Run(name, func(t *testing.T) {
			o := officeWith(t, tt.config)
			o.replies = answering(200)
			o.orderAs(t, "/orders/cu_1", tt.note, tt.key)
			o.want(t, 0, usd20)
			if tt.change != nil {
				tt.change(t, o)
			}
			_, _ = o.reconciler(t, nil).Pass(t.Context())
			if len(o.writes) != 1 {
				t.Errorf("the vendor got %d writes", len(o.writes))
			}
		})
	}
}

// A narrowed key that has ended sends nothing again, though the key that it was made of lives on.
func TestACallOfANarrowedKeyThatHasEndedIsNotSentAgain(t *testing.T) {
	o := officeWith(t, resending)
	o.replies = answering(200)
	o.key = child(t, o.key, keybrake.Narrowing{TTL: time.Minute})
	o.orderAs(t, "/orders/cu_1", "n1", "k1")
	o.want(t, 0, usd20)
	o.clock.advance(2 * time.Minute)
	_, _ = o.reconciler(t, nil).Pass(t.Context())
	if len(o.writes) != 1 {
		t.Errorf("the vendor got %d writes, want the first alone", len(o.writes))
	}
}

// What the answer to a second send says of the first is nothing, unless it is an execution.
func TestARefusalOfASecondSendProvesNothing(t *testing.T) {
	for _, status := range []int{400, 402, 404, 409, 429, 500} {
		o := officeWith(t, resending)
		o.replies = answering(status)
		o.orderAs(t, "/orders/cu_1", "n1", "k1")
		o.pass(t, o.reconciler(t, nil))
		if len(o.writes) != 2 {
			t.Fatalf("status %d: the vendor got %d writes", status, len(o.writes))
		}
		o.want(t, 0, usd20)
	}
}

// A retry is the first attempt's call, marks and all, whatever the process that makes it would write.
func TestARetryCarriesTheMarksOfTheFirstAttempt(t *testing.T) {
	o := newOffice(t)
	o.replies = answering(200)
	o.orderAs(t, "/orders/cu_1", "n1", "k1")
	o.Brake = o.another(t, func(c *keybrake.Config) { c.Stamp = false })
	o.orderAs(t, "/orders/cu_1", "n1", "k1")
	if len(o.writes) != 2 || o.writes[0] != o.writes[1] || !strings.Contains(o.writes[0], "metadata") {
		t.Errorf("the vendor got %q, want the same twice", o.writes)
	}
	o.want(t, usd20, 0)
}

func TestAResendOfHoursIsRefused(t *testing.T) {
	c := newWorld(t, nil).config()
	c.InsecureResend = 11 * time.Minute
	if _, err := keybrake.New(t.Context(), c); err == nil || !strings.Contains(err.Error(), "InsecureResend") {
		t.Errorf("made: %v", err)
	}
}

func revoke(t *testing.T, o *office) {
	t.Helper()
	if _, err := o.Revoke(t.Context(), keybrake.ByRun("acme", "run_1")); err != nil {
		t.Fatal(err)
	}
}

func decide(t *testing.T, o *office) {
	t.Helper()
	open, err := o.InDoubt(t.Context(), "acme")
	if err != nil {
		t.Fatal(err)
	}
	if err := o.Resolve(t.Context(), "acme", open[0].ID, keybrake.NotExecuted()); err != nil {
		t.Fatal(err)
	}
}
