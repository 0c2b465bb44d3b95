package processtest_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/keybrake/keybrake-go"
	"github.com/keybrake/keybrake-go/audit"
	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/internal/fakevendor"
	"github.com/keybrake/keybrake-go/ledger"
	"github.com/keybrake/keybrake-go/policy"
	"github.com/keybrake/keybrake-go/reason"
)

// A spend is a call of which the tests know what it costs.
type spend struct {
	Call
	amount int64 // micro-dollars
	meter  cost.Meter
	path   string // at the vendor
	probed bool   // its amount is read at the vendor first
	keyed  bool   // the vendor honours its idempotency key
}

var spends = []spend{
	{Call{Op: Payment, Cents: 2000, Key: "order_7"}, 20_000_000, cost.Charge, "/v1/payment_intents", false, true},
	{Call{Op: Refund, Cents: 2000, Charge: "ch_1", Key: "order_7"}, 20_000_000, cost.Outflow, "/v1/refunds", true, true},
	{Call{Op: Text}, 8_300, cost.Fee, "/Messages.json", false, false},
	{Call{Op: Mail, Key: "order_7"}, 900, cost.Fee, "/emails", false, true},
}

// A death is where in their calls a process is killed, and what has to be true of each call afterwards.
type death struct {
	at    Point
	fault fakevendor.FaultKind // in place of a point: where the calls are at the vendor by then

	held, spent bool // what the books show of the call's amount
	executed    bool // what the vendor did
	recorded    bool // the intent is on record
	nothing     bool // no reservation is open
	probed      bool // only calls whose amount is read first come here
}

var deaths = []death{
	{at: BeforeReserve, nothing: true},
	{at: AfterReserve, held: true},
	{at: BeforeRaise, probed: true},
	{at: AfterRaise, held: true, probed: true},
	{at: BeforeIntent, held: true},
	{at: AfterIntent, held: true, recorded: true},
	{at: BeforeSend, held: true, recorded: true},
	{fault: fakevendor.BlockBefore, held: true, recorded: true},
	{fault: fakevendor.BlockLate, held: true, recorded: true, executed: true}, // after the process has died
	{fault: fakevendor.BlockAfter, held: true, recorded: true, executed: true},
	{at: AfterReply, held: true, recorded: true, executed: true},
	{at: BeforeSettle, held: true, recorded: true, executed: true},
	{at: AfterSettle, spent: true, recorded: true, executed: true, nothing: true},
	{at: BeforeOutcome, spent: true, recorded: true, executed: true, nothing: true},
}

func (d death) String() string {
	if d.fault != "" {
		return "at the vendor, " + string(d.fault)
	}
	return string(d.at)
}

// of is d as it is for s. What is read first is reserved without money.
func (d death) of(s spend) death {
	if s.probed && d.at == AfterReserve {
		d.held = false
	}
	return d
}

// A scene is a tenant in which a process dies in the middle of a call of each of several runs, while the neighbour's
// run goes on in another process: with the same credentials, on the same team's budget.
type scene struct {
	*world
	tenant    string
	spends    []spend
	keys      []keybrake.Key // of the run of each spend
	neighbour *process
	aside     keybrake.Key // the neighbour's
	rounds    int          // how often the neighbour has made all the calls
}

// set makes a scene in a new tenant. The vendors have forgotten all earlier ones.
func (w *world) set(t *testing.T, number int, neighbour *process, all []spend, d death) *scene {
	t.Helper()
	w.fake.Reset()
	w.fake.SeedCharge("ch_1", 100_000_000, "usd")
	sc := &scene{world: w, tenant: fmt.Sprintf("tenant_%d", number), neighbour: neighbour}
	p := under(policy.Lifetime(policy.USD("100")), w.share(t, sc.tenant, "team", "500"))
	sc.aside = w.issue(t, grant(sc.tenant, "run_aside", p))
	for _, s := range all {
		if s.probed || !d.probed {
			sc.spends = append(sc.spends, s)
			sc.keys = append(sc.keys, w.issue(t, grant(sc.tenant, "run_"+string(s.Op), p)))
		}
	}
	return sc
}

// call is the call of one spend.
func (sc *scene) call(i int) Call {
	c := sc.spends[i].Call
	c.Token = sc.keys[i].Token()
	return c
}

// die lets a process make all the calls, and kills it at d.
func (sc *scene) die(t *testing.T, d death) {
	t.Helper()
	release := make(chan struct{})
	var calls []Call
	for i, s := range sc.spends {
		calls = append(calls, sc.call(i))
		if d.fault != "" {
			sc.fake.Misbehave(fakevendor.Fault{Method: "POST", PathContains: s.path, Kind: d.fault, Hold: release})
		}
	}
	victim := sc.start(t, func(s *Setup) { s.StopAt = d.at })
	under := victim.begin(calls...)
	switch d.fault {
	case "":
		victim.stopped(t, under)
	case fakevendor.BlockAfter:
		until(t, "the vendors have executed", func() bool { return sc.executed() == len(calls) })
	default:
		until(t, "the vendors have the requests", func() bool { return sc.fake.Faults() == 0 })
	}
	sc.goesOn(t)
	victim.kill(t)
	if d.fault == fakevendor.BlockLate {
		close(release)
		until(t, "the vendors have executed", func() bool { return sc.executed() == 2*len(calls) })
	}
	sc.goesOn(t)
	sc.onRecord(t, victim, d.recorded)
}

// goesOn makes all the calls in the neighbour's run.
func (sc *scene) goesOn(t *testing.T) {
	t.Helper()
	var calls []Call
	for i := range sc.spends {
		c := sc.call(i)
		c.Token, c.Key = sc.aside.Token(), ""
		calls = append(calls, c)
	}
	for i, r := range sc.neighbour.calls(t, calls...) {
		if r.Err != "" {
			t.Fatalf("the neighbour's %s does not go through: %+v", calls[i].Op, r)
		}
	}
	sc.rounds++
}

// onRecord fails unless each call's intent is on record, or none is.
func (sc *scene) onRecord(t *testing.T, victim *process, want bool) {
	t.Helper()
	intents := map[string]int{}
	for _, r := range victim.records(t) {
		if r.Kind == audit.Intent && !r.Probe {
			intents[r.Key]++
		}
	}
	for i, key := range sc.keys {
		if n := intents[key.ID]; n > 1 || (n == 1) != want {
			t.Errorf("%s: %d intents are on record, want one: %v", sc.spends[i].Op, n, want)
		}
	}
}

// stand fails unless the books of each run and of the team are as d says, and cover what the vendors did.
func (sc *scene) stand(t *testing.T, d death) {
	t.Helper()
	var team struct{ spent, held int64 }
	for i, s := range sc.spends {
		d := d.of(s)
		own := sc.books(t, sc.keys[i].Token())[0]
		if own.Spent != s.times(d.spent) || own.Held != s.times(d.held) {
			t.Errorf("%s: its run has spent %d and holds %d, want %d and %d", s.Op, own.Spent, own.Held, s.times(d.spent), s.times(d.held))
		}
		if n := sc.executed(s.Op) - sc.rounds; n != int(s.times(d.executed)/s.amount) {
			t.Errorf("%s: executed %d times, want one: %v", s.Op, n, d.executed)
		}
		team.spent += s.times(d.spent) + int64(sc.rounds)*s.amount
		team.held += s.times(d.held)
	}
	books := sc.books(t, sc.aside.Token())[1]
	if books.Spent != team.spent || books.Held != team.held {
		t.Errorf("the team has spent %d and holds %d, want %d and %d", books.Spent, books.Held, team.spent, team.held)
	}
	if books.Spent+books.Held < sc.spent() {
		t.Errorf("the books show %d and the vendors took %d", books.Spent+books.Held, sc.spent())
	}
}

// times is the amount, or nothing.
func (s spend) times(yes bool) int64 {
	if yes {
		return s.amount
	}
	return 0
}

// over fails unless nothing is in doubt any more, and the books are what the vendors did: each call once, or not.
func (sc *scene) over(t *testing.T, executed bool) {
	t.Helper()
	sc.stand(t, death{spent: executed, executed: executed})
	sc.balanced(t, sc.books(t, sc.aside.Token())[1])
	if left := sc.doubts(t, sc.tenant); len(left) > 0 {
		t.Errorf("left behind: %+v", left)
	}
}

func TestAProcessKilledInACallLeavesNothingUncounted(t *testing.T) {
	w := newWorld(t)
	neighbour := w.start(t, nil)
	for i, d := range deaths {
		t.Run(d.String(), func(t *testing.T) {
			sc := w.set(t, i, neighbour, spends, d)
			sc.die(t, d)
			sc.stand(t, d)
			sc.resolve(t, d)
			sc.over(t, d.executed)
		})
	}
}

// resolve is what a person does: nothing while a call may be in flight, then to say what the vendor did.
func (sc *scene) resolve(t *testing.T, d death) {
	t.Helper()
	now, err := sc.InDoubt(t.Context(), sc.tenant)
	must(t, err)
	if len(now) > 0 {
		t.Errorf("in doubt before its deadline: %+v", now)
	}
	doubts := sc.doubts(t, sc.tenant)
	if d.nothing {
		if len(doubts) > 0 {
			t.Errorf("in doubt: %+v", doubts)
		}
		return
	}
	for i, s := range sc.spends {
		of := func(h ledger.Hold) bool { return h.Key == sc.keys[i].ID && h.Phase == ledger.InFlight }
		n := slices.IndexFunc(doubts, of)
		if n < 0 || len(doubts) != len(sc.spends) {
			t.Fatalf("%s is not listed after its deadline, or more is: %+v", s.Op, doubts)
		}
		truth := keybrake.NotExecuted()
		if d.executed {
			truth = keybrake.Executed(cost.Line{Meter: s.meter, Currency: "USD", Amount: s.amount})
		}
		if err := sc.Resolve(t.Context(), sc.tenant, doubts[n].ID, truth); err == nil {
			t.Errorf("%s: resolved while it could be in flight", s.Op)
		}
		must(t, sc.later.Resolve(t.Context(), sc.tenant, doubts[n].ID, truth))
	}
}

// Another process of the same run makes the call again, with the idempotency key that the agent gave it.
func TestARetryAfterItsProcessWasKilledIsTheSameSpend(t *testing.T) {
	w := newWorld(t)
	neighbour, another := w.start(t, nil), w.start(t, nil)
	later := w.start(t, func(s *Setup) { s.Ahead = ahead })
	keyed := slices.DeleteFunc(slices.Clone(spends), func(s spend) bool { return !s.keyed })
	for i, d := range deaths {
		t.Run(d.String(), func(t *testing.T) {
			sc := w.set(t, i, neighbour, keyed, d)
			sc.die(t, d)
			for i, s := range sc.spends {
				if d := d.of(s); d.nothing || d.held {
					sc.retry(t, another, sc.call(i))
				} else {
					sc.retryUnheld(t, another, later, sc.call(i))
				}
			}
			sc.over(t, true)
		})
	}
}

// retry makes the call until the vendor has made up its mind about the first one: until then it answers 409.
func (sc *scene) retry(t *testing.T, p *process, again Call) {
	t.Helper()
	until(t, "the vendor answers the retry", func() bool {
		r := p.call(t, again)
		if r.Denial.Reason != "" {
			t.Fatalf("%s: the retry was refused: %+v", again.Op, r)
		}
		return r.Err == ""
	})
}

// retryUnheld retries a call that died before its amount was known: there is nothing to attach to, so it has to wait
// for the deadline, and is a new spend then. The first one holds no money and is for a person to strike out.
func (sc *scene) retryUnheld(t *testing.T, p, later *process, again Call) {
	t.Helper()
	if r := p.call(t, again); r.Denial.Reason != reason.IdempotencyInFlight {
		t.Errorf("%s: before the deadline: %+v", again.Op, r)
	}
	sc.retry(t, later, again)
	holdsNothing := func(h ledger.Hold) bool {
		return !slices.ContainsFunc(h.Entries, func(e ledger.Entry) bool { return e.Held > 0 })
	}
	doubts := sc.doubts(t, sc.tenant)
	first := slices.IndexFunc(doubts, holdsNothing)
	if first < 0 {
		t.Fatalf("%s: the first attempt is not in doubt: %+v", again.Op, doubts)
	}
	must(t, sc.later.Resolve(t.Context(), sc.tenant, doubts[first].ID, keybrake.NotExecuted()))
}
