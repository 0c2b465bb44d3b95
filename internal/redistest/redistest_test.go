package redistest_test

import (
	"context"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/keybrake/keybrake-go/internal/redistest"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func client(t testing.TB, s *redistest.Server) *redis.Client {
	t.Helper()
	c := redis.NewClient(&redis.Options{Addr: s.Addr(), MaxRetries: -1, DialerRetries: 1, ReadTimeout: 300 * time.Millisecond})
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func TestARestartedServerHasWhatItKept(t *testing.T) {
	for _, c := range []struct {
		name string
		args []string
		want int64
	}{
		{"nothing by default", nil, 0},
		{"all with an append-only file", []string{"--appendonly", "yes", "--appendfsync", "always"}, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := redistest.Serve(t, c.args...)
			rdb, ctx, addr := client(t, s), context.Background(), s.Addr()
			must(t, rdb.Set(ctx, "a", "1", 0).Err())
			s.Kill()
			if rdb.Ping(ctx).Err() == nil {
				t.Fatal("a killed server answers")
			}
			must(t, s.Restart())
			if s.Addr() != addr {
				t.Fatalf("restarted on %s, was on %s", s.Addr(), addr)
			}
			if n := client(t, s).Exists(ctx, "a").Val(); n != c.want {
				t.Fatalf("%d keys after a restart, want %d", n, c.want)
			}
		})
	}
}

func TestServersStartedAtOnceAreEachTheirOwn(t *testing.T) {
	servers := make([]*redistest.Server, 6)
	var wg sync.WaitGroup
	for i := range servers {
		wg.Go(func() { servers[i] = redistest.Serve(t) })
	}
	wg.Wait()
	ids := map[string]bool{}
	for _, s := range servers {
		ids[client(t, s).Info(context.Background(), "server").Val()] = true
	}
	if len(ids) != len(servers) {
		t.Fatalf("%d servers have %d identities", len(servers), len(ids))
	}
}

func TestClosedLeavesNothing(t *testing.T) {
	s, err := redistest.Run()
	must(t, err)
	s.Close()
	if _, err := os.Stat(s.Dir()); !os.IsNotExist(err) {
		t.Fatalf("%s is still there: %v", s.Dir(), err)
	}
	if client(t, s).Ping(context.Background()).Err() == nil {
		t.Fatal("a closed server answers")
	}
}

func TestAnArgumentThatRedisRefusesIsAnErrorInItsWords(t *testing.T) {
	if s, err := redistest.Run("--no-such-option", "1"); err == nil {
		s.Close()
		t.Fatal("started")
	}
}
