package redisledger

import (
	"context"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
)

// A route is what a script is sent through: the client, or one connection of it, because WAIT asks how many replicas
// have what was written on its own connection.
type route struct {
	redis.Scripter
	conn     *redis.Conn // nil: nothing is waited for
	replicas int
	timeout  time.Duration
}

// route finds the way for a script on the rows of one tenant.
func (l *Ledger) route(ctx context.Context, s script, meta string) (route, error) {
	if l.replicas <= 0 || !s.waits {
		return route{Scripter: l.rdb}, nil
	}
	var node *redis.Client
	switch rdb := l.rdb.(type) {
	case *redis.Client:
		node = rdb
	case *redis.ClusterClient:
		var err error
		if node, err = rdb.MasterForKey(ctx, meta); err != nil {
			return route{}, err
		}
	default:
		return route{}, fmt.Errorf("replicas cannot be waited for through a %T", rdb)
	}
	conn := node.Conn()
	return route{conn, conn, l.replicas, l.replicaTimeout}, nil
}

// moved looks for the slots anew where a script was refused because they had moved: one connection is not redirected. The
// next try finds them.
func (l *Ledger) moved(ctx context.Context, err error) {
	if rdb, ok := l.rdb.(*redis.ClusterClient); ok && l.replicas > 0 && redis.HasErrorPrefix(err, "MOVED") {
		rdb.ReloadState(ctx)
	}
}

func (r route) close() {
	if r.conn != nil {
		_ = r.conn.Close()
	}
}

// wait returns without error once enough replicas have what the script wrote, or found written: WAIT counts those that
// have all that the server had when the connection's last command was carried out.
func (r route) wait(ctx context.Context, status string) error {
	if r.conn == nil || status != "ok" && status != "replay" {
		return nil
	}
	n, err := r.conn.Wait(ctx, r.replicas, r.timeout).Result()
	if err != nil {
		return err
	}
	if n < int64(r.replicas) {
		return fmt.Errorf("it is carried out, but only %d of %d replicas have it", n, r.replicas)
	}
	return nil
}
