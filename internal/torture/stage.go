package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/keybrake/keybrake-go/internal/redistest"
	"github.com/keybrake/keybrake-go/internal/respproxy"
	"github.com/keybrake/keybrake-go/ledger"
)

// A kind is one way in which things go wrong.
type kind struct {
	name string
	args []string // of redis-server; nil: no Redis
	play func(*stage) error
}

// What a redis-server keeps when it is killed.
var (
	everything = []string{"--appendonly", "yes", "--appendfsync", "always"}
	most       = []string{"--appendonly", "yes", "--appendfsync", "everysec"}
	nothing    = []string{"--appendonly", "no"}
)

// kinds are all of them. First those that lose nothing that was acknowledged, then those that do.
var kinds = []kind{
	{name: "a faulty connection", args: nothing, play: func(s *stage) error { return s.keeps(s.connection) }},
	{name: "redis hangs", args: nothing, play: func(s *stage) error { return s.keeps(s.hang) }},
	{name: "redis is killed, AOF always", args: everything, play: func(s *stage) error { return s.keeps(s.kill) }},
	{name: "redis is out of memory", args: nothing, play: func(s *stage) error { return s.keeps(s.fill) }},
	{name: "a replica is promoted", args: nothing, play: func(s *stage) error { return s.keeps(s.promote) }},
	{name: "processes on redis are killed", args: nothing, play: func(s *stage) error { return s.mortals(s.setup()) }},
	{name: "processes on sqlite are killed", play: (*stage).sqlite},
	{name: "the whole brake", args: nothing, play: (*stage).brake},
	{name: "redis is killed, no AOF", args: nothing, play: func(s *stage) error { return s.loses(nil, s.killed) }},
	{name: "FLUSHALL", args: nothing, play: func(s *stage) error { return s.loses(nil, s.flush) }},
	{name: "redis is killed, AOF every second", args: most, play: func(s *stage) error { return s.loses(nil, s.killed) }},
	{name: "a replica is promoted that is behind", args: nothing, play: func(s *stage) error { return s.loses(s.follow, s.promoteEarly) }},
	{name: "redis loses a row", args: nothing, play: func(s *stage) error { return s.loses(nil, s.forget) }},
	{name: "redis evicts", args: nothing, play: func(s *stage) error { return s.loses(nil, s.evict) }},
}

// A stage is where one kind is played for a while.
type stage struct {
	*tally
	kind
	*rand.Rand
	seed  uint64
	until time.Time

	server *redistest.Server
	proxy  *respproxy.Proxy
	spare  []*redistest.Server // to be closed
	tenant int
}

// wait and answer are how long a client waits for one reply of Redis, and a ledger for all.
const (
	wait   = 80 * time.Millisecond
	answer = 320 * time.Millisecond
)

// play plays k for span. An error is one of the stage, not of a ledger.
func (t *tally) play(k kind, seed uint64, span time.Duration) error {
	s := &stage{tally: t, kind: k, Rand: rand.New(rand.NewPCG(seed, 0x746f)), seed: seed}
	if k.args != nil {
		var err error
		if s.server, err = redistest.Run(k.args...); err != nil {
			return err
		}
		defer func() { s.server.Close() }()
		if s.proxy, err = respproxy.Start(s.server.Addr(), nil); err != nil {
			return err
		}
		defer func() {
			t.faults.Add(int64(s.proxy.Injected()))
			_ = s.proxy.Close()
		}()
	}
	defer func() {
		for _, r := range s.spare {
			r.Close()
		}
	}()
	s.until = time.Now().Add(span)
	return k.play(s)
}

// setup is a ledger on the server, through the proxy.
func (s *stage) setup() Setup { return Setup{Redis: s.proxy.Addr(), Timeout: answer, Wait: wait} }

// over reports whether the time is up.
func (s *stage) over() bool { return time.Now().After(s.until) }

// again does something until the time is up, and once at least.
func (s *stage) again(do func() error) error {
	err := do()
	for err == nil && !s.over() {
		err = do()
	}
	return err
}

// pause is a random time up to most.
func (s *stage) pause(most time.Duration) { time.Sleep(time.Duration(s.Int64N(int64(most)))) }

// next names another tenant.
func (s *stage) next() string {
	s.tenant++
	return fmt.Sprintf("t%d", s.tenant)
}

// furnish makes a tenant, however often it has to be said.
func (s *stage) furnish(l ledger.Ledger, tenant string) error {
	var err error
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		if err = furnish(context.Background(), l, tenant); err == nil {
			return nil
		}
	}
	return err
}

// doers are the clients: several on each of two ledgers.
func doers(a, b ledger.Ledger) []Doer {
	one := func(op Op) Answer { return op.Do(context.Background(), a) }
	two := func(op Op) Answer { return op.Do(context.Background(), b) }
	return []Doer{one, one, two, two}
}

// keeps drives one tenant after another while fault does its worst, again and again. All that was acknowledged has to
// be there.
func (s *stage) keeps(fault func() error) error {
	a, endA := s.setup().open()
	defer endA()
	b, endB := s.setup().open()
	defer endB()
	failed := make(chan error, 1)
	go func() { failed <- s.again(fault) }()
	err := s.again(func() error { return s.drive(a, doers(a, b), wait) })
	return errors.Join(err, <-failed)
}

// drive drives one tenant and judges it.
func (s *stage) drive(direct ledger.Ledger, clients []Doer, wait time.Duration) error {
	tenant := s.next()
	if err := s.furnish(direct, tenant); err != nil {
		return err
	}
	h := newHistory(tenant, wait)
	d := &Drive{Seed: s.seed + uint64(s.tenant), Tenant: tenant, Clients: clients, Steps: 30, Final: true, Oracle: &Oracle{}}
	d.run(h)
	s.judge(h, d.Oracle, direct)
	return nil
}

// connection has everything go wrong on the way, or half of the time what arrives twice and late alone.
func (s *stage) connection() error {
	kinds := respproxy.Kinds
	if s.IntN(2) == 0 {
		kinds = []respproxy.Kind{respproxy.DropAfter, respproxy.DelayRequest, respproxy.DelayReply}
	}
	s.proxy.Plan(respproxy.Random(s.Uint64(), 10, 2*wait, kinds...))
	time.Sleep(50 * time.Millisecond)
	return nil
}

func (s *stage) hang() error {
	s.pause(100 * time.Millisecond)
	s.faults.Add(1)
	if err := s.server.Pause(); err != nil {
		return err
	}
	s.pause(answer)
	return s.server.Continue()
}

func (s *stage) kill() error {
	s.pause(200 * time.Millisecond)
	s.faults.Add(1)
	s.server.Kill()
	return s.server.Restart()
}

// fill makes Redis refuse what needs memory, and lets it go on.
func (s *stage) fill() error {
	s.pause(50 * time.Millisecond)
	s.faults.Add(1)
	if err := s.server.Admin().ConfigSet(context.Background(), "maxmemory", "1").Err(); err != nil {
		return err
	}
	s.pause(50 * time.Millisecond)
	return s.server.Admin().ConfigSet(context.Background(), "maxmemory", "0").Err()
}

// follow starts a replica.
func (s *stage) follow() error {
	replica, err := s.server.Replica(s.args...)
	if err == nil {
		s.spare = append(s.spare, replica)
	}
	return err
}

// promote hands over to a replica as a careful operator does: the master takes no more writes, the replica catches
// up, and takes its place.
func (s *stage) promote() error {
	if err := s.follow(); err != nil {
		return err
	}
	s.pause(100 * time.Millisecond)
	s.faults.Add(1)
	if err := s.server.Admin().Do(context.Background(), "CLIENT", "PAUSE", "60000", "WRITE").Err(); err != nil {
		return err
	}
	if err := s.spare[0].CatchUp(s.server); err != nil {
		return err
	}
	return s.replace()
}

// promoteEarly hands over to a replica that has missed the last moments.
func (s *stage) promoteEarly(stop func()) error {
	if err := s.spare[0].Promote(); err != nil {
		return err
	}
	s.pause(20 * time.Millisecond)
	stop()
	return s.replace()
}

// replace puts the replica in the place of the server, which ends.
func (s *stage) replace() error {
	replica := s.spare[0]
	s.server.Kill()
	if err := replica.Promote(); err != nil {
		return err
	}
	s.proxy.Point(replica.Addr())
	s.server.Close()
	s.server, s.spare = replica, nil
	return nil
}

func (s *stage) killed(stop func()) error {
	stop()
	s.server.Kill()
	return s.server.Restart()
}

func (s *stage) flush(stop func()) error {
	stop()
	return s.server.Admin().FlushAll(context.Background()).Err()
}

// noticesRows says that a ledger notices when one row without an expiry has gone and all else is there. The row of a
// tenant's revokes and pauses: an eviction or somebody's DEL undoes an acknowledged revoke. A shared budget's: calls are
// refused, but the next SetBudget, at the next deployment say, makes it anew with nothing spent. To be true once the
// meta row knows which of these rows there have been.
const noticesRows = true

// forget deletes one row of the tenant that is being driven, as an eviction may, or another user of the server.
func (s *stage) forget(stop func()) error {
	stop()
	ctx, rdb := context.Background(), s.server.Admin()
	rows, err := rdb.Keys(ctx, fmt.Sprintf("kb:{t%d}:*", s.tenant)).Result()
	if err != nil {
		return err
	}
	kinds := map[string][]string{} // there are many reservations, and one or two rows of each other kind
	for _, row := range rows {
		kind := strings.Split(row, ":")[2]
		if kind != "controls" && kind != "b" || noticesRows {
			kinds[kind] = append(kinds[kind], row)
		}
	}
	if len(kinds) == 0 {
		return nil
	}
	kind := slices.Sorted(maps.Keys(kinds))[s.IntN(len(kinds))]
	slices.Sort(kinds[kind])
	return rdb.Del(ctx, kinds[kind][s.IntN(len(kinds[kind]))]).Err()
}

// evict turns the policy that Check insists on, and fills the memory.
func (s *stage) evict(stop func()) error {
	stop()
	ctx, rdb := context.Background(), s.server.Admin()
	// Not the policies for all keys: they may take the registry of tenants, and then no tenant can be opened any more,
	// those of the turns that come included. That one row is noticed wherever it goes is shown by forget.
	policies := []string{"volatile-random", "volatile-lru", "volatile-ttl"}
	policy := policies[s.IntN(len(policies))]
	if err := rdb.ConfigSet(ctx, "maxmemory-policy", policy).Err(); err != nil {
		return err
	}
	info, err := rdb.Info(ctx, "memory").Result()
	if err != nil {
		return err
	}
	_, text, _ := strings.Cut(info, "used_memory:")
	used := 0
	if _, err := fmt.Sscan(text, &used); err != nil {
		return err
	}
	if err := rdb.ConfigSet(ctx, "maxmemory", fmt.Sprint(used+100_000)).Err(); err != nil {
		return err
	}
	for i := range 200 {
		_ = rdb.Set(ctx, fmt.Sprintf("junk%d", i), make([]byte, 4_000), 0).Err() // with volatile-random it is refused in the end
	}
	if err := rdb.ConfigSet(ctx, "maxmemory", "0").Err(); err != nil {
		return err
	}
	return rdb.ConfigSet(ctx, "maxmemory-policy", "noeviction").Err()
}

// mortals drives tenants from processes that are killed, beside one that lives.
func (s *stage) mortals(setup Setup) error {
	here, end := setup.open()
	defer end()
	m := &mortal{setup: setup, seed: s.seed, every: 30}
	if err := m.start(); err != nil {
		return err
	}
	defer m.end()
	do := doers(here, here)
	return s.again(func() error {
		err := s.drive(here, []Doer{do[0], do[1], m.Do, m.Do}, setup.Wait)
		return errors.Join(err, s.deaths(m))
	})
}

// deaths counts those of m, and fails when it could not be started again.
func (s *stage) deaths(m *mortal) error {
	n, err := m.died()
	s.faults.Add(n)
	return err
}

func (s *stage) sqlite() error {
	dir, err := os.MkdirTemp("", "torture")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	return s.mortals(Setup{File: filepath.Join(dir, "ledger.db"), Timeout: 20 * time.Second})
}
