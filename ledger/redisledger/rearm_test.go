package redisledger_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/internal/redistest"
	"github.com/keybrake/keybrake-go/ledger"
	"github.com/keybrake/keybrake-go/ledger/ledgertest"
	"github.com/keybrake/keybrake-go/ledger/redisledger"
	"github.com/keybrake/keybrake-go/reason"
)

// amounts are all that is counted in the rows of budgets and keys, and what is open, for people to compare.
func amounts(t testing.TB, rdb *redis.Client) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, kind := range []string{"b", "k"} {
		for _, row := range rdb.Keys(ctx, "kb:{acme}:"+kind+":*").Val() {
			for f, v := range rdb.HGetAll(ctx, row).Val() {
				if strings.HasPrefix(f, "s:") || strings.HasPrefix(f, "h:") || strings.HasPrefix(f, "w:") || strings.HasPrefix(f, "x:") || f == "limit" || f == "frozen" {
					all[row+" "+f] = v
				}
			}
		}
	}
	for _, r := range rdb.Keys(ctx, "kb:{acme}:r:*").Val() {
		m := rdb.HGetAll(ctx, r).Val()
		all[r] = fmt.Sprint(m["p"], m["e"], m["l"], m["o"], m["f"], m["cs"], m["al"], m["m"], m["k"], m["d"], m["n"], rdb.PTTL(ctx, r).Val() > 0)
	}
	for _, row := range []string{"open", "pending"} {
		for _, z := range rdb.ZRangeWithScores(ctx, "kb:{acme}:"+row, 0, -1).Val() {
			all[row+" "+fmt.Sprint(z.Member)] = fmt.Sprint(z.Score)
		}
	}
	for f, v := range rdb.HGetAll(ctx, "kb:{acme}:controls").Val() {
		if strings.HasPrefix(f, "c:") {
			all[f] = v
		}
	}
	for _, o := range rdb.Keys(ctx, "kb:{acme}:o:*").Val() {
		all[o] = rdb.Get(ctx, o).Val()
	}
	return all
}

func same(t testing.TB, got, want map[string]string) {
	t.Helper()
	for _, k := range slices.Sorted(maps.Keys(want)) {
		if got[k] != want[k] {
			t.Errorf("%s is %q, want %q", k, got[k], want[k])
		}
		delete(got, k)
	}
	for k, v := range got {
		t.Errorf("%s is %q, want nothing", k, v)
	}
}

// live makes reservations in every state.
func live(t testing.TB, l *redisledger.Ledger) (inFlight ledger.Hold) {
	t.Helper()
	pays(t, l, 3)
	must(t, l.Release(ctx, admit(t, l, pay(2)), true))
	must(t, second(l.Settle(ctx, admit(t, l, pay(4)), ledger.Settlement{Phase: ledger.Doubt, Memo: "nobody knows"})))
	created := pay(50)
	created.Memo = "pi created"
	must(t, second(l.Settle(ctx, admit(t, l, created), ledger.Settlement{Phase: ledger.Pending, Held: usd(50), Object: fmt.Sprint("pi", created.ID)})))
	confirmed := pay(50)
	confirmed.Object = fmt.Sprint("pi", created.ID)
	must(t, second(l.Settle(ctx, admit(t, l, confirmed), ledger.Settlement{Phase: ledger.Pending, Held: usd(40), Object: confirmed.Object, Memo: "pi confirmed"})))
	raised := pay(1)
	h := admit(t, l, raised)
	raised.Lines = usd(5)
	must(t, second(l.Raise(ctx, h, raised)))
	counted := pay(1)
	counted.Lines = append(counted.Lines, cost.Line{Meter: cost.Calls, Amount: 1})
	counted.Budgets = append(counted.Budgets, ledger.Budget{Name: "calls", Meter: cost.Calls, Limit: 100, Window: cost.Day})
	must(t, second(l.Settle(ctx, admit(t, l, counted), settled(2)))) // above its bound: the key is frozen
	must(t, second(l.Control(ctx, ledger.Control{Verb: ledger.Resume, Tenant: acme, Key: "k"})))
	return admit(t, l, pay(6))
}

func TestARearmPutsBackWhatWasAcknowledged(t *testing.T) {
	for name, lose := range map[string]func(t *testing.T, main *redistest.Server, more func()){
		"flushed": func(t *testing.T, main *redistest.Server, more func()) {
			more()
			must(t, main.Admin().FlushAll(ctx).Err())
		},
		"restored from a snapshot": func(t *testing.T, main *redistest.Server, more func()) {
			must(t, main.Admin().Save(ctx).Err())
			more()
			must(t, main.Restart())
		},
	} {
		t.Run(name, func(t *testing.T) {
			main := redistest.Serve(t)
			rdb := client(t, main.Addr())
			a, b := opened(t, rdb, 1000), made(t, rdb, nil)
			live(t, a)
			var h, other ledger.Hold
			lose(t, main, func() {
				h = live(t, a)
				other = live(t, b)
				must(t, b.Open(ctx, ledger.Key{Tenant: acme, ID: "dead", Expires: time.Now().Add(time.Hour)}))
				for _, c := range []ledger.Control{
					{Verb: ledger.Revoke, Tenant: acme, Key: "dead"}, {Verb: ledger.Revoke, Tenant: acme, Run: "gone"},
					{Verb: ledger.Resume, Tenant: acme, Run: "gone"}, // undoes nothing
					{Verb: ledger.Pause, Tenant: acme, Agent: "x"}, {Verb: ledger.Pause, Tenant: acme, Agent: "y"}, {Verb: ledger.Resume, Tenant: acme, Agent: "y"},
					{Verb: ledger.Pause, Vendor: "w"},
				} {
					must(t, second(b.Control(ctx, c)))
				}
				must(t, a.SetBudget(ctx, acme, team(900)))
			})
			frozen(t, a)
			frozen(t, b)

			// Settled while it is frozen: found again, and not put back a second time.
			must(t, second(a.Settle(ctx, h, settled(5))))
			must(t, second(a.Settle(ctx, h, settled(5))))
			must(t, second(b.Reassert(ctx, acme)))
			frozen(t, b)
			first, err := a.Rearm(ctx, acme)
			must(t, err)
			again, err := a.Rearm(ctx, acme)
			must(t, err)
			if first.Holds == 0 || again.Holds != 0 || again.Windows != 0 {
				t.Errorf("put back %+v, and the second time %+v", first, again)
			}
			for _, l := range []*redisledger.Ledger{a, b, made(t, rdb, nil)} {
				dead, gone, paused, fine := pay(1), pay(1), pay(1), pay(1)
				dead.Key, dead.Controls = "dead", ledger.Names("dead", "a", "r", nil, "v")
				gone.Controls, paused.Controls = ledger.Names("k", "a", "gone", nil, "v"), ledger.Names("k", "x", "r", nil, "v")
				fine.Controls = ledger.Names("k", "y", "r", nil, "v")
				for r, code := range map[*ledger.Request]reason.Code{&dead: reason.KeyRevoked, &gone: reason.KeyRevoked, &paused: reason.KeyPaused} {
					_, err := l.Reserve(ctx, *r)
					denied(t, err, code)
				}
				must(t, l.Release(ctx, admit(t, l, fine), true))
				fine = pay(1)
				fine.Controls = ledger.Names("k", "a", "r", nil, "w")
				_, err := l.Reserve(ctx, fine)
				denied(t, err, reason.KeyPaused)
			}
			must(t, second(b.Settle(ctx, other, settled(6))))
			// Three times live: 3 and 2 spent; held 4 in doubt, 40 pending, 6 raised, 6 in flight, of which one was settled at
			// 5 and one at 6.
			stands(t, a, 3*(3+2)+5+6, 3*(4+40+6)+6)
			budget, err := b.Budget(ctx, acme, "team")
			must(t, err)
			if budget.Limit != 900 {
				t.Errorf("the limit is %d", budget.Limit)
			}
			doubts, err := a.InDoubt(ctx, acme)
			must(t, err)
			if len(doubts) != 3 {
				t.Errorf("%d are in doubt", len(doubts))
			}
		})
	}
}

// What a process wrote is put back exactly: the store looks as before.
func TestARearmedStoreLooksAsBefore(t *testing.T) {
	rdb := client(t, redistest.Start(t))
	l := opened(t, rdb, 1000)
	for range 2 {
		live(t, l)
	}
	must(t, second(l.Control(ctx, ledger.Control{Verb: ledger.Revoke, Tenant: acme, Run: "gone"})))
	before := amounts(t, rdb)
	flush(t, rdb)
	frozen(t, l)
	must(t, second(l.Rearm(ctx, acme)))
	must(t, second(l.Reassert(ctx, acme)))
	same(t, amounts(t, rdb), before)
}

// After a failover both histories count: what was lost, and what others have written since.
func TestARearmAfterAFailoverAddsUpWhatBothSidesWrote(t *testing.T) {
	main := redistest.Serve(t)
	at := &site{addr: main.Addr()}
	a, b := opened(t, at.client(t), 1000), made(t, at.client(t), nil)
	pays(t, a, 3)
	pays(t, b, 4)
	replica, err := main.Replica()
	must(t, err)
	t.Cleanup(replica.Close)
	must(t, replica.CatchUp(main))
	must(t, replica.Promote())
	pays(t, a, 10)
	must(t, a.SetBudget(ctx, acme, team(800)))
	lost := admit(t, a, pay(100))
	at.move(replica.Addr(), 0)
	main.Kill()
	pays(t, b, 5)
	must(t, b.SetBudget(ctx, acme, team(700)))
	kept := admit(t, b, pay(200))
	frozen(t, a)
	must(t, second(b.Rearm(ctx, acme))) // of the wrong process: what a knows is missing
	stands(t, b, 3+4+5, 200)
	denied(t, second(b.Reserve(ctx, pay(489))), reason.BudgetExceeded)

	// a puts it back as soon as it learns of the re-arm.
	must(t, a.Release(ctx, admit(t, a, pay(1)), true))
	until(t, "a puts back what it knows", func() bool {
		states, err := b.Balance(ctx, acme, "k", []ledger.Budget{team(1000)})
		return err == nil && states[0].Spent == 3+4+10+5 && states[0].Held == 300
	})
	must(t, second(a.Settle(ctx, lost, settled(100))))
	must(t, second(b.Settle(ctx, kept, settled(200))))
	stands(t, a, 3+4+10+5+300, 0)
	if budget, err := a.Budget(ctx, acme, "team"); err != nil || budget.Limit != 700 {
		t.Errorf("of two limits %d stands, %v", budget.Limit, err)
	}
	must(t, a.Close())
}

// A process that is gone has told nobody what it spent, but another has seen the sum. And when it was not gone after
// all, nothing counts twice.
func TestARearmKnowsTheSumThatItWasTold(t *testing.T) {
	rdb := client(t, redistest.Start(t))
	gone, l := opened(t, rdb, 100), made(t, rdb, nil)
	pays(t, gone, 30)
	pays(t, l, 2)
	pays(t, gone, 1) // of this nobody else knows
	flush(t, rdb)
	frozen(t, l)
	must(t, second(l.Rearm(ctx, acme)))
	stands(t, l, 32, 0)
	denied(t, second(l.Reserve(ctx, pay(69))), reason.BudgetExceeded)
	pays(t, l, 5)
	must(t, second(gone.Reassert(ctx, acme)))
	stands(t, l, 33+5, 0)
	must(t, gone.Close())
}

// What stands above a limit stays above it.
func TestARearmAsksForNoLimit(t *testing.T) {
	rdb := client(t, redistest.Start(t))
	l := opened(t, rdb, 100)
	h := admit(t, l, pay(90))
	must(t, l.SetBudget(ctx, acme, team(50)))
	flush(t, rdb)
	frozen(t, l)
	must(t, second(l.Rearm(ctx, acme)))
	stands(t, l, 0, 90)
	denied(t, second(l.Reserve(ctx, pay(1))), reason.BudgetExceeded)
	must(t, l.Release(ctx, h, true))
	admit(t, l, pay(50))
}

// Evidence from another process' memory, and nothing that is not of this tenant.
func TestARearmTakesEvidence(t *testing.T) {
	rdb := client(t, redistest.Start(t))
	dead := opened(t, rdb, 100)
	h := admit(t, dead, pay(40))
	l := made(t, rdb, nil)
	pays(t, l, 1)
	flush(t, rdb)
	frozen(t, l)
	foreign := h
	foreign.Tenant = "other"
	if _, err := l.Rearm(ctx, acme, foreign); err == nil {
		t.Fatal("a hold of another tenant was taken")
	}
	frozen(t, l)
	must(t, second(l.Rearm(ctx, acme, h, h)))
	must(t, second(made(t, rdb, nil).Settle(ctx, h, settled(40))))
	stands(t, dead, 41, 0)
	must(t, dead.Close())
}

func TestASettlementOfALostHoldIsBookedOnceByWhoeverKnowsIt(t *testing.T) {
	server := redistest.Serve(t)
	rdb := client(t, server.Addr())
	opened(t, rdb, 1000)
	path := t.TempDir() + "/journal"
	l := journalled(t, brief(t, server.Addr()), path)
	must(t, l.Check(ctx))
	waits, known, unknown := admit(t, l, pay(10)), admit(t, l, pay(20)), admit(t, opened(t, rdb, 1000), pay(40))
	must(t, server.Pause())
	deferred(t, second(l.Settle(ctx, waits, settled(10))))
	must(t, l.Close()) // the process ends, and with it what it knows
	must(t, server.Continue())
	flush(t, rdb)
	frozen(t, l)

	next := journalled(t, rdb, path)
	must(t, next.Check(ctx))
	drained(t, next)
	must(t, second(l.Settle(ctx, known, settled(20))))
	for _, who := range []ledger.Ledger{l, next} { // neither has reserved it
		if _, err := who.Settle(ctx, unknown, settled(40)); err != ledger.ErrNoHold {
			t.Errorf("got %v", err)
		}
	}
	must(t, second(l.Rearm(ctx, acme)))
	stands(t, l, 30, 0)
}

// Controls that bind every tenant, and the registry, freeze and are re-armed on their own.
func TestGlobalControlsAreRearmed(t *testing.T) {
	rdb := client(t, redistest.Start(t))
	l := opened(t, rdb, 100)
	must(t, second(l.Control(ctx, ledger.Control{Verb: ledger.Pause, Vendor: "w"})))
	flush(t, rdb)
	k := ledger.Key{Tenant: "new", ID: "k", Expires: time.Now().Add(time.Hour)}
	denied(t, l.Open(ctx, k), reason.LedgerFrozen)
	must(t, second(l.Rearm(ctx, "")))
	must(t, l.Open(ctx, k))
	r := pay(1)
	r.Tenant, r.Controls = "new", ledger.Names("k", "a", "r", nil, "w")
	denied(t, second(l.Reserve(ctx, r)), reason.KeyPaused)
	must(t, second(l.Rearm(ctx, acme)))
	report, err := made(t, rdb, nil).Control(ctx, ledger.Control{Verb: ledger.Resume, Vendor: "w"})
	must(t, err)
	if !slices.Equal(report.Tenants, []string{acme, "new"}) {
		t.Errorf("reached %v", report.Tenants)
	}
}

// Whoever re-arms, those that ran before the loss and have noticed it go on without another alarm.
func TestAfterARearmNobodyRaisesTheOldAlarm(t *testing.T) {
	rdb := client(t, redistest.Start(t))
	a, looker := opened(t, rdb, 100), made(t, rdb, nil)
	denied(t, second(looker.Reserve(ctx, pay(101))), reason.BudgetExceeded)
	for range 3 {
		flush(t, rdb)
		must(t, second(looker.Rearm(ctx, acme))) // before anybody has noticed; it has nothing to put back
		denied(t, second(looker.Reserve(ctx, pay(1))), reason.KeyUnknown)
		must(t, second(a.Reassert(ctx, acme)))
		pays(t, a, 1)
		denied(t, second(looker.Reserve(ctx, pay(101))), reason.BudgetExceeded)

		flush(t, rdb)
		frozen(t, a)
		must(t, second(made(t, rdb, nil).Rearm(ctx, acme))) // which knows of nothing
		must(t, second(a.Reassert(ctx, acme)))
		pays(t, a, 1)
		denied(t, second(looker.Reserve(ctx, pay(101))), reason.BudgetExceeded)
	}
	must(t, a.Close())
}

func TestAProcessThatWasIdleOverSeveralRearmsRaisesNoAlarm(t *testing.T) {
	rdb := client(t, redistest.Start(t))
	idle, l := opened(t, rdb, 100), made(t, rdb, nil)
	pays(t, idle, 1)
	for range 3 {
		must(t, second(l.Rearm(ctx, acme)))
		pays(t, l, 1)
	}
	pays(t, idle, 1)
	must(t, idle.Close())
	must(t, l.Close())
}

// Slot by slot, whatever the order in which reservations come back; and what was adjusted as adjusted.
func TestARearmPutsRollingWindowsBack(t *testing.T) {
	rdb, clock := client(t, redistest.Start(t)), ledgertest.NewClock()
	l := made(t, rdb, &redisledger.Options{Now: clock.Now})
	must(t, l.Open(ctx, ledger.Key{Tenant: acme, ID: "k"}))
	must(t, l.SetBudget(ctx, acme, team(10_000)))
	for i := range 40 {
		r := pay(int64(100 + i))
		r.Expires = clock.Now().Add(time.Hour)
		r.Budgets = append(r.Budgets[1:], ledger.Budget{Name: "day", Of: "parent", Meter: cost.Spend, Currency: "USD", Limit: 9_000, Window: cost.Rolling(24 * time.Hour), AlertAt: []int{50}})
		h := admit(t, l, r)
		if i%3 == 0 {
			must(t, second(l.Settle(ctx, h, settled(int64(50+i)))))
		}
		if i%6 == 0 {
			must(t, second(l.Adjust(ctx, acme, h.ID, ledger.Adjustment{ID: "a", Reason: "late", Actual: usd(int64(20 + i))})))
		}
		clock.Add(30 * time.Minute)
	}
	before := amounts(t, rdb)
	for range 3 {
		flush(t, rdb)
		must(t, second(l.Rearm(ctx, acme)))
		same(t, amounts(t, rdb), before)
	}
}
