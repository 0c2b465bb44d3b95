package story_test

import (
	"fmt"
	"time"

	"pgregory.net/rapid"

	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/ledger"
)

// What stories are made of. The first of each list is the plainest, to which a failing story is reduced.

var (
	tenants = []string{"acme", "ac:me{", "late"} // the last is opened in the middle of a story, if at all
	keys    = []string{"k1", "k2", "never opened"}
	objects = []string{"o1", "{o}2"}

	operations = []string{"v.a.b", "v.c.d"}

	// Shortly before the clocks change in the zones below, a month ends, or both.
	starts = []time.Time{
		time.Date(2026, 3, 2, 10, 0, 0, 0, time.UTC),
		time.Date(2026, 3, 28, 21, 30, 0, 0, time.UTC),         // Berlin, forwards
		time.Date(2026, 10, 24, 22, 30, 0, 0, time.UTC),        // Berlin, back
		time.Date(2026, 11, 1, 4, 59, 59, 999999000, time.UTC), // New York, back
		time.Date(2026, 4, 4, 13, 0, 0, 0, time.UTC),           // Lord Howe, by half an hour, and Santiago
		time.Date(2026, 9, 5, 20, 0, 0, 0, time.UTC),           // Santiago, over midnight
		time.Date(2026, 12, 31, 17, 0, 0, 0, time.UTC),
	}

	spans = []struct {
		cost.Window
		zone string
	}{
		{cost.Lifetime, ""}, {cost.Day, ""}, {cost.Hour, ""}, {cost.Month, ""}, {cost.Rolling(time.Hour), ""}, {cost.Rolling(time.Minute), ""},
		{cost.Rolling(61 * time.Second), ""}, {cost.Rolling(24 * time.Hour), ""}, {cost.Rolling(7 * 24 * time.Hour), ""},
		{cost.Day, "Europe/Berlin"}, {cost.Hour, "Europe/Berlin"}, {cost.Month, "Europe/Berlin"}, {cost.Hour, "Asia/Kolkata"}, {cost.Day, "America/New_York"},
		{cost.Hour, "Australia/Lord_Howe"}, {cost.Day, "Australia/Lord_Howe"}, {cost.Day, "America/Santiago"}, {cost.Lifetime, "America/New_York"},
	}

	counted = []struct {
		meter    cost.Meter
		currency cost.Currency
	}{
		{cost.Spend, "USD"}, {cost.Calls, ""}, {cost.Charge, "USD"}, {cost.Fee, "USD"}, {cost.Units, ""}, {cost.Outflow, "USD"}, {cost.Spend, "EUR"},
	}
)

// one draws one of list.
func one[E any](t *rapid.T, label string, list []E) E { return rapid.SampledFrom(list).Draw(t, label) }

// upTo draws 0 to n.
func upTo(t *rapid.T, label string, n int64) int64 { return rapid.Int64Range(0, n).Draw(t, label) }

// rarely is true once in n times.
func rarely(t *rapid.T, label string, n int) bool {
	return rapid.IntRange(0, n-1).Draw(t, label+fmt.Sprintf(" if %d", n-1)) == n-1
}

// budget draws what a budget counts, and its limit.
func budget(t *rapid.T, name string, limit int64) ledger.Budget {
	span, what := one(t, "window", spans), one(t, "counts", counted)
	return ledger.Budget{
		Name: name, Meter: what.meter, Currency: what.currency, Limit: upTo(t, "limit", limit), Window: span.Window, Zone: span.zone,
		Operations: one(t, "operations", [][]cost.Pattern{nil, nil, {"v.a.*"}, {"v.c.d", "w.*"}}), AlertAt: alerts(t),
	}
}

func alerts(t *rapid.T) []int { return one(t, "alerts", [][]int{nil, {50}, {90, 50}, {1, 100}, {100}}) }

// purses draws the budgets of the keys' own. The first covers what most calls cost.
func purses(t *rapid.T) []ledger.Budget {
	first := budget(t, "purse", 120)
	first.Meter, first.Currency, first.Operations = cost.Spend, "USD", nil
	list := []ledger.Budget{first}
	for _, name := range one(t, "own budgets", [][]string{nil, {"purse"}, {"a:b", "?@="}, {"purse", "ü", "a:b", "purse"}}) {
		b := budget(t, name, 60)
		b.Of = one(t, "of", []string{"", "child", "@"})
		b.Observed = rapid.Bool().Draw(t, "observed")
		if !hasCounter(list, b) {
			list = append(list, b)
		}
	}
	return list
}

func hasCounter(list []ledger.Budget, b ledger.Budget) bool {
	for _, o := range list {
		if counterOf("", "", o) == counterOf("", "", b) {
			return true
		}
	}
	return false
}

// rows draws the shared budgets.
func rows(t *rapid.T) []ledger.Budget {
	var list []ledger.Budget
	for _, name := range one(t, "shared budgets", [][]string{nil, {"team"}, {"team", "a:b"}, {"team", "?", "x}"}}) {
		list = append(list, budget(t, name, 150))
	}
	return list
}

// lines draws a cost. Once in a while it is none that the books could hold. Amounts do not add up to 2^53: above that a
// rolling window in Redis is exact to a few micro-units only, and admits nothing.
func lines(t *rapid.T) []cost.Line {
	var l []cost.Line
	add := func(m cost.Meter, c cost.Currency, most int64) {
		l = append(l, cost.Line{Meter: m, Currency: c, Amount: upTo(t, string(m), most)})
	}
	if !rarely(t, "no charge", 5) {
		add(cost.Charge, "USD", 30)
	}
	if rarely(t, "has calls", 2) {
		add(cost.Calls, "", 2)
	}
	if rarely(t, "has fee", 4) {
		add(cost.Fee, "USD", 6)
	}
	if rarely(t, "has units", 5) {
		add(cost.Units, "", 5)
	}
	if rarely(t, "has outflow", 8) {
		add(cost.Outflow, "USD", 9)
	}
	if rarely(t, "has euros", 20) {
		add(cost.Charge, "EUR", 9)
	}
	if rarely(t, "is odd", 30) {
		l = append(l, one(t, "odd", []cost.Line{
			{Meter: cost.Charge, Currency: "USD", Amount: cost.Max / 64}, {Meter: cost.Fee, Currency: "USD", Amount: cost.Max + 1},
			{Meter: cost.Units, Amount: -1}, {Meter: cost.Spend, Currency: "USD", Amount: 1}, {Meter: cost.Fee, Amount: 1}, {Meter: "?", Amount: 1},
		}))
	}
	return l
}

// named draws the budgets that a call names: own ones and shared ones, with limits of the token's.
func (s *story) named(t *rapid.T) []ledger.Budget {
	var list []ledger.Budget
	if !rarely(t, "no purse", 12) {
		list = append(list, s.own[0])
	}
	for _, b := range s.own[1:] {
		if rapid.Bool().Draw(t, "names "+b.Name) {
			list = append(list, b)
		}
	}
	for _, b := range s.rows {
		if rapid.Bool().Draw(t, "names shared "+b.Name) {
			ref := ledger.Budget{Name: b.Name, Shared: true, Limit: one(t, "token's limit", []int64{ledger.NoLimit, ledger.NoLimit, 20, 70}), Observed: rarely(t, "observed", 4)}
			list = append(list, ref)
			if rarely(t, "twice", 8) {
				ref.Limit = upTo(t, "other limit", 60)
				list = append(list, ref)
			}
		}
	}
	if rarely(t, "odd budget", 40) {
		list = append(list, one(t, "odd", []ledger.Budget{
			{Name: "gone", Shared: true, Limit: ledger.NoLimit}, s.own[0], {Name: "team", Shared: true, Of: "child"},
			{Name: "nowhere", Meter: cost.Spend, Currency: "USD", Limit: 99, Window: cost.Day, Zone: "Local"},
			{Name: "never", Meter: cost.Spend, Currency: "USD", Limit: 99, Window: "fortnight"},
		}))
	}
	return list
}

// request draws a call.
func (s *story) request(t *rapid.T) ledger.Request {
	s.n++
	r := ledger.Request{
		Tenant: s.tenant(t), ID: fmt.Sprint("r", s.n), Nonce: fmt.Sprint("n", s.n), Key: one(t, "key", []string{keys[0], keys[0], keys[0], keys[1], keys[1]}),
		Expires: s.clock.Now().Add(1000 * time.Hour), Operation: one(t, "operation", operations), Lines: lines(t), Budgets: s.named(t),
		Deadline: one(t, "deadline", []time.Duration{time.Minute, 0, time.Microsecond, 90 * time.Minute, 30 * time.Hour}),
	}
	if rarely(t, "odd key", 20) {
		r.Key = keys[2]
	}
	if rarely(t, "expires", 15) {
		r.Expires = s.clock.Now().Add(one(t, "in", []time.Duration{0, -time.Hour, time.Microsecond}))
	}
	if !rarely(t, "no controls", 15) {
		r.Controls = ledger.Names(r.Key, "agent:"+r.Key, "run", []string{"l1", "l:2"}[:upTo(t, "labels", 2)], "v")
	}
	if rarely(t, "moves an object", 2) {
		r.Object = one(t, "object", objects)
	}
	if rarely(t, "has a claim", 3) {
		r.Claim = &ledger.Claim{
			ID: one(t, "claim", []string{"c1", "c{2"}), Fingerprint: "f", Memory: one(t, "memory", []time.Duration{23 * time.Hour, time.Hour}),
		}
		if rarely(t, "other body", 8) {
			r.Claim.Fingerprint = "g"
		}
	}
	r.Probing = rarely(t, "probing", 6)
	if r.Probing {
		r.Memo = one(t, "memo", []string{"", "a\nb;ü"})
	}
	if rarely(t, "has a repeat rule", 4) {
		// One window for a rule: for how long a shorter one is remembered is the ledger's own.
		rule := one(t, "rule", []ledger.Repeat{{ID: "x", Window: time.Hour}, {ID: "y:", Window: time.Second}, {ID: "z", Window: 24 * time.Hour}})
		rule.Most, rule.Observed = 1+upTo(t, "most", 2), rapid.Bool().Draw(t, "rule observed")
		r.Repeat = &rule
		if rarely(t, "odd rule", 20) {
			r.Repeat.Most = 0
		}
	}
	r.Read = rarely(t, "read", 10)
	if s.late != "" && rarely(t, "was released before", 2) {
		r.ID, s.late = s.late, ""
	}
	return r
}

// tenant draws one that is there.
func (s *story) tenant(t *rapid.T) string {
	if rarely(t, "other tenant", 8) {
		return one(t, "tenant", s.opened)
	}
	return s.opened[0]
}

// settlement draws what became of a call.
func settlement(t *rapid.T) ledger.Settlement {
	st := ledger.Settlement{Phase: one(t, "phase", []ledger.Phase{ledger.Settled, ledger.Pending, ledger.Settled, ledger.Pending, ledger.Doubt}), Actual: lines(t)}
	if rarely(t, "nothing so far", 3) {
		st.Actual = nil
	}
	if st.Phase == ledger.Pending {
		st.Held, st.Object = lines(t), one(t, "object", []string{"", objects[0], objects[1]})
	}
	if rarely(t, "not valid", 25) {
		st.Phase, st.Held = one(t, "wrong", []ledger.Phase{ledger.Settled, "", ledger.InFlight, ledger.Released}), []cost.Line{{Meter: cost.Charge, Currency: "USD", Amount: 1}}
	}
	return st
}

// control draws a control.
func (s *story) control(t *rapid.T) ledger.Control {
	c := one(t, "selector", []ledger.Control{
		{Key: keys[0]}, {Key: keys[1]}, {Run: "run"}, {Agent: "agent:" + keys[1]}, {Label: "l:2"}, {Vendor: "v"}, {}, {All: true}, {Key: keys[2]}, {Run: "another"},
		{Key: "k1", Run: "run"},
	})
	c.Verb = one(t, "verb", []ledger.Verb{ledger.Pause, ledger.Resume, ledger.Resume, ledger.Resume, ledger.Revoke})
	c.Reason = "because"
	if c.Tenant = s.tenant(t); rarely(t, "every tenant", 3) {
		c.Tenant = ""
	}
	if rarely(t, "odd verb", 20) {
		c.Verb = "stop"
	}
	return c
}
