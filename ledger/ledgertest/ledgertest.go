// Package ledgertest states what a [ledger.Ledger] promises, one law a sentence, and tries each on an
// implementation. Run is for tests, Test for anything else. The kit is itself tested by ledgers that are broken
// on purpose: each must fail the law that it is named for.
//
// What is not tried: what becomes of the books when the store crashes, fails over or is restored. That differs
// between implementations, and each says so itself.
package ledgertest

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/keybrake/keybrake-go/ledger"
)

// A Clock is what the ledger under test must take for the time. It stands still until it is set.
type Clock struct {
	mu  sync.Mutex
	now time.Time
}

// NewClock returns a clock that shows a Monday morning in March 2026, UTC.
func NewClock() *Clock { return &Clock{now: time.Date(2026, 3, 2, 10, 0, 0, 0, time.UTC)} }

// Now is what the clock shows.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// Set makes the clock show t, which may be earlier.
func (c *Clock) Set(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = t
}

// Add moves the clock by d, which may be negative.
func (c *Clock) Add(d time.Duration) { c.Set(c.Now().Add(d)) }

// A Maker makes an empty ledger that reads the time from clock, and what ends it.
type Maker func(clock *Clock) (l ledger.Ledger, end func(), err error)

// A Law is one promise of the contract.
type Law struct {
	Name     string // stable: a failure is looked up by it
	Sentence string
	try      func(w *world)
}

// Laws returns all laws, in the order of the way of a call.
func Laws() []Law {
	return slices.Concat(keyLaws, limitLaws, currencyLaws, sharedLaws, windowLaws, rollingLaws, repeatLaws, observeLaws, narrowedLaws, settleLaws, memoLaws, releaseLaws, doubtLaws, claimLaws, raiseLaws, objectLaws, adjustLaws, alertLaws, overrunLaws, givenLaws, openLaws, leaseLaws, keepLaws, listLaws, controlLaws)
}

// Check tries the law on a new ledger. The error quotes the law's sentence.
func (l Law) Check(make Maker) (err error) {
	clock := NewClock()
	led, end, err := make(clock)
	if err != nil {
		return fmt.Errorf("%s: no ledger to try: %w", l.Name, err)
	}
	if end != nil {
		defer end()
	}
	defer func() {
		switch p := recover().(type) {
		case nil:
		case broken:
			err = fmt.Errorf("law %s is broken: %q: %s", l.Name, l.Sentence, string(p))
		default:
			panic(p)
		}
	}()
	w := newWorld(led, clock)
	l.try(w)
	return nil
}

// Test tries every law, each on a new ledger, and joins what is broken.
func Test(make Maker) error {
	var errs []error
	for _, l := range Laws() {
		errs = append(errs, l.Check(make))
	}
	return errors.Join(errs...)
}

// Run tries every law as a subtest of its own. make ends what it starts with t.Cleanup.
func Run(t *testing.T, make func(t *testing.T, clock *Clock) ledger.Ledger) {
	for _, l := range Laws() {
		t.Run(l.Name, func(t *testing.T) {
			err := l.Check(func(c *Clock) (ledger.Ledger, func(), error) { return make(t, c), nil, nil })
			if err != nil {
				t.Error(err)
			}
		})
	}
}
