package redistest_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/keybrake/keybrake-go/internal/redistest"
)

func TestAPromotedReplicaHasWhatItWasSent(t *testing.T) {
	ctx, master := context.Background(), redistest.Serve(t)
	replica, err := master.Replica()
	must(t, err)
	t.Cleanup(replica.Close)
	must(t, client(t, master).Set(ctx, "a", "1", 0).Err())
	if client(t, replica).Set(ctx, "a", "2", 0).Err() == nil {
		t.Fatal("a replica takes writes")
	}
	must(t, replica.CatchUp(master))
	master.Kill()
	must(t, replica.Promote())
	if v := client(t, replica).Get(ctx, "a").Val(); v != "1" {
		t.Fatalf("a is %q after the promotion", v)
	}
	must(t, client(t, replica).Set(ctx, "a", "2", 0).Err())
}

func TestSentinelsNameAnotherMaster(t *testing.T) {
	s, err := redistest.RunSentinel(2)
	must(t, err)
	t.Cleanup(s.Close)
	first, err := s.Master()
	must(t, err)
	if first != s.Nodes[0] {
		t.Fatal("the first master is not the first node")
	}
	second, err := s.Failover()
	must(t, err)
	must(t, s.Bear(500*time.Millisecond))
	second.Kill()
	third, err := s.NewMaster(second)
	must(t, err)
	must(t, client(t, third).Set(context.Background(), "a", "1", 0).Err())
}

func TestAClusterKeepsItsKeysWhileSlotsMove(t *testing.T) {
	c, err := redistest.RunCluster(3, 0)
	must(t, err)
	t.Cleanup(c.Close)
	ctx := context.Background()
	rdb := redis.NewClusterClient(&redis.ClusterOptions{Addrs: c.Addrs()})
	t.Cleanup(func() { _ = rdb.Close() })
	for i := range 10 {
		must(t, rdb.Set(ctx, fmt.Sprintf("{a}%d", i), i, 0).Err())
	}
	from, slot, err := c.Owner("{a}")
	must(t, err)
	to := c.Masters[0]
	if to == from {
		to = c.Masters[1]
	}
	must(t, c.Reshard(from, to, slot))
	if now, _, err := c.Owner("{a}"); err != nil || now != to {
		t.Fatalf("the slot has not moved: %v", err)
	}
	for i := range 10 {
		if v, err := rdb.Get(ctx, fmt.Sprintf("{a}%d", i)).Int(); err != nil || v != i {
			t.Fatalf("key %d is %d: %v", i, v, err)
		}
	}
	if n := client(t, from).DBSize(ctx).Val(); n != 0 {
		t.Fatalf("%d keys are still where they were", n)
	}
}

func TestAReplicaOfAClusterTakesOver(t *testing.T) {
	c, err := redistest.RunCluster(3, 1)
	must(t, err)
	t.Cleanup(c.Close)
	old, _, err := c.Owner("{a}")
	must(t, err)
	must(t, c.Bear(time.Second))
	old.Kill()
	now, err := c.NewOwner("{a}", old)
	must(t, err)
	must(t, client(t, now).Set(context.Background(), "{a}", "1", 0).Err())
}

func TestATLSServerTakesItsOwnClientsOnly(t *testing.T) {
	s, conf, err := redistest.RunTLS()
	must(t, err)
	t.Cleanup(s.Close)
	ping := func(conf *tls.Config) error {
		c := redis.NewClient(&redis.Options{Addr: s.Addr(), TLSConfig: conf, MaxRetries: -1, DialerRetries: 1})
		defer c.Close()
		return c.Ping(context.Background()).Err()
	}
	must(t, ping(conf))
	if ping(nil) == nil {
		t.Fatal("taken without TLS")
	}
	if ping(&tls.Config{RootCAs: conf.RootCAs}) == nil {
		t.Fatal("taken without a client's certificate")
	}
	if ping(&tls.Config{Certificates: conf.Certificates}) == nil {
		t.Fatal("the client took a certificate of an authority that it does not know")
	}
}
