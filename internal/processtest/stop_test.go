package processtest_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/keybrake/keybrake-go"
	"github.com/keybrake/keybrake-go/ledger"
	"github.com/keybrake/keybrake-go/policy"
	"github.com/keybrake/keybrake-go/reason"
)

// holders are who has a key. The last one's tenant is opened after the stop.
var holders = []struct{ tenant, agent, run, label string }{
	0: {"acme", "scout", "run_1", "blue"},
	1: {"acme", "scout", "run_1", "blue"}, // another key of the same run
	2: {"acme", "scout", "run_2", "green"},
	3: {"acme", "clerk", "run_3", "blue"},
	4: {"acme", "clerk", "run_4", "green"},
	5: {"globex", "scout", "run_1", "blue"},
	6: {"initech", "scout", "run_1", "blue"},
}

// hand issues a key to each of the first n holders but the dead: to have a name that was revoked is to get none.
func (w *world) hand(t *testing.T, n int, dead []int) []keybrake.Key {
	t.Helper()
	keys := make([]keybrake.Key, n)
	for i, h := range holders[:n] {
		g := grant(h.tenant, h.run, under(policy.Lifetime(policy.USD("100"))))
		g.Agent, g.Labels = h.agent, []string{h.label}
		var err error
		if keys[i], err = w.Issue(t.Context(), g); (err != nil) != slices.Contains(dead, i) {
			t.Errorf("issue to %+v: %v", h, err)
		}
	}
	return keys
}

// A halt is a selector and whom it stops.
type halt struct {
	kind, tenant, name string
	stops              []int // of holders
	only               Op    // empty: all calls
}

var halts = []halt{
	{"key", "acme", "", []int{0}, ""}, // the name is the first key's id
	{"run", "acme", "run_1", []int{0, 1}, ""},
	{"agent", "acme", "scout", []int{0, 1, 2}, ""},
	{"label", "acme", "blue", []int{0, 1, 3}, ""},
	{"tenant", "acme", "", []int{0, 1, 2, 3, 4}, ""},
	{"vendor", "acme", "stripe", []int{0, 1, 2, 3, 4}, Payment},
	{"vendor everywhere", "", "stripe", []int{0, 1, 2, 3, 4, 5, 6}, Payment},
	{"everything", "", "", []int{0, 1, 2, 3, 4, 5, 6}, ""},
}

// goOn fails unless p refuses, with code, the calls of those whom h stops, and lets all others through.
func (w *world) goOn(t *testing.T, p *process, keys []keybrake.Key, h halt, code reason.Code) {
	t.Helper()
	var calls []Call
	var of []int // holders
	for i, key := range keys {
		if key.ID != "" {
			calls = append(calls, Call{Token: key.Token(), Op: Payment, Cents: 100}, Call{Token: key.Token(), Op: Mail})
			of = append(of, i, i)
		}
	}
	before, through := w.executed(), 0
	for i, r := range p.calls(t, calls...) {
		want := reason.Code("")
		if slices.Contains(h.stops, of[i]) && (h.only == "" || h.only == calls[i].Op) {
			want = code
		} else {
			through++
		}
		if r.Denial.Reason != want || (r.Err == "") != (want == "") {
			t.Errorf("%s of %+v: got %q, want %q", calls[i].Op, holders[of[i]], r.Err, want)
		}
	}
	if n := w.executed() - before; n != through {
		t.Errorf("%d calls were executed, want %d", n, through)
	}
}

func TestAStopHoldsInAllProcessesAndForNobodyElse(t *testing.T) {
	w := newWorld(t)
	a, b, c := w.start(t, nil), w.start(t, nil), w.start(t, nil)
	for _, verb := range []ledger.Verb{ledger.Pause, ledger.Revoke} {
		for _, h := range halts {
			t.Run(fmt.Sprintf("%s by %s", verb, h.kind), func(t *testing.T) {
				if verb == ledger.Revoke { // final: the next one needs a world without it
					w = newWorld(t)
					a, b, c = w.start(t, nil), w.start(t, nil), w.start(t, nil)
				}
				keys := w.hand(t, 6, nil)
				if h.kind == "key" {
					h.name = keys[0].ID
				}
				code := map[ledger.Verb]reason.Code{ledger.Pause: reason.KeyPaused, ledger.Revoke: reason.KeyRevoked}[verb]
				a.control(t, verb, h)
				w.goOn(t, b, keys, h, code)
				w.goOn(t, c, keys, h, code)

				later := h // for keys that are issued now
				if h.kind == "key" {
					later.stops = nil // the only selector whose name no other key can have
				}
				var dead []int
				if verb == ledger.Revoke {
					dead = later.stops
				}
				keysLater := w.hand(t, len(holders), dead)
				w.goOn(t, b, keysLater, later, code)

				a.control(t, ledger.Resume, h)
				if verb == ledger.Pause {
					h.stops, later.stops = nil, nil
				}
				w.goOn(t, c, keys, h, code)
				w.goOn(t, b, keysLater, later, code)
			})
		}
	}
}

// What was decided before the stop and asks the ledger after it is refused; what has been admitted is not called back.
func TestAStopMeetsCallsThatAreUnderWay(t *testing.T) {
	w := newWorld(t)
	a := w.start(t, nil)
	for i, c := range []struct {
		at      Point
		op      Op
		through bool
	}{
		{BeforeReserve, Payment, false},
		{BeforeReserve, Text, false},
		{BeforeRaise, Refund, false},
		{AfterReserve, Payment, true},
		{AfterRaise, Refund, true},
		{BeforeSend, Text, true},
		{BeforeSettle, Mail, true},
	} {
		t.Run(fmt.Sprintf("%s of a %s", c.at, c.op), func(t *testing.T) {
			w.fake.Reset()
			w.fake.SeedCharge("ch_1", 100_000_000, "usd")
			run := halt{kind: "run", tenant: "acme", name: fmt.Sprintf("run_%d", i)}
			key := w.issue(t, grant(run.tenant, run.name, under(policy.Lifetime(policy.USD("100")))))
			call := Call{Token: key.Token(), Op: c.op, Cents: 2000, Charge: "ch_1"}
			b := w.start(t, func(s *Setup) { s.StopAt = c.at })
			first := b.begin(call)
			b.stopped(t, first)
			a.control(t, ledger.Revoke, run)
			b.goOn(t)
			if r := first.wait(t)[0]; c.through && r.Err != "" || !c.through && r.Denial.Reason != reason.KeyRevoked {
				t.Errorf("got %+v", r)
			}
			if r := b.call(t, call); r.Denial.Reason != reason.KeyRevoked {
				t.Errorf("the next call: %+v", r)
			}
			if n := w.executed(); (n == 1) != c.through || n > 1 {
				t.Errorf("%d executed", n)
			}
			w.settled(t, "acme", key.Token())
		})
	}
}
