package redisledger_test

import (
	"context"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/keybrake/keybrake-go/internal/redistest"
	"github.com/keybrake/keybrake-go/ledger/redisledger"
)

// fit expects what Check says of a client to hold every word in want; nothing wanted is no error.
func fit(t testing.TB, rdb redis.UniversalClient, want ...string) {
	t.Helper()
	err := made(t, rdb, nil).Check(ctx)
	if len(want) == 0 && err != nil {
		t.Fatal(err)
	}
	for _, w := range want {
		if err == nil || !strings.Contains(err.Error(), w) {
			t.Fatalf("got %v, want an error with %q", err, w)
		}
	}
}

func TestCheckRefusesAServerThatIsNotFit(t *testing.T) {
	s := redistest.Serve(t)
	for _, c := range []struct{ name, set, reset, want string }{
		{"fit", "PING", "PING", ""},
		{"evicts", "CONFIG SET maxmemory-policy volatile-lru", "CONFIG SET maxmemory-policy noeviction", "run: CONFIG SET maxmemory-policy noeviction"},
		{"replica", "REPLICAOF 127.0.0.1 1", "REPLICAOF NO ONE", "redis.NewFailoverClient without ReplicaOnly"},
		{"full", "CONFIG SET maxmemory 1", "CONFIG SET maxmemory 0", "scripts cannot write"},
	} {
		t.Run(c.name, func(t *testing.T) {
			do := func(line string) {
				var args []any
				for _, w := range strings.Fields(line) {
					args = append(args, w)
				}
				must(t, s.Admin().Do(ctx, args...).Err())
			}
			do(c.set)
			defer do(c.reset)
			if c.want == "" {
				fit(t, client(t, s.Addr()))
			} else {
				fit(t, client(t, s.Addr()), c.want)
			}
		})
	}
	old := client(t, s.Addr())
	old.AddHook(reported{"redis_version:7.", "redis_version:6."})
	fit(t, old, "too old; 7.0 or later is needed")
}

// Every permission that is missing is named at the start, and with it what to do.
func TestCheckRefusesAUserWhoMayTooLittle(t *testing.T) {
	s := redistest.Serve(t)
	for _, c := range []struct{ name, but, want string }{
		{"no less than ACL", "", ""},
		{"no EVALSHA", "-evalsha", "'evalsha'"},
		{"no EVAL", "-eval", "'eval'"},
		{"no PING", "-ping", "'ping'"},
		{"no INFO", "-info", "'info'"},
		{"a command of one script", "-zrem", "may not: zrem kb:{x}:none;"},
		{"a command outside the scripts", "-sscan", "may not: sscan kb:{x}:none;"},
		{"other keys only", "resetkeys ~other:*", "hset kb:{x}:none"},
		{"reading only", "resetkeys %R~kb:*", "hset kb:{x}:none"},
		{"writing only", "resetkeys %W~kb:*", "hget kb:{x}:none"},
		{"other channels only", "resetchannels &other:*", "may not: publish kb:{x}:none, subscribe kb:{x}:none;"},
	} {
		t.Run(c.name, func(t *testing.T) {
			// What a script needs must show even when another user has loaded the scripts.
			if c.but != "-eval" {
				fit(t, client(t, s.Addr()))
			} else {
				must(t, s.Admin().ScriptFlush(ctx).Err())
			}
			rdb := asUser(t, s, nil, redisledger.ACL+" "+c.but)
			if c.want == "" {
				fit(t, rdb)
			} else {
				fit(t, rdb, c.want, "ACL SETUSER keybrake on >PASSWORD "+redisledger.ACL)
			}
		})
	}
}

func TestCheckRefusesAClientThatDoesNotLeadToTheBooks(t *testing.T) {
	fit(t, nil, "no client")
	fit(t, client(t, "127.0.0.1:1"), "PING")
	ring := redis.NewRing(&redis.RingOptions{Addrs: map[string]string{"a": "127.0.0.1:1"}})
	defer ring.Close()
	fit(t, ring, "redis.Ring", "use redis.NewClient for one server, or redis.NewClusterClient")
	lagging := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{"127.0.0.1:1"}, RouteByLatency: true})
	defer lagging.Close()
	alone := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{redistest.Start(t)}})
	defer alone.Close()
	fit(t, alone, "no node of a cluster: use redis.NewClient")
	fit(t, lagging, "leave ReadOnly, RouteByLatency and RouteRandomly of redis.ClusterOptions unset")
}

// reported is a hook that changes what a server says of itself.
type reported struct{ was, is string }

func (r reported) DialHook(next redis.DialHook) redis.DialHook { return next }

func (r reported) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (r reported) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		err := next(ctx, cmd)
		if text, ok := cmd.(*redis.StringCmd); ok && err == nil {
			text.SetVal(strings.ReplaceAll(text.Val(), r.was, r.is))
		}
		return err
	}
}
