package redisledger_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/internal/redistest"
	"github.com/keybrake/keybrake-go/ledger"
	"github.com/keybrake/keybrake-go/ledger/ledgertest"
	"github.com/keybrake/keybrake-go/ledger/memory"
	"github.com/keybrake/keybrake-go/ledger/redisledger"
)

// The reference and Redis are told the same, at random, and must answer the same and have the same books after
// every step. A failure prints the seed and the steps.
func TestRandomStoriesEndAsInTheReference(t *testing.T) {
	rdb := client(t, redistest.Start(t))
	rounds := 20
	if os.Getenv("KEYBRAKE_LONG") == "1" {
		rounds = 400
	}
	for seed := range rounds {
		flush(t, rdb)
		clock := ledgertest.NewClock()
		model := memory.New()
		model.Now = clock.Now
		s := &story{
			t: t, Rand: rand.New(rand.NewPCG(uint64(seed), 7)), clock: clock, seed: seed,
			ledgers: [2]ledger.Ledger{model, made(t, rdb, &redisledger.Options{Now: clock.Now, Timeout: 20 * time.Second})},
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
	steps    int
}

var (
	storyKeys   = []string{"k1", "k2", "k3"} // the last is never opened
	storyBudget = []ledger.Budget{
		{Name: "life", Meter: cost.Spend, Currency: "USD", Limit: 60, Window: cost.Lifetime},
		{Name: "hour", Meter: cost.Spend, Currency: "USD", Limit: 40, Window: cost.Hour, Zone: "Asia/Kolkata"},
		{Name: "fees", Meter: cost.Fee, Currency: "USD", Limit: 20, Window: cost.Day, Operations: []cost.Pattern{"v.a.*"}},
		{Name: "calls", Meter: cost.Calls, Limit: 25, Window: cost.Day},
		{Name: "euro", Meter: cost.Charge, Currency: "EUR", Limit: 30, Window: cost.Lifetime},
		{Name: "team", Shared: true, Limit: ledger.NoLimit},
		{Name: "team", Shared: true, Limit: 45},
		{Name: "month", Shared: true, Limit: ledger.NoLimit},
		{Name: "roll", Meter: cost.Spend, Currency: "USD", Limit: 50, Window: cost.Rolling(7 * time.Hour), AlertAt: []int{90, 50}},
		{Name: "rolls", Shared: true, Limit: ledger.NoLimit},
		{Name: "life", Of: "child", Meter: cost.Spend, Currency: "USD", Limit: 55, Window: cost.Day, AlertAt: []int{1, 100}},
		{Name: "?@=", Meter: cost.Calls, Limit: 20, Window: cost.Rolling(50 * time.Minute)},
		{Name: "life", Observed: true, Meter: cost.Spend, Currency: "USD", Limit: 30, Window: cost.Rolling(13 * time.Hour), AlertAt: []int{80}},
		{Name: "month", Shared: true, Limit: 20, Observed: true},
		{Name: "gone", Shared: true, Limit: ledger.NoLimit},
	}
	storyRows = []ledger.Budget{
		{Name: "team", Meter: cost.Spend, Currency: "USD", Limit: 90, Window: cost.Lifetime, AlertAt: []int{60}},
		{Name: "month", Meter: cost.Charge, Currency: "USD", Limit: 200, Window: cost.Month, Zone: "Europe/Berlin"},
		{Name: "rolls", Meter: cost.Spend, Currency: "USD", Limit: 120, Window: cost.Rolling(20 * time.Hour), AlertAt: []int{40, 70}},
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
		switch n := s.IntN(23); {
		case n < 8:
			s.reserve(i)
		case n < 13:
			s.settle()
		case n < 15:
			s.release()
		case n < 17:
			s.raise()
		case n < 18:
			s.stop()
		case n < 19:
			s.clock.Add((time.Duration(s.Int64N(int64(40*time.Hour))) - 8*time.Hour).Truncate(time.Microsecond))
			s.log = append(s.log, "clock "+s.clock.Now().String())
		case n < 21:
			s.adjust()
		case n < 22:
			s.acknowledge()
		default:
			b := storyRows[s.IntN(3)]
			b.Limit = s.Int64N(150)
			b.AlertAt = [][]int{nil, {50}, {30, 99}}[s.IntN(3)]
			if s.IntN(5) == 0 {
				b.Window = cost.Day
			}
			s.do(fmt.Sprintf("set %+v", b), func(l ledger.Ledger, _ int) (any, error) { return nil, l.SetBudget(ctx, acme, b) })
		}
		s.steps++
		s.compare()
		if s.t.Failed() {
			return
		}
	}
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
			got[i].Short = needs(d.Shortfalls)
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
		s.t.Errorf("seed %d: %s\nreference: %s\nredis:     %s", s.seed, what, w, g)
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
	var adjusted []string
	for _, a := range h.Adjustments {
		adjusted = append(adjusted, fmt.Sprint(a.ID, a.Reason, a.Actual, a.At.UnixMicro(), a.Deltas))
	}
	return []any{h.ID, h.Nonce, h.Key, h.Operation, h.Entries, h.Object, h.Phase, h.Deadline.UnixMicro(), h.Attached, h.Memo, h.Controls, adjusted}
}

// needs are shortfalls as text.
func needs(list []ledger.Shortfall) []string {
	var out []string
	for _, s := range list {
		out = append(out, fmt.Sprint(told([]ledger.State{s.State}), s.Need))
	}
	return out
}

// told are states without the operations, whose nil and empty are the same.
func told(states []ledger.State) []string {
	var out []string
	for _, st := range states {
		out = append(out, fmt.Sprint(st.Name, st.Shared, st.Of, st.Observed, st.Meter, st.Currency, st.Limit, st.Window, st.Zone, st.AlertAt,
			" spent ", st.Spent, " held ", st.Held, " from ", st.Start.UnixMicro(), " to ", max(0, st.Reset.UnixMicro())))
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
	s.do(fmt.Sprintf("reserve %+v claim %+v", r, r.Claim), func(l ledger.Ledger, i int) (any, error) {
		h, err := l.Reserve(ctx, r)
		holds[i] = h
		return []any{plain(h), needs(h.Would)}, err
	})
	if len(holds[0].Entries) == 0 && r.Read || holds[0].Attached && len(holds[0].States) == 0 {
		// What counts nothing leaves no record in Redis, and is another call when it is sent again.
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
		if s.IntN(3) > 0 && (b.Name != "gone" || s.IntN(15) == 0) && (b.Name != "euro" || s.IntN(3) == 0) {
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
	if s.IntN(4) == 0 {
		n := s.IntN(3)
		r.Repeat = &ledger.Repeat{ID: fmt.Sprint("n", n), Most: 1 + s.Int64N(3), Window: time.Duration(1+4*n) * time.Hour, Observed: s.IntN(3) == 0}
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
	return told(slices.DeleteFunc(slices.Clone(states), func(s ledger.State) bool { return s.Window != cost.Lifetime && s.Window.Rolls() == 0 }))
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
		return []any{plain(h), needs(h.Would)}, nil
	})
}

func (s *story) adjust() {
	holds, ok := s.pick()
	if !ok {
		return
	}
	a := ledger.Adjustment{ID: fmt.Sprint("a", s.IntN(4)), Actual: s.lines(), Reason: "später"}
	if s.IntN(3) == 0 {
		a.Actual = usd(s.Int64N(3)) // the same once in a while
	}
	s.do(fmt.Sprintf("adjust %s %+v", holds[0].ID, a), func(l ledger.Ledger, i int) (any, error) {
		r, err := l.Adjust(ctx, acme, holds[i].ID, a)
		return []any{r.Over, r.Strays, current(r.States)}, err
	})
}

func (s *story) acknowledge() {
	n := s.IntN(4)
	s.do(fmt.Sprintf("acknowledge %d", n), func(l ledger.Ledger, _ int) (any, error) {
		alerts, err := l.Alerts(ctx, acme)
		must(s.t, err)
		ids := []string{"unknown"}
		for _, a := range alerts[:min(n, len(alerts))] {
			ids = append(ids, a.ID)
		}
		return len(ids), l.Acknowledge(ctx, acme, ids...)
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
	var got [2][]any
	for i, l := range s.ledgers {
		open, err := l.InDoubt(ctx, acme)
		must(s.t, err)
		slices.SortFunc(open, func(a, b ledger.Hold) int { return cmpID(a.ID, b.ID) })
		for _, h := range open {
			got[i] = append(got[i], plain(h))
		}
		stopped := []string{"key:k1", "run:run-k2"}[:s.steps%3]
		unsettled, err := l.Unsettled(ctx, acme, stopped...)
		must(s.t, err)
		slices.SortFunc(unsettled, func(a, b ledger.Hold) int { return cmpID(a.ID, b.ID) })
		for _, h := range unsettled {
			got[i] = append(got[i], plain(h))
		}
		alerts, err := l.Alerts(ctx, acme)
		must(s.t, err)
		for _, a := range alerts {
			got[i] = append(got[i], []any{a.Kind, a.Key, a.Hold, told([]ledger.State{a.State}), a.Percent, a.Excess, a.At.UnixMicro()})
		}
		for _, h := range s.holds[max(0, len(s.holds)-8):] {
			found, err := l.Find(ctx, acme, h[0].ID)
			must(s.t, err)
			got[i] = append(got[i], plain(found))
		}
	}
	if !reflect.DeepEqual(got[0], got[1]) {
		s.same("records", got[0], got[1])
	}
}

func cmpID(a, b string) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}
