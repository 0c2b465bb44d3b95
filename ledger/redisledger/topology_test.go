package redisledger_test

import (
	"context"
	"crypto/tls"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/keybrake/keybrake-go/internal/redistest"
	"github.com/keybrake/keybrake-go/ledger"
	"github.com/keybrake/keybrake-go/ledger/ledgertest"
	"github.com/keybrake/keybrake-go/ledger/redisledger"
	"github.com/keybrake/keybrake-go/reason"
)

// The laws on every shape in which people run Redis, and what becomes of calls while one shape changes.

// laws checks the server and tries every law on it. clear empties it before each.
func laws(t *testing.T, rdb redis.UniversalClient, clear func(t testing.TB)) {
	t.Helper()
	must(t, made(t, rdb, nil).Check(ctx))
	ledgertest.Run(t, func(t *testing.T, clock *ledgertest.Clock) ledger.Ledger {
		clear(t)
		return made(t, rdb, &redisledger.Options{Now: clock.Now, Timeout: 20 * time.Second})
	})
}

// empty flushes servers past their clients.
func empty(servers ...*redistest.Server) func(t testing.TB) {
	return func(t testing.TB) {
		t.Helper()
		for _, s := range servers {
			must(t, s.Admin().FlushAll(ctx).Err())
		}
	}
}

func TestLawsInBothProtocols(t *testing.T) {
	t.Parallel()
	s := redistest.Serve(t)
	for name, protocol := range map[string]int{"RESP2": 2, "RESP3": 3} {
		t.Run(name, func(t *testing.T) {
			rdb := redis.NewClient(&redis.Options{Addr: s.Addr(), Protocol: protocol})
			defer rdb.Close()
			laws(t, rdb, empty(s))
		})
	}
}

// A user who may do what ACL says and nothing else is enough, and the laws hold behind TLS.
func TestLawsBehindTLSAsAUserWithNoMoreThanACL(t *testing.T) {
	t.Parallel()
	s, conf, err := redistest.RunTLS()
	must(t, err)
	t.Cleanup(s.Close)
	rdb := asUser(t, s, conf, redisledger.ACL+" +scan")
	laws(t, rdb, empty(s))
	if denials := s.Admin().ACLLog(ctx, 10).Val(); len(denials) > 0 {
		t.Errorf("the ledger asked for what ACL does not give: %+v", *denials[0])
	}
}

// user makes a user "ledger" with rules.
func user(t testing.TB, s *redistest.Server, rules string) {
	t.Helper()
	args := []any{"ACL", "SETUSER", "ledger", "reset", "on", ">secret"}
	for _, rule := range strings.Fields(rules) {
		args = append(args, rule)
	}
	must(t, s.Admin().Do(ctx, args...).Err())
}

// asUser makes a user with rules and returns its client.
func asUser(t testing.TB, s *redistest.Server, conf *tls.Config, rules string) *redis.Client {
	t.Helper()
	user(t, s, rules)
	rdb := redis.NewClient(&redis.Options{Addr: s.Addr(), TLSConfig: conf, Username: "ledger", Password: "secret", DisableIdentity: true})
	t.Cleanup(func() { _ = rdb.Close() })
	return rdb
}

// A cluster refuses a script that touches a slot that its keys do not lie in, so the laws on one also show that
// every key is declared and that all of a tenant's lie in one slot.
func TestOnACluster(t *testing.T) {
	t.Parallel()
	c, err := redistest.RunCluster(3, 0)
	must(t, err)
	t.Cleanup(c.Close)
	answers := &answers{}
	rdb := clusterClient(t, c, answers)

	fit(t, client(t, c.Masters[0].Addr()), "node of a cluster", "use redis.NewClusterClient")
	t.Run("laws", func(t *testing.T) { laws(t, rdb, empty(c.Masters...)) })
	t.Run("laws while slots move", func(t *testing.T) {
		m := moving(t, c)
		laws(t, rdb, func(t testing.TB) {
			m.rest(t, func() { empty(c.Masters...)(t) }) // a key on its way would be missed
		})
		if answers.moved.Load()+answers.ask.Load()+answers.again.Load() == 0 {
			t.Error("no slot moved under a law's feet")
		}
	})
	t.Run("callers while slots move", func(t *testing.T) {
		empty(c.Masters...)(t)
		moving(t, c)
		callersWhileSlotsMove(t, rdb, answers)
	})
	t.Run("a slot stays between two masters", func(t *testing.T) {
		empty(c.Masters...)(t)
		slotBetweenMasters(t, rdb, c)
	})
	t.Run("nothing is allowed that is not used", func(t *testing.T) { allUsed(t, c.Masters) })
}

// While the slot has left neither master, a reserve is refused, and the error says why. Nothing of it is left.
func slotBetweenMasters(t *testing.T, rdb redis.UniversalClient, c *redistest.Cluster) {
	opened(t, rdb, 1000)
	l := made(t, rdb, &redisledger.Options{Timeout: 600 * time.Millisecond})
	from, slot, err := c.Owner("{acme}")
	must(t, err)
	to := c.Masters[0]
	if to == from {
		to = c.Masters[1]
	}
	set := func(s *redistest.Server, state ...any) {
		t.Helper()
		must(t, s.Admin().Do(ctx, append([]any{"CLUSTER", "SETSLOT", slot}, state...)...).Err())
	}
	set(to, "IMPORTING", from.Admin().Do(ctx, "CLUSTER", "MYID").Val())
	set(from, "MIGRATING", to.Admin().Do(ctx, "CLUSTER", "MYID").Val())
	_, err = l.Reserve(ctx, pay(2))
	if !redis.HasErrorPrefix(err, "TRYAGAIN") {
		t.Errorf("a reserve in a slot between two masters: %v", err)
	}
	set(from, "STABLE")
	set(to, "STABLE")
	admit(t, l, pay(3))
	stands(t, l, 0, 3)
}

// allUsed expects every command that ACL allows to have been run on one of servers, and none to have been refused.
func allUsed(t *testing.T, servers []*redistest.Server) {
	var stats strings.Builder
	for _, s := range servers {
		stats.WriteString(s.Admin().Info(ctx, "commandstats").Val())
		if refused := s.Admin().ACLLog(ctx, 10).Val(); len(refused) > 0 {
			t.Errorf("the ledger asked for what ACL does not give: %+v", *refused[0])
		}
	}
	for rule := range strings.FieldsSeq(redisledger.ACL) {
		command, ok := strings.CutPrefix(rule, "+")
		// Not used here: what later versions of go-redis ask for.
		if ok && !strings.Contains(stats.String(), "cmdstat_"+command+":") && command != "command" {
			t.Errorf("ACL allows %s, which the ledger has not used", command)
		}
	}
}

// clusterClient is a client of a user with no more than ACL, and otherwise with go-redis' own defaults. What nodes
// answer is counted.
func clusterClient(t testing.TB, c *redistest.Cluster, a *answers) *redis.ClusterClient {
	t.Helper()
	for _, node := range slices.Concat(c.Masters, c.Replicas) {
		user(t, node, redisledger.ACL+" +scan")
	}
	rdb := redis.NewClusterClient(&redis.ClusterOptions{Addrs: c.Addrs(), Username: "ledger", Password: "secret", DisableIdentity: true})
	rdb.OnNewNode(func(node *redis.Client) { node.AddHook(a) })
	t.Cleanup(func() { _ = rdb.Close() })
	return rdb
}

// answers counts what nodes say of a slot that moves.
type answers struct{ moved, ask, again atomic.Int64 }

func (a *answers) DialHook(next redis.DialHook) redis.DialHook { return next }

func (a *answers) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (a *answers) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		err := next(ctx, cmd)
		for prefix, n := range map[string]*atomic.Int64{"MOVED": &a.moved, "ASK": &a.ask, "TRYAGAIN": &a.again} {
			if redis.HasErrorPrefix(err, prefix) {
				n.Add(1)
			}
		}
		return err
	}
}

// A mover hands the slots of the tenants in use from master to master, some eighty times a second. Under mu none
// is on its way.
type mover struct {
	mu  sync.Mutex
	err error // a slot could not be moved, and none is moved any more
}

func moving(t testing.TB, c *redistest.Cluster) *mover {
	m, stop := &mover{}, make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			case <-time.After(5 * time.Millisecond):
			}
			if !m.move(c, []string{"{acme}", "{*}", "{other}", "{later}"}[i%4], i) {
				return
			}
		}
	})
	t.Cleanup(func() {
		close(stop)
		wg.Wait()
		m.rest(t, func() {})
	})
	return m
}

// rest calls do while no slot is on its way. The test ends when one has got stuck.
func (m *mover) rest(t testing.TB, do func()) {
	t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err != nil {
		t.Fatalf("a slot could not be moved: %v", m.err)
	}
	do()
}

func (m *mover) move(c *redistest.Cluster, key string, turn int) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	from, slot, err := c.Owner(key)
	if err == nil {
		to := c.Masters[turn%len(c.Masters)]
		if to == from {
			to = c.Masters[(turn+1)%len(c.Masters)]
		}
		err = c.Reshard(from, to, slot)
	}
	m.err = err
	return err == nil
}

// Until a node has answered in each of the three ways, callers reserve and settle or release on one budget. What
// they were told is in the end exactly what the books say, and no call met an error.
func callersWhileSlotsMove(t *testing.T, rdb redis.UniversalClient, a *answers) {
	const limit = 2000
	l := opened(t, rdb, limit)
	a.moved.Store(0)
	a.ask.Store(0)
	a.again.Store(0)
	var admitted, booked atomic.Int64
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); {
				if admitted.Load() > 500 && a.moved.Load() > 0 && a.ask.Load() > 0 && a.again.Load() > 0 {
					return
				}
				r := pay(2)
				r.Budgets = r.Budgets[1:] // the team's alone
				h, err := l.Reserve(ctx, r)
				var d *ledger.Denied
				if errors.As(err, &d) {
					must(t, l.SetBudget(ctx, acme, team(limit+2*admitted.Load())))
					continue
				}
				if err != nil {
					t.Error(err)
					return
				}
				if admitted.Add(1)%3 == 0 {
					err = l.Release(ctx, h, true)
				} else {
					booked.Add(1)
					_, err = l.Settle(ctx, h, settled(1))
				}
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	t.Logf("%d reserves; answers: %d MOVED, %d ASK, %d TRYAGAIN", admitted.Load(), a.moved.Load(), a.ask.Load(), a.again.Load())
	stands(t, l, booked.Load(), 0)
	if a.moved.Load() == 0 || a.ask.Load() == 0 || a.again.Load() == 0 {
		t.Error("no slot moved under a caller's feet")
	}
}

func TestBehindSentinel(t *testing.T) {
	t.Parallel()
	s, err := redistest.RunSentinel(2)
	must(t, err)
	t.Cleanup(s.Close)
	rdb := redis.NewFailoverClient(&redis.FailoverOptions{MasterName: redistest.Name, SentinelAddrs: s.Addrs()})
	t.Cleanup(func() { _ = rdb.Close() })
	t.Run("laws", func(t *testing.T) { laws(t, rdb, empty(s.Nodes[0])) })
	t.Run("the master is killed", func(t *testing.T) {
		empty(s.Nodes[0])(t)
		outage(t, rdb, func() {
			for _, replica := range s.Nodes[1:] {
				must(t, replica.CatchUp(s.Nodes[0]))
			}
			must(t, s.Bear(500*time.Millisecond))
			s.Nodes[0].Kill()
		})
	})
}

func TestAMasterOfAClusterIsKilled(t *testing.T) {
	t.Parallel()
	c, err := redistest.RunCluster(3, 1)
	must(t, err)
	t.Cleanup(c.Close)
	outage(t, clusterClient(t, c, &answers{}), func() {
		master, _, err := c.Owner("{acme}")
		must(t, err)
		for i, m := range c.Masters {
			if m == master {
				must(t, c.Replicas[i].CatchUp(m))
			}
		}
		must(t, c.Bear(time.Second))
		master.Kill()
	})
}

// The client's own way to find out is to ask every ten seconds, later versions every minute.
func TestACallThatNobodyAnswersHasTheClientAskWhoHasTheSlots(t *testing.T) {
	t.Parallel()
	var asked atomic.Int64
	s := redistest.Serve(t)
	rdb := redis.NewClusterClient(&redis.ClusterOptions{MaxRedirects: 1, ClusterSlots: func(context.Context) ([]redis.ClusterSlot, error) {
		addr := s.Addr()
		if asked.Add(1) == 1 {
			addr = "127.0.0.1:1" // a master that is gone
		}
		return []redis.ClusterSlot{{Start: 0, End: 16383, Nodes: []redis.ClusterNode{{Addr: addr}}}}, nil
	}})
	t.Cleanup(func() { _ = rdb.Close() })
	l := made(t, rdb, &redisledger.Options{Timeout: 100 * time.Millisecond})
	for deadline := time.Now().Add(5 * time.Second); l.Open(ctx, ledger.Key{Tenant: acme, ID: "k", Expires: time.Now().Add(time.Hour)}) != nil; {
		if time.Now().After(deadline) {
			t.Fatal("the client still calls a master that is gone")
		}
	}
}

// While callers spend a budget, kill ends the master, once its replicas have everything. From then on callers are
// refused until a replica has taken over, and go on then. In the end they have been told exactly what the books say,
// which is exactly the limit: what was in doubt was taken back, nothing was admitted twice, nothing forgotten.
func outage(t *testing.T, rdb redis.UniversalClient, kill func()) {
	const limit = 400
	l := opened(t, rdb, limit)
	before := &callers{t: t, l: l}
	for range 20 {
		before.call()
	}
	kill()
	during := &callers{t: t, l: l}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for deadline := time.Now().Add(3 * time.Minute); time.Now().Before(deadline) && during.call(); {
			}
		})
	}
	wg.Wait()
	for _, h := range during.doubts {
		if err := l.Release(ctx, h, true); !errors.Is(err, ledger.ErrDeferred) {
			must(t, err)
		}
	}
	drained(t, l)
	for during.call() { // what had been in doubt is free again
	}
	if len(during.doubts) == 0 {
		t.Error("the outage was not noticed")
	}
	spent, held := before.spent+during.spent, before.held+during.held
	t.Logf("spent %d, held %d, refused %d", spent, held, len(during.doubts))
	stands(t, l, spent, held)
	if spent+held != limit {
		t.Errorf("callers were admitted for %d, want exactly %d", spent+held, limit)
	}
}

// callers are told what they may spend.
type callers struct {
	t *testing.T
	l *redisledger.Ledger

	mu          sync.Mutex
	n           int
	spent, held int64
	doubts      []ledger.Hold
}

// call makes one call for 2, and says whether another may be admitted. Every other call settles, if it can.
func (c *callers) call() bool {
	r := pay(2)
	r.Budgets = r.Budgets[1:] // the team's alone
	h, err := c.l.Reserve(ctx, r)
	var d *ledger.Denied
	if errors.As(err, &d) {
		if d.Code != reason.BudgetExceeded {
			c.t.Errorf("denied: %v", err)
		}
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil {
		c.doubts = append(c.doubts, ledger.Hold{Tenant: r.Tenant, ID: r.ID, Nonce: r.Nonce, Key: r.Key})
		return true
	}
	c.held += 2
	if c.n++; c.n%2 == 0 {
		if _, err := c.l.Settle(ctx, h, settled(2)); err == nil {
			c.held, c.spent = c.held-2, c.spent+2
		}
	}
	return true
}
