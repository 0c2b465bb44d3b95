package redisledger

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/keybrake/keybrake-go/ledger"
)

// publish tells every process that watches of a control that was made. It is a hint: the control stands without it, so
// its error is dropped.
func (l *Ledger) publish(ctx context.Context, c ledger.Control) {
	text, _ := json.Marshal(c) // strings and a bool only: cannot fail
	_, _ = within(ctx, l.timeout, func(ctx context.Context) (int64, error) { return l.rdb.Publish(ctx, channel, text).Result() })
}

// The pace of Watch: how long it listens before it asks whether the server is still there, and how long it waits
// before it connects again.
const (
	listen = 5 * time.Second
	repose = 100 * time.Millisecond
)

// Watch tells of the controls of all processes that use this Redis, until ctx ends. A connection that is lost is made
// again; what is published meanwhile is not heard. It returns early when the server forbids it to listen, and not before
// tell has returned.
func (l *Ledger) Watch(ctx context.Context, tell func(ledger.Control)) error {
	sub := l.rdb.Subscribe(ctx, channel)
	defer sub.Close()
	defer context.AfterFunc(ctx, func() { _ = sub.Close() })() // ends a wait for a message
	for {
		heard, err := sub.ReceiveTimeout(ctx, listen)
		var refused redis.Error
		var slow net.Error
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.As(err, &refused):
			return err
		case errors.As(err, &slow) && slow.Timeout():
			_ = sub.Ping(ctx) // a connection that is dead fails here or at the next read
		case err != nil:
			wait(ctx, repose)
		}
		m, ok := heard.(*redis.Message)
		var c ledger.Control
		if ok && json.Unmarshal([]byte(m.Payload), &c) == nil && c.Valid() == nil {
			tell(c)
		}
	}
}

// wait returns after d, or when ctx ends.
func wait(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
