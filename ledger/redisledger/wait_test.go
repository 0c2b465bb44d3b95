package redisledger_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/keybrake/keybrake-go/internal/redistest"
	"github.com/keybrake/keybrake-go/ledger"
	"github.com/keybrake/keybrake-go/ledger/redisledger"
	"github.com/keybrake/keybrake-go/reason"
)

func lacking(t testing.TB, err error) {
	t.Helper()
	if d := (*ledger.Denied)(nil); err == nil || errors.As(err, &d) || !strings.Contains(err.Error(), "0 of 1 replicas") {
		t.Errorf("got %v, want an error that names the replicas", err)
	}
}

func TestWhatTooFewReplicasHaveIsAnError(t *testing.T) {
	main := redistest.Serve(t)
	replica, err := main.Replica()
	must(t, err)
	t.Cleanup(replica.Close)
	opened(t, client(t, main.Addr()), 1000)
	proxy := newProxy(t, main.Addr())
	rdb := redis.NewClient(&redis.Options{Addr: proxy.addr, MaxRetries: -1})
	defer rdb.Close()
	l := made(t, rdb, &redisledger.Options{Replicas: 1, ReplicaTimeout: 5 * time.Second, Timeout: 10 * time.Second})
	probe := pay(1)
	h := admit(t, l, probe)
	must(t, second(l.Control(ctx, ledger.Control{Verb: ledger.Pause, Tenant: acme, Run: "x"})))
	must(t, replica.CatchUp(main))

	must(t, replica.Pause())
	l = made(t, rdb, &redisledger.Options{Replicas: 1, ReplicaTimeout: 20 * time.Millisecond, Timeout: 10 * time.Second})
	r := pay(10)
	lacking(t, second(l.Reserve(ctx, r)))
	lacking(t, second(l.Reserve(ctx, r))) // again: it is there, and still on no replica
	lost := pay(10)
	proxy.drops.Store(1)
	if _, err := l.Reserve(ctx, lost); err == nil {
		t.Fatal("the reply was not lost")
	}
	fresh := made(t, client(t, main.Addr()), &redisledger.Options{Replicas: 1, ReplicaTimeout: 20 * time.Millisecond, Timeout: 10 * time.Second})
	lacking(t, second(fresh.Reserve(ctx, lost))) // on a connection that has written nothing
	probe.Lines = usd(2)
	lacking(t, second(l.Raise(ctx, h, probe)))
	lacking(t, second(l.Control(ctx, ledger.Control{Verb: ledger.Revoke, Tenant: acme, Run: "y"})))
	_, err = l.Reserve(ctx, pay(2000)) // a denial waits for nobody
	denied(t, err, reason.BudgetExceeded)
	for _, r := range []ledger.Request{r, lost, probe} {
		must(t, l.Release(ctx, ledger.Hold{Tenant: acme, ID: r.ID, Key: "k"}, true))
	}
	stands(t, l, 0, 0)
	refused := pay(1)
	refused.Controls = ledger.Names("k", "a", "y", nil, "v")
	_, err = l.Reserve(ctx, refused) // it stands on the master
	denied(t, err, reason.KeyRevoked)
	must(t, replica.Continue())

	l = made(t, rdb, &redisledger.Options{Replicas: 1, ReplicaTimeout: 5 * time.Second, Timeout: 10 * time.Second})
	admit(t, l, pay(10))
	if n := replica.Admin().HGet(ctx, "kb:{acme}:b:team", "h:").Val(); n != "10" {
		t.Errorf("the replica has %q held when Reserve returns", n)
	}
}

func TestReplicasOfAClusterAreWaitedFor(t *testing.T) {
	c, err := redistest.RunCluster(3, 1)
	must(t, err)
	t.Cleanup(c.Close)
	rdb := redis.NewClusterClient(&redis.ClusterOptions{Addrs: c.Addrs()})
	t.Cleanup(func() { _ = rdb.Close() })
	l := made(t, rdb, &redisledger.Options{Replicas: 1, Timeout: 10 * time.Second})
	must(t, l.Open(ctx, ledger.Key{Tenant: acme, ID: "k", Expires: time.Now().Add(time.Hour)}))
	must(t, l.SetBudget(ctx, acme, team(100)))
	admit(t, l, pay(10))
	must(t, second(l.Control(ctx, ledger.Control{Verb: ledger.Pause, Vendor: "w"})))
	l = made(t, rdb, &redisledger.Options{Replicas: 2, ReplicaTimeout: 20 * time.Millisecond, Timeout: 10 * time.Second})
	if _, err := l.Reserve(ctx, pay(10)); err == nil || !strings.Contains(err.Error(), "1 of 2 replicas") {
		t.Errorf("got %v", err)
	}
}

func TestCheckAsksForWaitWhereReplicasAreWaitedFor(t *testing.T) {
	s := redistest.Serve(t)
	fit(t, asUser(t, s, nil, redisledger.ACL))
	o := &redisledger.Options{Replicas: 1}
	must(t, made(t, asUser(t, s, nil, redisledger.ACL+" +wait"), o).Check(ctx))
	if err := made(t, asUser(t, s, nil, redisledger.ACL), o).Check(ctx); err == nil || !strings.Contains(err.Error(), "may not: wait") {
		t.Errorf("got %v", err)
	}
}
