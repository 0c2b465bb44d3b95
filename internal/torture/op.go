package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/ledger"
)

// A Verb is what an [Op] does.
type Verb string

// The verbs of histories.
const (
	Reserve   Verb = "reserve"
	Settle    Verb = "settle"
	Doubt     Verb = "doubt" // settle, as in doubt
	Release   Verb = "release"
	Stop      Verb = "control"
	SetBudget Verb = "set budget"
	Balance   Verb = "balance"
)

// A Scope is what a control selects.
type Scope string

// The scopes of histories.
const (
	ByRun    Scope = "run"
	ByKey    Scope = "key"
	ByTenant Scope = "tenant"
)

// An Op is one verb as data, so that it can be sent to another process, kept in a history and judged by the model.
type Op struct {
	Verb     Verb
	Tenant   string
	Key      int         // number of the key, and of its run
	Number   int         // of the reservation, unique in its tenant
	Amount   int64       // reserved
	Actual   int64       // settled
	Executed bool        // by the vendor, if it is admitted
	Limit    int64       // of the shared budget
	Control  ledger.Verb // and Scope, of a control
	Scope    Scope
	Hold     ledger.Hold // what settle, doubt and release are given
}

// An Answer is what a ledger said.
type Answer struct {
	Verdict string      // ok, unknown, settled, no hold, or the code of a denial
	Err     string      // for people
	Hold    ledger.Hold // of a reserve
	Over    bool        // of a settle
	Amounts []Amount    // what the answer says of the budgets
}

// An Amount is a budget in an answer; Need in a denial alone, Limit where the answer is about limits.
type Amount struct {
	Name                     string
	Spent, Held, Limit, Need int64
}

// The verdicts that are no denial. Of an unknown one the operation may have been carried out, or may be yet.
const (
	OK        = "ok"
	Unknown   = "unknown"
	WasOther  = "settled with other amounts"
	NotThere  = "no such reservation"
	purseName = "purse"
	teamName  = "team"
)

// Every tenant of a history has these.
const (
	keys       = 3
	purseLimit = 60 // of each key's own budget
	teamLimit  = 100
)

func keyID(n int) string { return fmt.Sprintf("k%d", n) }
func runID(n int) string { return fmt.Sprintf("run%d", n) }

func purse() ledger.Budget {
	return ledger.Budget{Name: purseName, Meter: cost.Spend, Currency: "USD", Limit: purseLimit, Window: cost.Lifetime}
}

func team(limit int64) ledger.Budget {
	return ledger.Budget{Name: teamName, Shared: true, Meter: cost.Spend, Currency: "USD", Limit: limit, Window: cost.Lifetime}
}

func budgets() []ledger.Budget {
	return []ledger.Budget{purse(), {Name: teamName, Shared: true, Limit: ledger.NoLimit}}
}

func usd(n int64) []cost.Line { return []cost.Line{{Meter: cost.Charge, Currency: "USD", Amount: n}} }

// furnish makes the keys and the shared budget of a tenant.
func furnish(ctx context.Context, l ledger.Ledger, tenant string) error {
	var errs []error
	for k := range keys {
		errs = append(errs, l.Open(ctx, ledger.Key{Tenant: tenant, ID: keyID(k), Expires: time.Now().Add(24 * time.Hour)}))
	}
	return errors.Join(append(errs, l.SetBudget(ctx, tenant, team(teamLimit)))...)
}

// id is the reservation's.
func (o Op) id() string { return fmt.Sprintf("r%d", o.Number) }

// request is what a reserve asks for.
func (o Op) request() ledger.Request {
	return ledger.Request{
		Tenant: o.Tenant, ID: o.id(), Nonce: "n" + o.id(), Key: keyID(o.Key), Expires: time.Now().Add(24 * time.Hour),
		Controls:  ledger.Names(keyID(o.Key), "agent", runID(o.Key), nil, "v"),
		Operation: "v.things.buy", Lines: usd(o.Amount), Budgets: budgets(), Deadline: time.Hour,
	}
}

// gone is the hold that stands for a reserve that was not answered, as the brake makes it.
func (o Op) gone() ledger.Hold {
	r := o.request()
	return ledger.Hold{Tenant: r.Tenant, ID: r.ID, Nonce: r.Nonce, Key: r.Key, Operation: r.Operation, Phase: ledger.InFlight}
}

// Do carries the operation out.
func (o Op) Do(ctx context.Context, l ledger.Ledger) Answer {
	switch o.Verb {
	case Reserve:
		h, err := l.Reserve(ctx, o.request())
		a := judge(err)
		a.Hold = h
		if err == nil {
			a.Amounts = amounts(h.States, true)
		}
		return a
	case Settle:
		r, err := l.Settle(ctx, o.Hold, ledger.Settlement{Phase: ledger.Settled, Actual: usd(o.Actual)})
		a := judge(err)
		a.Over, a.Amounts = r.Over, amounts(r.States, false)
		return a
	case Doubt:
		_, err := l.Settle(ctx, o.Hold, ledger.Settlement{Phase: ledger.Doubt})
		return judge(err)
	case Release:
		return judge(l.Release(ctx, o.Hold, true))
	case Stop:
		_, err := l.Control(ctx, o.control())
		return judge(err)
	case SetBudget:
		return judge(l.SetBudget(ctx, o.Tenant, team(o.Limit)))
	case Balance:
		states, err := l.Balance(ctx, o.Tenant, keyID(o.Key), budgets())
		a := judge(err)
		a.Amounts = amounts(states, true)
		return a
	}
	panic("no verb " + string(o.Verb))
}

func (o Op) control() ledger.Control {
	c := ledger.Control{Verb: o.Control, Tenant: o.Tenant, Reason: "torture"}
	switch o.Scope {
	case ByRun:
		c.Run = runID(o.Key)
	case ByKey:
		c.Key = keyID(o.Key)
	}
	return c
}

// judge sorts an error. What is no verdict leaves everything open.
func judge(err error) Answer {
	var denied *ledger.Denied
	switch {
	case err == nil:
		return Answer{Verdict: OK}
	case errors.As(err, &denied):
		a := Answer{Verdict: string(denied.Code), Err: err.Error()}
		for _, s := range denied.Shortfalls {
			a.Amounts = append(a.Amounts, Amount{s.Name, s.Spent, s.Held, s.Limit, s.Need})
		}
		return a
	case errors.Is(err, ledger.ErrSettled):
		return Answer{Verdict: WasOther, Err: err.Error()}
	case errors.Is(err, ledger.ErrNoHold):
		return Answer{Verdict: NotThere, Err: err.Error()}
	}
	return Answer{Verdict: Unknown, Err: err.Error()}
}

func amounts(states []ledger.State, limits bool) []Amount {
	var out []Amount
	for _, s := range states {
		a := Amount{Name: s.Name, Spent: s.Spent, Held: s.Held}
		if limits {
			a.Limit = s.Limit
		}
		out = append(out, a)
	}
	return out
}

// String is the operation for a log line.
func (o Op) String() string {
	switch o.Verb {
	case Reserve:
		return fmt.Sprintf("%s %s %s %d", o.Verb, o.id(), keyID(o.Key), o.Amount)
	case Settle:
		return fmt.Sprintf("%s %s %d", o.Verb, o.id(), o.Actual)
	case Doubt, Release:
		return fmt.Sprintf("%s %s", o.Verb, o.id())
	case Stop:
		return fmt.Sprintf("%s %s %s", o.Control, o.Scope, keyID(o.Key))
	case SetBudget:
		return fmt.Sprintf("%s %d", o.Verb, o.Limit)
	}
	return fmt.Sprintf("%s %s", o.Verb, keyID(o.Key))
}

// String is the answer for a log line.
func (a Answer) String() string {
	s := a.Verdict
	if a.Over {
		s += " over"
	}
	for _, m := range a.Amounts {
		s += fmt.Sprintf(" %s=%d+%d", m.Name, m.Spent, m.Held)
		if m.Limit != 0 {
			s += fmt.Sprintf("/%d", m.Limit)
		}
		if m.Need != 0 {
			s += fmt.Sprintf(" needs %d", m.Need)
		}
	}
	if a.Verdict == Unknown {
		s += " (" + a.Err + ")"
	}
	return s
}
