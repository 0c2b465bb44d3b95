package keybrake_test

import (
	"context"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"sync"
	"testing"

	"github.com/keybrake/keybrake-go"
	"github.com/keybrake/keybrake-go/audit"
	"github.com/keybrake/keybrake-go/audit/audittest"
	"github.com/keybrake/keybrake-go/reason"
)

type spanKey struct{}

// A tracer is a follower that gives each call a number, as spans have.
type tracer struct {
	audittest.Recorder
	broken bool // panics wherever it can

	mu    sync.Mutex
	begun int
	ended map[int][]audit.Record
	spans []int // under which records were written
}

func (f *tracer) Begin(ctx context.Context) context.Context {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.begun++
	if f.broken {
		panic("begin")
	}
	return context.WithValue(ctx, spanKey{}, f.begun)
}

func (f *tracer) Forward(ctx, outgoing context.Context) context.Context {
	if f.broken {
		panic("forward")
	}
	return context.WithValue(outgoing, spanKey{}, ctx.Value(spanKey{}))
}

func (f *tracer) End(ctx context.Context, r audit.Record) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.broken {
		panic("end")
	}
	span := ctx.Value(spanKey{}).(int)
	f.ended[span] = append(f.ended[span], r)
}

func (f *tracer) Write(ctx context.Context, r audit.Record) error {
	f.mu.Lock()
	span, _ := ctx.Value(spanKey{}).(int)
	f.spans = append(f.spans, span)
	f.mu.Unlock()
	return f.Recorder.Write(ctx, r)
}

// A follower behind the wrappers of package audit sees each call begin and end once, refusals that are counted together
// too, and the transport below sees what it hands on and nothing of the caller's.
func TestAFollowerSeesEachCallBeginAndEnd(t *testing.T) {
	f := &tracer{ended: map[int][]audit.Record{}}
	var below []any
	w := newWorld(t, func(c *keybrake.Config) {
		c.Audit = audit.Tee(c.Audit, audit.InsecureBestEffort(audit.Chain(f, nil)))
		next := c.Base
		c.Base = tripFunc(func(r *http.Request) (*http.Response, error) {
			below = append(below, r.Context().Value(spanKey{}))
			return next.RoundTrip(r)
		})
	})
	w.fake.SeedCharge("ch_1", 500000, "usd")
	key := w.issue(t, "run_1", everything())
	shown := ""
	spying := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
		WroteHeaderField: func(_ string, values []string) { shown += strings.Join(values, " ") },
		Got1xxResponse:   func(int, textproto.MIMEHeader) error { shown += "1xx"; return nil },
	})
	send := func(url, form string) *keybrake.Denial {
		return denial(t, w.Transport(nil), request(t, "POST", url, key.Token(), formType, form).WithContext(spying))
	}
	if d := send(refundsURL, "charge=ch_1&amount=2000"); d != nil { // a look and a call
		t.Fatal(d)
	}
	for range 3 { // of which two are counted and have no record of their own yet
		if d := send("https://api.stripe.com/v1/charges", "amount=400000&currency=usd&source=tok_visa"); d == nil || d.Reason != reason.BudgetExceeded {
			t.Fatalf("the charge is not refused: %v", d)
		}
	}
	if f.begun != 4 || len(f.ended) != 4 {
		t.Fatalf("%d calls begun and %d ended of 4", f.begun, len(f.ended))
	}
	first := f.ended[1]
	if len(first) != 1 || first[0].Kind != audit.Outcome || first[0].Outcome != "executed" || first[0].ID == "" {
		t.Errorf("the first call ended with %+v", first)
	}
	for n := 2; n <= 4; n++ {
		if e := f.ended[n]; len(e) != 1 || e[0].Kind != audit.Denied || e[0].Reason != reason.BudgetExceeded || e[0].Run != "run_1" {
			t.Errorf("call %d ended with %+v", n, e)
		}
	}
	all := f.Records()
	for i, r := range all {
		if r.Kind == audit.Control {
			continue
		}
		if f.spans[i] == 0 || r.CallID != f.ended[f.spans[i]][0].CallID {
			t.Errorf("the record %s of call %s was written under call %d", r.Kind, r.CallID, f.spans[i])
		}
	}
	if len(below) < 2 || below[0] != 1 || below[1] != 1 {
		t.Errorf("the transport below saw the calls %v", below)
	}
	if shown != "" {
		t.Errorf("the caller's httptrace was shown %q", shown)
	}
}

// A follower that panics changes no call.
func TestAFollowerThatPanicsIsLeftOut(t *testing.T) {
	f := &tracer{broken: true}
	w := newWorld(t, func(c *keybrake.Config) { c.Audit = audit.Tee(c.Audit, f) })
	key := w.issue(t, "run_1", everything())
	if d := denial(t, w.Transport(nil), request(t, "POST", emailsURL, key.Token(), "application/json", `{"from":"a@acme.com","to":["b@acme.com"],"subject":"s","text":"t"}`)); d != nil {
		t.Error(d)
	}
	if f.begun != 1 {
		t.Errorf("begun %d", f.begun)
	}
}
