package redisledger_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/internal/redistest"
	"github.com/keybrake/keybrake-go/ledger"
	"github.com/keybrake/keybrake-go/ledger/redisledger"
	"github.com/keybrake/keybrake-go/reason"
)

// A site is where clients find their Redis: another address, as after a failover, or another database.
type site struct {
	mu    sync.Mutex
	addr  string
	db    int
	conns []net.Conn
}

// client is a client that follows the site.
func (s *site) client(t testing.TB) *redis.Client {
	t.Helper()
	rdb := redis.NewClient(&redis.Options{
		Addr: "site", MinRetryBackoff: -1,
		Dialer: func(ctx context.Context, _, _ string) (net.Conn, error) {
			s.mu.Lock()
			defer s.mu.Unlock()
			c, err := net.Dial("tcp", s.addr)
			s.conns = append(s.conns, c)
			return c, err
		},
		OnConnect: func(ctx context.Context, c *redis.Conn) error {
			s.mu.Lock()
			db := s.db
			s.mu.Unlock()
			return c.Select(ctx, db).Err()
		},
	})
	t.Cleanup(func() { _ = rdb.Close() })
	return rdb
}

// move breaks all connections; the next ones go to addr and db.
func (s *site) move(addr string, db int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.addr, s.db = addr, db
	for _, c := range s.conns {
		if c != nil {
			_ = c.Close()
		}
	}
	s.conns = nil
}

// pays reserves and settles n times at one each.
func pays(t testing.TB, l ledger.Ledger, n int) {
	t.Helper()
	for range n {
		_, err := l.Settle(ctx, admit(t, l, pay(1)), settled(1))
		must(t, err)
	}
}

func frozen(t testing.TB, l ledger.Ledger) {
	t.Helper()
	_, err := l.Reserve(ctx, pay(1))
	denied(t, err, reason.LedgerFrozen)
}

// Two processes and a third that has written nothing. lose makes the store forget the last writes of the first.
func TestLostWritesFreezeTheTenantInEveryProcess(t *testing.T) {
	for name, lose := range map[string]func(t *testing.T, main *redistest.Server, at *site, a, b ledger.Ledger){
		"flushed": func(t *testing.T, main *redistest.Server, _ *site, a, _ ledger.Ledger) {
			pays(t, a, 1)
			must(t, main.Admin().FlushAll(ctx).Err())
		},
		"another database": func(t *testing.T, main *redistest.Server, at *site, a, _ ledger.Ledger) {
			pays(t, a, 1)
			at.move(main.Addr(), 3)
		},
		"another database with books of its own": func(t *testing.T, main *redistest.Server, at *site, a, _ ledger.Ledger) {
			pays(t, a, 1)
			at.move(main.Addr(), 3)
			pays(t, opened(t, at.client(t), 1000), 50)
		},
		"restored from a snapshot": func(t *testing.T, main *redistest.Server, _ *site, a, _ ledger.Ledger) {
			must(t, main.Admin().Save(ctx).Err())
			pays(t, a, 1)
			must(t, main.Restart())
		},
		"restored, and the other process went on": func(t *testing.T, main *redistest.Server, _ *site, a, b ledger.Ledger) {
			must(t, main.Admin().Save(ctx).Err())
			pays(t, a, 1)
			must(t, main.Restart())
			pays(t, b, 20)
		},
		"a replica took over, and the other process went on": func(t *testing.T, main *redistest.Server, at *site, a, b ledger.Ledger) {
			replica, err := main.Replica()
			must(t, err)
			t.Cleanup(replica.Close)
			must(t, replica.CatchUp(main))
			must(t, replica.Promote())
			pays(t, a, 1)
			at.move(replica.Addr(), 0)
			main.Kill()
			pays(t, b, 20)
		},
	} {
		t.Run(name, func(t *testing.T) {
			main := redistest.Serve(t)
			at := &site{addr: main.Addr()}
			a, b := opened(t, at.client(t), 1000), redisledger.New(at.client(t), nil)
			pays(t, a, 3)
			pays(t, b, 3)
			h, own := admit(t, b, pay(1)), admit(t, a, pay(1))
			lose(t, main, at, a, b)
			frozen(t, a)
			frozen(t, b)
			frozen(t, redisledger.New(at.client(t), nil))
			for _, err := range []error{
				a.Open(ctx, ledger.Key{Tenant: acme, ID: "k2"}),
				b.SetBudget(ctx, acme, team(5)),
				second(b.Raise(ctx, h, pay(1))),
			} {
				if d := (*ledger.Denied)(nil); !errors.As(err, &d) && !errors.Is(err, ledger.ErrNoHold) || d != nil && d.Code != reason.LedgerFrozen {
					t.Errorf("got %v", err)
				}
			}

			// Stopping works, of a key whose row is lost as well, and so does giving back.
			for _, c := range []ledger.Control{{Verb: ledger.Revoke, Tenant: acme, Key: "k"}, {Verb: ledger.Pause, Tenant: acme}, {Verb: ledger.Resume, Tenant: acme}} {
				_, err := b.Control(ctx, c)
				must(t, err)
			}
			must(t, b.Release(ctx, h, true))
			must(t, a.Release(ctx, own, true))
			_, err := b.InDoubt(ctx, acme)
			must(t, err)
			frozen(t, b)

			// Another tenant, which lost nothing, goes on.
			other := pay(1)
			other.Tenant = "other"
			_, err = redisledger.New(at.client(t), nil).Reserve(ctx, other)
			denied(t, err, reason.KeyUnknown)
		})
	}
}

func second[T any](_ T, err error) error { return err }

// A process that only looked is told, too, and what it was told counts.
func TestAProcessThatOnlyLookedDetectsALossAndOneThatKnowsNothingRaisesNoAlarm(t *testing.T) {
	rdb := client(t, redistest.Start(t))
	looker, stranger := redisledger.New(rdb, nil), redisledger.New(rdb, nil)
	_, err := looker.Reserve(ctx, pay(1))
	denied(t, err, reason.KeyUnknown) // of an empty store
	l := opened(t, rdb, 10)
	big := pay(11)
	_, err = looker.Reserve(ctx, big)
	denied(t, err, reason.BudgetExceeded)
	_, err = l.Reserve(ctx, big)
	denied(t, err, reason.BudgetExceeded)
	flush(t, rdb)
	_, err = stranger.Reserve(ctx, pay(1))
	denied(t, err, reason.KeyUnknown)
	frozen(t, looker)
	frozen(t, stranger)
}

func TestAProcessThatOnlyLookedDetectsThatTheSequenceWentBack(t *testing.T) {
	main := redistest.Serve(t)
	rdb := client(t, main.Addr())
	writer, looker := opened(t, rdb, 10), redisledger.New(rdb, nil)
	must(t, rdb.Save(ctx).Err())
	pays(t, writer, 2)
	_, err := looker.Reserve(ctx, pay(11))
	denied(t, err, reason.BudgetExceeded)
	must(t, main.Restart())
	frozen(t, looker)
}

func TestAProcessAllOfWhoseWritesWereLostDetectsIt(t *testing.T) {
	main := redistest.Serve(t)
	rdb := client(t, main.Addr())
	other := opened(t, rdb, 1000)
	must(t, rdb.Save(ctx).Err())
	l := redisledger.New(rdb, nil)
	pays(t, l, 2)
	must(t, main.Restart())
	pays(t, redisledger.New(rdb, nil), 20)
	frozen(t, l)
	frozen(t, other)
}

// The registry and the controls that bind every tenant are watched as a tenant is.
func TestLostGlobalControlsRefuseNewKeys(t *testing.T) {
	rdb := client(t, redistest.Start(t))
	l := opened(t, rdb, 10)
	_, err := l.Control(ctx, ledger.Control{Verb: ledger.Pause, Vendor: "v"})
	must(t, err)
	must(t, rdb.Del(ctx, "kb:{*}:controls", "kb:{*}:tenants", "kb:{*}:m").Err())
	denied(t, l.Open(ctx, ledger.Key{Tenant: "new", ID: "k"}), reason.LedgerFrozen)
	denied(t, redisledger.New(rdb, nil).Open(ctx, ledger.Key{Tenant: "new", ID: "k"}), reason.LedgerFrozen)
	_, err = l.Reserve(ctx, pay(1))
	denied(t, err, reason.KeyPaused)
}

// Requests that were sent before a failover are carried out after it with what was known before, and could fill up
// the count that was lost. The proxy holds them back meanwhile.
func TestRequestsOnTheirWayDuringAFailoverDoNotHideIt(t *testing.T) {
	main := redistest.Serve(t)
	direct := &site{addr: main.Addr()}
	l := redisledger.New(direct.client(t), &redisledger.Options{Timeout: 20 * time.Second})
	must(t, l.Open(ctx, ledger.Key{Tenant: acme, ID: "k"}))
	must(t, l.SetBudget(ctx, acme, team(1000)))
	pays(t, l, 2)
	replica, err := main.Replica()
	must(t, err)
	t.Cleanup(replica.Close)
	must(t, replica.CatchUp(main))
	must(t, replica.Promote())

	// Three calls wait in a dial that hangs while a fourth, on a connection of its own, is acknowledged and lost.
	gate, waiting := make(chan struct{}), make(chan struct{}, 64)
	held := redis.NewClient(&redis.Options{Addr: "held", Dialer: func(context.Context, string, string) (net.Conn, error) {
		waiting <- struct{}{}
		<-gate
		return net.Dial("tcp", replica.Addr())
	}, DialTimeout: 20 * time.Second})
	defer held.Close()
	swap := &swapped{UniversalClient: direct.client(t)}
	s := redisledger.New(swap, &redisledger.Options{Timeout: 20 * time.Second})
	swap.to.Store(held)
	var wg sync.WaitGroup
	var failed atomic.Int64
	for range 3 {
		wg.Go(func() {
			_, err := s.Reserve(ctx, pay(1))
			if d := (*ledger.Denied)(nil); err != nil && !errors.As(err, &d) {
				failed.Add(1)
			}
		})
	}
	for range 3 {
		<-waiting
	}
	swap.to.Store(nil)
	admit(t, s, pay(1)) // on the old master, which now dies with it
	swap.to.Store(held)
	close(gate)
	wg.Wait()
	frozen(t, s)
}

// swapped sends scripts through another client while there is one.
type swapped struct {
	redis.UniversalClient
	to atomic.Pointer[redis.Client]
}

func (s *swapped) EvalSha(ctx context.Context, sha string, keys []string, args ...any) *redis.Cmd {
	if to := s.to.Load(); to != nil {
		return to.EvalSha(ctx, sha, keys, args...)
	}
	return s.UniversalClient.EvalSha(ctx, sha, keys, args...)
}

func (s *swapped) Eval(ctx context.Context, text string, keys []string, args ...any) *redis.Cmd {
	if to := s.to.Load(); to != nil {
		return to.Eval(ctx, text, keys, args...)
	}
	return s.UniversalClient.Eval(ctx, text, keys, args...)
}

// Replies are lost and commands sent again, calls time out and are carried out all the same, several processes
// write at once: nothing of it is a loss.
func TestTenThousandOperationsRaiseNoFalseAlarm(t *testing.T) {
	main := redistest.Serve(t)
	proxy := newProxy(t, main.Addr())
	opened(t, client(t, main.Addr()), 1_000_000)
	const processes, workers, each = 4, 8, 320
	var wg sync.WaitGroup
	var done, failed atomic.Int64
	for p := range processes {
		addr := main.Addr()
		if p%2 == 0 {
			addr = proxy.addr
		}
		timeout := 10 * time.Second
		if p == 3 {
			timeout = 3 * time.Millisecond
		}
		l := redisledger.New(client(t, addr), &redisledger.Options{Timeout: timeout})
		t.Cleanup(func() { _ = l.Close() })
		for w := range workers {
			wg.Go(func() {
				for i := range each {
					if p == 0 && w == 0 && i%10 == 0 {
						proxy.drops.Store(int64(i % 50 / 10))
					}
					if err := mixed(l, p, w, i); err != nil {
						if d := (*ledger.Denied)(nil); errors.As(err, &d) {
							t.Errorf("denied: %v", err)
							return
						}
						failed.Add(1)
					}
					done.Add(1)
				}
			})
		}
	}
	wg.Wait()
	if done.Load() != processes*workers*each || failed.Load() == 0 || failed.Load() > done.Load()/2 || proxy.dropped.Load() == 0 {
		t.Errorf("%d done, %d failed, %d replies lost: the test does not show what it should", done.Load(), failed.Load(), proxy.dropped.Load())
	}
	l := redisledger.New(client(t, main.Addr()), nil)
	admit(t, l, pay(1))
	if why := main.Admin().HGet(ctx, "kb:{acme}:m", "frozen").Val(); why != "" {
		t.Error(why)
	}
}

// mixed is one operation of a process.
func mixed(l ledger.Ledger, p, w, i int) error {
	switch {
	case i%40 == 0:
		return l.SetBudget(ctx, acme, team(1_000_000))
	case i%40 == 1:
		return l.Open(ctx, ledger.Key{Tenant: acme, ID: "k", Expires: time.Now().Add(time.Hour)})
	case i%40 == 2:
		return second(l.Control(ctx, ledger.Control{Verb: ledger.Pause, Tenant: acme, Run: fmt.Sprint(p, w)}))
	}
	r := pay(1)
	r.Budgets = r.Budgets[1:]
	h, err := l.Reserve(ctx, r)
	switch {
	case err != nil:
		return errors.Join(err, l.Release(ctx, ledger.Hold{Tenant: acme, ID: r.ID}, true))
	case i%3 == 0:
		return l.Release(ctx, h, true)
	}
	return second(l.Settle(ctx, h, settled(1)))
}

// The meta row stays small, and a process that was dropped from it is not taken for one whose writes were lost.
func TestIdleProcessesAreDroppedWithoutAnAlarm(t *testing.T) {
	main := redistest.Serve(t)
	rdb := client(t, main.Addr())
	idle := opened(t, rdb, 10_000)
	pays(t, idle, 2)
	for range 600 {
		pays(t, redisledger.New(rdb, nil), 1)
	}
	if n := rdb.HLen(ctx, "kb:{acme}:m").Val(); n > 520 {
		t.Errorf("the meta row has %d fields", n)
	}
	pays(t, idle, 3) // is dropped by now, and counted anew
	must(t, rdb.Save(ctx).Err())
	pays(t, idle, 1)
	busy := redisledger.New(rdb, nil)
	pays(t, busy, 1)
	must(t, main.Restart())
	pays(t, redisledger.New(rdb, nil), 5) // the sequence is higher than ever
	frozen(t, idle)
}

// One row is lost and all else is there: somebody's DEL, an eviction. Made anew, it would have forgotten a revoke, or what
// a team has spent.
func TestARowThatIsMissingFreezes(t *testing.T) {
	run := ledger.Control{Verb: ledger.Revoke, Tenant: acme, Run: "r"}
	for name, row := range map[string]struct {
		key   string
		after func(l *redisledger.Ledger) error // what would make it anew
	}{
		"of revokes, at a reserve": {"kb:{acme}:controls", nil},
		"of revokes, at another control": {"kb:{acme}:controls", func(l *redisledger.Ledger) error {
			return second(l.Control(ctx, ledger.Control{Verb: ledger.Pause, Tenant: acme, Run: "other"}))
		}},
		"of a budget, at the next budget": {"kb:{acme}:b:team", func(l *redisledger.Ledger) error { return nil }},
	} {
		t.Run(name, func(t *testing.T) {
			rdb := client(t, redistest.Start(t)) // what another left in the background writes on
			l := opened(t, rdb, 100)
			must(t, second(l.Settle(ctx, admit(t, l, pay(60)), settled(60))))
			must(t, second(l.Control(ctx, run)))
			must(t, rdb.Del(ctx, row.key).Err())
			stranger := made(t, rdb, nil) // knows nothing of what there was
			if row.after != nil {
				must(t, row.after(stranger))
			}
			if row.key == "kb:{acme}:b:team" {
				denied(t, stranger.SetBudget(ctx, acme, team(100)), reason.LedgerFrozen)
			}
			r := pay(10)
			r.Controls = ledger.Names("k", "a", "another", nil, "v")
			denied(t, second(stranger.Reserve(ctx, r)), reason.LedgerFrozen)
			must(t, second(l.Rearm(ctx, acme)))
			denied(t, second(stranger.Reserve(ctx, pay(1))), reason.KeyRevoked)
			r = pay(50)
			r.Controls = ledger.Names("k", "a", "another", nil, "v")
			denied(t, second(stranger.Reserve(ctx, r)), reason.BudgetExceeded)
			must(t, rdb.Del(ctx, row.key).Err())
			if row.key == "kb:{acme}:controls" { // a row that was put back is looked after again
				denied(t, second(stranger.Reserve(ctx, pay(1))), reason.LedgerFrozen)
			}
		})
	}
}

// A registry that was lost no longer knows whom a control of everything has to reach.
func TestAControlOfAllSaysThatTheRegistryIsMissing(t *testing.T) {
	rdb := client(t, redistest.Start(t))
	l := opened(t, rdb, 100)
	must(t, rdb.Del(ctx, "kb:{*}:tenants").Err())
	_, err := l.Control(ctx, ledger.Control{Verb: ledger.Revoke, All: true})
	if err == nil || !strings.Contains(err.Error(), "Rearm") {
		t.Fatalf("got %v", err)
	}
	must(t, second(l.Rearm(ctx, "")))
	report, err := l.Control(ctx, ledger.Control{Verb: ledger.Revoke, All: true})
	if err != nil || len(report.Tenants) != 1 {
		t.Fatalf("%+v, %v", report, err)
	}
	denied(t, second(l.Reserve(ctx, pay(1))), reason.KeyRevoked)
}

// While a shared budget's row is missing nothing can be booked in it, so a settlement is an error and the reservation stays
// open; what is put back counts it, in a rolling window too.
func TestASettlementIntoAMissingRowIsNotLost(t *testing.T) {
	rdb := client(t, redistest.Start(t))
	l := opened(t, rdb, 100)
	hour := team(100)
	hour.Name, hour.Window = "hour", cost.Rolling(time.Hour)
	must(t, l.SetBudget(ctx, acme, hour))
	both := func(n int64) ledger.Request {
		r := pay(n)
		r.Budgets = append(r.Budgets, ledger.Budget{Name: "hour", Shared: true, Limit: ledger.NoLimit})
		return r
	}
	must(t, second(l.Settle(ctx, admit(t, l, both(60)), settled(60))))
	h := admit(t, l, both(10))
	must(t, rdb.Del(ctx, "kb:{acme}:b:team", "kb:{acme}:b:hour").Err())
	if _, err := l.Settle(ctx, h, settled(8)); err == nil {
		t.Fatal("it was booked nowhere")
	}
	if found, err := l.Find(ctx, acme, h.ID); err != nil || found.Phase != ledger.InFlight {
		t.Fatalf("%+v, %v", found, err)
	}
	denied(t, l.SetBudget(ctx, acme, team(100)), reason.LedgerFrozen)
	must(t, second(l.Rearm(ctx, acme)))
	stands(t, l, 60, 10)
	must(t, second(l.Settle(ctx, h, settled(8))))
	stands(t, l, 68, 0)
	denied(t, second(l.Reserve(ctx, both(33))), reason.BudgetExceeded)
	r := both(33)
	r.Budgets = r.Budgets[2:] // the hour alone
	denied(t, second(l.Reserve(ctx, r)), reason.BudgetExceeded)
	admit(t, l, both(30))
}
