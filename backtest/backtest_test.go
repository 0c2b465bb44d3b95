package backtest_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keybrake/keybrake-go/audit"
	"github.com/keybrake/keybrake-go/backtest"
	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/policy"
	"github.com/keybrake/keybrake-go/reason"
)

var day = time.Date(2026, 11, 20, 0, 0, 0, 0, time.UTC)

func at(h, m int) time.Time {
	return day.Add(time.Duration(h)*time.Hour + time.Duration(m)*time.Minute)
}

func seq(list ...audit.Record) iter.Seq2[audit.Record, error] {
	return func(yield func(audit.Record, error) bool) {
		for _, r := range list {
			if !yield(r, nil) {
				return
			}
		}
	}
}

const usd = 1_000_000

// loose is what the calls of these tests were made under.
var loose = policy.Policy{
	Allow: []policy.Rule{
		{Operation: "acme.refunds.create", Params: policy.Params{"reason": policy.OneOf("duplicate")}},
		{Operation: "acme.mails.*", Recipients: []string{"*@acme.com"}, Countries: []string{"US", "CA"}},
	},
	Budgets: []policy.Budget{policy.Lifetime(policy.USD("1000"))}, InsecureObserve: true,
}

// refund is a call of amount USD, made when and settled a second later.
func refund(key string, when time.Time, amount int64) []audit.Record {
	id := fmt.Sprint("r_", key, "_", when.Unix())
	r := audit.Record{
		Version: 1, ID: "e_" + id, Time: when, Kind: audit.Intent, CallID: id, Tenant: "acme", Run: "run_" + key, Key: key, Policy: loose.Digest(),
		Operation: "acme.refunds.create", Class: "outflow", Verdict: audit.Allow, Rules: []audit.Rule{{Rule: 0}},
		Reserved: []cost.Line{{Meter: cost.Outflow, Currency: "USD", Amount: amount * usd}, {Meter: cost.Calls, Amount: 1}},
	}
	o := r
	o.ID, o.Time, o.Kind, o.Outcome, o.Actual = "o_"+id, when.Add(time.Second), audit.Outcome, audit.OutcomeExecuted, r.Reserved[:1]
	return []audit.Record{r, o}
}

func but(list []audit.Record, change func(*audit.Record)) []audit.Record {
	list = slices.Clone(list)
	for i := range list {
		change(&list[i])
	}
	return list
}

func replay(t *testing.T, plan backtest.Plan, list ...[]audit.Record) (backtest.Report, string) {
	t.Helper()
	var told []string
	plan.Each = func(j backtest.Judged) {
		text := string(j.Verdict)
		for _, why := range j.Reasons {
			text += fmt.Sprintf(" %s/%d%s", why.Code, why.Rule, why.Budget)
		}
		told = append(told, text)
	}
	report, err := backtest.Replay(seq(slices.Concat(list...)...), plan)
	if err != nil {
		t.Fatal(err)
	}
	return report, strings.Join(told, "\n")
}

func with(budgets ...policy.Budget) backtest.Plan {
	p := loose
	p.Budgets = budgets
	return backtest.Plan{Policy: p, Before: []policy.Policy{loose}}
}

func TestWindowsFollowTheRecords(t *testing.T) {
	calls := slices.Concat(refund("k1", at(4, 30), 6), refund("k1", at(5, 10), 6), refund("k1", at(14, 0), 3), refund("k2", at(14, 1), 6))
	for name, c := range map[string]struct {
		budget policy.Budget
		want   string // a letter for each call
		need   int64
		when   int // the call at which the need was first reached
	}{
		"of a day":             {policy.Daily(policy.USD("10")), "adaa", 15, 2},
		"of a day elsewhere":   {policy.Daily(policy.USD("10")).In("America/New_York"), "aaaa", 9, 2}, // midnight is at 5:00 UTC
		"of an hour":           {policy.Hourly(policy.USD("10")), "aaaa", 6, 0},
		"rolling":              {policy.Rolling(time.Hour, policy.USD("10")), "adaa", 12, 1},
		"of a lifetime":        {policy.Lifetime(policy.USD("10")), "adaa", 15, 2},
		"of calls":             {policy.Lifetime(policy.Calls(2)), "aada", 3, 2},
		"of other operations":  {policy.Lifetime(policy.USD("1")).For("acme.mails.*"), "dddd", 0, -1}, // no budget counts the refunds
		"of another currency":  {policy.Lifetime(policy.Money("10", "EUR")), "dddd", 0, -1},
		"shared, of both keys": {policy.Scoped("team"), "aadd", 21, 3},
	} {
		t.Run(name, func(t *testing.T) {
			plan := with(c.budget)
			if c.budget.Limit.Meter == cost.Calls {
				plan.Policy.Budgets = append(plan.Policy.Budgets, policy.Lifetime(policy.USD("1000")))
			}
			plan.Shared = map[string][]policy.Budget{"acme": {policy.Daily(policy.USD("14")).Shared("team")}}
			report, told := replay(t, plan, calls)
			got := ""
			for _, line := range strings.Split(told, "\n") {
				got += line[:1]
			}
			if got != c.want || report.Calls != 4 || report.Denied != int64(strings.Count(c.want, "d")) || report.Untold != 0 {
				t.Errorf("%s, want %s: %+v", told, c.want, report)
			}
			if c.when < 0 {
				return
			}
			i := slices.IndexFunc(report.Budgets, func(b backtest.Budget) bool { return b.Name == c.budget.Title() })
			b, unit := report.Budgets[i], int64(usd)
			if b.Meter == cost.Calls {
				unit = 1
			}
			if first := calls[2*c.when]; b.Need.Amount != c.need*unit || b.Need.Call != first.CallID || !b.Need.At.Equal(first.Time) || b.Need.Run != first.Run {
				t.Errorf("needs %+v, want %d at call %d", b.Need, c.need, c.when)
			}
			if b.Peak.Amount > b.Limit || b.Denied != report.Denied {
				t.Errorf("%+v", b)
			}
			// The need is the least limit that refuses nothing.
			for _, more := range []int64{0, -1} {
				limit := policy.Amount{Value: b.Need.Amount + more, Currency: b.Currency}
				if b.Meter == cost.Calls {
					limit.Meter = cost.Calls
				}
				tried := plan
				tried.Try = []backtest.Try{{Budget: b.Name, Limit: limit}}
				if report, _ := replay(t, tried, calls); (report.Try[0].Denied == 0) != (more == 0) || report.Try[0].ByBudget != report.Try[0].Denied {
					t.Errorf("with %s: %+v", limit, report.Try[0])
				}
			}
		})
	}
}

func TestAReportNamesCausesAndRuns(t *testing.T) {
	plan := with(policy.Lifetime(policy.USD("10")), policy.Lifetime(policy.Calls(3)))
	plan.Policy.Allow = []policy.Rule{loose.Allow[0]}
	plan.Policy.Allow[0].MaxPerCall = policy.USD("9")
	mail := but(refund("k3", at(9, 0), 1), func(r *audit.Record) {
		r.CallID, r.Operation, r.Rules = "r_mail", "acme.mails.send", []audit.Rule{{Rule: 1}}
	})
	report, _ := replay(t, plan, refund("k1", at(1, 0), 6), refund("k1", at(2, 0), 6), refund("k1", at(3, 0), 4), refund("k2", at(4, 0), 12), refund("k1", at(5, 0), 0), refund("k1", at(6, 0), 1), mail)
	var got []string
	for _, c := range report.Causes {
		got = append(got, fmt.Sprintf("%s %s rule %d budget %q: %d, first %s %s", c.Verdict, c.Code, c.Rule, c.Budget, c.Calls, c.First.Call, c.First.At.Format("15:04")))
	}
	want := []string{
		fmt.Sprintf(`denied budget_exceeded rule -1 budget "lifetime 10.00 USD": 2, first r_k1_%d 02:00`, at(2, 0).Unix()),
		fmt.Sprintf(`denied max_per_call rule 0 budget "": 1, first r_k2_%d 04:00`, at(4, 0).Unix()),
		fmt.Sprintf(`denied budget_exceeded rule -1 budget "lifetime 3 calls": 1, first r_k1_%d 06:00`, at(6, 0).Unix()),
		`denied operation_denied rule -1 budget "": 1, first r_mail 09:00`,
	}
	if !slices.Equal(got, want) {
		t.Errorf("causes:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	var runs []string
	for _, r := range report.Runs {
		runs = append(runs, fmt.Sprintf("%s %d %d %d", r.Run, r.Calls, r.Denied, r.First.At.Hour()))
	}
	if want := []string{"run_k1 5 2 2", "run_k2 1 1 4", "run_k3 1 1 9"}; !slices.Equal(runs, want) {
		t.Errorf("runs %q, want %q", runs, want)
	}
}

func TestWhatARecordDoesNotHoldIsNotTold(t *testing.T) {
	call := refund("k1", at(1, 0), 6)
	mail := but(call, func(r *audit.Record) {
		r.Operation, r.Class, r.Rules = "acme.mails.send", "fee", []audit.Rule{{Rule: 1}}
		r.Reserved = []cost.Line{{Meter: cost.Fee, Currency: "USD", Amount: usd}, {Meter: cost.Calls, Amount: 1}}
		r.Actual = nil
	})
	// overruled is the call as observed, with rule 0's objections.
	overruled := func(why ...audit.Why) []audit.Record {
		return but(call, func(r *audit.Record) { r.Verdict, r.Reasons, r.Rules = audit.Observe, why, []audit.Rule{{Rule: -1}} })
	}
	change := func(i int, f func(*policy.Rule)) func(*backtest.Plan) {
		return func(p *backtest.Plan) {
			p.Policy.Allow = slices.Clone(loose.Allow)
			f(&p.Policy.Allow[i])
		}
	}
	for name, c := range map[string]struct {
		calls  []audit.Record
		change func(*backtest.Plan)
		want   string
	}{
		"the rule as it was": {call, nil, "allowed"},
		"a parameter's test that is new": {call, change(0, func(r *policy.Rule) {
			r.Params = policy.Params{"reason": loose.Allow[0].Params["reason"], "amount": policy.Max("5")}
		}), "untold param_denied/0"},
		"another test of it":                     {call, change(0, func(r *policy.Rule) { r.Params = policy.Params{"reason": policy.OneOf("fraudulent")} }), "untold param_denied/0"},
		"a test that passes all":                 {call, change(0, func(r *policy.Rule) { r.Params = policy.Params{"reason": policy.Any(), "more": policy.Any()} }), "allowed"},
		"a parameter that is not named any more": {call, change(0, func(r *policy.Rule) { r.Params = nil }), "untold param_denied/0"},
		"countries that are new":                 {call, change(0, func(r *policy.Rule) { r.Countries = []string{"US"} }), "untold param_denied/0"},
		"fewer countries":                        {mail, change(1, func(r *policy.Rule) { r.Countries = []string{"US"} }), "untold param_denied/1"},
		"more countries":                         {mail, change(1, func(r *policy.Rule) { r.Countries = []string{"US", "MX", "CA"} }), "allowed"},
		"other recipients":                       {mail, change(1, func(r *policy.Rule) { r.Recipients = []string{"a@acme.com"} }), "untold param_denied/1"},
		"more recipients": {mail, change(1, func(r *policy.Rule) {
			r.Recipients = append(r.Recipients, "*@b.com")
			r.Recipients = append([]string{"*@acme.com"}, r.Recipients...)
		}), "allowed"},
		"a limit that refuses it in any case": {call, change(0, func(r *policy.Rule) { r.Params, r.MaxPerCall = nil, policy.USD("5") }), "denied max_per_call/0"},
		"another rule that allows it": {call, func(p *backtest.Plan) {
			p.Policy.Allow = []policy.Rule{{Operation: "acme.*", Countries: []string{"US"}}, loose.Allow[0]}
		}, "allowed"},
		"a budget that refuses it in any case": {call, func(p *backtest.Plan) {
			p.Policy.Allow[0].Params = nil
			p.Policy.Budgets = []policy.Budget{policy.Lifetime(policy.USD("5"))}
		}, "denied budget_exceeded/-1lifetime 5.00 USD"},
		"the policy of then is not given": {call, func(p *backtest.Plan) { p.Before = nil }, "untold param_denied/0"},
		"it was made under another":       {but(call, func(r *audit.Record) { r.Policy = "0123" }), nil, "untold param_denied/0"},
		"of a narrowed key": {but(call, func(r *audit.Record) {
			r.Policy += ".0123"
			r.Key += ".abc"
			r.Rules = append(r.Rules, audit.Rule{Of: "k1.abc", Rule: 7})
		}), nil, "allowed"},
		"refused by the rule, and observed":        {overruled(audit.Why{Code: reason.ParamDenied, Rule: 0, Param: "reason"}), nil, "denied param_denied/0"},
		"that rule is another now":                 {overruled(audit.Why{Code: reason.ParamDenied, Rule: 0, Param: "reason"}), change(0, func(r *policy.Rule) { r.Params = policy.Params{"reason": policy.Any()} }), "untold param_denied/0"},
		"refused for its cost alone, and observed": {overruled(audit.Why{Code: reason.MaxPerCall, Rule: 0}), nil, "allowed"},
		"with more objections than are kept":       {overruled(slices.Repeat([]audit.Why{{Code: reason.MaxPerCall, Rule: 0}}, 32)...), nil, "untold param_denied/0"},
		"named by no rule then": {overruled(audit.Why{Code: reason.OperationDenied, Rule: -1}), func(p *backtest.Plan) {
			p.Policy.Allow = append(p.Policy.Allow, policy.Rule{Operation: "acme.*"})
			p.Policy.Allow = p.Policy.Allow[2:]
		}, "untold param_denied/0"},
		"a rule against repetition": {call, func(p *backtest.Plan) { p.Policy.Repeat = policy.Times(1, time.Hour) }, "untold repeat_exceeded/-1"},
	} {
		t.Run(name, func(t *testing.T) {
			plan := with(policy.Lifetime(policy.USD("100")))
			plan.Policy.Allow = slices.Clone(loose.Allow)
			if c.change != nil {
				c.change(&plan)
			}
			report, told := replay(t, plan, c.calls)
			if told != c.want {
				t.Errorf("%s, want %s", told, c.want)
			}
			if spent := report.Budgets; c.want[0] == 'u' && (len(spent) != 1 || spent[0].Peak.Amount == 0) {
				t.Errorf("what is not told is not in the books: %+v", spent)
			}
		})
	}
}

// A rule against repetition that refused nothing when it was observed refuses nothing when it is enforced.
func TestARepeatRuleThatStandsIsTold(t *testing.T) {
	before := loose
	before.Repeat = policy.Times(1, time.Hour)
	plan := backtest.Plan{Policy: before, Before: []policy.Policy{before}}
	call := but(refund("k1", at(1, 0), 6), func(r *audit.Record) { r.Policy = before.Digest() })
	again := but(refund("k1", at(1, 10), 6), func(r *audit.Record) {
		r.Policy, r.Verdict = before.Digest(), audit.Observe
		r.Reasons = []audit.Why{{Code: reason.RepeatExceeded, Rule: -1, Budget: "repeat"}}
	})
	if _, told := replay(t, plan, call, again); told != "allowed\nuntold repeat_exceeded/-1" {
		t.Error(told)
	}
}

func TestLaterWordsAreBookedWhereTheyBelong(t *testing.T) {
	first := refund("k1", at(1, 0), 8)
	word := func(kind audit.Kind, when time.Time, outcome string, amount int64) []audit.Record {
		r := audit.Record{Version: 1, ID: fmt.Sprint("w", when.Unix()), Time: when, Kind: kind, CallID: first[0].CallID, Tenant: "acme", Key: "k1", Outcome: outcome}
		if amount >= 0 {
			r.Actual = []cost.Line{{Meter: cost.Outflow, Currency: "USD", Amount: amount * usd}}
		}
		return []audit.Record{r}
	}
	doubt := []audit.Record{first[0], first[1]}
	doubt[1].Outcome, doubt[1].Actual = audit.OutcomeInDoubt, nil
	unsent := []audit.Record{first[0], first[1]}
	unsent[1].Kind, unsent[1].Outcome, unsent[1].Actual, unsent[1].Verdict = audit.Denied, "", nil, audit.Deny
	for name, c := range map[string]struct {
		list []audit.Record
		want string // of a call of 6 USD at 3:00, within 10
	}{
		"none":                              {first, "denied"},
		"adjusted to less":                  {slices.Concat(first, word(audit.Control, at(2, 0), audit.OutcomeAdjusted, 4)), "allowed"},
		"adjusted too late":                 {slices.Concat(first, word(audit.Control, at(4, 0), audit.OutcomeAdjusted, 4)), "denied"},
		"in doubt":                          {doubt, "denied"},
		"in doubt, and resolved":            {slices.Concat(doubt, word(audit.Control, at(2, 0), audit.OutcomeNotExecuted, -1)), "allowed"},
		"in doubt, and found at less":       {slices.Concat(doubt, word(audit.Reconciled, at(2, 0), audit.OutcomeExecuted, 3)), "allowed"},
		"in doubt, and not found":           {slices.Concat(doubt, word(audit.Reconciled, at(2, 0), audit.OutcomeNotExecuted, -1)), "allowed"},
		"in doubt, and nothing to be found": {slices.Concat(doubt, word(audit.Reconciled, at(2, 0), audit.OutcomeInDoubt, -1)), "denied"},
		"never sent":                        {unsent, "allowed"},
		"no outcome":                        {first[:1], "denied"},
		"above its bound":                   {slices.Concat(first[:1], but(first[1:], func(r *audit.Record) { r.Actual = []cost.Line{{Meter: cost.Outflow, Currency: "USD", Amount: 9 * usd}} })), "denied"},
	} {
		t.Run(name, func(t *testing.T) {
			list := slices.Concat(c.list, refund("k1", at(3, 0), 6))
			slices.SortStableFunc(list, func(a, b audit.Record) int { return a.Time.Compare(b.Time) })
			_, told := replay(t, with(policy.Daily(policy.USD("10"))), list)
			if _, second, _ := strings.Cut(told, "\n"); !strings.HasPrefix(second, c.want) {
				t.Errorf("%s, want %s", second, c.want)
			}
		})
	}
}

func TestWhatWasRefusedThenStandsApart(t *testing.T) {
	denied := func(id, operation string, code reason.Code, n int64) []audit.Record {
		return []audit.Record{{Version: 1, ID: id, Time: at(1, 0), Kind: audit.Denied, CallID: id, Tenant: "acme", Key: "k1", Operation: operation, Class: "outflow", Verdict: audit.Deny, Reason: code, Count: n, First: at(0, 59)}}
	}
	report, told := replay(t, with(policy.Lifetime(policy.USD("10"))),
		denied("a", "acme.refunds.create", reason.BudgetExceeded, 12), denied("b", "acme.payouts.create", reason.OperationDenied, 0), denied("c", "", reason.KeyMalformed, 0), refund("k1", at(2, 0), 1)[1:])
	want := []backtest.Then{
		{Code: reason.BudgetExceeded, Rule: -1, Calls: 12, First: at(0, 59)},
		{Code: reason.KeyMalformed, Rule: -1, Calls: 1, First: at(0, 59)},
		{Code: reason.OperationDenied, Rule: -1, Calls: 1, Still: 1, First: at(0, 59)},
	}
	if !slices.Equal(report.Then, want) || told != "" || report.Calls != 0 || report.Before != 1 {
		t.Errorf("%+v", report)
	}
}

func TestRecordsComeInTheOrderOfTime(t *testing.T) {
	a, b := refund("k1", at(1, 0), 6), refund("k1", at(1, 0).Add(20*time.Second), 6)
	mixed := []audit.Record{b[0], a[0], b[1], a[1], a[0], b[0], a[1], b[1]} // of two processes, some of them twice
	report, told := replay(t, with(policy.Lifetime(policy.USD("10"))), mixed)
	if !strings.HasPrefix(told, "allowed\ndenied") || report.Causes[0].First.Call != b[0].CallID || report.Calls != 2 || report.Before != 0 {
		t.Errorf("%s: %+v", told, report)
	}
	late := slices.Concat(refund("k1", at(2, 0), 1), refund("k1", at(3, 0), 1), a)
	if _, err := backtest.Replay(seq(late...), with(policy.Lifetime(policy.USD("10")))); !errors.Is(err, backtest.ErrOrder) || !strings.Contains(err.Error(), a[0].ID) {
		t.Errorf("a record that comes hours late: %v", err)
	}
	broken := func(yield func(audit.Record, error) bool) {
		_ = yield(a[0], nil) && yield(audit.Record{}, errors.New("line 2"))
	}
	if _, err := backtest.Replay(broken, with(policy.Lifetime(policy.USD("10")))); err == nil || !strings.Contains(err.Error(), "line 2") {
		t.Errorf("a line that is no record: %v", err)
	}
}

func TestPlansThatMeanNothingAreRefused(t *testing.T) {
	good := with(policy.Lifetime(policy.USD("10")))
	for name, change := range map[string]func(*backtest.Plan){
		"allow[0]":        func(p *backtest.Plan) { p.Policy.Allow = []policy.Rule{{Operation: "Acme!"}} },
		"called \"daily":  func(p *backtest.Plan) { p.Try = []backtest.Try{{Budget: "daily 10.00 USD", Limit: policy.USD("1")}} },
		"limit tried is":  func(p *backtest.Plan) { p.Try = []backtest.Try{{Budget: "lifetime 10.00 USD", Limit: policy.Calls(1)}} },
		"the limit tried": func(p *backtest.Plan) { p.Try = []backtest.Try{{Budget: "lifetime 10.00 USD", Limit: policy.USD("x")}} },
		"not a shared":    func(p *backtest.Plan) { p.Shared = map[string][]policy.Budget{"acme": {policy.Daily(policy.USD("1"))}} },
	} {
		plan := good
		change(&plan)
		if _, err := backtest.Replay(seq(refund("k1", at(1, 0), 1)...), plan); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	plan := good
	plan.PolicyOf = func(r audit.Record) *policy.Policy {
		if r.Key == "k2" {
			return nil
		}
		return &good.Policy
	}
	report, err := backtest.Replay(seq(slices.Concat(refund("k1", at(1, 0), 1), refund("k2", at(1, 1), 1))...), plan)
	if err != nil || report.Calls != 1 || report.Left != 1 {
		t.Errorf("a key that is left out: %+v, %v", report, err)
	}
}

func TestAReportIsTheSameEachTime(t *testing.T) {
	var list []audit.Record
	for i := range 200 {
		list = append(list, refund(fmt.Sprint("k", i%7), at(0, i), int64(i%9))...)
	}
	plan := with(policy.Hourly(policy.USD("20")), policy.Daily(policy.USD("70")), policy.Lifetime(policy.Calls(15)))
	first, _ := replay(t, plan, list)
	if first.Denied == 0 || len(first.Causes) < 2 {
		t.Fatalf("%+v", first)
	}
	want, _ := json.Marshal(first)
	for range 5 {
		again, _ := replay(t, plan, list)
		if got, _ := json.Marshal(again); !bytes.Equal(got, want) || !reflect.DeepEqual(again, first) {
			t.Fatalf("%s\nwant %s", got, want)
		}
	}
}
