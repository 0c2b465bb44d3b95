package main

import (
	"math/rand/v2"
	"sync"
	"time"

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

	// Oracle executes what was admitted, and then a reservation ends by what happened, as it does with the brake. Without
	// one anybody ends it anyhow, which nobody should do and a ledger has to bear.
	Oracle *Oracle

	Stop func() bool // may be nil
}

// run returns when all clients have done their steps, or when Stop says so.
func (d *Drive) run(h *History) {
	var all sync.WaitGroup
	open := &pool{}
	for i, do := range d.Clients {
		all.Go(func() {
			c := &client{Drive: d, Rand: rand.New(rand.NewPCG(d.Seed, uint64(i))), number: i, ask: do, open: open, history: h}
			for step := 0; step < d.Steps && !d.stopped(); step++ {
				c.step(step)
			}
		})
	}
	all.Wait()
}

func (d *Drive) stopped() bool { return d.Stop != nil && d.Stop() }

// A client is one goroutine of an agent's process.
type client struct {
	*Drive
	*rand.Rand
	number  int
	ask     Doer
	open    *pool
	history *History
}

// do has op carried out. Without an answer it waits until the ledger answers again: else a server that is away would
// make a history of nothing but questions.
func (c *client) do(op Op) Answer {
	a := c.history.do(c.number, op, c.ask)
	probe := Op{Verb: Balance, Tenant: c.Tenant}
	for a.Verdict == Unknown && !c.stopped() && c.ask(probe).Verdict == Unknown {
		time.Sleep(2 * time.Millisecond)
	}
	return a
}

// step does one thing. Every draw is made, used or not, so that the plan does not depend on what others did.
func (c *client) step(n int) {
	what, key, amount, spent, pick, scope, limit := c.IntN(100), c.IntN(keys), 1+c.Int64N(9), c.IntN(20), c.Int(), c.IntN(5), c.Int64N(2*teamLimit)
	op := Op{Tenant: c.Tenant, Key: key}
	switch {
	case what < 45:
		op.Verb, op.Number, op.Amount, op.Actual = Reserve, n*len(c.Clients)+c.number, amount, amount
		if spent == 0 {
			op.Actual += 2
		} else if spent < 7 {
			op.Actual /= 2
		}
		op.Executed = pick%5 != 0
		c.reserve(op, pick)
	case what < 72:
		c.end(pick, Settle)
	case what < 82:
		c.end(pick, Release)
	case what < 84:
		c.end(pick, Doubt)
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
func (c *client) reserve(op Op, pick int) {
	a := c.do(op)
	op.Hold = a.Hold
	switch {
	case a.Verdict == Unknown:
		op.Verb, op.Hold = Release, op.gone()
		for a := c.do(op); a.Verdict == Unknown && !c.stopped(); {
			a = c.do(op)
		}
		return
	case a.Verdict != OK:
		return
	}
	if c.Oracle != nil && op.Executed {
		c.Oracle.execute(op)
	}
	if c.Oracle == nil || pick%11 != 0 { // else its agent has died
		c.open.put(op)
	}
}

// end takes a reservation, perhaps another client's, and ends it. One in five goes back, to be ended twice.
func (c *client) end(pick int, verb Verb) {
	op, ok := c.open.take(pick)
	if !ok {
		return
	}
	switch {
	case verb == Doubt:
		op.Verb = Doubt
	case c.Oracle == nil:
		op.Verb = verb
		if pick%4 == 0 {
			op.Actual = int64(pick) % (op.Amount + 1) // another than somebody else may have settled
		}
	case op.Executed:
		op.Verb = Settle
	default:
		op.Verb = Release
	}
	c.do(op)
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

// An Oracle is what the vendor executed. It asks no ledger.
type Oracle struct {
	mu  sync.Mutex
	ops []Op
}

func (o *Oracle) execute(op Op) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.ops = append(o.ops, op)
}

// sums are what was executed for each key, within what had been reserved for it.
func (o *Oracle) sums() (executed [keys]int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, op := range o.ops {
		executed[op.Key] += min(op.Actual, op.Amount)
	}
	return executed
}
