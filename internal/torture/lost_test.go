package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/keybrake/keybrake-go/internal/redistest"
	"github.com/keybrake/keybrake-go/internal/respproxy"
	"github.com/keybrake/keybrake-go/ledger"
	"github.com/keybrake/keybrake-go/reason"
)

// A scene is a tenant for one verb that meets one fault.
type scene struct {
	tenant string
	direct ledger.Ledger // without faults
	first  Op            // a reservation of 8 that is open, unless the verb makes it
	second Op            // one of 5 that is open
}

// op is an operation of the scene's tenant.
func (s *scene) op(verb Verb, number int) Op {
	return Op{Verb: verb, Tenant: s.tenant, Number: number, Amount: []int64{8, 5, 7}[number]}
}

// A verb is one verb of the ledger. What it changes must be changed once, or not at all.
type verb struct {
	name  string
	do    func(s *scene, l ledger.Ledger) error
	spent int64 // by how much it changes what is spent and held, of 0 and 13
	held  int64
	reads bool                 // rows, by no script
	once  bool                 // it cannot be said again
	after func(s *scene) error // what else has to be so when it has been carried out; may be nil

	// undo is what somebody else says then, and what is late must not bring back; undone is that it stands. May be nil.
	undo, undone func(s *scene) error
}

var errNot = errors.New("not carried out as it was asked for")

// is turns a look into an error.
func is(ok bool, err error) error {
	if err == nil && !ok {
		err = errNot
	}
	return err
}

func (s *scene) phase(number int, want ledger.Phase) error {
	h, err := s.direct.Find(context.Background(), s.tenant, s.op(Reserve, number).id())
	return is(h.Phase == want, err)
}

// refuses fails unless a reserve of key 0 is refused with code; empty is that it is admitted, and given back.
func (s *scene) refuses(code reason.Code) error {
	op := Op{Verb: Reserve, Tenant: s.tenant, Number: 99, Amount: 1}
	a := op.Do(context.Background(), s.direct)
	if code != "" {
		return is(a.Verdict == string(code), nil)
	}
	op.Verb, op.Hold = Release, a.Hold
	return is(a.Verdict == OK && op.Do(context.Background(), s.direct).Verdict == OK, nil)
}

func (s *scene) limit(want int64) error {
	b, err := s.direct.Budget(context.Background(), s.tenant, teamName)
	return is(b.Limit == want, err)
}

func settlement(phase ledger.Phase, actual int64) ledger.Settlement {
	st := ledger.Settlement{Phase: phase}
	if phase != ledger.Doubt {
		st.Actual = usd(actual)
	}
	return st
}

func control(v ledger.Verb) func(*scene, ledger.Ledger) error {
	return func(s *scene, l ledger.Ledger) error {
		_, err := l.Control(context.Background(), ledger.Control{Verb: v, Tenant: s.tenant, Run: runID(0)})
		return err
	}
}

func settles(phase ledger.Phase, actual int64, held int64) func(*scene, ledger.Ledger) error {
	return func(s *scene, l ledger.Ledger) error {
		st := settlement(phase, actual)
		if held > 0 {
			st.Held, st.Object = usd(held), "object"
		}
		_, err := l.Settle(context.Background(), s.first.Hold, st)
		return err
	}
}

// verbs are all of the ledger.
var verbs = []verb{
	{name: "open", do: func(s *scene, l ledger.Ledger) error {
		return l.Open(context.Background(), ledger.Key{Tenant: s.tenant, ID: "new", Expires: time.Now().Add(time.Hour)})
	}, after: func(s *scene) error {
		_, err := s.direct.Balance(context.Background(), s.tenant, "new", []ledger.Budget{purse()})
		return err
	}},
	{name: "set budget", do: func(s *scene, l ledger.Ledger) error {
		return l.SetBudget(context.Background(), s.tenant, team(77))
	}, after: func(s *scene) error {
		return s.limit(77)
	}, undo: func(s *scene) error {
		return s.direct.SetBudget(context.Background(), s.tenant, team(66))
	}, undone: func(s *scene) error { return s.limit(66) }},
	{name: "budget", reads: true, do: func(s *scene, l ledger.Ledger) error {
		b, err := l.Budget(context.Background(), s.tenant, teamName)
		return is(b.Limit == teamLimit, err)
	}},
	{name: "balance", do: func(s *scene, l ledger.Ledger) error {
		states, err := l.Balance(context.Background(), s.tenant, keyID(0), budgets())
		return is(err != nil || states[0].Held == 13, err)
	}},
	{name: "find", reads: true, do: func(s *scene, l ledger.Ledger) error {
		h, err := l.Find(context.Background(), s.tenant, s.first.id())
		return is(h.Phase == ledger.InFlight, err)
	}},
	{name: "in doubt", reads: true, do: func(s *scene, l ledger.Ledger) error {
		holds, err := l.InDoubt(context.Background(), s.tenant)
		return is(len(holds) == 0, err)
	}},
	{name: "reserve", held: 7, do: func(s *scene, l ledger.Ledger) error {
		_, err := l.Reserve(context.Background(), s.op(Reserve, 2).request())
		return err
	}, after: func(s *scene) error { return s.phase(2, ledger.InFlight) }},
	{name: "reserve, given up after an error", once: true, do: func(s *scene, l ledger.Ledger) error {
		op := s.op(Reserve, 2)
		h, err := l.Reserve(context.Background(), op.request())
		if err != nil {
			h = op.gone()
		}
		return s.direct.Release(context.Background(), h, true)
	}, after: func(s *scene) error { return s.phase(2, ledger.Released) }},
	{name: "raise", held: 4, do: func(s *scene, l ledger.Ledger) error {
		r := s.first.request()
		r.Lines = usd(4)
		_, err := l.Raise(context.Background(), s.first.Hold, r)
		return err
	}, after: func(s *scene) error { return s.phase(0, ledger.InFlight) }},
	{name: "settle", spent: 6, held: -8, do: settles(ledger.Settled, 6, 0), after: func(s *scene) error { return s.phase(0, ledger.Settled) }},
	{name: "settle above the bound", spent: 9, held: -8, do: settles(ledger.Settled, 9, 0), after: func(s *scene) error { return s.refuses(reason.KeyFrozen) }},
	{name: "settle as pending", spent: 1, held: -4, do: settles(ledger.Pending, 1, 4), after: func(s *scene) error { return s.phase(0, ledger.Pending) }},
	{name: "settle as in doubt", do: settles(ledger.Doubt, 0, 0), after: func(s *scene) error { return s.phase(0, ledger.Doubt) }},
	{name: "release", held: -8, do: func(s *scene, l ledger.Ledger) error {
		return l.Release(context.Background(), s.first.Hold, true)
	}, after: func(s *scene) error { return s.phase(0, ledger.Released) }},
	{name: "pause", do: control(ledger.Pause), after: func(s *scene) error { return s.refuses(reason.KeyPaused) },
		undo:   func(s *scene) error { return control(ledger.Resume)(s, s.direct) },
		undone: func(s *scene) error { return s.refuses("") }},
	{name: "resume", do: control(ledger.Resume), after: func(s *scene) error { return s.refuses("") },
		undo:   func(s *scene) error { return control(ledger.Pause)(s, s.direct) },
		undone: func(s *scene) error { return s.refuses(reason.KeyPaused) }},
	{name: "revoke", do: control(ledger.Revoke), after: func(s *scene) error { return s.refuses(reason.KeyRevoked) }},
}

// books are spent and held of the key and of the team, which have to agree with each other, with the reservations
// and with the limits.
func (s *scene) books() (spent, held int64, err error) {
	states, err := s.direct.Balance(context.Background(), s.tenant, keyID(0), budgets())
	if err != nil {
		return 0, 0, err
	}
	var booked, open int64
	for n := range 3 {
		h, err := s.direct.Find(context.Background(), s.tenant, s.op(Reserve, n).id())
		if err != nil && !errors.Is(err, ledger.ErrNoHold) {
			return 0, 0, err
		}
		for _, e := range h.Entries {
			if e.Budget == purseName {
				booked += e.Booked
				open += e.Held
			}
		}
	}
	for _, st := range states {
		if st.Spent != booked || st.Held != open {
			return 0, 0, fmt.Errorf("%s has spent %d and holds %d; the reservations %d and %d", st.Name, st.Spent, st.Held, booked, open)
		}
		if st.Spent+st.Held > st.Limit {
			return 0, 0, fmt.Errorf("%s: %d spent and %d held are above %d", st.Name, st.Spent, st.Held, st.Limit)
		}
	}
	return booked, open, nil
}

// Every verb meets every fault on its first one to four requests: go-redis makes up to four. Then nothing is counted
// twice, the verb can be said again, and what comes late finds that it is over.
func TestNoLostReplyCountsTwice(t *testing.T) {
	addr := redistest.Start(t)
	direct, end := Setup{Redis: addr, Timeout: 20 * time.Second, Wait: 20 * time.Second}.open()
	t.Cleanup(func() { must(t, end()) })
	var all sync.WaitGroup
	slots := make(chan struct{}, 16) // most of them wait
	for i, v := range verbs {
		for _, kind := range respproxy.Kinds {
			if kind == respproxy.NoScript && v.reads {
				continue
			}
			for attempts := 1; attempts <= 4; attempts++ {
				slots <- struct{}{}
				all.Go(func() {
					defer func() { <-slots }()
					s := &scene{tenant: fmt.Sprintf("%d-%s-%d", i, kind, attempts), direct: direct}
					if err := s.play(addr, v, kind, attempts); err != nil {
						t.Errorf("%s, its first %d requests hit with %s: %v", v.name, attempts, kind, err)
					}
				})
			}
		}
	}
	all.Wait()
}

// play is one verb under one fault.
func (s *scene) play(addr string, v verb, kind respproxy.Kind, attempts int) error {
	if err := s.set(); err != nil {
		return err
	}
	proxy, err := respproxy.Start(addr, nil)
	if err != nil {
		return err
	}
	defer proxy.Close()
	wait := 20 * time.Second
	if kind == respproxy.DelayRequest || kind == respproxy.DelayReply {
		wait = 150 * time.Millisecond
	}
	far, end := Setup{Redis: proxy.Addr(), Timeout: time.Minute, Wait: wait}.open()
	defer end()
	if _, err := far.Balance(context.Background(), s.tenant, keyID(0), budgets()); err != nil { // it knows the budgets now
		return err
	}
	left, late := attempts, make(chan struct{})
	proxy.Plan(func(c respproxy.Command) respproxy.Fault {
		reads := c.Name == "HMGET" || c.Name == "HGETALL"
		if left == 0 || !c.Script() && !reads {
			return respproxy.Fault{}
		}
		left--
		return respproxy.Fault{Kind: kind, Until: late}
	})

	err = v.do(s, far)
	if proxy.Injected() == 0 {
		return errors.New("no fault was injected")
	}
	if err != nil && attempts < 4 && resent(kind, attempts) {
		return fmt.Errorf("go-redis sent it again, and yet: %w", err)
	}
	if errors.Is(err, ledger.ErrDeferred) { // the ledger itself says it again, until it is through
		if err = booked(far); err != nil {
			return err
		}
	}
	var denied *ledger.Denied
	if errors.As(err, &denied) {
		return fmt.Errorf("a lost reply made a refusal: %w", err)
	}
	if wrong := s.stands(v, err == nil); wrong != nil {
		return fmt.Errorf("after it (%v): %w", err, wrong)
	}
	if !v.once {
		if err := v.do(s, s.direct); err != nil {
			return fmt.Errorf("said again: %w", err)
		}
	}
	after := v.after
	if v.undo != nil && err == nil { // after an error it may be carried out whenever it likes
		if err := v.undo(s); err != nil {
			return fmt.Errorf("undone: %w", err)
		}
		after = v.undone
	}
	close(late)
	for proxy.Pending() > 0 {
		time.Sleep(time.Millisecond)
	}
	if err := s.stands(v, true); err != nil {
		return fmt.Errorf("after what was late: %w", err)
	}
	if after != nil {
		if err := after(s); err != nil {
			return fmt.Errorf("after what was late: %w", err)
		}
	}
	return nil
}

// booked waits until a ledger has booked what it has deferred.
func booked(l ledger.Ledger) error {
	waits, ok := l.(interface{ Deferred() int })
	if !ok {
		return errors.New("deferred by a ledger that does not say when it has booked it")
	}
	for deadline := time.Now().Add(30 * time.Second); waits.Deferred() > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			return fmt.Errorf("%d outcomes are still not booked", waits.Deferred())
		}
	}
	return nil
}

// resent are the faults after which go-redis sends the same again and it has to succeed. A NOSCRIPT makes it send
// the script whole. After a delay it is sent again too, and on a slow machine that may be too late as well.
func resent(kind respproxy.Kind, attempts int) bool {
	again := []respproxy.Kind{respproxy.DropBefore, respproxy.DropAfter, respproxy.ReadOnly, respproxy.Loading}
	return slices.Contains(again, kind) || kind == respproxy.NoScript && attempts == 1
}

// set furnishes the tenant, with two reservations open.
func (s *scene) set() error {
	if err := furnish(context.Background(), s.direct, s.tenant); err != nil {
		return err
	}
	for n, op := range []*Op{&s.first, &s.second} {
		*op = s.op(Reserve, n)
		a := op.Do(context.Background(), s.direct)
		if a.Verdict != OK {
			return errors.New(a.Err)
		}
		op.Hold = a.Hold
	}
	return nil
}

// stands fails unless the books show that the verb was carried out once; or not at all, where it did not say so. What a
// ledger has kept it may book between two looks, so they are taken again until they agree.
func (s *scene) stands(v verb, done bool) error {
	wrong := s.look(v, done)
	for end := time.Now().Add(2 * time.Second); wrong != nil && time.Now().Before(end); wrong = s.look(v, done) {
		time.Sleep(5 * time.Millisecond)
	}
	return wrong
}

func (s *scene) look(v verb, done bool) error {
	spent, held, err := s.books()
	if err != nil {
		return err
	}
	if spent == v.spent && held == 13+v.held || !done && spent == 0 && held == 13 {
		return nil
	}
	return fmt.Errorf("%d spent and %d held", spent, held)
}

// A reserve whose first request is slow is refused by its second, for lack of budget. Then there is room, and the
// first request arrives.
func TestARefusedReserveThatArrivesLate(t *testing.T) {
	s := &scene{tenant: "acme"}
	addr := redistest.Start(t)
	s.direct = opened(t, Setup{Redis: addr, Timeout: 10 * time.Second, Wait: 10 * time.Second})
	must(t, s.set())
	late, first := make(chan struct{}), true
	proxy, err := respproxy.Start(addr, func(c respproxy.Command) respproxy.Fault {
		if !c.Script() || !first {
			return respproxy.Fault{}
		}
		first = false
		return respproxy.Fault{Kind: respproxy.DelayRequest, Until: late}
	})
	must(t, err)
	t.Cleanup(func() { must(t, proxy.Close()) })
	far := opened(t, Setup{Redis: proxy.Addr(), Timeout: 10 * time.Second, Wait: 60 * time.Millisecond})

	op := s.op(Reserve, 2)
	op.Amount = purseLimit - 10
	a := op.Do(t.Context(), far)
	if reason.Code(a.Verdict) != reason.BudgetExceeded || proxy.Pending() != 1 {
		t.Fatalf("got %v with %d requests on their way, want a refusal with one", a, proxy.Pending())
	}
	must(t, s.direct.Release(t.Context(), s.first.Hold, true))
	close(late)
	for proxy.Pending() > 0 {
		time.Sleep(time.Millisecond)
	}
	_, err = s.direct.Find(t.Context(), s.tenant, op.id())
	if held := err == nil; held != lateDuplicates {
		t.Errorf("what was refused is held: %v (%v); lateDuplicates says %v", held, err, lateDuplicates)
	}
}
