package redisledger

import (
	"context"
	"errors"
	"slices"
	"strconv"

	"github.com/redis/go-redis/v9"

	"github.com/keybrake/keybrake-go/ledger"
)

// overdueArgs is ARGV[1] of overdue.lua.
type overdueArgs struct {
	Now   string `json:"now"`
	From  string `json:"from"`
	Limit string `json:"limit"`
}

// statesArgs is ARGV[1] of states.lua.
type statesArgs struct {
	Now   string      `json:"now"`
	Parts []stateArgs `json:"parts"`
}

// page is how many holds InDoubt reads at a time.
const page = 200

// InDoubt lists the holds of a tenant that need a look, oldest first. The list is no snapshot: a hold that is
// settled meanwhile may be in it. States are not filled in.
func (l *Ledger) InDoubt(ctx context.Context, t string) ([]ledger.Hold, error) {
	var holds []ledger.Hold
	for from := 0; ; from += page {
		a := overdueArgs{Now: l.clock(), From: strconv.Itoa(from), Limit: strconv.Itoa(page)}
		got, err := l.run(ctx, overdueScript, []string{tenant(t).open()}, a)
		if err != nil {
			return nil, err
		}
		if err := got.expect("ok"); err != nil {
			return nil, err
		}
		more, err := l.readAll(ctx, t, got.rest)
		if err != nil {
			return nil, err
		}
		holds = append(holds, more...)
		if len(got.rest) < page {
			slices.SortFunc(holds, func(a, b ledger.Hold) int { return a.Deadline.Compare(b.Deadline) })
			return holds, nil
		}
	}
}

// readAll reads those of ids that still need a look.
func (l *Ledger) readAll(ctx context.Context, t string, ids []string) ([]ledger.Hold, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	cmds, err := within(ctx, l.timeout, func(ctx context.Context) ([]redis.Cmder, error) {
		return l.rdb.Pipelined(ctx, func(pipe redis.Pipeliner) error {
			for _, id := range ids {
				pipe.HGetAll(ctx, tenant(t).record(id))
			}
			return nil
		})
	})
	if err != nil {
		return nil, err
	}
	var holds []ledger.Hold
	for i, cmd := range cmds {
		row, ok := cmd.(*redis.MapStringStringCmd)
		if !ok {
			return nil, errReply
		}
		rec, err := unpack(t, ids[i], row.Val())
		if err != nil && !errors.Is(err, ledger.ErrNoHold) {
			return nil, err
		}
		if rec.Phase == ledger.InFlight || rec.Phase == ledger.Doubt {
			holds = append(holds, rec.Hold)
		}
	}
	return holds, nil
}

// Find returns one hold by its reservation id, or ErrNoHold. States are not filled in.
func (l *Ledger) Find(ctx context.Context, t, id string) (ledger.Hold, error) {
	rec, err := l.read(ctx, t, id)
	return rec.Hold, err
}

// states reads what stands in the windows of a reservation.
func (l *Ledger) states(ctx context.Context, rec record) ([]ledger.State, error) {
	t := tenant(rec.Tenant)
	a := statesArgs{Now: l.clock(), Parts: []stateArgs{}}
	keys := newRows(t.record(rec.ID))
	for _, p := range rec.parts {
		row, name := place(t, rec.Key, p.Entry, keys)
		a.Parts = append(a.Parts, stateArgs{row, name, digits(p.Start), digits(p.End)})
	}
	got, err := l.run(ctx, statesScript, keys.keys, a)
	if err != nil {
		return nil, err
	}
	if err := got.expect("ok"); err != nil {
		return nil, err
	}
	got.number()
	at := got.windows()
	if err := got.err(); err != nil {
		return nil, err
	}
	_, states, err := landed(rec.parts, at)
	return states, err
}
