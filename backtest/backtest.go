// Package backtest tries a policy and its budgets on calls that were made before: which of them it would have refused,
// when and why. So a budget can be chosen before it is enforced. Records of a policy that is only observed
// (InsecureObserve) are the best to try on: their calls were all made.
//
// Budgets are judged by the ledger that enforces them, package memory, whose clock shows the time of each record, and
// rules by [policy.Decide]. A record does not hold everything that a rule looks at: no parameter, no recipient in clear,
// no country. What can be said without them is said; else the call is [Untold], never allowed or refused in silence.
//
// What a back-test cannot know is what the agent would have done after a refusal. It takes every later call as it was made.
package backtest

import (
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/keybrake/keybrake-go/audit"
	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/internal/books"
	"github.com/keybrake/keybrake-go/ledger"
	"github.com/keybrake/keybrake-go/policy"
	"github.com/keybrake/keybrake-go/reason"
)

// A Plan is what is tried.
type Plan struct {
	// Policy is what every call is judged by, as if it were enforced: InsecureObserve in it is ignored.
	Policy policy.Policy

	// PolicyOf, where it is set, is asked in place of Policy once for each issued key, with the first record of one of its
	// calls. nil leaves the calls of that key out.
	PolicyOf func(first audit.Record) *policy.Policy

	// Before are the policies that the calls were made under; a record names its own by a digest. With it, what a record
	// says of a rule that stands unchanged in the new policy is taken for the answer: parameters, countries and recipients
	// included. Without it, a call whose parameters matter is [Untold].
	Before []policy.Policy

	// Shared are the rows of the shared budgets, by tenant, as SetBudget would make them.
	Shared map[string][]policy.Budget

	// Try are other limits of the budgets above, each tried by itself with all else as planned.
	Try []Try

	// Late is how far back in time the next record may be: those of several processes are not quite in order. A record
	// that comes later than that is an error. Default: 30 seconds.
	Late time.Duration

	// Remember is for how long after its end a call's later corrections are still booked. Every call that cost is in
	// memory for that long, once for each limit that is tried. Default: 31 days, as a ledger's.
	Remember time.Duration

	// Each, where it is set, is told of every call as it is judged, in the order of time.
	Each func(Judged)
}

// A Try is another limit of one budget.
type Try struct {
	Budget string // its title, or the scope of a shared one: [policy.Budget.Title]
	Limit  policy.Amount
}

// A Verdict is what would have become of a call.
type Verdict string

// The verdicts.
const (
	Allowed Verdict = "allowed"
	Denied  Verdict = "denied"

	// Untold says that the rules look at something that the record does not hold, and that nothing else refuses the call.
	// In the books it counts as made.
	Untold Verdict = "untold"
)

// Judged is one call and what would have become of it.
type Judged struct {
	Record  audit.Record // the intent
	Verdict Verdict
	Reasons []Reason // why it would have been denied, or why that is not told; what the refusal would have named first
}

// A Reason is one objection, or one thing that the record does not tell.
type Reason struct {
	Code   reason.Code
	Rule   int    // index into the policy's rules; -1 when none names the operation, or a budget objects
	Param  string // the parameter at fault
	Budget string // the budget that does not cover it
	Detail string // of an untold call: what the record does not tell
}

// ErrOrder says that a record came too late: sort the records by time, or raise [Plan.Late].
var ErrOrder = errors.New("backtest: the records are not in the order of time")

// Replay tries plan on records, in the order of time. An error among the records ends it, as does a plan that is not valid:
// a report over a part would be read as one over all. A record that stands there twice counts once if the two are no
// further apart than Plan.Late. Replay is deterministic and does no I/O of its own.
//
// An amount is counted as it was reserved then, in the currency of the budgets of then. Calls of narrowed keys are judged
// by the issued key's policy and budgets alone; their own rules and budgets were enforced when the calls were made.
func Replay(records iter.Seq2[audit.Record, error], plan Plan) (Report, error) {
	if plan.Late == 0 {
		plan.Late = 30 * time.Second
	}
	if plan.Remember == 0 {
		plan.Remember = 31 * 24 * time.Hour
	}
	r, err := newReplay(plan)
	if err != nil {
		return Report{}, err
	}
	for rec, err := range inOrder(records, plan.Late) {
		if err == nil {
			err = r.take(rec)
		}
		if err != nil {
			return Report{}, err
		}
	}
	return r.report.finish()
}

// check refuses what no brake would take.
func (p Plan) check() error {
	for tenant, list := range p.Shared {
		for _, b := range list {
			if b.Scope == "" || b.Limit.IsZero() {
				return fmt.Errorf("backtest: tenant %s: budget %s is not a shared budget with a limit", tenant, b.Title())
			}
			if err := (policy.Policy{Budgets: []policy.Budget{b}}).Validate(); err != nil {
				return fmt.Errorf("backtest: tenant %s: %w", tenant, err)
			}
		}
	}
	for _, t := range p.Try {
		if _, err := t.Limit.MarshalText(); err != nil {
			return fmt.Errorf("backtest: the limit tried for budget %s: %w", t.Budget, err)
		}
	}
	return nil
}

// of reports whether t is a limit of b.
func (t Try) of(b ledger.Budget) bool { return t.Budget == b.Name && b.Limit != ledger.NoLimit }

// fits refuses a limit that counts something else than b does.
func (t Try) fits(b ledger.Budget) error {
	if t.Limit.Currency != b.Currency || t.Limit.Currency == "" && t.Limit.Meter != b.Meter {
		return fmt.Errorf("backtest: budget %s counts %s %s, and the limit tried is %s", b.Name, b.Meter, b.Currency, t.Limit)
	}
	return nil
}

// subject is one issued key's policy.
type subject struct {
	policy  policy.Policy
	budgets []ledger.Budget
}

func newSubject(p policy.Policy) (*subject, error) {
	if err := p.Validate(); err != nil {
		return nil, fmt.Errorf("backtest: %w", err)
	}
	p.InsecureObserve = false
	s := &subject{p, books.Of(p)}
	for i := range s.budgets {
		s.budgets[i].AlertAt = nil
	}
	return s, nil
}

// callsOnly is what a retry of the same spend reserves.
var callsOnly = []cost.Line{{Meter: cost.Calls, Amount: 1}}
