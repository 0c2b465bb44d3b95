package redisledger

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"
)

// checkArgs is ARGV[1] of check.lua.
type checkArgs struct {
	Now   string `json:"now"`
	Nonce string `json:"nonce"`
}

// Check reports why this Redis is not fit to hold the books, if it is not: it cannot be reached or written, is
// older than 7.0, a replica, or evicts keys when its memory is full, which would set budgets back to zero. It also
// reads [Options.Journal] and begins to book what is in it.
func (l *Ledger) Check(ctx context.Context) error {
	switch rdb := l.rdb.(type) {
	case nil:
		return errors.New("redisledger: no client")
	case *redis.Ring:
		return errors.New("redisledger: a redis.Ring loses counters when a shard joins or leaves; use redis.NewClusterClient")
	case *redis.ClusterClient:
		if err := rdb.ForEachMaster(ctx, func(ctx context.Context, node *redis.Client) error { return l.fit(ctx, node) }); err != nil {
			return err
		}
	default:
		if err := l.fit(ctx, rdb); err != nil {
			return err
		}
	}
	got, err := l.run(ctx, checkScript, []string{checkRow}, checkArgs{l.clock(), nonce()})
	if err != nil {
		return fmt.Errorf("redisledger: scripts cannot write: %w", err)
	}
	if err := got.expect("ok"); err != nil {
		return err
	}
	l.seen(got.number())
	if err := got.err(); err != nil {
		return err
	}
	return l.replay()
}

// fit looks at one server.
func (l *Ledger) fit(ctx context.Context, node redis.Cmdable) error {
	if _, err := within(ctx, l.timeout, func(ctx context.Context) (string, error) { return node.Ping(ctx).Result() }); err != nil {
		return fmt.Errorf("redisledger: no answer to PING: %w", err)
	}
	info, err := l.info(ctx, node)
	if err != nil {
		return err
	}
	if major, _, _ := strings.Cut(info["redis_version"], "."); !atLeast(major, 7) {
		return fmt.Errorf("redisledger: Redis %q is too old; 7.0 or later is needed", info["redis_version"])
	}
	if info["role"] != "master" {
		return fmt.Errorf("redisledger: the server's role is %q; the books need the master", info["role"])
	}
	// CONFIG is often forbidden; INFO memory says the same.
	if policy := info["maxmemory_policy"]; policy != "noeviction" {
		return fmt.Errorf("redisledger: maxmemory-policy is %q, which drops rows and so resets budgets; run: CONFIG SET maxmemory-policy noeviction, and set it in redis.conf or with your provider", policy)
	}
	return nil
}

// info reads the sections that fit looks at. A field that is missing is empty, which no check accepts.
func (l *Ledger) info(ctx context.Context, node redis.Cmdable) (map[string]string, error) {
	fields := map[string]string{}
	for _, section := range []string{"server", "replication", "memory"} {
		text, err := within(ctx, l.timeout, func(ctx context.Context) (string, error) { return node.Info(ctx, section).Result() })
		if err != nil {
			return nil, fmt.Errorf("redisledger: INFO %s: %w", section, err)
		}
		for line := range strings.Lines(text) {
			if k, v, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
				fields[k] = v
			}
		}
	}
	return fields, nil
}

func atLeast(s string, n int) bool {
	got, err := strconv.Atoi(s)
	return err == nil && got >= n
}
