package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/keybrake/keybrake-go"
	"github.com/keybrake/keybrake-go/internal/fakevendor"
	"github.com/keybrake/keybrake-go/internal/respproxy"
	"github.com/keybrake/keybrake-go/policy"
	"github.com/keybrake/keybrake-go/reason"
)

// A paid is a payment that an agent asked for, and what it got.
type paid struct {
	Payment
	run    int
	late   bool // asked for after the revoke of its run was acknowledged
	result Result
}

// unsent are the refusals that say that nothing was sent.
var unsent = []reason.Code{
	reason.BudgetExceeded, reason.BudgetMissing, reason.LedgerUnavailable, reason.KeyRevoked, reason.KeyPaused, reason.KeyFrozen,
	reason.KeyUnknown, reason.Unsent,
}

// brakeLimit is the team's, in cents: for about half of what is asked for.
const brakeLimit = 4000

// brake drives the whole brake in processes that are killed, over a faulty connection to Redis, at a vendor that
// fails in its own ways. The vendor's log is what was executed.
func (s *stage) brake() error {
	fake, err := fakevendor.Start()
	if err != nil {
		return err
	}
	defer fake.Close()
	issuer, err := keybrake.NewIssuer()
	if err != nil {
		return err
	}
	setup := BrakeSetup{Vendor: fake.Addr(), CA: fake.CA(), Public: issuer.Public()}
	direct, end := Setup{Redis: s.server.Addr(), Timeout: 10 * time.Second, Wait: 10 * time.Second}.open()
	defer end()
	config := setup.config(direct)
	config.Issuer = issuer
	operator, err := keybrake.New(context.Background(), config)
	if err != nil {
		return err
	}
	var agents [2]*mortal
	for i := range agents {
		agents[i] = &mortal{seed: s.seed + uint64(i), every: 25}
		agents[i].setup = Setup{Redis: s.proxy.Addr(), Timeout: 2 * time.Second, Wait: 300 * time.Millisecond, Brake: &setup}
		if err := agents[i].start(); err != nil {
			return err
		}
		defer agents[i].end()
	}
	cents := int64(100) // a payment is known by its amount
	return s.again(func() error {
		s.proxy.Plan(respproxy.Random(s.Uint64(), 12, 400*time.Millisecond, respproxy.Kinds...))
		cents, err = s.pay(operator, fake, agents[:], cents)
		return errors.Join(err, s.deaths(agents[0]), s.deaths(agents[1]))
	})
}

// pay is one tenant: two runs on one budget, agents of both in both processes, and a revoke of one in the middle.
func (s *stage) pay(operator *keybrake.Brake, fake *fakevendor.Server, agents []*mortal, cents int64) (int64, error) {
	ctx, tenant := context.Background(), s.next()
	fake.Reset()
	if err := operator.SetBudget(ctx, tenant, policy.Lifetime(policy.USD(fmt.Sprint(brakeLimit/100))).Shared("team")); err != nil {
		return 0, err
	}
	var keys [2]keybrake.Key
	for run := range keys {
		var err error
		if keys[run], err = operator.Issue(ctx, grant(tenant, runID(run))); err != nil {
			return 0, err
		}
	}
	s.misbehave(fake)
	const each = 16
	revoke := cents + int64(s.IntN(4*each))
	var revoked atomic.Bool
	var next atomic.Int64
	next.Store(cents)
	var mu sync.Mutex
	var all []paid
	var clients sync.WaitGroup
	for c := range 4 {
		clients.Go(func() {
			for range each {
				p := paid{Payment: Payment{Token: keys[c%2].Token(), Cents: next.Add(1)}, run: c % 2, late: c%2 == 1 && revoked.Load()}
				p.result = agents[c/2].Pay(p.Payment)
				mu.Lock()
				all = append(all, p)
				mu.Unlock()
				if p.Cents == revoke {
					if _, err := operator.Revoke(ctx, keybrake.ByRun(tenant, runID(1))); err == nil {
						revoked.Store(true)
					}
				}
			}
		})
	}
	clients.Wait()
	s.ops.Add(int64(len(all)))
	s.account(tenant, operator, fake, keys[0].Token(), all)
	return next.Load(), nil
}

// misbehave has the vendor fail in some of the next payments.
func (s *stage) misbehave(fake *fakevendor.Server) {
	ways := []fakevendor.FaultKind{
		fakevendor.DropBefore, fakevendor.DropAfter, fakevendor.Status, fakevendor.StatusAfter, fakevendor.HTML,
		fakevendor.HTMLAfter, fakevendor.BadJSON, fakevendor.Truncate, fakevendor.Delay,
	}
	for range 8 {
		fake.Misbehave(fakevendor.Fault{Method: "POST", Kind: ways[s.IntN(len(ways))], Delay: time.Duration(s.Int64N(int64(5 * time.Millisecond)))})
		s.faults.Add(1)
	}
}

// account compares what was executed with the limit, the books and what the agents were told.
func (s *stage) account(tenant string, operator *keybrake.Brake, fake *fakevendor.Server, token string, all []paid) {
	executed, times := int64(0), map[int64]int{} // before the books are read: they show it by then
	for _, e := range fake.Executions() {
		if e.Money {
			executed += e.Amount
			times[e.Amount/10_000]++
		}
	}
	states, err := operator.Balance(context.Background(), token)
	if err != nil {
		s.wrong("%s: no balance when all was over: %v", tenant, err)
		return
	}
	books := states[0]
	if executed > brakeLimit*10_000 || books.Spent+books.Held > books.Limit || books.Spent+books.Held < executed {
		s.wrong("%s: executed %d of %d; the books show %d spent and %d held: %v", tenant, executed, brakeLimit*10_000, books.Spent, books.Held, all)
	}
	for _, p := range all {
		n, refused := times[p.Cents], slices.Contains(unsent, reason.Code(p.result.Denial))
		switch {
		case n > 1:
			s.wrong("%s: a payment of %d cents was executed %d times: %+v", tenant, p.Cents, n, p.result)
		case n == 1 && refused:
			s.wrong("%s: a payment of %d cents was executed, and its agent told that nothing was sent: %+v", tenant, p.Cents, p.result)
		case n == 0 && p.result.Status == 200 && p.result.Denial == "":
			s.wrong("%s: a payment of %d cents was not executed, and its agent told that it was: %+v", tenant, p.Cents, p.result)
		case n == 1 && p.late:
			s.wrong("%s: a payment of %d cents was executed after the revoke of its run: %+v", tenant, p.Cents, p.result)
		}
	}
}
