package processtest_test

import (
	"fmt"
	"testing"

	"github.com/keybrake/keybrake-go"
	"github.com/keybrake/keybrake-go/policy"
	"github.com/keybrake/keybrake-go/reason"
)

const processes = 4

// atOnce makes the calls of all processes at the same time, and returns their results by process.
func (w *world) atOnce(t *testing.T, each int, of func(process, i int) Call) [processes][]Result {
	t.Helper()
	var running [processes]*process
	for p := range running {
		running[p] = w.start(t, nil)
	}
	var answers [processes]*pending
	for p, child := range running {
		calls := make([]Call, each)
		for i := range calls {
			calls[i] = of(p, i)
		}
		answers[p] = child.begin(calls...)
	}
	var results [processes][]Result
	for p, answer := range answers {
		results[p] = answer.wait(t)
	}
	return results
}

// runs issues a key for each of n runs.
func (w *world) runs(t *testing.T, n int, p policy.Policy) []keybrake.Key {
	t.Helper()
	keys := make([]keybrake.Key, n)
	for i := range keys {
		keys[i] = w.issue(t, grant("acme", fmt.Sprintf("run_%d", i), p))
	}
	return keys
}

// settled fails unless nothing is left behind and the budget agrees with the vendors.
func (w *world) settled(t *testing.T, tenant, token string) {
	t.Helper()
	w.balanced(t, w.books(t, token)[0])
	if left := w.doubts(t, tenant); len(left) > 0 {
		t.Errorf("left behind: %+v", left)
	}
}

func TestOfAThousandCallsExactlyThoseThatFitAreExecuted(t *testing.T) {
	const fit = 137
	for _, c := range []struct {
		name   string
		keys   int
		budget func(*testing.T, *world) policy.Budget
		call   Call
	}{
		{
			"refunds of 20 dollars, of four runs, on the 2740 that they share", 4,
			func(t *testing.T, w *world) policy.Budget { return w.share(t, "acme", "team:support", "2740") },
			Call{Op: Refund, Charge: "ch_1", Cents: 2000},
		},
		{
			"mails, of one key in four processes, on its own lifetime budget", 1,
			func(*testing.T, *world) policy.Budget { return policy.Lifetime(policy.USD("0.1233")) },
			Call{Op: Mail},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			w.fake.SeedCharge("ch_1", 100_000_000, "usd")
			keys := w.runs(t, c.keys, under(c.budget(t, w)))
			through := 0
			for _, results := range w.atOnce(t, 250, func(p, _ int) Call {
				call := c.call
				call.Token = keys[p%len(keys)].Token()
				return call
			}) {
				for _, r := range results {
					switch {
					case r.Err == "":
						through++
					case r.Denial.Reason != reason.BudgetExceeded:
						t.Fatalf("refused for another reason: %+v", r)
					}
				}
			}
			if through != fit || w.executed() != fit {
				t.Errorf("%d calls went through and %d were executed; %d fit", through, w.executed(), fit)
			}
			w.settled(t, "acme", keys[0].Token())
		})
	}
}

// amounts, in cents, that add up in many ways.
var amounts = []int64{301, 499, 750, 1100, 1337, 1999}

func TestOfAMixNoCallIsRefusedThatWouldStillFit(t *testing.T) {
	w := newWorld(t)
	team := w.share(t, "acme", "team:sales", "500")
	keys := w.runs(t, processes, under(team, policy.Lifetime(policy.USD("150"))))
	refused := 0
	for p, results := range w.atOnce(t, 40, func(p, i int) Call {
		return Call{Token: keys[p].Token(), Op: Payment, Cents: amounts[(p+i)%len(amounts)]}
	}) {
		books := w.books(t, keys[p].Token())
		for _, s := range books {
			if s.Spent > s.Limit || s.Held != 0 {
				t.Errorf("run %d: budget %s has spent %d and holds %d of %d", p, s.Name, s.Spent, s.Held, s.Limit)
			}
		}
		for _, r := range results {
			if r.Err == "" {
				continue
			}
			if r.Denial.Reason != reason.BudgetExceeded {
				t.Fatalf("refused for another reason: %+v", r)
			}
			refused++
			for _, s := range books {
				if s.Name == r.Denial.Budget && r.Denial.Need <= s.Left() {
					t.Errorf("run %d: refused %d although %s has %d left", p, r.Denial.Need, s.Name, s.Left())
				}
			}
		}
	}
	if refused == 0 {
		t.Error("nothing was refused")
	}
	w.settled(t, "acme", keys[0].Token())
}

func TestAMixThatFitsToTheCentIsExecutedWholeAndNotACentMore(t *testing.T) {
	w := newWorld(t)
	const each = 24 // four times all amounts
	cents := int64(0)
	for _, n := range amounts {
		cents += n * processes * each / int64(len(amounts))
	}
	keys := w.runs(t, processes, under(w.share(t, "acme", "team:sales", fmt.Sprintf("%d.%02d", cents/100, cents%100))))
	for _, results := range w.atOnce(t, each, func(p, i int) Call {
		return Call{Token: keys[p].Token(), Op: Payment, Cents: amounts[(p+i)%len(amounts)]}
	}) {
		for _, r := range results {
			if r.Err != "" {
				t.Fatalf("refused although it fits: %+v", r)
			}
		}
	}
	last := w.start(t, nil).call(t, Call{Token: keys[0].Token(), Op: Payment, Cents: 1})
	if last.Denial.Reason != reason.BudgetExceeded {
		t.Errorf("one cent more: %+v", last)
	}
	if n := w.executed(); n != processes*each {
		t.Errorf("%d executed", n)
	}
	w.settled(t, "acme", keys[0].Token())
}

func TestAProcessThatHasOnlyPublicKeysEnforcesAndCannotIssue(t *testing.T) {
	w := newWorld(t)
	p := w.start(t, nil)
	var token string
	err := p.rpc.Call("Child.Issue", "run_1", &token)
	if err == nil || err.Error() != keybrake.ErrNotIssuer.Error() || token != "" {
		t.Errorf("issue: %v", err)
	}
	key := w.issue(t, grant("acme", "run_1", under(policy.Lifetime(policy.USD("5")))))
	if r := p.call(t, Call{Token: key.Token(), Op: Payment, Cents: 400}); r.Err != "" {
		t.Errorf("within its budget: %+v", r)
	}
	if r := p.call(t, Call{Token: key.Token(), Op: Payment, Cents: 101}); r.Denial.Reason != reason.BudgetExceeded {
		t.Errorf("above its budget: %+v", r)
	}
	other := newWorld(t).issue(t, grant("acme", "run_1", under(policy.Lifetime(policy.USD("5")))))
	if r := p.call(t, Call{Token: other.Token(), Op: Payment, Cents: 1}); r.Denial.Reason != reason.KeyUntrusted {
		t.Errorf("a key of another issuer: %+v", r)
	}
	if n := w.executed(); n != 1 {
		t.Errorf("%d executed", n)
	}
}
