package queries_test

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/keybrake/keybrake-go/audit"
	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/internal/auditgen"
)

// runsWorthTelling are runs with everything in them that can be told of one, by tenant and name.
func (o *oracle) runsWorthTelling() (list [][2]string) {
	seen := map[string]bool{}
	for _, r := range o.records {
		kind := ""
		switch {
		case slices.Contains([]string{auditgen.LoopRun, auditgen.DoubtRun, auditgen.StormRun, auditgen.DeclinedRun}, r.Run):
			kind = r.Run
		case r.Attached, r.Probe, r.Kind == audit.Reconciled, r.Outcome == audit.OutcomeNotExecuted, r.Reason == "budget_exceeded", r.Verdict == audit.Observe:
			kind = strings.Join([]string{string(r.Kind), r.Outcome, string(r.Reason), string(r.Verdict)}, " ")
		}
		if kind != "" && r.Run != "" && !seen[kind] {
			seen[kind] = true
			list = append(list, [2]string{r.Tenant, r.Run})
		}
		if r.Outcome == audit.OutcomeAdjusted && !seen[r.Outcome] {
			seen[r.Outcome] = true
			list = append(list, [2]string{r.Tenant, o.byID[[2]string{r.Tenant, r.CallID}].run})
		}
	}
	slices.SortFunc(list, func(x, y [2]string) int { return slices.Compare(x[:], y[:]) })
	return slices.Compact(list)
}

// story is what a run did: a row for each call and each amount of it.
func (o *oracle) story(tenant, run string) (list []row) {
	calls := map[string][]audit.Record{}
	for _, r := range o.records {
		if r.Tenant == tenant && r.Run == run && !r.Probe && (r.Kind == audit.Intent || r.Kind == audit.Outcome || r.Kind == audit.Denied) {
			calls[r.CallID] = append(calls[r.CallID], r)
		}
	}
	for id, said := range calls {
		first, refusals, status, request := said[0], int64(0), 0, ""
		state, why := "open", ""
		var lines []cost.Line
		for _, r := range said {
			if r.Kind == audit.Denied {
				refusals, state, why = refusals+max(1, r.Count), "denied", string(r.Reason)
			}
			if r.Outcome != "" {
				state, why = r.Outcome, string(r.Reason)
			}
			status, request = cmp.Or(r.Status, status), cmp.Or(r.VendorRequest, request)
			if len(r.Reserved) > 0 {
				lines = r.Reserved
			}
		}
		s := o.byID[[2]string{tenant, id}]
		if s != nil && s.outcome != "" {
			state, why = s.outcome, s.reason
		}
		head := columns(first.Time, id, cmp.Or(first.Reservation, id), first.Tool, first.Step, first.Operation, first.Verdict, state, why, refusals, status, request)
		if len(lines) == 0 {
			list = append(list, append(head, columns("", "", 0, 0, 0)...))
		}
		for _, l := range lines {
			booked, held := int64(0), int64(0)
			if l.Meter == cost.Calls {
				booked = 1
			} else if s != nil {
				booked, held = amountOf(s.booked, l), amountOf(s.held, l)
			}
			list = append(list, append(slices.Clone(head), columns(l.Meter, l.Currency, l.Amount, booked, held)...))
		}
	}
	return by(list, 0, 1, 12, 13)
}

func amountOf(lines []cost.Line, like cost.Line) (sum int64) {
	for _, l := range lines {
		if l.Meter == like.Meter && l.Currency == like.Currency {
			sum += l.Amount
		}
	}
	return sum
}

func (o *oracle) policyOf(run string) string {
	for _, r := range o.records {
		if r.Run == run && r.Policy != "" {
			return r.Policy
		}
	}
	return ""
}

// denials are refusals, counted on the day of the first that each record stands for.
func (o *oracle) denials(tenant string, from, until time.Time) (list []row) {
	counts, runs := map[string]int64{}, map[string]map[string]bool{}
	for _, r := range o.records {
		at := r.Time
		if !r.First.IsZero() {
			at = r.First
		}
		if r.Kind != audit.Denied || r.Tenant != tenant || at.Before(from) || !at.Before(until) {
			continue
		}
		why, budget := audit.Why{Rule: -1}, ""
		if len(r.Reasons) > 0 {
			why, budget = r.Reasons[0], r.Reasons[0].Budget
		} else if len(r.Budgets) > 0 {
			budget = r.Budgets[0].Name
		}
		key := strings.Join(columns(r.Reason, r.Policy, why.Of, why.Rule, why.Param, budget, r.Operation), "|")
		counts[key] += max(1, r.Count)
		if runs[key] == nil {
			runs[key] = map[string]bool{}
		}
		runs[key][r.Run] = true
	}
	for key, n := range counts {
		list = append(list, append(strings.Split(key, "|"), columns(n, len(runs[key]))...))
	}
	slices.SortFunc(list, func(x, y row) int {
		rule := cmp.Compare(number(x[3]), number(y[3]))
		return cmp.Or(cmp.Compare(number(y[7]), number(x[7])), slices.Compare(x[:3], y[:3]), rule, slices.Compare(x[4:], y[4:]))
	})
	return list
}

// doubts are the calls of which nobody has found out what became of them.
func (o *oracle) doubts() (list []row) {
	for _, s := range o.doubtful() {
		state := cmp.Or(s.outcome, "open")
		for _, l := range s.held {
			list = append(list, columns(s.tenant, s.run, s.agent, s.id, s.vendor, s.operation, state, s.began, s.reason, s.detail, l.Meter, l.Currency, l.Amount))
		}
	}
	return by(list, 7, 3, 10, 11)
}

func (o *oracle) doubtful() (list []*spend) {
	for _, s := range o.byID {
		if s.outcome == audit.OutcomeInDoubt || s.outcome == "" && s.began.Before(o.world.Until.Add(-time.Hour)) {
			list = append(list, s)
		}
	}
	return list
}

func (o *oracle) doubtSums() (list []row) {
	type total struct {
		calls, held int64
		oldest      time.Time
	}
	totals := map[string]total{}
	for _, s := range o.doubtful() {
		for _, l := range s.held {
			key := strings.Join(columns(s.tenant, l.Meter, l.Currency), "|")
			t := totals[key]
			if t.calls == 0 || s.began.Before(t.oldest) {
				t.oldest = s.began
			}
			t.calls, t.held = t.calls+1, t.held+l.Amount
			totals[key] = t
		}
	}
	for key, t := range totals {
		list = append(list, append(strings.Split(key, "|"), columns(t.calls, t.held, t.oldest)...))
	}
	return by(list, 0, 1, 2)
}

// near are the budgets that came within a tenth of their limits, in the eyes of runs that met them since a time.
func (o *oracle) near(since time.Time) (list []row) {
	type met struct {
		last            time.Time
		cap, peak, used int64
	}
	seen := map[string]met{} // by run and budget
	for _, r := range o.records {
		for _, b := range r.Budgets {
			key, _, _ := strings.Cut(r.Key, ".")
			owner, run := b.Of, r.Run
			if b.Shared {
				key, owner, run = "", "", ""
			}
			reset := int64(0)
			if !b.Reset.IsZero() {
				reset = b.Reset.UnixMicro()
			}
			name := strings.Join(columns(r.Run, r.Tenant, run, key, owner, b.Name, b.Meter, b.Currency, reset), "|")
			m := seen[name]
			m.last, m.cap = r.Time, b.Limit // records come in the order of their times
			m.peak = max(m.peak, b.Spent+b.Held)
			m.used = max(m.used, (b.Spent+b.Held)*1000/b.Limit)
			seen[name] = m
		}
	}
	type budget struct {
		met
		runs int
	}
	budgets := map[string]budget{}
	for name, m := range seen {
		if m.used < 900 || m.last.Before(since) {
			continue
		}
		_, name, _ = strings.Cut(name, "|")
		b := budgets[name]
		if m.last.After(b.last) {
			b.last = m.last
		}
		b.cap, b.peak, b.used, b.runs = max(b.cap, m.cap), max(b.peak, m.peak), max(b.used, m.used), b.runs+1
		budgets[name] = b
	}
	for name, b := range budgets {
		list = append(list, append(strings.Split(name, "|"), columns(b.cap, b.peak, b.used, b.runs, b.last)...))
	}
	return by(list, -11, 0, 1, 2, 3, 4, 5, 6, 7)
}

// outOfLine are runs that cost many times what the earlier ones with the label did.
func (o *oracle) outOfLine(tenant, label string, history, from, until time.Time, times, least int64) (list []row) {
	firsts := map[string]time.Time{}
	for _, r := range o.records {
		if r.Tenant == tenant && slices.Contains(r.Labels, label) && firsts[r.Run].IsZero() {
			firsts[r.Run] = r.Time
		}
	}
	costs := o.sums(func(s *spend) string { return s.run }, func(s *spend) bool {
		first := firsts[s.run]
		return s.tenant == tenant && !first.Before(history) && first.Before(until)
	})
	sums, runs := map[string]int64{}, map[string]int64{}
	each := func(do func(run, kind string, cost int64)) {
		for name, s := range costs {
			run, kind, _ := strings.Cut(name, "|")
			do(run, kind, s.cost+s.held)
		}
	}
	each(func(run, kind string, cost int64) {
		if firsts[run].Before(from) {
			sums[kind] += cost
			runs[kind]++
		}
	})
	each(func(run, kind string, cost int64) {
		if !firsts[run].Before(from) && runs[kind] >= least && cost/times > sums[kind]/runs[kind] {
			list = append(list, append(append(row{run}, strings.Split(kind, "|")...), columns(cost, sums[kind]/runs[kind], runs[kind])...))
		}
	})
	return by(list, -4, 0, 1, 2)
}

// againstVendor puts what the vendors say beside what calls did cost, on the days on which a vendor has said something.
func (o *oracle) againstVendor() (list []row) {
	asked, says := map[string]bool{}, map[string]int64{}
	for f, amount := range o.world.Figures() {
		if o.told(f) {
			account := strings.Join(columns(day(f.Day), f.Vendor, f.Credential), "|")
			asked[account] = true
			says[account+"|"+string(f.Meter)+"|"+string(f.Currency)] += amount
		}
	}
	account := func(s *spend) string { return strings.Join(columns(day(s.began), s.vendor, s.credential), "|") }
	booked := o.sums(account, func(s *spend) bool { return asked[account(s)] })
	for key := range says {
		if _, ok := booked[key]; !ok {
			booked[key] = sum{} // a line that the vendor alone has
		}
	}
	for key, b := range booked {
		if strings.HasSuffix(key, "|") {
			continue // counts have no currency
		}
		list = append(list, append(strings.Split(key, "|"), columns(b.cost, b.held, says[key], says[key]-b.cost)...))
	}
	return by(list, 0, 1, 2, 3, 4)
}

// projected adds to what the month has cost a seventh of the last week for each day that is left.
func (o *oracle) projected(tenant string, month, week, today time.Time, left int64) (list []row) {
	all := func(from time.Time) map[string]sum {
		return o.sums(func(s *spend) string { return "" }, func(s *spend) bool { return s.tenant == tenant && s.between(from, today) })
	}
	far, last := all(month), all(week)
	for key := range last {
		if _, ok := far[key]; !ok {
			far[key] = sum{}
		}
	}
	for key, s := range far {
		if strings.HasSuffix(key, "|") {
			continue // counts have no currency
		}
		soFar, lastWeek := s.cost+s.held, last[key].cost+last[key].held
		list = append(list, append(strings.Split(key, "|")[1:], columns(soFar, lastWeek, soFar+lastWeek*left/7)...))
	}
	return by(list, 0, 1)
}
