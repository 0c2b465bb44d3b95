package keybrake_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/keybrake/keybrake-go"
	"github.com/keybrake/keybrake-go/audit"
	"github.com/keybrake/keybrake-go/internal/fakevendor"
	"github.com/keybrake/keybrake-go/policy"
	"github.com/keybrake/keybrake-go/reason"
)

// A watchedSink is a sink that a test looks at before each write. Like one behind a network it writes nothing for a
// context that has ended.
type watchedSink struct {
	audit.Sink
	before func(audit.Record) error
}

func (s *watchedSink) Write(ctx context.Context, r audit.Record) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if s.before != nil {
		if err := s.before(r); err != nil {
			return err
		}
	}
	return s.Sink.Write(ctx, r)
}

// A caller may go away at any moment. What has not left is given back; what may have been executed stays held or is
// booked, whoever is still there to see it; and every call is on record.
func TestACallerMayGoAwayAtAnyMoment(t *testing.T) {
	l, sink := &watched{}, &watchedSink{}
	w := newWorld(t, func(c *keybrake.Config) {
		watch(l)(c)
		sink.Sink = c.Audit
		c.Audit = sink
	})
	const refund, text = 10_000_000, 13_300 // what the two calls cost
	w.fake.SeedCharge("ch_1", 90_000, "usd")

	type scene struct {
		req  *http.Request
		quit context.CancelFunc
	}
	// on quits at a verb of the ledger, when returns at the first record of a kind, arrives when the vendor has it.
	before := func(verb string) func(*scene) {
		return func(s *scene) {
			l.before = func(_ context.Context, v string) error {
				if v == verb {
					s.quit()
				}
				return nil
			}
		}
	}
	after := func(verb string) func(*scene) {
		return func(s *scene) {
			l.after = func(_ context.Context, v string) error {
				if v == verb {
					s.quit()
				}
				return nil
			}
		}
	}
	at := func(kind audit.Kind, probe bool) func(*scene) {
		return func(s *scene) {
			sink.before = func(r audit.Record) error {
				if r.Kind == kind && r.Probe == probe {
					s.quit()
				}
				return nil
			}
		}
	}
	atVendor := func(method string, kind fakevendor.FaultKind) func(*scene) {
		return func(s *scene) {
			w.fake.Misbehave(fakevendor.Fault{Method: method, Kind: kind})
			executed := len(w.fake.Executions())
			go func() {
				for w.fake.Faults() > 0 || kind == fakevendor.BlockAfter && len(w.fake.Executions()) == executed {
					time.Sleep(time.Millisecond)
				}
				s.quit()
			}()
		}
	}
	inBody := func(s *scene) {
		closed := make(chan struct{})
		s.req.Body = &watchedBody{
			read:  func([]byte) (int, error) { s.quit(); <-closed; return 0, io.ErrClosedPipe },
			close: func() { close(closed) },
		}
	}

	// What the caller gets: the end of its own context, the refusal that names the reservation, or the reply.
	const canceled, doubtful, reply = "canceled", "in doubt", "reply"
	for name, tt := range map[string]struct {
		call                         string
		leave                        func(*scene)
		want                         string
		spent, held, calls, executed int64
	}{
		"refund, before it is sent":      {"refund", func(s *scene) { s.quit() }, canceled, 0, 0, 0, 0},
		"refund, in its body":            {"refund", inBody, canceled, 0, 0, 0, 0},
		"refund, at its reserve":         {"refund", before("reserve"), canceled, 0, 0, 0, 0},
		"refund, after its reserve":      {"refund", after("reserve"), canceled, 0, 0, 0, 0},
		"refund, at its look's intent":   {"refund", at(audit.Intent, true), canceled, 0, 0, 0, 0},
		"refund, in its look":            {"refund", atVendor("GET", fakevendor.BlockBefore), canceled, 0, 0, 1, 0}, // a byte has left: the call counts
		"refund, at its look's outcome":  {"refund", at(audit.Outcome, true), canceled, 0, 0, 1, 0},
		"refund, at its raise":           {"refund", before("raise"), canceled, 0, 0, 1, 0},
		"refund, after its raise":        {"refund", after("raise"), canceled, 0, 0, 1, 0},
		"refund, at its intent":          {"refund", at(audit.Intent, false), canceled, 0, 0, 1, 0},
		"refund, in flight":              {"refund", atVendor("POST", fakevendor.BlockBefore), canceled, 0, refund, 1, 0},
		"refund, executed and in flight": {"refund", atVendor("POST", fakevendor.BlockAfter), canceled, 0, refund, 1, 1},
		"refund, at its settle":          {"refund", before("settle"), reply, refund, 0, 1, 1},
		"refund, after its settle":       {"refund", after("settle"), reply, refund, 0, 1, 1},
		"refund, at its outcome":         {"refund", at(audit.Outcome, false), reply, refund, 0, 1, 1},

		"text, before it is sent":      {"text", func(s *scene) { s.quit() }, canceled, 0, 0, 0, 0},
		"text, in its body":            {"text", inBody, canceled, 0, 0, 0, 0},
		"text, at its reserve":         {"text", before("reserve"), canceled, 0, 0, 0, 0},
		"text, after its reserve":      {"text", after("reserve"), canceled, 0, 0, 0, 0},
		"text, at its intent":          {"text", at(audit.Intent, false), canceled, 0, 0, 0, 0},
		"text, in flight":              {"text", atVendor("POST", fakevendor.BlockBefore), doubtful, 0, text, 1, 0},
		"text, executed and in flight": {"text", atVendor("POST", fakevendor.BlockAfter), doubtful, 0, text, 1, 1},
		"text, at its settle":          {"text", before("settle"), reply, text, 0, 1, 1},
		"text, at its outcome":         {"text", at(audit.Outcome, false), reply, text, 0, 1, 1},

		"list, before it is sent": {"list", func(s *scene) { s.quit() }, canceled, 0, 0, 0, 0},
		"list, at its reserve":    {"list", before("reserve"), canceled, 0, 0, 1, 0}, // a read keeps no reservation that could be given back
		"list, at its intent":     {"list", at(audit.Intent, false), canceled, 0, 0, 1, 0},
		"list, in flight":         {"list", atVendor("GET", fakevendor.BlockBefore), canceled, 0, 0, 1, 0},
		"list, at its outcome":    {"list", at(audit.Outcome, false), reply, 0, 0, 1, 0},
	} {
		t.Run(name, func(t *testing.T) {
			p := everything()
			p.Budgets = append(p.Budgets, policy.Lifetime(policy.Calls(10)))
			key := w.issue(t, "run_"+strings.NewReplacer(" ", "_", ",", "", "'", "").Replace(name), p)
			recorded, executed := len(w.sink.Records()), len(w.fake.Executions())
			ctx, quit := context.WithCancel(t.Context())
			defer quit()
			s := &scene{quit: quit}
			switch tt.call {
			case "refund":
				s.req = request(t, "POST", refundsURL, key.Token(), formType, "charge=ch_1&amount=1000")
				s.req.Header.Set("Idempotency-Key", name)
			case "text":
				s.req = request(t, "POST", messagesURL, key.Token(), formType, "To=%2B14155550100&From=%2B14155550101&Body=hi")
			case "list":
				s.req = request(t, "GET", chargesURL, key.Token(), "", "")
			}
			s.req = s.req.WithContext(ctx)
			tt.leave(s)
			l.asked()
			defer func() { l.before, l.after, sink.before = nil, nil, nil }()

			resp, err := w.Transport(nil).RoundTrip(s.req)
			l.before, l.after, sink.before = nil, nil, nil
			if ctx.Err() == nil {
				t.Fatal("the caller has not gone away")
			}
			if got := verdictOf(t, resp, err); got != tt.want {
				t.Errorf("the caller got %s (%v), want %s", got, err, tt.want)
			}
			states, err := w.Balance(t.Context(), key.Token())
			if err != nil {
				t.Fatal(err)
			}
			if states[0].Spent != tt.spent || states[0].Held != tt.held || states[1].Spent != tt.calls {
				t.Errorf("spent %d, held %d, %d calls; want %d, %d, %d", states[0].Spent, states[0].Held, states[1].Spent, tt.spent, tt.held, tt.calls)
			}
			if n := int64(len(w.fake.Executions()) - executed); n != tt.executed {
				t.Errorf("%d calls were executed, want %d", n, tt.executed)
			}
			records := w.sink.Records()[recorded:]
			if r := records[len(records)-1]; r.Probe || r.Run == "" || r.Kind != audit.Outcome && (r.Kind != audit.Denied || r.Reason != reason.Canceled) {
				t.Errorf("the last record is %+v", r)
			}
			if verbs := l.asked(); strings.HasSuffix(name, "before it is sent") && len(verbs) > 0 {
				t.Errorf("the ledger was asked to %v", verbs)
			}
		})
	}
}

// verdictOf is what a caller makes of a result: the end of its context, a call in doubt, or the vendor's reply.
func verdictOf(t *testing.T, resp *http.Response, err error) string {
	t.Helper()
	if err != nil {
		if errors.Is(err, context.Canceled) && resp == nil {
			return "canceled"
		}
		return err.Error()
	}
	d := denialIn(t, resp)
	switch {
	case d == nil && resp.StatusCode/100 == 2:
		return "reply"
	case d != nil && d.Reason == reason.InDoubt && d.Reservation != "":
		return "in doubt"
	}
	return resp.Status
}
