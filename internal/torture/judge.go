package main

import (
	"context"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/keybrake/keybrake-go/ledger"
)

// A tally is what has been done so far, and what was wrong.
type tally struct {
	seed  uint64
	out   io.Writer
	began time.Time

	ops, faults          atomic.Int64
	kept, denied, undone atomic.Int64 // of the losses; and histories without a verdict

	mu         sync.Mutex
	violations int
}

// wrong reports a violation.
func (s *stage) wrong(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.violations++
	fmt.Fprintf(s.out, "VIOLATION %d, %s, after %v, seed %d (of this part %d): %s\n",
		s.violations, s.name, time.Since(s.began).Round(time.Millisecond), s.tally.seed, s.seed, fmt.Sprintf(format, args...))
}

// patience is how long the search for an order may take, and the way back of a server.
const patience = 20 * time.Second

// ask asks until there is an answer, for so long: what is away comes back.
func ask(patience time.Duration, do func() Answer) Answer {
	a := do()
	for end := time.Now().Add(patience); a.Verdict == Unknown && time.Now().Before(end); {
		time.Sleep(2 * time.Millisecond)
		a = do()
	}
	return a
}

// judge looks at a tenant whose store has kept everything, when its clients have ended.
func (s *stage) judge(h *History, oracle *Oracle, l ledger.Ledger) {
	balances := s.balances(h, l)
	s.ops.Add(int64(h.size()))
	s.ordered(h)
	s.covers(h, oracle, balances)
	s.conserves(h, l)
}

// balances asks for the balance of each key, as part of the history.
func (s *stage) balances(h *History, l ledger.Ledger) [keys]Answer {
	var out [keys]Answer
	for k := range out {
		out[k] = ask(patience, func() Answer {
			return h.do(99, Op{Verb: Balance, Tenant: h.Tenant, Key: k}, func(op Op) Answer { return op.Do(context.Background(), l) })
		})
		if out[k].Verdict != OK {
			s.wrong("%s: no balance of %s when all was over: %v", h.Tenant, keyID(k), out[k])
		}
	}
	return out
}

// ordered reports a history that is not linearizable.
func (s *stage) ordered(h *History) {
	wrong, done := h.check(patience)
	if !done {
		s.undone.Add(1)
	}
	if wrong != "" {
		s.wrong("%s  the whole history: %s", wrong, h.write())
	}
}

// covers compares the books with what was executed: no more than the highest limit that the team ever had, no more
// than a key's own, and nothing that the books do not show. What a vendor took above its bound is shown once it is
// settled; that every settle is booked is in the order of the answers.
func (s *stage) covers(h *History, oracle *Oracle, balances [keys]Answer) {
	executed := oracle.sums()
	var all int64
	for k, a := range balances {
		if a.Verdict != OK {
			return
		}
		all += executed[k]
		if own := a.Amounts[0]; own.Spent+own.Held < executed[k] || executed[k] > purseLimit {
			s.wrong("%s: %d was executed for %s; its books show %d spent and %d held of %d: %v",
				h.Tenant, executed[k], keyID(k), own.Spent, own.Held, purseLimit, oracle.ops)
		}
	}
	if team, highest := balances[0].Amounts[1], h.highest(); team.Spent+team.Held < all || all > highest {
		s.wrong("%s: %d was executed; the team's books show %d spent and %d held of %d at most: %v",
			h.Tenant, all, team.Spent, team.Held, highest, oracle.ops)
	}
}

// conserves looks up every reservation that was admitted: it is there, and all of them together are the amounts. What
// was late may arrive between two looks, so they are taken again until they agree.
func (s *stage) conserves(h *History, l ledger.Ledger) {
	wrong := s.differ(h, l)
	for end := time.Now().Add(2 * time.Second); wrong != "" && time.Now().Before(end); wrong = s.differ(h, l) {
		time.Sleep(10 * time.Millisecond)
	}
	if wrong != "" {
		s.wrong("%s: %s", h.Tenant, wrong)
	}
}

// differ is how the reservations and the amounts of a tenant differ, if they do.
func (s *stage) differ(h *History, l ledger.Ledger) string {
	var spent, held [keys]int64
	for _, op := range h.admitted() {
		var hold ledger.Hold
		var err error
		a := ask(patience, func() Answer { hold, err = l.Find(context.Background(), h.Tenant, op.id()); return judge(err) })
		if a.Verdict != OK {
			return fmt.Sprintf("%s was admitted and cannot be found: %v %v", op.id(), a, err)
		}
		for _, e := range hold.Entries {
			if e.Budget == purseName {
				spent[op.Key] += e.Booked
				held[op.Key] += e.Held
			}
		}
	}
	for k := range keys {
		op := Op{Verb: Balance, Tenant: h.Tenant, Key: k}
		a := ask(patience, func() Answer { return op.Do(context.Background(), l) })
		if a.Verdict != OK {
			return fmt.Sprintf("no balance of %s: %v", keyID(k), a)
		}
		// Where an answer was lost there may be reservations that nobody was told of. They are held.
		if own := a.Amounts[0]; own.Spent != spent[k] || own.Held < held[k] || !h.Retried && own.Held != held[k] {
			return fmt.Sprintf("the books of %s show %v; its reservations add up to %d spent and %d held", keyID(k), a, spent[k], held[k])
		}
	}
	return ""
}

// loses drives one tenant after another and has strike take something of the store away in the middle of it. After
// that nothing may be admitted, unless the books are whole. prepare comes before the clients and may be nil; strike
// calls stop when what the clients are told from then on need not be kept.
func (s *stage) loses(prepare func() error, strike func(stop func()) error) error {
	return s.again(func() error { return s.lose(prepare, strike) })
}

func (s *stage) lose(prepare func() error, strike func(stop func()) error) error {
	a, endA := s.setup().open()
	defer endA()
	b, endB := s.setup().open()
	defer endB()
	tenant := s.next()
	if err := s.furnish(a, tenant); err != nil {
		return err
	}
	if prepare != nil {
		if err := prepare(); err != nil {
			return err
		}
	}
	h := newHistory(tenant, wait)
	var stopped atomic.Bool
	d := &Drive{Seed: s.seed + uint64(s.tenant), Tenant: tenant, Clients: doers(a, b), Steps: 200, Final: true, Oracle: &Oracle{}, Stop: stopped.Load}
	ended := make(chan struct{})
	go func() { defer close(ended); d.run(h) }()
	s.pause(60 * time.Millisecond)
	s.faults.Add(1)
	at := int64(0)
	err := strike(func() { at = h.now(); stopped.Store(true) })
	<-ended
	if err != nil {
		return err
	}
	h.cut(at)
	s.ops.Add(int64(h.size()))
	s.aftermath(h, d)
	return nil
}

// aftermath asks both ledgers for a little more on every key. What is admitted must have been admitted on whole
// books: the history with these last answers can be put in order. No answer admits nothing either.
func (s *stage) aftermath(h *History, d *Drive) {
	admitted := []string{}
	number := d.Steps * len(d.Clients)
	for k := range keys {
		for _, do := range []Doer{d.Clients[0], d.Clients[len(d.Clients)-1]} {
			op := Op{Verb: Reserve, Tenant: h.Tenant, Key: k, Number: number, Amount: 1}
			number++
			if a := ask(time.Second, func() Answer { return h.do(99, op, do) }); a.Verdict == OK {
				admitted = append(admitted, fmt.Sprintf("%s of %s", op.id(), keyID(k)))
			}
		}
	}
	if len(admitted) == 0 {
		s.denied.Add(1)
		return
	}
	for k := range keys {
		ask(time.Second, func() Answer { return h.do(99, Op{Verb: Balance, Tenant: h.Tenant, Key: k}, d.Clients[0]) })
	}
	h.closed(99)
	wrong, done := h.check(patience)
	switch {
	case !done:
		s.undone.Add(1)
	case wrong == "":
		s.kept.Add(1)
	default:
		s.wrong("%s: admitted after a loss: %v: %s  the whole history: %s", h.Tenant, admitted, wrong, h.write())
	}
}
