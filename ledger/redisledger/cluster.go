package redisledger

import (
	"context"
	"errors"
	"time"

	"github.com/redis/go-redis/v9"
)

// pause is how long a command waits for a slot that moves.
const pause = 10 * time.Millisecond

// steady repeats do while the slot of its keys is on its way from one master of a cluster to another. Redis refuses
// a script meanwhile, without having begun it, when some of its keys are still here, some there and some new, as a
// reservation always is; go-redis asks four times within a few milliseconds and gives up. It ends shortly before
// the deadline of ctx, so that the caller is told why.
func steady[T any](ctx context.Context, do func(context.Context) (T, error)) (T, error) {
	v, err := do(ctx)
	end, ok := ctx.Deadline()
	if !moving(err) || !ok {
		return v, err
	}
	ctx, cancel := context.WithDeadline(ctx, end.Add(-2*pause))
	defer cancel()
	for {
		select {
		case <-ctx.Done():
			return v, err
		case <-time.After(pause):
		}
		w, again := do(ctx)
		switch {
		case again != nil && ctx.Err() != nil:
			return v, err
		case !moving(again):
			return w, again
		}
	}
}

func moving(err error) bool {
	return redis.HasErrorPrefix(err, "TRYAGAIN") || redis.HasErrorPrefix(err, "ASK") || redis.HasErrorPrefix(err, "MOVED")
}

// reroute has a cluster's client ask again who has which slots, after a command that no server has answered. By
// itself the client asks every ten seconds, later versions every minute, and until then calls a master that is gone
// though a replica has taken over. It does not wait, and asks no more than a few times a second.
func (l *Ledger) reroute(ctx context.Context, err error) {
	var answered redis.Error
	if cluster, ok := l.rdb.(*redis.ClusterClient); ok && err != nil && !errors.As(err, &answered) {
		cluster.ReloadState(context.WithoutCancel(ctx))
	}
}
