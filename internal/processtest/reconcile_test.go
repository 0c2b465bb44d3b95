package processtest_test

import (
	"net/http"
	"net/rpc"
	"testing"
	"time"

	"github.com/keybrake/keybrake-go"
	"github.com/keybrake/keybrake-go/audit"
	"github.com/keybrake/keybrake-go/internal/fakevendor"
	"github.com/keybrake/keybrake-go/policy"
)

// A pass is a reconciler's in another process.
type pass struct {
	keybrake.Progress
	call *rpc.Call
}

func (p *process) reconcile(tenant string) *pass {
	r := &pass{}
	r.call = p.rpc.Go("Child.Reconcile", tenant, &r.Progress, make(chan *rpc.Call, 1))
	return r
}

func (r *pass) wait(t *testing.T) keybrake.Progress {
	t.Helper()
	must(t, (<-r.call.Done).Error)
	return r.Progress
}

// lost makes so many payments and so many mails that are executed and whose replies nobody can read.
func (w *world) lost(t *testing.T, agent *process, token string, each int) {
	t.Helper()
	w.fake.Misbehave(fakevendor.Fault{Method: http.MethodPost, PathContains: "/payment_intents", Kind: fakevendor.BadJSON, Times: each})
	w.fake.Misbehave(fakevendor.Fault{Method: http.MethodPost, PathContains: "/emails", Kind: fakevendor.DropAfter, Times: each})
	var calls []Call
	for range each {
		calls = append(calls, Call{Token: token, Op: Payment, Cents: 500}, Call{Token: token, Op: Mail})
	}
	for _, r := range agent.calls(t, calls...) {
		if r.Err == "" {
			t.Fatal("a reply that was lost came")
		}
	}
	if n := w.fake.Faults(); n != 0 {
		t.Fatalf("%d replies were not lost", n)
	}
}

// booked counts what the processes have on record as found, by the call.
func booked(t *testing.T, all ...*process) map[string]int {
	t.Helper()
	found := map[string]int{}
	for _, p := range all {
		for _, r := range p.records(t) {
			if r.Kind == audit.Reconciled && r.Outcome == "executed" {
				found[r.CallID]++
			}
		}
	}
	return found
}

// Reconcilers in several processes share the work while calls go on: each item is handled once, and what one leaves
// that is killed in the middle is booked once too, when its lease has ended.
func TestReconcilersOfSeveralProcessesBookEachCallOnce(t *testing.T) {
	w := newWorld(t)
	stamped := func(s *Setup) { s.Stamp = true }
	agent, one, two := w.start(t, stamped), w.start(t, stamped), w.start(t, stamped)
	victim := w.start(t, func(s *Setup) { s.Stamp, s.StopAt = true, BeforeSettle })
	after := w.start(t, func(s *Setup) { s.Stamp, s.Ahead = true, 15*time.Minute })
	key := w.issue(t, grant("acme", "run_1", under(policy.Lifetime(policy.USD("10000")))))
	state := func() (spent, held int64) {
		s := w.books(t, key.Token())[0]
		return s.Spent, s.Held
	}

	const each = 8
	w.lost(t, agent, key.Token(), each)
	passes := []*pass{one.reconcile("acme"), two.reconcile("acme")}
	var on []Call
	for range 10 {
		on = append(on, Call{Token: key.Token(), Op: Payment, Cents: 500}, Call{Token: key.Token(), Op: Mail})
	}
	for _, r := range agent.calls(t, on...) {
		if r.Err != "" {
			t.Errorf("a call that goes on: %+v", r)
		}
	}
	first, second := passes[0].wait(t), passes[1].wait(t)
	if first.Settled+second.Settled != 2*each || first.Failed+second.Failed > 0 {
		t.Errorf("the passes came to %+v and %+v, want %d calls settled", first, second, 2*each)
	}
	t.Logf("one settled %d and the other %d", first.Settled, second.Settled)
	for id, n := range booked(t, one, two) {
		if n != 1 {
			t.Errorf("%s is on record %d times", id, n)
		}
	}
	w.balanced(t, w.books(t, key.Token())[0])

	w.lost(t, agent, key.Token(), each)
	victim.reconcile("acme")
	victim.ask(t, "Stopped", 1, nil)
	victim.kill(t)
	if p := one.reconcile("acme").wait(t); p.Settled != 2*each-1 || p.Others != 1 {
		t.Errorf("beside the killed one: %+v", p)
	}
	if spent, held := state(); held == 0 || spent+held < w.spent() {
		t.Errorf("the books say %d + %d and the vendors took %d", spent, held, w.spent())
	}
	if p := after.reconcile("acme").wait(t); p.Settled != 1 {
		t.Errorf("when the lease of the killed one has ended: %+v", p)
	}
	w.balanced(t, w.books(t, key.Token())[0])
	if n := len(booked(t, one, two, victim, after)); n != 4*each {
		t.Errorf("%d calls are on record as found, want %d", n, 4*each)
	}
	writes := 0
	for _, r := range w.fake.Received() {
		if r.Method != http.MethodGet {
			writes++
		}
	}
	if writes != 4*each+len(on) {
		t.Errorf("%d writes reached the vendors, want the agent's %d", writes, 4*each+len(on))
	}
}
