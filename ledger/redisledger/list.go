package redisledger

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/redis/go-redis/v9"

	"github.com/keybrake/keybrake-go/ledger"
)

// statesArgs is ARGV[1] of states.lua.
type statesArgs struct {
	Now   string      `json:"now"`
	Parts []stateArgs `json:"parts"`
}

// page is how many holds are read at a time.
const page = 200

// InDoubt lists the holds of a tenant that need a look, oldest first. The list is no snapshot: a hold that is
// settled meanwhile may be in it, and one that is in doubt all the while is. States are not filled in.
func (l *Ledger) InDoubt(ctx context.Context, t string) ([]ledger.Hold, error) {
	now := l.estimate()
	seen := map[string]ledger.Hold{}
	err := l.scan(ctx, tenant(t).open(), func(ids []string) error {
		more, err := l.readAll(ctx, t, ids, ledger.InFlight, ledger.Doubt)
		for _, h := range more {
			if h.Phase == ledger.Doubt || !h.Deadline.After(now) {
				seen[h.ID] = h
			}
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return slices.SortedFunc(maps.Values(seen), func(a, b ledger.Hold) int { return a.Deadline.Compare(b.Deadline) }), nil
}

// readAll reads those of ids that are still in one of phases.
func (l *Ledger) readAll(ctx context.Context, t string, ids []string, phases ...ledger.Phase) (holds []ledger.Hold, err error) {
	recs, err := l.readRecords(ctx, t, ids)
	for _, r := range recs {
		if slices.Contains(phases, r.Phase) {
			holds = append(holds, r.Hold)
		}
	}
	return holds, err
}

// readRecords reads those of ids that are there.
func (l *Ledger) readRecords(ctx context.Context, t string, ids []string) ([]record, error) {
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
	var recs []record
	for i, cmd := range cmds {
		row, ok := cmd.(*redis.MapStringStringCmd)
		if !ok {
			return nil, errReply
		}
		rec, err := unpack(t, ids[i], row.Val())
		switch {
		case errors.Is(err, ledger.ErrNoHold):
		case err != nil:
			return nil, err
		default:
			recs = append(recs, rec)
		}
	}
	return recs, nil
}

// Unsettled lists the holds of a tenant that are open: in flight, pending or in doubt, oldest first. The list is no
// snapshot, but a hold that is open all the while is in it: those that become pending are looked at last.
func (l *Ledger) Unsettled(ctx context.Context, t string, names ...string) ([]ledger.Hold, error) {
	var holds []ledger.Hold
	seen := map[string]bool{}
	for _, index := range []string{tenant(t).open(), tenant(t).pending()} {
		err := l.scan(ctx, index, func(ids []string) error {
			ids = slices.DeleteFunc(ids, func(id string) bool { return seen[id] })
			recs, err := l.readAll(ctx, t, ids, ledger.InFlight, ledger.Pending, ledger.Doubt)
			for _, h := range recs {
				if !seen[h.ID] && (len(names) == 0 || slices.ContainsFunc(h.Controls, func(n string) bool { return slices.Contains(names, n) })) {
					holds = append(holds, h)
				}
				seen[h.ID] = true
			}
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	slices.SortFunc(holds, func(a, b ledger.Hold) int { return a.Deadline.Compare(b.Deadline) })
	return holds, nil
}

// Reservations goes through what is remembered. There is no list of what has settled, so it goes through the names of all
// keys of the server, in a cluster of all masters: it takes as long as they are many, other users' keys included, and
// stands in nobody's way. The user needs +scan for it, beside [ACL].
func (l *Ledger) Reservations(ctx context.Context, t string, each func(ledger.Hold) error) error {
	seen := map[string]bool{}
	tell := func(ids []string) error {
		ids = slices.DeleteFunc(ids, func(id string) bool { return seen[id] })
		recs, err := l.readRecords(ctx, t, ids)
		for _, r := range recs {
			if seen[r.ID] = true; r.of != "" || err != nil {
				continue
			}
			err = each(r.Hold)
		}
		return err
	}
	cluster, is := l.rdb.(*redis.ClusterClient)
	if !is {
		return l.scanNames(ctx, l.rdb, t, tell)
	}
	for known := -1; known < len(seen); { // a slot that moves may be passed over once
		known = len(seen)
		var one sync.Mutex // masters are asked side by side
		if err := cluster.ForEachMaster(ctx, func(ctx context.Context, node *redis.Client) error {
			one.Lock()
			defer one.Unlock()
			return l.scanNames(ctx, node, t, tell)
		}); err != nil {
			return err
		}
	}
	return nil
}

// scanNames calls each for the ids of the tenant's reservations that a server has.
func (l *Ledger) scanNames(ctx context.Context, node redis.Cmdable, t string, each func(ids []string) error) error {
	type step struct {
		names  []string
		cursor uint64
	}
	prefix := tenant(t).record("")
	var at step
	for {
		next, err := within(ctx, l.timeout, func(ctx context.Context) (step, error) {
			names, cursor, err := node.Scan(ctx, at.cursor, prefix+"*", page).Result()
			return step{names, cursor}, err
		})
		if err != nil {
			return err
		}
		for i, name := range next.names {
			next.names[i] = strings.TrimPrefix(name, prefix)
		}
		if err := each(next.names); err != nil {
			return err
		}
		if at = next; at.cursor == 0 {
			return nil
		}
	}
}

// scan reads the members of a zset in steps. One that is there all the while is among them, perhaps twice.
func (l *Ledger) scan(ctx context.Context, key string, each func(members []string) error) error {
	type step struct {
		members []string // and the score of each
		cursor  uint64
	}
	var at step
	for {
		next, err := within(ctx, l.timeout, func(ctx context.Context) (step, error) {
			members, cursor, err := l.rdb.ZScan(ctx, key, at.cursor, "", page).Result()
			return step{members, cursor}, err
		})
		if err != nil {
			return err
		}
		var ids []string
		for i := 0; i < len(next.members); i += 2 {
			ids = append(ids, next.members[i])
		}
		if err := each(ids); err != nil {
			return err
		}
		if at = next; at.cursor == 0 {
			return nil
		}
	}
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
		a.Parts = append(a.Parts, stateArgs{row, name, digits(p.Start), digits(p.End), back(p.Of)})
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
