package redisledger

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"github.com/redis/go-redis/v9"

	"github.com/keybrake/keybrake-go/ledger"
	"github.com/keybrake/keybrake-go/reason"
)

// A spec is a shared budget's row without its counters. rev names the revision: a random word, so that a row
// that was lost and made again is not taken for the old one.
type spec struct {
	ledger.Budget
	rev string
}

// errUnread says that a row could not be read, which is no verdict on a call.
var errUnread = errors.New("redisledger: a shared budget could not be read")

// budgetArgs is ARGV[1] of setbudget.lua.
type budgetArgs struct {
	Spec  string `json:"spec"`
	Limit string `json:"limit"`
	Rev   string `json:"rev"`

	Alerts string `json:"alerts"` // JSON; empty for none
	Again  bool   `json:"again"`  // a re-arm: of a row that is there the limit can only be lowered
}

// SetBudget makes or revises a shared budget. A reserve that starts afterwards is checked against it in every
// process.
func (l *Ledger) SetBudget(ctx context.Context, t string, b ledger.Budget) error {
	if err := b.Valid(); err != nil {
		return err
	}
	key := tenant(t).budget(b.Name)
	args := budgetArgs{Spec: encode(b), Limit: digits(b.Limit), Rev: nonce(), Alerts: percents(b.AlertAt)}
	for range tries {
		got, err := l.run(ctx, setBudgetScript, []string{key}, args)
		if err != nil {
			l.specs.Delete(key)
			return err
		}
		if got.status == "ok" {
			l.specs.Delete(key)
			l.memory.budget(t, spec{b, args.Rev})
			return nil
		}
		if err := got.expect("fixed"); err != nil {
			return err
		}
		// Written by another version, perhaps, and the same all the same.
		args.Spec = got.word()
		old, err := parseSpec(b.Name, args.Spec, "0", "-", "")
		if err != nil {
			return err
		}
		if !ledger.SameCount(old.Budget, b) {
			return ledger.ErrBudgetFixed
		}
	}
	return errBusy
}

// encode writes what a shared budget counts; its name is the row's, and what can be revised has fields of its own.
func encode(b ledger.Budget) string {
	b.Name, b.Limit, b.AlertAt, b.Shared, b.Of, b.Observed = "", 0, nil, false, "", false
	return inner(stored(b))
}

// percents writes the thresholds of a shared budget.
func percents(list []int) string {
	if len(list) == 0 {
		return ""
	}
	text, _ := json.Marshal(list) // numbers only: cannot fail
	return string(text)
}

// parseSpec reads a row. What cannot be read is an error, never an empty budget.
func parseSpec(name, text, limit, rev, alerts string) (spec, error) {
	var b budget
	err := json.Unmarshal([]byte(text), &b)
	if err == nil && alerts != "" {
		err = json.Unmarshal([]byte(alerts), &b.AlertAt)
	}
	if err == nil {
		b.Limit, err = strconv.ParseInt(limit, 10, 64)
	}
	if err != nil || rev == "" {
		return spec{}, fmt.Errorf("%w: %s: damaged row", errUnread, name)
	}
	b.Name, b.Shared = name, true
	if err := b.load().Valid(); err != nil {
		return spec{}, fmt.Errorf("%w: %w", errUnread, err)
	}
	return spec{b.load(), rev}, nil
}

// Budget returns a shared budget, or ErrNoBudget.
func (l *Ledger) Budget(ctx context.Context, t, name string) (ledger.Budget, error) {
	specs, err := l.load(ctx, t, []string{name})
	if err != nil {
		return ledger.Budget{}, err
	}
	if specs[0].rev == "" {
		return ledger.Budget{}, ledger.ErrNoBudget
	}
	return specs[0].Budget, nil
}

// load reads rows; the spec of one that does not exist has no rev.
func (l *Ledger) load(ctx context.Context, t string, names []string) ([]spec, error) {
	cmds, err := within(ctx, l.timeout, func(ctx context.Context) ([]redis.Cmder, error) {
		return l.rdb.Pipelined(ctx, func(pipe redis.Pipeliner) error {
			for _, name := range names {
				pipe.HMGet(ctx, tenant(t).budget(name), "spec", "limit", "rev", "alerts")
			}
			return nil
		})
	})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errUnread, err)
	}
	specs := make([]spec, len(names))
	for i, cmd := range cmds {
		row, ok := cmd.(*redis.SliceCmd)
		if !ok || len(row.Val()) != 4 {
			return nil, fmt.Errorf("%w: %w", errUnread, errReply)
		}
		text, found := row.Val()[0].(string)
		if !found {
			continue
		}
		limit, _ := row.Val()[1].(string)
		rev, _ := row.Val()[2].(string)
		alerts, _ := row.Val()[3].(string)
		if specs[i], err = parseSpec(names[i], text, limit, rev, alerts); err != nil {
			return nil, err
		}
	}
	return specs, nil
}

// resolve replaces the shared ones of budgets by their rows, and returns these once each. Rows are remembered;
// the script refuses one of another revision, so what is remembered is never acted on when it is out of date.
func (l *Ledger) resolve(ctx context.Context, t string, budgets []ledger.Budget) ([]ledger.Budget, []spec, error) {
	known := map[string]spec{}
	var missing, order []string
	for _, b := range budgets {
		if _, twice := known[b.Name]; twice || !b.Shared {
			continue
		}
		s, ok := l.specs.Load(tenant(t).budget(b.Name))
		if !ok {
			missing = append(missing, b.Name)
			s = spec{}
		}
		known[b.Name] = s.(spec)
		order = append(order, b.Name)
	}
	if err := l.remember(ctx, t, missing, known); err != nil {
		return nil, nil, err
	}
	var specs []spec
	for _, name := range order {
		if known[name].rev == "" {
			return nil, nil, &ledger.Denied{Code: reason.BudgetMissing, Name: name}
		}
		specs = append(specs, known[name])
	}
	out := append([]ledger.Budget(nil), budgets...)
	for i, b := range out {
		if b.Shared {
			out[i] = ledger.Lower(known[b.Name].Budget, b)
		}
	}
	return out, specs, nil
}

// remember reads the rows that are not known yet. A row that does not exist is not remembered.
func (l *Ledger) remember(ctx context.Context, t string, missing []string, known map[string]spec) error {
	if len(missing) == 0 {
		return nil
	}
	specs, err := l.load(ctx, t, missing)
	if err != nil {
		return err
	}
	for i, name := range missing {
		known[name] = specs[i]
		if specs[i].rev != "" {
			l.specs.Store(tenant(t).budget(name), specs[i])
		}
	}
	return nil
}

// balanceArgs is ARGV[1] of balance.lua.
type balanceArgs struct {
	Now   string      `json:"now"`
	Revs  []string    `json:"revs"`
	Parts []stateArgs `json:"parts"`
}

// stateArgs is one budget in one window.
type stateArgs struct {
	Row   int    `json:"row"`
	Name  string `json:"name"`
	Start string `json:"start"`
	Stop  string `json:"stop"`
	Back  string `json:"back"` // how far before Start amounts count
}

// Balance returns the state of budgets for a key.
func (l *Ledger) Balance(ctx context.Context, t, key string, budgets []ledger.Budget) ([]ledger.State, error) {
	p := &plan{Request: ledger.Request{Tenant: t, Key: key, Budgets: budgets}, now: l.estimate()}
	for range tries {
		var all []ledger.Budget
		if all, p.shared, p.doom = l.resolve(ctx, t, budgets); errors.Is(p.doom, errUnread) {
			return nil, p.doom
		}
		keys, args, err := l.balanceArgs(p, all)
		if err != nil {
			return nil, err
		}
		got, err := l.run(ctx, balanceScript, keys, args)
		if err != nil {
			return nil, err
		}
		switch got.status {
		case "nokey":
			return nil, ledger.ErrNoKey
		case "ok":
			if p.doom != nil {
				return nil, p.doom
			}
			return l.balances(got, all)
		}
		if err := l.again(ctx, p, got); err != nil {
			return nil, err
		}
	}
	return nil, errBusy
}

func (l *Ledger) balanceArgs(p *plan, budgets []ledger.Budget) ([]string, balanceArgs, error) {
	t := tenant(p.Tenant)
	a := balanceArgs{Now: l.clock(), Revs: []string{}, Parts: []stateArgs{}}
	keys := newRows(t.key(p.Key))
	for _, s := range p.shared {
		keys.index(t.budget(s.Name))
		a.Revs = append(a.Revs, s.rev)
	}
	for _, b := range budgets {
		start, end, err := ledger.Window(b, p.now)
		if err != nil {
			return nil, a, err
		}
		row, name := place(t, p.Key, ledger.Entry{Budget: b.Name, Shared: b.Shared, Of: b.Of, Observed: b.Observed}, keys)
		a.Parts = append(a.Parts, stateArgs{row, name, digits(start), digits(end), back(b)})
	}
	return keys.keys, a, nil
}

func (l *Ledger) balances(got *reply, budgets []ledger.Budget) ([]ledger.State, error) {
	l.seen(got.number())
	at := got.windows()
	if err := got.err(); err != nil {
		return nil, err
	}
	if len(at) != len(budgets) {
		return nil, errReply
	}
	states := make([]ledger.State, len(at))
	for i, w := range at {
		states[i] = w.state(budgets[i])
	}
	return states, nil
}
