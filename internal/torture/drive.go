package main

import (
	"math/rand/v2"
	"sync"

	"github.com/keybrake/keybrake-go/ledger"
)

// A Doer carries operations out: a ledger in this process, or another process.
type Doer func(Op) Answer

// A Drive lets clients use one tenant at the same time. What each client wants is a function of the seed; which of
// the reservations it gets hold of depends on the others.
type Drive struct {
	Seed    uint64
	Tenant  string
	Clients []Doer // a ledger may be there several times
	Steps   int    // of each client
	Final   bool   // revokes are among the operations
	Stop    func() bool
}

// run returns when all clients have done their steps, or when Stop says so.
func (d *Drive) run(h *History) {
	var all sync.WaitGroup
	open := &pool{}
	for i, do := range d.Clients {
		all.Go(func() {
			c := &client{Drive: d, Rand: rand.New(rand.NewPCG(d.Seed, uint64(i))), number: i, ask: do, open: open, history: h}
			for step := range d.Steps {
				if d.Stop != nil && d.Stop() {
					return
				}
				c.step(step)
			}
		})
	}
	all.Wait()
}

// A client is one goroutine of an agent's process.
type client struct {
	*Drive
	*rand.Rand
	number  int
	ask     Doer
	open    *pool
	history *History
}

func (c *client) do(op Op) Answer { return c.history.do(c.number, op, c.ask) }

// step does one thing. Every draw is made, used or not, so that the plan does not depend on what others did.
func (c *client) step(n int) {
	what, key, amount, spent, pick, scope, limit := c.IntN(100), c.IntN(keys), 1+c.Int64N(9), c.IntN(20), c.Int(), c.IntN(5), c.Int64N(2*teamLimit)
	op := Op{Tenant: c.Tenant, Key: key}
	switch {
	case what < 45:
		op.Verb, op.Number, op.Amount = Reserve, n*len(c.Clients)+c.number, amount
		c.reserve(op)
	case what < 72:
		c.end(pick, func(op Op) Op {
			op.Verb, op.Actual = Settle, op.Amount
			if spent == 0 {
				op.Actual += 2
			} else if spent < 7 {
				op.Actual /= 2
			}
			return op
		})
	case what < 82:
		c.end(pick, func(op Op) Op { op.Verb = Release; return op })
	case what < 84:
		c.end(pick, func(op Op) Op { op.Verb = Doubt; return op })
	case what < 90:
		op.Verb, op.Control = Stop, ledger.Resume
		op.Scope = []Scope{ByRun, ByKey, ByTenant, ByTenant, ByKey}[scope]
		if spent < 5 {
			op.Control = ledger.Pause
		}
		c.do(op)
	case what == 90 && c.Final && spent < 6:
		op.Verb, op.Control, op.Scope = Stop, ledger.Revoke, ByRun
		c.do(op)
	case what < 94:
		op.Verb, op.Limit = SetBudget, limit
		c.do(op)
	default:
		op.Verb = Balance
		c.do(op)
	}
}

// reserve puts what was admitted where all find it, and gives back what was not answered, as the brake does.
func (c *client) reserve(op Op) {
	a := c.do(op)
	op.Hold = a.Hold
	switch a.Verdict {
	case OK:
		c.open.put(op)
	case Unknown:
		op.Verb, op.Hold = Release, op.gone()
		c.do(op)
	}
}

// end takes a reservation, perhaps another client's, and ends it. One in five goes back, to be ended twice.
func (c *client) end(pick int, how func(Op) Op) {
	if op, ok := c.open.take(pick); ok {
		c.do(how(op))
	}
}

// A pool is the reservations that somebody may end.
type pool struct {
	mu  sync.Mutex
	ops []Op
}

func (p *pool) put(op Op) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ops = append(p.ops, op)
}

func (p *pool) take(pick int) (Op, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.ops) == 0 {
		return Op{}, false
	}
	i := pick % len(p.ops)
	op := p.ops[i]
	if pick%5 != 0 {
		p.ops[i] = p.ops[len(p.ops)-1]
		p.ops = p.ops[:len(p.ops)-1]
	}
	return op, true
}
