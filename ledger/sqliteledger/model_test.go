package sqliteledger_test

import (
	"cmp"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/ledger"
	"github.com/keybrake/keybrake-go/ledger/ledgertest"
	"github.com/keybrake/keybrake-go/ledger/memory"
	"github.com/keybrake/keybrake-go/ledger/sqliteledger"
)

// The reference and SQLite are told the same, at random, and must answer the same and have the same books after
// every third step. A failure prints the seed and the steps.
func TestRandomStoriesEndAsInTheReference(t *testing.T) {
	rounds := 5
	if os.Getenv("KEYBRAKE_LONG") != "" {
		rounds = 200
	}
	for seed := range rounds {
		clock := ledgertest.NewClock()
		model := memory.New()
		model.Now = clock.Now
		s := &story{
			t: t, Rand: rand.New(rand.NewPCG(uint64(seed), 7)), clock: clock, seed: seed,
			ledgers: [2]ledger.Ledger{model, at(t, unsynced(t), &sqliteledger.Options{Now: clock.Now})},
		}
		s.tell(120)
		if t.Failed() {
			return
		}
	}
}

type story struct {
	*rand.Rand
	t        *testing.T
	seed     int
	clock    *ledgertest.Clock
	ledgers  [2]ledger.Ledger
	holds    [][2]ledger.Hold
	requests []ledger.Request
	log      []string
}

var (
	storyKeys   = []string{"k1", "k2", "k3"} // the last is never opened
	storyBudget = []ledger.Budget{
		{Name: "life", Meter: cost.Spend, Currency: "USD", Limit: 60, Window: cost.Lifetime, AlertAt: []int{90, 50}},
		{Name: "life", Of: "child", Meter: cost.Spend, Currency: "USD", Limit: 45, Window: cost.Lifetime},
		{Name: "life", Observed: true, Meter: cost.Spend, Currency: "USD", Limit: 15, Window: cost.Lifetime, AlertAt: []int{100}},
		{Name: "hour", Meter: cost.Spend, Currency: "USD", Limit: 40, Window: cost.Hour, Zone: "Asia/Kolkata", AlertAt: []int{30, 60}},
		{Name: "roll", Meter: cost.Spend, Currency: "USD", Limit: 50, Window: cost.Rolling(2 * time.Hour), AlertAt: []int{40, 80}},
		{Name: "roll", Of: "child", Observed: true, Meter: cost.Charge, Currency: "USD", Limit: 10, Window: cost.Rolling(7 * time.Minute)},
		{Name: "fees", Meter: cost.Fee, Currency: "USD", Limit: 20, Window: cost.Day, Operations: []cost.Pattern{"v.a.*"}},
		{Name: "calls", Meter: cost.Calls, Limit: 25, Window: cost.Day},
		{Name: "euro", Meter: cost.Charge, Currency: "EUR", Limit: 30, Window: cost.Lifetime},
		{Name: "team", Shared: true, Limit: ledger.NoLimit},
		{Name: "team", Shared: true, Limit: 45},
		{Name: "team", Shared: true, Limit: 20, Observed: true},
		{Name: "month", Shared: true, Limit: ledger.NoLimit},
		{Name: "rate", Shared: true, Limit: ledger.NoLimit},
		{Name: "gone", Shared: true, Limit: ledger.NoLimit},
	}
	storyRows = []ledger.Budget{
		{Name: "team", Meter: cost.Spend, Currency: "USD", Limit: 90, Window: cost.Lifetime, AlertAt: []int{75}},
		{Name: "month", Meter: cost.Charge, Currency: "USD", Limit: 200, Window: cost.Month, Zone: "Europe/Berlin"},
		{Name: "rate", Meter: cost.Calls, Limit: 12, Window: cost.Rolling(time.Hour), AlertAt: []int{50, 100}},
	}
	storyRepeats = []ledger.Repeat{
		{ID: "x", Most: 1, Window: 10 * time.Minute}, {ID: "y", Most: 2, Window: 3 * time.Hour}, {ID: "y", Most: 4, Window: 3 * time.Hour},
		{ID: "y", Most: 1, Window: 3 * time.Hour, Observed: true}, {ID: "z", Most: 1, Window: 30 * time.Hour, Observed: true},
	}
)

// answer is what of an error and a result must be the same.
type answer struct {
	Err    string
	Short  []string
	Result any
}

func (s *story) tell(steps int) {
	for _, k := range storyKeys[:2] {
		s.do("open "+k, func(l ledger.Ledger, _ int) (any, error) {
			return nil, l.Open(ctx, ledger.Key{Tenant: acme, ID: k, Expires: s.clock.Now().Add(1000 * time.Hour)})
		})
	}
	for _, b := range storyRows {
		s.do("set "+b.Name, func(l ledger.Ledger, _ int) (any, error) { return nil, l.SetBudget(ctx, acme, b) })
	}
	for i := range steps {
		switch n := s.IntN(24); {
		case n < 8:
			s.reserve(i)
		case n < 13:
			s.settle()
		case n < 15:
			s.release()
		case n < 17:
			s.raise()
		case n < 19:
			s.adjust()
		case n < 20:
			s.acknowledge()
		case n < 21:
			s.stop()
		case n < 22:
			s.turn(time.Duration(s.Int64N(int64(40*time.Hour))) - 8*time.Hour)
		case n < 23:
			s.turn(time.Duration(s.Int64N(int64(20*time.Minute))) - 2*time.Minute)
		default:
			b := storyRows[s.IntN(3)]
			b.Limit = s.Int64N(150)
			if s.IntN(5) == 0 && b.Name != "rate" {
				b.Zone = "Asia/Tokyo"
			}
			if s.IntN(2) == 0 {
				b.AlertAt = []int{s.IntN(100) + 1}
			}
			s.do(fmt.Sprintf("set %+v", b), func(l ledger.Ledger, _ int) (any, error) { return nil, l.SetBudget(ctx, acme, b) })
		}
		if i%3 == 0 || i == steps-1 {
			s.compare()
		}
		if s.t.Failed() {
			return
		}
	}
}

// turn moves the clock, by whole microseconds, which is what SQLite is told of it.
func (s *story) turn(by time.Duration) {
	s.clock.Add(by.Truncate(time.Microsecond))
	s.log = append(s.log, "clock "+s.clock.Now().String())
}

// do tells both ledgers and compares their answers.
func (s *story) do(what string, tell func(l ledger.Ledger, i int) (any, error)) {
	s.t.Helper()
	s.log = append(s.log, what)
	var got [2]answer
	for i, l := range s.ledgers {
		result, err := tell(l, i)
		got[i] = answer{Err: class(err), Result: result}
		if d := (*ledger.Denied)(nil); errors.As(err, &d) {
			got[i].Short = short(d.Shortfalls)
		}
	}
	s.same(what, got[0], got[1])
}

func (s *story) same(what string, want, got any) {
	s.t.Helper()
	if w, g := fmt.Sprintf("%+v", want), fmt.Sprintf("%+v", got); w != g && !s.t.Failed() {
		for _, line := range s.log {
			s.t.Log(line)
		}
		s.t.Errorf("seed %d: %s\nreference: %s\nsqlite:    %s", s.seed, what, w, g)
	}
}

// class is what a caller can tell of an error.
func class(err error) string {
	var d *ledger.Denied
	if err == nil {
		return ""
	}
	if errors.As(err, &d) {
		return "denied " + string(d.Code) + " " + d.Name
	}
	for _, known := range []error{ledger.ErrNoBudget, ledger.ErrBudgetFixed, ledger.ErrNoHold, ledger.ErrNoKey, ledger.ErrSettled, ledger.ErrOpen, ledger.ErrAdjusted} {
		if errors.Is(err, known) {
			return known.Error()
		}
	}
	return "other"
}

// plain is a hold without the times' inner representation.
func plain(h ledger.Hold) any {
	return []any{h.ID, h.Nonce, h.Key, h.Operation, h.Entries, h.Object, h.Phase, h.Deadline.UnixMicro(), micros(h.RetryUntil), h.Controls, h.Attached, h.Memo, short(h.Would)}
}

// micros is a time as SQLite keeps it, 0 for none.
func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

// told are states without the operations, whose nil and empty are the same.
func told(states []ledger.State) []string {
	var out []string
	for _, st := range states {
		out = append(out, fmt.Sprint(st.Name, " ", st.Shared, st.Of, st.Observed, st.Meter, st.Currency, st.Limit, st.Window, st.Zone, st.AlertAt,
			" spent ", st.Spent, " held ", st.Held, " ", micros(st.Start), " ", micros(st.Reset)))
	}
	return out
}

func short(list []ledger.Shortfall) (out []string) {
	for _, f := range list {
		out = append(out, fmt.Sprint(f.Need, " of ", told([]ledger.State{f.State})))
	}
	return out
}

// corrections are adjustments without the times' inner representation.
func corrections(list []ledger.Adjustment) (out []string) {
	for _, a := range list {
		out = append(out, fmt.Sprint(a.ID, a.Actual, a.Reason, micros(a.At), a.Deltas))
	}
	return out
}

func (s *story) reserve(i int) {
	var r ledger.Request
	if len(s.requests) > 0 && s.IntN(8) == 0 {
		r = s.requests[s.IntN(len(s.requests))] // sent again
		if s.IntN(3) == 0 {
			r.Nonce += "'"
		}
	} else {
		r = s.request(i)
	}
	var holds [2]ledger.Hold
	s.do(fmt.Sprintf("reserve %+v claim %+v repeat %+v", r, r.Claim, r.Repeat), func(l ledger.Ledger, i int) (any, error) {
		h, err := l.Reserve(ctx, r)
		holds[i] = h
		return plain(h), err
	})
	if r.Read {
		// A read that counts nothing leaves no record, any other one for an hour: then it is another call when it is
		// sent again.
		s.requests = slices.DeleteFunc(s.requests, func(o ledger.Request) bool { return o.ID == r.ID })
	} else {
		s.requests = append(s.requests, r)
	}
	if r.Read && !holds[0].Attached {
		return
	}
	if holds[0].ID != "" {
		s.holds = append(s.holds, holds)
	}
}

func (s *story) request(i int) ledger.Request {
	key := storyKeys[min(s.IntN(12), 19)%2]
	if s.IntN(30) == 0 {
		key = storyKeys[2]
	}
	r := ledger.Request{
		Tenant: acme, ID: fmt.Sprint("r", i), Nonce: fmt.Sprint("n", i), Key: key, Expires: s.clock.Now().Add(time.Duration(s.IntN(40)) * time.Hour),
		Controls: ledger.Names(key, "a", "run-"+key, []string{"l"}, "v"), Operation: []string{"v.a.b", "v.c.d"}[s.IntN(2)],
		Lines: s.lines(), Deadline: time.Duration(s.IntN(90)) * time.Minute, Read: s.IntN(12) == 0,
	}
	for _, b := range storyBudget {
		if s.IntN(5) > 1 && (b.Name != "gone" || s.IntN(15) == 0) && (b.Name != "euro" || s.IntN(3) == 0) {
			r.Budgets = append(r.Budgets, b)
		}
	}
	if s.IntN(3) == 0 {
		r.Object = fmt.Sprint("o", s.IntN(3))
	}
	if s.IntN(3) == 0 {
		r.Claim = &ledger.Claim{ID: fmt.Sprint("c", s.IntN(4)), Fingerprint: fmt.Sprint("f", s.IntN(8)/7), Memory: 23 * time.Hour}
		r.Probing = s.IntN(4) == 0
	}
	if s.IntN(3) == 0 {
		r.Repeat = &storyRepeats[s.IntN(len(storyRepeats))]
	}
	return r
}

func (s *story) lines() []cost.Line {
	var l []cost.Line
	if s.IntN(4) > 0 {
		l = append(l, cost.Line{Meter: cost.Charge, Currency: "USD", Amount: s.Int64N(25)})
	}
	if s.IntN(3) == 0 {
		l = append(l, cost.Line{Meter: cost.Fee, Currency: "USD", Amount: s.Int64N(5)})
	}
	if s.IntN(15) == 0 {
		l = append(l, cost.Line{Meter: cost.Charge, Currency: "EUR", Amount: s.Int64N(9)})
	}
	if s.IntN(2) == 0 {
		l = append(l, cost.Line{Meter: cost.Calls, Amount: 1})
	}
	return l
}

// pick is a hold that was returned some time ago, of late ones rather; as it was then, as it is found now, or
// bare of all but its id.
func (s *story) pick() ([2]ledger.Hold, bool) {
	if len(s.holds) == 0 {
		return [2]ledger.Hold{}, false
	}
	holds := s.holds[max(0, len(s.holds)-1-s.IntN(6))]
	switch s.IntN(6) {
	case 0:
		for i, l := range s.ledgers {
			if found, err := l.Find(ctx, acme, holds[i].ID); err == nil {
				holds[i] = found
			}
		}
	case 1:
		for i := range holds {
			holds[i] = ledger.Hold{Tenant: acme, ID: holds[i].ID}
		}
	}
	return holds, true
}

func (s *story) settle() {
	holds, ok := s.pick()
	if !ok {
		return
	}
	st := ledger.Settlement{Phase: []ledger.Phase{ledger.Settled, ledger.Settled, ledger.Pending, ledger.Doubt}[s.IntN(4)], Actual: s.lines()}
	if st.Phase == ledger.Pending {
		st.Held = s.lines()
		st.Object = []string{"", "o0", "o1", "o2"}[s.IntN(4)]
	}
	if s.IntN(2) == 0 {
		st.Memo = fmt.Sprint("memo", s.IntN(100))
	}
	s.do(fmt.Sprintf("settle %s %+v", holds[0].ID, st), func(l ledger.Ledger, i int) (any, error) {
		r, err := l.Settle(ctx, holds[i], st)
		return []any{r.Over, r.Strays, current(r.States)}, err
	})
}

// current leaves out what is told of windows that are over: how long it is remembered is the ledger's own.
func current(states []ledger.State) []string {
	life := slices.DeleteFunc(slices.Clone(states), func(s ledger.State) bool { return s.Window != cost.Lifetime && s.Window.Rolls() == 0 })
	return told(life)
}

func (s *story) release() {
	if holds, ok := s.pick(); ok {
		if s.IntN(10) == 0 {
			holds[0].ID, holds[1].ID = "unknown", "unknown"
		}
		unsent := s.IntN(2) == 0
		s.do(fmt.Sprintf("release %s phase %s unsent %t attached %t", holds[0].ID, holds[0].Phase, unsent, holds[0].Attached), func(l ledger.Ledger, i int) (any, error) {
			return nil, l.Release(ctx, holds[i], unsent)
		})
	}
}

func (s *story) adjust() {
	holds, ok := s.pick()
	if !ok {
		return
	}
	a := ledger.Adjustment{ID: fmt.Sprint("a", s.IntN(4)), Actual: s.lines(), Reason: "told"}
	s.do(fmt.Sprintf("adjust %s %+v", holds[0].ID, a), func(l ledger.Ledger, i int) (any, error) {
		r, err := l.Adjust(ctx, acme, holds[i].ID, a)
		return []any{r.Over, r.Strays, current(r.States)}, err
	})
}

func (s *story) acknowledge() {
	waiting, err := s.ledgers[0].Alerts(ctx, acme)
	must(s.t, err)
	names := []string{"nothing"}
	for _, a := range waiting {
		if s.IntN(2) == 0 {
			names = append(names, a.ID)
		}
	}
	s.do(fmt.Sprintf("acknowledge %q", names), func(l ledger.Ledger, _ int) (any, error) { return nil, l.Acknowledge(ctx, acme, names...) })
}

func (s *story) raise() {
	holds, ok := s.pick()
	if !ok {
		return
	}
	i := slices.IndexFunc(s.requests, func(r ledger.Request) bool { return r.ID == holds[0].ID })
	if i < 0 {
		return
	}
	r := s.requests[i]
	r.Lines, r.Memo, r.Expires = s.lines(), "memo", s.clock.Now().Add(time.Hour)
	if s.IntN(3) == 0 {
		r.Object = fmt.Sprint("o", s.IntN(3))
	}
	s.do(fmt.Sprintf("raise %s %+v", holds[0].ID, r), func(l ledger.Ledger, i int) (any, error) {
		h, err := l.Raise(ctx, holds[i], r)
		if err != nil {
			return nil, err
		}
		return plain(h), nil
	})
}

func (s *story) stop() {
	c := []ledger.Control{{Tenant: acme, Key: "k1"}, {Tenant: acme, Run: "run-k2"}, {Tenant: acme, Key: "k3"}, {Vendor: "v"}, {All: true}}[s.IntN(5)]
	c.Verb = []ledger.Verb{ledger.Pause, ledger.Resume, ledger.Resume}[s.IntN(3)]
	tell := func(l ledger.Ledger, _ int) (any, error) { _, err := l.Control(ctx, c); return nil, err }
	s.do(fmt.Sprintf("control %+v", c), tell)
	if c.Verb == ledger.Pause && s.IntN(2) == 0 {
		c.Verb = ledger.Resume
		s.do(fmt.Sprintf("control %+v", c), tell)
	}
	c = ledger.Control{Tenant: acme, Key: "k1", Verb: ledger.Resume} // thaws, so that the story goes on
	s.do("thaw", tell)
}

// compare looks at all the books.
func (s *story) compare() {
	s.t.Helper()
	for _, k := range storyKeys {
		var got [2]answer
		for i, l := range s.ledgers {
			states, err := l.Balance(ctx, acme, k, storyBudget[:len(storyBudget)-1])
			got[i] = answer{Err: class(err), Result: told(states)}
		}
		s.same("balance of "+k, got[0], got[1])
	}
	names := [][]string{nil, {"run:run-k1"}, {"run:nobody", "key:k2"}}[s.IntN(3)]
	var got [2][]any
	for i, l := range s.ledgers {
		doubt, err := l.InDoubt(ctx, acme)
		must(s.t, err)
		open, err := l.Unsettled(ctx, acme, names...)
		must(s.t, err)
		for _, list := range [][]ledger.Hold{doubt, open} {
			if !slices.IsSortedFunc(list, func(a, b ledger.Hold) int { return a.Deadline.Compare(b.Deadline) }) {
				s.t.Errorf("seed %d: not oldest first: %+v", s.seed, list)
			}
			slices.SortFunc(list, func(a, b ledger.Hold) int { return cmp.Compare(a.ID, b.ID) })
			for _, h := range list {
				got[i] = append(got[i], plain(h))
			}
			got[i] = append(got[i], "and")
		}
		for _, h := range s.holds[max(0, len(s.holds)-8):] {
			found, err := l.Find(ctx, acme, h[0].ID)
			must(s.t, err)
			got[i] = append(got[i], plain(found), corrections(found.Adjustments))
		}
		alerts, err := l.Alerts(ctx, acme)
		must(s.t, err)
		for _, a := range alerts {
			got[i] = append(got[i], a.ID, a.Kind, a.Key, a.Hold, told([]ledger.State{a.State}), a.Percent, a.Excess, micros(a.At))
		}
		for _, b := range storyRows {
			row, err := l.Budget(ctx, acme, b.Name)
			got[i] = append(got[i], row.Limit, row.AlertAt, class(err))
		}
	}
	for i := range min(len(got[0]), len(got[1])) {
		s.same("records", got[0][i], got[1][i])
	}
	s.same("number of records", len(got[0]), len(got[1]))
}
