package processtest_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/rpc"
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/keybrake/keybrake-go"
	"github.com/keybrake/keybrake-go/audit"
	"github.com/keybrake/keybrake-go/policy"
)

// A hook receives the events of all processes.
type hook struct {
	*httptest.Server
	mu     sync.Mutex
	events []audit.Event
}

func newHook(t *testing.T) *hook {
	t.Helper()
	h := &hook{}
	h.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, audit.MaxWebhook))
		if err != nil {
			t.Error(err)
		}
		e, err := audit.VerifyWebhook(r.Header, body, hookSecret)
		if err != nil {
			t.Error(err)
		}
		h.mu.Lock()
		defer h.mu.Unlock()
		h.events = append(h.events, e)
	}))
	t.Cleanup(h.Close)
	return h
}

// received are the events since it was last asked.
func (h *hook) received() []audit.Event {
	h.mu.Lock()
	defer h.mu.Unlock()
	events := h.events
	h.events = nil
	return events
}

// A telling is an alerter's pass in another process.
type telling struct {
	keybrake.Delivery
	call *rpc.Call
}

func (p *process) tell(h *hook) *telling {
	r := &telling{}
	r.call = p.rpc.Go("Child.Tell", h.URL, &r.Delivery, make(chan *rpc.Call, 1))
	return r
}

func (r *telling) wait(t *testing.T) keybrake.Delivery {
	t.Helper()
	must(t, (<-r.call.Done).Error)
	return r.Delivery
}

// What several processes see is told once by one of them; and what was told by a process that was killed before it could say
// so is told again, under the same id, by another, when its lease has ended.
func TestEventsOfSeveralProcessesAreToldOnceAndThoseOfAKilledOneAgain(t *testing.T) {
	w := newWorld(t)
	one, two := w.start(t, nil), w.start(t, nil)
	victim := w.start(t, func(s *Setup) { s.StopAt = BeforeAcknowledge })
	after := w.start(t, func(s *Setup) { s.Ahead = 15 * time.Minute })
	h := newHook(t)

	// Each run may pay 5 of 10 USD, which crosses a threshold, and is refused a second and a third time in both processes.
	const runs = 6
	refuse := func(run string) {
		key := w.issue(t, grant("acme", run, under(policy.Lifetime(policy.USD("10")).Alert(50))))
		pay := Call{Token: key.Token(), Op: Payment, Cents: 600}
		if r := one.call(t, pay); r.Err != "" {
			t.Fatalf("%+v", r)
		}
		for _, p := range []*process{one, two, one, two} {
			if r := p.call(t, pay); r.Denial.Budget == "" {
				t.Fatalf("%+v", r)
			}
		}
	}
	for i := range runs {
		refuse(fmt.Sprint("run_", i))
	}
	seen := map[string]audit.Event{}
	kinds := map[audit.EventKind]int{}
	until(t, "all is told", func() bool {
		for _, pass := range []*telling{one.tell(h), two.tell(h), one.tell(h), two.tell(h)} {
			pass.wait(t)
		}
		for _, e := range h.received() {
			if _, twice := seen[e.ID]; twice {
				t.Errorf("told twice: %+v", e)
			}
			seen[e.ID] = e
			kinds[e.Kind]++
		}
		return len(seen) >= 2*runs
	})
	if kinds[audit.FirstDenial] != runs || kinds[audit.BudgetThreshold] != runs {
		t.Errorf("told %v of %d runs", kinds, runs)
	}

	key := w.issue(t, grant("acme", "run_last", under(policy.Lifetime(policy.USD("10")).Alert(50))))
	if r := one.call(t, Call{Token: key.Token(), Op: Payment, Cents: 600}); r.Err != "" {
		t.Fatalf("%+v", r)
	}
	victim.tell(h)
	victim.ask(t, "Stopped", 1, nil)
	victim.kill(t)
	first := h.received()
	if len(first) != 1 || first[0].Key != key.ID || first[0].Kind != audit.BudgetThreshold {
		t.Fatalf("the killed one told %+v", first)
	}
	if d := one.tell(h).wait(t); d.Waiting != 1 || d.Others != 1 || len(h.received()) != 0 {
		t.Errorf("beside the killed one: %+v", d)
	}
	if d := after.tell(h).wait(t); d.Told != 1 {
		t.Errorf("when the lease of the killed one has ended: %+v", d)
	}
	if again := h.received(); !reflect.DeepEqual(again, first) {
		t.Errorf("told %+v, first was %+v", again, first)
	}
	if d := one.tell(h).wait(t); d.Waiting != 0 || len(h.received()) != 0 {
		t.Errorf("at last: %+v", d)
	}
}
